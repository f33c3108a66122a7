//! The admin API as programs use it that know nothing but its OpenAPI document.

use super::servers::Nginx;
use super::yett::{PUBLIC, TOP, Yett};
use std::process::{Command, Stdio};

const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs");
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/python/bin/python");
const PACKAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/node");
/// Cases at random for each operation.
const CASES: &str = "2";

/// A gateway with a control plane, which has published nothing.
fn platform() -> Yett {
    Yett::start(&format!("{TOP}{PUBLIC}state_dir: state\ncontrol: {{ bind: \"127.0.0.1:0\" }}\n"))
}

/// Where the admin API is, and what the link of the first start ends with.
fn first_link(yett: &Yett) -> (String, String) {
    yett.access.find("the link", |line| {
        let (url, link) = line.trim().split_once("/login/")?;
        Some((url.to_owned(), link.to_owned()))
    })
}

/// Runs a program to its end, which must be a good one.
fn runs(program: &mut Command, missing: &str) -> String {
    let ended = program.stdin(Stdio::null()).output().expect(missing);
    let [out, err] =
        [ended.stdout, ended.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(ended.status.success(), "{program:?}\n{out}\n{err}");
    out
}

#[test]
fn every_operation_succeeds_once_and_none_answers_what_its_document_does_not_say() {
    let yett = platform();
    let (url, link) = first_link(&yett);
    let script = format!("{PROGRAMS}/admin_api.py");
    let mut program = Command::new(PYTHON);
    program.args(["-B", &script, &url, &link, CASES]);
    runs(&mut program, "Python is below target/python; `make needs` installs it");
}

#[test]
fn a_client_that_was_generated_from_the_document_publishes_an_api_and_takes_a_key_away() {
    let nginx = Nginx::start("location / { return 200 \"hello\"; }");
    let yett = platform();
    let (url, link) = first_link(&yett);
    let folder = tempfile::tempdir().unwrap();
    let generate = format!("{PROGRAMS}/generated_client.mjs");
    let mut generator = Command::new("node");
    generator.args([&generate, PACKAGES, &url]).arg(folder.path());
    runs(&mut generator, "Node.js is installed");
    let mut client = Command::new("node");
    client.arg(folder.path().join("publish.js"));
    client.args([&url, &link, &yett.url("public"), &nginx.address]);
    let told = runs(&mut client, "Node.js is installed");
    assert!(told.ends_with("published\n"), "{told}");
}
