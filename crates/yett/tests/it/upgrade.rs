//! Upgrading in place: another process goes on where the first one was.

use super::backend::{self, Backend};
use super::client::{LOAD_CONNECTIONS, Load, connect, get, read_head, read_to_end};
use super::servers::Nginx;
use super::wait::{Gate, until, until_true};
use super::yett::{Launch, PUBLIC, TOP, Yett, plain, run, signal};
use std::io::{Read as _, Write as _};

/// The process that serves; it ends with the test, for it is no child of it.
pub(crate) struct Heir(u32);

impl Drop for Heir {
    fn drop(&mut self) {
        signal(self.0, "KILL");
    }
}

/// Orders an upgrade and waits until another process has taken over, and the one that was takes no new clients.
pub(crate) fn upgrade(yett: &Yett, serves: u32) -> Heir {
    let left = || yett.log.text().matches("finishing what is under way").count();
    let before = left();
    signal(serves, "USR2");
    let heir = upgraded(yett, serves);
    until_true("the one before is left", || left() > before);
    heir
}

/// Waits until another process than the one that serves has taken over.
pub(crate) fn upgraded(yett: &Yett, serves: u32) -> Heir {
    Heir(until("another process serves", || {
        let process = u32::try_from(yett.status()["process"].as_u64()?).ok()?;
        (process != serves).then_some(process)
    }))
}

/// The outcome of an upgrade that fails.
fn refused(yett: &Yett) -> String {
    let before = yett.status()["last_upgrade"].clone();
    yett.signal("USR2");
    until("the upgrade is over", || {
        let now = yett.status()["last_upgrade"].clone();
        (now != before).then(|| now["reason"].as_str().map(str::to_owned))?
    })
}

#[test]
fn three_upgrades_under_load_lose_no_request() {
    let nginx = Nginx::start("location / { return 200 \"hello\"; }");
    let mut yett = Launch::new(&plain(&nginx.address, "access_log: { to: off }\n")).start();
    let load = Load::start(&yett.url("public"));
    let asked = || yett.count("yett_requests_total", &["api=\"all\""]);
    until_true("the load has begun", || asked() > 100);
    let first = upgrade(&yett, yett.pid());
    until_true("the load has moved", || asked() > 100);
    let second = upgrade(&yett, first.0);
    until_true("the load has moved again", || asked() > 100);
    let _third = upgrade(&yett, second.0);
    until_true("the load has moved once more", || asked() > 100);
    let counted = load.end();
    assert_eq!(counted.failures, Vec::<String>::new());
    assert!(counted.requests > 400, "{counted:?}");
    assert!(asked() <= counted.requests + LOAD_CONNECTIONS);
    assert!(yett.ended().success(), "the first process ends by itself");
    assert!(!yett.log.text().contains("stopping with connections open"), "{}", yett.log.text());
}

#[test]
fn a_request_under_way_is_finished_by_the_process_that_has_it() {
    let gate = Gate::default();
    let held = gate.clone();
    let backend = Backend::start(move |seen, stream| {
        if seen.line().starts_with("GET /slow") {
            held.pass();
        }
        backend::answer(stream, "200 OK", "", b"finished")
    });
    let mut yett = Yett::start(&plain(&backend.address.to_string(), ""));
    let address = yett.address("public");
    let mut slow = connect(&address);
    slow.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    backend.until_seen(1);
    // Kept open without a request, as clients do between two.
    let mut idle = connect(&address);
    idle.write_all(b"GET /one HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let mut answer = [0; 16];
    idle.read_exact(&mut answer).unwrap();
    let _heir = upgrade(&yett, yett.pid());
    assert_eq!(get(&address, "/new").body, "finished");
    idle.write_all(b"GET /two HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let rest = read_to_end(&mut idle);
    assert!(rest.contains("connection: close"), "the next answer is the last: {rest}");
    gate.open();
    assert!(read_to_end(&mut slow).ends_with("finished"));
    assert!(yett.ended().success());
}

#[test]
fn a_new_process_that_cannot_start_leaves_the_old_one_serving() {
    let backend = Backend::says("here");
    let config = plain(&backend.address.to_string(), "");
    let yett = Yett::start(&config);
    yett.reload(format!("{config}nonsense: true\n"));
    let reason = refused(&yett);
    assert!(reason.contains("ended before it served (exit status: 2)"), "{reason}");
    assert_eq!(get(&yett.address("public"), "/").body, "here");
    assert_eq!(yett.status()["state"], "serving");
    yett.reload(&config);
    let heir = upgrade(&yett, yett.pid());
    assert_eq!(get(&yett.address("public"), "/").body, "here");
    drop(heir);
}

#[test]
fn limits_and_the_state_folder_move() {
    let backend = Backend::says("here");
    let config = format!(
        "{}policies: [{{ rate_limit: 5/h per address }}]\nstate_dir: state\n",
        plain(&backend.address.to_string(), "")
    );
    let mut yett = Yett::start(&config);
    let address = yett.address("public");
    let ask = || get(&address, "/").status;
    assert_eq!([ask(), ask(), ask()], [200; 3]);
    let _heir = upgrade(&yett, yett.pid());
    assert!(yett.ended().success());
    assert_eq!([ask(), ask(), ask()], [200, 200, 429]);
    let folder = yett.path("yett.yaml").parent().unwrap().to_owned();
    let other = format!("{TOP}{PUBLIC}apis: {{}}\nstate_dir: state\n");
    std::fs::write(folder.join("other.yaml"), other).unwrap();
    let other = run(&folder, &["run", "other.yaml"]);
    assert!(other.err.contains("in use by another gateway"), "{}", other.err);
}

#[test]
fn a_stream_without_end_is_cut_when_the_time_to_drain_is_over() {
    let backend = Backend::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\ndata: 1\n\n").unwrap();
        stream.read(&mut [0]).is_err()
    });
    let config = plain(&backend.address.to_string(), "drain: { timeout: 1s }\n");
    let mut yett = Yett::start(&config);
    let mut stream = connect(&yett.address("public"));
    stream.write_all(b"GET /events HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 200"));
    let _heir = upgrade(&yett, yett.pid());
    assert!(yett.ended().success());
    yett.log.expect(&["stopping with connections open"]);
}

#[test]
fn a_signal_to_stop_during_an_upgrade_stops_both() {
    let backend = Backend::says("here");
    let mut yett = Yett::start(&plain(&backend.address.to_string(), ""));
    let address = yett.address("public");
    yett.signal("USR2");
    yett.signal("TERM");
    assert!(yett.ended().success());
    until_true("nobody serves", || std::net::TcpStream::connect(&address).is_err());
    // Whoever had taken over by then ends as well, and nobody else begins.
    let text = yett.log.text();
    assert!(
        !text.contains("another process serves now") || text.matches("stopped").count() == 2,
        "{text}"
    );
}
