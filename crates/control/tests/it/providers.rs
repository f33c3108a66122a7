//! Logins by an identity provider that says what the test wants.

use super::kit::World;
use base::Secret;
use base::clock::unix_ms;
use control::audit::Narrowed;
use control::page::Ask;
use control::provider::{Ask as Asked, Asking, GroupRole, Provider, Returned, Signed, Way};
use control::{Code, Control, Problem, UserWritten};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

const ISSUER: &str = "https://idp.test/realms/a";
const BACK: &str = "https://yett.test/login/from/corp";
const FROM: &str = "192.0.2.7";

/// A provider. A token is its claims, behind the number of the key that signed it.
#[derive(Debug, Default)]
struct Idp(Mutex<Says>);

#[derive(Debug, Default)]
struct Says {
    document: Value,
    token: String,
    is_down: bool,
    /// The number of the only key that is published.
    key: u8,
    asked: Vec<(String, Option<String>, Option<String>)>,
}

impl Way for Idp {
    fn ask(&self, ask: Asked) -> Asking<'_> {
        let mut says = self.0.lock().unwrap();
        let form = ask.form.as_ref().map(|form| form.reveal().to_owned());
        let authorization = ask.authorization.as_ref().map(|it| it.reveal().to_owned());
        says.asked.push((ask.url.clone(), form, authorization));
        let path = ask.url.strip_prefix(ISSUER).unwrap_or_default();
        let answer = match path {
            _ if says.is_down => Err("it does not answer".to_owned()),
            "/.well-known/openid-configuration" => Ok((200, says.document.to_string())),
            "/keys" => Ok((200, says.key.to_string())),
            "/token" if says.token.is_empty() => {
                Ok((400, json!({ "error": "invalid_grant" }).to_string()))
            }
            "/token" => Ok((200, json!({ "id_token": says.token }).to_string())),
            _ => Ok((404, String::new())),
        };
        Box::pin(async move { answer.map(|(status, text)| (status, text.into_bytes())) })
    }

    fn verify(&self, keys: &[u8], token: &str) -> Result<Signed, String> {
        let (key, claims) = token.split_at(1);
        match key {
            "x" => Err("forged".to_owned()),
            key if key.as_bytes() == keys => {
                Ok(Signed::By(serde_json::from_str::<Map<String, Value>>(claims).unwrap()))
            }
            _ => Ok(Signed::Unknown),
        }
    }
}

struct Corp {
    world: World,
    control: Control,
    idp: Arc<Idp>,
}

/// The fields of a query.
fn fields(url: &str) -> HashMap<String, String> {
    let pairs = url.split_once('?').unwrap().1.split('&');
    pairs.map(|it| it.split_once('=').unwrap()).map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
}

impl Corp {
    async fn new() -> Self {
        let world = World::new().await;
        let idp = Arc::new(Idp::default());
        {
            let mut says = idp.0.lock().unwrap();
            says.key = 1;
            says.document = json!({
                "issuer": ISSUER,
                "authorization_endpoint": format!("{ISSUER}/auth"),
                "token_endpoint": format!("{ISSUER}/token"),
                "jwks_uri": format!("{ISSUER}/keys"),
                "authorization_response_iss_parameter_supported": true,
            });
        }
        let role = |group: &str, role: &str, workspace: Option<&str>| GroupRole {
            group: group.to_owned(),
            role: role.to_owned(),
            workspace: workspace.map(str::to_owned),
        };
        let corp = Provider {
            name: "corp".to_owned(),
            title: "Corp".to_owned(),
            issuer: ISSUER.to_owned(),
            client: "yett".to_owned(),
            secret: Some(Secret::new("a secret/+".to_owned())),
            scopes: "openid profile".to_owned(),
            groups: "org.groups".to_owned(),
            roles: vec![
                role("ops", "owner", None),
                role("devs", "publisher", Some("shop")),
                role("devs", "viewer", Some("gone")),
                role("old", "no-such-role", None),
            ],
        };
        let other = Provider { name: "other".to_owned(), ..corp.clone() };
        let control =
            world.control.clone().with_providers(vec![corp, other], Arc::clone(&idp) as _);
        Self { world, control, idp }
    }

    fn says(&self, change: impl FnOnce(&mut Says)) {
        change(&mut self.idp.0.lock().unwrap());
    }

