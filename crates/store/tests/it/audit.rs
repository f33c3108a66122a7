use super::kit::Place;
use base::Clock;
use store::Store;
use store::audit::{Actor, Flaw};
use store::workspace::Written;

async fn work(store: &Store, names: &[&str]) {
    for name in names {
        let actor = Actor {
            name: "alice".to_owned(),
            address: Some("192.0.2.7".to_owned()),
            request: None,
        };
        let mut write = store.write(actor).await.unwrap();
        write.workspace_create(Written { name, title: "", grants: "[]" }).await.unwrap();
        write.commit().await.unwrap();
    }
}

async fn seal(store: &Store) -> u64 {
    let mut write = store.write(Actor::system("test")).await.unwrap();
    let sealed = write.audit_seal().await.unwrap();
    write.commit().await.unwrap();
    sealed
}

#[tokio::test]
async fn whoever_tampers_with_what_is_sealed_is_noticed() {
    for [tampering, flaw] in [
        [
            "UPDATE audit SET actor = 'bob' WHERE subject = (SELECT id FROM workspace WHERE name = 'b')",
            "Changed(2)",
        ],
        ["UPDATE audit SET became = NULL WHERE id = 3", "Changed(3)"],
        ["UPDATE audit SET at_ms = at_ms + 1 WHERE id = 1", "Changed(1)"],
        ["DELETE FROM audit WHERE id = 2", "Gap(2)"],
        ["DELETE FROM audit WHERE id = 1", "Gap(1)"],
        ["UPDATE audit SET sequence = sequence + 1 WHERE id = 4", "Gap(4)"],
    ] {
        for place in Place::both() {
            let store = place.open(&Clock::manual()).await;
            work(&store, &["a", "b"]).await;
            assert_eq!(seal(&store).await, 2);
            work(&store, &["c", "d"]).await;
            assert_eq!((seal(&store).await, seal(&store).await), (2, 0));
            assert_eq!(store.audit_verify().await.unwrap(), Ok(4));
            place.run(tampering);
            let found = store.audit_verify().await.unwrap().unwrap_err();
            assert_eq!(format!("{found:?}"), flaw, "{tampering}");
            assert!(matches!(found, Flaw::Changed(_) | Flaw::Gap(_)));
        }
    }
}

#[tokio::test]
async fn the_trail_says_who_did_what_and_from_where() {
    for place in Place::both() {
        let store = place.open(&Clock::manual()).await;
        work(&store, &["a"]).await;
        let [entry] = &store.audit_list(0, 10).await.unwrap()[..] else { panic!("one entry") };
        assert_eq!((&*entry.actor, &*entry.action, &*entry.noun), ("alice", "create", "workspace"));
        assert_eq!((entry.address.as_deref(), &entry.was), (Some("192.0.2.7"), &None));
        assert!(entry.became.as_ref().unwrap().contains("\"name\":\"a\""), "{entry:?}");
    }
}

#[tokio::test]
async fn the_beginning_of_the_trail_goes_when_it_is_old_and_only_so() {
    for place in Place::both() {
        let clock = Clock::manual();
        let store = place.open(&clock).await;
        let purge = async |before_ms: i64| {
            let mut write = store.write(Actor::system("test")).await.unwrap();
            let count = write.audit_purge(before_ms).await.unwrap();
            write.commit().await.unwrap();
            count
        };
        work(&store, &["a", "b", "c"]).await;
        seal(&store).await;
        clock.step_wall(100);
        let cut_ms = store.now_ms();
        work(&store, &["d", "e"]).await;
        assert_eq!(purge(i64::MAX).await, 2, "the last row that is sealed stays");
        assert_eq!(purge(i64::MAX).await, 0);
        seal(&store).await;
        assert_eq!(store.audit_verify().await.unwrap(), Ok(6));
        assert_eq!((purge(cut_ms).await, purge(cut_ms).await), (1, 0), "none that is younger");
        seal(&store).await;
        assert_eq!(store.audit_verify().await.unwrap(), Ok(7));
        let names: Vec<String> =
            store.audit_list(0, 10).await.unwrap().into_iter().map(|it| it.noun).collect();
        assert_eq!(names, ["workspace", "workspace", "audit", "audit"]);
        // Whoever takes out more, and says that it went, has to say so in the trail.
        let last = store.audit_sealed(4).await.unwrap().unwrap();
        let last: String = last.iter().map(|byte| format!("{byte:02x}")).collect();
        place.run(&format!(
            "DELETE FROM audit WHERE sequence <= 4; UPDATE setting SET body = '{{\"sequence\":4,\"seal\":\"{last}\"}}' WHERE name = 'audit base'"
        ));
        assert_eq!(store.audit_verify().await.unwrap(), Err(Flaw::Gap(1)));
    }
}
