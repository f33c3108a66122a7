use crate::it::kit::{Case, gateway};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use std::time::Duration;
use testkit::gateway::BACKEND;
use testkit::{Act, Authority, Backend, Surroundings, TestGateway};

pub(crate) const IDENTITY_HEADERS: &[Case] = &[
    Case {
        path: "/*",
        policies: "[api_key, { identity_headers: { consumer: x-user } }]",
        request: "GET /a HTTP/1.1\nx-api-key: KEY\nx-user: root\nX_USER: root\nx-yett-groups: root\n",
        told: "200",
        saw: "GET /a\nx-user: alice\nx-yett-consumer: alice\nx-yett-groups: admin",
    },
    Case {
        path: "/*",
        policies: "[identity_headers: { consumer: x-user }]",
        request: "GET /a HTTP/1.1\nx-user: root\n",
        told: "200",
        saw: "GET /a",
    },
];

pub(crate) const INTERNAL_JWT: &[Case] = &[
    Case {
        path: "/*",
        policies: "[internal_jwt: { issuer: yett, audience: a }]",
        request: "GET /a HTTP/1.1\nauthorization: Bearer forged\n",
        told: "200",
        saw: "GET /a",
    },
    Case {
        path: "/*",
        policies: "[internal_jwt: { issuer: yett, audience: a, header: x-token }]",
        request: "GET /a HTTP/1.1\nx_token: forged\nauthorization: Bearer other\n",
        told: "200",
        saw: "GET /a\nauthorization: Bearer other",
    },
];

/// A token endpoint that gives a token to everybody.
pub(crate) const ISSUER: &str = "10.0.0.5:80";

pub(crate) fn issuer() -> Backend {
    let body = "{\"access_token\":\"abc\",\"token_type\":\"Bearer\",\"expires_in\":60}";
    Backend::answer(&format!(
        "HTTP/1.1 200 OK\ncontent-type: application/json\ncontent-length: {}\n\n{body}",
        body.len()
    ))
}

pub(crate) const BACKEND_AUTH: &[Case] = &[
    Case {
        path: "/*",
        policies: "[{ jwt: { issuer: i, audience: a, keep: true, secret: '${env:SECRET}${env:SECRET}${env:SECRET}${env:SECRET}' } }, { backend_auth: { token_exchange: { token_url: 'http://10.0.0.5/token', audience: orders, client_id: me } } }]",
        request: "GET /a HTTP/1.1\nauthorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJpIiwiYXVkIjoiYSIsInN1YiI6ImFsaWNlIiwiZXhwIjo0MTAyNDQ0ODAwfQ.EGEL4nrTq9j9XCip6CqroV-zY04ZeWMt9eHj2VaBtwU\n",
        told: "200",
        saw: "POST /token\naccept: application/json\ncontent-type: application/x-www-form-urlencoded\nhost: 10.0.0.5\n\ngrant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token&requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token&audience=orders&client_id=me&subject_token=eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJpIiwiYXVkIjoiYSIsInN1YiI6ImFsaWNlIiwiZXhwIjo0MTAyNDQ0ODAwfQ.EGEL4nrTq9j9XCip6CqroV-zY04ZeWMt9eHj2VaBtwU\n---\nGET /a\nauthorization: Bearer abc\nx-yett-consumer: i/alice",
    },
    Case {
        path: "/*",
        policies: "[{ jwt: { from: { cookie: t }, issuer: i, audience: a, keep: true, secret: '${env:SECRET}${env:SECRET}${env:SECRET}${env:SECRET}' } }, { backend_auth: { token_exchange: { token_url: 'http://10.0.0.5/token' } } }]",
        request: "GET /a HTTP/1.1\ncookie: t=eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJpIiwiYXVkIjoiYSIsInN1YiI6ImFsaWNlIiwiZXhwIjo0MTAyNDQ0ODAwfQ.EGEL4nrTq9j9XCip6CqroV-zY04ZeWMt9eHj2VaBtwU\nauthorization: Basic eDp5\n",
        told: "503 backend_credentials_unavailable",
        saw: "",
    },
    Case {
        path: "/*",
        policies: "[{ jwt: { issuer: i, audience: a, keep: true, secret: '${env:SECRET}${env:SECRET}${env:SECRET}${env:SECRET}' } }, { backend_auth: { token_exchange: { token_url: 'http://10.0.0.4/token' } } }]",
        request: "GET /a HTTP/1.1\nauthorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJpIiwiYXVkIjoiYSIsInN1YiI6ImFsaWNlIiwiZXhwIjo0MTAyNDQ0ODAwfQ.EGEL4nrTq9j9XCip6CqroV-zY04ZeWMt9eHj2VaBtwU\n",
        told: "503 backend_credentials_unavailable",
        saw: "POST /token\naccept: application/json\ncontent-type: application/x-www-form-urlencoded\nhost: 10.0.0.4\n\ngrant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token&requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token&subject_token=eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJpIiwiYXVkIjoiYSIsInN1YiI6ImFsaWNlIiwiZXhwIjo0MTAyNDQ0ODAwfQ.EGEL4nrTq9j9XCip6CqroV-zY04ZeWMt9eHj2VaBtwU",
    },
];

