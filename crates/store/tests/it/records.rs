use super::kit::{Place, workspace};
use base::Clock;
use base::caps::CREDENTIALS_PER_HOLDER_MAX;
use std::time::Duration;
use store::application::Application;
use store::audit::Actor;
use store::consumer::{self, Consumer};
use store::credential::{self, Credential};
use store::directory::{Change, Record};
use store::outbox::Followed;
use store::{After, Error, Filter, Store, Write, application};

async fn begin(store: &Store) -> Write {
    store.write(Actor::system("test")).await.unwrap()
}

fn consumer(name: &str) -> consumer::Written<'_> {
    let body = r#"{"groups":[]}"#;
    consumer::Written { name, title: "", plan: None, is_suspended: false, groups: &[], body }
}

fn application(name: &str) -> application::Written<'_> {
    application::Written { name, title: "", plan: None, is_suspended: false, body: "{}" }
}

fn key(hash: &[u8]) -> credential::Written<'_> {
    let (kind, name, hint, body) = ("api_key", "", "yett_1234", "{}");
    let (password, from_ms, expires_ms) = (None, None, None);
    credential::Written { kind, name, hash, hint, body, password, from_ms, expires_ms }
}

/// A consumer with one application, each with a key.
struct Shop {
    consumer: Consumer,
    application: Application,
    own: Credential,
    its: Credential,
}

impl Shop {
    async fn open(store: &Store, team: &str) -> Self {
        let mut write = begin(store).await;
        let consumer = write.consumer_create(team, consumer("shop")).await.unwrap();
        let application =
            write.application_create((team, &consumer.id), application("till")).await.unwrap();
        let (one, two) = (store.new_id().unwrap(), store.new_id().unwrap());
        let of = (team, &*consumer.id, None);
        let own = write.credential_create(&one, of, key(b"one"), None).await.unwrap();
        let of = (team, &*consumer.id, Some(&*application.id));
        let its = write.credential_create(&two, of, key(b"two"), None).await.unwrap();
        write.commit().await.unwrap();
        Self { consumer, application, own, its }
    }
}

/// Ids of one millisecond are in any order.
fn sorted(records: Vec<Record>) -> Vec<String> {
    let hashes = records.into_iter().map(|it| String::from_utf8(it.hash).unwrap());
    let mut hashes: Vec<String> = hashes.collect();
    hashes.sort_unstable();
    hashes
}

/// The hashes that gateways know of what was changed.
async fn known(store: &Store, change: &Change) -> Vec<String> {
    let records = store.directory_of(change, "", 99).await.unwrap();
    sorted(records)
}

async fn all(store: &Store) -> Vec<String> {
    let records = store.directory_credentials("", 99).await.unwrap();
    sorted(records)
}

async fn changes(store: &Store, position: &mut store::outbox::Position) -> Vec<Change> {
    let Followed::Events(events) = store.outbox_follow(position, 99).await.unwrap() else {
        panic!("nothing was lost");
    };
    let events = events.iter().filter(|it| it.topic == store::directory::TOPIC);
    events.map(|it| Change::parse(&it.body).unwrap()).collect()
}

#[tokio::test]
async fn whoever_follows_learns_what_is_suspended_changed_and_revoked() {
    for place in Place::both() {
        let store = place.open(&Clock::manual()).await;
        let team = workspace(&store, "team").await;
        let shop = Shop::open(&store, &team).await;
        let mut position = store.outbox_position().await.unwrap();
        changes(&store, &mut position).await;
        assert_eq!(all(&store).await, ["one", "two"]);

        let mut write = begin(&store).await;
        let suspended = application::Written { is_suspended: true, ..application("till") };
        let at = (&*team, &*shop.application.id);
        write.application_update(at, 1, suspended).await.unwrap();
        write.commit().await.unwrap();
        let told = changes(&store, &mut position).await;
        let [change] = &told[..] else { panic!("one change: {told:?}") };
        assert_eq!(change.application.as_ref(), Some(&shop.application.id));
        assert_eq!(known(&store, change).await, [""; 0]);
        assert_eq!(all(&store).await, ["one"]);

        let mut write = begin(&store).await;
        write.application_update(at, 2, application("till")).await.unwrap();
        let suspended = consumer::Written { is_suspended: true, ..consumer("shop") };
        let at = (&*team, &*shop.consumer.id);
        write.consumer_update(at, 1, suspended).await.unwrap();
        write.commit().await.unwrap();
        let told = changes(&store, &mut position).await;
        assert_eq!(store.directory_consumer(&told[1]).await.unwrap(), None);
        assert_eq!((told.len(), all(&store).await.len()), (2, 0));

        let mut write = begin(&store).await;
        write.consumer_update(at, 2, consumer("shop")).await.unwrap();
        write.credential_delete((&team, &shop.own.id), None).await.unwrap();
        write.commit().await.unwrap();
        let told = changes(&store, &mut position).await;
        assert_eq!(known(&store, &told[0]).await, ["two"]);
        assert_eq!(told[1].credential.as_ref(), Some(&shop.own.id));
        assert_eq!(known(&store, &told[1]).await, [""; 0]);
        assert_eq!(changes(&store, &mut position).await, [], "each is told once");
    }
}

