//! Bytes that come when nothing should: no client gets them.

use crate::it::hostile::answers::{Answer, Asked, HEAD, Then, check};

#[test]
fn what_comes_after_an_answer_is_never_served_to_the_next_client() {
    check(&rows());
}

#[test]
fn an_answer_before_its_time_leaves_nothing_out_of_step() {
    check(&early());
}

const POISON: &str = "HTTP/1.1 200 OK\r\nx-poison: 1\r\ncontent-length: 6\r\n\r\npoison";

pub(crate) fn rows() -> Vec<Answer> {
    let clause = "RFC 9112, 9.2";
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let gets = "HTTP/1.1 200 OK\ncontent-length: 2\n\nok";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let gets_chunked = "HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n2\nok\n0\n\n";
    let later = |name, bytes: &str, gets: &str| {
        Answer::new(name, clause, bytes, gets).then(Then::Adds(POISON))
    };
    vec![
        Answer::each(
            "with the answer",
            clause,
            [format!("{ok}{POISON}"), format!("{ok}\r\n"), format!("{ok}x"), format!("{ok}\0")],
            gets,
        ),
        Answer::each(
            "with chunks",
            clause,
            [format!("{chunked}{POISON}"), format!("{chunked}0\r\n\r\n")],
            gets_chunked,
        ),
        Answer::new(
            "with 204",
            clause,
            format!("HTTP/1.1 204 No Content\r\n\r\n{POISON}"),
            "HTTP/1.1 204 No Content\n\n",
        ),
        Answer::new(
            "with an answer to `HEAD`",
            clause,
            format!("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison{POISON}"),
            "HTTP/1.1 200 OK\ncontent-length: 6\n\n",
        )
        .asked(HEAD),
        later("after the answer", ok, gets),
        later("after chunks", chunked, gets_chunked),
        later("after 304", "HTTP/1.1 304 Not Modified\r\n\r\n", "HTTP/1.1 304 Not Modified\n\n"),
        Answer::new("one byte after the answer", clause, ok, gets).then(Then::Adds("H")),
        Answer::new("the beginning of an answer after the answer", clause, ok, gets)
            .then(Then::Adds("HTTP/1.1 200 OK\r\nx-poison: ")),
    ]
}

pub(crate) fn early() -> Vec<Answer> {
    let clause = "RFC 9112, 9.3";
    let upload = Asked { method: "POST", lines: "content-length: 1000000\n", body: "hello" };
    let small = Asked { method: "POST", lines: "content-length: 2\n", body: "hi" };
    vec![
        Answer::new(
            "while the request is still coming",
            clause,
            "HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\nno",
            "HTTP/1.1 413 Payload Too Large\ncontent-length: 2\nconnection: close\n\nno<closed>",
        )
        .asked(upload)
        .at_once()
        .closes(),
        Answer::new(
            "two, while the request is still coming",
            clause,
            format!("HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\nno{POISON}"),
            "HTTP/1.1 413 Payload Too Large\ncontent-length: 2\nconnection: close\n\nno<closed>",
        )
        .asked(upload)
        .at_once()
        .closes(),
        Answer::new(
            "before the request was read",
            clause,
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            "HTTP/1.1 200 OK\ncontent-length: 2\n\nok",
        )
        .asked(small)
        .at_once()
        .closes(),
    ]
}
