//! Requests of real clients to real servers.

use super::backend::{self, Backend};
use super::client::{ask, connect, curl, curl_bytes, header, raw, read_head, read_to_end};
use super::servers::{Nginx, Python};
use super::wait::until_true;
use super::yett::{PUBLIC, Yett, plain};
use std::io::{Read as _, Write as _};
use std::net::Shutdown;

#[test]
fn http_1_and_http_2_reach_files_of_nginx() {
    let nginx = Nginx::start("");
    nginx.file("hello.txt", b"hello\n");
    let yett = Yett::start(&plain(&nginx.address, ""));
    let url = format!("{}/hello.txt", yett.url("public"));
    for (version, line) in [
        ("--http1.0", "HTTP/1.1 200"),
        ("--http1.1", "HTTP/1.1 200"),
        ("--http2-prior-knowledge", "HTTP/2 200"),
    ] {
        let answer = curl(&[version, &url]);
        assert!(answer.head.starts_with(line), "{version}: {}", answer.head);
        assert_eq!(answer.body, "hello\n");
        assert_eq!(answer.header("content-type").unwrap(), "text/plain");
        assert_eq!(answer.header("content-length").unwrap(), "6");
        assert!(answer.header("x-request-id").is_some());
    }
    let missing = curl(&[&format!("{}/missing", yett.url("public"))]);
    assert_eq!(missing.status, 404);
    assert!(missing.body.contains("nginx"), "{}", missing.body);
    assert_eq!(yett.metric("yett_requests_total", &["api=\"all\"", "status=\"2xx\""]), 3.0);
    assert_eq!(yett.metric("yett_requests_total", &["status=\"4xx\""]), 1.0);
}

#[test]
fn python_serves_files_through_the_gateway() {
    let python = Python::start();
    python.file("page.html", b"<p>hello</p>");
    let yett = Yett::start(&plain(&python.address, ""));
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let answer = curl(&[version, &format!("{}/page.html", yett.url("public"))]);
        assert_eq!((answer.status, answer.body.as_str()), (200, "<p>hello</p>"));
    }
}

#[test]
fn head_and_answers_without_a_body_pass() {
    let nginx = Nginx::start("location /none { return 204; }");
    nginx.file("file", b"12345");
    let yett = Yett::start(&plain(&nginx.address, ""));
    let url = yett.url("public");
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let head = curl(&[version, "-I", &format!("{url}/file")]);
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        assert_eq!(head.header("content-length").unwrap(), "5");
        let etag = head.header("etag").unwrap();
        let known = format!("if-none-match: {etag}");
        let unchanged = curl(&[version, "-H", &known, &format!("{url}/file")]);
        assert_eq!((unchanged.status, unchanged.body.as_str()), (304, ""));
        assert_eq!(unchanged.header("etag").unwrap(), etag);
        let none = curl(&[version, &format!("{url}/none")]);
        assert_eq!((none.status, none.body.as_str()), (204, ""));
        assert_eq!(none.header("content-length"), None);
        let part = curl(&[version, "-r", "1-3", &format!("{url}/file")]);
        assert_eq!((part.status, part.body.as_str()), (206, "234"));
    }
    // All on one connection: nothing of one answer may be taken for the next.
    let address = yett.address("public");
    let request = |line: &str| format!("{line} HTTP/1.1\r\nhost: a\r\n\r\n");
    let three = [request("HEAD /file"), request("GET /none"), request("GET /file")].concat();
    let mut stream = connect(&address);
    stream.write_all(three.as_bytes()).unwrap();
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 200"));
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 204"));
    stream
        .write_all(request("GET /none").replace("a\r\n", "a\r\nconnection: close\r\n").as_bytes())
        .unwrap();
    let rest = read_to_end(&mut stream);
    assert!(
        rest.starts_with("HTTP/1.1 200") && rest.contains("\r\n\r\n12345HTTP/1.1 204"),
        "{rest}"
    );
}

