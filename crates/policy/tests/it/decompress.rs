use crate::it::kit::{Case, gateway, told};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write as _;
use testkit::gateway::BACKEND;

const OTHERS: &str = "415 encoding_unsupported: gzip, br, zstd, deflate are accepted here\naccept-encoding: gzip, br, zstd, deflate";

const fn case(request: &'static str, told: &'static str, saw: &'static str) -> Case {
    Case { path: "/*", policies: "[decompress]", request, told, saw }
}

pub(crate) const CASES: &[Case] = &[
    case("GET /a HTTP/1.1\n", "200", "GET /a"),
    case("POST /a HTTP/1.1\ncontent-length: 4\n\nfour", "200", "POST /a\n\nfour"),
    case("POST /a HTTP/1.1\ncontent-encoding: gzip\ncontent-length: 0\n\n", "200", "POST /a"),
    case("POST /a HTTP/1.1\ncontent-encoding: compress\ncontent-length: 4\n\nfour", OTHERS, ""),
    Case {
        path: "/*",
        policies: "[{ decompress: 1KiB }]",
        request: "POST /a HTTP/1.1\ncontent-encoding: gzip\ncontent-length: 4000\n\n",
        told: "413 body_too_large: at most 1KiB are accepted here\nconnection: close",
        saw: "",
    },
];

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// A request with this body and these headers, as bytes.
fn request(headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /a HTTP/1.1\r\nhost: api.test\r\ncontent-encoding: gzip\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[tokio::test(start_paused = true)]
async fn a_backend_gets_what_was_meant() {
    let (gateway, _) = gateway("/*", "[decompress]");
    let sent = request("content-digest: sha-256=:AA==:\r\n", &gzip(b"hello, hello, hello"));
    assert_eq!(told(&gateway.ask_raw(&sent).await), "200");
    let seen = &gateway.seen()[0];
    assert!(seen.contains("transfer-encoding: chunked"), "{seen}");
    assert!(seen.contains("\nhello, hello, hello\n"), "{seen}");
    let gone = ["content-encoding", "content-length", "content-digest"];
    assert!(!gone.iter().any(|name| seen.contains(name)), "{seen}");
}

#[tokio::test(start_paused = true)]
async fn a_body_limit_counts_what_comes_out() {
    let (gateway, _) = gateway("/*", "[{ body_limit: 1KiB }, decompress]");
    let sent = gzip(&[b'x'; 1_024]);
    assert_eq!(told(&gateway.ask_raw(&request("", &sent)).await), "200");
    let sent = gzip(&[b'x'; 1_025]);
    let refused = "413 body_too_large: at most 1KiB are accepted here\nconnection: close";
    assert_eq!(told(&gateway.ask_raw(&request("", &sent)).await), refused);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_is_never_whole_to_a_backend() {
    let (gateway, _) = gateway("/*", "[decompress]");
    let mut connections = gateway.play(BACKEND);
    let mut broken = gzip(&(0..=255).cycle().take(90_000).collect::<Vec<u8>>());
    let end = broken.len() - 4;
    broken.truncate(end);
    let backend = tokio::spawn(async move {
        let mut seen = Vec::new();
        let mut io = connections.recv().await.unwrap();
        tokio::io::AsyncReadExt::read_to_end(&mut io, &mut seen).await.unwrap();
        seen
    });
    let answer = told(&gateway.ask_raw(&request("", &broken)).await);
    assert_eq!(answer, "400 encoding_invalid\nconnection: close");
    let seen = backend.await.unwrap();
    assert!(seen.len() > 50_000 && !seen.ends_with(b"0\r\n\r\n"), "not to be taken for whole");
}
