use crate::it::kit::{header, say};
use telemetry::trace::{Kind, Span, Traced, Value};
use testkit::gateway::BACKEND;
use testkit::{Act, Backend, Surroundings, TestGateway};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TOKEN: &str = "0123456789abcdef";

/// A gateway with this `tracing`, and a backend that answers with what it saw.
fn traced(tracing: &str) -> TestGateway {
    gateway_of(tracing, "")
}

/// The same, with more fields of its listener.
fn gateway_of(tracing: &str, listener: &str) -> TestGateway {
    let config = format!(
        "version: 1
tracing: {tracing}
listeners: {{ public: {{ bind: '127.0.0.1:80'{listener} }} }}
upstreams: {{ echo: {{ targets: ['{BACKEND}'], retries: {{ max: 1, backoff: {{ base: 0s }} }} }} }}
apis:
  shop:
    upstream: echo
    public: a test
    routes: ['/items/{{id}}', {{ /closed: {{ policies: [{{ deny: 'true' }}] }} }}]
"
    );
    let gateway = TestGateway::within(&Surroundings::of(&config).env("TOKEN", TOKEN));
    gateway.put(BACKEND, Backend::echo());
    gateway
}

async fn get(gateway: &TestGateway, path: &str, headers: &str) -> String {
    say(gateway, &format!("GET {path} HTTP/1.1\nhost: a.test\n{headers}\n")).await
}

