//! The access log in files: rotation by others and by the gateway, a disk that is full.

use super::client::get;
use super::wait::until_true;
use super::yett::{PUBLIC, TOP, Yett};
use std::fs;

fn config(log: &str) -> String {
    let body = "apis: { all: { public: a test, routes: [{ GET /: { policies: [{ respond: { body: hi } }] } }] } }";
    format!("{TOP}{PUBLIC}access_log: {log}\n{body}\n")
}

fn has_lines(yett: &Yett, name: &str, count: usize) -> bool {
    fs::read_to_string(yett.path(name)).is_ok_and(|text| text.lines().count() == count)
}

fn asked(yett: &Yett, times: usize) {
    for _ in 0..times {
        assert_eq!(get(&yett.address("public"), "/").body, "hi");
    }
}

#[test]
fn logrotate_needs_to_tell_nobody() {
    let yett = Yett::start(&config("{ format: '{method} {path} {status}', to: access.log }"));
    asked(&yett, 1);
    until_true("the first line", || has_lines(&yett, "access.log", 1));
    // As `create` and `nocreate` do.
    fs::rename(yett.path("access.log"), yett.path("access.log.1")).unwrap();
    asked(&yett, 2);
    until_true("the lines after it was moved", || has_lines(&yett, "access.log", 2));
    // As `copytruncate` does.
    fs::copy(yett.path("access.log"), yett.path("access.log.2")).unwrap();
    fs::File::create(yett.path("access.log")).unwrap();
    asked(&yett, 1);
    until_true("the line after it was cut", || has_lines(&yett, "access.log", 1));
    // As somebody in need of space does.
    fs::remove_file(yett.path("access.log")).unwrap();
    asked(&yett, 1);
    until_true("the line after it was removed", || has_lines(&yett, "access.log", 1));
    assert_eq!(fs::read_to_string(yett.path("access.log")).unwrap(), "GET / 200\n");
    assert_eq!(yett.count("yett_access_log_dropped_total", &[]), 0);
}

#[test]
fn a_full_disk_costs_lines_and_nothing_else_until_there_is_room_again() {
    let yett = Yett::start(&config("{ to: /dev/full }"));
    asked(&yett, 3);
    yett.log.expect(&["access lines are lost", "No space left"]);
    until_true("all are counted", || yett.count("yett_access_log_dropped_total", &[]) == 3);
    let reload = yett.reload(config("{ to: access.log }"));
    assert_eq!(reload["adopted"], true, "{reload}");
    asked(&yett, 1);
    until_true("the line after the reload", || has_lines(&yett, "access.log", 1));
    yett.log.expect(&["the access log is written again", "lost=3"]);
    assert_eq!(yett.count("yett_requests_total", &["status=\"2xx\""]), 4);
}

#[test]
fn a_format_that_is_wrong_is_refused_and_the_old_one_kept() {
    let yett = Yett::start(&config("{ format: '{status}' }"));
    let reload = yett.reload(config("{ format: '{statsu}' }"));
    assert_eq!(reload["adopted"], false, "{reload}");
    assert!(reload["problems"].to_string().contains("did you mean `{status}`?"), "{reload}");
    asked(&yett, 1);
    yett.access.expect(&["200"]);
}
