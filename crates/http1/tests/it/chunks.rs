//! Chunked bodies.

use bytes::BytesMut;
use http::HeaderMap;
use http1::{Chunks, Piece, Refusal};

/// The data and the trailers of a complete body.
fn decode(text: &[u8]) -> Result<(Vec<u8>, HeaderMap), Refusal> {
    super::chunk_checks::check(text);
    let mut chunks = Chunks::default();
    let mut buffer = BytesMut::from(text);
    let mut data = Vec::new();
    loop {
        match chunks.next(&mut buffer)? {
            Piece::Data(piece) => data.extend_from_slice(&piece),
            Piece::Trailers(trailers) => return Ok((data, trailers)),
            Piece::End => return Ok((data, HeaderMap::new())),
            Piece::More => panic!("the body does not end: {}", text.escape_ascii()),
        }
    }
}

fn accepted(text: &str, expected: &str) {
    let (data, trailers) = decode(text.as_bytes()).unwrap_or_else(|e| panic!("{e}: {text:?}"));
    assert_eq!(String::from_utf8_lossy(&data), expected);
    assert!(trailers.is_empty());
}

fn check(text: impl AsRef<[u8]>, refusal: &str) {
    let text = text.as_ref();
    let shown = text.get(..200).unwrap_or(text).escape_ascii();
    match decode(text) {
        Ok((data, _)) => panic!("{refusal} is not refused: {shown} is {data:?}"),
        Err(is) => assert_eq!(is.name(), refusal, "{shown}"),
    }
}

#[test]
fn chunks_are_joined() {
    accepted("0\r\n\r\n", "");
    accepted("5\r\nhello\r\n0\r\n\r\n", "hello");
    accepted("5\r\nhello\r\n6\r\n world\r\n000\r\n\r\n", "hello world");
    accepted("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789");
    accepted("000000000000000b\r\nhello\r\n0\r\n\r\r\n0\r\n\r\n", "hello\r\n0\r\n\r");
}

#[test]
fn sizes_are_hexadecimal_and_nothing_else() {
    for size in [
        "",
        " ",
        "x",
        "0x5",
        "+5",
        "-5",
        " 5",
        "5 ",
        "5\t",
        "5 ;a",
        "5,",
        "5h",
        "\u{ff15}",
        "5\0",
        "00000000000000005",
        "10000000000000000",
        "fffffffffffffffff",
    ] {
        check(format!("{size}\r\nhello\r\n0\r\n\r\n"), "bad_chunk_size");
    }
    check("5\nhello\r\n0\r\n\r\n", "bad_chunk_size");
    check("5\rhello\r\n0\r\n\r\n", "bad_chunk_size");
    check("5\r\r\nhello\r\n0\r\n\r\n", "bad_chunk_size");
    check("\r\n5\r\nhello\r\n0\r\n\r\n", "bad_chunk_size");
}

#[test]
fn the_largest_size_is_read() {
    let mut chunks = Chunks::default();
    let mut buffer = BytesMut::from("ffffffffffffffff\r\nhello");
    assert_eq!(chunks.next(&mut buffer), Ok(Piece::Data("hello".into())));
    assert_eq!(chunks.next(&mut buffer), Ok(Piece::More));
}

#[test]
fn data_are_followed_by_a_line_break() {
    check("5\r\nhellox\r\n0\r\n\r\n", "bad_chunk_end");
    check("5\r\nhello\n0\r\n\r\n", "bad_chunk_end");
    check("5\r\nhello\rx0\r\n\r\n", "bad_chunk_end");
    check("5\r\nhello0\r\n\r\n", "bad_chunk_end");
}

