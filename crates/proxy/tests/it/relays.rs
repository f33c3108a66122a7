use std::sync::Arc;
use std::time::Duration;
use testkit::gateway::{BACKEND, client_tls_with, problems};
use testkit::{Authority, Backend, Surroundings, TestGateway};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc::Receiver;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConnection, ServerConfig};

const OTHER: &str = "10.0.0.2:5432";

fn config(tcp: &str, upstream: &str) -> String {
    format!(
        "version: 1
listeners: {{ public: {{ bind: '127.0.0.1:5432', tcp: {{ upstream: db, {tcp} }} }} }}
upstreams: {{ db: {{ targets: ['{BACKEND}'], {upstream} }} }}
"
    )
}

fn gateway(tcp: &str, upstream: &str) -> (TestGateway, Receiver<DuplexStream>) {
    let gateway = TestGateway::new(&config(tcp, upstream));
    let targets = gateway.play(BACKEND);
    (gateway, targets)
}

async fn read(io: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut buffer = [0; 64];
    let count = io.read(&mut buffer).await.unwrap();
    String::from_utf8_lossy(&buffer[..count]).into_owned()
}

/// The paused clock.
#[expect(
    clippy::disallowed_methods,
    reason = "waiting in tests goes by the runtime's paused clock"
)]
fn now() -> Instant {
    Instant::now()
}

const PUBLIC: &str = "public: a test";

#[tokio::test(start_paused = true)]
async fn bytes_pass_in_both_directions_and_each_ends_on_its_own() {
    let (gateway, mut targets) = gateway(PUBLIC, "");
    let mut client = gateway.connect_as("public", "192.0.2.1:4000");
    let mut target = targets.recv().await.unwrap();
    target.write_all(b"220 hello").await.unwrap();
    assert_eq!(read(&mut client).await, "220 hello", "the target may speak first");
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(read(&mut target).await, "GET / HTTP/1.1\r\n\r\n", "nothing is HTTP here");
    client.shutdown().await.unwrap();
    assert_eq!(read(&mut target).await, "", "the end passes through");
    target.write_all(b"still here").await.unwrap();
    assert_eq!(read(&mut client).await, "still here", "and the other direction goes on");
    drop(target);
    assert_eq!(read(&mut client).await, "");
    tokio::task::yield_now().await;
    let ended = "yett_relayed_connections_total{listener=\"public\",outcome=\"ended\"}";
    assert!((gateway.metric(ended) - 1.0).abs() < 0.1);
    let bytes = "yett_relayed_bytes_total{listener=\"public\",direction=\"out\"}";
    assert!((gateway.metric(bytes) - 19.0).abs() < 0.1);
}

#[tokio::test(start_paused = true)]
async fn much_passes_through_a_slow_receiver_unharmed() {
    let (gateway, mut targets) = gateway(PUBLIC, "");
    let mut client = gateway.connect_as("public", "192.0.2.1:4000");
    let mut target = targets.recv().await.unwrap();
    let sent: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 251) as u8).collect();
    let writing = async {
        client.write_all(&sent).await.unwrap();
        client.shutdown().await.unwrap();
    };
    let reading = async {
        let (mut taken, mut piece) = (Vec::new(), [0; 997]);
        loop {
            let count = target.read(&mut piece).await.unwrap();
            if count == 0 {
                return taken;
            }
            taken.extend_from_slice(&piece[..count]);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let ((), taken) = tokio::join!(writing, reading);
    assert!(taken == sent);
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_connection_and_talk_in_either_direction_keeps_it() {
    let (gateway, mut targets) = gateway("public: a test, idle: 60s", "");
    let mut client = gateway.connect_as("public", "192.0.2.1:4000");
    let mut target = targets.recv().await.unwrap();
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(50)).await;
        target.write_all(b".").await.unwrap();
        assert_eq!(read(&mut client).await, ".");
    }
    let began = now();
    assert_eq!(read(&mut client).await, "");
    let silent = began.elapsed();
    assert!(silent >= Duration::from_secs(60) && silent <= Duration::from_secs(76), "{silent:?}");
    assert_eq!(read(&mut target).await, "");
    let faults = "yett_relayed_connections_total{listener=\"public\",outcome=\"failed\"}";
    assert!((gateway.metric(faults) - 1.0).abs() < 0.1);
}