#[tokio::test]
async fn a_credential_that_has_ended_is_not_known_any_more() {
    for place in Place::both() {
        let clock = Clock::manual();
        let store = place.open(&clock).await;
        let team = workspace(&store, "team").await;
        let shop = Shop::open(&store, &team).await;
        let mut write = begin(&store).await;
        let ends = write.at_ms() + 1_000;
        let at = (&*team, &*shop.its.id);
        let changed = write.credential_update(at, Some(1), "old", (None, Some(ends))).await;
        assert_eq!(changed.unwrap().expires_ms, Some(ends));
        write.commit().await.unwrap();
        assert_eq!(all(&store).await, ["one", "two"]);
        clock.advance(Duration::from_secs(1));
        assert_eq!(all(&store).await, ["one"]);
        let mut write = begin(&store).await;
        let late = write.credential_update(at, Some(1), "", (None, None)).await;
        assert!(matches!(late, Err(Error::Changed(2))), "{late:?}");
    }
}

#[tokio::test]
async fn what_goes_with_a_consumer_has_its_place_in_the_trail() {
    for place in Place::both() {
        let store = place.open(&Clock::manual()).await;
        let team = workspace(&store, "team").await;
        let shop = Shop::open(&store, &team).await;
        assert_eq!(store.tally(&team, "credential").await.unwrap(), 2);
        let mut write = begin(&store).await;
        write.consumer_delete((&team, &shop.consumer.id), 1).await.unwrap();
        write.commit().await.unwrap();
        let trail = store.audit_list(0, 99).await.unwrap();
        let gone = trail.iter().filter(|it| it.action == "delete");
        let gone: Vec<&str> = gone.map(|it| &*it.subject).collect();
        let its = [&shop.own.id, &shop.its.id, &shop.application.id, &shop.consumer.id];
        assert!(gone.len() == 4 && its.iter().all(|id| gone.contains(&&***id)), "{gone:?}");
        for noun in ["consumer", "application", "credential"] {
            assert_eq!(store.tally(&team, noun).await.unwrap(), 0, "{noun}");
        }
        assert!(store.credential_get(&team, &shop.its.id).await.is_err());
    }
}

#[tokio::test]
async fn what_is_shown_belongs_to_one_consumer_of_a_workspace() {
    for place in Place::both() {
        let store = place.open(&Clock::manual()).await;
        let (one, two) = (workspace(&store, "one").await, workspace(&store, "two").await);
        let shop = Shop::open(&store, &one).await;
        let other = Shop::open(&store, &two).await;
        let found = store.credential_find(&two, "api_key", b"one").await.unwrap();
        assert_eq!(found, other.own, "another workspace has credentials of its own");
        for (workspace, consumer, application, hash) in [
            (&*one, &*shop.consumer.id, None, b"one"),
            (&*two, &*shop.consumer.id, None, b"new"),
            (&*one, &*shop.consumer.id, Some(&*other.application.id), b"new"),
        ] {
            let mut write = begin(&store).await;
            let of = (workspace, consumer, application);
            let id = store.new_id().unwrap();
            let made = write.credential_create(&id, of, key(hash), None).await;
            let is_refused = matches!(made, Err(Error::Taken | Error::Missing));
            assert!(is_refused, "{workspace} {consumer} {made:?}");
        }
        let reached = store.credential_get(&two, &shop.own.id).await;
        assert!(matches!(reached, Err(Error::Missing)), "{reached:?}");
    }
}

