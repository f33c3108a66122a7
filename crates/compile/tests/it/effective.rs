//! What a config comes to, and what a change of it means.

use crate::it::kit::Outer;
use compile::effective;
use model::effective::{EffectiveConfig, Level, diff};
use testkit::Surroundings;

fn comes_to(config: &str) -> EffectiveConfig {
    let around = Surroundings::of(config);
    let (compiled, report) = Outer::new().compile("yett.yaml", &around);
    assert!(!report.has_errors(), "{report}\n{config}");
    let config = model::load("yett.yaml", &around).config.unwrap();
    effective(&config, &compiled.unwrap().snapshot)
}

const SHOP: &str = "version: 1
state_dir: state
listeners:
  inside: { bind: '127.0.0.1:8080' }
  outside: { bind: '10.1.2.3:80' }
upstreams:
  shop: { targets: ['10.0.0.1:80'] }
  other: { targets: ['10.0.0.2:80'] }
plans:
  gold: { limit: 100/s, default: true }
policies:
  - rate_limit: 1000/min
apis:
  shop:
    hosts: [shop.test]
    listeners: [inside]
    path: /shop
    upstream: shop
    policies: [hmac, { acl: [alice] }]
    routes:
      - GET /{id}: { name: one }
      - POST /: { name: make, policies: [{ rate_limit: 5/s }] }
consumers:
  alice: { groups: [staff] }
";

#[test]
fn everything_that_holds_for_a_route_is_told_of_it() {
    let config = comes_to(SHOP);
    assert_eq!(config.admin.as_deref(), Some("127.0.0.1:9901"));
    assert_eq!(config.listeners["inside"].bind, "127.0.0.1:8080");
    assert_eq!(config.plans["gold"].about, ["100/s"]);
    let route = &config.routes["shop/make"];
    assert_eq!(route.matching.path, "/shop");
    assert_eq!(route.matching.methods.iter().collect::<Vec<_>>(), ["POST"]);
    assert_eq!(route.upstream.as_deref(), Some("shop"));
    let ids: Vec<&str> = route.chain.iter().map(|policy| policy.id.as_str()).collect();
    let expected = [
        "shop/hmac",
        "shop/acl",
        "(gateway)/plan",
        "(gateway)/rate_limit",
        "shop/make/rate_limit",
        "default/body_limit",
    ];
    assert_eq!(ids, expected);
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<EffectiveConfig>(&json).unwrap(), config);
}

#[test]
fn where_and_in_which_order_something_is_written_changes_nothing() {
    let before = comes_to(SHOP);
    let moved = SHOP.replace("apis:\n", "# a comment\n\n\napis:\n").replace(
        "plans:\n  gold: { limit: 100/s, default: true }\n",
        "plans:\n  gold:\n    default: true\n    limit: '100/s'\n",
    );
    let routes = "      - GET /{id}: { name: one }\n";
    let last = SHOP.find("consumers:").unwrap();
    let (head, tail) = moved.split_at(moved.len() - (SHOP.len() - last));
    let moved = format!("{}{routes}{tail}", head.replace(routes, ""));
    assert_ne!(moved, SHOP);
    assert_eq!(comes_to(&moved), before);
}

/// What is said of a change, the worst first.
fn said(from: &str, to: &str) -> (Option<Level>, String) {
    let changed = SHOP.replacen(from, to, 1);
    assert_ne!(changed, SHOP, "{from}");
    let found = diff(&comes_to(SHOP), &comes_to(&changed));
    (found.level(), found.to_string())
}

#[test]
fn what_opens_something_is_called_a_danger() {
    for (from, to, says) in [
        (
            "{ name: one }",
            "{ name: one, public: a test, exempt: { hmac: a test, acl: a test } }",
            "danger   route shop/one: becomes public, so that anybody may call it: a test",
        ),
        (
            "hmac,",
            "api_key,",
            "danger   route shop/make, route shop/one: asks for `api_key` in place of `hmac`, which proves less",
        ),
        (
            ", { acl: [alice] }]",
            "]",
            "danger   route shop/make, route shop/one: `acl` no longer applies",
        ),
        (
            ", policies: [{ rate_limit: 5/s }] }",
            " }",
            "danger   route shop/make: `rate_limit` no longer applies: it said `5/s",
        ),
        (
            "hosts: [shop.test]",
            "hosts: [shop.test, '*.test']",
            "danger   route shop/make, route shop/one: is served on `*.test`, `shop.test` in place of `shop.test`",
        ),
        (
            "    hosts: [shop.test]\n",
            "",
            "danger   route shop/make, route shop/one: is served on any host in place of `shop.test`",
        ),
        (
            "    listeners: [inside]\n",
            "",
            "danger   route shop/make, route shop/one: is served on all listeners in place of `inside`",
        ),
        (
            "'10.1.2.3:80'",
            "'0.0.0.0:80'",
            "danger   listener outside: is bound to 0.0.0.0:80 in place of 10.1.2.3:80",
        ),
        ("plans:\n  gold: { limit: 100/s, default: true }\n", "", "danger   plan gold: is gone"),
        (
            "version: 1\n",
            "version: 1\nadmin: { bind: '0.0.0.0:9901' }\n",
            "danger   admin: operators are served at 0.0.0.0:9901",
        ),
    ] {
        let (level, text) = said(from, to);
        assert_eq!(level, Some(Level::Danger), "{text}");
        assert!(text.contains(says), "{says}\n{text}");
    }
}

#[test]
fn what_else_changes_is_told_as_well() {
    use Level::{Note, Warning};
    for (from, to, level, says) in [
        (
            "GET /{id}",
            "GET,PUT /{id}",
            Warning,
            "route shop/one: takes `GET`, `PUT` in place of `GET`",
        ),
        (
            "GET /{id}",
            "GET /x/{id}",
            Warning,
            "takes the path `/shop/x/{id}` in place of `/shop/{id}`",
        ),
        (
            "{ name: one }",
            "{ name: one, upstream: other }",
            Warning,
            "goes to the upstream `other` in place of `shop`",
        ),
        (
            "10.0.0.1:80",
            "10.0.0.9:80",
            Warning,
            "upstream shop: has other targets: -10.0.0.1:80 +10.0.0.9:80",
        ),
        ("rate_limit: 5/s", "rate_limit: 6/s", Warning, "`rate_limit` says `6/s"),
        ("[alice]", "[alice, 'group:staff']", Warning, "`acl` has other settings"),
        ("limit: 100/s", "limit: 200/s", Warning, "plan gold: says `200/s` in place of `100/s`"),
        ("{ name: one }", "{ name: uno }", Note, "route shop/uno: was called `shop/one` before"),
        (
            "{ name: one }",
            "{ name: one, policies: [{ scopes: [read] }] }",
            Note,
            "`scopes` applies",
        ),
        (
            "      - GET /{id}: { name: one }\n",
            "",
            Warning,
            "route shop/one: is gone: GET /shop/{id} of shop.test",
        ),
        (
            "    routes:\n",
            "    routes:\n      - DELETE /{id}\n",
            Note,
            "is new: DELETE /shop/{id} of shop.test",
        ),
        (
            "{ name: one }",
            "{ name: one, headers: { x-v: '2' } }",
            Warning,
            "asks for `x-v=2` in headers and query",
        ),
    ] {
        let (found, text) = said(from, to);
        assert_eq!(found, Some(level), "{says}\n{text}");
        assert!(text.contains(says), "{says}\n{text}");
    }
}
