//! What becomes of traffic and of changes where the database of the control plane fails.

use super::client::{Load, get};
use super::databases::Postgres;
use super::platform::{Person, again, config, files, word};
use super::servers::Nginx;
use super::wait;
use super::yett::{Launch, Yett, run};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use testkit::Authority;

const HOLD: &str = "import sqlite3, sys\nbase = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)\n\
    base.execute('BEGIN IMMEDIATE')\nprint('held', flush=True)\nsys.stdin.read()";

/// Somebody who writes to a database and does not end, until this is dropped.
struct Holder(Child);

impl Holder {
    fn of(database: &Path) -> Self {
        let mut child = Command::new("python3")
            .args(["-c", HOLD])
            .arg(database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let told = wait::Lines::of(child.stdout.take().unwrap());
        told.expect(&["held"]);
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn apply(person: &Person<'_>, target: &str, word: &str) -> super::yett::Ended {
    person.yett.write("shop.yaml", files(target, word));
    person.does(&["apply", "shop.yaml", "--yes"])
}

fn serves(yett: &Yett, expected: &str) {
    wait::until_true("it is served", || word(yett, "/shop").as_deref() == Some(expected));
}

#[test]
fn a_database_that_is_locked_or_of_a_newer_program_at_the_start_keeps_nobody_from_being_served() {
    let nginx = Nginx::start("location / { return 200 \"hello\"; }");
    let target = nginx.address.to_string();
    let yett = Yett::start(&config(""));
    let applied = apply(&Person::logs_in(&yett), &target, "one");
    assert_eq!(applied.code, Some(0), "{applied:?}");
    serves(&yett, "one");

    let mut holder = None;
    let yett = again(yett, |state| holder = Some(Holder::of(&state.join("yett.db"))));
    assert_eq!(word(&yett, "/shop").as_deref(), Some("one"));
    yett.log.expect(&["cannot be used; traffic goes on", "locked"]);
    assert!(yett.status()["control"]["database"].as_str().unwrap().contains("locked"));
    assert_eq!(yett.count("yett_database_up", &[]), 0);
    drop(holder);
    yett.log.expect(&["the database of the control plane can be used again"]);
    wait::until_true("metrics say so", || yett.count("yett_database_up", &[]) == 1);

    let yett = again(yett, |state| {
        let program = "import sqlite3, sys\nbase = sqlite3.connect(sys.argv[1], timeout=30)\n\
            base.execute('INSERT INTO migration (number, at_ms) VALUES (9999, 0)')\nbase.commit()";
        let path = state.join("yett.db");
        assert!(
            Command::new("python3").args(["-c", program]).arg(path).status().unwrap().success()
        );
    });
    yett.log.expect(&["cannot be used; traffic goes on", "schema 9999, of a newer program"]);
    assert_eq!(word(&yett, "/shop").as_deref(), Some("one"));
}

#[test]
fn a_disk_that_takes_no_more_refuses_changes_and_no_request_until_there_is_room() {
    let nginx = Nginx::start("location / { return 200 \"hello\"; }");
    let target = nginx.address.to_string();
    // About 1 MiB for each file.
    let yett = Launch::new(&config("")).limits("ulimit -S -f 2048").start();
    let person = Person::logs_in(&yett);
    assert_eq!(apply(&person, &target, "one").code, Some(0));
    serves(&yett, "one");
    let load = Load::start(&format!("{}/shop", yett.url("public")));
    let mut last = "one".to_owned();
    let refused = wait::until("the disk is full", || {
        let word = format!("{}{}", last.chars().next().unwrap(), "x".repeat(60_000));
        let applied = apply(&person, &target, &word);
        if applied.code == Some(0) {
            last = if word.starts_with('o') { "p".to_owned() } else { "o".to_owned() };
            return None;
        }
        Some(applied)
    });
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("takes no more") && refused.err.contains("traffic goes on"));
    assert_eq!(get(&yett.address("public"), "/shop").status, 200);
    let pid = yett.pid().to_string();
    let raised = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited"]).status();
    assert!(raised.unwrap().success());
    let applied = apply(&person, &target, "two");
    assert_eq!(applied.code, Some(0), "{applied:?}");
    serves(&yett, "two");
    assert_eq!(load.end().failures, Vec::<String>::new());
    let verified = run(&yett.path(""), &["audit", "verify"]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
}

/// A config with PostgreSQL for a database.
fn with(postgres: &Postgres) -> String {
    let url = format!("postgres://yett@127.0.0.1:{}/postgres?sslmode=disable", postgres.port);
    let control = format!("control: {{ bind: \"127.0.0.1:0\", database: \"{url}\" }}");
    config("").replace("control: { bind: \"127.0.0.1:0\" }", &control)
}

#[test]
fn a_postgresql_that_is_read_only_or_goes_away_refuses_changes_and_no_request() {
    let nginx = Nginx::start("location / { return 200 \"hello\"; }");
    let target = nginx.address.to_string();
    let mut postgres = Postgres::start(&Authority::new());
    let yett = Yett::start(&with(&postgres));
    let person = Person::logs_in(&yett);
    assert_eq!(apply(&person, &target, "one").code, Some(0));
    serves(&yett, "one");
    let load = Load::start(&format!("{}/shop", yett.url("public")));
    let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'postgres' AND pid <> pg_backend_pid()";
    let read_only = |is: bool| {
        let is = if is { "on" } else { "off" };
        postgres.run(&format!("ALTER DATABASE postgres SET default_transaction_read_only = {is}"));
        postgres.run(others);
    };
    read_only(true);
    let refused = wait::until("it is read-only", || {
        let refused = apply(&person, &target, "two");
        assert_ne!(refused.code, Some(0), "{refused:?}");
        refused.err.contains("not be written to").then_some(refused)
    });
    assert!(refused.err.contains("traffic goes on"), "{refused:?}");
    assert_eq!(word(&yett, "/shop").as_deref(), Some("one"));
    // Whoever may not write may look.
    assert_eq!(person.does(&["revisions"]).code, Some(0));
    read_only(false);
    wait::until_true("it is published", || apply(&person, &target, "two").code == Some(0));
    serves(&yett, "two");

    postgres.stop();
    wait::until_true("it is noticed", || yett.status()["control"]["database"] != "ok");
    let refused = apply(&person, &target, "three");
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert_eq!(word(&yett, "/shop").as_deref(), Some("two"));
    postgres.revive();
    wait::until_true("it is published", || apply(&person, &target, "three").code == Some(0));
    serves(&yett, "three");
    assert_eq!(load.end().failures, Vec::<String>::new());
}

#[test]
fn of_two_control_planes_one_does_the_work_for_all_and_one_that_was_paused_does_no_harm() {
    let nginx = Nginx::start("location / { return 200 \"hello\"; }");
    let target = nginx.address.to_string();
    let postgres = Postgres::start(&Authority::new());
    let one = Yett::start(&with(&postgres));
    let two = Yett::start(&with(&postgres));
    let person = Person::logs_in(&one);
    assert_eq!(apply(&person, &target, "one").code, Some(0));
    serves(&two, "one");
    let lease = || postgres.run("SELECT holder, epoch FROM lease WHERE work = 'upkeep'");
    wait::until_true("somebody does the work", || !lease().is_empty());
    let epoch = |lease: &str| lease.split_once('|').unwrap().1.parse::<u64>().unwrap();
    let before = lease();

    // One is paused for longer than it may have the work.
    two.signal("STOP");
    postgres.run("UPDATE lease SET until_ms = 0");
    assert_eq!(apply(&person, &target, "two").code, Some(0));
    serves(&one, "two");
    let held = "SELECT COUNT(*) FROM lease WHERE until_ms > extract(epoch FROM now()) * 1000";
    wait::until_true("the other has the work", || postgres.run(held) == "1");
    let after = lease();
    two.signal("CONT");
    serves(&two, "two");
    let open = "SELECT COUNT(*) FROM audit WHERE sequence IS NULL";
    wait::until_true("all is sealed", || postgres.run(open) == "0");
    // Who had it has it again, or a later one has.
    let moved = u64::from(before.split('|').next() != after.split('|').next());
    assert_eq!(epoch(&after), epoch(&before) + moved);
    assert_eq!(lease(), after, "nobody takes it from who has it");
    let verified = run(&one.path(""), &["audit", "verify", "--json"]);
    let told: Value = serde_json::from_str(&verified.out).unwrap();
    assert_eq!((verified.code, &told["ok"]), (Some(0), &Value::Bool(true)), "{verified:?}");
    for yett in [&one, &two] {
        assert!(!yett.log.text().contains("ERROR"), "{}", yett.log.text());
    }
    assert!(fs::metadata(two.path("state/last-good.json")).is_ok());
}
