//! Certificates of clients of which proxies tell (RFC 9440).

use crate::it::kit::{brief, hear, tell_bytes};
use std::time::Duration;
use testkit::gateway::BACKEND;
use testkit::{Authority, Backend, Pair, Surroundings, TestGateway};

const PROXY: &str = "10.0.0.9:40000";
const STRANGER: &str = "203.0.113.5:40000";

/// A gateway that proxies tell of certificates as `client_cert` says, with routes for each use of one.
fn gateway(client_cert: &str, files: &[(&str, &str)]) -> TestGateway {
    let config = format!(
        "version: 1
listeners: {{ public: {{ bind: '127.0.0.1:8080', trusted_proxies: {{ from: [10.0.0.0/8]{client_cert} }} }} }}
upstreams: {{ one: {{ targets: ['{BACKEND}'] }} }}
apis:
  test:
    upstream: one
    routes:
      - /mine: {{ policies: [mtls] }}
      - /told: {{ public: a test, policies: [{{ identity_headers: {{ client_cert: true }} }}] }}
      - /asks: {{ public: a test, policies: [{{ allow: 'tls.client.verified && tls.client.subject == \"CN=alice\"' }}] }}
      - /*: {{ public: a test }}
consumers: {{ shop: {{ certificates: [{{ subject: CN=alice }}] }} }}
"
    );
    let around = Surroundings::of(&config);
    let around = files.iter().fold(around, |around, (name, text)| around.file(name, *text));
    let gateway = TestGateway::within(&around);
    gateway.put(BACKEND, Backend::echo());
    gateway
}

/// A certificate as a structured field.
fn field(pem: &str) -> String {
    let lines: Vec<&str> = pem.lines().filter(|line| !line.starts_with('-')).collect();
    format!(":{}:", lines.concat())
}

fn client_cert(pair: &Pair) -> String {
    format!("client-cert: {}\n", field(&pair.cert_pem))
}

async fn whole(gateway: &TestGateway, peer: &str, path: &str, headers: &str) -> String {
    let mut io = gateway.connect_from(peer);
    let request = format!("GET {path} HTTP/1.1\nhost: a.test\n{headers}connection: close\n\n");
    tell_bytes(&mut io, request.replace('\n', "\r\n").as_bytes()).await;
    hear(&mut io).await
}

/// What comes of a request.
async fn ask(gateway: &TestGateway, peer: &str, path: &str, headers: &str) -> String {
    brief(&whole(gateway, peer, path, headers).await)
}

#[tokio::test(start_paused = true)]
async fn a_trusted_proxy_tells_whose_certificate_it_saw() {
    let gateway = gateway(", client_cert: verified", &[]);
    let alice = client_cert(&Authority::new().sign_client("alice", 7));
    let bob = client_cert(&Authority::new().sign_client("bob", 8));
    // The second time it is remembered.
    for _ in 0..2 {
        let answer = whole(&gateway, PROXY, "/mine", &alice).await;
        assert!(answer.contains("x-yett-consumer: shop\n"), "{answer}");
        assert!(!answer.contains("client-cert"), "the backend does not see it: {answer}");
        assert_eq!(ask(&gateway, PROXY, "/asks", &alice).await, "200, closed");
        assert_eq!(ask(&gateway, PROXY, "/asks", &bob).await, "403 access_denied, closed");
    }
    let missing = "401 credentials_missing, closed";
    assert_eq!(ask(&gateway, PROXY, "/mine", "").await, missing);
    assert_eq!(ask(&gateway, PROXY, "/mine", &bob).await, "401 credentials_invalid, closed");
    assert_eq!(ask(&gateway, STRANGER, "/mine", &alice).await, missing);
    assert_eq!(ask(&gateway, STRANGER, "/asks", &alice).await, "403 access_denied, closed");
}

#[tokio::test(start_paused = true)]
async fn who_is_not_asked_is_not_believed_and_nobody_else_gets_to_see_it() {
    let alice = client_cert(&Authority::new().sign_client("alice", 7));
    let silent = gateway("", &[]);
    for peer in [PROXY, STRANGER] {
        assert_eq!(ask(&silent, peer, "/mine", &alice).await, "401 credentials_missing, closed");
        for spelling in ["client-cert", "Client-Cert", "client_cert", "Client-Cert-Chain"] {
            let lie = alice.replace("client-cert", spelling);
            let answer = whole(&silent, peer, "/", &lie).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            let seen = silent.seen().pop().unwrap().to_lowercase().replace('_', "-");
            assert!(!seen.contains("client-cert"), "{spelling}: {seen}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_exactly_one_certificate_ends_the_request() {
    let gateway = gateway(", client_cert: verified", &[]);
    let authority = Authority::new();
    let alice = client_cert(&authority.sign_client("alice", 7));
    let value = alice.trim_end().strip_prefix("client-cert: ").unwrap();
    let chain = |count: usize| {
        format!("{alice}client-cert-chain: {}\n", vec![field(&authority.ca_pem); count].join(", "))
    };
    for hostile in [
        format!("{alice}{alice}"),
        format!("client-cert: {value}, {value}\n"),
        "client-cert: \n".to_owned(),
        "client-cert: ::\n".to_owned(),
        "client-cert: :AAAA:\n".to_owned(),
        "client-cert: :!:\n".to_owned(),
        "client-cert: CN=alice\n".to_owned(),
        "client-cert: \"CN=alice\"\n".to_owned(),
        format!("client-cert: {}\n", value.trim_matches(':')),
        format!("client-cert: {}\n", value.replace("MII", "MIJ")),
        // Another byte after its end.
        format!("client-cert: {}AAAA:\n", value.trim_end_matches(':').trim_end_matches('=')),
        format!("client-cert: :{}:\n", "A".repeat(40_000)),
        format!("client-cert-chain: {}\n", field(&authority.ca_pem)),
        format!("{alice}client-cert-chain: CN=ca\n"),
        format!("{alice}client-cert-chain: (:AAAA:)\n"),
        chain(11),
    ] {
        for path in ["/mine", "/"] {
            let told = ask(&gateway, PROXY, path, &hostile).await;
            assert_eq!(told, "400 bad_request, closed", "{hostile}");
        }
        let answer = ask(&gateway, STRANGER, "/", &hostile).await;
        assert_eq!(answer, "200, closed", "a stranger's is not looked at: {hostile}");
    }
    assert_eq!(ask(&gateway, PROXY, "/mine", &chain(10)).await, "200, closed");
}

#[tokio::test(start_paused = true)]
async fn own_authorities_judge_besides_the_proxy() {
    let authority = Authority::new();
    let lists = authority.revoked(&[9], Duration::from_secs(86_400));
    let gateway = gateway(
        ", client_cert: { ca: clients.pem, crl: clients.crl }",
        &[("clients.pem", &authority.ca_pem), ("clients.crl", &lists)],
    );
    let (fine, revoked) = (authority.sign_client("alice", 7), authority.sign_client("alice", 9));
    let forged = Authority::new().sign_client("alice", 7);
    for _ in 0..2 {
        assert_eq!(ask(&gateway, PROXY, "/mine", &client_cert(&fine)).await, "200, closed");
        for bad in [&revoked, &forged] {
            for path in ["/mine", "/"] {
                let told = ask(&gateway, PROXY, path, &client_cert(bad)).await;
                assert_eq!(told, "401 credentials_invalid, closed");
            }
        }
    }
    let told = ask(&gateway, PROXY, "/mine", "").await;
    assert_eq!(told, "401 credentials_missing, closed", "none needs to come");
}

#[tokio::test(start_paused = true)]
async fn backends_may_be_told_in_turn() {
    let gateway = gateway(", client_cert: verified", &[]);
    let authority = Authority::new();
    let own = client_cert(&authority.sign_client("alice", 7));
    let chain = format!("client-cert-chain: {}\n", field(&authority.ca_pem));
    let answer = whole(&gateway, PROXY, "/told", &format!("{own}{chain}")).await;
    assert!(answer.contains(&own) && answer.contains(&chain), "{answer}");
    let answer = whole(&gateway, STRANGER, "/told", &format!("{own}{chain}")).await;
    assert!(!answer.contains("client-cert"), "{answer}");
}
