use super::KIND;
use crate::fixture::{self, drain};
use http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;
use traffic::{Body, Exchange, FaultCode, Response};

/// A request that failed.
fn failed(code: FaultCode, accept: &str) -> Exchange {
    let mut exchange = fixture::exchange(&format!("GET /\n{accept}"));
    exchange.record.fault = Some(code);
    exchange.record.detail = Some("a <detail>".into());
    exchange
}

/// The media type and body of its answer.
fn page(settings: &Value, exchange: &mut Exchange, status: u16) -> (String, String) {
    let mut reply = Response::new(StatusCode::from_u16(status).unwrap(), Body::full("its own"));
    reply.headers.append(http::header::CONTENT_TYPE, "application/problem+json".parse().unwrap());
    reply.headers.append(http::header::ETAG, "\"1\"".parse().unwrap());
    let reply = fixture::built(&KIND, settings).reply_with(exchange, reply);
    let has_page = exchange.record.has_page;
    assert_eq!(reply.headers.contains("vary"), has_page);
    let media_type = reply.headers["content-type"].to_str().unwrap().to_owned();
    assert!(!has_page || media_type.ends_with("+json") || !reply.headers.contains("etag"));
    (media_type, drain(reply.body))
}

fn body(settings: &Value, code: FaultCode) -> String {
    page(settings, &mut failed(code, "accept: text/plain"), code.row().status).1
}

#[test]
fn the_most_specific_page_is_used() {
    let pages = json!({ "pages": {
        "no_route": { "text": "code" },
        "404": { "text": "status" },
        "4xx": { "text": "class" },
        "any": { "text": "any {status} {code}" },
    } });
    assert_eq!(body(&pages, FaultCode::NoRoute), "code");
    assert_eq!(body(&pages, FaultCode::MethodNotAllowed), "class");
    assert_eq!(body(&pages, FaultCode::NoTarget), "any 503 no_target");
    let few = json!({ "pages": { "404": { "text": "status" }, "5xx": { "text": "class" } } });
    assert_eq!(body(&few, FaultCode::NoRoute), "status");
    assert_eq!(body(&few, FaultCode::NoTarget), "class");
    assert_eq!(body(&few, FaultCode::RateLimited), "its own");
    assert_eq!(body(&few, FaultCode::HttpsRequired), "its own", "a redirect is no failure");
}

#[test]
fn the_client_chooses_the_form() {
    let settings = json!({ "pages": { "any": {
        "html": "<p>{detail}", "text": "{detail}", "json": { "code": "{status}", "why": "{detail}" },
    } } });
    let html = ("text/html; charset=utf-8".to_owned(), "<p>a &lt;detail&gt;".to_owned());
    let text = ("text/plain; charset=utf-8".to_owned(), "a <detail>".to_owned());
    let json = ("application/json".to_owned(), "{\"code\":404,\"why\":\"a <detail>\"}".to_owned());
    for (accept, expected) in [
        ("x-a: none", &json),
        ("accept: */*", &json),
        ("accept: image/png", &json),
        ("accept: text/html,*/*;q=0.8", &html),
        ("accept: text/plain", &text),
        ("accept: text/*", &text),
        ("accept: application/json;q=0, text/html;q=0.1", &html),
    ] {
        let mut exchange = failed(FaultCode::NoRoute, accept);
        assert_eq!(page(&settings, &mut exchange, 404), *expected, "{accept}");
    }
}

#[test]
fn without_a_page_in_json_who_wants_json_gets_problem_details() {
    for (prefer, accept, expected) in [
        ("json", "accept: */*", "application/problem+json"),
        ("json", "accept: application/json", "application/problem+json"),
        ("json", "accept: text/html", "text/html; charset=utf-8"),
        ("html", "accept: */*", "text/html; charset=utf-8"),
        ("html", "accept: image/png", "text/html; charset=utf-8"),
        ("html", "accept: application/json", "application/problem+json"),
    ] {
        let settings = json!({ "pages": { "404": { "html": "<p>" } }, "prefer": prefer });
        let mut exchange = failed(FaultCode::NoRoute, accept);
        assert_eq!(page(&settings, &mut exchange, 404).0, expected, "{prefer} {accept}");
    }
}

#[test]
fn answers_of_backends_are_replaced_only_where_that_is_wanted() {
    for (is_wanted, status, expected) in
        [(false, 404, "its own"), (true, 404, "upstream Not Found "), (true, 200, "its own")]
    {
        let settings = json!({
            "pages": { "any": { "text": "{code} {title} {detail}" } },
            "upstream": is_wanted, "prefer": "text",
        });
        let mut exchange = fixture::exchange("GET /");
        // A policy that answers is not replaced either.
        assert_eq!(page(&settings, &mut exchange, status).1, "its own");
        exchange.record.upstream = Some(Arc::from("one"));
        assert_eq!(page(&settings, &mut exchange, status).1, expected);
    }
}

#[test]
fn wrong_settings_are_refused() {
    for (settings, part) in [
        (json!({}), "`pages` is missing"),
        (json!({ "pages": { "rate_limted": { "text": "" } } }), "did you mean `rate_limited`?"),
        (json!({ "pages": { "200": { "text": "" } } }), "no status of a failure"),
        (json!({ "pages": { "3xx": { "text": "" } } }), "neither a fault code"),
        (json!({ "pages": { "404": {} } }), "has no form"),
        (json!({ "pages": { "404": { "text": "x".repeat(2 << 20) } } }), "at most"),
        (json!({ "pages": { "404": { "html": "${file:nowhere.html}" } } }), "has no value"),
        (json!({ "pages": { "404": { "xml": "" } } }), "xml"),
    ] {
        fixture::refuses(&KIND, &settings, part);
    }
}
