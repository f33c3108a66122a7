//! How long an answer is (RFC 9112, 6.3), and what is made of one that is not.

use crate::it::hostile::answers::{Answer, Asked, GET, HEAD, INVALID, check};

#[test]
fn an_answer_is_as_long_as_it_says_or_breaks_off() {
    check(&rows());
}

#[test]
fn lengths_that_contradict_themselves_are_refused() {
    check(&contradictions());
}

#[test]
fn what_has_no_body_has_none() {
    check(&bodiless());
}

const OK: &str = "HTTP/1.1 200 OK\r\n";
const POISON: &str = "HTTP/1.1 200 OK\r\nx-poison: 1\r\ncontent-length: 6\r\n\r\npoison";

fn ok(lines: &str, body: &str) -> String {
    format!("{OK}{lines}\r\n{body}")
}

pub(crate) fn rows() -> Vec<Answer> {
    let clause = "RFC 9112, 6.3";
    let two = "HTTP/1.1 200 OK\ncontent-length: 2\n\nok";
    let chunked = |data: &str| format!("HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n{data}");
    vec![
        Answer::new("as long as it says", clause, ok("content-length: 2\r\n", "ok"), two),
        Answer::new("leading zeros", clause, ok("content-length: 00002\r\n", "ok"), two),
        Answer::new("longer", clause, ok("content-length: 2\r\n", "ok, and more"), two),
        Answer::new(
            "longer by another answer",
            "RFC 9112, 11.1",
            ok("content-length: 2\r\n", &format!("ok{POISON}")),
            two,
        ),
        Answer::new(
            "zero and a body",
            clause,
            ok("content-length: 0\r\n", POISON),
            "HTTP/1.1 200 OK\ncontent-length: 0\n\n",
        ),
        Answer::new(
            "shorter",
            "RFC 9112, 8",
            ok("content-length: 10\r\n", "abc"),
            "HTTP/1.1 200 OK\ncontent-length: 10\n\nabc<closed>",
        )
        .closes(),
        Answer::new(
            "shorter by all",
            "RFC 9112, 8",
            ok("content-length: 10\r\n", ""),
            "HTTP/1.1 200 OK\ncontent-length: 10\n\n<closed>",
        )
        .closes(),
        Answer::new(
            "as much as 64 bits hold",
            "RFC 9112, 8",
            ok("content-length: 18446744073709551615\r\n", "abc"),
            "HTTP/1.1 200 OK\ncontent-length: 18446744073709551615\n\nabc<closed>",
        )
        .closes(),
        Answer::new(
            "until the end of the connection",
            clause,
            ok("", "hello"),
            chunked("5\nhello\n0\n\n"),
        )
        .closes(),
        Answer::new(
            "nothing until the end of the connection",
            clause,
            ok("", ""),
            chunked("0\n\n"),
        )
        .closes(),
        Answer::new("in HTTP/1.0", clause, "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", two),
        Answer::new(
            "until the end of the connection, in HTTP/1.0",
            clause,
            "HTTP/1.0 200 OK\r\n\r\nhello",
            chunked("5\nhello\n0\n\n"),
        )
        .closes(),
        Answer::new(
            "HTTP/1.0 that keeps its connection",
            "RFC 9112, 9.3",
            "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok",
            two,
        ),
    ]
}

