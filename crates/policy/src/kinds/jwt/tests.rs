use super::KIND;
use crate::fixture::{self, Built, World, lines};
use crate::jose::signer::Signer;
use base::caps::FAILURES_PER_ADDRESS;
use base::clock::unix_ms;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use traffic::Exchange;
use traffic::directory::{Consumer, Credential, CredentialKind};

const ISSUER: &str = "https://idp.example.com/realms/a";
/// Refers to 36 bytes.
const SECRET: &str = "${env:TOKEN}${env:TOKEN}${env:TOKEN}${env:TOKEN}${env:TOKEN}${env:TOKEN}";

/// An issuer with one key, and a policy that believes it.
struct Scene {
    world: World,
    signer: Signer,
    settings: Value,
}

impl Scene {
    fn new(more: &Value) -> Self {
        let signer = Signer::p256();
        let jwks = json!({ "keys": [signer.jwk(&json!({ "kid": "1" }))] }).to_string();
        let mut settings = json!({ "issuer": ISSUER, "audience": "orders", "jwks": jwks });
        for (name, value) in more.as_object().into_iter().flatten() {
            settings[name] = value.clone();
        }
        Self { world: World::default(), signer, settings }
    }

    fn policy(&self) -> Built {
        self.world.build(&KIND, &self.settings).unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// Seconds since 1970.
    fn now_s(&self) -> u64 {
        unix_ms(self.world.clock().wall()) / 1_000
    }

    /// Claims that are fine, but for these; null takes one out.
    fn claims(&self, changes: &Value) -> Value {
        let now_s = self.now_s();
        let mut claims = json!({
            "iss": ISSUER, "aud": "orders", "sub": "alice", "iat": now_s, "exp": now_s + 600,
        });
        for (name, value) in changes.as_object().into_iter().flatten() {
            claims[name] = value.clone();
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(name);
            }
        }
        claims
    }

    fn token(&self, changes: &Value) -> String {
        self.signer.sign(&json!({ "alg": "ES256", "kid": "1" }), &self.claims(changes))
    }
}

fn with(token: &str) -> Exchange {
    fixture::exchange(&format!("GET /a\nauthorization: Bearer {token}"))
}

fn who(exchange: &Exchange) -> String {
    let consumer = exchange.consumer.as_ref().unwrap();
    format!("{} [{}]", consumer.name, consumer.groups.join(","))
}

/// What becomes of a token with these claims changed.
fn check(scene: &Scene, changes: &Value, expected: &str) {
    let policy = scene.policy();
    let token = scene.token(changes);
    // Once verified, once remembered.
    for _ in 0..2 {
        let outcome = policy.request(&mut with(&token));
        assert_eq!(outcome, expected, "{changes}");
    }
}

#[test]
fn a_token_of_the_issuer_identifies_and_is_not_forwarded() {
    let scene = Scene::new(&json!({ "groups": { "from": "realm.roles", "as": "a" } }));
    let policy = scene.policy();
    let token = scene.token(&json!({ "realm": { "roles": ["a", "b"] } }));
    for _ in 0..2 {
        let mut exchange = with(&token);
        assert_eq!(policy.request(&mut exchange), "continue");
        assert_eq!(who(&exchange), "idp.example.com/alice [a,idp.example.com/b]");
        assert_eq!(exchange.claims.as_ref().unwrap().json()["sub"], json!("alice"));
        assert!(!exchange.request.headers.contains("authorization"));
    }
}

