use super::KIND;
use crate::counting::{Apart, Whom, counting};
use crate::fixture::{self, World};
use base::Clock;
use serde_json::{Value, json};
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

#[test]
fn operators_see_how_many_are_under_way_and_whose() {
    let clock = Clock::manual();
    let policy = fixture::built(&KIND, &json!("3 per consumer"));
    let shown = counting(&*policy.0).unwrap();
    let of_places = |left: &Value| {
        let places = &left["concurrency"][0];
        ["max", "under_way", "remaining"].map(|name| places[name].as_u64().unwrap())
    };
    let of_alice = || of_places(&shown.left(Whom::Named("alice", None), &clock).unwrap());
    let mut requests = [of("alice"), of("alice"), of("bob")];
    requests.iter_mut().for_each(|request| assert_eq!(policy.request(request), "continue"));
    assert_eq!((shown.apart(), of_alice()), (Apart::Consumers, [3, 2, 1]));
    let id = shown.id(Whom::Named("alice", None)).unwrap();
    let page = shown.page(0, 10, &clock).unwrap();
    assert_eq!((page.shares.len(), shown.remembered(), page.next), (2, Some(2), None));
    let alice = page.shares.iter().find(|(found, _)| *found == id).unwrap();
    assert_eq!(of_places(&alice.1), [3, 2, 1]);
    assert!(!shown.forgets() && shown.reset(Whom::Id(id), &clock).is_err());
    drop(requests);
    assert_eq!((of_alice(), shown.remembered()), ([3, 0, 3], Some(0)));
    let together = fixture::built(&KIND, &json!("1"));
    let shown = counting(&*together.0).unwrap();
    let mut request = of("alice");
    assert_eq!(together.request(&mut request), "continue");
    assert_eq!(of_places(&shown.left(Whom::Named("", None), &clock).unwrap()), [1, 1, 0]);
    assert!(shown.page(0, 10, &clock).is_none());
}
