//! The first line: a method, a target and a version with one space between them. And what else may come to
//! a port of HTTP.

use crate::it::hostile::http1::check;
use crate::it::hostile::row::{Row, Then, head};

#[test]
fn a_request_line_is_a_method_a_target_and_a_version() {
    check(&rows());
}

#[test]
fn a_method_is_a_token() {
    check(&methods());
}

#[test]
fn other_protocols_are_shown_out() {
    check(&others());
}

const BAD: &str = "400 bad_request, closed";

fn line(line: &str) -> String {
    format!("{line}\r\nhost: a.test\r\n\r\n")
}

fn bad(name: &'static str, lines: &[&str]) -> Row {
    let cases = lines.iter().map(|text| line(text));
    Row::each(name, "RFC 9112, 3", cases, BAD).counted("bad_request_line")
}

pub(crate) fn rows() -> Vec<Row> {
    let versions =
        |list: &[&str]| list.iter().map(|v| line(&format!("GET / {v}"))).collect::<Vec<_>>();
    vec![
        Row::each(
            "a version that is not spoken",
            "RFC 9110, 15.6.6",
            versions(&["HTTP/1.2", "HTTP/1.9", "HTTP/2.0", "HTTP/3.0", "HTTP/0.9", "HTTP/0.0", "HTTP/9.9"]),
            "505 version_unsupported, closed",
        )
        .counted("version_unsupported")
        .peers("Both read `HTTP/1.2` as 1.1, as RFC 9110, 2.5 suggests; nobody sends it in earnest, so we say what we speak."),
        Row::each(
            "a version that is none",
            "RFC 9112, 2.3",
            versions(&[
                "HTTP/1.10", "HTTP/1.1.1", "HTTP/11", "HTTP/1.", "HTTP/.1", "HTTP/1", "HTTP/01.1", "HTTP/1.01",
                "http/1.1", "Http/1.1", "HTTP/1.1x", "HTTP/1,1", "HTTP/+1.1", "HTTP/-1.1", "HTTP/1.a", "HTP/1.1",
                "HTTPS/1.1", "XHTTP/1.1", "RTSP/1.0", "ICY", "HTTP", "HTTP/", "/HTTP/1.1", "HTTP\\1.1",
            ]),
            BAD,
        )
        .counted("bad_request_line")
        .peers("nginx reads `HTTP/1.10` as one of 1.x; the grammar has one digit."),
        bad("no version (HTTP/0.9)", &["GET /", "GET /x", "GET / "])
            .peers("nginx serves HTTP/0.9 and answers without status and fields; such an answer can be taken for anything."),
        bad("no target", &["GET HTTP/1.1", "GET  HTTP/1.1"]),
        bad("a method alone", &["GET", "GET "]),
        bad("two spaces", &["GET  / HTTP/1.1", "GET /  HTTP/1.1", "GET  /  HTTP/1.1"])
            .peers("Both skip the second space, which RFC 9112 allows; a reader that splits at single spaces sees an empty target."),
        bad("a space at the end", &["GET / HTTP/1.1 ", "GET / HTTP/1.1  "]),
        bad("more words", &["GET / HTTP/1.1 x", "GET /a b HTTP/1.1", "GET / HTTP/1.1 HTTP/1.1", "GET /a HTTP/1.0 /b HTTP/1.1"])
            .peers("All three refuse: the request line would end in two places."),
        Row::each("a space first", "RFC 9112, 3", [line(" GET / HTTP/1.1"), line("\tGET / HTTP/1.1")], BAD)
            .counted("bad_method"),
        Row::each("tabs for spaces", "RFC 9112, 3", [line("GET\t/\tHTTP/1.1"), line("GET\t/ HTTP/1.1")], BAD)
            .counted("bad_method"),
        Row::new("a tab before the version", "RFC 9112, 3", line("GET /\tHTTP/1.1"), BAD)
            .counted("bad_request_line"),
        Row::new("HTTP/1.0", "RFC 9112, 9.3", "GET / HTTP/1.0\r\nhost: a.test\r\n\r\n", "200, closed")
            .saw(head("GET /", "", "")),
        Row::new(
            "HTTP/1.0 that keeps the connection",
            "RFC 9112, 9.3",
            "GET / HTTP/1.0\r\nhost: a.test\r\nconnection: keep-alive\r\n\r\n",
            "200",
        )
        .saw(head("GET /", "", "")),
    ]
}