#[test]
fn what_a_token_says_is_checked() {
    let scene = Scene::new(&json!({ "required": ["azp"] }));
    let now_s = scene.now_s();
    let fine = "continue";
    let bad = "credentials_invalid";
    for (changes, expected) in [
        (json!({ "azp": "web" }), fine),
        (json!({}), bad),
        (json!({ "azp": "web", "aud": ["else", "orders"] }), fine),
        (json!({ "azp": "web", "aud": ["else"] }), bad),
        (json!({ "azp": "web", "aud": "orders2" }), bad),
        (json!({ "azp": "web", "aud": null }), bad),
        (json!({ "azp": "web", "aud": { "orders": 1 } }), bad),
        (json!({ "azp": "web", "iss": format!("{ISSUER}/") }), bad),
        (json!({ "azp": "web", "iss": [ISSUER] }), bad),
        (json!({ "azp": "web", "iss": null }), bad),
        (json!({ "azp": "web", "exp": null }), bad),
        (json!({ "azp": "web", "exp": now_s - 29 }), fine),
        (json!({ "azp": "web", "exp": now_s - 30 }), bad),
        (json!({ "azp": "web", "exp": (now_s + 60).to_string() }), bad),
        (json!({ "azp": "web", "exp": -1 }), bad),
        (json!({ "azp": "web", "exp": 1e300 }), fine),
        (json!({ "azp": "web", "exp": u64::MAX }), fine),
        (json!({ "azp": "web", "exp": now_s as f64 + 0.5 }), fine),
        (json!({ "azp": "web", "nbf": now_s + 30 }), fine),
        (json!({ "azp": "web", "nbf": now_s + 31 }), bad),
        (json!({ "azp": "web", "nbf": true }), bad),
        (json!({ "azp": "web", "iat": now_s + 31 }), bad),
        (json!({ "azp": "web", "iat": null }), fine),
        (json!({ "azp": "web", "sub": null }), bad),
        (json!({ "azp": "web", "sub": "" }), bad),
        (json!({ "azp": "web", "sub": "a\u{7}b" }), bad),
        (json!({ "azp": "web", "sub": "a".repeat(300) }), bad),
        (json!({ "azp": "web", "sub": ["alice"] }), bad),
        (json!({ "azp": "web", "sub": 7 }), bad),
        (json!({ "azp": "web", "cnf": { "jkt": "x" } }), bad),
    ] {
        check(&scene, &changes, expected);
    }
}

#[test]
fn a_hostile_token_is_refused_with_one_answer() {
    let scene = Scene::new(&json!({}));
    let policy = scene.policy();
    let forger = Signer::p256();
    let rsa_as_secret = Signer::Secret(scene.settings["jwks"].as_str().unwrap().into());
    let pem_as_secret = Signer::Secret(scene.signer.pem().into_bytes());
    let claims = scene.claims(&json!({}));
    let header = |more: &Value| {
        let mut header = json!({ "alg": "ES256", "kid": "1" });
        for (name, value) in more.as_object().into_iter().flatten() {
            header[name] = value.clone();
        }
        header
    };
    let good = scene.token(&json!({}));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let twice = claims.to_string().replacen('{', "{\"sub\":\"bob\",", 1);
    let jwk = forger.jwk(&json!({ "kid": "1" }));
    let deep = format!("{{\"iss\":\"{ISSUER}\",\"a\":{}{}}}", "[".repeat(500), "]".repeat(500));
    let text = header(&json!({})).to_string();
    let tokens = [
        format!("{signed}."),
        format!("{signed}.{}", signature.split_at(signature.len() - 4).0),
        format!("{signed}.{signature}AAAA"),
        format!("{signed}.{signature}="),
        format!("{good}.{good}"),
        format!("{}.e30", signed),
        "a.b.c.d.e".to_owned(),
        "x".repeat(9_000),
        forger.sign(&header(&json!({})), &claims),
        forger.sign(&header(&json!({ "jwk": jwk })), &claims),
        forger.sign(&header(&json!({ "jku": "http://127.0.0.1/keys" })), &claims),
        forger.sign(&header(&json!({ "x5u": "http://127.0.0.1/c", "x5c": ["AA=="] })), &claims),
        forger.sign(&header(&json!({ "kid": "/dev/null" })), &claims),
        forger.sign(&json!({ "alg": "none" }), &claims),
        rsa_as_secret.sign(&json!({ "alg": "HS256", "kid": "1" }), &claims),
        pem_as_secret.sign(&json!({ "alg": "HS256", "kid": "1" }), &claims),
        scene.signer.sign(&header(&json!({ "alg": "RS256" })), &claims),
        scene.signer.sign(&header(&json!({ "kid": "2" })), &claims),
        scene.signer.sign(&header(&json!({ "crit": ["exp"], "exp": 1 })), &claims),
        scene.signer.sign(&header(&json!({ "cty": "JWT" })), &claims),
        scene.signer.sign(&header(&json!({ "typ": "dpop+jwt" })), &claims),
        scene.signer.sign(&header(&json!({ "typ": "logout+jwt" })), &claims),
        scene.signer.sign_text(&text, &twice),
        scene.signer.sign_text(&text, &deep),
        scene.signer.sign_text(&text, "[]"),
        scene.signer.sign_text(&text.replacen('{', "{\"alg\":\"none\",", 1), &claims.to_string()),
    ];
    let told = |token: &str| {
        let mut exchange = with(token);
        let fault = policy.fault(&mut exchange);
        assert!(exchange.consumer.is_none() && exchange.claims.is_none());
        let cause = fault.cause.unwrap().to_string();
        assert!(!cause.contains(token) && !cause.contains(signature), "{cause}");
        (fault.code.name(), fault.detail, fault.headers)
    };
    let expected = told("x.y.z");
    assert_eq!(expected.0, "credentials_invalid");
    assert_eq!(expected.2[0].1, "Bearer realm=\"yett\", error=\"invalid_token\"");
    for token in tokens {
        // Another address each time: guessing is not what is tried here.
        assert_eq!(told(&token), expected, "{token}");
    }
    assert_eq!(policy.request(&mut with(&good)), "continue");
}

