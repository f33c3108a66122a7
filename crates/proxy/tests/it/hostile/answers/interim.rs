//! Informational answers: relayed, bounded, and never taken for the answer.

use crate::it::hostile::answers::{Answer, Asked, INVALID, RESET, check};
use base::caps::INFORMATIONAL_MAX;

#[test]
fn informational_answers_are_not_the_answer() {
    check(&rows());
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const HINT: &str = "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n";

pub(crate) fn rows() -> Vec<Answer> {
    let clause = "RFC 9110, 15.2";
    let ok = "HTTP/1.1 200 OK\ncontent-length: 2\n\nok";
    let hint = "HTTP/1.1 103 Early Hints\nlink: </x>\n\n";
    let told = "103, ".repeat(INFORMATIONAL_MAX);
    let waits =
        Asked { method: "POST", lines: "content-length: 2\nexpect: 100-continue\n", body: "hi" };
    vec![
        Answer::new("one", "RFC 8297, 2", format!("{HINT}{OK}"), format!("{hint}{ok}")),
        Answer::new(
            "several",
            "RFC 8297, 2",
            format!("{HINT}{HINT}{OK}"),
            format!("{hint}{hint}{ok}"),
        ),
        Answer::new(
            "with fields of the connection",
            "RFC 9110, 7.6.1",
            format!("HTTP/1.1 103 x\r\nconnection: x-a\r\nx-a: 1\r\nlink: </x>\r\n\r\n{OK}"),
            format!("{hint}{ok}"),
        ),
        Answer::new(
            "100 that nobody waits for",
            "RFC 9110, 15.2.1",
            format!("HTTP/1.1 100 Continue\r\n\r\n{OK}"),
            ok,
        ),
        Answer::new(
            "100 that a client waits for",
            "RFC 9110, 10.1.1",
            format!("HTTP/1.1 100 Continue\r\n\r\n{OK}"),
            format!("HTTP/1.1 100 Continue\n\n{ok}"),
        )
        .asked(waits),
        Answer::new(
            "as many as may be",
            clause,
            format!("{}{OK}", HINT.repeat(INFORMATIONAL_MAX)),
            format!("{}{ok}", hint.repeat(INFORMATIONAL_MAX)),
        ),
        Answer::new(
            "one more",
            clause,
            format!("{}{OK}", HINT.repeat(INFORMATIONAL_MAX + 1)),
            format!("{told}{INVALID}"),
        ),
        Answer::new("a flood", clause, HINT.repeat(5_000), format!("{told}{INVALID}")),
        Answer::new(
            "a flood of what is not passed on",
            clause,
            "HTTP/1.1 100 Continue\r\n\r\n".repeat(5_000),
            INVALID,
        ),
        Answer::each(
            "101 that nobody asked for",
            "RFC 9110, 15.2.2",
            [
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nHTTP/1.1 200 OK\r\n\r\npoison",
            ],
            INVALID,
        ),
        Answer::each(
            "with a length or a coding",
            "RFC 9112, 6.3",
            [
                "HTTP/1.1 103 x\r\ncontent-length: 5\r\n\r\nhello",
                "HTTP/1.1 103 x\r\ncontent-length: 0\r\n\r\n",
                "HTTP/1.1 100 x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            ],
            INVALID,
        ),
        Answer::new("malformed", "RFC 9110, 5.5", "HTTP/1.1 103 x\r\nx: a\0b\r\n\r\n", INVALID),
        Answer::new("and then nothing", "RFC 9112, 8", HINT, format!("103, {RESET}")).closes(),
        Answer::new(
            "and then no answer",
            "RFC 9112, 4",
            format!("{HINT}garbage\r\n\r\n"),
            format!("103, {INVALID}"),
        ),
    ]
}
