//! HAProxy in front, which announces its clients by the PROXY protocol.

use super::backend::Backend;
use super::client::{curl, curl_fails};
use super::peers::haproxy::Haproxy;
use super::wait::until_true;
use super::yett::{TOP, Yett};

/// HAProxy that passes bytes on, and announces whom it carries.
fn haproxy(yett: &Yett, announces: &str) -> Haproxy {
    Haproxy::start(&format!(
        "defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend front
  bind ADDRESS
  default_backend back
backend back
  server yett {} {announces}
",
        yett.address("public")
    ))
}

fn start(backend: &Backend, from: &str) -> Yett {
    Yett::start(&format!(
        "{TOP}listeners: {{ public: {{ bind: \"127.0.0.1:0\", proxy_protocol: {{ from: [\"{from}\"] }} }} }}
upstreams: {{ backend: {{ targets: [\"{}\"] }} }}
apis: {{ all: {{ upstream: backend, public: a test }} }}
",
        backend.address
    ))
}

#[test]
fn clients_that_haproxy_announces_are_the_clients() {
    let backend = Backend::echo();
    let yett = start(&backend, "127.0.0.1/32");
    for (announces, client, version) in [
        ("send-proxy", "127.0.0.21", "--http1.1"),
        ("send-proxy", "127.0.0.22", "--http2-prior-knowledge"),
        ("send-proxy-v2", "127.0.0.23", "--http1.1"),
        ("send-proxy-v2", "127.0.0.24", "--http2-prior-knowledge"),
        ("send-proxy-v2 proxy-v2-options crc32c,unique-id,authority", "127.0.0.25", "--http1.1"),
    ] {
        let haproxy = haproxy(&yett, announces);
        let url = format!("http://{}/", haproxy.address);
        // What the client says of itself counts for nothing.
        let claim = ["-H", "x-forwarded-for: 192.0.2.1"];
        let answer = curl(&[&[version, "--interface", client, &url], &claim[..]].concat());
        assert_eq!(answer.status, 200, "{announces}: {}", answer.body);
        let seen = backend.seen().pop().unwrap();
        assert_eq!(seen.header("x-forwarded-for").as_deref(), Some(client), "{announces}");
        yett.access.expect(&[&format!("\"client\":\"{client}\""), "\"status\":200"]);
    }
}

#[test]
fn who_must_announce_clients_and_does_not_is_let_in_nowhere() {
    let backend = Backend::echo();
    let yett = start(&backend, "127.0.0.1/32");
    // HAProxy's own connection to look whether somebody is there has been refused before as well.
    let haproxy = haproxy(&yett, "");
    let refused = || yett.count("yett_connections_refused_total", &["reason=\"proxy_header\""]);
    // 52: the server closed without an answer; 56: it did so while the request was on its way.
    let code = curl_fails(&[&format!("http://{}/", haproxy.address)]);
    assert!([52, 56].contains(&code), "{code}");
    until_true("it is counted", || refused() >= 1);
    assert_eq!(backend.seen().len(), 0);
}

#[test]
fn nobody_is_announced_by_a_proxy_that_is_not_listed() {
    let backend = Backend::echo();
    let yett = start(&backend, "10.0.0.0/8");
    for announces in ["send-proxy", "send-proxy-v2"] {
        let haproxy = haproxy(&yett, announces);
        let answer = curl(&["--interface", "127.0.0.21", &format!("http://{}/", haproxy.address)]);
        assert_eq!(answer.status, 400, "{announces}: {}", answer.body);
    }
    let haproxy = haproxy(&yett, "");
    let answer = curl(&["--interface", "127.0.0.21", &format!("http://{}/", haproxy.address)]);
    assert_eq!(answer.status, 200, "without an announcement it is a client as any other");
    let seen = backend.seen();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].header("x-forwarded-for").as_deref(), Some("127.0.0.1"));
}
