//! Status lines.

use crate::it::hostile::answers::{Answer, INVALID, check};

#[test]
fn what_is_no_answer_is_none() {
    check(&rows());
}

pub(crate) fn rows() -> Vec<Answer> {
    let clause = "RFC 9112, 4";
    let line = |line: &&str| format!("{line}\r\ncontent-length: 2\r\n\r\nok");
    let bad = |name, lines: &[&str]| Answer::each(name, clause, lines.iter().map(line), INVALID);
    let good = |name, lines: &[&str], gets: &str| {
        Answer::each(
            name,
            clause,
            lines.iter().map(line),
            format!("{gets}\ncontent-length: 2\n\nok"),
        )
    };
    let ok = "HTTP/1.1 200 OK";
    vec![
        good(
            "a reason of its own is dropped",
            &[
                "HTTP/1.1 200 Fine, thank you",
                "HTTP/1.1 200 O\u{e9}K",
                "HTTP/1.1 200 \tOK",
                "HTTP/1.1 200 HTTP/1.1 500 No",
            ],
            ok,
        ),
        good("no reason", &["HTTP/1.1 200 ", "HTTP/1.1 200"], ok),
        good("a status that nobody knows", &["HTTP/1.1 299 x"], "HTTP/1.1 299 "),
        good("a status beyond 599", &["HTTP/1.1 999 x"], "HTTP/1.1 999 "),
        bad(
            "a status that is none",
            &[
                "HTTP/1.1 20 Short",
                "HTTP/1.1 2000 Long",
                "HTTP/1.1 abc x",
                "HTTP/1.1 099 x",
                "HTTP/1.1 000 x",
                "HTTP/1.1 -20 x",
                "HTTP/1.1 +200 x",
                "HTTP/1.1 2 00",
                "HTTP/1.1 0x1 x",
                "HTTP/1.1 20\u{b2} x",
                "HTTP/1.1  200 OK",
                "HTTP/1.1",
                "HTTP/1.1 ",
            ],
        ),
        bad(
            "a version that is not spoken",
            &["HTTP/2.0 200 OK", "HTTP/1.2 200 OK", "HTTP/0.9 200 OK", "HTTP/3.0 200 OK"],
        ),
        bad(
            "a version that is none",
            &[
                "HTTP/1.10 200 OK",
                "HTTP/1 200 OK",
                "HTTP/11 200 OK",
                "http/1.1 200 OK",
                "HTTPS/1.1 200 OK",
                "HTTP/1.1x 200 OK",
                "HTTP /1.1 200 OK",
            ],
        ),
        bad(
            "white space ahead",
            &[" HTTP/1.1 200 OK", "\tHTTP/1.1 200 OK", "\r\nHTTP/1.1 200 OK", "\nHTTP/1.1 200 OK"],
        ),
        bad("tabs for spaces", &["HTTP/1.1\t200 OK", "HTTP/1.1 200\tOK"]),
        bad(
            "line ends and control characters in the reason",
            &[
                "HTTP/1.1 200 O\rK",
                "HTTP/1.1 200 OK\nx: y",
                "HTTP/1.1 200 O\0K",
                "HTTP/1.1 200 O\x0bK",
                "HTTP/1.1 200 O\x7fK",
            ],
        ),
        bad("a request", &["GET / HTTP/1.1\r\nhost: a.test"]),
        Answer::each(
            "another protocol",
            clause,
            [
                "SSH-2.0-OpenSSH_9.2p1\r\n",
                "ICY 200 OK\r\n\r\n",
                "RTSP/1.0 200 OK\r\n\r\n",
                "220 a.test ESMTP\r\n",
                "+OK\r\n",
                "\x15\x03\x01\x00\x02\x02\x0a",
                "garbage\r\n\r\n",
                "\0\x01\x02\r\n\r\n",
            ],
            INVALID,
        ),
        Answer::new("HTTP/0.9", "RFC 9112, 4", "<html>hello</html>\r\n", INVALID).closes(),
        Answer::new(
            "frames of HTTP/2",
            "RFC 9113, 3.4",
            b"\0\0\0\x04\0\0\0\0\0".as_slice(),
            INVALID,
        ),
    ]
}
