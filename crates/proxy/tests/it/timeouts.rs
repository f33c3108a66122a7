use crate::it::kit::{accept, brief, config, hear, played, tell, with_upstream};
use base::caps::{HEAD_TIMEOUT_S, IDLE_TIMEOUT_S};
use std::time::Duration;
use testkit::gateway::BACKEND;
use testkit::{Act, Backend, TestGateway};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{sleep, timeout};

const GET: &str = "GET / HTTP/1.1\nhost: a.test\n\n";

/// The answer to a request must come after this time, and not much later.
async fn after(gateway: &TestGateway, request: &str, time: Duration) -> String {
    let mut io = gateway.connect();
    tell(&mut io, request).await;
    let mut first = [0; 1];
    let early = timeout(time - Duration::from_millis(10), io.read(&mut first)).await;
    assert!(early.is_err(), "an answer came early");
    let late = timeout(Duration::from_millis(20), io.read(&mut first)).await;
    assert_eq!(late.expect("the answer is not late").unwrap(), 1);
    format!("H{}", hear(&mut io).await)
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_does_not_come_about_is_given_up() {
    let gateway = with_upstream(&format!(
        "{{ targets: ['{BACKEND}'], retries: 0, timeouts: {{ connect: 2s }} }}"
    ));
    gateway.put(BACKEND, Backend::unreachable());
    let answer = after(&gateway, GET, Duration::from_secs(2)).await;
    assert_eq!(brief(&answer), "504 connect_timeout");
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_does_not_answer_is_given_up() {
    let gateway = with_upstream(&format!(
        "{{ targets: ['{BACKEND}'], retries: 0, timeouts: {{ first_byte: 3s }} }}"
    ));
    for acts in [vec![Act::Hang], vec![Act::Bytes(b"HTTP/1.1 200 OK\r\nx: ".to_vec()), Act::Hang]] {
        gateway.put(BACKEND, Backend::acts(acts));
        let answer = after(&gateway, GET, Duration::from_secs(3)).await;
        assert_eq!(brief(&answer), "504 first_byte_timeout");
    }
    let post = "POST / HTTP/1.1\nhost: a.test\ncontent-length: 5\n\nhello";
    let answer = after(&gateway, post, Duration::from_secs(3)).await;
    assert_eq!(brief(&answer), "504 first_byte_timeout");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_stops_half_way_is_cut_off() {
    let (gateway, mut connections) = played("retries: 0, timeouts: { idle: 4s }");
    let mut client = gateway.connect();
    tell(&mut client, GET).await;
    let mut backend = accept(&mut connections).await;
    hear(&mut backend).await;
    tell(&mut backend, "HTTP/1.1 200 OK\ncontent-length: 10\n\nabc").await;
    assert!(hear(&mut client).await.ends_with("\n\nabc"));
    sleep(Duration::from_millis(3_900)).await;
    tell(&mut backend, "d").await;
    assert_eq!(hear(&mut client).await, "d");
    sleep(Duration::from_millis(3_900)).await;
    assert_eq!(hear(&mut client).await, "");
    sleep(Duration::from_millis(200)).await;
    assert_eq!(hear(&mut client).await, "<closed>");
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_takes_the_request_need_not_go_on_with_its_answer() {
    let (gateway, mut connections) = played("retries: 0, timeouts: { idle: 4s }");
    let mut client = gateway.connect();
    tell(&mut client, "POST / HTTP/1.1\nhost: a.test\ncontent-length: 5\n\n").await;
    let mut backend = accept(&mut connections).await;
    hear(&mut backend).await;
    tell(&mut backend, "HTTP/1.1 200 OK\ncontent-length: 2\n\n").await;
    hear(&mut client).await;
    for _ in 0..4 {
        sleep(Duration::from_millis(3_900)).await;
        tell(&mut client, "x").await;
        assert_eq!(hear(&mut backend).await, "x");
    }
    tell(&mut backend, "o").await;
    assert_eq!(hear(&mut client).await, "o");
    sleep(Duration::from_millis(4_100)).await;
    assert_eq!(hear(&mut client).await, "<closed>");
}

#[tokio::test(start_paused = true)]
async fn so_it_is_with_a_backend_that_speaks_http2() {
    let (gateway, mut connections) = played("retries: 0, protocol: http2, timeouts: { idle: 4s }");
    let mut client = gateway.connect();
    tell(&mut client, "POST / HTTP/1.1\nhost: a.test\ncontent-length: 5\n\n").await;
    let mut backend = h2::server::handshake(accept(&mut connections).await).await.unwrap();
    let (request, mut respond) = backend.accept().await.unwrap().unwrap();
    drop(tokio::spawn(async move { backend.accept().await.is_none() }));
    let mut answer = respond.send_response(http::Response::new(()), false).unwrap();
    hear(&mut client).await;
    let mut body = request.into_body();
    for _ in 0..4 {
        sleep(Duration::from_millis(3_900)).await;
        tell(&mut client, "x").await;
        assert_eq!(body.data().await.unwrap().unwrap(), "x");
    }
    answer.send_data("o".into(), false).unwrap();
    assert_eq!(hear(&mut client).await, "1\no\n");
    sleep(Duration::from_millis(4_100)).await;
    assert_eq!(hear(&mut client).await, "<closed>");
}

#[tokio::test(start_paused = true)]
async fn the_whole_exchange_has_a_limit() {
    let gateway = with_upstream(&format!(
        "{{ targets: ['{BACKEND}'], retries: 0, timeouts: {{ total: 2s }} }}"
    ));
    gateway.put(BACKEND, Backend::acts([Act::Wait(Duration::from_secs(3)), Act::Echo]));
    let answer = after(&gateway, GET, Duration::from_secs(2)).await;
    assert_eq!(brief(&answer), "504 total_timeout");

    // Pieces that keep coming do not help.
    let (gateway, mut connections) = played("timeouts: { total: 2s }");
    let mut client = gateway.connect();
    tell(&mut client, GET).await;
    let mut backend = accept(&mut connections).await;
    hear(&mut backend).await;
    tell(&mut backend, "HTTP/1.1 200 OK\ncontent-length: 1000\n\n").await;
    let mut heard = String::new();
    for _ in 0..30 {
        drop(backend.write_all(b"x").await);
        sleep(Duration::from_millis(100)).await;
        heard.push_str(&hear(&mut client).await);
    }
    let (_, body) = heard.split_once("\n\n").unwrap();
    assert!(heard.contains("<closed>"), "{heard}");
    assert!((15..25).contains(&body.matches('x').count()), "{body}");
}

#[tokio::test(start_paused = true)]
async fn a_policy_limits_more_closely_than_the_upstream() {
    let upstream = format!("{{ targets: ['{BACKEND}'], retries: 0, timeouts: {{ total: 60s }} }}");
    let gateway = TestGateway::new(&config(&upstream, "[{ timeouts: { first_byte: 1s } }]"));
    gateway.put(BACKEND, Backend::acts([Act::Hang]));
    let answer = after(&gateway, GET, Duration::from_secs(1)).await;
    assert_eq!(brief(&answer), "504 first_byte_timeout");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stops_sending_its_body_is_told() {
    let (gateway, mut connections) = played("retries: 0, timeouts: { idle: 2s, first_byte: 9s }");
    let mut client = gateway.connect();
    tell(&mut client, "POST / HTTP/1.1\nhost: a.test\ncontent-length: 10\n\nabc").await;
    let mut backend = accept(&mut connections).await;
    let heard = hear(&mut backend).await;
    assert!(heard.ends_with("\n\nabc"), "{heard}");
    sleep(Duration::from_millis(2_100)).await;
    assert_eq!(brief(&hear(&mut client).await), "408 body_timeout, closed");
    assert_eq!(hear(&mut backend).await, "<closed>");
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_stops_taking_the_body_is_given_up() {
    let (gateway, mut connections) = played("retries: 0, timeouts: { idle: 2s }");
    let mut client = gateway.connect();
    let head = format!("POST / HTTP/1.1\nhost: a.test\ncontent-length: {}\n\n", 8 << 20);
    tell(&mut client, &head).await;
    let backend = accept(&mut connections).await;
    let (mut reader, mut writer) = tokio::io::split(client);
    let writing = tokio::spawn(async move { writer.write_all(&vec![b'x'; 8 << 20]).await.is_ok() });
    sleep(Duration::from_millis(4_100)).await;
    assert_eq!(brief(&hear(&mut reader).await), "504 first_byte_timeout, closed");
    drop((backend, reader));
    writing.abort();
}

#[tokio::test(start_paused = true)]
async fn connections_on_which_nothing_happens_are_closed() {
    let gateway = TestGateway::with_policies("[{ respond: 204 }]");
    let mut io = gateway.connect();
    tell(&mut io, GET).await;
    assert_eq!(brief(&hear(&mut io).await), "204");
    sleep(Duration::from_secs(IDLE_TIMEOUT_S - 2)).await;
    tell(&mut io, GET).await;
    assert_eq!(brief(&hear(&mut io).await), "204");
    sleep(Duration::from_secs(IDLE_TIMEOUT_S + 1)).await;
    assert_eq!(hear(&mut io).await, "<closed>");
}

#[tokio::test(start_paused = true)]
async fn a_head_must_come_in_time_however_slowly_it_comes() {
    let gateway = TestGateway::with_policies("[{ respond: 204 }]");
    for said in ["", "P", "PRI * HT", "GET / HTTP/1.1\nhost: a", &format!("{GET}GET / HT")] {
        let mut io = gateway.connect();
        tell(&mut io, said).await;
        hear(&mut io).await;
        sleep(Duration::from_secs(HEAD_TIMEOUT_S - 1)).await;
        assert_eq!(hear(&mut io).await, "", "{said}");
        sleep(Duration::from_secs(2)).await;
        assert_eq!(hear(&mut io).await, "<closed>", "{said}");
    }
    let mut io = gateway.connect();
    let mut pieces = 0;
    while hear(&mut io).await.is_empty() && pieces < 100 {
        tell(&mut io, if pieces == 0 { "GET / HTTP/1.1\n" } else { "x: y\n" }).await;
        pieces += 1;
        sleep(Duration::from_secs(1)).await;
    }
    assert!((14..17).contains(&pieces), "{pieces}");
}