#[tokio::test]
async fn nobody_has_more_credentials_than_there_may_be() {
    for place in Place::both() {
        let store = place.open(&Clock::manual()).await;
        let team = workspace(&store, "team").await;
        let shop = Shop::open(&store, &team).await;
        let mut write = begin(&store).await;
        let of = (&*team, &*shop.consumer.id, None);
        for at in 1..CREDENTIALS_PER_HOLDER_MAX {
            let id = store.new_id().unwrap();
            write.credential_create(&id, of, key(&at.to_be_bytes()), None).await.unwrap();
        }
        let id = store.new_id().unwrap();
        let more = write.credential_create(&id, of, key(b"more"), None).await;
        assert!(matches!(more, Err(Error::Full(CREDENTIALS_PER_HOLDER_MAX))), "{more:?}");
        // The application has its own.
        let of = (&*team, &*shop.consumer.id, Some(&*shop.application.id));
        write.credential_create(&id, of, key(b"more"), None).await.unwrap();
    }
}

#[tokio::test]
async fn lists_are_narrowed_and_go_on_where_they_ended() {
    for place in Place::both() {
        let store = place.open(&Clock::manual()).await;
        let (team, other) = (workspace(&store, "team").await, workspace(&store, "other").await);
        let mut write = begin(&store).await;
        for (name, title, plan, groups) in [
            ("alpha", "100% Ältere Kunden", Some("gold"), vec!["eu".to_owned()]),
            ("beta", "The shop", Some("gold"), vec!["eu".to_owned(), "us".to_owned()]),
            ("alpine", "Mountains_2", None, vec![]),
        ] {
            let written = consumer::Written { title, plan, groups: &groups, ..consumer(name) };
            let made = write.consumer_create(&team, written).await.unwrap();
            for name in ["web", "app"] {
                let written = application::Written { title, plan, ..application(name) };
                write.application_create((&team, &made.id), written).await.unwrap();
            }
        }
        write.consumer_create(&other, consumer("alpha")).await.unwrap();
        write.commit().await.unwrap();

        let names = async |filter: Filter<'_>| {
            let found = store.consumer_list(&team, &filter, After::default(), 9).await.unwrap();
            found.into_iter().map(|it| it.name).collect::<Vec<_>>().join(" ")
        };
        let none = Filter::default();
        for (filter, expected) in [
            (none, "alpha alpine beta"),
            (Filter { search: "SHOP", ..none }, "beta"),
            (Filter { search: "ÄLTERE", ..none }, "alpha"),
            (Filter { search: "%", ..none }, "alpha"),
            (Filter { search: "_", ..none }, "alpine"),
            (Filter { search: "\\", ..none }, ""),
            (Filter { prefix: "alp", ..none }, "alpha alpine"),
            (Filter { prefix: "%", ..none }, ""),
            (Filter { plan: "gold", ..none }, "alpha beta"),
            (Filter { group: "us", ..none }, "beta"),
            (Filter { group: "eu", search: "shop", ..none }, "beta"),
        ] {
            assert_eq!(names(filter).await, expected, "{filter:?}");
        }

        let mut seen = Vec::new();
        let (mut name, mut id) = (String::new(), String::new());
        loop {
            let after = After { name: &name, id: &id };
            let page = store.application_list((&team, None), &none, after, 4).await.unwrap();
            let Some(last) = page.last() else { break };
            (name, id) = (last.name.clone(), last.id.clone());
            seen.extend(page.into_iter().map(|it| it.id));
            // One that is added before does not show, and hides none.
            let owner = store.consumer_find(&team, "beta").await.unwrap().id;
            let mut write = begin(&store).await;
            let added = format!("a{}", seen.len());
            write.application_create((&team, &owner), application(&added)).await.unwrap();
            write.commit().await.unwrap();
        }
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!((seen.len(), count), (6, 6));
        let beta = store.consumer_find(&team, "beta").await.unwrap().id;
        for (workspace, expected) in [(&team, 4), (&other, 0)] {
            let of = (&**workspace, Some(&*beta));
            let found = store.application_list(of, &none, After::default(), 9).await.unwrap();
            assert_eq!(found.len(), expected, "{found:?}");
        }
        let group = Filter { group: "us", ..none };
        let found = store.application_list((&team, None), &group, After::default(), 9).await;
        assert!(found.unwrap().iter().any(|it| it.name == "web"));
    }
}
