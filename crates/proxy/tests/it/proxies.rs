use crate::it::kit::{brief, header, hear, tell_bytes};
use testkit::gateway::BACKEND;
use testkit::{Backend, TestGateway};

/// A gateway with one route for everything to a backend that answers with what it saw.
fn gateway(listener: &str) -> TestGateway {
    let gateway = TestGateway::new(&format!(
        "version: 1
listeners: {{ public: {{ bind: '127.0.0.1:8080', {listener} }} }}
upstreams: {{ one: {{ targets: ['{BACKEND}'] }} }}
apis:
  test:
    upstream: one
    public: a test
    routes:
      - /secret: {{ policies: [{{ allow: 'client.address == \"192.0.2.1\" && request.scheme == \"https\"' }}] }}
      - /*
"
    ));
    gateway.put(BACKEND, Backend::echo());
    gateway
}

/// What comes back when a peer says this; what is said is a request for `path` behind `prefix`.
async fn ask(gateway: &TestGateway, peer: &str, prefix: &[u8], headers: &str) -> String {
    let mut io = gateway.connect_from(peer);
    let request = format!("GET / HTTP/1.1\nhost: a.test\n{headers}connection: close\n\n");
    tell_bytes(&mut io, &[prefix, request.replace('\n', "\r\n").as_bytes()].concat()).await;
    hear(&mut io).await
}

/// What the backend was told of the way: for, proto and host.
async fn told(gateway: &TestGateway, peer: &str, headers: &str) -> String {
    let answer = ask(gateway, peer, b"", headers).await;
    assert_eq!(brief(&answer), "200, closed", "{answer}");
    let seen = gateway.seen().pop().unwrap();
    let told = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"]
        .map(|name| header(&seen, name).unwrap_or("-").to_owned());
    told.join(" | ")
}

const PROXY: &str = "10.0.0.9:40000";
const STRANGER: &str = "203.0.113.5:40000";

#[tokio::test(start_paused = true)]
async fn who_must_announce_its_client_does_or_is_closed() {
    let gateway = gateway("proxy_protocol: { from: [10.0.0.0/8] }");
    let line = b"PROXY TCP4 192.0.2.1 198.51.100.2 8080 443\r\n";
    let answer = ask(&gateway, PROXY, line, "").await;
    assert!(answer.contains("x-forwarded-for: 192.0.2.1\n"), "{answer}");
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    let answer = ask(&gateway, PROXY, local, "").await;
    assert!(answer.contains("x-forwarded-for: 10.0.0.9\n"), "{answer}");
    assert_eq!(ask(&gateway, PROXY, b"", "").await, "<closed>", "without a header");
    assert_eq!(ask(&gateway, PROXY, b"PROXY TCP4 a b 1 2\r\n", "").await, "<closed>");
    let refused = "yett_connections_refused_total{listener=\"public\",reason=\"proxy_header\"}";
    assert!((gateway.metric(refused) - 2.0).abs() < 0.5);
    assert_eq!(brief(&ask(&gateway, STRANGER, line, "").await), "400 bad_request, closed");
    let answer = ask(&gateway, STRANGER, b"", "").await;
    assert!(answer.contains("x-forwarded-for: 203.0.113.5\n"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn an_announcement_that_does_not_come_ends_the_connection() {
    let gateway = gateway("proxy_protocol: [10.0.0.0/8]");
    let mut io = gateway.connect_from(PROXY);
    tell_bytes(&mut io, b"PROXY TCP4 192.0.2.1").await;
    assert_eq!(hear(&mut io).await, "");
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    assert_eq!(hear(&mut io).await, "<closed>");
}

#[tokio::test(start_paused = true)]
async fn the_client_is_the_nearest_address_that_is_not_trusted() {
    let gateway = gateway("trusted_proxies: [10.0.0.0/8, '2001:db8::/32']");
    for (peer, headers, expected) in [
        (STRANGER, "x-forwarded-for: 192.0.2.1\n", "203.0.113.5 | http | a.test | -"),
        (PROXY, "", "10.0.0.9 | http | a.test | -"),
        (PROXY, "x-forwarded-for: 192.0.2.1\n", "192.0.2.1, 10.0.0.9 | http | a.test | -"),
        (PROXY, "x-forwarded-for: 8.8.8.8, 192.0.2.1\n", "192.0.2.1, 10.0.0.9 | http | a.test | -"),
        (
            PROXY,
            "x-forwarded-for: 8.8.8.8, 192.0.2.1, 10.1.1.1:99 ,[2001:db8::1]:1\n",
            "192.0.2.1, 10.1.1.1, 2001:db8::1, 10.0.0.9 | http | a.test | -",
        ),
        (
            PROXY,
            "x-forwarded-for: 192.0.2.1\nx-forwarded-for: 10.1.1.1\n",
            "192.0.2.1, 10.1.1.1, 10.0.0.9 | http | a.test | -",
        ),
        (PROXY, "x-forwarded-for: 192.0.2.1, unknown\n", "10.0.0.9 | http | a.test | -"),
        (
            PROXY,
            "x-forwarded-for: 192.0.2.1, 10.1.1.1, ,10.2.2.2\n",
            "10.2.2.2, 10.0.0.9 | http | a.test | -",
        ),
        (PROXY, "x-forwarded-for: 10.1.1.1\n", "10.1.1.1, 10.0.0.9 | http | a.test | -"),
        (PROXY, "x-forwarded-for: é\n", "10.0.0.9 | http | a.test | -"),
        (PROXY, "forwarded: for=192.0.2.1\n", "10.0.0.9 | http | a.test | -"),
        (
            PROXY,
            "x-forwarded-for: 192.0.2.1\nx-forwarded-proto: https\nx-forwarded-host: b.test:444\n",
            "192.0.2.1, 10.0.0.9 | https | b.test:444 | -",
        ),
        (PROXY, "x-forwarded-proto: HTTPS\n", "10.0.0.9 | https | a.test | -"),
        (PROXY, "x-forwarded-proto: https, http\n", "10.0.0.9 | http | a.test | -"),
        (PROXY, "x-forwarded-proto: gopher\n", "10.0.0.9 | http | a.test | -"),
        (PROXY, "x-forwarded-host: a, b\n", "10.0.0.9 | http | a.test | -"),
        (PROXY, "x-forwarded-host: a\nx-forwarded-host: b\n", "10.0.0.9 | http | a.test | -"),
    ] {
        assert_eq!(told(&gateway, peer, headers).await, expected, "{peer} {headers}");
    }
    let many = format!("x-forwarded-for: 192.0.2.1{}\n", ", 10.1.1.1".repeat(40));
    let told = told(&gateway, PROXY, &many).await;
    assert!(!told.contains("192.0.2.1"), "the walk ends somewhere: {told}");
}

#[tokio::test(start_paused = true)]
async fn forwarded_is_believed_where_it_is_what_proxies_write() {
    let listener = "trusted_proxies: { from: [10.0.0.0/8], header: forwarded }, forwarded: true";
    let gateway = gateway(listener);
    for (peer, headers, expected) in [
        (
            PROXY,
            "forwarded: for=\"[2001:db8::1]:80\";proto=https;host=\"b.test\"\n",
            "2001:db8::1, 10.0.0.9 | https | b.test | for=\"[2001:db8::1]\";host=\"b.test\";proto=https, for=10.0.0.9",
        ),
        (
            PROXY,
            "forwarded: for=8.8.8.8;proto=https, for=192.0.2.1\n",
            "192.0.2.1, 10.0.0.9 | http | a.test | for=192.0.2.1;host=\"a.test\";proto=http, for=10.0.0.9",
        ),
        (
            PROXY,
            "forwarded: garbage, for=192.0.2.1\n",
            "192.0.2.1, 10.0.0.9 | http | a.test | for=192.0.2.1;host=\"a.test\";proto=http, for=10.0.0.9",
        ),
        (
            PROXY,
            "forwarded: for=\"é, for=192.0.2.1\n",
            "192.0.2.1, 10.0.0.9 | http | a.test | for=192.0.2.1;host=\"a.test\";proto=http, for=10.0.0.9",
        ),
        (
            PROXY,
            "forwarded: for=unknown\n",
            "10.0.0.9 | http | a.test | for=10.0.0.9;host=\"a.test\";proto=http",
        ),
        (
            PROXY,
            "forwarded: garbage, for=192.0.2.1, for=10.1.1.1\n",
            "192.0.2.1, 10.1.1.1, 10.0.0.9 | http | a.test | for=192.0.2.1;host=\"a.test\";proto=http, for=10.1.1.1, for=10.0.0.9",
        ),
        (
            PROXY,
            "x-forwarded-for: 192.0.2.1\nx-forwarded-proto: https\n",
            "10.0.0.9 | http | a.test | for=10.0.0.9;host=\"a.test\";proto=http",
        ),
        (
            STRANGER,
            "forwarded: for=192.0.2.1\n",
            "203.0.113.5 | http | a.test | for=203.0.113.5;host=\"a.test\";proto=http",
        ),
    ] {
        assert_eq!(told(&gateway, peer, headers).await, expected, "{headers}");
    }
    // The client must not pass for a proxy whose own word cannot be read.
    for headers in [
        "forwarded: for=\"192.0.2.1\n",
        "forwarded: for=192.0.2.1;host=a:80\n",
        "forwarded: for=192.0.2.1;host=a;for=10.0.0.1\n",
        "forwarded: for=192.0.2.1;host=a:80, for=10.1.1.1\n",
    ] {
        let answer = ask(&gateway, PROXY, b"", headers).await;
        assert_eq!(brief(&answer), "400 bad_request, closed", "{headers}");
    }
}

#[tokio::test(start_paused = true)]
async fn expressions_see_the_client_and_not_the_proxy() {
    let gateway = gateway("trusted_proxies: [10.0.0.0/8]");
    for (peer, headers, expected) in [
        (PROXY, "x-forwarded-for: 192.0.2.1\nx-forwarded-proto: https\n", "200"),
        (PROXY, "x-forwarded-for: 192.0.2.1\n", "403 access_denied"),
        (STRANGER, "x-forwarded-for: 192.0.2.1\nx-forwarded-proto: https\n", "403 access_denied"),
    ] {
        let mut io = gateway.connect_from(peer);
        let request = format!("GET /secret HTTP/1.1\nhost: a.test\n{headers}\n");
        tell_bytes(&mut io, request.replace('\n', "\r\n").as_bytes()).await;
        assert_eq!(brief(&hear(&mut io).await), expected, "{peer} {headers}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_came_by_https_to_the_proxy_is_not_sent_there_again() {
    let gateway = gateway("trusted_proxies: [10.0.0.0/8], redirect_https: 443");
    let answer = ask(&gateway, PROXY, b"", "x-forwarded-proto: https\n").await;
    assert_eq!(brief(&answer), "200, closed");
    let answer = ask(&gateway, STRANGER, b"", "x-forwarded-proto: https\n").await;
    assert_eq!(brief(&answer), "308 https_required, closed");
}
