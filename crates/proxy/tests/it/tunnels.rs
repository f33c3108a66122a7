//! Tunnels of WebSocket over HTTP/1.1 (RFC 6455) in raw bytes. What is in frames is not looked at, so the bytes
//! need not be any.

use crate::it::kit::{CLOSED, accept, brief, config, hear, played, tell, tell_bytes};
use base::caps::TUNNEL_HALF_CLOSED_S;
use std::time::Duration;
use testkit::TestGateway;
use testkit::gateway::BACKEND;
use tokio::io::{AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;
use traffic::upgrade::websocket_accept;

const ASK: &str = "GET /chat HTTP/1.1
host: a.test
connection: keep-alive, Upgrade
upgrade: WebSocket
sec-websocket-version: 13
sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==
sec-websocket-protocol: chat

";
/// The answer to the key above (RFC 6455, 1.3).
const ACCEPT: &str = "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const UPSTREAM: &str = "{ targets: ['10.0.0.1:80'] }";

/// A gateway whose one route takes WebSockets on these terms.
pub(crate) fn with_tunnels(settings: &str) -> (TestGateway, mpsc::Receiver<DuplexStream>) {
    let gateway = TestGateway::new(&config(UPSTREAM, &format!("[{{ websocket: {settings} }}]")));
    let connections = gateway.play(BACKEND);
    (gateway, connections)
}

/// The value of a header in a text.
fn value<'a>(text: &'a str, name: &str) -> &'a str {
    let mut lines = text.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(own, _)| *own == name).map(|(_, value)| value).unwrap_or_default()
}

/// The 101 of a backend that takes the request it has heard.
pub(crate) fn switched(heard: &str) -> String {
    let key = value(heard, "sec-websocket-key").parse().unwrap();
    let accept = websocket_accept(&key);
    format!(
        "HTTP/1.1 101 Switching Protocols\nupgrade: websocket\nconnection: Upgrade\nsec-websocket-accept: {}\nsec-websocket-protocol: chat\n\n",
        accept.to_str().unwrap()
    )
}

/// A client and a backend with a tunnel between them.
async fn open(settings: &str) -> (TestGateway, DuplexStream, DuplexStream) {
    let (gateway, mut connections) = with_tunnels(settings);
    let (client, backend) = open_on(&gateway, &mut connections).await;
    (gateway, client, backend)
}

/// A tunnel through a gateway.
pub(crate) async fn open_on(
    gateway: &TestGateway,
    connections: &mut mpsc::Receiver<DuplexStream>,
) -> (DuplexStream, DuplexStream) {
    let mut client = gateway.connect();
    tell(&mut client, ASK).await;
    let mut backend = accept(connections).await;
    let heard = hear(&mut backend).await;
    tell(&mut backend, &switched(&heard)).await;
    assert_eq!(brief(&hear(&mut client).await), "101");
    (client, backend)
}

async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn each_side_gets_a_handshake_of_its_own() {
    let (gateway, mut connections) = with_tunnels("{}");
    let mut client = gateway.connect();
    tell(&mut client, ASK).await;
    let mut backend = accept(&mut connections).await;
    let heard = hear(&mut backend).await;
    assert!(heard.starts_with("GET /chat HTTP/1.1\nhost: a.test\n"), "{heard}");
    assert_eq!(value(&heard, "connection"), "upgrade");
    assert_eq!(value(&heard, "upgrade"), "websocket");
    assert_eq!(value(&heard, "sec-websocket-version"), "13");
    assert_eq!(value(&heard, "sec-websocket-protocol"), "chat");
    assert_ne!(value(&heard, "sec-websocket-key"), "dGhlIHNhbXBsZSBub25jZQ==", "a new key");
    assert_eq!(heard.matches("sec-websocket-key").count(), 1, "{heard}");
    tell(&mut backend, &switched(&heard)).await;
    let heard = hear(&mut client).await;
    assert!(heard.starts_with("HTTP/1.1 101 Switching Protocols\n"), "{heard}");
    assert_eq!(heard.matches("sec-websocket-accept").count(), 1, "{heard}");
    assert!(heard.contains(ACCEPT), "{heard}");
    assert_eq!(value(&heard, "connection"), "upgrade");
    assert_eq!(value(&heard, "upgrade"), "websocket");
    assert_eq!(value(&heard, "sec-websocket-protocol"), "chat");
    assert!(!heard.contains("content-length") && !heard.contains("transfer-encoding"), "{heard}");
}

