use super::{HostPattern, Lookup, Paths, RouteTree, Rule, Segment};
use crate::chain::Chain;
use crate::head::{RequestHead, Scheme};
use crate::headers::Headers;
use crate::method::MethodSet;
use crate::predicate::{Predicate, Subject, Test};
use crate::snapshot::Route;
use base::Place;
use http::{HeaderValue, Method, Version};
use proptest::prelude::{Strategy, any, prop, prop_assert_eq, prop_oneof, proptest};
use regex::Regex;
use std::sync::Arc;
use telemetry::metrics::Metrics;

/// `host method path [header=value]`; the host `*` is any.
fn rule(text: &str) -> Rule {
    let words: Vec<&str> = text.split(' ').collect();
    let host = match words[0] {
        "*" => HostPattern::Any,
        host => host.strip_prefix("*.").map_or_else(
            || HostPattern::Exact(host.into()),
            |parent| HostPattern::Below(parent.into()),
        ),
    };
    let methods = match words[1] {
        "*" => MethodSet::any(),
        list => {
            list.split(',').map(|m| m.parse().unwrap()).collect::<Vec<Method>>().iter().collect()
        }
    };
    let mut params = Vec::new();
    let predicates: Vec<Predicate> = words[3..].iter().map(|word| predicate(word)).collect();
    let paths = paths(words[2], &mut params);
    let route = Route {
        reserved: None,
        lifecycle: None,
        id: text.into(),
        api: "api".into(),
        name: text.into(),
        hosts: Box::default(),
        pattern: words[2].into(),
        params: params.into(),
        place: Place::unknown(),
        chain: Chain::default(),
        upstream: None,
        public: None,
        exempt: Box::default(),
        broken: None,
        metrics: Metrics::new(1, &[]).route("api", text),
    };
    Rule {
        hosts: vec![host],
        paths,
        methods,
        predicates: predicates.into(),
        route: Arc::new(route),
    }
}

fn predicate(word: &str) -> Predicate {
    let (name, value) = word.split_once('=').unwrap();
    let subject = match name.strip_prefix('?') {
        Some(name) => Subject::Query(name.to_owned()),
        None => Subject::Header(name.parse().unwrap()),
    };
    Predicate { subject, test: Test::Exact(value.to_owned()) }
}

fn paths(pattern: &str, params: &mut Vec<Box<str>>) -> Paths {
    if let Some(regex) = pattern.strip_prefix('~') {
        let regex = Regex::new(&format!("^(?:{regex})$")).unwrap();
        params.extend(regex.capture_names().flatten().map(Into::into));
        return Paths::Regex { regex, prefix: Vec::new() };
    }
    let mut segments = Vec::new();
    for part in pattern.split('/').skip(1) {
        match part.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            _ if part == "*" => return Paths::Below { segments, capture: false },
            Some(name) if name.starts_with('*') => {
                params.push(name.trim_start_matches('*').into());
                return Paths::Below { segments, capture: true };
            }
            Some(name) => {
                params.push(name.into());
                segments.push(Segment::Param);
            }
            None => segments.push(Segment::Static(part.into())),
        }
    }
    if pattern == "/" {
        segments.clear();
    }
    Paths::Whole(segments)
}

