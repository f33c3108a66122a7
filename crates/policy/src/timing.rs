//! Whether the time of an answer tells what the answer does not: somebody nobody knows against a wrong secret.
//!
//! The test is that of Reparaz, Balasch and Verbauwhede ("Dude, is my code constant time?", DATE 2017): two classes of
//! input are measured in random order, the slowest measurements are cropped as they are the machine's, and Welch's t of the rest
//! says whether the classes differ. |t| beyond 4.5 is a difference. One batch in which the machine was busy with
//! something else is no leak, so several are taken, and a leak is what shows in all of them, in the same direction. What
//! is measured is the processor's time of this thread: that of others who share the machine would only hide a leak.
//!
//! Each test here measures two thousand answers and finds differences of one in a hundred. That it finds any is tested
//! first.

use crate::fixture::{self, Built, World};
use crate::guesses::Guesses;
use crate::jose::signer::Signer;
use crate::kinds::{api_key, basic, hmac, jwt};
use crate::password::tests::cheap;
use base::clock::unix_ms;
use base::{Secret, random};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use std::hint::black_box;
use std::sync::Arc;
use traffic::Exchange;
use traffic::directory::{Consumer, Credential, CredentialKind};

const BATCHES: usize = 4;
const SAMPLES: usize = 500;
const WARM_UP: usize = 50;
/// Of all measurements, which part is kept.
const KEPT: (usize, usize) = (4, 5);
const T_MAX: f64 = 4.5;
/// Smaller ones are of caches, which the measurement itself disturbs: part of what an answer takes.
const DIFFERENCE_MIN: f64 = 0.01;

/// Welch's t of each batch, by how many nanoseconds the classes differ, and of how many.
#[derive(Debug)]
struct Timing([(f64, f64, f64); BATCHES]);

impl Timing {
    /// Measures what becomes of inputs of two classes. They are all made before, as that leaves traces in caches; what
    /// has to be done just before each is not measured.
    fn of<I, O>(
        samples: usize,
        mut make: impl FnMut(bool) -> I,
        mut prepare: impl FnMut(),
        mut run: impl FnMut(&mut I) -> O,
    ) -> Self {
        let mut batch = || {
            let mut inputs = Vec::new();
            for _ in 0..WARM_UP + samples {
                let class = random::fast() & 1 == 1;
                inputs.push((class, make(class)));
            }
            let measured = inputs.into_iter().map(|(class, mut input)| {
                prepare();
                let before = thread_ns();
                let output = black_box(run(black_box(&mut input)));
                let taken = thread_ns() - before;
                drop(output);
                (taken, class)
            });
            welch(measured.skip(WARM_UP).collect())
        };
        Self(std::array::from_fn(|_| batch()))
    }

    fn is_leak(&self) -> bool {
        let tells = |sign: f64| {
            self.0.iter().all(|(t, difference, mean)| {
                t * sign > T_MAX && difference.abs() > mean * DIFFERENCE_MIN
            })
        };
        tells(1.0) || tells(-1.0)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a measurement is far below 2^52 nanoseconds")]
fn thread_ns() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

/// Welch's t of what is left of both classes without the slowest.
#[expect(clippy::cast_precision_loss, reason = "there are some thousand measurements")]
fn welch(mut all: Vec<(f64, bool)>) -> (f64, f64, f64) {
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    all.truncate(all.len() * KEPT.0 / KEPT.1);
    let of = |class: bool| {
        let own: Vec<f64> = all.iter().filter(|it| it.1 == class).map(|it| it.0).collect();
        let count = own.len().max(2) as f64;
        let mean = own.iter().sum::<f64>() / count;
        let variance = own.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, variance / count)
    };
    let ((mean, error), (other_mean, other_error)) = (of(false), of(true));
    let difference = mean - other_mean;
    (difference / (error + other_error).sqrt().max(f64::MIN_POSITIVE), difference, mean)
}

fn unforeseen<const LENGTH: usize>() -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    random::fill(&mut bytes).unwrap();
    bytes
}

/// Forgets who has guessed, so that nobody is slowed down for it.
fn forgive(world: &World) {
    Guesses::new(&world.state, world.clock()).forget();
}

