use super::kit::{Place, workspace};
use base::Clock;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use store::audit::Actor;
use store::backup::Dumped;
use store::envelope::{Keys, of_secret};
use store::login;
use store::restore::{Former, restore, verify};
use store::tables::TABLES;
use store::user::Written;
use store::{Error, Location, Store};

/// A database with something in most of its tables.
async fn full(store: &Store, keys: &Keys) -> String {
    let team = workspace(store, "team").await;
    let mut write = store.write(Actor::system("test")).await.unwrap();
    let written = Written { name: "alice", email: "a\n\"é\\", is_disabled: false };
    let alice = write.user_create(written).await.unwrap().id;
    let hash = [0, 1, 2, 255];
    let (kind, name, scopes) = ("token", "ci", "");
    let expires_ms = write.at_ms() + 1_000;
    let written = login::Written { hash: &hash, holder: &alice, kind, name, scopes, expires_ms };
    write.login_create(written).await.unwrap();
    let sealed = keys.seal(&of_secret(&team, "token"), b"open sesame").unwrap();
    write.secret_create((&team, "token"), &sealed).await.unwrap();
    for at in 0..3 {
        let config = format!("version: {at}\n");
        write.revision_create(&team, at, &config, "", None).await.unwrap();
    }
    write.audit_seal().await.unwrap();
    write.commit().await.unwrap();
    team
}

async fn dump(store: &Store) -> (String, Dumped) {
    let mut text = Vec::new();
    let dumped = store.dump(&mut text).await.unwrap();
    (String::from_utf8(text).unwrap(), dumped)
}

#[tokio::test]
async fn a_dump_makes_the_same_database_on_either_kind() {
    for [from, to] in [
        [Place::sqlite(), Place::postgres()],
        [Place::postgres(), Place::sqlite()],
        [Place::postgres(), Place::postgres()],
    ] {
        let clock = Clock::manual();
        let store = from.open(&clock).await;
        let keys = Keys::generate().unwrap();
        let team = full(&store, &keys).await;
        let (text, dumped) = dump(&store).await;
        assert!(!text.contains("sesame"));
        assert_eq!(verify(text.as_bytes()).unwrap(), dumped);
        let restored = restore(&to.location, &clock, Former::Stays, text.as_bytes()).await.unwrap();
        assert_eq!(restored, dumped);
        let copy = to.open(&clock).await;
        assert_eq!(dump(&copy).await.0, text, "the dump of what was restored is the same");
        assert!(copy.audit_verify().await.unwrap().is_ok());
        let (_, sealed) = copy.secret_values(&team).await.unwrap().remove(0);
        assert_eq!(keys.open(&of_secret(&team, "token"), &sealed).unwrap(), b"open sesame");
        // What is written later gets numbers of its own.
        workspace(&copy, "later").await;
        assert_eq!(copy.revision_last(&team).await.unwrap(), 3);
        let again = restore(&to.location, &clock, Former::Stays, text.as_bytes()).await;
        assert!(matches!(again, Err(Error::Taken)), "{again:?}");
    }
}

#[tokio::test]
async fn a_dump_that_is_not_whole_restores_nothing() {
    let clock = Clock::manual();
    let place = Place::sqlite();
    let store = place.open(&clock).await;
    full(&store, &Keys::generate().unwrap()).await;
    let (text, _) = dump(&store).await;
    let lines: Vec<&str> = text.lines().collect();
    let without = |at: usize| {
        let kept = lines.iter().enumerate().filter(|(it, _)| *it != at).map(|(_, line)| *line);
        kept.collect::<Vec<_>>().join("\n") + "\n"
    };
    let wrong = [
        String::new(),
        text.get(..text.len() / 2).unwrap().to_owned(),
        without(lines.len() - 1),
        without(2),
        text.replace("team", "meat"),
        format!("{text}[]\n"),
        text.replacen("\"workspace\"", "\"migration\"", 1),
        text.replacen("[\"id\",", "[\"id) SELECT 1; --\",", 1),
    ];
    for wrong in wrong {
        for to in Place::both() {
            let begin: String = wrong.chars().take(80).collect();
            assert!(verify(wrong.as_bytes()).is_err(), "{begin}");
            let restored = restore(&to.location, &clock, Former::Stays, wrong.as_bytes()).await;
            assert!(restored.is_err(), "{begin}");
            // The next one finds it empty.
            let restored = restore(&to.location, &clock, Former::Stays, text.as_bytes()).await;
            restored.unwrap();
        }
    }
    let newer = text.replacen(&format!("\"schema\":{}", store::NEWEST), "\"schema\":9999", 1);
    assert!(matches!(verify(newer.as_bytes()), Err(Error::Newer(9999))));
}

