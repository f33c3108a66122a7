use crate::it::concurrency::{begin, played, until};
use crate::it::kit::Case;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;
use traffic::upgrade::websocket_accept;

pub(crate) const CASES: &[Case] = &[
    Case {
        path: "/*",
        policies: "[{ bandwidth: 1MiB/s per address }]",
        request: "GET /a HTTP/1.1\n",
        told: "200",
        saw: "GET /a",
    },
    Case {
        path: "/*",
        policies: "[{ bandwidth: { up: 8Mbit/s, burst: 4KiB, per: route } }]",
        request: "POST /a HTTP/1.1\ncontent-length: 3\n\nabc",
        told: "200",
        saw: "POST /a\n\nabc",
    },
];

const SLOW: &str = "[{ bandwidth: { down: 64KiB/s, up: 32KiB/s, per: address } }]";
const BYTES: usize = 256 << 10;

#[expect(clippy::disallowed_methods, reason = "the runtime's clock stands still until all wait")]
fn now() -> Instant {
    Instant::now()
}

/// Whether so many seconds have passed since, up to what a beginning and an end may cost.
fn took(began: Instant, expected_s: u64) {
    let least = Duration::from_secs(expected_s) - Duration::from_millis(50);
    let took = began.elapsed();
    assert!((least..least + Duration::from_millis(500)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_takes_its_time_and_its_backend_is_kept_waiting() {
    let (gateway, mut connections) = played(SLOW);
    let (mut client, mut backend, _) = begin(&gateway, &mut connections, "GET / HTTP/1.1").await;
    let began = now();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {BYTES}\r\n\r\n");
    let sent = tokio::spawn(async move {
        backend.write_all(head.as_bytes()).await.unwrap();
        backend.write_all(&vec![b'x'; BYTES]).await.unwrap();
        (now(), backend)
    });
    until(&mut client, "\r\n\r\n").await;
    let mut body = vec![0; BYTES];
    client.read_exact(&mut body).await.unwrap();
    // Of four seconds the first one is the burst.
    took(began, 3);
    let (sent, _backend) = sent.await.unwrap();
    assert!(sent - began >= Duration::from_millis(500), "it was not read ahead");
}

#[tokio::test(start_paused = true)]
async fn a_request_takes_its_time_and_is_not_given_up_as_slow() {
    let (gateway, mut connections) =
        played("[{ bandwidth: { up: 32KiB/s, per: address } }, { timeouts: { idle: 1s } }]");
    let post = format!("POST / HTTP/1.1\ncontent-length: {BYTES}");
    let (client, mut backend, _) = begin(&gateway, &mut connections, &post).await;
    let began = now();
    let (mut answers, mut requests) = tokio::io::split(client);
    let sent = tokio::spawn(async move {
        requests.write_all(&vec![b'x'; BYTES]).await.unwrap();
        requests
    });
    let mut body = vec![0; BYTES];
    backend.read_exact(&mut body).await.unwrap();
    took(began, 7);
    backend.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
    let mut answer = [0; 15];
    answers.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    drop(sent.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn answers_of_the_gateway_itself_take_their_time_too() {
    let own = "[{ bandwidth: { down: 1KiB/s, burst: 1KiB } }, { respond: { body: BODY } }]";
    let (gateway, _) = played(&own.replace("BODY", &"x".repeat(3 << 10)));
    let began = now();
    let answer = gateway.ask("GET / HTTP/1.1").await;
    assert!(answer.ends_with(&"x".repeat(3 << 10)));
    took(began, 2);
}

#[tokio::test(start_paused = true)]
async fn both_directions_of_a_websocket_take_their_time() {
    let policies =
        format!("{}, {{ websocket: {{ idle: 1h, total: 2h }} }}]", SLOW.trim_end_matches(']'));
    let (gateway, mut connections) = played(&policies);
    let request = "GET / HTTP/1.1\nconnection: upgrade\nupgrade: websocket\nsec-websocket-version: 13\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
    let (mut client, mut backend, heard) = begin(&gateway, &mut connections, request).await;
    let key = heard.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).unwrap();
    let accept = websocket_accept(&key.parse().unwrap());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\nconnection: upgrade\nupgrade: websocket\nsec-websocket-accept: {}\n\n",
        accept.to_str().unwrap()
    );
    backend.write_all(answer.replace('\n', "\r\n").as_bytes()).await.unwrap();
    until(&mut client, "\r\n\r\n").await;
    let began = now();
    let (mut from_backend, mut to_client) = tokio::io::split(backend);
    let (mut from_gateway, mut to_gateway) = tokio::io::split(client);
    let senders = [
        tokio::spawn(async move {
            to_client.write_all(&vec![0; BYTES]).await.unwrap();
            std::future::pending::<()>().await;
        }),
        tokio::spawn(async move {
            to_gateway.write_all(&vec![0; BYTES]).await.unwrap();
            std::future::pending::<()>().await;
        }),
    ];
    let down = async {
        from_gateway.read_exact(&mut vec![0; BYTES]).await.unwrap();
        took(began, 3);
    };
    let up = async {
        from_backend.read_exact(&mut vec![0; BYTES]).await.unwrap();
        took(began, 7);
    };
    tokio::join!(down, up);
    senders.iter().for_each(tokio::task::JoinHandle::abort);
}
