use super::kit::World;
use base::Secret;
use control::audit::Narrowed;
use control::idempotency::Turn;
use control::page::Ask;
use control::role::Sent;
use control::{Caller, Code};
use serde_json::json;
use std::time::Duration;
use store::user::Written;

const DAY: Duration = Duration::from_secs(86_400);

fn may(patterns: &[&str]) -> Vec<String> {
    patterns.iter().map(|it| (*it).to_owned()).collect()
}

#[tokio::test]
async fn a_role_of_ones_own_may_what_it_says_and_changes_at_once() {
    let world = World::new().await;
    let (control, root) = (&world.control, &world.root);
    let team = world.workspace("team").await;
    let look = may(&["workspace:read", "api:read"]);
    let sent = Sent { about: "Looks at APIs.", may: &look };
    let made = control.role_create(root, "looker", sent).await.unwrap();
    let alice = world.somebody("alice", &team, "looker").await;
    control.object_list(&alice, (&team, "api", ""), "", 9).await.unwrap();
    assert!(control.object_list(&alice, (&team, "plan", ""), "", 9).await.is_err());
    let more = may(&["workspace:read", "plan:*"]);
    control
        .role_update(root, "looker", made.revision, Sent { about: "", may: &more })
        .await
        .unwrap();
    let from = "192.0.2.7".parse().unwrap();
    let password = Secret::new("the password of alice".to_owned());
    let session = control.session_create("alice", password, from).await.unwrap();
    let alice = control.caller(session.shown.reveal()).await.unwrap();
    control.object_list(&alice, (&team, "plan", ""), "", 9).await.unwrap();
    let held = control.role_delete(root, "looker", 2).await.unwrap_err();
    assert_eq!(held.code, Code::Bound);
    control.user_role_remove(root, &alice.user, &team, "looker").await.unwrap();
    control.role_delete(root, "looker", 2).await.unwrap();
    let listed = control.role_list(root, &Ask::default()).await.unwrap();
    assert_eq!(listed.items.len(), control::permission::ROLES.len());
}

#[tokio::test]
async fn nobody_makes_or_changes_a_role_that_may_more_than_they() {
    let world = World::new().await;
    let (control, root) = (&world.control, &world.root);
    let roles = may(&["role:*", "user:*", "api:*"]);
    control.role_create(root, "people", Sent { about: "", may: &roles }).await.unwrap();
    let alice = world.somebody("alice", "", "people").await;
    let apis = may(&["api:update"]);
    control.role_create(&alice, "editor", Sent { about: "", may: &apis }).await.unwrap();
    let all = may(&["*:*"]);
    for (name, may) in [("root", &all), ("money", &may(&["credential:read"]))] {
        let refused = control.role_create(&alice, name, Sent { about: "", may }).await.unwrap_err();
        assert_eq!(refused.code, Code::Forbidden, "{name}");
    }
    let grown = control.role_update(&alice, "editor", 1, Sent { about: "", may: &all }).await;
    assert_eq!(grown.unwrap_err().code, Code::Forbidden);
    let secrets = may(&["secret:read"]);
    control.role_create(root, "keeper", Sent { about: "", may: &secrets }).await.unwrap();
    let taken = control.role_update(&alice, "keeper", 1, Sent { about: "", may: &apis }).await;
    assert_eq!(taken.unwrap_err().code, Code::Forbidden, "nor takes what they have not");
    let given = control.user_role_add(&alice, &alice.user, "", "keeper").await.unwrap_err();
    assert_eq!(given.code, Code::Forbidden);
    for (name, patterns) in [("a b", &apis), ("x", &may(&["api"])), ("x", &may(&["cat:read"]))] {
        let refused = control.role_create(root, name, Sent { about: "", may: patterns }).await;
        assert_eq!(refused.unwrap_err().code, Code::Invalid, "{name} {patterns:?}");
    }
    let known = control.role_create(root, "owner", Sent { about: "", may: &apis }).await;
    assert_eq!(known.unwrap_err().code, Code::Taken);
}

#[tokio::test]
async fn nobody_becomes_somebody_mightier_by_their_account() {
    let world = World::new().await;
    let (control, root) = (&world.control, &world.root);
    let helper = may(&["user:*"]);
    control.role_create(root, "helper", Sent { about: "", may: &helper }).await.unwrap();
    let helper = world.somebody("helper", "", "helper").await;
    let owner = world.somebody("owner", "", "owner").await;
    let written = Written { name: "owner", email: "evil@example.com", is_disabled: false };
    let refused = [
        control.user_update(&helper, (&owner.user, 1), written).await.map(drop),
        control.user_delete(&helper, (&owner.user, 1)).await,
        control.user_link_create(&helper, &owner.user).await.map(drop),
        control.user_role_remove(&helper, &owner.user, "", "owner").await,
    ];
    for refused in refused {
        assert_eq!(refused.unwrap_err().code, Code::Forbidden);
    }
    let viewer = world.somebody("viewer", "", "helper").await;
    control.user_link_create(&helper, &viewer.user).await.unwrap();
}

