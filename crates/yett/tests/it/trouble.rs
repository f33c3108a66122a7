//! Backends that are killed, stopped, slow or overloaded, under load.

use super::backend::{Backend, answer};
use super::client::{Load, get};
use super::servers::Nginx;
use super::wait::{Gate, until_true};
use super::yett::{PUBLIC, TOP, Yett, signal};

#[test]
fn a_backend_that_is_killed_or_stopped_without_health_checks_costs_no_get() {
    let mut first = Nginx::start("location / { return 200 \"first\"; }");
    let second = Nginx::start("location / { return 200 \"second\"; }");
    let yett = Yett::start(&format!(
        "{TOP}{PUBLIC}access_log: {{ to: off }}
upstreams:
  backend:
    targets: [\"{}\", \"{}\"]
    retries: {{ max: 2, per_try: 2s }}
    outliers: {{ consecutive: 3, eject: 500ms, eject_max: 1s }}
    timeouts: {{ total: 50s }}
apis: {{ all: {{ upstream: backend, public: a test }} }}
",
        first.address, second.address
    ));
    let target = format!("target=\"{}\"", first.address);
    let sent = || yett.metric("yett_target_requests_total", &[&target]);
    let ejections = || yett.metric("yett_target_ejections_total", &[&target]);
    let is_out = || yett.metric("yett_target_ejected", &[&target]) == 1.0;
    let load = Load::start(&yett.url("public"));
    until_true("it is used", || sent() > 100.0);
    first.kill();
    until_true("it is put aside", is_out);
    first.revive();
    until_true("it is tried and used again", || !is_out());
    let (quiet, before) = (sent(), ejections());
    until_true("it is used", || sent() > quiet + 100.0);
    signal(first.pid(), "STOP");
    until_true("it is put aside again", || ejections() > before);
    signal(first.pid(), "CONT");
    until_true("it is back", || !is_out());
    let counted = load.end();
    assert_eq!(counted.failures, Vec::<String>::new());
    assert_eq!(yett.metric("yett_requests_total", &["status=\"5xx\""]), 0.0);
    yett.log.expect(&["the target is put aside", &first.address]);
    yett.log.expect(&["the target takes requests again", &first.address]);
}

#[test]
fn a_breaker_and_a_queue_are_one_for_all_workers() {
    let gate = Gate::default();
    let (door, count) = (gate.clone(), 8);
    let backend = Backend::start(move |seen, stream| {
        if seen.line().contains("/bad") {
            return answer(stream, "503 Bad", "", b"");
        }
        door.pass();
        answer(stream, "200 OK", "", b"fine")
    });
    let yett = Yett::start(&format!(
        "{TOP}{PUBLIC}workers: 4
upstreams:
  backend:
    targets: [\"{}\"]
    concurrency: {{ max: 2, queue: 50, wait: 50s }}
    breaker: {{ failures: 50% in 10min, min_requests: 12, open: 1h }}
apis: {{ all: {{ upstream: backend, public: a test }} }}
",
        backend.address
    ));
    let address = yett.address("public");
    std::thread::scope(|scope| {
        let asking: Vec<_> =
            (0..count).map(|_| scope.spawn(|| get(&address, "/").status)).collect();
        until_true("six wait", || yett.metric("yett_upstream_queue", &[]) == 6.0);
        let status = yett.status();
        let concurrency = &status["upstreams"][0]["concurrency"];
        assert_eq!(concurrency["in_flight"], 2, "{status}");
        assert_eq!(concurrency["queued"], 6, "{status}");
        gate.open();
        assert!(asking.into_iter().all(|asked| asked.join().unwrap() == 200));
    });
    let statuses: Vec<u16> = (0..20).map(|_| get(&address, "/bad").status).collect();
    assert!(statuses.iter().all(|status| *status == 503));
    assert_eq!(backend.seen().len(), count + 8, "half of sixteen");
    let refused = get(&address, "/");
    assert!(refused.body.contains("\"breaker_open\""), "{}", refused.body);
    assert_eq!(
        refused.header("retry-after").as_deref().map(|wait| wait.parse::<u32>().unwrap() > 3_000),
        Some(true)
    );
    assert_eq!(yett.status()["upstreams"][0]["breaker"], "open");
    yett.log.expect(&["the breaker opened"]);
}
