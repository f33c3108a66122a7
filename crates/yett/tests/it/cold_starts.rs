//! Starts of a gateway whose database is gone: it serves by what it knew last.

use super::client::status_of;
use super::databases::Postgres;
use super::platform::{Person, SHARED_KEY, beside, config, guarded, team, with_keys};
use super::servers::Nginx;
use super::wait;
use super::yett::{Launch, Yett};
use base::Secret;
use control::Caller;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use store::Location;
use testkit::Authority;

/// What somebody with a key is answered.
fn status(yett: &Yett, key: &str) -> u16 {
    let header = format!("x-api-key: {key}");
    status_of(&["-H", &header, &format!("{}/shop", yett.url("public"))])
}

/// Kills a gateway, and starts another one in its folder.
fn killed(mut yett: Yett) -> Yett {
    yett.signal("KILL");
    yett.ended();
    let folder = tempfile::tempdir().unwrap();
    fs::rename(yett.path("state"), folder.path().join("state")).unwrap();
    let config = fs::read_to_string(yett.path("yett.yaml")).unwrap();
    Launch::within(folder, &config).start()
}

#[test]
fn callers_and_secrets_are_as_before_where_the_database_is_gone_and_who_was_locked_out_stays_out() {
    let nginx = Nginx::start("location / { return 200 \"hello\"; }");
    let mut postgres = Postgres::start(&Authority::new());
    let url = format!("postgres://yett@127.0.0.1:{}/postgres?sslmode=disable", postgres.port);
    let with = format!("control: {{ bind: \"127.0.0.1:0\", database: \"{url}\" }}");
    let file = config("").replace("control: { bind: \"127.0.0.1:0\" }", &with);
    let yett = Yett::start(&file);
    let person = Person::logs_in(&yett);
    let location = Location::Postgres(Secret::new(url));
    let target = nginx.address.to_string();
    let (shop, own) = beside(&location, async |_, control| {
        team(&with_keys(&yett, control), "shop", &target).await
    });
    yett.write("shop.yaml", guarded("/shop", "shop"));
    let applied = person.does(&["apply", "shop.yaml", "--yes", "--workspace", "shop"]);
    assert_eq!(applied.code, Some(0), "{applied:?}");
    for key in [SHARED_KEY, &own] {
        wait::until_true("it is served", || status(&yett, key) == 200);
    }
    let kept = yett.path("state/last-known.jsonl");
    let changes = yett.path("state/last-known.changes");
    wait::until_true("all of it is kept", || {
        let text = fs::read_to_string(&kept).unwrap_or_default();
        let is_current = fs::read_to_string(&changes).is_ok_and(|text| text.is_empty());
        is_current && text.matches("\"credential\"").count() == 2 && text.contains("\"secret\"")
    });
    let text = fs::read_to_string(&kept).unwrap();
    assert!(!text.contains(&target) && !text.contains(&own), "{text}");
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);

    // It is killed as soon as the key is refused, before anything else can be kept.
    let root = Caller::system("test");
    beside(&location, async |_, control| {
        let known = control.directory().await.unwrap();
        let last = known.credentials.iter().max_by(|a, b| a.id.cmp(&b.id)).unwrap();
        control.credential_delete(&root, (&*shop, &*last.id), None).await.unwrap();
    });
    wait::until_true("it is revoked", || status(&yett, &own) == 401);
    postgres.stop();
    let yett = killed(yett);
    yett.log.expect(&["callers and secrets are those that were known last"]);
    assert_eq!((status(&yett, SHARED_KEY), status(&yett, &own)), (200, 401));
    assert_eq!(status(&yett, "nobody's"), 401);

    // What is damaged is not used, and lets nobody in.
    let path = yett.path("state/last-known.jsonl");
    let damaged = fs::read_to_string(&path).unwrap().replacen("alice", "alica", 1);
    fs::write(&path, damaged).unwrap();
    let yett = killed(yett);
    yett.log.expect(&["known last are not used"]);
    assert_ne!(status(&yett, SHARED_KEY), 200);
    postgres.revive();
    wait::until_true("it is served again", || status(&yett, SHARED_KEY) == 200);
    assert_eq!(status(&yett, &own), 401);
}
