//! Quotas outlive the process that counts, whatever ends it.

use super::client::{Answer, Load, ask, connect, get, header, raw, read_head, read_to_end};
use super::upgrade::upgrade;
use super::wait::{now, until, until_true};
use super::yett::{Launch, PUBLIC, TOP, Yett, run};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const AMOUNT: u64 = 1_000_000_000;

fn config(folder: &Path, more: &str) -> String {
    let folder = folder.display();
    format!(
        "{TOP}{PUBLIC}state_dir: {folder}\naccess_log: {{ to: off }}\napis: {{ all: {{ public: a test, policies: [{{ quota: {{ quota: {AMOUNT}/month, per: all }} }}, {{ respond: {{ body: hi }} }}] }} }}\n{more}"
    )
}

/// How much a `ratelimit` header says is used, with the request that asks.
fn used(yett: &Yett) -> u64 {
    let answer = get(&yett.address("public"), "/");
    let limit = answer.header("ratelimit").unwrap();
    let left = limit.split(";r=").nth(1).unwrap().split(';').next().unwrap().parse::<u64>();
    AMOUNT - left.unwrap()
}

#[test]
fn a_killed_gateway_forgets_at_most_a_second_of_what_it_counted() {
    let state = tempfile::tempdir().unwrap();
    let mut before = 0;
    for round in 0..3 {
        let mut yett = Yett::start(&config(state.path(), ""));
        let kept = used(&yett);
        assert!(kept > before, "round {round}: {kept} are kept, {before} were acknowledged");
        let answered = || yett.count("yett_requests_total", &["api=\"all\"", "status=\"2xx\""]);
        let load = Load::start(&yett.url("public"));
        until_true("the load has begun", || answered() > 200);
        let (acknowledged, since) = (answered(), now());
        until_true("a second has passed", || now() - since > Duration::from_secs(1));
        yett.signal("KILL");
        assert!(!yett.ended().success());
        load.end();
        // The first of those that were answered is the one that asked.
        before = kept - 1 + acknowledged;
    }
    let yett = Yett::start(&config(state.path(), ""));
    assert!(used(&yett) > before);
    yett.log.expect(&["quotas go on from their journal"]);
}

#[test]
fn a_restart_keeps_every_count_and_what_was_cut_off_is_told() {
    let state = tempfile::tempdir().unwrap();
    let mut yett = Yett::start(&config(state.path(), ""));
    assert_eq!((used(&yett), used(&yett)), (1, 2));
    yett.signal("TERM");
    assert!(yett.ended().success());
    let journal = state.path().join("quotas.journal");
    let mut bytes = std::fs::read(&journal).unwrap();
    bytes.extend([7; 13]);
    std::fs::write(&journal, bytes).unwrap();
    let yett = Yett::start(&config(state.path(), ""));
    yett.log.expect(&["cut off or damaged", "kept=1", "broken=1"]);
    assert_eq!(used(&yett), 3);
}

#[test]
fn a_disk_that_takes_no_more_stops_no_request_and_is_written_again_when_it_does() {
    let state = tempfile::tempdir().unwrap();
    let tenants = config(state.path(), "").replace("per: all", "per: header x-tenant");
    // 40 bytes for each tenant, in 64 blocks of 512 bytes, or of 1024 in some shells.
    let mut yett = Launch::new(&tenants).limits("ulimit -S -f 64").start();
    let address = yett.address("public");
    let mut asked = 0;
    let mut ask_all = |count: u32| {
        let mut stream = connect(&address);
        for tenant in asked..asked + count {
            let request = format!("GET / HTTP/1.1\r\nhost: a\r\nx-tenant: {tenant}\r\n\r\n");
            stream.write_all(request.as_bytes()).unwrap();
            let head = read_head(&mut stream);
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            assert_eq!(header(&head, "content-length").unwrap(), "2");
            stream.read_exact(&mut [0; 2]).unwrap();
        }
        asked += count;
    };
    until_true("the file is full", || {
        ask_all(500);
        yett.count("yett_quota_journal_failures_total", &[]) > 0
    });
    assert_eq!(yett.count("yett_quota_journal_up", &[]), 0);
    ask_all(100);
    let told = |part: &str| yett.log.all().iter().filter(|line| line.contains(part)).count();
    assert_eq!(told("the journal of quotas cannot be written"), 1, "not for every time");
    let pid = yett.pid().to_string();
    let raise = ["--pid", &pid, "--fsize=unlimited:unlimited"];
    assert!(Command::new("prlimit").args(raise).status().unwrap().success());
    until_true("there is room again", || yett.count("yett_quota_journal_up", &[]) == 1);
    yett.log.expect(&["the journal of quotas is written again"]);
    yett.signal("TERM");
    assert!(yett.ended().success());
    let yett = Yett::start(&tenants);
    yett.log.expect(&["quotas go on from their journal", &format!("kept={asked}")]);
}

