use crate::it::kit::{saw, told, written};
use base::Secret;
use testkit::gateway::{BACKEND, problems};
use testkit::{Backend, TestGateway};

/// A gateway with policies of its own, an API with some, and two routes with theirs.
fn layered() -> (TestGateway, Secret) {
    let (key, hash) = policy::key::generate().unwrap();
    let gateway = TestGateway::new(&format!(
        "version: 1
listeners: {{ public: {{ bind: '127.0.0.1:8080' }} }}
upstreams: {{ one: {{ targets: ['{BACKEND}'] }} }}
policies:
  - headers: {{ request: {{ add: {{ x-chain: gateway }} }}, response: {{ add: {{ x-chain: gateway }} }} }}
  - api_key
  - rate_limit: {{ limit: 100/min, id: all }}
apis:
  test:
    upstream: one
    policies:
      - headers: {{ request: {{ add: {{ x-chain: api }} }}, response: {{ add: {{ x-chain: api }} }} }}
      - rate_limit: {{ limit: 3/min, id: api }}
    routes:
      - GET /a:
          policies:
            - headers: {{ request: {{ add: {{ x-chain: route }} }}, response: {{ add: {{ x-chain: route }} }} }}
            - deny: 'request.query.secret == \"1\"'
      - GET /open:
          public: a status page
          exempt: {{ api_key: anybody may look, rate_limit/all: it costs nothing, headers: none of ours }}
consumers: {{ alice: {{ keys: ['{}'] }} }}
",
        written(&hash)
    ));
    gateway.put(BACKEND, Backend::answer("HTTP/1.1 200 OK\ncontent-length: 2\n\nok"));
    (gateway, key)
}

#[tokio::test(start_paused = true)]
async fn policies_add_up_from_gateway_to_api_to_route() {
    let (gateway, key) = layered();
    let request = format!("GET /a?secret=2 HTTP/1.1\nx-api-key: {}", key.reveal());
    let answer = gateway.ask(&request).await;
    // Requests pass the chain from the outermost owner inwards, answers the other way round.
    let order = |text: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.strip_prefix("x-chain: ")).map(str::to_owned).collect()
    };
    assert_eq!(order(&gateway.seen()[0]), ["gateway", "api", "route"]);
    assert_eq!(order(&answer), ["route", "api", "gateway"]);
    assert!(
        answer.contains("ratelimit: \"all\";r=99") && answer.contains("ratelimit: \"api\";r=2")
    );
}

#[tokio::test(start_paused = true)]
async fn kinds_run_in_their_order_whoever_owns_them() {
    let (gateway, key) = layered();
    // Identity (of the gateway) before access (of the route) before limits (of the gateway).
    let answer = gateway.ask("GET /a?secret=1 HTTP/1.1").await;
    assert!(told(&answer).starts_with("401 credentials_missing"), "{answer}");
    let answer =
        gateway.ask(&format!("GET /a?secret=1 HTTP/1.1\nx-api-key: {}", key.reveal())).await;
    assert!(told(&answer).starts_with("403 access_denied"), "{answer}");
    assert!(!answer.contains("ratelimit"), "a stranger uses nothing up: {answer}");
    assert!(answer.contains("x-chain: gateway"), "replies pass the chain for faults too: {answer}");
}

#[tokio::test(start_paused = true)]
async fn an_exemption_takes_away_what_it_names_and_nothing_else() {
    let (gateway, _) = layered();
    for left in ["2", "1", "0"] {
        let answer = gateway.ask("GET /open HTTP/1.1").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains(&format!("ratelimit: \"api\";r={left};")), "{answer}");
        assert!(!answer.contains("\"all\"") && !answer.contains("x-chain"), "{answer}");
    }
    let answer = gateway.ask("GET /open HTTP/1.1").await;
    assert!(told(&answer).starts_with("429 rate_limited"), "{answer}");
    assert!(gateway.seen().iter().all(|seen| saw(seen) == "GET /open"));
}

#[tokio::test(start_paused = true)]
async fn two_routes_share_the_limit_of_their_api() {
    let (gateway, key) = layered();
    gateway.ask("GET /open HTTP/1.1").await;
    gateway.ask("GET /open HTTP/1.1").await;
    let request = format!("GET /a?secret=2 HTTP/1.1\nx-api-key: {}", key.reveal());
    assert!(gateway.ask(&request).await.contains("ratelimit: \"api\";r=0;"));
}