#[test]
fn extensions_are_dropped_when_they_follow_the_grammar() {
    for extension in [
        ";a",
        ";a=b",
        ";a=\"b\"",
        ";a=\"\"",
        ";a=\"b;\\\"c=d\\\\\"",
        "; a = b ;\tc",
        ";a;b;c",
        ";a=\"\u{e9}\t \"",
        ";a ;b",
    ] {
        accepted(&format!("5{extension}\r\nhello\r\n0{extension}\r\n\r\n"), "hello");
    }
    for extension in [
        ";",
        "; ",
        ";;",
        ";=b",
        ";a=",
        ";a= ",
        ";a=\"b",
        ";a=b c",
        ";a=\"b\"c",
        ";a=\"\\\"",
        ";a ",
        ";(a)",
        ";a=\u{e9}",
        ";a\u{1}",
        ";a\u{7f}",
        ";a=\"\u{1}\"",
        ";a\rb",
        ";a\nb",
        ";a\0",
    ] {
        check(format!("5{extension}\r\nhello\r\n0\r\n\r\n"), "bad_chunk_extension");
    }
    check("5;a\nhello\r\n0\r\n\r\n", "bad_chunk_extension");
}

#[test]
fn extensions_are_bounded_in_each_chunk_and_in_all() {
    let chunk = |length: usize| format!("1;{}\r\nx\r\n", "a".repeat(length - 1));
    accepted(&format!("{}0\r\n\r\n", chunk(256)), "x");
    check(format!("{}0\r\n\r\n", chunk(257)), "extensions_too_large");
    check(format!("5;{}", "a".repeat(256)), "extensions_too_large");
    accepted(&format!("{}0\r\n\r\n", chunk(256).repeat(64)), &"x".repeat(64));
    check(format!("{}0;a\r\n\r\n", chunk(256).repeat(64)), "extensions_too_large");
}

#[test]
fn trailers_are_read_by_the_rules_of_headers() {
    let (data, trailers) =
        decode(b"2\r\nok\r\n0\r\nGrpc-Status: \t0 \r\nx: \r\nX: y\r\n\r\n").unwrap();
    assert_eq!(data, b"ok");
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(trailers.get_all("x").iter().collect::<Vec<_>>(), ["", "y"]);
    for (section, refusal) in [
        (" a: b", "space_before_fields"),
        ("a: b\r\n c", "folded"),
        ("a : b", "space_before_colon"),
        ("a", "missing_colon"),
        (":a", "bad_field_name"),
        ("a: \u{1}", "bad_field_value"),
        ("a: b\nc: d", "bare_lf"),
        ("a: b\rc: d", "bare_cr"),
        ("a: \0", "nul_byte"),
    ] {
        check(format!("0\r\n{section}\r\n\r\n"), refusal);
    }
    check("0\r\na: b\n\n", "bare_lf");
    check("0\r\n\n", "bare_lf");
}

#[test]
fn trailers_are_bounded() {
    let fields = |count| format!("0\r\n{}\r\n", "a: b\r\n".repeat(count));
    assert_eq!(decode(fields(32).as_bytes()).unwrap().1.len(), 32);
    check(fields(33), "trailers_too_large");
    check(format!("0\r\na: {}", "b".repeat(8 << 10)), "trailers_too_large");
}

#[test]
fn what_follows_a_body_is_left_alone() {
    let mut chunks = Chunks::default();
    let mut buffer = BytesMut::from("1\r\nx\r\n0\r\na: b\r\n\r\nGET / HTTP/1.1\r\n");
    assert_eq!(chunks.next(&mut buffer), Ok(Piece::Data("x".into())));
    assert!(matches!(chunks.next(&mut buffer), Ok(Piece::Trailers(_))));
    assert_eq!(chunks.next(&mut buffer), Ok(Piece::End));
    assert_eq!(&buffer[..], b"GET / HTTP/1.1\r\n");
}

#[test]
fn data_are_handed_on_without_a_copy_and_before_their_chunk_is_complete() {
    let mut chunks = Chunks::default();
    let mut buffer = BytesMut::from("100\r\nfirst");
    let place = buffer.as_ptr_range();
    let Ok(Piece::Data(data)) = chunks.next(&mut buffer) else { panic!("no data") };
    assert!(data == "first" && place.contains(&data.as_ptr()));
    assert_eq!(chunks.next(&mut buffer), Ok(Piece::More));
}