#[test]
fn a_listener_on_ipv6_serves_and_tells_the_backend_who_called() {
    let backend = Backend::echo();
    let listeners = "listeners: { public: { bind: \"[::1]:0\" } }\n";
    let yett = Yett::start(&plain(&backend.address.to_string(), "").replace(PUBLIC, listeners));
    let answer = curl(&["-g", &format!("{}/six", yett.url("public"))]);
    assert_eq!(answer.status, 200);
    assert_eq!(backend.seen()[0].header("x-forwarded-for").unwrap(), "::1");
    yett.access.expect(&["\"client\":\"::1\""]);
}

#[test]
fn request_id_and_trace_reach_the_backend() {
    let backend = Backend::echo();
    let yett = Yett::start(&plain(&backend.address.to_string(), ""));
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("traceparent: 00-{trace}-00f067aa0ba902b7-01");
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let answer = curl(&[version, "-H", &parent, &yett.url("public")]);
        let seen = backend.seen().pop().unwrap();
        let id = seen.header("x-request-id").unwrap();
        assert_eq!(answer.header("x-request-id").unwrap(), id);
        let passed = seen.header("traceparent").unwrap();
        assert!(passed.starts_with(&format!("00-{trace}-")), "{passed}");
        assert!(!passed.contains("00f067aa0ba902b7"), "the gateway is a span of its own: {passed}");
        yett.access
            .expect(&[&format!("\"request_id\":\"{id}\""), &format!("\"trace_id\":\"{trace}\"")]);
    }
    curl(&["-H", "traceparent: nonsense", &yett.url("public")]);
    let made = backend.seen().pop().unwrap().header("traceparent").unwrap();
    assert_eq!((made.len(), made.matches('-').count()), (55, 3), "{made}");
}

#[test]
fn what_only_the_gateway_may_say_does_not_come_from_clients() {
    let backend = Backend::echo();
    let yett = Yett::start(&plain(&backend.address.to_string(), ""));
    let lies = [
        "x-forwarded-for: 6.6.6.6",
        "X-Forwarded-Host: evil",
        "x-real-ip: 6.6.6.6",
        "forwarded: for=6.6.6.6",
        "x-consumer-username: admin",
        "x-consumer-groups: admins",
        "X-Yett-Consumer: admin",
        "x-yett-anything: admin",
        "x-request-id: chosen-by-the-client",
        "x-original-url: /admin",
    ];
    let of_the_connection = [
        "connection: keep-alive, x-private, x-forwarded-for, Content-Length",
        "x-private: 1",
        "keep-alive: timeout=5",
        "proxy-authorization: Basic Zm9v",
        "proxy-connection: keep-alive",
        "te: gzip",
        "upgrade: h2c",
    ];
    let mut arguments = vec!["-d", "body"];
    for line in lies.iter().chain(&of_the_connection) {
        arguments.extend(["-H", line]);
    }
    let url = yett.url("public");
    arguments.push(&url);
    assert_eq!(curl(&arguments).status, 200);
    let seen = backend.seen().pop().unwrap();
    assert_eq!(seen.body, b"body");
    assert_eq!(seen.header("x-forwarded-for").unwrap(), "127.0.0.1");
    assert_eq!(seen.header("x-forwarded-proto").unwrap(), "http");
    assert_eq!(seen.header("x-forwarded-host").unwrap(), yett.address("public"));
    for lie in
        ["6.6.6.6", "evil", "admin", "chosen-by-the-client", "x-private", "Zm9v", "upgrade", "gzip"]
    {
        assert!(!seen.head.contains(lie), "{lie} in {}", seen.head);
    }
    for name in ["keep-alive", "proxy-connection", "te", "x-real-ip", "forwarded", "x-original-url"]
    {
        assert_eq!(seen.header(name), None, "{name} in {}", seen.head);
    }
}

