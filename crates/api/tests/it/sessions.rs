use super::kit::{Told, World};
use axum::body::Body;
use http::Request;
use serde_json::json;

async fn form(world: &World, path: &str, headers: &[(&str, &str)], body: &'static str) -> Told {
    let mut request = Request::post(path)
        .header("host", "localhost")
        .header("content-type", "application/x-www-form-urlencoded");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    world.raw(request.body(Body::from(body)).unwrap()).await
}

#[tokio::test]
async fn who_knows_the_password_gets_a_cookie_that_works_only_with_pages_of_ours() {
    let world = World::new().await;
    world.somebody("alice", "", "owner").await;
    let login = json!({ "name": "alice", "password": "the password of alice" });
    let told = world.send("POST /v1/sessions", "", &[], Some(login)).await.is(201);
    let cookie = told.header("set-cookie");
    assert!(cookie.starts_with("yett_session=yett_session_"), "{cookie}");
    assert!(cookie.contains("; HttpOnly; SameSite=Strict;"), "{cookie}");
    assert!(!told.body.contains("yett_session_"), "scripts do not see it: {told:?}");
    let cookie = cookie.split(';').next().unwrap();
    let me = world.send("GET /v1/sessions/current", "", &[("cookie", cookie)], None).await.is(200);
    assert_eq!(me.json()["name"], "alice");
    let body = || Some(json!({ "name": "team" }));
    let line = "POST /v1/workspaces";
    let told = world.send(line, "", &[("cookie", cookie)], body()).await.is(403);
    assert_eq!(told.json()["code"], "cross_site");
    let csrf = ("x-yett-csrf", "1");
    let foreign = ("origin", "http://evil.example");
    world.send(line, "", &[("cookie", cookie), csrf, foreign], body()).await.is(403);
    world.send(line, "", &[("cookie", cookie), csrf], body()).await.is(201);
    let out =
        world.send("DELETE /v1/sessions/current", "", &[("cookie", cookie), csrf], None).await;
    assert!(out.is(204).header("set-cookie").contains("Max-Age=0"));
    world.send("GET /v1/sessions/current", "", &[("cookie", cookie)], None).await.is(401);
}

#[tokio::test]
async fn a_wrong_login_is_told_in_the_same_words_and_slowed_down() {
    let world = World::new().await;
    world.somebody("alice", "", "owner").await;
    let login = async |name: &str, password: &str| {
        let body = json!({ "name": name, "password": password, "bearer": true });
        world.send("POST /v1/sessions", "", &[], Some(body)).await
    };
    let wrong = login("alice", "not the password").await.is(401).json();
    let nobody = login("nobody", "not the password").await.is(401).json();
    assert_eq!((&wrong["code"], &wrong["detail"]), (&nobody["code"], &nobody["detail"]));
    for _ in 0..8 {
        login("alice", "not the password").await;
    }
    let late = login("alice", "the password of alice").await.is(429);
    assert!(!late.header("retry-after").is_empty());
    for body in [json!({}), json!({ "name": "alice" }), json!({ "link": "x", "name": "alice" })] {
        world.send("POST /v1/sessions", "", &[], Some(body)).await.is(400);
    }
    let private = json!({ "name": "alice", "password": ["hunter2"], "hunter2": 1 });
    let told = world.send("POST /v1/sessions", "", &[], Some(private)).await.is(400);
    assert!(!told.body.contains("hunter2"), "{told:?}");
}

#[tokio::test]
async fn a_link_is_used_by_a_button_and_once_and_leads_to_a_password() {
    let world = World::new().await;
    let link = world.control.first_user().await.unwrap().unwrap();
    let path = format!("/login/{}", link.reveal());
    for _ in 0..2 {
        let page = world.send(&format!("GET {path}"), "", &[], None).await.is(200);
        assert!(page.body.contains("<form method=\"post\">") && !page.body.contains(link.reveal()));
    }
    let foreign = [("origin", "http://evil.example")];
    form(&world, &path, &foreign, "").await.is(403);
    let welcome = form(&world, &path, &[("origin", "http://localhost")], "").await.is(200);
    let cookie = welcome.header("set-cookie").split(';').next().unwrap().to_owned();
    form(&world, &path, &[], "").await.is(401);
    let own = [("cookie", &*cookie), ("origin", "http://localhost")];
    let short = form(&world, "/password", &own, "password=short").await;
    assert!(short.is(422).body.contains("12 to 256 letters"));
    form(&world, "/password", &own[..1], "password=correct+horse+battery").await.is(403);
    form(&world, "/password", &own[1..], "password=correct+horse+battery").await.is(401);
    form(&world, "/password", &own, "password=correct+horse+battery").await.is(200);
    let login = json!({ "name": "admin", "password": "correct horse battery", "bearer": true });
    let told = world.send("POST /v1/sessions", "", &[], Some(login)).await.is(201).json();
    let bearer = told["bearer"].as_str().unwrap();
    world.send("GET /v1/users", bearer, &[], None).await.is(200);
    world.send("GET /v1/users", "", &[("cookie", &cookie)], None).await.is(401);
}

#[tokio::test]
async fn a_token_may_do_what_it_was_made_for_and_makes_none_that_may_more() {
    let world = World::new().await;
    world.workspace("team").await;
    let root = world.somebody("root", "", "owner").await;
    let body = json!({ "name": "ci", "scopes": ["workspace:read"], "expires": "2026-02-01" });
    let made = world.send("POST /v1/tokens", &root, &[], Some(body)).await.is(201).json();
    let token = made["token"].as_str().unwrap();
    assert!(token.starts_with("yett_token_") && made["expires"] == "2026-02-01T00:00:00Z");
    world.send("GET /v1/workspaces/team", token, &[], None).await.is(200);
    world.send("GET /v1/workspaces/team/apis", token, &[], None).await.is(403);
    let more = async |scopes: serde_json::Value| {
        let body = json!({ "name": "more", "scopes": scopes });
        world.send("POST /v1/tokens", token, &[], Some(body)).await.status
    };
    assert_eq!(more(json!([])).await, 403);
    assert_eq!(more(json!(["workspace:*"])).await, 403);
    assert_eq!(more(json!(["*:read"])).await, 403);
    assert_eq!(more(json!(["workspace:read"])).await, 201);
    let wrong = json!({ "name": "ci", "scopes": ["workspace:read", "all"] });
    let wrong = world.send("POST /v1/tokens", &root, &[], Some(wrong)).await.is(422);
    assert_eq!(wrong.pointers(), ["/scopes/1"]);
    let late = json!({ "name": "ci", "expires": "2028-01-01" });
    assert_eq!(
        world.send("POST /v1/tokens", &root, &[], Some(late)).await.is(422).pointers(),
        ["/expires"]
    );
    world.clock.advance(std::time::Duration::from_secs(32 * 86_400));
    world.send("GET /v1/workspaces/team", token, &[], None).await.is(401);
}
