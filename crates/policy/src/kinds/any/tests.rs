use crate::combined::Combined;
use crate::fixture::{self, Built, World, lines};
use crate::guesses::Guesses;
use crate::identity::{Identity, Scheme};
use crate::kinds::{all, any};
use crate::sender::DPOP_NONCE;
use serde_json::{Value, json};
use std::sync::Arc;
use traffic::directory::{Consumer, Credential, CredentialKind};
use traffic::head::RequestHead;
use traffic::{Exchange, Fault, FaultCode, Outcome, Policy as _, Stage};

/// A world in which the keys `alice`, `bob` and `device-of-alice` are known.
fn world() -> World {
    let world = World::default();
    for (key, name) in [("alice", "alice"), ("bob", "bob"), ("device-of-alice", "alice")] {
        let consumer = Consumer { name: name.into(), is_known: true, ..Consumer::default() };
        let credential = Credential::new(CredentialKind::ApiKey, Arc::new(consumer));
        world.directory.put(crate::key::hash(key.as_bytes()), &Arc::new(credential));
    }
    world
}

fn two(of: &str, keeps: bool) -> Built {
    let list = json!([
        { "api_key": { "header": "x-one", "keep": keeps } },
        { "api_key": { "header": "x-two" } },
    ]);
    let kind = if of == "any" { any::KIND } else { all::KIND };
    world().build(&kind, &list).unwrap()
}

/// What becomes of a request: the consumer and the headers that are left, or the fault.
fn outcome(policy: &Built, request: &str) -> String {
    let mut exchange = fixture::exchange(request);
    let outcome = policy.request(&mut exchange);
    if outcome != "continue" {
        assert!(exchange.consumer.is_none(), "{request}");
        return outcome;
    }
    let mut told = vec![exchange.consumer.unwrap().name.to_string()];
    told.extend(lines(&exchange.request.headers));
    told.join(" | ")
}

#[test]
fn any_believes_the_first_that_succeeds() {
    let policy = two("any", false);
    for (request, expected) in [
        ("GET /\nx-one: alice", "alice"),
        ("GET /\nx-two: bob", "bob"),
        ("GET /\nx-one: wrong\nx-two: bob", "bob"),
        ("GET /\nx-one: alice\nx-two: bob", "alice"),
        ("GET /\nx-one: wrong", "credentials_invalid"),
        ("GET /\nx-two: wrong", "credentials_invalid"),
        ("GET /", "credentials_missing"),
    ] {
        assert_eq!(outcome(&policy, request), expected, "{request}");
    }
}

#[test]
fn any_forwards_nothing_that_nobody_has_verified() {
    let policy = two("any", true);
    assert_eq!(outcome(&policy, "GET /\nx-one: alice\nx-two: evil"), "alice | x-one: alice");
    assert_eq!(outcome(&policy, "GET /\nx-one: evil\nx-two: bob"), "bob");
}

#[test]
fn any_leaves_a_believed_credential_where_another_way_would_look_for_its_own() {
    let list = json!([
        { "api_key": { "header": "x-one", "keep": true } },
        { "api_key": { "header": "x-one", "query": "key" } },
    ]);
    let policy = world().build(&any::KIND, &list).unwrap();
    assert_eq!(outcome(&policy, "GET /\nx-one: alice"), "alice | x-one: alice");
}

