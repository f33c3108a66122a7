//! TLS of listeners, seen by curl and openssl.

use super::backend::Backend;
use super::client::{curl, curl_fails};
use super::wait;
use super::yett::{Launch, TOP, Yett, run};
use std::process::{Command, Stdio};
use testkit::Authority;

/// Two names, a wildcard, and a plain listener that redirects.
fn start(backend: &Backend, authority: &Authority) -> Yett {
    let config = format!(
        "{TOP}listeners:
  secure:
    bind: \"127.0.0.1:0\"
    tls:
      certificates:
        - {{ cert: one.pem, key: one.key }}
        - {{ cert: two.pem, key: two.key }}
        - {{ cert: wild.pem, key: wild.key }}
  plain: {{ bind: \"127.0.0.1:0\", redirect_https: 8443 }}
upstreams: {{ backend: {{ targets: [\"{}\"] }} }}
apis: {{ all: {{ upstream: backend, public: a test }} }}
",
        backend.address
    );
    let mut launch = Launch::new(&config).file("ca.pem", &authority.ca_pem);
    for (file, name) in [("one", "one.test"), ("two", "two.test"), ("wild", "*.wild.test")] {
        let pair = authority.sign(&[name]);
        launch = launch
            .file(&format!("{file}.pem"), &pair.cert_pem)
            .file(&format!("{file}.key"), &pair.key_pem);
    }
    launch.start()
}

/// Arguments with which curl asks for a name at the secure listener.
fn asking(yett: &Yett, name: &str) -> Vec<String> {
    let port = yett.address("secure").rsplit(':').next().unwrap().to_owned();
    let ca = yett.path("ca.pem").display().to_string();
    vec![
        "--cacert".to_owned(),
        ca,
        "--resolve".to_owned(),
        format!("{name}:{port}:127.0.0.1"),
        format!("https://{name}:{port}/path?query=1"),
    ]
}

fn words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

#[test]
fn the_certificate_is_chosen_by_the_name() {
    let backend = Backend::echo();
    let yett = start(&backend, &Authority::new());
    for name in ["one.test", "two.test", "a.wild.test", "B.Wild.Test"] {
        assert_eq!(curl(&words(&asking(&yett, name))).status, 200, "{name}");
    }
    // 60: the certificate is for another name.
    for name in ["a.b.wild.test", "wild.test", "other.test"] {
        assert_eq!(curl_fails(&words(&asking(&yett, name))), 60, "{name}");
        let mut insecure = asking(&yett, name);
        insecure.push("-k".to_owned());
        assert_eq!(curl(&words(&insecure)).status, 200, "{name}");
    }
    assert_eq!(backend.seen()[0].header("x-forwarded-proto").unwrap(), "https");
}

#[test]
fn http_2_and_http_1_are_negotiated() {
    let backend = Backend::echo();
    let yett = start(&backend, &Authority::new());
    for (version, line) in
        [("--http2", "HTTP/2 200"), ("--http1.1", "HTTP/1.1 200"), ("--no-alpn", "HTTP/1.1 200")]
    {
        let mut arguments = asking(&yett, "one.test");
        arguments.push(version.to_owned());
        let answer = curl(&words(&arguments));
        assert!(answer.head.starts_with(line), "{version}: {}", answer.head);
        assert!(answer.body.starts_with("GET /path?query=1 HTTP/1.1"), "{}", answer.body);
    }
    for (arguments, expected) in
        [(["-tls1_2", "-alpn", "h2"], "TLSv1.2"), (["-tls1_3", "-alpn", "h2"], "TLSv1.3")]
    {
        let output = Command::new("openssl")
            .args(["s_client", "-connect", &yett.address("secure"), "-servername", "two.test"])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("openssl is installed");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains(expected) && text.contains("ALPN protocol: h2"), "{text}");
    }
    let mut old = asking(&yett, "one.test");
    old.extend(["--tls-max".to_owned(), "1.1".to_owned()]);
    assert_eq!(curl_fails(&words(&old)), 35, "TLS 1.1 is refused");
    let failed =
        |yett: &Yett| yett.metric("yett_tls_handshakes_failed_total", &["listener=\"secure\""]);
    wait::until_true("the handshake is counted", || failed(&yett) >= 1.0);
}

#[test]
fn a_plain_listener_sends_clients_to_https() {
    let backend = Backend::echo();
    let yett = start(&backend, &Authority::new());
    let answer = curl(&["-H", "host: one.test", &format!("{}/a//b?c=d", yett.url("plain"))]);
    assert_eq!(answer.status, 308);
    assert_eq!(answer.header("location").unwrap(), "https://one.test:8443/a/b?c=d");
    let posted = curl(&["-d", "x", "-H", "host: one.test", &yett.url("plain")]);
    assert_eq!(posted.status, 308);
    assert_eq!(backend.seen().len(), 0);
}

#[test]
fn plain_http_on_a_tls_listener_is_told_so() {
    let backend = Backend::echo();
    let yett = start(&backend, &Authority::new());
    let answer = curl(&[&yett.url("secure").replace("https", "http")]);
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("This port speaks HTTPS"), "{}", answer.body);
    assert_eq!(backend.seen().len(), 0);
    assert_eq!(curl(&words(&asking(&yett, "one.test"))).status, 200);
}

/// What `openssl s_client` says of a connection, with these arguments besides.
fn openssl(yett: &Yett, arguments: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &yett.address("secure")])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("openssl is installed");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn mutual(backend: &Backend, crl: &str, clients: &Authority) -> Launch {
    let servers = Authority::new();
    let config = format!(
        "{TOP}listeners:
  secure:
    bind: \"127.0.0.1:0\"
    tls:
      min_version: \"1.3\"
      ciphers: [TLS_AES_256_GCM_SHA384]
      certificates:
        - {{ cert: one.pem, key: one.key }}
        - {{ cert: two.pem, key: two.key, client: {{ ca: clients.pem, crl: clients.crl }} }}
upstreams: {{ backend: {{ targets: [\"{}\"] }} }}
apis: {{ all: {{ upstream: backend, public: a test, policies: [{{ hsts: 365d }}] }} }}
",
        backend.address
    );
    let mut launch = Launch::new(&config)
        .file("ca.pem", &servers.ca_pem)
        .file("clients.pem", &clients.ca_pem)
        .file("clients.crl", crl);
    for (file, name) in [("one", "one.test"), ("two", "two.test")] {
        let pair = servers.sign(&[name]);
        launch = launch
            .file(&format!("{file}.pem"), &pair.cert_pem)
            .file(&format!("{file}.key"), &pair.key_pem);
    }
    for (name, serial) in [("alice", 1), ("bob", 2)] {
        let pair = clients.sign_client(name, serial);
        launch = launch
            .file(&format!("{name}.pem"), &pair.cert_pem)
            .file(&format!("{name}.key"), &pair.key_pem);
    }
    launch
}

#[test]
fn clients_show_certificates_where_they_are_asked_to() {
    let (backend, clients) = (Backend::echo(), Authority::new());
    let day = std::time::Duration::from_secs(86_400);
    let yett = mutual(&backend, &clients.revoked(&[2], day), &clients).start();
    let with = |name: &str, host: &str| {
        let mut arguments = asking(&yett, host);
        for (option, suffix) in [("--cert", "pem"), ("--key", "key")] {
            let file = yett.path(&format!("{name}.{suffix}")).display().to_string();
            arguments.extend([option.to_owned(), file]);
        }
        arguments
    };
    let answer = curl(&words(&asking(&yett, "one.test")));
    assert_eq!(answer.status, 200, "one host asks for none");
    assert_eq!(answer.header("strict-transport-security").unwrap(), "max-age=31536000");
    assert_eq!(curl(&words(&with("alice", "two.test"))).status, 200);
    assert_ne!(curl_fails(&words(&asking(&yett, "two.test"))), 0, "without one");
    assert_ne!(curl_fails(&words(&with("bob", "two.test"))), 0, "he was revoked");
    let mut other = asking(&yett, "one.test");
    other.extend(["-H".to_owned(), "host: two.test".to_owned()]);
    assert_eq!(curl(&words(&other)).status, 421);
    // Alice is revoked while she is connected: a reload, and her next handshake fails.
    yett.reloaded_by(|| yett.write("clients.crl", clients.revoked(&[1, 2], day)));
    assert_ne!(curl_fails(&words(&with("alice", "two.test"))), 0);
    // Without a list that can be read nothing changes.
    let outcome = yett.reloaded_by(|| yett.write("clients.crl", ""));
    assert_eq!(outcome["adopted"], false, "{outcome}");
    assert_ne!(curl_fails(&words(&with("bob", "two.test"))), 0);
}

#[test]
fn a_list_that_is_out_of_date_refuses_its_certificates_and_keeps_nothing_else_from_being_loaded() {
    let (backend, clients) = (Backend::echo(), Authority::new());
    let old = clients.revoked(&[2], std::time::Duration::ZERO);
    let yett = mutual(&backend, &old, &clients).start();
    let told = run(yett.path("").as_path(), &["check", "yett.yaml"]);
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(told.err.contains("every certificate of its authority is refused"), "{told:?}");
    let ask = |name: &str, host: &str| {
        let mut arguments = asking(&yett, host);
        for (option, suffix) in [("--cert", "pem"), ("--key", "key")] {
            let file = yett.path(&format!("{name}.{suffix}")).display().to_string();
            arguments.extend([option.to_owned(), file]);
        }
        arguments
    };
    assert_eq!(curl(&words(&asking(&yett, "one.test"))).status, 200, "it asks for none");
    for name in ["alice", "bob"] {
        assert_ne!(curl_fails(&words(&ask(name, "two.test"))), 0, "{name}");
    }
    assert_ne!(curl_fails(&words(&asking(&yett, "two.test"))), 0, "without one");
    let day = std::time::Duration::from_secs(86_400);
    let outcome = yett.reloaded_by(|| yett.write("clients.crl", clients.revoked(&[2], day)));
    assert_eq!(outcome["adopted"], true, "{outcome}");
    assert_eq!(curl(&words(&ask("alice", "two.test"))).status, 200);
    assert_ne!(curl_fails(&words(&ask("bob", "two.test"))), 0);
    // A reload that is about something else is done as well.
    let outcome = yett.reloaded_by(|| yett.write("clients.crl", &old));
    assert_eq!(outcome["adopted"], true, "{outcome}");
    yett.log.expect(&["expired_revocation_list", "every certificate of its authority is refused"]);
    assert_ne!(curl_fails(&words(&ask("alice", "two.test"))), 0);
}

/// Sends much as soon as it may, and reads only then; prints what went wrong.
const SENDS_FIRST: &str = r#"
import socket, ssl, sys
port, name, *pair = sys.argv[1:]
tls = ssl.create_default_context(cafile="ca.pem")
if pair:
    tls.load_cert_chain(*pair)
try:
    client = tls.wrap_socket(socket.create_connection(("127.0.0.1", int(port))), server_hostname=name)
    client.sendall(b"x" * (8 << 20))
    client.recv(1)
except OSError as error:
    print(repr(error))
"#;

#[test]
fn a_client_that_is_refused_reads_why_although_it_sends_already() {
    let (backend, clients) = (Backend::echo(), Authority::new());
    let day = std::time::Duration::from_secs(86_400);
    let yett = mutual(&backend, &clients.revoked(&[2], day), &clients).start();
    let address = yett.address("secure");
    let port = address.rsplit(':').next().unwrap();
    for (arguments, expected) in [
        (vec!["two.test"], "CERTIFICATE_REQUIRED"),
        (vec!["two.test", "bob.pem", "bob.key"], "CERTIFICATE_REVOKED"),
    ] {
        let output = Command::new("python3")
            .args(["-c", SENDS_FIRST, port])
            .args(arguments)
            .current_dir(yett.path(""))
            .output()
            .expect("python3 is installed");
        let said = String::from_utf8_lossy(&output.stdout).to_uppercase();
        assert!(said.contains(expected), "{said} {}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(yett.count("yett_tls_handshakes_failed_total", &["listener=\"secure\""]), 2);
    wait::until_true("nobody lingers", || yett.count("yett_connections_active", &[]) == 0);
}

#[test]
fn versions_and_ciphers_are_those_of_the_config() {
    let (backend, clients) = (Backend::echo(), Authority::new());
    let day = std::time::Duration::from_secs(86_400);
    let yett = mutual(&backend, &clients.revoked(&[], day), &clients).start();
    let told = openssl(&yett, &["-servername", "one.test"]);
    assert!(told.contains("TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384"), "{told}");
    assert!(!openssl(&yett, &["-tls1_2"]).contains("Cipher is TLS"), "1.2 is refused");
    let refused = openssl(&yett, &["-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"]);
    assert!(refused.contains("Cipher is (NONE)"), "{refused}");
}
