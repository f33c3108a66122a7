//! The machine's time is set while the gateway runs, by hand or by a time server that was gone: limits and
//! waits go by monotonic time, and only what people read follows.

use crate::it::kit::{brief, hear_bytes, tell};
use base::Clock;
use std::path::PathBuf;
use std::time::Duration;
use telemetry::{AccessFormat, AccessSettings, AccessTarget};
use testkit::gateway::BACKEND;
use testkit::{Authority, Backend, Surroundings, TestGateway};

const DAY_S: i64 = 86_400;
const YEAR_S: i64 = 365 * DAY_S;
/// Far ahead, back beyond the start, and to before 1970.
const STEPS: [i64; 4] = [YEAR_S, -2 * YEAR_S, -70 * YEAR_S, 71 * YEAR_S];
const GET: &str = "GET / HTTP/1.1\nhost: a.test\n\n";

async fn get(gateway: &TestGateway) -> String {
    brief(&gateway.ask(GET).await)
}

#[tokio::test(start_paused = true)]
async fn a_limit_is_neither_lifted_nor_prolonged_when_the_time_is_set() {
    for step_s in STEPS {
        let gateway = TestGateway::with_policies("[{ rate_limit: 2/min per address }]");
        assert_eq!([get(&gateway).await, get(&gateway).await], ["200", "200"]);
        gateway.clock.step_wall(step_s);
        let refused = gateway.ask(GET).await;
        assert_eq!(brief(&refused), "429 rate_limited", "after {step_s} s");
        let retry = refused.lines().find_map(|line| line.strip_prefix("retry-after: ")).unwrap();
        assert!(retry.parse::<u64>().unwrap() <= 60, "{refused}");
        gateway.advance(Duration::from_secs(61));
        assert_eq!(get(&gateway).await, "200", "after {step_s} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_breaker_opens_for_as_long_as_it_should_when_the_time_is_set() {
    for step_s in STEPS {
        let gateway = TestGateway::new(&format!(
            "version: 1
listeners: {{ public: {{ bind: '127.0.0.1:80' }} }}
upstreams: {{ one: {{ targets: ['{BACKEND}'], breaker: {{ failures: 50% in 10s, min_requests: 4, open: 5s }} }} }}
apis: {{ all: {{ upstream: one, public: a test }} }}
"
        ));
        gateway.put(BACKEND, Backend::answer("HTTP/1.1 503 Busy\ncontent-length: 4\n\nbusy"));
        for _ in 0..2 {
            assert_eq!(get(&gateway).await, "503");
        }
        gateway.clock.step_wall(step_s);
        for _ in 0..2 {
            assert_eq!(get(&gateway).await, "503");
        }
        assert_eq!(get(&gateway).await, "503 breaker_open", "the earlier failures count");
        gateway.clock.step_wall(-step_s);
        assert_eq!(get(&gateway).await, "503 breaker_open", "after {step_s} s");
        gateway.put(BACKEND, Backend::answer("HTTP/1.1 200 OK\ncontent-length: 2\n\nok"));
        gateway.advance(Duration::from_secs(5));
        assert_eq!(get(&gateway).await, "200", "after {step_s} s");
    }
}

#[tokio::test(start_paused = true)]
async fn lines_and_answers_tell_the_time_that_was_set_and_durations_stay_true() {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("proxy-clocks.log");
    drop(std::fs::remove_file(&file));
    let gateway = TestGateway::with_policies("[{ body_limit: 1KiB }]");
    let log = gateway.gateway.access_log.clone();
    log.reconfigure(AccessSettings::new(AccessFormat::Json, AccessTarget::File(file.clone())))
        .unwrap();
    let mut dates = Vec::new();
    for step_s in [0, YEAR_S, -2 * YEAR_S, -70 * YEAR_S] {
        gateway.clock.step_wall(step_s);
        let mut io = gateway.connect();
        tell(&mut io, GET).await;
        let answer = String::from_utf8(hear_bytes(&mut io).await.0).unwrap();
        let date = answer.lines().find_map(|line| line.strip_prefix("date: "));
        dates.push(date.unwrap().to_owned());
    }
    assert_eq!(
        dates,
        [
            "Thu, 01 Jan 2026 00:00:00 GMT",
            "Fri, 01 Jan 2027 00:00:00 GMT",
            "Wed, 01 Jan 2025 00:00:00 GMT",
            "Thu, 01 Jan 1970 00:00:00 GMT",
        ]
    );
    drop(gateway);
    // Connections hold the worker, which hands its lines over when it ends.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    log.close();
    let text = std::fs::read_to_string(&file).unwrap();
    let told: Vec<(&str, f64)> = text
        .lines()
        .map(|line| {
            let (_, after) = line.split_once("\"duration_ms\":").unwrap();
            let duration = after.split([',', '}']).next().unwrap().parse().unwrap();
            (line.split('"').nth(3).unwrap().split('T').next().unwrap(), duration)
        })
        .collect();
    let days: Vec<&str> = told.iter().map(|(day, _)| *day).collect();
    assert_eq!(days, ["2026-01-01", "2027-01-01", "2025-01-01", "1970-01-01"]);
    assert!(told.iter().all(|(_, duration_ms)| *duration_ms < 1_000.0), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_seems_to_have_expired_is_refused_at_a_reload_and_served_on_meanwhile() {
    let authority = Authority::new();
    let pair = authority.sign_until(&["a.test"], Duration::from_secs(30 * 86_400));
    let config = "version: 1
listeners: { public: { bind: '127.0.0.1:443', tls: { certificates: [{ cert: a.pem, key: a.key }] } } }
apis: { all: { public: a test, routes: [{ GET /: { policies: [{ respond: { body: hi } }] } }] } }
";
    let all = Surroundings::of(config).file("a.pem", pair.cert_pem).file("a.key", pair.key_pem);
    let gateway = TestGateway::within(&all);
    // Certificates of tests are made by the machine's clock.
    let ahead = Clock::System.wall().duration_since(gateway.clock.wall()).unwrap_or_default();
    let month_later = i64::try_from(ahead.as_secs()).unwrap() + 40 * DAY_S;
    let mut open = gateway.connect_tls("public", "a.test", &authority.ca_pem).await.unwrap();
    assert_eq!(brief(&gateway.ask_on(&mut open, GET).await), "200");
    gateway.clock.step_wall(month_later);
    let refused = gateway.reload_within(&all).unwrap_err();
    assert!(refused.contains("expired on"), "{refused}");
    assert_eq!(brief(&gateway.ask_on(&mut open, GET).await), "200", "connections go on");
    let mut fresh = gateway.connect_tls("public", "a.test", &authority.ca_pem).await.unwrap();
    assert_eq!(brief(&gateway.ask_on(&mut fresh, GET).await), "200", "it is for clients to judge");
    gateway.clock.step_wall(-month_later);
    gateway.reload_within(&all).unwrap();
    assert_eq!(brief(&gateway.ask_on(&mut open, GET).await), "200");
}
