use super::{ALGORITHMS, Asked, Origin, check, is_algorithm};
use crate::jose::signer::Signer;
use crate::jose::{Message, thumbprint};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

/// RFC 9449, 7.1: a request for a protected resource.
const RFC_TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
const RFC_PROOF: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";

/// RFC 9449, 6.1.
const RFC_KEY: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

const NOW_S: u64 = 1_800_000_000;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn asked(origins: &[Origin]) -> Asked<'_> {
    Asked {
        method: "POST",
        origins,
        path: "/orders/1",
        token: "t0ken",
        key: "",
        now: at(NOW_S),
        age_max: Duration::from_secs(60),
        leeway: Duration::from_secs(5),
    }
}

fn here() -> [Origin; 1] {
    [Origin::parse("https://api.example.com").unwrap()]
}

fn ath(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes()))
}

/// A proof with these members of header and claims changed; null takes one out.
fn proof(signer: &Signer, header: &Value, claims: &Value) -> String {
    let mut whole = [
        json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": signer.jwk(&json!({})) }),
        json!({
            "jti": "1", "htm": "POST", "htu": "https://api.example.com/orders/1", "iat": NOW_S,
            "ath": ath("t0ken"),
        }),
    ];
    for (to, changes) in whole.iter_mut().zip([header, claims]) {
        for (name, value) in changes.as_object().into_iter().flatten() {
            to[name] = value.clone();
            if value.is_null() {
                to.as_object_mut().unwrap().remove(name);
            }
        }
    }
    signer.sign(&whole[0], &whole[1])
}

fn judged(text: &str) -> Result<String, &'static str> {
    let header = Message::parse(text).map(|message| message.header).unwrap_or_default();
    let key = header.get("jwk").and_then(Value::as_object).and_then(thumbprint);
    let key = key.unwrap_or_default();
    check(text, &Asked { key: &key, ..asked(&here()) }).map(|proof| proof.id)
}

#[test]
fn the_proof_of_the_rfc_holds() {
    let origins = [Origin::parse("https://resource.example.org").unwrap()];
    let asked = Asked {
        method: "GET",
        origins: &origins,
        path: "/protectedresource",
        token: RFC_TOKEN,
        key: RFC_KEY,
        now: at(1_562_262_620),
        ..asked(&origins)
    };
    let proof = check(RFC_PROOF, &asked).unwrap();
    assert_eq!(proof.thumbprint, RFC_KEY);
    let other = Asked { key: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4J", ..asked };
    assert!(check(RFC_PROOF, &other).unwrap_err().contains("not bound to"));
    assert_eq!(proof.id, "e1j3V_bKic8-LAEB");
    assert_eq!(proof.until, at(1_562_262_618 + 65));
    let (signed, signature) = RFC_PROOF.rsplit_once('.').unwrap();
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    for index in 0..bytes.len() {
        bytes[index] ^= 1;
        let changed = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(&bytes));
        assert_eq!(check(&changed, &asked), Err("the proof's signature is wrong"));
        bytes[index] ^= 1;
    }
}

#[test]
fn a_proof_is_about_one_request_and_one_token() {
    let signer = Signer::p256();
    for (changes, expected) in [
        (json!({}), ""),
        (json!({ "htm": "GET" }), "another method"),
        (json!({ "htm": "post" }), "another method"),
        (json!({ "htm": null }), "another method"),
        (json!({ "htm": ["POST"] }), "not a text"),
        (json!({ "ath": null }), "about no token"),
        (json!({ "ath": ath("other") }), "another token"),
        (json!({ "ath": format!("{}=", ath("t0ken")) }), "another token"),
        (json!({ "jti": null }), "no identifier"),
        (json!({ "jti": "" }), "empty or too long"),
        (json!({ "jti": "x".repeat(300) }), "empty or too long"),
        (json!({ "jti": 1 }), "not a text"),
        (json!({ "iat": null }), "when it was made"),
        (json!({ "iat": "now" }), "when it was made"),
        (json!({ "iat": -1 }), "when it was made"),
        (json!({ "iat": 1e300 }), "when it was made"),
        (json!({ "iat": NOW_S + 5 }), ""),
        (json!({ "iat": NOW_S + 6 }), "in the future"),
        (json!({ "iat": NOW_S - 64 }), ""),
        (json!({ "iat": NOW_S - 65 }), "too old"),
        (json!({ "nonce": 1 }), "not a text"),
    ] {
        match judged(&proof(&signer, &json!({}), &changes)) {
            Ok(_) => assert_eq!(expected, "", "{changes}"),
            Err(why) => assert!(!expected.is_empty() && why.contains(expected), "{changes}: {why}"),
        }
    }
}

