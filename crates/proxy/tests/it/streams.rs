use crate::it::kit::{
    CLOSED, accept, brief, fetch, first_lines, hear, hear_bytes, played, say, say_bytes, tell,
    tell_bytes,
};
use std::time::Duration;
use testkit::gateway::BACKEND;
use testkit::{Act, Backend, TestGateway};
use tokio::io::{AsyncWriteExt as _, DuplexStream};
use tokio::time::timeout;

const GET: &str = "GET / HTTP/1.1\nhost: a.test\n\n";
/// More than all buffers between client and backend together may hold.
const BOUND: usize = 1 << 20;

/// Writes until nobody takes more; returns how many bytes went.
async fn fill(io: &mut DuplexStream) -> usize {
    let piece = vec![b'x'; 16 << 10];
    let mut written = 0;
    while written < 16 * BOUND {
        match timeout(Duration::from_millis(1), io.write(&piece)).await {
            Ok(Ok(length)) => written += length,
            Ok(Err(_)) | Err(_) => break,
        }
    }
    written
}

#[tokio::test(start_paused = true)]
async fn an_answer_passes_on_piece_by_piece() {
    let (gateway, mut connections) = played("");
    let mut client = gateway.connect();
    tell(&mut client, GET).await;
    let mut backend = accept(&mut connections).await;
    hear(&mut backend).await;
    tell(&mut backend, "HTTP/1.1 200 OK\ncontent-length: 10\n\nhello").await;
    assert_eq!(hear(&mut client).await, "HTTP/1.1 200 OK\ncontent-length: 10\n\nhello");
    tell(&mut backend, "world").await;
    assert_eq!(hear(&mut client).await, "world");
}

