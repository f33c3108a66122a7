//! Whatever a client tries, no backend may see a request that the gateway did not.

use crate::it::kit::{brief, first_lines, hear, say_bytes, tell, tell_bytes};
use testkit::TestGateway;

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: a.test\r\n\r\n";

/// Refused with this status, the connection closed, and nothing reached the backend.
async fn refused(request: &str, status: &str) {
    let gateway = TestGateway::with_policies("[]");
    let request = format!("{}{SMUGGLED}", request.replace('\n', "\r\n"));
    let answer = say_bytes(&gateway, request.as_bytes()).await;
    let brief = brief(&answer);
    assert!(brief.starts_with(status) && brief.ends_with(", closed"), "{request}\n{answer}");
    assert_eq!(answer.matches("HTTP/1.").count(), 1, "{request}\n{answer}");
    assert_eq!(gateway.seen(), Vec::<String>::new(), "{request}");
}

#[tokio::test(start_paused = true)]
async fn two_lengths_are_refused_and_the_connection_is_closed() {
    let head = "POST /a HTTP/1.1\nhost: a.test\n";
    for lengths in [
        "content-length: 5\ntransfer-encoding: chunked\n",
        "transfer-encoding: chunked\ncontent-length: 5\n",
        "Content-Length: 5\nTRANSFER-ENCODING: Chunked\n",
        "content-length: 0\ntransfer-encoding: chunked\n",
        "transfer-encoding: chunked\ncontent-length: 5\ntransfer-encoding: chunked\n",
        "content-length: 5\ncontent-length: 6\n",
        "content-length: 6\ncontent-length: 5\n",
        "content-length: 5, 6\n",
        "content-length: 5\nx-between: 1\ncontent-length: 0\n",
    ] {
        refused(&format!("{head}{lengths}\n0\n\n"), "400").await;
    }
}

#[tokio::test(start_paused = true)]
async fn lengths_that_are_no_numbers_are_refused() {
    for length in ["+5", "-5", "0x5", "5a", "5 5", "five", "5.0", "18446744073709551616", "5;"] {
        let request = format!("POST /a HTTP/1.1\nhost: a.test\ncontent-length: {length}\n\nhello");
        refused(&request, "400").await;
    }
}

#[tokio::test(start_paused = true)]
async fn transfer_codings_other_than_chunked_are_refused() {
    for coding in [
        "identity",
        "gzip",
        "gzip, chunked",
        "chunked, gzip",
        "chunked, chunked",
        "xchunked",
        "chunkedx",
        "chunked;q=1",
        "\"chunked\"",
        "",
        ",",
    ] {
        let head = "POST /a HTTP/1.1\nhost: a.test\n";
        let body = "5\nhello\n0\n\n";
        let brief = refused_or(&format!("{head}transfer-encoding: {coding}\n\n{body}")).await;
        assert!(matches!(brief, 400 | 501), "{coding}: {brief}");
    }
    let twice = "transfer-encoding: chunked\ntransfer-encoding: chunked\n";
    let brief = refused_or(&format!("POST /a HTTP/1.1\nhost: a.test\n{twice}\n0\n\n")).await;
    assert!(matches!(brief, 400 | 501), "twice: {brief}");
    let old = "POST /a HTTP/1.0\nhost: a.test\ntransfer-encoding: chunked\n\n5\nhello\n0\n\n";
    refused(old, "400").await;
}

