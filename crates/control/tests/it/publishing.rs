use super::kit::World;
use control::Code;
use control::object::Sent;
use serde_json::{Value, json};

async fn add(world: &World, place: (&str, &str, &str), name: &str, body: Value) -> String {
    let sent = Sent { name, position: 0, body: &body };
    world.control.object_create(&world.root, place, sent).await.unwrap().id
}

#[tokio::test]
async fn a_draft_becomes_the_config_that_files_would_say() {
    let world = World::new().await;
    let team = world.workspace("team").await;
    add(&world, (&team, "upstream", ""), "orders", json!({ "targets": ["10.0.0.1:80"] })).await;
    let api = add(
        &world,
        (&team, "api", ""),
        "orders",
        json!({ "upstream": "orders", "path": "/orders" }),
    )
    .await;
    let route = add(&world, (&team, "route", &api), "one", json!({ "match": "GET /{id}" })).await;
    add(&world, (&team, "policy", &route), "limit", json!({ "rate_limit": "9/s" })).await;
    add(&world, (&team, "policy", &api), "key", json!("api_key")).await;
    let made = world.control.revision_create(&world.root, &team, 0, "the first").await.unwrap();
    let config: Value = serde_json::from_str(&made.config).unwrap();
    assert_eq!(
        config,
        json!({
            "version": 1,
            "upstreams": { "orders": { "targets": ["10.0.0.1:80"] } },
            "apis": { "orders": {
                "upstream": "orders", "path": "/orders",
                "routes": [{ "match": "GET /{id}", "policies": [{ "rate_limit": "9/s" }] }],
                "policies": ["api_key"],
            } },
        })
    );
}

#[tokio::test]
async fn what_is_broken_is_not_published_and_what_was_good_comes_back() {
    let world = World::new().await;
    let team = world.workspace("team").await;
    let api = add(&world, (&team, "api", ""), "orders", json!({ "path": "/a" })).await;
    let publish = async |last| world.control.revision_create(&world.root, &team, last, "").await;
    assert_eq!(publish(0).await.unwrap().number, 1);
    let change = async |revision, body: Value| {
        let sent = Sent { name: "orders", position: 0, body: &body };
        world
            .control
            .object_update(&world.root, (&team, "api", &api), revision, sent)
            .await
            .unwrap();
    };
    change(1, json!({ "path": "/broken" })).await;
    let refused = publish(1).await.unwrap_err();
    assert_eq!((refused.code, refused.findings.len()), (Code::Invalid, 1));
    change(2, json!({ "path": "/b" })).await;
    assert_eq!(publish(1).await.unwrap().number, 2);
    assert_eq!(publish(1).await.unwrap_err().revision, Some(2), "somebody else was first");
    let back =
        world.control.revision_rollback(&world.root, (&team, 2), 1, "it was better").await.unwrap();
    assert_eq!((back.number, back.again), (3, Some(1)));
    assert!(back.config.contains("/a"), "{}", back.config);
}

#[tokio::test]
async fn parts_are_parts_of_what_they_may_be_parts_of() {
    let world = World::new().await;
    let (one, two) = (world.workspace("one").await, world.workspace("two").await);
    let api = add(&world, (&one, "api", ""), "orders", json!({})).await;
    for (workspace, kind, owner) in
        [(&one, "route", ""), (&two, "route", &*api), (&one, "api", &*api)]
    {
        let sent = Sent { name: "a", position: 0, body: &json!({}) };
        let made = world.control.object_create(&world.root, (workspace, kind, owner), sent).await;
        assert_eq!(made.unwrap_err().findings[0].pointer, "/owner", "{kind} of {owner}");
    }
}
