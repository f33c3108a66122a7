//! From nothing to a published revision, with concurrent edits.

use super::kit::World;
use serde_json::json;

#[tokio::test]
async fn an_api_is_made_checked_published_changed_and_taken_back() {
    let world = World::new().await;
    let root = world.somebody("root", "", "owner").await;
    let post = async |path: &str, body| {
        world.send(&format!("POST /v1/workspaces{path}"), &root, &[], Some(body)).await.is(201)
    };
    let made = post("", json!({ "name": "team", "title": "The team" })).await;
    assert_eq!((made.header("location"), made.header("etag")), ("/v1/workspaces/team", "\"1\""));
    assert_eq!(made.json()["created"], "2026-01-01T00:00:00Z");
    let upstream = json!({ "name": "orders", "config": { "targets": ["10.0.0.1:80"] } });
    post("/team/upstreams", upstream).await;
    let api = json!({ "name": "orders", "config": { "path": "/orders", "upstream": "orders" } });
    let api = post("/team/apis", api).await;
    assert_eq!(api.header("location"), "/v1/workspaces/team/apis/orders");
    let route =
        post("/team/apis/orders/routes", json!({ "name": "one", "config": "GET /{id}" })).await;
    assert_eq!(route.json()["config"], "GET /{id}");
    let limit = json!({ "name": "limit", "config": { "rate_limit": "9/s" } });
    post("/team/apis/orders/policies", limit).await;
    let checked = world.send("GET /v1/workspaces/team/draft/check", &root, &[], None).await.is(200);
    assert_eq!(checked.json(), json!({ "ok": true, "errors": [], "warnings": [] }));
    let first = post("/team/revisions", json!({ "note": "the first" })).await;
    assert_eq!(first.json()["number"], 1);
    assert_eq!(first.json()["config"]["apis"]["orders"]["routes"], json!(["GET /{id}"]));

    let path = "/v1/workspaces/team/apis/orders";
    let broken = json!({ "config": { "path": "/broken" } });
    let update = async |tag: &str, body| {
        world.send(&format!("PUT {path}"), &root, &[("if-match", tag)], Some(body)).await
    };
    let changed = update("\"1\"", broken.clone()).await.is(200);
    assert_eq!((changed.header("etag"), &changed.json()["name"]), ("\"2\"", &json!("orders")));
    let late = update("\"1\"", broken).await.is(412);
    assert_eq!((&late.json()["code"], &late.json()["revision"]), (&json!("changed"), &json!(2)));
    let publish = "POST /v1/workspaces/team/revisions";
    let refused = world.send(publish, &root, &[], None).await.is(422);
    assert_eq!(refused.pointers(), ["/apis"]);
    update("*", json!({ "config": { "path": "/b" } })).await.is(200);
    let stale = world.send(publish, &root, &[], Some(json!({ "last": 0 }))).await.is(412);
    assert_eq!(stale.json()["revision"], 1);
    world.send(publish, &root, &[], None).await.is(201);
    let back = "POST /v1/workspaces/team/revisions/1/rollback";
    let back = world.send(back, &root, &[], Some(json!({ "note": "it was better" }))).await.is(201);
    assert_eq!((&back.json()["number"], &back.json()["again"]), (&json!(3), &json!(1)));
    let list = "GET /v1/workspaces/team/revisions?limit=2";
    let list = world.send(list, &root, &[], None).await.is(200).json();
    let numbers: Vec<_> =
        list["items"].as_array().unwrap().iter().map(|it| &it["number"]).collect();
    assert_eq!((numbers, &list["next"]), (vec![&json!(3), &json!(2)], &json!("2")));
    assert!(list["items"][0].get("config").is_none());
}

#[tokio::test]
async fn changes_ask_for_a_revision_and_reads_are_told_that_nothing_changed() {
    let world = World::new().await;
    world.workspace("team").await;
    let root = world.somebody("root", "", "owner").await;
    let path = "/v1/workspaces/team";
    let body = json!({ "name": "team", "title": "T" });
    for (line, body) in [(format!("PUT {path}"), Some(body)), (format!("DELETE {path}"), None)] {
        let told = world.send(&line, &root, &[], body).await.is(428);
        assert_eq!(told.json()["code"], "precondition_required");
    }
    let tag = world
        .send(&format!("GET {path}"), &root, &[], None)
        .await
        .is(200)
        .header("etag")
        .to_owned();
    let again =
        world.send(&format!("GET {path}"), &root, &[("if-none-match", &tag)], None).await.is(304);
    assert!(again.body.is_empty() && again.header("etag") == tag);
    let gone =
        world.send(&format!("DELETE {path}"), &root, &[("if-match", &tag)], None).await.is(204);
    assert!(gone.body.is_empty());
    world.send(&format!("GET {path}"), &root, &[], None).await.is(404);
}

#[tokio::test]
async fn lists_come_in_pages_that_miss_nothing() {
    let world = World::new().await;
    world.workspace("team").await;
    let root = world.somebody("root", "", "owner").await;
    for at in 0..7 {
        let body = json!({ "name": format!("u{at}"), "config": {} });
        world.send("POST /v1/workspaces/team/upstreams", &root, &[], Some(body)).await.is(201);
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let line = format!("GET /v1/workspaces/team/upstreams?limit=3&after={after}");
        let page = world.send(&line, &root, &[], None).await.is(200).json();
        seen.extend(page["items"].as_array().unwrap().iter().map(|it| it["name"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        after = next.to_owned();
    }
    assert_eq!(seen.len(), 7);
    assert!(seen.is_sorted_by_key(|name| name.as_str().unwrap().to_owned()));
}

#[tokio::test]
async fn a_config_with_a_private_key_in_it_is_refused_wherever_it_stands() {
    let world = World::new().await;
    let team = world.workspace("team").await;
    let session = world.somebody("alice", &team, "owner").await;
    let key = "-----BEGIN PRIVATE KEY-----\nMC4CAQAw\n-----END PRIVATE KEY-----\n";
    let config = json!({ "version": 1, "certificates": { "site": { "cert": "x", "key": key } } });
    for dry_run in [true, false] {
        let body = json!({ "config": config, "dry_run": dry_run });
        let path = "PUT /v1/workspaces/team/config";
        let refused = world.send(path, &session, &[("if-match", "*")], Some(body)).await.is(422);
        assert!(refused.body.contains("${secret:NAME}"), "{refused:?}");
        assert!(refused.pointers()[0].ends_with("/certificates/site/key"), "{refused:?}");
        assert!(!refused.body.contains("MC4CAQAw"));
    }
}
