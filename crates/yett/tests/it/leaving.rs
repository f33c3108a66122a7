//! Clients that leave before they have their answer.

use super::backend::Backend;
use super::client::{connect, curl_command};
use super::wait::until_true;
use super::yett::{Yett, plain};
use std::io::{Read as _, Write as _};
use std::process::Stdio;

/// A backend that never answers, but notices when it is left alone.
fn silent() -> Backend {
    Backend::start(|_, stream| {
        let mut byte = [0];
        // Nothing more comes, so this ends with the connection.
        drop(stream.read(&mut byte));
        false
    })
}

fn check_cancelled(yett: &Yett, backend: &Backend) {
    until_true("the backend's connection is closed", || backend.closed() == 1);
    yett.access.expect(&["\"status\":499", "\"complete\":false", "\"upstream\":\"backend\""]);
    until_true("nothing is under way", || yett.metric("yett_requests_in_flight", &[]) == 0.0);
    until_true("nobody is connected", || yett.metric("yett_connections_active", &[]) == 0.0);
    assert_eq!(yett.status()["upstreams"][0]["targets"][0]["in_flight"], 0);
    assert_eq!(yett.metric("yett_requests_total", &["api=\"all\"", "status=\"4xx\""]), 1.0);
}

#[test]
fn a_client_that_leaves_cancels_the_call() {
    let backend = silent();
    let yett = Yett::start(&plain(&backend.address.to_string(), ""));
    let mut stream = connect(&yett.address("public"));
    stream.write_all(b"GET /never HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    backend.until_seen(1);
    drop(stream);
    check_cancelled(&yett, &backend);
}

#[test]
fn a_client_of_http_2_that_leaves_cancels_the_call() {
    let backend = silent();
    let yett = Yett::start(&plain(&backend.address.to_string(), ""));
    let mut curl = curl_command(&["--http2-prior-knowledge", &yett.url("public")]);
    let mut curl = curl.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    backend.until_seen(1);
    curl.kill().unwrap();
    curl.wait().unwrap();
    check_cancelled(&yett, &backend);
}

#[test]
fn a_client_that_leaves_in_the_middle_of_an_answer_ends_it() {
    let backend = Backend::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
        while stream.write_all(b"5\r\nhello\r\n").is_ok() {}
        false
    });
    let yett = Yett::start(&plain(&backend.address.to_string(), ""));
    let mut stream = connect(&yett.address("public"));
    stream.write_all(b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let mut some = [0; 10_000];
    stream.read_exact(&mut some).unwrap();
    drop(stream);
    until_true("the backend's connection is closed", || backend.closed() == 1);
    yett.access.expect(&["\"status\":200", "\"complete\":false"]);
    until_true("nothing is under way", || yett.metric("yett_requests_in_flight", &[]) == 0.0);
}

#[test]
fn a_client_that_leaves_in_the_middle_of_its_body_is_not_made_whole() {
    let backend = Backend::echo();
    let yett = Yett::start(&plain(&backend.address.to_string(), ""));
    let mut stream = connect(&yett.address("public"));
    stream.write_all(b"POST /half HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf").unwrap();
    until_true("the backend is asked", || backend.opened() == 1);
    drop(stream);
    until_true("the backend's connection is closed", || backend.closed() == 1);
    assert_eq!(backend.seen().len(), 0, "half a body is no body");
    yett.access.expect(&["\"path\":\"/half\"", "\"status\":400", "\"fault\":\"body_cut\""]);
}
