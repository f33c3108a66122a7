use crate::it::kit::{brief, hear, tell};
use std::time::Duration;
use testkit::certificates::{Authority, Pair};
use testkit::gateway::{BACKEND, problems};
use testkit::{Backend, Surroundings, TestGateway};
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

#[tokio::test(start_paused = true)]
async fn an_address_connects_so_often_and_others_and_proxies_are_not_held_up_by_it() {
    let config = "connection_rate: { rate: 2/min, burst: 2 }, trusted_proxies: [10.0.0.0/8]";
    let gateway = gateway(config);
    let asked = async |peer: &str| ask(&mut gateway.connect_from(peer)).await;
    for (peer, expected) in [
        ("192.0.2.1:1", "200"),
        ("192.0.2.1:2", "200"),
        ("192.0.2.1:3", "closed"),
        ("192.0.2.2:1", "200"),
        ("[2001:db8::1]:1", "200"),
        ("[2001:db8::2]:1", "200"),
        ("[2001:db8::3]:1", "closed"),
        ("[2001:db8:0:1::1]:1", "200"),
    ] {
        assert_eq!(asked(peer).await, expected, "{peer}");
    }
    for port in 1..9 {
        assert_eq!(asked(&format!("10.0.0.1:{port}")).await, "200", "a proxy carries many");
    }
    let refused = "yett_connections_refused_total{listener=\"public\",reason=\"connection_rate\"}";
    assert!((gateway.metric(refused) - 2.0).abs() < 0.5);
    gateway.advance(Duration::from_secs(30));
    assert_eq!(asked("192.0.2.1:4").await, "200");
    assert_eq!(asked("192.0.2.1:5").await, "closed");
}

#[tokio::test(start_paused = true)]
async fn a_connection_may_bring_many_requests_whatever_the_rate_of_connections() {
    let gateway = gateway("connection_rate: { rate: 1/h, burst: 1 }");
    let mut io = gateway.connect_from("192.0.2.1:1");
    for _ in 0..9 {
        assert_eq!(ask(&mut io).await, "200");
    }
}

#[tokio::test(start_paused = true)]
async fn whom_a_proxy_announces_is_the_one_whose_connections_are_counted() {
    let gateway = gateway("connection_rate: 1/h, proxy_protocol: [10.0.0.0/8]");
    let connect = async |source: &str| {
        let mut io = gateway.connect_from("10.0.0.1:1");
        tell(&mut io, &format!("PROXY TCP4 {source} 192.0.2.9 1 2\n")).await;
        ask(&mut io).await
    };
    assert_eq!(connect("192.0.2.1").await, "200");
    assert_eq!(connect("192.0.2.1").await, "closed");
    assert_eq!(connect("192.0.2.2").await, "200");
}

#[tokio::test(start_paused = true)]
async fn who_begins_tls_too_often_is_left_before_a_byte_of_it_is_read() {
    let authority = Authority::new();
    let Pair { cert_pem, key_pem } = authority.sign(&["a.test"]);
    let config = format!(
        "version: 1
listeners: {{ public: {{ bind: '127.0.0.1:8443', handshake_rate: {{ rate: 1/min, burst: 1 }}, tls: {{ certificates: [{{ cert: c.pem, key: k.pem }}] }} }} }}
upstreams: {{ one: {{ targets: ['{BACKEND}'] }} }}
apis: {{ test: {{ upstream: one, public: a test }} }}
"
    );
    let surroundings = Surroundings::of(&config).file("c.pem", cert_pem).file("k.pem", key_pem);
    let gateway = TestGateway::within(&surroundings);
    gateway.put(BACKEND, Backend::echo());
    let shake = async || gateway.connect_tls("public", "a.test", &authority.ca_pem).await.is_ok();
    assert!(shake().await);
    assert!(!shake().await);
    let refused = "yett_connections_refused_total{listener=\"public\",reason=\"handshake_rate\"}";
    assert!((gateway.metric(refused) - 1.0).abs() < 0.5);
    gateway.advance(Duration::from_secs(60));
    assert!(shake().await);
}

#[test]
fn rates_that_nobody_could_keep_are_refused() {
    let config = |listener: &str| {
        format!(
            "version: 1
listeners: {{ public: {{ bind: '127.0.0.1:8080', {listener} }} }}
upstreams: {{ one: {{ targets: ['{BACKEND}'] }} }}
apis: {{ test: {{ upstream: one, public: a test }} }}
"
        )
    };
    for (listener, part) in [
        ("connection_rate: { rate: 50/s, burst: 0 }", "nobody could ever connect"),
        ("connection_rate: often", "is not a rate"),
        ("handshake_rate: 50/s", "does not speak TLS"),
    ] {
        let problems = problems(&config(listener));
        assert!(problems.contains(part), "{listener}: {problems}");
    }
}
