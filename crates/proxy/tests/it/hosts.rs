use crate::it::kit::{brief, fetch, first_lines, header, say};
use testkit::TestGateway;
use testkit::gateway::BACKEND;

async fn check(request: &str, expected: &str) {
    let gateway = TestGateway::with_policies("[]");
    let answer = say(&gateway, request).await;
    assert_eq!(brief(&answer), expected, "{request}\n{answer}");
    assert_eq!(gateway.seen().is_empty(), !expected.starts_with("200"), "{request}");
}

#[tokio::test(start_paused = true)]
async fn a_request_names_exactly_one_host() {
    check("GET / HTTP/1.1\n\n", "400 bad_host, closed").await;
    check("GET / HTTP/1.0\n\n", "400 bad_host, closed").await;
    check("GET / HTTP/1.1\nhost: a\nhost: b\n\n", "400 bad_host, closed").await;
    check("GET / HTTP/1.1\nhost: a\nhost: a\n\n", "400 bad_host, closed").await;
    check("GET / HTTP/1.1\nhost: a, b\n\n", "400 bad_host, closed").await;
    check("GET / HTTP/1.1\nhost: a\n\n", "200").await;
}

#[tokio::test(start_paused = true)]
async fn what_is_no_host_is_refused() {
    let long = "a".repeat(64);
    for host in [
        "",
        "a b",
        "a/b",
        "a@b",
        "user:secret@a",
        "a..b",
        ".a",
        "[::1",
        "[nope]",
        "[::1]x",
        "a:port",
        "a:",
        "a:99999",
        "a:80:80",
        "a%2eb",
        "a?b",
        "a#b",
        "caf\u{e9}.test",
        "*.test",
        &long,
    ] {
        check(&format!("GET / HTTP/1.1\nhost: {host}\n\n"), "400 bad_host, closed").await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_absolute_target_must_agree_with_the_host() {
    check("GET http://a.test/x HTTP/1.1\nhost: b.test\n\n", "400 bad_host, closed").await;
    check("GET http://a.test:8080/x HTTP/1.1\nhost: a.test\n\n", "400 bad_host, closed").await;
    check("GET http://a.test/x HTTP/1.1\n\n", "400 bad_host, closed").await;
    check("GET http://b@a.test/x HTTP/1.1\nhost: a.test\n\n", "400 bad_host, closed").await;

    let gateway = TestGateway::with_policies("[]");
    let answer = say(&gateway, "GET http://a.test/x?y HTTP/1.1\nhost: a.test\n\n").await;
    assert_eq!(brief(&answer), "200");
    assert_eq!(first_lines(&gateway), ["GET /x?y HTTP/1.1"]);
    assert_eq!(header(&gateway.seen()[0], "host"), Some("a.test"));
}

#[tokio::test(start_paused = true)]
async fn hosts_are_routed_without_case_port_and_final_dot_and_forwarded_as_written() {
    let gateway = TestGateway::new(&format!(
        "version: 1
listeners: {{ public: {{ bind: '127.0.0.1:8080' }} }}
upstreams: {{ echo: {{ targets: ['{BACKEND}'] }} }}
apis:
  one: {{ hosts: [api.test], upstream: echo, public: a test }}
  two: {{ hosts: ['[::1]'], upstream: echo, public: a test }}
"
    ));
    gateway.put(BACKEND, testkit::Backend::echo());
    for host in ["api.test", "API.Test", "api.test:8080", "api.test.", "Api.Test.:8080", "[::1]:80"]
    {
        let answer = say(&gateway, &format!("GET / HTTP/1.1\nhost: {host}\n\n")).await;
        assert_eq!(brief(&answer), "200", "{host}");
        let seen = gateway.seen();
        assert_eq!(header(seen.last().unwrap(), "host"), Some(host));
        assert_eq!(header(seen.last().unwrap(), "x-forwarded-host"), Some(host));
    }
    assert_eq!(brief(&fetch(&gateway, "/").await), "404 no_route");
}
