//! Heads of requests.

use bytes::BytesMut;
use http1::{BadHead, Form, Length, Refusal, RequestHead, Scan, Version};

fn read(bytes: impl AsRef<[u8]>) -> Result<Option<RequestHead>, Box<BadHead>> {
    http1::request(&mut Scan::default(), &mut BytesMut::from(bytes.as_ref()))
}

fn accepted(text: &str) -> RequestHead {
    read(text).unwrap_or_else(|bad| panic!("{}: {text:?}", bad.refusal.name())).unwrap()
}

/// A complete head and why it is refused; it is refused for the same reason byte by byte.
fn check(bytes: impl AsRef<[u8]>, refusal: &str) {
    let bytes = bytes.as_ref();
    let shown = bytes.get(..200).unwrap_or(bytes).escape_ascii();
    match read(bytes) {
        Ok(read) => panic!("{refusal} is not refused: {shown} is {read:?}"),
        Err(bad) => assert_eq!(bad.refusal.name(), refusal, "{shown}"),
    }
    super::head_checks::request(bytes);
}

/// The same with these fields.
fn check_fields(fields: &str, refusal: &str) {
    check(format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n"), refusal);
}

#[test]
fn a_head_is_read() {
    let text = "POST /a/b?c=d HTTP/1.1\r\nHost: Example.com:8080\r\nX-Two:\t 1 \t\r\nx-two: \r\nCookie: \u{e9}\r\ncontent-LENGTH: 12\r\n\r\n";
    let mut buffer = BytesMut::from(format!("{text}hello").as_bytes());
    let head = http1::request(&mut Scan::default(), &mut buffer).unwrap().unwrap();
    assert_eq!(&buffer[..], b"hello");
    assert_eq!(head.method, "POST");
    assert_eq!(head.target.path_and_query, "/a/b?c=d");
    assert_eq!((head.target.form, head.target.authority), (Form::Origin, None));
    assert_eq!((head.version, head.length), (Version::Http11, Length::Exact(12)));
    assert!(head.keeps_alive && !head.upgrades && !head.expects_continue);
    let fields: Vec<_> = head.headers.iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect();
    let expected: [(&str, &[u8]); 4] = [
        ("host", b"Example.com:8080"),
        ("x-two", b"1"),
        ("x-two", b""),
        ("cookie", "\u{e9}".as_bytes()),
    ];
    assert_eq!(fields, expected);
}

#[test]
fn nothing_of_a_head_is_copied() {
    let text = b"GET /path HTTP/1.1\r\nhost: example.com\r\n\r\n";
    let mut buffer = BytesMut::from(&text[..]);
    let place = buffer.as_ptr_range();
    let head = http1::request(&mut Scan::default(), &mut buffer).unwrap().unwrap();
    assert!(place.contains(&head.target.path_and_query.as_str().as_ptr()));
    assert!(place.contains(&head.headers["host"].as_bytes().as_ptr()));
}

#[test]
fn pipelined_heads_are_read_one_after_the_other() {
    let one = "GET /1 HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut buffer = BytesMut::from(format!("{one}\r\n{one}GET").as_bytes());
    let mut scan = Scan::default();
    for _ in 0..2 {
        let head = http1::request(&mut scan, &mut buffer).unwrap().unwrap();
        assert_eq!(head.target.path_and_query, "/1");
    }
    assert!(http1::request(&mut scan, &mut buffer).unwrap().is_none());
    assert_eq!(&buffer[..], b"GET");
}

#[test]
fn a_target_has_four_forms() {
    let check = |line: &str, form, path: &str, authority: Option<&str>| {
        let target = accepted(&format!("{line} HTTP/1.1\r\n\r\n")).target;
        assert_eq!(target.form, form, "{line}");
        assert_eq!(target.path_and_query, path, "{line}");
        assert_eq!(target.authority.as_ref().map(|a| a.to_str().unwrap()), authority, "{line}");
    };
    check("GET /", Form::Origin, "/", None);
    check("GET //x?y??z", Form::Origin, "//x?y??z", None);
    check("GET /a|\"b\"{c}[d]", Form::Origin, "/a|\"b\"{c}[d]", None);
    check("OPTIONS *", Form::Asterisk, "*", None);
    check("GET http://a.b:80/c?d", Form::Absolute, "/c?d", Some("a.b:80"));
    check("GET HTTPS://a", Form::Absolute, "/", Some("a"));
    check("GET http://a?b/c", Form::Absolute, "/?b/c", Some("a"));
    check("OPTIONS http://a", Form::Absolute, "/", Some("a"));
    check("CONNECT a.b:443", Form::Authority, "/", Some("a.b:443"));
}

#[test]
fn other_targets_are_refused() {
    for (line, refusal) in [
        ("GET *", "target_form"),
        ("GET a.b:443", "target_form"),
        ("GET a/b", "target_form"),
        ("GET ftp://a/b", "target_form"),
        ("GET ://a/b", "target_form"),
        ("GET ?a", "target_form"),
        ("OPTIONS **", "target_form"),
        ("CONNECT /", "bad_authority"),
        ("CONNECT a", "bad_authority"),
        ("CONNECT *", "bad_authority"),
        ("CONNECT :443", "bad_authority"),
        ("CONNECT http://a/", "bad_authority"),
        ("CONNECT u@a:443", "bad_authority"),
        ("GET http:///b", "bad_authority"),
        ("GET http://?b", "bad_authority"),
        ("GET http://:80/", "bad_authority"),
        ("GET http://user@a/b", "bad_authority"),
        ("GET http://u:p@a/b", "bad_authority"),
        ("GET /a#b", "bad_target"),
        ("GET http://a#b", "bad_target"),
        ("GET /a\u{e9}", "bad_target"),
        ("GET /a\\b\u{7f}", "bad_target"),
        ("GET /a\tb", "bad_target"),
        ("GET /a\u{1}", "bad_target"),
    ] {
        check(format!("{line} HTTP/1.1\r\nhost: a\r\n\r\n"), refusal);
    }
    check(b"GET /\xff\xfe HTTP/1.1\r\n\r\n", "bad_target");
}

#[test]
fn request_lines_have_one_shape() {
    for (line, refusal) in [
        ("GET /", "bad_request_line"),
        ("GET", "bad_request_line"),
        ("GET  / HTTP/1.1", "bad_request_line"),
        ("GET /  HTTP/1.1", "bad_request_line"),
        ("GET / HTTP/1.1 ", "bad_request_line"),
        ("GET /a b HTTP/1.1", "bad_request_line"),
        ("GET\t/ HTTP/1.1", "bad_method"),
        ("GET / http/1.1", "bad_request_line"),
        ("GET / HTTP/1", "bad_request_line"),
        ("GET / HTTP/1.11", "bad_request_line"),
        ("GET / HTTP/1,1", "bad_request_line"),
        ("GET / HTCPCP/1.0", "bad_request_line"),
        ("GET / HTTP/0.9", "version_unsupported"),
        ("GET / HTTP/1.2", "version_unsupported"),
        ("GET / HTTP/2.0", "version_unsupported"),
        ("PRI * HTTP/2.0", "version_unsupported"),
        (" GET / HTTP/1.1", "bad_method"),
        ("\tGET / HTTP/1.1", "bad_method"),
        ("G(T / HTTP/1.1", "bad_method"),
        ("G\u{e9}T / HTTP/1.1", "bad_method"),
        ("\u{e9} / HTTP/1.1", "bad_method"),
        ("(x) / HTTP/1.1", "bad_method"),
    ] {
        check(format!("{line}\r\nhost: a\r\n\r\n"), refusal);
    }
}

#[test]
fn lines_end_with_cr_lf_and_hold_neither() {
    for (text, refusal) in [
        ("GET / HTTP/1.1\nhost: a\n\n", "bare_lf"),
        ("GET / HTTP/1.1\r\nhost: a\n\r\n", "bare_lf"),
        ("GET / HTTP/1.1\r\nhost: a\r\n\n", "bare_lf"),
        ("\nGET / HTTP/1.1\r\n\r\n", "bare_lf"),
        ("GET / HTTP/1.1\r\nhost: a\rb\r\n\r\n", "bare_cr"),
        ("GET / HTTP/1.1\r\nhost: a\r\r\n\r\n", "bare_cr"),
        ("GET / HTTP/1.1\rhost: a\r\n\r\n", "bare_cr"),
        ("GET / HTTP/1.1\r\n\rx: y\r\n\r\n", "bare_cr"),
        ("\rGET / HTTP/1.1\r\n\r\n", "bare_cr"),
        ("GET / HTTP/1.1\r\nhost: a\0b\r\n\r\n", "nul_byte"),
        ("GET /\0 HTTP/1.1\r\n\r\n", "nul_byte"),
        ("\0", "nul_byte"),
    ] {
        check(text, refusal);
    }
}

#[test]
fn fields_have_one_shape() {
    for (fields, refusal) in [
        ("a: b\r\n c: d", "folded"),
        ("a: b\r\n\tc", "folded"),
        ("a: b\r\n \r\nc: d", "folded"),
        ("a : b", "space_before_colon"),
        ("a\t: b", "space_before_colon"),
        ("content-length : 3", "space_before_colon"),
        ("a", "missing_colon"),
        ("a b", "missing_colon"),
        (": b", "bad_field_name"),
        (":", "bad_field_name"),
        ("a b: c", "bad_field_name"),
        ("a(b): c", "bad_field_name"),
        ("a\u{e9}: c", "bad_field_name"),
        ("\u{1}: c", "bad_field_name"),
        ("a: b\u{1}c", "bad_field_value"),
        ("a: b\u{7f}", "bad_field_value"),
        ("a: \u{b}chunked", "bad_field_value"),
        ("transfer-encoding: \u{b}chunked", "bad_field_value"),
        ("a: \u{8}", "bad_field_value"),
        ("a: \u{1b}[0m", "bad_field_value"),
    ] {
        check_fields(fields, refusal);
    }
    check("GET / HTTP/1.1\r\n host: a\r\n\r\n", "space_before_fields");
    check("GET / HTTP/1.1\r\n\thost: a\r\n\r\n", "space_before_fields");
    check("GET / HTTP/1.1\r\n \r\nhost: a\r\n\r\n", "space_before_fields");
}

#[test]
fn every_control_character_in_a_value_is_refused_wherever_it_stands() {
    for byte in (1..0x20).chain([0x7f]).filter(|byte| ![b'\t', b'\r', b'\n'].contains(byte)) {
        for length in [0, 1, 7, 15, 31, 40] {
            let mut head = b"GET / HTTP/1.1\r\na: ".to_vec();
            head.extend(std::iter::repeat_n(b'x', length));
            head.push(byte);
            head.extend_from_slice(b"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n\r\n");
            check(head, "bad_field_value");
        }
    }
}

#[test]
fn a_request_has_at_most_one_length() {
    for (fields, refusal) in [
        ("content-length: 3\r\ntransfer-encoding: chunked", "length_and_coding"),
        ("transfer-encoding: chunked\r\nCONTENT-length: 0", "length_and_coding"),
        ("transfer-encoding: gzip\r\ncontent-length: x", "length_and_coding"),
        ("content-length: 3\r\ncontent-length: 3", "several_lengths"),
        ("content-length: 3\r\ncontent-length: 4", "several_lengths"),
        ("content-length: 3, 3", "several_lengths"),
        ("content-length: 3,", "several_lengths"),
        ("content-length: ", "bad_length"),
        ("content-length: +3", "bad_length"),
        ("content-length: -3", "bad_length"),
        ("content-length: 3x", "bad_length"),
        ("content-length: 0x3", "bad_length"),
        ("content-length: 3 3", "bad_length"),
        ("content-length: 3.0", "bad_length"),
        ("content-length: \u{661}", "bad_length"),
        ("content-length: 18446744073709551616", "bad_length"),
        ("content-length: 99999999999999999999999999", "bad_length"),
        ("transfer-encoding: ", "bad_coding"),
        ("transfer-encoding: identity", "bad_coding"),
        ("transfer-encoding: gzip", "bad_coding"),
        ("transfer-encoding: xchunked", "bad_coding"),
        ("transfer-encoding: chunked;a=b", "bad_coding"),
        ("transfer-encoding: \"chunked\"", "bad_coding"),
        ("transfer-encoding: chunked, chunked", "bad_coding"),
        ("transfer-encoding: chunked, gzip", "bad_coding"),
        ("transfer-encoding: , chunked", "bad_coding"),
        ("transfer-encoding: chunked,", "bad_coding"),
        ("transfer-encoding: chunked\r\ntransfer-encoding: chunked", "bad_coding"),
        ("transfer-encoding: gzip\r\ntransfer-encoding: chunked", "bad_coding"),
        ("transfer-encoding: gzip, chunked", "unknown_coding"),
        ("transfer-encoding: gzip;a=b , br,\tChunked", "unknown_coding"),
    ] {
        check_fields(fields, refusal);
    }
    let old = "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n";
    check(old, "coding_in_http10");
}

#[test]
fn lengths_are_read() {
    let check = |fields: &str, length| {
        let head = accepted(&format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n"));
        assert_eq!(head.length, length, "{fields}");
        assert_eq!(head.headers.len(), 1, "the framing is not among the headers");
    };
    check("", Length::None);
    check("content-length: 0\r\n", Length::Exact(0));
    check("content-length: 007\r\n", Length::Exact(7));
    check("content-length: \t 7 \t\r\n", Length::Exact(7));
    check("content-length: 18446744073709551615\r\n", Length::Exact(u64::MAX));
    check("Transfer-Encoding: chunked\r\n", Length::Chunked);
    check("transfer-encoding:\t CHUNKED \t\r\n", Length::Chunked);
}

#[test]
fn a_connection_is_kept_when_both_versions_and_options_say_so() {
    let check = |version: &str, fields: &str, kept| {
        let head = accepted(&format!("GET / HTTP/{version}\r\n{fields}\r\n"));
        assert_eq!(head.keeps_alive, kept, "{version} {fields}");
    };
    check("1.1", "", true);
    check("1.1", "Connection: close\r\n", false);
    check("1.1", "connection: x, CLOSE ,y\r\n", false);
    check("1.1", "connection: x\r\nconnection:\tclose\r\n", false);
    check("1.1", "connection: close, keep-alive\r\n", false);
    check("1.1", "connection: closed\r\n", true);
    check("1.1", "connection: \"close\"\r\n", true);
    check("1.0", "", false);
    check("1.0", "connection: Keep-Alive\r\n", true);
    check("1.0", "connection: close\r\nconnection: keep-alive\r\n", false);
}

#[test]
fn wishes_are_told_where_they_can_be_granted() {
    let check = |version: &str, fields: &str, continues, upgrades| {
        let head = accepted(&format!("POST / HTTP/{version}\r\n{fields}\r\n\r\n"));
        assert_eq!((head.expects_continue, head.upgrades), (continues, upgrades), "{fields}");
    };
    check("1.1", "expect: 100-Continue\r\ncontent-length: 3", true, false);
    check("1.1", "expect: 100-continue\r\ntransfer-encoding: chunked", true, false);
    check("1.1", "expect: 100-continue\r\ncontent-length: 0", false, false);
    check("1.1", "expect: 100-continue", false, false);
    check("1.0", "expect: 100-continue\r\ncontent-length: 3", false, false);
    check("1.1", "connection: keep-alive, Upgrade\r\nupgrade: websocket", false, true);
    check("1.1", "upgrade: websocket", false, false);
    check("1.1", "connection: upgrade", false, false);
    check("1.0", "connection: upgrade\r\nupgrade: websocket", false, false);
    for value in ["", "200-ok", "100-continue, x", "100-continue;a=b"] {
        check_fields(&format!("expect: {value}"), "expectation_failed");
    }
}

#[test]
fn two_empty_lines_are_skipped_and_three_refused() {
    let head = accepted("\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    assert_eq!(head.method, "GET");
    check("\r\n\r\n\r\n", "empty_lines");
    let mut buffer = BytesMut::from("\r\n\r");
    assert!(http1::request(&mut Scan::default(), &mut buffer).unwrap().is_none());
}

#[test]
fn what_is_certain_is_refused_before_the_head_is_complete() {
    check(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "tls_to_plain_port");
    check(b"\x80\x2e\x01\x00\x02", "bad_method");
    check(b"{", "bad_method");
    check("GET / HTTP/1.1\n", "bare_lf");
    check("GET / HTTP/1.1\r\na: \rb", "bare_cr");
    check("GET / HTTP/1.1\r\na: \0", "nul_byte");
    check(format!("GET /{}", "a".repeat(17 << 10)), "target_too_long");
    check("G".repeat(17 << 10), "target_too_long");
    check(format!("GET / HTTP/1.1\r\na: {}", "b".repeat(64 << 10)), "head_too_large");
    check(format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(11_000)), "head_too_large");
}

#[test]
fn heads_are_bounded() {
    let line = |length: usize| format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(length - 1));
    assert_eq!(accepted(&line(16 << 10)).target.path_and_query.as_str().len(), 16 << 10);
    check(line((16 << 10) + 1), "target_too_long");
    let fields = |count| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(count));
    assert_eq!(accepted(&fields(100)).headers.len(), 100);
    check(fields(101), "too_many_fields");
    let start = "GET / HTTP/1.1\r\na: ";
    let sized = |size: usize| format!("{start}{}\r\n\r\n", "b".repeat(size - start.len() - 4));
    assert!(read(sized(64 << 10)).unwrap().is_some());
    check(sized((64 << 10) + 4), "head_too_large");
}

