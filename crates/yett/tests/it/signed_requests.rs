//! Requests that are signed (RFC 9421, RFC 9530) by a client whose signatures are somebody else's work.

use super::backend::Backend;
use super::python::Python;
use super::yett::{Launch, PUBLIC, TOP};

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/client_hmac.py");
const SECRET: &str = "a secret of the nightly job, long enough";

/// All cases of the client, over one version of HTTP.
fn converse(version: &str) {
    let backend = Backend::says("fine");
    let config = format!(
        "{TOP}{PUBLIC}upstreams: {{ backend: {{ targets: [\"{}\"] }} }}\napis: {{ all: {{ upstream: backend, policies: [hmac] }} }}\nconsumers: {{ shop: {{ applications: {{ nightly: {{ hmac: [{{ id: nightly-1, secret: \"${{env:NIGHTLY_SECRET}}\" }}] }} }} }} }}\n",
        backend.address
    );
    let yett = Launch::new(&config).env("NIGHTLY_SECRET", SECRET).start();
    let client = Python::start(PROGRAM, &[&yett.address("public"), version, SECRET]);
    client.told.find("the end", |line| (line == "done").then_some(()));
    let told = client.told.all();
    let became = |case: &str| {
        let case = format!("{case} ");
        let line = told.iter().find_map(|line| line.strip_prefix(&case));
        line.unwrap_or_else(|| panic!("no {case}in {told:#?}")).to_owned()
    };
    let http = if version == "2" { "HTTP/2" } else { "HTTP/1.1" };
    for case in ["good", "target", "large", "once", "again"] {
        assert_eq!(became(case), format!("{http} 200 fine"), "{case}");
    }
    let refused = [
        ("stranger", "the signature is wrong"),
        ("unknown", "the key is unknown"),
        ("replayed", "the signature was used before"),
        ("old", "the signature is too old"),
        ("future", "the signature was made in the future"),
        ("moved", "the signature is wrong"),
        ("asked", "the signature is wrong"),
        ("put", "the signature is wrong"),
        ("digest", "the signature is wrong"),
        ("unsigned-body", "`content-digest` is not signed"),
    ];
    for (case, cause) in refused {
        let answer = became(case);
        assert!(answer.starts_with(&format!("{http} 401 ")), "{case}: {answer}");
        assert!(answer.contains("credentials_invalid") && !answer.contains(cause), "{answer}");
        yett.access.expect(&["credentials_invalid", cause]);
    }
    for case in ["tampered", "tampered-large"] {
        let answer = became(case);
        assert!(answer.starts_with(&format!("{http} 401 ")), "{case}: {answer}");
    }
    // A backend never has the whole of what is not as it was signed.
    let paths: Vec<String> = backend
        .seen()
        .iter()
        .map(|seen| seen.line().split(' ').nth(1).unwrap().to_owned())
        .collect();
    let all = ["/good?urgent=1", "/target?urgent=1", "/large?a=1", "/once?a=1", "/again?urgent=1"];
    assert_eq!(paths, all);
    for seen in backend.seen() {
        assert_eq!(seen.header("x-yett-consumer").as_deref(), Some("shop"));
        assert_eq!((seen.header("signature"), seen.header("signature-input")), (None, None));
    }
    assert_eq!(backend.seen()[2].body.len(), 3_000_000);
    for log in [yett.access.text(), yett.log.text()] {
        assert!(!log.contains(SECRET));
    }
}

#[test]
fn signed_requests_are_believed_once_over_http_1() {
    converse("1");
}

#[test]
fn signed_requests_are_believed_once_over_http_2() {
    converse("2");
}
