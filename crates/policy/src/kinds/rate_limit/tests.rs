use super::KIND;
use crate::fixture::{self, Built, World, lines};
use base::network::owner;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use traffic::Exchange;
use traffic::directory::Consumer;

fn arriving(world: &World, consumer: Option<&str>, peer: &str) -> Exchange {
    let mut exchange = fixture::exchange("GET /");
    exchange.arrived = world.clock().now();
    exchange.consumer = consumer.map(|name| {
        Arc::new(Consumer { name: name.into(), is_known: true, ..Consumer::default() })
    });
    let mut connection = (*exchange.connection).clone();
    connection.peer = format!("{peer}:4000").parse().unwrap();
    exchange.connection = Arc::new(connection);
    exchange
}

/// How many of `tries` requests pass.
fn passing(policy: &Built, world: &World, consumer: Option<&str>, peer: &str, tries: u32) -> usize {
    let one = |_: u32| policy.request(&mut arriving(world, consumer, peer)) == "continue";
    (0..tries).map(one).filter(|passes| *passes).count()
}

#[test]
fn the_burst_passes_and_comes_back_evenly() {
    for settings in [json!("6/min"), json!({ "limit": "6/min", "per": "all" })] {
        let world = World::default();
        let policy = world.build(&KIND, &settings).unwrap();
        assert_eq!(passing(&policy, &world, None, "192.0.2.1", 10), 6);
        world.clock().advance(Duration::from_secs(9));
        assert_eq!(passing(&policy, &world, None, "192.0.2.2", 10), 0);
        world.clock().advance(Duration::from_secs(1));
        assert_eq!(passing(&policy, &world, None, "192.0.2.3", 10), 1);
        world.clock().advance(Duration::from_secs(3_600));
        assert_eq!(passing(&policy, &world, None, "192.0.2.4", 10), 6);
    }
    let world = World::default();
    let policy = world.build(&KIND, &json!({ "limit": "60/min", "burst": 2 })).unwrap();
    assert_eq!(passing(&policy, &world, None, "192.0.2.1", 10), 2);
}

#[test]
fn each_consumer_and_each_address_has_its_own() {
    let world = World::default();
    let policy = world.build(&KIND, &json!("2/min per consumer")).unwrap();
    assert_eq!(passing(&policy, &world, Some("alice"), "192.0.2.1", 5), 2);
    assert_eq!(passing(&policy, &world, Some("bob"), "192.0.2.1", 5), 2);
    assert_eq!(passing(&policy, &world, None, "192.0.2.1", 5), 2, "nobody counts by address");
    assert_eq!(passing(&policy, &world, None, "192.0.2.2", 5), 2);

    let world = World::default();
    let policy = world.build(&KIND, &json!("2/min per address")).unwrap();
    assert_eq!(passing(&policy, &world, Some("alice"), "192.0.2.1", 5), 2);
    assert_eq!(passing(&policy, &world, Some("bob"), "192.0.2.1", 5), 0);
    assert_eq!(passing(&policy, &world, None, "[2001:db8::1]", 5), 2);
    assert_eq!(passing(&policy, &world, None, "[2001:db8::2]", 5), 0, "one network, one client");
    assert_eq!(passing(&policy, &world, None, "[2001:db8:0:1::1]", 5), 2);
    assert_eq!(passing(&policy, &world, None, "[::ffff:192.0.2.1]", 5), 0, "mapped IPv4");
}

#[test]
fn addresses_of_both_families_never_meet() {
    let v4 = owner("255.255.255.255".parse().unwrap());
    let v6 = owner("2000::".parse().unwrap());
    assert!(v4 < v6);
}

