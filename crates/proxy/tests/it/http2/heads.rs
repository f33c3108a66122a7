//! What a request may look like: each rule of RFC 9113, 8 is a row. Whatever is refused reaches no backend,
//! and the connection serves on wherever only a stream is at fault.

use crate::it::http2::frames::{
    Client, DATA, END_HEADERS, END_STREAM, HEADERS, PADDED, WHOLE, block, frame, get, head, post,
};
use crate::it::http2::hpack::field;
use testkit::TestGateway;

/// What a stream is told, and no other stream hears of it.
const MALFORMED: &str = "1:PROTOCOL_ERROR";
/// What the connection is told.
const GONE: &str = "goaway PROTOCOL_ERROR, closed";

/// Sends bytes on a connection that is ready; checks what comes of them and that no backend saw anything.
async fn refused(bytes: &[u8], outcome: &str, why: &str) {
    let gateway = TestGateway::with_policies("[]");
    let mut client = Client::ready(&gateway).await;
    assert_eq!(client.say(bytes).await, outcome, "{why}");
    assert_eq!(gateway.seen(), Vec::<String>::new(), "{why}");
    if !client.is_closed {
        assert_eq!(client.say(&get(101)).await, "101:200", "{why}: the connection serves on");
    }
}

/// Sends a whole request of these headers.
async fn check(lines: &str, outcome: &str, clause: &str) {
    refused(&frame(HEADERS, WHOLE, 1, &block(lines)), outcome, &format!("{clause}: {lines:?}"))
        .await;
}

/// Sends a `GET` with these headers besides.
async fn check_more(lines: &str, outcome: &str, clause: &str) {
    refused(&frame(HEADERS, WHOLE, 1, &head(lines)), outcome, &format!("{clause}: {lines:?}"))
        .await;
}

const METHOD: &str = ":method: GET\n";
const SCHEME: &str = ":scheme: http\n";
const PATH: &str = ":path: /\n";
const AUTHORITY: &str = ":authority: a.test\n";

#[tokio::test(start_paused = true)]
async fn a_request_has_each_pseudo_header_once_and_in_front() {
    let all = format!("{METHOD}{SCHEME}{PATH}{AUTHORITY}");
    for missing in [METHOD, SCHEME, PATH] {
        check(&all.replace(missing, ""), MALFORMED, "8.3.1").await;
    }
    for twice in [METHOD, SCHEME, PATH, AUTHORITY] {
        check(&format!("{all}{twice}"), MALFORMED, "8.3").await;
    }
    for late in [METHOD, SCHEME, PATH, AUTHORITY] {
        check(&format!("{}x-a: 1\n{late}", all.replace(late, "")), MALFORMED, "8.3").await;
    }
    check(&format!("{all}:status: 200\n"), MALFORMED, "8.3").await;
    check(&format!("{all}:other: 1\n"), GONE, "8.3").await;
    check("", MALFORMED, "8.3.1: nothing at all").await;
}

