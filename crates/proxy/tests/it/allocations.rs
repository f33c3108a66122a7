//! What a request costs in allocations, once everything is warm.

use crate::it::kit::{CLOSED, accept, config, hear, played, tell};
use std::time::Duration;
use testkit::backend::Act;
use testkit::{Backend, TestGateway};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

const REQUEST: &[u8] = b"GET /orders/1 HTTP/1.1\r\nhost: a.test\r\nuser-agent: test/1\r\naccept: */*\r\nx-custom: 1\r\ncookie: a=b\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nserver: test\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\ncontent-type: text/plain\r\nx-other: 2\r\ncontent-length: 5\r\n\r\nhello";
/// Requests that are counted together.
const ROUNDS: u64 = 100;
/// The most that one request may take: its exchange, the futures that are boxed, two lists of headers on the way in
/// and one on the way back, host, id and trace, the answer's body and its bytes. None is for a header.
const ALLOCATIONS_MAX: u64 = 18;

async fn exchange(client: &mut DuplexStream, backend: &mut DuplexStream) {
    let mut room = [0; 2_048];
    client.write_all(REQUEST).await.unwrap();
    let asked = backend.read(&mut room).await.unwrap();
    assert!(room[..asked].ends_with(b"\r\n\r\n"));
    backend.write_all(ANSWER).await.unwrap();
    let mut heard = 0;
    while !room[..heard].ends_with(b"hello") {
        heard += client.read(&mut room[heard..]).await.unwrap();
    }
}

#[test]
fn a_request_takes_few_allocations_and_none_for_a_header() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let (gateway, mut client, mut backend) = runtime.block_on(async {
        let (gateway, mut connections) = played("");
        let mut client = gateway.connect();
        client.write_all(REQUEST).await.unwrap();
        let mut backend = accept(&mut connections).await;
        let mut room = [0; 2_048];
        assert!(backend.read(&mut room).await.unwrap() > 0);
        backend.write_all(ANSWER).await.unwrap();
        assert!(client.read(&mut room).await.unwrap() > 0);
        (gateway, client, backend)
    });
    let mut serve = || {
        runtime.block_on(async {
            for _ in 0..ROUNDS {
                exchange(&mut client, &mut backend).await;
            }
        });
    };
    serve();
    let each = allocation_counter::measure(serve).count_total / ROUNDS;
    drop(gateway);
    assert!((1..=ALLOCATIONS_MAX).contains(&each), "{each} allocations a request");
}

/// Rounds of trouble before memory is looked at, and while it is.
const TROUBLE_ROUNDS: u32 = 200;
/// Allocations that they may leave behind, give or take what waits for its turn at that moment: one for each other
/// round would be too many.
const LEFT_MAX: i64 = TROUBLE_ROUNDS as i64 / 2;
/// Bytes in them.
const LEFT_BYTES_MAX: i64 = 12 << 10;

/// A config of three targets with all that is remembered of them and of clients.
fn remembering(revision: u32) -> String {
    config(
        "{ targets: ['10.0.0.1:80', '10.0.0.2:80', '10.0.0.3:80'], balance: least_request, retries: 2, \
         outliers: { consecutive: 3 }, health: { path: /, every: 500ms, timeout: 400ms, healthy_after: 1, unhealthy_after: 1 } }",
        &format!(
            "[{{ rate_limit: 1000/s per address }}, {{ headers: {{ response: {{ set: {{ x-revision: '{revision}' }} }} }} }}]"
        ),
    )
}

/// A target is lost in one way or another and comes back, clients come and leave, and the config changes.
async fn trouble(gateway: &TestGateway, round: u32) {
    let ok = || Backend::answer("HTTP/1.1 200 OK\ncontent-length: 2\n\nok");
    let bad = match round % 4 {
        0 => Backend::refusing(),
        1 => Backend::acts([Act::Close]),
        2 => Backend::answer("HTTP/1.1 503 Service Unavailable\ncontent-length: 0\n\n"),
        _ => Backend::acts([
            Act::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_vec()),
            Act::Close,
        ]),
    };
    gateway.put("10.0.0.1:80", bad);
    let [_, _, high, low] = round.to_be_bytes();
    let mut client = gateway.connect_from(&format!("192.0.{high}.{low}:4711"));
    for method in ["GET", "POST", "GET", "PUT"] {
        tell(
            &mut client,
            &format!("{method} /{round} HTTP/1.1\nhost: a.test\ncontent-length: 0\n\n"),
        )
        .await;
        if hear(&mut client).await.ends_with(CLOSED) {
            client = gateway.connect_from(&format!("192.0.{high}.{low}:4711"));
        }
    }
    // As long as a health check needs to see it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    gateway.put("10.0.0.1:80", ok());
    gateway.reload(&remembering(round)).unwrap();
    gateway.metrics.forget();
    drop(client);
    gateway.backends.forget();
    gateway.advance(Duration::from_secs(1));
    tokio::time::sleep(Duration::from_secs(1)).await;
}

#[test]
fn lost_targets_new_clients_and_reloads_leave_nothing_behind() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let gateway = runtime.block_on(async {
        let gateway = TestGateway::new(&remembering(0));
        for address in ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"] {
            gateway.put(address, Backend::answer("HTTP/1.1 200 OK\ncontent-length: 2\n\nok"));
        }
        gateway
    });
    let mut rounds = 0..;
    let mut serve = || {
        runtime.block_on(async {
            for round in rounds.by_ref().take(TROUBLE_ROUNDS as usize) {
                trouble(&gateway, round).await;
            }
        });
    };
    serve();
    let left = allocation_counter::measure(serve);
    assert!(left.count_current < LEFT_MAX && left.bytes_current < LEFT_BYTES_MAX, "{left:?}");
    drop(gateway);
}
