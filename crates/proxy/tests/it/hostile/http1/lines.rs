//! Lines end with CR LF, and a field is a name, a colon and a value on one of them.

use crate::it::hostile::http1::check;
use crate::it::hostile::row::{Row, get, head};

const BAD: &str = "400 bad_request, closed";

#[test]
fn lines_end_with_cr_lf() {
    check(&ends());
}

#[test]
fn a_field_is_a_name_a_colon_and_a_value() {
    check(&fields());
}

pub(crate) fn ends() -> Vec<Row> {
    let row = |name, bytes: &[&str], reason| {
        Row::each(name, "RFC 9112, 2.2", bytes.iter().copied(), BAD).counted(reason)
    };
    vec![
        row("LF ends the request line", &["GET / HTTP/1.1\nhost: a.test\r\n\r\n"], "bare_lf"),
        row("LF ends a field", &["GET / HTTP/1.1\r\nhost: a.test\n\r\n", "GET / HTTP/1.1\r\nx: y\nhost: a.test\r\n\r\n"], "bare_lf")
            .peers("Both take a bare LF for a line end, which RFC 9112 allows; we do not, for a reader that does not either sees one long field."),
        row("LF ends the head", &["GET / HTTP/1.1\r\nhost: a.test\r\n\n"], "bare_lf"),
        row("LF ends everything", &["GET / HTTP/1.1\nhost: a.test\n\n"], "bare_lf"),
        row("LF CR", &["GET / HTTP/1.1\n\rhost: a.test\n\r\n\r", "GET / HTTP/1.1\r\nhost: a.test\n\r\n"], "bare_lf"),
        row("LF before the request", &["\nGET / HTTP/1.1\r\nhost: a.test\r\n\r\n"], "bare_lf"),
        row("a field behind a LF in a value", &["GET / HTTP/1.1\r\nhost: a.test\r\nx: y\ncontent-length: 5\r\n\r\n"], "bare_lf"),
        row("CR ends the request line", &["GET / HTTP/1.1\rhost: a.test\r\n\r\n"], "bare_cr"),
        row("CR ends a field", &["GET / HTTP/1.1\r\nhost: a.test\rx: y\r\n\r\n"], "bare_cr"),
        row("CR ends everything", &["GET / HTTP/1.1\rhost: a.test\r\r"], "bare_cr"),
        row("CR CR LF", &["GET / HTTP/1.1\r\r\nhost: a.test\r\n\r\n", "GET / HTTP/1.1\r\nhost: a.test\r\r\n\r\n", "GET / HTTP/1.1\r\nhost: a.test\r\n\r\r\n"], "bare_cr"),
        row("a coding behind a CR in a value", &["POST / HTTP/1.1\r\nhost: a.test\r\nx: y\rtransfer-encoding: chunked\r\n\r\n0\r\n\r\n"], "bare_cr")
            .peers("All three refuse: a backend that ends lines at CR would read a coding that the proxy did not."),
        row("CR before the request", &["\rGET / HTTP/1.1\r\nhost: a.test\r\n\r\n"], "bare_cr"),
        row("CR in a name", &["GET / HTTP/1.1\r\nhost: a.test\r\nx\ry: z\r\n\r\n"], "bare_cr"),
        row("CR in the target", &["GET /a\rb HTTP/1.1\r\nhost: a.test\r\n\r\n"], "bare_cr"),
        row("three empty lines before the request", &["\r\n\r\n\r\nGET / HTTP/1.1\r\nhost: a.test\r\n\r\n"], "empty_lines"),
        Row::each(
            "one or two empty lines before the request",
            "RFC 9112, 2.2",
            ["\r\nGET / HTTP/1.1\r\nhost: a.test\r\n\r\n", "\r\n\r\nGET / HTTP/1.1\r\nhost: a.test\r\n\r\n"],
            "200",
        )
        .saw(head("GET /", "", "")),
    ]
}

