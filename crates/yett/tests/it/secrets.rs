//! A secret that is sent everywhere comes out nowhere.

use super::backend::{self, Backend};
use super::client::{curl, get, raw};
use super::wait::until_true;
use super::yett::{Ended, Launch, PUBLIC, TOP, Yett, run};
use std::fmt::Write as _;
use std::fs;

/// Part of every secret here.
const CANARY: &str = "c4n4ry";

fn config(target: &str, key_hash: &str) -> String {
    format!(
        "{TOP}{PUBLIC}upstreams:
  backend: {{ targets: [\"{target}\"] }}
  dead: {{ targets: [\"127.0.0.1:1\"] }}
policies:
  - api_key: {{ query: key, cookie: key }}
  - headers: {{ request: {{ set: {{ authorization: \"Bearer ${{env:TOKEN}}\", x-file: \"${{file:secret.txt}}\" }} }} }}
apis:
  alive: {{ path: /alive, upstream: backend }}
  dead: {{ path: /dead, upstream: dead }}
  refused: {{ path: /refused, upstream: backend, policies: [{{ deny: {{ when: \"true\", reason: never }} }}] }}
consumers: {{ alice: {{ keys: [\"{key_hash}\"] }} }}
"
    )
}

fn check(what: &str, text: &str) {
    if let Some(line) = text.lines().find(|line| line.to_lowercase().contains(CANARY)) {
        panic!("{what} tells a secret: {line}");
    }
}

#[test]
fn a_secret_that_is_sent_everywhere_comes_out_nowhere() {
    let backend = Backend::start(|seen, stream| {
        if seen.line().contains("broken") {
            return backend::answer(stream, "nonsense c4n4ry", "", b"");
        }
        backend::answer(stream, "200 OK", "", b"ok")
    });
    let folder = tempfile::tempdir().unwrap();
    let key = format!("{CANARY}-key-of-alice");
    let mut hash = super::yett::command(folder.path(), &["key", "hash"]);
    fs::write(folder.path().join("key"), &key).unwrap();
    let hash: Ended =
        hash.stdin(fs::File::open(folder.path().join("key")).unwrap()).output().unwrap().into();
    let config = config(&backend.address.to_string(), hash.out.trim());
    let yett = Launch::new(&config)
        .file("secret.txt", format!("{CANARY}-file"))
        .env("TOKEN", &format!("{CANARY}-environment"))
        .log("debug")
        .start();
    let url = yett.url("public");
    let answers = ask_everything(&url, &key);
    let seen = backend.seen();
    assert!(
        seen.iter()
            .any(|s| s.header("authorization").unwrap() == format!("Bearer {CANARY}-environment"))
    );
    assert!(seen.iter().any(|s| s.header("x-file").unwrap() == format!("{CANARY}-file")));
    for request in &seen {
        assert!(
            !request.head.contains("key-of-alice"),
            "the backend need not know: {}",
            request.head
        );
    }
    hostile(&yett);
    let reports = bad_changes(&yett, &config, &key);
    until_true("all is logged", || yett.metric("yett_requests_in_flight", &[]) == 0.0);
    yett.signal("HUP");
    yett.log.expect(&["config reloaded"]);
    check("an answer", &answers);
    check("a report", &reports);
    check("/status", &yett.status().to_string());
    check("/metrics", &yett.metrics());
    check("/log", &get(&yett.admin(), "/log").body);
    let explained =
        run(&yett.path(""), &["explain", "GET", &format!("http://a/alive?key={CANARY}")]);
    check("explain", &explained.err);
    let mut yett = yett;
    yett.signal("TERM");
    assert_eq!(yett.ended().code(), Some(0));
    assert!(yett.log.text().contains("DEBUG"), "{}", yett.log.text());
    check("diagnostics", &yett.log.text());
    assert!(yett.access.all().len() > 20);
    check("the access log", &yett.access.text());
}

/// Sends secrets in all places that hold some; returns what clients are told.
fn ask_everything(url: &str, key: &str) -> String {
    let header = format!("x-api-key: {key}");
    let basic = format!("authorization: Basic {CANARY}");
    let cookie = format!("cookie: session={CANARY}; key={key}");
    let body = format!("password={CANARY}");
    let mut told = String::new();
    for path in ["alive", "alive/broken", "dead", "refused", "none"] {
        let with_query = format!("{url}/{path}?token={CANARY}");
        let with_key = format!("{url}/{path}?key={key}&token={CANARY}");
        for version in ["--http1.1", "--http2-prior-knowledge"] {
            let cases: [&[&str]; 5] = [
                &["-H", &header, "-H", &basic, "-d", &body, &with_query],
                &[&with_key],
                &["-H", &cookie, &with_query],
                &["-H", &basic, &with_query],
                &["-H", &format!("x-api-key: yett_{CANARY}"), &with_query],
            ];
            for case in cases {
                // Clients may take an HTTP/2 answer that comes before their body was wanted for a
                // failure, as curl 7.88 now and then does.
                let is_early = path != "alive" && version != "--http1.1";
                if is_early && case.contains(&"-d") {
                    continue;
                }
                let answer = curl(&[&[version], case].concat());
                write!(told, "{}\n{}\n", answer.head, answer.body).unwrap();
            }
        }
    }
    told
}

/// Requests that are refused before they are understood.
fn hostile(yett: &Yett) {
    let address = yett.address("public");
    for request in [
        format!("GET /?{CANARY} HTTP/1.1\r\nhost: a b\r\n\r\n"),
        format!("GET /%zz?{CANARY} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"),
        format!(
            "GET /?{CANARY} HTTP/1.1\r\nhost: a\r\nauthorization: {CANARY}\r\nbad header: x\r\n\r\n"
        ),
        format!(
            "POST /?{CANARY} HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n"
        ),
        format!("authorization: {CANARY}\r\n\r\n"),
    ] {
        check("an answer", &raw(&address, request.as_bytes()));
    }
}

/// Configs with secrets where none belong: refused, and not repeated.
fn bad_changes(yett: &Yett, config: &str, key: &str) -> String {
    let hash = config.lines().last().unwrap().split('"').nth(1).unwrap();
    let mut told = String::new();
    for changed in [
        config.replace(hash, key),
        config.replace("127.0.0.1:1", "${env:TOKEN}"),
        config.replace(
            "bind: \"127.0.0.1:0\" } }\nupstreams",
            "bind: \"${env:TOKEN}\" } }\nupstreams",
        ),
        config.replace("Bearer ${env:TOKEN}", "${env:TOKEN}\\n"),
    ] {
        assert_ne!(changed, config);
        let reload = yett.reload(&changed);
        assert_eq!(reload["adopted"], false, "{reload}");
        writeln!(told, "{reload}").unwrap();
        fs::write(yett.path("other.yaml"), &changed).unwrap();
        for format in ["text", "json"] {
            let mut check =
                super::yett::command(&yett.path(""), &["check", "other.yaml", "--format", format]);
            let ended: Ended =
                check.env("TOKEN", format!("{CANARY}-environment")).output().unwrap().into();
            assert_eq!(ended.code, Some(2), "{ended:?}");
            writeln!(told, "{}\n{}", ended.out, ended.err).unwrap();
        }
        fs::remove_file(yett.path("other.yaml")).unwrap();
    }
    assert_eq!(yett.reload(config)["adopted"], true);
    told
}

#[test]
fn what_is_told_of_a_config_repeats_no_secret_that_stands_in_it_in_plain() {
    for credentials in [
        format!("keys: [{{ {CANARY}-key: {{ name: x }} }}]"),
        format!("keys: [\"{CANARY}-key\"]"),
        format!("hmac: [{CANARY}-secret]"),
        format!("hmac: [{{ id: \"\", secret: {CANARY}-secret-of-enough-bytes-to-be-used }}]"),
        format!("basic: [\"desk:{CANARY}-password\"]"),
        format!("basic: [{{ username: desk, password: \"{CANARY}-password\" }}]"),
        format!("basic: [{{ username: desk, passwrod: {CANARY}-password, password: {CANARY} }}]"),
    ] {
        let text = format!(
            "{TOP}{PUBLIC}upstreams: {{ one: {{ targets: [\"127.0.0.1:1\"] }} }}
apis: {{ one: {{ upstream: one, policies: [api_key] }} }}
consumers:
  alice:
    {credentials}
"
        );
        let folder = Launch::new(&text).folder;
        for arguments in [&["check"][..], &["check", "--format", "json"], &["run"]] {
            let ended = run(folder.path(), arguments);
            assert_ne!(ended.code, Some(0), "{credentials}: {ended:?}");
            assert!(
                ended.err.contains("yett.yaml") || ended.out.contains("yett.yaml"),
                "{ended:?}"
            );
            check(
                &format!("{arguments:?} of {credentials}"),
                &format!("{}{}", ended.out, ended.err),
            );
        }
    }
}
