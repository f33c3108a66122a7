//! Chunks: digits, a line end, data, a line end. And trailers.

use crate::it::hostile::http1::check;
use crate::it::hostile::recorder::CUT;
use crate::it::hostile::row::{FLOOD_GROWTH_MAX, Row, Then, head, post};
use base::caps::{
    CHUNK_EXTENSION_BYTES_MAX, CHUNK_EXTENSIONS_TOTAL, TRAILER_BYTES_MAX, TRAILERS_MAX,
};

const BAD: &str = "400 body_cut, closed";

#[test]
fn a_chunk_has_one_size() {
    check(&rows());
}

#[test]
fn trailers_frame_nothing_and_name_nobody() {
    check(&trailers());
}

fn with(body: impl AsRef<str>) -> Vec<u8> {
    post("transfer-encoding: chunked\r\n", body.as_ref())
}

/// The request as the backend sees it, up to this part of its body.
fn seen(body: &str) -> String {
    head("POST /", "", "transfer-encoding: chunked\n") + body
}

/// Bodies of which the backend sees nothing.
fn bad(name: &'static str, bodies: &[&str], reason: &'static str) -> Row {
    let cases = bodies.iter().map(with);
    Row::each(name, "RFC 9112, 7.1", cases, BAD).counted(reason).saw(seen(CUT))
}

/// Bodies of which the backend sees the first chunk.
fn late(name: &'static str, bodies: &[&str], reason: &'static str) -> Row {
    let cases = bodies.iter().map(with);
    Row::each(name, "RFC 9112, 7.1", cases, BAD).counted(reason).saw(seen("5\nhello\n") + CUT)
}

fn good(name: &'static str, bodies: &[&str], body: &str) -> Row {
    Row::each(name, "RFC 9112, 7.1", bodies.iter().map(with), "200").saw(seen(body))
}

