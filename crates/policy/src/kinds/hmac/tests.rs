use super::message::Signed;
use super::{HMAC_SHA256, KIND, hmac};
use crate::fixture::{self, Built, World};
use base::caps::SIGNATURE_SKEW_S;
use base::clock::unix_ms;
use base::{Clock, Secret};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use traffic::Exchange;
use traffic::body::BodyFilter as _;
use traffic::directory::{Consumer, Credential, CredentialKind};

/// From then on what is signed now cannot have been used before the start.
const START: Duration = Duration::from_secs(SIGNATURE_SKEW_S + 1);

const SECRET: &str = "a-secret-of-alice-that-is-long-enough";
const COMPONENTS: &str = r#""@method" "@authority" "@path" "@query""#;

fn world() -> World {
    let world = World::default();
    let kind = CredentialKind::SharedSecret;
    let consumer = Consumer { name: "alice".into(), is_known: true, ..Consumer::default() };
    let secret = Some(Secret::new(SECRET.to_owned()));
    let credential = Credential { secret, ..Credential::new(kind, Arc::new(consumer)) };
    world.directory.put(kind.hash(&["alice-1"]), &Arc::new(credential));
    world
}

fn now_s(clock: &Clock) -> u64 {
    unix_ms(clock.wall()) / 1_000
}

/// A request that is signed with a secret: what is covered, and the parameters after it.
fn signed_by(secret: &str, request: &str, covered: &str, params: &str) -> Exchange {
    let input = format!("({covered}){params}");
    let unsigned =
        fixture::exchange(&format!("{request}\nsignature-input: s={input}\nsignature: s=:AA==:"));
    let base = Signed::read(&unsigned.request.headers)
        .and_then(|signed| signed.base(&unsigned.request))
        .unwrap_or_default();
    let mac = hmac::sign(&hmac::Key::new(HMAC_SHA256, secret.as_bytes()), &base);
    let mac = STANDARD.encode(mac);
    fixture::exchange(&format!("{request}\nsignature-input: s={input}\nsignature: s=:{mac}:"))
}

fn signed(request: &str, covered: &str, params: &str) -> Exchange {
    signed_by(SECRET, request, covered, params)
}

/// What becomes of it, and why.
fn ask(policy: &Built, exchange: &mut Exchange) -> String {
    match policy.settled(exchange) {
        Ok(()) => format!("{}", exchange.consumer.as_ref().unwrap().name),
        Err(fault) => {
            let cause = fault.cause.as_ref().map_or_else(String::new, ToString::to_string);
            format!("{}: {cause}", fault.code.name())
        }
    }
}

