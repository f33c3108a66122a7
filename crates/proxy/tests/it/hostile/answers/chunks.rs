//! Chunks that are none: the answer breaks off where its sense does, and never looks whole.

use crate::it::hostile::answers::{Answer, Asked, check};
use crate::it::hostile::row::FLOOD_GROWTH_MAX;
use base::caps::{CHUNK_EXTENSION_BYTES_MAX, TRAILER_BYTES_MAX, TRAILERS_MAX};

#[test]
fn chunks_that_are_none_break_an_answer_off() {
    check(&rows());
}

#[test]
fn trailers_frame_nothing() {
    check(&trailers());
}

const HEAD: &str = "HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n";

fn with(body: impl AsRef<str>) -> String {
    format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}", body.as_ref())
}

/// The answer breaks off behind this.
fn cut(name: &'static str, bodies: &[&str], data: &str) -> Answer {
    let cases = bodies.iter().map(with);
    Answer::each(name, "RFC 9112, 7.1", cases, format!("{HEAD}{data}<closed>"))
}

fn good(name: &'static str, bodies: &[&str], data: &str) -> Answer {
    Answer::each(name, "RFC 9112, 7.1", bodies.iter().map(with), format!("{HEAD}{data}"))
}

pub(crate) fn rows() -> Vec<Answer> {
    let hello = "5\nhello\n";
    let whole = "5\nhello\n0\n\n";
    vec![
        good(
            "as they should be",
            &["5\r\nhello\r\n0\r\n\r\n", "005\r\nhello\r\n000\r\n\r\n"],
            whole,
        ),
        good(
            "extensions are dropped",
            &["5;x=y\r\nhello\r\n0;z\r\n\r\n", "5;x=\"y\"\r\nhello\r\n0\r\n\r\n"],
            whole,
        ),
        good(
            "an answer within a chunk",
            &["27\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n0\r\n0\r\n\r\n"],
            "27\nHTTP/1.1 200 OK\ncontent-length: 2\n\n0\n0\n\n",
        ),
        cut("no number", &["zz\r\nhello\r\n0\r\n\r\n", "g\r\n", ".5\r\nhello\r\n0\r\n\r\n"], ""),
        cut(
            "a sign or a prefix",
            &["+5\r\nhello\r\n0\r\n\r\n", "-5\r\nhello\r\n0\r\n\r\n", "0x5\r\nhello\r\n0\r\n\r\n"],
            "",
        ),
        cut(
            "spaces around a size",
            &[" 5\r\nhello\r\n0\r\n\r\n", "5 \r\nhello\r\n0\r\n\r\n", "5\t\r\nhello\r\n0\r\n\r\n"],
            "",
        ),
        cut("no size", &["\r\nhello\r\n0\r\n\r\n", ";x\r\nhello\r\n0\r\n\r\n"], ""),
        cut(
            "a size beyond 64 bits",
            &["10000000000000005\r\nhello\r\n0\r\n\r\n", "fffffffffffffffff\r\nhello\r\n"],
            "",
        ),
        cut("many digits", &["00000000000000005\r\nhello\r\n0\r\n\r\n"], ""),
        cut(
            "LF or CR ends the line of a size",
            &["5\nhello\r\n0\r\n\r\n", "5\rhello\r\n0\r\n\r\n"],
            "",
        ),
        cut("NUL in the line of a size", &["5\0\r\nhello\r\n0\r\n\r\n"], ""),
        cut(
            "no line end behind the data",
            &[
                "5\r\nhello0\r\n\r\n",
                "5\r\nhelloXX0\r\n\r\n",
                "5\r\nhello\n0\r\n\r\n",
                "5\r\nhello, world\r\n0\r\n\r\n",
            ],
            hello,
        ),
        cut("a second size that is none", &["5\r\nhello\r\nzz\r\n", "5\r\nhello\r\n-1\r\n"], hello),
        cut(
            "extensions that are malformed",
            &[
                "5;=y\r\nhello\r\n0\r\n\r\n",
                "5;x=\"\r\nhello\r\n0\r\n\r\n",
                "5;x\nhello\r\n0\r\n\r\n",
            ],
            "",
        ),
        cut(
            "a long extension",
            &[&format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(CHUNK_EXTENSION_BYTES_MAX))],
            "",
        ),
        cut("an extension without end", &[&format!("5;{}", "x".repeat(1 << 20))], "")
            .grows(FLOOD_GROWTH_MAX),
        cut("the end in a size", &["", "5", "5\r", "5;x"], "").closes(),
        cut("the end in the data", &["5\r\nhel"], "3\nhel\n").closes(),
        cut("the end behind the data", &["5\r\nhello", "5\r\nhello\r", "5\r\nhello\r\n"], hello)
            .closes(),
        cut(
            "the end in the last chunk",
            &["5\r\nhello\r\n0", "5\r\nhello\r\n0\r\n", "5\r\nhello\r\n0\r\n\r"],
            hello,
        )
        .closes(),
        cut("a size of 64 bits, and the end", &["ffffffffffffffff\r\nhello"], hello).closes(),
    ]
}

pub(crate) fn trailers() -> Vec<Answer> {
    let with = |trailers: &str| with(format!("5\r\nhello\r\n0\r\n{trailers}\r\n"));
    let takes = Asked { method: "GET", lines: "te: trailers\n", body: "" };
    let good = |name, trailers: &str, kept: &str| {
        let gets = format!("{HEAD}5\nhello\n0\n{kept}\n");
        Answer::new(name, "RFC 9110, 6.5.1", with(trailers), gets).asked(takes)
    };
    let cut = |name, trailers: &[&str]| {
        let cases = trailers.iter().map(|trailers| with(trailers));
        Answer::each(name, "RFC 9112, 7.1.2", cases, format!("{HEAD}5\nhello\n<closed>"))
            .asked(takes)
    };
    let many: String = (0..=TRAILERS_MAX).map(|n| format!("x-{n}: {n}\r\n")).collect();
    vec![
        good("a trailer is passed on", "x-sum: 1\r\n", "x-sum: 1\n"),
        good(
            "none of the framing",
            "content-length: 9\r\ntransfer-encoding: chunked\r\nconnection: close\r\nx-sum: 1\r\n",
            "x-sum: 1\n",
        ),
        good(
            "none that a head must have",
            "set-cookie: a=b\r\nlocation: http://b.test/\r\ncontent-type: text/html\r\ncontent-encoding: gzip\r\ncache-control: public\r\nvary: *\r\nwww-authenticate: Basic\r\n",
            "",
        ),
        cut("too many", &[&many]),
        cut("too large", &[&format!("x: {}\r\n", "y".repeat(TRAILER_BYTES_MAX))]),
        cut("without end", &[&format!("x: {}", "y".repeat(1 << 20))]).grows(FLOOD_GROWTH_MAX),
        cut("folded", &["x: a\r\n b: c\r\n"]),
        cut("malformed", &["x : a\r\n", " x: a\r\n", "no colon\r\n", ": a\r\n"]),
        cut(
            "line ends and control characters",
            &["x: a\nb: c\r\n", "x: a\rb: c\r\n", "x: a\0\r\n", "x: a\x0b\r\n", "x: a\x7f\r\n"],
        ),
    ]
}