#[tokio::test(start_paused = true)]
async fn a_method_is_a_token() {
    for method in ["G T", "GET\t", "GET /x HTTP/1.1", "G\u{0}T", "G\"T", "GÄT", "", "GET\r\nx: y"]
    {
        let method = field(b":method", method.as_bytes());
        let rest = block(&format!("{SCHEME}{PATH}{AUTHORITY}"));
        refused(&frame(HEADERS, WHOLE, 1, &[method, rest].concat()), GONE, "8.3.1, a method").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_scheme_is_http_or_https() {
    let rest = format!("{METHOD}{PATH}{AUTHORITY}");
    for scheme in ["ftp", "httpx", "ws", "coap", ""] {
        check(&format!("{rest}:scheme: {scheme}\n"), "1:400 bad_request", "8.3.1").await;
    }
    for scheme in ["ht tp", "http://", "http/", "\u{0}"] {
        let scheme = field(b":scheme", scheme.as_bytes());
        let all = [block(&rest), scheme].concat();
        refused(&frame(HEADERS, WHOLE, 1, &all), MALFORMED, "8.3.1, a scheme").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_path_holds_nothing_that_could_end_a_request_line() {
    let rest = block(&format!("{METHOD}{SCHEME}{AUTHORITY}"));
    for path in [
        "",
        "a",
        "a/b",
        "http://b.test/",
        "/a b",
        "/a HTTP/1.1\r\nhost: b.test\r\n\r\nGET /b",
        "/a\r\nx: y",
        "/a\nb",
        "/a\u{0}",
        "/a\tb",
        "/a\u{7f}",
        "/a?b c",
        "/a?b\r\nc",
    ] {
        let all = [rest.clone(), field(b":path", path.as_bytes())].concat();
        refused(&frame(HEADERS, WHOLE, 1, &all), MALFORMED, &format!("8.3.1: {path:?}")).await;
    }
    for (path, outcome) in [
        ("*", "1:400 bad_request"),
        ("?a", "1:400 bad_request"),
        ("/a\\b", "1:400 bad_path"),
        ("/a%0d%0ab", "1:400 bad_path"),
        ("/../a", "1:400 bad_path"),
        ("/ä", "1:400 bad_path"),
    ] {
        let all = [rest.clone(), field(b":path", path.as_bytes())].concat();
        refused(&frame(HEADERS, WHOLE, 1, &all), outcome, &format!("8.3.1: {path:?}")).await;
    }
    let not_utf8 = [rest, field(b":path", b"/\xff\xfe")].concat();
    refused(&frame(HEADERS, WHOLE, 1, &not_utf8), GONE, "8.3.1, bytes").await;
}

#[tokio::test(start_paused = true)]
async fn a_fragment_goes_no_further() {
    // It has no place in a path; what is routed and forwarded ends before it.
    for (path, seen_path) in [("/a#b", "/a"), ("/a?b#c d", "/a?b"), ("/#", "/"), ("#a", "/")] {
        let gateway = TestGateway::with_policies("[]");
        let mut client = Client::ready(&gateway).await;
        let rest = block(&format!("{METHOD}{SCHEME}{AUTHORITY}"));
        let all = [rest, field(b":path", path.as_bytes())].concat();
        assert_eq!(client.say(&frame(HEADERS, WHOLE, 1, &all)).await, "1:200", "{path}");
        let seen = gateway.seen().pop().unwrap();
        assert!(seen.starts_with(&format!("GET {seen_path} HTTP/1.1\n")), "{path}: {seen}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_host_is_asked_for() {
    let rest = format!("{METHOD}{SCHEME}{PATH}");
    let bad = "1:400 bad_host";
    check(&rest, bad, "8.3.1, no authority").await;
    check(&format!("{rest}{AUTHORITY}host: b.test\n"), bad, "8.3.1").await;
    check(&format!("{rest}{AUTHORITY}host: a.test:81\n"), bad, "8.3.1").await;
    check(&format!("{rest}{AUTHORITY}host: a.test\nhost: a.test\n"), bad, "8.3.1").await;
    check(&format!("{rest}host: a.test\nhost: b.test\n"), bad, "8.3.1").await;
    for authority in
        ["user@a.test", "user:pass@a.test", "a.test:port", "a_\"b", "a.test:99999", "."]
    {
        let lines = format!("{rest}:authority: {authority}\n");
        let gateway = TestGateway::with_policies("[]");
        let mut client = Client::ready(&gateway).await;
        let told = client.say(&frame(HEADERS, WHOLE, 1, &block(&lines))).await;
        assert!(told == bad || told == MALFORMED, "{authority}: {told}");
        assert_eq!(gateway.seen(), Vec::<String>::new(), "{authority}");
    }
    for authority in
        ["a.test/b", "a.test b", "a.test\r\nx: y", "a\u{0}", "a.test?x", "a.test#x", "@"]
    {
        let all = [block(&rest), field(b":authority", authority.as_bytes())].concat();
        refused(&frame(HEADERS, WHOLE, 1, &all), MALFORMED, &format!("8.3.1: {authority:?}")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_host_may_stand_in_either_place() {
    for lines in [
        format!("{METHOD}{SCHEME}{PATH}{AUTHORITY}"),
        format!("{METHOD}{SCHEME}{PATH}host: a.test\n"),
        format!("{METHOD}{SCHEME}{PATH}{AUTHORITY}host: A.test\n"),
    ] {
        let gateway = TestGateway::with_policies("[]");
        let mut client = Client::ready(&gateway).await;
        assert_eq!(client.say(&frame(HEADERS, WHOLE, 1, &block(&lines))).await, "1:200", "{lines}");
        let seen = gateway.seen().pop().unwrap();
        assert_eq!(seen.matches("\nhost: ").count(), 1, "{seen}");
    }
}

#[tokio::test(start_paused = true)]
async fn connect_is_refused() {
    let plain = ":method: CONNECT\n:authority: a.test:443\n";
    refused(
        &frame(HEADERS, END_HEADERS, 1, &block(plain)),
        "1:501 method_unsupported, 1:NO_ERROR",
        "8.5",
    )
    .await;
    check(plain, "1:501 method_unsupported", "8.5").await;
    let extended = format!(":method: CONNECT\n:protocol: websocket\n{SCHEME}{PATH}{AUTHORITY}");
    check(&extended, "1:501 method_unsupported", "RFC 8441, 5: no policy allows it").await;
    check(
        &format!(":protocol: websocket\n{METHOD}{SCHEME}{PATH}{AUTHORITY}"),
        MALFORMED,
        "RFC 8441",
    )
    .await;
    check(&format!(":method: CONNECT\n{SCHEME}{PATH}{AUTHORITY}"), MALFORMED, "8.5").await;
    check(
        &format!(":method: TRACE\n{SCHEME}{PATH}{AUTHORITY}"),
        "1:501 method_unsupported",
        "9110, 9.3.8",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn headers_of_a_connection_are_malformed() {
    for line in [
        "connection: close",
        "connection: x-a",
        "connection: ",
        "keep-alive: timeout=5",
        "proxy-connection: keep-alive",
        "transfer-encoding: chunked",
        "transfer-encoding: identity",
        "upgrade: h2c",
        "te: gzip",
        "te: trailers, gzip",
        "te: ",
    ] {
        check_more(&format!("{line}\n"), MALFORMED, "8.2.2").await;
    }
}

#[tokio::test(start_paused = true)]
async fn names_and_values_hold_nothing_that_http_1_reads_differently() {
    for name in
        ["X-A", "x A", "x:a", "x\u{0}a", "x\r\na", "", "x\u{7f}", "x,a", "ä", "content-Length"]
    {
        let all = [head(""), field(name.as_bytes(), b"1")].concat();
        refused(&frame(HEADERS, WHOLE, 1, &all), GONE, &format!("8.2.1, name {name:?}")).await;
    }
    for value in
        ["a\r\nx: y", "a\nb", "a\rb", "a\u{0}b", "\u{b}", "a\u{7f}", "a\r\n\r\nGET / HTTP/1.1"]
    {
        let all = [head(""), field(b"x-a", value.as_bytes())].concat();
        refused(&frame(HEADERS, WHOLE, 1, &all), GONE, &format!("8.2.1, value {value:?}")).await;
    }
    let quoted = frame(HEADERS, WHOLE, 1, &[head(""), field(b"x\"a", b"1")].concat());
    refused(&quoted, "1:400 bad_request", "8.2.1, a quote in a name").await;
    for value in [" a", "a ", "\ta", "a\t", " "] {
        check_more(&format!("x-a: {value}\n"), "1:400 bad_request", "8.2.1").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_length_is_one_number_and_true() {
    let bad = "1:400 bad_framing, 1:NO_ERROR";
    for (lines, outcome) in [
        ("content-length: 5\ncontent-length: 5\n", bad),
        ("content-length: 5\ncontent-length: 6\n", MALFORMED),
        ("content-length: 5, 5\n", MALFORMED),
        ("content-length: +5\n", MALFORMED),
        ("content-length: -5\n", MALFORMED),
        ("content-length: 0x5\n", MALFORMED),
        ("content-length: 5 5\n", MALFORMED),
        ("content-length: 18446744073709551616\n", MALFORMED),
        ("content-length: \n", bad),
    ] {
        refused(&post(1, lines), outcome, &format!("8.1.1: {lines:?}")).await;
    }
    check_more("content-length: 5\n", MALFORMED, "8.1.1: the stream has ended").await;
}

/// Sends a `POST` that announces five bytes and what follows. The backend must not see a whole request.
async fn cut(frames: &[Vec<u8>], why: &str) {
    let gateway = TestGateway::with_policies("[]");
    let mut client = Client::ready(&gateway).await;
    let told = client.say(&[post(1, "content-length: 5\n"), frames.concat()].concat()).await;
    assert_eq!(told, MALFORMED, "{why}");
    assert!(!gateway.seen().iter().any(|seen| seen.contains("\n\nhello")), "{why}");
    let counted = gateway.metric("yett_protocol_errors_total{reason=\"http2_stream\"}");
    assert_eq!(counted, 1.0, "{why}");
    assert_eq!(client.say(&get(3)).await, "3:200", "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_body_is_as_long_as_it_says() {
    cut(&[frame(DATA, END_STREAM, 1, b"hell")], "too short").await;
    cut(&[frame(DATA, 0, 1, b"hell"), frame(DATA, END_STREAM, 1, b"")], "too short, in two").await;
    cut(&[frame(DATA, END_STREAM, 1, b"hellos")], "too long").await;
    cut(&[frame(DATA, 0, 1, b"hel"), frame(DATA, 0, 1, b"los")], "too long, in two").await;
    let trailers = frame(HEADERS, WHOLE, 1, &block("x-sum: 1\n"));
    cut(&[frame(DATA, 0, 1, b"hell"), trailers], "too short, with trailers").await;
}

#[tokio::test(start_paused = true)]
async fn padding_is_no_part_of_a_body() {
    let gateway = TestGateway::with_policies("[]");
    let mut client = Client::ready(&gateway).await;
    let data = frame(DATA, END_STREAM | PADDED, 1, b"\x04hello\0\0\0\0");
    assert_eq!(client.say(&[post(1, "content-length: 5\n"), data].concat()).await, "1:200");
    assert!(gateway.seen()[0].ends_with("\n\nhello"));
    let short = frame(DATA, END_STREAM | PADDED, 3, b"\x04pad");
    assert_eq!(client.say(&[post(3, ""), short].concat()).await, GONE, "6.1");
}

#[tokio::test(start_paused = true)]
async fn only_100_continue_can_be_expected() {
    check_more("expect: a-miracle\n", "1:417 expectation_failed", "9110, 10.1.1").await;
}

#[tokio::test(start_paused = true)]
async fn pieces_of_cookies_are_joined() {
    let gateway = TestGateway::with_policies("[]");
    let mut client = Client::ready(&gateway).await;
    let crumbs = head("cookie: a=1\nx-a: 1\ncookie: b=2\ncookie: c=3\n");
    assert_eq!(client.say(&frame(HEADERS, WHOLE, 1, &crumbs)).await, "1:200");
    let seen = gateway.seen().pop().unwrap();
    assert_eq!(seen.matches("cookie").count(), 1, "{seen}");
    assert!(seen.contains("\ncookie: a=1; b=2; c=3\n"), "{seen}");
    for (lines, joined) in [
        ("cookie: \ncookie: a=1\n", "\ncookie: a=1\n"),
        ("cookie: \ncookie: \ncookie: a=1\ncookie: \ncookie: b=2\n", "\ncookie: a=1; b=2\n"),
        ("cookie: a=1; b=2\n", "\ncookie: a=1; b=2\n"),
    ] {
        let mut client = Client::ready(&gateway).await;
        assert_eq!(client.say(&frame(HEADERS, WHOLE, 1, &head(lines))).await, "1:200");
        let seen = gateway.seen().pop().unwrap();
        assert!(seen.contains(joined), "{lines}: {seen}");
    }
}

#[tokio::test(start_paused = true)]
async fn trailers_are_the_end_and_hold_nothing_that_frames_or_routes() {
    let data = frame(DATA, 0, 1, b"hello");
    let gateway = TestGateway::with_policies("[]");
    let mut client = Client::ready(&gateway).await;
    let trailers = block(
        "x-sum: 1\nhost: b.test\ncontent-length: 9\nx-yett-consumer: admin\nx-forwarded-for: ::1\nauthorization: x\n",
    );
    let whole = [post(1, ""), data.clone(), frame(HEADERS, WHOLE, 1, &trailers)].concat();
    assert_eq!(client.say(&whole).await, "1:200");
    let seen = gateway.seen().pop().unwrap();
    assert!(seen.ends_with("\n\n5\nhello\n0\nx-sum: 1\n\n"), "{seen}");
    for (lines, flags, outcome, why) in [
        ("x-sum: 1\n", END_HEADERS, MALFORMED, "8.1: trailers that do not end the stream"),
        ("connection: close\n", WHOLE, MALFORMED, "8.2.2"),
        ("transfer-encoding: chunked\n", WHOLE, MALFORMED, "8.2.2"),
        ("X-Sum: 1\n", WHOLE, GONE, "8.2.1"),
        ("x\"sum: 1\n", WHOLE, "1:400 body_cut", "8.2.1"),
    ] {
        let gateway = TestGateway::with_policies("[]");
        let mut client = Client::ready(&gateway).await;
        let trailers = frame(HEADERS, flags, 1, &block(lines));
        let told = client.say(&[post(1, ""), data.clone(), trailers].concat()).await;
        assert_eq!(told, outcome, "{why}");
        assert!(!gateway.seen().iter().any(|seen| seen.ends_with("0\n\n")), "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn pseudo_headers_in_trailers_go_no_further() {
    // They make trailers malformed (8.1); `h2` drops them, which is as safe.
    let gateway = TestGateway::with_policies("[]");
    let mut client = Client::ready(&gateway).await;
    let trailers = frame(HEADERS, WHOLE, 1, &block(":path: /admin\n:method: DELETE\nx-sum: 1\n"));
    assert_eq!(client.say(&[post(1, ""), trailers].concat()).await, "1:200");
    let seen = gateway.seen().pop().unwrap();
    assert!(seen.starts_with("POST / HTTP/1.1\n") && !seen.contains("admin"), "{seen}");
    assert!(seen.ends_with("\n\n0\nx-sum: 1\n\n"), "{seen}");
}
