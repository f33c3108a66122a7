use super::{Basic, HMAC_SHA256, KIND, STANDARD, Verified, hmac};
use crate::fixture::{self, Built, World};
use crate::guesses::Guesses;
use crate::identity::Scheme as _;
use crate::nobody::Nobody;
use crate::password::{self, Costs};
use base::caps::{
    FAILURES_PER_ACCOUNT, FAILURES_PER_ADDRESS, LOGINS_PER_ADDRESS, LOGINS_WAITING_PER_ADDRESS,
};
use base64::Engine as _;
use http::HeaderValue;
use quick_cache::sync::Cache;
use serde_json::{Value, json};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use traffic::background::{Busy, Job, Task};
use traffic::directory::{Consumer, Credential, CredentialKind};
use traffic::exchange::Connection;
use traffic::{Background, BoxFuture, Exchange};

const KIND_OF: CredentialKind = CredentialKind::Password;

/// A cheap hash of `open sesame`, so that tests are quick: nobody checks here what it costs.
fn put(world: &World, username: &str, password: &str) {
    let consumer = Consumer { name: "alice".into(), is_known: true, ..Consumer::default() };
    let hash = password::tests::cheap(password, (64, 1, 1));
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
fn over_a_socket_without_addresses_nobody_is_locked_out_but_by_account() {
    let world = world();
    put(&world, "Jasmine", "open sesame");
    let policy = world.build(&KIND, &Value::Null).unwrap();
    let over_unix = |login: &str| {
        let mut exchange = fixture::exchange(&header(login));
        exchange.connection = Arc::new(Connection::over_unix("socket".into()));
        policy.request(&mut exchange)
    };
    for guess in 0..3 * FAILURES_PER_ADDRESS {
        let login = format!("user-{guess}:wrong");
        assert_eq!(over_unix(&login), "credentials_invalid", "{guess}");
    }
    assert_eq!(over_unix("Aladdin:open sesame"), "continue");
    let refused =
        (0..3 * FAILURES_PER_ACCOUNT).filter(|_| over_unix("Jasmine:wrong") == "too_many_failures");
    assert!(refused.count() > 0, "an account is protected there, too");
    assert_eq!(over_unix("Aladdin:open sesame"), "continue");
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

/// The answer to a request from an address.
fn ask_from(policy: &Built, client: &str, login: &str) -> String {
    let mut exchange = from(client, login);
    policy.request(&mut exchange)
}

fn from(client: &str, login: &str) -> Exchange {
    let mut exchange = fixture::exchange(&header(login));
    let peer = format!("{client}:1000").parse().unwrap();
    let local = exchange.connection.local;
    exchange.connection = Arc::new(Connection::plain("public".into(), peer, local));
    exchange
}

#[test]
fn who_is_slowed_down_learns_nothing_from_what_others_verified() {
    let world = world();
    let policy = world.build(&KIND, &Value::Null).unwrap();
    assert_eq!(ask_from(&policy, "192.0.2.1", "Aladdin:open sesame"), "continue");
    let guess = |guess: usize| ask_from(&policy, "192.0.2.66", &format!("Aladdin:guess {guess}"));
    let told: Vec<String> = (0..12).map(guess).collect();
    assert_eq!(told.last().unwrap(), "too_many_failures", "{told:?}");
    let right = ask_from(&policy, "192.0.2.66", "Aladdin:open sesame");
    assert_eq!(right, "too_many_failures", "a guess is not looked at, right or wrong");
    assert_eq!(ask_from(&policy, "192.0.2.1", "Aladdin:open sesame"), "continue");
}

#[test]
fn an_address_that_fails_too_often_is_not_looked_at_even_for_what_it_verified() {
    let world = world();
    let policy = world.build(&KIND, &Value::Null).unwrap();
    assert_eq!(ask(&policy, &header("Aladdin:open sesame")), "continue");
    // What cannot even be read costs no time.
    let told: Vec<String> = (0..40).map(|_| ask(&policy, &header("no colon"))).collect();
    assert_eq!(told.last().unwrap(), "too_many_failures", "{told:?}");
    assert_eq!(ask(&policy, &header("Aladdin:open sesame")), "too_many_failures");
}

#[test]
fn strangers_lock_out_strangers_only() {
    let world = world();
    let policy = world.build(&KIND, &Value::Null).unwrap();
    assert_eq!(ask_from(&policy, "192.0.2.1", "Aladdin:open sesame"), "continue");
    for guess in 0..12 {
        ask_from(&policy, "192.0.2.66", &format!("Aladdin:guess {guess}"));
    }
    world.clock().advance(Duration::from_secs(1));
    put(&world, "Aladdin", "another one");
    // Nothing is remembered of the new password, but that the account was used here.
    assert_eq!(ask_from(&policy, "192.0.2.1", "Aladdin:another one"), "continue");
    assert_eq!(ask_from(&policy, "192.0.2.2", "Aladdin:another one"), "too_many_failures");
}

/// Computes when it is told to.
#[derive(Debug, Default)]
struct Later(Mutex<Vec<Waiting>>);

struct Waiting(Job, tokio::sync::oneshot::Sender<()>);

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waiting")
    }
}

