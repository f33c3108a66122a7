use super::signer::{Signer, encode};
use super::{Algorithm, Key, KeySet, Message, Verdict};
use serde_json::{Value, json};

fn set(keys: &[Value]) -> Result<KeySet, String> {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
}

fn judged(set: &KeySet, signer: &Signer, header: &Value) -> Verdict {
    let text = signer.sign(header, &json!({ "sub": "alice" }));
    set.judge(&Message::parse(&text).unwrap())
}

#[test]
fn every_type_of_key_verifies_what_it_signed() {
    let (p256, p521, ed25519) = (Signer::p256(), Signer::p521(), Signer::ed25519());
    for (signer, names) in [
        (Signer::rsa(), &["RS256", "PS256"][..]),
        (&p256, &["ES256"]),
        (&p521, &["ES512"]),
        (&ed25519, &["EdDSA", "Ed25519"]),
    ] {
        let from_jwk = set(&[signer.jwk(&json!({ "kid": "a" }))]).unwrap();
        let from_pem = KeySet::of(vec![Key::from_pem(&signer.pem()).unwrap()]);
        for name in names {
            let header = json!({ "alg": name, "kid": "a" });
            assert_eq!(judged(&from_jwk, signer, &header), Verdict::Signed, "{name}");
            assert_eq!(judged(&from_pem, signer, &header), Verdict::Signed, "{name}");
        }
        for other in ["HS256", "RS512", "ES384"] {
            let header = json!({ "alg": other, "kid": "a" });
            assert_ne!(judged(&from_jwk, signer, &header), Verdict::Signed, "{other}");
            assert_ne!(judged(&from_pem, signer, &header), Verdict::Signed, "{other}");
        }
    }
}

#[test]
fn what_takes_long_is_known_before() {
    let (p256, p521) = (Signer::p256(), Signer::p521());
    let named = |id: &str| json!({ "kid": id });
    let rsa = Signer::rsa();
    let keys = set(&[rsa.jwk(&named("a")), p256.jwk(&named("b")), p521.jwk(&named("c"))]).unwrap();
    for (signer, header, expected) in [
        (rsa, json!({ "alg": "RS256", "kid": "a" }), 1..200),
        (&p256, json!({ "alg": "ES256", "kid": "b" }), 1..200),
        (&p521, json!({ "alg": "ES512", "kid": "c" }), 201..1_000),
        (&p521, json!({ "alg": "ES512" }), 201..1_000),
        // None of these keys can have signed these.
        (&p521, json!({ "alg": "ES512", "kid": "d" }), 0..1),
        (&p521, json!({ "alg": "ES512", "kid": "a" }), 0..1),
        (&p521, json!({ "alg": "HS256" }), 0..1),
    ] {
        let text = signer.sign(&header, &json!({}));
        let cost_us = keys.cost_us(&Message::parse(&text).unwrap());
        assert!(expected.contains(&cost_us), "{header}: {cost_us}");
    }
    // Whoever names no key makes all of them be tried.
    let many: Vec<Value> = (0..20).map(|_| Signer::p256().jwk(&json!({}))).collect();
    let text = p256.sign(&json!({ "alg": "ES256" }), &json!({}));
    let cost_us = set(&many).unwrap().cost_us(&Message::parse(&text).unwrap());
    assert!((400..500).contains(&cost_us), "{cost_us}");
}

#[test]
fn a_public_key_is_never_taken_for_a_secret() {
    let rsa = Signer::rsa();
    let keys = set(&[rsa.jwk(&json!({ "kid": "a" }))]).unwrap();
    let n = rsa.jwk(&json!({}))["n"].as_str().unwrap().to_owned();
    for secret in [rsa.pem(), rsa.pem().trim().to_owned(), n] {
        let forger = Signer::Secret(secret.into_bytes());
        for header in [json!({ "alg": "HS256", "kid": "a" }), json!({ "alg": "HS256" })] {
            assert_ne!(judged(&keys, &forger, &header), Verdict::Signed);
        }
    }
}

#[test]
fn a_key_that_the_message_brings_along_says_nothing() {
    let (known, forger) = (Signer::p256(), Signer::p256());
    let keys = set(&[known.jwk(&json!({ "kid": "a" }))]).unwrap();
    for header in [
        json!({ "alg": "ES256", "jwk": forger.jwk(&json!({ "kid": "a" })) }),
        json!({ "alg": "ES256", "kid": "a", "jwk": forger.jwk(&json!({})) }),
        json!({ "alg": "ES256", "kid": "a", "jku": "https://evil.example/keys" }),
        json!({ "alg": "ES256", "kid": "a", "x5u": "https://evil.example/keys", "x5c": ["MA=="] }),
        json!({ "alg": "ES256", "kid": "../../dev/null" }),
        json!({ "alg": "ES256", "kid": "a' or '1'='1" }),
    ] {
        assert_ne!(judged(&keys, &forger, &header), Verdict::Signed, "{header}");
    }
}

#[test]
fn a_name_that_is_not_there_is_told_from_a_forged_signature() {
    let (first, second, forger) = (Signer::p256(), Signer::p256(), Signer::p256());
    let keys = [first.jwk(&json!({ "kid": "1" })), second.jwk(&json!({ "kid": "2" }))];
    let keys = set(&keys).unwrap();
    let header = |kid: &str| json!({ "alg": "ES256", "kid": kid });
    assert_eq!(judged(&keys, &second, &header("2")), Verdict::Signed);
    assert_eq!(judged(&keys, &second, &header("1")), Verdict::Forged);
    assert_eq!(judged(&keys, &second, &header("3")), Verdict::Unknown);
    assert_eq!(judged(&keys, &second, &json!({ "alg": "ES256" })), Verdict::Signed);
    assert_eq!(judged(&keys, &forger, &json!({ "alg": "ES256" })), Verdict::Unknown);
}