    /// Logs in as somebody with these groups; `spoil` is done to the claims and to what the browser comes back with.
    async fn login(
        &self,
        subject: &str,
        groups: &[&str],
        spoil: impl FnOnce(&mut Value, &mut Returned),
    ) -> Result<String, Problem> {
        let begun = self.control.provider_begin("corp", BACK).await?;
        let asked = fields(&begun.url);
        let now_s = unix_ms(self.world.clock.wall()) / 1_000;
        let mut claims = json!({
            "iss": ISSUER, "aud": "yett", "sub": subject, "iat": now_s, "exp": now_s + 300, "nonce": asked["nonce"],
            "preferred_username": format!("{subject}@Corp"), "email": "admin@corp.test", "org": { "groups": groups },
        });
        let mut returned = Returned {
            flow: begun.flow.reveal().to_owned(),
            state: asked["state"].clone(),
            code: "a code".to_owned(),
            issuer: Some(ISSUER.to_owned()),
            error: None,
        };
        spoil(&mut claims, &mut returned);
        self.says(|says| {
            let key = claims["key"].as_str().map_or_else(|| says.key.to_string(), str::to_owned);
            says.token = format!("{key}{claims}");
        });
        let session =
            self.control.provider_end("corp", BACK, returned, FROM.parse().unwrap()).await?;
        Ok(session.shown.reveal().to_owned())
    }

    async fn roles(&self, session: &str) -> Vec<(String, String)> {
        let caller = self.control.caller(session).await.unwrap();
        let roles = self.control.user_roles(&caller, &caller.user, None).await.unwrap();
        roles.into_iter().map(|it| (it.workspace, it.role)).collect()
    }
}

fn as_is(_: &mut Value, _: &mut Returned) {}

