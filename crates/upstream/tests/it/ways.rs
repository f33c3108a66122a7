//! What is said ahead of HTTP: to proxies on the way, and of clients.

use super::kit::{
    Names, Net, converse, exchange, found, get, read, send, settle, spec, text, world,
    world_with_names,
};
use base::caps::INFORMATIONAL_MAX;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use traffic::outbound::read as whole;
use traffic::upstream::{Call, Peers, Timeouts, Upstream};
use traffic::{Body, Destination, FaultCode, Headers, Interim, Request, Response};
use upstream::{
    EgressSpec, HealthQuestion, HealthSpec, NoProxy, Protocol, ProxyProtocol, ProxySpec,
    TargetHost, UpstreamSpec, build, outbound,
};

const AT: &str = "192.0.2.1:8080";
const HELLO: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

/// Reads up to an end of lines, as text.
async fn read_to(io: &mut DuplexStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        text.push(io.read_u8().await.unwrap());
    }
    String::from_utf8(text).unwrap()
}

fn peers(client: &str, local: &str) -> Peers {
    Peers { client: client.parse().unwrap(), local: local.parse().unwrap() }
}

async fn send_for(upstream: &Arc<dyn Upstream>, peers: Peers) -> Response {
    let picked = upstream.pick(&exchange()).unwrap();
    let (timeouts, interim) = (Timeouts::default(), Interim::default());
    let call = Call { worker: 0, timeouts, interim, peers: Some(peers), ..Call::default() };
    picked.target.send(call, get()).await.unwrap()
}

fn telling(version: ProxyProtocol) -> UpstreamSpec {
    UpstreamSpec { proxy_protocol: Some(version), ..spec(&[AT]) }
}

fn proxy() -> ProxySpec {
    let host = TargetHost::Ip("192.0.2.9".parse().unwrap());
    ProxySpec { host, port: 3128, authorization: Some("Basic dTpw".parse().unwrap()) }
}

#[tokio::test]
async fn targets_are_told_of_clients_and_clients_share_no_connection() {
    let net = Arc::new(Net::default());
    let mut accepted = net.listen(AT);
    let upstream = build(telling(ProxyProtocol::V1), &world(&net)).unwrap();
    let local = "198.51.100.1:443";
    let mut open = Vec::new();
    for (client, local, told) in [
        ("203.0.113.7:5000", local, "PROXY TCP4 203.0.113.7 198.51.100.1 5000 443\r\n"),
        (
            "[2001:db8::7]:5001",
            "[2001:db8::1]:443",
            "PROXY TCP6 2001:db8::7 2001:db8::1 5001 443\r\n",
        ),
        ("[::ffff:203.0.113.8]:5002", local, "PROXY TCP4 203.0.113.8 198.51.100.1 5002 443\r\n"),
    ] {
        let of = peers(client, local);
        for again in [false, true] {
            let sending = send_for(&upstream, of);
            let serving = async {
                if !again {
                    let mut io = accepted.recv().await.unwrap();
                    assert_eq!(read_to(&mut io, "\r\n").await, told);
                    open.push(io);
                }
                let io = open.last_mut().unwrap();
                assert!(read_to(io, "\r\n\r\n").await.starts_with("GET /things"));
                io.write_all(HELLO).await.unwrap();
            };
            let (response, ()) = tokio::join!(sending, serving);
            assert_eq!(read(response).await, "hello");
        }
    }
    assert_eq!(net.dials(), 3);
}

