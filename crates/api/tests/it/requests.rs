//! What is refused before anything is done, and how.

use super::kit::{Told, World};
use axum::body::Body;
use http::Request;
use serde_json::json;

async fn post(world: &World, session: &str, media_type: &str, body: impl Into<Body>) -> Told {
    let request = Request::post("/v1/workspaces")
        .header("host", "localhost")
        .header("authorization", format!("Bearer {session}"))
        .header("content-type", media_type);
    world.raw(request.body(body.into()).unwrap()).await
}

#[tokio::test]
async fn bodies_that_are_no_json_too_large_or_too_deep_are_refused_with_a_pointer() {
    let world = World::new().await;
    let root = world.somebody("root", "", "owner").await;
    let json = "application/json";
    let refused =
        async |body: &str| post(&world, &root, json, body.to_owned()).await.is(400).pointers();
    assert_eq!(refused("{").await, [""]);
    assert_eq!(refused("[]").await, [""]);
    assert_eq!(refused(r#"{"name":"a","name":"b"}"#).await, ["/name"]);
    assert_eq!(refused(r#"{"name":"a","titel":""}"#).await, ["/titel"]);
    assert_eq!(refused(r#"{"name":7,"title":{}}"#).await, ["/name", "/title"]);
    let deep = format!(r#"{{"name":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
    assert!(refused(&deep).await[0].starts_with("/name/0/0/"));
    let typo = post(&world, &root, json, r#"{"nmae":"a"}"#).await.is(400);
    assert!(typo.body.contains("did you mean `name`?"), "{typo:?}");
    post(&world, &root, json, "x".repeat(10 << 20)).await.is(413);
    for wrong in ["text/plain", "", "application/x-www-form-urlencoded", "application/jsonx"] {
        post(&world, &root, wrong, r#"{"name":"a"}"#).await.is(415);
    }
    post(&world, &root, "application/json; charset=utf-8", r#"{"name":"a"}"#).await.is(201);
}

#[tokio::test]
async fn hostile_names_are_refused_wherever_they_stand() {
    let world = World::new().await;
    world.workspace("team").await;
    let root = world.somebody("root", "", "owner").await;
    for name in
        ["", "..", "../etc", "a/b", "A", "é", "а", "a\u{202e}b", "a b", "%2e", &"a".repeat(64)]
    {
        let body = json!({ "name": name, "config": {} });
        let told = world.send("POST /v1/workspaces/team/apis", &root, &[], Some(body)).await;
        assert_eq!(told.is(422).pointers(), ["/name"], "{name}");
    }
    for part in ["%2e%2e", "..%2fteam", "a%2Fb", "%00", "%F0%9F%98%80", "A", "-a", "a%20"] {
        let told = world.send(&format!("GET /v1/workspaces/{part}"), &root, &[], None).await;
        assert_eq!(told.is(400).pointers(), ["{workspace}"], "{part}");
    }
    world.send("GET /v1/workspaces/%ff", &root, &[], None).await.is(400);
    world.send("GET /v1/workspaces/team/../team", &root, &[], None).await.is(404);
    let nul = world.send("POST /v1/workspaces", &root, &[], Some(json!({ "name": "a\0" }))).await;
    assert_eq!(nul.is(400).pointers(), ["/name"]);
    let after = world.send("GET /v1/workspaces?after=%00", &root, &[], None).await;
    assert_eq!(after.is(400).pointers(), ["?after"]);
}

#[tokio::test]
async fn unknown_paths_methods_hosts_and_parameters_are_problems() {
    let world = World::new().await;
    let root = world.somebody("root", "", "owner").await;
    let told = world.send("GET /v2/x", "", &[], None).await.is(404);
    assert_eq!(told.json()["code"], "no_such_path");
    let told = world.send("PATCH /v1/workspaces", &root, &[], None).await.is(405);
    assert_eq!(told.json()["code"], "no_such_method");
    assert!(told.header("allow").contains("GET") && told.header("allow").contains("POST"));
    let told =
        world.send("OPTIONS /v1/workspaces", "", &[("origin", "http://evil.example")], None).await;
    assert!(told.is(405).headers.get("access-control-allow-origin").is_none());
    let told = world.send("GET /v1/workspaces?limti=1", &root, &[], None).await.is(400);
    assert!(told.body.contains("did you mean `limit`?"), "{told:?}");
    let foreign = Request::get("/v1/workspaces").header("host", "evil.example:9181");
    assert_eq!(
        world.raw(foreign.body(Body::empty()).unwrap()).await.is(421).json()["code"],
        "wrong_host"
    );
}

#[tokio::test]
async fn every_answer_is_closed_to_caches_frames_and_other_sites() {
    let world = World::new().await;
    let root = world.somebody("root", "", "owner").await;
    for path in ["/", "/v1/workspaces", "/nothing"] {
        let told = world.send(&format!("GET {path}"), &root, &[], None).await;
        assert_eq!(told.header("cache-control"), "no-store", "{path}");
        assert_eq!(told.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(told.header("referrer-policy"), "no-referrer", "{path}");
        assert!(
            told.header("content-security-policy").contains("frame-ancestors 'none'"),
            "{path}"
        );
    }
    let named = world.send("GET /v1/workspaces", &root, &[("x-request-id", "my-id.1")], None).await;
    assert_eq!(named.header("x-request-id"), "my-id.1");
    for hostile in ["a b", "<x>", &"a".repeat(65)] {
        let named =
            world.send("GET /v1/workspaces", &root, &[("x-request-id", hostile)], None).await;
        assert_eq!(named.header("x-request-id").len(), 32, "{hostile}");
    }
}
