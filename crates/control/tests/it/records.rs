use super::kit::World;
use base::{Clock, Secret};
use control::credential::{Kind, Made, Proof, Sent};
use control::directory::News;
use control::page::Ask;
use control::{Caller, Code, application, consumer};
use model::consumer::CertificateMatch;
use std::time::Duration;

const DAY_MS: i64 = 86_400_000;

fn now_ms(clock: &Clock) -> i64 {
    i64::try_from(base::clock::unix_ms(clock.wall())).unwrap()
}

struct Shop {
    world: World,
    team: String,
    consumer: String,
    application: String,
}

impl Shop {
    async fn open() -> Self {
        let world = World::new().await;
        let team = world.workspace("team").await;
        let groups = ["eu".to_owned()];
        let sent = consumer::Sent { name: "shop", groups: &groups, ..consumer::Sent::default() };
        let consumer = world.control.consumer_create(&world.root, &team, sent).await.unwrap().id;
        let sent = application::Sent { name: "till", ..application::Sent::default() };
        let of = (&*team, &*consumer);
        let application = world.control.application_create(&world.root, of, sent).await.unwrap().id;
        Self { world, team, consumer, application }
    }

    async fn make(&self, proof: Proof<'_>) -> Result<Made, control::Problem> {
        let of = (&*self.team, &*self.consumer, Some(&*self.application));
        let sent = Sent { name: "test", proof, from_ms: None, expires_ms: None };
        self.world.control.credential_create(&self.world.root, of, sent).await
    }

    async fn trail(&self) -> String {
        format!("{:?}", self.world.store.audit_list(0, 999).await.unwrap())
    }
}

#[tokio::test]
async fn what_the_platform_makes_is_shown_once_and_known_to_gateways() {
    let shop = Shop::open().await;
    let mut all = Vec::new();
    for proof in [
        Proof::ApiKey { hash: None },
        Proof::Password { username: "till", password: None, hash: None },
        Proof::SharedSecret { id: None, secret: None },
    ] {
        let kind = format!("{proof:?}");
        let made = shop.make(proof).await.unwrap();
        let shown = made.shown.unwrap_or_else(|| panic!("{kind} is shown"));
        assert!(shown.reveal().len() >= 49, "{kind}");
        assert!(!serde_json::to_string(&made.credential).unwrap().contains(shown.reveal()));
        assert!(!shop.trail().await.contains(shown.reveal()), "{kind}");
        all.push((made.credential, shown));
    }
    let known = shop.world.control.directory().await.unwrap();
    assert_eq!(known.consumers[0].groups, ["eu"]);
    assert_eq!((known.consumers[0].workspace_name.as_str(), known.unreadable.len()), ("team", 0));
    for (at, (credential, shown)) in all.iter().enumerate() {
        let it = known.credentials.iter().find(|it| it.id == credential.id).unwrap();
        assert_eq!(it.application.as_ref().unwrap().name, "till");
        let secret = it.secret.as_ref().map(Secret::reveal);
        match at {
            0 => assert_eq!((secret, it.kind), (None, Kind::ApiKey)),
            1 => assert!(secret.unwrap().starts_with("$argon2id$"), "{credential:?}"),
            _ => assert_eq!(secret, Some(shown.reveal())),
        }
    }
    let (key, shown) = &all[0];
    assert!(shown.reveal().starts_with("yett_") && key.hint.len() < 16, "{}", key.hint);
    let found =
        shop.world.control.credential_find(&shop.world.root, &shop.team, shown).await.unwrap();
    assert_eq!(found.id, key.id);
}

