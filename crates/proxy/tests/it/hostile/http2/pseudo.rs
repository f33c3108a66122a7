//! Pseudo-headers: each once, in front, and of the kind that it should be.

use crate::it::hostile::http2::{GONE, MALFORMED, PROTOCOL, check};
use crate::it::hostile::row::{ADDED, Row, head};
use crate::it::http2::frames::{END_HEADERS, HEADERS, WHOLE, block, frame};
use crate::it::http2::hpack::field;

#[test]
fn a_request_has_each_pseudo_header_once_and_in_front() {
    check(&rows());
}

#[test]
fn pseudo_headers_hold_what_a_request_line_can_hold() {
    check(&values());
}

#[test]
fn one_host_is_asked_for() {
    check(&authorities());
}

#[test]
fn a_tunnel_is_refused() {
    check(&connect());
}

const METHOD: &str = ":method: GET\n";
const SCHEME: &str = ":scheme: http\n";
const PATH: &str = ":path: /\n";
const AUTHORITY: &str = ":authority: a.test\n";
const CLAUSE: &str = "RFC 9113, 8.3";
const ONE: &str = "RFC 9113, 8.3.1";

fn lines(lines: &str) -> Vec<u8> {
    frame(HEADERS, WHOLE, 3, &block(lines))
}

/// All pseudo-headers but the one of this name, and it with this value, raw.
fn with(name: &str, value: &[u8]) -> Vec<u8> {
    let all = [METHOD, SCHEME, PATH, AUTHORITY];
    let others: String =
        all.into_iter().filter(|line| !line.starts_with(&format!("{name}:"))).collect();
    let block = [field(name.as_bytes(), value), block(&others)].concat();
    frame(HEADERS, WHOLE, 3, &block)
}

pub(crate) fn rows() -> Vec<Row> {
    let all = format!("{METHOD}{SCHEME}{PATH}{AUTHORITY}");
    let bad = |name, clause, cases: Vec<String>| {
        Row::each(name, clause, cases.iter().map(|case| lines(case)), MALFORMED)
            .counted("http2_stream")
    };
    let each = [METHOD, SCHEME, PATH, AUTHORITY];
    vec![
        Row::new("all four", ONE, lines(&all), "3:200").saw(head("GET /", "", "")),
        Row::new(
            "in another order",
            ONE,
            lines(&format!("{AUTHORITY}{PATH}{SCHEME}{METHOD}")),
            "3:200",
        )
        .saw(head("GET /", "", "")),
        bad(
            "one is missing",
            ONE,
            [METHOD, SCHEME, PATH].map(|line| all.replace(line, "")).to_vec(),
        ),
        bad("all are missing", ONE, vec![String::new(), "host: a.test\n".to_owned()]),
        bad("one is there twice", CLAUSE, each.map(|line| format!("{all}{line}")).to_vec()),
        bad(
            "one is there twice, with two values",
            CLAUSE,
            vec![
                format!("{all}:method: DELETE\n"),
                format!("{all}:path: /admin\n"),
                format!("{all}:authority: b.test\n"),
                format!("{all}:scheme: https\n"),
            ],
        ),
        bad(
            "one comes late",
            CLAUSE,
            each.map(|line| format!("{}x-a: 1\n{line}", all.replace(line, ""))).to_vec(),
        ),
        bad(
            "one of answers",
            CLAUSE,
            vec![format!("{all}:status: 200\n"), format!(":status: 200\n{all}")],
        ),
        Row::each(
            "one that nobody knows",
            CLAUSE,
            [lines(&format!("{all}:other: 1\n")), lines(&format!(":host: a.test\n{all}"))],
            GONE,
        )
        .counted(PROTOCOL),
        bad("one of tunnels", "RFC 8441, 3", vec![format!(":protocol: websocket\n{all}")]),
    ]
}

