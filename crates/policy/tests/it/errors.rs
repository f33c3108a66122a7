use crate::it::kit::{Case, gateway, told};
use testkit::gateway::BACKEND;
use testkit::{Backend, TestGateway};

const fn case(policies: &'static str, request: &'static str, told: &'static str) -> Case {
    Case { path: "/*", policies, request, told, saw: "" }
}

pub(crate) const CASES: &[Case] = &[
    case(
        "[{ deny: 'true' }, { errors: { pages: { 403: { html: '<h1>{title}</h1>' } } } }]",
        "GET /a HTTP/1.1\naccept: text/html,*/*;q=0.8",
        "403\ncontent-type: text/html; charset=utf-8\nvary: accept\n\n<h1>Access is denied</h1>",
    ),
    case(
        "[{ deny: { when: 'true', reason: '<no>' } }, { errors: { pages: { access_denied: { json: { error: '{code}', status: '{status}', why: '{detail}' } } } } }]",
        "GET /a HTTP/1.1\n",
        "403\ncontent-type: application/json\nvary: accept\n\n{\"error\":\"access_denied\",\"status\":403,\"why\":\"<no>\"}",
    ),
    case(
        "[{ deny: 'true' }, { errors: { pages: { 403: { html: '<h1>' } } } }]",
        "GET /a HTTP/1.1\n",
        "403 access_denied\nvary: accept",
    ),
    case(
        "[{ deny: 'true' }, { errors: { pages: { 5xx: { text: five } } } }]",
        "GET /a HTTP/1.1\n",
        "403 access_denied",
    ),
    // The one closest to the route comes first, and `headers` has the last word.
    case(
        "[{ deny: 'true' }, { errors: { id: far, pages: { any: { text: far } } } }, { errors: { id: near, pages: { any: { text: near } } } }, { headers: { response: { remove: [vary] } } }]",
        "GET /a HTTP/1.1\naccept: text/plain",
        "403\ncontent-type: text/plain; charset=utf-8\n\nnear",
    ),
    case(
        "[{ deny: 'true' }, { errors: { pages: { any: { text: '{status}' } }, prefer: text } }]",
        "HEAD /a HTTP/1.1\n",
        "403\ncontent-type: text/plain; charset=utf-8\nvary: accept",
    ),
];

#[tokio::test(start_paused = true)]
async fn what_backends_say_stays_unless_it_is_to_be_replaced() {
    let answer = "HTTP/1.1 404 Not Found\ncontent-type: text/html\netag: \"1\"\ncontent-encoding: br\nset-cookie: a=b\ncontent-length: 4\n\nsecr";
    for (upstream, expected) in [
        (
            false,
            "404\ncontent-encoding: br\ncontent-type: text/html\netag: \"1\"\nset-cookie: a=b\n\nsecr",
        ),
        (
            true,
            "404\ncontent-type: application/json\nset-cookie: a=b\nvary: accept\n\n[404,\"upstream\"]",
        ),
    ] {
        let pages = format!(
            "[{{ errors: {{ pages: {{ 4xx: {{ json: ['{{status}}', '{{code}}'] }} }}, upstream: {upstream} }} }}]"
        );
        let (gateway, _) = gateway("/*", &pages);
        gateway.put(BACKEND, Backend::answer(answer));
        assert_eq!(told(&gateway.ask("GET / HTTP/1.1").await), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_no_route_takes_get_the_pages_of_the_gateway_with_their_id() {
    let gateway = TestGateway::new(
        "version: 1
listeners: { public: { bind: '127.0.0.1:8080' } }
policies:
  - errors: { pages: { no_route: { text: 'nothing at {request_id}' }, 4xx: { text: '{code}: {detail}' } }, prefer: text }
  - headers: { response: { set: { x-served-by: yett } } }
  - rate_limit: 1/h
apis: { test: { path: /a, public: a test, policies: [{ respond: 204 }], exempt: { errors: its own } } }
",
    );
    for _ in 0..3 {
        let mut io = gateway.connect();
        tokio::io::AsyncWriteExt::write_all(
            &mut io,
            b"GET /b HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        )
        .await
        .unwrap();
        let mut answer = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut io, &mut answer).await.unwrap();
        let id = answer.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap();
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        assert!(answer.ends_with(&format!("\r\n\r\nnothing at {id}")), "{answer}");
        assert!(answer.contains("x-served-by: yett"), "{answer}");
    }
    let bad = gateway.ask("GET /%zz HTTP/1.1").await;
    assert!(bad.contains("\n\nbad_path: "), "{bad}");
    assert!(gateway.ask("GET /a HTTP/1.1").await.starts_with("HTTP/1.1 204"));
    let limited = gateway.ask("GET /a HTTP/1.1").await;
    assert!(limited.contains("application/problem+json"), "an exemption holds: {limited}");
}

#[tokio::test(start_paused = true)]
async fn calls_of_grpc_get_their_status_and_no_page() {
    let (gateway, _) = gateway(
        "/*",
        "[{ deny: 'true' }, { errors: { pages: { any: { text: page } }, prefer: text } }]",
    );
    let answer = gateway
        .ask(
            "POST /a.B/C HTTP/1.1\ncontent-type: application/grpc\nte: trailers\ncontent-length: 0",
        )
        .await;
    assert!(answer.contains("grpc-status: 7") && !answer.contains("page"), "{answer}");
}
