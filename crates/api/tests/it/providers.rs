//! What browsers are told on the way to an identity provider and back.

use super::kit::{World, config_schema};
use api::{Admin, Options};
use control::provider::{Ask, Asking, GroupRole, Provider, Signed, Way};
use serde_json::json;
use std::sync::Arc;

const ISSUER: &str = "https://idp.test";

/// A provider that says where people log in, and nothing else.
#[derive(Debug)]
struct Idp;

impl Way for Idp {
    fn ask(&self, _: Ask) -> Asking<'_> {
        let told = json!({
            "issuer": ISSUER,
            "authorization_endpoint": format!("{ISSUER}/auth"),
            "token_endpoint": format!("{ISSUER}/token"),
            "jwks_uri": format!("{ISSUER}/keys"),
        });
        Box::pin(async move { Ok((200, told.to_string().into_bytes())) })
    }

    fn verify(&self, _: &[u8], _: &str) -> Result<Signed, String> {
        Err("it signs nothing".to_owned())
    }
}

/// A platform whose people come from elsewhere, reached at an address with TLS or by whatever they ask for.
async fn corp(url: Option<&str>) -> World {
    let mut world = World::new().await;
    let role = GroupRole { group: "ops".to_owned(), role: "owner".to_owned(), workspace: None };
    let provider = Provider {
        name: "corp".to_owned(),
        title: "The <corp>".to_owned(),
        issuer: ISSUER.to_owned(),
        client: "yett".to_owned(),
        secret: None,
        scopes: "openid".to_owned(),
        groups: "groups".to_owned(),
        roles: vec![role],
    };
    world.control = world.control.clone().with_providers(vec![provider], Arc::new(Idp));
    let options = Options {
        clock: world.clock.clone(),
        config_schema: config_schema(),
        is_loopback: true,
        hosts: vec!["yett.test".to_owned()],
        is_tls: url.is_some(),
        url: url.map(str::to_owned),
    };
    world.admin = Admin::new(world.control.clone(), options);
    world
}

#[tokio::test]
async fn people_come_back_to_the_address_of_the_config_and_cookies_are_for_tls_there() {
    let world = corp(Some("https://yett.test")).await;
    let sent = world.send("GET /login/with/corp?to=%2Fv1%2Fusers", "", &[], None).await.is(303);
    let to = sent.header("location");
    assert!(to.starts_with(&format!("{ISSUER}/auth?")), "{to}");
    assert!(to.contains("redirect_uri=https%3A%2F%2Fyett.test%2Flogin%2Ffrom%2Fcorp"), "{to}");
    let cookie = sent.header("set-cookie");
    assert!(cookie.starts_with("__Host-yett_login=") && cookie.contains("; Secure"), "{cookie}");
    for part in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=600"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let flow = cookie.split(['=', '.']).nth(1).unwrap();
    assert!(flow.len() == 43 && !to.contains(flow), "the secret stays in the browser");

    let world = corp(None).await;
    let sent = world.send("GET /login/with/corp", "", &[], None).await.is(303);
    assert!(sent.header("location").contains("redirect_uri=http%3A%2F%2Flocalhost%2Flogin"));
    assert!(!sent.header("set-cookie").contains("Secure"));
}

#[tokio::test]
async fn what_was_not_begun_here_ends_nothing_and_takes_the_cookie_away() {
    let world = corp(None).await;
    let begun = world.send("GET /login/with/corp", "", &[], None).await.is(303);
    let cookie = begun.header("set-cookie").split(';').next().unwrap().to_owned();
    let state = begun.header("location").split("&state=").nth(1).unwrap();
    let state = state.split('&').next().unwrap();
    let twice = format!("GET /login/from/corp?code=a&state={state}&state={state}");
    let other = "GET /login/from/corp?code=a&state=other".to_owned();
    let right = format!("GET /login/from/corp?code=a&state={state}");
    for (line, cookie) in [(&twice, &*cookie), (&other, &*cookie), (&right, "yett_login=x.%2F")] {
        let refused = world.send(line, "", &[("cookie", cookie)], None).await.is(401);
        assert!(refused.header("set-cookie").starts_with("yett_login=; "), "{refused:?}");
        assert!(!refused.body.contains("state"), "{refused:?}");
    }
}

#[tokio::test]
async fn pages_of_logins_show_no_markup_of_others_and_lead_to_no_other_host() {
    let world = corp(None).await;
    let page = world.send("GET /login", "", &[], None).await.is(200);
    assert!(page.body.contains("The &lt;corp&gt;"), "{page:?}");
    for to in ["//evil.test", "https://evil.test", "/%5Cevil.test", "%0A/", ""] {
        world.send(&format!("GET /login/with/corp?to={to}"), "", &[], None).await.is(400);
    }
    world.send("GET /login/with/nobody", "", &[], None).await.is(404);
    let told = world.send("GET /v1/providers", "", &[], None).await.is(200).json();
    assert_eq!(told["items"][0]["path"], "/login/with/corp");
    // Nobody makes a link without being logged in, and no page of others does.
    let origin = ("origin", "http://localhost");
    world.send("POST /login", "", &[origin], None).await.is(401);
    world.send("POST /login", "", &[], None).await.is(403);
    let session = world.somebody("alice", "", "viewer").await;
    let cookie = format!("yett_session={session}");
    let made = world.send("POST /login", "", &[origin, ("cookie", &cookie)], None).await.is(200);
    assert!(made.body.contains("yett login http://localhost/login/yett_link_"), "{made:?}");
    let foreign = [("origin", "https://evil.test"), ("cookie", &cookie)];
    world.send("POST /login", "", &foreign, None).await.is(403);
}