pub(crate) fn values() -> Vec<Row> {
    let raw = |name, clause, pseudo: &str, values: &[&[u8]], outcome: &str, reason| {
        let cases = values.iter().map(|value| with(pseudo, value));
        Row::each(name, clause, cases, outcome).counted(reason)
    };
    vec![
        raw(
            "a method that is no token",
            ONE,
            ":method",
            &[b"G T", b"GET\t", b"G\"T", b"G/T", b"", b"G\xc3\x84T", b"GET:"],
            GONE,
            PROTOCOL,
        ),
        raw(
            "a method that holds a request line",
            ONE,
            ":method",
            &[b"GET /x HTTP/1.1\r\nhost: b.test\r\n\r\nGET", b"GET\r\n", b"GET /admin"],
            GONE,
            PROTOCOL,
        ),
        raw(
            "a method with control characters",
            ONE,
            ":method",
            &[b"G\0T", b"GET\n", b"GET\x7f", b"\x0bGET"],
            GONE,
            PROTOCOL,
        ),
        Row::new(
            "a method in small letters is another one",
            "RFC 9110, 9.1",
            with(":method", b"get"),
            "3:200",
        )
        .saw(head("get /", "", "")),
        raw(
            "another scheme",
            ONE,
            ":scheme",
            &[b"ftp", b"httpx", b"ws", b"file", b""],
            "3:400 bad_request",
            "bad_scheme",
        ),
        raw(
            "a scheme that is none",
            ONE,
            ":scheme",
            &[b"ht tp", b"http://", b"http/", b"\0", b"http://b.test/x?", b"http\r\n"],
            MALFORMED,
            "http2_stream",
        ),
        Row::new(
            "the scheme `https` on a plain connection",
            "RFC 9113, 8.3.1",
            with(":scheme", b"https"),
            "3:200",
        )
        .saw(head("GET /", "", "")),
        raw("an empty path", ONE, ":path", &[b""], MALFORMED, "http2_stream"),
        raw(
            "a path without a slash",
            ONE,
            ":path",
            &[b"a", b"a/b", b"../a", b"http://b.test/", b"b.test"],
            MALFORMED,
            "http2_stream",
        ),
        raw(
            "a path that ends a request line",
            "RFC 9113, 10.3",
            ":path",
            &[b"/a HTTP/1.1\r\nhost: b.test\r\n\r\nGET /b", b"/a HTTP/1.1", b"/a b", b"/a?b c"],
            MALFORMED,
            "http2_stream",
        ),
        raw(
            "a path with line ends",
            "RFC 9113, 10.3",
            ":path",
            &[b"/a\r\nx: y", b"/a\nb", b"/a\rb", b"/a?b\r\nc", b"/\r\n"],
            MALFORMED,
            "http2_stream",
        ),
        raw(
            "a path with control characters",
            "RFC 9113, 10.3",
            ":path",
            &[b"/a\0", b"/a\tb", b"/a\x7f", b"/\x0b", b"/a?\x1f"],
            MALFORMED,
            "http2_stream",
        ),
        raw(
            "the asterisk with another method",
            "RFC 9110, 7.1",
            ":path",
            &[b"*"],
            "3:400 bad_request",
            "target_form",
        ),
        raw("a query alone", ONE, ":path", &[b"?a"], "3:400 bad_request", "target_form"),
        raw(
            "bytes beyond ASCII",
            "RFC 3986, 2",
            ":path",
            &["/\u{e4}".as_bytes()],
            "3:400 bad_path",
            "",
        ),
        raw("bytes that are no UTF-8", "RFC 3986, 2", ":path", &[b"/\xff\xfe"], GONE, PROTOCOL),
        Row::each(
            "a fragment goes no further",
            "RFC 9113, 8.3.1",
            [with(":path", b"/a#b"), with(":path", b"/a#b c"), with(":path", b"/a#?x")],
            "3:200",
        )
        .saw(head("GET /a", "", "")),
    ]
}

