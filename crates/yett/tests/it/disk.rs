//! Disks that take nothing: traffic flows, and what is lost is told and counted.

use super::client::get;
use super::wait::until_true;
use super::yett::{Launch, PUBLIC, TOP, Yett};
use serde_json::Value;
use std::fs::{self, OpenOptions};

fn config(more: &str) -> String {
    format!(
        "{TOP}{PUBLIC}{more}apis: {{ all: {{ public: a test, policies: [{{ respond: {{ body: hi }} }}] }} }}\n"
    )
}

fn asked(yett: &Yett, times: u64) {
    for _ in 0..times {
        assert_eq!(get(&yett.address("public"), "/").body, "hi");
    }
}

fn lost(yett: &Yett) -> u64 {
    yett.count("yett_access_log_dropped_total", &[])
}

/// The whole lines of the log. What was cut off stays as it is, and the next line begins on its own.
fn whole_lines(yett: &Yett) -> u64 {
    let text = fs::read_to_string(yett.path("access.log")).unwrap();
    text.lines().map(|line| u64::from(serde_json::from_str::<Value>(line).is_ok())).sum()
}

#[test]
fn a_log_that_may_not_grow_loses_lines_not_requests_and_goes_on_when_it_may() {
    // 64 blocks of 512 bytes, or of 1024 in some shells.
    let launch = Launch::new(&config("access_log: { to: access.log }\n"));
    let yett = launch.limits("ulimit -f 64").start();
    let mut total = 0;
    until_true("the file is full", || {
        asked(&yett, 20);
        total += 20;
        lost(&yett) > 0
    });
    asked(&yett, 50);
    total += 50;
    until_true("every line is written or counted", || whole_lines(&yett) + lost(&yett) == total);
    yett.log.expect(&["access lines are lost", "File too large"]);
    let told = yett.log.all().iter().filter(|line| line.contains("lines are lost")).count();
    assert_eq!(told, 1, "not for every line");
    // As somebody in need of space does.
    OpenOptions::new().write(true).truncate(true).open(yett.path("access.log")).unwrap();
    let before = lost(&yett);
    asked(&yett, 5);
    until_true("there is room again", || whole_lines(&yett) == 5);
    yett.log.expect(&["the access log is written again", &format!("lost={before}")]);
    assert_eq!(lost(&yett), before);
    assert_eq!(yett.count("yett_requests_total", &["status=\"2xx\""]), total + 5);
}

#[test]
fn a_state_folder_that_cannot_be_had_is_told_and_done_without() {
    // A file system that takes no folders, one that is no folder, and a disk without room for a byte.
    for (folder, why) in [
        ("/proc/yett", "No such file or directory"),
        ("/dev/null/yett", "Not a directory"),
        ("/sys/kernel/yett", ""),
    ] {
        let yett = Yett::start(&config(&format!("state_dir: {folder}\n")));
        yett.log.expect(&["state_dir", folder, "cannot be used", why, "going on without"]);
        asked(&yett, 3);
        let reload = yett.reload(config(&format!("state_dir: {folder}\n# changed\n")));
        assert_eq!(reload["adopted"], true, "{reload}");
        asked(&yett, 3);
    }
}

#[test]
fn a_disk_without_room_for_a_byte_keeps_nobody_from_starting_and_serving() {
    let both = "state_dir: state\naccess_log: { to: access.log }\n";
    let mut yett = Launch::new(&config(both)).limits("ulimit -f 0").start();
    asked(&yett, 10);
    until_true("the lines are counted", || lost(&yett) == 10);
    assert!(yett.path("state/lock").exists());
    let reload = yett.reload(config(both).replace("hi", "ho"));
    assert_eq!(reload["adopted"], true, "{reload}");
    assert_eq!(get(&yett.address("public"), "/").body, "ho");
    yett.signal("TERM");
    assert!(yett.ended().success());
}