/// Requests that are refused.
fn refusals(world: &World, policy: &Built, mut request: impl FnMut(bool) -> String) -> Timing {
    let make = |class: bool| {
        let mut exchange = fixture::exchange(&request(class));
        exchange.arrived = world.clock().now();
        exchange
    };
    let run = |exchange: &mut Exchange| {
        let fault = policy.fault(exchange);
        assert_eq!(fault.code.name(), "credentials_invalid", "{:?}", fault.cause);
        fault
    };
    Timing::of(SAMPLES, make, || forgive(world), run)
}

fn alice() -> Arc<Consumer> {
    Arc::new(Consumer { name: "alice".into(), is_known: true, ..Consumer::default() })
}

/// Credentials of so many others that each way through the directory leads past some.
fn fill(world: &World) {
    let other = Arc::new(Credential::new(CredentialKind::ApiKey, alice()));
    world.directory.replace((0..10_000).map(|_| (unforeseen::<32>(), Arc::clone(&other))));
}

fn put_secret(world: &World, kind: CredentialKind, id: &str, secret: Secret) {
    if world.directory.is_empty() {
        fill(world);
    }
    let credential = Credential { secret: Some(secret), ..Credential::new(kind, alice()) };
    world.directory.put(kind.hash(&[id]), &Arc::new(credential));
}

#[test]
fn a_comparison_that_ends_at_the_first_difference_is_found_out() {
    let secret = unforeseen::<256>();
    let shown = |differs_late: bool| {
        let mut shown = secret;
        shown[if differs_late { 255 } else { 0 }] ^= 1;
        shown
    };
    let leaky = Timing::of(
        SAMPLES,
        shown,
        || (),
        |shown| {
            for (own, its) in secret.iter().zip(shown.iter()) {
                if own != its {
                    return false;
                }
            }
            true
        },
    );
    assert!(leaky.is_leak(), "{leaky:?}");
    let sound = Timing::of(
        SAMPLES,
        shown,
        || (),
        |shown| aws_lc_rs::constant_time::verify_slices_are_equal(&secret, shown).is_ok(),
    );
    assert!(!sound.is_leak(), "{sound:?}");
}

fn login(username: &str) -> String {
    let guess = STANDARD.encode(unforeseen::<12>());
    format!("GET /\nauthorization: Basic {}", STANDARD.encode(format!("{username}:{guess}")))
}

#[test]
fn passwords_that_cost_more_than_others_are_found_out() {
    let world_of = |cost| {
        let world = World::default();
        put_secret(&world, CredentialKind::Password, "alice", cheap("open sesame", cost));
        let policy = world.build(&basic::KIND, &Value::Null).unwrap();
        (world, policy)
    };
    let (dear, cheaper) = (world_of((192, 1, 1)), world_of((64, 1, 1)));
    let leaky = Timing::of(
        SAMPLES,
        |class| {
            let (world, policy) = if class { &dear } else { &cheaper };
            let mut exchange = fixture::exchange(&login("alice"));
            exchange.arrived = world.clock().now();
            (policy, exchange)
        },
        || [&dear.0, &cheaper.0].into_iter().for_each(forgive),
        |(policy, exchange)| policy.fault(exchange),
    );
    assert!(leaky.is_leak(), "{leaky:?}");
}

#[test]
fn an_unknown_user_name_takes_as_long_as_a_wrong_password() {
    let (kind, cost) = (CredentialKind::Password, (64, 1, 1));
    let world = World::default();
    put_secret(&world, kind, "alice", cheap("open sesame", cost));
    let policy = world.build(&basic::KIND, &Value::Null).unwrap();
    let timing = refusals(&world, &policy, |known| login(if known { "alice" } else { "cassim" }));
    assert!(!timing.is_leak(), "{timing:?}");
}

#[test]
fn passwords_that_were_hashed_at_different_costs_all_take_the_same_time() {
    let kind = CredentialKind::Password;
    for (one, other) in [("alice", "bobby"), ("alice", "cassim"), ("bobby", "cassim")] {
        let world = World::default();
        put_secret(&world, kind, "alice", cheap("open sesame", (64, 1, 1)));
        put_secret(&world, kind, "bobby", cheap("open barley", (128, 2, 1)));
        let policy = world.build(&basic::KIND, &Value::Null).unwrap();
        let timing = refusals(&world, &policy, |class| login(if class { one } else { other }));
        assert!(!timing.is_leak(), "{one}, {other}: {timing:?}");
    }
}

