use super::kit::Place;
use base::Clock;
use std::time::Duration;
use store::Error;
use store::audit::Actor;

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
