//! What comes back.

use super::super::asking::{Answer, Ask, Framing, all, sha256};
use super::super::clients::Client;
use super::super::left_out::reason;
use super::super::origins::{LINES, PAGE};
use super::super::pair::Pair;
use crate::it::wait::until_true;

/// Takes an answer that came as it should.
fn check(answer: &Answer, status: u64, body: &[u8]) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.length, body.len(), "{answer:?}");
    assert_eq!(answer.sha256, sha256(body), "{answer:?}");
}

/// A client that knows the version of the answer gets its own. One of HTTP/1.0 may be answered by
/// HTTP/1.1 (RFC 9110, 6.2).
fn check_version(pair: &Pair, answer: &Answer) {
    let is_old = pair.client == Client::Curl10 && answer.version == "HTTP/1.1";
    assert!(is_old || answer.version == pair.client.version(), "{answer:?}");
}

/// A length is told where it is known, and nowhere else.
fn check_length(answer: &Answer, length: usize) {
    assert_eq!(answer.header("content-length"), Some(length.to_string().as_str()), "{answer:?}");
    assert_eq!(answer.header("transfer-encoding"), None, "{answer:?}");
}

fn check_chunked(client: Client, answer: &Answer) {
    assert_eq!(answer.header("content-length"), None, "{answer:?}");
    let has_chunks = !matches!(client.version(), "HTTP/1.0" | "HTTP/2");
    let coding = answer.header("transfer-encoding");
    assert_eq!(coding, has_chunks.then_some("chunked"), "{answer:?}");
}

pub(super) fn connections_are_kept(pair: &mut Pair) {
    let mut asks = vec![Ask::get("/page.html"), Ask::get("/none"), Ask::get("/empty")];
    // Nothing of one answer may be taken for the next, so they are of all kinds.
    if reason(pair.client, pair.origin, "HEAD").is_none() && !pair.client.distrusts_head() {
        asks.push(Ask::head("/page.html"));
    }
    // The end of this one is the end of a connection of HTTP/1.0.
    if pair.client != Client::Curl10 {
        asks.push(Ask::get("/chunked"));
    }
    asks.push(Ask::put("/store/kept", &pair.contents.small, Framing::Length));
    asks.push(Ask::get("/page.html"));
    let listener = format!("listener=\"{}\"", pair.client.listener());
    let counts = |pair: &Pair| {
        [
            pair.yett.count("yett_connections_total", &[&listener]),
            pair.yett.count("yett_upstream_connections_opened_total", &["upstream=\"backend\""]),
            pair.yett.count("yett_requests_total", &["api=\"all\""]),
        ]
    };
    // Browsers ask for more than they are told when they open the first page.
    pair.ask(&Ask::get("/page.html"));
    let [accepted, opened, requests] = counts(pair);
    let answers = pair.ask_all(&asks);
    for (ask, answer) in asks.iter().zip(&answers) {
        let status = if ask.path == "/none" { 204 } else { 200 };
        assert_eq!(answer.status, status, "{} {}", ask.method, ask.path);
    }
    check(answers.last().unwrap(), 200, PAGE.as_bytes());
    // A request is counted when the client has its answer.
    let all = requests + asks.len() as u64;
    until_true("all are counted", || counts(pair)[2] >= all);
    let [accepted_then, opened_then, _] = counts(pair);
    let made = accepted_then - accepted;
    assert!(made <= 1 + pair.client.probes(), "the client came with {made} connections");
    let made = opened_then - opened;
    assert!(made <= 1, "the backend was given {made} connections");
}

pub(super) fn by_length(pair: &mut Pair) {
    let answer = pair.ask(&Ask::get("/page.html"));
    check(&answer, 200, PAGE.as_bytes());
    check_length(&answer, PAGE.len());
    check_version(pair, &answer);
}

pub(super) fn in_chunks(pair: &mut Pair) {
    let answer = pair.ask(&Ask::get("/chunked"));
    check(&answer, 200, LINES.as_bytes());
    check_chunked(pair.client, &answer);
    check_version(pair, &answer);
}

pub(super) fn empty(pair: &mut Pair) {
    let answer = pair.ask(&Ask::get("/empty"));
    check(&answer, 200, b"");
    check_length(&answer, 0);
}

pub(super) fn large_by_length(pair: &mut Pair) {
    let answer = pair.ask(&Ask::get("/large"));
    check_large(pair, &answer);
    check_length(&answer, pair.contents.large.length);
}

pub(super) fn large_in_chunks(pair: &mut Pair) {
    let answer = pair.ask(&Ask::get("/large-chunked"));
    check_large(pair, &answer);
    check_chunked(pair.client, &answer);
}

fn check_large(pair: &Pair, answer: &Answer) {
    let large = &pair.contents.large;
    assert_eq!((answer.status, answer.length), (200, large.length), "{:?}", answer.headers);
    assert_eq!(answer.sha256, large.sha256);
}

pub(super) fn of_head(pair: &mut Pair) {
    let answers = pair.ask_all(&[Ask::head("/page.html"), Ask::get("/page.html")]);
    check(&answers[0], 200, b"");
    check_length(&answers[0], PAGE.len());
    check(&answers[1], 200, PAGE.as_bytes());
}

pub(super) fn without_content(pair: &mut Pair) {
    let answers = pair.ask_all(&[Ask::get("/none"), Ask::get("/page.html")]);
    check(&answers[0], 204, b"");
    // RFC 9110, 8.6: neither is allowed with 204.
    assert_eq!(answers[0].header("content-length"), None);
    assert_eq!(answers[0].header("transfer-encoding"), None);
    check(&answers[1], 200, PAGE.as_bytes());
}

pub(super) fn unchanged(pair: &mut Pair) {
    let known = pair.ask(&Ask::get("/page.html"));
    let etag = known.header("etag").unwrap();
    let condition = Ask::get("/page.html").header("if-none-match", etag);
    let other = Ask::get("/page.html").header("if-none-match", "\"other\"");
    let answers = pair.ask_all(&[condition, other]);
    check(&answers[0], 304, b"");
    assert_eq!(answers[0].header("etag"), Some(etag));
    check(&answers[1], 200, PAGE.as_bytes());
}

pub(super) fn repeated_headers(pair: &mut Pair) {
    let answer = pair.ask(&Ask::get("/cookies"));
    check(&answer, 200, b"ok");
    assert_eq!(answer.all("set-cookie"), ["a=1", "b=2"]);
}

pub(super) fn trailers(pair: &mut Pair) {
    let answer = pair.ask(&Ask::get("/trailers").header("te", "trailers"));
    check(&answer, 200, b"summed\n");
    assert_eq!(all(&answer.trailers, "x-sum"), ["7"], "{answer:?}");
    check(&pair.ask(&Ask::get("/page.html")), 200, PAGE.as_bytes());
}

pub(super) fn early_hints(pair: &mut Pair) {
    let answer = pair.ask(&Ask::get("/hints"));
    check(&answer, 200, b"hinted\n");
    if pair.client.hears_interim().is_ok() {
        let hints: Vec<_> = answer.interim.iter().filter(|hint| hint.status == 103).collect();
        assert_eq!(hints.len(), 1, "{answer:?}");
        let links = all(&hints[0].headers, "link");
        assert_eq!(links, ["</style.css>; rel=preload; as=style"]);
    }
    if pair.client == Client::Curl10 {
        // RFC 9110, 15.2: a client of HTTP/1.0 would take it for the answer.
        assert_eq!(answer.interim.len(), 0, "{answer:?}");
    }
    check(&pair.ask(&Ask::get("/page.html")), 200, PAGE.as_bytes());
}
