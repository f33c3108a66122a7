//! Names in small letters, values without control characters, and nothing that concerns an HTTP/1 connection.

use crate::it::hostile::http2::{GONE, MALFORMED, PROTOCOL, check, get};
use crate::it::hostile::row::{Row, head};
use crate::it::http2::frames::{HEADERS, WHOLE, block, frame};
use crate::it::http2::hpack::field;

#[test]
fn names_and_values_hold_nothing_that_http_1_reads_differently() {
    check(&rows());
}

#[test]
fn fields_of_a_connection_are_malformed() {
    check(&hops());
}

/// A `GET` with a field of these bytes.
fn with(name: &[u8], value: &[u8]) -> Vec<u8> {
    let start = block(":method: GET\n:scheme: http\n:path: /\n:authority: a.test\n");
    frame(HEADERS, WHOLE, 3, &[start, field(name, value)].concat())
}

pub(crate) fn rows() -> Vec<Row> {
    let names = |name, names: &[&str]| {
        let cases = names.iter().map(|name| with(name.as_bytes(), b"1"));
        Row::each(name, "RFC 9113, 8.2.1", cases, GONE).counted(PROTOCOL)
    };
    let values = |name, values: &[&str]| {
        let cases = values.iter().map(|value| with(b"x-a", value.as_bytes()));
        Row::each(name, "RFC 9113, 8.2.1", cases, GONE).counted(PROTOCOL)
    };
    let controls = (0..=0x1f).chain([0x7f]).filter(|byte| *byte != b'\t').collect::<Vec<u8>>();
    let in_names = controls.iter().map(|byte| with(&[b'x', *byte, b'a'], b"1"));
    let in_values = controls.iter().map(|byte| with(b"x-a", &[b'x', *byte, b'a']));
    vec![
        names("a name in capitals", &["X-A", "x-A", "CONTENT-LENGTH", "Transfer-Encoding", "Host"]),
        names("an empty name", &[""]),
        names(
            "delimiters in a name",
            &["x a", "x:a", "x,a", "x/a", "x(a)", "x[a]", "x@a", "transfer-encoding:"],
        ),
        names("letters beyond ASCII in a name", &["\u{e4}", "x\u{a0}", "content\u{2010}length"]),
        names("line ends in a name", &["x\r\na", "x: y\r\na", "x\na", "x\ra"]),
        Row::each("control characters in a name", "RFC 9113, 8.2.1", in_names, GONE)
            .counted(PROTOCOL),
        Row::each("control characters in a value", "RFC 9113, 8.2.1", in_values, GONE)
            .counted(PROTOCOL),
        values("line ends in a value", &["a\r\nx: y", "a\nb", "a\rb", "\r\n", "a\r\n", "\na"]),
        values("a request in a value", &["a\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a.test"]),
        Row::each(
            "white space around a value",
            "RFC 9113, 8.2.1",
            [" a", "a ", "\ta", "a\t", " ", "\t"].map(|v| with(b"x-a", v.as_bytes())),
            "3:400 bad_request",
        )
        .counted("space_around_value"),
        Row::new("a tab in a value", "RFC 9110, 5.5", with(b"x-a", b"a\tb"), "3:200").saw(head(
            "GET /",
            "x-a: a\tb\n",
            "",
        )),
        Row::new(
            "bytes beyond ASCII in a value",
            "RFC 9110, 5.5",
            with(b"x-a", &(0x80..=0xff).collect::<Vec<u8>>()),
            "3:200",
        )
        .saw(head(
            "GET /",
            &format!("x-a: {}\n", ('\u{80}'..='\u{ff}').collect::<String>()),
            "",
        )),
        Row::new("an empty value", "RFC 9110, 5.5", with(b"x-a", b""), "3:200")
            .saw(head("GET /", "x-a: \n", "")),
        Row::new(
            "pieces of cookies are joined",
            "RFC 9113, 8.2.3",
            get("cookie: a=1\nx-a: 1\ncookie: b=2\n"),
            "3:200",
        )
        .saw(head("GET /", "cookie: a=1; b=2\nx-a: 1\n", "")),
        Row::each(
            "an expectation that nobody meets",
            "RFC 9110, 10.1.1",
            ["expect: a-miracle\n", "expect: 100-continue, x\n", "expect: \n"].map(get),
            "3:417 expectation_failed",
        )
        .counted("expectation_failed"),
    ]
}

pub(crate) fn hops() -> Vec<Row> {
    let bad = |name, lines: &[&str]| {
        let cases = lines.iter().map(|line| get(&format!("{line}\n")));
        Row::each(name, "RFC 9113, 8.2.2", cases, MALFORMED).counted("http2_stream")
    };
    vec![
        bad(
            "`Connection`",
            &[
                "connection: close",
                "connection: keep-alive",
                "connection: x-a",
                "connection: ",
                "connection: te",
            ],
        ),
        bad(
            "`Keep-Alive` and `Proxy-Connection`",
            &["keep-alive: timeout=5", "proxy-connection: keep-alive"],
        ),
        bad(
            "`Transfer-Encoding`",
            &[
                "transfer-encoding: chunked",
                "transfer-encoding: identity",
                "transfer-encoding: gzip, chunked",
                "transfer-encoding: ",
            ],
        ),
        bad("`Upgrade`", &["upgrade: h2c", "upgrade: websocket", "upgrade: "]),
        bad(
            "`TE` but for trailers",
            &["te: gzip", "te: trailers, gzip", "te: trailers;q=1", "te: "],
        ),
        Row::new("`TE: trailers`", "RFC 9113, 8.2.2", get("te: trailers\n"), "3:200").saw(head(
            "GET /",
            "te: trailers\n",
            "connection: te\n",
        )),
        Row::new(
            "`Proxy-Authorization` goes no further",
            "RFC 9110, 11.7.2",
            get("proxy-authorization: Basic x\n"),
            "3:200",
        )
        .saw(head("GET /", "", "")),
        Row::new(
            "`HTTP2-Settings` is no more than a field",
            "RFC 9113, 3.1",
            get("http2-settings: AAMAAABk\n"),
            "3:200",
        )
        .saw(head("GET /", "http2-settings: AAMAAABk\n", "")),
    ]
}
