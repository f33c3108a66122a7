//! Tokens that are asked about, with an issuer that is played by a backend.

use crate::it::kit::{Case, told};
use base::clock::unix_ms;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::time::Duration;
use testkit::gateway::BACKEND;
use testkit::{Act, Backend, Surroundings, TestGateway};

const IDP: &str = "10.0.0.9:80";
const ASKS: &str = "introspection: { url: 'http://10.0.0.9/introspect', client_id: gate-way, client_secret: '${env:SECRET}'";

const fn case(request: &'static str, told: &'static str) -> Case {
    Case {
        path: "/*",
        policies: "[{ introspection: { url: 'http://10.0.0.9/introspect', client_id: g, client_secret: '${env:SECRET}' } }]",
        request,
        told,
        saw: "",
    }
}

pub(crate) const CASES: &[Case] = &[
    case("GET /a HTTP/1.1\n", "401 credentials_missing\nwww-authenticate: Bearer realm=\"yett\""),
    case(
        "GET /a HTTP/1.1\nauthorization: Bearer a b\n",
        "401 credentials_invalid: the token is not valid\nwww-authenticate: Bearer realm=\"yett\", error=\"invalid_token\"",
    ),
    // Nobody is there to be asked.
    case(
        "GET /a HTTP/1.1\nauthorization: Bearer opaque\n",
        "503 identity_unavailable\nretry-after: 5",
    ),
];

fn config(more: &str) -> String {
    format!(
        "version: 1\nlisteners: {{ public: {{ bind: '127.0.0.1:8080' }} }}\nupstreams: {{ echo: {{ targets: ['{BACKEND}'] }} }}\napis: {{ test: {{ upstream: echo, policies: [{{ {ASKS}{more} }} }}] }} }}\n"
    )
}

fn surroundings(more: &str) -> Surroundings {
    Surroundings::of(&config(more)).env("SECRET", "a+b c")
}

fn gateway(more: &str, idp: Backend) -> TestGateway {
    let gateway = TestGateway::within(&surroundings(more));
    gateway.put(IDP, idp);
    gateway.put(BACKEND, Backend::answer("HTTP/1.1 200 OK\ncontent-length: 0\n\n"));
    gateway
}

fn text_of(status: u16, text: &str) -> String {
    format!("HTTP/1.1 {status} OK\ncontent-length: {}\n\n{text}", text.len())
}

fn says(value: &Value) -> Backend {
    Backend::answer(&text_of(200, &value.to_string()))
}

async fn ask(gateway: &TestGateway, token: &str) -> String {
    let answer = gateway.ask(&format!("GET /a HTTP/1.1\nauthorization: Bearer {token}\n")).await;
    told(&answer).split([':', '\n']).next().unwrap_or_default().to_owned()
}

fn questions(gateway: &TestGateway) -> Vec<String> {
    let seen = gateway.backends.seen();
    let seen = seen.iter().filter(|seen| seen.address.to_string() == IDP);
    seen.map(|seen| String::from_utf8(seen.request.clone()).unwrap()).collect()
}

/// An answer about alice, with these members changed.
fn alice(gateway: Option<&TestGateway>, more: &Value) -> Value {
    let now_s = gateway.map_or(0, |gateway| unix_ms(gateway.clock.wall()) / 1_000);
    let mut said = json!({ "active": true, "sub": "alice", "scope": "a b", "aud": "orders" });
    if gateway.is_some() {
        said["exp"] = json!(now_s + 3_600);
    }
    for (name, value) in more.as_object().into_iter().flatten() {
        said[name] = value.clone();
    }
    said
}

#[tokio::test(start_paused = true)]
async fn an_issuer_is_asked_once_for_a_token_that_is_used_often() {
    let gateway = gateway("", says(&alice(None, &json!({}))));
    for _ in 0..5 {
        assert_eq!(ask(&gateway, "op~aque+1").await, "200");
    }
    let asked = questions(&gateway);
    assert_eq!(asked.len(), 1);
    let (head, form) = asked[0].split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /introspect HTTP/1.1\r\n"), "{head}");
    // RFC 6749, 2.3.1: both are encoded as in forms first.
    let pair = STANDARD.encode("gate-way:a%2Bb%20c");
    assert!(head.contains(&format!("authorization: Basic {pair}")), "{head}");
    assert_eq!(form, "token=op%7Eaque%2B1&token_type_hint=access_token");
    let seen = gateway.seen();
    assert!(seen.iter().any(|seen| seen.contains("x-yett-consumer: 10.0.0.9/alice")));
    assert!(!seen.iter().any(|seen| seen.contains("Bearer")));
    // It outlives a reload, and ends after its time.
    gateway.reload_within(&surroundings("")).unwrap();
    assert_eq!(ask(&gateway, "op~aque+1").await, "200");
    assert_eq!(questions(&gateway).len(), 1);
    gateway.advance(Duration::from_secs(60));
    assert_eq!(ask(&gateway, "op~aque+1").await, "200");
    assert_eq!(questions(&gateway).len(), 2);
    let active =
        "yett_introspections_total{endpoint=\"http://10.0.0.9/introspect\",outcome=\"active\"}";
    assert_eq!(gateway.metric(active), 2.0);
}