#[tokio::test]
async fn what_was_made_elsewhere_is_taken_if_it_is_worth_its_name() {
    let shop = Shop::open().await;
    let digits = "0123456789abcdef".repeat(4);
    let hash = format!("sha256:{digits}");
    let made = shop.make(Proof::ApiKey { hash: Some(&hash) }).await.unwrap();
    assert!(made.shown.is_none());
    let again = shop.make(Proof::ApiKey { hash: Some(&hash) }).await.unwrap_err();
    assert_eq!(again.code, Code::Taken);
    let secret = Secret::new("s".repeat(32));
    let given = Proof::SharedSecret { id: Some("till-1"), secret: Some(secret.clone()) };
    assert!(shop.make(given).await.unwrap().shown.is_none());
    let by =
        CertificateMatch { san: Some("dns:Till.example.com".to_owned()), ..Default::default() };
    shop.make(Proof::Certificate(by)).await.unwrap();
    let by =
        CertificateMatch { san: Some("dns:till.example.com".to_owned()), ..Default::default() };
    assert_eq!(shop.make(Proof::Certificate(by)).await.unwrap_err().code, Code::Taken);
    shop.make(Proof::Token { issuer: "https://idp.example.com", subject: "till" }).await.unwrap();

    let short = Some(Secret::new("short".to_owned()));
    for (proof, pointer) in [
        (Proof::ApiKey { hash: Some("yett_oops") }, "/hash"),
        (Proof::Password { username: "a:b", password: None, hash: None }, "/username"),
        (Proof::Password { username: "a", password: short.clone(), hash: None }, "/password"),
        (Proof::Password { username: "a", password: None, hash: Some("$2a$10$x") }, "/hash"),
        (Proof::Password { username: "a", password: short.clone(), hash: Some("x") }, "/hash"),
        (Proof::SharedSecret { id: Some("a"), secret: short }, "/secret"),
        (Proof::SharedSecret { id: Some("a\n"), secret: None }, "/id"),
        (Proof::Token { issuer: "", subject: "a" }, "/issuer"),
        (Proof::Certificate(CertificateMatch::default()), ""),
    ] {
        let what = format!("{proof:?}");
        let refused = shop.make(proof).await.unwrap_err();
        assert_eq!(refused.findings[0].pointer, pointer, "{what}");
        assert!(!refused.detail.contains("short") && !refused.detail.contains("oops"), "{what}");
    }
}

#[tokio::test]
async fn a_new_key_stands_beside_the_old_one_until_that_ends() {
    let shop = Shop::open().await;
    let (control, root) = (&shop.world.control, &shop.world.root);
    let old = shop.make(Proof::ApiKey { hash: None }).await.unwrap().credential;
    let at = (&*shop.team, &*old.id);
    let new = control.credential_rotate(root, at, DAY_MS, None).await.unwrap();
    assert_ne!(new.credential.id, old.id);
    let ending = control.credential_get(root, at).await.unwrap();
    assert_eq!(ending.expires_ms, Some(now_ms(&shop.world.clock) + DAY_MS));
    assert_eq!(control.directory().await.unwrap().credentials.len(), 2);
    shop.world.clock.advance(Duration::from_millis(DAY_MS.unsigned_abs()));
    let left = control.directory().await.unwrap().credentials;
    assert_eq!(left.iter().map(|it| &*it.id).collect::<Vec<_>>(), [&*new.credential.id]);
    let token = Proof::Token { issuer: "https://idp.example.com", subject: "till" };
    let token = shop.make(token).await.unwrap().credential;
    let refused = control.credential_rotate(root, (&shop.team, &token.id), 0, None).await;
    assert_eq!(refused.unwrap_err().findings[0].pointer, "/kind");
}

#[tokio::test]
async fn gateways_that_follow_forget_what_is_revoked() {
    let shop = Shop::open().await;
    let (control, root) = (&shop.world.control, &shop.world.root);
    let mut position = control.position().await.unwrap();
    let made = shop.make(Proof::ApiKey { hash: None }).await.unwrap().credential;
    let mut kept = control.kept();
    kept.mark_unchanged();
    control.credential_delete(root, (&shop.team, &made.id), None).await.unwrap();
    kept.changed().await.unwrap();
    let News::Some(changes, _) = control.follow(&mut position).await.unwrap() else {
        panic!("nothing was lost")
    };
    let change = changes.iter().find(|it| it.credential.as_ref() == Some(&made.id)).unwrap();
    let known = control.directory_of(change).await.unwrap();
    assert_eq!((known.consumers.len(), known.credentials.len()), (1, 0));
}

