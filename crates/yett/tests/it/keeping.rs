//! What keeps the database of the control plane: backups, the audit trail, master keys.

use super::client::status_of;
use super::databases::Postgres;
use super::platform::{
    Person, SHARED_KEY, again, beside, config, files, guarded, revoke_all, team, with_keys,
};
use super::servers::Nginx;
use super::wait;
use super::yett::{Ended, Launch, Yett, run};
use base::Secret;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use store::Location;
use tempfile::TempDir;
use testkit::Authority;

fn json_of(ended: &Ended) -> Value {
    serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

/// A gateway with a team whose API wants a key and has a secret.
fn served(nginx: &Nginx) -> Yett {
    let yett = Yett::start(&config(""));
    let person = Person::logs_in(&yett);
    let location = Location::Sqlite(yett.path("state/yett.db"));
    beside(&location, async |_, control| {
        let control = with_keys(&yett, control);
        team(&control, "shop", &nginx.address.to_string()).await;
    });
    yett.write("shop.yaml", guarded("/shop", "shop"));
    let applied = person.does(&["apply", "shop.yaml", "--yes", "--workspace", "shop"]);
    assert_eq!(applied.code, Some(0), "{applied:?}");
    wait::until_true("it is served", || status(&yett) == 200);
    yett
}

/// What somebody with a key is answered.
fn status(yett: &Yett) -> u16 {
    let header = format!("x-api-key: {SHARED_KEY}");
    status_of(&["-H", &header, &format!("{}/shop", yett.url("public"))])
}

/// A folder with this config and master keys, where nothing was served yet.
fn fresh(config: &str, keys: &[u8]) -> TempDir {
    let folder = Launch::new(config).folder;
    fs::create_dir(folder.path().join("state")).unwrap();
    let path = folder.path().join("state/master.key");
    fs::write(&path, keys).unwrap();
    let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(path, owner_only).unwrap();
    folder
}

/// Rows of a dump by the names of their tables, without what a restore itself adds to the trail.
fn rows(dump: &Path) -> BTreeMap<String, Vec<String>> {
    let text = fs::read_to_string(dump).unwrap();
    let (mut tables, mut name) = (BTreeMap::<String, Vec<String>>::new(), String::new());
    for line in text.lines().skip(1) {
        let value: Value = serde_json::from_str(line).unwrap();
        match value["table"].as_str() {
            Some(table) => table.clone_into(&mut name),
            None if value.is_array() && !line.contains("\"system:restore\"") => {
                tables.entry(name.clone()).or_default().push(line.to_owned());
            }
            None => {}
        }
    }
    tables
}

#[test]
fn a_backup_made_under_writes_makes_the_same_platform_anew_on_either_database() {
    let nginx = Nginx::start("location / { return 200 \"hello\"; }");
    let mut yett = served(&nginx);
    let person = Person { yett: &yett };
    let folder = yett.path("");
    let made = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for count in 0..3 {
                let own = files(&nginx.address, &format!("w{count}")).replace("/shop", "/own");
                yett.write("own.yaml", own);
                let applied = person.does(&["apply", "own.yaml", "--yes"]);
                assert_eq!(applied.code, Some(0), "{applied:?}");
            }
        });
        let made = run(&folder, &["backup", "kept.dump", "--json"]);
        writer.join().unwrap();
        made
    });
    assert_eq!(made.code, Some(0), "{made:?}");
    assert_eq!(json_of(&made)["master_keys"], json!([1]));
    let backup = folder.join("kept.dump");
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&backup).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    let again = run(&folder, &["backup", "kept.dump"]);
    assert!(again.code == Some(1) && again.err.contains("--force"), "{again:?}");
    let keys = fs::read(yett.path("state/master.key")).unwrap();
    let digits = String::from_utf8(keys.clone()).unwrap();
    let text = fs::read_to_string(&backup).unwrap();
    assert!(!text.contains(digits.trim().split(' ').nth(1).unwrap()));
    assert!(!text.contains(&nginx.address.to_string()), "secrets stay encrypted");

    // Nobody replaces what a gateway serves by.
    let refused = run(&folder, &["restore", "kept.dump", "--force"]);
    assert!(refused.err.contains("in use by another gateway"), "{refused:?}");
    yett.signal("KILL");
    yett.ended();
    let verified = run(&folder, &["audit", "verify", "--json"]);
    assert_eq!(json_of(&verified)["ok"], true, "{verified:?}");

    let postgres = Postgres::start(&Authority::new());
    let url = format!("postgres://yett@127.0.0.1:{}/postgres?sslmode=disable", postgres.port);
    let with = format!("control: {{ bind: \"127.0.0.1:0\", database: \"{url}\" }}");
    let other = config("").replace("control: { bind: \"127.0.0.1:0\" }", &with);
    for config in [config(""), other] {
        let fresh = fresh(&config, &keys);
        let place = fresh.path();
        let from = backup.display().to_string();
        for (wrong, why) in wrongs(&text) {
            fs::write(place.join("wrong.dump"), wrong).unwrap();
            let refused = run(place, &["restore", "wrong.dump"]);
            assert!(refused.code == Some(1) && refused.err.contains(why), "{why}: {refused:?}");
        }
        let restored = run(place, &["restore", &from, "--json"]);
        assert_eq!(restored.code, Some(0), "{restored:?}");
        assert_eq!(json_of(&restored)["warning"], Value::Null, "{restored:?}");
        let dumped = run(place, &["backup", "again.dump"]);
        assert_eq!(dumped.code, Some(0), "{dumped:?}");
        assert_eq!(rows(&place.join("again.dump")), rows(&backup));
        let taken = run(place, &["restore", &from]);
        assert!(taken.code == Some(1) && taken.err.contains("--force"), "{taken:?}");
        let forced = run(place, &["restore", &from, "--force"]);
        assert_eq!(forced.code, Some(0), "{forced:?}");
        let verified = run(place, &["audit", "verify"]);
        assert!(verified.out.contains("is what was written"), "{verified:?}");
        let yett = Launch::within(fresh, &config).start();
        assert_eq!(status(&yett), 200, "by the key and the secret that were kept");
        assert_eq!(yett.status()["control"]["master_key"], "ok");
    }
}

