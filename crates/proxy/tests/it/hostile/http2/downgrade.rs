//! What is one message in HTTP/2 and would be two in HTTP/1, if it were copied as it is.

use crate::it::hostile::http2::{MALFORMED, PROTOCOL, check, get, post};
use crate::it::hostile::row::{Row, head};
use crate::it::http2::frames::{DATA, END_HEADERS, END_STREAM, HEADERS, WHOLE, block, frame};

#[test]
fn one_message_stays_one() {
    check(&rows());
}

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: a.test\r\n\r\n";

fn data(text: &str) -> Vec<u8> {
    frame(DATA, END_STREAM, 3, text.as_bytes())
}

pub(crate) fn rows() -> Vec<Row> {
    let clause = "RFC 9113, 10.3";
    let seen = |framing: &str, body: &str| head("POST /", "", framing) + body;
    let text = SMUGGLED.replace("\r\n", "\n");
    let size = SMUGGLED.len();
    vec![
        Row::new(
            "a body that is a request (H2.CL)",
            clause,
            [post(&format!("content-length: {size}\n")), data(SMUGGLED)].concat(),
            "3:200",
        )
        .saw(seen(&format!("content-length: {size}\n"), &text)),
        Row::new(
            "a body that is a request, of no known length",
            clause,
            [post(""), data(SMUGGLED)].concat(),
            "3:200",
        )
        .saw(seen("transfer-encoding: chunked\n", &format!("{size:x}\n{text}\n0\n\n"))),
        Row::new(
            "a body that ends chunks (H2.TE)",
            clause,
            [post(""), data(&format!("0\r\n\r\n{SMUGGLED}"))].concat(),
            "3:200",
        )
        .saw(seen("transfer-encoding: chunked\n", &format!("{:x}\n0\n\n{text}\n0\n\n", size + 5))),
        Row::new(
            "a coding, and a body that ends chunks",
            "RFC 9113, 8.2.2",
            [post("transfer-encoding: chunked\n"), data(&format!("0\r\n\r\n{SMUGGLED}"))].concat(),
            MALFORMED,
        )
        .counted("http2_stream"),
        Row::new(
            "a length of zero, and a body (H2.0)",
            "RFC 9113, 8.1.1",
            [post("content-length: 0\n"), data(SMUGGLED)].concat(),
            MALFORMED,
        )
        .counted("http2_stream")
        .uncut(),
        Row::new(
            "a length of less than the body",
            "RFC 9113, 8.1.1",
            [post("content-length: 5\n"), data(&format!("hello{SMUGGLED}"))].concat(),
            MALFORMED,
        )
        .counted("http2_stream")
        .late(seen("content-length: 5\n", "")),
        Row::new(
            "a body with a `GET`",
            clause,
            {
                let start = ":method: GET\n:scheme: http\n:path: /\n:authority: a.test\n";
                [frame(HEADERS, END_HEADERS, 3, &block(start)), data("hello")].concat()
            },
            "3:200",
        )
        .saw(head("GET /", "", "transfer-encoding: chunked\n") + "5\nhello\n0\n\n"),
        Row::new(
            "an empty body whose head did not end the stream",
            clause,
            [post(""), data("")].concat(),
            "3:200",
        )
        .saw(seen("transfer-encoding: chunked\n", "0\n\n")),
        Row::new(
            "an underscore in place of a dash",
            "RFC 9110, 5.1",
            get("transfer_encoding: chunked\ncontent_length: 5\n"),
            "3:200",
        )
        .saw(head("GET /", "transfer_encoding: chunked\ncontent_length: 5\n", "")),
        Row::new(
            "a field that HTTP/1 puts into its first line",
            clause,
            get("http/1.1: 1\n"),
            "goaway PROTOCOL_ERROR, closed",
        )
        .counted(PROTOCOL),
        Row::new(
            "a chunk's trailers that are a request",
            clause,
            {
                let trailers =
                    frame(HEADERS, WHOLE, 3, &block("x-a: GET /smuggled HTTP/1.1\nhost: a.test\n"));
                [post(""), frame(DATA, 0, 3, b"hello"), trailers].concat()
            },
            "3:200",
        )
        .saw(seen("transfer-encoding: chunked\n", "5\nhello\n0\nx-a: GET /smuggled HTTP/1.1\n\n")),
    ]
}
