use super::kit::{Place, workspace};
use base::Clock;
use std::time::Duration;
use store::audit::Actor;
use store::outbox::{Followed, KEPT_MS, Position};
use store::workspace::Written;
use store::{Store, Write};

async fn begin(store: &Store, name: &str) -> Write {
    let mut write = store.write(Actor::system("test")).await.unwrap();
    write.workspace_create(Written { name, title: "", grants: "{}" }).await.unwrap();
    write
}

async fn follow(store: &Store, position: &mut Position, limit: usize) -> Vec<i64> {
    let Followed::Events(events) = store.outbox_follow(position, limit).await.unwrap() else {
        panic!("nothing was lost");
    };
    events.into_iter().map(|it| it.id).collect()
}

#[tokio::test]
async fn what_appears_late_is_told_at_once_and_nothing_is_told_twice() {
    let store = Place::postgres();
    let store = store.open(&Clock::manual()).await;
    let mut position = store.outbox_position().await.unwrap();
    // Numbers are given in this order, and appear in another.
    let (first, second, third) =
        (begin(&store, "a").await, begin(&store, "b").await, begin(&store, "c").await);
    second.commit().await.unwrap();
    assert_eq!(follow(&store, &mut position, 9).await, [2]);
    assert_eq!(follow(&store, &mut position, 9).await, [0; 0]);
    third.commit().await.unwrap();
    first.commit().await.unwrap();
    assert_eq!(follow(&store, &mut position, 9).await, [1, 3]);
    assert_eq!(follow(&store, &mut position, 9).await, [0; 0]);
    // One that is given up leaves a gap.
    drop(begin(&store, "d").await);
    begin(&store, "e").await.commit().await.unwrap();
    assert_eq!(follow(&store, &mut position, 9).await, [5]);
}

#[tokio::test]
async fn a_position_that_is_taken_while_others_write_misses_none_of_theirs() {
    let store = Place::postgres();
    let store = store.open(&Clock::manual()).await;
    let early = begin(&store, "a").await;
    begin(&store, "b").await.commit().await.unwrap();
    let mut position = store.outbox_position().await.unwrap();
    early.commit().await.unwrap();
    assert!(follow(&store, &mut position, 9).await.contains(&1));
}

#[tokio::test]
async fn many_events_are_told_in_pieces_even_while_somebody_writes_on() {
    for place in Place::both() {
        let store = place.open(&Clock::manual()).await;
        let mut position = store.outbox_position().await.unwrap();
        let open = if place.is_postgres() { Some(begin(&store, "open").await) } else { None };
        for at in 0..10 {
            workspace(&store, &format!("w{at}")).await;
        }
        let mut told = Vec::new();
        loop {
            let events = follow(&store, &mut position, 3).await;
            assert!(events.len() <= 3, "{events:?}");
            if events.is_empty() {
                break;
            }
            told.extend(events);
        }
        assert_eq!(told.len(), 10, "{told:?}");
        told.dedup();
        assert_eq!(told.len(), 10, "{told:?}");
        drop(open);
    }
}

#[tokio::test]
async fn whoever_was_away_for_longer_than_events_are_kept_is_told_so() {
    for place in Place::both() {
        let clock = Clock::manual();
        let store = place.open(&clock).await;
        let mut position = store.outbox_position().await.unwrap();
        workspace(&store, "a").await;
        clock.advance(Duration::from_millis(2 * KEPT_MS.unsigned_abs() + 1));
        let mut write = store.write(Actor::system("test")).await.unwrap();
        assert_eq!(write.outbox_purge().await.unwrap(), 1);
        write.commit().await.unwrap();
        let followed = store.outbox_follow(&mut position, 9).await.unwrap();
        assert_eq!(followed, Followed::Lost);
        workspace(&store, "b").await;
        assert_eq!(follow(&store, &mut position, 9).await.len(), 1);
    }
}

#[tokio::test]
async fn who_waits_in_the_same_process_is_woken() {
    let store = Place::sqlite();
    let store = store.open(&Clock::manual()).await;
    let mut kept = store.kept();
    assert!(!kept.has_changed().unwrap());
    workspace(&store, "a").await;
    assert!(kept.has_changed().unwrap());
    kept.mark_unchanged();
    drop(begin(&store, "b").await);
    assert!(!kept.has_changed().unwrap(), "nothing was kept");
}
