//! Connections that are passed on as bytes: to nginx, by clients that speak TLS or just bytes.

use super::client::{self, connect, curl, get, read_to_end};
use super::servers::Nginx;
use super::wait::{PATIENCE, until, until_true};
use super::yett::{Launch, TOP, Yett, run, signal};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use tempfile::TempDir;
use testkit::{Authority, Pair};

/// nginx that speaks TLS with a certificate for `name`, and its authority.
struct Secure {
    nginx: Nginx,
    _files: TempDir,
    ca: Authority,
}

impl Secure {
    fn start(name: &str) -> Self {
        let ca = Authority::new();
        let Pair { cert_pem, key_pem, .. } = ca.sign(&[name]);
        let files = tempfile::tempdir().unwrap();
        fs::write(files.path().join("site.pem"), cert_pem).unwrap();
        fs::write(files.path().join("site.key"), key_pem).unwrap();
        let folder = files.path().display();
        let nginx = Nginx::start_with(
            " ssl",
            &format!(
                "ssl_certificate {folder}/site.pem; ssl_certificate_key {folder}/site.key; \
                 location / {{ return 200 \"$ssl_server_name says hello\"; }}"
            ),
        );
        Self { nginx, _files: files, ca }
    }
}

/// What `openssl s_client` says when it asks for a name.
fn s_client(address: &str, name: &str) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", address, "-servername", name, "-showcerts"])
        .stdin(Stdio::null())
        .output()
        .expect("openssl is there; `make needs` installs it");
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

