use super::kit::Place;
use base::Clock;
use std::time::Duration;
use store::Error;
use store::audit::Actor;
use store::workspace::Written;

fn written(name: &str) -> Written<'_> {
    Written { name, title: "", grants: "{}" }
}

const LENGTH: Duration = Duration::from_secs(10);

#[tokio::test]
async fn work_has_one_holder_and_a_paused_one_does_no_harm() {
    for place in Place::both() {
        let clock = Clock::manual();
        let store = place.open(&clock).await;
        let take = async |holder: &str| store.lease_take("seal", holder, LENGTH).await.unwrap();
        let first = take("one").await.unwrap();
        assert_eq!(take("two").await, None);
        clock.advance(LENGTH / 2);
        assert_eq!(take("one").await.unwrap().epoch, first.epoch, "who has it keeps it");
        clock.advance(LENGTH / 2);
        assert_eq!(take("two").await, None, "it was extended");
        clock.advance(LENGTH / 2);
        let second = take("two").await.unwrap();
        assert!(second.epoch > first.epoch);

        let mut write = store.write(Actor::system("two")).await.unwrap();
        write.lease_hold(&second).await.unwrap();
        write.commit().await.unwrap();
        let mut write = store.write(Actor::system("one")).await.unwrap();
        let held = write.lease_hold(&first).await;
        assert!(matches!(held, Err(Error::Changed(epoch)) if epoch == second.epoch), "{held:?}");
    }
}

#[tokio::test]
async fn a_leader_that_was_paused_does_no_harm_when_it_goes_on() {
    let place = Place::postgres();
    let clock = Clock::manual();
    let (one, two) = (place.open(&clock).await, place.open(&clock).await);
    let first = one.lease_take("seal", "one", LENGTH).await.unwrap().unwrap();
    // It is paused between two of its transactions, and another takes over.
    let paused = one.write(Actor::system("one")).await.unwrap();
    clock.advance(LENGTH);
    let second = two.lease_take("seal", "two", LENGTH).await.unwrap().unwrap();
    let mut write = two.write(Actor::system("two")).await.unwrap();
    write.lease_hold(&second).await.unwrap();
    write.workspace_create(written("two")).await.unwrap();
    write.commit().await.unwrap();
    let mut paused = paused;
    let held = paused.lease_hold(&first).await;
    assert!(matches!(held, Err(Error::Changed(epoch)) if epoch == second.epoch), "{held:?}");
    drop(paused);
    assert_eq!(one.workspace_list("", 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_leader_that_is_paused_in_a_transaction_keeps_the_lease_and_holds_nobody_up() {
    let place = Place::postgres();
    let clock = Clock::manual();
    let (one, two) = (place.open(&clock).await, place.open(&clock).await);
    let first = one.lease_take("seal", "one", LENGTH).await.unwrap().unwrap();
    let mut write = one.write(Actor::system("one")).await.unwrap();
    write.lease_hold(&first).await.unwrap();
    write.workspace_create(written("one")).await.unwrap();
    clock.advance(LENGTH);
    // It would be told that nobody has it while somebody still writes by it.
    let taken = two.lease_take("seal", "two", LENGTH).await;
    assert!(matches!(taken, Err(Error::Unavailable(_))), "{taken:?}");
    two.workspace_list("", 9).await.unwrap();
    write.commit().await.unwrap();
    let second = two.lease_take("seal", "two", LENGTH).await.unwrap().unwrap();
    assert!(second.epoch > first.epoch);
}
