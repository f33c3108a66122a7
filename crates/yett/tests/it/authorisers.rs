//! External authorisers: one that is written with the library of gRPC for Python, and one of HTTP. They say yes, no and
//! nonsense, are slow, and go away.

use super::backend::Backend;
use super::client::{Answer, curl};
use super::python::Python;
use super::yett::{PUBLIC, TOP, Yett};

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/authoriser.py");

struct Guarded {
    authoriser: Python,
    backend: Backend,
    yett: Yett,
}

impl Guarded {
    /// A gateway whose one route has the policy `ext_authz` with an authoriser at `PORT`.
    fn start(way: &str, policy: &str) -> Self {
        let authoriser = Python::start(PROGRAM, &[way]);
        let backend = Backend::echo();
        let policy = policy.replace("PORT", &authoriser.port());
        let public = if policy.contains("consumer:") { "" } else { "public: a test, " };
        let yett = Yett::start(&format!(
            "{TOP}{PUBLIC}upstreams: {{ backend: {{ targets: [\"{}\"] }} }}\napis: {{ all: {{ upstream: backend, {public}policies: [{{ ext_authz: {policy} }}] }} }}\nconsumers: {{ carol: {{ groups: [staff] }} }}\n",
            backend.address
        ));
        Self { authoriser, backend, yett }
    }

    fn ask(&self, path: &str, arguments: &[&str]) -> Answer {
        let url = format!("http://{}{path}", self.yett.address("public"));
        curl(&[&[url.as_str()], arguments].concat())
    }

    fn case(&self, case: &str) -> Answer {
        self.ask("/", &["-H", &format!("x-case: {case}")])
    }
}

/// Patient, for machines with much else to do.
const GRPC: &str = "{ grpc: \"grpc://127.0.0.1:PORT\", timeout: 20s, context: { route: all } }";

#[test]
fn an_authoriser_of_grpc_is_told_the_request_and_changes_it() {
    let guarded = Guarded::start(
        "grpc",
        "{ grpc: \"grpc://127.0.0.1:PORT\", timeout: 20s, body: { max: 1KiB }, context: { route: all }, consumer: { header: x-user } }",
    );
    let answer = guarded.ask(
        "/orders?drop=1&keep=2&tenant=lie",
        &[
            "-H",
            "x-secret: 1",
            "-H",
            "x-list: one",
            "-H",
            "x-tenant: lie",
            "-d",
            "hello",
            "-H",
            "cookie: a=1",
            "-H",
            "expect: 100-continue",
            "--expect100-timeout",
            "50",
        ],
    );
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header("x-told").as_deref(), Some("by the authoriser"));
    let asked =
        guarded.authoriser.told.expect(&["asked", "POST", "/orders?drop=1&keep=2&tenant=lie"]);
    for part in [
        "from 127.0.0.1",
        "body b'hello'",
        "'route': 'all'",
        "(':method', 'POST')",
        "('cookie', 'a=1')",
    ] {
        assert!(asked.contains(part), "{part} in {asked}");
    }
    let seen = guarded.backend.seen().pop().unwrap();
    assert_eq!(seen.line(), "POST /orders?keep=2&tenant=a%20b%26c HTTP/1.1");
    assert_eq!(seen.header("x-secret"), None);
    assert_eq!(seen.header("x-tenant").as_deref(), Some("t1"));
    for line in ["x-list: one\r\n", "x-list: two\r\n"] {
        assert!(seen.head.contains(line), "{}", seen.head);
    }
    // A name that the config knows is that consumer.
    assert_eq!(seen.header("x-yett-consumer").as_deref(), Some("carol"));
    assert_eq!(seen.body, b"hello");
    assert_eq!(guarded.yett.count("yett_authoriser_requests_total", &["outcome=\"allowed\""]), 1);
}