#[test]
fn a_request_without_a_token_is_told_so() {
    let policy = Scene::new(&json!({})).policy();
    for request in ["GET /", "GET /\nauthorization: Basic YTpi", "GET /\nauthorization: Bearer"] {
        let fault = policy.fault(&mut fixture::exchange(request));
        assert_eq!(fault.code.name(), "credentials_missing", "{request}");
        assert_eq!(fault.headers[0].1, "Bearer realm=\"yett\"");
    }
}

#[test]
fn a_token_is_remembered_until_it_expires() {
    let scene = Scene::new(&json!({ "leeway": "1s" }));
    let policy = scene.policy();
    let token = scene.token(&json!({ "exp": scene.now_s() + 60 }));
    assert_eq!(policy.request(&mut with(&token)), "continue");
    scene.world.clock().advance(Duration::from_secs(60));
    assert_eq!(policy.request(&mut with(&token)), "continue");
    scene.world.clock().advance(Duration::from_secs(1));
    assert_eq!(policy.request(&mut with(&token)), "credentials_invalid");
}

#[test]
fn the_directory_says_who_a_known_subject_is() {
    let scene = Scene::new(&json!({ "consumer": { "unknown": "refuse" } }));
    check(&scene, &json!({}), "credentials_invalid");
    let consumer = Consumer { name: "a".into(), is_known: true, ..Consumer::default() };
    let credential = Arc::new(Credential::new(CredentialKind::Token, Arc::new(consumer)));
    let hash = CredentialKind::Token.hash(&[ISSUER, "alice"]);
    let policy = scene.policy();
    let token = scene.token(&json!({}));
    scene.world.directory.put(hash, &credential);
    let mut exchange = with(&token);
    assert_eq!(policy.request(&mut exchange), "continue");
    assert_eq!(who(&exchange), "a []");
    assert!(exchange.credential.is_some());
    // Taken away, it counts no more, also for a token that is remembered.
    scene.world.directory.remove(&hash);
    assert_eq!(policy.request(&mut with(&token)), "credentials_invalid");
}

#[test]
fn an_issuer_may_say_names_of_consumers_if_it_is_told_so() {
    let consumer = Consumer { name: "alice".into(), is_known: true, ..Consumer::default() };
    let credential = Arc::new(Credential::new(CredentialKind::Name, Arc::new(consumer)));
    for (by_name, expected) in [(true, "alice []"), (false, "idp/alice []")] {
        let scene = Scene::new(&json!({ "consumer": {
            "claim": "user.name", "by_name": by_name, "prefix": "idp",
        } }));
        scene.world.directory.put(CredentialKind::Name.hash(&["alice"]), &credential);
        let mut exchange = with(&scene.token(&json!({ "user": { "name": "alice" } })));
        assert_eq!(scene.policy().request(&mut exchange), "continue");
        assert_eq!(who(&exchange), expected);
    }
}

