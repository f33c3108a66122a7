//! Routes and the trees that find them.

use crate::chains::{self, Owned, Owner};
use crate::inputs::Inputs;
use crate::lifecycle;
use crate::plans;
use crate::rooms::{Household, Room};
use crate::upstreams::method;
use base::{Place, Placed, Report};
use http::{HeaderName, Method};
use model::api::ApiState;
use model::join::split;
use model::path::{self, PathPattern, Tail};
use model::route::{RouteSettings, ValueMatch};
use model::{Api, Config, Map, Route};
use regex::{Regex, RegexBuilder};
use regex_syntax::hir::literal::{ExtractKind, Extractor};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use traffic::Chain;
use traffic::method::MethodSet;
use traffic::predicate::{Predicate, Subject, Test};
use traffic::snapshot::Lifecycle;
use traffic::tree::{HostPattern, Paths, RouteTree, Rule, Segment};
use traffic::upstream::Upstream;

/// A route and the listeners it is served on; all when empty.
pub(crate) struct PlacedRule {
    pub(crate) listeners: Vec<String>,
    pub(crate) rule: Rule,
}

/// Compiles the routes of all APIs, and what treats the answers to requests that none of them takes.
pub(crate) fn compile(
    config: &Config,
    platform: &Household<'_>,
    workspaces: &[Household<'_>],
    inputs: Inputs<'_>,
    report: &mut Report,
) -> (Vec<PlacedRule>, Option<Arc<Chain>>) {
    let owner = Owner { id: chains::GATEWAY, path: String::new(), params: &[] };
    let gateway = chains::build(&owner, &plans::with_policy(config, None), platform.room(), report);
    let defaults = chains::defaults(inputs, report);
    let above = Above { gateway, workspace: Owned::default() };
    let of_workspaces: Vec<Above> =
        workspaces.iter().map(|it| Above::new(config, it, platform, report)).collect();
    let mut rules = Vec::new();
    for (name, api) in config.apis.iter() {
        let (workspace, own_name) = split(&name.value);
        let at = workspaces.iter().position(|it| it.workspace() == workspace);
        let household = at.and_then(|at| workspaces.get(at));
        // An API of a workspace that nobody knows is served by nobody.
        if workspace.is_some() && household.is_none() {
            continue;
        }
        let room = household.unwrap_or(platform).room();
        let above = at.and_then(|at| of_workspaces.get(at)).unwrap_or(&above);
        let base = base_segments(api);
        let params = names(&PathPattern::Template { segments: base.clone(), tail: Tail::End });
        let path = format!("/apis/{own_name}");
        let owner = Owner { id: &name.value, path, params: &params };
        let owned = chains::build(&owner, &api.policies, room, report);
        let lifecycle = lifecycle::compile(name, api, config, inputs, report);
        let defaults = &defaults;
        let mut whole =
            Whole { name, own_name, api, base, defaults, above, owned, lifecycle, room };
        let before = rules.len();
        if api.routes.is_empty() {
            let pattern = PathPattern::Template { segments: Vec::new(), tail: Tail::Rest(None) };
            let path = Placed { place: name.place.clone(), value: pattern };
            let all =
                Route { name: None, methods: Vec::new(), path, settings: RouteSettings::default() };
            rules.extend(whole.route(0, &all, &name.place, report));
        }
        for (index, route) in api.routes.iter().enumerate() {
            rules.extend(whole.route(index, &route.value, &route.place, report));
        }
        // What is wrong with a draft is told, but nobody is served by it.
        if api.state == ApiState::Draft {
            rules.truncate(before);
        }
    }
    (rules, chains::replies(&above.gateway))
}

/// What stands above the APIs.
struct Above {
    gateway: Owned,
    /// What a workspace says for all its APIs.
    workspace: Owned,
}

impl Above {
    /// Of a workspace.
    fn new(
        config: &Config,
        household: &Household<'_>,
        platform: &Household<'_>,
        report: &mut Report,
    ) -> Self {
        let name = household.workspace();
        let owner = Owner { id: chains::GATEWAY, path: String::new(), params: &[] };
        let written = plans::with_policy(config, name);
        // What is wrong with them was told of the platform.
        let mut told = Report::new();
        let mut gateway = chains::build(&owner, &written, household.gateway(platform), &mut told);
        gateway.is_locked = true;
        let id = format!("({})", name.unwrap_or_default());
        let owner = Owner { id: &id, path: String::new(), params: &[] };
        let policies = household.furniture.map_or(&[][..], |it| &it.part.policies);
        Self { gateway, workspace: chains::build(&owner, policies, household.room(), report) }
    }
}

/// The tree of one listener.
pub(crate) fn tree(
    listener: &str,
    rules: &[PlacedRule],
    place: &Place,
    report: &mut Report,
) -> Option<RouteTree> {
    let served = rules
        .iter()
        .filter(|rule| rule.listeners.is_empty() || rule.listeners.iter().any(|l| l == listener));
    match RouteTree::build(served.map(|placed| placed.rule.clone())) {
        Ok(tree) => Some(tree),
        Err(error) => {
            let message = format!("the regular expressions of this listener's routes: {error}");
            report.error("bad_regex", place, message);
            None
        }
    }
}

/// An API and what its routes are compiled with.
struct Whole<'a> {
    name: &'a Placed<String>,
    /// Its name in its workspace.
    own_name: &'a str,
    api: &'a Api,
    base: Vec<path::Segment>,
    defaults: &'a Owned,
    above: &'a Above,
    owned: Owned,
    lifecycle: Option<Arc<Lifecycle>>,
    room: Room<'a>,
}

