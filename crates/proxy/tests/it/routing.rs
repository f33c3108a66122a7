use crate::it::kit::{brief, fetch, first_lines, header, say};
use testkit::gateway::BACKEND;
use testkit::{Backend, TestGateway};

fn gateway() -> TestGateway {
    let gateway = TestGateway::new(&format!(
        "version: 1
listeners: {{ public: {{ bind: '127.0.0.1:8080' }}, other: {{ bind: '127.0.0.1:8081' }} }}
upstreams: {{ echo: {{ targets: ['{BACKEND}'] }} }}
apis:
  orders:
    path: /orders
    upstream: echo
    public: a test
    routes:
      - GET /{{id}}: {{ name: read }}
      - PUT,DELETE /{{id}}: {{ name: write }}
      - GET /special: {{ name: special }}
      - {{ name: v2, methods: [GET], path: '/{{id}}', headers: {{ x-version: '2' }} }}
      - {{ name: draft, methods: [GET], path: '/{{id}}', query: {{ state: {{ regex: 'dra.t' }} }} }}
  hosts:
    hosts: ['*.example.com', exact.example.com]
    upstream: echo
    public: a test
    routes: [GET /h]
  exact:
    hosts: [api.example.com]
    upstream: echo
    public: a test
    routes: [GET /h]
  second:
    listeners: [other]
    path: /second
    upstream: echo
    public: a test
"
    ));
    gateway.put(BACKEND, Backend::answer("HTTP/1.1 200 OK\ncontent-length: 2\n\nok"));
    gateway
}

/// Which of the routes counted the only request, or the answer if there was none.
async fn routed(request: &str) -> String {
    let gateway = gateway();
    let answer = brief(&say(&gateway, request).await);
    let text = gateway.metrics.encode();
    let line = text.lines().find(|line| {
        line.starts_with("yett_requests_total") && line.contains("2xx") && line.ends_with(" 1")
    });
    let name = line.and_then(|line| line.split_once("route=\"")?.1.split_once('"'));
    name.map_or(answer, |(name, _)| name.to_owned())
}

async fn check(method: &str, target: &str, headers: &str, expected: &str) {
    let host = if headers.contains("host:") { "" } else { "host: a.test\n" };
    let request = format!("{method} {target} HTTP/1.1\n{host}{headers}\n");
    assert_eq!(routed(&request).await, expected, "{request}");
}

#[tokio::test(start_paused = true)]
async fn the_most_specific_route_takes_a_request() {
    check("GET", "/orders/1", "", "read").await;
    check("DELETE", "/orders/1", "", "write").await;
    check("GET", "/orders/special", "", "special").await;
    check("PUT", "/orders/special", "", "write").await;
    check("GET", "/orders/1", "x-version: 2\n", "v2").await;
    check("GET", "/orders/1", "x-version: 3\n", "read").await;
    check("GET", "/orders/1", "x-version: 3\nx-version: 2\n", "v2").await;
    check("GET", "/orders/1?state=draft", "", "draft").await;
    check("GET", "/orders/1?state=%64raft", "", "draft").await;
    check("GET", "/orders/1?state=drafts", "", "read").await;
}

#[tokio::test(start_paused = true)]
async fn what_no_route_matches_is_not_found() {
    check("GET", "/", "", "404 no_route").await;
    check("GET", "/orders", "", "404 no_route").await;
    check("GET", "/orders/", "", "404 no_route").await;
    check("GET", "/orders/1/2", "", "404 no_route").await;
    check("GET", "/ordersx/1", "", "404 no_route").await;
    check("GET", "/second", "", "404 no_route").await;
}

#[tokio::test(start_paused = true)]
async fn a_method_that_no_route_has_is_told_those_that_would_do() {
    let gateway = gateway();
    let answer = say(&gateway, "POST /orders/1 HTTP/1.1\nhost: a.test\n\n").await;
    assert_eq!(brief(&answer), "405 method_not_allowed");
    assert_eq!(header(&answer, "allow"), Some("GET, HEAD, PUT, DELETE"), "{answer}");
    let answer = say(&gateway, "OPTIONS /orders/1 HTTP/1.1\nhost: a.test\n\n").await;
    assert_eq!(brief(&answer), "405 method_not_allowed");
    let answer = say(&gateway, "get /orders/1 HTTP/1.1\nhost: a.test\n\n").await;
    assert_eq!(brief(&answer), "405 method_not_allowed");
    assert!(gateway.seen().is_empty());
}

#[tokio::test(start_paused = true)]
async fn get_answers_head_without_a_body() {
    let gateway = gateway();
    let answer = say(&gateway, "HEAD /orders/1 HTTP/1.1\nhost: a.test\n\n").await;
    assert_eq!(answer, "HTTP/1.1 200 OK\ncontent-length: 2\n\n");
    assert_eq!(first_lines(&gateway), ["HEAD /orders/1 HTTP/1.1"]);
}

#[tokio::test(start_paused = true)]
async fn hosts_are_exact_before_wildcards() {
    check("GET", "/h", "host: api.example.com\n", "GET /h").await;
    for (host, api) in [
        ("api.example.com", "exact"),
        ("www.example.com", "hosts"),
        ("a.b.example.com", "hosts"),
        ("exact.example.com", "hosts"),
    ] {
        let gateway = gateway();
        say(&gateway, &format!("GET /h HTTP/1.1\nhost: {host}\n\n")).await;
        let series =
            format!("yett_requests_total{{api=\"{api}\",route=\"GET /h\",status=\"2xx\"}}");
        assert!((gateway.metric(&series) - 1.0).abs() < 0.1, "{host}");
    }
    check("GET", "/h", "host: example.com\n", "404 no_route").await;
    check("GET", "/h", "host: badexample.com\n", "404 no_route").await;
    check("GET", "/h", "host: example.com.evil.test\n", "404 no_route").await;
}

#[tokio::test(start_paused = true)]
async fn an_api_is_served_on_its_listeners_only() {
    let gateway = gateway();
    let mut io = gateway.connect_to("other");
    crate::it::kit::tell(&mut io, "GET /second HTTP/1.1\nhost: a.test\n\n").await;
    assert_eq!(brief(&crate::it::kit::hear(&mut io).await), "200");
    assert_eq!(brief(&fetch(&gateway, "/second").await), "404 no_route");
    let mut io = gateway.connect_to("gone");
    crate::it::kit::tell(&mut io, "GET /second HTTP/1.1\nhost: a.test\n\n").await;
    assert_eq!(brief(&crate::it::kit::hear(&mut io).await), "503 listener_gone, closed");
}