#[test]
fn a_request_of_two_lengths_is_refused_before_the_backend_sees_it() {
    let backend = Backend::echo();
    let yett = Yett::start(&plain(&backend.address.to_string(), ""));
    let address = yett.address("public");
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    for (what, head) in [
        ("both", "content-length: 4\r\ntransfer-encoding: chunked"),
        ("both, the other way round", "Transfer-Encoding: chunked\r\nContent-Length: 4"),
        ("two lengths", "content-length: 4\r\ncontent-length: 5"),
        ("a list of lengths", "content-length: 4, 5"),
        ("not a number", "content-length: +4"),
        ("another coding", "transfer-encoding: gzip"),
        ("chunked before another", "transfer-encoding: chunked, gzip"),
        ("a spoilt coding", "transfer-encoding: xchunked"),
        ("a space before the colon", "transfer-encoding : chunked"),
    ] {
        let text = format!("POST / HTTP/1.1\r\nhost: a\r\n{head}\r\n\r\n0\r\n\r\n{smuggled}");
        let answer = raw(&address, text.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400 "), "{what}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{what}: {answer}");
    }
    assert_eq!(backend.seen().len(), 0, "{:?}", backend.seen());
    assert_eq!(ask(&address, "GET /", "a", "").status, 200);
}

#[test]
fn a_client_may_be_slow() {
    let backend = Backend::echo();
    let yett = Yett::start(&plain(&backend.address.to_string(), ""));
    let mut stream = connect(&yett.address("public"));
    let request =
        "POST /slow HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello";
    for byte in request.as_bytes() {
        stream.write_all(&[*byte]).unwrap();
        stream.flush().unwrap();
    }
    let answer = read_to_end(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
    assert_eq!(backend.seen().len(), 1);
}

#[test]
fn a_client_that_waits_to_be_told_to_go_on_is_served_by_a_backend_that_says_nothing() {
    let backend = Backend::echo();
    let yett = Yett::start(&plain(&backend.address.to_string(), ""));
    let answer = curl(&["-H", "expect: 100-continue", "-d", "by curl", &yett.url("public")]);
    assert!(answer.body.ends_with("by curl"));
}

#[test]
fn a_body_that_is_refused_is_not_asked_for() {
    let backend = Backend::echo();
    let yett =
        Yett::start(&plain(&backend.address.to_string(), "policies: [{ body_limit: 10B }]\n"));
    let head = "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 11\r\n\r\n";
    let answer = raw(&yett.address("public"), head.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert_eq!(backend.seen().len(), 0);
}

#[test]
fn an_idle_connection_that_the_backend_closes_costs_no_request() {
    let backend = Backend::start(|_, stream| {
        backend::answer(stream, "200 OK", "", b"ok");
        false
    });
    let yett = Yett::start(&plain(&backend.address.to_string(), "workers: 1\n"));
    let address = yett.address("public");
    for round in 1..=20 {
        let answer = ask(&address, "GET /", "a", "");
        assert_eq!(answer.status, 200, "round {round}: {}", answer.body);
    }
}

#[test]
fn a_connection_that_is_known_to_be_closed_is_not_used_again() {
    let backend = Backend::start(|_, stream| {
        backend::answer(stream, "200 OK", "", b"ok");
        stream.shutdown(Shutdown::Write).unwrap();
        // Ends when the gateway has closed its side as well.
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        false
    });
    let config = plain(&backend.address.to_string(), "workers: 1\n")
        .replace("targets:", "retries: 0, targets:");
    let yett = Yett::start(&config);
    let address = yett.address("public");
    for round in 1..=20 {
        let answer = ask(&address, "POST /", "a", "x");
        assert_eq!(answer.status, 200, "round {round}: {}", answer.body);
        until_true("the gateway has closed its side", || backend.closed() == round);
    }
    assert_eq!((backend.seen().len(), backend.opened()), (20, 20));
}

#[test]
fn statuses_and_headers_of_the_backend_pass_as_they_are() {
    let backend = Backend::start(|_, stream| {
        let headers = "set-cookie: a=1\r\nset-cookie: b=2\r\nconnection: x-secret\r\nx-secret: 1\r\nx-kept: 2\r\n";
        backend::answer(stream, "418 I am a teapot", headers, b"short")
    });
    let yett = Yett::start(&plain(&backend.address.to_string(), ""));
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let answer = curl_bytes(&[version, &yett.url("public")]);
        assert_eq!((answer.status, &answer.body[..]), (418, &b"short"[..]));
        assert_eq!(answer.head.matches("set-cookie: ").count(), 2, "{}", answer.head);
        assert_eq!(header(&answer.head, "x-secret"), None);
        assert_eq!(header(&answer.head, "x-kept").unwrap(), "2");
    }
}
