use crate::fixture::{self, Built, World, lines};
use crate::jose::signer::Signer;
use crate::jose::thumbprint;
use crate::kinds::jwt;
use crate::verified;
use base::clock::unix_ms;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use traffic::Exchange;
use traffic::forwarded::{Forwarded, ToldCertificate};
use traffic::tls::{ClientAuth, ClientCertificate, ShownByClient};

const ISSUER: &str = "https://idp.example.com";
const ALGORITHMS: &str = "ES256 ES384 ES512 PS256 PS384 PS512 RS256 RS384 RS512 EdDSA";

/// An issuer, a policy that believes it, and somebody who has a token and a key.
struct Scene {
    world: World,
    issuer: Signer,
    holder: Signer,
    policy: Built,
}

impl Scene {
    fn new(more: &Value) -> Self {
        let (issuer, holder) = (Signer::p256(), Signer::ed25519());
        let jwks = json!({ "keys": [issuer.jwk(&json!({}))] }).to_string();
        let mut settings = json!({ "issuer": ISSUER, "audience": "orders", "jwks": jwks });
        for (name, value) in more.as_object().into_iter().flatten() {
            settings[name] = value.clone();
        }
        let world = World::default();
        let policy = world.build(&jwt::KIND, &settings).unwrap_or_else(|why| panic!("{why}"));
        Self { world, issuer, holder, policy }
    }

    fn now_s(&self) -> u64 {
        unix_ms(self.world.clock().wall()) / 1_000
    }

    fn token(&self, confirmation: &Value) -> String {
        let end = self.now_s() + 10_000;
        let mut claims = json!({ "iss": ISSUER, "aud": "orders", "sub": "alice", "exp": end });
        if !confirmation.is_null() {
            claims["cnf"] = confirmation.clone();
        }
        self.issuer.sign(&json!({ "alg": "ES256" }), &claims)
    }

    /// A token of the holder's key.
    fn bound(&self) -> String {
        self.token(&json!({ "jkt": thumbprint_of(&self.holder) }))
    }

