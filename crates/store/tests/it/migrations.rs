use super::kit::Place;
use base::Clock;
use store::{Error, NEWEST, Store};

#[tokio::test]
async fn many_processes_may_open_a_new_database_at_once() {
    for place in Place::both() {
        let clock = Clock::manual();
        let opened = tokio::join!(place.open(&clock), place.open(&clock), place.open(&clock));
        opened.2.workspace_list("", 1).await.unwrap();
        assert_eq!(place.run("SELECT COUNT(*) FROM migration").trim(), NEWEST.to_string());
    }
}

#[tokio::test]
async fn the_database_of_a_newer_program_is_left_alone() {
    for place in Place::both() {
        let clock = Clock::manual();
        place.open(&clock).await.close().await;
        place.run(&format!("INSERT INTO migration (number, at_ms) VALUES ({}, 0)", NEWEST + 1));
        let refused = Store::open(&place.location, &clock).await.err();
        assert!(
            matches!(refused, Some(Error::Newer(number)) if number == NEWEST + 1),
            "{refused:?}"
        );
    }
}
