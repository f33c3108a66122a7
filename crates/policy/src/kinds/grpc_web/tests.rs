use super::KIND;
use crate::fixture::{self, lines};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body::{Body as HttpBody, Frame};
use serde_json::json;
use std::pin::Pin;
use std::task::{Context, Poll};
use traffic::body::BodyError;
use traffic::grpc::Rpc;
use traffic::{Body, Exchange, Response};

fn call(content_type: &str, body: &[&'static str]) -> Exchange {
    let mut exchange = fixture::exchange(&format!(
        "POST /pkg.Service/Method\ncontent-type: {content_type}\naccept: {content_type}"
    ));
    exchange.rpc = Rpc::of(&exchange.request);
    exchange.body = fixture::pieces(body);
    exchange
}

#[test]
fn requests_become_requests_of_grpc() {
    for (from, to) in [
        ("application/grpc-web", "application/grpc"),
        ("application/grpc-web+proto", "application/grpc+proto"),
        ("application/grpc-web-text+thrift; charset=utf-8", "application/grpc+thrift"),
    ] {
        let policy = fixture::built(&KIND, &json!({}));
        let mut exchange = call(from, &[]);
        assert_eq!(policy.request(&mut exchange), "continue");
        let expected = [format!("content-type: {to}"), "te: trailers".to_owned()];
        assert_eq!(lines(&exchange.request.headers), expected);
    }
}

#[test]
fn other_requests_pass_as_they_are() {
    let policy = fixture::built(&KIND, &json!({}));
    for content_type in ["application/grpc", "application/json"] {
        let mut exchange = call(content_type, &["QUJD"]);
        assert_eq!(policy.request(&mut exchange), "continue");
        assert_eq!(exchange.request.headers["content-type"], content_type);
        assert_eq!(fixture::drain(exchange.body), "QUJD");
    }
}

#[test]
fn text_is_read_however_it_is_cut_and_padded() {
    for (pieces, expected) in [
        (&["QUJD"][..], "ABC"),
        (&["Q", "UJ", "DRA", "==QQ=="], "ABCDA"),
        (&["QQ==", "QkM="], "ABC"),
        (&["QQ==QkM=REVG"], "ABCDEF"),
        (&[], ""),
        (&["QUJ"], "bad_request"),
        (&["QUJD!!!!"], "bad_request"),
        (&["Q=JD"], "bad_request"),
        (&["===="], "bad_request"),
    ] {
        let policy = fixture::built(&KIND, &json!({}));
        let mut exchange = call("application/grpc-web-text", pieces);
        assert_eq!(policy.request(&mut exchange), "continue");
        assert_eq!(fixture::drain(exchange.body), expected, "{pieces:?}");
    }
}

/// Data, and trailers after it.
struct Answer(Vec<Frame<Bytes>>);

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(self.0.pop().map(Ok))
    }
}

fn answered(content_type: &str, mut reply: Response) -> Response {
    let policy = fixture::built(&KIND, &json!({}));
    let mut exchange = call(content_type, &[]);
    assert_eq!(policy.request(&mut exchange), "continue");
    policy.treat(&mut exchange, &mut reply);
    reply
}

fn reply(content_type: &'static str, body: Body) -> Response {
    let mut reply = Response::new(StatusCode::OK, body);
    let name = HeaderName::from_static("content-type");
    reply.headers.append(name, HeaderValue::from_static(content_type));
    reply
}

fn stream() -> Body {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers.insert("x-mood", HeaderValue::from_static("good"));
    trailers.insert("content-length", HeaderValue::from_static("7"));
    let data = |text: &'static str| Frame::data(Bytes::from_static(text.as_bytes()));
    Body::stream(Answer(vec![Frame::trailers(trailers), data("second"), data("first")]))
}

const END: &str = "\u{80}\0\0\0\u{1e}grpc-status: 0\r\nx-mood: good\r\n";

/// Text in which each character is a byte.
fn raw(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}

fn all(mut body: Body) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    let mut cx = Context::from_waker(std::task::Waker::noop());
    while let Poll::Ready(Some(frame)) = Pin::new(&mut body).poll_frame(&mut cx) {
        pieces.push(frame.unwrap().into_data().expect("trailers are part of the body"));
    }
    pieces
}

#[test]
fn trailers_are_the_last_part_of_the_body() {
    let answer = answered("application/grpc-web+proto", reply("application/grpc", stream()));
    assert_eq!(lines(&answer.headers), ["content-type: application/grpc-web+proto"]);
    let end = Bytes::from(raw(END));
    assert_eq!(all(answer.body), [Bytes::from("first"), Bytes::from("second"), end]);
}

#[test]
fn text_answers_are_base64_part_by_part() {
    let answer = answered("application/grpc-web-text", reply("application/grpc", stream()));
    assert_eq!(lines(&answer.headers), ["content-type: application/grpc-web-text"]);
    let pieces = all(answer.body);
    let decoded: Vec<Vec<u8>> =
        pieces.iter().map(|piece| STANDARD.decode(piece).expect("base64")).collect();
    assert_eq!(decoded, [b"first".to_vec(), b"second".to_vec(), raw(END)]);
}

#[test]
fn a_status_without_a_message_is_also_part_of_the_body() {
    let mut failed = reply("application/grpc", Body::empty());
    for (name, value) in [("grpc-status", "5"), ("grpc-message", "gone"), ("x-other", "1")] {
        failed.headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let answer = answered("application/grpc-web", failed);
    assert_eq!(lines(&answer.headers), ["content-type: application/grpc-web", "x-other: 1"]);
    let expected = raw("\u{80}\0\0\0\u{24}grpc-status: 5\r\ngrpc-message: gone\r\n");
    assert_eq!(all(answer.body).concat(), expected);
}

#[test]
fn answers_that_are_no_calls_pass_as_they_are() {
    let answer = answered("application/grpc-web", reply("text/html", Body::full("<p>")));
    assert_eq!(answer.headers["content-type"], "text/html");
    assert_eq!(all(answer.body).concat(), b"<p>");
}

#[test]
fn there_is_nothing_to_set() {
    fixture::refuses(&KIND, &json!({ "text": true }), "unknown field `text`");
}
