//! Backends that go away.

use crate::it::hostile::answers::{Answer, Asked, RESET, check};

#[test]
fn a_backend_that_goes_away_is_told_from_one_that_lies() {
    check(&rows());
}

pub(crate) fn rows() -> Vec<Answer> {
    let clause = "RFC 9112, 8";
    let gone =
        |name, texts: &[&str]| Answer::each(name, clause, texts.iter().copied(), RESET).closes();
    vec![
        gone("before anything", &[""]),
        gone("in the status line", &["H", "HTTP/1.1", "HTTP/1.1 200 OK", "HTTP/1.1 200 OK\r"]),
        gone(
            "in the fields",
            &[
                "HTTP/1.1 200 OK\r\n",
                "HTTP/1.1 200 OK\r\ncontent-le",
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n",
            ],
        ),
        gone("before the last line end", &["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r"]),
        gone("before an answer to a request with a body", &[""]).asked(Asked {
            method: "POST",
            lines: "content-length: 2\n",
            body: "hi",
        }),
    ]
}
