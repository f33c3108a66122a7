//! What clients are told of APIs that are going away, or have gone.

use testkit::gateway::{BACKEND, problems};
use testkit::{Backend, TestGateway};

fn config(settings: &str) -> String {
    format!(
        "version: 1
listeners: {{ public: {{ bind: '127.0.0.1:8080' }} }}
upstreams: {{ echo: {{ targets: ['{BACKEND}'] }} }}
apis:
  old: {{ path: /v1, upstream: echo, public: a test, {settings} }}
  new: {{ path: /v2, upstream: echo, public: a test }}
  far: {{ hosts: [far.test], path: '/v3/{{id}}', upstream: echo, public: a test }}
"
    )
}

async fn ask(settings: &str, request: &str) -> (TestGateway, String) {
    let gateway = TestGateway::new(&config(settings));
    let answer =
        "HTTP/1.1 200 OK\ncontent-length: 2\nlink: </own>; rel=\"next\"\ndeprecation: @1\n\nok";
    gateway.put(BACKEND, Backend::answer(answer));
    let answer = gateway.ask(request).await;
    (gateway, answer)
}

#[tokio::test(start_paused = true)]
async fn a_deprecated_api_answers_and_says_until_when() {
    let settings = "state: deprecated, deprecated_at: 2025-10-01, sunset: '2099-12-31T18:00:00Z', successor: new, deprecation_link: /docs/moving";
    let (gateway, answer) = ask(settings, "GET /v1/x HTTP/1.1\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for line in [
        "deprecation: @1759276800",
        "sunset: Thu, 31 Dec 2099 18:00:00 GMT",
        "link: </own>; rel=\"next\"",
        "link: </docs/moving>; rel=\"deprecation\"; type=\"text/html\"",
        "link: </v2>; rel=\"successor-version\"",
    ] {
        assert!(answer.lines().any(|own| own == line), "{line}\n{answer}");
    }
    assert!(!answer.contains("deprecation: @1\n"), "the backend's own is replaced: {answer}");
    gateway.ask("GET /v1/y HTTP/1.1\n").await;
    let other = gateway.ask("GET /v2/x HTTP/1.1\n").await;
    assert!(!other.contains("sunset"), "{other}");
    assert_eq!(gateway.metric("yett_deprecated_requests_total{api=\"old\"}"), 2.0);
}

#[tokio::test(start_paused = true)]
async fn a_retired_api_answers_410_and_names_its_successor() {
    let settings = "state: retired, deprecated_at: 2024-01-01, sunset: 2025-01-01, successor: far";
    let (gateway, answer) = ask(settings, "POST /v1/x HTTP/1.1\ncontent-length: 0\n").await;
    assert!(answer.starts_with("HTTP/1.1 410"), "{answer}");
    assert!(
        answer.contains("\"code\":\"api_retired\"")
            && answer.contains("use //far.test/v3/ in its place"),
        "{answer}"
    );
    assert!(answer.contains("link: <//far.test/v3/>; rel=\"successor-version\""), "{answer}");
    assert!(gateway.seen().is_empty(), "no backend was asked");
    assert_eq!(gateway.metric("yett_deprecated_requests_total{api=\"old\"}"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_draft_is_served_nowhere_and_takes_nothing_from_others() {
    let (gateway, answer) = ask("state: draft", "GET /v1/x HTTP/1.1\n").await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    let both = config("state: draft").replace("path: /v2", "path: /v1");
    gateway.reload(&both).unwrap();
    let answer = gateway.ask("GET /v1/x HTTP/1.1\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn what_cannot_be_meant_is_told() {
    for (settings, expected) in [
        ("state: deprecated", "since when is API `old` deprecated?"),
        ("state: gone", "`gone` is not known here"),
        ("version: 'v 2'", "`v 2` is not a version"),
        (
            "deprecated_at: 2025-02-01, sunset: 2025-01-01, state: retired",
            "before it is deprecated",
        ),
        (
            "deprecated_at: 2025-02-01, sunset: 2025-03-01, state: deprecated",
            "although its `sunset` has passed",
        ),
        ("successor: nwe", "there is no api `nwe`"),
        ("successor: old", "cannot succeed itself"),
        ("deprecation_link: 'javascript:x'", "neither a URL nor a path"),
        ("deprecation_link: '/a>b'", "neither a URL nor a path"),
    ] {
        let told = problems(&config(settings));
        assert!(told.contains(expected), "{settings}: {told}");
    }
}