#[test]
fn a_token_that_lacks_a_scope_is_refused_with_403() {
    let scene = Scene::new(&json!({ "scopes": ["orders:read", "orders:write"] }));
    for (changes, expected) in [
        (json!({ "scope": "a orders:write orders:read" }), "continue"),
        (json!({ "scp": ["orders:write", "orders:read"] }), "continue"),
        (json!({ "scope": "orders:read" }), "insufficient_scope"),
        (json!({ "scope": "orders:read orders:writer" }), "insufficient_scope"),
        (json!({}), "insufficient_scope"),
        (json!({ "exp": 1 }), "credentials_invalid"),
    ] {
        check(&scene, &changes, expected);
    }
    let fault = scene.policy().fault(&mut with(&scene.token(&json!({}))));
    let expected =
        "Bearer realm=\"yett\", error=\"insufficient_scope\", scope=\"orders:read orders:write\"";
    assert_eq!(fault.headers[0].1, expected);
}

#[test]
fn a_token_is_found_where_the_settings_say() {
    for (from, request, expected) in [
        (json!({}), "GET /a\nauthorization: bearer TOKEN", "/a"),
        (json!({}), "GET /a\nx-token: TOKEN", "credentials_missing"),
        (json!({ "header": "x-token" }), "GET /a\nx-token: TOKEN", "/a"),
        (json!({ "scheme": "JWT" }), "GET /a\nauthorization: JWT TOKEN", "/a"),
        (json!({ "scheme": "JWT" }), "GET /a\nauthorization: Bearer TOKEN", "credentials_missing"),
        (json!({ "cookie": "t" }), "GET /a\ncookie: a=1; t=TOKEN; b=2", "/a | cookie: a=1; b=2"),
        (json!({ "query": "t" }), "GET /a?b=1&t=TOKEN", "/a?b=1"),
        (json!({ "query": "t" }), "GET /a?t=TOKEN\nauthorization: Bearer TOKEN", "/a"),
        (json!({ "query": "t" }), "GET /a?t=x\nauthorization: Bearer TOKEN", "credentials_invalid"),
        (
            json!({}),
            "GET /a\nauthorization: Bearer TOKEN\nauthorization: Bearer x",
            "credentials_invalid",
        ),
        (json!({}), "GET /a\nauthorization: Bearer TOKEN\nx-api-key: k", "/a | x-api-key: k"),
    ] {
        let scene = Scene::new(&json!({ "from": from }));
        let token = scene.token(&json!({}));
        let mut exchange = fixture::exchange(&request.replace("TOKEN", &token));
        let mut outcome = scene.policy().request(&mut exchange);
        if outcome == "continue" {
            let mut shown = vec![exchange.request.target.to_string()];
            shown.extend(lines(&exchange.request.headers));
            outcome = shown.join(" | ");
        }
        assert_eq!(outcome, expected, "{request}");
    }
}

#[test]
fn a_secret_and_a_pem_block_verify_tokens_too() {
    let scene = Scene::new(&json!({ "jwks": null, "secret": SECRET }));
    let secret = Signer::Secret("s3cret".repeat(6).into_bytes());
    let policy = scene.policy();
    let claims = scene.claims(&json!({}));
    let token = secret.sign(&json!({ "alg": "HS256" }), &claims);
    assert_eq!(policy.request(&mut with(&token)), "continue");
    let token = secret.sign(&json!({ "alg": "HS512" }), &claims);
    assert_eq!(policy.request(&mut with(&token)), "credentials_invalid");
    let rsa = Signer::rsa();
    let scene = Scene::new(&json!({ "jwks": rsa.pem(), "algorithms": ["PS256"] }));
    let claims = scene.claims(&json!({}));
    for (name, expected) in [("PS256", "continue"), ("RS256", "credentials_invalid")] {
        let token = rsa.sign(&json!({ "alg": name, "kid": "any" }), &claims);
        assert_eq!(scene.policy().request(&mut with(&token)), expected, "{name}");
    }
}

