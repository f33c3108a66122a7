//! Certificates are replaced while clients come and go, often not as one would wish.

use super::client::curl_command;
use super::python::Python;
use super::wait::until_true;
use super::yett::{Launch, TOP, Yett};
use std::fs;
use testkit::{Authority, certificates::Pair};

const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/client_tls.py");
const RENEWALS: usize = 50;
/// Answers between two of them.
const BETWEEN: u64 = 10;

/// Each has a name of its own, so that it can be told apart.
fn pair(authority: &Authority, number: usize) -> Pair {
    authority.sign(&["one.test", &format!("number-{number}.test")])
}

fn start(authority: &Authority) -> Yett {
    let config = format!(
        "{TOP}listeners: {{ secure: {{ bind: \"127.0.0.1:0\", tls: {{ certificates: [{{ cert: one.pem, key: one.key }}] }} }} }}
access_log: {{ to: off }}
apis: {{ all: {{ public: a test, policies: [{{ respond: {{ body: ok }} }}] }} }}
"
    );
    let Pair { cert_pem, key_pem } = pair(authority, 0);
    Launch::new(&config)
        .file("one.pem", cert_pem)
        .file("one.key", key_pem)
        .file("ca.pem", &authority.ca_pem)
        .start()
}

/// Replaces the files in one of the ways in which tools do, or fail to.
fn renew(yett: &Yett, authority: &Authority, number: usize) {
    let Pair { cert_pem, key_pem } = pair(authority, number);
    let half = |text: &str| text.chars().take(text.len() / 2).collect::<String>();
    match number % 7 {
        // The certificate only, so that the key is another's.
        0 => yett.write("one.pem", &cert_pem),
        1 => yett.write("one.key", &key_pem),
        // Interrupted within one of them.
        2 => fs::write(yett.path("one.pem"), half(&cert_pem)).unwrap(),
        3 => fs::write(yett.path("one.key"), half(&key_pem)).unwrap(),
        4 => fs::remove_file(yett.path("one.key")).unwrap(),
        // In place, and by renaming.
        5 => {
            fs::write(yett.path("one.key"), &key_pem).unwrap();
            fs::write(yett.path("one.pem"), &cert_pem).unwrap();
        }
        _ => {
            yett.write("one.pem", &cert_pem);
            yett.write("one.key", &key_pem);
        }
    }
}

/// Arguments with which curl accepts one certificate only.
fn asking(yett: &Yett, number: usize) -> [String; 5] {
    let port = yett.address("secure").rsplit(':').next().unwrap().to_owned();
    let name = format!("number-{number}.test");
    let ca = yett.path("ca.pem").display().to_string();
    let [option, resolve] = ["--cacert", "--resolve"].map(str::to_owned);
    [option, ca, resolve, format!("{name}:{port}:127.0.0.1"), format!("https://{name}:{port}/")]
}

/// Whether a certificate is the one that is shown.
fn is_shown(yett: &Yett, number: usize) -> bool {
    let asking = asking(yett, number);
    let output = curl_command(&asking.each_ref().map(String::as_str)).output().unwrap();
    // 60: the certificate is for another name, as curl finds after the handshake.
    let is_other = output.status.code() == Some(60);
    assert!(is_other || output.status.success(), "{output:?}");
    !is_other
}

#[test]
fn certificates_that_are_replaced_under_load_cost_no_handshake_and_no_request() {
    let authority = Authority::new();
    let yett = start(&authority);
    let address = yett.address("secure");
    let (host, port) = address.rsplit_once(':').unwrap();
    let ca = yett.path("ca.pem").display().to_string();
    let mut clients = Python::start(CLIENTS, &[host, port, &ca]);
    let answered = || yett.count("yett_requests_total", &["status=\"2xx\""]);
    for number in 1..=RENEWALS {
        let before = answered();
        until_true("clients come and go", || answered() >= before + BETWEEN);
        renew(&yett, &authority, number);
    }
    let last = RENEWALS + 1;
    let Pair { cert_pem, key_pem } = pair(&authority, last);
    yett.write("one.key", &key_pem);
    yett.write("one.pem", &cert_pem);
    until_true("the last one is shown", || is_shown(&yett, last));

    // Half of the next one changes nothing but what is told.
    let next = pair(&authority, last + 1);
    let reload = yett.reloaded_by(|| yett.write("one.pem", &next.cert_pem));
    assert_eq!(reload["adopted"], false, "{reload}");
    assert!(reload["problems"][0]["message"].as_str().unwrap().contains("one.key"), "{reload}");
    assert!(is_shown(&yett, last));
    yett.write("one.key", &next.key_pem);
    until_true("the other half makes it whole", || is_shown(&yett, last + 1));

    clients.order("end");
    clients.told.expect(&["end"]);
    let told = clients.told.text();
    assert!(!told.contains("failed"), "{told}");
    assert!(!told.contains("handshakes 0"), "{told}");
    assert_eq!(yett.count("yett_tls_handshakes_failed_total", &[]), 0);
    assert_eq!(answered(), yett.count("yett_requests_total", &[]));
}
