//! What is written.

use bytes::{Bytes, BytesMut};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http1::write::{CRLF, chunk_size, last_chunk, request_head, response_head};
use http1::{Chunks, Framing, Piece};
use traffic::Headers;

fn headers(fields: &[(&'static str, &'static str)]) -> Headers {
    let field = |(name, value): &(&'static str, &'static str)| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    fields.iter().map(field).collect()
}

#[test]
fn a_request_is_written() {
    let check = |framing, connection: &[&'static str], end: &str| {
        let headers = headers(&[
            ("host", "a"),
            ("content-length", "99"),
            ("x", "1"),
            ("transfer-encoding", "chunked, chunked"),
            ("connection", "x"),
            ("x", ""),
        ]);
        let target = PathAndQuery::from_static("/b?c");
        let mut out = b"before".to_vec();
        request_head(&mut out, &Method::PUT, &target, &headers, framing, connection);
        let expected = format!("beforePUT /b?c HTTP/1.1\r\nhost: a\r\nx: 1\r\nx: \r\n{end}\r\n");
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    };
    check(Framing::None, &[], "");
    check(Framing::Length(0), &[], "content-length: 0\r\n");
    check(Framing::Length(u64::MAX), &[], "content-length: 18446744073709551615\r\n");
    check(Framing::Chunked, &["close"], "transfer-encoding: chunked\r\nconnection: close\r\n");
    check(Framing::None, &["upgrade", "te"], "connection: upgrade, te\r\n");
}

#[test]
fn an_answer_is_written() {
    let check = |status: u16, framing, date, fields, expected: &str| {
        let mut out = Vec::new();
        let status = StatusCode::from_u16(status).unwrap();
        response_head(&mut out, status, &headers(fields), framing, &[], date);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    };
    let own = Some("today");
    check(200, Framing::UntilClose, None, &[("a", "b")], "HTTP/1.1 200 OK\r\na: b\r\n\r\n");
    check(204, Framing::None, own, &[], "HTTP/1.1 204 No Content\r\ndate: today\r\n\r\n");
    check(304, Framing::Declared(None), None, &[], "HTTP/1.1 304 Not Modified\r\n\r\n");
    let declared = "HTTP/1.1 404 Not Found\r\ncontent-length: 7\r\n\r\n";
    check(404, Framing::Declared(Some(7)), None, &[("content-length", "1")], declared);
    let theirs = "HTTP/1.1 999 \r\ndate: theirs\r\ntransfer-encoding: chunked\r\n\r\n";
    check(999, Framing::Chunked, own, &[("date", "theirs")], theirs);
}

#[test]
fn chunks_are_written() {
    for (size, expected) in [(1, "1\r\n"), (15, "f\r\n"), (16, "10\r\n"), (0xa0b1, "a0b1\r\n")] {
        let mut out = Vec::new();
        chunk_size(&mut out, size);
        assert_eq!(out, expected.as_bytes());
    }
    let mut out = Vec::new();
    chunk_size(&mut out, usize::MAX);
    assert_eq!(out, format!("{:x}\r\n", usize::MAX).as_bytes());
}

#[test]
fn a_written_body_is_read_again() {
    let mut trailers = HeaderMap::new();
    trailers.append("grpc-status", HeaderValue::from_static("0"));
    let mut out = Vec::new();
    chunk_size(&mut out, 5);
    out.extend_from_slice(b"hello");
    out.extend_from_slice(CRLF);
    last_chunk(&mut out, Some(&trailers));
    let mut buffer = BytesMut::from(out.as_slice());
    let mut chunks = Chunks::default();
    assert_eq!(chunks.next(&mut buffer), Ok(Piece::Data(Bytes::from("hello"))));
    assert_eq!(chunks.next(&mut buffer), Ok(Piece::Trailers(trailers)));
    assert!(buffer.is_empty());
}

#[test]
fn trailers_cannot_frame_what_follows() {
    let mut trailers = HeaderMap::new();
    for name in ["content-length", "transfer-encoding", "host", "connection", "x"] {
        trailers.append(name, HeaderValue::from_static("1"));
    }
    let mut out = Vec::new();
    last_chunk(&mut out, Some(&trailers));
    assert_eq!(out, b"0\r\nx: 1\r\n\r\n");
    out.clear();
    last_chunk(&mut out, None);
    assert_eq!(out, b"0\r\n\r\n");
}