#[test]
fn what_could_be_read_of_a_refused_request_is_told() {
    let told = |text: &str| {
        let bad = read(text).unwrap_err();
        let target = bad.target.map(|target| target.to_string());
        let host = bad.host.map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
        (bad.method.map(|m| m.to_string()).unwrap_or_default(), target, host, bad.version)
    };
    let (get, path, host) = ("GET".to_owned(), Some("/a".to_owned()), Some("b:1".to_owned()));
    let refused = "GET /a HTTP/1.1\r\nx y: z\r\nHost:  b:1 \r\nhost: c\r\n\r\n";
    let all = (get.clone(), path.clone(), host.clone(), Some(Version::Http11));
    assert_eq!(told(refused), all);
    assert_eq!(told("GET http://x/a HTTP/1.1\r\nhost: b:1\r\n c: d\r\n\r\n"), all);
    assert_eq!(told("GET /a HTTP/1.1\nhost: b:1\n"), all);
    assert_eq!(told("GET /a HTTP/3.0\r\nhost: b:1\r\n\r\n"), (get.clone(), path, host, None));
    assert_eq!(told("GET /#a HTTP/1.1\r\n\r\n"), (get, None, None, Some(Version::Http11)));
    assert_eq!(told("\u{16}\u{3}"), (String::new(), None, None, None));
}