#[test]
fn a_postgresql_is_replaced_under_the_gateway_which_goes_on_with_what_was_restored() {
    let nginx = Nginx::start("location / { return 200 \"hello\"; }");
    let postgres = Postgres::start(&Authority::new());
    let url = format!("postgres://yett@127.0.0.1:{}/postgres?sslmode=disable", postgres.port);
    let with = format!("control: {{ bind: \"127.0.0.1:0\", database: \"{url}\" }}");
    let yett = Yett::start(&config("").replace("control: { bind: \"127.0.0.1:0\" }", &with));
    let location = Location::Postgres(Secret::new(url));
    let (shop, _) = beside(&location, async |_, control| {
        team(&with_keys(&yett, control), "shop", &nginx.address.to_string()).await
    });
    let person = Person::logs_in(&yett);
    yett.write("shop.yaml", guarded("/shop", "shop"));
    let applied = person.does(&["apply", "shop.yaml", "--yes", "--workspace", "shop"]);
    assert_eq!(applied.code, Some(0), "{applied:?}");
    wait::until_true("it is served", || status(&yett) == 200);
    let made = run(&yett.path(""), &["backup", "kept.dump"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    beside(&location, async |_, control| revoke_all(control, &shop).await);
    wait::until_true("it is revoked", || status(&yett) == 401);
    let restored = run(&yett.path(""), &["restore", "kept.dump", "--force"]);
    assert_eq!(restored.code, Some(0), "{restored:?}");
    wait::until_true("it is as it was", || status(&yett) == 200);
    // What is changed afterwards is followed as before.
    beside(&location, async |_, control| revoke_all(control, &shop).await);
    wait::until_true("it is revoked again", || status(&yett) == 401);
}

#[test]
fn what_another_platform_served_is_forgotten_with_its_database() {
    let nginx = Nginx::start("location / { return 200 \"hello\"; }");
    let (mut yett, other) = (served(&nginx), Yett::start(&config("")));
    let backup = other.path("other.dump").display().to_string();
    wait::until_true("there is a database", || {
        run(&other.path(""), &["backup", &backup, "--force"]).code == Some(0)
    });
    yett.signal("TERM");
    assert!(yett.ended().success());
    let restored = run(&yett.path(""), &["restore", &backup, "--force"]);
    assert_eq!(restored.code, Some(0), "{restored:?}");
    let folder = tempfile::tempdir().unwrap();
    fs::rename(yett.path("state"), folder.path().join("state")).unwrap();
    let yett = Launch::within(folder, &config("")).start();
    assert_eq!(status(&yett), 404);
    assert_eq!(yett.status()["control"]["workspaces"], json!([]));
}

/// Backups that are none, and what is said of them.
fn wrongs(text: &str) -> [(Vec<u8>, &'static str); 4] {
    let half = text.len() / 2;
    let mut flipped = text.as_bytes().to_vec();
    let at = text.find("\"shop\"").unwrap() + 1;
    *flipped.get_mut(at).unwrap() ^= 1;
    let mut torn = text.as_bytes().to_vec();
    *torn.get_mut(half).unwrap() = 0xff;
    let cut = text.as_bytes().get(..half).unwrap().to_vec();
    let newer = text.replacen(&format!("\"schema\":{}", store::NEWEST), "\"schema\":9999", 1);
    [
        (flipped, "not what was written"),
        (torn, "not what was written"),
        (cut, "cut off"),
        (newer.into_bytes(), "newer program"),
    ]
}

/// Runs statements of SQL on the database of a gateway.
fn behind(yett: &Yett, statements: &str) {
    let program = "import sqlite3, sys\nbase = sqlite3.connect(sys.argv[1], timeout=30)\n\
        base.executescript(sys.argv[2])\nbase.commit()\nbase.close()";
    let path = yett.path("state/yett.db").display().to_string();
    let output = Command::new("python3").args(["-c", program, &path, statements]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn the_trail_is_verified_and_exported_and_whoever_changes_it_or_cuts_it_off_is_noticed() {
    let nginx = Nginx::start("location / { return 200 \"hello\"; }");
    let yett = served(&nginx);
    let folder = yett.path("");
    let verify = |more: &[&str]| run(&folder, &[&["audit", "verify", "--json"], more].concat());
    let told = wait::until("all is sealed", || {
        let told = json_of(&verify(&[]));
        (told["unsealed"] == 0).then_some(told)
    });
    let seal = told["seal"].as_str().unwrap().to_owned();
    assert_eq!(verify(&["--seal", &seal]).code, Some(0));
    let exported = run(&folder, &["audit", "export", "trail.jsonl"]);
    assert_eq!(exported.code, Some(0), "{exported:?}");
    let lines = fs::read_to_string(folder.join("trail.jsonl")).unwrap();
    assert_eq!(Value::from(lines.lines().count()), told["rows"]);
    let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert!(seal.ends_with(last["seal"].as_str().unwrap()), "{last}");
    let none = run(&folder, &["audit", "export", "--until", "2001-01-01T00:00:00Z"]);
    assert_eq!((none.code, none.out.as_str()), (Some(0), ""));

    let yett = again(yett, |_| {});
    let folder = yett.path("");
    let verify = |more: &[&str]| run(&folder, &[&["audit", "verify"], more].concat());
    behind(&yett, "UPDATE audit SET actor = 'nobody' WHERE sequence = 2");
    let told = verify(&[]);
    assert!(told.code == Some(1) && told.err.contains("is not what was sealed"), "{told:?}");
    // Whoever cuts off the end leaves a trail that is whole.
    behind(&yett, "DELETE FROM audit WHERE sequence > 1");
    assert_eq!(verify(&[]).code, Some(0));
    let told = verify(&["--seal", &seal]);
    assert!(told.code == Some(1) && told.err.contains("was cut off"), "{told:?}");
}

#[test]
fn the_master_key_is_changed_while_the_gateway_serves() {
    let nginx = Nginx::start("location / { return 200 \"hello\"; }");
    let yett = served(&nginx);
    let old = fs::read(yett.path("state/master.key")).unwrap();
    let rotated = run(&yett.path(""), &["master-key", "rotate"]);
    assert_eq!(rotated.code, Some(0), "{rotated:?}");
    assert!(rotated.out.contains("1 secret encrypted anew with master key 2"), "{rotated:?}");
    assert_eq!(status(&yett), 200);
    yett.log.expect(&["there are other master keys"]);
    let forgotten = run(&yett.path(""), &["master-key", "forget"]);
    assert_eq!(forgotten.code, Some(0), "{forgotten:?}");
    let yett = again(yett, |_| {});
    assert_eq!((status(&yett), &yett.status()["control"]["master_key"]), (200, &json!("ok")));
    // The key before it opens nothing any more.
    let new = fs::read(yett.path("state/master.key")).unwrap();
    fs::write(yett.path("state/master.key"), old).unwrap();
    let refused = run(&yett.path(""), &["master-key", "rewrap"]);
    assert!(refused.code == Some(1) && refused.err.contains("does not open"), "{refused:?}");
    fs::write(yett.path("state/master.key"), new).unwrap();
}

#[test]
fn who_has_lost_every_login_is_let_in_from_the_host() {
    let yett = Yett::start(&config(""));
    let person = Person::logs_in(&yett);
    fs::remove_dir_all(yett.path("settings")).unwrap();
    assert_eq!(person.does(&["revisions"]).code, Some(1), "the login is gone");
    let made = run(&yett.path(""), &["user", "link", "--json"]);
    let told = json_of(&made);
    let address = yett.status()["control"]["address"].as_str().unwrap().to_owned();
    let link = format!("http://{address}{}", told["link"].as_str().unwrap());
    assert_eq!(person.does(&["login", &link]).code, Some(0), "{made:?}");
    assert_eq!(person.does(&["revisions"]).code, Some(0));
    assert_eq!(person.does(&["login", &link]).code, Some(1), "it works once");
    let nobody = run(&yett.path(""), &["user", "link", "nobody"]);
    assert!(nobody.code == Some(1) && nobody.err.contains("user `nobody`"), "{nobody:?}");
    let trail = run(&yett.path(""), &["audit", "export", "--actor", "system:user-link"]).out;
    assert!(trail.contains("\"create\"") && !trail.contains("yett_link_"), "{trail}");
}

#[test]
fn commands_that_look_after_a_database_say_what_is_wrong_and_what_helps() {
    let folder = Launch::new(&config("")).folder;
    let place = folder.path();
    let fails = |arguments: &[&str], code: i32, words: &[&str]| {
        let ended = run(place, arguments);
        assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
        assert!(words.iter().all(|word| ended.err.contains(word)), "{arguments:?}: {ended:?}");
    };
    fails(&["backup", "x"], 1, &["state/yett.db", "there is no database", "yett run"]);
    fails(&["restore", "none"], 1, &["none", "No such file"]);
    fails(&["backup", "x", "-c", "none.yaml"], 2, &["none.yaml"]);
    fs::write(place.join("plain.yaml"), "version: 1\nlisteners: {}\n").unwrap();
    fails(&["backup", "x", "-c", "plain.yaml"], 1, &["no control plane"]);
    fs::write(place.join("text"), "hello\n").unwrap();
    fails(&["restore", "text"], 1, &["nothing was restored"]);
    fails(&["restore", "--check", "text"], 1, &["text"]);
    let away = config("")
        .replace("control: {", "control: { database: \"postgres://yett:hush@127.0.0.1:1/none\",");
    fs::write(place.join("away.yaml"), away).unwrap();
    fails(&["backup", "x", "-c", "away.yaml"], 1, &["PostgreSQL", "is it running"]);
    let told = run(place, &["backup", "x", "-c", "away.yaml"]).err;
    assert!(!told.contains("hush"), "{told}");
    let yett = Launch::within(folder, &config("")).start();
    let place = yett.path("");
    wait::until_true("there is a database", || {
        run(&place, &["backup", "x", "--force"]).code == Some(0)
    });
    let nowhere = run(&place, &["backup", "none/x"]);
    assert!(nowhere.code == Some(1) && nowhere.err.contains("none/x"), "{nowhere:?}");
    behind(&yett, "INSERT INTO migration (number, at_ms) VALUES (9999, 0)");
    let newer = run(&place, &["backup", "y"]);
    assert!(newer.code == Some(1) && newer.err.contains("of a newer program"), "{newer:?}");
    behind(&yett, "DELETE FROM migration WHERE number >= 5");
    let older = run(&place, &["backup", "y"]);
    assert!(older.code == Some(1) && older.err.contains("start the gateway"), "{older:?}");
}
