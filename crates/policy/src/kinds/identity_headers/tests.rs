use super::KIND;
use crate::fixture::{self, World, lines};
use serde_json::{Value, json};
use std::sync::Arc;
use traffic::directory::{Consumer, Credential, CredentialKind};

fn check(settings: &Value, groups: &[&str], claims: &Value, expected: &[&str]) {
    let policy = World::default().build(&KIND, settings).unwrap();
    let mut exchange = fixture::exchange("GET /a\nx-user: mallory\nx-yett-groups: admin");
    let groups = groups.iter().map(|group| (*group).into()).collect();
    let consumer = Arc::new(Consumer {
        name: "idp/Zoë".into(),
        groups,
        is_known: false,
        ..Consumer::default()
    });
    let credential = Credential {
        application: Some("app".into()),
        ..Credential::new(CredentialKind::Token, Arc::clone(&consumer))
    };
    exchange.consumer = Some(consumer);
    exchange.credential = Some(Arc::new(credential));
    exchange.claims = claims.as_object().map(|claims| Arc::new(claims.into()));
    assert_eq!(policy.request(&mut exchange), "continue");
    assert_eq!(lines(&exchange.request.headers), expected);
}

#[test]
fn backends_are_told_who_calls_in_characters_that_mean_nothing_else() {
    let settings =
        json!({ "consumer": "x-user", "claims": { "x-mail": "email", "x-roles": "/realm/roles" } });
    let claims = json!({ "email": " a@b\r\nx-admin: 1  ", "realm": { "roles": ["r,1", 2] } });
    check(
        &settings,
        &["sales", "a,b", "50%", " x"],
        &claims,
        &[
            "x-mail: %20a@b%0D%0Ax-admin: 1%20%20",
            "x-roles: r%2C1,2",
            "x-user: idp/Zo%C3%AB",
            "x-yett-application: app",
            "x-yett-groups: sales,a%2Cb,50%25,%20x",
        ],
    );
}

#[test]
fn what_is_not_known_or_too_long_is_not_told() {
    let settings = json!({ "claims": { "x-mail": "email", "x-long": "long" } });
    let claims = json!({ "long": "x".repeat(9_000) });
    check(&settings, &[], &claims, &["x-user: mallory", "x-yett-application: app"]);
    let policy = fixture::built(&KIND, &json!({ "consumer": "x-user" }));
    let mut exchange = fixture::exchange("GET /a\nx-user: mallory");
    assert_eq!(policy.request(&mut exchange), "continue");
    assert!(exchange.request.headers.is_empty());
}

#[test]
fn headers_with_another_meaning_are_refused() {
    for name in ["host", "authorization", "x-forwarded-for", "x-yett-consumer", "connection", "a b"]
    {
        fixture::refuses(&KIND, &json!({ "consumer": name }), name);
    }
    fixture::refuses(&KIND, &json!({ "consumer": "x-a", "groups": "x-a" }), "is told twice");
}
