//! What is kept besides drafts: secrets, roles, users, settings, logins, the trail; and requests that come twice.

use super::kit::World;
use serde_json::{Value, json};

#[tokio::test]
async fn a_request_that_comes_twice_with_a_key_is_done_once_and_answered_the_same() {
    let world = World::new().await;
    let root = world.somebody("root", "", "owner").await;
    let key = [("idempotency-key", "k-1")];
    let create = async |headers: &[(&str, &str)], body: Value| {
        world.send("POST /v1/workspaces", &root, headers, Some(body)).await
    };
    create(&key, json!({ "name": "A" })).await.is(422);
    let first = create(&key, json!({ "name": "team" })).await.is(201);
    let again = create(&key, json!({ "name": "team" })).await.is(201);
    assert_eq!(first.json(), again.json());
    for name in ["location", "etag"] {
        assert_eq!(first.header(name), again.header(name));
    }
    create(&[], json!({ "name": "team" })).await.is(409);
    let other = create(&key, json!({ "name": "other" })).await.is(409);
    assert_eq!(other.json()["code"], "conflict");
    create(&[("idempotency-key", "é")], json!({ "name": "b" })).await.is(422);
}

#[tokio::test]
async fn secrets_are_set_and_never_shown() {
    let world = World::new().await;
    world.workspace("team").await;
    let root = world.somebody("root", "", "owner").await;
    let path = "/v1/workspaces/team/secrets";
    let sent = json!({ "name": "backend", "value": "hunter2hunter2" });
    let made = world.send(&format!("POST {path}"), &root, &[], Some(sent)).await.is(201);
    let any = [("if-match", "*")];
    let sent = Some(json!({ "value": "hunter3hunter3" }));
    let changed = world.send(&format!("PUT {path}/backend"), &root, &any, sent).await.is(200);
    assert_eq!(changed.header("etag"), "\"2\"");
    let read = world.send(&format!("GET {path}/backend"), &root, &[], None).await.is(200);
    let list = world.send(&format!("GET {path}"), &root, &[], None).await.is(200);
    let trail = world.send("GET /v1/workspaces/team/audit", &root, &[], None).await.is(200);
    for told in [made, changed, read, list, trail] {
        assert!(!told.body.contains("hunter"), "{told:?}");
    }
    world.send(&format!("DELETE {path}/backend"), &root, &any, None).await.is(204);
}

#[tokio::test]
async fn roles_users_settings_and_logins_are_kept_and_the_trail_tells_of_them() {
    let world = World::new().await;
    world.workspace("team").await;
    let root = world.somebody("root", "", "owner").await;
    let send = async |line: &str, body: Option<Value>| {
        world.send(line, &root, &[("if-match", "*")], body).await
    };
    let role = json!({ "name": "looker", "may": ["api:read"] });
    send("POST /v1/roles", Some(role)).await.is(201);
    let wrong = json!({ "may": ["api:fly"] });
    send("PUT /v1/roles/looker", Some(wrong)).await.is(422);
    let all = send("GET /v1/roles", None).await.is(200).json();
    assert!(all["items"].as_array().unwrap().iter().any(|it| it["name"] == "looker"));
    let bob = json!({ "name": "bob", "email": "bob@example.com" });
    send("POST /v1/users", Some(bob)).await.is(201);
    send("PUT /v1/workspaces/team/users/bob/roles/looker", None).await.is(204);
    let roles = send("GET /v1/users/bob/roles", None).await.is(200).json();
    assert_eq!(roles["items"][0]["role"], "looker");
    send("DELETE /v1/roles/looker", None).await.is(409);
    send("DELETE /v1/workspaces/team/users/bob/roles/looker", None).await.is(204);
    send("DELETE /v1/roles/looker", None).await.is(204);
    let link = send("POST /v1/users/bob/links", None).await.is(201).json();
    let body = json!({ "link": link["link"], "bearer": true });
    let session = world.send("POST /v1/sessions", "", &[], Some(body)).await.is(201).json();
    let bearer = session["bearer"].as_str().unwrap();
    world.send("GET /v1/sessions/current", bearer, &[], None).await.is(200);
    let off = json!({ "name": "bob", "disabled": true });
    send("PUT /v1/users/bob", Some(off)).await.is(200);
    world.send("GET /v1/sessions/current", bearer, &[], None).await.is(401);
    send("DELETE /v1/users/bob", None).await.is(204);

    send("PUT /v1/settings/session_hours", Some(json!({ "value": 1 }))).await.is(200);
    send("PUT /v1/settings/session_hours", Some(json!({ "value": "x" }))).await.is(422);
    send("DELETE /v1/settings/session_hours", None).await.is(204);
    let token = send("POST /v1/tokens", Some(json!({ "name": "ci" }))).await.is(201).json();
    let tokens = send("GET /v1/tokens", None).await.is(200).json();
    let id = tokens["items"][0]["id"].as_str().unwrap();
    send(&format!("DELETE /v1/tokens/{id}"), None).await.is(204);
    let token = token["token"].as_str().unwrap();
    world.send("GET /v1/users", token, &[], None).await.is(401);
    assert_eq!(send("GET /v1/sessions", None).await.is(200).json()["items"][0]["name"], "");

    let trail = send("GET /v1/audit?noun=role&actor=root", None).await.is(200).json();
    let actions: Vec<_> =
        trail["items"].as_array().unwrap().iter().map(|it| it["action"].clone()).collect();
    assert_eq!(actions, ["delete", "create"], "the newest first");
    assert!(trail["items"][0]["request"].as_str().is_some_and(|it| it.len() == 32));
    send("GET /v1/audit?from=tomorrow", None).await.is(400);
    assert_eq!(send("GET /v1/audit/verify", None).await.is(200).json()["ok"], true);
}

