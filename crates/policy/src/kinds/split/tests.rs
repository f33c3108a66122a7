use super::KIND;
use crate::fixture::{self, Built, World};
use proptest::prelude::{prop_assert, proptest};
use serde_json::{Value, json};

fn built(settings: &Value) -> Built {
    World::with_upstreams(&["a", "b", "c"]).build(&KIND, settings).unwrap()
}

fn side(policy: &Built, request: &str) -> String {
    let mut exchange = fixture::exchange(request);
    assert_eq!(policy.request(&mut exchange), "continue");
    exchange.upstream.map_or_else(|| "own".to_owned(), |upstream| upstream.name().to_string())
}

/// The sides of so many tenants.
fn sides(settings: &Value, count: usize) -> Vec<String> {
    let policy = built(settings);
    (0..count).map(|n| side(&policy, &format!("GET /\nx-tenant: t{n}"))).collect()
}

fn share(sides: &[String], name: &str) -> f64 {
    let count = u32::try_from(sides.iter().filter(|side| *side == name).count()).unwrap();
    f64::from(count) / f64::from(u32::try_from(sides.len()).unwrap())
}

#[test]
fn requests_are_divided_by_weight() {
    for (settings, expected) in [
        (json!({ "to": { "a": 90, "b": 10 } }), [("a", 0.9), ("b", 0.1), ("own", 0.0)]),
        (json!({ "to": { "a": 1.5, "b": 0.5 } }), [("a", 0.75), ("b", 0.25), ("own", 0.0)]),
        (json!({ "to": { "a": "20%", "b": "30%" } }), [("a", 0.2), ("b", 0.3), ("own", 0.5)]),
        (json!({ "to": { "a": 1, "b": 0 } }), [("a", 1.0), ("b", 0.0), ("own", 0.0)]),
        (json!({ "to": { "a": "100%", "b": "0%" } }), [("a", 1.0), ("b", 0.0), ("own", 0.0)]),
        (json!("25% to a"), [("a", 0.25), ("b", 0.0), ("own", 0.75)]),
    ] {
        for by in [None, Some("header x-tenant")] {
            let mut settings = settings.clone();
            if let (Some(by), Some(fields)) = (by, settings.as_object_mut()) {
                fields.insert("by".to_owned(), json!(by));
            }
            let sides = sides(&settings, 4_000);
            for (name, expected) in expected {
                let found = share(&sides, name);
                assert!((found - expected).abs() < 0.03, "{settings}: {name} got {found}");
            }
        }
    }
}

#[test]
fn a_key_stays_on_its_side_while_others_move_as_weights_grow() {
    let at = |percent: u32| sides(&json!(format!("{percent}% to b by header x-tenant")), 1_500);
    let mut before = at(0);
    assert_eq!(share(&before, "b"), 0.0);
    for percent in [1, 5, 25, 50, 99, 100] {
        let after = at(percent);
        for (old, new) in before.iter().zip(&after) {
            assert!(old != "b" || new == "b", "nobody goes back while the share grows");
        }
        before = after;
    }
    assert_eq!(share(&before, "b"), 1.0);
}

proptest! {
    #[test]
    fn no_key_moves_between_sides_whose_weights_stayed(tenant in 0_u32..100_000, grown in 1_u32..500) {
        let of = |c: u32| {
            let weights = json!({ "to": { "a": 10, "b": 20, "c": c }, "by": "header x-tenant" });
            side(&built(&weights), &format!("GET /\nx-tenant: t{tenant}"))
        };
        let (before, after) = (of(1), of(1 + grown));
        prop_assert!(before == after || after == "c", "{} to {}", before, after);
    }
}

#[test]
fn rules_come_before_weights() {
    let policy = built(&json!({
        "to": { "a": 1, "b": 0 },
        "match": [{ "when": "request.headers[\"x-canary\"] == \"1\"", "to": "b" }],
    }));
    assert_eq!(side(&policy, "GET /\nx-canary: 1"), "b");
    assert_eq!(side(&policy, "GET /\nx-canary: 2"), "a");
    assert_eq!(side(&policy, "GET /"), "a");
}

fn cookie_of(policy: &Built, request: &str) -> (String, Option<String>) {
    let mut exchange = fixture::exchange(request);
    policy.request(&mut exchange);
    let reply = policy.reply(&mut exchange, &[]);
    let cookie = reply.headers.get("set-cookie").map(|value| value.to_str().unwrap().to_owned());
    (exchange.upstream.unwrap().name().to_string(), cookie)
}

#[test]
fn a_cookie_keeps_a_browser_on_its_side() {
    let even = built(&json!({ "to": { "a": 1, "b": 1 }, "cookie": "side" }));
    let (first, cookie) = cookie_of(&even, "GET /");
    let cookie = cookie.unwrap();
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
    let pair = cookie.split(';').next().unwrap();
    assert!(!pair.contains(&format!("={first}")), "the name of an upstream is not told: {pair}");
    for _ in 0..50 {
        let again = cookie_of(&even, &format!("GET /\ncookie: x=1; {pair}"));
        assert_eq!(again, (first.clone(), None));
    }
    let other = if first == "a" { "b" } else { "a" };
    for settings in [
        json!({ "to": { first.clone(): 0, other: 1 }, "cookie": { "name": "side", "max_age": "1h" } }),
        json!({ "to": { other: 1, "c": 0 }, "cookie": { "name": "side", "max_age": "1h" } }),
    ] {
        let (side, cookie) = cookie_of(&built(&settings), &format!("GET /\ncookie: {pair}"));
        assert_eq!(side, other, "a side that is gone or gets nothing is forgotten");
        assert!(cookie.unwrap().contains("; Max-Age=3600;"));
    }
}

#[test]
fn wrong_settings_are_refused() {
    for (settings, part) in [
        (json!({ "to": { "a": 90, "bb": 10 } }), "did you mean `b`?"),
        (json!({ "to": { "a": 90, "b": "10%" } }), "are mixed"),
        (json!({ "to": { "a": "90%", "b": 10 } }), "are mixed"),
        (json!({ "to": { "a": 0, "b": 0 } }), "all weights are zero"),
        (json!({ "to": { "a": "60%", "b": "60%" } }), "are 120% together"),
        (json!({ "to": { "a": -1 } }), "is not a weight"),
        (json!({ "to": {} }), "between which upstreams"),
        (json!({ "to": { "a": 1 }, "by": "consumr" }), "did you mean `consumer`"),
        (json!({ "to": { "a": 1 }, "by": "client", "cookie": "x" }), "cannot stand side by side"),
        (json!({ "to": { "a": 1 }, "cookie": "a b" }), "is not the name of a cookie"),
        (json!("10 to a"), "is not a share"),
        (json!("a"), "is not a split such as"),
        (json!("10% to a by"), "there is no upstream `a by`"),
    ] {
        let problems = World::with_upstreams(&["a", "b"]).build(&KIND, &settings);
        let problems = problems.err().unwrap_or_default();
        assert!(problems.contains(part), "{settings}: {problems}");
    }
}
