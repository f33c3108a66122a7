use super::{KIND, STANDARD};
use crate::fixture::{self, Built, World};
use crate::password;
use base::Secret;
use base64::Engine as _;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use traffic::directory::{Consumer, Credential, CredentialKind};

const KIND_OF: CredentialKind = CredentialKind::Password;

/// A cheap hash of `open sesame`, so that tests are quick: nobody checks here what it costs.
fn put(world: &World, username: &str, password: &str) {
    let consumer = Consumer { name: "alice".into(), is_known: true, ..Consumer::default() };
    let hash = password::hash(&Secret::new(password.to_owned())).unwrap();
    let credential =
        Credential { secret: Some(hash), ..Credential::new(KIND_OF, Arc::new(consumer)) };
    world.directory.put(KIND_OF.hash(&[username]), &Arc::new(credential));
}

fn world() -> World {
    let world = World::default();
    put(&world, "Aladdin", "open sesame");
    world
}

fn header(login: &str) -> String {
    format!("GET /\nauthorization: Basic {}", STANDARD.encode(login))
}

fn ask(policy: &Built, request: &str) -> String {
    policy.request(&mut fixture::exchange(request))
}

#[test]
fn the_right_password_identifies_and_is_not_forwarded() {
    let world = world();
    let policy = world.build(&KIND, &Value::Null).unwrap();
    for _ in 0..2 {
        // The example of RFC 7617, 2; the second time it is remembered.
        let mut exchange =
            fixture::exchange("GET /\nauthorization: basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\nx-a: b");
        assert_eq!(policy.request(&mut exchange), "continue");
        assert_eq!(&*exchange.consumer.as_ref().unwrap().name, "alice");
        assert_eq!(fixture::lines(&exchange.request.headers), ["x-a: b"]);
    }
    let keeping = world.build(&KIND, &json!({ "keep": true })).unwrap();
    let mut exchange = fixture::exchange(&header("Aladdin:open sesame"));
    assert_eq!(keeping.request(&mut exchange), "continue");
    assert!(exchange.request.headers.contains("authorization"));
}

#[test]
fn a_changed_or_revoked_password_is_not_remembered() {
    let world = world();
    let policy = world.build(&KIND, &Value::Null).unwrap();
    let login = header("Aladdin:open sesame");
    assert_eq!(ask(&policy, &login), "continue");
    put(&world, "Aladdin", "another one");
    assert_eq!(ask(&policy, &login), "credentials_invalid");
    assert_eq!(ask(&policy, &header("Aladdin:another one")), "continue");
    world.directory.remove(&KIND_OF.hash(&["Aladdin"]));
    assert_eq!(ask(&policy, &header("Aladdin:another one")), "credentials_invalid");
}

#[test]
fn a_password_is_good_until_it_expires() {
    let world = world();
    let policy = world.build(&KIND, &Value::Null).unwrap();
    let login = header("Aladdin:open sesame");
    assert_eq!(ask(&policy, &login), "continue");
    let hash = KIND_OF.hash(&["Aladdin"]);
    let found = world.directory.find(KIND_OF, &hash).unwrap();
    let until = Some(world.clock().wall() + Duration::from_secs(60));
    world.directory.put(hash, &Arc::new(Credential { until, ..(*found).clone() }));
    let mut exchange = fixture::exchange(&login);
    assert_eq!(policy.request(&mut exchange), "continue");
    assert_eq!(exchange.valid_until, until);
    world.clock().advance(Duration::from_secs(60));
    assert_eq!(ask(&policy, &login), "credentials_invalid");
}

#[test]
fn everything_else_is_refused_with_one_text_and_a_challenge() {
    let world = world();
    let policy = world.build(&KIND, &json!({ "realm": "the cave" })).unwrap();
    for missing in
        ["GET /", "GET /\nauthorization: Bearer abc", "GET /\nauthorization: Basically x"]
    {
        assert_eq!(ask(&policy, missing), "credentials_missing", "{missing}");
    }
    let told = |request: &str| {
        let fault = policy.fault(&mut fixture::exchange(request));
        assert_eq!(fault.headers[0].1, "Basic realm=\"the cave\", charset=\"UTF-8\"");
        (fault.code.name(), fault.detail)
    };
    let wrong = told(&header("Aladdin:open barley"));
    assert_eq!(wrong.0, "credentials_invalid");
    let long = "x".repeat(1_025);
    for login in [
        "Cassim:open sesame",
        "aladdin:open sesame",
        "no colon",
        ":",
        "a\0:b",
        &format!("Aladdin:{long}"),
        &format!("{long}:a"),
    ] {
        assert_eq!(told(&header(login)), wrong, "{login}");
    }
    for raw in [
        "GET /\nauthorization: Basic",
        "GET /\nauthorization: Basic ???",
        "GET /\nauthorization: Basic /w==",
    ] {
        assert_eq!(told(raw), wrong, "{raw}");
    }
    let twice = format!("{}\nauthorization: Basic QTpi", header("Aladdin:open sesame"));
    assert_eq!(told(&twice), wrong);
}

#[test]
fn who_guesses_is_slowed_down_but_not_who_knows() {
    let world = world();
    let policy = world.build(&KIND, &Value::Null).unwrap();
    assert_eq!(ask(&policy, &header("Aladdin:open sesame")), "continue");
    let mut told = Vec::new();
    for guess in 0..12 {
        told.push(ask(&policy, &header(&format!("Aladdin:guess {guess}"))));
    }
    assert_eq!(told.first().unwrap(), "credentials_invalid");
    assert_eq!(told.last().unwrap(), "too_many_failures", "{told:?}");
    assert_eq!(ask(&policy, &header("Aladdin:open sesame")), "continue", "it was verified before");
    assert_eq!(ask(&policy, &header("Cassim:guess")), "credentials_invalid", "another account");
}

#[test]
fn wrong_settings_are_refused() {
    fixture::refuses(&KIND, &json!({ "realm": "a \"b\"" }), "printable ASCII");
    fixture::refuses(&KIND, &json!({ "realms": "a" }), "did you mean `realm`");
}
