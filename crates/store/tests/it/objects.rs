use super::kit::{self, workspace};
use base::Clock;
use store::Error;
use store::audit::Actor;
use store::object::{Place, Written};

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
