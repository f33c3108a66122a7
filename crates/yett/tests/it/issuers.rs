//! Tokens of a real OpenID provider, which rotates its keys and dies.

use super::backend::Backend;
use super::client::{Answer, Load, curl, get};
use super::node::Node;
use super::wait::until_true;
use super::yett::{PUBLIC, TOP, Yett};
use serde_json::Value;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/issuer.mjs");

/// A provider.
struct Issuer {
    node: Node,
    url: String,
}

impl Issuer {
    fn start() -> Self {
        let node = Node::start(SCRIPT, &[]);
        let url = format!("http://127.0.0.1:{}", node.port());
        Self { node, url }
    }

    /// A token by client credentials, with a scope.
    fn token(&self, scope: &str) -> String {
        let form = format!("grant_type=client_credentials&scope={scope}");
        let url = format!("{}/token", self.url);
        let answer = curl(&["-u", "shop:a-secret-of-the-shop", "-d", &form, &url]);
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        body["access_token"].as_str().unwrap_or_else(|| panic!("{}", answer.body)).to_owned()
    }

    /// Gives an order and waits until it is done.
    fn order(&mut self, order: &str, count: usize) {
        self.node.order(order);
        until_true("the provider has done it", || {
            let done = format!("done {order}");
            self.node.told.all().iter().filter(|line| **line == done).count() == count
        });
    }
}

fn start(issuer: &Issuer, backend: &Backend, more: &str) -> Yett {
    let (target, url) = (backend.address, &issuer.url);
    Yett::start(&format!(
        "{TOP}{PUBLIC}upstreams: {{ backend: {{ targets: [\"{target}\"] }} }}\napis: {{ all: {{ upstream: backend, policies: [{{ jwt: {{ issuer: \"{url}\", audience: \"urn:orders\"{more} }} }}] }} }}\n"
    ))
}

fn ask(yett: &Yett, token: &str) -> Answer {
    curl(&["-H", &format!("authorization: Bearer {token}"), &yett.url("public")])
}

#[test]
fn a_token_of_a_provider_that_is_discovered_is_believed() {
    let issuer = Issuer::start();
    let backend = Backend::says("hi");
    let yett = start(&issuer, &backend, ", scopes: [\"orders:read\"], token_type: at+jwt");
    let token = issuer.token("orders:read");
    assert_eq!(ask(&yett, &token).status, 200);
    let seen = backend.seen();
    assert_eq!(seen[0].header("authorization"), None);
    assert_eq!(seen[0].header("x-yett-consumer").as_deref(), Some("127.0.0.1/shop"));
    let answer = ask(&yett, &issuer.token("orders:write"));
    assert_eq!(answer.status, 403);
    let challenge = answer.header("www-authenticate").unwrap();
    assert!(challenge.contains("insufficient_scope"), "{challenge}");
    let (signed, _) = token.rsplit_once('.').unwrap();
    let answer = ask(&yett, &format!("{signed}.AAAA"));
    assert_eq!(answer.status, 401);
    let challenge = answer.header("www-authenticate").unwrap();
    assert_eq!(challenge, "Bearer realm=\"yett\", error=\"invalid_token\"");
    yett.access.expect(&["credentials_invalid", "the signature is wrong"]);
    assert!(!yett.access.text().contains(signed) && !yett.log.text().contains(signed));
    assert_eq!(get(&yett.address("public"), "/").status, 401);
}

#[test]
fn keys_are_rotated_under_load_without_a_wrong_answer() {
    let mut issuer = Issuer::start();
    let backend = Backend::says("hi");
    let yett = start(&issuer, &backend, "");
    let first = issuer.token("orders:read");
    let header = format!("authorization: Bearer {first}");
    let load = Load::start_with(&yett.url("public"), &["-H", &header]);
    for count in 1..=3 {
        issuer.order("rotate", count);
        let token = issuer.token("orders:read");
        assert_eq!(ask(&yett, &token).status, 200, "after {count} rotations");
        assert_eq!(ask(&yett, &first).status, 200);
    }
    let counted = load.end();
    assert!(counted.requests > 0 && counted.failures.is_empty(), "{counted:?}");
}

#[test]
fn a_key_that_is_taken_back_counts_no_more_once_keys_are_fetched() {
    let mut issuer = Issuer::start();
    let backend = Backend::says("hi");
    let yett = start(&issuer, &backend, "");
    let old = issuer.token("orders:read");
    assert_eq!(ask(&yett, &old).status, 200);
    issuer.order("rotate", 1);
    issuer.order("forget", 1);
    assert_eq!(ask(&yett, &issuer.token("orders:read")).status, 200);
    assert_eq!(ask(&yett, &old).status, 401);
}

#[test]
fn a_provider_that_dies_locks_nobody_out_whose_key_is_known() {
    let mut issuer = Issuer::start();
    let backend = Backend::says("hi");
    let yett = start(&issuer, &backend, "");
    let (used, unused) = (issuer.token("orders:read"), issuer.token("orders:write"));
    assert_eq!(ask(&yett, &used).status, 200);
    issuer.order("rotate", 1);
    let of_new_key = issuer.token("orders:read");
    issuer.node.kill();
    assert_eq!(ask(&yett, &used).status, 200);
    assert_eq!(ask(&yett, &unused).status, 200);
    let answer = ask(&yett, &of_new_key);
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("identity_unavailable"), "{}", answer.body);
    assert!(answer.header("retry-after").is_some());
    yett.log.expect(&["the keys of the issuer could not be fetched"]);
    assert_eq!(yett.count("yett_issuer_keys", &[]), 1);
    assert!(yett.count("yett_issuer_fetches_total", &["outcome=\"failed\""]) > 0);
}
