//! Bodies in pieces: chunked both ways, trailers, and events that arrive one by one.

use super::backend::Backend;
use super::client::{connect, curl, read_head};
use super::wait::Gate;
use super::yett::{Yett, plain};
use std::io::{Read as _, Write as _};

#[test]
fn chunked_bodies_pass_both_ways() {
    let backend = Backend::start(|seen, stream| {
        assert_eq!(seen.header("transfer-encoding").unwrap(), "chunked", "{}", seen.head);
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
        for piece in seen.body.chunks(3) {
            stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).unwrap();
            stream.write_all(&[piece, b"\r\n"].concat()).unwrap();
        }
        stream.write_all(b"0\r\n\r\n").is_ok()
    });
    let yett = Yett::start(&plain(&backend.address.to_string(), ""));
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let mut arguments = vec![version, "-d", "in several pieces"];
        if version == "--http1.1" {
            arguments.extend(["-H", "transfer-encoding: chunked"]);
        } else {
            arguments.extend(["-H", "content-length:"]);
        }
        let url = yett.url("public");
        arguments.push(&url);
        let answer = curl(&arguments);
        assert_eq!((answer.status, answer.body.as_str()), (200, "in several pieces"), "{version}");
    }
}

#[test]
fn trailers_of_the_backend_reach_the_client() {
    let backend = Backend::start(|seen, stream| {
        assert_eq!(seen.header("te").unwrap(), "trailers", "{}", seen.head);
        let answer = "HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 42\r\n\r\n";
        stream.write_all(answer.as_bytes()).is_ok()
    });
    let yett = Yett::start(&plain(&backend.address.to_string(), ""));
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        // With `-i`, curl prints trailers behind the body.
        let answer =
            curl(&[version, "-H", "te: trailers", "-H", "connection: te", &yett.url("public")]);
        assert!(answer.body.starts_with("ok"), "{answer:?}");
        assert!(answer.body.contains("x-sum: 42"), "{version}: {answer:?}");
    }
}

#[test]
fn pieces_of_an_answer_arrive_as_they_are_sent() {
    let gate = Gate::default();
    let held = gate.clone();
    let backend = Backend::start(move |_, stream| {
        let first = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n";
        stream.write_all(first.as_bytes()).unwrap();
        held.pass();
        stream.write_all(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n").is_ok()
    });
    let yett = Yett::start(&plain(&backend.address.to_string(), ""));
    let mut stream = connect(&yett.address("public"));
    stream.write_all(b"GET /events HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 200"));
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"9\r\ndata: 1\n\n");
    gate.open();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("data: 2") && rest.ends_with("0\r\n\r\n"), "{rest}");
}

#[test]
fn an_answer_that_breaks_off_is_not_made_whole() {
    let backend = Backend::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").unwrap();
        false
    });
    let yett = Yett::start(&plain(&backend.address.to_string(), ""));
    // 18: a partial file; 92: an HTTP/2 stream that was reset.
    for (version, code) in [("--http1.1", 18), ("--http2-prior-knowledge", 92)] {
        let failed = super::client::curl_fails(&[version, "-o", "/dev/null", &yett.url("public")]);
        assert_eq!(failed, code, "{version}");
    }
    yett.access.expect(&["\"status\":200", "\"complete\":false", "\"cause\":"]);
}
