use super::kit::Place;
use base::Clock;
use std::fs;
use store::{After, Error, Filter, NEWEST, Store};

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

/// What a program of an earlier schema may have written.
const WRITTEN: &[&str] = &["
    INSERT INTO workspace VALUES ('w', 'team', 'A team', '{}', 3, 1, 2);
    INSERT INTO audit (at_ms, actor, action, noun, subject) VALUES (1, 'alice', 'create', 'workspace', 'w');
    INSERT INTO outbox (at_ms, topic, body) VALUES (1, 'workspace.create', 'w');
    INSERT INTO consumer VALUES ('c', 'w', 'shop', '{}', 1, 1, 1);
    INSERT INTO application VALUES ('a', 'c', 'till', '{}', 1, 1, 1);
    INSERT INTO credential VALUES ('k', 'c', 'a', 'api_key', 'hash', 'yett_1', '{}', NULL, 1, 1, 1);
    INSERT INTO yett_user VALUES ('u', 'alice', 'a@example.com', '$argon2id$', NULL, NULL, NULL, 0, 4, 1, 1);
    INSERT INTO role_grant VALUES ('u', '', 'owner');
", "
    INSERT INTO consumer_group VALUES ('c', 'eu');
    UPDATE consumer SET is_suspended = 0, plan = 'gold';
    INSERT INTO role (id, name, permissions, revision, created_ms, updated_ms) VALUES ('r', 'looker', '[]', 1, 1, 1);
    UPDATE credential SET name = 'first';
", "
    INSERT INTO setting VALUES ('session_hours', '1', 1, 1);
", "
    UPDATE role SET about = 'Looks.';
"];

#[tokio::test]
async fn what_earlier_programs_wrote_is_there_after_each_migration() {
    assert_eq!(i64::try_from(WRITTEN.len()).unwrap(), NEWEST - 1, "data for each earlier schema");
    for number in 1..NEWEST {
        for place in Place::both() {
            let clock = Clock::manual();
            for (schema, written) in (1..=number).zip(WRITTEN) {
                let store = Store::open_as(&place.location, &clock, schema).await.unwrap();
                store.close().await;
                place.run(written);
            }
            let store = place.open(&clock).await;
            let team = store.workspace_get("w").await.unwrap();
            assert_eq!((&*team.title, team.revision), ("A team", 3));
            let proof = store.user_proof("alice").await.unwrap().unwrap();
            assert_eq!(proof.password.as_deref(), Some("$argon2id$"));
            let filter = Filter { search: "TIL", ..Filter::default() };
            let found = store.application_list(("w", None), &filter, After::default(), 9).await;
            assert_eq!(found.unwrap()[0].consumer, "c");
            let [record] = &store.directory_credentials("", 9).await.unwrap()[..] else {
                panic!("one credential");
            };
            assert_eq!((&*record.hash, &*record.workspace), (&b"hash"[..], "w"));
            assert_eq!(record.application_name.as_deref(), Some("till"));
            let later = number > 1;
            assert_eq!(record.name, if later { "first" } else { "" });
            let consumer = store.consumer_find("w", "shop").await.unwrap();
            assert_eq!(consumer.plan.as_deref(), later.then_some("gold"));
            assert_eq!(store.role_find("looker").await.is_ok(), later);
            assert_eq!(store.setting_get("session_hours").await.is_ok(), number > 2);
            assert_eq!(store.tally("w", "credential").await.unwrap(), 1);
        }
    }
}

#[tokio::test]
async fn the_schema_file_is_the_sum_of_all_migrations() {
    let place = Place::sqlite();
    place.open(&Clock::manual()).await.close().await;
    let statement = "SELECT sql || char(59) || char(10) FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%'
        ORDER BY type DESC, name";
    let note = "-- What all migrations together make of an empty SQLite database. Written by `YETT_BLESS=1 cargo test -p store`.\n\n";
    let sum = format!("{note}{}", place.run(statement)).trim_end().to_owned() + "\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema.sql");
    if base::env::text("YETT_BLESS").is_some() {
        fs::write(path, &sum).unwrap();
    }
    assert_eq!(fs::read_to_string(path).unwrap_or_default(), sum, "YETT_BLESS=1 writes it anew");
}
