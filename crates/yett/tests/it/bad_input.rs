//! Configs that cannot be used: each is told with its place and what to do, and nothing is started.

use super::client::get;
use super::yett::{Launch, PUBLIC, TOP, Yett, command, plain, run};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use testkit::Authority;

/// A config text that is refused, and what is told of it.
pub(crate) struct Case {
    pub(crate) what: &'static str,
    pub(crate) config: Vec<u8>,
    /// The place and parts of the message.
    pub(crate) told: &'static [&'static str],
}

fn case(what: &'static str, config: impl Into<Vec<u8>>, told: &'static [&'static str]) -> Case {
    Case { what, config: config.into(), told }
}

fn secure(cert: &str, key: &str) -> String {
    plain("127.0.0.1:1", "").replace(
        PUBLIC,
        &format!("listeners: {{ public: {{ bind: \"127.0.0.1:0\", tls: {{ certificates: [{{ cert: {cert}, key: {key} }}] }} }} }}\n"),
    )
}

/// Aliases of aliases: a small file that would fill any memory.
fn aliased_to_death() -> String {
    let mut text = String::from("version: 1\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..20 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        text += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    text
}

pub(crate) fn cases() -> Vec<Case> {
    let set = |value: &str| {
        plain(
            "127.0.0.1:1",
            &format!(
                "policies: [{{ headers: {{ request: {{ set: {{ x-secret: \"{value}\" }} }} }} }}]\n"
            ),
        )
    };
    vec![
        case("empty", "", &["yett.yaml:1:1", "the file is empty", "version: 1"]),
        case("blank", "\n\n", &["yett.yaml:1:1", "the file is empty"]),
        case(
            "binary",
            [b"version: 1\nx: \0\x01\x02".as_slice(), &[0; 99]].concat(),
            &["yett.yaml:2:4", "binary"],
        ),
        case("not UTF-8", b"version: 1\n# caf\xe9\n".as_slice(), &["yett.yaml:2:6", "UTF-8"]),
        case("huge", vec![b'#'; 50 << 20], &["yett.yaml", "larger than 8 MiB"]),
        case(
            "cyclic",
            format!("{TOP}{PUBLIC}apis: &a {{ x: *a }}\n"),
            &["yett.yaml:4:15", "stands inside the value that it names"],
        ),
        case("aliases", aliased_to_death(), &["yett.yaml:8:", "values, aliases expanded"]),
        case(
            "deep",
            format!("version: 1\nx: {}\n", "[".repeat(5_000)),
            &["yett.yaml:2:", "nested too deeply"],
        ),
        case(
            "syntax",
            format!("{TOP}listeners: {{ public: {{ bind: \"127.0.0.1:0\" }}\n"),
            &["yett.yaml:3:12", "`{` is not closed", "close the map with `}`"],
        ),
        case(
            "unknown field",
            plain("127.0.0.1:1", "polices: []\n"),
            &["yett.yaml:6:1", "unknown field `polices`", "did you mean `policies`?"],
        ),
        case(
            "unknown policy",
            plain("127.0.0.1:1", "policies: [rate_limt: 1/s]\n"),
            &["yett.yaml:6:12", "rate_limt", "rate_limit"],
        ),
        case(
            "duplicate name",
            plain("127.0.0.1:1", "upstreams: {}\n"),
            &["yett.yaml:6:1", "`upstreams` appears twice"],
        ),
        case(
            "duplicate listener",
            plain("127.0.0.1:1", "").replace(
                PUBLIC,
                "listeners:\n  a: { bind: \"127.0.0.1:0\" }\n  a: { bind: \"127.0.0.1:0\" }\n",
            ),
            &["yett.yaml:5:3", "`a` appears twice"],
        ),
        case(
            "no identity",
            plain("127.0.0.1:1", "").replace(", public: a test", ""),
            &["yett.yaml:5:", "public"],
        ),
        case(
            "unknown upstream",
            plain("127.0.0.1:1", "").replace("upstream: backend", "upstream: bakend"),
            &["yett.yaml:5:26", "bakend", "backend"],
        ),
        case("newer version", "version: 2\n", &["yett.yaml:1:10", "version 2"]),
        case(
            "missing certificate",
            secure("none.pem", "one.key"),
            &["yett.yaml:3:75", "none.pem", "there is no such file"],
        ),
        case(
            "missing key",
            secure("one.pem", "none.key"),
            &["yett.yaml:3:", "none.key", "there is no such file"],
        ),
        case(
            "no certificate in it",
            secure("one.key", "one.key"),
            &["yett.yaml:3:75", "holds no certificate"],
        ),
        case(
            "key of another",
            secure("one.pem", "two.key"),
            &["yett.yaml:3:", "two.key", "does not belong to the certificate in `one.pem`"],
        ),
        case(
            "expired certificate",
            secure("expired.pem", "expired.key"),
            &["yett.yaml:3:75", "expired.pem", "expired on"],
        ),
        case(
            "missing variable",
            set("${env:YETT_TEST_NOWHERE}"),
            &["yett.yaml:6:", "YETT_TEST_NOWHERE", "not set"],
        ),
        case(
            "missing secret file",
            set("${file:none.txt}"),
            &["yett.yaml:6:", "none.txt", "there is no such file"],
        ),
        case(
            "missing variable in a target",
            plain("${env:YETT_TEST_NOWHERE}:1", ""),
            &["yett.yaml:4:", "YETT_TEST_NOWHERE", "not set"],
        ),
        case("unfinished reference", set("${env:X"), &["yett.yaml:6:", "${"]),
        case(
            "missing include",
            plain("127.0.0.1:1", "include: [none.yaml]\n"),
            &["yett.yaml:6:11", "none.yaml"],
        ),
        case(
            "includes itself",
            plain("127.0.0.1:1", "include: [yett.yaml]\n"),
            &["yett.yaml:6:11", "includes itself"],
        ),
        case(
            "no listener",
            plain("127.0.0.1:1", "").replace(PUBLIC, ""),
            &["yett.yaml:1:1", "there is no listener"],
        ),
        case(
            "bad regular expression",
            plain("127.0.0.1:1", "")
                .replace("public: a test", "public: a test, routes: [\"GET ~/(\"]"),
            &["yett.yaml:5:", "regular expression"],
        ),
        case(
            "bad expression",
            plain("127.0.0.1:1", "policies: [allow: \"request.nothing == 1\"]\n"),
            &["yett.yaml:6:", "nothing"],
        ),
    ]
}

/// The files that the cases name.
pub(crate) fn with_files(launch: Launch) -> Launch {
    let authority = Authority::new();
    let (one, two) = (authority.sign(&["one.test"]), authority.sign(&["two.test"]));
    let expired = authority.sign_until(&["one.test"], Duration::ZERO);
    launch
        .file("one.pem", one.cert_pem)
        .file("one.key", one.key_pem)
        .file("two.key", two.key_pem)
        .file("expired.pem", expired.cert_pem)
        .file("expired.key", expired.key_pem)
}

fn write(folder: &TempDir, config: &[u8]) {
    fs::write(folder.path().join("yett.yaml"), config).unwrap();
}

#[test]
fn a_bad_config_is_told_with_its_place_and_nothing_starts() {
    let folder = with_files(Launch::new("")).folder;
    let mut wrong = Vec::new();
    for Case { what, config, told } in cases() {
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