pub(crate) fn rows() -> Vec<Row> {
    let hello = "5\nhello\n0\n\n";
    let size = "bad_chunk_size";
    vec![
        good("several", &["5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"], "5\nhello\n1\n!\n0\n\n"),
        good("sizes in either case", &["a\r\n0123456789\r\n0\r\n\r\n", "A\r\n0123456789\r\n0\r\n\r\n"], "a\n0123456789\n0\n\n"),
        good("leading zeros up to 16 digits", &["0000000000000005\r\nhello\r\n0\r\n\r\n", "05\r\nhello\r\n0000000000000000\r\n\r\n"], hello),
        bad("leading zeros beyond 16 digits", &["00000000000000005\r\nhello\r\n0\r\n\r\n"], size)
            .peers("Both take any number of zeros; we stop at 16 digits, since readers with a fixed number of digits differ from others."),
        bad("a size beyond 64 bits", &["10000000000000000\r\nhello\r\n0\r\n\r\n", "fffffffffffffffff\r\nhello\r\n0\r\n\r\n", "10000000000000005\r\nhello\r\n0\r\n\r\n"], size)
            .peers("All three refuse: a reader that computes modulo 64 bits takes the size for another."),
        Row::each(
            "a size of 64 bits",
            "RFC 9112, 8",
            ["ffffffffffffffff\r\nhello", "8000000000000000\r\nhello", "7fffffffffffffff\r\nhello"].map(with),
            BAD,
        )
        .then(Then::Ends)
        .counted("body_cut")
        .saw(seen("5\nhello\n") + CUT),
        bad("a sign", &["+5\r\nhello\r\n0\r\n\r\n", "-5\r\nhello\r\n0\r\n\r\n", "-0\r\n\r\n"], size),
        bad("a prefix", &["0x5\r\nhello\r\n0\r\n\r\n", "0X5\r\nhello\r\n0\r\n\r\n", "\\x5\r\nhello\r\n0\r\n\r\n", "$5\r\nhello\r\n0\r\n\r\n"], size)
            .peers("All three refuse: `0x5` is 5 to some libraries and the end of the body to others."),
        bad("spaces before it", &[" 5\r\nhello\r\n0\r\n\r\n", "\t5\r\nhello\r\n0\r\n\r\n"], size),
        bad("spaces behind it", &["5 \r\nhello\r\n0\r\n\r\n", "5\t\r\nhello\r\n0\r\n\r\n", "5   \r\nhello\r\n0\r\n\r\n"], size)
            .peers("Both skip them, since some servers of old pad sizes; the grammar has no place for them."),
        bad("no number", &["zz\r\nhello\r\n0\r\n\r\n", "g\r\nhello\r\n0\r\n\r\n", "\u{ff15}\r\nhello\r\n0\r\n\r\n", ".5\r\nhello\r\n0\r\n\r\n"], size),
        bad("more than a number", &["5x\r\nhello\r\n0\r\n\r\n", "5,5\r\nhello\r\n0\r\n\r\n", "5_0\r\nhello\r\n0\r\n\r\n", "5h\r\nhello\r\n0\r\n\r\n"], size),
        bad("no size", &["\r\nhello\r\n0\r\n\r\n", "\r\n5\r\nhello\r\n0\r\n\r\n", ";x\r\nhello\r\n0\r\n\r\n"], size),
        bad("LF ends the line of a size", &["5\nhello\r\n0\r\n\r\n", "5\nhello\n0\n\n"], size)
            .peers("Both take a bare LF, which RFC 9112, 2.2 allows in heads only: a reader that waits for CR LF reads another size."),
        bad("CR ends the line of a size", &["5\rhello\r\n0\r\n\r\n", "5\r\r\nhello\r\n0\r\n\r\n", "5\r0\r\n\r\n"], size),
        bad("NUL in the line of a size", &["5\0\r\nhello\r\n0\r\n\r\n", "\x005\r\nhello\r\n0\r\n\r\n"], size),
        late("no line end behind the data", &["5\r\nhello0\r\n\r\n", "5\r\nhelloXX0\r\n\r\n", "5\r\nhello\r0\r\n\r\n"], "bad_chunk_end"),
        late("LF behind the data", &["5\r\nhello\n0\r\n\r\n", "5\r\nhello\n\n0\r\n\r\n"], "bad_chunk_end")
            .peers("Both take a bare LF here too: a reader that skips two bytes loses the first digit of the next size."),
        late("more data than the size says", &["5\r\nhello, world\r\n0\r\n\r\n"], "bad_chunk_end"),
        late("a second size that is none", &["5\r\nhello\r\n-1\r\n", "5\r\nhello\r\n\r\n0\r\n\r\n", "5\r\nhello\r\n 0\r\n\r\n"], size),
        Row::new("less data than the size says", "RFC 9112, 7.1", with("7\r\nhello\r\n0\r\n\r\n"), BAD)
            .counted("bad_chunk_end")
            .saw(seen("7\nhello\n\n") + CUT),
        good("extensions are dropped", &["5;x\r\nhello\r\n0\r\n\r\n", "5;x=y\r\nhello\r\n0;z\r\n\r\n", "5;x=\"y;\\\" \"\r\nhello\r\n0\r\n\r\n", "5; x = y ; z\r\nhello\r\n0\r\n\r\n"], hello),
        bad("a space before an extension", &["5 ;x\r\nhello\r\n0\r\n\r\n", "5\t;x=y\r\nhello\r\n0\r\n\r\n"], size),
        bad("extensions that are malformed", &["5;\r\nhello\r\n0\r\n\r\n", "5;=y\r\nhello\r\n0\r\n\r\n", "5;x=\r\nhello\r\n0\r\n\r\n", "5;x=\"y\r\nhello\r\n0\r\n\r\n", "5;x y\r\nhello\r\n0\r\n\r\n"], "bad_chunk_extension"),
        bad("a line end hidden in an extension", &["5;x\nhello\r\n0\r\n\r\n", "5;x=\"\n\"\r\nhello\r\n0\r\n\r\n", "5;\nhello\r\n0\r\n\r\n", "5;x\rhello\r\n0\r\n\r\n"], "bad_chunk_extension")
            .peers("Both skip an extension up to the LF; a reader that skips it up to CR LF takes the data for a part of it."),
        bad("control characters in an extension", &["5;x=\"\0\"\r\nhello\r\n0\r\n\r\n", "5;x\x0b\r\nhello\r\n0\r\n\r\n", "5;x=\x7f\r\nhello\r\n0\r\n\r\n"], "bad_chunk_extension"),
        bad("a long extension", &[&format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(CHUNK_EXTENSION_BYTES_MAX))], "extensions_too_large"),
        bad("an extension without end", &[&format!("5;{}", "x".repeat(1 << 20))], "extensions_too_large")
            .grows(FLOOD_GROWTH_MAX),
        extension_flood(),
        good("a thousand chunks of one byte", &[&("1\r\nx\r\n".repeat(1_000) + "0\r\n\r\n")], &("1\nx\n".repeat(1_000) + "0\n\n"))
            .grows(FLOOD_GROWTH_MAX),
        good("a request within a chunk", &["29\r\nGET /smuggled HTTP/1.1\r\nhost: a.test\r\nx: \r\n0\r\n\r\n"], "29\nGET /smuggled HTTP/1.1\nhost: a.test\nx: \n0\n\n"),
    ]
}

