use crate::it::kit::{brief, header, say};
use testkit::gateway::BACKEND;
use testkit::{Backend, TestGateway};

/// The header lines of what the backend saw, sorted, with the request's own names in place of what
/// differs each time.
async fn seen(request: &str) -> Vec<String> {
    let gateway = TestGateway::with_policies("[]");
    let answer = say(&gateway, request).await;
    assert_eq!(brief(&answer), "200", "{answer}");
    let seen = gateway.seen().pop().unwrap();
    let mut lines: Vec<String> = seen
        .lines()
        .skip(1)
        .take_while(|line| !line.is_empty())
        .map(|line| match line.split_once(": ") {
            Some((name @ ("x-request-id" | "traceparent"), _)) => format!("{name}: …"),
            _ => line.to_owned(),
        })
        .collect();
    lines.sort();
    lines
}

const SET: [&str; 6] = [
    "host: a.test",
    "traceparent: …",
    "x-forwarded-for: 192.0.2.7",
    "x-forwarded-host: a.test",
    "x-forwarded-proto: http",
    "x-request-id: …",
];

async fn check(headers: &str, others: &[&str]) {
    let mut expected = [&SET, others].concat();
    expected.sort_unstable();
    let found = seen(&format!("GET / HTTP/1.1\nhost: a.test\n{headers}\n")).await;
    assert_eq!(found, expected, "{headers}");
}

#[tokio::test(start_paused = true)]
async fn a_backend_is_told_where_a_request_comes_from() {
    check("", &[]).await;
    check("accept: */*\nAccept: x\nX-Odd: é\n", &["accept: */*", "accept: x", "x-odd: é"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_concerns_one_connection_only_stays_there() {
    check("connection: keep-alive\nkeep-alive: timeout=5\nproxy-connection: x\n", &[]).await;
    check("Connection: X-Private , x-other\nx-private: 1\nx-other: 2\nx-kept: 3\n", &["x-kept: 3"])
        .await;
    check("connection: x-a\nconnection: x-b\nx-a: 1\nx-b: 2\n", &[]).await;
    check("proxy-authorization: Basic x\nproxy-authenticate: y\n", &[]).await;
    check("te: gzip\n", &[]).await;
    check("te: trailers, gzip\nconnection: te\n", &["connection: te", "te: trailers"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_wish_for_another_protocol_is_not_passed_on_and_ends_the_connection() {
    let gateway = TestGateway::with_policies("[]");
    let wish = "GET / HTTP/1.1\nhost: a.test\nconnection: upgrade\nupgrade: websocket\n\n";
    assert_eq!(brief(&say(&gateway, wish).await), "200, closed");
    assert!(!gateway.seen().pop().unwrap().contains("upgrade"));
    let answer = say(&gateway, &format!("{wish}GET /smuggled HTTP/1.1\nhost: a.test\n\n")).await;
    assert_eq!(brief(&answer), "400 bad_request, closed");
    assert_eq!(gateway.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_header_cannot_take_away_what_the_gateway_says() {
    let names = "host, x-forwarded-for, x-request-id, traceparent, content-length";
    check(&format!("connection: {names}\n"), &[]).await;
}

#[tokio::test(start_paused = true)]
async fn clients_cannot_say_who_they_are() {
    for name in proxy::admit::IDENTITY_HEADERS {
        if !SET.iter().any(|line| line.starts_with(name)) {
            check(&format!("{name}: 127.0.0.1\n"), &[]).await;
        }
    }
    check("x-yett-consumer: admin\nX-YETT-anything: 1\n", &[]).await;
    check("x-forwarded-for: 127.0.0.1\nx-forwarded-for: 10.0.0.1\n", &[]).await;
    check("X-Forwarded-Host: b\nX-Forwarded-Proto: https\nforwarded: for=b\n", &[]).await;
}

#[tokio::test(start_paused = true)]
async fn underscores_do_not_smuggle_an_identity_past_backends_that_fold_them() {
    check("x_forwarded_for: 127.0.0.1\nx_yett_consumer: admin\nX_Real_IP: 1\n", &[]).await;
}

#[tokio::test(start_paused = true)]
async fn one_request_id_names_the_request_on_both_sides() {
    let gateway = TestGateway::with_policies("[]");
    let answer = gateway.ask_on(&mut gateway.connect(), "GET / HTTP/1.1\nx-request-id: mine").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    let seen = gateway.seen().pop().unwrap();
    let id = header(&seen, "x-request-id").unwrap();
    assert_ne!(id, "mine");
    assert!(id.len() >= 16 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'), "{id}");

    let mut io = gateway.connect();
    crate::it::kit::tell(&mut io, "GET / HTTP/1.1\nhost: a.test\n\n").await;
    let (bytes, _) = crate::it::kit::hear_bytes(&mut io).await;
    let answer = String::from_utf8(bytes).unwrap();
    let seen = gateway.seen().pop().unwrap();
    assert_eq!(header(&answer, "x-request-id"), header(&seen, "x-request-id"));
    assert_ne!(header(&seen, "x-request-id"), Some(id));
}

#[tokio::test(start_paused = true)]
async fn a_trace_goes_on_and_a_broken_one_begins_anew() {
    let gateway = TestGateway::with_policies("[]");
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let mut last = String::new();
    for (written, follows) in [
        (format!("00-{trace}-b7ad6b7169203331-01"), true),
        (format!("00-{trace}-0000000000000000-01"), false),
        (format!("ff-{trace}-b7ad6b7169203331-01"), false),
        ("nonsense".to_owned(), false),
    ] {
        let request = format!("GET / HTTP/1.1\nhost: a.test\ntraceparent: {written}\n\n");
        assert_eq!(brief(&say(&gateway, &request).await), "200");
        let seen = gateway.seen().pop().unwrap();
        let sent = header(&seen, "traceparent").unwrap().to_owned();
        assert_eq!(sent.len(), 55, "{sent}");
        assert_eq!(sent.contains(trace), follows, "{written} → {sent}");
        assert!(sent != written && sent != last);
        last = sent;
    }
}

#[tokio::test(start_paused = true)]
async fn what_concerns_the_backends_connection_only_stays_there() {
    let gateway = TestGateway::with_policies("[]");
    gateway.put(
        BACKEND,
        Backend::answer(
            "HTTP/1.1 200 OK
connection: x-secret, keep-alive
x-secret: 1
keep-alive: timeout=5
proxy-authenticate: Basic
proxy-connection: x
upgrade: h2c
x-request-id: theirs
set-cookie: a=1
set-cookie: b=2
content-length: 2

ok",
        ),
    );
    let answer = gateway.ask("GET / HTTP/1.1").await;
    let mut lines: Vec<&str> = answer.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        ["", "HTTP/1.1 200 OK", "content-length: 2", "ok", "set-cookie: a=1", "set-cookie: b=2"]
    );
}