#[test]
fn a_type_of_tokens_can_be_asked_for() {
    let scene = Scene::new(&json!({ "token_type": "at+jwt" }));
    let claims = scene.claims(&json!({}));
    for (header, expected) in [
        (json!({ "typ": "at+jwt" }), "continue"),
        (json!({ "typ": "application/AT+JWT" }), "continue"),
        (json!({ "typ": "JWT" }), "credentials_invalid"),
        (json!({ "typ": 7 }), "credentials_invalid"),
        (json!({}), "credentials_invalid"),
    ] {
        let mut header = header;
        (header["alg"], header["kid"]) = (json!("ES256"), json!("1"));
        let token = scene.signer.sign(&header, &claims);
        assert_eq!(scene.policy().request(&mut with(&token)), expected, "{header}");
    }
}

#[test]
fn wrong_settings_are_refused() {
    let jwks = json!({ "keys": [Signer::p256().jwk(&json!({}))] }).to_string();
    let refuses = |more: &Value, part: &str| {
        let mut settings = json!({ "issuer": ISSUER, "audience": "a", "jwks": jwks });
        for (name, value) in more.as_object().into_iter().flatten() {
            settings[name] = value.clone();
        }
        fixture::refuses(&KIND, &settings, part);
    };
    fixture::refuses(&KIND, &json!("https://idp.example.com"), "whom the tokens are for");
    refuses(&json!({ "issuer": "" }), "`issuer` is missing");
    refuses(&json!({ "audience": [] }), "`audience` is missing");
    refuses(&json!({ "audience": ["orders", "*"] }), "those beside it mean nothing");
    refuses(&json!({ "algorithms": ["none"] }), "no algorithm that is known");
    refuses(&json!({ "algorithms": ["HS256"] }), "needs a `secret`");
    refuses(&json!({ "algorithms": ["RS256"] }), "no key goes with");
    refuses(&json!({ "secret": SECRET }), "cannot stand side by side");
    refuses(
        &json!({ "jwks": null, "secret": SECRET, "algorithms": ["ES256"] }),
        "does not go with",
    );
    refuses(&json!({ "jwks": null, "secret": SECRET, "algorithms": ["HS512"] }), "shorter");
    refuses(&json!({ "jwks": null, "secret": "${env:TOKEN}" }), "shorter");
    refuses(&json!({ "jwks": null, "secret": "x".repeat(40) }), "stands in the config");
    refuses(&json!({ "jwks": "{}" }), "no list `keys`");
    refuses(&json!({ "jwks": "-----BEGIN CERTIFICATE-----" }), "PUBLIC KEY");
    refuses(&json!({ "leeway": "1h" }), "differ by more than");
    refuses(&json!({ "scopes": ["a b"] }), "no scope");
    refuses(&json!({ "from": { "header": "cookie" } }), "cookie: NAME");
    refuses(&json!({ "from": { "cookie": "a;b" } }), "a name has letters");
    refuses(&json!({ "issuer": "joe", "jwks": null }), "no URL needs");
    refuses(&json!({ "audiences": "a" }), "did you mean `audience`");
}

/// What a provider such as Keycloak writes into an access token, about.
fn usual(index: usize) -> Value {
    json!({
        "sub": format!("f:3b2c9a54-94e7-4b7d-8f5e-{index:012}"), "jti": format!("trrtcc:{index:032}"),
        "typ": "Bearer", "azp": "web-shop", "sid": "0b0c9c86-7d10-4d37-9d4f-1f3f6f8f0a11", "acr": "1",
        "allowed-origins": ["https://shop.example.com"], "scope": "openid profile email orders:read",
        "realm_access": { "roles": ["default-roles-a", "offline_access", "sales"] },
        "resource_access": { "account": { "roles": ["manage-account", "view-profile"] } },
        "email_verified": true, "name": "Alice Example", "preferred_username": format!("alice{index}"),
        "given_name": "Alice", "family_name": "Example", "email": format!("alice{index}@example.com"),
    })
}