#[tokio::test]
async fn every_table_and_column_is_in_a_dump_or_only_of_the_moment() {
    let place = Place::sqlite();
    place.open(&Clock::manual()).await.close().await;
    let text =
        "SELECT m.name || '.' || p.name FROM sqlite_master m JOIN pragma_table_info(m.name) p
        WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%'
            AND m.name NOT IN ('outbox', 'lease', 'idempotency', 'migration')";
    let said = place.run(text);
    let there: BTreeSet<&str> = said.lines().collect();
    let dumped: Vec<String> = TABLES
        .iter()
        .flat_map(|table| table.columns.iter().map(|(name, _)| format!("{}.{name}", table.name)))
        .collect();
    assert_eq!(there, dumped.iter().map(|it| &**it).collect());
}

#[tokio::test]
async fn a_dump_is_what_was_there_at_one_moment_and_nobody_waits_for_it() {
    let clock = Clock::manual();
    for place in Place::both() {
        let store = place.open(&clock).await;
        full(&store, &Keys::generate().unwrap()).await;
        let before = dump(&store).await.0;
        let mut open = store.write(Actor::system("test")).await.unwrap();
        let written = Written { name: "bob", email: "", is_disabled: false };
        open.user_create(written).await.unwrap();
        assert_eq!(dump(&store).await.0, before);
        open.commit().await.unwrap();
        assert_ne!(dump(&store).await.0, before);
    }
}

#[tokio::test]
async fn what_is_replaced_is_kept_beside_and_a_damaged_dump_replaces_nothing() {
    let clock = Clock::manual();
    let from = Place::sqlite();
    let store = from.open(&clock).await;
    full(&store, &Keys::generate().unwrap()).await;
    let (text, _) = dump(&store).await;
    for to in Place::both() {
        let there = to.open(&clock).await;
        workspace(&there, "former").await;
        let former = dump(&there).await.0;
        there.close().await;
        let damaged = text.replace("team", "meat");
        let refused = restore(&to.location, &clock, Former::Goes, damaged.as_bytes()).await;
        assert!(matches!(refused, Err(Error::Corrupt(_))), "{refused:?}");
        let there = to.open(&clock).await;
        assert_eq!(dump(&there).await.0, former);
        there.close().await;
        restore(&to.location, &clock, Former::Goes, text.as_bytes()).await.unwrap();
        assert_eq!(dump(&to.open(&clock).await).await.0, text);
        if let Location::Sqlite(path) = &to.location {
            let path = path.with_extension("db.replaced");
            let kept = Store::open_there(&Location::Sqlite(path), &clock).await.unwrap();
            assert_eq!(dump(&kept).await.0, former);
        }
    }
}

#[tokio::test]
async fn what_looks_at_a_database_makes_none_and_changes_no_schema() {
    let clock = Clock::manual();
    for place in Place::both() {
        let opened = Store::open_there(&place.location, &clock).await;
        assert!(matches!(opened, Err(Error::Missing)), "{opened:?}");
        let older = Store::open_as(&place.location, &clock, store::NEWEST - 1).await.unwrap();
        older.close().await;
        for _ in 0..2 {
            let opened = Store::open_there(&place.location, &clock).await;
            assert!(matches!(opened, Err(Error::Older(_))), "{opened:?}");
        }
        place.open(&clock).await.close().await;
        Store::open_there(&place.location, &clock).await.unwrap().close().await;
        place.run("INSERT INTO migration (number, at_ms) VALUES (9999, 0)");
        let opened = Store::open_there(&place.location, &clock).await;
        assert!(matches!(opened, Err(Error::Newer(9999))), "{opened:?}");
    }
}

#[tokio::test]
async fn a_disk_that_takes_no_more_fails_the_dump() {
    struct Full(usize);
    impl io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let store = Place::sqlite();
    let store = store.open(&Clock::manual()).await;
    full(&store, &Keys::generate().unwrap()).await;
    let mut most = Full(1_000);
    most.flush().unwrap();
    let dumped = store.dump(most).await;
    assert!(matches!(dumped, Err(Error::Unavailable(_))), "{dumped:?}");
}

#[tokio::test]
async fn the_master_key_is_made_once_and_never_while_something_is_encrypted() {
    let clock = Clock::manual();
    for place in Place::both() {
        let store = place.open(&clock).await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        let keys = store.keys_open(&path).await.unwrap();
        full(&store, &keys).await;
        assert_eq!(store.keys_open(&path).await.unwrap(), keys);
        fs::remove_file(&path).unwrap();
        let gone = store.keys_open(&path).await.unwrap_err();
        assert!(gone.contains("the master key is gone") && !path.exists(), "{gone}");
        Keys::make(&path).unwrap();
        let other = store.keys_open(&path).await.unwrap_err();
        assert!(other.contains("this is not the master key"), "{other}");
    }
}