pub(crate) fn methods() -> Vec<Row> {
    let any = |name, method: &str| {
        Row::new(name, "RFC 9110, 9.1", line(&format!("{method} / HTTP/1.1")), "200").saw(head(
            &format!("{method} /"),
            "",
            "",
        ))
    };
    let delimiters = "(),/:;<=>?@[\\]{}\"".chars().map(|c| line(&format!("GE{c}T / HTTP/1.1")));
    vec![
        any("in small letters it is another one", "get")
            .peers("nginx knows methods in capitals only; HAProxy and we pass `get` on as what it is, another method than `GET`."),
        any("one that nobody knows", "PURGE"),
        any("each character of a token", "!#$%&'*+-.^_`|~09aZ"),
        any("a long one", &"M".repeat(1_000)),
        Row::each("delimiters", "RFC 9110, 5.6.2", delimiters, BAD).counted("bad_method"),
        Row::each("letters beyond ASCII", "RFC 9110, 9.1", [line("G\u{c9}T / HTTP/1.1"), line("\u{feff}GET / HTTP/1.1")], BAD)
            .counted("bad_method"),
        Row::each("none", "RFC 9112, 3", [line(" / HTTP/1.1"), line(" ")], BAD).counted("bad_method"),
        Row::new("`TRACE`", "RFC 9110, 9.3.8", line("TRACE / HTTP/1.1"), "501 method_unsupported")
            .peers("HAProxy passes it on: an echo of a request shows a script what it must not see."),
    ]
}

pub(crate) fn others() -> Vec<Row> {
    let row =
        |name, bytes: &[u8], reason| Row::new(name, "RFC 9112, 3", bytes, BAD).counted(reason);
    let tls: &[u8] =
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x5a\xe0\x1b\x0d\x0a\x0d\x0a\x20\x00";
    vec![
        Row::new("a TLS ClientHello", "RFC 9110, 4.2.1", tls, BAD)
            .counted("tls_to_plain_port")
            .peers(
                "All three refuse; we count it under a reason of its own, since it is mostly a mistake in somebody's config.",
            ),
        Row::new("one byte of TLS", "RFC 9110, 4.2.1", b"\x16", BAD)
            .counted("tls_to_plain_port")
            .then(Then::Waits),
        row("an SSLv2 ClientHello", b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10", "bad_method"),
        row("an SSH banner", b"SSH-2.0-OpenSSH_9.2p1\r\n", "bad_request_line"),
        row("SMTP", b"EHLO a.test\r\nMAIL FROM:<a@a.test>\r\n", "bad_request_line"),
        row("FTP", b"USER anonymous\r\nPASS x\r\n", "bad_request_line"),
        row("Redis", b"*1\r\n$4\r\nPING\r\n", "bad_request_line"),
        row("memcached", b"set a 0 0 5\r\nhello\r\n", "bad_request_line"),
        row(
            "a PROXY line, version 1",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 80\r\n",
            "bad_request_line",
        ),
        row("a PROXY header, version 2", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", "nul_byte"),
        row("FastCGI", b"\x01\x01\0\x01\0\x08\0\0\0\x01\0\0\0\0\0\0", "bad_method"),
        row("SOCKS 5", b"\x05\x01\0", "bad_method"),
        row(
            "an answer",
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "bad_request_line|bad_method",
        ),
        Row::new(
            "the first half of HTTP/2's preface",
            "RFC 9113, 3.4",
            "PRI * HTTP/2.0\r\n\r\n",
            "505 version_unsupported, closed",
        )
        .counted("version_unsupported"),
        Row::new(
            "HTTP/2's preface with another end",
            "RFC 9113, 3.4",
            "PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n",
            "505 version_unsupported, closed",
        )
        .counted("version_unsupported"),
    ]
}