#[test]
fn the_signature_of_rfc_9421_b_2_5_is_right() {
    let exchange = fixture::exchange(
        "POST /foo?param=Value&Pet=dog
         date: Tue, 20 Apr 2021 02:07:55 GMT
         content-type: application/json
         signature-input: sig-b25=(\"date\" \"@authority\" \"content-type\");created=1618884473;keyid=\"test-shared-secret\"
         signature: sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:",
    );
    let mut head = exchange.request;
    head.authority = http::HeaderValue::from_static("Example.com:443");
    let secret =
        "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";
    let key = hmac::Key::new(HMAC_SHA256, &STANDARD.decode(secret).unwrap());
    let signed = Signed::read(&head.headers).unwrap();
    assert_eq!((&*signed.key_id, signed.created_s), ("test-shared-secret", 1_618_884_473));
    let base = signed.base(&head).unwrap();
    let expected = "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n\"@authority\": example.com\n\"content-type\": application/json\n\"@signature-params\": (\"date\" \"@authority\" \"content-type\");created=1618884473;keyid=\"test-shared-secret\"";
    assert_eq!(String::from_utf8(base.clone()).unwrap(), expected);
    hmac::verify(&key, &base, &signed.mac).unwrap();
}

#[test]
fn a_signed_request_is_believed_once_and_its_signature_is_not_forwarded() {
    let world = world();
    let policy = world.build(&KIND, &Value::Null).unwrap();
    world.clock().advance(START);
    let params = format!(";created={};keyid=\"alice-1\";alg=\"hmac-sha256\"", now_s(world.clock()));
    let request = || signed("GET /orders?a=1\nx-a: b", COMPONENTS, &params);
    let mut first = request();
    assert_eq!(ask(&policy, &mut first), "alice");
    assert_eq!(fixture::lines(&first.request.headers), ["x-a: b"]);
    let again = "credentials_invalid: the signature was used before";
    assert_eq!(ask(&policy, &mut request()), again);
    let rebuilt = world.build(&KIND, &json!({ "keep": true })).unwrap();
    assert_eq!(ask(&rebuilt, &mut request()), again, "a reload forgets none");
    let with_nonce = |nonce: &str| {
        let params = format!("{params};nonce=\"{nonce}\"");
        signed("GET /orders?a=1", COMPONENTS, &params)
    };
    assert_eq!(ask(&policy, &mut with_nonce("1")), "alice");
    assert_eq!(ask(&policy, &mut with_nonce("2")), "alice");
    assert_eq!(ask(&policy, &mut with_nonce("1")), again);
}

#[test]
fn what_is_not_signed_as_it_must_be_is_refused() {
    let world = world();
    let policy = world.build(&KIND, &json!({ "covered": ["x-tenant"] })).unwrap();
    let now = now_s(world.clock());
    let at = |created: u64| format!(";created={created};keyid=\"alice-1\"");
    let check = |mut exchange: Exchange, why: &str| {
        assert_eq!(ask(&policy, &mut exchange), format!("credentials_invalid: {why}"));
    };
    let get = "GET /orders?a=1";
    check(signed_by("another", get, COMPONENTS, &at(now)), "the signature is wrong");
    let unknown = format!(";created={now};keyid=\"bob\"");
    let why = "the key is unknown, has expired, or is not valid yet";
    check(signed(get, COMPONENTS, &unknown), why);
    check(signed(get, COMPONENTS, &at(now + 31)), "the signature was made in the future");
    check(signed(get, COMPONENTS, &at(now - 301)), "the signature is too old");
    let ended = format!("{};expires={now}", at(now - 1));
    check(signed(get, COMPONENTS, &ended), "the signature has expired");
    let rsa = format!("{};alg=\"rsa-pss-sha512\"", at(now));
    check(signed(get, COMPONENTS, &rsa), "the algorithm is not `hmac-sha256`");
    let timeless = "the signature does not say when it was `created`";
    check(signed(get, COMPONENTS, ";keyid=\"alice-1\""), timeless);
    let method = r#""@authority" "@path" "@query""#;
    check(signed(get, method, &at(now)), "`@method` is not signed");
    let query = r#""@method" "@authority" "@path""#;
    check(signed(get, query, &at(now)), "`@query` is not signed");
    let missing = format!("{COMPONENTS} \"x-b\"");
    check(signed(get, &missing, &at(now)), "a component that is signed is not there");
    let twice = format!("{COMPONENTS} \"@path\"");
    check(signed(get, &twice, &at(now)), "a component is there twice");
    let part = format!("{COMPONENTS} \"x-b\";sf");
    check(signed(get, &part, &at(now)), "a component with parameters is not known here");
    let tenant = signed(&format!("{get}\nx-tenant: a"), COMPONENTS, &at(now));
    check(tenant, "a header that must be signed is not");
    let half = fixture::exchange("GET /\nsignature: s=:AA==:");
    check(half, "there is no signature, or nothing about it");
    let mut nothing = fixture::exchange(get);
    assert_eq!(ask(&policy, &mut nothing), "credentials_missing: ");
}

#[test]
fn whatever_is_changed_of_what_was_signed_is_noticed() {
    let world = world();
    let policy = world.build(&KIND, &Value::Null).unwrap();
    let params = format!(";created={};keyid=\"alice-1\"", now_s(world.clock()));
    let whole = signed("GET /orders?a=1", COMPONENTS, &params);
    let changes: [fn(&mut Exchange); 4] = [
        |it| it.request.method = http::Method::DELETE,
        |it| it.request.authority = http::HeaderValue::from_static("other.example.com"),
        |it| it.request.target = "/orders/1?a=1".parse().unwrap(),
        |it| it.request.target = "/orders?a=2".parse().unwrap(),
    ];
    for change in changes {
        let mut changed = fixture::exchange("GET /orders?a=1");
        changed.request.headers = whole.request.headers.clone();
        change(&mut changed);
        assert_eq!(ask(&policy, &mut changed), "credentials_invalid: the signature is wrong");
    }
}

#[test]
fn a_body_passes_whole_only_when_it_is_what_was_signed() {
    let world = world();
    let policy = world.build(&KIND, &Value::Null).unwrap();
    world.clock().advance(START);
    let params = format!(";created={};keyid=\"alice-1\"", now_s(world.clock()));
    // The digest of RFC 9530, B.1: of `{"hello": "world"}` and a line feed.
    let post =
        "POST /orders\ncontent-digest: sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:";
    let covered = format!("{COMPONENTS} \"content-digest\"");
    let ask_body = |nonce: &str, pieces: &[&'static str]| {
        let mut exchange = signed(post, &covered, &format!("{params};nonce=\"{nonce}\""));
        exchange.body = fixture::pieces(pieces);
        assert_eq!(ask(&policy, &mut exchange), "alice");
        fixture::drain(exchange.body)
    };
    let whole = "{\"hello\": \"world\"}\n";
    assert_eq!(ask_body("1", &["{\"hello\": ", "\"world\"}\n"]), whole);
    let broken = ask_body("2", &["{\"hello\": ", "\"WORLD\"}\n"]);
    assert!(!broken.contains("WORLD"), "{broken}");
    let mut unsigned = signed("POST /orders", COMPONENTS, &params);
    unsigned.body = fixture::pieces(&["a"]);
    let why = "credentials_invalid: there is a body, and its `content-digest` is not signed";
    assert_eq!(ask(&policy, &mut unsigned), why);
    let mut empty = signed(post, &covered, &params);
    let why = "credentials_invalid: the body is not what was signed";
    assert_eq!(ask(&policy, &mut empty), why);
}

#[test]
fn what_nobody_can_remember_is_not_believed() {
    let world = world();
    let policy = world.build(&KIND, &Value::Null).unwrap();
    let before = format!(";created={};keyid=\"alice-1\"", now_s(world.clock()) - 1);
    let unknown =
        "identity_unavailable: the signature is older than what is remembered of used ones";
    assert_eq!(ask(&policy, &mut signed("GET /", COMPONENTS, &before)), unknown);
    world.clock().advance(START);
    // What another process remembers goes on here.
    let other = world_later();
    let next = other.build(&KIND, &Value::Null).unwrap();
    let now = format!(";created={};keyid=\"alice-1\"", now_s(world.clock()));
    assert_eq!(ask(&policy, &mut signed("GET /", COMPONENTS, &now)), "alice");
    other.state.import(&world.state.export());
    let again = "credentials_invalid: the signature was used before";
    assert_eq!(ask(&next, &mut signed("GET /", COMPONENTS, &now)), again);
    assert_eq!(ask(&next, &mut signed("GET /b", COMPONENTS, &now)), "alice");
}

fn world_later() -> World {
    let world = world();
    world.clock().advance(Duration::from_secs(10));
    world
}

#[test]
fn wrong_settings_are_refused() {
    fixture::refuses(&KIND, &json!({ "window": "2h" }), "1s to 1h");
    fixture::refuses(&KIND, &json!({ "covered": ["a b"] }), "no name of a header");
    fixture::refuses(&KIND, &json!({ "covered": ["host"] }), "could be signed");
    fixture::refuses(&KIND, &json!({ "covered": ["signature"] }), "could be signed");
}

#[test]
fn a_header_that_reads_like_one_that_is_signed_is_refused() {
    let world = world();
    let policy = world.build(&KIND, &json!({ "covered": ["x-tenant"] })).unwrap();
    let at = format!(";created={};keyid=\"alice-1\"", now_s(world.clock()));
    let why = "credentials_invalid: a header is there that reads like one that is signed";
    let mut alone = signed("GET /\nx_tenant: evil", COMPONENTS, &at);
    assert_eq!(ask(&policy, &mut alone), why);
    let covered = format!("{COMPONENTS} \"x-tenant\" \"x-other\"");
    let beside = "GET /\nx-tenant: a\nx-other: b";
    for twin in ["x_tenant: evil", "x_other: evil"] {
        let mut both = signed(&format!("{beside}\n{twin}"), &covered, &at);
        assert_eq!(ask(&policy, &mut both), why, "{twin}");
    }
}

#[test]
fn one_window_after_another_believes_nothing_twice() {
    let world = world();
    let long = world.build(&KIND, &json!({ "window": "5m" })).unwrap();
    let short = world.build(&KIND, &json!({ "window": "4m" })).unwrap();
    world.clock().advance(START);
    let at = format!(";created={};keyid=\"alice-1\"", now_s(world.clock()));
    assert_eq!(ask(&short, &mut signed("GET /", COMPONENTS, &at)), "alice");
    let again = "credentials_invalid: the signature was used before";
    assert_eq!(ask(&long, &mut signed("GET /", COMPONENTS, &at)), again);
}

#[test]
fn trailers_of_a_signed_request_are_not_forwarded() {
    let mut digests = super::Digests::read(
        &fixture::exchange("GET /\ncontent-digest: sha-256=:AAAA:").request.headers,
    )
    .unwrap();
    let trailers = http::HeaderMap::from_iter([(
        http::HeaderName::from_static("x-tenant"),
        http::HeaderValue::from_static("evil"),
    )]);
    assert!(digests.on_trailers(trailers).unwrap().is_empty());
}
