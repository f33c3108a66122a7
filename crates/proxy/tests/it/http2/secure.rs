//! HTTP/2 over TLS, which holds back what a connection has no room for until it is told to flush.

use crate::it::kit::config;
use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use http::Request;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;
use testkit::gateway::{BACKEND, client_tls_with};
use testkit::{Act, Authority, Backend, Surroundings, TestGateway};
use tokio::time::timeout;

const HOST: &str = "a.test";
/// Larger than any answer here: the client has no windows to open, so that nothing but the answer moves.
const WINDOW: u32 = 16 << 20;
/// Long before anybody is asked whether he is still there.
const SOON: Duration = Duration::from_secs(5);

/// A gateway whose listener speaks TLS, and the authority behind it.
fn secure() -> (TestGateway, Authority) {
    let authority = Authority::new();
    let pair = authority.sign(&[HOST]);
    let tls = "bind: '127.0.0.1:8080', tls: { certificates: [{ cert: a.pem, key: a.key }] }";
    let config = config(&format!("{{ targets: ['{BACKEND}'], retries: 0 }}"), "[]");
    let config = config.replace("bind: '127.0.0.1:8080'", tls);
    let around = Surroundings::of(&config).file("a.pem", pair.cert_pem).file("a.key", pair.key_pem);
    (TestGateway::within(&around), authority)
}

/// A client of this gateway, by HTTP/2.
async fn client(gateway: &TestGateway, authority: &Authority) -> SendRequest<Bytes> {
    let mut tls = Arc::unwrap_or_clone(client_tls_with(&authority.ca_pem, None));
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let io = gateway.connect_tls_with("public", HOST, Arc::new(tls)).await.unwrap();
    let mut builder = Builder::new();
    builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW);
    let (sender, connection) = builder.handshake(io).await.unwrap();
    drop(tokio::spawn(connection));
    sender
}

/// The bytes of the answer to a `GET`.
async fn fetch(sender: &SendRequest<Bytes>) -> usize {
    let request = Request::get(format!("https://{HOST}/")).body(()).unwrap();
    let mut sender = sender.clone().ready().await.unwrap();
    let (answer, _) = sender.send_request(request, true).unwrap();
    let mut body = answer.await.unwrap().into_body();
    let mut length = 0;
    while let Some(data) = poll_fn(|cx| body.poll_data(cx)).await {
        length += data.unwrap().len();
    }
    length
}

#[tokio::test(start_paused = true)]
async fn an_answer_comes_whole_however_often_the_client_has_no_room() {
    let (gateway, authority) = secure();
    for length in (0..16).map(|more| (1 << 20) + more * 5_000) {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
        let answer = [head.into_bytes(), vec![b'x'; length]].concat();
        gateway.put(BACKEND, Backend::acts([Act::Bytes(answer)]));
        let sender = client(&gateway, &authority).await;
        let fetched = timeout(SOON, fetch(&sender)).await;
        assert_eq!(fetched, Ok(length), "its end is held back");
    }
}