/// The status of the only answer, after which the connection must be closed and no backend have seen
/// anything.
async fn refused_or(request: &str) -> u16 {
    let gateway = TestGateway::with_policies("[]");
    let request = format!("{}{SMUGGLED}", request.replace('\n', "\r\n"));
    let brief = brief(&say_bytes(&gateway, request.as_bytes()).await);
    assert!(brief.ends_with(", closed"), "{request}: {brief}");
    assert_eq!(first_lines(&gateway), Vec::<String>::new(), "{request}");
    brief.split([' ', ',']).next().unwrap().parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn odd_whitespace_in_a_head_is_refused() {
    let body = "5\r\nhello\r\n0\r\n\r\n";
    for head in [
        "transfer-encoding : chunked",
        " transfer-encoding: chunked",
        "x: y\r\n transfer-encoding: chunked",
        "transfer-encoding:\r\n chunked",
        "transfer-encoding\t: chunked",
        "transfer-encoding: \x0bchunked",
        "transfer-encoding: chunked\x00",
        "trans\x00fer-encoding: chunked",
        "transfer-encoding: x\rchunked",
        ": chunked",
        "transfer-encoding chunked",
    ] {
        let request = format!("POST /a HTTP/1.1\r\nhost: a.test\r\n{head}\r\n\r\n{body}");
        assert_eq!(refused_or(&request.replace("\r\n", "\n")).await, 400, "{head:?}");
    }
    for line in ["GET  /a HTTP/1.1", "GET /a  HTTP/1.1", "GET\t/a HTTP/1.1", "GET /a HTTP/1.1 x"] {
        assert_eq!(refused_or(&format!("{line}\nhost: a.test\n\n")).await, 400, "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_second_request_of_a_connection_is_judged_like_the_first() {
    let good = "GET /one HTTP/1.1\nhost: a.test\n\n";
    let bad =
        "POST /a HTTP/1.1\nhost: a.test\ncontent-length: 5\ntransfer-encoding: chunked\n\n0\n\n";
    let gateway = TestGateway::with_policies("[]");
    let text = format!("{good}{bad}").replace('\n', "\r\n");
    let answer = say_bytes(&gateway, format!("{text}{SMUGGLED}").as_bytes()).await;
    assert_eq!(brief(&answer), "200, 400 bad_framing, closed", "{answer}");
    assert_eq!(first_lines(&gateway), ["GET /one HTTP/1.1"]);
}

#[tokio::test(start_paused = true)]
async fn splitting_a_request_over_many_writes_changes_nothing() {
    let bad = "POST /a HTTP/1.1\r\nhost: a.test\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    for size in [1, 2, 3, 7, 50] {
        let gateway = TestGateway::with_policies("[]");
        let mut io = gateway.connect();
        for piece in format!("{bad}{SMUGGLED}").as_bytes().chunks(size) {
            tell_bytes(&mut io, piece).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(brief(&hear(&mut io).await), "400 bad_framing, closed", "{size}");
        assert_eq!(gateway.seen(), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_its_framing_never_becomes_a_request() {
    for body in [
        "zz\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "4\r\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "\r\n5\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nbad trailer\r\n\r\n",
    ] {
        let gateway = TestGateway::with_policies("[]");
        let head = "POST /a HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n";
        let answer = say_bytes(&gateway, format!("{head}{body}{SMUGGLED}").as_bytes()).await;
        assert!(brief(&answer).ends_with("closed"), "{body:?}: {answer}");
        assert!(answer.starts_with("HTTP/1.1 400"), "{body:?}: {answer}");
        let lines = first_lines(&gateway);
        assert!(!lines.iter().any(|line| line.contains("smuggled")), "{body:?}: {lines:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_is_no_request_whatever_it_looks_like() {
    let gateway = TestGateway::with_policies("[]");
    let length = SMUGGLED.len();
    let text = format!(
        "GET /a HTTP/1.1\r\nhost: a.test\r\ncontent-length: {length}\r\n\r\n{SMUGGLED}GET /b HTTP/1.1\r\nhost: a.test\r\n\r\n"
    );
    say_bytes(&gateway, text.as_bytes()).await;
    assert_eq!(first_lines(&gateway), ["GET /a HTTP/1.1", "GET /b HTTP/1.1"]);
}

#[tokio::test(start_paused = true)]
async fn chunk_extensions_are_not_forwarded() {
    let gateway = TestGateway::with_policies("[]");
    let mut io = gateway.connect();
    tell(
        &mut io,
        "POST /a HTTP/1.1\nhost: a.test\ntransfer-encoding: chunked\n\n5;x=\"y\";z\nhello\n0;last\n\n",
    )
    .await;
    assert_eq!(brief(&hear(&mut io).await), "200");
    let seen = gateway.seen().pop().unwrap();
    assert!(seen.ends_with("\n\n5\nhello\n0\n\n"), "{seen}");
}

#[tokio::test(start_paused = true)]
async fn a_name_in_a_trailer_is_no_identity_either() {
    let gateway = TestGateway::with_policies("[]");
    let mut io = gateway.connect();
    tell(
        &mut io,
        "POST /a HTTP/1.1
host: a.test
te: trailers
trailer: x-sum, x-yett-consumer, x-forwarded-for, content-length, host
transfer-encoding: chunked

5
hello
0
x-sum: 1
x-yett-consumer: admin
x-forwarded-for: 127.0.0.1
host: b.test

",
    )
    .await;
    hear(&mut io).await;
    let seen = gateway.seen().pop().unwrap();
    let (_, body) = seen.split_once("\n\n").unwrap();
    assert_eq!(body, "5\nhello\n0\nx-sum: 1\n\n", "{seen}");
}
