//! What the platform delegates to a workspace: hosts, or parts of them, and what else it may use.

use super::{Api, Config, PathPattern, Segment, Tail};
use crate::validate::host_pattern;
use base::{Place, Report};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a workspace may use. Nothing is delegated unless it is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Grants {
    /// Hosts on which it may have routes: `shop.example.com`, `*.shop.example.com` (all below it), `*` (any), each
    /// whole or from a path on: `api.example.com/shop`.
    pub hosts: Vec<String>,
    /// The only listeners of the platform on which it is served; all when empty.
    pub listeners: Vec<String>,
    /// Whether its targets may lead inward: to the machine itself, to addresses of the local network only, or to where a
    /// cloud tells machines their secrets.
    pub inward: bool,
}

/// One host, and from which path on.
struct Area<'a> {
    host: &'a str,
    path: Vec<&'a str>,
}

fn area(written: &str) -> Area<'_> {
    let (host, path) = written.split_once('/').unwrap_or((written, ""));
    Area { host, path: path.split('/').filter(|part| !part.is_empty()).collect() }
}

impl Area<'_> {
    /// Whether all requests for a host, or for what a pattern stands for, are within.
    fn has_host(&self, host: Option<&str>) -> bool {
        let Some(host) = host else { return self.host == "*" };
        let of_domain = || {
            let parent = self.host.strip_prefix("*.")?;
            let below = host.strip_suffix(parent)?.strip_suffix('.')?;
            (!below.is_empty()).then_some(())
        };
        self.host == "*" || self.host == host || of_domain().is_some()
    }

    /// Whether all paths that a pattern takes are within.
    fn has_path(&self, pattern: &PathPattern, base: &[Segment]) -> bool {
        let segments = match pattern {
            PathPattern::Template { segments, .. } => segments,
            // An expression goes on where the path of its API ends: `/shop` and `per` is `/shopper`.
            PathPattern::Regex(_) if self.path.len() < base.len() => base,
            PathPattern::Regex(_) => return self.path.is_empty(),
        };
        self.path.len() <= segments.len()
            && self.path.iter().zip(segments).all(|(own, segment)| match segment {
                Segment::Static(text) => text == own,
                Segment::Param(_) => false,
            })
    }
}

impl Grants {
    /// What is wrong with them, if anything is.
    ///
    /// # Errors
    /// The position of the host, and a sentence.
    pub fn validate(&self) -> Result<(), (usize, String)> {
        for (index, written) in self.hosts.iter().enumerate() {
            let Area { host, path } = area(written);
            let wrong = |why: String| (index, format!("`{written}`: {why}"));
            if host != "*" {
                host_pattern(host).map_err(|(why, _)| wrong(why))?;
            }
            let path = format!("/{}", path.join("/"));
            match PathPattern::parse(&path) {
                Ok(PathPattern::Template { segments, tail: Tail::End })
                    if segments.iter().all(|it| matches!(it, Segment::Static(_))) => {}
                Ok(_) => return Err(wrong("the path must be plain text".to_owned())),
                Err(why) => return Err(wrong(why)),
            }
        }
        Ok(())
    }

    /// Something that is delegated by both, as it is written in the first. Two workspaces with the same could take each
    /// other's requests.
    #[must_use]
    pub fn overlap<'a>(&'a self, other: &Self) -> Option<&'a str> {
        let meet = |one: &Area<'_>, two: &Area<'_>| {
            let hosts = one.has_host(Some(two.host)) || two.has_host(Some(one.host));
            hosts && one.path.iter().zip(&two.path).all(|(one, two)| one == two)
        };
        let others: Vec<Area<'_>> = other.hosts.iter().map(|it| area(it)).collect();
        let meets = |own: &&String| others.iter().any(|other| meet(&area(own), other));
        self.hosts.iter().find(meets).map(String::as_str)
    }

    /// Tells of each route that lies outside.
    pub(super) fn check(&self, config: &Config, report: &mut Report) {
        let areas: Vec<Area<'_>> = self.hosts.iter().map(|it| area(it)).collect();
        for (name, api) in config.apis.iter() {
            let pointer = format!("/apis/{}", name.value);
            self.listeners(api, &pointer, report);
            let each = api.hosts.iter().enumerate().map(|(index, host)| {
                (&host.place, Some(host.value.as_str()), format!("{pointer}/hosts/{index}"))
            });
            let any = api.hosts.is_empty().then(|| (&name.place, None, pointer.clone()));
            for (place, host, at) in any.into_iter().chain(each) {
                let of_host: Vec<&Area<'_>> = areas.iter().filter(|it| it.has_host(host)).collect();
                let shown = host.unwrap_or("any host");
                if of_host.is_empty() {
                    let message = format!("`{shown}` is not delegated to this workspace");
                    let help = self.help();
                    report.error("not_delegated", place, message).at(at).help(help);
                    continue;
                }
                for (place, at, pattern, base) in routes(api, &name.place, &pointer) {
                    if of_host.iter().any(|area| area.has_path(&pattern, &base)) {
                        continue;
                    }
                    let message =
                        format!("`{pattern}` of `{shown}` is not delegated to this workspace");
                    report.error("not_delegated", place, message).at(at).help(self.help());
                }
            }
        }
    }

    fn listeners(&self, api: &Api, pointer: &str, report: &mut Report) {
        for (index, listener) in api.listeners.iter().enumerate() {
            if !self.listeners.is_empty() && !self.listeners.contains(&listener.value) {
                let message = format!("the listener `{}` is not this workspace's", listener.value);
                report
                    .error("not_delegated", &listener.place, message)
                    .at(format!("{pointer}/listeners/{index}"))
                    .help(format!("it is served on {}", self.listeners.join(", ")));
            }
        }
    }

    fn help(&self) -> String {
        if self.hosts.is_empty() {
            "nothing is; those who run the platform delegate hosts and paths".to_owned()
        } else {
            format!("it has {}; name its hosts and paths", self.hosts.join(", "))
        }
    }
}

/// The whole patterns of the routes of an API, each with its place and pointer.
fn routes<'a>(
    api: &'a Api,
    place: &'a Place,
    pointer: &str,
) -> Vec<(&'a Place, String, PathPattern, Vec<Segment>)> {
    let parsed = api.path.as_ref().and_then(|path| PathPattern::parse(&path.value).ok());
    let base = match parsed {
        Some(PathPattern::Template { segments, .. }) => segments,
        _ => Vec::new(),
    };
    if api.routes.is_empty() {
        let rest = PathPattern::Template { segments: Vec::new(), tail: Tail::Rest(None) };
        return vec![(place, pointer.to_owned(), rest.below(&base), base)];
    }
    let each = api.routes.iter().enumerate();
    each.map(|(index, route)| {
        let pattern = route.value.path.value.below(&base);
        (&route.place, format!("{pointer}/routes/{index}"), pattern, base.clone())
    })
    .collect()
}
