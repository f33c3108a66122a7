//! Heads of answers.

use bytes::BytesMut;
use http::Method;
use http1::{Length, Refusal, ResponseHead, Scan, Version};

fn read(method: &Method, bytes: impl AsRef<[u8]>) -> Result<Option<ResponseHead>, Refusal> {
    super::head_checks::response(bytes.as_ref());
    http1::response(&mut Scan::default(), &mut BytesMut::from(bytes.as_ref()), method)
}

fn check(bytes: impl AsRef<[u8]>, refusal: &str) {
    let bytes = bytes.as_ref();
    let shown = bytes.get(..200).unwrap_or(bytes).escape_ascii();
    match read(&Method::GET, bytes) {
        Ok(read) => panic!("{refusal} is not refused: {shown} is {read:?}"),
        Err(is) => assert_eq!(is.name(), refusal, "{shown}"),
    }
}

#[test]
fn a_head_is_read() {
    let text = "HTTP/1.1 404 N\u{f6}t F\tound\r\nServer: x\r\nset-cookie: a\r\nSet-Cookie: b\r\nContent-Length: 3\r\n\r\nabc";
    let mut buffer = BytesMut::from(text);
    let head = http1::response(&mut Scan::default(), &mut buffer, &Method::GET).unwrap().unwrap();
    assert_eq!((head.status.as_u16(), head.version), (404, Version::Http11));
    assert_eq!((head.length, head.declared), (Length::Exact(3), Some(3)));
    assert!(head.keeps_alive);
    assert_eq!(head.headers.len(), 3);
    assert_eq!(&buffer[..], b"abc");
}

#[test]
fn informational_answers_are_handed_out_before_the_final_one() {
    let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
    let mut buffer = BytesMut::from(text);
    let mut scan = Scan::default();
    for status in [100, 103, 200] {
        let head = http1::response(&mut scan, &mut buffer, &Method::GET).unwrap().unwrap();
        assert_eq!(head.status, status);
        assert_eq!(head.length == Length::None, status < 200);
    }
}

#[test]
fn the_length_follows_from_method_status_and_fields() {
    use Length::{Chunked, Exact, None as Nothing, UntilClose};
    let (get, head) = (&Method::GET, &Method::HEAD);
    for (method, status, fields, length, declared) in [
        (get, 200, "", UntilClose, None),
        (get, 200, "content-length: 5\r\n", Exact(5), Some(5)),
        (get, 200, "content-length: 0\r\n", Exact(0), Some(0)),
        (get, 200, "Transfer-Encoding: Chunked\r\n", Chunked, None),
        (get, 999, "content-length: 5\r\n", Exact(5), Some(5)),
        (head, 200, "", Nothing, None),
        (head, 200, "content-length: 5\r\n", Nothing, Some(5)),
        (head, 200, "transfer-encoding: chunked\r\n", Nothing, None),
        (get, 304, "", Nothing, None),
        (get, 304, "content-length: 5\r\n", Nothing, Some(5)),
        (get, 304, "transfer-encoding: chunked\r\n", Nothing, None),
        (get, 204, "", Nothing, None),
        (get, 204, "content-length: 0\r\n", Nothing, None),
        (get, 101, "connection: upgrade\r\nupgrade: websocket\r\n", Nothing, None),
        (&Method::CONNECT, 200, "content-length: 5\r\n", Nothing, Some(5)),
        (&Method::CONNECT, 400, "content-length: 5\r\n", Exact(5), Some(5)),
    ] {
        let text = format!("HTTP/1.1 {status} x\r\n{fields}\r\n");
        let is = read(method, &text).unwrap().unwrap();
        assert_eq!((is.length, is.declared), (length, declared), "{method} {text}");
        assert!(
            !is.headers.contains("content-length") && !is.headers.contains("transfer-encoding")
        );
    }
}

