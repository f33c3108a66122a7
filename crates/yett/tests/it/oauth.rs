//! Tokens of a real provider that must be asked about, and tokens that are bound to their holder.

use super::backend::Backend;
use super::client::{Answer, curl};
use super::node::Node;
use super::wait::until_true;
use super::yett::{Launch, PUBLIC, TOP, Yett};
use serde_json::Value;
use testkit::Authority;

pub(crate) const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/provider.mjs");
/// Part of the gateway's secret.
const SECRET: &str = "a-secret-of-gateway";

/// A provider, and somebody who holds a key.
struct Provider {
    node: Node,
    url: String,
    proofs: usize,
}

impl Provider {
    fn start() -> Self {
        let node = Node::start(SCRIPT, &[]);
        let url = format!("http://127.0.0.1:{}", node.port());
        Self { node, url, proofs: 0 }
    }

    /// A token of a client by its own credentials, asked for with these arguments besides.
    fn token(&self, client: &str, form: &str, more: &[&str]) -> String {
        let form = format!("grant_type=client_credentials&{form}");
        let (user, url) = (format!("{client}:a-secret-of-{client}"), format!("{}/token", self.url));
        let answer = curl(&[&["-u", &*user, "-d", &*form], more, &[&*url]].concat());
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        body["access_token"].as_str().unwrap_or_else(|| panic!("{}", answer.body)).to_owned()
    }

    /// A token that is bound to the holder's key.
    fn bound(&mut self, form: &str) -> String {
        let url = format!("{}/token", self.url);
        let proof = self.proof("POST", &url, "-", "-");
        self.token("shop", form, &["-H", &format!("dpop: {proof}")])
    }

    fn proof(&mut self, method: &str, url: &str, token: &str, nonce: &str) -> String {
        self.proofs += 1;
        self.node.order(&format!("proof {method} {url} {token} {nonce}"));
        let wanted = format!("proof {} ", self.proofs);
        self.node.told.find("a proof", |line| line.strip_prefix(&wanted).map(str::to_owned))
    }
}

fn config(backend: &Backend, policy: &str, listeners: &str) -> String {
    let target = backend.address;
    format!(
        "{TOP}{listeners}upstreams: {{ backend: {{ targets: [\"{target}\"] }} }}\napis: {{ all: {{ hosts: [127.0.0.1, localhost], upstream: backend, policies: [{{ {policy} }}] }} }}\n"
    )
}

fn asks(provider: &Provider, more: &str) -> String {
    let url = &provider.url;
    format!(
        "introspection: {{ issuer: \"{url}\", client_id: gateway, client_secret: \"${{env:SECRET}}\", audience: \"urn:orders\", consumer: {{ claim: client_id }}{more} }}"
    )
}

fn start(config: &str) -> Yett {
    Launch::new(config).env("SECRET", SECRET).start()
}

fn ask(yett: &Yett, token: &str) -> Answer {
    curl(&["-H", &format!("authorization: Bearer {token}"), &yett.url("public")])
}

fn ask_with(yett: &Yett, token: &str, proof: &str) -> Answer {
    let (token, proof) = (format!("authorization: DPoP {token}"), format!("dpop: {proof}"));
    curl(&["-H", &token, "-H", &proof, &yett.url("public")])
}

