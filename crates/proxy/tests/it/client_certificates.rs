use crate::it::kit::{brief, header, hear};
use base::caps::LINGER_TOTAL_S;
use std::time::Duration;
use testkit::backend::Act;
use testkit::gateway::{BACKEND, client_tls_with};
use testkit::{Authority, Backend, Pair, Surroundings, TestGateway};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

const DAY: Duration = Duration::from_secs(86_400);

/// Three hosts: `a.test` needs a client certificate, `b.test` takes one, `open.test` asks for none.
struct World {
    around: Surroundings,
    servers: Authority,
    clients: Authority,
    gateway: TestGateway,
}

fn config(crl: &str) -> String {
    format!(
        "version: 1
listeners:
  public:
    bind: '127.0.0.1:8443'
    tls:
      certificates:
        - {{ cert: open.pem, key: open.key }}
        - {{ cert: a.pem, key: a.key, client: {{ ca: clients.pem{crl} }} }}
        - {{ cert: b.pem, key: b.key, client: {{ mode: optional, ca: clients.pem }} }}
upstreams: {{ one: {{ targets: ['{BACKEND}'] }} }}
apis:
  test:
    upstream: one
    public: a test
    routes:
      - /mine: {{ policies: [{{ allow: 'tls.client.verified && tls.client.subject == \"CN=alice\" && \"alice.clients.test\" in tls.client.names && tls.client.serial == \"07\" && size(tls.client.fingerprint) == 64 && tls.client.issuer.startsWith(\"CN=a test\")' }}] }}
      - /*
"
    )
}

impl World {
    fn new() -> Self {
        Self::with(&config(""), None, "a.test")
    }

    fn with(config: &str, crl: Option<&[u8]>, a: &str) -> Self {
        let (servers, clients) = (Authority::new(), Authority::new());
        let mut around = Surroundings::of(config).file("clients.pem", clients.ca_pem.as_str());
        for name in ["open", "a", "b"] {
            let host = if name == "a" { a.to_owned() } else { format!("{name}.test") };
            let pair = servers.sign(&[&host]);
            around = around
                .file(&format!("{name}.pem"), pair.cert_pem)
                .file(&format!("{name}.key"), pair.key_pem);
        }
        if let Some(serials) = crl {
            around = around.file("clients.crl", clients.revoked(serials, DAY));
        }
        let gateway = TestGateway::within(&around);
        gateway.put(BACKEND, Backend::echo());
        Self { around, servers, clients, gateway }
    }

    /// What comes of a request for `path` at `host`, on a connection made for `name`.
    async fn ask(&self, pair: Option<&Pair>, name: &str, host: &str, path: &str) -> String {
        let client = client_tls_with(&self.servers.ca_pem, pair);
        match self.gateway.connect_tls_with("public", name, client).await {
            Err(_) => "no connection".to_owned(),
            Ok(mut io) => fetch(&mut io, host, path).await,
        }
    }
}

async fn fetch(io: &mut (impl AsyncRead + AsyncWrite + Unpin), host: &str, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
    drop(io.write_all(request.as_bytes()).await);
    brief(&hear(io).await)
}

#[tokio::test(start_paused = true)]
async fn each_host_asks_for_what_it_wants() {
    let world = World::new();
    let alice = world.clients.sign_client("alice", 7);
    let stranger = Authority::new().sign_client("alice", 7);
    for (pair, name, expected) in [
        (Some(&alice), "a.test", "200"),
        (None, "a.test", "closed"),
        (Some(&stranger), "a.test", "closed"),
        (Some(&alice), "b.test", "200"),
        (None, "b.test", "200"),
        (Some(&stranger), "b.test", "closed"),
        (Some(&alice), "open.test", "200"),
        (None, "open.test", "200"),
    ] {
        assert_eq!(world.ask(pair, name, name, "/").await, expected, "{name} {}", pair.is_some());
    }
    let failed = "yett_tls_handshakes_failed_total{listener=\"public\"}";
    assert!((world.gateway.metric(failed) - 3.0).abs() < 0.5);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_asks_for_more_is_not_reached_by_a_connection_made_for_another() {
    let world = World::new();
    let alice = world.clients.sign_client("alice", 7);
    for (pair, name, host, expected) in [
        (None, "open.test", "a.test", "421 misdirected, closed"),
        (Some(&alice), "open.test", "a.test", "421 misdirected, closed"),
        (None, "open.test", "b.test", "421 misdirected, closed"),
        (None, "b.test", "a.test", "421 misdirected, closed"),
        (None, "open.test", "A.TEST", "421 misdirected, closed"),
        (None, "open.test", "a.test.", "421 misdirected, closed"),
        // Its certificate is one that the other host takes as well.
        (Some(&alice), "b.test", "a.test", "200"),
        (Some(&alice), "a.test", "b.test", "200"),
        (Some(&alice), "a.test", "open.test", "200"),
        // No certificate names it, so nobody can tell that it is not the host that asks for more.
        (None, "open.test", "other.test", "421 misdirected, closed"),
        (None, "open.test", "x.a.test", "421 misdirected, closed"),
        (None, "open.test", "127.0.0.1", "421 misdirected, closed"),
        (Some(&alice), "a.test", "other.test", "200"),
    ] {
        assert_eq!(world.ask(pair, name, host, "/").await, expected, "{name} {host}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_demanded_below_a_name_is_demanded_at_every_depth() {
    let world = World::with(&config(""), None, "*.a.test");
    let alice = world.clients.sign_client("alice", 7);
    for (pair, name, host, expected) in [
        (None, "x.a.test", "x.a.test", "closed"),
        (Some(&alice), "x.a.test", "x.a.test", "200"),
        (None, "open.test", "x.a.test", "421 misdirected, closed"),
        (None, "open.test", "y.x.a.test", "421 misdirected, closed"),
        (None, "open.test", "z.y.x.A.test.", "421 misdirected, closed"),
        (Some(&alice), "x.a.test", "z.y.x.a.test", "200"),
        (None, "open.test", "open.test", "200"),
    ] {
        assert_eq!(world.ask(pair, name, host, "/").await, expected, "{name} {host}");
    }
}

#[tokio::test(start_paused = true)]
async fn expressions_see_the_certificate_of_the_host_it_was_shown_to() {
    let world = World::new();
    let alice = world.clients.sign_client("alice", 7);
    let bob = world.clients.sign_client("bob", 8);
    for (pair, name, host, expected) in [
        (Some(&alice), "a.test", "a.test", "200"),
        (Some(&bob), "a.test", "a.test", "403 access_denied"),
        (Some(&alice), "b.test", "b.test", "200"),
        (None, "b.test", "b.test", "403 access_denied"),
        (Some(&alice), "open.test", "open.test", "403 access_denied"),
        (Some(&alice), "a.test", "open.test", "403 access_denied"),
    ] {
        assert_eq!(world.ask(pair, name, host, "/mine").await, expected, "{name} {host}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reload_that_asks_no_client_any_more_forgets_what_was_shown() {
    let world = World::new();
    let alice = world.clients.sign_client("alice", 7);
    let client = client_tls_with(&world.servers.ca_pem, Some(&alice));
    let mut io = world.gateway.connect_tls_with("public", "a.test", client).await.unwrap();
    assert_eq!(fetch(&mut io, "a.test", "/mine").await, "200");
    let config = config("");
    let (before, _) = config.split_once("    tls:").unwrap();
    let (_, after) = config.split_once("upstreams:").unwrap();
    let config = format!("{before}upstreams:{after}");
    world.gateway.reload(&config).unwrap();
    assert_eq!(fetch(&mut io, "a.test", "/mine").await, "403 access_denied");
}

#[tokio::test(start_paused = true)]
async fn who_was_revoked_does_not_come_in() {
    let world = World::with(&config(", crl: clients.crl"), Some(&[8]), "a.test");
    let alice = world.clients.sign_client("alice", 7);
    let bob = world.clients.sign_client("bob", 8);
    assert_eq!(world.ask(Some(&alice), "a.test", "a.test", "/").await, "200");
    assert_eq!(world.ask(Some(&bob), "a.test", "a.test", "/").await, "closed");
    // The other host has no list, so he gets a connection there, but not further.
    assert_eq!(world.ask(Some(&bob), "b.test", "b.test", "/").await, "200");
    assert_eq!(world.ask(Some(&bob), "b.test", "a.test", "/").await, "421 misdirected, closed");
}

impl World {
    /// A request on a connection with this certificate whose answer has begun and does not end.
    async fn stream(&self, pair: &Pair) -> impl AsyncRead + AsyncWrite + Unpin {
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
        self.gateway.put(BACKEND, Backend::acts([Act::Bytes(head.to_vec()), Act::Hang]));
        let client = client_tls_with(&self.servers.ca_pem, Some(pair));
        let mut io = self.gateway.connect_tls_with("public", "a.test", client).await.unwrap();
        let begun = fetch(&mut io, "a.test", "/").await;
        assert_eq!(begun, "200");
        io
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_when_a_new_list_revokes_who_opened_it() {
    let world = World::with(&config(", crl: clients.crl"), Some(&[8]), "a.test");
    let alice = world.clients.sign_client("alice", 7);
    let bob = world.clients.sign_client("bob", 9);
    let (mut of_alice, mut of_bob) = (world.stream(&alice).await, world.stream(&bob).await);
    let around = world.around.clone().file("clients.crl", world.clients.revoked(&[7, 8], DAY));
    world.gateway.reload_within(&around).unwrap();
    world.gateway.advance(Duration::from_millis(250));
    assert_eq!(hear(&mut of_alice).await, "<closed>");
    assert_eq!(hear(&mut of_bob).await, "");
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_the_certificate_that_opened_it() {
    let world = World::new();
    let alice = world.clients.sign_client("alice", 7);
    let mut stream = world.stream(&alice).await;
    world.gateway.advance(DAY - Duration::from_secs(600));
    assert_eq!(hear(&mut stream).await, "");
    world.gateway.advance(Duration::from_secs(600));
    assert_eq!(hear(&mut stream).await, "<closed>");
}

/// A gateway that lets in whom these records name, by certificates of either of two authorities.
fn by_records(ours: &Authority, theirs: &Authority, records: &str) -> (Authority, TestGateway) {
    let servers = Authority::new();
    let pair = servers.sign(&["a.test"]);
    let config = format!(
        "version: 1
listeners:
  public:
    bind: '127.0.0.1:8443'
    tls:
      certificates: [{{ cert: a.pem, key: a.key }}]
      client: {{ ca: clients.pem }}
apis:
  test: {{ policies: [mtls, {{ respond: {{ body: hello }} }}] }}
  any: {{ path: /any, policies: [{{ mtls: {{ consumer: any }} }}, {{ respond: {{ body: hello }} }}] }}
consumers: {{ alice: {{ certificates: [{records}] }} }}
"
    );
    let around = Surroundings::of(&config)
        .file("clients.pem", format!("{}{}", ours.ca_pem, theirs.ca_pem))
        .file("a.pem", pair.cert_pem)
        .file("a.key", pair.key_pem);
    (servers, TestGateway::within(&around))
}

async fn let_in(of: &(Authority, TestGateway), pair: &Pair) -> String {
    let client = client_tls_with(&of.0.ca_pem, Some(pair));
    let mut io = of.1.connect_tls_with("public", "a.test", client).await.unwrap();
    fetch(&mut io, "a.test", "/").await
}

#[tokio::test(start_paused = true)]
async fn who_may_choose_a_common_name_is_nobody_else_by_it() {
    let (ours, theirs) = (Authority::named("ours"), Authority::named("theirs"));
    let of = by_records(&ours, &theirs, "subject: 'CN=scanner, O=Example'");
    let liar = ours.sign_client("scanner, O=Example", 7);
    assert_eq!(let_in(&of, &liar).await, "401 credentials_invalid");
    let of = by_records(&ours, &theirs, "subject: 'CN = scanner\\, O=Example'");
    assert_eq!(let_in(&of, &liar).await, "200");
}

#[tokio::test(start_paused = true)]
async fn an_authority_that_calls_itself_like_another_is_not_that_one() {
    let (ours, theirs) = (Authority::named("ours"), Authority::named("theirs"));
    let of = by_records(&ours, &theirs, "{ subject: CN=alice, issuer: CN=ours }");
    assert_eq!(let_in(&of, &ours.sign_client("alice", 7)).await, "200");
    assert_eq!(let_in(&of, &theirs.sign_client("alice", 7)).await, "401 credentials_invalid");
    let through = |between: Authority| {
        let pair = between.sign_client("alice", 7);
        Pair { cert_pem: format!("{}{}", pair.cert_pem, between.ca_pem), ..pair }
    };
    let forged = through(theirs.below("ours"));
    assert_eq!(let_in(&of, &forged).await, "401 credentials_invalid");
    assert_eq!(let_in(&of, &through(ours.below("devices"))).await, "200");
}

#[tokio::test(start_paused = true)]
async fn plain_http_on_a_port_with_tls_is_told_so() {
    let world = World::new();
    let mut io = world.gateway.connect_as("public", "192.0.2.7:1");
    io.write_all(b"GET / HTTP/1.1\r\nhost: open.test\r\n\r\n").await.unwrap();
    let answer = hear(&mut io).await;
    assert_eq!(brief(&answer), "400 tls_expected, closed");
    assert!(answer.contains("This port speaks HTTPS"), "{answer}");
    assert_eq!(header(&answer, "connection"), Some("close"));
    assert!(world.gateway.seen().is_empty());
    let mut io = world.gateway.connect_as("public", "192.0.2.7:1");
    io.write_all(b"\x00garbage that is no TLS").await.unwrap();
    assert!(hear(&mut io).await.ends_with("<closed>"));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_was_refused_is_not_listened_to_for_ever() {
    let world = World::new();
    let client = client_tls_with(&world.servers.ca_pem, None);
    let mut io = world.gateway.connect_tls_with("public", "a.test", client).await.unwrap();
    let mut lingered_s = 0;
    // It takes itself for connected, until nobody takes what it sends.
    while io.write_all(b"more").await.is_ok() && io.flush().await.is_ok() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        lingered_s += 1;
    }
    assert!((LINGER_TOTAL_S..LINGER_TOTAL_S + 3).contains(&lingered_s), "{lingered_s} s");
}
