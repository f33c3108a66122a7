use super::KIND;
use crate::fixture::{Built, World, exchange, lines, refuses};
use crate::quota::ledger;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use traffic::Exchange;
use traffic::directory::Consumer;

mod months;
mod together;

const DAY: Duration = Duration::from_secs(86_400);

fn calling(consumer: &str) -> Exchange {
    let consumer = Consumer { name: consumer.into(), ..Consumer::default() };
    Exchange { consumer: Some(Arc::new(consumer)), ..exchange("GET /abc") }
}

fn passing(policy: &Built, consumer: &str) -> usize {
    (0..9).filter(|_| policy.request(&mut calling(consumer)) == "continue").count()
}

#[test]
fn a_quota_is_there_again_when_its_window_begins() {
    let world = World::default();
    let policy = world.build(&KIND, &json!("3/month per consumer")).unwrap();
    assert_eq!((passing(&policy, "alice"), passing(&policy, "bob")), (3, 3));
    world.clock().advance(30 * DAY);
    assert_eq!(passing(&policy, "alice"), 0, "January has 31 days");
    world.clock().advance(DAY);
    assert_eq!(passing(&policy, "alice"), 3);
}

#[test]
fn several_quotas_hold_together_and_what_one_refuses_counts_for_none() {
    let world = World::default();
    let policy = world.build(&KIND, &json!("2/day, 5/month per consumer")).unwrap();
    let days = [2, 2, 1, 0].map(|expected| {
        let passed = passing(&policy, "alice");
        world.clock().advance(DAY);
        (passed, expected)
    });
    assert!(days.iter().all(|(passed, expected)| passed == expected), "{days:?}");
}

#[test]
fn answers_tell_what_is_left_and_when_to_come_back() {
    let world = World::default();
    let policy = world.build(&KIND, &json!("2/day, 5/month")).unwrap();
    let told = |expected: &str, remaining: &[&str]| {
        let mut exchange = calling("alice");
        assert_eq!(policy.request(&mut exchange), expected);
        assert_eq!(lines(&policy.reply(&mut exchange, &[]).headers), remaining);
    };
    let about = "ratelimit-policy: \"day\";q=2;w=86400, \"month\";q=5";
    told("continue", &[about, "ratelimit: \"day\";r=1;t=86400"]);
    world.clock().advance(Duration::from_secs(3_600));
    told("continue", &[about, "ratelimit: \"day\";r=0;t=82800"]);
    told("quota_exceeded", &[about, "ratelimit: \"day\";r=0;t=82800"]);
    let fault = policy.fault(&mut calling("alice"));
    assert_eq!(fault.headers[0].1, "82800", "until midnight");
}

#[test]
fn what_another_limit_refuses_is_given_back() {
    let policy = World::default().build(&KIND, &json!("2/day")).unwrap();
    for _ in 0..9 {
        let mut exchange = calling("alice");
        assert_eq!(policy.request(&mut exchange), "continue");
        exchange.record.fault = Some(traffic::FaultCode::RateLimited);
        policy.reply(&mut exchange, &[]);
    }
}

#[test]
fn requests_cost_what_is_said_and_of_a_quota_what_it_says_itself() {
    let world = World::default();
    let _kept = ledger(&world.state);
    let policy = world.build(&KIND, &json!({ "quota": "12/day", "cost": "size(request.path)" }));
    assert_eq!(passing(&policy.unwrap(), "alice"), 3);
    let each =
        json!({ "quota": ["12/day", { "amount": 10, "per": "month", "cost": 1 }], "cost": 6 });
    let policy = world.build(&KIND, &each).unwrap();
    assert_eq!(passing(&policy, "alice"), 0, "the day was used up under another amount");
    world.clock().advance(DAY);
    assert_eq!(passing(&policy, "alice"), 2);
    let free = json!({ "quota": "1/day", "cost": "0" });
    assert_eq!(passing(&World::default().build(&KIND, &free).unwrap(), "alice"), 9);
}

#[test]
fn another_amount_goes_on_from_what_was_used_and_other_windows_begin_anew() {
    let world = World::default();
    let _kept = ledger(&world.state);
    let amount = |amount: u32, zone: &str| {
        let quota = json!({ "amount": amount, "per": "day", "time_zone": zone });
        passing(&world.build(&KIND, &json!({ "quota": quota })).unwrap(), "alice")
    };
    assert_eq!(amount(3, "UTC"), 3);
    assert_eq!(amount(5, "UTC"), 2);
    assert_eq!(amount(4, "UTC"), 0, "more was used than there is now");
    assert_eq!(amount(3, "Asia/Tokyo"), 3);
}

#[test]
fn a_clock_set_back_a_little_gives_nothing_back_and_one_set_right_loses_nothing_for_long() {
    let world = World::default();
    world.clock().advance(DAY);
    let policy = world.build(&KIND, &json!("3/day")).unwrap();
    assert_eq!(passing(&policy, "alice"), 3);
    world.clock().step_wall(-1_800);
    assert_eq!(passing(&policy, "alice"), 0);
    // It had been a year ahead.
    world.clock().step_wall(365 * 86_400);
    assert_eq!(passing(&policy, "alice"), 3);
    world.clock().step_wall(-365 * 86_400);
    assert_eq!(passing(&policy, "alice"), 3);
}

#[test]
fn quotas_that_cannot_be_are_refused_with_what_could() {
    refuses(&KIND, &json!("1000/fortnight"), "is not a quota such as");
    refuses(&KIND, &json!("1000/day per moon"), "`per moon`");
    refuses(
        &KIND,
        &json!({ "quota": "5/day", "cost": 6 }),
        "nothing that costs 6 would ever pass 5/day",
    );
    let dear = json!({ "quota": { "amount": 5, "per": "day", "cost": 6 } });
    refuses(&KIND, &dear, "nothing that costs 6");
    refuses(&KIND, &json!({ "quota": "5/day", "burst": 6 }), "burst");
}

#[test]
fn a_dry_run_refuses_nothing_and_what_is_refused_counts_where_that_is_said() {
    let world = World::default();
    let dry = world.build(&KIND, &json!({ "quota": "3/day", "dry_run": true })).unwrap();
    assert_eq!(passing(&dry, "alice"), 9);
    assert_eq!(world.metric("yett_limit_would_refuse_total{limit=\"test/quota\"}"), 6);
    let mut exchange = calling("alice");
    assert_eq!(dry.request(&mut exchange), "continue");
    assert!(dry.reply(&mut exchange, &[]).headers.is_empty());
    let plain = world.build(&KIND, &json!("5/day")).unwrap();
    assert_eq!(passing(&plain, "alice"), 2, "a dry run counts what the quota would");
    let counting = json!({ "quota": "5/day", "count_refused": true });
    assert_eq!(passing(&world.build(&KIND, &counting).unwrap(), "alice"), 0);
    let more = world.build(&KIND, &json!("15/day")).unwrap();
    assert_eq!(passing(&more, "alice"), 1, "nine more were counted");
    assert_eq!(world.metric("yett_limit_refused_total{limit=\"test/quota\"}"), 7 + 9 + 8);
}
