//! Bad changes while the gateway runs: refused, told, and nothing else happens.

use super::cases::{self, Case, with_files};
use super::client::get;
use super::yett::{Launch, PUBLIC, Yett, plain};
use std::net::TcpListener;

fn good(word: &str) -> String {
    plain("127.0.0.1:1", &format!("policies: [{{ respond: {{ body: {word} }} }}]\n"))
}

fn check_refused(yett: &Yett, what: &str, config: &[u8], told: &[&str]) {
    let before = yett.status()["revision"].clone();
    let refused = yett.metric("yett_config_reloads_total", &["result=\"failed\""]);
    let reload = yett.reload(config);
    assert_eq!(reload["adopted"], false, "{what}: {reload}");
    let reason = reload["reason"].as_str().unwrap();
    assert!(!reason.is_empty(), "{what}");
    let mut all = reason.to_owned();
    for problem in reload["problems"].as_array().unwrap() {
        let place = &problem["place"];
        let file = place["file"].as_str().unwrap();
        all += &format!(
            "\n{file}:{}:{} {} {}",
            place["line"], place["column"], problem["message"], problem["help"]
        );
    }
    let all = all.replace("\\\"", "\"");
    for part in told {
        assert!(all.contains(part), "{what}: `{part}` in {all}");
    }
    assert_eq!(yett.status()["revision"], before, "{what}");
    assert_eq!(get(&yett.address("public"), "/").body, "good", "{what}");
    let now = yett.metric("yett_config_reloads_total", &["result=\"failed\""]);
    assert_eq!(now, refused + 1.0, "{what}");
    yett.log.expect(&["reload refused"]);
}

#[test]
fn a_bad_change_is_refused_and_the_old_config_keeps_serving() {
    let yett = with_files(Launch::new(&good("good"))).start();
    for Case { what, config, told } in cases::all() {
        check_refused(&yett, what, &config, told);
    }
    let reload = yett.reload(good("better"));
    assert_eq!(reload["adopted"], true, "{reload}");
    assert_eq!(get(&yett.address("public"), "/").body, "better");
}

#[test]
fn a_listener_that_cannot_be_opened_refuses_the_whole_change() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap().to_string();
    let yett = Yett::start(&good("good"));
    let config = good("bad").replace(
        PUBLIC,
        &format!("listeners: {{ public: {{ bind: \"127.0.0.1:0\" }}, one: {{ bind: \"127.0.0.1:0\" }}, taken: {{ bind: \"{address}\" }} }}\n"),
    );
    check_refused(
        &yett,
        "taken",
        config.as_bytes(),
        &["yett.yaml:3:", "listener `taken`", &address],
    );
    assert_eq!(yett.status()["listeners"].as_array().unwrap().len(), 1);
    assert!(!yett.log.text().contains("listener=one"), "{}", yett.log.text());
}

#[test]
fn a_config_that_is_gone_for_a_while_changes_nothing() {
    let yett = Yett::start(&good("good"));
    let path = yett.path("yett.yaml");
    let reload = yett.reloaded_by(|| std::fs::remove_file(&path).unwrap());
    assert_eq!(reload["adopted"], false, "{reload}");
    assert!(
        reload["problems"][0]["message"].as_str().unwrap().contains("there is no such file"),
        "{reload}"
    );
    assert_eq!(get(&yett.address("public"), "/").body, "good");
    let reload = yett.reload(good("back"));
    assert_eq!(reload["adopted"], true, "{reload}");
    assert_eq!(get(&yett.address("public"), "/").body, "back");
}

#[test]
fn a_bad_change_that_is_taken_back_is_no_problem_any_more() {
    let yett = Yett::start(&good("good"));
    assert_eq!(yett.reload("nonsense")["adopted"], false);
    let reload = yett.reload(good("good"));
    assert_eq!(reload["adopted"], true, "{reload}");
    assert_eq!(reload["problems"].as_array().unwrap().len(), 0, "{reload}");
}
