//! Files that policies go by: read again when they change, whatever is the matter with the config.

use super::client::raw;
use super::wait::{until, until_true};
use super::yett::{Launch, PUBLIC, TOP, Yett, run};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;

/// Denies whoever is in a file. The proxies of this machine are believed.
fn denying(file: &str) -> String {
    format!(
        "{TOP}{PUBLIC}trusted_proxies: [127.0.0.0/8]\npolicies: [{{ ip: {{ deny: \"file:{file}\" }} }}]\n\
         apis: {{ all: {{ public: a test, routes: [{{ GET /: {{ policies: [{{ respond: {{ body: ok }} }}] }} }}] }} }}\n"
    )
}

/// The status that a client at this address gets.
fn status(yett: &Yett, client: &str) -> u16 {
    let request = format!(
        "GET / HTTP/1.1\r\nhost: a.test\r\nx-forwarded-for: {client}\r\nconnection: close\r\n\r\n"
    );
    let answer = raw(&yett.address("public"), request.as_bytes());
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

fn refused(yett: &Yett, client: &str) {
    until_true(&format!("{client} is refused"), || status(yett, client) == 403);
}

#[test]
fn a_list_is_read_again_without_the_config_and_a_bad_one_changes_nothing() {
    let yett = Launch::new(&denying("./blocked.txt")).file("blocked.txt", "192.0.2.0/24\n").start();
    assert_eq!([status(&yett, "192.0.2.7"), status(&yett, "198.51.100.7")], [403, 200]);
    let before = yett.status();
    // As editors write it, and then in place.
    yett.write("blocked.txt", "198.51.100.0/24\n");
    refused(&yett, "198.51.100.7");
    assert_eq!(status(&yett, "192.0.2.7"), 200);
    fs::write(yett.path("blocked.txt"), "198.51.100.0/24\n2001:db8::/32\n").unwrap();
    refused(&yett, "2001:db8::7");

    yett.write("blocked.txt", "198.51.100.0/24\n10.0.0/8\n");
    let problem = until("the problem shows", || {
        yett.status()["files"][0]["problem"].as_str().map(str::to_owned)
    });
    assert!(problem.starts_with("line 2: `10.0.0/8` is not a network"), "{problem}");
    assert_eq!([status(&yett, "198.51.100.7"), status(&yett, "192.0.2.7")], [403, 200]);
    assert_eq!(yett.count("yett_file_bad", &["blocked.txt"]), 1);
    assert_eq!(yett.count("yett_file_entries", &["blocked.txt"]), 2);
    yett.log.expect(&["a list of addresses is bad", "blocked.txt", "line 2"]);

    // A config that cannot be used does not keep lists from being read.
    assert_eq!(yett.reload("version: 2\n")["adopted"], false);
    yett.write("blocked.txt", "192.0.2.0/24\n");
    refused(&yett, "192.0.2.7");
    let after = yett.status();
    assert_eq!(after["files"][0]["problem"], serde_json::Value::Null, "{after}");
    assert_eq!(after["revision"], before["revision"]);
    assert_eq!(yett.count("yett_file_bad", &["blocked.txt"]), 0);
    assert_eq!(yett.count("yett_config_reloads_total", &["result=\"ok\""]), 1);
}

#[test]
fn a_list_whose_links_are_swapped_and_one_that_a_reload_names_are_watched() {
    let launch = Launch::new(&denying("lists/blocked.txt")).file("other.txt", "# nobody\n");
    let folder = launch.folder.path().join("lists");
    for (name, list) in [("one", "192.0.2.0/24\n"), ("two", "198.51.100.0/24\n")] {
        fs::create_dir_all(folder.join(name)).unwrap();
        fs::write(folder.join(name).join("blocked.txt"), list).unwrap();
    }
    symlink("one", folder.join("..data")).unwrap();
    symlink("..data/blocked.txt", folder.join("blocked.txt")).unwrap();
    let yett = launch.start();
    assert_eq!(status(&yett, "192.0.2.7"), 403);
    symlink("two", folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    refused(&yett, "198.51.100.7");

    assert_eq!(yett.reload(denying("other.txt"))["adopted"], true);
    assert_eq!(status(&yett, "198.51.100.7"), 200);
    yett.write("other.txt", "203.0.113.0/24\n");
    refused(&yett, "203.0.113.7");
    let status = yett.status();
    assert_eq!(status["files"].as_array().unwrap().len(), 1, "{status}");
}

#[test]
fn a_list_that_is_bad_from_the_start_is_told_with_its_line_and_nothing_is_served() {
    let launch = Launch::new(&denying("blocked.txt")).file("blocked.txt", "10.0.0.0/8\nhere\n");
    for arguments in [["check", "yett.yaml"], ["run", "yett.yaml"]] {
        let ended = run(launch.folder.path(), &arguments);
        assert_ne!(ended.code, Some(0), "{ended:?}");
        assert!(ended.err.contains("blocked.txt:2:1: error: `here` is not"), "{ended:?}");
        assert!(ended.err.contains("yett.yaml:5:26 names this list"), "{ended:?}");
    }
    fs::remove_file(launch.folder.path().join("blocked.txt")).unwrap();
    let ended = run(launch.folder.path(), &["run", "yett.yaml"]);
    assert_ne!(ended.code, Some(0), "{ended:?}");
    assert!(ended.err.contains("`blocked.txt` cannot be read: there is no such file"), "{ended:?}");
}

#[test]
fn a_list_that_is_written_slowly_is_gone_by_when_it_is_whole() {
    let yett = Launch::new(&denying("blocked.txt")).file("blocked.txt", "192.0.2.0/24\n").start();
    // Not renamed into place: any look at it may find half of it.
    let mut file = fs::File::create(yett.path("blocked.txt")).unwrap();
    for number in 0..200_u32 {
        let line = match number {
            0..199 => format!("198.51.100.{number}\n"),
            _ => "192.0.2.0/24\n".to_owned(),
        };
        file.write_all(line.as_bytes()).unwrap();
        assert_eq!(status(&yett, "192.0.2.7"), 403, "after line {number}");
    }
    drop(file);
    refused(&yett, "198.51.100.7");
    assert_eq!(status(&yett, "192.0.2.7"), 403);
}
