use crate::it::kit::{Outer, compiled};
use http::{HeaderValue, Method, Version};
use std::fmt::Write as _;
use std::sync::Arc;
use testkit::Surroundings;
use traffic::head::{RequestHead, Scheme};
use traffic::snapshot::Snapshot;
use traffic::tree::Lookup;

const APIS: usize = 100;
const ROUTES: usize = 100;

/// A hundred APIs of a hundred routes, half of them with a parameter, a tenth a regular expression.
fn config() -> String {
    let mut text = "version: 1
listeners: { web: { bind: '0.0.0.0:80' } }
upstreams: { one: { targets: ['10.0.0.1:80'] } }
apis:
"
    .to_owned();
    for api in 0..APIS {
        let host = if api % 10 == 9 { format!("'*.h{api}.test'") } else { format!("h{api}.test") };
        let head = format!("hosts: [{host}]\n    upstream: one\n    public: a test\n    routes:");
        writeln!(text, "  api{api}:\n    {head}").unwrap();
        for route in 0..ROUTES {
            let path = match route % 10 {
                0 => format!("\"~/x{route}/[0-9]+\""),
                n if n % 2 == 0 => format!("'/p{route}/{{id}}'"),
                _ => format!("/s{route}/fixed"),
            };
            writeln!(text, "      - {{ name: r{route}, methods: [GET], path: {path} }}").unwrap();
        }
    }
    text
}

fn find(snapshot: &Snapshot, host: &str, target: &str) -> Option<(String, Option<String>)> {
    let head = RequestHead {
        method: Method::GET,
        scheme: Scheme::Http,
        host: Arc::from(host),
        authority: HeaderValue::from_str(host).unwrap(),
        target: target.parse().unwrap(),
        version: Version::HTTP_11,
        headers: traffic::Headers::new(),
    };
    match snapshot.listeners[0].tree.find(&head, &Method::GET) {
        Lookup::Found(matched) => {
            Some((matched.route.id.to_string(), matched.param("id").map(str::to_owned)))
        }
        Lookup::NotFound | Lookup::MethodNotAllowed(_) => None,
    }
}

#[test]
fn each_of_ten_thousand_routes_is_found() {
    let snapshot = compiled(&config()).snapshot;
    assert_eq!(snapshot.routes.len(), APIS * ROUTES);
    for api in 0..APIS {
        let host = if api % 10 == 9 { format!("www.h{api}.test") } else { format!("h{api}.test") };
        for route in 0..ROUTES {
            let (path, id) = match route % 10 {
                0 => (format!("/x{route}/42"), None),
                n if n % 2 == 0 => (format!("/p{route}/k{api}"), Some(format!("k{api}"))),
                _ => (format!("/s{route}/fixed"), None),
            };
            let expected = Some((format!("api{api}/r{route}"), id));
            assert_eq!(find(&snapshot, &host, &path), expected, "{host}{path}");
        }
        assert_eq!(find(&snapshot, &host, "/x0/abc"), None);
        assert_eq!(find(&snapshot, &host, "/s1"), None);
        assert_eq!(find(&snapshot, "other.test", "/s1/fixed"), None);
    }
}

#[test]
fn a_second_compilation_is_like_the_first() {
    let outer = Outer::new();
    let around = Surroundings::of(&config());
    let shape = || {
        let (compiled, report) = outer.compile("yett.yaml", &around);
        assert!(!report.has_errors(), "{report}");
        let routes = compiled.unwrap().snapshot.routes;
        routes.iter().map(|r| (r.id.to_string(), r.pattern.to_string())).collect::<Vec<_>>()
    };
    let (first, second) = (shape(), shape());
    assert_eq!(first, second);
}
