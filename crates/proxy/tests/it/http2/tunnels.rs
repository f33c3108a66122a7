//! Tunnels of WebSocket over HTTP/2 (RFC 8441) in raw frames, to a target that speaks HTTP/1.1.

use crate::it::http2::frames::{
    Client, DATA, END_HEADERS, END_STREAM, HEADERS, Heard, WHOLE, block, frame, get, reset,
};
use crate::it::kit::{CLOSED, accept, config, hear, tell, tell_bytes};
use crate::it::tunnels::{switched, with_tunnels};
use std::time::Duration;
use testkit::TestGateway;
use tokio::io::{AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;

const ASK: &str = ":method: CONNECT
:protocol: websocket
:scheme: http
:path: /chat
:authority: a.test
sec-websocket-version: 13
sec-websocket-protocol: chat
";

fn ask(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &block(ASK))
}

/// The data that came on a stream.
fn data(frames: &[Heard]) -> String {
    let own = frames.iter().filter(|frame| frame.kind == DATA);
    own.map(|frame| String::from_utf8_lossy(&frame.payload).into_owned()).collect()
}

async fn open(
    gateway: &TestGateway,
    connections: &mut mpsc::Receiver<DuplexStream>,
) -> (Client, DuplexStream) {
    let mut client = Client::ready(gateway).await;
    client.tell(&ask(1)).await;
    let mut backend = accept(connections).await;
    let heard = hear(&mut backend).await;
    tell(&mut backend, &switched(&heard)).await;
    assert_eq!(client.story().await, "1:200..");
    (client, backend)
}

#[tokio::test(start_paused = true)]
async fn an_extended_connect_becomes_an_upgrade() {
    let (gateway, mut connections) = with_tunnels("{}");
    let mut client = Client::ready(&gateway).await;
    client.tell(&ask(1)).await;
    let mut backend = accept(&mut connections).await;
    let heard = hear(&mut backend).await;
    assert!(heard.starts_with("GET /chat HTTP/1.1\nhost: a.test\n"), "{heard}");
    for line in ["connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13"] {
        assert_eq!(heard.matches(&format!("\n{line}\n")).count(), 1, "{line} in {heard}");
    }
    assert_eq!(heard.matches("\nsec-websocket-key: ").count(), 1, "{heard}");
    tell(&mut backend, &switched(&heard)).await;
    let answer = client.hear().await.remove(0);
    assert_eq!(answer.field(":status"), Some("200"));
    assert_eq!(answer.field("sec-websocket-protocol"), Some("chat"));
    for gone in ["sec-websocket-accept", "upgrade", "connection", "content-length"] {
        assert_eq!(answer.field(gone), None);
    }
}

