//! Changes while the gateway runs.

use super::backend::{self, Backend};
use super::client::{ask, connect, curl, curl_command, curl_fails, get, raw, read_to_end};
use super::wait::{Gate, until, until_true};
use super::yett::{Launch, PUBLIC, TOP, Yett, plain};
use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use testkit::Authority;

/// A config whose one route answers with a word.
fn answers(word: &str) -> String {
    format!(
        "{TOP}{PUBLIC}apis: {{ all: {{ public: a test, routes: [{{ GET /: {{ policies: [{{ respond: {{ body: {word} }} }}] }} }}] }} }}\n"
    )
}

fn check_says(yett: &Yett, word: &str) {
    assert_eq!(get(&yett.address("public"), "/").body, word);
}

#[test]
fn a_changed_file_is_adopted_by_itself() {
    let yett = Yett::start(&answers("one"));
    check_says(&yett, "one");
    let before = yett.status();
    let reload = yett.reload(answers("two"));
    assert_eq!(reload["adopted"], true, "{reload}");
    assert_eq!(reload["problems"].as_array().unwrap().len(), 0, "{reload}");
    check_says(&yett, "two");
    assert_ne!(yett.status()["revision"], before["revision"]);
    assert_eq!(yett.metric("yett_config_reloads_total", &["result=\"ok\""]), 2.0);
    let revision = format!("revision={}", yett.status()["revision"]);
    assert_eq!(yett.metric("yett_config_info", &[&revision]), 1.0);
    assert!(!yett.log.text().contains("next start"), "{}", yett.log.text());
}

#[test]
fn a_file_that_is_written_in_place_is_adopted() {
    let yett = Yett::start(&answers("one"));
    let path = yett.path("yett.yaml");
    let reload = yett.reloaded_by(|| fs::write(path, answers("two")).unwrap());
    assert_eq!(reload["adopted"], true, "{reload}");
    check_says(&yett, "two");
}

#[test]
fn a_hang_up_reloads_what_is_not_watched() {
    let elsewhere = tempfile::tempdir().unwrap();
    let real = elsewhere.path().join("real.yaml");
    fs::write(&real, answers("one")).unwrap();
    let launch = Launch::new("");
    fs::remove_file(launch.folder.path().join("yett.yaml")).unwrap();
    symlink(&real, launch.folder.path().join("yett.yaml")).unwrap();
    let yett = launch.start();
    fs::write(&real, answers("two")).unwrap();
    let reload = yett.reloaded_by(|| yett.signal("HUP"));
    assert_eq!(reload["adopted"], true, "{reload}");
    check_says(&yett, "two");
}

#[test]
fn links_that_are_swapped_as_kubernetes_does_are_noticed() {
    let launch = Launch::new("");
    let folder = launch.folder.path().to_owned();
    fs::remove_file(folder.join("yett.yaml")).unwrap();
    for word in ["one", "two"] {
        fs::create_dir(folder.join(word)).unwrap();
        fs::write(folder.join(word).join("yett.yaml"), answers(word)).unwrap();
    }
    symlink("one", folder.join("..data")).unwrap();
    symlink("..data/yett.yaml", folder.join("yett.yaml")).unwrap();
    let yett = launch.start();
    check_says(&yett, "one");
    let reload = yett.reloaded_by(|| {
        symlink("two", folder.join("..data_tmp")).unwrap();
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    });
    assert_eq!(reload["adopted"], true, "{reload}");
    check_says(&yett, "two");
}

#[test]
fn included_files_that_come_and_go_are_noticed() {
    let config = format!("{TOP}{PUBLIC}include: [\"apis/*.yaml\"]\n");
    let launch = Launch::new(&config);
    let folder = launch.folder.path().join("apis");
    fs::create_dir(&folder).unwrap();
    let api = |path: &str| {
        format!(
            "version: 1\napis: {{ {path}: {{ path: /{path}, public: a test, routes: [{{ GET /: {{ policies: [{{ respond: {{ body: here }} }}] }} }}] }} }}\n"
        )
    };
    fs::write(folder.join("one.yaml"), api("one")).unwrap();
    let yett = launch.start();
    let status = |path: &str| get(&yett.address("public"), path).status;
    assert_eq!((status("/one"), status("/two")), (200, 404));
    yett.reloaded_by(|| fs::write(folder.join("two.yaml"), api("two")).unwrap());
    assert_eq!((status("/one"), status("/two")), (200, 200));
    yett.reloaded_by(|| fs::remove_file(folder.join("one.yaml")).unwrap());
    assert_eq!((status("/one"), status("/two")), (404, 200));
}

