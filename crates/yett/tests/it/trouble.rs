//! Backends that are killed, stopped, slow or overloaded, under load.

use super::backend::{Backend, answer};
use super::client::{Load, ask, get};
use super::servers::Nginx;
use super::wait::{Gate, until_true};
use super::yett::{PUBLIC, TOP, Yett, signal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
fn a_backend_that_dies_again_and_again_costs_no_put() {
    let settings = "location / { return 200 \"done\"; }";
    let (mut first, second) = (Nginx::start(settings), Nginx::start(settings));
    let yett = Yett::start(&format!(
        "{TOP}{PUBLIC}access_log: {{ to: off }}
upstreams:
  backend:
    targets: [\"{}\", \"{}\"]
    retries: {{ max: 2, budget: 100% }}
    outliers: {{ consecutive: 3, eject: 200ms, eject_max: 200ms }}
apis: {{ all: {{ upstream: backend, public: a test }} }}
",
        first.address, second.address
    ));
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("put.lua");
    std::fs::write(&script, "wrk.method = \"PUT\"\nwrk.body = \"hello\"\n").unwrap();
    let load = Load::start_with(&yett.url("public"), &["-s", script.to_str().unwrap()]);
    let target = format!("target=\"{}\"", first.address);
    let sent = || yett.metric("yett_target_requests_total", &[&target]);
    let ejections = || yett.metric("yett_target_ejections_total", &[&target]);
    for _ in 0..3 {
        let (quiet, before) = (sent(), ejections());
        until_true("it is used", || sent() > quiet + 100.0);
        first.kill();
        until_true("it is put aside", || ejections() > before);
        first.revive();
    }
    let counted = load.end();
    assert!(counted.requests > 300, "{}", counted.requests);
    assert_eq!(counted.failures, Vec::<String>::new());
    assert_eq!(yett.metric("yett_requests_total", &["status=\"5xx\""]), 0.0);
}

/// Asks until so many answers in a row are those of the second backend; the others say that the first was
/// too slow.
fn until_only_the_second_answers(yett: &Yett) -> usize {
    let (mut late, mut in_a_row) = (0, 0);
    until_true("the first is left alone", || {
        let answer = ask(&yett.address("public"), "POST /", "a.test", "x");
        match answer.status {
            200 if answer.body == "second" => in_a_row += 1,
            504 if answer.body.contains("\"first_byte_timeout\"") => {
                (late, in_a_row) = (late + 1, 0)
            }
            _ => panic!("{answer:?}"),
        }
        in_a_row >= 10
    });
    late
}

#[test]
fn a_stopped_backend_times_out_and_is_left_alone_until_it_goes_on() {
    let first = Nginx::start("location / { return 200 \"first\"; }");
    let second = Nginx::start("location / { return 200 \"second\"; }");
    let yett = Yett::start(&format!(
        "{TOP}{PUBLIC}upstreams:
  backend:
    targets: [\"{}\", \"{}\"]
    outliers: {{ consecutive: 3, eject: 1s, eject_max: 1s }}
    timeouts: {{ first_byte: 500ms }}
apis: {{ all: {{ upstream: backend, public: a test }} }}
",
        first.address, second.address
    ));
    // The kernel takes connections in its place, so that each attempt begins well.
    signal(first.pid(), "STOP");
    let late = until_only_the_second_answers(&yett);
    assert!(late >= 3, "what is not safe to repeat gets the time-out: {late}");
    assert_eq!(yett.metric("yett_upstream_connect_failed_total", &[]), 0.0);
    yett.log.expect(&["put aside", &first.address, "no answer"]);
    let status = yett.status();
    let targets = status["upstreams"][0]["targets"].as_array().unwrap();
    let stopped = targets.iter().find(|t| t["address"] == first.address.as_str()).unwrap();
    assert_eq!(
        (&stopped["healthy"], &stopped["ejected"]),
        (&false.into(), &true.into()),
        "{status}"
    );
    signal(first.pid(), "CONT");
    until_true("it is back", || {
        ask(&yett.address("public"), "POST /", "a.test", "x").body == "first"
    });
    assert_eq!(yett.metric("yett_target_ejected", &[]), 0.0);
}

#[test]
fn a_hanging_backend_is_found_by_its_health_checks() {
    let gate = Gate::default();
    let (door, hung) = (gate.clone(), Arc::new(AtomicBool::new(false)));
    let is_hung = Arc::clone(&hung);
    let first = Backend::start(move |_, stream| {
        if is_hung.load(Ordering::SeqCst) {
            door.pass();
        }
        answer(stream, "200 OK", "", b"first")
    });
    let second = Backend::says("second");
    let yett = Yett::start(&format!(
        "{TOP}{PUBLIC}upstreams:
  backend:
    targets: [\"{}\", \"{}\"]
    health: {{ path: /, every: 500ms, timeout: 500ms, healthy_after: 1, unhealthy_after: 2 }}
    timeouts: {{ first_byte: 1s }}
apis: {{ all: {{ upstream: backend, public: a test }} }}
",
        first.address, second.address
    ));
    let ask = || ask(&yett.address("public"), "POST /", "a.test", "x");
    assert!((0..4).all(|_| ask().status == 200));
    hung.store(true, Ordering::SeqCst);
    until_only_the_second_answers(&yett);
    yett.log.expect(&["the target is unhealthy", &first.address.to_string(), "no answer within"]);
    // Reading goes on for who asks by a method that may be repeated.
    assert!((0..4).all(|_| get(&yett.address("public"), "/").body == "second"));
    hung.store(false, Ordering::SeqCst);
    gate.open();
    until_true("it is back", || ask().body == "first");
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
