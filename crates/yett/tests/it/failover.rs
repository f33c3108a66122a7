//! Backends that die and come back while clients go on asking.

use super::client::Load;
use super::servers::Nginx;
use super::wait::until_true;
use super::yett::{PUBLIC, TOP, Yett};

#[test]
fn a_killed_backend_costs_no_request_and_is_used_again_once_it_is_back() {
    let mut first = Nginx::start("location / { return 200 \"first\"; }");
    let second = Nginx::start("location / { return 200 \"second\"; }");
    let yett = Yett::start(&format!(
        "{TOP}{PUBLIC}access_log: {{ to: off }}
upstreams:
  backend:
    targets: [\"{}\", \"{}\"]
    health: {{ path: /, every: 500ms, timeout: 500ms, healthy_after: 2, unhealthy_after: 2 }}
    outliers: false
apis: {{ all: {{ upstream: backend, public: a test }} }}
",
        first.address, second.address
    ));
    let target = format!("target=\"{}\"", first.address);
    let sent = || yett.metric("yett_target_requests_total", &[&target]);
    let is_up = || yett.metric("yett_target_up", &[&target]) == 1.0;
    let requests = || yett.metric("yett_requests_total", &["status=\"2xx\""]);
    let load = Load::start(&yett.url("public"));
    until_true("both are used", || sent() > 100.0 && requests() > 2.0 * sent() - 50.0);
    first.kill();
    until_true("health notices", || !is_up());
    let status = yett.status();
    let targets = status["upstreams"][0]["targets"].as_array().unwrap();
    let dead = targets.iter().find(|t| t["address"] == first.address.as_str()).unwrap();
    assert_eq!(dead["healthy"], false, "{status}");
    assert!(dead["reason"].as_str().unwrap().contains("refused"), "{status}");
    let (quiet, served) = (sent(), requests());
    until_true("the other serves", || requests() > served + 200.0);
    assert_eq!(sent(), quiet, "an unhealthy target gets no requests");
    first.revive();
    until_true("health notices", is_up);
    until_true("it is used again", || sent() > quiet + 100.0);
    let counted = load.end();
    assert_eq!(counted.failures, Vec::<String>::new());
    assert!(yett.metric("yett_upstream_retries_total", &[]) >= 1.0);
    assert_eq!(yett.metric("yett_requests_total", &["status=\"5xx\""]), 0.0);
    yett.log.expect(&["the target is unhealthy", &first.address]);
    yett.log.expect(&["the target is healthy again", &first.address]);
}

#[test]
fn without_any_backend_clients_are_told_so_at_once() {
    let mut only = Nginx::start("location / { return 200 \"only\"; }");
    let yett = Yett::start(&super::yett::plain(&only.address, ""));
    let get = || super::client::get(&yett.address("public"), "/");
    assert_eq!(get().status, 200);
    only.kill();
    let answer = get();
    assert_eq!(answer.status, 502);
    assert!(answer.body.contains("\"connect_failed\""), "{}", answer.body);
    assert!(!answer.body.contains(&only.address), "causes are for the log: {}", answer.body);
    yett.access.expect(&["connect_failed", &only.address, "refused"]);
    only.revive();
    assert_eq!(get().body, "only");
}
