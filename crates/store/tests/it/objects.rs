use super::kit::{self, workspace};
use base::Clock;
use store::Error;
use store::audit::Actor;
use store::object::{Change, Object, Place, Written};
use store::outbox::Followed;

fn written<'a>(name: &'a str, body: &'a str) -> Written<'a> {
    Written { name, position: 0, body }
}

#[tokio::test]
async fn what_is_taken_out_goes_with_all_its_parts_and_the_trail_has_each() {
    for place in kit::Place::both() {
        let store = place.open(&Clock::manual()).await;
        let team = workspace(&store, "team").await;
        let mut write = store.write(Actor::system("test")).await.unwrap();
        let top = |kind| Place { workspace: &team, kind, owner: "" };
        let api = write.object_create(top("api"), written("orders", "{}")).await.unwrap();
        let of = Place { workspace: &team, kind: "route", owner: &api.id };
        let route = write.object_create(of, written("list", "{}")).await.unwrap();
        let of = Place { workspace: &team, kind: "policy", owner: &route.id };
        write.object_create(of, written("jwt", "{}")).await.unwrap();
        write.object_create(top("upstream"), written("orders", "{}")).await.unwrap();
        write.commit().await.unwrap();
        assert_eq!(store.draft(&team).await.unwrap().len(), 4);

        let mut write = store.write(Actor::system("test")).await.unwrap();
        write.object_delete((&team, "api", &api.id), 1).await.unwrap();
        write.commit().await.unwrap();
        let left = store.draft(&team).await.unwrap();
        assert_eq!(left.iter().map(|it| &*it.kind).collect::<Vec<_>>(), ["upstream"]);
        let deleted = store.audit_list(0, 99).await.unwrap();
        assert_eq!(deleted.iter().filter(|it| it.action == "delete").count(), 3);
    }
}

#[tokio::test]
async fn no_workspace_reaches_what_another_has() {
    for place in kit::Place::both() {
        let store = place.open(&Clock::manual()).await;
        let (one, two) = (workspace(&store, "one").await, workspace(&store, "two").await);
        let mut write = store.write(Actor::system("test")).await.unwrap();
        let top = Place { workspace: &one, kind: "api", owner: "" };
        let api = write.object_create(top, written("orders", "{}")).await.unwrap();
        // Another workspace may have one of the same name.
        let top = Place { workspace: &two, kind: "api", owner: "" };
        write.object_create(top, written("orders", "{}")).await.unwrap();
        write.commit().await.unwrap();
        assert!(matches!(store.object_get(&two, "api", &api.id).await, Err(Error::Missing)));
        assert!(matches!(store.object_get(&one, "upstream", &api.id).await, Err(Error::Missing)));
        let mut write = store.write(Actor::system("test")).await.unwrap();
        let changed = write.object_update((&two, "api", &api.id), 1, written("mine", "{}")).await;
        assert!(matches!(changed, Err(Error::Missing)), "{changed:?}");
        let deleted = write.object_delete((&two, "api", &api.id), 1).await;
        assert!(matches!(deleted, Err(Error::Missing)), "{deleted:?}");
    }
}

#[tokio::test]
async fn a_change_needs_the_revision_that_is_there() {
    for place in kit::Place::both() {
        let store = place.open(&Clock::manual()).await;
        let team = workspace(&store, "team").await;
        let mut write = store.write(Actor::system("test")).await.unwrap();
        let top = Place { workspace: &team, kind: "api", owner: "" };
        let api = write.object_create(top, written("orders", "{}")).await.unwrap();
        let at = (&*team, "api", &*api.id);
        let changed = write.object_update(at, 1, written("orders", "{\"a\":1}")).await.unwrap();
        assert_eq!((changed.revision, &*changed.body), (2, "{\"a\":1}"));
        let late = write.object_update(at, 1, written("orders", "{}")).await;
        assert!(matches!(late, Err(Error::Changed(2))), "{late:?}");
        write.commit().await.unwrap();
        assert_eq!(store.object_get(&team, "api", &api.id).await.unwrap(), changed);
    }
}

#[tokio::test]
async fn many_change_at_once_or_none_and_the_trail_has_each() {
    for place in kit::Place::both() {
        let store = place.open(&Clock::manual()).await;
        let team = workspace(&store, "team").await;
        let made = |at: usize| Object {
            id: format!("id{at}"),
            workspace: team.clone(),
            kind: "upstream".to_owned(),
            owner: String::new(),
            name: format!("u{at}"),
            position: 0,
            body: "{}".to_owned(),
            revision: 1,
            created_ms: 0,
            updated_ms: 0,
        };
        let all: Vec<Object> = (0..150).map(made).collect();
        let mut position = store.outbox_position().await.unwrap();
        let mut write = store.write(Actor::system("test")).await.unwrap();
        let creates: Vec<Change<'_>> = all.iter().map(Change::Create).collect();
        write.objects_change(&team, &creates).await.unwrap();
        write.commit().await.unwrap();
        assert_eq!(store.draft(&team).await.unwrap().len(), 150);
        let trail = store.audit_list(0, 999).await.unwrap().len();

        // The last of the new ones has the name of one that goes.
        let became: Vec<Object> = all
            .iter()
            .map(|it| Object { body: "[1]".to_owned(), revision: 2, ..it.clone() })
            .collect();
        let again = Object { id: "new".to_owned(), ..made(149) };
        let mut changes: Vec<Change<'_>> =
            all.iter().zip(&became).take(70).map(|(was, it)| Change::Update(was, it)).collect();
        changes.push(Change::Create(&again));
        changes.extend(all.iter().skip(80).map(Change::Delete));
        let mut write = store.write(Actor::system("test")).await.unwrap();
        write.objects_change(&team, &changes).await.unwrap();
        write.commit().await.unwrap();
        let draft = store.draft(&team).await.unwrap();
        let count = |revision| draft.iter().filter(|it| it.revision == revision).count();
        assert_eq!((draft.len(), count(1), count(2)), (81, 11, 70));
        assert_eq!(store.audit_list(0, 999).await.unwrap().len() - trail, changes.len());
        let Followed::Events(told) = store.outbox_follow(&mut position, 999).await.unwrap() else {
            panic!("nothing is lost so soon");
        };
        assert_eq!(told.iter().filter(|it| it.topic == "config.apply").count(), 2);

        let mut write = store.write(Actor::system("test")).await.unwrap();
        let late = write.objects_change(&team, &changes).await;
        assert!(matches!(late, Err(Error::Changed(_))), "{late:?}");
        drop(write);
        let mut write = store.write(Actor::system("test")).await.unwrap();
        let taken = write.objects_change(&team, &[Change::Create(&made(3))]).await;
        assert!(matches!(taken, Err(Error::Taken)), "{taken:?}");
        drop(write);
        let mut write = store.write(Actor::system("test")).await.unwrap();
        let bound = write.objects_change("nobody", &[]).await;
        assert!(matches!(bound, Err(Error::Bound)), "{bound:?}");
    }
}
