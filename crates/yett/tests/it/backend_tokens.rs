//! Tokens for backends, from a real provider.

use super::backend::Backend;
use super::client::{Answer, curl};
use super::node::Node;
use super::oauth::SCRIPT;
use super::wait::until_true;
use super::yett::{Launch, PUBLIC, TOP, Yett, run};
use serde_json::Value;

const SECRET: &str = "a-secret-of-gateway";

struct Provider {
    node: Node,
    url: String,
}

impl Provider {
    /// One whose tokens for backends hold this long.
    fn start(seconds: &str) -> Self {
        let node = Node::start(SCRIPT, &[seconds]);
        let url = format!("http://127.0.0.1:{}", node.port());
        Self { node, url }
    }

    fn post(&self, client: &str, form: &str, page: &str) -> Value {
        let (user, url) = (format!("{client}:a-secret-of-{client}"), format!("{}{page}", self.url));
        let answer = curl(&["-u", &user, "-d", form, &url]);
        assert_eq!(answer.status, 200, "{}", answer.body);
        serde_json::from_str(&answer.body).unwrap_or_default()
    }

    /// A token of a caller.
    fn token(&self) -> String {
        let form = "grant_type=client_credentials&scope=orders:read";
        let answer = self.post("shop", form, "/token");
        answer["access_token"].as_str().unwrap().to_owned()
    }

    /// What it says of what a backend was shown in `authorization`.
    fn about(&self, shown: &str) -> Value {
        let token = shown.strip_prefix("Bearer ").unwrap();
        self.post("gateway", &format!("token={token}"), "/token/introspection")
    }

    fn own(&self) -> String {
        let url = &self.url;
        format!(
            "{{ backend_auth: {{ client_credentials: {{ token_url: \"{url}/token\", client_id: gateway, client_secret: \"${{env:SECRET}}\", scope: \"orders:read\", resource: \"urn:backend\" }} }} }}"
        )
    }

    fn exchanges(&self, resource: &str) -> String {
        let url = &self.url;
        let client = "client_id: gateway, client_secret: \"${env:SECRET}\"";
        format!(
            "{{ introspection: {{ issuer: \"{url}\", {client}, audience: \"urn:orders\", consumer: {{ claim: client_id }}, cache: {{ ttl: 1h }}, keep: true }} }}, {{ backend_auth: {{ token_exchange: {{ token_url: \"{url}/token\", {client}, resource: \"{resource}\" }} }} }}"
        )
    }
}

fn config(backend: &Backend, policies: &str) -> String {
    let (target, public) =
        (backend.address, if policies.contains("introspection") { "" } else { "public: a test, " });
    format!(
        "{TOP}{PUBLIC}upstreams: {{ backend: {{ targets: [\"{target}\"] }} }}\napis: {{ all: {{ {public}upstream: backend, policies: [{policies}] }} }}\n"
    )
}

fn start(backend: &Backend, policies: &str, secret: &str) -> Yett {
    Launch::new(&config(backend, policies)).env("SECRET", secret).log("debug").start()
}

fn ask(yett: &Yett, token: &str) -> Answer {
    curl(&["-H", &format!("authorization: Bearer {token}"), &yett.url("public")])
}

/// What the backend got to see in `authorization`.
fn shown(backend: &Backend) -> String {
    backend.seen().pop().and_then(|seen| seen.header("authorization")).unwrap()
}

fn obtained(yett: &Yett) -> u64 {
    yett.count("yett_backend_tokens_total", &["outcome=\"obtained\""])
}

fn check_silence(yett: &Yett, secrets: &[&str]) {
    let mut told =
        vec![yett.log.text(), yett.access.text(), yett.metrics(), yett.status().to_string()];
    for command in [&["check", "yett.yaml"][..], &["explain", "yett.yaml", "GET", "http://a/"]] {
        let ended = run(yett.path("").as_path(), command);
        told.extend([ended.out, ended.err]);
    }
    for (text, secret) in told.iter().flat_map(|text| secrets.iter().map(move |it| (text, it))) {
        assert!(!text.contains(*secret), "{secret} is in {text}");
    }
}

#[test]
fn a_providers_token_is_shared_by_requests_and_serves_while_the_provider_is_down() {
    let mut provider = Provider::start("3600");
    let backend = Backend::says("hi");
    let yett = start(&backend, &provider.own(), SECRET);
    for _ in 0..3 {
        assert_eq!(ask(&yett, "theirs").status, 200);
    }
    let token = shown(&backend);
    let about = provider.about(&token);
    assert_eq!(about["active"], true, "{about}");
    assert_eq!((&about["client_id"], &about["aud"]), (&"gateway".into(), &"urn:backend".into()));
    assert!(
        backend.seen().iter().all(|seen| seen.header("authorization").as_ref() == Some(&token))
    );
    assert_eq!(obtained(&yett), 1);
    provider.node.kill();
    for _ in 0..3 {
        assert_eq!(ask(&yett, "theirs").status, 200);
        assert_eq!(shown(&backend), token);
    }
    let token = token.strip_prefix("Bearer ").unwrap();
    check_silence(&yett, &[SECRET, token]);
}

