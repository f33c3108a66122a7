use crate::it::kit::{brief, hear, tell};
use std::time::Duration;
use testkit::gateway::BACKEND;
use testkit::{Backend, TestGateway};
use tokio::io::DuplexStream;

fn gateway(listener: &str) -> TestGateway {
    let gateway = TestGateway::new(&format!(
        "version: 1
listeners: {{ public: {{ bind: '127.0.0.1:8080', {listener} }} }}
upstreams: {{ one: {{ targets: ['{BACKEND}'] }} }}
apis: {{ test: {{ upstream: one, public: a test }} }}
"
    ));
    gateway.put(BACKEND, Backend::echo());
    gateway
}

async fn ask(io: &mut DuplexStream) -> String {
    tell(io, "GET / HTTP/1.1\nhost: a.test\n\n").await;
    brief(&hear(io).await)
}

#[tokio::test(start_paused = true)]
async fn an_address_has_so_many_connections_and_no_more() {
    let config = "connections_per_address_max: 2, trusted_proxies: [10.0.0.0/8]";
    let gateway = gateway(config);
    let mut first = gateway.connect_from("192.0.2.1:1");
    let mut second = gateway.connect_from("192.0.2.1:2");
    assert_eq!((ask(&mut first).await, ask(&mut second).await), ("200".into(), "200".into()));
    let mut third = gateway.connect_from("192.0.2.1:3");
    assert_eq!(hear(&mut third).await, "<closed>");
    let refused = "yett_connections_refused_total{listener=\"public\",reason=\"address_full\"}";
    assert!((gateway.metric(refused) - 1.0).abs() < 0.5);
    assert_eq!(ask(&mut gateway.connect_from("192.0.2.2:1")).await, "200");
    let proxies: Vec<_> = (1..9).map(|_| gateway.connect_from("10.0.0.1:1")).collect();
    assert_eq!(ask(&mut gateway.connect_from("10.0.0.1:9")).await, "200", "a proxy carries many");
    drop((first, proxies));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(ask(&mut gateway.connect_from("192.0.2.1:4")).await, "200");
}

#[tokio::test(start_paused = true)]
async fn the_count_of_an_address_survives_a_reload() {
    let gateway = gateway("connections_per_address_max: 1");
    let mut first = gateway.connect_from("192.0.2.1:1");
    assert_eq!(ask(&mut first).await, "200");
    gateway
        .reload(&format!(
            "version: 1
listeners: {{ public: {{ bind: '127.0.0.1:8080', connections_per_address_max: 1 }} }}
upstreams: {{ one: {{ targets: ['{BACKEND}'], retries: 0 }} }}
apis: {{ test: {{ upstream: one, public: a test }} }}
"
        ))
        .unwrap();
    assert_eq!(hear(&mut gateway.connect_from("192.0.2.1:2")).await, "<closed>");
}

#[tokio::test(start_paused = true)]
async fn an_announced_client_is_the_one_that_is_counted() {
    let gateway = gateway("connections_per_address_max: 1, proxy_protocol: [10.0.0.0/8]");
    let connect = async |source: &str| {
        let mut io = gateway.connect_from("10.0.0.1:1");
        tell(&mut io, &format!("PROXY TCP4 {source} 192.0.2.9 1 2\n")).await;
        let answer = ask(&mut io).await;
        (io, answer)
    };
    let (_first, answer) = connect("192.0.2.1").await;
    assert_eq!(answer, "200");
    assert_eq!(connect("192.0.2.1").await.1, "closed");
    assert_eq!(connect("192.0.2.2").await.1, "200");
}

#[tokio::test(start_paused = true)]
async fn an_old_connection_is_told_that_its_next_answer_is_the_last() {
    let gateway = gateway("connection_age_max: 100s");
    let mut io = gateway.connect();
    assert_eq!(ask(&mut io).await, "200");
    gateway.advance(Duration::from_secs(80));
    assert_eq!(ask(&mut io).await, "200", "it is not old yet");
    gateway.advance(Duration::from_secs(40));
    tell(&mut io, "GET / HTTP/1.1\nhost: a.test\n\n").await;
    let answer = hear(&mut io).await;
    assert!(answer.contains("connection: close\n"), "{answer}");
    assert_eq!(brief(&answer), "200, closed");
}
