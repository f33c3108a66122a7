//! What only a gateway may say of a client, and what concerns one connection only.

use crate::it::hostile::http1::check;
use crate::it::hostile::row::{Row, get, head, post};

#[test]
fn a_client_cannot_say_who_it_is_by_a_header_of_the_gateway() {
    check(&claims());
}

#[test]
fn fields_of_one_connection_go_no_further() {
    check(&hops());
}

/// Lines that a client sends, and what is left of them.
pub(crate) const CLAIMS: &[(&str, &str, &str)] = &[
    (
        "where it comes from",
        "x-forwarded-for: 127.0.0.1\r\nx-forwarded-for: ::1\r\nx-real-ip: 127.0.0.1\r\nx-client-ip: ::1\r\ntrue-client-ip: ::1\r\ncf-connecting-ip: ::1\r\nforwarded: for=127.0.0.1\r\n",
        "",
    ),
    (
        "how it came",
        "x-forwarded-proto: https\r\nx-forwarded-host: b.test\r\nx-forwarded-port: 443\r\nx-forwarded-server: b\r\nvia: 1.1 b\r\n",
        "",
    ),
    (
        "whom it asks",
        "x-host: b.test\r\nx-original-host: b.test\r\nx-original-url: /admin\r\nx-rewrite-url: /admin\r\nx-original-uri: /admin\r\n",
        "",
    ),
    (
        "by which method",
        "x-http-method: DELETE\r\nx-http-method-override: DELETE\r\nx-method-override: DELETE\r\n",
        "",
    ),
    (
        "who it is",
        "x-yett-consumer: admin\r\nx-consumer-id: 1\r\nx-consumer-username: admin\r\nx-remote-user: admin\r\nremote-user: admin\r\nx-auth-request-user: admin\r\nx-authenticated-user: admin\r\nx-webauth-user: admin\r\n",
        "",
    ),
    (
        "who it is, with underscores",
        "x_yett_consumer: admin\r\nx-yett_consumer: admin\r\nx_forwarded_for: ::1\r\nX_Real_IP: ::1\r\nremote_user: admin\r\n",
        "",
    ),
    ("in any case", "X-YETT-CONSUMER: admin\r\nX-ForWarded-For: ::1\r\nFORWARDED: for=::1\r\n", ""),
    ("the id of its request", "x-request-id: not ours!\r\nx-request-id: !\r\n", ""),
    ("a trace that is none", "traceparent: not a trace!\r\n", ""),
    (
        "what only looks like it stays",
        "x-forwarded: 1\r\nx-forward-for: 2\r\nyett-consumer: 3\r\n",
        "x-forwarded: 1\nx-forward-for: 2\nyett-consumer: 3\n",
    ),
];

pub(crate) fn claims() -> Vec<Row> {
    let row = |(name, lines, kept): &(&'static str, &str, &str)| {
        Row::new(name, "RFC 9110, 7.6", get(lines), "200").saw(head("GET /", kept, ""))
    };
    CLAIMS.iter().map(row).collect()
}

pub(crate) fn hops() -> Vec<Row> {
    let clause = "RFC 9110, 7.6.1";
    let row = |name, lines: &str, kept: &str| {
        Row::new(name, clause, get(lines), "200").saw(head("GET /", kept, ""))
    };
    let body = |name, lines: &str, kept: &str| {
        Row::new(name, clause, post(&format!("{lines}content-length: 5\r\n"), "hello"), "200")
            .saw(head("POST /", kept, "content-length: 5\n") + "hello")
    };
    vec![
        row(
            "those that are known",
            "connection: keep-alive\r\nkeep-alive: timeout=5\r\nproxy-connection: keep-alive\r\nproxy-authorization: Basic x\r\nproxy-authenticate: x\r\nx: y\r\n",
            "x: y\n",
        ),
        row(
            "those that `Connection` names",
            "connection: x-a, X-B\r\nx-a: 1\r\nx-b: 2\r\nx-c: 3\r\n",
            "x-c: 3\n",
        ),
        row(
            "those that a second `Connection` names",
            "connection: x-a\r\nx-a: 1\r\nconnection: x-b\r\nx-b: 2\r\n",
            "",
        ),
        row(
            "a list with empty members",
            "connection: ,, x-a ,\r\nx-a: 1\r\nx-b: 2\r\n",
            "x-b: 2\n",
        ),
        row("`Connection` cannot name Host", "connection: host\r\n", ""),
        row(
            "`Connection` cannot name what the gateway adds",
            "connection: x-forwarded-for, x-request-id, x-forwarded-proto\r\n",
            "",
        ),
        body("`Connection` cannot name the length", "connection: content-length\r\n", ""),
        body("`Connection` cannot name the coding", "connection: transfer-encoding\r\n", ""),
        row("options that are none", "connection: (, /, x y, \"\r\nx-a: 1\r\n", "x-a: 1\n"),
        row("`TE` but for trailers", "te: gzip, deflate;q=0.5\r\n", ""),
        Row::new(
            "`TE: trailers` is said anew",
            "RFC 9110, 10.1.4",
            get("te: gzip, trailers\r\nconnection: te\r\n"),
            "200",
        )
        .saw(head("GET /", "te: trailers\n", "connection: te\n")),
        Row::each(
            "`close` closes",
            "RFC 9112, 9.6",
            ["close", "Close", "keep-alive, close", "x-a,close", "close, keep-alive"]
                .map(|o| get(&format!("connection: {o}\r\n"))),
            "200, closed",
        )
        .saw(head("GET /", "", "")),
    ]
}
