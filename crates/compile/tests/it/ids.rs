use crate::it::kit::Outer;
use std::collections::BTreeSet;
use testkit::Surroundings;

const CONFIG: &str = "version: 1
listeners: { web: { bind: '0.0.0.0:80' } }
upstreams: { one: { targets: ['10.0.0.1:80'] } }
policies:
  - api_key
  - rate_limit: { limit: 100/s, id: all }
apis:
  orders:
    path: /orders
    upstream: one
    policies: [{ rate_limit: 10/s }]
    routes:
      - GET /{id}: { policies: [{ rate_limit: { limit: 1/s, id: mine } }] }
      - PUT,DELETE /{id}: { name: write, policies: [{ rate_limit: 2/s }] }
  other: { path: /other, upstream: one }
";

/// The ids of all policies of all routes that a config compiles to.
fn ids(outer: &Outer, config: &str) -> BTreeSet<String> {
    let (compiled, report) = outer.compile("yett.yaml", &Surroundings::of(config));
    assert!(!report.has_errors(), "{report}");
    let routes = compiled.unwrap().snapshot.routes;
    let entries = routes.iter().flat_map(|route| route.chain.entries());
    entries.map(|entry| entry.id.to_string()).filter(|id| !id.starts_with("default/")).collect()
}

#[test]
fn an_id_is_made_of_owner_kind_and_own_id() {
    let found = ids(&Outer::new(), CONFIG);
    let found: Vec<&str> = found.iter().map(String::as_str).collect();
    assert_eq!(
        found,
        [
            "(gateway)/api_key",
            "(gateway)/rate_limit/all",
            "orders/GET /{id}/rate_limit/mine",
            "orders/rate_limit",
            "orders/write/rate_limit",
        ]
    );
}

#[test]
fn ids_outlive_changes_that_are_not_about_them() {
    let outer = Outer::new();
    let before = ids(&outer, CONFIG);
    for changed in [
        CONFIG.replace("100/s", "5/min"),
        CONFIG.replace("10.0.0.1:80", "10.0.0.2:80"),
        CONFIG.replace("path: /orders", "path: /v2/orders"),
        CONFIG.replace("  other: { path: /other, upstream: one }\n", ""),
        CONFIG.replace("  - api_key\n  - rate", "  - cors: https://a.test\n  - api_key\n  - rate"),
        format!("# A comment.\n\n{CONFIG}"),
    ] {
        let after = ids(&outer, &changed);
        assert!(after.is_superset(&before), "{changed}\n{after:?}");
    }
}

#[test]
fn state_of_two_owners_never_meets() {
    // An API may be called what the gateway itself is called.
    let config = CONFIG.replace("  orders:\n", "  gateway:\n");
    let (compiled, report) = Outer::new().compile(
        "yett.yaml",
        &Surroundings::of(
            &config.replace("{ rate_limit: 10/s }", "{ rate_limit: { limit: 10/s, id: all } }"),
        ),
    );
    assert!(!report.has_errors(), "{report}");
    for route in compiled.unwrap().snapshot.routes {
        let mut seen = BTreeSet::new();
        for entry in route.chain.entries() {
            assert!(seen.insert(&entry.id), "`{}` twice in the chain of {}", entry.id, route.id);
        }
    }
}

/// A route may be called what a policy of its API is called.
#[tokio::test(start_paused = true)]
async fn state_of_a_route_and_of_its_api_never_meets() {
    let gateway = testkit::TestGateway::new(
        "version: 1
listeners: { public: { bind: '127.0.0.1:8080' } }
apis:
  a:
    public: a test
    policies: [{ rate_limit: { id: rate_limit, limit: 2/h } }, { respond: 204 }]
    routes:
      - GET /one:
          name: rate_limit
          exempt: { rate_limit/rate_limit: it has its own }
          policies: [{ rate_limit: 2/h }]
      - GET /two
",
    );
    for (path, status) in [("/one", "204"), ("/one", "204"), ("/one", "429"), ("/two", "204")] {
        let answer = gateway.ask(&format!("GET {path} HTTP/1.1\n")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
    }
}