#[tokio::test]
async fn who_may_only_look_makes_and_revokes_nothing() {
    let shop = Shop::open().await;
    let control = &shop.world.control;
    let made = shop.make(Proof::ApiKey { hash: None }).await.unwrap().credential;
    let (team, consumer) = (&*shop.team, &*shop.consumer);
    let other = shop.world.workspace("other").await;
    let looker = shop.world.somebody("alice", team, "auditor").await;
    let stranger = shop.world.somebody("eve", &other, "owner").await;
    for (caller, code) in [(&looker, Code::Forbidden), (&stranger, Code::NotFound)] {
        let at = (team, &*made.id);
        let sent = || Sent {
            name: "",
            proof: Proof::ApiKey { hash: None },
            from_ms: None,
            expires_ms: None,
        };
        let refused = [
            control.credential_create(caller, (team, consumer, None), sent()).await.map(drop),
            control.credential_rotate(caller, at, 0, None).await.map(drop),
            control.credential_update(caller, at, 1, "", (None, None)).await.map(drop),
            control.credential_password_set(caller, at, 1, None).await.map(drop),
            control.credential_delete(caller, at, None).await,
            control.consumer_create(caller, team, consumer::Sent::default()).await.map(drop),
            control
                .consumer_update(caller, (team, consumer), 1, consumer::Sent::default())
                .await
                .map(drop),
            control.consumer_delete(caller, (team, consumer), 1).await,
            control
                .application_create(caller, (team, consumer), application::Sent::default())
                .await
                .map(drop),
            control
                .application_update(caller, (team, "a"), 1, application::Sent::default())
                .await
                .map(drop),
            control.application_delete(caller, (team, "a"), 1).await,
        ];
        for (at, refused) in refused.into_iter().enumerate() {
            assert_eq!(refused.unwrap_err().code, code, "{at}");
        }
        let asked = control.credential_list(caller, (team, consumer, None), &Ask::default()).await;
        assert_eq!(asked.is_ok(), code == Code::Forbidden);
    }
}

#[tokio::test]
async fn a_list_is_read_page_by_page() {
    let shop = Shop::open().await;
    let (control, root): (_, &Caller) = (&shop.world.control, &shop.world.root);
    for at in 0..7 {
        let name = format!("shop-{at}");
        let sent = consumer::Sent { name: &name, title: "Many", ..consumer::Sent::default() };
        control.consumer_create(root, &shop.team, sent).await.unwrap();
    }
    let (mut names, mut after) = (Vec::new(), String::new());
    loop {
        let ask = Ask { q: "MANY", limit: 3, after: &after, ..Ask::default() };
        let page = control.consumer_list(root, &shop.team, &ask).await.unwrap();
        names.extend(page.items.into_iter().map(|it| it.name));
        let Some(next) = page.next else { break };
        after = next;
    }
    assert_eq!(names.len(), 7);
    assert!(names.is_sorted(), "{names:?}");
}

#[tokio::test]
async fn what_was_there_before_is_searched_as_well() {
    let shop = Shop::open().await;
    let (control, root) = (&shop.world.control, &shop.world.root);
    let other = shop.world.workspace("other").await;
    let eve = shop.world.somebody("eve", &other, "viewer").await;
    for name in ["orders", "orders-2", "carts"] {
        let sent = control::object::Sent { name, position: 0, body: &serde_json::json!({}) };
        control.object_create(root, (&shop.team, "api", ""), sent).await.unwrap();
    }
    let of = (&*shop.team, "api", "");
    let ask = Ask { name: "ord", limit: 1, ..Ask::default() };
    let first = control.object_page(root, of, &ask).await.unwrap();
    let ask = Ask { after: first.next.as_deref().unwrap(), ..ask };
    let second = control.object_page(root, of, &ask).await.unwrap();
    assert_eq!((&*second.items[0].name, second.next), ("orders-2", None));
    let ask = Ask { q: "ART", ..Ask::default() };
    assert_eq!(control.object_page(root, of, &ask).await.unwrap().items.len(), 1);
    let ask = Ask { q: "EV", ..Ask::default() };
    assert_eq!(control.user_page(root, &ask).await.unwrap().items[0].name, "eve");
    let ask = Ask { limit: 1, ..Ask::default() };
    let seen = control.workspace_page(&eve, &ask).await.unwrap();
    assert_eq!((&*seen.items[0].name, seen.next), ("other", None));
    assert!(control.object_page(&eve, of, &ask).await.is_err());
}
