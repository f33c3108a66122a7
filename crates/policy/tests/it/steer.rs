use crate::it::kit::{Case, OTHER, gateway};
use testkit::{Act, Backend, TestGateway};

const fn case(policies: &'static str, request: &'static str, told: &'static str) -> Case {
    Case { path: "/*", policies, request, told, saw: "GET /a" }
}

pub(crate) const CASES: &[Case] = &[
    case("[{ steer: two }]", "GET /a HTTP/1.1\n", "200\nserver: two"),
    case(
        "[{ steer: { when: 'request.headers[\"x-a\"] == \"1\"', to: two } }]",
        "GET /a HTTP/1.1\n",
        "200",
    ),
    case(
        "[{ steer: { match: [{ when: 'request.path == \"/b\"', to: one }], to: two } }]",
        "GET /a HTTP/1.1\n",
        "200\nserver: two",
    ),
    // It sees the path that was routed, and the backend the one that was rewritten.
    case(
        "[{ rewrite: /a }, { steer: { when: 'request.path == \"/b\"', to: two } }]",
        "GET /b HTTP/1.1\n",
        "200\nserver: two",
    ),
];

#[tokio::test(start_paused = true)]
async fn what_is_counted_and_written_down_is_the_upstream_that_was_chosen() {
    let (gateway, _) = gateway("/*", "[{ steer: two }]");
    gateway.ask("GET /a HTTP/1.1").await;
    assert_eq!(gateway.metric("yett_upstream_attempts_total{upstream=\"two\"}"), 1.0);
    assert_eq!(gateway.metric("yett_upstream_attempts_total{upstream=\"one\"}"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn retries_and_time_limits_are_those_of_the_upstream_that_was_chosen() {
    let gateway = TestGateway::new(&format!(
        "version: 1
listeners: {{ public: {{ bind: '127.0.0.1:8080' }} }}
upstreams: {{ two: {{ targets: ['{OTHER}'], timeouts: {{ first_byte: 2s }} }} }}
apis: {{ test: {{ public: a test, policies: [{{ steer: two }}] }} }}
"
    ));
    gateway.put(OTHER, Backend::acts([Act::Wait(std::time::Duration::from_secs(3)), Act::Echo]));
    let answer = gateway.ask("POST /a HTTP/1.1\ncontent-length: 0").await;
    assert!(answer.contains("first_byte_timeout"), "{answer}");
}

#[test]
fn a_route_needs_no_upstream_where_a_policy_always_chooses_one() {
    let problems = |policies: &str| {
        testkit::gateway::problems(&format!(
            "version: 1
listeners: {{ public: {{ bind: '127.0.0.1:8080' }} }}
upstreams: {{ one: {{ targets: ['{OTHER}'] }}, two: {{ targets: ['{OTHER}'] }} }}
apis: {{ test: {{ public: a test, policies: {policies} }} }}
"
        ))
    };
    assert_eq!(problems("[{ split: { to: { one: 1, two: 1 } } }]"), "");
    assert_eq!(problems("[{ split: { to: { one: 60%, two: 40% } } }]"), "");
    for policies in [
        "[{ split: { to: { one: 10%, two: 10% } } }]",
        "[{ steer: { match: [{ when: 'true', to: one }, { when: 'true', to: two }] } }]",
    ] {
        let told = problems(policies);
        assert!(told.contains("this route goes nowhere"), "{told}");
        assert!(!told.contains("nothing uses"), "{told}");
    }
    let told = problems("[{ split: { to: { one: 1, tow: 1 } } }]");
    assert!(
        told.contains("there is no upstream `tow`") && told.contains("did you mean `two`"),
        "{told}"
    );
    assert!(!told.contains("nothing uses"), "{told}");
}