#[test]
fn two_of_one_kind_need_an_id_each() {
    let config = |policies: &str| {
        format!(
            "version: 1
listeners: {{ public: {{ bind: '127.0.0.1:8080' }} }}
upstreams: {{ one: {{ targets: ['{BACKEND}'] }} }}
apis: {{ test: {{ upstream: one, public: a test, policies: {policies} }} }}
"
        )
    };
    let twice = problems(&config("[{ rate_limit: 1/s }, { rate_limit: 10/min }]"));
    assert!(twice.contains("a second `rate_limit` here without an `id` of its own"), "{twice}");
    let same = "[{ rate_limit: { limit: 1/s, id: a } }, { rate_limit: { limit: 2/s, id: a } }]";
    assert!(problems(&config(same)).contains("error"), "{}", problems(&config(same)));
    let good = "[{ rate_limit: { limit: 1/s, id: a } }, { rate_limit: { limit: 10/min, id: b } }]";
    assert_eq!(problems(&config(good)), "");
}

/// Two routes of one API, with these policies, and the report of that.
fn report(hosts: &str, policies: &str) -> String {
    problems(&format!(
        "version: 1
listeners: {{ public: {{ bind: '127.0.0.1:8080' }} }}
upstreams: {{ one: {{ targets: ['{BACKEND}'] }} }}
apis: {{ test: {{ {hosts}upstream: one, policies: [{policies}], routes: [{{ path: /a }}, {{ path: /b }}] }} }}
"
    ))
}

#[tokio::test(start_paused = true)]
async fn proofs_need_an_address_to_be_about() {
    let jwt = "jwt: { issuer: 'https://idp.test', audience: a, sender: SENDER }";
    for (hosts, sender, is_fine) in [
        ("", "dpop", false),
        ("", "any", false),
        ("", "{ nonce: true }", false),
        ("", "certificate", true),
        ("", "{ required: dpop, origin: 'https://api.test' }", true),
        ("hosts: [api.test], ", "dpop", true),
    ] {
        let told = report(hosts, &format!("{{ {} }}", jwt.replace("SENDER", sender)));
        assert_eq!(told.matches("has no hosts").count(), usize::from(!is_fine), "{told}");
    }
    let any = format!("{{ any: [api_key, {{ {} }}] }}", jwt.replace("SENDER", "dpop"));
    assert!(report("", &any).contains("has no hosts"));
}

#[tokio::test(start_paused = true)]
async fn two_issuers_do_not_call_different_people_by_one_name() {
    let jwt = |issuer: &str, more: &str| {
        format!(
            "{{ jwt: {{ issuer: '{issuer}', audience: a, consumer: {{ claim: name{more} }} }} }}"
        )
    };
    let (a, b) = ("https://idp.test/realms/a", "https://idp.test/realms/b");
    for (first, second, is_fine) in [
        (jwt(a, ""), jwt(b, ""), false),
        (jwt(a, ", prefix: x"), jwt(b, ", prefix: x"), true),
        (jwt(a, ", prefix: x"), jwt(b, ""), true),
        (jwt(a, ", prefix: idp.test"), jwt(b, ""), false),
        (jwt(a, ""), jwt(a, ""), true),
        (jwt(a, ", unknown: refuse"), jwt(b, ""), true),
    ] {
        let told = report("", &format!("{{ any: [{first}, {second}] }}"));
        assert_eq!(
            told.matches("would have the same names").count(),
            usize::from(!is_fine),
            "{told}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn policies_that_undo_each_other_are_told() {
    let exchange = "{ backend_auth: { token_exchange: { token_url: 'http://127.0.0.1/token' } } }";
    let jwt = "{ jwt: { issuer: 'https://idp.test', audience: a, keep: true } }";
    assert!(report("", &format!("api_key, {exchange}")).contains("nothing to exchange"));
    assert!(!report("", &format!("{jwt}, {exchange}")).contains("nothing to exchange"));
    let any = format!("{{ any: [api_key, {jwt}] }}, {exchange}");
    assert!(!report("", &any).contains("nothing to exchange"));
    let signs = "{ internal_jwt: { issuer: yett, audience: aHEADER } }";
    let both = format!("{jwt}, {exchange}, {signs}");
    assert!(report("", &both.replace("HEADER", "")).contains("both write"));
    let other = both.replace("HEADER", ", header: x-token");
    assert!(!report("", &other).contains("both write"));
}

#[tokio::test(start_paused = true)]
async fn secrets_that_would_go_by_plain_http_are_told() {
    let warns = "for all to read";
    for (policy, is_told) in [
        ("{ ext_authz: 'http://authz.test/check' }", true),
        ("{ ext_authz: 'grpc://authz.test:9191' }", true),
        ("{ ext_authz: 'https://authz.test/check' }", false),
        ("{ ext_authz: 'grpc://127.0.0.1:9191' }", false),
    ] {
        assert_eq!(report("", &format!("api_key, {policy}")).contains(warns), is_told, "{policy}");
    }
}
