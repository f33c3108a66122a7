use super::kit::Place;
use base::Clock;
use std::time::Duration;
use store::Error;
use store::audit::Actor;
use store::outbox::Followed;
use store::workspace::Written;

fn written(name: &str) -> Written<'_> {
    Written { name, title: "A team", grants: "{}" }
}

#[tokio::test]
async fn a_workspace_is_made_changed_and_taken_out() {
    for place in Place::both() {
        let clock = Clock::manual();
        let store = place.open(&clock).await;
        let mut position = store.outbox_position().await.unwrap();
        let mut write = store.write(Actor::system("test")).await.unwrap();
        let made = write.workspace_create(written("a")).await.unwrap();
        write.commit().await.unwrap();
        assert_eq!(store.workspace_get(&made.id).await.unwrap(), made);
        assert_eq!((made.revision, made.created_ms), (1, made.updated_ms));

        clock.advance(Duration::from_secs(1));
        let mut write = store.write(Actor::system("test")).await.unwrap();
        let changed = write.workspace_update(&made.id, 1, written("b")).await.unwrap();
        write.commit().await.unwrap();
        assert_eq!((changed.revision, changed.updated_ms), (2, made.updated_ms + 1_000));
        assert_eq!(store.workspace_list("", 10).await.unwrap(), std::slice::from_ref(&changed));

        let mut write = store.write(Actor::system("test")).await.unwrap();
        write.workspace_delete(&made.id, 2).await.unwrap();
        write.commit().await.unwrap();
        assert!(matches!(store.workspace_get(&made.id).await, Err(Error::Missing)));
        let Followed::Events(told) = store.outbox_follow(&mut position, 10).await.unwrap() else {
            panic!("nothing was lost");
        };
        let told: Vec<_> = told.into_iter().map(|it| it.topic).collect();
        assert_eq!(told, ["workspace.create", "workspace.update", "workspace.delete"]);
    }
}

#[tokio::test]
async fn of_two_who_change_the_same_one_wins() {
    for place in Place::both() {
        let clock = Clock::manual();
        let store = place.open(&clock).await;
        let mut write = store.write(Actor::system("test")).await.unwrap();
        let id = write.workspace_create(written("a")).await.unwrap().id;
        write.commit().await.unwrap();
        let change = async |name: &str| {
            let mut write = store.write(Actor::system("test")).await.unwrap();
            let changed = write.workspace_update(&id, 1, written(name)).await;
            write.commit().await.unwrap();
            changed
        };
        let (one, two) = tokio::join!(change("b"), change("c"));
        let won = [&one, &two].iter().filter(|it| it.is_ok()).count();
        assert_eq!(won, 1, "{one:?} {two:?}");
        let lost = if one.is_ok() { two } else { one };
        assert!(matches!(lost, Err(Error::Changed(2))), "{lost:?}");
        assert_eq!(store.audit_list(0, 10).await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn a_name_is_had_once_and_what_was_not_committed_never_was() {
    for place in Place::both() {
        let store = place.open(&Clock::manual()).await;
        let mut write = store.write(Actor::system("test")).await.unwrap();
        write.workspace_create(written("a")).await.unwrap();
        drop(write);
        assert_eq!(store.workspace_list("", 10).await.unwrap(), []);
        assert_eq!(store.audit_list(0, 10).await.unwrap(), []);
        let mut write = store.write(Actor::system("test")).await.unwrap();
        write.workspace_create(written("a")).await.unwrap();
        assert!(matches!(write.workspace_create(written("a")).await, Err(Error::Taken)));
    }
}