#[tokio::test(start_paused = true)]
async fn another_target_is_tried_when_one_cannot_be_reached() {
    let two = format!("db: {{ targets: ['{BACKEND}', '{OTHER}'] }}");
    let text = config(PUBLIC, "").replace(&format!("db: {{ targets: ['{BACKEND}'],  }}"), &two);
    assert!(text.contains(OTHER), "{text}");
    let gateway = TestGateway::new(&text);
    gateway.put(BACKEND, Backend::refusing());
    let mut targets = gateway.play(OTHER);
    for _ in 0..4 {
        let mut client = gateway.connect_as("public", "192.0.2.1:4000");
        let mut target = targets.recv().await.unwrap();
        client.write_all(b"hello").await.unwrap();
        assert_eq!(read(&mut target).await, "hello");
    }
}

#[tokio::test(start_paused = true)]
async fn targets_are_told_of_clients_if_they_want_to_know() {
    let (gateway, mut targets) = gateway(PUBLIC, "proxy_protocol: v1");
    let _client = gateway.connect_as("public", "192.0.2.1:4000");
    let mut target = targets.recv().await.unwrap();
    let told = read(&mut target).await;
    assert!(told.starts_with("PROXY TCP4 192.0.2.1 ") && told.ends_with("\r\n"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_keeps_its_place_until_it_ends() {
    let (gateway, mut targets) = gateway(PUBLIC, "concurrency: { max: 1, queue: 0 }");
    let first = gateway.connect_as("public", "192.0.2.1:4000");
    let held = targets.recv().await.unwrap();
    let mut second = gateway.connect_as("public", "192.0.2.1:4001");
    assert_eq!(read(&mut second).await, "", "there is no room");
    drop((first, held));
    tokio::time::sleep(Duration::from_millis(1)).await;
    let _third = gateway.connect_as("public", "192.0.2.1:4002");
    assert!(targets.recv().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn who_may_not_connect_is_closed_and_counted() {
    let (gateway, mut targets) = gateway("from: [192.0.2.0/24]", "");
    let mut stranger = gateway.connect_as("public", "203.0.113.1:4000");
    assert_eq!(read(&mut stranger).await, "");
    let refused = "yett_connections_refused_total{listener=\"public\",reason=\"denied\"}";
    assert!((gateway.metric(refused) - 1.0).abs() < 0.1);
    let _client = gateway.connect_as("public", "192.0.2.1:4000");
    assert!(targets.recv().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn whom_a_proxy_announces_is_who_must_be_let_in() {
    let text = config("from: [192.0.2.0/24]", "")
        .replace("tcp:", "proxy_protocol: { from: [10.0.0.0/8] }, tcp:");
    let gateway = TestGateway::new(&text);
    let mut targets = gateway.play(BACKEND);
    for (client, is_let_in) in [("203.0.113.1", false), ("192.0.2.1", true)] {
        let mut io = gateway.connect_as("public", "10.1.1.1:4000");
        let header = format!("PROXY TCP4 {client} 10.0.0.1 4711 5432\r\nhello");
        io.write_all(header.as_bytes()).await.unwrap();
        if is_let_in {
            assert_eq!(read(&mut targets.recv().await.unwrap()).await, "hello");
        } else {
            assert_eq!(read(&mut io).await, "", "{client}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_hello_in_many_pieces_is_read_like_any_other() {
    let gateway = TestGateway::new(&passing(""));
    let mut targets = gateway.play(BACKEND);
    let client = client_tls_with(&Authority::new().ca_pem, None);
    let name = "a.db.test".try_into().unwrap();
    let mut hello = Vec::new();
    let mut client = ClientConnection::new(client, name).unwrap();
    client.write_tls(&mut hello).unwrap();
    let mut io = gateway.connect_as("public", "192.0.2.1:4000");
    for piece in hello.chunks(7) {
        io.write_all(piece).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut target = targets.recv().await.unwrap();
    let mut taken = vec![0; hello.len()];
    target.read_exact(&mut taken).await.unwrap();
    assert!(taken == hello, "not a byte is changed");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_leaves_connections_alone_until_its_end() {
    let (gateway, mut targets) = gateway(PUBLIC, "");
    let mut client = gateway.connect_as("public", "192.0.2.1:4000");
    let mut target = targets.recv().await.unwrap();
    gateway.drain();
    tokio::time::sleep(Duration::from_secs(5)).await;
    client.write_all(b"on").await.unwrap();
    assert_eq!(read(&mut target).await, "on");
    gateway.stop();
    assert_eq!(read(&mut client).await, "");
}

fn passing(tls: &str) -> String {
    let apis = match tls {
        "" => "",
        _ => "apis: { web: { upstream: web, public: a test } }",
    };
    format!(
        "version: 1
listeners:
  public:
    bind: '127.0.0.1:443'
    {tls}
    passthrough: {{ '*.db.test': {{ upstream: db, public: a test }} }}
upstreams: {{ db: {{ targets: ['{BACKEND}'] }}, web: {{ targets: ['{OTHER}'] }} }}
{apis}
"
    )
}

/// A TLS server that says `name`.
async fn speak_tls(io: DuplexStream, authority: &Authority, name: &str) {
    let pair = authority.sign(&[name]);
    let chain = CertificateDer::pem_slice_iter(pair.cert_pem.as_bytes());
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let mut io = TlsAcceptor::from(Arc::new(config)).accept(io).await.unwrap();
    io.write_all(name.as_bytes()).await.unwrap();
    io.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn tls_for_certain_names_is_passed_on_unopened_and_all_other_is_opened() {
    let (targets, ours) = (Authority::new(), Authority::new());
    let pair = ours.sign(&["web.test"]);
    let text = passing("tls: { certificates: [{ cert: web.pem, key: web.key }] }");
    let around =
        Surroundings::of(&text).file("web.pem", pair.cert_pem).file("web.key", pair.key_pem);
    let gateway = TestGateway::within(&around);
    let mut connections = gateway.play(BACKEND);
    gateway.put(OTHER, Backend::echo());
    let client = client_tls_with(&targets.ca_pem, None);
    let connecting = gateway.connect_tls_with("public", "a.db.test", client);
    let serving = async {
        let io = connections.recv().await.unwrap();
        speak_tls(io, &targets, "a.db.test").await;
    };
    let (client, ()) = tokio::join!(connecting, serving);
    assert_eq!(read(&mut client.unwrap()).await, "a.db.test");
    let mut client = gateway.connect_tls("public", "web.test", &ours.ca_pem).await.unwrap();
    let answer = gateway.ask_on(&mut client, "GET / HTTP/1.1\nhost: web.test").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn without_certificates_only_the_names_are_served() {
    let authority = Authority::new();
    let gateway = TestGateway::new(&passing(""));
    gateway.put(BACKEND, Backend::refusing());
    let client = client_tls_with(&authority.ca_pem, None);
    let error = gateway.connect_tls_with("public", "web.test", client).await.unwrap_err();
    assert!(error.to_string().contains("UnrecognisedName"), "{error}");
    for said in [b"GET / HTTP/1.1\r\n\r\n".as_slice(), b"\x16\x03\x01\x00\x05hello"] {
        let mut io = gateway.connect_as("public", "192.0.2.1:4000");
        io.write_all(said).await.unwrap();
        assert_eq!(read(&mut io).await, "", "{said:?}");
    }
    let refused = "yett_connections_refused_total{listener=\"public\",reason=\"unknown_name\"}";
    assert!((gateway.metric(refused) - 3.0).abs() < 0.1);
}

#[tokio::test(start_paused = true)]
async fn a_hello_that_does_not_come_ends_the_connection() {
    let gateway = TestGateway::new(&passing(""));
    let mut io = gateway.connect_as("public", "192.0.2.1:4000");
    io.write_all(b"\x16\x03\x01\x10\x00").await.unwrap();
    let began = now();
    assert_eq!(read(&mut io).await, "");
    assert_eq!(began.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn tls_may_end_at_the_gateway_and_the_plain_bytes_go_on() {
    let authority = Authority::new();
    let pair = authority.sign(&["db.test"]);
    let text = config(PUBLIC, "")
        .replace("tcp:", "tls: { certificates: [{ cert: db.pem, key: db.key }] }, tcp:");
    let around = Surroundings::of(&text).file("db.pem", pair.cert_pem).file("db.key", pair.key_pem);
    let gateway = TestGateway::within(&around);
    let mut targets = gateway.play(BACKEND);
    let mut client = gateway.connect_tls("public", "db.test", &authority.ca_pem).await.unwrap();
    assert_eq!(client.get_ref().1.alpn_protocol(), None);
    let mut target = targets.recv().await.unwrap();
    client.write_all(b"hello").await.unwrap();
    assert_eq!(read(&mut target).await, "hello");
    target.write_all(b"world").await.unwrap();
    assert_eq!(read(&mut client).await, "world");
}

#[test]
fn what_makes_no_sense_is_refused_with_a_remedy() {
    let listener = |text: &str, more: &str| {
        problems(&format!(
            "version: 1
listeners: {{ public: {{ bind: '127.0.0.1:1', {text} }} }}
upstreams: {{ db: {{ targets: ['{BACKEND}'] }}, safe: {{ targets: ['{OTHER}'], tls: true }} }}
{more}"
        ))
    };
    for (text, expected) in [
        ("tcp: db", "anybody may connect to `db` here"),
        ("tcp: { upstream: dv, public: a test }", "did you mean `db`?"),
        ("tcp: { upstream: db, public: '' }", "`public` needs a reason"),
        ("tcp: { upstream: db, public: a test, from: [10.0.0.0/8] }", "`public` lets everybody in"),
        ("tcp: { upstream: db, public: a test, idle: 0s }", "must be allowed to be silent"),
        (
            "tcp: { upstream: db, public: a test }, redirect_https: 443",
            "both `tcp` and `redirect_https`",
        ),
        ("passthrough: { a.test: db }", "anybody may connect to `db` here"),
        (
            "passthrough: { 10.0.0.1: { upstream: db, public: a test } }",
            "neither an IPv4 address nor a host name",
        ),
        (
            "passthrough: { 'a.*': { upstream: db, public: a test } }",
            "a `*` can only stand for what comes first",
        ),
        ("passthrough: { a.test: { upstream: safe, public: a test } }", "TLS already"),
    ] {
        let report = listener(text, "");
        assert!(report.contains(expected), "{text}\n{report}");
    }
    let api = "apis: { web: { upstream: db, public: a test, listeners: [public] } }";
    let report = listener("tcp: { upstream: db, public: a test }", api);
    assert!(report.contains("it has no routes"), "{report}");
    for listeners in [
        "tcp: { upstream: db, public: a test }",
        "passthrough: { a.test: { upstream: db, public: a test } }",
    ] {
        let report = listener(listeners, "apis: { web: { upstream: db, public: a test } }");
        assert!(report.contains("nobody reaches this API"), "{report}");
        assert!(!report.contains("nothing uses upstream `db`"), "{report}");
    }
}
