//! How the gateway proves to backends who it is, and that no secret is seen on the way.

use super::backend::{Backend, answer};
use super::client::{curl, get};
use super::python::Python;
use super::wait::until_true;
use super::yett::{Launch, PUBLIC, TOP, Yett, run};

const ISSUER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/issuer.py");
const SECRET: &str = "s:cret-4711";

fn config(backend: &Backend, policies: &str) -> String {
    format!(
        "{TOP}{PUBLIC}upstreams: {{ backend: {{ targets: [\"{}\"] }} }}\napis: {{ all: {{ upstream: backend, public: a test, policies: {policies} }} }}\n",
        backend.address
    )
}

fn client_credentials(port: &str) -> String {
    format!(
        "[{{ backend_auth: {{ client_credentials: {{ token_url: \"http://127.0.0.1:{port}/token\", client_id: \"gate way\", client_secret: \"${{env:CLIENT_SECRET}}\", scope: \"read write\", audience: orders }} }} }}]"
    )
}

fn ask(yett: &Yett) -> (u16, String) {
    let answer = curl(&[&format!("{}/", yett.url("public")), "-H", "authorization: Bearer theirs"]);
    (answer.status, answer.body)
}

/// What a backend got to see in `authorization`.
fn shown(backend: &Backend) -> Option<String> {
    backend.seen().pop().and_then(|seen| seen.header("authorization"))
}

#[test]
fn a_token_is_obtained_once_and_lasts_through_an_outage_of_its_issuer() {
    let mut issuer = Python::start(ISSUER, &["3600"]);
    let backend = Backend::echo();
    let text = config(&backend, &client_credentials(&issuer.port()));
    let yett = Launch::new(&text).env("CLIENT_SECRET", SECRET).start();
    for _ in 0..3 {
        assert_eq!(ask(&yett).0, 200);
        assert_eq!(shown(&backend).as_deref(), Some("Bearer t1-own"));
    }
    let asked = issuer.told.expect(&["asked gate%20way", "client_credentials"]);
    assert!(asked.contains("('scope', 'read write')") && asked.contains("('audience', 'orders')"));
    issuer.order("down");
    issuer.told.expect(&["is down"]);
    // A reload keeps the token.
    yett.reload(text.replace("public: a test", "public: another test"));
    assert_eq!(ask(&yett).0, 200);
    assert_eq!(shown(&backend).as_deref(), Some("Bearer t1-own"));
    assert_eq!(yett.count("yett_backend_tokens_total", &["outcome=\"obtained\""]), 1);
}

#[test]
fn without_a_token_requests_are_refused_until_there_is_one() {
    let mut issuer = Python::start(ISSUER, &["3600"]);
    issuer.port();
    issuer.order("down");
    issuer.told.expect(&["is down"]);
    let backend = Backend::echo();
    let text = config(&backend, &client_credentials(&issuer.port()));
    let yett = Launch::new(&text).env("CLIENT_SECRET", SECRET).start();
    let (status, body) = ask(&yett);
    assert!(status == 503 && body.contains("backend_credentials_unavailable"), "{body}");
    assert!(backend.seen().is_empty());
    yett.access.expect(&["backend_credentials_unavailable", "it answers 500, server_error"]);
    issuer.order("up");
    until_true("a token is obtained", || ask(&yett).0 == 200);
}

#[test]
fn a_token_is_renewed_in_the_background_before_it_ends() {
    let issuer = Python::start(ISSUER, &["2"]);
    let backend = Backend::echo();
    let text = config(&backend, &client_credentials(&issuer.port()));
    let _yett = Launch::new(&text).env("CLIENT_SECRET", SECRET).start();
    // Nobody makes a request.
    until_true("three tokens were obtained", || {
        issuer.told.all().iter().filter(|line| line.starts_with("asked")).count() >= 3
    });
}

#[test]
fn the_callers_token_is_exchanged_once_for_each_caller() {
    let issuer = Python::start(ISSUER, &["3600"]);
    let backend = Backend::echo();
    let policies = format!(
        "[{{ introspection: {{ url: \"http://127.0.0.1:{port}/introspect\", client_id: me, client_secret: \"${{env:CLIENT_SECRET}}\", keep: true }} }}, {{ backend_auth: {{ token_exchange: {{ token_url: \"http://127.0.0.1:{port}/token\", audience: orders }} }} }}]",
        port = issuer.port()
    );
    let text = config(&backend, &policies).replace("public: a test, ", "");
    let yett = Launch::new(&text).env("CLIENT_SECRET", SECRET).start();
    let ask = |token: &str| {
        let url = format!("{}/", yett.url("public"));
        curl(&[&url, "-H", &format!("authorization: Bearer {token}")]);
        shown(&backend).unwrap()
    };
    assert_eq!(ask("alice"), "Bearer t1-alice");
    assert_eq!(ask("bob"), "Bearer t2-bob");
    assert_eq!(ask("alice"), "Bearer t1-alice");
}

#[test]
fn secrets_reach_the_backend_and_nobody_else() {
    let issuer = Python::start(ISSUER, &["3600"]);
    // It refuses whatever it is shown.
    let backend = Backend::start(|_, stream| answer(stream, "401 Unauthorized", "", b"no"));
    let own = client_credentials(&issuer.port());
    let fixed = |way: &str| format!("[{{ backend_auth: {way} }}]");
    for (policies, expected) in [
        (
            fixed("{ basic: { username: me, password: \"${env:CLIENT_SECRET}\" } }"),
            "Basic bWU6czpjcmV0LTQ3MTE=",
        ),
        (fixed("{ bearer: \"${env:CLIENT_SECRET}\" }"), "Bearer s:cret-4711"),
        (fixed("{ api_key: { header: x-key, value: \"${env:CLIENT_SECRET}\" } }"), "s:cret-4711"),
        (own, "Bearer t1-own"),
    ] {
        let launch = Launch::new(&config(&backend, &policies)).env("CLIENT_SECRET", SECRET);
        let yett = launch.log("debug").start();
        assert_eq!(ask(&yett).0, 401);
        let seen = backend.seen().pop().unwrap();
        let shown = seen.header("x-key").or_else(|| seen.header("authorization"));
        assert_eq!(shown.as_deref(), Some(expected));
        yett.access.expect(&["401"]);
        let mut told =
            vec![yett.log.text(), yett.access.text(), yett.metrics(), yett.status().to_string()];
        for page in ["/", "/log"] {
            told.push(get(&yett.admin(), page).body);
        }
        for command in [
            &["explain", "yett.yaml", "GET", "http://a.test/"][..],
            &["check", "yett.yaml"],
            &["fmt", "yett.yaml"],
        ] {
            let ended = run(yett.path("").as_path(), command);
            told.extend([ended.out, ended.err]);
        }
        for text in told {
            for secret in
                [SECRET, "bWU6czpjcmV0LTQ3MTE", "Z2F0ZSUyMHdheTpzJTNBY3JldC00NzEx", "t1-own"]
            {
                assert!(!text.contains(secret), "{secret} is in {text}");
            }
        }
    }
}
