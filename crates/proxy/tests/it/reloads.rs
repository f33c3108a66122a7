use crate::it::kit::{accept, brief, config, fetch, hear, played, tell};
use base::caps::LAST_REQUEST_TIMEOUT_MS;
use std::time::Duration;
use testkit::gateway::BACKEND;
use testkit::{Backend, TestGateway};

const GET: &str = "GET / HTTP/1.1\nhost: a.test\n\n";

fn named(name: &str, address: &str) -> String {
    let policies = format!("[{{ headers: {{ response: {{ set: {{ x-config: {name} }} }} }} }}]");
    config(&format!("{{ targets: ['{address}'] }}"), &policies)
}

#[tokio::test(start_paused = true)]
async fn a_request_ends_by_the_config_it_began_with() {
    let gateway = TestGateway::new(&named("old", BACKEND));
    let mut connections = gateway.play(BACKEND);
    gateway.put("10.0.0.2:80", Backend::echo());
    let mut client = gateway.connect();
    tell(&mut client, GET).await;
    let mut backend = accept(&mut connections).await;
    hear(&mut backend).await;
    gateway.reload(&named("new", "10.0.0.2:80")).unwrap();
    assert!(fetch(&gateway, "/").await.contains("x-config: new\n"));
    tell(&mut backend, "HTTP/1.1 200 OK\ncontent-length: 2\n\nok").await;
    let heard = hear(&mut client).await;
    assert!(heard.contains("x-config: old\n") && heard.ends_with("\n\nok"), "{heard}");
    // The same connection goes on by the new config.
    tell(&mut client, GET).await;
    assert!(hear(&mut client).await.contains("x-config: new\n"));
    assert!(connections.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_config_with_an_error_changes_nothing() {
    let gateway = TestGateway::new(&named("old", BACKEND));
    gateway.put(BACKEND, Backend::echo());
    assert!(gateway.reload("version: 1\napis: { x: { upstream: none } }\n").is_err());
    assert!(fetch(&gateway, "/").await.contains("x-config: old\n"));
}

#[tokio::test(start_paused = true)]
async fn a_limit_goes_on_counting_over_reloads() {
    let limited = |upstream: &str| config(upstream, "[{ rate_limit: 2/min }]");
    let first = format!("{{ targets: ['{BACKEND}'] }}");
    let gateway = TestGateway::new(&limited(&first));
    gateway.put(BACKEND, Backend::answer("HTTP/1.1 200 OK\ncontent-length: 2\n\nok"));
    assert_eq!(brief(&fetch(&gateway, "/").await), "200");
    gateway.reload(&limited(&format!("{{ targets: ['{BACKEND}'], retries: 2 }}"))).unwrap();
    assert_eq!(brief(&fetch(&gateway, "/").await), "200");
    gateway.reload(&limited(&first)).unwrap();
    assert_eq!(brief(&fetch(&gateway, "/").await), "429 rate_limited");
    gateway.advance(Duration::from_secs(31));
    assert_eq!(brief(&fetch(&gateway, "/").await), "200");
}

#[tokio::test(start_paused = true)]
async fn connections_to_backends_outlive_a_reload() {
    let gateway = TestGateway::new(&named("old", BACKEND));
    gateway.put(BACKEND, Backend::answer("HTTP/1.1 200 OK\ncontent-length: 2\n\nok"));
    fetch(&gateway, "/").await;
    gateway.reload(&named("new", BACKEND)).unwrap();
    fetch(&gateway, "/").await;
    assert_eq!(gateway.backends.dialled(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_is_gone_says_so_and_closes() {
    let gateway = TestGateway::new(&named("old", BACKEND));
    gateway.put(BACKEND, Backend::echo());
    let mut client = gateway.connect();
    tell(&mut client, GET).await;
    hear(&mut client).await;
    gateway.reload(&named("new", BACKEND).replace("public:", "other:")).unwrap_err();
    let renamed = named("new", BACKEND).replace("{ public: {", "{ other: {");
    gateway.reload(&renamed).unwrap();
    tell(&mut client, GET).await;
    assert_eq!(brief(&hear(&mut client).await), "503 listener_gone, closed");
}

#[tokio::test(start_paused = true)]
async fn draining_finishes_what_is_under_way_and_closes_what_is_idle() {
    let (gateway, mut connections) = played("");
    let mut idle = gateway.connect();
    let mut kept = gateway.connect();
    tell(&mut kept, GET).await;
    let mut backend = accept(&mut connections).await;
    hear(&mut backend).await;
    tell(&mut backend, "HTTP/1.1 204 No Content\n\n").await;
    assert_eq!(brief(&hear(&mut kept).await), "204");

    let mut busy = gateway.connect();
    tell(&mut busy, GET).await;
    hear(&mut backend).await;
    gateway.drain();
    // What was sent before need not have been seen yet.
    tokio::time::sleep(Duration::from_millis(LAST_REQUEST_TIMEOUT_MS)).await;
    assert_eq!(hear(&mut idle).await, "<closed>");
    assert_eq!(hear(&mut kept).await, "<closed>");
    tell(&mut backend, "HTTP/1.1 200 OK\ncontent-length: 2\n\nok").await;
    let heard = hear(&mut busy).await;
    assert_eq!(heard, "HTTP/1.1 200 OK\ncontent-length: 2\nconnection: close\n\nok<closed>");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_on_its_way_when_draining_began_is_served() {
    let gateway = TestGateway::with_policies("[]");
    let mut client = gateway.connect();
    gateway.drain();
    tell(&mut client, GET).await;
    assert_eq!(brief(&hear(&mut client).await), "200, closed");
}