#[test]
fn what_two_processes_count_adds_up() {
    let state = tempfile::tempdir().unwrap();
    let mut yett = Yett::start(&config(state.path(), ""));
    let address = yett.address("public");
    let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut idle = connect(&address);
    idle.write_all(request).unwrap();
    assert!(read_head(&mut idle).contains("r=999999999;"));
    idle.read_exact(&mut [0; 2]).unwrap();
    let _heir = upgrade(&yett, yett.pid());
    idle.write_all(request).unwrap();
    let answer = read_to_end(&mut idle);
    assert!(answer.contains("r=999999998;"), "the old one: {answer}");
    assert!(yett.ended().success());
    // One more each time it is asked.
    let mut times = 2;
    until("what the old process counted is added", || {
        times += 1;
        (used(&yett) == times).then_some(())
    });
}

#[test]
fn operators_see_what_is_left_of_a_plan_and_reset_it() {
    let key = "alice-in-a-test-of-quotas";
    let config = format!(
        "{TOP}{PUBLIC}state_dir: state\npolicies: [api_key]\nplans: {{ free: {{ limit: 9/h, quota: 3/day, default: true }} }}
apis: {{ all: {{ policies: [{{ respond: {{ body: hi }} }}] }} }}
consumers: {{ alice: {{ applications: {{ web: {{ keys: ['{}'] }} }} }} }}\n",
        hash(key)
    );
    let yett = Yett::start(&config);
    let address = yett.address("public");
    let call = || {
        let request =
            format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-api-key: {key}\r\n\r\n");
        raw(&address, request.as_bytes())
    };
    for status in ["200", "200", "200", "429"] {
        let answer = call();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    assert!(call().contains("quota_exceeded"));
    yett.log.expect(&["a quota is used up to 100 %", "consumer=\"alice\"", "application=\"web\""]);
    assert_eq!(
        yett.count("yett_quota_reached_total", &["quota=\"plan:free\"", "percent=\"100\""]),
        1
    );
    let shown = |answer: Answer| {
        assert_eq!(answer.status, 200, "{}", answer.body);
        let shares: Value = serde_json::from_str(&answer.body).unwrap();
        let share =
            shares["shares"].as_array().unwrap().iter().find(|it| it["application"] == "web");
        let share = share.unwrap();
        assert_eq!(share["plan"], "free");
        (
            share["quotas"][0]["used"].as_u64().unwrap(),
            share["limits"][0]["remaining"].as_u64().unwrap(),
        )
    };
    let admin = yett.admin();
    assert_eq!(
        shown(get(&admin, "/limits?consumer=alice")),
        (3, 6),
        "what is refused is given back"
    );
    let reset = "POST /limits/reset?consumer=alice&application=web";
    let from_page = format!(
        "{reset} HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\norigin: http://evil.test\r\n\r\n"
    );
    assert!(raw(&admin, from_page.as_bytes()).starts_with("HTTP/1.1 403"));
    assert_eq!(shown(ask(&admin, reset, &admin, "")), (0, 9));
    assert!(call().starts_with("HTTP/1.1 200"));
    assert_eq!(get(&admin, "/limits?what=else").status, 400);
    assert_eq!(ask(&admin, "POST /limits/reset", &admin, "").status, 400);
    assert_eq!(get(&admin, "/limits?consumer=nobody").status, 404);
    assert_eq!(get(&admin, "/limits/reset?consumer=alice").status, 405);
}

/// A gateway with four policies that count, which has been called twice by alice and once by bob, for one tenant.
fn called() -> Yett {
    let keys = ["alice-in-a-test-of-limits", "bob-in-a-test-of-limits"];
    let config = format!(
        "{TOP}{PUBLIC}policies: [api_key]
apis:
  all:
    policies:
      - rate_limit: 5/h per consumer
      - rate_limit: {{ limit: 9/h, id: together }}
      - rate_limit: {{ limit: 7/h, per: header x-tenant, id: tenants }}
      - quota: 3/day per consumer
      - respond: {{ body: hi }}
consumers: {{ alice: {{ keys: ['{}'] }}, bob: {{ keys: ['{}'] }} }}\n",
        hash(keys[0]),
        hash(keys[1])
    );
    let yett = Yett::start(&config);
    for key in [keys[0], keys[0], keys[1]] {
        let request = format!(
            "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-tenant: blue\r\nx-api-key: {key}\r\n\r\n"
        );
        let answer = raw(&yett.address("public"), request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    yett
}

#[test]
fn operators_see_what_policies_count_and_let_it_begin_anew() {
    let yett = called();
    let admin = yett.admin();
    let limits = |arguments: &[&str]| {
        let ended = run(Path::new("/"), &[&["limits", "--admin", &admin], arguments].concat());
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.out
    };
    let has = |told: &str, parts: &[&str]| {
        for part in parts {
            assert!(told.contains(part), "{part} is not in {told}");
        }
    };
    has(
        &limits(&[]),
        &[
            "policy  all/quota: 3/day (day from 00:00, UTC), per consumer  (yett.yaml:",
            "policy  all/rate_limit: 5/h, per consumer, 2 remembered",
            "policy  all/rate_limit/tenants: 7/h, per header x-tenant, 1 remembered",
            "policy  all/rate_limit/together: 9/h, per all, 1 remembered",
        ],
    );
    let of_all = ["--policy", "all/rate_limit"];
    has(&limits(&of_all), &["alice\n  5/h: 3 of 5 left", "bob\n  5/h: 4 of 5 left"]);
    let told = limits(&["--policy", "all/rate_limit/together"]);
    has(&told, &["9/h: 6 of 9 left"]);
    has(
        &limits(&["--policy", "all/rate_limit/tenants", "--key", "blue"]),
        &["blue\n  7/h: 4 of 7 left"],
    );
    has(
        &limits(&["--policy", "all/quota"]),
        &["alice\n  3/day: 2 used, 1 left", "bob\n  3/day: 1 used, 2 left"],
    );
    // By its name, by what it is remembered by, and all together.
    let of_alice = limits(&["--policy", "all/quota", "--key", "alice", "--reset"]);
    has(&of_alice, &["alice\n  3/day: 0 used, 3 left"]);
    let page: Value = serde_json::from_str(&limits(&[&of_all[..], &["--json"]].concat())).unwrap();
    let shares = page["shares"].as_array().unwrap();
    let share = shares.iter().find(|share| share["key"] == "alice").unwrap()["share"].as_str();
    let reset = limits(&[&of_all[..], &["--share", share.unwrap(), "--reset"]].concat());
    has(&reset, &["5/h: 5 of 5 left"]);
    has(&limits(&[&of_all[..], &["--key", "bob"]].concat()), &["4 of 5 left"]);
    assert_eq!(limits(&[&of_all[..], &["--all", "--reset"]].concat()), "nothing is used\n");
    has(&limits(&["--policy", "all/rate_limit/together", "--reset"]), &["9/h: 9 of 9 left"]);
    yett.log.expect(&["a limit was reset", "policy=\"all/quota\"", "key=\"alice\""]);
    for (query, status) in [
        ("policy=none", 404),
        ("policy=all/rate_limit&share=12", 400),
        ("policy=all/rate_limit&from=here", 400),
    ] {
        assert_eq!(get(&admin, &format!("/limits?{query}")).status, status, "{query}");
    }
    for query in [
        "policy=all/rate_limit",
        "policy=all/quota&all=true",
        "policy=all/rate_limit&all=true&key=bob",
        "policy=all/rate_limit&all=true&consumer=bob",
        "consumer=bob&application",
        "consumer=bob&consumer=alice",
    ] {
        let reset = format!("POST /limits/reset?{query}");
        assert_eq!(ask(&admin, &reset, &admin, "").status, 400, "{query}");
    }
    let ended = run(Path::new("/"), &["limits", "--admin", &admin, "--policy", "none"]);
    assert_ne!(ended.code, Some(0));
    has(&ended.err, &["there is no such policy that counts"]);
}

fn hash(key: &str) -> String {
    let hash = policy::key::hash(key.as_bytes());
    hash.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}