#[test]
fn a_providers_token_is_renewed_before_it_ends_and_missed_when_it_has() {
    let mut provider = Provider::start("3");
    let backend = Backend::says("hi");
    let yett = start(&backend, &provider.own(), SECRET);
    // Nobody makes a request.
    until_true("the token was renewed twice", || obtained(&yett) >= 3);
    until_true("a request is served", || ask(&yett, "theirs").status == 200);
    let first = shown(&backend);
    until_true("another token is shown", || {
        ask(&yett, "theirs").status == 200 && shown(&backend) != first
    });
    provider.node.kill();
    until_true("the last token has ended", || ask(&yett, "theirs").status == 503);
    let answer = ask(&yett, "theirs");
    assert!(answer.body.contains("backend_credentials_unavailable"), "{}", answer.body);
    yett.access.expect(&["backend_credentials_unavailable", "connect_failed"]);
}

#[test]
fn a_wrong_secret_of_the_gateway_is_an_outage_and_is_told_nowhere() {
    let provider = Provider::start("3600");
    let backend = Backend::says("hi");
    let wrong = "wr0ng:secret";
    for (policies, token) in [
        (provider.own(), "theirs".to_owned()),
        (provider.exchanges("urn:backend"), provider.token()),
    ] {
        // Whose tokens are good is asked with the right one.
        let policies = policies.replacen(
            "${env:SECRET}",
            "${env:RIGHT}",
            policies.matches("SECRET").count() - 1,
        );
        let launch = Launch::new(&config(&backend, &policies)).env("SECRET", wrong);
        let yett = launch.env("RIGHT", SECRET).log("debug").start();
        let answer = ask(&yett, &token);
        assert_eq!(answer.status, 503, "{}", answer.body);
        assert!(answer.body.contains("backend_credentials_unavailable"), "{}", answer.body);
        yett.access.expect(&["backend_credentials_unavailable", "it answers 401, invalid_client"]);
        check_silence(&yett, &[wrong, "wr0ng%3Asecret", "Z2F0ZXdheTp3cjBuZ", SECRET, &token]);
    }
    assert!(backend.seen().is_empty());
}

#[test]
fn a_callers_token_is_exchanged_by_a_provider_and_its_refusals_are_about_the_caller() {
    let provider = Provider::start("3600");
    let backend = Backend::says("hi");
    let yett = start(&backend, &provider.exchanges("urn:backend"), SECRET);
    let (token, other) = (provider.token(), provider.token());
    for _ in 0..3 {
        assert_eq!(ask(&yett, &token).status, 200);
    }
    let exchanged = shown(&backend);
    assert!(!exchanged.contains(&token));
    let about = provider.about(&exchanged);
    assert_eq!(
        (&about["active"], &about["client_id"]),
        (&true.into(), &"gateway".into()),
        "{about}"
    );
    assert_eq!(obtained(&yett), 1);
    assert_eq!(ask(&yett, &other).status, 200);
    assert_ne!(shown(&backend), exchanged, "each caller has its own");
    // Revoked, but still believed by what is remembered of it, as another gateway might.
    let revoked = provider.token();
    let closed = start(&backend, &provider.exchanges("urn:closed"), SECRET);
    let answer = ask(&closed, &token);
    assert_eq!(answer.status, 403);
    assert!(answer.body.contains("exchange_denied"), "{}", answer.body);
    closed.access.expect(&["exchange_denied", "it answers 400, invalid_target"]);
    assert_eq!(ask(&closed, &revoked).status, 403);
    provider.post("shop", &format!("token={revoked}"), "/token/revocation");
    let after = config(&backend, &provider.exchanges("urn:backend"));
    closed.reload(after);
    let answer = ask(&closed, &revoked);
    assert_eq!(answer.status, 401, "{}", answer.body);
    assert!(answer.body.contains("credentials_not_exchanged"), "{}", answer.body);
    let challenge = answer.header("www-authenticate").unwrap();
    assert_eq!(challenge, "Bearer realm=\"yett\", error=\"invalid_token\"");
    closed.access.expect(&["credentials_not_exchanged", "it answers 400, invalid_grant"]);
    let exchanged = exchanged.strip_prefix("Bearer ").unwrap();
    for yett in [&yett, &closed] {
        check_silence(yett, &[SECRET, &token, &revoked, exchanged]);
    }
}

#[test]
fn an_exchanged_token_serves_while_the_provider_is_down_and_then_no_longer() {
    let mut provider = Provider::start("5");
    let backend = Backend::says("hi");
    let yett = start(&backend, &provider.exchanges("urn:backend"), SECRET);
    let token = provider.token();
    assert_eq!(ask(&yett, &token).status, 200);
    provider.node.kill();
    until_true("the exchanged token has ended", || ask(&yett, &token).status == 503);
    yett.access.expect(&["backend_credentials_unavailable", "connect_failed"]);
    let stranger = ask(&yett, "unknown");
    assert!(stranger.body.contains("identity_unavailable"), "{}", stranger.body);
}
