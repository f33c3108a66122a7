//! Connections whose client stops sending: within a head, within a body, behind a request.

use crate::it::hostile::http1::check;
use crate::it::hostile::recorder::CUT;
use crate::it::hostile::row::{Row, Then, get, head, post};

#[test]
fn what_breaks_off_is_never_taken_for_a_whole() {
    check(&rows());
}

pub(crate) fn rows() -> Vec<Row> {
    let silent = |name, texts: &[&str]| {
        Row::each(name, "RFC 9112, 8", texts.iter().copied(), "closed").then(Then::Ends)
    };
    let cut = |name, lines: &str, bodies: &[&str], framing: &str, seen: &str| {
        let cases = bodies.iter().map(|body| post(lines, body));
        Row::each(name, "RFC 9112, 8", cases, "400 body_cut, closed")
            .then(Then::Ends)
            .counted("body_cut")
            .saw(head("POST /", "", framing) + seen + CUT)
    };
    let chunked = |name, bodies: &[&str], seen| {
        cut(name, "transfer-encoding: chunked\r\n", bodies, "transfer-encoding: chunked\n", seen)
    };
    let whole = |name, bytes: Vec<u8>, outcome: &str| {
        Row::new(name, "RFC 9112, 9.6", bytes, outcome).then(Then::Ends)
    };
    vec![
        silent("before anything", &[""]),
        silent("behind an empty line", &["\r\n", "\r"]),
        silent("in the request line", &["G", "GET /", "GET / HTTP/1.1", "GET / HTTP/1.1\r"]),
        silent(
            "in the fields",
            &[
                "GET / HTTP/1.1\r\n",
                "GET / HTTP/1.1\r\nhost: a.test",
                "GET / HTTP/1.1\r\nhost: a.test\r\n",
            ],
        ),
        silent("before the last line end", &["GET / HTTP/1.1\r\nhost: a.test\r\n\r"]),
        cut("before the body", "content-length: 5\r\n", &[""], "content-length: 5\n", ""),
        cut("in the body", "content-length: 5\r\n", &["hell"], "content-length: 5\n", "hell"),
        chunked("before the first chunk", &["", "5", "5\r", "5;x", "5;x\r"], ""),
        chunked("in a chunk", &["5\r\nhel"], "3\nhel\n"),
        chunked(
            "behind a chunk's data",
            &["5\r\nhello", "5\r\nhello\r", "5\r\nhello\r\n"],
            "5\nhello\n",
        ),
        chunked(
            "in the last chunk",
            &[
                "5\r\nhello\r\n0",
                "5\r\nhello\r\n0\r",
                "5\r\nhello\r\n0\r\n",
                "5\r\nhello\r\n0\r\n\r",
            ],
            "5\nhello\n",
        ),
        chunked(
            "in the trailers",
            &[
                "5\r\nhello\r\n0\r\nx",
                "5\r\nhello\r\n0\r\nx: y\r\n",
                "5\r\nhello\r\n0\r\nx: y\r\n\r",
            ],
            "5\nhello\n",
        ),
        whole("behind a request", get(""), "200, closed").saw(head("GET /", "", "")),
        whole(
            "behind a request with a body",
            post("content-length: 5\r\n", "hello"),
            "200, closed",
        )
        .saw(head("POST /", "", "content-length: 5\n") + "hello"),
        whole("behind two requests", get("").repeat(2), "200, 200, closed")
            .saw(head("GET /", "", ""))
            .saw(head("GET /", "", "")),
        whole(
            "in the second request",
            [get(""), b"GET /b HTTP/1.1\r\n".to_vec()].concat(),
            "200, closed",
        )
        .saw(head("GET /", "", "")),
    ]
}