#[test]
fn a_reload_keeps_what_was_used_and_a_changed_limit_goes_on_from_it() {
    let world = World::default();
    let old = world.build(&KIND, &json!("10/h per consumer")).unwrap();
    assert_eq!(passing(&old, &world, Some("alice"), "192.0.2.1", 20), 10);
    let same = world.build(&KIND, &json!("10/h per consumer")).unwrap();
    assert_eq!(passing(&same, &world, Some("alice"), "192.0.2.1", 5), 0);
    let tighter = world.build(&KIND, &json!("10/s per consumer")).unwrap();
    assert_eq!(passing(&tighter, &world, Some("alice"), "192.0.2.1", 20), 0);
    world.clock().advance(Duration::from_secs(1));
    assert_eq!(passing(&tighter, &world, Some("alice"), "192.0.2.1", 20), 10);
    drop((old, same, tighter));
    let fresh = world.build(&KIND, &json!("10/h per consumer")).unwrap();
    assert_eq!(passing(&fresh, &world, Some("alice"), "192.0.2.1", 20), 10, "nobody kept it");
}

#[test]
fn answers_tell_the_limit_and_what_is_left_of_it() {
    let world = World::default();
    let policy = world.build(&KIND, &json!({ "limit": "100/min", "burst": 2 })).unwrap();
    let told = |world: &World| {
        let mut exchange = arriving(world, None, "192.0.2.1");
        let outcome = policy.request(&mut exchange);
        (outcome, lines(&policy.reply(&mut exchange, &[]).headers).join(" | "))
    };
    let both = |left: &str| format!("ratelimit-policy: \"default\";q=100;w=60 | ratelimit: {left}");
    let reversed = |left: &str| {
        let both = both(left);
        let (policy, limit) = both.split_once(" | ").unwrap();
        let mut parts = [policy.to_owned(), limit.to_owned()];
        parts.sort();
        parts.join(" | ")
    };
    assert_eq!(told(&world), ("continue".to_owned(), reversed("\"default\";r=1;t=1")));
    assert_eq!(told(&world), ("continue".to_owned(), reversed("\"default\";r=0;t=2")));
    assert_eq!(told(&world), ("rate_limited".to_owned(), reversed("\"default\";r=0;t=2")));
    let mut unseen = arriving(&world, None, "192.0.2.1");
    assert!(policy.reply(&mut unseen, &[]).headers.is_empty(), "answered before its turn");
}

#[test]
fn a_refusal_says_when_to_come_back() {
    for (limit, expected) in [("1/min", "60"), ("10/s", "1"), ("1/90s", "90")] {
        let world = World::default();
        let policy = world.build(&KIND, &json!({ "limit": limit, "burst": 1 })).unwrap();
        assert_eq!(passing(&policy, &world, None, "192.0.2.1", 1), 1);
        let fault = policy.fault(&mut arriving(&world, None, "192.0.2.1"));
        assert_eq!(fault.headers[0].0, "retry-after");
        assert_eq!(fault.headers[0].1, expected, "{limit}");
    }
}

#[test]
fn nobody_calls_for_nothing_or_is_told_to_come_back_with_what_never_passes() {
    let world = World::default();
    let settings = json!({ "limit": "5/min", "cost": "int(request.headers[\"x-c\"])" });
    let policy = world.build(&KIND, &settings).unwrap();
    let exchange = |cost: &str| fixture::exchange(&format!("GET /\nx-c: {cost}"));
    for cost in ["0", "-9", "nothing"] {
        assert_eq!(policy.request(&mut exchange(cost)), "continue", "{cost}");
    }
    assert_eq!(policy.request(&mut exchange("2")), "continue");
    let used_up = policy.fault(&mut exchange("0"));
    assert!(used_up.headers.iter().any(|(name, _)| name == "retry-after"), "five are used");
    let never = policy.fault(&mut exchange("6"));
    assert!(never.headers.iter().all(|(name, _)| name != "retry-after"), "{never:?}");
}

