use super::KIND;
use crate::fixture::{self, World};
use serde_json::json;
use std::sync::Arc;
use traffic::Exchange;
use traffic::directory::Consumer;

fn of(consumer: &str) -> Exchange {
    let mut exchange = fixture::exchange("GET /");
    let consumer = Consumer { name: consumer.into(), is_known: true, ..Consumer::default() };
    exchange.consumer = Some(Arc::new(consumer));
    exchange
}

#[test]
fn who_is_the_same_shares_a_speed_and_others_have_their_own() {
    for settings in [
        json!("1MiB/s per consumer"),
        json!({ "down": "1MiB/s", "up": "8Mbit/s", "per": "consumer" }),
    ] {
        let world = World::default();
        let policy = world.build(&KIND, &settings).unwrap();
        let lanes = |consumer| {
            let mut exchange = of(consumer);
            assert_eq!(policy.request(&mut exchange), "continue");
            let [pace] = &exchange.paces[..] else { panic!("{} paces", exchange.paces.len()) };
            assert!(pace.down.is_some());
            assert_eq!(pace.up.is_some(), settings.is_object());
            Arc::clone(&pace.lanes)
        };
        let alice = lanes("alice");
        assert!(Arc::ptr_eq(&alice, &lanes("alice")));
        assert!(!Arc::ptr_eq(&alice, &lanes("bob")));
    }
}

#[test]
fn what_is_no_speed_is_refused() {
    for (settings, part) in [
        (json!("fast"), "is not a speed"),
        (json!("1MiB per consumer"), "is not a speed"),
        (json!("100B/s"), "refuse requests instead"),
        (json!({ "up": "7kbit/s" }), "refuse requests instead"),
        (json!({ "per": "consumer" }), "it bounds nothing"),
        (json!({ "down": "1MiB/s", "per": "planet" }), "also `all`"),
        (json!({ "down": "1MiB/s", "brust": "1MiB" }), "burst"),
    ] {
        fixture::refuses(&KIND, &settings, part);
    }
}
