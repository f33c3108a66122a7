//! Credentials that end while they are in use: what they opened ends with them, within a second or so.

use super::backend::Backend;
use super::client::{connect, curl, curl_command, raw, read_head, read_to_end};
use super::python::Python;
use super::upgrade::upgrade;
use super::wait::Lines;
use super::yett::{Launch, PUBLIC, TOP, Yett};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::process::Stdio;
use std::time::{Duration, SystemTime};
use testkit::Authority;

const BACKEND: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/backend_websocket.py");
const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/client_websocket.py");

/// Of `key-of-alice-0123456789` and `key-of-bob-0123456789`.
const ALICE: &str = "\"sha256:9ec3eef0b495a120a4570ac95fe666846257ed7b7e4beb6ed43910add8c9b04a\"";
const BOB: &str = "\"sha256:20e8e0c37a544b9cc85f35fb43667ea85ffaf10a10ad20ce476e0a11f70c2a30\"";

fn config(target: &str, alice: &str) -> String {
    format!(
        "{TOP}{PUBLIC}upstreams: {{ backend: {{ targets: [\"{target}\"] }} }}
apis:
  all:
    upstream: backend
    policies: [api_key: {{ query: key }}]
    routes:
      - /*
      - GET /talk: {{ policies: [{{ websocket: https://app.test }}] }}
consumers:
  alice: {{ keys: [{alice}] }}
  bob: {{ keys: [{BOB}] }}
"
    )
}

/// A backend that begins an answer and never ends it, but on `/silent` does not even begin.
fn endless() -> Backend {
    Backend::start(|seen, stream| {
        if !seen.line().contains("/silent") {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(b"7\r\ndata: 1\r\n").unwrap();
        }
        // It ends, or fails, when the gateway has left.
        drop(stream.read(&mut [0]));
        false
    })
}

fn ask(yett: &Yett, path: &str, who: &str) -> std::net::TcpStream {
    let mut client = connect(&yett.address("public"));
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: a\r\nx-api-key: key-of-{who}-0123456789\r\n\r\n");
    client.write_all(request.as_bytes()).unwrap();
    client
}

/// Reads until the connection ends; whether that was the end of the answer.
fn ends_whole(stream: &mut std::net::TcpStream) -> bool {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).is_ok() && all.ends_with(b"0\r\n\r\n")
}

fn logged(yett: &Yett, path: &str) -> Value {
    serde_json::from_str(&yett.access.expect(&[&format!("\"path\":\"{path}\"")])).unwrap()
}

#[test]
fn streams_of_a_revoked_key_are_broken_off_and_those_of_others_are_not() {
    let backend = endless();
    let target = backend.address.to_string();
    let yett = Yett::start(&config(&target, ALICE));
    let mut alice = ask(&yett, "/alice", "alice");
    let mut bob = ask(&yett, "/bob", "bob");
    assert!(read_head(&mut alice).contains("200"));
    assert!(read_head(&mut bob).contains("200"));
    let silent = ask(&yett, "/silent", "alice");
    backend.until_seen(3);
    yett.reload(config(&target, ""));
    assert!(!ends_whole(&mut alice));
    let line = logged(&yett, "/alice");
    assert_eq!(line["fault"], "credentials_revoked", "{line}");
    assert_eq!((&line["complete"], &line["consumer"]), (&false.into(), &"alice".into()), "{line}");
    let mut silent = silent;
    let answer = read_head(&mut silent);
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    let line = logged(&yett, "/silent");
    assert_eq!(line["fault"], "credentials_revoked", "{line}");
    assert_eq!(line.get("complete"), None, "{line}");
    let asked = raw(
        &yett.address("public"),
        b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-api-key: key-of-alice-0123456789\r\n\r\n",
    );
    assert!(asked.starts_with("HTTP/1.1 401"), "{asked}");
    // Another change, of somebody else, that bob's stream has seen too once alice could have come again.
    yett.reload(config(&target, ALICE));
    assert!(!yett.access.text().contains("\"path\":\"/bob\""), "{}", yett.access.text());
    assert_eq!(yett.count("yett_faults_total", &["code=\"credentials_revoked\""]), 2);
    drop(bob);
}

#[test]
fn streams_end_when_their_key_expires() {
    let backend = endless();
    let target = backend.address.to_string();
    let soon = base::Clock::System.wall() + Duration::from_secs(3);
    let second = soon.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let soon = base::Moment(SystemTime::UNIX_EPOCH + Duration::from_secs(second));
    let yett = Yett::start(&config(&target, &format!("{{ hash: {ALICE}, expires: \"{soon}\" }}")));
    let mut alice = ask(&yett, "/alice", "alice");
    let head = read_head(&mut alice);
    // On a machine that is very busy the key may be over already: then nothing was opened.
    if head.starts_with("HTTP/1.1 200") {
        assert!(!ends_whole(&mut alice));
    } else {
        drop(read_to_end(&mut ask(&yett, "/alice", "alice")));
    }
    let line = logged(&yett, "/alice");
    assert!(
        line["fault"].as_str().is_some_and(|fault| fault.starts_with("credentials_")),
        "{line}"
    );
}

#[test]
fn streams_of_http2_are_reset() {
    let backend = endless();
    let target = backend.address.to_string();
    let yett = Yett::start(&config(&target, ALICE));
    let url = format!("http://{}/alice", yett.address("public"));
    let header = "x-api-key: key-of-alice-0123456789";
    let mut curl = curl_command(&["-i", "-N", "--http2-prior-knowledge", "-H", header, &url]);
    let mut child = curl.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let told = Lines::of(child.stdout.take().unwrap());
    told.expect(&["HTTP/2 200"]);
    yett.reload(config(&target, ""));
    // A stream was not closed cleanly.
    assert_eq!(child.wait().unwrap().code(), Some(92));
    assert_eq!(logged(&yett, "/alice")["fault"], "credentials_revoked");
}

#[test]
fn a_websocket_is_told_why_it_ends() {
    let backend = Python::start(BACKEND, &[]);
    let target = format!("127.0.0.1:{}", backend.port());
    let yett = Yett::start(&config(&target, ALICE));
    let url = format!("ws://{}/talk?key=key-of-alice-0123456789", yett.address("public"));
    let mut client = Python::start(CLIENT, &["talk", &url]);
    client.order("hello");
    client.told.expect(&["heard hello"]);
    yett.reload(config(&target, ""));
    client.told.expect(&["ended 1008"]);
    let line = logged(&yett, "/talk");
    assert_eq!(line["fault"], "credentials_revoked", "{line}");
    backend.told.expect(&["ended 1006"]);
}

#[test]
fn a_certificate_tells_who_calls_until_it_is_revoked() {
    let config = |alice: &str| {
        format!(
            "{TOP}listeners:
  public:
    bind: \"127.0.0.1:0\"
    tls: {{ certificates: [{{ cert: site.pem, key: site.key }}], client: {{ mode: optional, ca: ca.pem }} }}
apis:
  all:
    policies: [mtls]
    routes: [{{ /: {{ policies: [{{ respond: {{ body: hello }} }}] }} }}]
consumers: {{ alice: {{ applications: {{ desk: {{ certificates: [{alice}] }} }} }} }}
"
        )
    };
    let authority = Authority::new();
    let (site, alice) = (authority.sign(&["localhost"]), authority.sign(&["alice.test"]));
    let known = config("{ san: \"dns:Alice.test\" }");
    let yett = Launch::new(&known)
        .file("site.pem", &site.cert_pem)
        .file("site.key", &site.key_pem)
        .file("alice.pem", format!("{}{}", alice.cert_pem, alice.key_pem))
        .file("ca.pem", &authority.ca_pem)
        .start();
    let path = |name: &str| yett.path(name).display().to_string();
    let port = yett.address("public").rsplit(':').next().unwrap().to_owned();
    let (url, ca, pem) = (format!("https://localhost:{port}/"), path("ca.pem"), path("alice.pem"));
    let with = ["--cacert", &ca, "--cert", &pem, &url];
    assert_eq!(curl(&["--cacert", &ca, &url]).status, 401, "none is shown");
    assert_eq!(curl(&with).status, 200);
    let line = yett.access.expect(&["\"status\":200"]);
    assert!(line.contains("\"consumer\":\"alice\",\"application\":\"desk\""), "{line}");
    yett.reload(config(""));
    assert_eq!(curl(&with).status, 401);
}

#[test]
fn streams_of_a_certificate_end_with_the_list_that_tells_who_is_revoked() {
    let (authority, backend) = (Authority::new(), endless());
    let site = authority.sign(&["localhost"]);
    let (clients, day) = (Authority::new(), Duration::from_secs(86_400));
    let alice = clients.sign_client("alice", 1);
    let config = format!(
        "{TOP}listeners:
  public:
    bind: \"127.0.0.1:0\"
    tls: {{ certificates: [{{ cert: site.pem, key: site.key }}], client: {{ mode: required, ca: clients.pem, crl: clients.crl }} }}
upstreams: {{ backend: {{ targets: [\"{}\"] }} }}
apis: {{ all: {{ upstream: backend, policies: [mtls: {{ consumer: any }}] }} }}
",
        backend.address
    );
    let yett = Launch::new(&config)
        .file("site.pem", &site.cert_pem)
        .file("site.key", &site.key_pem)
        .file("alice.pem", format!("{}{}", alice.cert_pem, alice.key_pem))
        .file("ca.pem", &authority.ca_pem)
        .file("clients.pem", &clients.ca_pem)
        .file("clients.crl", clients.revoked(&[2], day))
        .start();
    let path = |name: &str| yett.path(name).display().to_string();
    let port = yett.address("public").rsplit(':').next().unwrap().to_owned();
    let url = format!("https://localhost:{port}/alice");
    let (ca, pem) = (path("ca.pem"), path("alice.pem"));
    let mut curl = curl_command(&["-i", "-N", "--http1.1", "--cacert", &ca, "--cert", &pem, &url]);
    let mut child = curl.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let told = Lines::of(child.stdout.take().unwrap());
    told.expect(&["HTTP/1.1 200"]);
    // A new list that nobody is on says nothing against the stream, until it ends.
    let soon = clients.revoked(&[2], Duration::from_secs(4));
    let outcome = yett.reloaded_by(|| yett.write("clients.crl", soon));
    assert_eq!(outcome["adopted"], true, "{outcome}");
    assert_ne!(child.wait().unwrap().code(), Some(0), "it is broken off");
    let line = logged(&yett, "/alice");
    assert_eq!(line["fault"], "credentials_revoked", "{line}");
}

#[test]
fn what_is_revoked_while_a_policy_waits_is_not_forwarded() {
    let (authoriser, backend) = (endless(), endless());
    let config = |alice: &str| {
        let policies = format!(
            "policies: [api_key: {{ query: key }}, {{ ext_authz: {{ http: \"http://{}/silent\", timeout: 60s }} }}]",
            authoriser.address
        );
        config(&backend.address.to_string(), alice)
            .replace("policies: [api_key: { query: key }]", &policies)
    };
    let yett = Yett::start(&config(ALICE));
    let mut alice = ask(&yett, "/alice", "alice");
    authoriser.until_seen(1);
    yett.reload(config(""));
    let answer = read_head(&mut alice);
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    let line = logged(&yett, "/alice");
    assert_eq!(line["fault"], "credentials_revoked", "{line}");
    assert!(backend.seen().is_empty());
}

#[test]
fn a_process_that_was_replaced_breaks_off_the_streams_of_a_revoked_key_as_well() {
    let backend = endless();
    let target = backend.address.to_string();
    // Long enough that nothing ends by itself.
    let with = |alice| format!("{}drain: {{ timeout: 10min }}\n", config(&target, alice));
    let yett = Yett::start(&with(ALICE));
    let mut alice = ask(&yett, "/alice", "alice");
    let mut bob = ask(&yett, "/bob", "bob");
    assert!(read_head(&mut alice).contains("200"));
    assert!(read_head(&mut bob).contains("200"));
    let _heir = upgrade(&yett, yett.pid());
    assert_eq!(yett.reload("version: 2\n")["adopted"], false, "which changes nothing here either");
    yett.reload(with(""));
    assert!(!ends_whole(&mut alice));
    let line = logged(&yett, "/alice");
    assert_eq!(line["fault"], "credentials_revoked", "{line}");
    bob.set_nonblocking(true).unwrap();
    let mut rest = Vec::new();
    let ended = bob.read_to_end(&mut rest).unwrap_err();
    assert_eq!(ended.kind(), std::io::ErrorKind::WouldBlock, "his key is good");
}