#[test]
fn addresses_are_compared_in_their_normal_form() {
    let signer = Signer::ed25519();
    for (htu, is_right) in [
        ("https://api.example.com/orders/1", true),
        ("https://api.example.com/orders/1?a=b", true),
        ("https://api.example.com/orders/1?a=b#c", true),
        ("HTTPS://API.example.com/orders/1", true),
        ("https://api.example.com:443/orders/1", true),
        ("https://api.example.com/orders/./x/../1", true),
        ("https://api.example.com//orders/1", true),
        ("https://api.example.com/%6Frders/%31", true),
        ("http://api.example.com/orders/1", false),
        ("http://api.example.com:443/orders/1", false),
        ("https://api.example.com:8443/orders/1", false),
        ("https://api.example.com.evil.test/orders/1", false),
        ("https://api.example.com@evil.test/orders/1", false),
        ("https://u@api.example.com/orders/1", false),
        ("https://api.example.com/orders/1/", false),
        ("https://api.example.com/orders/12", false),
        ("https://api.example.com/orders%2F1", false),
        ("https://api.example.com/Orders/1", false),
        ("https://api.example.com", false),
        ("/orders/1", false),
        ("", false),
    ] {
        let text = proof(&signer, &json!({ "alg": "EdDSA" }), &json!({ "htu": htu }));
        let expected = if is_right { Ok("1".to_owned()) } else { judged(&text) };
        assert_eq!(judged(&text), expected, "{htu}");
        assert_eq!(judged(&text).is_ok(), is_right, "{htu}");
    }
}

#[test]
fn a_proof_is_signed_by_the_public_key_that_it_brings_along() {
    let (signer, other) = (Signer::p256(), Signer::p256());
    let secret = Signer::Secret(vec![7; 32]);
    let with = |more: &Value| json!({ "jwk": signer.jwk(more) });
    for (text, expected) in [
        (proof(&signer, &json!({ "typ": null }), &json!({})), "`typ`"),
        (proof(&signer, &json!({ "typ": "JWT" }), &json!({})), "`typ`"),
        (proof(&signer, &json!({ "typ": "at+jwt" }), &json!({})), "`typ`"),
        (proof(&signer, &json!({ "jwk": null }), &json!({})), "no key along"),
        (proof(&signer, &json!({ "jwk": "x", "kid": "1" }), &json!({})), "no key along"),
        (proof(&signer, &json!({ "jwk": other.jwk(&json!({})) }), &json!({})), "signature"),
        (proof(&signer, &with(&json!({ "d": "AQAB" })), &json!({})), "private parts"),
        (proof(&signer, &with(&json!({ "p": "AQAB" })), &json!({})), "private parts"),
        (proof(&signer, &json!({ "alg": "RS256" }), &json!({})), "signature"),
        (proof(&signer, &json!({ "alg": "none" }), &json!({})), "none that is known"),
        (proof(&signer, &json!({ "crit": ["x"] }), &json!({})), "crit"),
        (proof(&secret, &json!({ "alg": "HS256" }), &json!({})), "needs a secret"),
        (proof(&signer, &json!({ "jwk": {} }), &json!({})), "not whole"),
        ("a.b".to_owned(), "not a JWT"),
        ("x".repeat(9_000), "too long"),
    ] {
        let why = judged(&text).unwrap_err();
        assert!(why.contains(expected), "{text}: {why}");
    }
    assert!(judged(&proof(Signer::rsa(), &json!({ "alg": "RS256" }), &json!({}))).is_ok());
    assert!(judged(&proof(&signer, &json!({ "typ": "application/dpop+jwt" }), &json!({}))).is_ok());
}

#[test]
fn the_algorithms_that_are_told_are_known() {
    assert!(ALGORITHMS.split(' ').all(is_algorithm));
}