#[test]
fn limits_go_on_counting_across_reloads() {
    let config = |more: &str| {
        plain(
            "127.0.0.1:1",
            "policies: [{ rate_limit: 3/h per address }, { respond: { body: ok } }]\n",
        ) + more
    };
    let yett = Yett::start(&config(""));
    let status = || get(&yett.address("public"), "/").status;
    assert_eq!([status(), status()], [200, 200]);
    for change in ["# one\n", "# two\n", "drain: { timeout: 10s }\n"] {
        assert_eq!(yett.reload(config(change))["adopted"], true);
    }
    assert_eq!([status(), status(), status()], [200, 429, 429]);
}

#[test]
fn counters_go_on_counting_across_reloads() {
    let backend = Backend::says("ok");
    let target = backend.address.to_string();
    let yett = Yett::start(&plain(&target, ""));
    let address = yett.address("public");
    for round in 1..=3 {
        assert_eq!(get(&address, "/").status, 200);
        assert_eq!(yett.metric("yett_requests_total", &["api=\"all\""]), f64::from(round));
        assert_eq!(yett.metric("yett_target_requests_total", &[]), f64::from(round));
        yett.reload(plain(&target, &format!("# round {round}\n")));
    }
}

fn listeners(names: &[(&str, &str)]) -> String {
    let list: Vec<String> =
        names.iter().map(|(name, bind)| format!("{name}: {{ bind: \"{bind}\" }}")).collect();
    answers("here").replace(PUBLIC, &format!("listeners: {{ {} }}\n", list.join(", ")))
}

#[test]
fn listeners_are_added_moved_and_removed() {
    let yett = Yett::start(&listeners(&[("public", "127.0.0.1:0")]));
    let public = yett.address("public");
    let reload = yett.reload(listeners(&[("public", "127.0.0.1:0"), ("other", "127.0.0.1:0")]));
    assert_eq!(reload["adopted"], true, "{reload}");
    let other = yett.address("other");
    assert_eq!((get(&public, "/").body, get(&other, "/").body), ("here".into(), "here".into()));

    let reload = yett.reload(listeners(&[("public", "127.0.0.1:0"), ("other", "127.0.0.2:0")]));
    assert_eq!(reload["adopted"], true, "{reload}");
    let moved = until("the new address is told", || {
        Some(yett.address("other")).filter(|address| address.starts_with("127.0.0.2:"))
    });
    assert_eq!((get(&public, "/").body, get(&moved, "/").body), ("here".into(), "here".into()));
    until_true("the old address is closed", || TcpStream::connect(&other).is_err());

    let reload = yett.reload(listeners(&[("public", "127.0.0.1:0")]));
    assert_eq!(reload["adopted"], true, "{reload}");
    until_true("the listener is closed", || TcpStream::connect(&moved).is_err());
    assert_eq!(get(&public, "/").body, "here");
    assert_eq!(yett.status()["listeners"].as_array().unwrap().len(), 1);

    let reload = yett.reload(listeners(&[("public", "127.0.0.1:0"), ("again", &other)]));
    assert_eq!(reload["adopted"], true, "the address is free again: {reload}");
    assert_eq!(get(&other, "/").body, "here");
}

#[test]
fn what_is_under_way_on_a_removed_listener_is_finished() {
    let gate = Gate::default();
    let held = gate.clone();
    let backend = Backend::start(move |_, stream| {
        held.pass();
        backend::answer(stream, "200 OK", "", b"finished")
    });
    let two = |bind: &str| {
        plain(&backend.address.to_string(), "").replace(
            PUBLIC,
            &format!("listeners: {{ public: {{ bind: \"127.0.0.1:0\" }}{bind} }}\n"),
        )
    };
    let mut yett =
        Yett::start(&two(", gone: { bind: \"127.0.0.1:0\" }, moved: { bind: \"127.0.0.1:0\" }"));
    let mut streams: Vec<TcpStream> =
        ["gone", "moved"].iter().map(|name| connect(&yett.address(name))).collect();
    let mut curl = curl_command(&["--http2-prior-knowledge", &yett.url("gone")]);
    let curl = curl.stdout(std::process::Stdio::piped()).spawn().unwrap();
    for stream in &mut streams {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    }
    backend.until_seen(3);
    let reload = yett.reload(two(", moved: { bind: \"127.0.0.2:0\" }"));
    assert_eq!(reload["adopted"], true, "{reload}");
    // Not even a drain of the whole program forgets them.
    yett.signal("TERM");
    yett.log.expect(&["draining"]);
    gate.open();
    for stream in &mut streams {
        let answer = read_to_end(stream);
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("finished"), "{answer}");
    }
    let output = curl.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "finished");
    assert_eq!(yett.ended().code(), Some(0));
}