#[tokio::test(start_paused = true)]
async fn the_secret_may_be_shown_in_the_form() {
    let gateway = gateway(", auth: post", says(&alice(None, &json!({}))));
    assert_eq!(ask(&gateway, "opaque").await, "200");
    let asked = questions(&gateway);
    assert!(asked[0].ends_with("&client_id=gate-way&client_secret=a%2Bb%20c"), "{}", asked[0]);
    assert!(!asked[0].contains("authorization"));
}

#[tokio::test(start_paused = true)]
async fn what_is_said_of_a_token_is_checked() {
    let more = ", issuer: 'https://idp', audience: orders, scopes: [a], required: [sub], token_type: N_A, cache: { ttl: 0s, negative: 0s }";
    let (fine, bad) = ("200", "401 credentials_invalid");
    for (changes, expected) in [
        (json!({}), fine),
        (json!({ "active": false }), bad),
        (json!({ "iss": "https://idp" }), fine),
        (json!({ "iss": "https://other" }), bad),
        (json!({ "iss": ["https://idp"] }), bad),
        (json!({ "aud": ["x", "orders"] }), fine),
        (json!({ "aud": "x" }), bad),
        (json!({ "aud": null }), bad),
        (json!({ "token_type": "n_a" }), fine),
        (json!({ "token_type": "Bearer" }), bad),
        (json!({ "token_type": null }), bad),
        (json!({ "token_type": "DPoP" }), bad),
        (json!({ "scope": "b" }), "403 insufficient_scope"),
        (json!({ "scope": null }), "403 insufficient_scope"),
        (json!({ "sub": null }), bad),
        (json!({ "sub": "" }), bad),
        (json!({ "exp": 1 }), bad),
        (json!({ "exp": "never" }), bad),
        (json!({ "nbf": 99_999_999_999_u64 }), bad),
        (json!({ "cnf": { "jkt": "x" } }), bad),
        (json!({ "cnf": { "unknown": "x" } }), bad),
    ] {
        let gateway = gateway(more, Backend::refusing());
        let mut said = alice(Some(&gateway), &json!({ "token_type": "N_A" }));
        for (name, value) in changes.as_object().into_iter().flatten() {
            said[name] = value.clone();
        }
        gateway.put(IDP, says(&said));
        assert_eq!(ask(&gateway, "opaque").await, expected, "{changes}");
        assert_eq!(ask(&gateway, "opaque").await, expected, "{changes}");
        assert_eq!(questions(&gateway).len(), 2, "nothing is remembered");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_must_be_proven_and_is_bound_to_nothing_is_bad() {
    let gateway = gateway("", says(&alice(None, &json!({ "token_type": "DPoP" }))));
    assert_eq!(ask(&gateway, "opaque").await, "401 credentials_invalid");
}

#[tokio::test(start_paused = true)]
async fn a_token_is_not_remembered_beyond_its_end() {
    let gateway = gateway(", cache: { ttl: 1h }", Backend::refusing());
    let soon = unix_ms(gateway.clock.wall()) / 1_000 + 30;
    gateway.put(IDP, says(&alice(None, &json!({ "exp": soon }))));
    assert_eq!(ask(&gateway, "opaque").await, "200");
    gateway.advance(Duration::from_secs(31));
    assert_eq!(ask(&gateway, "opaque").await, "401 credentials_invalid");
}

#[tokio::test(start_paused = true)]
async fn a_bad_token_is_not_asked_about_again_for_a_while() {
    let gateway = gateway("", says(&json!({ "active": false })));
    for _ in 0..5 {
        assert_eq!(ask(&gateway, "bad").await, "401 credentials_invalid");
    }
    assert_eq!(questions(&gateway).len(), 1);
    gateway.put(IDP, says(&alice(None, &json!({}))));
    gateway.advance(Duration::from_secs(10));
    assert_eq!(ask(&gateway, "bad").await, "200");
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_bad_tokens_from_one_address_does_not_reach_the_issuer() {
    let gateway = gateway("", says(&alice(None, &json!({}))));
    assert_eq!(ask(&gateway, "good").await, "200");
    gateway.put(IDP, says(&json!({ "active": false })));
    for number in 0..100 {
        ask(&gateway, &format!("bad-{number}")).await;
    }
    assert!(questions(&gateway).len() < 40, "{}", questions(&gateway).len());
    assert_eq!(ask(&gateway, "bad-x").await, "429 too_many_failures");
    assert_eq!(ask(&gateway, "good").await, "200", "what is remembered goes on");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_gives_no_answer_is_no_fault_of_the_client() {
    let cut = text_of(200, "{\"active\":true}").replace("15", "99");
    let late = Act::Hang;
    for idp in [
        Backend::refusing(),
        Backend::unreachable(),
        Backend::acts([late]),
        Backend::answer(&text_of(500, "{\"active\":true}")),
        Backend::answer(&text_of(401, "{\"active\":true}")),
        Backend::answer(&text_of(404, "{\"active\":true}")),
        Backend::answer(&text_of(302, "")),
        Backend::answer(&text_of(204, "")),
        Backend::answer(&text_of(200, "<html>")),
        Backend::answer(&text_of(200, "{\"active\":\"true\"}")),
        Backend::answer(&text_of(
            200,
            &format!("{{\"active\":true,\"a\":\"{}\"}}", "x".repeat(70_000)),
        )),
        Backend::acts([Act::Answer(cut), Act::Close]),
    ] {
        let gateway = gateway("", says(&alice(None, &json!({}))));
        assert_eq!(ask(&gateway, "known").await, "200");
        gateway.put(IDP, idp);
        for _ in 0..5 {
            assert_eq!(ask(&gateway, "opaque").await, "503 identity_unavailable");
        }
        assert_eq!(ask(&gateway, "known").await, "200");
        let failed =
            "yett_introspections_total{endpoint=\"http://10.0.0.9/introspect\",outcome=\"failed\"}";
        assert!(gateway.metric(failed) >= 3.0);
        // Once it answers again it is believed again.
        gateway.put(IDP, says(&alice(None, &json!({ "sub": "bob" }))));
        gateway.advance(Duration::from_secs(2));
        assert_eq!(ask(&gateway, "opaque").await, "200");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_an_endpoint_does_not_take_is_bad_and_nobody_else_suffers() {
    for status in [400, 413, 414, 422, 431] {
        let gateway =
            gateway("", Backend::answer(&text_of(status, r#"{"error":"invalid_request"}"#)));
        for number in 0..6 {
            let token = format!("weird-{number}");
            assert_eq!(ask(&gateway, &token).await, "401 credentials_invalid", "{status}");
        }
        assert_eq!(ask(&gateway, "weird-0").await, "401 credentials_invalid");
        assert_eq!(questions(&gateway).len(), 6, "it is not asked about again");
        gateway.put(IDP, says(&alice(None, &json!({}))));
        assert_eq!(ask(&gateway, "good").await, "200", "{status}");
    }
    let gateway = gateway("", Backend::answer(&text_of(400, r#"{"error":"invalid_client"}"#)));
    assert_eq!(ask(&gateway, "opaque").await, "503 identity_unavailable");
}

#[tokio::test(start_paused = true)]
async fn many_who_show_one_token_at_once_ask_once() {
    let gateway = gateway("", says(&alice(None, &json!({}))));
    let asking = (0..20).map(|_| ask(&gateway, "opaque"));
    let mut set = Vec::new();
    for one in asking {
        set.push(one);
    }
    for told in join(set).await {
        assert_eq!(told, "200");
    }
    assert_eq!(questions(&gateway).len(), 1);
}

/// Waits for all of them side by side.
async fn join<F: Future<Output = String>>(all: Vec<F>) -> Vec<String> {
    let mut all: Vec<_> = all.into_iter().map(Box::pin).collect();
    let mut told = vec![None; all.len()];
    std::future::poll_fn(|cx| {
        for (one, told) in all.iter_mut().zip(&mut told) {
            if told.is_none()
                && let std::task::Poll::Ready(text) = one.as_mut().poll(cx)
            {
                *told = Some(text);
            }
        }
        if told.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    told.into_iter().flatten().collect()
}

#[tokio::test(start_paused = true)]
async fn the_issuer_says_where_to_ask() {
    let (all, idp) = ("issuer: 'http://10.0.0.9/realm'", "http://10.0.0.9/realm");
    let config = config("").replace("url: 'http://10.0.0.9/introspect'", all);
    let surroundings = Surroundings::of(&config).env("SECRET", "s");
    let gateway = TestGateway::within(&surroundings);
    gateway.put(BACKEND, Backend::answer("HTTP/1.1 200 OK\ncontent-length: 0\n\n"));
    // The same answer to both questions: the document, and what is said of the token.
    let both = |issuer: &str| {
        json!({
            "issuer": issuer, "introspection_endpoint": "http://10.0.0.9/ask?x=1", "active": true,
            "sub": "alice",
        })
    };
    gateway.put(IDP, says(&both("http://evil")));
    assert_eq!(ask(&gateway, "opaque").await, "503 identity_unavailable");
    gateway.put(IDP, says(&both(idp)));
    assert_eq!(ask(&gateway, "opaque").await, "200");
    let asked = questions(&gateway);
    assert!(asked[asked.len() - 2].starts_with("GET /realm/.well-known/openid-configuration "));
    assert!(asked[asked.len() - 1].starts_with("POST /ask?x=1 "));
}

#[tokio::test(start_paused = true)]
async fn the_issuer_is_not_asked_where_to_ask_for_each_question_that_fails() {
    let all = "issuer: 'http://10.0.0.9/realm'";
    let config = config("").replace("url: 'http://10.0.0.9/introspect'", all);
    let gateway = TestGateway::within(&Surroundings::of(&config).env("SECRET", "s"));
    gateway.put(BACKEND, Backend::answer("HTTP/1.1 200 OK\ncontent-length: 0\n\n"));
    let told = json!({
        "issuer": "http://10.0.0.9/realm", "introspection_endpoint": "http://10.0.0.8/ask",
    });
    gateway.put(IDP, says(&told));
    let good = says(&json!({ "active": true, "sub": "alice" }));
    gateway.put("10.0.0.8:80", good.clone());
    assert_eq!(ask(&gateway, "good").await, "200");
    let broken = Backend::answer(&text_of(500, ""));
    for round in ["a", "b", "c", "d"] {
        gateway.put("10.0.0.8:80", broken.clone());
        assert_eq!(ask(&gateway, round).await, "503 identity_unavailable");
        gateway.put("10.0.0.8:80", good.clone());
        assert_eq!(ask(&gateway, &format!("{round}2")).await, "200");
    }
    assert_eq!(questions(&gateway).len(), 1, "one failure now and then is no reason");
    gateway.put("10.0.0.8:80", broken);
    for token in ["e", "f", "g"] {
        assert_eq!(ask(&gateway, token).await, "503 identity_unavailable");
    }
    gateway.put("10.0.0.8:80", good);
    gateway.advance(Duration::from_secs(60));
    assert_eq!(ask(&gateway, "h").await, "200");
    assert_eq!(questions(&gateway).len(), 2, "it may have moved");
}

#[test]
fn settings_that_make_no_sense_are_told() {
    for (settings, part) in [
        ("{}", "who is asked?"),
        ("{ url: 'http://a/' }", "`client_id` is missing"),
        ("{ url: 'https://a/', client_id: g }", "`client_secret` is missing"),
        ("{ url: 'https://a/', client_id: g, client_secret: s }", "a secret stands in the config"),
        ("{ url: 'https://a/', client_id: g, client_secret: '${env:NONE}' }", "NONE"),
        ("{ url: '/ask', client_id: g, client_secret: '${env:SECRET}' }", "is not a URL"),
        ("{ issuer: idp, client_id: g, client_secret: '${env:SECRET}' }", "is not a URL"),
        ("{ url: 'https://a/', timeout: 1h }", "at most 30s"),
        ("{ url: 'https://a/', cache: { ttl: 1d } }", "at most 3600s"),
        ("{ url: 'https://a/', cache: { max: 1GiB } }", "128MiB"),
        ("{ url: 'https://a/', scopes: ['a b'] }", "no scope"),
        ("{ url: 'http://idp.test/' }", "plain HTTP"),
    ] {
        let config = format!(
            "version: 1\nlisteners: {{ public: {{ bind: '127.0.0.1:8080' }} }}\nupstreams: {{ echo: {{ targets: ['{BACKEND}'] }} }}\napis: {{ test: {{ upstream: echo, policies: [{{ introspection: {settings} }}] }} }}\n"
        );
        let problems = testkit::gateway::problems_with(&config, &[], &[("SECRET", "s")]);
        assert!(problems.contains(part), "{settings}: {problems}");
    }
}
