use super::kit::World;
use serde_json::{Value, json};

#[tokio::test]
async fn a_consumer_gets_an_application_and_a_key_that_is_shown_once_rotated_and_revoked() {
    let world = World::new().await;
    world.workspace("team").await;
    let root = world.somebody("root", "", "owner").await;
    let send = async |line: &str, headers: &[(&str, &str)], body: Option<Value>| {
        let (method, path) = line.split_once(' ').unwrap();
        world.send(&format!("{method} /v1/workspaces/team{path}"), &root, headers, body).await
    };
    let any = [("if-match", "*")];
    let shop = json!({ "name": "shop", "groups": ["eu"] });
    let made = send("POST /consumers", &[], Some(shop)).await.is(201);
    assert_eq!(made.header("location"), "/v1/workspaces/team/consumers/shop");
    let till = json!({ "name": "till", "roles": ["reader"] });
    send("POST /consumers/shop/applications", &[], Some(till)).await.is(201);
    let key = json!({ "name": "first", "proof": { "api_key": {} } });
    let path = "/consumers/shop/applications/till/credentials";
    let made = send(&format!("POST {path}"), &[], Some(key)).await.is(201);
    let shown = made.json()["shown"].as_str().unwrap().to_owned();
    assert!(shown.starts_with("yett_"), "{shown}");
    let one = made.header("location").strip_prefix("/v1/workspaces/team").unwrap().to_owned();
    let read = send(&format!("GET {one}"), &[], None).await.is(200);
    assert!(!read.body.contains(&shown) && read.json()["kind"] == "api_key", "{read:?}");
    let rotated = send(&format!("POST {one}/rotate"), &[], None).await.is(201).json();
    assert!(rotated["shown"].is_string() && rotated["credential"]["id"] != read.json()["id"]);
    let old = send(&format!("GET {one}"), &[], None).await.is(200).json();
    assert_eq!(old["expires"], "2026-01-02T00:00:00Z", "a day beside the new one");
    let all = send("GET /consumers/shop/credentials", &[], None).await.is(200).json();
    assert_eq!(all["items"].as_array().unwrap().len(), 2);
    send(&format!("DELETE {one}"), &any, None).await.is(204);
    send(&format!("GET {one}"), &[], None).await.is(404);

    let found = send("GET /consumers?q=SHO&group=eu", &[], None).await.is(200).json();
    assert_eq!(found["items"][0]["name"], "shop");
    let none = send("GET /consumers?group=us", &[], None).await.is(200).json();
    assert_eq!(none, json!({ "items": [], "next": null }));
    let wrong = send("GET /consumers?after=nowhere", &[], None).await.is(400);
    assert_eq!(wrong.pointers(), ["?after"]);
    let found = send("GET /applications?q=TIL", &[], None).await.is(200).json();
    assert_eq!(found["items"][0]["consumer"], "shop", "{found}");
    let suspended = json!({ "name": "shop", "suspended": true });
    let told = send("PUT /consumers/shop", &any, Some(suspended)).await.is(200).json();
    assert_eq!((&told["suspended"], &told["groups"]), (&json!(true), &json!([])));
    send("DELETE /consumers/shop", &any, None).await.is(204);
    send("GET /consumers/shop/applications/till", &[], None).await.is(404);
}

#[tokio::test]
async fn proofs_of_all_kinds_are_taken_and_wrong_ones_are_told() {
    let world = World::new().await;
    world.workspace("team").await;
    let root = world.somebody("root", "", "owner").await;
    let path = "POST /v1/workspaces/team/consumers";
    world.send(path, &root, &[], Some(json!({ "name": "shop" }))).await.is(201);
    let add = async |proof: Value| {
        let line = format!("{path}/shop/credentials");
        world.send(&line, &root, &[], Some(json!({ "proof": proof }))).await
    };
    let password = add(json!({ "password": { "username": "shop" } })).await.is(201).json();
    assert!(password["shown"].is_string() && password["credential"]["says"]["username"] == "shop");
    add(json!({ "shared_secret": { "id": "k1" } })).await.is(201);
    let token = json!({ "token": { "issuer": "https://idp.example", "subject": "s" } });
    add(token.clone()).await.is(201);
    add(token).await.is(409);
    let san = json!({ "certificate": { "san": "DNS:shop.example" } });
    add(san).await.is(201);
    for wrong in [
        json!({}),
        json!({ "api_key": {}, "token": {} }),
        json!({ "apikey": {} }),
        json!({ "api_key": { "hsh": "x" } }),
        json!("api_key"),
    ] {
        let told = add(wrong.clone()).await;
        assert!(
            told.status == 400 && told.pointers()[0].starts_with("/proof"),
            "{wrong}: {told:?}"
        );
    }
    let hash = add(json!({ "api_key": { "hash": "md5:1" } })).await.is(422);
    assert_eq!(hash.pointers(), ["/proof/api_key/hash"]);
}