#[test]
fn any_forwards_nothing_that_a_backend_might_take_for_a_token() {
    let list = json!([
        { "api_key": { "header": "x-one" } },
        { "jwt": { "issuer": "https://a", "audience": "a", "jwks": "https://a/keys", "from": { "cookie": "session" } } },
    ]);
    let policy = world().build(&any::KIND, &list).unwrap();
    for shown in [
        &b"authorization: Bearer FORGED"[..],
        b"authorization: Bearer\tFORGED",
        b"authorization: bearer  FORGED",
        b"authorization: Bearer FORGED\xe9",
        b"authorization: Bearer\xa0FORGED",
        b"authorization: DPoP\tFORGED",
        b"authorization: Basic x, Bearer FORGED",
        b"authorization: Basic x,Bearer FORGED",
        b"cookie: session=FORGED",
        b"cookie: session =FORGED",
        b"cookie: a=b;session\t=FORGED",
        b"cookie: \xe9=1; session=FORGED",
        b"dpop: FORGED",
    ] {
        let mut exchange = fixture::exchange("GET /\nx-one: alice");
        let (name, value) = shown.split_at(shown.iter().position(|it| *it == b':').unwrap());
        exchange.request.headers.append(
            http::HeaderName::from_bytes(name).unwrap(),
            http::HeaderValue::from_bytes(&value[2..]).unwrap(),
        );
        assert_eq!(policy.request(&mut exchange), "continue");
        let left = lines(&exchange.request.headers).join("|");
        assert!(!left.contains("FORGED"), "{}: {left}", String::from_utf8_lossy(shown));
    }
    let request = "GET /\nx-one: alice\nauthorization: Basic YWJj\ncookie: a=b";
    assert_eq!(outcome(&policy, request), "alice | authorization: Basic YWJj | cookie: a=b");
}

#[test]
fn several_ways_speak_for_what_each_of_them_tells_backends() {
    let authoriser = json!({ "ext_authz": {
        "http": { "url": "http://a", "to_backend": ["x-user"] }, "consumer": { "header": "x-user" },
    } });
    for kind in [any::KIND, all::KIND] {
        let policy = world().build(&kind, &json!(["api_key", authoriser])).unwrap();
        let told = policy.speaks_for();
        assert!(!told.is_empty() && told.iter().all(|name| name == "x-user"), "{told:?}");
    }
    let mut telling = authoriser.clone();
    telling["ext_authz"]["http"]["to_client_on_success"] = json!(["x-more"]);
    fixture::refuses(&any::KIND, &json!(["api_key", telling]), "tells the client nothing");
}

#[test]
fn any_leaves_what_was_believed_and_nothing_beside_it() {
    let list = json!([
        { "api_key": { "header": "x-one", "keep": true } },
        { "api_key": { "header": "x-one", "cookie": "session", "query": "key" } },
    ]);
    let policy = world().build(&any::KIND, &list).unwrap();
    let mut exchange =
        fixture::exchange("GET /a?key=evil&b=1\nx-one: alice\ncookie: session=evil; c=2");
    assert_eq!(policy.request(&mut exchange), "continue");
    assert_eq!(lines(&exchange.request.headers), ["cookie: c=2", "x-one: alice"]);
    assert_eq!(exchange.request.target.as_str(), "/a?b=1");
}

#[test]
fn any_tells_the_client_to_repeat_a_nonce_before_it_calls_a_token_wrong() {
    let nonce = Fault::new(Stage::Guard, FaultCode::CredentialsMissing)
        .header(DPOP_NONCE, "n".parse().unwrap());
    let mut failure = super::Failure::default();
    failure.add(0, Fault::new(Stage::Guard, FaultCode::CredentialsInvalid));
    failure.add(1, nonce);
    failure.add(0, Fault::new(Stage::Guard, FaultCode::CredentialsInvalid));
    assert_eq!(failure.0.unwrap().1.code, FaultCode::CredentialsMissing);
}

#[test]
fn any_gives_the_challenges_of_all_ways_once() {
    let fault = two("any", false).fault(&mut fixture::exchange("GET /"));
    assert_eq!(fault.headers.len(), 1, "two ways with one challenge: {:?}", fault.headers);
}

#[test]
fn all_demands_every_way_and_one_consumer() {
    let policy = two("all", false);
    for (request, expected) in [
        ("GET /\nx-one: alice\nx-two: device-of-alice", "alice"),
        ("GET /\nx-one: alice", "credentials_missing"),
        ("GET /\nx-one: alice\nx-two: wrong", "credentials_invalid"),
        ("GET /\nx-one: alice\nx-two: bob", "credentials_conflict"),
        ("GET /", "credentials_missing"),
    ] {
        assert_eq!(outcome(&policy, request), expected, "{request}");
    }
}

