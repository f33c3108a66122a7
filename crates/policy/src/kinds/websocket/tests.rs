use super::KIND;
use crate::fixture::{self, lines};
use serde_json::{Value, json};
use std::time::Duration;
use traffic::head::Scheme;
use traffic::upgrade::{Terms, Upgrade};
use traffic::{Body, Exchange};

const HANDSHAKE: &str =
    "GET /\nsec-websocket-version: 13\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";

/// A request that asks for a WebSocket.
fn asking(text: &str) -> Exchange {
    let mut exchange = fixture::exchange(text);
    exchange.upgrade = Some(Box::new(Upgrade {
        protocol: "websocket".parse().unwrap(),
        body: Body::empty(),
        is_connect: false,
        terms: None,
    }));
    exchange
}

fn terms(exchange: &Exchange) -> Option<Terms> {
    exchange.upgrade.as_ref().and_then(|upgrade| upgrade.terms)
}

fn check(settings: &Value, text: &str, expected: &str) {
    let mut exchange = asking(text);
    let outcome = fixture::built(&KIND, settings).request(&mut exchange);
    assert_eq!(outcome, expected, "{settings} {text}");
    assert_eq!(terms(&exchange).is_some(), expected == "continue", "{settings} {text}");
}

#[test]
fn a_websocket_is_allowed_for_a_while_of_silence() {
    let mut exchange = asking(HANDSHAKE);
    assert_eq!(fixture::built(&KIND, &json!({})).request(&mut exchange), "continue");
    let idle = Some(Duration::from_secs(300));
    assert_eq!(terms(&exchange), Some(Terms { idle, total: None }));
    let settings = json!({ "idle": "10s", "total": "1h" });
    assert_eq!(fixture::built(&KIND, &settings).request(&mut exchange), "continue");
    let total = Some(Duration::from_secs(3_600));
    assert_eq!(terms(&exchange), Some(Terms { idle: Some(Duration::from_secs(10)), total }));
}

#[test]
fn other_requests_pass() {
    let mut exchange = fixture::exchange("POST /\norigin: https://evil.example");
    assert_eq!(fixture::built(&KIND, &json!({})).request(&mut exchange), "continue");
}

#[test]
fn a_handshake_that_no_server_would_take_is_refused() {
    let key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
    for (text, expected) in [
        (format!("POST /\nsec-websocket-version: 13\n{key}"), "bad_request"),
        (format!("GET /\n{key}"), "websocket_version"),
        (format!("GET /\nsec-websocket-version: 8\n{key}"), "websocket_version"),
        (format!("GET /\nsec-websocket-version: 13, 8\n{key}"), "websocket_version"),
        (
            format!("GET /\nsec-websocket-version: 13\nsec-websocket-version: 8\n{key}"),
            "websocket_version",
        ),
        ("GET /\nsec-websocket-version: 13".to_owned(), "bad_request"),
        ("GET /\nsec-websocket-version: 13\nsec-websocket-key: short".to_owned(), "bad_request"),
        (format!("{HANDSHAKE}\n{key}"), "bad_request"),
    ] {
        check(&json!({}), &text, expected);
    }
}

#[test]
fn who_speaks_an_old_version_is_told_the_new_one() {
    let fault = fixture::built(&KIND, &json!({})).fault(&mut asking("GET /"));
    assert_eq!(fault.code.status().as_u16(), 426);
    let headers = fault.headers.into_iter().collect();
    assert_eq!(lines(&headers), ["sec-websocket-version: 13", "upgrade: websocket"]);
}

#[test]
fn over_http2_no_key_is_asked_for() {
    let mut exchange = asking("GET /\nsec-websocket-version: 13");
    exchange.upgrade.as_mut().unwrap().is_connect = true;
    assert_eq!(fixture::built(&KIND, &json!({})).request(&mut exchange), "continue");
}

#[test]
fn pages_of_other_origins_are_refused_unless_they_are_listed() {
    // The request is for `api.example.com` and came over TLS.
    for (settings, origin, expected) in [
        (json!({}), "https://api.example.com", "continue"),
        (json!({}), "https://api.example.com:443", "continue"),
        (json!({}), "http://api.example.com", "origin_refused"),
        (json!({}), "https://api.example.com:8443", "origin_refused"),
        (json!({}), "https://app.example.com", "origin_refused"),
        (json!({}), "https://api.example.com.evil.example", "origin_refused"),
        (json!({}), "ftp://api.example.com", "origin_refused"),
        (json!({}), "null", "origin_refused"),
        (json!("https://app.example.com"), "https://app.example.com", "continue"),
        (json!("https://app.example.com"), "https://api.example.com", "continue"),
        (json!("https://app.example.com"), "https://evil.example", "origin_refused"),
        (json!("https://*.example.org"), "https://a.example.org", "continue"),
        (json!({ "origins": ["*"] }), "null", "continue"),
        (json!({ "origins": ["*"] }), "https://evil.example", "continue"),
    ] {
        check(&settings, &format!("{HANDSHAKE}\norigin: {origin}"), expected);
    }
    let two = format!("{HANDSHAKE}\norigin: https://api.example.com\norigin: https://evil.example");
    check(&json!({}), &two, "origin_refused");
}

#[test]
fn without_tls_a_page_of_either_scheme_is_of_the_same_host() {
    for origin in ["http://api.example.com", "http://api.example.com:80", "https://api.example.com"]
    {
        let mut exchange = asking(&format!("{HANDSHAKE}\norigin: {origin}"));
        exchange.request.scheme = Scheme::Http;
        assert_eq!(
            fixture::built(&KIND, &json!({})).request(&mut exchange),
            "continue",
            "{origin}"
        );
    }
}

#[test]
fn settings_that_cannot_be_meant_are_refused() {
    fixture::refuses(&KIND, &json!({ "idle": "0s" }), "would end every WebSocket");
    fixture::refuses(&KIND, &json!({ "total": "0s" }), "would end every WebSocket");
    fixture::refuses(&KIND, &json!({ "origins": ["app.example.com"] }), "is not an origin");
    fixture::refuses(&KIND, &json!("null"), "identifies nobody");
}