impl Later {
    fn compute_all(&self) -> usize {
        let all = std::mem::take(&mut *self.0.lock().unwrap());
        let count = all.len();
        for Waiting(job, done) in all {
            job();
            done.send(()).ok();
        }
        count
    }
}

impl Background for Later {
    fn spawn(&self, _: BoxFuture<'static, ()>) -> Task {
        Task::nothing()
    }

    fn compute(&self, job: Job) -> BoxFuture<'static, Result<(), Busy>> {
        let (done, is_done) = tokio::sync::oneshot::channel();
        self.0.lock().unwrap().push(Waiting(job, done));
        Box::pin(async move { is_done.await.map_err(|_| Busy) })
    }
}

/// A policy of a world whose computations wait, and a request that shows each of these logins from its address. All are
/// polled until nothing moves any more, and then computed, up to `rounds` times; the rest is dropped.
fn at_once(logins: &[(&str, &str)], rounds: usize) -> (Basic, Vec<Option<String>>, usize) {
    let (world, later) = (world(), Arc::new(Later::default()));
    let basic = Basic {
        challenge: HeaderValue::from_static("Basic"),
        keep: false,
        directory: Arc::clone(&world.directory),
        background: Arc::clone(&later) as _,
        clock: world.clock().clone(),
        guesses: Arc::new(Guesses::new(&world.state, world.clock())),
        verified: Arc::new(Verified {
            key: hmac::Key::new(HMAC_SHA256, b"any"),
            cache: Cache::new(10),
        }),
        costs: Arc::new(Costs::of(&world.directory)),
        nobody: Nobody::new(KIND_OF, password::NOBODY),
    };
    let mut exchanges: Vec<_> = logins.iter().map(|(client, login)| from(client, login)).collect();
    let mut told = vec![None; logins.len()];
    let mut computed = 0;
    {
        let mut all: Vec<_> = exchanges.iter_mut().map(|it| basic.later(it)).collect();
        for round in 0..=rounds {
            for (judged, told) in all.iter_mut().zip(&mut told).filter(|(_, told)| told.is_none()) {
                let polled = judged.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                if let Poll::Ready(judged) = polled {
                    *told = Some(match judged {
                        Ok(_) => "continue".to_owned(),
                        Err(fault) => fault.code.name().to_owned(),
                    });
                }
            }
            if round < rounds {
                computed += later.compute_all();
            }
        }
    }
    // Those who wait have left, and what was begun is computed to its end.
    let left = later.compute_all();
    (basic, told, computed + left)
}

#[test]
fn guesses_that_come_all_at_once_are_not_all_looked_at() {
    let logins: Vec<String> = (0..30).map(|it| format!("Aladdin:guess {it}")).collect();
    let logins: Vec<_> = logins.iter().map(|login| ("192.0.2.66", login.as_str())).collect();
    let (_, told, computed) = at_once(&logins, 30);
    let invalid = told.iter().flatten().filter(|told| **told == "credentials_invalid").count();
    assert!((10..=11).contains(&invalid), "{told:?}");
    assert_eq!(computed, invalid);
    assert!(told.iter().flatten().any(|told| told == "too_many_failures"), "{told:?}");
}

#[test]
fn the_same_login_that_comes_many_times_at_once_is_verified_a_few_times() {
    let logins = vec![("192.0.2.1", "Aladdin:open sesame"); 30];
    let (_, told, computed) = at_once(&logins, 30);
    assert!(told.iter().all(|told| told.as_deref() == Some("continue")), "{told:?}");
    assert!(computed <= 2, "{computed}");
}

#[test]
fn one_address_takes_a_few_places_of_all_who_compute() {
    let logins: Vec<String> = (0..60).map(|it| format!("user{it}:guess")).collect();
    let mut logins: Vec<_> = logins.iter().map(|login| ("192.0.2.66", login.as_str())).collect();
    logins.push(("192.0.2.1", "Aladdin:open sesame"));
    let (_, told, computed) = at_once(&logins, 1);
    assert!(computed <= 2 * LOGINS_PER_ADDRESS + 1, "{computed}");
    assert_eq!(told.last().unwrap().as_deref(), Some("continue"));
    let busy = told.iter().flatten().filter(|told| **told == "compute_busy").count();
    assert_eq!(busy, 60 - LOGINS_PER_ADDRESS - LOGINS_WAITING_PER_ADDRESS);
}

#[test]
fn a_wrong_password_counts_though_its_client_has_left() {
    let logins: Vec<String> = (0..4).map(|it| format!("user{it}:guess")).collect();
    let logins: Vec<_> = logins.iter().map(|login| ("192.0.2.66", login.as_str())).collect();
    let (basic, told, computed) = at_once(&logins, 0);
    assert_eq!((told.iter().flatten().count(), computed), (0, 4));
    for _ in 0..FAILURES_PER_ADDRESS - 4 {
        let mut exchange = from("192.0.2.66", "user:guess");
        basic.guesses.check(&exchange).unwrap();
        basic.guesses.count(&mut exchange);
    }
    basic.guesses.check(&from("192.0.2.66", "user:guess")).unwrap_err();
}

#[test]
fn wrong_settings_are_refused() {
    fixture::refuses(&KIND, &json!({ "realm": "a \"b\"" }), "printable ASCII");
    fixture::refuses(&KIND, &json!({ "realms": "a" }), "did you mean `realm`");
}
