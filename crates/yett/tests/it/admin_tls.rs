//! The admin API where others than this machine reach it.

use super::client::curl;
use super::wait;
use super::yett::{Ended, Launch, PUBLIC, TOP, Yett, command, run};
use std::fs;
use testkit::Authority;

/// A config with this control plane.
fn config(control: &str) -> String {
    format!("{TOP}{PUBLIC}state_dir: state\ncontrol: {{ {control} }}\n")
}

#[test]
fn logins_pass_no_network_in_plain_without_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let checked = |control: &str| {
        fs::write(folder.path().join("yett.yaml"), config(control)).unwrap();
        run(folder.path(), &["check"])
    };
    for open in ["bind: \"0.0.0.0:0\"", "bind: \"[::]:0\"", "bind: \"0.0.0.0:0\", plain: ' '"] {
        let refused = checked(open);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(
            refused.err.contains("in plain") && refused.err.contains("yett.yaml:5:"),
            "{refused:?}"
        );
        let started = run(folder.path(), &["run"]);
        assert!(started.code != Some(0) && started.err.contains("in plain"), "{started:?}");
    }
    for fine in ["bind: \"127.0.0.1:0\"", "bind: \"0.0.0.0:0\", plain: the load balancer ends TLS"]
    {
        assert_eq!(checked(fine).code, Some(0), "{fine}");
    }
    let wrong = checked("hosts: [\"https://yett.example.com\"]");
    assert!(wrong.err.contains("is no name of a host"), "{wrong:?}");
    let given = checked("bind: \"${env:ADMIN}\"");
    assert_eq!(given.code, Some(0), "{given:?}");
    let mut started = command(folder.path(), &["run"]);
    let started: Ended = started.env("ADMIN", "0.0.0.0:0").output().unwrap().into();
    assert!(started.code != Some(0) && started.err.contains("in plain"), "{started:?}");
}

/// Logs in by the link of the first start.
fn login(yett: &Yett, more: &[&str]) -> Ended {
    let link = yett.access.find("the link", |line| {
        line.trim().starts_with("https://localhost:").then(|| line.trim().to_owned())
    });
    does(yett, &[&["login", &link], more].concat())
}

fn does(yett: &Yett, arguments: &[&str]) -> Ended {
    let mut command = command(yett.path("").as_path(), arguments);
    command.env("XDG_CONFIG_HOME", yett.path("settings")).env_remove("YETT_URL");
    command.env_remove("YETT_TOKEN").env_remove("YETT_WORKSPACE").env_remove("YETT_CA");
    command.output().unwrap().into()
}

#[test]
fn commands_come_by_tls_and_believe_nobody_else_and_a_certificate_may_be_replaced() {
    let (authority, other) = (Authority::new(), Authority::new());
    let pair = authority.sign(&["localhost"]);
    let control = config(
        "bind: \"127.0.0.1:0\", tls: { cert: admin.pem, key: admin.key }, hosts: [localhost]",
    );
    let yett = Launch::new(&control)
        .file("admin.pem", &pair.cert_pem)
        .file("admin.key", &pair.key_pem)
        .file("ca.pem", authority.ca_pem.as_str())
        .file("other.pem", other.ca_pem.as_str())
        .start();
    for more in [&[][..], &["--ca", "other.pem"]] {
        let refused = login(&yett, more);
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.err.contains("--ca FILE"), "{refused:?}");
    }
    let logged_in = login(&yett, &["--ca", "ca.pem"]);
    assert_eq!(logged_in.code, Some(0), "the link was not used up: {logged_in:?}");
    let listed = does(&yett, &["revisions"]);
    assert_eq!(listed.code, Some(0), "the authority is remembered: {listed:?}");
    let address = yett.log.find("the admin API", |line| {
        line.split_once("admin API on https://").map(|(_, address)| address.trim().to_owned())
    });
    let ca = yett.path("ca.pem");
    let ca = ca.to_str().unwrap();
    let port = address.rsplit_once(':').unwrap().1;
    let url = format!("https://localhost:{port}/v1/sessions/current");
    assert_eq!(curl(&["--cacert", ca, &url]).status, 401);
    assert_eq!(curl(&["--cacert", ca, "-H", "host: evil.example", &url]).status, 421);

    let renewed = other.sign(&["localhost"]);
    yett.write("admin.pem", &renewed.cert_pem);
    yett.write("admin.key", &renewed.key_pem);
    yett.log.expect(&["the admin API is served with its new certificate"]);
    wait::until_true("the new one is shown", || {
        does(&yett, &["revisions", "--ca", "other.pem"]).code == Some(0)
    });
    assert_eq!(does(&yett, &["revisions"]).code, Some(1), "the old authority did not sign it");
}