    fn proof(&self, signer: &Signer, token: &str, more: &Value) -> String {
        let ath = URL_SAFE_NO_PAD.encode(verified::hash(token));
        let mut claims = json!({
            "jti": format!("{}", base::random::fast()), "htm": "GET", "iat": self.now_s(),
            "htu": "https://api.example.com/a", "ath": ath,
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        let jwk = signer.jwk(&json!({}));
        let alg = if jwk["crv"] == "P-521" { "ES512" } else { "EdDSA" };
        signer.sign(&json!({ "typ": "dpop+jwt", "alg": alg, "jwk": jwk }), &claims)
    }

    /// A proof that is right.
    fn good(&self, token: &str) -> String {
        self.proof(&self.holder, token, &json!({}))
    }
}

fn thumbprint_of(signer: &Signer) -> String {
    thumbprint(signer.jwk(&json!({})).as_object().unwrap()).unwrap()
}

fn ask(scheme: &str, token: &str, proofs: &[&str]) -> Exchange {
    let mut text = format!("GET /a\nauthorization: {scheme} {token}");
    for proof in proofs {
        text.push_str(&format!("\ndpop: {proof}"));
    }
    fixture::routed("/{*rest}", &text)
}

/// The code, the challenges and the cause of a refusal.
fn refusal(policy: &Built, mut exchange: Exchange) -> (String, Vec<String>, String) {
    let fault = policy.fault(&mut exchange);
    assert!(exchange.consumer.is_none());
    let told = fault.headers.iter().filter(|(name, _)| *name == "www-authenticate");
    let told = told.map(|(_, value)| value.to_str().unwrap().to_owned()).collect();
    (fault.code.name().to_owned(), told, fault.cause.map_or_else(String::new, |it| it.to_string()))
}

#[test]
fn a_bound_token_with_a_proof_identifies_and_neither_is_forwarded() {
    let scene = Scene::new(&json!({}));
    let token = scene.bound();
    // Once verified, once remembered.
    for scheme in ["DPoP", "dpop"] {
        let mut exchange = ask(scheme, &token, &[&scene.good(&token)]);
        assert_eq!(scene.policy.request(&mut exchange), "continue");
        assert_eq!(&*exchange.consumer.unwrap().name, "idp.example.com/alice");
        assert!(lines(&exchange.request.headers).is_empty());
    }
}

#[test]
fn a_proof_that_takes_long_to_check_is_checked_beside_the_request_path() {
    let mut scene = Scene::new(&json!({}));
    scene.holder = Signer::p521();
    let token = scene.bound();
    let proof = scene.good(&token);
    assert!(scene.policy.waits(&mut ask("DPoP", &token, &[&proof])));
    let asked = || scene.policy.request(&mut ask("DPoP", &token, &[&proof]));
    assert_eq!(asked(), "continue");
    assert_eq!(asked(), "credentials_invalid", "it was shown before");
    let (head, signature) = proof.rsplit_once('.').unwrap();
    let mut forged = URL_SAFE_NO_PAD.decode(signature).unwrap();
    forged[7] ^= 1;
    let forged = format!("{head}.{}", URL_SAFE_NO_PAD.encode(forged));
    assert!(scene.policy.waits(&mut ask("DPoP", &token, &[&forged])));
    for _ in 0..2 {
        let (code, _, cause) = refusal(&scene.policy, ask("DPoP", &token, &[&forged]));
        assert_eq!(code, "credentials_invalid");
        assert!(cause.contains("the proof's signature is wrong"), "{cause}");
    }
    // Of a key that the token is not bound to nothing is checked.
    let other = Scene { holder: Signer::p521(), ..scene };
    let foreign = other.good(&token);
    assert!(!other.policy.waits(&mut ask("DPoP", &token, &[&foreign])));
}

#[test]
fn token_and_proof_are_forwarded_where_they_are_kept() {
    let scene = Scene::new(&json!({ "keep": true }));
    let token = scene.bound();
    let mut exchange = ask("DPoP", &token, &[&scene.good(&token)]);
    assert_eq!(scene.policy.request(&mut exchange), "continue");
    assert_eq!(lines(&exchange.request.headers).len(), 2);
}

#[test]
fn a_bound_token_is_nothing_to_anybody_but_its_holder() {
    let scene = Scene::new(&json!({}));
    let (token, free) = (scene.bound(), scene.token(&Value::Null));
    let thief = Signer::ed25519();
    let good = |token: &str| scene.good(token);
    let proof = "error=\"invalid_dpop_proof\"";
    let bad = "error=\"invalid_token\"";
    for (scheme, token, proofs, expected, why) in [
        ("Bearer", &token, vec![], bad, "without a proof"),
        ("Bearer", &token, vec![good(&token)], bad, "without a proof"),
        ("DPoP", &token, vec![], proof, "no proof"),
        ("DPoP", &token, vec![good(&token), good(&token)], proof, "more than one"),
        ("DPoP", &token, vec!["x.y.z".to_owned()], proof, ""),
        ("DPoP", &token, vec![good(&free)], proof, "another token"),
        ("DPoP", &token, vec![scene.proof(&thief, &token, &json!({}))], proof, "not bound to"),
        ("DPoP", &free, vec![good(&free)], bad, "not bound to a key"),
        ("DPoP", &free, vec![], bad, "not bound to a key"),
        (
            "DPoP",
            &token,
            vec![scene.proof(&scene.holder, &token, &json!({ "htu": "https://evil.test/a" }))],
            proof,
            "another address",
        ),
    ] {
        let proofs: Vec<&str> = proofs.iter().map(String::as_str).collect();
        let (code, told, cause) = refusal(&scene.policy, ask(scheme, token, &proofs));
        assert_eq!(code, "credentials_invalid", "{scheme}: {cause}");
        assert_eq!(told.len(), 1, "{told:?}");
        let is_dpop = scheme == "DPoP";
        assert!(told[0].starts_with(&format!("{scheme} realm=\"yett\", {expected}")), "{told:?}");
        assert_eq!(told[0].contains(&format!("algs=\"{ALGORITHMS}\"")), is_dpop, "{told:?}");
        assert!(cause.contains(why), "{cause}");
    }
}

#[test]
fn what_a_token_is_bound_to_is_understood_or_the_token_refused() {
    let scene = Scene::new(&json!({}));
    let jkt = thumbprint_of(&scene.holder);
    for confirmation in [
        json!({}),
        json!([]),
        json!("x"),
        json!({ "jkt": "short" }),
        json!({ "jkt": 7 }),
        json!({ "jkt": jkt, "kid": "1" }),
        json!({ "jwk": scene.holder.jwk(&json!({})) }),
        json!({ "x5t": "AAAA" }),
        json!({ "x5t#S256": "AAAA" }),
    ] {
        let token = scene.token(&confirmation);
        for scheme in ["DPoP", "Bearer"] {
            let (code, ..) = refusal(&scene.policy, ask(scheme, &token, &[&scene.good(&token)]));
            assert_eq!(code, "credentials_invalid", "{confirmation}");
        }
    }
}

#[test]
fn a_proof_is_believed_once() {
    let scene = Scene::new(&json!({}));
    let token = scene.bound();
    let proof = scene.good(&token);
    assert_eq!(scene.policy.request(&mut ask("DPoP", &token, &[&proof])), "continue");
    let (code, _, cause) = refusal(&scene.policy, ask("DPoP", &token, &[&proof]));
    assert_eq!(
        (code.as_str(), cause.as_str()),
        ("credentials_invalid", "the proof was shown before")
    );
    // Nor when it is so old that its identifier is forgotten.
    scene.world.clock().advance(Duration::from_secs(91));
    let (_, _, cause) = refusal(&scene.policy, ask("DPoP", &token, &[&proof]));
    assert!(cause.contains("too old"), "{cause}");
}

#[test]
fn a_proof_that_one_policy_has_seen_is_none_for_another_that_believes_older_ones() {
    let scene = Scene::new(&json!({ "sender": { "proof_age": "5s" } }));
    let jwks = json!({ "keys": [scene.issuer.jwk(&json!({}))] }).to_string();
    let patient = json!({
        "issuer": ISSUER, "audience": "orders", "jwks": jwks, "sender": { "proof_age": "10m" },
    });
    let patient = || scene.world.build(&jwt::KIND, &patient).unwrap();
    let token = scene.bound();
    let (early, proof) = (scene.good(&token), scene.good(&token));
    scene.world.clock().advance(Duration::from_secs(1));
    assert_eq!(scene.policy.request(&mut ask("DPoP", &token, &[&proof])), "continue");
    // As soon as there is one that believes them for longer, they are kept for longer.
    let later = patient();
    scene.world.clock().advance(Duration::from_secs(300));
    let (code, _, cause) = refusal(&later, ask("DPoP", &token, &[&proof]));
    assert_eq!(
        (code.as_str(), cause.as_str()),
        ("credentials_invalid", "the proof was shown before")
    );
    assert_eq!(later.request(&mut ask("DPoP", &token, &[&early])), "continue");
}

#[test]
fn a_proof_of_before_all_were_remembered_is_not_believed() {
    let scene = Scene::new(&json!({ "sender": { "proof_age": "5s" } }));
    let token = scene.bound();
    let proof = scene.good(&token);
    scene.world.clock().advance(Duration::from_secs(60));
    let jwks = json!({ "keys": [scene.issuer.jwk(&json!({}))] }).to_string();
    let patient = json!({
        "issuer": ISSUER, "audience": "orders", "jwks": jwks, "sender": { "proof_age": "10m" },
    });
    let patient = scene.world.build(&jwt::KIND, &patient).unwrap();
    let (code, _, cause) = refusal(&patient, ask("DPoP", &token, &[&proof]));
    assert_eq!(code, "identity_unavailable");
    assert!(cause.contains("older than what is remembered"), "{cause}");
}

#[test]
fn a_proof_repeats_a_nonce_where_one_is_asked_for() {
    let scene = Scene::new(&json!({ "sender": { "nonce": true } }));
    let token = scene.bound();
    let nonce_of = |exchange: &mut Exchange| {
        let fault = scene.policy.fault(exchange);
        assert_eq!(fault.code.name(), "credentials_missing");
        let told: Vec<_> = fault.headers.iter().map(|(_, value)| value.to_str().unwrap()).collect();
        let challenge = told.iter().find(|told| told.starts_with("DPoP ")).unwrap();
        assert!(challenge.contains("error=\"use_dpop_nonce\""), "{challenge}");
        let nonce = fault.headers.iter().find(|(name, _)| *name == "dpop-nonce");
        nonce.unwrap().1.to_str().unwrap().to_owned()
    };
    let nonce = nonce_of(&mut ask("DPoP", &token, &[&scene.good(&token)]));
    let with = |nonce: &str| scene.proof(&scene.holder, &token, &json!({ "nonce": nonce }));
    assert_eq!(scene.policy.request(&mut ask("DPoP", &token, &[&with(&nonce)])), "continue");
    nonce_of(&mut ask("DPoP", &token, &[&with("made-up")]));
    scene.world.clock().advance(Duration::from_secs(400));
    assert_ne!(nonce_of(&mut ask("DPoP", &token, &[&with(&nonce)])), nonce);
}

#[test]
fn tokens_that_whoever_has_them_may_use_are_refused_where_they_must_be_bound() {
    for (required, bound_passes) in [("dpop", true), ("any", true), ("certificate", false)] {
        let scene = Scene::new(&json!({ "sender": required }));
        let (token, free) = (scene.bound(), scene.token(&Value::Null));
        let (code, told, _) = refusal(&scene.policy, ask("Bearer", &free, &[]));
        assert_eq!(code, "credentials_invalid");
        let schemes: Vec<_> = told.iter().filter_map(|told| told.split(' ').next()).collect();
        let expected: &[&str] = match required {
            "dpop" => &["DPoP"],
            "any" => &["Bearer", "DPoP"],
            _ => &["Bearer"],
        };
        assert_eq!(schemes, expected);
        let outcome = scene.policy.request(&mut ask("DPoP", &token, &[&scene.good(&token)]));
        assert_eq!(outcome == "continue", bound_passes, "{required}");
    }
}

#[test]
fn a_token_of_a_certificate_goes_with_its_connection_only() {
    let scene = Scene::new(&json!({ "sender": "certificate" }));
    let digest = [7; 32];
    let token = scene.token(&json!({ "x5t#S256": URL_SAFE_NO_PAD.encode(digest) }));
    let with = |fingerprint: Option<String>| {
        let mut exchange = ask("Bearer", &token, &[]);
        let mut connection = (*exchange.connection).clone();
        let certificate = fingerprint
            .map(|it| ClientCertificate { fingerprint: it.into(), ..ClientCertificate::default() });
        let auth = ClientAuth {
            id: 1,
            is_required: false,
            verifier: verifier(),
            authorities: Arc::new([]),
            algorithms: rustls::crypto::aws_lc_rs::default_provider()
                .signature_verification_algorithms,
            lists_end_s: Arc::new([]),
        };
        let shown = ShownByClient::new(&auth, Vec::new(), certificate);
        connection.tls.as_mut().unwrap().client = Some(Arc::new(shown));
        exchange.connection = Arc::new(connection);
        scene.policy.request(&mut exchange)
    };
    assert_eq!(with(Some("07".repeat(32))), "continue");
    assert_eq!(with(Some("08".repeat(32))), "credentials_invalid");
    assert_eq!(with(None), "credentials_invalid");
    assert_eq!(scene.policy.request(&mut ask("Bearer", &token, &[])), "credentials_invalid");
}

#[test]
fn a_token_of_a_certificate_goes_with_what_a_trusted_proxy_tells_and_not_with_the_proxys_own() {
    let scene = Scene::new(&json!({ "sender": "certificate" }));
    let token = scene.token(&json!({ "x5t#S256": URL_SAFE_NO_PAD.encode([7; 32]) }));
    let shown = |byte: &str| {
        let fingerprint = byte.repeat(32).into();
        let certificate = ClientCertificate { fingerprint, ..ClientCertificate::default() };
        Arc::new(ShownByClient::told(Vec::new(), certificate))
    };
    let with = |told: ToldCertificate| {
        let mut exchange = ask("Bearer", &token, &[]);
        let mut connection = (*exchange.connection).clone();
        connection.tls.as_mut().unwrap().client = Some(shown("07"));
        exchange.forwarded = Some(Box::new(Forwarded {
            client: connection.peer.ip(),
            client_text: connection.peer_header.clone(),
            way: connection.peer_header.clone(),
            host: None,
            certificate: told,
            told: None,
        }));
        exchange.connection = Arc::new(connection);
        scene.policy.request(&mut exchange)
    };
    assert_eq!(with(ToldCertificate::NotAsked), "continue");
    assert_eq!(with(ToldCertificate::Shown(shown("07"))), "continue");
    assert_eq!(with(ToldCertificate::Shown(shown("08"))), "credentials_invalid");
    assert_eq!(with(ToldCertificate::Nothing), "credentials_invalid");
}

fn verifier() -> Arc<dyn rustls::server::danger::ClientCertVerifier> {
    Arc::new(rustls::server::NoClientAuth)
}

#[test]
fn behind_a_proxy_the_address_is_that_of_the_settings() {
    let scene = Scene::new(&json!({ "sender": { "origin": "https://shop.example:8443" } }));
    let token = scene.bound();
    let told = json!({ "htu": "https://shop.example:8443/a" });
    let proof = scene.proof(&scene.holder, &token, &told);
    assert_eq!(scene.policy.request(&mut ask("DPoP", &token, &[&proof])), "continue");
    let refused = scene.policy.request(&mut ask("DPoP", &token, &[&scene.good(&token)]));
    assert_eq!(refused, "credentials_invalid");
}

#[test]
fn challenges_tell_where_the_metadata_is() {
    let url = "https://api.example.com/.well-known/oauth-protected-resource";
    let scene = Scene::new(&json!({ "resource_metadata": url, "scopes": ["a"] }));
    let expected = format!("Bearer realm=\"yett\", resource_metadata=\"{url}\"");
    let (_, told, _) = refusal(&scene.policy, fixture::exchange("GET /a"));
    assert_eq!(told, [expected]);
    let (_, told, _) = refusal(&scene.policy, ask("Bearer", "x.y.z", &[]));
    let expected =
        format!("Bearer realm=\"yett\", error=\"invalid_token\", resource_metadata=\"{url}\"");
    assert_eq!(told, [expected]);
    let token = scene.token(&Value::Null);
    let (code, told, _) = refusal(&scene.policy, ask("Bearer", &token, &[]));
    assert_eq!(code, "insufficient_scope");
    assert!(told[0].ends_with(&format!("scope=\"a\", resource_metadata=\"{url}\"")), "{told:?}");
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let base = json!({ "issuer": ISSUER, "audience": "a", "jwks": ISSUER });
    for (more, part) in [
        (json!({ "sender": "key" }), "none of `dpop`"),
        (json!({ "sender": { "required": "x" } }), "x"),
        (json!({ "sender": { "proof_age": "1h" } }), "proves little"),
        (json!({ "sender": { "origin": "api.example.com" } }), "not an origin"),
        (json!({ "resource_metadata": "/x" }), "not an address"),
        (json!({ "resource_metadata": "https://a/\"" }), "not an address"),
    ] {
        let mut settings = base.clone();
        for (name, value) in more.as_object().into_iter().flatten() {
            settings[name] = value.clone();
        }
        fixture::refuses(&jwt::KIND, &settings, part);
    }
}

#[test]
fn a_client_is_told_the_next_nonce_before_its_own_is_too_old() {
    let scene = Scene::new(&json!({ "sender": { "nonce": true } }));
    let token = scene.bound();
    let fault = scene.policy.fault(&mut ask("DPoP", &token, &[&scene.good(&token)]));
    let given = fault.headers.iter().find(|(name, _)| *name == "dpop-nonce").unwrap();
    let nonce = given.1.to_str().unwrap().to_owned();
    let told = || {
        let proof = scene.proof(&scene.holder, &token, &json!({ "nonce": nonce }));
        let mut exchange = ask("DPoP", &token, &[&proof]);
        assert_eq!(scene.policy.request(&mut exchange), "continue");
        let reply = scene.policy.reply(&mut exchange, &[("cache-control", "public")]);
        let nonce = reply.headers.get("dpop-nonce").map(|it| it.to_str().unwrap().to_owned());
        let is_stored = reply.headers.get("cache-control").unwrap() == "public";
        assert_eq!(is_stored, nonce.is_none());
        nonce
    };
    assert_eq!(told(), None);
    scene.world.clock().advance(Duration::from_secs(180));
    let next = told().unwrap();
    assert_ne!(next, nonce);
    let proof = scene.proof(&scene.holder, &token, &json!({ "nonce": next }));
    assert_eq!(scene.policy.request(&mut ask("DPoP", &token, &[&proof])), "continue");
}