#[test]
fn wrong_settings_are_refused() {
    for (settings, part) in [
        (json!("often"), "is not a rate"),
        (json!("10/s per planet"), "`per planet`: unknown name"),
        (json!("0/s"), "allows nothing"),
        (json!({ "limit": "10/s", "burst": 0 }), "refuse every request"),
        (json!({ "limit": "4000000000/s" }), "too fast or too slow"),
        (json!({ "limit": "10/s", "per": "header" }), "needs a name"),
        (json!({ "limit": "1/s, 5/h", "burst": 2 }), "a burst of its own"),
        (json!({ "limit": "1/s", "cost": "2" }), "would ever pass"),
        (json!({ "limit": "5/s", "cost": "-5" }), "between 0 and"),
        (json!({ "limit": "5/s", "cost": "request.path" }), "not a whole number"),
        (json!({ "limit": "1/s", "smooth": true, "burst": 2 }), "has no burst"),
        (json!({ "limit": "1/s", "smooth": true, "cost": "2" }), "one request pass at a time"),
        (json!({ "limit": "1/s, 5/h", "smooth": true }), "a smooth of its own"),
        (
            json!({ "limit": "1/s", "smooth": true, "algorithm": "sliding_window" }),
            "has no `burst`",
        ),
        (Value::Null, "expected a rate"),
    ] {
        fixture::refuses(&KIND, &settings, part);
    }
}

#[test]
fn a_limit_goes_on_in_the_process_that_takes_over() {
    let (here, there) = (World::default(), World::default());
    for settings in [json!("6/min per consumer"), json!("6/min")] {
        let old = here.build(&KIND, &settings).unwrap();
        assert_eq!(passing(&old, &here, Some("alice"), "192.0.2.1", 4), 4);
        here.clock().advance(Duration::from_secs(5));
        there.clock().advance(Duration::from_secs(77));
        let new = there.build(&KIND, &settings).unwrap();
        there.state.import(&here.state.export());
        assert_eq!(passing(&new, &there, Some("alice"), "192.0.2.1", 9), 2);
        there.clock().advance(Duration::from_secs(10));
        assert_eq!(
            passing(&new, &there, Some("alice"), "192.0.2.1", 9),
            1,
            "five seconds were over"
        );
    }
    for bytes in [&b""[..], b"short", &[7; 24], &[7; 47], &[255; 48]] {
        let world = World::default();
        let policy = world.build(&KIND, &json!("6/min per consumer")).unwrap();
        world.state.import(&[("test/rate_limit#gcra".to_owned(), bytes.to_vec())]);
        assert_eq!(passing(&policy, &world, Some("bob"), "192.0.2.1", 9), 6);
    }
}

#[test]
fn what_is_smooth_keeps_even_distances() {
    for settings in [
        json!({ "limit": "10/s", "smooth": true }),
        json!({ "limit": { "rate": "10/s", "smooth": true } }),
    ] {
        let world = World::default();
        let policy = world.build(&KIND, &settings).unwrap();
        assert_eq!(passing(&policy, &world, None, "192.0.2.1", 9), 1, "{settings}");
        world.clock().advance(Duration::from_millis(99));
        assert_eq!(passing(&policy, &world, None, "192.0.2.1", 9), 0);
        world.clock().advance(Duration::from_millis(1));
        assert_eq!(passing(&policy, &world, None, "192.0.2.1", 9), 1);
        world.clock().advance(Duration::from_secs(60));
        assert_eq!(passing(&policy, &world, None, "192.0.2.1", 9), 1, "a pause saves nothing up");
    }
}

#[test]
fn a_dry_run_refuses_nothing_and_counts_what_it_would() {
    for per in ["all", "address"] {
        let world = World::default();
        let settings = json!({ "limit": "3/min", "per": per, "dry_run": true });
        let policy = world.build(&KIND, &settings).unwrap();
        assert_eq!(passing(&policy, &world, None, "192.0.2.1", 9), 9);
        assert_eq!(world.metric("yett_limit_would_refuse_total{limit=\"test/rate_limit\"}"), 6);
        assert_eq!(world.metric("yett_limit_refused_total{limit=\"test/rate_limit\"}"), 0);
        let mut exchange = arriving(&world, None, "192.0.2.1");
        assert_eq!(policy.request(&mut exchange), "continue");
        assert!(policy.reply(&mut exchange, &[]).headers.is_empty(), "clients see nothing of it");
        // It counted like the limit that it is a trial of.
        let real = world.build(&KIND, &json!({ "limit": "3/min", "per": per })).unwrap();
        assert_eq!(passing(&real, &world, None, "192.0.2.1", 9), 0);
        assert_eq!(world.metric("yett_limit_refused_total{limit=\"test/rate_limit\"}"), 9);
        world.clock().advance(Duration::from_secs(60));
        assert_eq!(passing(&real, &world, None, "192.0.2.1", 9), 3);
    }
}