pub(crate) fn fields() -> Vec<Row> {
    let row = |name, clause, lines: &[&str], reason| {
        Row::each(name, clause, lines.iter().map(|lines| get(lines)), BAD).counted(reason)
    };
    let first = |name, line: &str| {
        let bytes = format!("GET / HTTP/1.1\r\n{line}\r\nhost: a.test\r\n\r\n");
        Row::new(name, "RFC 9112, 2.2", bytes, BAD).counted("space_before_fields")
    };
    let good = |name, clause, line: &str, kept: &str| {
        Row::new(name, clause, get(line), "200").saw(head("GET /", kept, ""))
    };
    let odd_names: Vec<String> =
        "(),/;<=>?@[\\]{}\"".chars().map(|c| format!("x{c}y: z\r\n")).collect();
    let odd_names: Vec<&str> = odd_names.iter().map(String::as_str).collect();
    vec![
        row("folded", "RFC 9112, 5.2", &["x: y\r\n z\r\n", "x: y\r\n\tz\r\n", "x:\r\n y\r\n", "x: y\r\n  z: w\r\n"], "folded")
            .peers("HAProxy unfolds it, which RFC 9112 allows; nginx and we refuse."),
        row("folded over an empty line", "RFC 9112, 5.2", &["x: y\r\n \r\n", "x: y\r\n\t\r\n", "x: y\r\n  \t \r\n"], "folded"),
        row("a folded coding", "RFC 9112, 5.2", &["transfer-encoding:\r\n chunked\r\n", "x: y\r\n transfer-encoding: chunked\r\n"], "folded"),
        row("a folded length", "RFC 9112, 5.2", &["content-length:\r\n 5\r\n", "content-length: 5\r\n 0\r\n"], "folded"),
        row("a space before the colon", "RFC 9112, 5.1", &["x : y\r\n", "x\t: y\r\n", "x  : y\r\n"], "space_before_colon"),
        row("a coding with a space before the colon", "RFC 9112, 5.1", &["transfer-encoding : chunked\r\n", "transfer-encoding\t: chunked\r\n"], "space_before_colon")
            .peers("All three refuse, as RFC 9112 has it: who strips the space reads a coding, who does not reads an odd name."),
        row("a length with a space before the colon", "RFC 9112, 5.1", &["content-length : 5\r\n"], "space_before_colon"),
        first("a space before the first field", " x: y"),
        first("a tab before the first field", "\tx: y"),
        first("a space before a coding that is first", " transfer-encoding: chunked"),
        first("a line of spaces first", "  "),
        row("an empty name", "RFC 9110, 5.1", &[": x\r\n", ":\r\n", ":: x\r\n", ":path: /b\r\n"], "bad_field_name"),
        row("no colon", "RFC 9112, 5", &["x\r\n", "transfer-encoding chunked\r\n", "x y z\r\n"], "missing_colon"),
        row("a space in a name", "RFC 9110, 5.1", &["x y: z\r\n", "content length: 5\r\n", "x\ty: z\r\n"], "bad_field_name"),
        row("delimiters in a name", "RFC 9110, 5.6.2", &odd_names, "bad_field_name"),
        row("letters beyond ASCII in a name", "RFC 9110, 5.1", &["\u{e9}: x\r\n", "x\u{a0}: y\r\n", "\u{feff}content-length: 5\r\n", "content\u{2010}length: 5\r\n"], "bad_field_name"),
        good("any character of a token in a name", "RFC 9110, 5.6.2", "!#$%&'*+-.^_`|~09aZ: x\r\n", "!#$%&'*+-.^_`|~09az: x\n"),
        good("an empty value", "RFC 9110, 5.5", "x:\r\n", "x: \n"),
        good("white space around a value", "RFC 9110, 5.5", "x: \t y\t \r\n", "x: y\n"),
        good("a tab and spaces in a value", "RFC 9110, 5.5", "x: a\t b  c\r\n", "x: a\t b  c\n"),
        good("colons in a value", "RFC 9110, 5.5", "x:y:z: w\r\n", "x: y:z: w\n"),
        good("one field twice, in order", "RFC 9110, 5.3", "x: 1\r\ny: 2\r\nX: 3\r\n", "x: 1\ny: 2\nx: 3\n"),
        Row::new("bytes beyond ASCII in a value", "RFC 9110, 5.5", [b"GET / HTTP/1.1\r\nhost: a.test\r\nx: ".as_slice(), &(0x80..=0xff).collect::<Vec<u8>>(), b"\r\n\r\n"].concat(), "200")
            .saw(head("GET /", &format!("x: {}\n", ('\u{80}'..='\u{ff}').collect::<String>()), "")),
    ]
}
