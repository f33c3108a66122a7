//! The admin API as programs use it that know nothing but its OpenAPI document.

use super::yett::{PUBLIC, TOP, Yett};
use std::process::Command;

const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/python/bin/python");
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

#[test]
fn every_operation_succeeds_once_and_none_answers_what_its_document_does_not_say() {
    let yett = platform();
    let (url, link) = first_link(&yett);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/admin_api.py");
    let mut program = Command::new(PYTHON);
    let ended = program.args(["-B", script, &url, &link, CASES]).output();
    let ended = ended.expect("Python is below target/python; `make needs` installs it");
    let told = [ended.stdout, ended.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(ended.status.success(), "{}", told.join("\n"));
}