#[test]
fn a_token_that_says_nothing_by_itself_is_asked_about() {
    let provider = Provider::start();
    let backend = Backend::says("hi");
    let yett = start(&config(&backend, &asks(&provider, ", scopes: [\"orders:read\"]"), PUBLIC));
    let token = provider.token("shop", "scope=orders:read", &[]);
    assert!(!token.contains('.'), "{token}");
    for _ in 0..3 {
        assert_eq!(ask(&yett, &token).status, 200);
    }
    let seen = backend.seen();
    assert_eq!(seen[0].header("authorization"), None);
    assert_eq!(seen[0].header("x-yett-consumer").as_deref(), Some("127.0.0.1/shop"));
    assert_eq!(yett.count("yett_introspections_total", &["outcome=\"active\""]), 1);
    let answer = ask(&yett, &provider.token("shop", "scope=orders:write", &[]));
    assert_eq!(answer.status, 403);
    let answer = ask(&yett, "nonsense");
    assert_eq!(answer.status, 401);
    let challenge = answer.header("www-authenticate").unwrap();
    assert_eq!(challenge, "Bearer realm=\"yett\", error=\"invalid_token\"");
    yett.access.expect(&["credentials_invalid", "the token is not active"]);
    let foreign = provider.token("shop", "scope=orders:read&resource=urn:other", &[]);
    assert_eq!(ask(&yett, &foreign).status, 401);
    for text in [yett.access.text(), yett.log.text(), yett.status().to_string()] {
        assert!(!text.contains(&token) && !text.contains(SECRET));
    }
}

#[test]
fn a_revoked_token_ends_when_its_answer_does() {
    let provider = Provider::start();
    let backend = Backend::says("hi");
    let yett = start(&config(&backend, &asks(&provider, ", cache: { ttl: 1s }"), PUBLIC));
    let token = provider.token("shop", "scope=orders:read", &[]);
    assert_eq!(ask(&yett, &token).status, 200);
    let (form, url) = (format!("token={token}"), format!("{}/token/revocation", provider.url));
    let answer = curl(&["-u", "shop:a-secret-of-shop", "-d", &form, &url]);
    assert_eq!(answer.status, 200, "{}", answer.body);
    until_true("the token is refused", || ask(&yett, &token).status == 401);
}

#[test]
fn a_provider_that_dies_is_no_fault_of_those_who_show_tokens() {
    let mut provider = Provider::start();
    let backend = Backend::says("hi");
    let yett = start(&config(&backend, &asks(&provider, ""), PUBLIC));
    let used = provider.token("shop", "scope=orders:read", &[]);
    let unused = provider.token("shop", "scope=orders:read", &[]);
    assert_eq!(ask(&yett, &used).status, 200);
    provider.node.kill();
    assert_eq!(ask(&yett, &used).status, 200);
    let answer = ask(&yett, &unused);
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("identity_unavailable"), "{}", answer.body);
    assert!(answer.header("retry-after").is_some());
    yett.log.expect(&["the introspection endpoint could not be asked"]);
    assert!(yett.count("yett_introspections_total", &["outcome=\"failed\""]) > 0);
}

#[test]
fn a_wrong_secret_of_the_gateway_is_told_in_the_log_only() {
    let provider = Provider::start();
    let backend = Backend::says("hi");
    let config = config(&backend, &asks(&provider, ""), PUBLIC);
    let yett = Launch::new(&config).env("SECRET", "wr0ng-secret").start();
    let answer = ask(&yett, &provider.token("shop", "scope=orders:read", &[]));
    assert_eq!(answer.status, 503);
    yett.log.expect(&["could not be asked", "are `client_id` and `client_secret` right?"]);
    assert!(!yett.log.text().contains("wr0ng-secret"));
}

