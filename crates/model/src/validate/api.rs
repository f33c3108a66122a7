//! APIs, and what their parts refer to.

use super::{lifecycle, pointer, reason, route, unknown};
use crate::authority::{Host, dns_name, parse_host};
use crate::path::{PathPattern, Segment, Tail};
use crate::{Api, Config, PolicyConfig};
use base::report::did_you_mean;
use base::{Node, Placed, Report, Value};
use std::collections::{HashMap, HashSet};

/// What is defined elsewhere, for looking up.
pub(super) struct Known<'a> {
    pub(super) config: &'a Config,
    pub(super) upstreams: HashSet<&'a str>,
    listeners: HashSet<&'a str>,
}

pub(super) fn check(config: &Config, report: &mut Report) {
    let has_http = config.listeners.iter().any(|(_, listener)| listener.speaks_http());
    // Beside a control plane they are published there.
    let is_alone = config.control.as_ref().is_none_or(|control| control.off);
    if config.apis.is_empty() && is_alone && (has_http || config.listeners.is_empty()) {
        report
            .warning("no_api", &config.version.place, "there is no API, so every request gets 404")
            .help("add one under `apis:`");
    }
    let known = Known {
        config,
        upstreams: config.upstreams.names().collect(),
        listeners: config.listeners.names().collect(),
    };
    for (name, api) in config.apis.iter() {
        hosts(name, api, report);
        let base = base_path(name, api, report);
        references(name, api, &known, report);
        lifecycle::check(name, api, config, report);
        if let Some(public) = &api.public {
            reason("`public`", &public.place, public, report);
        }
        for (policy, text) in api.exempt.iter() {
            reason("an exemption", &policy.place, text, report);
        }
        if api.routes.is_empty() && api.upstream.is_none() && !has_policies(config, api) {
            let message = format!("API `{}` has neither routes nor an upstream", name.value);
            report
                .error("nowhere_to_go", &name.place, message)
                .help("add `upstream:` to send it everything below its path, or add `routes:`");
        }
        let mut route_names = HashMap::new();
        for route in &api.routes {
            route::check(route, api, &base, &known, report);
            if let Some(name) = &route.name
                && let Some(first) = route_names.insert(name.as_str(), &name.place)
            {
                let message = format!("two routes of one API are named `{}`", name.value);
                report
                    .error("duplicate_name", &name.place, message)
                    .help(format!("the other is at {first}"));
            }
        }
    }
    unused_upstreams(config, report);
}

/// Whether some policy could answer in place of an upstream.
pub(super) fn has_policies(config: &Config, api: &Api) -> bool {
    !config.policies.is_empty() || !api.policies.is_empty()
}

fn hosts(name: &Placed<String>, api: &Api, report: &mut Report) {
    let mut seen = HashMap::new();
    for (index, host) in api.hosts.iter().enumerate() {
        if let Err((message, help)) = self::host(host) {
            report
                .error("invalid_host", &host.place, message)
                .at(pointer(&["apis", name, "hosts", &index.to_string()]))
                .help(help);
        }
        if let Some(first) = seen.insert(host.as_str(), &host.place) {
            report
                .error("duplicate_host", &host.place, format!("`{}` appears twice", host.value))
                .help(format!("it is already listed at {first}"));
        }
    }
}

/// Checks a host as it is compared with those of requests: in lower case, without a port.
/// Checks a host, or a pattern of hosts; says what is wrong, and what to write.
pub(crate) fn host(text: &str) -> Result<(), (String, String)> {
    const HELP: &str =
        "a host is a name such as `api.example.com`, or `*.example.com` for all below it";
    if text == "*" {
        return Err((
            "`*` is not a host".to_owned(),
            "leave `hosts` out to serve any host".to_owned(),
        ));
    }
    let (name, is_wildcard) = match text.strip_prefix("*.") {
        Some(below) => (below, true),
        None => (text, false),
    };
    if name.contains('*') {
        let message =
            format!("`{text}`: a `*` can only stand for what comes first, as in `*.name`");
        return Err((message, HELP.to_owned()));
    }
    if let Some((before, port)) = name.rsplit_once(':')
        && port.bytes().all(|b| b.is_ascii_digit())
        && !before.contains(':')
    {
        let message = format!("`{text}` has a port, but hosts are compared without");
        let star = if is_wildcard { "*." } else { "" };
        return Err((message, format!("write `{star}{before}`; ports belong to listeners")));
    }
    let found = if is_wildcard { dns_name(name).map(Host::Name) } else { parse_host(name) };
    let canonical = found.map_err(|message| (message, HELP.to_owned()))?.to_string();
    if canonical != name {
        let star = if is_wildcard { "*." } else { "" };
        return Err((
            format!("`{text}` is not written as it is compared"),
            format!("write `{star}{canonical}`"),
        ));
    }
    Ok(())
}