#[test]
fn whoever_fails_often_is_told_to_wait_and_guessable_keys_are_not_looked_at_any_more() {
    let world = world();
    let policy = world.build(&crate::kinds::api_key::KIND, &Value::Null).unwrap();
    let (ours, _) = crate::key::generate().unwrap();
    let consumer = Consumer { name: "carol".into(), is_known: true, ..Consumer::default() };
    let credential = Arc::new(Credential::new(CredentialKind::ApiKey, Arc::new(consumer)));
    world.directory.put(crate::key::hash(ours.reveal().as_bytes()), &credential);
    let ask = |key: &str| outcome(&policy, &format!("GET /\nx-api-key: {key}"));
    for _ in 0..base::caps::FAILURES_PER_ADDRESS {
        assert_eq!(ask("wrong"), "credentials_invalid");
    }
    assert_eq!(ask("wrong"), "too_many_failures");
    assert_eq!(ask("yett_wrong"), "too_many_failures");
    assert_eq!(ask("alice"), "too_many_failures");
    assert_eq!(ask(ours.reveal()), "carol", "nobody is locked out by a neighbour's guesses");
    let mut elsewhere = fixture::exchange("GET /\nx-api-key: alice");
    let connection = Arc::make_mut(&mut elsewhere.connection);
    connection.peer = "198.51.100.1:1".parse().unwrap();
    assert_eq!(policy.request(&mut elsewhere), "continue");
}

#[test]
fn wrong_lists_are_refused_with_their_place() {
    for (settings, part) in [
        (json!("api_key"), "expected a list"),
        (json!({ "of": [] }), "list two or more"),
        (json!(["api_key"]), "list two or more"),
        (json!(["api_key", "api_kye"]), "did you mean `api_key`?"),
        (json!(["api_key", "cors"]), "no policy that identifies"),
        (json!(["api_key", { "api_key": { "heeder": "x" } }]), "did you mean `header`?"),
        (json!(["api_key", { "api_key": {}, "b": {} }]), "expected an identity policy"),
        (json!({ "off": ["api_key", "api_key"] }), "unknown field `off`"),
    ] {
        fixture::refuses(&any::KIND, &settings, part);
        fixture::refuses(&all::KIND, &settings, part);
    }
}

#[test]
fn a_guess_beside_what_is_valid_is_a_guess() {
    let policy = two("any", false);
    let guess = |guess: usize| outcome(&policy, &format!("GET /\nx-one: guess{guess}\nx-two: bob"));
    let told: Vec<String> = (0..31).map(guess).collect();
    assert!(told.iter().take(30).all(|told| told == "bob"), "{told:?}");
    assert_eq!(told.last().unwrap(), "too_many_failures");
}

/// Knows what is in `x-one`, or does not.
struct Knows(bool);

impl Scheme for Knows {
    fn is_shown(&self, head: &RequestHead) -> bool {
        head.headers.contains("x-one")
    }

    fn now(&self, _: &Exchange) -> Option<Result<Identity, Fault>> {
        let no = Fault::new(Stage::Guard, FaultCode::CredentialsInvalid);
        Some(self.0.then(Identity::default).ok_or(no))
    }

    fn hide(&self, head: &mut RequestHead) {
        head.headers.remove("x-one");
    }
}

#[test]
fn a_credential_that_only_another_way_knows_is_no_guess() {
    let world = world();
    let guesses = Arc::new(Guesses::new(&world.state, world.clock()));
    let schemes: Vec<Box<dyn Scheme>> = vec![Box::new(Knows(false)), Box::new(Knows(true))];
    let any = any::Any(Combined { schemes, guesses: Arc::clone(&guesses), plans: Arc::default() });
    for _ in 0..40 {
        let mut exchange = fixture::exchange("GET /\nx-one: bob");
        let Outcome::Now(settled) = any.on_request(&mut exchange, fixture::SLOT) else {
            panic!("it waits")
        };
        settled.unwrap();
        assert!(!exchange.is_failure_counted);
    }
    guesses.check(&fixture::exchange("GET /")).unwrap();
}
