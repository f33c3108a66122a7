//! The length of a body: what the head announces, if anything, is what DATA frames hold.

use crate::it::hostile::http2::{GONE, MALFORMED, PROTOCOL, check, get, post};
use crate::it::hostile::row::{Row, head};
use crate::it::http2::frames::{
    DATA, END_HEADERS, END_STREAM, HEADERS, PADDED, WHOLE, block, frame,
};

#[test]
fn a_body_is_as_long_as_it_says() {
    check(&rows());
}

#[test]
fn trailers_frame_nothing_and_name_nobody() {
    check(&trailers());
}

const CLAUSE: &str = "RFC 9113, 8.1.1";

/// A `POST` with these lines and DATA, the last of which ends the stream.
fn with(lines: &str, data: &[&str]) -> Vec<u8> {
    let count = data.len();
    let frames = data.iter().enumerate().map(|(at, data)| {
        frame(DATA, if at + 1 == count { END_STREAM } else { 0 }, 3, data.as_bytes())
    });
    [post(lines), frames.collect::<Vec<_>>().concat()].concat()
}

fn seen(framing: &str, body: &str) -> String {
    head("POST /", "", framing) + body
}

pub(crate) fn rows() -> Vec<Row> {
    let five = "content-length: 5\n";
    let cut = |name, data: &[&str], body: &str| {
        Row::new(name, CLAUSE, with(five, data), MALFORMED)
            .counted("http2_stream")
            .late(seen(five, body))
    };
    let bad = |name, lines: &[&str], outcome: &str, reason| {
        Row::each(name, CLAUSE, lines.iter().map(|lines| post(lines)), outcome).counted(reason)
    };
    vec![
        Row::new("as long as it says", CLAUSE, with(five, &["hello"]), "3:200")
            .saw(seen(five, "hello")),
        Row::new("as long as it says, in pieces", CLAUSE, with(five, &["he", "", "llo"]), "3:200")
            .saw(seen(five, "hello")),
        Row::new("no length", CLAUSE, with("", &["hel", "lo"]), "3:200")
            .saw(seen("transfer-encoding: chunked\n", "3\nhel\n2\nlo\n0\n\n")),
        Row::new("leading zeros", CLAUSE, with("content-length: 0005\n", &["hello"]), "3:200")
            .saw(seen(five, "hello")),
        cut("shorter", &["hell"], "hell"),
        cut("shorter, in two", &["hell", ""], "hell"),
        cut("nothing", &[""], ""),
        cut("longer", &["hellos"], ""),
        cut("longer, in two", &["hel", "los"], "hel"),
        Row::new("a length and no body", CLAUSE, get(five), MALFORMED).counted("http2_stream"),
        Row::new("zero and no body", CLAUSE, get("content-length: 0\n"), "3:200")
            .saw(head("GET /", "", "")),
        Row::new(
            "zero, and a body that may come",
            CLAUSE,
            post("content-length: 0\n"),
            "3:200, 3:NO_ERROR",
        )
        .saw(seen("content-length: 0\n", "")),
        bad(
            "two, equal",
            &["content-length: 5\ncontent-length: 5\n"],
            "3:400 bad_framing, 3:NO_ERROR",
            "several_lengths",
        ),
        bad(
            "two, different",
            &[
                "content-length: 5\ncontent-length: 6\n",
                "content-length: 6\ncontent-length: 5\n",
                "content-length: 0\ncontent-length: 5\n",
            ],
            MALFORMED,
            "http2_stream",
        ),
        bad(
            "a list",
            &["content-length: 5, 5\n", "content-length: 5,\n", "content-length: ,5\n"],
            MALFORMED,
            "http2_stream",
        ),
        bad(
            "no number",
            &[
                "content-length: +5\n",
                "content-length: -5\n",
                "content-length: 0x5\n",
                "content-length: 5 5\n",
                "content-length: five\n",
                "content-length: 5.0\n",
            ],
            MALFORMED,
            "http2_stream",
        ),
        bad("empty", &["content-length: \n"], "3:400 bad_framing, 3:NO_ERROR", "bad_length"),
        bad(
            "more than 64 bits hold",
            &["content-length: 18446744073709551616\n", "content-length: 184467440737095516210\n"],
            MALFORMED,
            "http2_stream",
        ),
        bad(
            "a coding beside it",
            &[
                "content-length: 5\ntransfer-encoding: chunked\n",
                "transfer-encoding: chunked\ncontent-length: 5\n",
            ],
            MALFORMED,
            "http2_stream",
        ),
        Row::new(
            "padding is no part of it",
            "RFC 9113, 6.1",
            [post(five), frame(DATA, END_STREAM | PADDED, 3, b"\x04hello\0\0\0\0")].concat(),
            "3:200",
        )
        .saw(seen(five, "hello")),
        Row::new(
            "padding longer than its frame",
            "RFC 9113, 6.1",
            [post(five), frame(DATA, END_STREAM | PADDED, 3, b"\x09hello")].concat(),
            GONE,
        )
        .counted(PROTOCOL)
        .late(seen(five, "")),
    ]
}

pub(crate) fn trailers() -> Vec<Row> {
    let chunked = "transfer-encoding: chunked\n";
    let with = |lines: &str, flags: u8| {
        [post(""), frame(DATA, 0, 3, b"hello"), frame(HEADERS, flags, 3, &block(lines))].concat()
    };
    let bad = |name, lines: &str, flags, outcome: &str, reason| {
        Row::new(name, "RFC 9113, 8.1", with(lines, flags), outcome)
            .counted(reason)
            .late(seen(chunked, "5\nhello\n"))
    };
    let good = |name, lines: &str, kept: &str| {
        Row::new(name, "RFC 9110, 6.5.1", with(lines, WHOLE), "3:200")
            .saw(seen(chunked, "5\nhello\n0\n") + kept)
    };
    vec![
        good("a trailer is passed on", "x-sum: 1\n", "x-sum: 1\n\n"),
        good("none of the framing", "content-length: 9\ntrailer: x\nx-sum: 1\n", "x-sum: 1\n\n"),
        good("none of the routing", "host: b.test\n", "\n"),
        good(
            "none of identity",
            "authorization: x\ncookie: a=b\nx-forwarded-for: ::1\nx_real_ip: ::1\nx-yett-consumer: admin\n",
            "\n",
        ),
        bad("that do not end the stream", "x-sum: 1\n", END_HEADERS, MALFORMED, "http2_stream"),
        bad("a field of one connection", "connection: close\n", WHOLE, MALFORMED, "http2_stream"),
        bad("a coding", "transfer-encoding: chunked\n", WHOLE, MALFORMED, "http2_stream"),
        // RFC 9113, 8.1 has it malformed; `h2` drops it, and nobody gets to see it.
        good("a pseudo-header goes no further", ":path: /b\n", "\n"),
        bad("capital letters", "X-Sum: 1\n", WHOLE, GONE, PROTOCOL),
        Row::new(
            "in a body that is too short",
            CLAUSE,
            [
                post("content-length: 5\n"),
                frame(DATA, 0, 3, b"hell"),
                frame(HEADERS, WHOLE, 3, &block("x-sum: 1\n")),
            ]
            .concat(),
            MALFORMED,
        )
        .counted("http2_stream")
        .late(seen("content-length: 5\n", "hell")),
    ]
}
