//! Many changes in a row while clients go on asking.

use super::client::{LOAD_CONNECTIONS, Load};
use super::servers::Nginx;
use super::wait::until_true;
use super::yett::{Launch, TOP};
use std::fs;
use std::os::unix::fs::symlink;

const SWAPS: usize = 200;
/// Each of so many is refused.
const BROKEN_EVERY: usize = 5;

/// Each revision differs in policies, routes, upstreams and consumers.
fn revision(number: usize, target: &str) -> String {
    let consumer =
        if number.is_multiple_of(2) { "consumers: { somebody: { groups: [a] } }\n" } else { "" };
    format!(
        "{TOP}listeners: {{ public: {{ bind: \"127.0.0.1:0\" }} }}
access_log: {{ to: off }}
upstreams:
  backend: {{ targets: [\"{target}\"], retries: {} }}
  other-{}: {{ targets: [\"127.0.0.1:1\"] }}
policies: [{{ rate_limit: 1000000/s per address }}]
apis:
  all: {{ upstream: backend, public: a test, policies: [{{ headers: {{ response: {{ set: {{ x-revision: \"{number}\" }} }} }} }}] }}
  extra-{}: {{ path: /extra, upstream: other-{}, public: a test }}
{consumer}",
        number % 3,
        number % 5,
        number % 7,
        number % 5,
    )
}

/// The same in a way that nobody can serve: half of it, as an editor that was interrupted leaves it, no YAML,
/// an upstream that does not exist, a certificate that is not there.
fn broken(number: usize, target: &str) -> String {
    let whole = revision(number, target);
    match number / BROKEN_EVERY % 4 {
        0 => whole.chars().take(whole.len() - 90).collect(),
        1 => format!("{whole}  }}: [\n"),
        2 => whole.replace("upstream: backend,", "upstream: nobody,"),
        _ => whole.replace(
            "listeners: {",
            "listeners: { tls: { bind: \"127.0.0.1:0\", tls: { certificates: [{ cert: no.pem, key: no.key }] } },",
        ),
    }
}

#[test]
fn two_hundred_changes_under_load_some_of_them_broken_lose_no_request() {
    let nginx = Nginx::start("location / { return 200 \"hello\"; }");
    // Behind a link nothing is watched, so that each change is one reload, at the moment of the signal.
    let elsewhere = tempfile::tempdir().unwrap();
    let real = elsewhere.path().join("real.yaml");
    fs::write(&real, revision(0, &nginx.address)).unwrap();
    let launch = Launch::new("");
    fs::remove_file(launch.folder.path().join("yett.yaml")).unwrap();
    symlink(&real, launch.folder.path().join("yett.yaml")).unwrap();
    let yett = launch.start();
    let load = Load::start(&yett.url("public"));
    let requests = || yett.count("yett_requests_total", &["api=\"all\""]);
    until_true("the load has begun", || requests() > 100);
    let warm_kb = yett.memory_kb("VmRSS");
    let failed = || yett.count("yett_config_reloads_total", &["result=\"failed\""]);
    for number in 1..=SWAPS {
        let before = yett.status()["revision"].clone();
        if number.is_multiple_of(BROKEN_EVERY) {
            let refused = failed();
            fs::write(&real, broken(number, &nginx.address)).unwrap();
            yett.signal("HUP");
            until_true("the change is refused", || failed() > refused);
            assert_eq!(yett.status()["revision"], before);
            continue;
        }
        fs::write(&real, revision(number, &nginx.address)).unwrap();
        yett.signal("HUP");
        until_true("the change is in force", || yett.status()["revision"] != before);
    }
    let after = requests();
    until_true("the load goes on", || requests() > after + 100);
    let counted = load.end();
    assert_eq!(counted.failures, Vec::<String>::new());
    until_true("nothing is under way", || yett.metric("yett_requests_in_flight", &[]) == 0.0);
    let total = requests();
    // What was under way when the load ended is known to the gateway only.
    let difference = total.checked_sub(counted.requests);
    assert!(difference.is_some_and(|d| d <= LOAD_CONNECTIONS), "{total} {counted:?}");
    let good = yett.count("yett_requests_total", &["api=\"all\"", "status=\"2xx\""]);
    assert!(total - good <= LOAD_CONNECTIONS, "{}", yett.metrics());
    for code in ["internal", "no_route", "route_broken", "connect_failed", "upstream_reset"] {
        let label = format!("code=\"{code}\"");
        assert_eq!(yett.metric("yett_faults_total", &[&label]), 0.0, "{code}");
    }
    let good = (SWAPS - SWAPS / BROKEN_EVERY) as u64;
    assert_eq!(yett.count("yett_config_reloads_total", &["result=\"ok\""]), 1 + good);
    assert_eq!(failed(), (SWAPS / BROKEN_EVERY) as u64);
    let now_kb = yett.memory_kb("VmRSS");
    assert!(now_kb < warm_kb + (16 << 10), "memory grew from {warm_kb} to {now_kb} kB");
}
