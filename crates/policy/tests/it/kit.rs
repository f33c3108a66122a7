//! One case: policies, a request, and what becomes of it, in short texts.

use base::Secret;
use std::fmt::Write as _;
use testkit::gateway::BACKEND;
use testkit::{Backend, Surroundings, TestGateway};

/// A key of `alice` that was made elsewhere; in requests `KEY` stands for one of our own making.
pub(crate) const FOREIGN_KEY: &str = "alice-has-had-this-for-years";

/// A key of alice's application `planned`, which has the plan `small`.
pub(crate) const PLANNED_KEY: &str = "planned-for-years";

/// A key of alice's application `counted`, which has the plan `counted`.
pub(crate) const COUNTED_KEY: &str = "counted-for-years";

/// The hash of alice's password, `password`.
const PASSWORD: &str =
    "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";

/// Where the upstream `two` is, which no route has for its own.
pub(crate) const OTHER: &str = "10.0.0.2:80";

/// Where an external authoriser is, see [`super::ext_authz::authoriser`].
pub(crate) const AUTHORISER: &str = "10.0.0.3:80";

/// One request to a gateway with one route.
pub(crate) struct Case {
    /// The route's path.
    pub(crate) path: &'static str,
    /// The route's policies, a list in flow style.
    pub(crate) policies: &'static str,
    /// The request, with plain line breaks; `host: api.test` is added.
    pub(crate) request: &'static str,
    /// The answer, as [`told`] puts it.
    pub(crate) told: &'static str,
    /// The request as the backend saw it, as [`saw`] puts it; empty if it saw none.
    pub(crate) saw: &'static str,
}

/// A gateway with the consumer `alice` of the group `admin`, the backend behind it, and the key.
pub(crate) fn gateway(path: &str, policies: &str) -> (TestGateway, Secret) {
    let (key, hash) = policy::key::generate().unwrap();
    let foreign = policy::key::hash(FOREIGN_KEY.as_bytes());
    let marks = ["hmac", "mtls", "api_key", "basic", "jwt", "introspection", "consumer: {"];
    let identifies =
        marks.iter().any(|kind| policies.contains(kind)) && !policies.contains("internal_jwt");
    let identifies = identifies || policies.contains("[api_key");
    let public = if identifies { "" } else { "public: a test, " };
    let config = format!(
        "version: 1
listeners: {{ public: {{ bind: '127.0.0.1:8080' }} }}
upstreams: {{ one: {{ targets: ['{BACKEND}'], retries: 0 }}, two: {{ targets: ['{OTHER}'], retries: 0 }} }}
apis: {{ test: {{ upstream: one, {public}routes: [{{ path: '{path}', policies: {policies} }}] }} }}
roles: {{ clerk: {{ test: [read, create] }}, approver: {{ test: {{ permissions: approve, methods: [POST] }} }} }}
consumers: {{ alice: {{ groups: [admin], roles: [clerk], keys: ['{}', '{}'], applications: {{ desk: {{ basic: [{{ username: alice, password: '{PASSWORD}' }}] }}, planned: {{ plan: small, keys: ['{}'] }}, counted: {{ plan: counted, keys: ['{}'] }} }} }} }}
plans: {{ small: {{ limit: 2/min }}, counted: {{ quota: 1k/month }} }}
",
        written(&hash),
        written(&foreign),
        written(&policy::key::hash(PLANNED_KEY.as_bytes())),
        written(&policy::key::hash(COUNTED_KEY.as_bytes())),
    );
    let surroundings = Surroundings::of(&config).env("SECRET", "a secret");
    let places = [("192.0.2.0/24", serde_json::json!({ "country": { "iso_code": "IE" } }))];
    let database = testkit::mmdb::database("Test-Country", &places);
    let surroundings = surroundings.file("country.mmdb", database);
    let gateway = TestGateway::within(&surroundings);
    gateway.put(BACKEND, Backend::answer("HTTP/1.1 200 OK\nserver: one\ncontent-length: 2\n\nok"));
    gateway.put(super::towards_backends::ISSUER, super::towards_backends::issuer());
    gateway.put(AUTHORISER, super::ext_authz::authoriser());
    gateway.put(super::ext_authz::DENIER, super::ext_authz::denier());
    gateway.put(OTHER, Backend::answer("HTTP/1.1 200 OK\nserver: two\ncontent-length: 2\n\nok"));
    (gateway, key)
}

/// A hash as configs have it.
pub(crate) fn written(hash: &[u8]) -> String {
    hash.iter().fold("sha256:".to_owned(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// Runs one case; what differs, if anything does.
pub(crate) async fn difference(case: &Case) -> Option<String> {
    let (gateway, key) = gateway(case.path, case.policies);
    let request = case.request.replace("KEY", key.reveal());
    let told = told(&gateway.ask(&request).await);
    let seen = gateway.seen();
    let saw = seen.iter().map(|seen| saw(seen)).collect::<Vec<_>>().join("\n---\n");
    let is_as_expected = told == case.told && saw == case.saw;
    let (policies, request) = (case.policies, case.request);
    (!is_as_expected).then(|| format!("{policies}\n{request}\ntold: {told:?}\n saw: {saw:?}\n"))
}

/// An answer in short: status, fault code and detail; headers, sorted; an empty line and the body, if it
/// is no fault's. What every answer has is left out.
pub(crate) fn told(answer: &str) -> String {
    let (head, body) = answer.split_once("\n\n").unwrap_or((answer, ""));
    let mut told = head.split(' ').nth(1).unwrap_or("no answer").to_owned();
    let is_fault = head.contains("application/problem+json");
    if is_fault {
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
        write!(told, " {}", text("code")).unwrap();
        if !text("detail").is_empty() {
            write!(told, ": {}", text("detail")).unwrap();
        }
    }
    let usual = ["content-length: ", "server: one", "content-type: application/problem+json"];
    push_headers(&mut told, head, &usual);
    if !is_fault && !body.is_empty() && body != "ok" {
        write!(told, "\n\n{body}").unwrap();
    }
    told
}

/// A request as a backend saw it, in short: method and target; headers, sorted, without what every
/// request has; an empty line and the body, if there is one.
pub(crate) fn saw(seen: &str) -> String {
    let (head, body) = seen.split_once("\n\n").unwrap_or((seen, ""));
    let mut saw = head.split(" HTTP/").next().unwrap_or_default().to_owned();
    let usual =
        ["host: api.test", "x-forwarded-", "x-request-id: ", "traceparent: ", "content-length: "];
    push_headers(&mut saw, head, &usual);
    if !body.is_empty() {
        write!(saw, "\n\n{body}").unwrap();
    }
    saw
}

fn push_headers(text: &mut String, head: &str, usual: &[&str]) {
    let mut lines: Vec<&str> =
        head.lines().skip(1).filter(|line| !usual.iter().any(|u| line.starts_with(u))).collect();
    lines.sort_unstable();
    for line in lines {
        write!(text, "\n{line}").unwrap();
    }
}
