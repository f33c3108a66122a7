//! Content-Length: one number of digits, and nothing beside it.

use crate::it::hostile::http1::check;
use crate::it::hostile::row::{Row, get, head, hello, post};

const CHUNKS: &str = "5\r\nhello\r\n0\r\n\r\n";
const FRAMING: &str = "400 bad_framing, closed";

#[test]
fn a_length_beside_a_coding_is_refused() {
    check(&beside());
}

#[test]
fn a_length_is_one_number() {
    check(&alone());
}

pub(crate) fn beside() -> Vec<Row> {
    let row = |name, lines: &str| {
        Row::new(name, "RFC 9112, 6.3", post(lines, CHUNKS), FRAMING).counted("length_and_coding")
    };
    let (length, coding) = ("content-length: 5\r\n", "transfer-encoding: chunked\r\n");
    vec![
        row("the length first", &format!("{length}{coding}"))
            .peers("nginx refuses as we do; HAProxy passes the chunks on without the length and closes, which RFC 9112 allows too."),
        row("the coding first", &format!("{coding}{length}")),
        row("other fields between them", &format!("{length}x: y\r\naccept: */*\r\n{coding}")),
        row("a length of zero", &format!("content-length: 0\r\n{coding}")),
        row("a length that fits the chunks", &format!("content-length: 15\r\n{coding}")),
        row("capital letters", "CONTENT-LENGTH: 5\r\nTRANSFER-ENCODING: CHUNKED\r\n"),
        row("mixed case", "cOnTeNt-LeNgTh: 5\r\nTransfer-encoding: chunKed\r\n"),
        row("spaces and tabs around the values", "content-length: \t5 \r\ntransfer-encoding:\tchunked\t\r\n"),
        row("no space after the colon", "content-length:5\r\ntransfer-encoding:chunked\r\n"),
        row("the length twice", &format!("{length}{coding}{length}")),
        row("the coding twice", &format!("{coding}{length}{coding}")),
        row("a length that is no number", &format!("content-length: x\r\n{coding}")),
        row("a coding that is not known", &format!("{length}transfer-encoding: xchunked\r\n")),
        row("the coding `identity`", &format!("{length}transfer-encoding: identity\r\n")),
        row("an empty coding", &format!("{length}transfer-encoding:\r\n")),
        row("an empty length", &format!("content-length:\r\n{coding}")),
        Row::new(
            "in HTTP/1.0",
            "RFC 9112, 6.1",
            format!("POST / HTTP/1.0\r\nhost: a.test\r\n{length}{coding}\r\n{CHUNKS}"),
            FRAMING,
        )
        .counted("length_and_coding"),
        Row::new("with a `GET`", "RFC 9112, 6.3", get(&format!("{length}{coding}")), FRAMING)
            .counted("length_and_coding"),
    ]
}

pub(crate) fn alone() -> Vec<Row> {
    let several = |name, lines: &str| {
        Row::new(name, "RFC 9112, 6.3", post(lines, "hello"), FRAMING).counted("several_lengths")
    };
    let bad = |name, values: &[&str]| {
        let cases =
            values.iter().map(|value| post(&format!("content-length: {value}\r\n"), "hello"));
        Row::each(name, "RFC 9110, 8.6", cases, FRAMING).counted("bad_length")
    };
    let good = |name, line: &str| {
        Row::new(name, "RFC 9110, 8.6", post(line, "hello"), "200").saw(hello(""))
    };
    vec![
        several("two, different", "content-length: 5\r\ncontent-length: 6\r\n"),
        several("two, the larger first", "content-length: 6\r\ncontent-length: 5\r\n"),
        several("two, equal", "content-length: 5\r\ncontent-length: 5\r\n"),
        several("two, in different case", "content-length: 5\r\nCONTENT-LENGTH: 0\r\n"),
        several("two, far apart", "content-length: 5\r\nx: y\r\nx: z\r\ncontent-length: 0\r\n"),
        several("three", "content-length: 5\r\ncontent-length: 5\r\ncontent-length: 5\r\n"),
        several("the first is no number", "content-length: x\r\ncontent-length: 5\r\n"),
        several("the second is empty", "content-length: 5\r\ncontent-length:\r\n"),
        several("a list, different", "content-length: 5, 6\r\n"),
        several("a list, equal", "content-length: 5, 5\r\n"),
        several("a list with an empty member", "content-length: 5,\r\n"),
        several("a list that begins with an empty member", "content-length: ,5\r\n"),
        bad("empty", &["", " ", "\t"]),
        bad("a sign", &["+5", "-5", "-0", "+"]),
        bad("another base", &["0x5", "0b101", "0o5", "5h", "a"]),
        bad("spaces inside", &["5 5", "1 0", "5\t5"]),
        bad("a fraction or an exponent", &["5.0", "5e0", "5.", ".5"]),
        bad("more than a number", &["5;q=1", "5a", "5;", "\"5\"", "'5'", "5_0", "five", "5 bytes"]),
        bad("digits of other scripts", &["\u{665}", "\u{ff15}"]),
        bad("one more than 64 bits hold", &["18446744073709551616"]),
        bad("far more than 64 bits hold", &["99999999999999999999999", "184467440737095516210"]),
        Row::new(
            "as much as 64 bits hold",
            "RFC 9110, 15.5.14",
            post("content-length: 18446744073709551615\r\n", "hello"),
            "413 body_too_large, closed",
        ),
        good("leading zeros", "content-length: 0000000000000000000000005\r\n"),
        good("spaces and tabs around it", "content-length: \t 5 \t\r\n"),
        good("in any case", "CONTENT-length: 5\r\n"),
        Row::new("zero", "RFC 9110, 8.6", post("content-length: 0\r\n", ""), "200").saw(head(
            "POST /",
            "",
            "content-length: 0\n",
        )),
        Row::new(
            "with a `GET`",
            "RFC 9110, 9.3.1",
            [get("content-length: 5\r\n"), b"hello".to_vec()].concat(),
            "200",
        )
        .saw(head("GET /", "", "content-length: 5\n") + "hello"),
        Row::new("none", "RFC 9112, 6.3", post("", ""), "200").saw(head(
            "POST /",
            "",
            "content-length: 0\n",
        )),
        Row::new(
            "an underscore in its name",
            "RFC 9110, 5.1",
            post("content_length: 5\r\n", ""),
            "200",
        )
        .saw(head("POST /", "content_length: 5\n", "content-length: 0\n")),
    ]
}