fn one(gateway: &TestGateway) -> Traced {
    let mut all = gateway.spans.taken();
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

fn fact(span: &Span, name: &str) -> String {
    match span.facts.iter().find(|(known, _)| *known == name) {
        Some((_, Value::Number(number))) => number.to_string(),
        Some((_, value)) => value.text().unwrap().to_owned(),
        None => String::new(),
    }
}

fn names(traced: &Traced) -> Vec<&str> {
    traced.spans.iter().map(|span| &*span.name).collect()
}

#[tokio::test(start_paused = true)]
async fn a_request_has_a_span_for_each_stage_and_attempt() {
    let gateway = traced("{ otlp: 'http://collector:4318' }");
    let parent = format!("traceparent: 00-{TRACE}-00f067aa0ba902b7-01\n");
    let seen = get(&gateway, "/items/7?secret=1", &parent).await;
    let traced = one(&gateway);
    assert_eq!(format!("{:032x}", traced.trace), TRACE);
    assert_eq!(
        names(&traced),
        ["GET /items/{id}", "admit", "route", "guard", "forward", "GET", "reply", "record"]
    );
    let root = &traced.spans[0];
    assert_eq!((root.parent, root.kind), (0x00f0_67aa_0ba9_02b7, Kind::Server));
    for (name, expected) in [
        ("http.request.method", "GET"),
        ("http.route", "/items/{id}"),
        ("url.path", "/items/7"),
        ("http.response.status_code", "200"),
        ("server.address", "a.test"),
        ("client.address", "192.0.2.7"),
        ("network.peer.address", "192.0.2.7"),
        ("yett.api", "shop"),
        ("yett.upstream", "echo"),
        ("error.type", ""),
    ] {
        assert_eq!(fact(root, name), expected, "{name}");
    }
    let (forward, attempt) = (&traced.spans[4], &traced.spans[5]);
    assert_eq!((attempt.parent, attempt.kind), (forward.id, Kind::Client));
    assert_eq!(fact(attempt, "server.port"), "80");
    assert_eq!(fact(attempt, "yett.target"), BACKEND);
    let stages = [1, 2, 3, 4, 6, 7].map(|at: usize| traced.spans[at].parent);
    assert_eq!(stages, [root.id; 6]);
    assert!(traced.spans.iter().all(|span| span.error.is_none()));
    let expected = format!("00-{TRACE}-{:016x}-01", attempt.id);
    assert!(seen.contains(&format!("traceparent: {expected}")), "{seen}");
    assert!(!format!("{traced:?}").contains("secret"), "queries hold secrets");
}

#[tokio::test(start_paused = true)]
async fn the_client_of_a_span_is_the_one_that_a_trusted_proxy_tells_of() {
    let listener = ", trusted_proxies: [192.0.2.7]";
    let gateway = gateway_of("{ otlp: 'http://collector:4318' }", listener);
    get(&gateway, "/items/7", "x-forwarded-for: 203.0.113.5\n").await;
    let traced = one(&gateway);
    let root = &traced.spans[0];
    assert_eq!(fact(root, "client.address"), "203.0.113.5");
    assert_eq!(fact(root, "network.peer.address"), "192.0.2.7");
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_is_no_failure_of_the_gateway() {
    let gateway = traced("{ otlp: 'http://collector:4318' }");
    get(&gateway, "/closed", "").await;
    let traced = one(&gateway);
    assert_eq!(names(&traced), ["GET /closed", "admit", "route", "guard", "reply", "record"]);
    let root = &traced.spans[0];
    assert_eq!((root.parent, &root.error), (0, &None));
    assert_eq!(fact(root, "error.type"), "access_denied");
    assert_eq!(traced.spans[3].error.as_deref(), Some("access_denied"));
    get(&gateway, "/nowhere", "").await;
    let traced = one(&gateway);
    assert_eq!(names(&traced), ["GET", "admit", "route", "reply", "record"]);
}

#[tokio::test(start_paused = true)]
async fn each_attempt_has_a_span_and_its_own_error() {
    let gateway = traced("{ otlp: 'http://collector:4318' }");
    gateway.put(BACKEND, Backend::acts([Act::Close]));
    get(&gateway, "/items/7", "").await;
    let traced = one(&gateway);
    let attempts: Vec<&Span> =
        traced.spans.iter().filter(|span| span.kind == Kind::Client).collect();
    assert_eq!(attempts.len(), 2);
    assert_eq!(attempts[0].error.as_deref(), Some("upstream_reset"));
    assert_eq!(fact(attempts[1], "http.request.resend_count"), "1");
    assert_ne!(attempts[0].id, attempts[1].id);
    assert_eq!(traced.spans[0].error.as_deref(), Some("upstream_reset"));
    assert_eq!(fact(&traced.spans[0], "http.response.status_code"), "502");
}

/// Which of these requests were traced, and what the backend was told.
async fn decided(tracing: &str, parent: &str) -> (bool, String) {
    let gateway = traced(tracing);
    let headers = if parent.is_empty() {
        String::new()
    } else {
        format!("traceparent: 00-{TRACE}-00f067aa0ba902b7-{parent}\n")
    };
    let seen = get(&gateway, "/items/7", &headers).await;
    let (_, body) = seen.split_once("\r\n\r\n").unwrap_or(("", &seen));
    let told = header(body, "traceparent").unwrap_or_default().to_owned();
    let flags = told.rsplit_once('-').map(|(_, flags)| flags.to_owned());
    (gateway.spans.taken().len() == 1, flags.unwrap_or_default())
}

#[tokio::test(start_paused = true)]
async fn those_before_the_gateway_decide_unless_they_are_strangers() {
    let told = |traced, flags: &str| (traced, flags.to_owned());
    let none = "{ otlp: { endpoint: 'http://c:4318', sample: none } }";
    assert_eq!(decided(none, "").await, told(false, "00"));
    assert_eq!(decided(none, "01").await, told(true, "01"));
    let all = "{ otlp: { endpoint: 'http://c:4318' } }";
    assert_eq!(decided(all, "").await, told(true, "01"));
    assert_eq!(decided(all, "00").await, told(false, "00"));
    let strangers = "{ otlp: { endpoint: 'http://c:4318', sample: none, parent: ignore } }";
    assert_eq!(decided(strangers, "01").await, told(false, "00"));
    assert_eq!(decided("{}", "01").await, told(false, "01"));
    // The end of the trace's id, as a number, is above a tenth of what it can be.
    let tenth = "{ otlp: { endpoint: 'http://c:4318', sample: 10%, parent: ignore } }";
    assert_eq!(decided(tenth, "01").await, told(false, "00"));
}

#[tokio::test(start_paused = true)]
async fn who_has_the_debug_token_sees_timings_and_is_traced() {
    let tracing =
        "{ debug_token: '${env:TOKEN}', otlp: { endpoint: 'http://c:4318', sample: none } }";
    let gateway = traced(tracing);
    let answer = get(&gateway, "/items/7", &format!("x-yett-debug: {TOKEN}\n")).await;
    let timing = header(&answer, "server-timing").unwrap_or_default();
    assert!(timing.starts_with("admit;dur=0.000, route;dur="), "{answer}");
    assert!(timing.contains("forward;dur=") && timing.contains("reply;dur="), "{answer}");
    assert!(!answer.contains(TOKEN), "the backend must not get it: {answer}");
    assert_eq!(gateway.spans.taken().len(), 1);
    for wrong in ["", "x-yett-debug: 1\n", "x-yett-debug: 0123456789abcdeX\n"] {
        let answer = get(&gateway, "/items/7", wrong).await;
        assert!(!answer.contains("server-timing"), "{answer}");
    }
    assert!(gateway.spans.taken().is_empty());
}
