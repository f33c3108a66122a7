//! Transfer-Encoding: `chunked`, and nothing beside it.

use crate::it::hostile::http1::check;
use crate::it::hostile::row::{ADDED, Row, get, head, post};

const CHUNKS: &str = "5\r\nhello\r\n0\r\n\r\n";

#[test]
fn a_coding_is_chunked_and_nothing_else() {
    check(&rows());
}

pub(crate) fn rows() -> Vec<Row> {
    let bad = |name, values: &[&str]| {
        let line = |value: &&str| post(&format!("transfer-encoding: {value}\r\n"), CHUNKS);
        Row::each(name, "RFC 9112, 6.3", values.iter().map(line), "400 bad_framing, closed")
            .counted("bad_coding")
    };
    let unknown = |name, values: &[&str]| {
        let line = |value: &&str| post(&format!("transfer-encoding: {value}\r\n"), CHUNKS);
        Row::each(name, "RFC 9112, 6.1", values.iter().map(line), "501 coding_unsupported, closed")
            .counted("unknown_coding")
    };
    let good = |name, line: &str| {
        Row::new(name, "RFC 9112, 7.1", post(line, CHUNKS), "200").saw(chunked("POST /", ""))
    };
    vec![
        good("`chunked`", "transfer-encoding: chunked\r\n"),
        good("in any case", "TRANSFER-ENCODING: ChunKeD\r\n"),
        good("spaces and tabs around it", "transfer-encoding: \t chunked \t\r\n"),
        Row::new("with a `GET`", "RFC 9112, 6.3", [get("transfer-encoding: chunked\r\n"), CHUNKS.into()].concat(), "200")
            .saw(chunked("GET /", ""))
            .peers("All three read a body; nginx gives it a length in place of the chunks."),
        bad("`identity`", &["identity", "chunked, identity", "identity, chunked, identity"])
            .peers("All three refuse a coding that RFC 9112 no longer has: whoever ignores it reads no body where another reads one."),
        bad("`chunked` is not the last", &["chunked, gzip", "chunked,gzip", "chunked, chunked, x"]),
        bad("`chunked` twice", &["chunked, chunked", "chunked,chunked", "chunked, gzip, chunked"]),
        bad("no `chunked` at all", &["gzip", "deflate", "cow", "compress, gzip"]),
        bad("almost `chunked`", &["xchunked", "chunkedx", "chunk", "chunked1", "chu nked", "ch\tunked"])
            .peers("All three refuse; a reader that looks for the word anywhere would read chunks."),
        bad("a parameter", &["chunked;q=1", "chunked; foo=bar", "chunked;"]),
        bad("quoted", &["\"chunked\"", "'chunked'", "<chunked>", "chunked\""]),
        bad("empty", &["", " ", "\t"]),
        bad("empty members of a list", &["chunked,", ",", ",,", "chunked, ,"]),
        bad("an empty member first", &[",chunked", ", chunked"]),
        bad("letters that look like it", &["chunked\u{a0}", "\u{a0}chunked", "ch\u{fc}nked", "chun\u{212a}ed"]),
        unknown("a coding before `chunked`", &["gzip, chunked", "gzip,chunked", "x-odd, deflate, Chunked"]),
        unknown("`identity` before `chunked`", &["identity, chunked"]),
        twice("twice, equal", "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n"),
        twice("twice, `identity` first", "transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n"),
        twice("twice, `identity` last", "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n")
            .peers("All three refuse: a second field that one reader honours and another ignores is the classic TE.TE trick."),
        twice("twice, in different case", "Transfer-Encoding: chunked\r\ntransfer-encoding: cow\r\n"),
        twice("twice, one empty", "transfer-encoding: chunked\r\ntransfer-encoding:\r\n"),
        Row::each(
            "in HTTP/1.0",
            "RFC 9112, 6.1",
            ["", "connection: keep-alive\r\n"].map(|line| {
                format!("POST / HTTP/1.0\r\nhost: a.test\r\n{line}transfer-encoding: chunked\r\n\r\n{CHUNKS}")
            }),
            "400 bad_framing, closed",
        )
        .counted("coding_in_http10")
        .peers("HAProxy believes the coding, though HTTP/1.0 has none: a reader of HTTP/1.0 takes the chunks for the next request."),
        Row::new("an underscore in its name", "RFC 9110, 5.1", post("transfer_encoding: chunked\r\n", ""), "200")
            .saw(head("POST /", "transfer_encoding: chunked\n", "content-length: 0\n")),
        Row::new("`TE: chunked` is no coding", "RFC 9110, 10.1.4", post("te: chunked\r\n", ""), "200")
            .saw(head("POST /", "", "content-length: 0\n")),
        Row::new("`Content-Encoding: chunked` is no coding", "RFC 9110, 8.4", post("content-encoding: chunked\r\n", ""), "200")
            .saw(head("POST /", "content-encoding: chunked\n", "content-length: 0\n")),
    ]
}

fn twice(name: &'static str, lines: &str) -> Row {
    Row::new(name, "RFC 9112, 6.3", post(lines, CHUNKS), "400 bad_framing, closed")
        .counted("bad_coding")
}

/// A request with the chunk `hello` as the backend sees it.
fn chunked(line: &str, lines: &str) -> String {
    format!(
        "{line} HTTP/1.1\nhost: a.test\n{lines}{ADDED}transfer-encoding: chunked\n\n5\nhello\n0\n\n"
    )
}