#[test]
fn replaced_certificates_are_picked_up() {
    let authority = Authority::new();
    let (old, new) = (authority.sign(&["old.test"]), authority.sign(&["new.test"]));
    let config = answers("here").replace(
        PUBLIC,
        "listeners: { public: { bind: \"127.0.0.1:0\", tls: { certificates: [{ cert: tls/site.pem, key: tls/site.key }] } } }\n",
    );
    let launch = Launch::new(&config).file("ca.pem", &authority.ca_pem);
    fs::create_dir(launch.folder.path().join("tls")).unwrap();
    let yett =
        launch.file("tls/site.pem", &old.cert_pem).file("tls/site.key", &old.key_pem).start();
    let port = yett.address("public").rsplit(':').next().unwrap().to_owned();
    let ca = yett.path("ca.pem").display().to_string();
    let asking = |name: &str| {
        [
            "--cacert".to_owned(),
            ca.clone(),
            "--resolve".to_owned(),
            format!("{name}:{port}:127.0.0.1"),
            format!("https://{name}:{port}/"),
        ]
    };
    let (old_name, new_name) = (asking("old.test"), asking("new.test"));
    assert_eq!(curl(&old_name.each_ref().map(String::as_str)).body, "here");
    yett.write("tls/site.pem", &new.cert_pem);
    yett.write("tls/site.key", &new.key_pem);
    // Where the two files are seen one at a time, the first is refused and the second mends it.
    until_true("the new certificate is served", || yett.status()["last_reload"]["adopted"] == true);
    assert_eq!(curl(&new_name.each_ref().map(String::as_str)).body, "here");
    assert_eq!(curl_fails(&old_name.each_ref().map(String::as_str)), 60);
}

#[test]
fn a_client_notices_nothing_of_a_reload_on_its_connection() {
    let yett = Yett::start(&answers("one"));
    let mut stream = connect(&yett.address("public"));
    let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    stream.write_all(request).unwrap();
    assert!(super::client::read_head(&mut stream).starts_with("HTTP/1.1 200"));
    yett.reload(answers("two"));
    stream
        .write_all(
            &[&request[..], b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"].concat(),
        )
        .unwrap();
    let rest = read_to_end(&mut stream);
    assert!(rest.starts_with("one") && rest.matches("\r\n\r\ntwo").count() == 2, "{rest}");
}

#[test]
fn consumers_and_their_keys_change_at_once() {
    let created =
        super::yett::run(std::path::Path::new("/"), &["key", "create", "--format", "json"]);
    let made: serde_json::Value = serde_json::from_str(&created.out).unwrap();
    let (key, hash) = (made["key"].as_str().unwrap(), made["hash"].as_str().unwrap());
    let config = |keys: &str| {
        format!(
            "{TOP}{PUBLIC}policies: [api_key, {{ respond: {{ body: hello }} }}]\napis: {{ all: {{ routes: [GET /] }} }}\nconsumers: {{ alice: {{ keys: [{keys}] }} }}\n"
        )
    };
    let yett = Yett::start(&config(""));
    let address = yett.address("public");
    let with_key = || {
        let text = raw(
            &address,
            format!("GET / HTTP/1.1\r\nhost: a\r\nx-api-key: {key}\r\nconnection: close\r\n\r\n")
                .as_bytes(),
        );
        text.split(' ').nth(1).unwrap().parse::<u16>().unwrap()
    };
    assert_eq!(with_key(), 401);
    yett.reload(config(&format!("\"{hash}\"")));
    assert_eq!(with_key(), 200);
    assert_eq!(ask(&address, "GET /", "a", "").status, 401);
    yett.reload(config(""));
    assert_eq!(with_key(), 401);
}
