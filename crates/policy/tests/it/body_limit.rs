use crate::it::kit::{Case, gateway, told};
use testkit::gateway::BACKEND;

const TOO_LARGE: &str = "413 body_too_large: at most 4B are accepted here\nconnection: close";

const fn case(request: &'static str, told: &'static str, saw: &'static str) -> Case {
    Case { path: "/*", policies: "[{ body_limit: 4B }]", request, told, saw }
}

pub(crate) const CASES: &[Case] = &[
    case("GET /a HTTP/1.1\n", "200", "GET /a"),
    case("POST /a HTTP/1.1\ncontent-length: 4\n\nfour", "200", "POST /a\n\nfour"),
    case("POST /a HTTP/1.1\ncontent-length: 5\n\nfiver", TOO_LARGE, ""),
    case(
        "POST /a HTTP/1.1\ntransfer-encoding: chunked\n\n4\r\nfour\r\n0\r\n\r\n",
        "200",
        "POST /a\ntransfer-encoding: chunked\n\n4\nfour\n0\n\n",
    ),
    // The smallest of several counts.
    Case {
        path: "/*",
        policies: "[{ body_limit: { max: 10B, id: a } }, { body_limit: { max: 4B, id: b } }]",
        request: "POST /a HTTP/1.1\ncontent-length: 5\n\nfiver",
        told: TOO_LARGE,
        saw: "",
    },
];

#[tokio::test(start_paused = true)]
async fn a_body_without_a_length_is_cut_off_where_it_grows_too_large() {
    let (gateway, _) = gateway("/*", "[{ body_limit: 4B }]");
    let mut connections = gateway.play(BACKEND);
    let request =
        "POST /a HTTP/1.1\ntransfer-encoding: chunked\n\n4\r\nfour\r\n1\r\nx\r\n0\r\n\r\n";
    assert_eq!(told(&gateway.ask(request).await), TOO_LARGE);
    if let Ok(mut backend) = connections.try_recv() {
        let mut seen = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut backend, &mut seen).await.unwrap();
        let seen = String::from_utf8(seen).unwrap();
        assert!(!seen.ends_with("0\r\n\r\n"), "the backend must not take it for whole: {seen}");
    }
}
