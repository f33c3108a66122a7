//! Calls of gRPC: their failures in the form that callers understand, their time limits, their ends. The
//! program's own tests make real calls over HTTP/2; here HTTP/1 carries the same headers and trailers.

use std::time::Duration;
use testkit::TestGateway;
use testkit::backend::{Act, Backend};
use testkit::gateway::BACKEND;

const CALL: &str = "POST /pkg.Service/Method HTTP/1.1\ncontent-type: application/grpc+proto\nte: trailers\ncontent-length: 5";
const BODY: &str = "\n\n\0\0\0\0\0";

const ELSEWHERE: &str = "version: 1
listeners: { public: { bind: '127.0.0.1:8080' } }
apis: { other: { path: /other, public: a test, routes: [GET /: { policies: [respond: { body: hi }] }] } }
";

fn call(headers: &str) -> String {
    format!("{CALL}{headers}{BODY}")
}

#[tokio::test]
async fn a_call_that_no_route_takes_is_unimplemented() {
    let gateway = TestGateway::new(ELSEWHERE);
    let answer = gateway.ask(&call("")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\n"), "{answer}");
    for line in [
        "content-type: application/grpc+proto",
        "grpc-status: 12",
        "grpc-message: Nothing is here (no_route)",
    ] {
        assert!(answer.contains(line), "{line} is missing in {answer}");
    }
    assert!(!answer.contains("problem"), "{answer}");
    let other = gateway.ask(&call("").replace("grpc+proto", "json")).await;
    assert!(other.starts_with("HTTP/1.1 404") && !other.contains("grpc-status"), "{other}");
}

#[tokio::test]
async fn refusals_of_policies_are_statuses() {
    for (policies, expected) in [
        ("[{ deny: 'true' }]", "grpc-status: 7"),
        ("[{ body_limit: 1B }]", "grpc-status: 8"),
        ("[{ respond: { status: 503, body: closed } }]", "grpc-status: 14"),
        ("[{ respond: { status: 200, body: hello } }]", "grpc-status: 2"),
        ("[{ redirect: { to: 'https://elsewhere.example/' } }]", "grpc-status: 2"),
    ] {
        let gateway = TestGateway::with_policies(policies);
        let answer = gateway.ask(&call("")).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\n"), "{policies}: {answer}");
        assert!(answer.contains(expected), "{policies}: {answer}");
        assert!(!answer.contains("hello") && !answer.contains("closed"), "{policies}: {answer}");
    }
}

#[tokio::test]
async fn a_refused_caller_learns_when_to_come_back() {
    let gateway = TestGateway::with_policies("[{ rate_limit: 1/min }]");
    gateway.ask(&call("")).await;
    let answer = gateway.ask(&call("")).await;
    assert!(answer.contains("grpc-status: 8"), "{answer}");
    assert!(answer.contains("grpc-retry-pushback-ms: "), "{answer}");
    assert!(answer.contains("retry-after: "), "{answer}");
}

#[tokio::test]
async fn a_gateway_that_reaches_no_backend_is_unavailable() {
    let gateway = TestGateway::with_policies("[]");
    gateway.put(BACKEND, Backend::refusing());
    let answer = gateway.ask(&call("")).await;
    assert!(answer.contains("grpc-status: 14"), "{answer}");
    assert!(answer.contains("connect_failed"), "{answer}");
    assert!(gateway.metrics.encode().contains("grpc_status=\"14\""));
}

#[tokio::test]
async fn the_callers_time_limit_goes_on_and_can_only_be_shortened() {
    for (policies, sent, expected) in [
        ("[]", "\ngrpc-timeout: 10S", "grpc-timeout: 10000000u"),
        ("[{ timeouts: 3s }]", "\ngrpc-timeout: 10S", "grpc-timeout: 3000000u"),
        ("[{ timeouts: 30s }]", "\ngrpc-timeout: 10S", "grpc-timeout: 10000000u"),
    ] {
        let gateway = TestGateway::with_policies(policies);
        gateway.ask(&call(sent)).await;
        let seen = gateway.seen().concat();
        assert!(seen.contains(expected), "{policies}: {seen}");
    }
    let gateway = TestGateway::with_policies("[]");
    gateway.ask(&call("")).await;
    assert!(!gateway.seen().concat().contains("grpc-timeout"), "nobody asked for it");
    let answer = gateway.ask(&call("\ngrpc-timeout: soon")).await;
    assert!(answer.contains("grpc-status: 13") && answer.contains("bad_request"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_takes_too_long_ends_with_deadline_exceeded() {
    let gateway = TestGateway::with_policies("[]");
    gateway.put(BACKEND, Backend::acts([Act::Hang]));
    let answer = gateway.ask(&call("\ngrpc-timeout: 50m")).await;
    assert!(answer.contains("grpc-status: 4") && answer.contains("total_timeout"), "{answer}");
}

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n";

#[tokio::test(start_paused = true)]
async fn a_stream_that_takes_too_long_ends_with_deadline_exceeded() {
    let gateway = TestGateway::with_policies("[]");
    let wait = Act::Wait(Duration::from_secs(60));
    gateway.put(BACKEND, Backend::acts([Act::Bytes(HEAD.into()), wait]));
    let answer = gateway.ask(&call("\ngrpc-timeout: 5S")).await;
    assert!(answer.contains("abc") && answer.contains("grpc-status: 4"), "{answer}");
}

#[tokio::test]
async fn a_stream_that_breaks_off_ends_with_unavailable() {
    let gateway = TestGateway::with_policies("[]");
    gateway.put(BACKEND, Backend::acts([Act::Bytes(HEAD.into()), Act::Close]));
    let answer = gateway.ask(&call("")).await;
    assert!(answer.contains("abc") && answer.contains("grpc-status: 14"), "{answer}");
}

#[tokio::test]
async fn the_backends_own_status_passes_and_is_counted() {
    let gateway = TestGateway::with_policies("[]");
    let end = "0\r\ngrpc-status: 5\r\ngrpc-message: no such thing\r\n\r\n";
    gateway.put(BACKEND, Backend::acts([Act::Bytes(format!("{HEAD}{end}").into_bytes())]));
    let answer = gateway.ask(&call("")).await;
    assert!(answer.contains("grpc-message: no such thing"), "{answer}");
    assert!(gateway.metrics.encode().contains("grpc_status=\"5\""), "{}", gateway.metrics.encode());
}

#[tokio::test(start_paused = true)]
async fn who_only_claims_to_call_grpc_gets_no_more_time() {
    let gateway = TestGateway::with_policies("[{ timeouts: 5s }]");
    let text = HEAD.replace("application/grpc", "text/plain");
    let acts = || [Act::Bytes(text.clone().into()), Act::Wait(Duration::from_secs(60))];
    for content_type in ["application/grpc", "application/grpc-web", "text/plain"] {
        gateway.put(BACKEND, Backend::acts(acts()));
        let request = call("").replace("application/grpc+proto", content_type);
        let asked = tokio::time::timeout(Duration::from_secs(6), gateway.ask(&request)).await;
        let answer = asked.expect("the answer ends in time");
        assert!(answer.contains("abc"), "{content_type}: {answer}");
    }
}