/// Each extension is short, all of them are not.
fn extension_flood() -> Row {
    let extension = format!(";{}", "x".repeat(199));
    let before = CHUNK_EXTENSIONS_TOTAL / extension.len();
    let body = format!("1{extension}\r\n!\r\n").repeat(before + 1) + "0\r\n\r\n";
    Row::new("many extensions", "RFC 9112, 7.1.1", with(body), BAD)
        .counted("extensions_too_large")
        .saw(seen(&"1\n!\n".repeat(before)) + CUT)
}

pub(crate) fn trailers() -> Vec<Row> {
    let with = |trailers: &str| with(format!("5\r\nhello\r\n0\r\n{trailers}"));
    let bad = |name, trailers: &[&str], reason| {
        Row::each(name, "RFC 9112, 7.1.2", trailers.iter().map(|t| with(t)), BAD)
            .counted(reason)
            .saw(seen("5\nhello\n") + CUT)
    };
    let good = |name, clause, trailers: &str, kept: &str| {
        Row::new(name, clause, with(trailers), "200").saw(seen("5\nhello\n0\n") + kept)
    };
    let many =
        |count: usize| (0..count).map(|n| format!("x-{n}: {n}\r\n")).collect::<String>() + "\r\n";
    vec![
        good("a trailer is passed on", "RFC 9110, 6.5", "x-sum: 1\r\n\r\n", "x-sum: 1\n\n"),
        good("none of the framing", "RFC 9110, 6.5.1", "content-length: 9\r\ntransfer-encoding: chunked\r\nconnection: close\r\ntrailer: x\r\nx-sum: 1\r\n\r\n", "x-sum: 1\n\n")
            .peers("Nobody lets them frame the message; we drop those that have no place among trailers, for a backend may merge them into the head."),
        good("none of the routing", "RFC 9110, 6.5.1", "host: b.test\r\n\r\n", "\n"),
        good("none of identity", "RFC 9110, 6.5.1", "authorization: Basic x\r\ncookie: a=b\r\nx-forwarded-for: ::1\r\nx_forwarded_for: ::1\r\nx-yett-consumer: admin\r\nforwarded: for=b\r\nx-real-ip: ::1\r\n\r\n", "\n"),
        good("none that controls", "RFC 9110, 6.5.1", "expect: 100-continue\r\nte: trailers\r\nrange: bytes=0-\r\ncache-control: no-store\r\nmax-forwards: 0\r\n\r\n", "\n"),
        bad("too many", &[&many(TRAILERS_MAX + 1)], "trailers_too_large"),
        bad("too large", &[&format!("x: {}\r\n\r\n", "y".repeat(TRAILER_BYTES_MAX))], "trailers_too_large"),
        bad("without end", &[&format!("x: {}", "y".repeat(1 << 20))], "trailers_too_large")
            .grows(FLOOD_GROWTH_MAX),
        bad("folded", &["x: a\r\n b: c\r\n\r\n"], "folded"),
        bad("a space before the colon", &["x : a\r\n\r\n"], "space_before_colon"),
        bad("a space before the first", &[" x: a\r\n\r\n"], "space_before_fields"),
        bad("no colon", &["bad trailer\r\n\r\n", "GET /smuggled HTTP/1.1\r\nhost: a.test\r\n\r\n"], "missing_colon|bad_field_name"),
        bad("an empty name", &[": x\r\n\r\n"], "bad_field_name"),
        bad("LF ends a line", &["x: a\n\r\n", "\n"], "bare_lf"),
        bad("CR within a line", &["x: a\rb: c\r\n\r\n", "\rx: y\r\n\r\n"], "bare_cr"),
        bad("NUL", &["x: a\0\r\n\r\n"], "nul_byte"),
        bad("a control character", &["x: a\x0b\r\n\r\n", "x: \x7f\r\n\r\n"], "bad_field_value"),
    ]
}
