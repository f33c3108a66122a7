//! Tokens whose keys are fetched, from an issuer that is played by a backend.

use crate::it::kit::{Case, told};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base::clock::unix_ms;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::time::Duration;
use testkit::gateway::BACKEND;
use testkit::{Act, Backend, TestGateway};

const IDP: &str = "10.0.0.9:80";
const KEYS: &str =
    "[{ jwt: { issuer: 'http://10.0.0.9', audience: a, jwks: 'http://10.0.0.9/keys' } }]";

const MISSING: &str = "401 credentials_missing\nwww-authenticate: Bearer realm=\"yett\"";
const INVALID: &str = "401 credentials_invalid: the token is not valid\nwww-authenticate: Bearer realm=\"yett\", error=\"invalid_token\"";
/// The token of RFC 8037, A.4 is no JSON.
const SIGNED: &str = "GET /a HTTP/1.1\nauthorization: Bearer eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg\n";
const FIXED: &str = r#"[{ jwt: { issuer: 'http://10.0.0.9', audience: a, jwks: '{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}' } }]"#;

const fn case(
    policies: &'static str,
    request: &'static str,
    told: &'static str,
    saw: &'static str,
) -> Case {
    Case { path: "/*", policies, request, told, saw }
}

pub(crate) const CASES: &[Case] = &[
    case(FIXED, "GET /a HTTP/1.1\n", MISSING, ""),
    case(FIXED, "GET /a HTTP/1.1\nauthorization: Bearer a.b.c\n", INVALID, ""),
    case(FIXED, SIGNED, INVALID, ""),
];

/// Somebody who signs tokens.
struct Signer {
    name: &'static str,
    pair: Ed25519KeyPair,
}

impl Signer {
    fn new(name: &'static str) -> Self {
        Self { name, pair: Ed25519KeyPair::generate().unwrap() }
    }

