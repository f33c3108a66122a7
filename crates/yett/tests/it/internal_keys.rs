//! The keys that the gateway makes for itself outlive it.

use super::backend::Backend;
use super::client::{curl, get};
use super::wait::until_true;
use super::yett::{Launch, PUBLIC, TOP, Yett, run};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

const KEY: &str = "a-key-in-a-test-of-tokens";

fn config(backend: &Backend, top: &str, rotate: &str) -> String {
    let hash = policy::key::hash(KEY.as_bytes());
    let hash = hash.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    let target = backend.address;
    format!(
        "{TOP}{PUBLIC}{top}upstreams: {{ backend: {{ targets: [\"{target}\"] }} }}
apis:
  all: {{ path: /, upstream: backend, policies: [api_key, {{ internal_jwt: {{ issuer: \"http://gateway.test\", audience: orders, rotate: {rotate} }} }}] }}
  keys: {{ path: /keys, public: a test, policies: [jwks] }}
consumers: {{ alice: {{ applications: {{ web: {{ keys: ['sha256:{hash}'] }} }} }} }}\n"
    )
}

/// A token that the gateway signs.
fn token(yett: &Yett, backend: &Backend) -> String {
    let answer = curl(&["-H", &format!("x-api-key: {KEY}"), &yett.url("public")]);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let shown = backend.seen().pop().and_then(|seen| seen.header("authorization")).unwrap();
    shown.strip_prefix("Bearer ").unwrap().to_owned()
}

fn published(yett: &Yett) -> Vec<Value> {
    let set: Value = serde_json::from_str(&get(&yett.address("public"), "/keys").body).unwrap();
    set["keys"].as_array().unwrap().clone()
}

/// Whether a backend that knows what is published now believes a token.
fn is_believed(token: &str, keys: &[Value]) -> bool {
    let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let head: Value = serde_json::from_slice(&decoded(signed.split('.').next().unwrap())).unwrap();
    keys.iter().filter(|key| key["kid"] == head["kid"]).any(|key| {
        let part = |name: &str| decoded(key[name].as_str().unwrap());
        let point = [vec![4], part("x"), part("y")].concat();
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        key.verify(signed.as_bytes(), &decoded(signature)).is_ok()
    })
}

fn kept(folder: &Path) -> String {
    format!("state_dir: {}\n", folder.display())
}

#[test]
fn tokens_of_a_gateway_that_was_killed_are_believed_by_the_keys_of_the_next() {
    let (state, backend) = (tempfile::tempdir().unwrap(), Backend::says("hi"));
    let top = kept(state.path());
    let mut yett = Yett::start(&config(&backend, &top, "1d"));
    let (first, keys) = (token(&yett, &backend), published(&yett));
    yett.signal("KILL");
    yett.ended();
    let file = state.path().join("keys.json");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let mut yett = Yett::start(&config(&backend, &top, "1d"));
    assert_eq!(published(&yett), keys);
    assert!(is_believed(&first, &published(&yett)));
    let second = token(&yett, &backend);
    assert!(is_believed(&second, &keys), "whoever has the old set believes the new gateway");
    yett.signal("KILL");
    yett.ended();
    // Another period goes on with them, too.
    let yett = Yett::start(&config(&backend, &top, "12h"));
    assert!(is_believed(&first, &published(&yett)));
    for text in [yett.log.text(), yett.access.text(), yett.status().to_string()] {
        assert!(!text.contains(&first), "{text}");
    }
}

#[test]
fn without_a_folder_keys_live_in_memory_and_check_says_so() {
    let backend = Backend::says("hi");
    let mut yett = Yett::start(&config(&backend, "", "1d"));
    let first = token(&yett, &backend);
    assert!(is_believed(&first, &published(&yett)));
    let ended = run(yett.path("").as_path(), &["check", "yett.yaml"]);
    let told = format!("{}{}", ended.out, ended.err);
    assert!(ended.code == Some(0) && told.contains("a restart forgets the keys"), "{told}");
    assert!(told.contains("state_dir: /var/lib/yett"), "{told}");
    yett.signal("KILL");
    yett.ended();
    let yett = Yett::start(&config(&backend, "", "1d"));
    assert!(!is_believed(&first, &published(&yett)));
}

#[test]
fn keys_that_cannot_be_kept_or_may_have_leaked_are_told_and_stop_no_request() {
    let (state, backend) = (tempfile::tempdir().unwrap(), Backend::says("hi"));
    let text = config(&backend, &kept(state.path()), "1d");
    // Nothing can be put in the place of a folder that holds something.
    let file = state.path().join("keys.json");
    fs::create_dir_all(file.join("in the way")).unwrap();
    let mut yett = Launch::new(&text).start();
    yett.log.expect(&["the gateway's keys cannot be written", "keys.json"]);
    let first = token(&yett, &backend);
    assert!(is_believed(&first, &published(&yett)));
    fs::remove_dir_all(&file).unwrap();
    until_true("the file is written", || file.is_file());
    yett.log.expect(&["the gateway's keys are kept again"]);
    yett.signal("TERM");
    assert!(yett.ended().success());
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let yett = Launch::new(&text).start();
    yett.log.expect(&["kept keys are not used", "others than its owner", "chmod 600"]);
    assert!(!is_believed(&first, &published(&yett)), "somebody may have copied them");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "new ones are kept");
}
