//! Configs that cannot be used: each is told with its place and what to do, and nothing is started.

use super::cases::{self, Case};
use super::client::get;
use super::yett::{Launch, PUBLIC, TOP, Yett, command, plain, run};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;

fn write(folder: &TempDir, config: &[u8]) {
    fs::write(folder.path().join("yett.yaml"), config).unwrap();
}

#[test]
fn a_bad_config_is_told_with_its_place_and_nothing_starts() {
    let folder = cases::with_files(Launch::new("")).folder;
    let mut wrong = Vec::new();
    for Case { what, config, told } in cases::all() {
        write(&folder, &config);
        for subcommand in ["run", "check"] {
            let ended = run(folder.path(), &[subcommand, "yett.yaml"]);
            assert_eq!(ended.code, Some(2), "{what}, {subcommand}: {ended:?}");
            let untold = told.iter().filter(|part| !ended.err.contains(**part));
            wrong.extend(
                untold.map(|part| format!("{what}, {subcommand}: `{part}` in {}", ended.err)),
            );
            assert!(
                !ended.err.contains("serving") && !ended.err.contains("admin on"),
                "{}",
                ended.err
            );
            assert!(ended.err.contains("error: ") && ended.out.is_empty(), "{what}: {ended:?}");
            assert!(ended.err.len() < 8_192, "{what}: {} bytes are told", ended.err.len());
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_config_that_cannot_be_read_is_told() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder, plain("127.0.0.1:1", "").as_bytes());
    fs::create_dir(folder.path().join("empty")).unwrap();
    for (name, why) in [
        ("none.yaml", "there is no such file"),
        ("yett.yaml/below", "Not a directory"),
        ("empty", "there is no `*.yaml` file in `empty`"),
    ] {
        for subcommand in ["run", "check"] {
            let ended = run(folder.path(), &[subcommand, name]);
            assert_eq!(ended.code, Some(2), "{name}: {ended:?}");
            assert!(ended.err.contains(why) && ended.err.contains(name), "{name}: {}", ended.err);
        }
    }
}

/// Starts a gateway that cannot have an address; what it says.
fn check_taken(config: &str, parts: &[&str]) {
    let folder = Launch::new(config).folder;
    let ended = run(folder.path(), &["run", "yett.yaml"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for part in parts {
        assert!(ended.err.contains(part), "`{part}` in {}", ended.err);
    }
    assert!(!ended.err.contains("serving"), "{}", ended.err);
}

fn at(address: &str) -> String {
    plain("127.0.0.1:1", "").replace(
        PUBLIC,
        &format!(
            "listeners:\n  free: {{ bind: \"127.0.0.1:0\" }}\n  taken: {{ bind: \"{address}\" }}\n"
        ),
    )
}

#[test]
fn an_address_of_another_program_is_not_shared() {
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap().to_string();
    let told = ["yett.yaml:5:18", "listener `taken`", &address, "another program holds it"];
    check_taken(&at(&address), &told);
    let admin = plain("127.0.0.1:1", "")
        .replace("admin: { bind: \"127.0.0.1:0\" }", &format!("admin: {{ bind: \"{address}\" }}"));
    check_taken(&admin, &["admin", &address]);
}

#[test]
fn an_address_that_another_program_would_share_is_not_shared() {
    let program = "import socket, sys, threading\n\
        s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)\n\
        s.bind(('127.0.0.1', 0)); s.listen(); print(s.getsockname()[1], flush=True); sys.stdin.read()\n";
    let mut other = std::process::Command::new("python3")
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is installed");
    let told = super::wait::Lines::of(other.stdout.take().unwrap());
    let address = format!("127.0.0.1:{}", told.find("the port", |line| Some(line.to_owned())));
    check_taken(&at(&address), &["yett.yaml:5:18", &address, "another program holds it"]);
    drop(other.stdin.take());
    other.wait().unwrap();
}

#[test]
fn a_second_gateway_does_not_share_the_address_of_the_first() {
    let first = Yett::start(&plain("127.0.0.1:1", ""));
    let address = first.address("public");
    check_taken(&at(&address), &["yett.yaml:5:18", &address]);
    assert_eq!(get(&address, "/").status, 502, "the first goes on");
}

#[test]
fn a_state_folder_belongs_to_one_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let state = format!("state_dir: {}\n", folder.path().join("state").display());
    let _first = Yett::start(&plain("127.0.0.1:1", &state));
    check_taken(&plain("127.0.0.1:1", &state), &["yett.yaml:6:12", "in use by another gateway"]);
}

#[test]
fn an_upstream_without_an_address_answers_503_and_harms_nobody_else() {
    let config = format!(
        "{TOP}{PUBLIC}upstreams: {{ nowhere: {{ targets: [\"nowhere.invalid:80\"] }} }}
apis:
  nowhere: {{ path: /nowhere, upstream: nowhere, public: a test }}
  here: {{ path: /here, public: a test, routes: [{{ GET /: {{ policies: [{{ respond: {{ body: here }} }}] }} }}] }}
"
    );
    let yett = Yett::start(&config);
    let answer = get(&yett.address("public"), "/nowhere");
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("\"unresolved\""), "{}", answer.body);
    assert_eq!(get(&yett.address("public"), "/here").body, "here");
    assert_eq!(yett.metric("yett_faults_total", &["code=\"unresolved\""]), 1.0);
    yett.log.expect(&["could not be resolved", "nowhere.invalid"]);
    let target = &yett.status()["upstreams"][0]["targets"][0];
    assert_eq!(target["healthy"], false, "{target}");
}

#[test]
fn a_config_from_a_pipe_ends_or_is_refused_but_never_waits_for_ever() {
    // A folder is fine, a device is not a config; neither may hang.
    let ended = run(Path::new("/"), &["check", "/dev/zero"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    let mut child = command(Path::new("/"), &["check", "/dev/stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(plain("127.0.0.1:1", "").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}
