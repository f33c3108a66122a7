//! APIs that are reached past a certificate which clients must show.

use crate::it::kit::{Outer, shown};
use base::Report;
use testkit::{Authority, Surroundings};

/// What is told of an API with these settings, on a listener with certificates for these names and demands.
fn told(entries: &[(&str, &str)], api: &str) -> String {
    told_of(entries, &format!("{api}, public: a test, policies: [{{ respond: 200 }}]"))
}

fn told_of(entries: &[(&str, &str)], api: &str) -> String {
    let authority = Authority::new();
    let mut around = Surroundings::default().file("ca.pem", authority.ca_pem.clone());
    let mut certificates = String::new();
    for (index, (name, client)) in entries.iter().enumerate() {
        let pair = authority.sign(&[name]);
        around = around.file(&format!("{index}.pem"), pair.cert_pem);
        around = around.file(&format!("{index}.key"), pair.key_pem);
        let client = match *client {
            "" => String::new(),
            mode => format!(", client: {{ mode: {mode}, ca: ca.pem }}"),
        };
        certificates.push_str(&format!("{{ cert: {index}.pem, key: {index}.key{client} }}, "));
    }
    let config = format!(
        "version: 1
listeners:
  secure: {{ bind: '127.0.0.1:8443', tls: {{ certificates: [{certificates}] }} }}
  plain: {{ bind: '127.0.0.1:8080' }}
apis:
  orders: {{ {api} }}
"
    );
    let (_, report) = Outer::new().compile("yett.yaml", &around.file("yett.yaml", config));
    assert!(!report.has_errors(), "{report}");
    let mut ours = Report::new();
    for problem in report.problems().iter().filter(|problem| problem.code.starts_with("client_")) {
        ours.push(problem.clone());
    }
    shown(&ours)
}

const SITE: (&str, &str) = ("site.test", "");
const PARTNERS: (&str, &str) = ("*.partners.test", "required");

#[test]
fn an_api_behind_a_certificate_that_is_open_elsewhere_is_warned_about() {
    for hosts in ["listeners: [secure]", "hosts: ['*.partners.test', site.test]"] {
        let told = told(&[SITE, PARTNERS], hosts);
        let message = "on listener `secure` nobody reaches `orders` by `*.partners.test` without a certificate, but by `site.test` everybody does";
        assert!(told.contains(" warning client_bypass") && told.contains(message), "{told}");
        assert!(told.contains("`allow: tls.client.verified`"), "{told}");
    }
    let told = told(&[PARTNERS, ("open.partners.test", "optional")], "hosts: ['*.partners.test']");
    assert!(told.contains("but by `open.partners.test` everybody does"), "{told}");
}

#[test]
fn a_host_that_no_certificate_names_is_warned_about() {
    for host in ["other.test", "'*.other.test'", "partners.test"] {
        let told = told(&[SITE, PARTNERS], &format!("hosts: [{host}]"));
        let host = host.trim_matches('\'');
        let message =
            format!("no certificate of listener `secure` names all hosts of `{host}`: requests");
        assert!(told.contains(" warning client_unknown_host"), "{host}: {told}");
        assert!(told.contains(&message), "{host}: {told}");
    }
}

#[test]
fn an_api_that_is_reached_in_one_way_only_is_fine() {
    for (entries, api) in [
        (&[SITE, PARTNERS][..], "hosts: ['*.partners.test']"),
        (&[SITE, PARTNERS], "hosts: [a.b.partners.test]"),
        (&[SITE, PARTNERS], "hosts: [site.test]"),
        (&[SITE, PARTNERS], "listeners: [plain]"),
        (&[SITE, ("a.test", "optional")], "listeners: [secure]"),
        (&[PARTNERS], "listeners: [secure]"),
        (&[PARTNERS, ("a.test", "required")], "hosts: [other.test]"),
        (&[SITE], "listeners: [secure]"),
    ] {
        assert_eq!(told(entries, api), "", "{entries:?} {api}");
    }
}

#[test]
fn certificates_that_no_listener_asks_for_are_warned_about() {
    let asked = [SITE, ("a.test", "optional")];
    for (entries, listeners, policies, is_warned) in [
        (&[SITE][..], "[]", "[mtls, respond: 200]", true),
        (&[SITE], "[]", "[any: [api_key, mtls], respond: 200]", true),
        (&[SITE], "[]", "[all: [api_key, { mtls: { consumer: nobody } }], respond: 200]", true),
        (&[SITE], "[]", "[api_key, respond: 200]", false),
        (&asked, "[plain]", "[mtls, respond: 200]", true),
        (&asked, "[secure]", "[mtls, respond: 200]", false),
        (&asked, "[]", "[any: [api_key, mtls], respond: 200]", false),
    ] {
        let told = told_of(entries, &format!("listeners: {listeners}, policies: {policies}"));
        let message = "no listener of `orders` asks clients for certificates";
        let has_warned = told.contains(" warning client_not_asked") && told.contains(message);
        assert_eq!(has_warned, is_warned, "{entries:?} {listeners} {policies}: {told}");
    }
}
