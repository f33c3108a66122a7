//! Who is served when a backend cannot serve all.

use crate::it::kit::{accept, brief, header, hear, tell};
use base::caps::OVERLOAD_RETRY_S_MAX;
use std::time::Duration;
use testkit::{Act, Backend, TestGateway};
use tokio::io::{AsyncWriteExt as _, DuplexStream};

const BACKEND: &str = "10.0.0.1:80";
const OK: &str = "HTTP/1.1 200 OK\ncontent-length: 2\n\nok";

/// A gateway with a consumer for each priority, and one backend.
fn gateway(concurrency: &str) -> TestGateway {
    TestGateway::new(&format!(
        "version: 1
listeners: {{ public: {{ bind: '127.0.0.1:8080' }} }}
upstreams: {{ one: {{ targets: ['{BACKEND}'], concurrency: {concurrency} }} }}
policies: [api_key]
plans:
  tin: {{ priority: low, limit: 2/h }}
  silver: {{ limit: 100/h }}
  gold: {{ priority: high, limit: 100/h }}
consumers:
  tin: {{ plan: tin, keys: ['sha256:e668b66e6d2830e256de50e727d86c82582720222c34d47e24be5a8dd06012df'] }}
  silver: {{ plan: silver, keys: ['sha256:f1d80ae9d41ef6f00c5e8a5bc5c643739b9e991c5b34fad1a271d2bf6c3b591c'] }}
  gold: {{ plan: gold, keys: ['sha256:5a55ebd42e49b9e370611a550c60e42ac453c8302b8f633de0d0aae35c6e6872'] }}
apis:
  test: {{ upstream: one }}
  open: {{ path: /open, upstream: one, public: for a test, exempt: {{ api_key: for a test }} }}
"
    ))
}

/// A request of this consumer, under way.
async fn ask(gateway: &TestGateway, consumer: &str) -> DuplexStream {
    let mut client = gateway.connect();
    let key = format!("x-api-key: {consumer}-is-what-this-caller-has");
    tell(&mut client, &format!("GET /{consumer} HTTP/1.1\nhost: a.test\n{key}\n\n")).await;
    client
}

/// What became of it at once, if anything did.
async fn asked(gateway: &TestGateway, consumer: &str) -> (DuplexStream, String) {
    let mut client = ask(gateway, consumer).await;
    let said = hear(&mut client).await;
    (client, said)
}

fn metric(gateway: &TestGateway, name: &str, labels: &str) -> u64 {
    let value = gateway.metric(&format!("{name}{{upstream=\"one\"{labels}}}"));
    format!("{value:.0}").parse().unwrap()
}

fn shed(gateway: &TestGateway, priority: &str, reason: &str) -> u64 {
    let labels = format!(",priority=\"{priority}\",reason=\"{reason}\"");
    metric(gateway, "yett_upstream_shed_total", &labels)
}