impl Whole<'_> {
    fn route(
        &mut self,
        index: usize,
        written: &Route,
        place: &Place,
        report: &mut Report,
    ) -> Option<PlacedRule> {
        let pattern = written.path.value.below(&self.base);
        let params = names(&pattern);
        let name = route_name(written, self.api.routes.is_empty());
        let id = format!("{}/{name}", self.name.value);
        let path = format!("/apis/{}/routes/{index}", self.own_name);
        let owner = Owner { id: &id, path, params: &params };
        let policies = &written.settings.policies;
        let owned = chains::build(&owner, policies, self.room, report);
        let none = Map::default();
        let Above { gateway, workspace } = self.above;
        let layers = [
            (gateway, &none),
            (workspace, &none),
            (&self.owned, &self.api.exempt),
            (&owned, &written.settings.exempt),
        ];
        let effective = chains::join(self.defaults, &layers, (&self.name.value, &name), report);
        let public = written.settings.public.as_ref().or(self.api.public.as_ref());
        let layers = [gateway, workspace, &self.owned, &owned];
        let is_broken = layers.iter().any(|layer| layer.is_broken);
        let is_closed = check_identity(public, effective.identity, is_broken, place, report);
        if let Some(reason) = public.filter(|_| is_closed) {
            nobody_passes(reason, &effective.chain, report);
        }
        // A broken policy may be the one that would have answered.
        let needs_none = effective.answers || effective.steers || is_broken;
        let upstream = self.upstream(written, needs_none, place, report);
        let predicates = predicates(&written.settings);
        let broken = (is_broken || !is_closed || upstream.is_err() || predicates.is_none())
            .then(|| Arc::from(format!("the config of this route has a problem, see {place}")));
        let paths = paths(&pattern)?;
        let route = traffic::Route {
            id: Arc::from(id.as_str()),
            api: Arc::from(self.name.value.as_str()),
            name: Arc::from(name.as_str()),
            hosts: self.api.hosts.iter().map(|host| host.value.as_str().into()).collect(),
            pattern: Arc::from(pattern.to_string()),
            params,
            place: place.clone(),
            chain: effective.chain,
            upstream: upstream.unwrap_or_default(),
            public: public.map(|reason| Arc::from(reason.value.as_str())),
            exempt: effective.exempt.into(),
            broken,
            metrics: self.room.inputs.metrics.route(&self.name.value, &name),
            reserved: None,
            lifecycle: self.lifecycle.clone(),
        };
        let rule = Rule {
            hosts: hosts(self.api),
            paths,
            methods: methods(&written.methods, place, report),
            predicates: predicates.unwrap_or_default().into(),
            route: Arc::new(route),
        };
        let listeners = self.api.listeners.iter().map(|name| name.value.clone()).collect();
        Some(PlacedRule { listeners, rule })
    }

    /// Where the route's requests go.
    fn upstream(
        &self,
        written: &Route,
        needs_none: bool,
        place: &Place,
        report: &mut Report,
    ) -> Result<Option<Arc<dyn Upstream>>, ()> {
        let named = written.settings.upstream.as_ref().or(self.api.upstream.as_ref());
        match named {
            None if needs_none => Ok(None),
            None => {
                report
                    .error("no_upstream", place, "this route goes nowhere")
                    .help("give it or its API an `upstream`, or a policy that answers or chooses one: `respond`, `redirect`, `steer`, `split`");
                Err(())
            }
            // An unknown name was reported by the model.
            Some(name) => match self.room.upstreams.get(&name.value) {
                Some(Some(upstream)) => Ok(Some(Arc::clone(upstream))),
                _ => Err(()),
            },
        }
    }
}