/// A token of one kind, bound to a key, shown in all ways.
fn check_bound(policy: &str, provider: &mut Provider, form: &str) {
    let backend = Backend::says("hi");
    let yett = start(&config(&backend, policy, PUBLIC));
    let url = yett.url("public");
    let token = provider.bound(form);
    let bare = provider.proof("GET", &url, &token, "-");
    let answer = ask_with(&yett, &token, &bare);
    assert_eq!(answer.status, 401);
    let challenge = answer.header("www-authenticate").unwrap();
    assert!(challenge.starts_with("DPoP ") && challenge.contains("use_dpop_nonce"), "{challenge}");
    let nonce = answer.header("dpop-nonce").unwrap();
    let proof = provider.proof("GET", &url, &token, &nonce);
    assert_eq!(ask_with(&yett, &token, &proof).status, 200);
    let seen = backend.seen();
    assert_eq!(seen[0].header("authorization"), None);
    assert_eq!(seen[0].header("dpop"), None);
    assert_eq!(ask_with(&yett, &token, &proof).status, 401, "a proof is believed once");
    yett.access.expect(&["the proof was shown before"]);
    assert_eq!(ask(&yett, &token).status, 401, "without a proof it is nothing");
    let other = provider.proof("GET", &format!("{url}x"), &token, &nonce);
    assert_eq!(ask_with(&yett, &token, &other).status, 401);
    let free = provider.token("shop", form, &[]);
    assert_eq!(ask(&yett, &free).status, 401, "tokens must be bound");
    assert!(!yett.log.text().contains(&token) && !yett.access.text().contains(&token));
    // Nonces and proofs outlive a reload.
    yett.reload(config(&backend, policy, PUBLIC).replace("all:", "all2:"));
    assert_eq!(ask_with(&yett, &token, &proof).status, 401);
    let again = provider.proof("GET", &url, &token, &nonce);
    assert_eq!(ask_with(&yett, &token, &again).status, 200);
}

#[test]
fn an_opaque_token_that_is_bound_to_a_key_is_good_with_a_proof_only() {
    let mut provider = Provider::start();
    let policy = asks(&provider, ", sender: { required: dpop, nonce: true }");
    check_bound(&policy, &mut provider, "scope=orders:read");
}

#[test]
fn a_signed_token_that_is_bound_to_a_key_is_good_with_a_proof_only() {
    let mut provider = Provider::start();
    let url = &provider.url;
    let policy = format!(
        "jwt: {{ issuer: \"{url}\", audience: \"urn:jwt\", sender: {{ required: dpop, nonce: true }} }}"
    );
    check_bound(&policy, &mut provider, "scope=orders:read&resource=urn:jwt");
}

#[test]
fn a_token_that_is_bound_to_a_certificate_is_good_with_that_one_only() {
    let provider = Provider::start();
    let backend = Backend::says("hi");
    let authority = Authority::new();
    let (own, other) = (authority.sign(&["bank.test"]), authority.sign(&["other.test"]));
    let server = authority.sign(&["localhost"]);
    let listeners = "listeners: { public: { bind: \"127.0.0.1:0\", tls: { certificates: [{ cert: server.pem, key: server.key }], client: { ca: ca.pem, mode: optional } } } }\n";
    let yett = Launch::new(&config(&backend, &asks(&provider, ", sender: certificate"), listeners))
        .env("SECRET", SECRET)
        .file("ca.pem", &authority.ca_pem)
        .file("server.pem", &server.cert_pem)
        .file("server.key", &server.key_pem)
        .file("own.pem", format!("{}{}", own.cert_pem, own.key_pem))
        .file("other.pem", format!("{}{}", other.cert_pem, other.key_pem))
        .start();
    let shown = own.cert_pem.replace('\n', "%0A").replace('+', "%2B").replace(' ', "%20");
    let shown = format!("x-certificate: {shown}");
    let token = provider.token("bank", "scope=orders:read", &["-H", &shown]);
    let address = yett.address("public").replace("127.0.0.1", "localhost");
    let url = format!("https://{address}/");
    let with = |certificate: &str| {
        let bearer = format!("authorization: Bearer {token}");
        let (ca, pem) = (yett.path("ca.pem"), yett.path(certificate));
        let mut arguments = vec!["--cacert", ca.to_str().unwrap(), "-H", &bearer];
        if !certificate.is_empty() {
            arguments.extend(["--cert", pem.to_str().unwrap()]);
        }
        arguments.push(&url);
        curl(&arguments).status
    };
    assert_eq!(with("own.pem"), 200);
    assert_eq!(with("other.pem"), 401);
    assert_eq!(with(""), 401);
    yett.access.expect(&["bound to another client certificate"]);
}
