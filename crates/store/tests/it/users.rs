use super::kit::Place;
use base::Clock;
use std::time::Duration;
use store::audit::Actor;
use store::user::Written;
use store::{Error, Store, login};

async fn alice(store: &Store) -> String {
    let mut write = store.write(Actor::system("test")).await.unwrap();
    let written = Written { name: "alice", email: "a@example.com", is_disabled: false };
    let made = write.user_create(written).await.unwrap();
    write.commit().await.unwrap();
    made.id
}

async fn log_in(store: &Store, holder: &str, kind: &'static str, hash: &[u8]) {
    let mut write = store.write(Actor::system("test")).await.unwrap();
    let expires_ms = write.at_ms() + 60_000;
    let written = login::Written { hash, holder, kind, name: "", scopes: "", expires_ms };
    write.login_create(written).await.unwrap();
    write.commit().await.unwrap();
}

#[tokio::test]
async fn logins_are_found_by_their_hash_until_they_expire() {
    for place in Place::both() {
        let clock = Clock::manual();
        let store = place.open(&clock).await;
        let id = alice(&store).await;
        log_in(&store, &id, "session", b"one").await;
        assert_eq!(store.login_find(b"one").await.unwrap().unwrap().holder, id);
        assert_eq!(store.login_find(b"two").await.unwrap(), None);
        clock.advance(Duration::from_secs(60));
        assert_eq!(store.login_find(b"one").await.unwrap(), None);
        let mut write = store.write(Actor::system("test")).await.unwrap();
        assert_eq!(write.login_sweep().await.unwrap(), 1);
    }
}

#[tokio::test]
async fn a_link_logs_in_once_and_is_no_session() {
    for place in Place::both() {
        let store = place.open(&Clock::manual()).await;
        let id = alice(&store).await;
        log_in(&store, &id, "link", b"link").await;
        assert_eq!(store.login_find(b"link").await.unwrap(), None);
        for expected in [true, false] {
            let mut write = store.write(Actor::system("test")).await.unwrap();
            assert_eq!(write.login_take(b"link").await.unwrap().is_some(), expected);
            write.commit().await.unwrap();
        }
    }
}

#[tokio::test]
async fn whoever_is_disabled_or_gets_a_new_password_loses_all_logins() {
    for place in Place::both() {
        let store = place.open(&Clock::manual()).await;
        let id = alice(&store).await;
        log_in(&store, &id, "session", b"one").await;
        let mut write = store.write(Actor::system("test")).await.unwrap();
        write.user_password_set(&id, Some("$argon2id$example")).await.unwrap();
        write.commit().await.unwrap();
        assert_eq!(store.login_find(b"one").await.unwrap(), None);
        log_in(&store, &id, "token", b"two").await;
        let mut write = store.write(Actor::system("test")).await.unwrap();
        let written = Written { name: "alice", email: "", is_disabled: true };
        write.user_update(&id, 1, written).await.unwrap();
        write.commit().await.unwrap();
        assert_eq!(store.login_find(b"two").await.unwrap(), None);
        assert_eq!(store.user_proof("alice").await.unwrap().unwrap().is_disabled, 1);
        let trail = store.audit_list(0, 99).await.unwrap();
        assert!(trail.iter().all(|entry| !format!("{entry:?}").contains("argon2id")), "{trail:?}");
    }
}

#[tokio::test]
async fn users_have_roles_until_they_are_taken() {
    for place in Place::both() {
        let store = place.open(&Clock::manual()).await;
        assert!(!store.has_users().await.unwrap());
        let id = alice(&store).await;
        assert!(store.has_users().await.unwrap());
        let mut write = store.write(Actor::system("test")).await.unwrap();
        write.user_role_add(&id, "", "owner").await.unwrap();
        write.user_role_add(&id, "", "owner").await.unwrap();
        write.user_role_add(&id, "team", "viewer").await.unwrap();
        write.user_role_remove(&id, "", "owner").await.unwrap();
        write.commit().await.unwrap();
        let roles: Vec<_> =
            store.user_roles(&id).await.unwrap().into_iter().map(|it| it.role).collect();
        assert_eq!(roles, ["viewer"]);
        let mut write = store.write(Actor::system("test")).await.unwrap();
        let stranger = write.user_role_add("nobody", "", "owner").await;
        assert!(matches!(stranger, Err(Error::Bound)), "{stranger:?}");
    }
}

#[tokio::test]
async fn an_issuer_knows_a_user_by_its_subject_and_no_other_issuer_does() {
    for place in Place::both() {
        let store = place.open(&Clock::manual()).await;
        alice(&store).await;
        let of = ("https://idp.test", "1");
        let written = Written { name: "bob", email: "a@example.com", is_disabled: false };
        let mut write = store.write(Actor::system("test")).await.unwrap();
        let made = write.user_create_of(of, written).await.unwrap();
        write.commit().await.unwrap();
        assert_eq!((made.issuer.as_deref(), made.subject.as_deref()), (Some(of.0), Some(of.1)));
        assert_eq!(store.user_of(of.0, of.1).await.unwrap().unwrap(), made);
        for (issuer, subject) in [("https://other.test", "1"), (of.0, "2"), ("", "")] {
            assert_eq!(store.user_of(issuer, subject).await.unwrap(), None);
        }
        let mut write = store.write(Actor::system("test")).await.unwrap();
        let written = Written { name: "carol", ..written };
        assert!(matches!(write.user_create_of(of, written).await, Err(Error::Taken)));
    }
}