#[tokio::test]
async fn one_owner_of_everything_remains_who_can_log_in() {
    let world = World::new().await;
    let control = &world.control;
    let alice = world.somebody("alice", "", "owner").await;
    let revision = control.user_get(&alice, &alice.user).await.unwrap().revision;
    let disabled = Written { name: "alice", email: "", is_disabled: true };
    let refused = [
        control.user_role_remove(&alice, &alice.user, "", "owner").await,
        control.user_update(&alice, (&alice.user, revision), disabled).await.map(drop),
        control.user_delete(&alice, (&alice.user, revision)).await,
    ];
    for refused in refused {
        assert_eq!(refused.unwrap_err().code, Code::Bound);
    }
    let bob = world.somebody("bob", "", "owner").await;
    control.user_update(&bob, (&alice.user, revision), disabled).await.unwrap();
    let password = Secret::new("the password of alice".to_owned());
    let out = control.session_create("alice", password, [192, 0, 2, 1].into()).await.unwrap_err();
    assert_eq!(out.code, Code::LoginRefused);
}

#[tokio::test]
async fn tokens_are_seen_and_ended_by_whom_they_belong_to() {
    let world = World::new().await;
    let control = &world.control;
    let (alice, eve) =
        (world.somebody("alice", "", "viewer").await, world.somebody("eve", "", "viewer").await);
    let shown = control.token_create(&alice, "ci", &["api:read"], 60_000).await.unwrap();
    let [token] = &control.token_list(&alice, None).await.unwrap()[..] else { panic!("one") };
    assert_eq!((&*token.name, &*token.scopes), ("ci", &["api:read".to_owned()][..]));
    assert_eq!(control.session_list(&alice, None).await.unwrap().len(), 1);
    let spied = control.token_list(&eve, Some(&alice.user)).await.unwrap_err();
    assert_eq!(spied.code, Code::Forbidden);
    assert_eq!(control.token_delete(&eve, &token.id).await.unwrap_err().code, Code::NotFound);
    let narrow = control.caller(shown.reveal()).await.unwrap();
    assert!(control.token_list(&narrow, None).await.is_err(), "it was made for less");
    control.token_delete(&alice, &token.id).await.unwrap();
    assert_eq!(control.caller(shown.reveal()).await.unwrap_err().code, Code::LoginRequired);
}

#[tokio::test]
async fn settings_hold_what_they_may_and_are_obeyed() {
    let world = World::new().await;
    let (control, root) = (&world.control, &world.root);
    let wrong = control.setting_update(root, "session_hours", 0, &json!(0)).await.unwrap_err();
    assert_eq!(wrong.findings[0].pointer, "/value");
    let unknown = control.setting_update(root, "colour", 0, &json!(1)).await.unwrap_err();
    assert_eq!(unknown.code, Code::NotFound);
    let set = control.setting_update(root, "session_hours", 0, &json!(1)).await.unwrap();
    let late = control.setting_update(root, "session_hours", 0, &json!(2)).await.unwrap_err();
    assert_eq!((set.revision, late.revision), (1, Some(1)));
    world.somebody("alice", "", "viewer").await;
    let password = Secret::new("the password of alice".to_owned());
    let session = control.session_create("alice", password, [192, 0, 2, 1].into()).await.unwrap();
    world.clock.advance(Duration::from_secs(3_600));
    assert!(control.caller(session.shown.reveal()).await.is_err());
    control.setting_delete(root, "session_hours", 1).await.unwrap();
    let back = control.setting_get(root, "session_hours").await.unwrap();
    assert_eq!((back.value, back.revision), (json!(12), 0));
}

