//! Configs that cannot be used, and what is told of each.

use super::yett::{Launch, PUBLIC, TOP, plain};
use std::time::Duration;
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

fn set(value: &str) -> String {
    let policy = format!("headers: {{ request: {{ set: {{ x-secret: \"{value}\" }} }} }}");
    plain("127.0.0.1:1", &format!("policies: [{{ {policy} }}]\n"))
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

/// All of them.
pub(crate) fn all() -> Vec<Case> {
    let all = [documents(), fields(), certificates(), references(), parts()];
    all.into_iter().flatten().collect()
}

/// Files that hold no config.
fn documents() -> Vec<Case> {
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
    ]
}

/// Configs that say something unknown or contradictory.
fn fields() -> Vec<Case> {
    vec![
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
    ]
}

/// Listeners that cannot speak TLS.
fn certificates() -> Vec<Case> {
    vec![
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
    ]
}

/// Secrets and files that are not there.
fn references() -> Vec<Case> {
    vec![
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
    ]
}

/// Parts that lack something or make no sense.
fn parts() -> Vec<Case> {
    vec![
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