#[test]
fn a_key_that_is_nearly_right_takes_as_long_as_any_other() {
    const KEY: &str = "a-key-that-was-made-elsewhere-and-has-no-checksum";
    let world = World::default();
    fill(&world);
    let credential = Arc::new(Credential::new(CredentialKind::ApiKey, alice()));
    world.directory.put(crate::key::hash(KEY.as_bytes()), &credential);
    let policy = world.build(&api_key::KIND, &Value::Null).unwrap();
    let timing = refusals(&world, &policy, |near| {
        let other: String = STANDARD.encode(unforeseen::<6>()).chars().take(8).collect();
        let kept = KEY.len() - other.len();
        let other = if near {
            format!("{}{other}", KEY.get(..kept).unwrap())
        } else {
            format!("{other}{}", KEY.get(KEY.len() - kept..).unwrap())
        };
        format!("GET /\nx-api-key: {other}")
    });
    assert!(!timing.is_leak(), "{timing:?}");
}

#[test]
fn an_unknown_key_id_takes_as_long_as_a_wrong_signature() {
    let world = World::default();
    let secret = Secret::new("a-secret-of-alice-that-is-long-enough".to_owned());
    put_secret(&world, CredentialKind::SharedSecret, "alice-1", secret);
    let policy = world.build(&hmac::KIND, &Value::Null).unwrap();
    let timing = refusals(&world, &policy, |known| {
        let created = unix_ms(world.clock().wall()) / 1_000;
        let id = if known { "alice-1" } else { "nobody1" };
        let mac = STANDARD.encode(unforeseen::<32>());
        format!(
            "GET /orders\nsignature: s=:{mac}:\nsignature-input: s=(\"@method\" \"@target-uri\");created={created};keyid=\"{id}\""
        )
    });
    assert!(!timing.is_leak(), "{timing:?}");
}

/// A policy `jwt`, and whether these two classes of tokens take different times.
fn tokens(key: &Value, mut token: impl FnMut(&Value, bool) -> String) -> Timing {
    const ISSUER: &str = "https://idp.example.com";
    let world = World::default();
    let kind = CredentialKind::Token;
    fill(&world);
    let credential = Arc::new(Credential::new(kind, alice()));
    world.directory.put(kind.hash(&[ISSUER, "alice"]), &credential);
    let mut settings = json!({ "issuer": ISSUER, "audience": "orders" });
    for (name, value) in key.as_object().unwrap() {
        settings[name] = value.clone();
    }
    let policy = world.build(&jwt::KIND, &settings).unwrap();
    let claims = json!({ "iss": ISSUER, "aud": "orders", "exp": u64::MAX });
    refusals(&world, &policy, |class| {
        let mut claims = claims.clone();
        claims["jti"] = json!(STANDARD.encode(unforeseen::<12>()));
        format!("GET /\nauthorization: Bearer {}", token(&claims, class))
    })
}

/// Which keys an issuer has is no secret: tokens that name another one may have to wait until its keys are fetched.
#[test]
fn a_token_with_a_wrong_signature_tells_nothing_of_whom_it_speaks() {
    let (signer, other) = (Signer::p256(), Signer::p256());
    let jwks = json!({ "keys": [signer.jwk(&json!({ "kid": "1" }))] }).to_string();
    let timing = tokens(&json!({ "jwks": jwks }), |claims, known| {
        let mut claims = claims.clone();
        claims["sub"] = json!(if known { "alice" } else { "cassi" });
        other.sign(&json!({ "alg": "ES256", "kid": "1" }), &claims)
    });
    assert!(!timing.is_leak(), "{timing:?}");
}

#[test]
fn a_token_with_a_nearly_right_signature_takes_as_long_as_any_other() {
    const SECRET: &str = "${env:TOKEN}${env:TOKEN}${env:TOKEN}${env:TOKEN}${env:TOKEN}${env:TOKEN}";
    let right = Signer::Secret("s3cret".repeat(6).into_bytes());
    let timing = tokens(&json!({ "secret": SECRET }), |claims, near| {
        let token = right.sign(&json!({ "alg": "HS256" }), claims);
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let mut bytes = crate::jose::signer::decode(signature);
        let at = if near { bytes.len() - 1 } else { 0 };
        bytes[at] ^= 0x55;
        format!("{signed}.{}", crate::jose::signer::encode(&bytes))
    });
    assert!(!timing.is_leak(), "{timing:?}");
}