#[tokio::test]
async fn the_trail_is_searched_exported_and_verified_after_its_upkeep() {
    let world = World::new().await;
    let (control, root) = (&world.control, &world.root);
    let (one, two) = (world.workspace("one").await, world.workspace("two").await);
    world.clock.advance(DAY);
    let noon_ms = i64::try_from(base::clock::unix_ms(world.clock.wall())).unwrap();
    control.workspace_update(root, (&one, 1), "uno", "").await.unwrap();
    assert!(control.upkeep("this process").await.unwrap());
    assert!(!control.upkeep("another").await.unwrap(), "one does it for all");
    assert_eq!(control.audit_verify(root).await.unwrap(), Ok(3));

    let none = Narrowed::default();
    let count = async |workspace: Option<&str>, narrowed: Narrowed<'_>| {
        let ask = Ask::default();
        control.audit_list(root, workspace, &narrowed, &ask).await.unwrap().items.len()
    };
    assert_eq!(count(None, none).await, 3);
    assert_eq!((count(Some(&one), none).await, count(Some(&two), none).await), (2, 1));
    assert_eq!(count(None, Narrowed { from_ms: Some(noon_ms), ..none }).await, 1);
    assert_eq!(count(None, Narrowed { until_ms: Some(noon_ms), ..none }).await, 2);
    assert_eq!(count(None, Narrowed { actor: "system:test", ..none }).await, 3);
    assert_eq!(count(None, Narrowed { actor: "nobody", ..none }).await, 0);
    let its = Narrowed { noun: "workspace", subject: &one, ..none };
    assert_eq!(count(None, its).await, 2);

    let ask = Ask { limit: 2, ..Ask::default() };
    let first = control.audit_list(root, None, &none, &ask).await.unwrap();
    let ask = Ask { after: first.next.as_deref().unwrap(), ..ask };
    let second = control.audit_list(root, None, &none, &ask).await.unwrap();
    assert_eq!((second.items.len(), second.next), (1, None));
    assert_eq!(first.items[0].became.as_ref().unwrap()["name"], "uno");

    let (lines, last) = control.audit_export(root, None, &none, (0, 99)).await.unwrap().unwrap();
    let lines: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[0]["at"]), (3, &json!("2026-01-01T00:00:00Z")));
    assert_eq!(lines[2]["seal"].as_str().unwrap().len(), 64);
    assert_eq!(control.audit_export(root, None, &none, (last, 99)).await.unwrap(), None);

    let viewer = world.somebody("alice", &one, "auditor").await;
    control.audit_list(&viewer, Some(&one), &none, &Ask::default()).await.unwrap();
    let all = control.audit_list(&viewer, None, &none, &Ask::default()).await.unwrap_err();
    assert_eq!(all.code, Code::Forbidden);
}

#[tokio::test]
async fn a_request_that_comes_again_is_answered_as_before() {
    let world = World::new().await;
    let control = &world.control;
    let (alice, eve) =
        (world.somebody("alice", "", "owner").await, world.somebody("eve", "", "owner").await);
    let take = async |caller: &Caller, request: &[u8]| {
        control.idempotency_take(caller, "key-1", request).await
    };
    assert_eq!(take(&alice, b"POST /a").await, Ok(Turn::First));
    let open = take(&alice, b"POST /a").await.unwrap_err();
    assert_eq!((open.code, take(&eve, b"POST /b").await), (Code::Conflict, Ok(Turn::First)));
    let answer = Secret::new("{\"shown\":\"yett_1\"}".to_owned());
    control.idempotency_answer(&alice, "key-1", 201, &answer).await.unwrap();
    let again = take(&alice, b"POST /a").await.unwrap();
    assert_eq!(again, Turn::Again { status: 201, answer });
    let other = take(&alice, b"POST /c").await.unwrap_err();
    assert_eq!(other.code, Code::Conflict);
    control.idempotency_release(&eve, "key-1").await.unwrap();
    assert_eq!(take(&eve, b"POST /c").await, Ok(Turn::First));
    world.clock.advance(DAY);
    assert_eq!(take(&alice, b"POST /c").await, Ok(Turn::First), "it is forgotten");
    assert_eq!(control.idempotency_take(&alice, "é", b"").await.unwrap_err().code, Code::Invalid);
}

#[tokio::test]
async fn the_trail_is_kept_for_ever_unless_somebody_says_for_how_long() {
    let world = World::new().await;
    let (control, root) = (&world.control, &world.root);
    for name in ["a", "b", "c"] {
        world.workspace(name).await;
    }
    let kept = async || {
        control.upkeep("test").await.unwrap();
        world.store.audit_list(0, 99).await.unwrap().len()
    };
    assert_eq!(kept().await, 3);
    world.clock.step_wall(31 * 86_400);
    assert_eq!(kept().await, 3);
    let wrong = control.setting_update(root, "audit_days", 0, &json!(7)).await.unwrap_err();
    assert_eq!(wrong.code, Code::Invalid);
    control.setting_update(root, "audit_days", 0, &json!(30)).await.unwrap();
    assert_eq!(kept().await, 2, "that it was set, and that the others went");
    assert_eq!(kept().await, 2);
    assert!(control.audit_verify(root).await.unwrap().is_ok());
}