#[tokio::test(start_paused = true)]
async fn bytes_pass_both_ways_as_they_are() {
    let (_gateway, mut client, mut backend) = open("{}").await;
    for text in ["GET / HTTP/1.1\n\n", "0\n\n", "\u{0}\u{1}\u{2}", "x"] {
        tell(&mut client, text).await;
        assert_eq!(hear(&mut backend).await, text);
        tell(&mut backend, text).await;
        assert_eq!(hear(&mut client).await, text);
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_with_the_101_is_of_the_tunnel() {
    let (gateway, mut connections) = with_tunnels("{}");
    let mut client = gateway.connect();
    tell(&mut client, ASK).await;
    let mut backend = accept(&mut connections).await;
    let heard = hear(&mut backend).await;
    tell(&mut backend, &format!("{}hello", switched(&heard))).await;
    let heard = hear(&mut client).await;
    assert!(heard.ends_with("\n\nhello"), "{heard}");
}

#[tokio::test(start_paused = true)]
async fn a_handshake_may_come_byte_by_byte() {
    let (gateway, mut connections) = with_tunnels("{}");
    let mut client = gateway.connect();
    for byte in ASK.replace('\n', "\r\n").bytes() {
        tell_bytes(&mut client, &[byte]).await;
    }
    let mut backend = accept(&mut connections).await;
    let heard = hear(&mut backend).await;
    for byte in switched(&heard).replace('\n', "\r\n").bytes() {
        tell_bytes(&mut backend, &[byte]).await;
    }
    assert_eq!(brief(&hear(&mut client).await), "101");
    tell(&mut client, "ping").await;
    assert_eq!(hear(&mut backend).await, "ping");
}

#[tokio::test(start_paused = true)]
async fn without_the_policy_a_request_for_one_is_a_plain_request() {
    let (gateway, mut connections) = played("retries: 0");
    let mut client = gateway.connect();
    tell(&mut client, ASK).await;
    let mut backend = accept(&mut connections).await;
    let heard = hear(&mut backend).await;
    assert!(!heard.contains("upgrade:") && !heard.contains("connection:"), "{heard}");
    tell(&mut backend, "HTTP/1.1 101 Switching Protocols\nupgrade: websocket\n\n").await;
    assert_eq!(brief(&hear(&mut client).await), "502 upstream_invalid, closed");
}

#[tokio::test(start_paused = true)]
async fn a_plain_request_to_such_a_route_stays_one() {
    let (gateway, mut connections) = with_tunnels("{}");
    for (head, rest) in [
        ("GET / HTTP/1.1\nhost: a.test\n", ""),
        ("GET / HTTP/1.1\nhost: a.test\nupgrade: websocket\n", ""),
        ("GET / HTTP/1.1\nhost: a.test\nconnection: upgrade\nupgrade: h2c\n", ""),
        (
            "POST / HTTP/1.1\nhost: a.test\nconnection: upgrade\nupgrade: websocket\ncontent-length: 2\n",
            "hi",
        ),
    ] {
        let mut client = gateway.connect();
        tell(&mut client, &format!("{head}\n{rest}")).await;
        let mut backend = accept(&mut connections).await;
        let heard = hear(&mut backend).await;
        assert!(!heard.contains("upgrade:") && heard.ends_with(&format!("\n\n{rest}")), "{heard}");
        tell(&mut backend, "HTTP/1.1 204 No Content\nconnection: close\n\n").await;
        assert!(brief(&hear(&mut client).await).starts_with("204"), "{head}");
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_ahead_of_the_101_are_refused() {
    // With the head,
    let (gateway, mut connections) = with_tunnels("{}");
    let mut client = gateway.connect();
    tell(&mut client, &format!("{ASK}early")).await;
    assert_eq!(brief(&hear(&mut client).await), "400 bad_request, closed");
    // and while the target is asked.
    let mut client = gateway.connect();
    tell(&mut client, ASK).await;
    let mut backend = accept(&mut connections).await;
    let heard = hear(&mut backend).await;
    tell(&mut client, "early").await;
    tell(&mut backend, &switched(&heard)).await;
    assert_eq!(brief(&hear(&mut client).await), "400, closed");
    assert_eq!(hear(&mut backend).await, CLOSED, "it gets nothing of it");
    let metrics = gateway.metrics.encode();
    assert!(
        metrics.contains("yett_protocol_errors_total{reason=\"bytes_after_upgrade\"} 2"),
        "{metrics}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_is_wrong_is_refused() {
    let (gateway, _connections) = with_tunnels("{}");
    for (from, to, expected) in [
        ("version: 13", "version: 8", "426 websocket_version, closed"),
        ("sec-websocket-version: 13\n", "", "426 websocket_version, closed"),
        ("ZSBub25jZQ==", "", "400 bad_request, closed"),
        ("GET /", "DELETE /", "400 bad_request, closed"),
        (
            "host: a.test",
            "host: a.test\norigin: https://evil.example",
            "403 origin_refused, closed",
        ),
    ] {
        let mut client = gateway.connect();
        tell(&mut client, &ASK.replace(from, to)).await;
        let heard = hear(&mut client).await;
        assert_eq!(brief(&heard), expected, "{to}");
        if expected.starts_with("426") {
            assert_eq!(value(&heard, "sec-websocket-version"), "13");
            assert_eq!(value(&heard, "connection"), "upgrade, close");
            assert_eq!(value(&heard, "upgrade"), "websocket");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_does_not_switch_answers_as_usual() {
    let (gateway, mut connections) = with_tunnels("{}");
    for (answer, expected) in [
        ("HTTP/1.1 200 OK\ncontent-length: 2\n\nhi", "200, closed"),
        ("HTTP/1.1 403 Forbidden\ncontent-length: 0\n\n", "403, closed"),
        ("HTTP/1.1 301 Moved\nlocation: /x\ncontent-length: 0\n\n", "301, closed"),
    ] {
        let mut client = gateway.connect();
        tell(&mut client, ASK).await;
        let mut backend = accept(&mut connections).await;
        hear(&mut backend).await;
        tell(&mut backend, answer).await;
        assert_eq!(brief(&hear(&mut client).await), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_switches_wrongly_is_not_believed() {
    let (gateway, mut connections) = with_tunnels("{}");
    for (from, to) in [
        ("sec-websocket-accept: ", "sec-websocket-accept: x"),
        ("sec-websocket-accept", "x-other"),
        ("upgrade: websocket", "upgrade: h2c"),
        ("connection: Upgrade\n", ""),
        ("connection: Upgrade\n", "connection: Upgrade\ncontent-length: 5\n"),
    ] {
        let mut client = gateway.connect();
        tell(&mut client, ASK).await;
        let mut backend = accept(&mut connections).await;
        let heard = hear(&mut backend).await;
        tell(&mut backend, &switched(&heard).replace(from, to)).await;
        assert_eq!(brief(&hear(&mut client).await), "502 upstream_invalid, closed", "{from} {to}");
        assert_eq!(hear(&mut backend).await, CLOSED);
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_one_side_passes_on_while_the_other_goes_on() {
    let (_gateway, mut client, mut backend) = open("{}").await;
    client.shutdown().await.unwrap();
    assert_eq!(hear(&mut backend).await, CLOSED);
    pass(Duration::from_secs(TUNNEL_HALF_CLOSED_S / 2)).await;
    tell(&mut backend, "still here").await;
    assert_eq!(hear(&mut client).await, "still here");
    drop(backend);
    assert_eq!(hear(&mut client).await, CLOSED);

    let (_gateway, mut client, mut backend) = open("{}").await;
    tell(&mut backend, "bye").await;
    backend.shutdown().await.unwrap();
    assert_eq!(hear(&mut client).await, format!("bye{CLOSED}"));
    tell(&mut client, "one more thing").await;
    assert_eq!(hear(&mut backend).await, "one more thing");
    drop(client);
    assert_eq!(hear(&mut backend).await, CLOSED);
}

#[tokio::test(start_paused = true)]
async fn a_side_that_stays_after_the_other_has_left_is_waited_for_a_little_while() {
    for leaves in ["client", "backend"] {
        let (_gateway, mut client, mut backend) = open("{ idle: 1h }").await;
        if leaves == "client" {
            client.shutdown().await.unwrap();
        } else {
            backend.shutdown().await.unwrap();
        }
        let stays = if leaves == "client" { &mut backend } else { &mut client };
        assert_eq!(hear(stays).await, CLOSED);
        pass(Duration::from_secs(TUNNEL_HALF_CLOSED_S - 1)).await;
        assert!(stays.write_all(b"x").await.is_ok(), "{leaves}");
        pass(Duration::from_secs(TUNNEL_HALF_CLOSED_S + 1)).await;
        assert!(stays.write_all(b"x").await.is_err(), "{leaves}");
    }
}

#[tokio::test(start_paused = true)]
async fn silence_of_both_sides_ends_a_tunnel_and_talk_of_either_keeps_it() {
    let (_gateway, mut client, mut backend) = open("{ idle: 20s }").await;
    for _ in 0..3 {
        pass(15 * SECOND).await;
        tell(&mut client, "ping").await;
        assert_eq!(hear(&mut backend).await, "ping");
        pass(15 * SECOND).await;
        tell(&mut backend, "pong").await;
        assert_eq!(hear(&mut client).await, "pong");
    }
    pass(19 * SECOND).await;
    assert_eq!(hear(&mut client).await, "");
    pass(2 * SECOND).await;
    assert_eq!(hear(&mut client).await, CLOSED);
    assert_eq!(hear(&mut backend).await, CLOSED);
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_ends_when_its_time_is_over_however_busy_it_is() {
    let (_gateway, mut client, mut backend) = open("{ total: 60s }").await;
    for _ in 0..5 {
        pass(10 * SECOND).await;
        tell(&mut client, "ping").await;
        assert_eq!(hear(&mut backend).await, "ping");
    }
    pass(11 * SECOND).await;
    assert_eq!(hear(&mut client).await, CLOSED);
    assert_eq!(hear(&mut backend).await, CLOSED);
}

#[tokio::test(start_paused = true)]
async fn the_limits_of_other_requests_are_not_those_of_a_tunnel() {
    let limits = "timeouts: { first_byte: 1s, idle: 1s, total: 2s }";
    let upstream = format!("{{ targets: ['{BACKEND}'], {limits} }}");
    let policies = "[{ websocket: {} }, { body_limit: 10 }]";
    let gateway = TestGateway::new(&config(&upstream, policies));
    let mut connections = gateway.play(BACKEND);
    let mut client = gateway.connect();
    tell(&mut client, ASK).await;
    let mut backend = accept(&mut connections).await;
    let heard = hear(&mut backend).await;
    tell(&mut backend, &switched(&heard)).await;
    assert_eq!(brief(&hear(&mut client).await), "101");
    for _ in 0..3 {
        pass(40 * SECOND).await;
        tell(&mut client, "more than ten bytes").await;
        assert_eq!(hear(&mut backend).await, "more than ten bytes");
    }
    // They hold for the handshake.
    let mut client = gateway.connect();
    tell(&mut client, ASK).await;
    let _backend = accept(&mut connections).await;
    pass(2 * SECOND).await;
    assert_eq!(brief(&hear(&mut client).await), "504 first_byte_timeout, closed");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_is_heard_all_the_same() {
    let (_gateway, mut client, mut backend) = open("{}").await;
    tell_bytes(&mut backend, &vec![b'x'; 1 << 20]).await;
    for _ in 0..3 {
        tell(&mut client, "stop").await;
        assert_eq!(hear(&mut backend).await, "stop");
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_shutdown_ends_tunnels() {
    let (gateway, mut client, mut backend) = open("{}").await;
    gateway.drain();
    tell(&mut client, "still").await;
    assert_eq!(hear(&mut backend).await, "still");
    gateway.stop();
    assert_eq!(hear(&mut client).await, CLOSED);
    assert_eq!(hear(&mut backend).await, CLOSED);
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_does_not_meet_a_connection_that_others_have_used() {
    let (gateway, mut connections) = with_tunnels("{}");
    let mut plain = gateway.connect();
    tell(&mut plain, "GET / HTTP/1.1\nhost: a.test\n\n").await;
    let mut first = accept(&mut connections).await;
    hear(&mut first).await;
    tell(&mut first, "HTTP/1.1 204 No Content\n\n").await;
    hear(&mut plain).await;
    let mut client = gateway.connect();
    tell(&mut client, ASK).await;
    let mut second = accept(&mut connections).await;
    assert!(hear(&mut second).await.starts_with("GET /chat"));
    tell(&mut plain, "GET / HTTP/1.1\nhost: a.test\n\n").await;
    assert!(hear(&mut first).await.starts_with("GET / "), "the other serves on");
}
