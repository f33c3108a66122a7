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

/// Sets a second factor up; the codes that work once.
async fn with_second_factor(world: &World, session: &str) -> Vec<String> {
    let seed = world.send("POST /v1/second-factor", session, &[], None).await.is(201).json();
    let body = json!({ "code": shown(seed["secret"].as_str().unwrap(), START_S) });
    let told = world.send("POST /v1/second-factor/confirm", session, &[], Some(body)).await;
    let told = told.is(200).json();
    told["codes"].as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_link_asks_for_the_second_factor_and_works_on_until_it_is_shown() {
    let world = World::new().await;
    let owner = world.somebody("root", "", "owner").await;
    let alice = world.somebody("alice", "", "viewer").await;
    let codes = with_second_factor(&world, &alice).await;
    let made = world.send("POST /v1/users/alice/links", &owner, &[], None).await.is(201).json();
    let link = made["link"].as_str().unwrap();
    let take = async |code: Option<&str>| {
        let body = json!({ "link": link, "code": code, "bearer": true });
        world.send("POST /v1/sessions", "", &[], Some(body)).await
    };
    assert_eq!(take(None).await.is(401).json()["code"], "code_required");
    assert_eq!(take(Some("000000")).await.is(401).json()["code"], "login_refused");
    // The page of the link asks for it, too.
    let page = world.send(&format!("POST /login/{link}"), "", &[], None).await.is(200);
    assert!(page.body.contains("name=\"code\"") && page.header("set-cookie").is_empty());
    take(Some(&codes[0])).await.is(201);
    take(Some(&codes[1])).await.is(401);
}

#[tokio::test]
async fn a_link_is_worth_nothing_for_who_guesses_codes() {
    let world = World::new().await;
    let owner = world.somebody("root", "", "owner").await;
    let alice = world.somebody("alice", "", "viewer").await;
    with_second_factor(&world, &alice).await;
    let made = world.send("POST /v1/users/alice/links", &owner, &[], None).await.is(201).json();
    let mut told = Vec::new();
    for code in 0..8 {
        let body = json!({ "link": made["link"], "code": format!("{code:06}x") });
        told.push(world.send("POST /v1/sessions", "", &[], Some(body)).await.status);
    }
    assert_eq!((told[0], told[7]), (401, 429), "{told:?}");
}

#[tokio::test]
async fn who_has_lost_the_app_is_helped_by_somebody_who_may_as_much() {
    let world = World::new().await;
    let owner = world.somebody("first", "", "owner").await;
    let admin = world.somebody("helper", "", "admin").await;
    let codes = with_second_factor(&world, &owner).await;
    let path = "DELETE /v1/users/first/second-factor";
    world.send(path, &admin, &[], None).await.is(403);
    let other = world.somebody("other", "", "owner").await;
    world.send(path, &other, &[], None).await.is(204);
    world.send(path, &other, &[], None).await.is(404);
    let body = json!({ "name": "first", "password": "the password of first" });
    world.send("POST /v1/sessions", "", &[], Some(body)).await.is(201);
    assert_eq!(codes.len(), 10);
    let trail = world.send("GET /v1/audit?noun=second_factor", &owner, &[], None).await.is(200);
    let last = trail.json()["items"][0].clone();
    assert_eq!((&last["action"], &last["actor"]), (&json!("delete"), &json!("other")), "{last}");
}