pub(crate) fn contradictions() -> Vec<Answer> {
    let bad = |name, clause, lines: &[&str]| {
        let cases = lines.iter().map(|lines| ok(lines, "5\r\nhello\r\n0\r\n\r\n"));
        Answer::each(name, clause, cases, INVALID)
    };
    let clause = "RFC 9112, 6.3";
    vec![
        bad(
            "a length beside a coding",
            clause,
            &[
                "content-length: 5\r\ntransfer-encoding: chunked\r\n",
                "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
                "CONTENT-LENGTH: 0\r\nTransfer-Encoding: Chunked\r\n",
                "content-length: 15\r\nx: y\r\ntransfer-encoding: chunked\r\n",
            ],
        ),
        bad(
            "two lengths, different",
            clause,
            &[
                "content-length: 5\r\ncontent-length: 6\r\n",
                "content-length: 6\r\nx: y\r\nContent-Length: 5\r\n",
            ],
        ),
        bad("two lengths, equal", clause, &["content-length: 5\r\ncontent-length: 5\r\n"]),
        bad(
            "a list of lengths",
            clause,
            &["content-length: 5, 6\r\n", "content-length: 5, 5\r\n", "content-length: 5,\r\n"],
        ),
        bad(
            "no number",
            "RFC 9110, 8.6",
            &[
                "content-length: -1\r\n",
                "content-length: +5\r\n",
                "content-length: 0x5\r\n",
                "content-length: 5 5\r\n",
                "content-length: 5.0\r\n",
                "content-length: x\r\n",
                "content-length:\r\n",
                "content-length: 5;\r\n",
            ],
        ),
        bad(
            "more than 64 bits hold",
            "RFC 9110, 8.6",
            &[
                "content-length: 18446744073709551616\r\n",
                "content-length: 99999999999999999999999\r\n",
            ],
        ),
        bad(
            "a coding that is not `chunked`",
            "RFC 9112, 6.3",
            &[
                "transfer-encoding: identity\r\n",
                "transfer-encoding: gzip\r\n",
                "transfer-encoding: xchunked\r\n",
                "transfer-encoding: chunked;q=1\r\n",
                "transfer-encoding:\r\n",
                "transfer-encoding: \"chunked\"\r\n",
            ],
        ),
        bad(
            "codings before or behind `chunked`",
            "RFC 9112, 6.1",
            &[
                "transfer-encoding: gzip, chunked\r\n",
                "transfer-encoding: chunked, gzip\r\n",
                "transfer-encoding: chunked, chunked\r\n",
                "transfer-encoding: chunked,\r\n",
            ],
        ),
        bad(
            "two codings",
            clause,
            &[
                "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
                "transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n",
                "transfer-encoding: chunked\r\nTransfer-Encoding: cow\r\n",
            ],
        ),
        Answer::new(
            "a coding in HTTP/1.0",
            "RFC 9112, 6.1",
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            INVALID,
        ),
    ]
}

pub(crate) fn bodiless() -> Vec<Answer> {
    let clause = "RFC 9112, 6.3";
    let post = Asked { method: "POST", lines: "content-length: 2\n", body: "hi" };
    let none = |name, asked, answer: &str, gets: &str| {
        let cases = [answer.to_owned(), format!("{answer}{POISON}")];
        Answer::each(name, clause, cases, gets).asked(asked)
    };
    vec![
        none("204", GET, "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 204 No Content\n\n"),
        none(
            "204 and a length of zero",
            post,
            "HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 204 No Content\n\n",
        ),
        none(
            "304",
            GET,
            "HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\n\r\n",
            "HTTP/1.1 304 Not Modified\netag: \"x\"\n\n",
        ),
        none(
            "304 and the length of what would be there",
            GET,
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 6\r\n\r\n",
            "HTTP/1.1 304 Not Modified\ncontent-length: 6\n\n",
        ),
        none(
            "304 and a coding",
            GET,
            "HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 304 Not Modified\n\n",
        ),
        none("`HEAD`", HEAD, "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\n\n"),
        none(
            "`HEAD` and the length of what would be there",
            HEAD,
            "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\ncontent-length: 6\n\n",
        ),
        none(
            "`HEAD` and a coding",
            HEAD,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\n\n",
        ),
        none(
            "`HEAD` and an error",
            HEAD,
            "HTTP/1.1 404 Not Found\r\ncontent-length: 9\r\n\r\n",
            "HTTP/1.1 404 Not Found\ncontent-length: 9\n\n",
        ),
        Answer::each(
            "204 and a length or a coding",
            clause,
            [
                "HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\nhello",
                "HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            ],
            INVALID,
        ),
        Answer::new(
            "`HEAD` and a length beside a coding",
            clause,
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
            "502",
        )
        .asked(HEAD),
    ]
}