pub(crate) fn authorities() -> Vec<Row> {
    let rest = format!("{METHOD}{SCHEME}{PATH}");
    let bad = |name, cases: &[&str]| {
        let cases = cases.iter().map(|more| lines(&format!("{rest}{more}")));
        Row::each(name, ONE, cases, "3:400 bad_host")
    };
    let raw = |name, values: &[&[u8]]| {
        let cases = values.iter().map(|value| with(":authority", value));
        Row::each(name, ONE, cases, MALFORMED).counted("http2_stream")
    };
    let good = |name, more: &str, host: &str| {
        Row::new(name, ONE, lines(&format!("{rest}{more}")), "3:200")
            .saw(format!("GET / HTTP/1.1\nhost: {host}\n{ADDED}\n"))
    };
    vec![
        good("Host alone", "host: a.test\n", "a.test"),
        good("both, the same in other case", ":authority: a.test\nhost: A.test\n", "a.test"),
        good("with a port", ":authority: a.test:8080\n", "a.test:8080"),
        bad("neither", &["", "x-host: a.test\n"]),
        bad(
            "both, different",
            &[
                ":authority: a.test\nhost: b.test\n",
                ":authority: a.test\nhost: a.test:81\n",
                ":authority: a.test\nhost: a.test.\n",
            ],
        ),
        bad("both, Host empty", &[":authority: a.test\nhost: \n"]),
        bad(
            "Host twice",
            &[":authority: a.test\nhost: a.test\nhost: a.test\n", "host: a.test\nhost: b.test\n"],
        ),
        bad(
            "Host a list",
            &["host: a.test, b.test\n", ":authority: a.test\nhost: a.test, b.test\n"],
        ),
        bad(
            "Host that is none",
            &[
                "host: u@a.test\n",
                "host: a.test/x\n",
                "host: a..test\n",
                "host: a.test:99999\n",
                "host: \u{e4}.test\n",
            ],
        ),
        bad(
            "no port",
            &[":authority: a.test:port\n", ":authority: a.test:99999\n", ":authority: a.test:\n"],
        ),
        bad("user information", &[":authority: u@a.test\n", ":authority: u:p@a.test\n"]),
        bad("labels that are none", &[":authority: a..test\n", ":authority: .\n"]),
        raw(
            "more than an authority",
            &[b"a.test/b", b"a.test?x", b"a.test#x", b"http://a.test", b"a.test, b.test"],
        ),
        raw("what would end a line", &[b"a.test\r\nx: y", b"a.test\n", b"a.test b", b"a.test\0"]),
    ]
}

pub(crate) fn connect() -> Vec<Row> {
    let (plain, rest) =
        (":method: CONNECT\n:authority: a.test:443\n", format!("{SCHEME}{PATH}{AUTHORITY}"));
    vec![
        Row::new(
            "`CONNECT`",
            "RFC 9113, 8.5",
            frame(HEADERS, END_HEADERS, 3, &block(plain)),
            "3:501 method_unsupported, 3:NO_ERROR",
        ),
        Row::new(
            "`CONNECT` that ends at once",
            "RFC 9113, 8.5",
            lines(plain),
            "3:501 method_unsupported",
        ),
        Row::new(
            "`CONNECT` with scheme and path",
            "RFC 9113, 8.5",
            lines(&format!(":method: CONNECT\n{rest}")),
            MALFORMED,
        )
        .counted("http2_stream"),
        Row::each(
            "extended `CONNECT` that no policy allows",
            "RFC 8441, 5",
            ["websocket", "connect-udp"]
                .map(|p| lines(&format!(":method: CONNECT\n:protocol: {p}\n{rest}"))),
            "3:501 method_unsupported",
        ),
        Row::new(
            "`TRACE`",
            "RFC 9110, 9.3.8",
            lines(&format!(":method: TRACE\n{rest}")),
            "3:501 method_unsupported",
        ),
    ]
}
