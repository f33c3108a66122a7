use crate::it::kit::{brief, say};
use base::caps::{HEAD_BYTES_MAX, HEADERS_MAX, TARGET_BYTES_MAX};
use testkit::TestGateway;

async fn check(request: &str, expected: &str) {
    let gateway = TestGateway::with_policies("[{ respond: 204 }]");
    let answer = say(&gateway, request).await;
    let brief = brief(&answer);
    assert!(brief.starts_with(expected), "{brief}, not {expected}");
    if expected == "431" {
        assert!(brief.ends_with(", closed"), "{brief}");
    }
}

fn with_headers(count: usize) -> String {
    let headers: String = (0..count).map(|n| format!("x-{n}: {n}\n")).collect();
    format!("GET / HTTP/1.1\nhost: a.test\n{headers}\n")
}

#[tokio::test(start_paused = true)]
async fn as_many_headers_as_the_cap_says_are_taken_and_no_more() {
    check(&with_headers(90), "204").await;
    check(&with_headers(HEADERS_MAX + 1), "431").await;
    check(&with_headers(3_000), "431").await;
}

#[tokio::test(start_paused = true)]
async fn a_head_that_is_too_large_is_refused() {
    let head = |size: usize| format!("GET / HTTP/1.1\nhost: a.test\nx: {}\n\n", "y".repeat(size));
    check(&head(HEAD_BYTES_MAX / 2), "204").await;
    check(&head(HEAD_BYTES_MAX + 1_000), "431").await;
    check(&head(HEAD_BYTES_MAX * 4), "431").await;
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_too_long_is_refused() {
    let get = |target: String| format!("GET /{target} HTTP/1.1\nhost: a.test\n\n");
    check(&get("a".repeat(TARGET_BYTES_MAX - 1)), "204").await;
    check(&get("a".repeat(TARGET_BYTES_MAX)), "414 target_too_long").await;
    check(&get(format!("?{}", "a".repeat(TARGET_BYTES_MAX))), "414 target_too_long").await;
    check(&get("a/".repeat(300)), "400 bad_path").await;
}

#[tokio::test(start_paused = true)]
async fn connect_and_trace_are_not_proxied() {
    check("CONNECT a.test:443 HTTP/1.1\nhost: a.test:443\n\n", "501 method_unsupported").await;
    check("TRACE / HTTP/1.1\nhost: a.test\n\n", "501 method_unsupported").await;
    check("OPTIONS * HTTP/1.1\nhost: a.test\n\n", "400 bad_path").await;
    check("PURGE / HTTP/1.1\nhost: a.test\n\n", "204").await;
}