#[tokio::test(start_paused = true)]
async fn the_plan_tells_who_goes_first_and_who_goes_without() {
    let gateway = gateway("{ max: 1, queue: 3, wait: 1h }");
    let mut connections = gateway.play(BACKEND);
    let (mut first, said) = asked(&gateway, "tin").await;
    assert_eq!(said, "");
    let mut backend = accept(&mut connections).await;
    let (mut tin, _) = asked(&gateway, "tin").await;
    let (mut silver, _) = asked(&gateway, "silver").await;
    let (mut early, said) = asked(&gateway, "gold").await;
    assert_eq!(said, "", "as many wait as may");
    // The queue is full: the lowest makes room and is told so at once.
    let (mut late, said) = asked(&gateway, "gold").await;
    assert_eq!(said, "");
    let told = hear(&mut tin).await;
    assert_eq!(brief(&told), "503 upstream_overloaded");
    let after_s: u64 = header(&told, "retry-after").unwrap().parse().unwrap();
    assert!((1..=OVERLOAD_RETRY_S_MAX).contains(&after_s), "{told}");
    assert_eq!(shed(&gateway, "low", "displaced"), 1);
    let lowest = asked(&gateway, "tin").await.1;
    assert_eq!(
        brief(&lowest),
        "503 upstream_busy",
        "nobody is below it, and nothing else is asked for"
    );
    assert_eq!(shed(&gateway, "low", "full"), 1);
    assert_eq!(metric(&gateway, "yett_upstream_concurrency_limit", ""), 1);
    for (client, path) in [
        (&mut first, "/tin"),
        (&mut early, "/gold"),
        (&mut late, "/gold"),
        (&mut silver, "/silver"),
    ] {
        let request = hear(&mut backend).await;
        assert!(request.starts_with(&format!("GET {path} ")), "{request}");
        backend.write_all(OK.replace('\n', "\r\n").as_bytes()).await.unwrap();
        assert_eq!(brief(&hear(client).await), "200");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_shed_counts_for_no_limit() {
    let gateway = gateway("{ max: 1, queue: 1, wait: 1h, delay: 10ms }");
    gateway.put(BACKEND, Backend::acts([Act::Hang]));
    let (held, said) = asked(&gateway, "gold").await;
    assert_eq!(said, "");
    for _ in 0..5 {
        let (mut waiting, said) = asked(&gateway, "tin").await;
        assert_eq!(said, "");
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(brief(&hear(&mut waiting).await), "503 upstream_overloaded");
    }
    assert_eq!(shed(&gateway, "low", "late"), 5);
    gateway.put(BACKEND, Backend::answer(OK));
    drop(held);
    tokio::time::sleep(Duration::from_secs(60)).await;
    for expected in ["200", "200", "429 rate_limited"] {
        assert_eq!(brief(&asked(&gateway, "tin").await.1), expected, "its limit is two");
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_may_find_its_limit_itself() {
    let gateway = gateway("adaptive");
    gateway.put(BACKEND, Backend::answer(OK));
    for _ in 0..50 {
        assert_eq!(brief(&asked(&gateway, "gold").await.1), "200");
    }
    assert_eq!(metric(&gateway, "yett_upstream_concurrency_limit", ""), 20);
    let admission = gateway.gateway.snapshot.load().upstreams.first().unwrap().admission();
    assert_eq!((admission.concurrency, admission.is_adaptive), (Some((0, 20)), true));
    assert!(!gateway.metrics.encode().contains("yett_upstream_shed_total{"));
}

#[tokio::test(start_paused = true)]
async fn who_shows_no_key_does_not_go_before_who_does() {
    let gateway = gateway("{ max: 1, queue: 1, wait: 1h }");
    gateway.put(BACKEND, Backend::acts([Act::Hang]));
    let (_held, said) = asked(&gateway, "gold").await;
    assert_eq!(said, "");
    let (mut tin, said) = asked(&gateway, "tin").await;
    assert_eq!(said, "");
    let mut stranger = gateway.connect();
    tell(&mut stranger, "GET /open HTTP/1.1\nhost: a.test\n\n").await;
    assert_eq!(brief(&hear(&mut stranger).await), "503 upstream_busy");
    assert_eq!(shed(&gateway, "low", "full"), 1);
    assert_eq!(hear(&mut tin).await, "", "it still waits");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_nobody_reads_keeps_no_place_where_the_limit_is_found() {
    let gateway = gateway("adaptive");
    let mut connections = gateway.play(BACKEND);
    let mut unread = Vec::new();
    for _ in 0..25 {
        let mut client = ask(&gateway, "gold").await;
        let mut backend = accept(&mut connections).await;
        assert!(hear(&mut backend).await.starts_with("GET /gold "));
        backend.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n").await.unwrap();
        assert_eq!(brief(&hear(&mut client).await), "200");
        let admission = gateway.gateway.snapshot.load().upstreams.first().unwrap().admission();
        assert_eq!(admission.concurrency, Some((0, 20)));
        unread.push((client, backend));
    }
}

/// A request whose body of ten bytes comes by and by.
async fn upload(gateway: &TestGateway, consumer: &str) -> DuplexStream {
    let mut client = gateway.connect();
    let key = format!("x-api-key: {consumer}-is-what-this-caller-has");
    let head = format!("POST /slow HTTP/1.1\nhost: a.test\n{key}\ncontent-length: 10\n\nfirst");
    tell(&mut client, &head).await;
    client
}

const ONE_PLACE: &str = "{ adaptive: { min: 1, max: 1 }, queue: 1, wait: 1h, delay: 1h }";

#[tokio::test(start_paused = true)]
async fn who_sends_a_body_slowly_keeps_no_place_from_others() {
    let gateway = gateway(ONE_PLACE);
    let mut connections = gateway.play(BACKEND);
    let mut slow = upload(&gateway, "gold").await;
    let mut first = accept(&mut connections).await;
    assert!(hear(&mut first).await.ends_with("first"), "what there is goes on at once");
    let (mut waiting, said) = asked(&gateway, "tin").await;
    assert_eq!(
        (&*said, hear(&mut first).await),
        ("", String::new()),
        "for a moment it may be slow"
    );
    // The place of whom nothing comes is given to who waits for one.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut second = accept(&mut connections).await;
    assert!(hear(&mut second).await.starts_with("GET /tin "));
    // What comes meanwhile goes on, but for the last of it, with which the backend could begin.
    tell(&mut slow, "la").await;
    assert_eq!(hear(&mut first).await, "la");
    tell(&mut slow, "st.").await;
    assert_eq!(hear(&mut first).await, "");
    assert_eq!(metric(&gateway, "yett_upstream_queue", ""), 1);
    tell(&mut second, OK).await;
    assert_eq!(brief(&hear(&mut waiting).await), "200");
    assert_eq!(hear(&mut first).await, "st.", "it is its turn");
    tell(&mut first, OK).await;
    assert_eq!(brief(&hear(&mut slow).await), "200");
    let admission = gateway.gateway.snapshot.load().upstreams.first().unwrap().admission();
    assert_eq!((admission.concurrency, admission.queued), (Some((0, 1)), 0));
}

#[tokio::test(start_paused = true)]
async fn slow_bodies_that_all_end_at_once_are_not_all_served_at_once() {
    let gateway = gateway(ONE_PLACE);
    let mut connections = gateway.play(BACKEND);
    let mut uploads = Vec::new();
    for _ in 0..3 {
        let client = upload(&gateway, "gold").await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        uploads.push((client, accept(&mut connections).await));
    }
    for (client, backend) in &mut uploads {
        assert!(hear(backend).await.ends_with("first"));
        tell(client, "last.").await;
    }
    let mut heard = Vec::new();
    for (_, backend) in &mut uploads {
        heard.push(hear(backend).await);
    }
    // One is served, one waits, and there is no room for the third.
    assert_eq!(heard, ["last.", "", "<closed>"]);
    assert_eq!(brief(&hear(&mut uploads[2].0).await), "503 upstream_overloaded");
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_whose_client_goes_away_leaves_no_place_taken() {
    let gateway = gateway(ONE_PLACE);
    let mut connections = gateway.play(BACKEND);
    for pause_ms in [10, 2_000] {
        let slow = upload(&gateway, "gold").await;
        let _backend = accept(&mut connections).await;
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        drop(slow);
        tokio::time::sleep(Duration::from_secs(60)).await;
        let admission = gateway.gateway.snapshot.load().upstreams.first().unwrap().admission();
        assert_eq!((admission.concurrency, admission.queued), (Some((0, 1)), 0), "{pause_ms}");
    }
}
