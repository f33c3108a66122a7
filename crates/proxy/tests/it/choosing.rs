//! Which target gets a request, as configs say.

use super::kit::with_upstream;
use std::collections::HashSet;
use testkit::gateway::problems;
use testkit::{Backend, Surroundings, TestGateway};

const TARGETS: &str = "targets: ['10.0.0.1:80', '10.0.0.2:80', '10.0.0.3:80', '10.0.0.4:80']";

fn gateway(settings: &str) -> TestGateway {
    answering(with_upstream(&format!("{{ {TARGETS}, {settings} }}")))
}

fn answering(gateway: TestGateway) -> TestGateway {
    for last in 1..5 {
        let answer = format!("HTTP/1.1 200 OK\ncontent-length: 1\n\n{last}");
        gateway.put(&format!("10.0.0.{last}:80"), Backend::answer(&answer));
    }
    gateway
}

async fn ask(gateway: &TestGateway, header: &str) -> String {
    gateway.ask(&format!("GET / HTTP/1.1\nhost: a.test\n{header}\n")).await
}

/// What is behind the head of an answer.
fn body(answer: &str) -> String {
    answer.split_once("\n\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
}

/// The answers of several requests.
async fn answers(gateway: &TestGateway, headers: impl Iterator<Item = String>) -> Vec<String> {
    let mut answers = Vec::new();
    for header in headers {
        answers.push(body(&ask(gateway, &header).await));
    }
    answers
}

#[tokio::test]
async fn keys_are_written_as_words_or_expressions_and_find_the_same_target_everywhere() {
    let tenants = || (0..24).map(|number| format!("x-tenant: {number}\ncookie: sid={number}"));
    for key in ["header x-tenant", "cookie sid", "request.headers[\"x-tenant\"]"] {
        let settings = format!("balance: {{ hash: '{key}' }}");
        let (one, other) = (gateway(&settings), gateway(&settings));
        let first = answers(&one, tenants()).await;
        assert_eq!(first, answers(&one, tenants()).await, "{key}");
        assert_eq!(first, answers(&other, tenants()).await, "{key}");
        assert!(first.iter().collect::<HashSet<_>>().len() > 2, "{first:?}");
    }
    let of_client = gateway("balance: hash client");
    let all = answers(&of_client, tenants()).await;
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), 1, "one client: {all:?}");
}

#[tokio::test]
async fn browsers_come_back_to_the_target_that_answered_first() {
    let gateway = gateway("sticky: { cookie: at, ttl: 1h }");
    let answer = ask(&gateway, "x: 1").await;
    let set = answer.lines().find(|line| line.starts_with("set-cookie: at=")).expect(&answer);
    assert!(set.ends_with("; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600"), "{set}");
    assert!(!set.contains("10.0.0"), "{set}");
    let pair = set.trim_start_matches("set-cookie: ").split(';').next().unwrap();
    for _ in 0..4 {
        let again = ask(&gateway, &format!("cookie: {pair}")).await;
        assert_eq!(body(&again), body(&answer));
        assert!(!again.contains("set-cookie"), "{again}");
    }
    let foreign = ask(&gateway, "cookie: at=0123456789abcdef0123456789abcdef").await;
    assert!(foreign.contains("set-cookie: at="), "{foreign}");
}

#[tokio::test]
async fn the_gateway_learns_its_zone_from_its_surroundings() {
    let config = "version: 1\ngateway: { zone: '${env:ZONE}' }\nlisteners: { public: { bind: '127.0.0.1:8080' } }\n\
        upstreams:\n  all:\n    targets:\n      - { address: '10.0.0.1:80', zone: a }\n      \
        - { address: '10.0.0.2:80', zone: b }\napis: { test: { upstream: all, public: a test } }\n";
    for (zone, expected) in [("a", vec!["1"]), ("b", vec!["2"]), ("", vec!["1", "2"])] {
        let around = Surroundings::of(config).env("ZONE", zone);
        let gateway = answering(TestGateway::within(&around));
        let mut answers = answers(&gateway, (0..4).map(|n| format!("x: {n}"))).await;
        answers.sort();
        answers.dedup();
        assert_eq!(answers, expected, "{zone}");
    }
    let problems = problems(config);
    assert!(problems.contains("the environment variable `ZONE` is not set"), "{problems}");
    assert_eq!(problems.matches("ZONE").count(), 1, "once, and not for each upstream: {problems}");
}

#[test]
fn what_is_wrong_is_told_where_it_stands() {
    let check = |upstream: &str, expected: &str| {
        let config = format!(
            "version: 1\nlisteners: {{ public: {{ bind: '127.0.0.1:8080' }} }}\nupstreams:\n  all: {upstream}\napis: {{ test: {{ upstream: all, public: a test }} }}\n"
        );
        let report = problems(&config);
        assert!(report.contains(expected), "{upstream}: {report}");
        assert!(report.contains("yett.yaml:4:"), "{report}");
    };
    let one = "targets: ['10.0.0.1:80']";
    check(&format!("{{ {one}, balance: fastest }}"), "`fastest` is not one of `round_robin`");
    check(&format!("{{ {one}, balance: hash }}"), "`hash` needs a key");
    check(&format!("{{ {one}, balance: {{ hash: cosumer }} }}"), "did you mean `consumer`");
    check(&format!("{{ {one}, sticky: false }}"), "leave `sticky` out");
    check(&format!("{{ {one}, sticky: 'a b' }}"), "cannot be the name of a cookie");
    check(&format!("{{ {one}, sticky: {{ path: x }} }}"), "cannot be the path of a cookie");
    check(&format!("{{ {one}, slow_start: 0s }}"), "above zero");
    check(&format!("{{ {one}, panic_threshold: 120% }}"), "120%");
    check("{ targets: [{ srv: orders.example.com }] }", "is not the name of a service");
    check("{ targets: [{ weight: 2 }] }", "neither `address` nor `srv`");
    check("{ targets: [{ address: '10.0.0.1:80', priority: 16 }] }", "the highest number");
    check("{ targets: [{ address: '10.0.0.1:80', zone: 'a b' }] }", "cannot be the name of a zone");
}