#[tokio::test(start_paused = true)]
async fn a_request_passes_on_piece_by_piece() {
    let (gateway, mut connections) = played("");
    let mut client = gateway.connect();
    tell(&mut client, "POST / HTTP/1.1\nhost: a.test\ntransfer-encoding: chunked\n\n5\nhello\n")
        .await;
    let mut backend = accept(&mut connections).await;
    let heard = hear(&mut backend).await;
    assert!(heard.starts_with("POST / HTTP/1.1\n") && heard.ends_with("\n\n5\nhello\n"), "{heard}");
    tell(&mut client, "5\nworld\n").await;
    assert_eq!(hear(&mut backend).await, "5\nworld\n");
    tell(&mut client, "0\n\n").await;
    assert_eq!(hear(&mut backend).await, "0\n\n");
    tell(&mut backend, "HTTP/1.1 204 No Content\n\n").await;
    assert_eq!(brief(&hear(&mut client).await), "204");
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_slows_the_backend_down() {
    let (gateway, mut connections) = played("");
    let mut client = gateway.connect();
    tell(&mut client, GET).await;
    let mut backend = accept(&mut connections).await;
    hear(&mut backend).await;
    tell(&mut backend, &format!("HTTP/1.1 200 OK\ncontent-length: {}\n\n", 64 * BOUND)).await;
    let first = fill(&mut backend).await;
    assert!(first < BOUND, "{first} bytes were taken from the backend and nobody read them");
    let (heard, _) = hear_bytes(&mut client).await;
    assert!(heard.len() >= first);
    assert!(fill(&mut backend).await > 0, "it goes on when the client reads");
}

#[tokio::test(start_paused = true)]
async fn a_slow_backend_slows_the_client_down() {
    let (gateway, mut connections) = played("");
    let mut client = gateway.connect();
    let length = 64 * BOUND;
    tell(&mut client, &format!("POST / HTTP/1.1\nhost: a.test\ncontent-length: {length}\n\n"))
        .await;
    let mut backend = accept(&mut connections).await;
    let first = fill(&mut client).await;
    assert!(first < BOUND, "{first} bytes were taken from the client and nobody read them");
    let (heard, _) = hear_bytes(&mut backend).await;
    assert!(heard.len() >= first);
    assert!(fill(&mut client).await > 0, "it goes on when the backend reads");
}

#[tokio::test(start_paused = true)]
async fn trailers_pass_in_both_directions() {
    let (gateway, mut connections) = played("");
    let mut client = gateway.connect();
    let head =
        "POST / HTTP/1.1\nhost: a.test\nte: trailers\ntrailer: x-in\ntransfer-encoding: chunked\n";
    tell(&mut client, &format!("{head}\n2\nhi\n0\nx-in: 1\n\n")).await;
    let mut backend = accept(&mut connections).await;
    let heard = hear(&mut backend).await;
    assert!(heard.ends_with("\n\n2\nhi\n0\nx-in: 1\n\n"), "{heard}");
    let head = "HTTP/1.1 200 OK\ntransfer-encoding: chunked\ntrailer: x-out\n";
    tell(&mut backend, &format!("{head}\n2\nyo\n0\nx-out: 2\n\n")).await;
    let heard = hear(&mut client).await;
    assert!(heard.ends_with("\n\n2\nyo\n0\nx-out: 2\n\n"), "{heard}");
}

#[tokio::test(start_paused = true)]
async fn answers_without_a_body_leave_the_connection_in_step() {
    for (method, answer) in [
        ("HEAD", "HTTP/1.1 200 OK\ncontent-length: 1000\n\n"),
        ("HEAD", "HTTP/1.1 200 OK\n\n"),
        ("HEAD", "HTTP/1.1 404 Not Found\ncontent-length: 3\n\n"),
        ("GET", "HTTP/1.1 204 No Content\n\n"),
        ("GET", "HTTP/1.1 304 Not Modified\netag: \"x\"\n\n"),
        ("GET", "HTTP/1.1 304 Not Modified\n\n"),
        ("GET", "HTTP/1.1 200 OK\ncontent-length: 0\n\n"),
    ] {
        let gateway = TestGateway::with_policies("[]");
        gateway
            .put(BACKEND, Backend::acts([Act::Bytes(answer.replace('\n', "\r\n").into_bytes())]));
        let mut io = gateway.connect();
        for _ in 0..2 {
            tell(&mut io, &format!("{method} / HTTP/1.1\nhost: a.test\n\n")).await;
            assert_eq!(hear(&mut io).await, answer, "{method}");
        }
        assert_eq!((gateway.seen().len(), gateway.backends.dialled()), (2, 1), "{method} {answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_ends_with_its_connection_gets_a_framing() {
    let gateway = TestGateway::with_policies("[]");
    let answer = b"HTTP/1.1 200 OK\r\n\r\nhello".to_vec();
    gateway.put(BACKEND, Backend::acts([Act::Bytes(answer), Act::Close]));
    let heard = fetch(&gateway, "/").await;
    assert_eq!(heard, "HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n5\nhello\n0\n\n");
    // An HTTP/1.0 client does not know chunks, so the end of the connection ends its answer.
    let heard = say(&gateway, "GET / HTTP/1.0\nhost: a.test\n\n").await;
    assert!(heard.ends_with("\n\nhello<closed>") && !heard.contains("chunked"), "{heard}");
}

#[tokio::test(start_paused = true)]
async fn connections_to_backends_serve_clients_one_after_another() {
    let gateway = TestGateway::with_policies("[]");
    gateway.put(BACKEND, Backend::answer("HTTP/1.1 200 OK\ncontent-length: 2\n\nok"));
    for _ in 0..3 {
        let mut io = gateway.connect();
        for _ in 0..3 {
            tell(&mut io, GET).await;
            assert_eq!(brief(&hear(&mut io).await), "200");
        }
    }
    assert_eq!((gateway.seen().len(), gateway.backends.dialled()), (9, 1));
}

#[tokio::test(start_paused = true)]
async fn pipelined_requests_are_answered_in_order() {
    let gateway = TestGateway::with_policies("[{ respond: { status: 200, body: x } }]");
    let mut io = gateway.connect();
    tell(&mut io, &GET.repeat(5)).await;
    assert_eq!(brief(&hear(&mut io).await), "200, 200, 200, 200, 200");

    let gateway = TestGateway::with_policies("[]");
    let mut io = gateway.connect();
    let all: String = (1..=3).map(|n| GET.replace(" / ", &format!(" /{n} "))).collect();
    tell(&mut io, &all).await;
    let heard = hear(&mut io).await;
    let at = |n: u8| heard.find(&format!("GET /{n} ")).unwrap();
    assert!(at(1) < at(2) && at(2) < at(3), "{heard}");
    assert_eq!(first_lines(&gateway).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_client_may_wait_for_a_hundred_before_it_sends_its_body() {
    let head = "POST / HTTP/1.1\nhost: a.test\nexpect: 100-continue\ncontent-length: 5\n\n";
    let (gateway, mut connections) = played("");
    let mut client = gateway.connect();
    tell(&mut client, head).await;
    let mut backend = accept(&mut connections).await;
    let asked = hear(&mut backend).await;
    assert!(asked.contains("\nexpect: 100-continue\n") && asked.ends_with("\n\n"), "{asked}");
    assert_eq!(hear(&mut client).await, "", "the gateway does not speak for the backend");
    tell(&mut backend, "HTTP/1.1 100 Continue\n\n").await;
    assert_eq!(hear(&mut client).await, "HTTP/1.1 100 Continue\n\n");
    tell(&mut client, "hello").await;
    assert_eq!(hear(&mut backend).await, "hello");
    tell(&mut backend, "HTTP/1.1 204 No Content\n\n").await;
    assert_eq!(brief(&hear(&mut client).await), "204");
    // A backend that will not have it says so at once, and the body is never sent.
    tell(&mut client, head).await;
    hear(&mut backend).await;
    tell(&mut backend, "HTTP/1.1 403 Forbidden\ncontent-length: 2\n\nno").await;
    assert_eq!(brief(&hear(&mut client).await), "403, closed");

    let gateway = TestGateway::with_policies("[{ body_limit: 4B }]");
    let mut io = gateway.connect();
    tell(&mut io, head).await;
    assert_eq!(brief(&hear(&mut io).await), "413 body_too_large, closed");
    assert!(gateway.seen().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_come_before_the_request_has_ended() {
    let (gateway, mut connections) = played("");
    let mut client = gateway.connect();
    tell(&mut client, "POST / HTTP/1.1\nhost: a.test\ncontent-length: 1000\n\nhello").await;
    let mut backend = accept(&mut connections).await;
    hear(&mut backend).await;
    tell(&mut backend, "HTTP/1.1 403 Forbidden\ncontent-length: 2\n\nno").await;
    let heard = hear(&mut client).await;
    assert!(heard.starts_with("HTTP/1.1 403 Forbidden\n") && heard.contains("\n\nno"), "{heard}");
    // What is left of the body must never be taken for a request.
    tell_bytes(&mut client, "GET /smuggled HTTP/1.1\r\nhost: a.test\r\n\r\n".as_bytes()).await;
    let heard = hear(&mut client).await;
    assert!(!heard.contains("HTTP/1.1"), "{heard}");
    assert!(connections.try_recv().is_err(), "the body went nowhere else");
}

#[tokio::test(start_paused = true)]
async fn a_body_of_known_length_stays_one() {
    let gateway = TestGateway::with_policies("[]");
    say(&gateway, "POST / HTTP/1.1\nhost: a.test\ncontent-length: 5\n\nhello").await;
    let seen = gateway.seen().pop().unwrap();
    assert!(seen.contains("content-length: 5\n") && !seen.contains("transfer-encoding"), "{seen}");
    say(&gateway, "POST / HTTP/1.1\nhost: a.test\ncontent-length: 0\n\n").await;
    let seen = gateway.seen().pop().unwrap();
    assert!(seen.contains("content-length: 0\n") && seen.ends_with("\n\n"), "{seen}");
    say_bytes(&gateway, b"POST / HTTP/1.1\r\nhost: a.test\r\n\r\n").await;
    assert!(gateway.seen().pop().unwrap().ends_with("\n\n"));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_close_is_closed() {
    let gateway = TestGateway::with_policies("[{ respond: 204 }]");
    let heard = say(&gateway, "GET / HTTP/1.1\nhost: a.test\nconnection: close\n\n").await;
    assert_eq!(heard, "HTTP/1.1 204 No Content\nconnection: close\n\n<closed>");
    let heard = say(&gateway, "GET / HTTP/1.0\nhost: a.test\n\n").await;
    assert_eq!(brief(&heard), "204, closed");
}

/// A client that does not read holds neither its request nor the backend's answer for ever.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_given_up() {
    let gateway = TestGateway::with_policies("[]");
    let head = "HTTP/1.1 200 OK\ncontent-length: 100000000\n";
    let body = vec![b'x'; 4 << 20];
    gateway
        .put(BACKEND, Backend::acts([Act::Answer(head.to_owned()), Act::Bytes(body), Act::Hang]));
    let mut io = gateway.connect();
    io.write_all(b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n").await.unwrap();
    let under_way = "yett_requests_in_flight{api=\"test\",route=\"all\"}";
    let ended = "yett_requests_total{api=\"test\",route=\"all\",status=\"2xx\"}";
    let given_up = async {
        while gateway.metric(ended) == 0.0 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    timeout(Duration::from_secs(200), given_up).await.expect("the request is given up");
    assert_eq!(gateway.metric(under_way), 0.0);
    drop(io);
}

/// The version towards the client is ours: an old backend does not end its keep-alive.
#[tokio::test(start_paused = true)]
async fn a_backend_of_http_1_0_does_not_make_the_client_s_connection_one() {
    let gateway = TestGateway::with_policies("[]");
    let answer = "HTTP/1.0 200 OK\ncontent-length: 2\n\nhi";
    gateway.put(BACKEND, Backend::acts([Act::Answer(answer.to_owned()), Act::Close]));
    let mut io = gateway.connect();
    for _ in 0..2 {
        let answer = gateway.ask_on(&mut io, "GET / HTTP/1.1\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("hi"), "{answer}");
    }
    let endless = "HTTP/1.0 200 OK\n\nuntil the end";
    gateway.put(BACKEND, Backend::acts([Act::Answer(endless.to_owned()), Act::Close]));
    let answer = gateway.ask_on(&mut io, "GET / HTTP/1.1\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.contains("transfer-encoding: chunked"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_breaks_off_after_its_answer_has_begun_is_told_to_everybody() {
    let head = "POST / HTTP/1.1\nhost: a.test\n";
    for (framing, rest) in [
        ("content-length: 1000\n\nhello", None),
        ("transfer-encoding: chunked\n\n5\nhello\n", None),
        ("transfer-encoding: chunked\n\n5\nhello\n", Some("zz\n")),
    ] {
        let (gateway, mut connections) = played("");
        let mut client = gateway.connect();
        tell(&mut client, &format!("{head}{framing}")).await;
        let mut backend = accept(&mut connections).await;
        hear(&mut backend).await;
        tell(&mut backend, "HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n2\nok\n").await;
        assert_eq!(brief(&hear(&mut client).await), "200");
        match rest {
            Some(rest) => {
                tell(&mut client, rest).await;
                assert_eq!(hear(&mut client).await, CLOSED, "{framing}");
            }
            None => drop(client),
        }
        assert_eq!(hear(&mut backend).await, CLOSED, "{framing}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_nobody_wants_is_read_away_only_if_it_is_small_and_comes() {
    let gateway = TestGateway::with_policies("[{ respond: 404 }]");
    let next = "GET /next HTTP/1.1\nhost: a.test\n\n";
    for (framing, expected) in [
        ("content-length: 5\n\nhello", "404, 404"),
        ("content-length: 5\n\n", "404"),
        ("content-length: 300000\n\n", "404, closed"),
        ("transfer-encoding: chunked\n\n5\nhello\n0\n\n", "404, closed"),
        ("expect: 100-continue\ncontent-length: 5\n\n", "404, closed"),
    ] {
        let mut client = gateway.connect();
        tell(&mut client, &format!("POST / HTTP/1.1\nhost: a.test\n{framing}")).await;
        if expected == "404, 404" {
            tell(&mut client, next).await;
        }
        let heard = hear(&mut client).await;
        assert_eq!(brief(&heard), expected, "{framing}");
        assert_eq!(heard.contains("connection: close"), expected.ends_with("closed"), "{heard}");
    }
}
