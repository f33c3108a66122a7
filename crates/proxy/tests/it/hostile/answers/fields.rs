//! Fields of answers.

use crate::it::hostile::answers::{Answer, INVALID, check};
use crate::it::hostile::row::FLOOD_GROWTH_MAX;
use base::caps::{HEADERS_MAX, UPSTREAM_HEAD_BYTES_MAX};

#[test]
fn headers_cannot_be_injected_through_an_answer() {
    check(&injected());
}

#[test]
fn what_is_meant_for_a_client_is_passed_on_and_nothing_else() {
    check(&passed());
}

#[test]
fn floods_meet_their_bounds() {
    check(&floods());
}

fn ok(lines: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{lines}content-length: 2\r\n\r\nok")
}

fn gets(lines: &str) -> String {
    format!("HTTP/1.1 200 OK\n{lines}content-length: 2\n\nok")
}

pub(crate) fn injected() -> Vec<Answer> {
    let bad = |name, clause, lines: &[&str]| {
        Answer::each(name, clause, lines.iter().map(|lines| ok(lines)), INVALID)
    };
    let controls = (0..=0x1f).chain([0x7f]).filter(|byte| *byte != b'\t');
    let controls: Vec<String> =
        controls.map(|byte| format!("x: a{}b\r\n", char::from(byte))).collect();
    let controls: Vec<&str> = controls.iter().map(String::as_str).collect();
    let value = "RFC 9110, 5.5";
    vec![
        bad(
            "a field behind a bare CR",
            value,
            &["x: a\rset-cookie: b\r\n", "x: a\r\rb: c\r\n", "x: \rset-cookie: b\r\n"],
        ),
        bad(
            "a field behind a bare LF",
            "RFC 9112, 2.2",
            &["x: a\nset-cookie: b\r\n", "x: a\n\r\n"],
        ),
        bad(
            "the end of the head behind a bare LF",
            "RFC 9112, 2.2",
            &["x: a\n\nHTTP/1.1 200 OK\r\n", "\n\n"],
        ),
        bad("NUL", value, &["x: a\0b\r\n", "x\0y: a\r\n", "\0: a\r\n"]),
        bad("any control character", value, &controls),
        bad(
            "folded",
            "RFC 9112, 5.2",
            &["x: a\r\n set-cookie: b\r\n", "x: a\r\n\tb\r\n", "x: a\r\n \r\n", "x:\r\n a\r\n"],
        ),
        bad("a space before the first field", "RFC 9112, 2.2", &[" x: a\r\n", "\tx: a\r\n"]),
        bad(
            "a space before the colon",
            "RFC 9112, 5.1",
            &["x : a\r\n", "transfer-encoding : chunked\r\n", "content-length\t: 5\r\n"],
        ),
        bad("an empty name", "RFC 9110, 5.1", &[": a\r\n", ":\r\n"]),
        bad(
            "a name that is no token",
            "RFC 9110, 5.1",
            &[
                "x y: a\r\n",
                "x(y): a\r\n",
                "x\"y: a\r\n",
                "\u{e9}: a\r\n",
                "x,y: a\r\n",
                "x@y: a\r\n",
            ],
        ),
        bad("no colon", "RFC 9112, 5", &["no colon\r\n", "x\r\n"]),
    ]
}

pub(crate) fn passed() -> Vec<Answer> {
    let row =
        |name, clause, lines: &str, kept: &str| Answer::new(name, clause, ok(lines), gets(kept));
    vec![
        row(
            "one field several times, in order",
            "RFC 9110, 5.3",
            "set-cookie: a\r\nSet-Cookie: b\r\n",
            "set-cookie: a\nset-cookie: b\n",
        ),
        row("bytes beyond ASCII", "RFC 9110, 5.5", "x: a\u{a0}b\r\n", "x: a\u{c2}\u{a0}b\n")
            .only_http1(),
        row("white space around a value", "RFC 9110, 5.5", "x: \t a b \t\r\n", "x: a b\n"),
        row(
            "encoded line ends stay encoded",
            "RFC 3986, 2.1",
            "location: /a%0d%0aset-cookie:%20b\r\n",
            "location: /a%0d%0aset-cookie:%20b\n",
        ),
        row(
            "fields of the connection stay behind",
            "RFC 9110, 7.6.1",
            "connection: keep-alive, x-hop\r\nkeep-alive: timeout=5\r\nproxy-connection: x\r\nx-hop: 1\r\nupgrade: h2c\r\nx-kept: 2\r\n",
            "x-kept: 2\n",
        ),
        row(
            "`Connection` cannot name the length",
            "RFC 9110, 7.6.1",
            "connection: content-length\r\n",
            "",
        ),
        row(
            "`close` ends the connection to the backend only",
            "RFC 9112, 9.6",
            "connection: close\r\n",
            "",
        ),
    ]
}

pub(crate) fn floods() -> Vec<Answer> {
    let many = |count: usize| (0..count).map(|n| format!("x-{n}: {n}\r\n")).collect::<String>();
    let kept = |count: usize| (0..count).map(|n| format!("x-{n}: {n}\n")).collect::<String>();
    let clause = "RFC 9110, 5.4";
    let bad =
        |name, bytes: String| Answer::new(name, clause, bytes, INVALID).grows(FLOOD_GROWTH_MAX);
    let huge = "y".repeat(1 << 20);
    vec![
        Answer::new(
            "as many fields as may be",
            clause,
            ok(&many(HEADERS_MAX - 1)),
            gets(&kept(HEADERS_MAX - 1)),
        ),
        bad("one field more", ok(&many(HEADERS_MAX))),
        bad("three thousand fields", ok(&many(3_000))),
        bad("fields without end", format!("HTTP/1.1 200 OK\r\n{}", many(100_000))),
        bad(
            "a head that is too large",
            ok(&format!("x: {}\r\n", "y".repeat(UPSTREAM_HEAD_BYTES_MAX))),
        ),
        bad("one huge value", ok(&format!("x: {huge}\r\n"))),
        bad("one huge name", ok(&format!("{huge}: x\r\n"))),
        bad("a reason without end", format!("HTTP/1.1 200 {huge}")),
    ]
}