#[test]
fn a_connection_serves_again_when_the_answer_ends_by_itself() {
    for (text, kept) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n", true),
        ("HTTP/1.1 200 OK\r\n", false),
        ("HTTP/1.1 304 x\r\n", true),
        ("HTTP/1.1 304 x\r\nconnection: Close\r\n", false),
        ("HTTP/1.0 200 OK\r\ncontent-length: 1\r\n", false),
        ("HTTP/1.0 200 OK\r\ncontent-length: 1\r\nconnection: keep-alive\r\n", true),
        ("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n", false),
    ] {
        let head = read(&Method::GET, format!("{text}\r\n")).unwrap().unwrap();
        assert_eq!(head.keeps_alive, kept, "{text}");
    }
}

#[test]
fn answers_that_can_be_read_in_two_ways_are_refused() {
    for (status, fields, refusal) in [
        (200, "content-length: 3\r\ntransfer-encoding: chunked", "length_and_coding"),
        (304, "content-length: 3\r\ntransfer-encoding: chunked", "length_and_coding"),
        (200, "content-length: 3\r\ncontent-length: 3", "several_lengths"),
        (200, "content-length: 3, 3", "several_lengths"),
        (200, "content-length: three", "bad_length"),
        (304, "content-length: three", "bad_length"),
        (200, "transfer-encoding: gzip, chunked", "unknown_coding"),
        (200, "transfer-encoding: gzip", "bad_coding"),
        (200, "transfer-encoding: chunked\r\ntransfer-encoding: chunked", "bad_coding"),
        (204, "content-length: 1", "body_forbidden"),
        (204, "transfer-encoding: chunked", "body_forbidden"),
        (100, "content-length: 0", "body_forbidden"),
        (103, "transfer-encoding: chunked", "body_forbidden"),
        (101, "content-length: 3", "body_forbidden"),
        (200, "a: b\r\n c: d", "folded"),
        (200, " a: b", "space_before_fields"),
        (200, "a : b", "space_before_colon"),
        (200, "a", "missing_colon"),
        (200, ": a", "bad_field_name"),
        (200, "a: \u{1}", "bad_field_value"),
        (200, "a: b\nc: d", "bare_lf"),
        (200, "a: b\rc: d", "bare_cr"),
        (200, "a: \0", "nul_byte"),
    ] {
        check(format!("HTTP/1.1 {status} x\r\n{fields}\r\n\r\n"), refusal);
    }
    check("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "coding_in_http10");
}

#[test]
fn status_lines_have_one_shape() {
    for (line, refusal) in [
        ("HTTP/1.1 20 OK", "bad_status_line"),
        ("HTTP/1.1 2000 OK", "bad_status_line"),
        ("HTTP/1.1 099 OK", "bad_status_line"),
        ("HTTP/1.1 2x0 OK", "bad_status_line"),
        ("HTTP/1.1  200 OK", "bad_status_line"),
        ("HTTP/1.1\t200 OK", "bad_status_line"),
        ("HTTP/1.1 200 O\u{1}K", "bad_status_line"),
        ("HTTP/1.1", "bad_status_line"),
        ("HTTP/1.1 200\tOK", "bad_status_line"),
        ("HTTP/2 200", "bad_status_line"),
        ("Http/1.1 200", "bad_status_line"),
        ("http/1.1 200", "bad_status_line"),
        ("HTTP/2.0 200 OK", "version_unsupported"),
        ("HTTP/1.2 200 OK", "version_unsupported"),
        ("HTTP/0.9 200 OK", "version_unsupported"),
        ("", "bad_status_line"),
        ("SSH-2.0-OpenSSH_9.2", "bad_status_line"),
    ] {
        check(format!("{line}\r\na: b\r\n\r\n"), refusal);
    }
    for line in ["HTTP/1.1 200 OK", "HTTP/1.1 200 ", "HTTP/1.1 200", "HTTP/1.0 200 a b c"] {
        assert!(read(&Method::GET, format!("{line}\r\n\r\n")).unwrap().is_some(), "{line}");
    }
}

#[test]
fn what_is_certain_is_refused_before_the_head_is_complete() {
    check("S", "bad_status_line");
    check("\r\n", "bad_status_line");
    check("HTTP/1.1 200 OK\n", "bare_lf");
    check(format!("HTTP/1.1 200 {}", "x".repeat(64 << 10)), "head_too_large");
    let many = |count| format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(count));
    assert!(read(&Method::GET, many(100)).unwrap().is_some());
    check(many(101), "too_many_fields");
}
