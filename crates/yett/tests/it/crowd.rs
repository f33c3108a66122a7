//! Ten thousand clients that keep their connections, and two thousand that all want something at once.

use super::python::Python;
use super::wait::{now, until_true};
use super::yett::{TOP, Yett};
use std::time::Duration;

const CROWD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/crowd.py");
/// By then everything is warm that does not grow with connections.
const FIRST: u64 = 2_000;
const IDLE: u64 = 10_000;
const ACTIVE: u64 = 2_000;
/// What an idle connection may take, also in a program that is built for tests.
const IDLE_BYTES_MAX: u64 = 12 << 10;
/// How long all of it may take to go, on a slow machine.
const DRAIN: Duration = Duration::from_secs(20);

#[test]
fn ten_thousand_idle_connections_cost_little_and_two_thousand_busy_ones_are_all_answered() {
    let backend = Python::start(CROWD, &["serve", &ACTIVE.to_string()]);
    let mut yett = Yett::start(&format!(
        "{TOP}listeners: {{ public: {{ bind: \"127.0.0.1:0\" }} }}
access_log: {{ to: off }}
drain: {{ timeout: 60s }}
upstreams: {{ backend: {{ targets: [\"127.0.0.1:{}\"], timeouts: {{ connect: 60s, first_byte: 60s }} }} }}
apis:
  idle: {{ path: /idle, public: a test, policies: [{{ respond: {{ body: ok }} }}] }}
  active: {{ path: /active, public: a test, upstream: backend }}
",
        backend.port()
    ));
    let mut crowd = Python::start(CROWD, &["ask", &yett.address("public")]);
    crowd.order(&format!("idle {FIRST}"));
    crowd.told.expect(&[&format!("idle {FIRST}")]);
    let before_kb = yett.memory_kb("VmRSS");
    crowd.order(&format!("idle {IDLE}"));
    crowd.told.expect(&[&format!("idle {IDLE}")]);
    let each = (yett.memory_kb("VmRSS").saturating_sub(before_kb) << 10) / (IDLE - FIRST);
    assert!(each <= IDLE_BYTES_MAX, "an idle connection takes {each} bytes");
    let open = || yett.count("yett_connections_active", &["listener=\"public\""]);
    assert_eq!(open(), IDLE);

    crowd.order(&format!("active {ACTIVE}"));
    crowd.told.expect(&[&format!("answered {ACTIVE}")]);
    assert_eq!(yett.count("yett_requests_total", &["status=\"2xx\""]), IDLE + ACTIVE);
    until_true("those who are done have left", || open() == IDLE);
    crowd.order("gone");
    crowd.told.expect(&["gone 0"]);

    let began = now();
    yett.signal("TERM");
    assert_eq!(yett.ended().code(), Some(0));
    let took = now() - began;
    assert!(took < DRAIN, "the drain took {took:?}");
    assert!(!yett.log.text().contains("under way"), "{}", yett.log.text());
    crowd.order("gone");
    crowd.told.expect(&[&format!("gone {IDLE}")]);
}