#[tokio::test]
async fn connections_of_clients_who_left_do_not_pile_up() {
    let net = Arc::new(Net::default());
    let mut accepted = net.listen(AT);
    let mut spec = UpstreamSpec { idle_max: 4, ..telling(ProxyProtocol::V1) };
    spec.protocol = Protocol::Http2;
    let upstream = build(spec, &world(&net)).unwrap();
    let open = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&open);
    tokio::spawn(async move {
        while let Some(mut io) = accepted.recv().await {
            let open = Arc::clone(&counted);
            tokio::spawn(async move {
                read_to(&mut io, "\r\n").await;
                open.fetch_add(1, Ordering::SeqCst);
                converse(io, true, Arc::new(|_| async { text("hello") })).await;
                open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    for port in 1..100 {
        let client = format!("203.0.113.7:{port}");
        let response = send_for(&upstream, peers(&client, "198.51.100.1:443")).await;
        assert_eq!(read(response).await, "hello");
        settle().await;
    }
    assert_eq!(net.dials(), 99, "each client has its own");
    let left = open.load(Ordering::SeqCst);
    assert!((4..=5).contains(&left), "{left} are open");
}

#[tokio::test]
async fn the_second_version_is_bytes() {
    let net = Arc::new(Net::default());
    let mut accepted = net.listen(AT);
    let upstream = build(telling(ProxyProtocol::V2), &world(&net)).unwrap();
    let sending = tokio::spawn(async move {
        send_for(&upstream, peers("203.0.113.7:258", "198.51.100.1:443")).await
    });
    let mut io = accepted.recv().await.unwrap();
    let mut header = [0; 28];
    io.read_exact(&mut header).await.unwrap();
    assert_eq!(&header[..12], b"\r\n\r\n\0\r\nQUIT\n");
    assert_eq!(&header[12..], [0x21, 0x11, 0, 12, 203, 0, 113, 7, 198, 51, 100, 1, 1, 2, 1, 187]);
    io.write_all(HELLO).await.unwrap();
    sending.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn health_checks_are_told_to_be_our_own() {
    let net = Arc::new(Net::default());
    let mut accepted = net.listen(AT);
    let second = Duration::from_secs(1);
    let health = HealthSpec {
        question: HealthQuestion::Request { method: http::Method::GET, path: "/health".to_owned() },
        every: second,
        timeout: second,
        healthy_after: 1,
        unhealthy_after: 1,
    };
    let spec = UpstreamSpec { health: Some(health), ..telling(ProxyProtocol::V1) };
    let _upstream = build(spec, &world(&net)).unwrap();
    let mut io = accepted.recv().await.unwrap();
    assert_eq!(read_to(&mut io, "\r\n").await, "PROXY UNKNOWN\r\n");
}

#[tokio::test]
async fn a_proxy_is_asked_for_the_target_and_resolves_its_name() {
    let net = Arc::new(Net::default());
    let mut accepted = net.listen("192.0.2.9:3128");
    let mut spec = spec(&["orders.partner.test:8080"]);
    spec.targets = spec.targets.into_iter().map(|target| target.through(&proxy())).collect();
    let world = world_with_names(&net, Names::default());
    let upstream = build(spec, &world).unwrap();
    let sending = tokio::spawn(send(&upstream, get()));
    let mut io = accepted.recv().await.unwrap();
    let asked = read_to(&mut io, "\r\n\r\n").await;
    assert_eq!(
        asked,
        "CONNECT orders.partner.test:8080 HTTP/1.1\r\nhost: orders.partner.test:8080\r\n\
         proxy-authorization: Basic dTpw\r\n\r\n"
    );
    io.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
    let asked = read_to(&mut io, "\r\n\r\n").await;
    assert!(asked.starts_with("GET /things?n=1 HTTP/1.1\r\n"), "{asked}");
    assert!(!asked.contains("Basic"), "{asked}");
    io.write_all(HELLO).await.unwrap();
    assert_eq!(read(sending.await.unwrap().unwrap()).await, "hello");
    settle().await;
    let again = tokio::spawn(send(&upstream, get()));
    read_to(&mut io, "\r\n\r\n").await;
    io.write_all(HELLO).await.unwrap();
    assert_eq!(read(again.await.unwrap().unwrap()).await, "hello");
    assert_eq!(net.dials(), 1, "connections through a proxy are kept like any");
}

#[tokio::test(start_paused = true)]
async fn what_a_proxy_says_ahead_of_its_answer_may_come_together_with_it() {
    let ahead = b"HTTP/1.1 102 Processing\r\n\r\n".repeat(INFORMATIONAL_MAX);
    let answer = [&ahead[..], b"HTTP/1.1 200 OK\r\n\r\n"].concat();
    for size in [answer.len(), ahead.len(), 7] {
        let net = Arc::new(Net::default());
        let mut accepted = net.listen("192.0.2.9:3128");
        let mut spec = spec(&[AT]);
        spec.targets = spec.targets.into_iter().map(|target| target.through(&proxy())).collect();
        let upstream = build(spec, &world(&net)).unwrap();
        let sending = tokio::spawn(send(&upstream, get()));
        let mut io = accepted.recv().await.unwrap();
        read_to(&mut io, "\r\n\r\n").await;
        for piece in answer.chunks(size) {
            io.write_all(piece).await.unwrap();
            settle().await;
        }
        let soon = tokio::time::timeout(Duration::from_secs(1), read_to(&mut io, "\r\n\r\n"));
        let asked = soon.await.unwrap_or_else(|_| panic!("in pieces of {size} it is not seen"));
        assert!(asked.starts_with("GET /things?n=1 HTTP/1.1\r\n"), "{asked}");
        io.write_all(HELLO).await.unwrap();
        assert_eq!(read(sending.await.unwrap().unwrap()).await, "hello");
    }
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_in_the_cause() {
    let many = b"HTTP/1.1 102 Processing\r\n\r\n".repeat(INFORMATIONAL_MAX + 1);
    for (answer, why) in [
        (&b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"[..], "answered 407"),
        (b"SSH-2.0-x\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\nsurprise", "said more than an answer"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "closed the connection"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "answered 101"),
        (&many, "too many informational answers"),
        (b"", "closed the connection"),
    ] {
        let net = Arc::new(Net::default());
        let mut accepted = net.listen("192.0.2.9:3128");
        let mut spec = spec(&[AT]);
        spec.targets = spec.targets.into_iter().map(|target| target.through(&proxy())).collect();
        let upstream = build(spec, &world(&net)).unwrap();
        let sending = tokio::spawn(send(&upstream, get()));
        let mut io = accepted.recv().await.unwrap();
        read_to(&mut io, "\r\n\r\n").await;
        io.write_all(answer).await.unwrap();
        drop(io);
        let failed = sending.await.unwrap().unwrap_err();
        assert_eq!(failed.fault.code, FaultCode::ConnectFailed);
        let cause = failed.fault.cause.unwrap().to_string();
        assert!(cause.contains(why) && !cause.contains("dTpw"), "{cause}");
        assert!(failed.unsent.is_some());
    }
}

#[tokio::test]
async fn own_requests_leave_by_the_egress_proxy_unless_a_rule_says_otherwise() {
    let net = Arc::new(Net::default());
    let mut accepted = net.listen("192.0.2.9:3128");
    net.serve("192.0.2.1:80", |_| async { text("direct") });
    let egress = EgressSpec {
        proxy: Some(proxy()),
        no_proxy: vec![NoProxy::parse(".internal").unwrap()],
        ..EgressSpec::default()
    };
    let world = world_with_names(&net, Names::new([found(&["192.0.2.1"])]));
    let out = outbound(egress, Some(&world));
    let ask = |url: &str| {
        let remote = out.open(Destination::parse(url).unwrap()).unwrap();
        let request = Request {
            method: http::Method::GET,
            target: remote.target().clone(),
            headers: Headers::new(),
            body: Body::empty(),
            protocol: None,
        };
        remote.call(None, request)
    };
    let direct = ask("http://keys.internal/").await.unwrap();
    assert_eq!(whole(direct.body, 100).await.unwrap(), "direct");
    let asking = tokio::spawn(ask("http://idp.partner.test/keys"));
    let mut io = accepted.recv().await.unwrap();
    let asked = read_to(&mut io, "\r\n\r\n").await;
    assert!(asked.starts_with("CONNECT idp.partner.test:80 HTTP/1.1\r\n"), "{asked}");
    io.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    let asked = read_to(&mut io, "\r\n\r\n").await;
    assert!(asked.contains("host: idp.partner.test\r\n"), "{asked}");
    io.write_all(HELLO).await.unwrap();
    assert_eq!(whole(asking.await.unwrap().unwrap().body, 100).await.unwrap(), "hello");
    let dialed: Vec<SocketAddr> = net.dialed.lock().unwrap().clone();
    assert_eq!(dialed, ["192.0.2.1:80".parse().unwrap(), "192.0.2.9:3128".parse().unwrap()]);
}
