use super::KIND;
use crate::fixture::{self, drain};
use http::StatusCode;
use serde_json::{Value, json};
use traffic::policy::{Asked, Foreseen, Knows};
use traffic::{Body, FaultCode, Response};

fn outcome(settings: &Value, request: &str) -> String {
    fixture::built(&KIND, settings).request(&mut fixture::exchange(request))
}

#[test]
fn only_those_who_are_allowed_pass() {
    assert_eq!(outcome(&json!(true), "GET /"), "maintenance");
    assert_eq!(outcome(&json!(null), "GET /"), "maintenance");
    assert_eq!(outcome(&json!(false), "GET /"), "continue");
    assert_eq!(outcome(&json!({ "on": false, "message": "x" }), "GET /"), "continue");
    // Requests come from 192.0.2.7.
    for (allow, expected) in [
        (json!(["192.0.2.0/24"]), "continue"),
        (json!(["2001:db8::1", "192.0.2.7"]), "continue"),
        (json!(["192.0.3.0/24", "::/64"]), "maintenance"),
        (json!("client.address == \"192.0.2.7\""), "continue"),
        (json!("request.headers[\"x-tester\"] == \"1\""), "maintenance"),
    ] {
        assert_eq!(outcome(&json!({ "allow": allow.clone() }), "GET /"), expected, "{allow}");
    }
    let tester = json!({ "allow": "request.headers[\"x-tester\"] == \"1\"" });
    assert_eq!(outcome(&tester, "GET /\nx-tester: 1"), "continue");
}

#[test]
fn who_is_refused_is_told_when_to_come_back_in_a_form_of_their_own() {
    let settings = json!({ "retry_after": "10min", "message": "we <move>" });
    for (accept, media_type, part) in [
        ("text/html,*/*;q=0.8", "text/html; charset=utf-8", "we &lt;move&gt;"),
        ("text/plain", "text/plain; charset=utf-8", ": we <move>\n"),
        ("*/*", "application/problem+json", "its own"),
    ] {
        let policy = fixture::built(&KIND, &settings);
        let mut exchange = fixture::exchange(&format!("GET /\naccept: {accept}"));
        let fault = policy.fault(&mut exchange);
        assert_eq!(fault.detail.as_deref(), Some("we <move>"));
        assert_eq!(fault.headers[0].1, "600");
        exchange.record.fault = Some(fault.code);
        let mut reply = Response::new(StatusCode::SERVICE_UNAVAILABLE, Body::full("its own"));
        let problem = "application/problem+json".parse().unwrap();
        reply.headers.append(http::header::CONTENT_TYPE, problem);
        let reply = policy.reply_with(&mut exchange, reply);
        assert_eq!(reply.headers["content-type"], media_type);
        let body = drain(reply.body);
        assert!(body.contains(part), "{body}");
    }
    // What others refuse is not told as maintenance.
    let mut exchange = fixture::exchange("GET /\naccept: text/html");
    exchange.record.fault = Some(FaultCode::Maintenance);
    let reply = fixture::built(&KIND, &settings).reply(&mut exchange, &[]);
    assert!(!reply.headers.contains("vary"));
}

#[test]
fn wrong_settings_are_refused() {
    for (settings, part) in [
        (json!({ "allow": "consumer.name == \"a\"" }), "nobody is identified yet"),
        (json!({ "allow": "\"a\" in consumer.groups" }), "nobody is identified yet"),
        (json!({ "allow": ["example.com"] }), "is not a network such as"),
        (json!({ "allow": "client.adress == \"a\"" }), "did you mean `address`"),
        (json!({ "retry_after": 10 }), "is not a duration"),
        (json!({ "page": {} }), "has no form"),
        (json!("soon"), "soon"),
    ] {
        fixture::refuses(&KIND, &settings, part);
    }
}

#[test]
fn that_it_is_closed_is_known_in_advance() {
    let exchange = fixture::exchange("GET /a");
    let knows = Knows { caller: true, claims: true, method: true, path: true };
    let asked = Asked { exchange: &exchange, shows: None, knows };
    for (settings, expected) in [
        (json!(true), "refuses"),
        (json!(false), "nothing"),
        (json!({ "allow": ["192.0.2.7"] }), "depends"),
        (json!({ "allow": "request.method == \"GET\"" }), "nothing"),
        (json!({ "allow": "request.method == \"POST\"" }), "refuses"),
        (json!({ "allow": "request.headers[\"x-a\"] == \"1\"" }), "depends"),
    ] {
        let said = match fixture::built(&KIND, &settings).0.foresee(&asked) {
            None => "nothing",
            Some(Foreseen::Passes(_)) => "passes",
            Some(Foreseen::Refuses(_)) => "refuses",
            Some(Foreseen::Depends(_)) => "depends",
        };
        assert_eq!(said, expected, "{settings}");
    }
}
