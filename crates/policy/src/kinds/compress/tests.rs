use super::{Coding, KIND, Wish};
use crate::fixture::{self, Built, lines};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use http_body::{Body as HttpBody, Frame};
use serde_json::{Value, json};
use std::io::Read as _;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use traffic::body::BodyError;
use traffic::{Body, Headers, Response};

const ALL: [Coding; 3] = [Coding::Zstd, Coding::Br, Coding::Gzip];

#[test]
fn the_client_and_then_the_config_choose_the_coding() {
    for (header, coding, refuses_identity) in [
        ("", None, false),
        ("gzip", Some(Coding::Gzip), false),
        ("x-gzip", Some(Coding::Gzip), false),
        ("gzip, deflate, br", Some(Coding::Br), false),
        ("gzip, deflate, br, zstd", Some(Coding::Zstd), false),
        ("GZIP;Q=1.0, br;q=0.9", Some(Coding::Gzip), false),
        ("gzip;q=0", None, false),
        ("gzip;q=0.001", Some(Coding::Gzip), false),
        ("gzip;q=0.0001", None, false),
        ("gzip;q=2", None, false),
        ("gzip;q=-1, br;q=0.5", Some(Coding::Br), false),
        ("deflate", None, false),
        ("*", Some(Coding::Zstd), false),
        ("*;q=0.1, zstd;q=0", Some(Coding::Br), false),
        ("*;q=0", None, true),
        ("*;q=0, gzip", Some(Coding::Gzip), true),
        ("identity;q=0, br", Some(Coding::Br), true),
        ("identity, gzip;q=0.5", None, false),
        ("identity;q=0.5, gzip", Some(Coding::Gzip), false),
        ("identity", None, false),
        (", ,;q=1,", None, false),
    ] {
        let mut headers = Headers::new();
        headers.append(HeaderName::from_static("accept-encoding"), header.parse().unwrap());
        assert_eq!(Wish::read(&headers, &ALL), Wish { coding, refuses_identity }, "{header}");
    }
    assert_eq!(Wish::read(&Headers::new(), &ALL), Wish::default());
}

fn text() -> String {
    (0..4_000).map(|n| format!("line {n} of a text that repeats itself\n")).collect()
}

fn reply(status: u16, headers: &[(&'static str, &str)], body: Body) -> Response {
    let mut reply = Response::new(StatusCode::from_u16(status).unwrap(), body);
    for (name, value) in headers {
        reply.headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    reply
}

fn treat(policy: &Built, request: &str, mut answer: Response) -> Response {
    let mut exchange = fixture::exchange(request);
    assert_eq!(policy.request(&mut exchange), "continue");
    policy.treat(&mut exchange, &mut answer);
    answer
}

/// All of a body, with the number of times it had nothing.
fn bytes(mut body: Body) -> (Vec<u8>, usize) {
    let (mut all, mut pauses) = (Vec::new(), 0);
    loop {
        match Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(None) => return (all, pauses),
            Poll::Ready(Some(frame)) => all.extend_from_slice(frame.unwrap().data_ref().unwrap()),
            Poll::Pending => pauses += 1,
        }
    }
}

fn unpacked(coding: &str, packed: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    match coding {
        "gzip" => flate2::read::GzDecoder::new(packed).read_to_end(&mut text).unwrap(),
        "br" => brotli::Decompressor::new(packed, 4_096).read_to_end(&mut text).unwrap(),
        _ => zstd::stream::read::Decoder::new(packed).unwrap().read_to_end(&mut text).unwrap(),
    };
    text
}

#[test]
fn every_coding_at_every_level_unpacks_to_what_was_sent() {
    for level in ["fast", "balanced", "small"] {
        let policy = fixture::built(&KIND, &json!({ "level": level }));
        for coding in ["gzip", "br", "zstd"] {
            for text in [text(), "x".repeat(2_000), "y".repeat(300 << 10)] {
                let answer =
                    reply(200, &[("content-type", "text/plain")], Body::full(text.clone()));
                let answer = treat(&policy, &format!("GET /\naccept-encoding: {coding}"), answer);
                assert_eq!(answer.headers["content-encoding"], coding);
                assert_eq!(answer.body.size_hint().exact(), None);
                let (packed, _) = bytes(answer.body);
                assert!(packed.len() * 4 < text.len(), "{coding} {level}: {}", packed.len());
                assert_eq!(unpacked(coding, &packed), text.as_bytes(), "{coding} {level}");
            }
        }
    }
}

#[test]
fn a_large_piece_leaves_room_for_others() {
    let policy = fixture::built(&KIND, &Value::Object(serde_json::Map::new()));
    let zeros = Body::full(vec![0; 1 << 20]);
    let answer = reply(200, &[("content-type", "text/plain")], zeros);
    let (_, pauses) = bytes(treat(&policy, "GET /\naccept-encoding: gzip", answer).body);
    assert!(pauses > 1, "{pauses}");
}

/// Pieces with a pause after each.
struct Slowly(Vec<&'static str>, bool);

impl HttpBody for Slowly {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.1 = !self.1;
        if self.1 {
            return Poll::Pending;
        }
        Poll::Ready(self.0.pop().map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes())))))
    }
}

