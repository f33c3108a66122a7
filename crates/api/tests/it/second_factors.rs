use super::kit::World;
use aws_lc_rs::hmac;
use serde_json::{Value, json};
use std::time::Duration;

/// What an app shows for a seed in base32 at a time (RFC 6238).
fn shown(seed: &str, at_s: u64) -> String {
    const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bits: String = seed.chars().map(|c| format!("{:05b}", LETTERS.find(c).unwrap())).collect();
    let byte = |bits: &[u8]| u8::from_str_radix(str::from_utf8(bits).unwrap(), 2).unwrap();
    let key: Vec<u8> = bits.as_bytes().chunks_exact(8).map(byte).collect();
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key);
    let tag = hmac::sign(&key, &(at_s / 30).to_be_bytes());
    let from = usize::from(tag.as_ref()[19] & 0xf);
    let four: [u8; 4] = tag.as_ref()[from..from + 4].try_into().unwrap();
    format!("{:06}", (u32::from_be_bytes(four) & 0x7fff_ffff) % 1_000_000)
}

/// When the clock of tests begins.
const START_S: u64 = 1_767_225_600;

#[tokio::test]
async fn who_has_a_second_factor_is_asked_for_it_and_no_code_works_twice() {
    let world = World::new().await;
    let session = world.somebody("alice", "", "owner").await;
    let post = async |path: &str, body: Option<Value>| {
        world.send(&format!("POST /v1/second-factor{path}"), &session, &[], body).await
    };
    let login = async |code: Option<&str>| {
        let password = "the password of alice";
        let body = json!({ "name": "alice", "password": password, "code": code, "bearer": true });
        world.send("POST /v1/sessions", "", &[], Some(body)).await
    };
    let seed = post("", None).await.is(201).json()["secret"].as_str().unwrap().to_owned();
    login(None).await.is(201);
    let wrong = post("/confirm", Some(json!({ "code": "000000x" }))).await.is(422);
    assert_eq!(wrong.pointers(), ["/code"]);
    let code = shown(&seed, START_S);
    let codes = post("/confirm", Some(json!({ "code": code }))).await.is(200).json();
    assert_eq!(codes["codes"].as_array().unwrap().len(), 10);
    assert_eq!(post("", None).await.is(409).json()["code"], "taken");

    assert_eq!(login(None).await.is(401).json()["code"], "code_required");
    assert_eq!(login(Some(&code)).await.is(401).json()["code"], "login_refused", "it was used");
    world.clock.advance(Duration::from_secs(60));
    let code = shown(&seed, START_S + 60);
    login(Some(&code)).await.is(201);
    login(Some(&code)).await.is(401);
    let spare = codes["codes"][3].as_str().unwrap();
    login(Some(spare)).await.is(201);
    login(Some(spare)).await.is(401);
    let spare = codes["codes"][4].as_str().unwrap();
    post("/end", Some(json!({ "code": spare }))).await.is(204);
    login(None).await.is(201);
}

#[tokio::test]
async fn guessing_of_codes_is_slowed_down_and_tokens_set_nothing_up() {
    let world = World::new().await;
    let session = world.somebody("alice", "", "owner").await;
    let begin = "POST /v1/second-factor";
    world.send(begin, &session, &[], None).await.is(201);
    let guess = async || {
        let body = Some(json!({ "code": "12345" }));
        world.send("POST /v1/second-factor/confirm", &session, &[], body).await.status
    };
    let mut told = Vec::new();
    for _ in 0..8 {
        told.push(guess().await);
    }
    assert_eq!((told[0], told[7]), (422, 429), "{told:?}");
    let body = Some(json!({ "name": "ci" }));
    let token = world.send("POST /v1/tokens", &session, &[], body).await.is(201).json();
    let token = token["token"].as_str().unwrap();
    world.send(begin, token, &[], None).await.is(403);
    let body = json!({ "old": "the password of alice", "new": "correct horse battery" });
    world.send("PUT /v1/password", token, &[], Some(body.clone())).await.is(403);
    let wrong = json!({ "old": "not the password", "new": "correct horse battery" });
    let wrong = world.send("PUT /v1/password", &session, &[], Some(wrong)).await.is(422);
    assert_eq!(wrong.pointers(), ["/old"]);
    world.send("PUT /v1/password", &session, &[], Some(body)).await.is(204);
    world.send(begin, &session, &[], None).await.is(401);
}