/// What is made wrong, and how.
type Spoil<F> = (&'static str, F);
type Wrong<'a> = &'a dyn Fn(&mut Returned);

#[tokio::test]
async fn somebody_has_the_roles_of_their_groups_anew_at_each_login() {
    let corp = Corp::new().await;
    let shop = corp.world.workspace("shop").await;
    let first = corp.login("alice", &["devs", "old"], as_is).await.unwrap();
    assert_eq!(corp.roles(&first).await, [(shop.clone(), "publisher".to_owned())]);
    let caller = corp.control.caller(&first).await.unwrap();
    assert_eq!(caller.name, "alice-corp");
    let second = corp.login("alice", &["ops"], as_is).await.unwrap();
    let again = corp.control.caller(&second).await.unwrap();
    assert_eq!((&again.user, &again.name), (&caller.user, &caller.name), "it is the same user");
    let owner = [(String::new(), "owner".to_owned())];
    assert_eq!(corp.roles(&second).await, owner);
    assert_eq!(corp.roles(&first).await, owner, "also where they are logged in already");
}

#[tokio::test]
async fn who_is_in_no_group_that_has_a_role_does_not_come_in_and_loses_what_they_had() {
    let corp = Corp::new().await;
    corp.world.somebody("root", "", "owner").await;
    let refused = corp.login("eve", &["sales"], as_is).await.unwrap_err();
    assert_eq!(refused.code, Code::LoginRefused);
    assert!(corp.world.store.user_of(ISSUER, "eve").await.unwrap().is_none());
    let session = corp.login("bob", &["ops"], as_is).await.unwrap();
    assert!(corp.login("bob", &[], as_is).await.is_err());
    assert!(corp.roles(&session).await.is_empty());
}

#[tokio::test]
async fn the_last_owner_of_everything_stays_one() {
    let corp = Corp::new().await;
    let session = corp.login("bob", &["ops"], as_is).await.unwrap();
    assert_eq!(corp.login("bob", &[], as_is).await.unwrap_err().code, Code::Bound);
    assert_eq!(corp.roles(&session).await.len(), 1);
}

#[tokio::test]
async fn nobody_becomes_a_user_who_is_there_by_a_name_or_an_address() {
    let corp = Corp::new().await;
    let local = corp.world.somebody("alice-corp", "", "owner").await;
    let session = corp.login("alice", &["ops"], as_is).await.unwrap();
    let caller = corp.control.caller(&session).await.unwrap();
    assert_ne!(caller.user, local.user);
    assert_eq!(caller.name, "alice-corp-2");
    // A subject of another issuer is somebody else.
    let user = corp.world.store.user_of("https://other.test", "alice").await.unwrap();
    assert!(user.is_none());
}

#[tokio::test]
async fn who_is_disabled_here_does_not_come_in() {
    let corp = Corp::new().await;
    corp.world.somebody("root", "", "owner").await;
    corp.login("alice", &["ops"], as_is).await.unwrap();
    let alice = corp.world.store.user_of(ISSUER, "alice").await.unwrap().unwrap();
    let written = UserWritten { name: &alice.name, email: "", is_disabled: true };
    let of = (&*alice.id, alice.revision);
    corp.control.user_update(&corp.world.root, of, written).await.unwrap();
    let refused = corp.login("alice", &["ops"], as_is).await.unwrap_err();
    assert_eq!(refused.code, Code::LoginRefused);
}

#[tokio::test]
async fn a_token_that_is_not_of_this_login_is_refused() {
    let corp = Corp::new().await;
    corp.world.somebody("root", "", "owner").await;
    let spoils: &[Spoil<fn(&mut Value)>] = &[
        ("another issuer", |it| it["iss"] = json!("https://evil.test")),
        ("another client", |it| it["aud"] = json!("other")),
        ("also another client", |it| it["aud"] = json!(["yett", "other"])),
        ("for another client of two", |it| {
            it["aud"] = json!(["yett", "other"]);
            it["azp"] = json!("other");
        }),
        ("no client", |it| it["aud"] = Value::Null),
        ("expired", |it| it["exp"] = json!(it["iat"].as_i64().unwrap() - 61)),
        ("never expires", |it| it["exp"] = Value::Null),
        ("of the future", |it| it["iat"] = json!(it["exp"])),
        ("another login", |it| it["nonce"] = json!("other")),
        ("no nonce", |it| it["nonce"] = Value::Null),
        ("nobody", |it| it["sub"] = json!("")),
        ("a subject of two lines", |it| it["sub"] = json!("a\nb")),
        ("a subject of nothing", |it| it["sub"] = json!("\u{0}")),
        ("a subject without end", |it| it["sub"] = json!("a".repeat(256))),
        ("groups that are none", |it| it["org"]["groups"] = json!({ "ops": true })),
        ("forged", |it| it["key"] = json!("x")),
        ("signed by a key that is not published", |it| it["key"] = json!("7")),
    ];
    for (what, spoil) in spoils {
        let refused = corp.login("alice", &["ops"], |claims, _| spoil(claims)).await;
        let refused = refused.expect_err(what);
        assert_eq!(refused.code, Code::LoginRefused, "{what}");
        assert!(
            !refused.detail.contains("nonce") && refused.cause.is_some(),
            "{what}: {refused:?}"
        );
    }
    assert!(corp.world.store.user_of(ISSUER, "alice").await.unwrap().is_none());
    corp.login("alice", &["ops"], |claims, _| {
        claims["aud"] = json!(["yett", "other"]);
        claims["azp"] = json!("yett");
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_browser_ends_only_the_login_that_it_has_begun_at_this_provider() {
    let corp = Corp::new().await;
    let other = corp.control.provider_begin("other", BACK).await.unwrap();
    let spoils: &[Spoil<Wrong<'_>>] = &[
        ("no cookie", &|it| it.flow.clear()),
        ("another cookie", &|it| it.flow = "other".to_owned()),
        ("another state", &|it| it.state = "other".to_owned()),
        ("no state", &|it| it.state.clear()),
        ("a login at another provider", &|it| {
            it.flow = other.flow.reveal().to_owned();
            it.state = fields(&other.url)["state"].clone();
        }),
        ("another issuer", &|it| it.issuer = Some("https://evil.test".to_owned())),
        ("no issuer of one who names itself", &|it| it.issuer = None),
        ("an error", &|it| it.error = Some("access_denied".to_owned())),
    ];
    for (what, spoil) in spoils {
        corp.says(|says| says.asked.clear());
        let refused = corp.login("alice", &["ops"], |_, returned| spoil(returned)).await;
        assert_eq!(refused.expect_err(what).code, Code::LoginRefused, "{what}");
        let is_token = |(url, ..): &(String, _, _)| url.ends_with("/token");
        corp.says(|says| assert!(!says.asked.iter().any(is_token), "{what}: no code is sent on"));
    }
}

#[tokio::test]
async fn the_code_goes_with_a_verifier_that_only_this_login_has_and_the_secret_of_the_client() {
    let corp = Corp::new().await;
    corp.login("alice", &["ops"], as_is).await.unwrap();
    let asked = corp.idp.0.lock().unwrap().asked.clone();
    let (_, form, authorization) = asked.iter().find(|it| it.0.ends_with("/token")).unwrap();
    let form = fields(&format!("?{}", form.as_ref().unwrap()));
    assert_eq!(form["code"], "a%20code");
    assert_eq!(form["redirect_uri"], "https%3A%2F%2Fyett.test%2Flogin%2Ffrom%2Fcorp");
    assert_eq!(form["code_verifier"].len(), 43);
    // `yett:a%20secret%2F%2B`
    assert_eq!(authorization.as_deref(), Some("Basic eWV0dDphJTIwc2VjcmV0JTJGJTJC"));
    assert!(!form.contains_key("client_secret"));
    let url = corp.control.provider_begin("corp", BACK).await.unwrap().url;
    assert!(url.starts_with(&format!("{ISSUER}/auth?response_type=code&")), "{url}");
    assert!(
        url.contains("&code_challenge_method=S256") && url.contains("&scope=openid%20profile&")
    );
    assert!(!url.contains(&form["code_verifier"]));
}

#[tokio::test]
async fn keys_that_were_changed_are_fetched_again_and_not_at_every_guess() {
    let corp = Corp::new().await;
    corp.login("alice", &["ops"], as_is).await.unwrap();
    corp.says(|says| says.key = 2);
    assert!(corp.login("alice", &["ops"], as_is).await.is_err(), "it was asked a moment ago");
    corp.world.clock.advance(std::time::Duration::from_secs(11));
    corp.login("alice", &["ops"], as_is).await.unwrap();
    let asked = || {
        let asked = &corp.idp.0.lock().unwrap().asked;
        asked.iter().filter(|it| it.0.ends_with("/keys")).count()
    };
    let before = asked();
    for _ in 0..5 {
        drop(corp.login("alice", &["ops"], |claims, _| claims["key"] = json!("7")).await);
    }
    assert_eq!(asked(), before);
}

#[tokio::test]
async fn a_provider_that_cannot_be_asked_is_told_and_keeps_nobody_else_out() {
    let corp = Corp::new().await;
    corp.says(|says| says.is_down = true);
    let refused = corp.login("alice", &["ops"], as_is).await.unwrap_err();
    assert_eq!(refused.code, Code::ProviderUnavailable);
    assert!(refused.detail.contains("with a password"), "{refused}");
    corp.world.somebody("root", "", "owner").await;
    corp.says(|says| {
        says.is_down = false;
        says.document["issuer"] = json!("https://evil.test");
    });
    let refused = corp.login("alice", &["ops"], as_is).await.unwrap_err();
    assert_eq!(refused.code, Code::ProviderUnavailable, "it speaks of somebody else");
    corp.says(|says| {
        says.document["issuer"] = json!(ISSUER);
        says.document["token_endpoint"] = json!("http://idp.test/token");
    });
    assert!(corp.login("alice", &["ops"], as_is).await.is_err(), "a code is not sent in the clear");
    assert_eq!(corp.control.provider_begin("nobody", BACK).await.unwrap_err().code, Code::NotFound);
}

#[tokio::test]
async fn what_a_login_does_is_in_the_trail() {
    let corp = Corp::new().await;
    corp.login("alice", &["ops"], as_is).await.unwrap();
    let (all, ask) = (Narrowed::default(), Ask::default());
    let read = corp.control.audit_list(&corp.world.root, None, &all, &ask).await.unwrap().items;
    let told: Vec<_> = read.iter().map(|it| (&*it.actor, &*it.noun, &*it.action)).collect();
    for wanted in [
        ("system:login by corp", "user", "create"),
        ("system:login by corp", "user", "provider"),
        ("system:login by corp", "user", "role_add"),
        ("alice-corp", "session", "create"),
    ] {
        assert!(told.contains(&wanted), "{wanted:?}: {told:?}");
    }
    assert!(read.iter().any(|it| it.address.as_deref() == Some(FROM)));
}