#[test]
fn keys_for_other_purposes_are_not_used() {
    let key = Signer::p256();
    let small = json!({ "kty": "RSA", "n": encode(&[0xff; 128]), "e": "AQAB" });
    let large = json!({ "kty": "RSA", "n": encode(&[0xff; 1025]), "e": "AQAB" });
    for (jwk, expected) in [
        (key.jwk(&json!({ "use": "enc" })), "(`use`)"),
        (key.jwk(&json!({ "key_ops": ["sign"] })), "(`key_ops`)"),
        (key.jwk(&json!({ "key_ops": "verify" })), "not a list"),
        (key.jwk(&json!({ "alg": "RS256" })), "does not go with its type"),
        (key.jwk(&json!({ "alg": "none" })), "is not understood"),
        (key.jwk(&json!({ "alg": "HS256" })), "does not go with its type"),
        (key.jwk(&json!({ "d": "AQAB" })), "private parts"),
        (key.jwk(&json!({ "crv": "P-384" })), "length of its curve"),
        (key.jwk(&json!({ "crv": "secp256k1" })), "curve (`crv`) is not understood"),
        (key.jwk(&json!({ "x": encode(&[1; 32]) })), "not on its curve"),
        (key.jwk(&json!({ "kty": "oct" })), "type (`kty`) is not understood"),
        (key.jwk(&json!({ "kty": 7 })), "must be a text"),
        (Signer::Secret(vec![7; 32]).jwk(&json!({})), "secret"),
        (small, "less than 2048"),
        (large, "more than 8192"),
        (json!([]), "not an object"),
    ] {
        let problem = set(std::slice::from_ref(&jwk)).unwrap_err();
        assert!(problem.contains(expected), "{jwk}: {problem}");
        let beside = set(&[jwk, key.jwk(&json!({ "use": "sig", "key_ops": ["verify"] }))]);
        assert_eq!(beside.unwrap().skipped.len(), 1);
    }
}

#[test]
fn what_is_no_set_of_keys_is_refused() {
    let many = vec![json!({}); 129];
    for (text, expected) in [
        ("{}", "no list `keys`"),
        (r#"{"keys":{}}"#, "not a list"),
        (r#"{"keys":[]}"#, "has no keys"),
        (r#"{"keys":[],"keys":[]}"#, "there twice"),
        ("<html>", "not JSON"),
        (&json!({ "keys": many }).to_string(), "more than 128"),
        (&" ".repeat(600 << 10), "bytes"),
    ] {
        let problem = KeySet::parse(text.as_bytes()).unwrap_err();
        assert!(problem.contains(expected), "{problem}");
    }
}

#[test]
fn secrets_and_blocks_that_are_not_safe_are_refused() {
    let problem = Key::from_secret(b"short", &[Algorithm::Hs256]).unwrap_err();
    assert!(problem.contains("shorter"), "{problem}");
    assert!(Key::from_secret(&[7; 32], &[Algorithm::Hs512]).is_err());
    assert!(Key::from_secret(&[7; 64], &[Algorithm::Rs256]).is_err());
    for pem in ["", "-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----"] {
        assert!(Key::from_pem(pem).is_err());
    }
    let empty = "-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----";
    assert!(Key::from_pem(empty).unwrap_err().contains("no key of"));
}

#[test]
fn what_is_no_signed_message_is_refused() {
    let signer = Signer::Secret(vec![7; 32]);
    let with = |header: &str| signer.sign_text(header, "{}");
    let long = format!("{}.e30.", "a".repeat(8 << 10));
    for (text, expected) in [
        ("", "not a JWT"),
        ("a.b", "not a JWT"),
        ("a.b.c.d", "not a JWT"),
        ("a.b.c.d.e", "encrypted"),
        ("a.b.c.d.e.f", "not a JWT"),
        ("..", "not JSON"),
        ("eyJhbGciOiJIUzI1NiJ9.e30.a", "not base64url"),
        ("eyJhbGciOiJIUzI1NiJ9.e30=.AA", "not base64url"),
        ("eyJhbGciOiJIUzI1NiJ9.e30.AB", "not base64url"),
        ("eyJhbGciOiJIUzI1NiJ9\n.e30.AA", "not base64url"),
        (&long, "too long"),
        (&with("{}"), "names no algorithm"),
        (&with(r#"{"alg":["HS256"]}"#), "names no algorithm"),
        (&with(r#"{"alg":"none"}"#), "none that is known"),
        (&with(r#"{"alg":"NonE"}"#), "none that is known"),
        (&with(r#"{"alg":"hs256"}"#), "none that is known"),
        (&with(r#"{"alg":"HS256","alg":"none"}"#), "there twice"),
        (&with(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#), "crit"),
        (&with(r#"{"alg":"HS256","crit":[]}"#), "crit"),
        (&with(r#"{"alg":"HS256","kid":7}"#), "not a text"),
        (&with("[]"), "not an object"),
    ] {
        let problem = Message::parse(text).unwrap_err();
        assert!(problem.contains(expected), "{text}: {problem}");
    }
}
