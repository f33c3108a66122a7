//! OpenAPI documents that become draft APIs in one call.

use super::kit::World;
use serde_json::{Value, json};

const LINE: &str = "POST /v1/workspaces/team/imports/openapi";

fn shop() -> Value {
    json!({
        "openapi": "3.0.3",
        "info": { "title": "The Shop", "version": "1.2" },
        "servers": [{ "url": "https://shop.example.com/api" }],
        "paths": {
            "/orders": { "get": { "operationId": "listOrders" }, "post": {} },
            "/orders/{id}": { "get": { "operationId": "getOrder" } },
        },
    })
}

#[tokio::test]
async fn a_document_becomes_a_draft_api_in_one_call_and_takes_nothing_from_others() {
    let world = World::new().await;
    world.workspace("team").await;
    let root = world.somebody("root", "", "owner").await;
    let made = world.send(LINE, &root, &[], Some(json!({ "document": shop() }))).await.is(201);
    assert_eq!(made.header("location"), "/v1/workspaces/team/apis/the-shop");
    let told = made.json();
    assert_eq!((&told["name"], &told["routes"]), (&json!("the-shop"), &json!(3)));
    assert_eq!(told["config"]["apis"]["the-shop"]["state"], "draft");
    let config = world.send("GET /v1/workspaces/team/config", &root, &[], None).await.is(200);
    let (config, sent) = (config.json(), &told["config"]);
    assert_eq!((&config["apis"], &config["upstreams"]), (&sent["apis"], &sent["upstreams"]));
    let again = world.send(LINE, &root, &[], Some(json!({ "document": shop() }))).await.is(409);
    assert!(again.body.contains("say another `name`"), "{again:?}");
    let other = json!({ "document": shop().to_string(), "name": "other", "upstream": "the-shop" });
    world.send(LINE, &root, &[], Some(other)).await.is(201);
    let viewer = world.somebody("eve", "", "viewer").await;
    world.send(LINE, &viewer, &[], Some(json!({ "document": shop(), "name": "x" }))).await.is(403);
}

#[tokio::test]
async fn documents_that_lead_elsewhere_or_nowhere_are_refused_with_a_pointer() {
    let world = World::new().await;
    world.workspace("team").await;
    let root = world.somebody("root", "", "owner").await;
    let paths = [
        (json!({ "$ref": "https://other.example/a.yaml" }), "/document/paths/~1bad/$ref"),
        (json!({ "$ref": "#/paths/~1bad" }), "/document/paths/~1bad/$ref"),
        (json!({ "$ref": "#/nowhere" }), "/document/paths/~1bad/$ref"),
    ];
    for (item, pointer) in paths {
        let mut document = shop();
        document["paths"]["/bad"] = item;
        let refused = world.send(LINE, &root, &[], Some(json!({ "document": document }))).await;
        assert_eq!(refused.is(422).pointers(), [pointer]);
    }
    for document in [json!({}), json!("swagger: '2.0'"), json!("{"), json!({ "openapi": "3.1.0" })]
    {
        let refused = world.send(LINE, &root, &[], Some(json!({ "document": document }))).await;
        assert_eq!(refused.is(422).pointers(), ["/document"]);
    }
    let config = world.send("GET /v1/workspaces/team/config", &root, &[], None).await.is(200);
    assert_eq!(config.json()["apis"], Value::Null, "nothing was kept");
}
