use super::KIND;
use crate::fixture::{self, World, exchange};
use serde_json::json;
use std::time::Duration;

/// The clock of tests begins on Thursday, 2026-01-01, at midnight UTC.
const HOUR: Duration = Duration::from_secs(3_600);

#[test]
fn requests_pass_while_it_is_open_and_are_told_when_it_opens() {
    let world = World::default();
    let open =
        json!({ "open": "Mon-Fri 08:00-18:00", "except": ["2026-01-02"], "reason": "call us" });
    let policy = world.build(&KIND, &open).unwrap();
    let retry = |policy: &fixture::Built| {
        let fault = policy.fault(&mut exchange("GET /"));
        let header = fault.headers.first().map(|(_, value)| value.to_str().unwrap().to_owned());
        (fault.code.name(), fault.code.status().as_u16(), header, fault.detail)
    };
    let (code, status, header, detail) = retry(&policy);
    assert_eq!((code, status, detail.as_deref()), ("closed_now", 503, Some("call us")));
    assert_eq!(header.as_deref(), Some("28800"));
    world.clock().advance(8 * HOUR);
    assert_eq!(policy.request(&mut exchange("GET /")), "continue");
    world.clock().advance(10 * HOUR);
    // Friday is an exception, so that Monday comes next.
    let hours = 6 + 3 * 24 + 8;
    assert_eq!(retry(&policy).2, Some((hours * 3_600).to_string()));
    let refusing = world.build(&KIND, &json!({ "open": ["Sat", "Sun"], "status": 403 })).unwrap();
    assert_eq!(retry(&refusing), ("closed_hours", 403, None, None));
    let zone = json!({ "open": "00:00-06:00", "time_zone": "Asia/Tokyo" });
    let policy = world.build(&KIND, &zone).unwrap();
    assert_eq!(
        policy.request(&mut exchange("GET /")),
        "continue",
        "it is three in the morning there"
    );
    assert_eq!(policy.0.about(), ["open 00:00-06:00, Asia/Tokyo"]);
}

#[test]
fn times_that_are_none_are_refused() {
    for (settings, part) in [
        (json!({}), "`open` is missing"),
        (json!({ "open": "9 to 5" }), "is no time such as"),
        (json!({ "open": "Mon", "except": ["25.12.2026"] }), "is not a day such as"),
        (json!({ "open": "Mon", "time_zone": "Europe/Londn" }), "did you mean `Europe/London`"),
        (json!({ "open": "Mon", "status": 404 }), "neither 403 nor 503"),
    ] {
        fixture::refuses(&KIND, &settings, part);
    }
    let warned = World::default().warnings(&KIND, &json!({ "open": [] }));
    assert!(warned.contains("never open"), "{warned}");
}