pub(crate) const JWKS: &[Case] = &[
    Case {
        path: "/*",
        policies: "[jwks]",
        request: "GET /a HTTP/1.1\n",
        told: "200\ncache-control: public, max-age=300\ncontent-type: application/jwk-set+json\n\n{\"keys\":[]}",
        saw: "",
    },
    Case {
        path: "/*",
        policies: "[jwks: { max_age: 1m }]",
        request: "GET /a HTTP/1.1\n",
        told: "200\ncache-control: public, max-age=60\ncontent-type: application/jwk-set+json\n\n{\"keys\":[]}",
        saw: "",
    },
];

fn decoded(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// A token as a backend sees it, verified by the keys that are published: its head and what it says.
async fn verified(algorithm: &str) -> (Value, Value) {
    let signs = format!(
        "{{ internal_jwt: {{ issuer: yett, audience: orders, header: x-token, ttl: 90s, algorithm: {algorithm} }} }}"
    );
    let (signing, key) = gateway("/*", &format!("[api_key, {signs}]"));
    let answer = signing.ask(&format!("GET /a HTTP/1.1\nx-api-key: {}\n", key.reveal())).await;
    assert!(answer.contains(" 200 "), "{answer}");
    let seen = signing.seen().pop().unwrap();
    let token = seen.lines().find_map(|line| line.strip_prefix("x-token: ")).unwrap().to_owned();
    // The route that publishes takes over the keys of the one that signs.
    signing
        .reload(&format!(
            "version: 1\nlisteners: {{ public: {{ bind: '127.0.0.1:8080' }} }}\nupstreams: {{ one: {{ targets: ['10.0.0.1:80'] }} }}\napis: {{ test: {{ upstream: one, public: a test, routes: [{{ path: /keys, policies: [jwks] }}, {{ path: /a, policies: [{signs}] }}] }} }}\n"
        ))
        .unwrap();
    let answer = signing.ask("GET /keys HTTP/1.1\n").await;
    let set: Value = serde_json::from_str(answer.split_once("\n\n").unwrap().1).unwrap();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (head, claims) = message.split_once('.').unwrap();
    let head: Value = serde_json::from_slice(&decoded(head)).unwrap();
    let keys = set["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2, "the key that signs, and the next");
    let key = keys.iter().find(|key| key["kid"] == head["kid"]).unwrap();
    assert!(keys.iter().all(|key| key.get("d").is_none()));
    let x = decoded(key["x"].as_str().unwrap());
    let signature = decoded(signature);
    if algorithm == "es256" {
        let point = [&[4], &*x, &decoded(key["y"].as_str().unwrap())].concat();
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        key.verify(message.as_bytes(), &signature).unwrap();
    } else {
        UnparsedPublicKey::new(&ED25519, x).verify(message.as_bytes(), &signature).unwrap();
    }
    (head, serde_json::from_slice(&decoded(claims)).unwrap())
}

#[tokio::test(start_paused = true)]
async fn backends_can_verify_who_calls_by_the_keys_that_are_published() {
    for (algorithm, named) in [("es256", "ES256"), ("eddsa", "EdDSA")] {
        let (head, claims) = verified(algorithm).await;
        assert_eq!((&head["alg"], &head["typ"]), (&named.into(), &"JWT".into()));
        assert_eq!((&claims["iss"], &claims["aud"]), (&"yett".into(), &"orders".into()));
        assert_eq!((&claims["sub"], &claims["known"]), (&"alice".into(), &true.into()));
        assert_eq!(claims["groups"], serde_json::json!(["admin"]));
        let lifetime = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
        assert_eq!(lifetime, 90);
    }
}

fn names(set: &str) -> Vec<String> {
    let set: Value = serde_json::from_str(set.split_once("\n\n").unwrap().1).unwrap();
    let keys = set["keys"].as_array().unwrap();
    keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

const PUBLISHING: &str = "version: 1
listeners: { public: { bind: '127.0.0.1:8080' } }
upstreams: { one: { targets: ['10.0.0.1:80'] } }
apis: { test: { upstream: one, public: a test, routes: [{ path: /keys, policies: [jwks] }, { path: /a, policies: [{ internal_jwt: SETTINGS }] }] } }
";

#[tokio::test(start_paused = true)]
async fn a_made_key_is_published_before_it_signs_and_after() {
    let settings = "{ issuer: yett, audience: a, rotate: 1h }";
    let gateway = TestGateway::new(&PUBLISHING.replace("SETTINGS", settings));
    let now = names(&gateway.ask("GET /keys HTTP/1.1\n").await);
    gateway.advance(Duration::from_secs(3_601));
    let then = names(&gateway.ask("GET /keys HTTP/1.1\n").await);
    assert_eq!((now.len(), then.len()), (2, 3));
    assert_eq!((&then[0], &then[2]), (&now[1], &now[0]), "the next signs, the last is known");
    gateway.advance(Duration::from_secs(3_601));
    let later = names(&gateway.ask("GET /keys HTTP/1.1\n").await);
    assert!(!later.contains(&now[0]), "the one before is forgotten");
}

#[tokio::test(start_paused = true)]
async fn keys_of_files_are_published_and_outlive_a_restart() {
    let authority = Authority::new();
    let [first, next] = [authority.sign(&["a"]), authority.sign(&["b"])];
    let settings =
        "{ issuer: yett, audience: a, key: '${file:first.key}', publish: ['${file:next.key}'] }";
    let surroundings = Surroundings::of(&PUBLISHING.replace("SETTINGS", settings))
        .file("first.key", first.key_pem.as_bytes())
        .file("next.key", next.key_pem.as_bytes());
    let mut seen = Vec::new();
    for _ in 0..2 {
        let gateway = TestGateway::within(&surroundings);
        seen.push(names(&gateway.ask("GET /keys HTTP/1.1\n").await));
    }
    assert_eq!(seen[0].len(), 2);
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_the_backend_refuses_is_replaced_but_not_again_and_again() {
    let config = format!(
        "version: 1
listeners: {{ public: {{ bind: '127.0.0.1:8080' }} }}
upstreams: {{ one: {{ targets: ['{BACKEND}'] }} }}
apis: {{ test: {{ upstream: one, public: a test, policies: [{{ backend_auth: {{ client_credentials: {{ token_url: 'http://10.0.0.5/token', client_id: me, client_secret: '${{env:SECRET}}' }} }} }}] }} }}
"
    );
    let gateway = TestGateway::within(&Surroundings::of(&config).env("SECRET", "hush"));
    gateway.put(ISSUER, issuer());
    gateway.put(BACKEND, Backend::answer("HTTP/1.1 401 Unauthorized\ncontent-length: 0\n\n"));
    let asked = || gateway.seen().iter().filter(|seen| seen.starts_with("POST /token")).count();
    for (passes_s, expected) in [(0, 1), (1, 1), (12, 2), (1, 2), (1, 2)] {
        gateway.advance(Duration::from_secs(passes_s));
        let answer = gateway.ask("GET / HTTP/1.1\n").await;
        assert!(answer.contains(" 401 "), "{answer}");
        // What renews it has its turn.
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(asked(), expected, "after {passes_s} seconds");
    }
    gateway.put(ISSUER, Backend::answer("HTTP/1.1 500 Oops\ncontent-length: 0\n\n"));
    for _ in 0..2 {
        gateway.advance(Duration::from_secs(12));
        let answer = gateway.ask("GET / HTTP/1.1\n").await;
        assert!(answer.contains(" 401 "), "it goes on while there is no other: {answer}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_token_endpoint_that_never_ends_its_answer_holds_nobody_for_long() {
    let gateway = exchanging("200 OK", "{}");
    gateway.put(
        ISSUER,
        Backend::acts([
            Act::Answer("HTTP/1.1 200 OK\ncontent-length: 99\n\n{".to_owned()),
            Act::Hang,
        ]),
    );
    let request = "GET / HTTP/1.1\nauthorization: Bearer a\n";
    let asked = tokio::time::timeout(Duration::from_secs(7), gateway.ask(request)).await;
    assert!(asked.unwrap().contains("backend_credentials_unavailable"));
}

#[tokio::test(start_paused = true)]
async fn credentials_stand_neither_in_trailers_nor_in_another_spelling() {
    let (gateway, key) = gateway(
        "/*",
        "[{ any: [api_key, { jwt: { issuer: i, audience: a, from: { header: x-token }, secret: '${env:SECRET}${env:SECRET}${env:SECRET}${env:SECRET}' } }] }, { backend_auth: { api_key: { header: x-own, value: '${env:SECRET}' } } }]",
    );
    gateway.put(BACKEND, Backend::echo());
    let request = format!(
        "POST /a HTTP/1.1\r\nhost: api.test\r\nx-api-key: {}\r\nx-token: FORGED\r\nX_Token: FORGED\r\nx-own: FORGED\r\nx_own: FORGED\r\nx_api_key: FORGED\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n2\r\nhi\r\n0\r\nx-token: FORGED\r\nX_OWN: FORGED\r\nx-own: FORGED\r\ndpop: FORGED\r\nx-api-key: FORGED\r\nx-sum: 1\r\n\r\n",
        key.reveal()
    );
    let answer = gateway.ask_raw(request.as_bytes()).await;
    assert!(answer.contains(" 200 "), "{answer}");
    let seen = gateway.seen().pop().unwrap();
    assert!(seen.contains("hi") && !seen.contains("FORGED"), "{seen}");
}

/// A gateway that exchanges tokens at an endpoint that answers this.
fn exchanging(status: &str, body: &str) -> TestGateway {
    let config = format!(
        "version: 1
listeners: {{ public: {{ bind: '127.0.0.1:8080' }} }}
upstreams: {{ one: {{ targets: ['{BACKEND}'] }} }}
apis: {{ test: {{ upstream: one, policies: [{{ introspection: {{ url: 'http://10.0.0.9/ask', client_id: me, client_secret: '${{env:SECRET}}', keep: true }} }}, {{ backend_auth: {{ token_exchange: {{ token_url: 'http://10.0.0.5/token' }} }} }}] }} }}
"
    );
    let gateway = TestGateway::within(&Surroundings::of(&config).env("SECRET", "hush"));
    let active = r#"{"active":true,"sub":"alice"}"#;
    let active = format!("HTTP/1.1 200 OK\ncontent-length: {}\n\n{active}", active.len());
    gateway.put("10.0.0.9:80", Backend::answer(&active));
    let answer = format!("HTTP/1.1 {status}\ncontent-length: {}\n\n{body}", body.len());
    gateway.put(ISSUER, Backend::answer(&answer));
    gateway.put(BACKEND, Backend::answer("HTTP/1.1 200 OK\ncontent-length: 0\n\n"));
    gateway
}

/// Shows tokens one after the other, each after some milliseconds, and says how often the endpoint was asked by then;
/// all are refused with this code.
async fn shows(gateway: &TestGateway, code: &str, shown: &[(u64, &str, usize)]) {
    for (passes_ms, token, expected) in shown {
        gateway.advance(Duration::from_millis(*passes_ms));
        let request = format!("GET / HTTP/1.1\nauthorization: Bearer {token}\n");
        let answer = gateway.ask(&request).await;
        assert!(answer.contains(code), "{answer}");
        let asked = gateway.seen().iter().filter(|seen| seen.starts_with("POST /token")).count();
        assert_eq!(asked, *expected, "{token} after {passes_ms} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_cannot_be_exchanged_is_asked_about_once_and_others_are_not_kept_from_it() {
    let gateway = exchanging("400 Bad Request", r#"{"error":"invalid_request"}"#);
    let shown = [(0, "a", 1), (1, "a", 1), (1, "b", 2), (1, "c", 3), (1, "d", 4), (1, "e", 5)];
    shows(&gateway, "credentials_not_exchanged", &shown).await;
    let later = [(9_000, "a", 5), (1_000, "a", 6)];
    shows(&gateway, "credentials_not_exchanged", &later).await;
}

#[tokio::test(start_paused = true)]
async fn an_exchanged_token_goes_on_while_no_other_can_be_had_but_not_beyond_the_callers_own() {
    let token = r#"{"access_token":"abc","token_type":"Bearer","expires_in":3600}"#;
    let gateway = exchanging("200 OK", token);
    let soon = base::clock::unix_ms(gateway.clock.wall()) / 1_000 + 100;
    let active = format!(r#"{{"active":true,"sub":"alice","exp":{soon}}}"#);
    let active = format!("HTTP/1.1 200 OK\ncontent-length: {}\n\n{active}", active.len());
    gateway.put("10.0.0.9:80", Backend::answer(&active));
    let request = "GET / HTTP/1.1\nauthorization: Bearer a\n";
    let asked = || gateway.seen().iter().filter(|seen| seen.starts_with("POST /token")).count();
    assert!(gateway.ask(request).await.contains(" 200 "));
    gateway.put(BACKEND, Backend::answer("HTTP/1.1 401 Unauthorized\ncontent-length: 0\n\n"));
    gateway.put(ISSUER, Backend::answer("HTTP/1.1 500 Oops\ncontent-length: 0\n\n"));
    gateway.advance(Duration::from_secs(20));
    for _ in 0..3 {
        assert!(gateway.ask(request).await.contains(" 401 "), "the backend says so");
    }
    assert_eq!(asked(), 2, "once more after the backend has refused it");
    gateway.put(BACKEND, Backend::answer("HTTP/1.1 200 OK\ncontent-length: 0\n\n"));
    assert!(gateway.ask(request).await.contains(" 200 "));
    let later = soon + 200;
    let active = active.replace(&soon.to_string(), &later.to_string());
    gateway.put("10.0.0.9:80", Backend::answer(&active));
    gateway.advance(Duration::from_secs(90));
    assert!(gateway.ask(request).await.contains("backend_credentials_unavailable"));
}

#[tokio::test(start_paused = true)]
async fn a_token_endpoint_that_fails_is_left_alone_for_a_while() {
    for (status, body) in
        [("500 Oops", ""), ("401 Unauthorized", r#"{"error":"invalid_client"}"#), ("200 OK", "{}")]
    {
        let gateway = exchanging(status, body);
        let code = "backend_credentials_unavailable";
        shows(&gateway, code, &[(0, "a", 1), (1, "a", 1), (1, "b", 2), (1, "c", 3)]).await;
        shows(&gateway, code, &[(1, "d", 3), (1, "e", 3), (4_000, "d", 4), (1, "e", 4)]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_says_by_trailers_or_on_other_routes_who_calls() {
    let config = format!(
        "version: 1
listeners: {{ public: {{ bind: '127.0.0.1:8080' }} }}
upstreams: {{ one: {{ targets: ['{BACKEND}'] }} }}
apis: {{ test: {{ upstream: one, public: a test, routes: [{{ path: /a, policies: [{{ identity_headers: {{ consumer: x-user }} }}] }}, {{ path: /b }}] }} }}
"
    );
    let gateway = TestGateway::new(&config);
    gateway.put(BACKEND, Backend::echo());
    for path in ["/a", "/b"] {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: api.test\r\nx-user: root\r\nX_User: root\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n2\r\nhi\r\n0\r\nx-user: root\r\nX_USER: root\r\nx-sum: 1\r\n\r\n"
        );
        let answer = gateway.ask_raw(request.as_bytes()).await;
        assert!(answer.contains(" 200 "), "{answer}");
        let seen = gateway.seen().pop().unwrap();
        assert!(seen.contains("hi") && !seen.contains("root"), "{seen}");
    }
}