fn head(
    method: &str,
    host: &str,
    target: &str,
    header: Option<(&'static str, &str)>,
) -> RequestHead {
    let mut headers = Headers::new();
    if let Some((name, value)) = header {
        headers.insert(http::HeaderName::from_static(name), value.parse().unwrap());
    }
    RequestHead {
        method: method.parse().unwrap(),
        scheme: Scheme::Http,
        host: host.into(),
        authority: HeaderValue::from_str(host).unwrap(),
        target: target.parse().unwrap(),
        version: Version::HTTP_11,
        headers,
    }
}

fn find(tree: &RouteTree, method: &str, host: &str, target: &str) -> String {
    show(tree.find(&head(method, host, target, None), &method.parse().unwrap()))
}

fn show(lookup: Lookup) -> String {
    match lookup {
        Lookup::Found(matched) => {
            let params = matched
                .route
                .params
                .iter()
                .map(|name| format!(" {name}={}", matched.param(name).unwrap_or("(none)")));
            format!("{}{}", matched.route.id, params.collect::<String>())
        }
        Lookup::MethodNotAllowed(allowed) => format!("405 {}", allowed.allow()),
        Lookup::NotFound => "404".to_owned(),
    }
}

fn tree(rules: &[&str]) -> RouteTree {
    RouteTree::build(rules.iter().map(|text| rule(text))).unwrap()
}

#[test]
fn static_beats_parameter_beats_regex_beats_rest() {
    let tree = tree(&[
        "* * /*",
        "* * /orders/{*rest}",
        "* * ~/orders/[0-9]+/lines/(?P<line>[0-9]+)",
        "* * /orders/{id}",
        "* * /orders/new",
    ]);
    assert_eq!(find(&tree, "GET", "h", "/orders/new"), "* * /orders/new");
    assert_eq!(find(&tree, "GET", "h", "/orders/7?x=1"), "* * /orders/{id} id=7");
    assert_eq!(
        find(&tree, "GET", "h", "/orders/7/lines/3"),
        "* * ~/orders/[0-9]+/lines/(?P<line>[0-9]+) line=3"
    );
    assert_eq!(find(&tree, "GET", "h", "/orders/7/x/y"), "* * /orders/{*rest} rest=7/x/y");
    assert_eq!(find(&tree, "GET", "h", "/orders"), "* * /orders/{*rest} rest=");
    assert_eq!(find(&tree, "GET", "h", "/orders/"), "* * /orders/{*rest} rest=");
    assert_eq!(find(&tree, "GET", "h", "/ordersx"), "* * /*");
    assert_eq!(find(&tree, "GET", "h", "/"), "* * /*");
}

#[test]
fn a_regex_is_found_by_its_prefix_and_the_longer_prefix_comes_first() {
    let with = |text: &str, prefix: &[&str]| {
        let mut rule = rule(text);
        if let Paths::Regex { prefix: found, .. } = &mut rule.paths {
            *found = prefix.iter().map(|segment| (*segment).into()).collect();
        }
        rule
    };
    let rules = [
        with("* * ~/.+", &[]),
        with("* * ~/a/.+", &["a"]),
        with("* GET ~/a/b/[0-9]+", &["a", "b"]),
        with("* * ~/a/b/(?P<n>[0-9]+)x", &["a", "b"]),
    ];
    let tree = RouteTree::build(rules).unwrap();
    assert_eq!(find(&tree, "GET", "h", "/a/b/7"), "* GET ~/a/b/[0-9]+");
    assert_eq!(find(&tree, "PUT", "h", "/a/b/7"), "* * ~/a/.+");
    assert_eq!(find(&tree, "GET", "h", "/a/b/7x"), "* * ~/a/b/(?P<n>[0-9]+)x n=7");
    assert_eq!(find(&tree, "GET", "h", "/a/c"), "* * ~/a/.+");
    assert_eq!(find(&tree, "GET", "h", "/a"), "* * ~/.+");
    assert_eq!(find(&tree, "GET", "h", "/"), "404");
}

#[test]
fn a_dead_end_below_a_static_segment_leads_back_to_the_parameter() {
    let tree = tree(&["* * /a/b/c", "* * /{x}/b/d", "* * /a/{y}"]);
    assert_eq!(find(&tree, "GET", "h", "/a/b/d"), "* * /{x}/b/d x=a");
    assert_eq!(find(&tree, "GET", "h", "/a/b"), "* * /a/{y} y=b");
    assert_eq!(find(&tree, "GET", "h", "/a/b/e"), "404");
    assert_eq!(find(&tree, "GET", "h", "/a/"), "404");
}

#[test]
fn the_most_specific_host_comes_first_and_others_fill_in() {
    let tree =
        tree(&["* * /x", "*.example.com * /x", "*.api.example.com * /x", "api.example.com * /x"]);
    assert_eq!(find(&tree, "GET", "api.example.com", "/x"), "api.example.com * /x");
    assert_eq!(find(&tree, "GET", "v1.api.example.com", "/x"), "*.api.example.com * /x");
    assert_eq!(find(&tree, "GET", "www.example.com", "/x"), "*.example.com * /x");
    assert_eq!(find(&tree, "GET", "example.com", "/x"), "* * /x");
    let fill = self::tree(&["api.example.com * /x", "* * /health"]);
    assert_eq!(find(&fill, "GET", "api.example.com", "/health"), "* * /health");
}

#[test]
fn a_wrong_method_is_told_which_would_do() {
    let tree = tree(&["* GET,POST /x", "* DELETE /{id}", "* * /any"]);
    assert_eq!(find(&tree, "DELETE", "h", "/x"), "* DELETE /{id} id=x");
    assert_eq!(find(&tree, "PUT", "h", "/x"), "405 GET, HEAD, POST, DELETE");
    assert_eq!(find(&tree, "HEAD", "h", "/x"), "* GET,POST /x");
    assert_eq!(find(&tree, "PURGE", "h", "/any"), "* * /any");
}

#[test]
fn more_predicates_come_first_and_must_all_hold() {
    let tree = tree(&["* * /x", "* * /x x-beta=1", "* * /x x-beta=1 ?v=2"]);
    let with = |target: &str, beta: Option<(&'static str, &str)>| {
        show(tree.find(&head("GET", "h", target, beta), &Method::GET))
    };
    assert_eq!(with("/x", None), "* * /x");
    assert_eq!(with("/x", Some(("x-beta", "1"))), "* * /x x-beta=1");
    assert_eq!(with("/x?a=b&v=%32", Some(("x-beta", "1"))), "* * /x x-beta=1 ?v=2");
    assert_eq!(with("/x?v=2", None), "* * /x");
}

/// The plain reading of the rules: try every template in order of precedence.
fn naive(rules: &[Rule], path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let parts = if path == "/" { vec![] } else { parts };
    let mut best: Option<(Vec<u8>, &Rule)> = None;
    for rule in rules {
        let (segments, is_below) = match &rule.paths {
            Paths::Whole(segments) => (segments, false),
            Paths::Below { segments, .. } => (segments, true),
            Paths::Regex { .. } => continue,
        };
        let fits = segments.len() <= parts.len()
            && (is_below || segments.len() == parts.len())
            && segments.iter().zip(&parts).all(|(segment, part)| match segment {
                Segment::Static(text) => &**text == *part,
                Segment::Param => !part.is_empty(),
            });
        // Whole before below; then segment by segment static before parameter before the end.
        let mut key = vec![u8::from(is_below)];
        key.extend(segments.iter().map(|s| u8::from(*s == Segment::Param)));
        key.push(2);
        if fits && best.as_ref().is_none_or(|(best, _)| key < *best) {
            best = Some((key, rule));
        }
    }
    best.map(|(_, rule)| rule.route.id.to_string())
}

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![Just("a".to_owned()), Just("b".to_owned()), Just("{p}".to_owned())]
}

use proptest::prelude::Just;

proptest! {
    #[test]
    fn the_tree_agrees_with_a_naive_matcher(
        templates in prop::collection::hash_set(
            (prop::collection::vec(segment(), 0..4), any::<bool>()), 1..12),
        path in prop::collection::vec(prop_oneof![Just("a"), Just("b"), Just("c")], 0..5),
    ) {
        let rules: Vec<Rule> = templates
            .iter()
            .map(|(segments, is_below)| {
                let mut pattern: String = segments.iter().map(|s| format!("/{s}")).collect();
                if *is_below {
                    pattern += "/*";
                } else if pattern.is_empty() {
                    pattern += "/";
                }
                rule(&format!("* * {pattern}"))
            })
            .collect();
        let path = format!("/{}", path.join("/"));
        let tree = RouteTree::build(rules.clone()).unwrap();
        let found = match tree.find(&head("GET", "h", &path, None), &Method::GET) {
            Lookup::Found(matched) => Some(matched.route.id.to_string()),
            _ => None,
        };
        prop_assert_eq!(found, naive(&rules, &path));
    }
}
