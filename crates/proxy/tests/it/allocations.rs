//! What a request costs in allocations, once everything is warm.

use crate::it::kit::{accept, played};
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
