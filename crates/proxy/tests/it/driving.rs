//! A request goes on while the client takes nothing of the answer.

use crate::it::http2::frames::{Client, DATA, END_STREAM, frame, post};
use crate::it::kit::{CLOSED, accept, hear, played, tell, tell_bytes};
use base::caps::WRITE_TIMEOUT_S;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::timeout;

/// More than all buffers between client and backend together hold.
const MUCH: usize = 4 << 20;
const PIECE: usize = 16 << 10;

/// A backend that answers at once with more than anybody takes unread, and reads all the same; returns how
/// much of a request it read until the request rested.
async fn answers_early(mut backend: DuplexStream) -> usize {
    let (mut from, mut to) = tokio::io::split(&mut backend);
    let answer = async {
        to.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n").await.ok()?;
        loop {
            to.write_all(&[b'a'; PIECE]).await.ok()?;
        }
        #[expect(unreachable_code, reason = "gives the block its type")]
        Some(())
    };
    let read = async {
        let (mut count, mut piece) = (0, vec![0; PIECE]);
        loop {
            match timeout(Duration::from_secs(1), from.read(&mut piece)).await {
                Ok(Ok(length)) if length > 0 => count += length,
                _ => return count,
            }
        }
    };
    tokio::select! {
        count = read => count,
        _ = answer => 0,
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_when_all_is_sent_gets_its_answer() {
    let (gateway, mut connections) = played("");
    let mut client = gateway.connect();
    tell(&mut client, &format!("POST / HTTP/1.1\nhost: a.test\ncontent-length: {MUCH}\n\n")).await;
    let backend = accept(&mut connections).await;
    let backend = tokio::spawn(answers_early(backend));
    client.write_all(&vec![b'x'; MUCH]).await.unwrap();
    let mut heard = [0; 15];
    client.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"HTTP/1.1 200 OK");
    assert!(backend.await.unwrap() >= MUCH, "all of the request came");
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_http2_goes_on_while_its_answer_waits() {
    let (gateway, mut connections) = played("");
    let mut client = Client::ready(&gateway).await;
    client.tell(&post(1, "")).await;
    let backend = accept(&mut connections).await;
    let backend = tokio::spawn(answers_early(backend));
    let data = vec![b'x'; PIECE];
    // The client opens no window for the answer: what it may not send, nobody has taken.
    let mut sent = 0;
    while sent < MUCH {
        client.tell(&frame(DATA, 0, 1, &data)).await;
        sent += PIECE;
        let story = client.story().await;
        assert!(!story.contains("FLOW_CONTROL"), "after {sent} bytes: {story}");
    }
    client.tell(&frame(DATA, END_STREAM, 1, b"")).await;
    assert!(backend.await.unwrap() >= MUCH, "all of the request came");
}

#[tokio::test(start_paused = true)]
async fn who_sends_is_not_given_up_for_taking_nothing_and_who_rests_is() {
    let (gateway, mut connections) = played("timeouts: { idle: 10m, total: 1h }");
    let mut client = gateway.connect();
    let piece = format!("1388\n{}\n", "x".repeat(5_000));
    let head = "POST / HTTP/1.1\nhost: a.test\ntransfer-encoding: chunked\n\n";
    tell(&mut client, &format!("{head}{piece}")).await;
    let mut backend = accept(&mut connections).await;
    hear(&mut backend).await;
    tell(&mut backend, &format!("HTTP/1.1 200 OK\ncontent-length: {MUCH}\n\n")).await;
    tell_bytes(&mut backend, &vec![b'a'; MUCH]).await;
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(WRITE_TIMEOUT_S - 20)).await;
        tell(&mut client, &piece).await;
        assert!(hear(&mut backend).await.contains("xxx"), "the request goes on");
    }
    tokio::time::sleep(Duration::from_secs(WRITE_TIMEOUT_S + 1)).await;
    let heard = hear(&mut backend).await;
    assert!(heard.ends_with(CLOSED), "a client that neither takes nor sends is given up: {heard}");
}
