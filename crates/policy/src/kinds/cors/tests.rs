use super::KIND;
use crate::fixture::{self, lines};
use serde_json::{Value, json};

fn settings() -> Value {
    json!({
        "origins": ["https://app.example.com", "https://*.example.org"],
        "methods": ["GET", "PUT"],
        "headers": ["Content-Type", "x-api-key"],
        "expose": ["x-total"],
        "max_age": "1h",
    })
}

fn preflight(origin: &str, method: &str, headers: &str) -> String {
    let mut text = format!("OPTIONS /\norigin: {origin}\naccess-control-request-method: {method}");
    if !headers.is_empty() {
        text += &format!("\naccess-control-request-headers: {headers}");
    }
    text
}

#[test]
fn a_preflight_is_answered_here() {
    let cors = fixture::built(&KIND, &settings());
    let request = preflight("https://app.example.com", "PUT", "content-type, X-API-Key");
    let answer = cors.answer(&mut fixture::exchange(&request));
    assert_eq!(answer.status.as_u16(), 204);
    assert_eq!(
        lines(&answer.headers),
        [
            "access-control-allow-headers: content-type, X-API-Key",
            "access-control-allow-methods: PUT",
            "access-control-allow-origin: https://app.example.com",
            "access-control-max-age: 3600",
            "vary: origin, access-control-request-method, access-control-request-headers",
        ]
    );
}

#[test]
fn a_preflight_for_anything_that_is_not_listed_is_refused() {
    let cors = fixture::built(&KIND, &settings());
    let app = "https://app.example.com";
    for (origin, method, headers, expected) in [
        (app, "GET", "", "answer 204"),
        ("https://a.b.example.org", "GET", "", "answer 204"),
        ("https://example.org", "GET", "", "cors_refused"),
        ("https://evilexample.org", "GET", "", "cors_refused"),
        ("https://evil.com/.example.org", "GET", "", "cors_refused"),
        ("http://app.example.com", "GET", "", "cors_refused"),
        ("https://app.example.com.evil.com", "GET", "", "cors_refused"),
        ("null", "GET", "", "cors_refused"),
        (app, "DELETE", "", "cors_refused"),
        (app, "get", "", "cors_refused"),
        (app, "GET", "x-other", "cors_refused"),
        (app, "GET", "content-type, x-other", "cors_refused"),
    ] {
        let request = preflight(origin, method, headers);
        let outcome = cors.request(&mut fixture::exchange(&request));
        assert_eq!(outcome, expected, "{origin} {method} {headers}");
    }
}

#[test]
fn answers_tell_which_origin_may_read_them() {
    for (settings, origin, expected) in [
        (
            settings(),
            "\norigin: https://app.example.com",
            &[
                "access-control-allow-origin: https://app.example.com",
                "access-control-expose-headers: x-total",
                "vary: accept",
                "vary: origin",
            ][..],
        ),
        (settings(), "\norigin: https://evil.com", &["vary: accept", "vary: origin"]),
        (settings(), "", &["vary: accept", "vary: origin"]),
        (
            json!("*"),
            "\norigin: https://any.example",
            &["access-control-allow-origin: *", "vary: accept"],
        ),
        (
            json!({ "origins": "https://a.example", "credentials": true }),
            "\norigin: https://a.example",
            &[
                "access-control-allow-credentials: true",
                "access-control-allow-origin: https://a.example",
                "vary: accept",
                "vary: origin",
            ],
        ),
    ] {
        let cors = fixture::built(&KIND, &settings);
        let mut exchange = fixture::exchange(&format!("GET /{origin}"));
        assert_eq!(cors.request(&mut exchange), "continue");
        let upstream = [("access-control-allow-origin", "https://evil.com"), ("vary", "accept")];
        let reply = cors.reply(&mut exchange, &upstream);
        assert_eq!(lines(&reply.headers), expected, "{settings} {origin}");
    }
}

#[test]
fn any_header_and_the_routes_own_methods_can_be_allowed() {
    let cors = fixture::built(&KIND, &json!({ "origins": "*", "headers": "*" }));
    let request = preflight("https://any.example", "PATCH", "x-what, x-ever");
    assert_eq!(cors.request(&mut fixture::exchange(&request)), "answer 204");
}

#[test]
fn wrong_settings_are_refused() {
    for (settings, part) in [
        (json!({ "origins": "*", "credentials": true }), "act for its visitors"),
        (json!({ "origins": [] }), "no origin is listed"),
        (json!("app.example.com"), "is not an origin"),
        (json!("https://app.example.com/"), "would never match"),
        (json!("https://App.example.com"), "would never match"),
        (json!("https://app.example.com:443"), "would never match"),
        (json!("https://a*.example.com"), "is not a host"),
        (json!("null"), "identifies nobody"),
        (json!({ "origins": "*", "expose": ["*"] }), "name the headers"),
        (json!({ "origins": "*", "methods": ["G ET"] }), "is no method"),
        (json!({ "origins": "*", "headers": ["a b"] }), "is no header"),
        (json!({ "origins": "*", "max_age": "3600" }), "is not a duration"),
    ] {
        fixture::refuses(&KIND, &settings, part);
    }
}
