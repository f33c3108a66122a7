use crate::it::kit::{Case, gateway, told};
use base::caps::HALF_CLOSED_TIMEOUT_S;
use std::time::Duration;
use testkit::TestGateway;
use testkit::gateway::BACKEND;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc::Receiver;
use traffic::upgrade::websocket_accept;

pub(crate) const CASES: &[Case] = &[
    Case {
        path: "/*",
        policies: "[{ concurrency: 1 per address }]",
        request: "GET /a HTTP/1.1\n",
        told: "200",
        saw: "GET /a",
    },
    Case {
        path: "/*",
        policies: "[{ concurrency: { max: 5, per: route, id: slow } }]",
        request: "GET /a HTTP/1.1\n",
        told: "200",
        saw: "GET /a",
    },
];

/// A gateway with these policies, and the connections to a backend that the test plays.
pub(crate) fn played(policies: &str) -> (TestGateway, Receiver<DuplexStream>) {
    let (gateway, _) = gateway("/*", policies);
    let connections = gateway.play(BACKEND);
    (gateway, connections)
}

/// Sends a request from an address, and waits until the backend has it.
pub(crate) async fn begin(
    gateway: &TestGateway,
    connections: &mut Receiver<DuplexStream>,
    request: &str,
) -> (DuplexStream, DuplexStream, String) {
    let mut client = gateway.connect_from("192.0.2.1:1");
    let text = format!("{request}\nhost: api.test\n\n").replace('\n', "\r\n");
    client.write_all(text.as_bytes()).await.unwrap();
    let within = Duration::from_secs(1);
    let mut backend = tokio::time::timeout(within, connections.recv()).await.unwrap().unwrap();
    let heard = until(&mut backend, "\r\n\r\n").await;
    (client, backend, heard)
}

/// Reads until the text ends so.
pub(crate) async fn until(io: &mut DuplexStream, end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        let byte = io.read_u8().await;
        text.push(char::from(byte.unwrap_or_else(|why| panic!("{why} after {text:?}"))));
    }
    text
}

async fn asked_from(gateway: &TestGateway, peer: &str) -> String {
    let answer = gateway.ask_on(&mut gateway.connect_from(peer), "GET / HTTP/1.1").await;
    told(&answer).lines().next().unwrap_or_default().to_owned()
}

async fn is_full(gateway: &TestGateway) {
    assert_eq!(asked_from(gateway, "192.0.2.1:2").await, "429 too_many_at_once");
}

/// Whether the place is free again, once those who have gone are given up: who has closed one direction may still wait
/// for an answer.
async fn is_free(gateway: &TestGateway, connections: &mut Receiver<DuplexStream>) {
    let while_given_up = Duration::from_secs(2 * HALF_CLOSED_TIMEOUT_S);
    tokio::time::sleep(while_given_up).await;
    drop(begin(gateway, connections, "GET / HTTP/1.1").await);
    tokio::time::sleep(while_given_up).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_is_under_way_until_the_last_byte_of_its_answer() {
    let (gateway, mut connections) = played("[{ concurrency: 1 per address }]");
    let (mut client, mut backend, _) = begin(&gateway, &mut connections, "GET / HTTP/1.1").await;
    is_full(&gateway).await;
    backend.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst").await.unwrap();
    until(&mut client, "first").await;
    is_full(&gateway).await;
    backend.write_all(b" last").await.unwrap();
    until(&mut client, " last").await;
    drop((client, backend));
    is_free(&gateway, &mut connections).await;
}

#[tokio::test(start_paused = true)]
async fn a_place_comes_back_when_the_client_or_the_backend_goes_away() {
    let (gateway, mut connections) = played("[{ concurrency: 1 per address }]");
    let (client, backend, _) = begin(&gateway, &mut connections, "GET / HTTP/1.1").await;
    drop(client);
    is_free(&gateway, &mut connections).await;
    drop(backend);
    let (mut client, backend, _) = begin(&gateway, &mut connections, "GET / HTTP/1.1").await;
    is_full(&gateway).await;
    drop(backend);
    assert!(until(&mut client, "\r\n").await.contains(" 502 "));
    drop(client);
    let (mut client, mut backend, _) = begin(&gateway, &mut connections, "GET / HTTP/1.1").await;
    backend.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst").await.unwrap();
    until(&mut client, "first").await;
    drop(backend);
    let mut rest = Vec::new();
    drop(client.read_to_end(&mut rest).await);
    is_free(&gateway, &mut connections).await;
}

#[tokio::test(start_paused = true)]
async fn a_websocket_keeps_its_place_until_it_ends() {
    let (gateway, mut connections) = played("[{ concurrency: 1 per address }, websocket: {}]");
    let request = "GET / HTTP/1.1\nconnection: upgrade\nupgrade: websocket\nsec-websocket-version: 13\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
    let (mut client, mut backend, heard) = begin(&gateway, &mut connections, request).await;
    let key = heard.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).unwrap();
    let accept = websocket_accept(&key.parse().unwrap());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\nconnection: upgrade\nupgrade: websocket\nsec-websocket-accept: {}\n\n",
        accept.to_str().unwrap()
    );
    backend.write_all(answer.replace('\n', "\r\n").as_bytes()).await.unwrap();
    backend.write_all(b"hello").await.unwrap();
    until(&mut client, "hello").await;
    is_full(&gateway).await;
    drop((client, backend));
    is_free(&gateway, &mut connections).await;
}

#[tokio::test(start_paused = true)]
async fn who_finds_no_place_uses_up_nothing_of_other_limits() {
    let (gateway, mut connections) =
        played("[{ rate_limit: 2/h per address }, { concurrency: 1 per address }]");
    let (client, backend, _) = begin(&gateway, &mut connections, "GET / HTTP/1.1").await;
    for _ in 0..5 {
        is_full(&gateway).await;
    }
    drop((client, backend));
    is_free(&gateway, &mut connections).await;
    assert_eq!(asked_from(&gateway, "192.0.2.1:2").await, "429 rate_limited");
}
