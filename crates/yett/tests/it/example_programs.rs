//! Examples that bring programs of their own: what their pages say of each command is what comes of it.

use super::backend::Backend;
use super::python::Python;
use super::wait::until_true;
use super::yett::{Launch, TOP, Yett};
use regex::Regex;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The folder of an example.
fn folder(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples")).join(name)
}

fn read(name: &str, file: &str) -> String {
    fs::read_to_string(folder(name).join(file)).unwrap()
}

/// The example's gateway, with its backend and `issuer` on other ports.
fn serve(name: &str, backend: &Backend, issuer: &str, secret: (&'static str, &str)) -> Yett {
    let config = read(name, "yett.yaml")
        .replace("version: 1\n", TOP)
        .replace("bind: 127.0.0.1:8080", "bind: 127.0.0.1:0")
        .replace("127.0.0.1:9101", &backend.address.to_string())
        .replace("127.0.0.1:9192/introspect", &format!("{issuer}/introspect"));
    Launch::new(&config).env(secret.0, secret.1).start()
}

/// Runs a command of the page in the example's folder; the statuses that it shows.
fn run(name: &str, line: &str, yett: &Yett, secret: (&str, &str)) -> Vec<String> {
    let address = yett.address("public");
    let here = line
        .replace("http://127.0.0.1:8080", &format!("http://{address}"))
        .replace(&format!("examples/{name}/"), "./");
    let output = Command::new("sh")
        .args(["-ec", &here])
        .current_dir(folder(name))
        .env("GATEWAY", &address)
        .env("no_proxy", "*")
        .env(secret.0, secret.1)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{line}: {said}{}", String::from_utf8_lossy(&output.stderr));
    let status = Regex::new(r"HTTP/1\.1 ([0-9]{3}) ").unwrap();
    status.captures_iter(&said).map(|found| found[1].to_owned()).collect()
}

/// Runs what the page shows last; behind `#` it says which answers come.
fn check(name: &str, yett: &Yett, secret: (&str, &str)) {
    let page = read(name, "README.md");
    let (_, block) = page.rsplit_once("```sh\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let number = Regex::new(r"\b[2-5][0-9]{2}\b").unwrap();
    let mut told = 0;
    for line in block.lines() {
        let (command, comment) = line.split_once(" # ").unwrap_or((line, ""));
        let expected: Vec<&str> = number.find_iter(comment).map(|found| found.as_str()).collect();
        let found = run(name, command, yett, secret);
        assert_eq!(found, expected, "{name}: {line}");
        told += expected.len();
    }
    assert!(told >= 4, "{name}: the page says what comes");
}

#[test]
fn requests_that_the_example_signs_are_believed_as_its_page_says() {
    let backend = Backend::says("hi");
    let secret = ("NIGHTLY_SECRET", "an example of a secret, 32 bytes or more");
    let yett = serve("hmac", &backend, "", secret);
    // As the page says: what was signed by a start could have been used before it.
    until_true("signatures are believed", || {
        run("hmac", "examples/hmac/sign.sh /orders/1", &yett, secret) == ["200"]
    });
    check("hmac", &yett, secret);
    assert!(backend.seen().iter().all(|seen| seen.header("signature").is_none()));
}

#[test]
fn the_issuer_of_the_example_says_what_its_page_says() {
    let serves = "http.server.ThreadingHTTPServer((\"127.0.0.1\", 9192), Issuer).serve_forever()";
    let program = read("oauth", "issuer.py");
    assert!(program.contains(serves));
    let elsewhere = "server = http.server.ThreadingHTTPServer((\"127.0.0.1\", 0), Issuer)\nprint(\"port\", server.server_port, flush=True)\nserver.serve_forever()";
    let scripts = tempfile::tempdir().unwrap();
    let script = scripts.path().join("issuer.py");
    let set = "import os\nos.environ[\"GATEWAY_SECRET\"] = \"an-example\"\n";
    fs::write(&script, format!("{set}{}", program.replace(serves, elsewhere))).unwrap();
    let issuer = Python::start(script.to_str().unwrap(), &[]);
    let secret = ("GATEWAY_SECRET", "an-example");
    let backend = Backend::says("hi");
    let yett = serve("oauth", &backend, &format!("127.0.0.1:{}", issuer.port()), secret);
    check("oauth", &yett, secret);
    drop(issuer);
    // What is remembered goes on for a while, and then nobody can say.
    until_true("the answer is forgotten", || {
        run(
            "oauth",
            "curl -i http://127.0.0.1:8080/orders/1 -H 'authorization: Bearer alice'",
            &yett,
            secret,
        ) == ["503"]
    });
}
