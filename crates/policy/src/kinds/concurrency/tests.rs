use super::KIND;
use crate::fixture::{self, World};
use serde_json::json;
use std::sync::Arc;
use traffic::Exchange;
use traffic::directory::Consumer;

fn of(consumer: &str) -> Exchange {
    let mut exchange = fixture::exchange("GET /\nx-tenant: a");
    let consumer = Consumer { name: consumer.into(), is_known: true, ..Consumer::default() };
    exchange.consumer = Some(Arc::new(consumer));
    exchange
}

#[test]
fn a_place_is_taken_until_the_request_is_gone() {
    for settings in [json!("2 per consumer"), json!({ "max": 2, "per": "consumer" })] {
        let world = World::default();
        let policy = world.build(&KIND, &settings).unwrap();
        let (mut first, mut second) = (of("alice"), of("alice"));
        assert_eq!(policy.request(&mut first), "continue");
        assert_eq!(policy.request(&mut second), "continue");
        assert_eq!(policy.request(&mut of("alice")), "too_many_at_once");
        assert_eq!(policy.request(&mut of("bob")), "continue", "others have their own");
        drop(first);
        assert_eq!(policy.request(&mut of("alice")), "continue");
    }
}

#[test]
fn what_is_too_much_together_is_nobodys_fault_and_says_when_to_come_back() {
    for (settings, code) in [
        (json!("1"), "route_busy"),
        (json!(1), "route_busy"),
        (json!("1 per route"), "route_busy"),
        (json!("1 per header x-tenant"), "too_many_at_once"),
        (json!("1 per address"), "too_many_at_once"),
        (json!({ "max": 1, "per": "request.path" }), "too_many_at_once"),
    ] {
        let policy = fixture::built(&KIND, &settings);
        let mut first = of("alice");
        assert_eq!(policy.request(&mut first), "continue");
        let fault = policy.fault(&mut of("bob"));
        assert_eq!(fault.code.name(), code, "{settings}");
        assert!(fault.code.is_limit(), "other limits give back");
        let wait_s: u32 = fault.headers[0].1.to_str().unwrap().parse().unwrap();
        assert!(fault.headers[0].0 == "retry-after" && (1..=3).contains(&wait_s));
    }
}

#[test]
fn a_reload_counts_those_under_way() {
    let world = World::default();
    let old = world.build(&KIND, &json!("2")).unwrap();
    let (mut first, mut second) = (of("alice"), of("alice"));
    assert_eq!(old.request(&mut first), "continue");
    assert_eq!(old.request(&mut second), "continue");
    let lower = world.build(&KIND, &json!("1")).unwrap();
    drop(old);
    drop(first);
    assert_eq!(lower.request(&mut of("alice")), "route_busy", "one is left");
    drop(second);
    assert_eq!(lower.request(&mut of("alice")), "continue");
}

#[test]
fn what_is_no_limit_is_refused() {
    for (settings, part) in [
        (json!("ten"), "a number such as `10 per consumer`"),
        (json!("0 per consumer"), "refuse every request"),
        (json!({ "max": 0 }), "refuse every request"),
        (json!({ "max": -1 }), "a whole number from 0"),
        (json!({ "max": 1, "per": "planet" }), "also `all`"),
    ] {
        fixture::refuses(&KIND, &settings, part);
    }
}