#[test]
fn every_refusal_of_a_request_is_the_fault_it_should_be() {
    for (refusal, status) in [
        (Refusal::BareLf, 400),
        (Refusal::LengthAndCoding, 400),
        (Refusal::BadAuthority, 400),
        (Refusal::TargetTooLong, 414),
        (Refusal::ExpectationFailed, 417),
        (Refusal::TooManyFields, 431),
        (Refusal::UnknownCoding, 501),
        (Refusal::VersionUnsupported, 505),
    ] {
        let fault = refusal.fault();
        assert_eq!(fault.code.status(), status, "{refusal}");
        assert!(fault.closes, "{refusal}");
    }
}

#[test]
fn names_that_came_before_cost_no_allocation() {
    let text = "GET / HTTP/1.1\r\nX-Seen-Before: 1\r\n\r\n";
    let first = accepted(text).headers;
    let second = accepted(&text.replace("X-Seen", "x-SEEN")).headers;
    let place = |headers: &traffic::Headers| headers.names().next().unwrap().as_str().as_ptr();
    assert_eq!(place(&first), place(&second));
    // A flood of other names costs no memory, and nothing is confused.
    for number in 0..5_000 {
        let head = accepted(&format!("GET / HTTP/1.1\r\nX-{number}: {number}\r\n\r\n"));
        assert_eq!(head.headers[format!("x-{number}").as_str()], number.to_string());
    }
    let long = "x".repeat(65);
    let head = accepted(&format!("GET / HTTP/1.1\r\n{long}: y\r\n\r\n"));
    assert_eq!(head.headers[long.as_str()], "y");
}