/// Zero trust: who calls must be known, unless the route says why not.
fn check_identity(
    public: Option<&Placed<String>>,
    identity: Option<&'static str>,
    is_broken: bool,
    place: &Place,
    report: &mut Report,
) -> bool {
    match (public, identity) {
        // A broken policy may be the one that would have found that out; the route answers 503.
        (None, None) if is_broken => false,
        (None, None) => {
            report
                .error("open_route", place, "anybody could call this route: no policy finds out who calls")
                .help("add an identity policy such as `api_key` to the route, its API or the gateway, or say why it is open: `public: \"reason\"`");
            false
        }
        (Some(reason), Some(kind)) => {
            let message = format!("`public` says that anybody may call, but `{kind}` applies");
            report.error("contradiction", &reason.place, message).help(format!(
                "remove `public`, or leave the policy out: `exempt: {{ {kind}: \"reason\" }}`"
            ));
            false
        }
        _ => true,
    }
}

/// Kinds that let nobody pass who is not identified.
const ASK_WHO: [&str; 3] = ["acl", "scopes", "rbac"];

/// Warns of a public route that nobody may call.
fn nobody_passes(public: &Placed<String>, chain: &Chain, report: &mut Report) {
    let asks = |kind: &&str| ASK_WHO.contains(kind);
    if let Some(kind) = chain.entries().iter().map(|entry| entry.kind).find(asks) {
        let message =
            format!("`public` lets nobody be identified, so that `{kind}` refuses every request");
        report.warning("contradiction", &public.place, message).help(format!(
            "remove `public` and identify callers, or leave the policy out: `exempt: {{ {kind}: \"reason\" }}`"
        ));
    }
}

fn base_segments(api: &Api) -> Vec<path::Segment> {
    let parsed = api.path.as_ref().and_then(|path| PathPattern::parse(&path.value).ok());
    match parsed {
        Some(PathPattern::Template { segments, .. }) => segments,
        _ => Vec::new(),
    }
}

fn names(pattern: &PathPattern) -> Box<[Box<str>]> {
    pattern.params().into_iter().map(String::into_boxed_str).collect()
}

/// What was written of a route; none for all of an API.
pub(crate) struct Written<'a> {
    api: &'a Api,
    route: Option<&'a Route>,
}

impl Written<'_> {
    pub(crate) fn methods(&self) -> BTreeSet<String> {
        self.route.map(|route| route.methods.iter().cloned().collect()).unwrap_or_default()
    }

    pub(crate) fn listeners(&self) -> BTreeSet<String> {
        self.api.listeners.iter().map(|name| name.value.clone()).collect()
    }

    /// What headers and query parameters must be.
    pub(crate) fn conditions(&self) -> BTreeSet<String> {
        let Some(settings) = self.route.map(|route| &route.settings) else {
            return BTreeSet::new();
        };
        let named = |sign: &'static str| {
            move |(name, value): (&Placed<String>, &ValueMatch)| {
                format!("{sign}{}={}", name.value, shown(value))
            }
        };
        settings
            .headers
            .iter()
            .map(named(""))
            .chain(settings.query.iter().map(named("?")))
            .collect()
    }
}

/// What was written of each route, by its id.
pub(crate) fn written_by_id(config: &Config) -> BTreeMap<String, Written<'_>> {
    let mut all = BTreeMap::new();
    for (name, api) in config.apis.iter() {
        if api.routes.is_empty() {
            all.insert(format!("{}/{ALL}", name.value), Written { api, route: None });
        }
        for route in &api.routes {
            let route = &route.value;
            let id = format!("{}/{}", name.value, route_name(route, false));
            all.insert(id, Written { api, route: Some(route) });
        }
    }
    all
}

/// What the only route of an API without routes is called.
const ALL: &str = "all";

/// Methods and path below the API, unless it was given a name.
pub(crate) fn route_name(written: &Route, is_whole_api: bool) -> String {
    if let Some(name) = &written.name {
        return name.value.clone();
    }
    if is_whole_api {
        return ALL.to_owned();
    }
    let methods =
        if written.methods.is_empty() { "*".to_owned() } else { written.methods.join(",") };
    let mut name = format!("{methods} {}", written.path.value);
    for (predicate, value) in written.settings.headers.iter() {
        name.push_str(&format!(" {}={}", predicate.value, shown(value)));
    }
    for (predicate, value) in written.settings.query.iter() {
        name.push_str(&format!(" ?{}={}", predicate.value, shown(value)));
    }
    name
}

/// The methods of each route by its id, none for a route that answers every method.
pub(crate) fn methods_by_id(config: &Config) -> BTreeMap<String, Vec<Method>> {
    let routes = config
        .apis
        .iter()
        .flat_map(|(api, written)| written.routes.iter().map(move |route| (api, &route.value)));
    let with_methods = routes.map(|(api, route)| {
        let id = format!("{}/{}", api.value, route_name(route, false));
        let methods = route.methods.iter().filter_map(|it| Method::from_bytes(it.as_bytes()).ok());
        (id, methods.collect())
    });
    with_methods.collect()
}

