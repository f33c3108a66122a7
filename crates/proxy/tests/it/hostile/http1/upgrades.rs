//! Other protocols, which the gateway does not speak, and expectations.

use crate::it::hostile::http1::check;
use crate::it::hostile::row::{Row, Then, get, head, post};

#[test]
fn a_wish_for_another_protocol_ends_the_connection() {
    check(&rows());
}

#[test]
fn only_100_continue_can_be_expected() {
    check(&expectations());
}

const WEBSOCKET: &str =
    "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n";

pub(crate) fn rows() -> Vec<Row> {
    let clause = "RFC 9110, 7.8";
    let kept = head("GET /", "sec-websocket-version: 13\n", "");
    vec![
        Row::new("bytes after it, ahead of the answer", "RFC 9931, 3.1", get(WEBSOCKET), "400 bad_request, closed")
            .counted("bytes_after_upgrade")
            .uncut()
            .peers("nginx upgrades nothing here and takes the bytes for the next request; meant for another protocol, they are a smuggled one."),
        Row::new("nothing after it", clause, get(WEBSOCKET), "200, closed")
            .then(Then::Waits)
            .saw(kept),
        Row::new("bytes after it, one by one", "RFC 9931, 3.1", get(WEBSOCKET), "200, closed")
            .then(Then::Ends)
            .saw(head("GET /", "sec-websocket-version: 13\n", "")),
        Row::each(
            "to HTTP/2",
            clause,
            [
                "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
                "Connection: HTTP2-Settings\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
            ]
            .map(get),
            "200, closed",
        )
        .then(Then::Waits)
        .saw(head("GET /", "", ""))
        .peers("HAProxy passes the wish on: if the backend grants it, frames pass that nobody looks into (\"h2c smuggling\")."),
        Row::new("with a body", clause, post("connection: upgrade\r\nupgrade: h2c\r\ncontent-length: 5\r\n", "hello"), "200, closed")
            .then(Then::Waits)
            .saw(head("POST /", "", "content-length: 5\n") + "hello"),
        Row::new("not named by `Connection`", clause, get("upgrade: websocket\r\n"), "200")
            .saw(head("GET /", "", "")),
        Row::new("named by `Connection`, but absent", clause, get("connection: upgrade\r\n"), "200")
            .saw(head("GET /", "", "")),
        Row::new("in HTTP/1.0", clause, format!("GET / HTTP/1.0\r\nhost: a.test\r\n{WEBSOCKET}\r\n"), "200, closed")
            .saw(head("GET /", "sec-websocket-version: 13\n", "")),
    ]
}

pub(crate) fn expectations() -> Vec<Row> {
    let clause = "RFC 9110, 10.1.1";
    let body = "content-length: 5\r\n";
    let bad = |name, lines: &[&str]| {
        let cases = lines.iter().map(|line| post(&format!("{line}{body}"), "hello"));
        Row::each(name, clause, cases, "417 expectation_failed, closed")
            .counted("expectation_failed")
    };
    vec![
        bad(
            "something else",
            &[
                "expect: a-miracle\r\n",
                "expect: 200-ok\r\n",
                "expect: 100-continue; x\r\n",
                "expect: 100 continue\r\n",
                "expect: \"100-continue\"\r\n",
            ],
        ),
        bad(
            "a list",
            &[
                "expect: 100-continue, 100-continue\r\n",
                "expect: 100-continue, x\r\n",
                "expect: , 100-continue\r\n",
            ],
        ),
        bad("empty", &["expect:\r\n", "expect: \t\r\n"]),
        bad("two, one of them something else", &["expect: 100-continue\r\nexpect: x\r\n"]),
        Row::new(
            "100-continue, and the body at once",
            clause,
            post(&format!("Expect: 100-Continue\r\n{body}"), "hello"),
            "200",
        )
        .saw(head("POST /", "expect: 100-Continue\n", "content-length: 5\n") + "hello"),
        Row::new("100-continue without a body", clause, get("expect: 100-continue\r\n"), "200")
            .saw(head("GET /", "", "")),
        Row::new(
            "100-continue in HTTP/1.0",
            clause,
            format!("POST / HTTP/1.0\r\nhost: a.test\r\nexpect: 100-continue\r\n{body}\r\nhello"),
            "200, closed",
        )
        .saw(head("POST /", "", "content-length: 5\n") + "hello"),
    ]
}
