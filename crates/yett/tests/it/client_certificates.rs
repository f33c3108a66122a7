//! Certificates that the gateway shows, seen by openssl.

use super::client::curl;
use super::wait::{Lines, until_true};
use super::yett::{Launch, PUBLIC, TOP};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use testkit::Authority;

/// A server of openssl that talks to nobody without a certificate.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-Verify", "1", "-verify_return_error"])
            .args(["-CAfile", "ca.pem", "-cert", "server.pem", "-key", "server.key", "-www"])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is there; `make needs` installs it");
        let told = Lines::of(child.stdout.take().unwrap());
        let address = told.find("the port", |line| line.strip_prefix("ACCEPT ").map(str::to_owned));
        Self { child, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn config(server: &Server, client: &str) -> String {
    format!(
        "{TOP}{PUBLIC}upstreams:
  backend:
    targets: [\"{}\"]
    tls: {{ ca: ca.pem, server_name: server.test{client} }}
apis: {{ all: {{ upstream: backend, public: a test }} }}
",
        server.address
    )
}

#[test]
fn a_backend_that_asks_for_a_certificate_gets_it_and_a_renewed_one_at_once() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let pair = authority.sign(&["server.test"]);
    for (name, content) in [
        ("ca.pem", &authority.ca_pem),
        ("server.pem", &pair.cert_pem),
        ("server.key", &pair.key_pem),
    ] {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let server = Server::start(folder.path());
    let stranger = Authority::new().sign(&["gateway.test"]);
    let shown = config(&server, ", client: { cert: gateway.pem, key: gateway.key }");
    let yett = Launch::new(&config(&server, ""))
        .file("ca.pem", &authority.ca_pem)
        .file("gateway.pem", &stranger.cert_pem)
        .file("gateway.key", &stranger.key_pem)
        .start();
    assert_eq!(curl(&[&yett.url("public")]).status, 502, "nothing is shown");
    yett.reload(&shown);
    assert_eq!(curl(&[&yett.url("public")]).status, 502, "a stranger's is shown");
    let own = authority.sign(&["gateway.test"]);
    // Between the two files the config is refused, and the one before stays.
    yett.write("gateway.key", &own.key_pem);
    yett.write("gateway.pem", &own.cert_pem);
    until_true("the renewed one is shown", || curl(&[&yett.url("public")]).status == 200);
}