fn shown(value: &ValueMatch) -> String {
    match value {
        ValueMatch::Exact(text) => text.clone(),
        ValueMatch::Regex(pattern) => format!("~{pattern}"),
        ValueMatch::Present(present) => if *present { "*" } else { "-" }.to_owned(),
    }
}

fn hosts(api: &Api) -> Vec<HostPattern> {
    if api.hosts.is_empty() {
        return vec![HostPattern::Any];
    }
    let pattern = |host: &Placed<String>| match host.value.strip_prefix("*.") {
        Some(parent) => HostPattern::Below(parent.into()),
        None => HostPattern::Exact(host.value.as_str().into()),
    };
    api.hosts.iter().map(pattern).collect()
}

fn paths(pattern: &PathPattern) -> Option<Paths> {
    let (segments, tail) = match pattern {
        PathPattern::Regex(pattern) => {
            let regex = regex(pattern)?;
            let prefix = prefix(regex.as_str());
            return Some(Paths::Regex { regex, prefix });
        }
        PathPattern::Template { segments, tail } => (segments, tail),
    };
    let segment = |segment: &path::Segment| match segment {
        path::Segment::Static(text) => Segment::Static(text.as_str().into()),
        path::Segment::Param(_) => Segment::Param,
    };
    let segments = segments.iter().map(segment).collect();
    Some(match tail {
        Tail::End => Paths::Whole(segments),
        Tail::Rest(name) => Paths::Below { segments, capture: name.is_some() },
    })
}

/// The whole segments with which every path begins that an expression matches.
fn prefix(pattern: &str) -> Vec<Box<str>> {
    let Ok(hir) = regex_syntax::parse(pattern) else { return Vec::new() };
    let beginnings = Extractor::new().kind(ExtractKind::Prefix).extract(&hir);
    let common = beginnings.longest_common_prefix().unwrap_or_default();
    let common = std::str::from_utf8(common).unwrap_or_default();
    let Some((whole, _)) = common.strip_prefix('/').and_then(|path| path.rsplit_once('/')) else {
        return Vec::new();
    };
    whole.split('/').map(Into::into).collect()
}

/// A regular expression over a whole value. What is wrong with one was reported by the model.
fn regex(pattern: &str) -> Option<Regex> {
    let mut builder = RegexBuilder::new(&format!("^(?:{pattern})$"));
    builder.size_limit(base::caps::REGEX_BYTES_MAX).build().ok()
}

fn methods(written: &[String], place: &Place, report: &mut Report) -> MethodSet {
    if written.is_empty() {
        return MethodSet::any();
    }
    let mut set = MethodSet::default();
    for name in written {
        if let Some(method) = method(name, place, report) {
            set.insert(&method);
        }
    }
    set
}

/// What else a request must carry; nothing when any of it cannot be compiled, since without it the
/// route would match more than was meant. What is wrong was reported by the model.
fn predicates(settings: &RouteSettings) -> Option<Vec<Predicate>> {
    let headers = settings.headers.iter().map(|(name, value)| {
        let subject = Subject::Header(HeaderName::from_bytes(name.value.as_bytes()).ok()?);
        Some(Predicate { subject, test: test(value)? })
    });
    let query = settings.query.iter().map(|(name, value)| {
        Some(Predicate { subject: Subject::Query(name.value.clone()), test: test(value)? })
    });
    headers.chain(query).collect()
}

fn test(written: &ValueMatch) -> Option<Test> {
    match written {
        ValueMatch::Exact(text) => Some(Test::Exact(text.clone())),
        ValueMatch::Regex(pattern) => regex(pattern).map(Test::Regex),
        ValueMatch::Present(present) => Some(Test::Present(*present)),
    }
}

#[cfg(test)]
mod tests {
    use super::prefix;

    #[test]
    fn the_prefix_of_an_expression_is_whole_segments() {
        let of = |pattern: &str| prefix(&format!("^(?:{pattern})$")).join(" ");
        assert_eq!(of("/orders/[0-9]+/lines"), "orders");
        assert_eq!(of("/orders(?:/v1/[a-z]+)"), "orders v1");
        assert_eq!(of("/a/b/c"), "a b");
        assert_eq!(of("/a/(b|c)/d"), "a");
        assert_eq!(of("/a/x|/b/x"), "");
        assert_eq!(of("(?i)/a/x"), "");
        assert_eq!(of("/files?/x"), "");
        assert_eq!(of("/[a-z]+/x"), "");
        assert_eq!(of(".*"), "");
    }
}