#[test]
fn headers_are_there_or_not_as_is_said() {
    for (settings, expected) in [
        (json!({ "limit": "3/min" }), 2),
        (json!({ "limit": "3/min", "headers": false }), 0),
        (json!({ "limit": "3/min", "dry_run": true }), 0),
        (json!({ "limit": "3/min", "dry_run": true, "headers": true }), 2),
    ] {
        let world = World::default();
        let policy = world.build(&KIND, &settings).unwrap();
        let mut exchange = arriving(&world, None, "192.0.2.1");
        assert_eq!(policy.request(&mut exchange), "continue");
        let headers = lines(&policy.reply(&mut exchange, &[]).headers);
        assert_eq!(headers.len(), expected, "{settings}: {headers:?}");
    }
}

#[test]
fn where_refused_requests_count_only_who_slows_down_gets_through() {
    let tries_of = |settings: &Value| {
        let world = World::default();
        let policy = world.build(&KIND, settings).unwrap();
        assert_eq!(passing(&policy, &world, None, "192.0.2.1", 9), 6, "{settings}");
        let mut passed = 0;
        // Twice as often as allowed.
        for _ in 0..60 {
            world.clock().advance(Duration::from_secs(5));
            passed += passing(&policy, &world, None, "192.0.2.1", 1);
        }
        (world, policy, passed)
    };
    for per in ["all", "address"] {
        let limit = json!({ "limit": "6/min", "per": per });
        assert_eq!(tries_of(&limit).2, 30, "every other one");
        let counting = json!({ "limit": "6/min", "per": per, "count_refused": true });
        let (world, policy, passed) = tries_of(&counting);
        assert_eq!(passed, 0, "{per}");
        world.clock().advance(Duration::from_secs(10));
        assert_eq!(passing(&policy, &world, None, "192.0.2.1", 2), 1, "one, not locked out");
        let mut exchange = arriving(&world, None, "192.0.2.1");
        world.clock().advance(Duration::from_secs(10));
        exchange.arrived = world.clock().now();
        assert_eq!(policy.request(&mut exchange), "continue");
        exchange.record.fault = Some(traffic::FaultCode::QuotaExceeded);
        policy.reply(&mut exchange, &[]);
        assert_eq!(passing(&policy, &world, None, "192.0.2.1", 1), 0, "nothing is given back");
    }
    let mut window = json!({ "limit": "6/min", "algorithm": "sliding_window" });
    assert!(tries_of(&window).2 > 20);
    window["count_refused"] = json!(true);
    assert_eq!(tries_of(&window).2, 0);
}

#[test]
fn what_is_hardly_meant_is_told() {
    let world = World::default();
    for (settings, part) in [
        (json!({ "limit": "5/s", "per": "1 + 1" }), "this is the same for every request"),
        (json!({ "limit": "5/s", "per": "plan" }), "there are no plans"),
        (
            json!({ "limit": "5/s and 10/s", "per": "consumer" }),
            "`10/s` never has its turn beside `5/s`",
        ),
    ] {
        let told = world.warnings(&KIND, &settings);
        assert!(told.contains(part), "{settings}: {told}");
    }
    let fine = json!({ "limit": "5/s and 100/min", "per": "request.host" });
    assert_eq!(world.warnings(&KIND, &fine), "");
}
