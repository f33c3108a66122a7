//! Calls of gRPC: the service of `examples/grpc`, called through the gateway by the library of Python, and by
//! gRPC-Web in raw bytes.

use super::python::Python;
use super::wait::until;
use super::yett::{Launch, TOP, Yett};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use testkit::{Authority, repository};

const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/client_grpc.py");

/// What the client checks, in its order.
const CHECKS: &[&str] = &[
    "cancellation",
    "client_stream",
    "deadline_of_the_caller",
    "deadline_of_the_gateway",
    "deadline_reaches_the_backend",
    "empty_message",
    "error_of_the_backend",
    "large_messages",
    "limit",
    "metadata",
    "no_route",
    "ping_pong",
    "server_stream",
];

/// The service, and the gateway of the example before it.
struct Example {
    greeter: Python,
    yett: Yett,
}

impl Example {
    fn start() -> Self {
        let folder = repository().join("examples/grpc");
        let greeter = Python::start(folder.join("greeter.py").to_str().unwrap(), &["127.0.0.1:0"]);
        let port = greeter.port();
        let config = std::fs::read_to_string(folder.join("yett.yaml")).unwrap();
        let config = config
            .replace("version: 1\n", TOP)
            .replace("127.0.0.1:50051", &format!("127.0.0.1:{port}"))
            .replace(
                "  public: { bind: 127.0.0.1:8080 }\n",
                "  public: { bind: \"127.0.0.1:0\" }\n  secure: { bind: \"127.0.0.1:0\", tls: { certificates: [{ cert: site.pem, key: site.key }] } }\n",
            );
        let authority = Authority::new();
        let pair = authority.sign(&["localhost"]);
        let yett = Launch::new(&config)
            .file("site.pem", &pair.cert_pem)
            .file("site.key", &pair.key_pem)
            .file("ca.pem", &authority.ca_pem)
            .start();
        Self { greeter, yett }
    }

    /// Has Python make its calls, each of which must go well.
    fn check(&self, arguments: &[&str]) {
        let mut client = Python::start(CLIENT, arguments);
        until("the client ends", || client.child.try_wait().unwrap());
        let expected: Vec<String> = CHECKS.iter().map(|name| format!("pass {name}")).collect();
        until("the client's lines are read", || {
            (client.told.all().len() >= expected.len()).then_some(())
        });
        assert_eq!(client.told.all(), expected);
        for call in ["cancelled", "late", "hurried"] {
            self.greeter.told.expect(&["given up", call]);
        }
    }

    fn web(&self, method: &str, content_type: &str, body: &[u8]) -> TcpStream {
        let address = self.yett.address("public");
        let mut io = TcpStream::connect(&address).unwrap();
        let head = format!(
            "POST /demo.Greeter/{method} HTTP/1.1\r\nhost: {address}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        io.write_all(&[head.as_bytes(), body].concat()).unwrap();
        io
    }
}

#[test]
fn every_kind_of_call_passes_without_tls() {
    let example = Example::start();
    example.check(&[&example.yett.address("public")]);
    let counted = |status: &str| {
        example.yett.count("yett_grpc_calls_total", &[&format!("grpc_status=\"{status}\"")])
    };
    assert_eq!((counted("5"), counted("8"), counted("12")), (1, 1, 1));
    assert!(counted("0") >= 9, "{}", example.yett.metrics());
    example.yett.access.expect(&["/demo.Greeter/Find", "\"grpc_status\":5"]);
    example.yett.access.expect(&["/demo.Greeter/Scarce", "\"grpc_status\":8", "rate_limited"]);
}

#[test]
fn every_kind_of_call_passes_over_tls() {
    let example = Example::start();
    let port = example.yett.address("secure").rsplit(':').next().unwrap().to_owned();
    let ca = example.yett.path("ca.pem").display().to_string();
    example.check(&[&format!("localhost:{port}"), &ca]);
}

/// Reads until this is there.
fn read_until(io: &mut TcpStream, part: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut piece = [0; 1_024];
    while !bytes.windows(part.len()).any(|window| window == part) {
        match io.read(&mut piece).unwrap() {
            0 => panic!("it ended: {}", String::from_utf8_lossy(&bytes)),
            length => bytes.extend_from_slice(piece.get(..length).unwrap()),
        }
    }
    bytes
}

#[test]
fn pages_call_by_grpc_web_over_http1() {
    let example = Example::start();
    let world = b"\0\0\0\0\x05world";
    let mut io = example.web("Hello", "application/grpc-web+proto", world);
    let answer = read_until(&mut io, b"grpc-status: 0");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.contains("content-type: application/grpc-web+proto"), "{answer}");
    assert!(answer.contains("\0\0\0\0\u{b}hello world"), "{answer}");
    let mut io = example.web("Hello", "application/grpc-web-text", b"AAAAAAV3b3JsZA==");
    read_until(&mut io, b"AAAAAAtoZWxsbyB3b3JsZA==");
    let mut io = example.web("Find", "application/grpc-web", world);
    read_until(&mut io, b"grpc-status: 5\r\ngrpc-message: no world here");
    let mut io = example.web("Hello", "application/grpc-web-text", b"no base64");
    read_until(&mut io, b"\r\n\r\n");
    example.yett.access.expect(&["\"grpc_status\":13", "bad_request"]);
}

#[test]
fn messages_of_a_stream_reach_a_page_at_once() {
    let example = Example::start();
    let page = b"\0\0\0\0\x04page";
    let mut io = example.web("Hold", "application/grpc-web", page);
    read_until(&mut io, b"\0\0\0\0\x05begun");
    drop(io);
    example.greeter.told.expect(&["given up", "page"]);
    let mut io = example.web("Hurry", "application/grpc-web", page);
    read_until(&mut io, b"grpc-status: 4");
}