#[test]
fn a_no_goes_to_the_client_in_the_authorisers_words() {
    let guarded = Guarded::start("grpc", GRPC);
    let no = guarded.case("no");
    assert_eq!((no.status, no.body.as_str()), (401, "not today"));
    assert_eq!(no.header("www-authenticate").as_deref(), Some("Bearer realm=\"authz\""));
    assert!(no.head.contains("a=1") && no.head.contains("b=2"), "{}", no.head);
    let bare = guarded.case("bare");
    assert!(bare.status == 403 && bare.body.contains("authoriser_refused"), "{}", bare.body);
    assert!(guarded.backend.seen().is_empty());
    guarded.yett.access.expect(&["the authoriser 127.0.0.1", "refused it"]);
}

#[test]
fn an_authoriser_that_lies_or_says_nothing_opens_no_door() {
    let guarded = Guarded::start("grpc", GRPC);
    for case in ["silent", "error", "garbage", "split"] {
        let answer = guarded.case(case);
        assert_eq!(answer.status, 503, "{case}");
        assert!(answer.body.contains("authoriser_unavailable"), "{case}: {}", answer.body);
    }
    assert!(guarded.backend.seen().is_empty());
    let failed = guarded.yett.count("yett_authoriser_requests_total", &["outcome=\"failed\""]);
    assert_eq!(failed, 4);
    // What it has no say about stays as it is.
    assert_eq!(guarded.case("greedy").status, 200);
    let seen = guarded.backend.seen().pop().unwrap();
    assert!(!seen.head.contains("evil"), "{}", seen.head);
}

#[test]
fn an_authoriser_that_is_slow_or_gone_is_a_503_until_it_is_back() {
    let slow = Guarded::start("grpc", "{ grpc: \"grpc://127.0.0.1:PORT\", timeout: 300ms }");
    assert!(slow.case("slow").body.contains("authoriser_unavailable"));
    slow.yett.access.expect(&["authoriser_unavailable", "within 300ms"]);

    let mut guarded = Guarded::start("grpc", GRPC);
    assert_eq!(guarded.case("yes").status, 200);
    let port = guarded.authoriser.port();
    guarded.authoriser.child.kill().unwrap();
    guarded.authoriser.child.wait().unwrap();
    let answer = guarded.case("yes");
    assert!(
        answer.status == 503 && answer.body.contains("authoriser_unavailable"),
        "{}",
        answer.body
    );
    guarded.authoriser = Python::start(PROGRAM, &["grpc", &port]);
    guarded.authoriser.port();
    super::wait::until_true("it is asked again", || guarded.case("yes").status == 200);
}

#[test]
fn an_authoriser_of_http_decides_and_what_it_said_is_remembered() {
    let guarded = Guarded::start(
        "http",
        "{ http: { url: \"http://127.0.0.1:PORT/check\", append_path: true, to_backend: [x-tenant] }, headers: [x-case, authorization], timeout: 20s, consumer: { header: x-user }, cache: { key: 'request.headers[\"authorization\"]', ttl: 1h } }",
    );
    for _ in 0..3 {
        let answer = guarded.ask("/a", &["-H", "authorization: Bearer one", "-H", "x-tenant: lie"]);
        assert_eq!(answer.status, 200);
    }
    let seen = guarded.backend.seen();
    assert!(seen.iter().all(|seen| seen.header("x-tenant").as_deref() == Some("t2")));
    let consumer = seen.last().unwrap().header("x-yett-consumer").unwrap();
    assert!(consumer.starts_with("127.0.0.1:") && consumer.ends_with("/dave"), "{consumer}");
    guarded.ask("/a", &["-H", "authorization: Bearer two"]);
    guarded.ask("/b", &["-H", "authorization: Bearer one"]);
    let counted = |outcome: &str| guarded.yett.count("yett_authoriser_requests_total", &[outcome]);
    assert_eq!((counted("\"allowed\""), counted("\"cached\"")), (3, 2));
    guarded.authoriser.told.expect(&["called GET /check/a", "'authorization', 'Bearer one'"]);

    let no = guarded.case("no");
    assert_eq!((no.status, no.body.as_str()), (302, "go there"));
    assert_eq!(no.header("location").as_deref(), Some("https://login.example.com/"));
    for case in ["broken", "endless"] {
        assert_eq!(guarded.case(case).status, 503, "{case}");
    }
}