#[test]
fn events_of_a_stream_can_be_read_as_they_come() {
    let policy = fixture::built(&KIND, &json!({ "types": ["text/event-stream"] }));
    for coding in ["gzip", "br", "zstd"] {
        let body = Body::stream(Slowly(vec!["data: 2\n\n", "data: 1\n\n"], false));
        let answer = reply(200, &[("content-type", "text/event-stream; charset=utf-8")], body);
        let mut body = treat(&policy, &format!("GET /\naccept-encoding: {coding}"), answer).body;
        let mut packed = Vec::new();
        let mut seen = Vec::new();
        loop {
            match Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(None) => break,
                Poll::Ready(Some(frame)) => {
                    packed.extend_from_slice(frame.unwrap().data_ref().unwrap());
                }
                Poll::Pending => {}
            }
            seen.push(readable(coding, &packed));
        }
        assert!(seen.contains(&"data: 1\n\n".to_owned()), "{coding}: {seen:?}");
        assert!(seen.contains(&"data: 1\n\ndata: 2\n\n".to_owned()), "{coding}: {seen:?}");
    }
}

/// As much of an unfinished body as a client could read.
fn readable(coding: &str, packed: &[u8]) -> String {
    let mut decoder: Box<dyn std::io::Read> = match coding {
        "gzip" => Box::new(flate2::read::GzDecoder::new(packed)),
        "br" => Box::new(brotli::Decompressor::new(packed, 64)),
        _ => Box::new(zstd::stream::read::Decoder::new(packed).unwrap()),
    };
    let (mut text, mut byte) = (Vec::new(), [0; 1]);
    while let Ok(1) = decoder.read(&mut byte) {
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}

/// Asks for a page with these headers, and says whether it is compressed and whether it varies.
fn treated(request: &str, status: u16, headers: &[(&'static str, &str)]) -> (bool, bool) {
    let policy = fixture::built(&KIND, &json!({}));
    let answer = treat(&policy, request, reply(status, headers, Body::full(text())));
    let packed = answer.headers.get("content-encoding").is_some_and(|coding| coding == "gzip");
    (packed, answer.headers.contains("vary"))
}

const GET: &str = "GET /\naccept-encoding: gzip";
const HTML: (&str, &str) = ("content-type", "text/html; charset=utf-8");

#[test]
fn only_who_accepts_it_gets_a_compressed_answer() {
    for (request, expected) in [
        (GET, (true, true)),
        ("POST /\naccept-encoding: gzip", (true, true)),
        ("GET /", (false, true)),
        ("GET /\naccept-encoding: deflate", (false, true)),
        ("HEAD /\naccept-encoding: gzip", (false, true)),
        ("GET /\naccept-encoding: gzip\ncache-control: no-transform", (false, false)),
    ] {
        assert_eq!(treated(request, 200, &[HTML]), expected, "{request}");
    }
    for (status, expected) in [
        (404, (true, true)),
        (204, (false, false)),
        (205, (false, false)),
        (206, (false, false)),
        (304, (false, true)),
    ] {
        assert_eq!(treated(GET, status, &[HTML]), expected, "{status}");
    }
}

#[test]
fn only_answers_that_may_be_changed_are_compressed() {
    for (name, value, expected) in [
        ("content-range", "bytes 0-1/2", false),
        ("content-encoding", "br", false),
        ("content-encoding", "identity", true),
        ("cache-control", "public, No-Transform", false),
        ("cache-control", "public", true),
        ("content-digest", "sha-256=:AA==:", false),
    ] {
        assert_eq!(treated(GET, 200, &[HTML, (name, value)]), (expected, expected), "{name}");
    }
    for (content_type, expected) in [
        ("application/problem+json", true),
        ("IMAGE/SVG+XML", true),
        ("image/png", false),
        ("text/event-stream", false),
        ("application/grpc+json", false),
        ("", false),
    ] {
        let headers = [("content-type", content_type)];
        assert_eq!(treated(GET, 200, &headers), (expected, expected), "{content_type}");
    }
    assert_eq!(treated(GET, 200, &[]), (false, false));
}

#[test]
fn short_answers_are_left_unless_the_client_refuses_them_so() {
    let policy = fixture::built(&KIND, &json!({ "min_size": "100B" }));
    for (accepts, length, is_packed) in [
        ("gzip", 99, false),
        ("gzip", 100, true),
        ("gzip, identity;q=0", 99, true),
        ("gzip, identity;q=0", 0, false),
    ] {
        let body = Body::full("z".repeat(length));
        let answer = reply(200, &[("content-type", "text/css")], body);
        let answer = treat(&policy, &format!("GET /\naccept-encoding: {accepts}"), answer);
        assert_eq!(answer.headers.contains("content-encoding"), is_packed, "{accepts} {length}");
    }
    let answer = reply(200, &[("content-type", "text/css")], fixture::pieces(&["short"]));
    let answer = treat(&policy, "GET /\naccept-encoding: gzip", answer);
    assert!(answer.headers.contains("content-encoding"), "nobody knows that it is short");
}

#[test]
fn the_headers_are_those_of_a_compressed_answer() {
    let policy = fixture::built(&KIND, &json!({ "codings": ["br"] }));
    for (etag, vary, expected_etag, expected_vary) in [
        ("\"1\"", "origin", "W/\"1\"", "vary: accept-encoding|vary: origin"),
        ("W/\"1\"", "Accept-Encoding, origin", "W/\"1\"", "vary: Accept-Encoding, origin"),
        ("\"\"", "*", "W/\"\"", "vary: *"),
    ] {
        let headers = [
            ("content-type", "text/css"),
            ("content-length", "140000"),
            ("accept-ranges", "bytes"),
            ("etag", etag),
            ("vary", vary),
        ];
        let answer = reply(200, &headers, Body::full(text()));
        let answer = treat(&policy, "GET /\naccept-encoding: gzip, br", answer);
        let mut expected: Vec<String> = vec![
            "content-encoding: br".into(),
            "content-type: text/css".into(),
            format!("etag: {expected_etag}"),
        ];
        expected.extend(expected_vary.split('|').map(str::to_owned));
        assert_eq!(lines(&answer.headers), expected);
    }
}

#[test]
fn beyond_the_cap_answers_go_out_as_they_are() {
    let policy = fixture::built(&KIND, &json!({ "level": "fast", "codings": ["gzip"] }));
    let ask = || {
        let answer = reply(200, &[("content-type", "text/css")], fixture::pieces(&["a"]));
        treat(&policy, "GET /\naccept-encoding: gzip", answer)
    };
    let mut held: Vec<Response> = (0..base::caps::COMPRESSIONS_MAX).map(|_| ask()).collect();
    assert!(held.iter().all(|answer| answer.headers.contains("content-encoding")));
    let beyond = ask();
    assert!(!beyond.headers.contains("content-encoding") && beyond.headers.contains("vary"));
    held.pop();
    assert!(ask().headers.contains("content-encoding"), "a seat is free again");
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    for (settings, part) in [
        (json!({ "codings": [] }), "nothing can be compressed"),
        (json!({ "codings": ["br", "br"] }), "named twice"),
        (json!({ "codings": ["deflate"] }), "deflate"),
        (json!({ "types": [] }), "nothing can be compressed"),
        (json!({ "types": ["html"] }), "not a media type"),
        (json!({ "types": ["*/*"] }), "not a media type"),
        (json!({ "types": ["text/*x*"] }), "not a media type"),
        (json!({ "types": ["application/grpc"] }), "message by message"),
        (json!({ "level": "best" }), "balanced"),
        (json!({ "min_size": "small" }), "is not a size"),
    ] {
        fixture::refuses(&KIND, &settings, part);
    }
}

/// Reads what a gateway sends until the backend has nothing more for now, as the client understands it.
async fn heard(io: &mut (impl tokio::io::AsyncRead + Unpin), bytes: &mut Vec<u8>) -> String {
    use tokio::io::AsyncReadExt as _;
    let quiet = std::time::Duration::from_millis(1);
    let mut piece = [0; 4_096];
    while let Ok(Ok(length @ 1..)) = tokio::time::timeout(quiet, io.read(&mut piece)).await {
        bytes.extend_from_slice(piece.get(..length).unwrap());
    }
    let (head, body) = testkit::message::split(bytes).unwrap();
    let body = unchunked(body);
    match testkit::message::header(&String::from_utf8_lossy(head), "content-encoding") {
        Some(coding) => readable(coding, &body),
        None => String::from_utf8(body).unwrap(),
    }
}

fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    while let Some(end) = body.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(body.get(..end).unwrap()).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        data.extend_from_slice(body.get(end + 2..end + 2 + size).unwrap());
        body = body.get(end + 4 + size..).unwrap();
    }
    data
}

#[tokio::test(start_paused = true)]
async fn no_shaping_policy_holds_an_event_back() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    for (types, coding) in [("", ""), ("types: [text/event-stream]", "gzip")] {
        let gateway = testkit::TestGateway::with_policies(&format!(
            "[compress: {{ {types} }}, grpc_web: {{}}, cors: {{ origins: '*' }}, headers: {{ response: {{ set: {{ a: b }} }} }}]"
        ));
        let mut backends = gateway.play(testkit::gateway::BACKEND);
        let mut client = gateway.connect();
        let request =
            format!("GET / HTTP/1.1\r\nhost: a.test\r\naccept-encoding: {coding}\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let mut backend = backends.recv().await.unwrap();
        assert!(backend.read(&mut [0; 4_096]).await.unwrap() > 0);
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        backend.write_all(head.as_bytes()).await.unwrap();
        let (mut bytes, mut expected) = (Vec::new(), String::new());
        for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
            let chunk = format!("{:x}\r\n{event}\r\n", event.len());
            backend.write_all(chunk.as_bytes()).await.unwrap();
            expected.push_str(event);
            assert_eq!(heard(&mut client, &mut bytes).await, expected);
            let is_coded = String::from_utf8_lossy(&bytes).contains("content-encoding");
            assert_eq!(is_coded, !coding.is_empty());
        }
    }
}