#[test]
fn a_remembered_token_takes_little_memory_and_few_allocations() {
    const TOKENS: usize = 200;
    let scene = Scene::new(&json!({}));
    let policy = scene.policy();
    let tokens: Vec<String> = (0..TOKENS).map(|index| scene.token(&usual(index))).collect();
    // What grows in leaps is there before.
    for index in 0..TOKENS {
        policy.request(&mut with(&scene.token(&usual(index + TOKENS))));
    }
    let kept = allocation_counter::measure(|| {
        for token in &tokens {
            assert_eq!(policy.request(&mut with(token)), "continue");
        }
    });
    let each = kept.bytes_current / i64::try_from(TOKENS).unwrap();
    assert!((1_000..=7_168).contains(&each), "{each} bytes for each token");
    let mut exchange = with(&tokens[0]);
    let again = allocation_counter::measure(|| {
        policy.request(&mut exchange);
    });
    // One is the test's own.
    assert!(
        again.count_total <= 1,
        "{} allocations for a token that is remembered",
        again.count_total
    );
}

#[test]
fn a_signature_that_takes_long_is_checked_beside_the_request_path() {
    let signer = Signer::p521();
    let jwk = signer.jwk(&json!({ "kid": "1" }));
    let jwks = json!({ "keys": [jwk] }).to_string();
    let scene = Scene { signer, ..Scene::new(&json!({ "jwks": jwks })) };
    let policy = scene.policy();
    let header = json!({ "alg": "ES512", "kid": "1" });
    let claims = scene.claims(&json!({}));
    let token = scene.signer.sign(&header, &claims);
    assert!(policy.waits(&mut with(&token)));
    let mut exchange = with(&token);
    assert_eq!(policy.request(&mut exchange), "continue");
    assert_eq!(who(&exchange), "idp.example.com/alice []");
    assert!(!policy.waits(&mut with(&token)), "it is remembered");

    // What is wrong beside the signature is told at once, and a wrong signature is one.
    let foreign =
        scene.signer.sign(&header, &scene.claims(&json!({ "iss": "https://other.example" })));
    assert!(!policy.waits(&mut with(&foreign)));
    let forged = Signer::p521().sign(&header, &claims);
    assert!(policy.waits(&mut with(&forged)));
    assert_eq!(policy.request(&mut with(&forged)), "credentials_invalid");
    assert_eq!(policy.request(&mut with(&forged)), "credentials_invalid");
}

#[test]
fn whoever_shows_many_forged_tokens_causes_no_more_long_checks() {
    let signer = Signer::p521();
    let jwks = json!({ "keys": [signer.jwk(&json!({ "kid": "1" }))] }).to_string();
    let scene = Scene { signer, ..Scene::new(&json!({ "jwks": jwks })) };
    let policy = scene.policy();
    let header = json!({ "alg": "ES512", "kid": "1" });
    let good = scene.signer.sign(&header, &scene.claims(&json!({})));
    let fresh = scene.signer.sign(&header, &scene.claims(&json!({ "sub": "bob" })));
    let forged = Signer::p521().sign(&header, &scene.claims(&json!({})));
    assert_eq!(policy.request(&mut with(&good)), "continue");
    for _ in 0..FAILURES_PER_ADDRESS {
        assert_eq!(policy.request(&mut with(&forged)), "credentials_invalid");
    }
    assert_eq!(policy.request(&mut with(&forged)), "too_many_failures");
    assert_eq!(policy.request(&mut with(&fresh)), "too_many_failures");
    assert_eq!(policy.request(&mut with(&good)), "continue", "it is remembered");
}

#[test]
fn a_name_that_a_backend_would_read_as_another_is_none() {
    let scene = Scene::new(&json!({ "consumer": { "claim": "name" } }));
    for (name, expected) in [
        (json!("alice"), "continue"),
        (json!("alice smith"), "continue"),
        (json!(7), "continue"),
        (json!(7.5), "credentials_invalid"),
        (json!("alice "), "credentials_invalid"),
        (json!("\u{a0}alice"), "credentials_invalid"),
        (json!(""), "credentials_invalid"),
    ] {
        check(&scene, &json!({ "name": name }), expected);
    }
    check(&Scene::new(&json!({})), &json!({ "sub": 5 }), "credentials_invalid");
}