#[tokio::test(start_paused = true)]
async fn data_pass_both_ways_beside_other_streams() {
    let (gateway, mut connections) = with_tunnels("{}");
    let (mut client, mut backend) = open(&gateway, &mut connections).await;
    for text in ["hello", "GET / HTTP/1.1\n\n", "\u{0}"] {
        client.tell(&frame(DATA, 0, 1, text.replace('\n', "\r\n").as_bytes())).await;
        assert_eq!(hear(&mut backend).await, text);
        tell_bytes(&mut backend, text.as_bytes()).await;
        assert_eq!(data(&client.hear().await), text);
    }
    client.tell(&get(3)).await;
    let mut other = accept(&mut connections).await;
    assert!(hear(&mut other).await.starts_with("GET / "));
    tell(&mut other, "HTTP/1.1 204 No Content\n\n").await;
    assert_eq!(client.story().await, "3:204");
    client.tell(&ask(5)).await;
    let mut second = accept(&mut connections).await;
    let heard = hear(&mut second).await;
    tell(&mut second, &switched(&heard)).await;
    assert_eq!(client.story().await, "5:200..");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_one_side_passes_on_while_the_other_goes_on() {
    let (gateway, mut connections) = with_tunnels("{}");
    let (mut client, mut backend) = open(&gateway, &mut connections).await;
    client.tell(&frame(DATA, END_STREAM, 1, b"bye")).await;
    assert_eq!(hear(&mut backend).await, format!("bye{CLOSED}"));
    tell(&mut backend, "still here").await;
    assert_eq!(client.story().await, "1:..");
    drop(backend);
    assert_eq!(client.story().await, "1:end");

    let (mut client, mut backend) = open(&gateway, &mut connections).await;
    backend.shutdown().await.unwrap();
    assert_eq!(client.story().await, "1:end");
    client.tell(&frame(DATA, 0, 1, b"one more thing")).await;
    assert_eq!(hear(&mut backend).await, "one more thing");
    client.tell(&frame(DATA, END_STREAM, 1, b"")).await;
    assert_eq!(hear(&mut backend).await, CLOSED);
    client.tell(&get(3)).await;
    let mut other = accept(&mut connections).await;
    hear(&mut other).await;
    tell(&mut other, "HTTP/1.1 204 No Content\n\n").await;
    assert_eq!(client.story().await, "3:204", "the connection serves on");
}

#[tokio::test(start_paused = true)]
async fn a_reset_ends_the_connection_to_the_target() {
    let (gateway, mut connections) = with_tunnels("{}");
    let (mut client, mut backend) = open(&gateway, &mut connections).await;
    client.tell(&reset(1)).await;
    assert_eq!(hear(&mut backend).await, CLOSED);
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_that_is_over_is_reset() {
    let (gateway, mut connections) = with_tunnels("{ idle: 20s }");
    let (mut client, mut backend) = open(&gateway, &mut connections).await;
    tokio::time::sleep(Duration::from_secs(21)).await;
    assert_eq!(client.story().await, "1:CANCEL");
    assert_eq!(hear(&mut backend).await, CLOSED);
}

#[tokio::test(start_paused = true)]
async fn many_small_messages_are_no_flood() {
    let (gateway, mut connections) = with_tunnels("{}");
    let (mut client, mut backend) = open(&gateway, &mut connections).await;
    let messages = frame(DATA, 0, 1, b"x").repeat(1_000);
    for _ in 0..20 {
        client.tell(&messages).await;
        assert_eq!(hear(&mut backend).await.len(), 1_000);
        client.hear().await;
        assert!(!client.is_closed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_opens_no_window_is_heard_all_the_same() {
    let (gateway, mut connections) = with_tunnels("{}");
    let (mut client, mut backend) = open(&gateway, &mut connections).await;
    tell_bytes(&mut backend, &vec![b'x'; 1 << 20]).await;
    client.hear().await;
    for _ in 0..3 {
        client.tell(&frame(DATA, 0, 1, b"stop")).await;
        assert_eq!(hear(&mut backend).await, "stop");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_switch_is_never_taken_for_one() {
    let (gateway, mut connections) = with_tunnels("{}");
    for (answer, expected) in [
        ("HTTP/1.1 200 OK\ncontent-length: 2\n\nhi", "1:502 switch_refused"),
        ("HTTP/1.1 204 No Content\n\n", "1:502 switch_refused"),
        ("HTTP/1.1 403 Forbidden\ncontent-length: 2\n\nno", "1:403"),
        ("HTTP/1.1 101 Switching Protocols\nupgrade: websocket\n\n", "1:502 upstream_invalid"),
    ] {
        let mut client = Client::ready(&gateway).await;
        client.tell(&ask(1)).await;
        let mut backend = accept(&mut connections).await;
        hear(&mut backend).await;
        tell(&mut backend, answer).await;
        let story = client.story().await;
        assert!(story.starts_with(expected), "{answer}: {story}");
    }
    // Nor one that comes from a policy.
    let policies = "[{ websocket: {} }, { respond: 200 }]";
    let gateway = TestGateway::new(&config("{ targets: ['10.0.0.1:80'] }", policies));
    let mut client = Client::ready(&gateway).await;
    assert!(client.say(&ask(1)).await.starts_with("1:502 switch_refused"));
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_is_wrong_is_refused() {
    let (gateway, _connections) = with_tunnels("{}");
    for (from, to, expected) in [
        ("version: 13", "version: 8", "1:426 websocket_version"),
        ("sec-websocket-version: 13\n", "", "1:426 websocket_version"),
        ("version: 13", "version: 13\norigin: https://evil.example", "1:403 origin_refused"),
        ("version: 13", "version: 13\ncontent-length: 5", "1:400 bad_request"),
        (":protocol: websocket", ":protocol: connect-udp", "1:501 method_unsupported"),
        (":path: /chat\n", "", "1:PROTOCOL_ERROR"),
        (":scheme: http\n", "", "1:PROTOCOL_ERROR"),
    ] {
        for flags in [END_HEADERS, WHOLE] {
            let mut client = Client::ready(&gateway).await;
            let bytes = frame(HEADERS, flags, 1, &block(&ASK.replace(from, to)));
            let story = client.say(&bytes).await;
            // A stream that says it has data and ends breaks its own word first.
            let expected =
                if to.contains("length") && flags == WHOLE { "1:PROTOCOL" } else { expected };
            assert!(story.starts_with(expected), "{from} {to}: {story}");
        }
    }
}