/// A listener for bytes before a server that the test plays.
fn raw(target: &TcpListener, more: &str) -> String {
    let address = target.local_addr().unwrap();
    format!(
        "{TOP}listeners: {{ db: {{ bind: \"127.0.0.1:0\", tcp: {{ upstream: db, public: a test }} }} }}
upstreams: {{ db: {{ targets: [\"{address}\"] }} }}
{more}"
    )
}

fn accepted(target: &TcpListener) -> TcpStream {
    let (stream, _) = target.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn passes(from: &mut TcpStream, to: &mut TcpStream, text: &str) {
    from.write_all(text.as_bytes()).unwrap();
    let mut taken = vec![0; text.len()];
    to.read_exact(&mut taken).unwrap();
    assert_eq!(String::from_utf8(taken).unwrap(), text);
}

#[test]
fn tls_reaches_the_server_that_is_asked_for_and_its_certificate_the_client() {
    let secure = Secure::start("a.db.test");
    let config = format!(
        "{TOP}listeners:
  public:
    bind: \"127.0.0.1:0\"
    passthrough: {{ \"*.db.test\": {{ upstream: db, public: a test }} }}
upstreams: {{ db: {{ targets: [\"{}\"] }} }}
",
        secure.nginx.address
    );
    let yett = Launch::new(&config).file("ca.pem", &secure.ca.ca_pem).start();
    let address = yett.address("public");
    let ca = yett.path("ca.pem");
    let port = address.rsplit(':').next().unwrap();
    for version in ["--http1.1", "--http2"] {
        let answer = curl(&[
            version,
            "--cacert",
            ca.to_str().unwrap(),
            "--resolve",
            &format!("a.db.test:{port}:127.0.0.1"),
            &format!("https://a.db.test:{port}/"),
        ]);
        assert_eq!(answer.body, "a.db.test says hello");
    }
    let known = s_client(&address, "a.db.test");
    assert!(known.contains("-----BEGIN CERTIFICATE-----"), "{known}");
    let stranger = s_client(&address, "elsewhere.test");
    assert!(stranger.contains("unrecognized name"), "{stranger}");
    assert!(!stranger.contains("-----BEGIN CERTIFICATE-----"), "{stranger}");
    until_true("both are counted", || {
        yett.count("yett_connections_refused_total", &["reason=\"unknown_name\""]) == 1
            && yett.count("yett_relayed_connections_total", &["outcome=\"ended\""]) == 3
    });
    let line = yett.access.find("an access line", |line| {
        line.contains("\"protocol\":\"tls\"").then(|| line.to_owned())
    });
    for part in ["\"host\":\"a.db.test\"", "\"upstream\":\"db\"", "\"status\":200"] {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(yett.status()["listeners"][0]["speaks"], "tls");
}

#[test]
fn one_listener_opens_tls_for_its_own_names_and_passes_others_on() {
    let secure = Secure::start("db.test");
    let plain = Nginx::start("location / { return 200 \"of the gateway\"; }");
    let own = Authority::new();
    let pair = own.sign(&["web.test"]);
    let config = format!(
        "{TOP}listeners:
  public:
    bind: \"127.0.0.1:0\"
    tls: {{ certificates: [{{ cert: web.pem, key: web.key }}] }}
    passthrough: {{ db.test: {{ upstream: db, public: a test }} }}
upstreams: {{ db: {{ targets: [\"{}\"] }}, web: {{ targets: [\"{}\"] }} }}
apis: {{ web: {{ upstream: web, public: a test }} }}
",
        secure.nginx.address, plain.address
    );
    let launch = Launch::new(&config).file("web.pem", pair.cert_pem).file("web.key", pair.key_pem);
    let launch = launch.file("db-ca.pem", &secure.ca.ca_pem).file("web-ca.pem", &own.ca_pem);
    let yett = launch.start();
    let address = yett.address("public");
    let port = address.rsplit(':').next().unwrap();
    for (name, says) in [("web", "of the gateway"), ("db", "db.test says hello")] {
        let ca = yett.path(&format!("{name}-ca.pem"));
        let answer = curl(&[
            "--cacert",
            ca.to_str().unwrap(),
            "--resolve",
            &format!("{name}.test:{port}:127.0.0.1"),
            &format!("https://{name}.test:{port}/"),
        ]);
        assert_eq!((answer.status, answer.body.as_str()), (200, says));
    }
}

#[test]
fn http_is_bytes_like_any_other() {
    let nginx = Nginx::start("location / { return 200 \"$request_method $http_host\"; }");
    let config = format!(
        "{TOP}listeners: {{ web: {{ bind: \"127.0.0.1:0\", tcp: {{ upstream: web, from: [127.0.0.0/8] }} }} }}
upstreams: {{ web: {{ targets: [\"{}\"] }} }}
",
        nginx.address
    );
    let yett = Yett::start(&config);
    let address = yett.address("web");
    assert_eq!(yett.url("web"), format!("tcp://{address}"));
    assert!(get(&address, "/").body.starts_with("GET 127.0.0.1:"));
    let answer = client::raw(&address, b"hello\r\n\r\n");
    assert!(answer.contains("<center>nginx"), "nginx is asked, not the gateway: {answer}");
}

#[test]
fn a_stop_waits_for_connections_and_then_breaks_them_off() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut yett = Yett::start(&raw(&target, "drain: { timeout: 1s }\n"));
    let mut client = connect(&yett.address("db"));
    let mut server = accepted(&target);
    passes(&mut client, &mut server, "select 1");
    yett.signal("TERM");
    until_true("it drains", || yett.log.text().contains("draining"));
    passes(&mut server, &mut client, "1");
    let mut rest = Vec::new();
    let error = client.read_to_end(&mut rest).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "nobody takes it for the end");
    assert!(yett.ended().success());
    let line = yett
        .access
        .find("the line", |line| line.contains("\"fault\":\"draining\"").then(|| line.to_owned()));
    assert!(line.contains("\"bytes_in\":8,\"bytes_out\":1"), "{line}");
}

#[test]
fn an_upgrade_keeps_what_is_open_and_takes_what_is_new_elsewhere() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut yett = Yett::start(&raw(&target, ""));
    let address = yett.address("db");
    let mut old = connect(&address);
    let mut old_server = accepted(&target);
    passes(&mut old, &mut old_server, "before");
    yett.signal("USR2");
    let first = u64::from(yett.pid());
    let heir = until("another process serves", || {
        yett.status()["process"].as_u64().filter(|process| *process != first)
    });
    let mut new = connect(&address);
    let mut new_server = accepted(&target);
    passes(&mut new, &mut new_server, "after");
    passes(&mut old_server, &mut old, "still here");
    drop(old_server);
    assert_eq!(read_to_end(&mut old), "");
    drop(old);
    assert!(yett.ended().success(), "the first process ends with its last connection");
    passes(&mut new_server, &mut new, "goes on");
    signal(u32::try_from(heir).unwrap(), "KILL");
}

#[test]
fn check_and_explain_know_what_is_passed_on() {
    let config = "version: 1
listeners:
  db: { bind: \"127.0.0.1:5432\", tcp: { upstream: db, public: a test } }
  sni: { bind: \"127.0.0.1:8443\", passthrough: { \"*.db.test\": { upstream: db, public: a test } } }
upstreams: { db: { targets: [\"127.0.0.1:1\"] } }
";
    let launch = Launch::new(config);
    let folder = launch.folder.path();
    let explained = run(folder, &["explain", "GET", "https://a.db.test/"]);
    assert!(explained.out.contains("the bytes go to upstream `db`, unread"), "{explained:?}");
    let explained = run(folder, &["explain", "GET", "https://web.test/"]);
    assert!(explained.out.contains("the connection is closed"), "{explained:?}");
    fs::write(
        folder.join("yett.yaml"),
        format!("{config}apis: {{ web: {{ upstream: db, public: a test }} }}\n"),
    )
    .unwrap();
    let checked = run(folder, &["check"]);
    assert_eq!(checked.code, Some(2));
    let told = format!("{}{}", checked.out, checked.err);
    assert!(told.contains("every listener passes bytes on"), "{told}");
}
