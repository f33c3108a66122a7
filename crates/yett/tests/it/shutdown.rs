//! The end: requests under way are finished, up to a deadline.

use super::backend::{self, Backend};
use super::client::{connect, curl_command, get, read_head, read_to_end};
use super::wait::{Gate, Lines, until, until_true};
use super::yett::{Launch, Yett, command, plain, signal};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;

/// A backend that answers when the gate is opened.
fn slow(gate: &Gate) -> Backend {
    let held = gate.clone();
    Backend::start(move |_, stream| {
        held.pass();
        backend::answer(stream, "200 OK", "", b"finished")
    })
}

fn ask_slowly(yett: &Yett, backend: &Backend) -> TcpStream {
    let mut stream = connect(&yett.address("public"));
    stream.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    backend.until_seen(1);
    stream
}

#[test]
fn requests_under_way_are_finished() {
    let gate = Gate::default();
    let backend = slow(&gate);
    let mut yett = Yett::start(&plain(&backend.address.to_string(), ""));
    let address = yett.address("public");
    let mut stream = ask_slowly(&yett, &backend);
    let mut curl = curl_command(&["--http2-prior-knowledge", &yett.url("public")]);
    let curl = curl.stdout(Stdio::piped()).spawn().unwrap();
    backend.until_seen(2);
    yett.signal("TERM");
    until_true("it is no longer ready", || get(&yett.admin(), "/readyz").status == 503);
    assert_eq!(get(&yett.admin(), "/livez").status, 200);
    assert_eq!(yett.status()["state"], "draining");
    until_true("nobody new is let in", || TcpStream::connect(&address).is_err());
    gate.open();
    let answer = read_to_end(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("finished"), "{answer}");
    let output = curl.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "finished");
    assert_eq!(yett.ended().code(), Some(0));
    let log = yett.log.text();
    assert!(log.contains("stopped") && !log.contains("under way"), "{log}");
    let lines = until("the access lines are there", || {
        let lines = yett.access.all();
        (lines.len() == 2).then_some(lines)
    });
    assert!(lines.iter().all(|line| line.contains("\"status\":200") && !line.contains("complete")));
}

/// What every HTTP/2 client does by itself (RFC 9113, 6.7).
fn answer_pings(mut stream: TcpStream) {
    let mut frame = [0; 9];
    while stream.read_exact(&mut frame).is_ok() {
        let mut payload = vec![0; usize::from(frame[2])];
        stream.read_exact(&mut payload).unwrap();
        let [.., kind, flags, _, _, _, _] = frame;
        if (kind, flags) == (6, 0) {
            frame[4] = 1;
            stream.write_all(&[&frame[..], &payload].concat()).unwrap();
        }
    }
}

#[test]
fn idle_connections_do_not_hold_the_end_up() {
    let backend = Backend::says("ok");
    let mut yett = Yett::start(&plain(&backend.address.to_string(), ""));
    let fresh = connect(&yett.address("public"));
    let mut used = connect(&yett.address("public"));
    used.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    assert!(read_head(&mut used).starts_with("HTTP/1.1 200"));
    let mut body = [0; 2];
    used.read_exact(&mut body).unwrap();
    // An HTTP/2 client that has said hello and nothing else.
    let mut idle = connect(&yett.address("public"));
    idle.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    let mut settings = [0; 9];
    idle.read_exact(&mut settings).unwrap();
    idle.read_exact(&mut vec![0; usize::from(settings[2])]).unwrap();
    std::thread::spawn(move || answer_pings(idle));
    yett.signal("INT");
    assert_eq!(yett.ended().code(), Some(0));
    assert!(!yett.log.text().contains("under way"), "{}", yett.log.text());
    drop(fresh);
}

#[test]
fn a_second_signal_stops_at_once() {
    let gate = Gate::default();
    let backend = slow(&gate);
    let mut yett = Yett::start(&plain(&backend.address.to_string(), "drain: { timeout: 1h }\n"));
    let mut stream = ask_slowly(&yett, &backend);
    yett.signal("TERM");
    yett.log.expect(&["draining", "3600"]);
    yett.signal("TERM");
    assert_eq!(yett.ended().code(), Some(0));
    yett.log.expect(&["stopping with requests under way"]);
    let mut rest = Vec::new();
    // Closed or reset: either way there is no answer.
    drop(stream.read_to_end(&mut rest));
    assert!(rest.is_empty(), "{rest:?}");
    yett.access.expect(&["/slow", "\"complete\":false"]);
    gate.open();
}

#[test]
fn a_signal_right_after_the_start_is_obeyed_as_any_other() {
    for (name, round) in (0..10).flat_map(|round| [("TERM", round), ("HUP", round)]) {
        let config = plain("127.0.0.1:1", "");
        let folder = Launch::new(&config).folder;
        let mut command = command(folder.path(), &["run", "yett.yaml"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Lines::of(child.stderr.take().unwrap());
        log.expect(&["serving http://"]);
        signal(child.id(), name);
        if name == "HUP" {
            log.expect(&["config reloaded"]);
            signal(child.id(), "TERM");
        }
        let status = until("it ends", || child.try_wait().unwrap());
        assert_eq!(status.code(), Some(0), "{name}, round {round}: {}", log.text());
    }
}

#[test]
fn the_drain_has_a_deadline() {
    let gate = Gate::default();
    let backend = slow(&gate);
    let mut yett = Yett::start(&plain(&backend.address.to_string(), "drain: { timeout: 300ms }\n"));
    let stream = ask_slowly(&yett, &backend);
    yett.signal("TERM");
    assert_eq!(yett.ended().code(), Some(0));
    yett.log.expect(&["stopping with requests under way"]);
    yett.access.expect(&["/slow", "\"complete\":false"]);
    gate.open();
    drop(stream);
}

#[test]
fn the_next_gateway_can_have_the_address_at_once() {
    let backend = Backend::says("ok");
    let mut first = Yett::start(&plain(&backend.address.to_string(), ""));
    let address = first.address("public");
    assert_eq!(get(&address, "/").status, 200);
    first.signal("TERM");
    assert_eq!(first.ended().code(), Some(0));
    let config = plain(&backend.address.to_string(), "").replace(
        "public: { bind: \"127.0.0.1:0\" }",
        &format!("public: {{ bind: \"{address}\" }}"),
    );
    let second = Yett::start(&config);
    assert_eq!(second.address("public"), address);
    assert_eq!(get(&address, "/").body, "ok");
}
