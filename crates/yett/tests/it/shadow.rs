//! A shadow that stops in the middle of the traffic it gets copies of.

use super::client::{self, Load};
use super::servers::Nginx;
use super::wait::until_true;
use super::yett::{PUBLIC, TOP, Yett, signal};

#[test]
fn a_shadow_that_stands_still_costs_clients_nothing_and_memory_stays_bounded() {
    let real = Nginx::start("location / { return 200 \"real\"; }");
    let shadow = Nginx::start("location / { return 200 \"shadow\"; }");
    let yett = Yett::start(&format!(
        "{TOP}{PUBLIC}access_log: {{ to: off }}
upstreams:
  backend: {{ targets: [\"{}\"] }}
  shadow: {{ targets: [\"{}\"] }}
apis:
  all:
    upstream: backend
    public: a test
    policies: [{{ mirror: {{ to: shadow, concurrency_max: 20, timeout: 1h }} }}]
",
        real.address, shadow.address
    ));
    let requests = || yett.metric("yett_requests_total", &["status=\"2xx\""]);
    let copies = |outcome: &str| {
        let outcome = format!("outcome=\"{outcome}\"");
        yett.metric("yett_mirror_requests_total", &["upstream=\"shadow\"", &outcome])
    };
    let load = Load::start(&yett.url("public"));
    until_true("copies are made", || copies("sent") > 200.0);
    signal(shadow.pid(), "STOP");
    until_true("copies are shed", || copies("shed") > 200.0);
    let (sent, served, memory_kb) = (copies("sent"), requests(), yett.memory_kb("VmRSS"));
    until_true("clients are served on", || requests() > served + 2_000.0);
    assert!(copies("sent") - sent <= 20.0, "those that were on their way, at most");
    assert_eq!(copies("failed"), 0.0, "nobody has waited for a copy to end");
    let grown_kb = yett.memory_kb("VmRSS").saturating_sub(memory_kb);
    assert!(grown_kb < 8 << 10, "the memory grew by {grown_kb} kB");
    assert_eq!(client::get(&yett.address("public"), "/").body, "real");
    signal(shadow.pid(), "CONT");
    let sent = copies("sent");
    until_true("copies are made again", || copies("sent") > sent + 200.0);
    assert_eq!(load.end().failures, Vec::<String>::new());
    assert_eq!(yett.metric("yett_requests_total", &["status=\"5xx\""]), 0.0);
}
