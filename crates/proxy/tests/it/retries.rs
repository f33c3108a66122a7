use crate::it::kit::{brief, say, with_upstream};
use std::net::SocketAddr;
use testkit::{Act, Backend, TestGateway};

const FIRST: &str = "10.0.0.1:80";
const SECOND: &str = "10.0.0.2:80";
const OK: &str = "HTTP/1.1 200 OK\ncontent-length: 2\n\nok";
const GET: &str = "GET / HTTP/1.1\nhost: a.test\n\n";
const POST: &str = "POST / HTTP/1.1\nhost: a.test\ncontent-length: 5\n\nhello";
/// One retry, without a wait before it: in these tests whoever is silent for a moment has nothing more to say.
const AT_ONCE: &str = "retries: { backoff: { base: 0s } }";

/// One backend that misbehaves and one that answers.
fn pair(bad: Backend, settings: &str) -> TestGateway {
    let gateway = with_upstream(&format!("{{ targets: ['{FIRST}', '{SECOND}'], {settings} }}"));
    gateway.put(FIRST, bad);
    gateway.put(SECOND, Backend::answer(OK));
    gateway
}

/// How often each of the two saw a request.
fn seen(gateway: &TestGateway) -> (usize, usize) {
    let seen = gateway.backends.seen();
    let at = |address: &str| {
        let address: SocketAddr = address.parse().unwrap();
        seen.iter().filter(|seen| seen.address == address).count()
    };
    (at(FIRST), at(SECOND))
}

/// The sorted outcomes of two requests. Targets take turns, so that each request that is not tried again
/// gets one of its own.
async fn twice(gateway: &TestGateway, request: &str) -> [String; 2] {
    let mut both = [brief(&say(gateway, request).await), brief(&say(gateway, request).await)];
    both.sort();
    both
}

fn closing(answer: &str) -> Backend {
    Backend::acts([Act::Bytes(answer.replace('\n', "\r\n").into_bytes()), Act::Close])
}

#[tokio::test(start_paused = true)]
async fn a_target_that_refuses_is_passed_over_whatever_the_method() {
    for request in [GET, POST] {
        let gateway = pair(Backend::refusing(), "");
        assert_eq!(twice(&gateway, request).await, ["200", "200"]);
        assert_eq!(seen(&gateway), (0, 2));
        assert!(gateway.seen().iter().all(|seen| seen.ends_with("hello") == (request == POST)));
        let retries = gateway.metric("yett_upstream_retries_total{upstream=\"one\"}");
        assert!((retries - 1.0).abs() < 0.1, "{retries}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_before_the_answer_is_tried_elsewhere_if_the_method_is_idempotent() {
    for method in ["GET", "HEAD", "OPTIONS", "DELETE", "PUT"] {
        let gateway = pair(Backend::acts([Act::Close]), AT_ONCE);
        let request = GET.replace("GET", method);
        assert_eq!(twice(&gateway, &request).await, ["200", "200"], "{method}");
        assert_eq!(seen(&gateway), (1, 2), "{method}");
    }
    for request in [POST, &GET.replace("GET", "PATCH"), &GET.replace("GET", "PURGE")] {
        let gateway = pair(Backend::acts([Act::Close]), AT_ONCE);
        assert_eq!(twice(&gateway, request).await, ["200", "502 upstream_reset"], "{request}");
        assert_eq!(seen(&gateway), (1, 1), "{request}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_small_body_is_sent_again_if_the_method_is_idempotent() {
    let put = POST.replace("POST", "PUT");
    let gateway = pair(Backend::acts([Act::Close]), AT_ONCE);
    assert_eq!(twice(&gateway, &put).await, ["200", "200"]);
    assert_eq!(seen(&gateway), (1, 2));
    for request in gateway.seen() {
        assert!(request.ends_with("\n\nhello"), "{request}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_remembered_is_not_sent_twice() {
    let large = "x".repeat((64 << 10) + 1);
    for put in [
        format!("PUT / HTTP/1.1\nhost: a.test\ncontent-length: {}\n\n{large}", large.len()),
        "PUT / HTTP/1.1\nhost: a.test\ntransfer-encoding: chunked\n\n3\nabc\n0\n\n".to_owned(),
        POST.to_owned(),
    ] {
        let gateway = pair(Backend::acts([Act::Close]), "");
        assert_eq!(twice(&gateway, &put).await, ["200", "502 upstream_reset"]);
        assert_eq!(seen(&gateway), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_tried_again_once_a_client_has_seen_a_byte() {
    let gateway = pair(closing("HTTP/1.1 200 OK\ncontent-length: 10\n\nhalf"), "retries: 3");
    let mut answers = [say(&gateway, GET).await, say(&gateway, GET).await];
    answers.sort();
    assert_eq!(answers[0], "HTTP/1.1 200 OK\ncontent-length: 10\n\nhalf<closed>");
    assert_eq!(brief(&answers[1]), "200");
    assert_eq!(seen(&gateway), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_number_of_attempts_is_bounded() {
    for (retries, attempts) in [(0, 1), (1, 2), (4, 5)] {
        let gateway = pair(
            Backend::acts([Act::Close]),
            &format!("retries: {{ max: {retries}, backoff: {{ base: 0s }} }}"),
        );
        gateway.put(SECOND, Backend::acts([Act::Close]));
        assert_eq!(brief(&say(&gateway, GET).await), "502 upstream_reset");
        let (first, second) = seen(&gateway);
        assert_eq!(first + second, attempts);
    }
}

#[tokio::test(start_paused = true)]
async fn errors_that_a_backend_answers_are_its_answer() {
    let gateway = pair(Backend::answer("HTTP/1.1 503 Busy\ncontent-length: 0\n\n"), "retries: 3");
    assert_eq!(twice(&gateway, GET).await, ["200", "503"]);
    assert_eq!(seen(&gateway), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_kept_connection_that_died_costs_no_request() {
    let gateway = with_upstream(&format!("{{ targets: ['{FIRST}'], retries: 0 }}"));
    // Each connection serves one request and then closes without a word.
    gateway.put(FIRST, closing(OK));
    for request in [GET, POST, GET, POST] {
        assert_eq!(brief(&say(&gateway, request).await), "200", "{request}");
    }
    assert_eq!((gateway.seen().len(), gateway.backends.dialled()), (4, 4));
}
