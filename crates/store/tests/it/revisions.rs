use super::kit::{Place, workspace};
use base::Clock;
use store::Error;
use store::audit::Actor;

#[tokio::test]
async fn revisions_are_numbered_without_gaps_and_of_two_who_publish_one_wins() {
    for place in Place::both() {
        let store = place.open(&Clock::manual()).await;
        let team = workspace(&store, "team").await;
        let publish = async |last| {
            let mut write = store.write(Actor::system("test")).await.unwrap();
            let made = write.revision_create(&team, last, "version: 1\n", "why", None).await;
            write.commit().await.unwrap();
            made.map(|it| it.number)
        };
        assert_eq!(publish(0).await.unwrap(), 1);
        let (one, two) = tokio::join!(publish(1), publish(1));
        assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
        assert_eq!(store.revision_last(&team).await.unwrap(), 2);
        assert!(matches!(publish(1).await, Err(Error::Changed(2))));
        let mut write = store.write(Actor::system("test")).await.unwrap();
        let strange = write.revision_create("nobody", 0, "", "", None).await;
        assert!(matches!(strange, Err(Error::Bound)), "{strange:?}");
    }
}

#[tokio::test]
async fn a_revision_that_was_tampered_with_is_not_served() {
    for place in Place::both() {
        let store = place.open(&Clock::manual()).await;
        let team = workspace(&store, "team").await;
        let mut write = store.write(Actor::system("test")).await.unwrap();
        write.revision_create(&team, 0, "version: 1\n", "", None).await.unwrap();
        write.commit().await.unwrap();
        assert_eq!(store.revision_get(&team, 1).await.unwrap().config, "version: 1\n");
        place.run("UPDATE revision SET config = 'version: 2'");
        assert!(matches!(store.revision_get(&team, 1).await, Err(Error::Corrupt(_))));
    }
}