/// The segments that all routes of the API begin with; nothing if its path is wrong.
pub(super) fn segments(api: &Api) -> Option<Vec<Segment>> {
    let Some(path) = &api.path else { return Some(Vec::new()) };
    match PathPattern::parse(path) {
        Ok(PathPattern::Template { segments, tail: Tail::End }) => Some(segments)
            .filter(|segments| segments.last() != Some(&Segment::Static(String::new()))),
        _ => None,
    }
}

fn base_path(name: &Placed<String>, api: &Api, report: &mut Report) -> Vec<Segment> {
    let Some(path) = &api.path else { return Vec::new() };
    let (message, help) = match PathPattern::parse(path) {
        Err(message) => (message, "the path of an API is such as `/orders` or `/tenants/{tenant}`"),
        Ok(PathPattern::Regex(_)) => (
            "the path of an API cannot be a regular expression".to_owned(),
            "put the regular expression into its routes",
        ),
        Ok(PathPattern::Template { tail: Tail::Rest(_), .. }) => (
            "the path of an API is the beginning of those of its routes, so it needs no `*`"
                .to_owned(),
            "remove the last segment",
        ),
        Ok(PathPattern::Template { segments, .. })
            if segments.last() == Some(&Segment::Static(String::new())) =>
        {
            ("the path of an API does not end with `/`".to_owned(), "remove the last `/`")
        }
        Ok(PathPattern::Template { segments, .. }) => return segments,
    };
    report
        .error("invalid_path", &path.place, message)
        .at(pointer(&["apis", name, "path"]))
        .help(help);
    Vec::new()
}

fn references(name: &Placed<String>, api: &Api, known: &Known<'_>, report: &mut Report) {
    let mut seen = HashSet::new();
    for listener in &api.listeners {
        if !known.listeners.contains(listener.as_str()) {
            unknown("listener", listener, &known.config.listeners, report);
        } else if known.config.listeners.get(listener).is_some_and(|to| !to.speaks_http()) {
            let message =
                format!("listener `{}` passes bytes on: it has no routes", listener.value);
            report.error("no_http", &listener.place, message).help(
                "name a listener without `tcp`, or one that has `tls` beside its `passthrough`",
            );
        } else if !seen.insert(listener.as_str()) {
            let message = format!("`{}` appears twice", listener.value);
            report.error("duplicate_name", &listener.place, message).help("remove one of them");
        }
    }
    let mut listeners = known.config.listeners.iter();
    if api.listeners.is_empty()
        && !known.config.listeners.is_empty()
        && listeners.all(|(_, listener)| !listener.speaks_http())
    {
        report
            .error(
                "no_http",
                &name.place,
                "every listener passes bytes on: nobody reaches this API",
            )
            .help("add a listener without `tcp`, such as `public: { bind: 0.0.0.0:8080 }`");
    }
    if let Some(upstream) = &api.upstream {
        known.upstream(upstream, report);
    }
}

impl Known<'_> {
    /// Checks that an upstream exists.
    pub(super) fn upstream(&self, name: &Placed<String>, report: &mut Report) {
        if !self.upstreams.contains(name.as_str()) {
            unknown("upstream", name, &self.config.upstreams, report);
        }
    }
}

/// Warns of upstreams that nothing refers to. What policies refer to is not known here, so that any
/// text in their settings counts, keys included, and every word of it: `10% to orders`.
fn unused_upstreams(config: &Config, report: &mut Report) {
    let mut used = HashSet::new();
    policies(&config.policies, &mut used);
    for (_, listener) in config.listeners.iter() {
        let relays = listener.tcp.iter().chain(listener.passthrough.iter().map(|(_, to)| to));
        used.extend(relays.map(|relay| relay.upstream.as_str()));
    }
    for (_, api) in config.apis.iter() {
        used.extend(api.upstream.as_ref().map(|name| name.as_str()));
        policies(&api.policies, &mut used);
        for route in &api.routes {
            used.extend(route.settings.upstream.as_ref().map(|name| name.as_str()));
            policies(&route.settings.policies, &mut used);
        }
    }
    // A name that was misspelt is no reason to call the right one unused as well.
    let known: HashSet<&str> = config.upstreams.names().collect();
    let misspelt: Vec<&str> = used.iter().copied().filter(|name| !known.contains(name)).collect();
    for name in misspelt {
        used.extend(did_you_mean(name, config.upstreams.names()));
    }
    for (name, _) in config.upstreams.iter().filter(|(name, _)| !used.contains(name.as_str())) {
        report
            .warning(
                "unused_upstream",
                &name.place,
                format!("nothing uses upstream `{}`", name.value),
            )
            .help("remove it, or name it as the `upstream` of an API or route");
    }
}

fn policies<'a>(policies: &'a [PolicyConfig], used: &mut HashSet<&'a str>) {
    policies.iter().for_each(|policy| texts(&policy.settings, used));
}

fn texts<'a>(node: &'a Node, found: &mut HashSet<&'a str>) {
    match &node.value {
        Value::Text(text) => {
            found.insert(text);
            found.extend(text.split_whitespace());
        }
        Value::List(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Map(fields) => fields.iter().for_each(|(name, node)| {
            found.insert(name);
            texts(node, found);
        }),
        _ => {}
    }
}