    fn jwk(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.pair.public_key().as_ref());
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": self.name, "x": x })
    }

    /// A token for `alice` by the gateway's clock.
    fn token(&self, gateway: &TestGateway) -> String {
        self.token_for("alice", gateway)
    }

    fn token_for(&self, subject: &str, gateway: &TestGateway) -> String {
        let now_s = unix_ms(gateway.clock.wall()) / 1_000;
        let claims =
            json!({ "iss": "http://10.0.0.9", "aud": "a", "sub": subject, "exp": now_s + 90_000 });
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = encode(&json!({ "alg": "EdDSA", "kid": self.name }));
        let signed = format!("{header}.{}", encode(&claims));
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

fn document(value: &Value) -> Backend {
    let text = value.to_string();
    Backend::answer(&format!(
        "HTTP/1.1 200 OK\ncache-control: max-age=3600\ncontent-length: {}\n\n{text}",
        text.len()
    ))
}

fn keys(signers: &[&Signer]) -> Backend {
    let keys: Vec<_> = signers.iter().map(|signer| signer.jwk()).collect();
    document(&json!({ "keys": keys }))
}

fn config(policies: &str) -> String {
    format!(
        "version: 1\nlisteners: {{ public: {{ bind: '127.0.0.1:8080' }} }}\nupstreams: {{ echo: {{ targets: ['{BACKEND}'] }} }}\napis: {{ test: {{ upstream: echo, policies: {policies} }} }}\n"
    )
}

fn gateway(policies: &str, idp: Backend) -> TestGateway {
    let gateway = TestGateway::new(&config(policies));
    gateway.put(IDP, idp);
    gateway.put(BACKEND, Backend::answer("HTTP/1.1 200 OK\ncontent-length: 0\n\n"));
    gateway
}

/// The status and the fault that a request with this token gets.
async fn ask(gateway: &TestGateway, token: &str) -> String {
    let answer = gateway.ask(&format!("GET /a HTTP/1.1\nauthorization: Bearer {token}\n")).await;
    let told = told(&answer);
    let words = told.split([':', '\n']).next();
    words.unwrap_or_default().to_owned()
}

/// How often the issuer was asked.
fn asked(gateway: &TestGateway) -> usize {
    gateway.backends.seen().iter().filter(|seen| seen.address.to_string() == IDP).count()
}

#[tokio::test(start_paused = true)]
async fn keys_are_fetched_once_for_many_requests() {
    let signer = Signer::new("1");
    let gateway = gateway(KEYS, keys(&[&signer]));
    let token = signer.token(&gateway);
    for _ in 0..5 {
        assert_eq!(ask(&gateway, &token).await, "200");
    }
    assert_eq!(asked(&gateway), 1);
    gateway.reload(&config(&KEYS.replace("audience: a", "audience: [b, a]"))).unwrap();
    assert_eq!(ask(&gateway, &token).await, "200");
    assert_eq!(asked(&gateway), 1, "keys outlive a reload");
    assert_eq!(gateway.metric("yett_issuer_keys{issuer=\"http://10.0.0.9/keys\"}"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_backend_takes_no_name_for_another() {
    let signer = Signer::new("1");
    let gateway = gateway(KEYS, keys(&[&signer]));
    for (subject, told) in
        [("alice", "alice"), ("Zo\u{eb} 100%", "Zo%C3%AB 100%25"), ("Zo%C3%AB", "Zo%25C3%25AB")]
    {
        assert_eq!(ask(&gateway, &signer.token_for(subject, &gateway)).await, "200");
        let seen = gateway.seen().pop().unwrap();
        assert!(seen.contains(&format!("x-yett-consumer: 10.0.0.9/{told}\n")), "{seen}");
    }
    for subject in ["alice ", " alice", "alice\u{a0}", "\u{2003}alice", "ali\nce"] {
        let refused = ask(&gateway, &signer.token_for(subject, &gateway)).await;
        assert_eq!(refused, "401 credentials_invalid", "{subject:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn several_policies_look_at_one_token_and_the_last_takes_it_out() {
    const BOTH: &str = "[{ jwt: { issuer: 'http://10.0.0.9', audience: a, jwks: 'http://10.0.0.9/keys' } }, { jwt: { issuer: 'http://10.0.0.9', audience: a, jwks: 'http://10.0.0.9/keys', id: more MORE } }]";
    let signer = Signer::new("1");
    let with = |more: &str| gateway(&BOTH.replace(" MORE", more), keys(&[&signer]));
    let refuses = with(", required: [plan]");
    assert_eq!(ask(&refuses, &signer.token(&refuses)).await, "401 credentials_invalid");
    let refuses = with(", scopes: [admin]");
    assert_eq!(ask(&refuses, &signer.token(&refuses)).await, "403 insufficient_scope");
    for more in ["", ", keep: true"] {
        let gateway = with(more);
        assert_eq!(ask(&gateway, &signer.token(&gateway)).await, "200");
        let seen = gateway.seen().pop().unwrap();
        assert!(seen.contains("x-yett-consumer: 10.0.0.9/alice"), "{seen}");
        assert!(!seen.contains("authorization"), "{seen}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_asked_for_at_once_and_an_old_one_counts_no_more() {
    let (old, new) = (Signer::new("1"), Signer::new("2"));
    let gateway = gateway(KEYS, keys(&[&old]));
    let (before, after) = (old.token(&gateway), new.token(&gateway));
    assert_eq!(ask(&gateway, &before).await, "200");
    gateway.put(IDP, keys(&[&new]));
    assert_eq!(ask(&gateway, &after).await, "200");
    assert_eq!(asked(&gateway), 2);
    assert_eq!(ask(&gateway, &before).await, "401 credentials_invalid");
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_unknown_keys_does_not_reach_the_issuer() {
    const NAMES: [&str; 40] = {
        let mut names = [""; 40];
        let all = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMN";
        let mut at = 0;
        while at < 40 {
            names[at] = all.split_at(at).1.split_at(1).0;
            at += 1;
        }
        names
    };
    let known = Signer::new("1");
    let gateway = gateway(KEYS, keys(&[&known]));
    assert_eq!(ask(&gateway, &known.token(&gateway)).await, "200");
    for name in NAMES {
        let refused = ask(&gateway, &Signer::new(name).token(&gateway)).await;
        assert!(
            ["401 credentials_invalid", "429 too_many_failures"].contains(&&*refused),
            "{refused}"
        );
    }
    assert!(asked(&gateway) <= 6, "{}", asked(&gateway));
    assert_eq!(ask(&gateway, &known.token(&gateway)).await, "200");
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_down_is_no_fault_of_the_client() {
    let signer = Signer::new("1");
    let gateway = gateway(KEYS, Backend::refusing());
    let token = signer.token(&gateway);
    assert_eq!(ask(&gateway, &token).await, "503 identity_unavailable");
    assert_eq!(ask(&gateway, "a.b.c").await, "401 credentials_invalid");
    // It is back, and is asked again by and by.
    gateway.put(IDP, keys(&[&signer]));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(ask(&gateway, &token).await, "200");
    // What was fetched serves while it is down again; a key that nobody can know of does not.
    gateway.put(IDP, Backend::refusing());
    tokio::time::sleep(Duration::from_secs(3_700)).await;
    gateway.advance(Duration::from_secs(3_700));
    assert_eq!(ask(&gateway, &token).await, "200");
    assert_eq!(ask(&gateway, &Signer::new("2").token(&gateway)).await, "503 identity_unavailable");
    // Keys that are too old are believed no more.
    gateway.advance(Duration::from_secs(86_400));
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert_eq!(ask(&gateway, &token).await, "503 identity_unavailable");
}

#[tokio::test(start_paused = true)]
async fn while_there_are_no_keys_at_all_the_issuer_is_asked_every_few_seconds() {
    let signer = Signer::new("1");
    let gateway = gateway(KEYS, Backend::refusing());
    let token = signer.token(&gateway);
    assert_eq!(ask(&gateway, &token).await, "503 identity_unavailable");
    tokio::time::sleep(Duration::from_secs(600)).await;
    gateway.put(IDP, keys(&[&signer]));
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(ask(&gateway, &token).await, "200");
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_silent_holds_nobody_for_long() {
    let gateway = gateway(KEYS, Backend::acts([Act::Hang]));
    let token = Signer::new("1").token(&gateway);
    let asked = tokio::time::timeout(Duration::from_secs(6), ask(&gateway, &token)).await;
    assert_eq!(asked.unwrap(), "503 identity_unavailable");
}

#[tokio::test(start_paused = true)]
async fn a_key_is_not_called_unknown_while_its_issuer_is_silent() {
    let (old, new) = (Signer::new("1"), Signer::new("2"));
    let gateway = gateway(KEYS, keys(&[&old]));
    assert_eq!(ask(&gateway, &old.token(&gateway)).await, "200");
    gateway.advance(Duration::from_secs(20));
    gateway.put(IDP, Backend::acts([Act::Hang]));
    let token = new.token(&gateway);
    for _ in 0..8 {
        assert_eq!(ask(&gateway, &token).await, "503 identity_unavailable");
    }
    gateway.put(IDP, keys(&[&old, &new]));
    tokio::time::sleep(Duration::from_secs(70)).await;
    gateway.advance(Duration::from_secs(70));
    assert_eq!(ask(&gateway, &token).await, "200");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_its_issuer_shows_late_is_found_however_often_it_is_named() {
    let (old, new) = (Signer::new("1"), Signer::new("2"));
    let gateway = gateway(KEYS, keys(&[&old]));
    let token = new.token(&gateway);
    assert_eq!(ask(&gateway, &token).await, "401 credentials_invalid");
    gateway.put(IDP, keys(&[&old, &new]));
    let mut told = Vec::new();
    for _ in 0..8 {
        gateway.advance(Duration::from_millis(1_500));
        told.push(ask(&gateway, &token).await);
    }
    assert_eq!(told[0], "401 credentials_invalid", "it is not asked for again at once");
    assert_eq!(told[7], "200", "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn an_issuer_says_where_its_keys_are() {
    let signer = Signer::new("1");
    let about = |issuer: &str| json!({ "issuer": issuer, "jwks_uri": "http://10.0.0.8/keys" });
    let policies = "[{ jwt: 'http://10.0.0.9 for a' }]";
    for (issuer, expected) in
        [("http://10.0.0.9", "200"), ("http://10.0.0.9/", "503 identity_unavailable")]
    {
        let gateway = gateway(policies, document(&about(issuer)));
        gateway.put("10.0.0.8:80", keys(&[&signer]));
        assert_eq!(ask(&gateway, &signer.token(&gateway)).await, expected, "{issuer}");
        let seen = &gateway.seen()[0];
        assert!(seen.starts_with("GET /.well-known/openid-configuration "), "{seen}");
    }
}

#[tokio::test(start_paused = true)]
async fn nonsense_from_an_issuer_is_like_no_answer() {
    let token = "eyJhbGciOiJFZERTQSJ9.eyJpc3MiOiJodHRwOi8vMTAuMC4wLjkifQ.AA";
    let secret = json!({ "keys": [{ "kty": "oct", "k": "AAAA" }] });
    let answers = [
        document(&json!({})),
        document(&json!({ "keys": [] })),
        document(&secret),
        Backend::answer("HTTP/1.1 200 OK\ncontent-length: 6\n\n<html>"),
        Backend::answer("HTTP/1.1 302 Found\nlocation: http://10.0.0.8/\ncontent-length: 0\n\n"),
        Backend::answer("HTTP/1.1 200 OK\ncontent-length: 99999999\n\n"),
        Backend::acts([Act::Close]),
    ];
    for answer in answers {
        let gateway = gateway(KEYS, answer);
        assert_eq!(ask(&gateway, token).await, "503 identity_unavailable");
    }
}

#[tokio::test(start_paused = true)]
async fn of_several_issuers_only_the_one_that_is_named_is_asked() {
    let signer = Signer::new("1");
    let other = "{ jwt: { issuer: 'http://10.0.0.7', audience: a, jwks: 'http://10.0.0.7/keys' } }";
    let policies = KEYS.replace("[{", &format!("[any: [{other}, {{")).replace("}]", "}]]");
    let gateway = gateway(&policies, keys(&[&signer]));
    gateway.put("10.0.0.7:80", Backend::acts([Act::Hang]));
    assert_eq!(ask(&gateway, &signer.token(&gateway)).await, "200");
    assert_eq!(ask(&gateway, "a.b.c").await, "401 credentials_invalid");
}