#[tokio::test]
async fn hosts_are_delegated_by_the_platform_alone_and_to_one_workspace_each() {
    let world = World::new().await;
    let team = world.workspace("team").await;
    world.workspace("other").await;
    let root = world.somebody("root", "", "owner").await;
    let local = world.somebody("local", &team, "owner").await;
    let any = [("if-match", "*")];
    let put = async |name: &str, who: &str, hosts: &[&str]| {
        let sent = json!({ "hosts": hosts });
        world.send(&format!("PUT /v1/grants/{name}"), who, &any, Some(sent)).await
    };
    put("team", &local, &["*"]).await.is(403);
    put("team", &root, &["api.test/team"]).await.is(200);
    let taken = put("other", &root, &["b.test", "*.test"]).await.is(422);
    assert_eq!(taken.pointers(), ["/hosts/1"]);
    assert_eq!(put("other", &root, &["a b"]).await.is(422).pointers(), ["/hosts/0"]);
    put("other", &root, &["api.test/other"]).await.is(200);
    // Another title takes nothing away.
    let named = Some(json!({ "name": "team", "title": "The team" }));
    world.send("PUT /v1/workspaces/team", &root, &any, named).await.is(200);
    let kept = world.send("GET /v1/grants/team", &root, &[], None).await.is(200).json();
    assert_eq!(kept, json!({ "hosts": ["api.test/team"], "listeners": [], "inward": false }));
}

#[tokio::test]
async fn the_trail_is_exported_page_by_page_as_it_was_sealed() {
    let world = World::new().await;
    let root = world.somebody("root", "", "owner").await;
    for count in 0..7 {
        world.workspace(&format!("w{count}")).await;
    }
    world.control.upkeep("test").await.unwrap();
    let send = async |line: &str| world.send(line, &root, &[], None).await;
    let (mut after, mut all) = (String::new(), Vec::new());
    loop {
        let page = send(&format!("GET /v1/audit/export?limit=3&after={after}")).await;
        let page = page.is(200).json();
        all.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        next.clone_into(&mut after);
    }
    let made = |row: &&Value| row["noun"] == "workspace" && row["action"] == "create";
    assert_eq!(all.iter().filter(made).count(), 7, "{all:?}");
    for (at, row) in (1..).zip(&all).take_while(|(_, row)| !row["seal"].is_null()) {
        assert_eq!((&row["sequence"], row["seal"].as_str().unwrap().len()), (&json!(at), 64));
    }
    assert_eq!(all[0]["sequence"], 1);
    for wrong in ["after=x", "noun=user", "from=tomorrow"] {
        send(&format!("GET /v1/audit/export?{wrong}")).await.is(400);
    }
}

#[tokio::test]
async fn only_who_owns_the_platform_has_secrets_encrypted_anew() {
    let world = World::new().await;
    let team = world.workspace("team").await;
    let value = base::Secret::new("a value".to_owned());
    world.control.secret_create(&world.root, (&team, "s"), value).await.unwrap();
    let admin = world.somebody("adam", "", "admin").await;
    world.send("POST /v1/secrets/rewrap", &admin, &[], None).await.is(403);
    let root = world.somebody("root", "", "owner").await;
    let told = world.send("POST /v1/secrets/rewrap", &root, &[], None).await.is(200).json();
    assert_eq!(told["count"], 0, "nothing is older");
}
