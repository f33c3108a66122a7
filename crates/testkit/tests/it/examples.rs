//! The examples: each is in canonical form, loads without a warning, and answers as its page says. The
//! backends are in memory, at the addresses that the examples name.

use super::files;
use base::Severity;
use base::caps::SIGNATURE_SKEW_S;
use std::time::Duration;
use testkit::backend::{Act, Backend};
use testkit::gateway::client_tls_with;
use testkit::gateway::report;
use testkit::{Authority, Surroundings, TestGateway, repository};

/// The header with the quick start's key.
const KEY: &str = "x-api-key: yett_dEHrmf3MqeszyEbnFCTM23kvBovNVDB8DKE0xHOu9pO09GWdc";
/// A token for the shop, and one that is not for it.
const ALICE: &str = include_str!("../../../../examples/jwt/alice.jwt");
const BOB: &str = include_str!("../../../../examples/jwt/bob.jwt");
/// Tokens of two issuers.
const STAFF: &str = include_str!("../../../../examples/issuers/staff.jwt");
const PARTNER: &str = include_str!("../../../../examples/issuers/partner.jwt");
/// A request that is signed with the example's secret, when signatures are first believed after a start.
const SIGNED: &str = "GET /orders/1\nhost: 127.0.0.1:8080\nsignature-input: sig=(\"@method\" \"@authority\" \"@path\");created=1767225606;keyid=\"nightly-1\"\nsignature: sig=:XccMvGMlE464ay10ysEqUNPOqEOHEd9x6WcvqpuXIl8=:";
/// The backends of the shop, as far as they matter here.
const SHOP: &[&str] = &["127.0.0.1:9101", "127.0.0.1:9102", "127.0.0.1:9103", "127.0.0.1:9111"];
/// Where all Unix sockets are in memory.
const UNIX: &str = "0.0.0.0:0";
/// nginx in the example of a static site.
const FILES: &str = "127.0.0.1:8081";

/// The authoriser of an example.
const AUTHORISER: &str = "127.0.0.1:9191";

/// The issuer of an example that says what tokens are worth, and what it says.
const ISSUER: &str = "127.0.0.1:9192";
const ACTIVE: &str = r#"{"active":true,"iss":"http://127.0.0.1:9192","aud":"http://127.0.0.1:8080/orders","sub":"alice","scope":"orders:read orders:write","exp":4102444800}"#;

/// The number of a certificate that was revoked.
const MALLORY: u8 = 3;

/// A request to an example, and what the answer must hold, `-` for what it must not.
struct Case {
    example: &'static str,
    listener: &'static str,
    request: &'static str,
    expected: &'static [&'static str],
}

const fn case(
    example: &'static str,
    request: &'static str,
    expected: &'static [&'static str],
) -> Case {
    Case { example, listener: "public", request, expected }
}

const CASES: &[Case] = &[
    case("versions", "GET /v3/orders/1\nKEY", &["200", "-deprecation"]),
    case(
        "versions",
        "GET /v2/orders/1\nKEY",
        &[
            "200",
            "deprecation: @1759276800",
            "sunset: Thu, 31 Dec 2099 00:00:00 GMT",
            "rel=\"successor-version\"",
        ],
    ),
    case("versions", "GET /v1/orders/1", &["410", "api_retired", "link: </v3>"]),
    case("versions", "GET /v4/orders/1\nKEY", &["404"]),
    case("quickstart", "GET /orders/1", &["401", "credentials_missing", "x-served-by: yett"]),
    case(
        "quickstart",
        "GET /orders/1\nKEY",
        &["200", "GET /orders/1", "x-yett-consumer: demo", "-x-api-key"],
    ),
    case("quickstart", "GET /orders/1\nx-api-key: yett_nope", &["401", "credentials_invalid"]),
    case("quickstart", "POST /orders\nKEY\ncontent-length: 2\n\nhi", &["200", "POST /orders"]),
    case("quickstart", "DELETE /orders/1\nKEY", &["405", "allow: GET, HEAD"]),
    case("quickstart", "GET /customers/2\nKEY", &["200", "GET /customers/2"]),
    case("quickstart", "GET /", &["200", "a small shop"]),
    case(
        "plans",
        "GET /orders\nx-api-key: bob-tries-it-out-for-nothing",
        &["200", "ratelimit: \"free\";r=9;t=", "ratelimit: \"free-day\";r=2;t="],
    ),
    case(
        "plans",
        "GET /orders/export\nx-api-key: bob-tries-it-out-for-nothing",
        &["429", "quota_exceeded", "ratelimit: \"free-day\";r=2;t="],
    ),
    case(
        "plans",
        "GET /orders/export\nx-api-key: alice-pays-for-gold-every-month",
        &["200", "ratelimit-policy: \"gold-month\";q=2000000", "r=1999997"],
    ),
    case(
        "limits-on-many-nodes",
        "GET /orders\nx-api-key: bob-tries-it-out-for-nothing",
        &["200", "here are your orders", "ratelimit: \"free\";r="],
    ),
    case("quickstart", "GET /nothing", &["404", "no_route"]),
    case(
        "static-site",
        "GET /",
        &["200", "content-security-policy: default-src", "-server: nginx"],
    ),
    case("static-site", "GET /start.html", &["301", "location: /"]),
    case("static-site", "POST /\ncontent-length: 2\n\nhi", &["405", "allow: GET, HEAD"]),
    case("static-site", "GET /\ncontent-length: 2\n\nhi", &["413", "body_too_large"]),
    case(
        "teams",
        "GET /orders/1\nKEY",
        &["200", "x-yett-consumer: web-shop", "q=100;w=1", "q=10;w=1"],
    ),
    case("teams", "POST /orders\nKEY", &["200", "POST /orders"]),
    case("teams", "GET /stock/7", &["401", "credentials_missing"]),
    case("teams", "GET /stock/7/public", &["200", "GET /stock/7 ", "\"screens\";q=5", "-public"]),
    case(
        "headers",
        "GET /api/orders/7?a=1\ncookie: a=b\nx-debug-1: x",
        &[
            "200",
            "GET /orders/7?a=1",
            "authorization: Bearer open-sesame",
            "vary: accept-language",
            "-cookie",
            "-x-debug",
        ],
    ),
    case(
        "jwt",
        "GET /orders/1\nALICE",
        &["200", "GET /orders/1", "x-yett-consumer: idp.example.com/alice", "-authorization"],
    ),
    case("jwt", "POST /orders\nALICE\ncontent-length: 2\n\nhi", &["200", "POST /orders"]),
    case(
        "jwt",
        "GET /orders/1\nBOB",
        &["401", "credentials_invalid", "error=\"invalid_token\"", "-somebody"],
    ),
    case("jwt", "GET /orders/1", &["401", "credentials_missing"]),
    case(
        "roles",
        "GET /orders/1\nx-api-key: the-key-of-reader",
        &["200", "GET /orders/1", "x-yett-consumer: reader"],
    ),
    case(
        "roles",
        "POST /orders\nx-api-key: the-key-of-reader\ncontent-length: 2\n\nhi",
        &["403", "permission_missing", "-create", "-order-reader"],
    ),
    case("roles", "POST /orders/1/approve\nx-api-key: the-key-of-clerk", &["200", "/approve"]),
    case("roles", "POST /orders/1/approve\nx-api-key: the-key-of-bot", &["403"]),
    case("roles", "DELETE /orders/1\nx-api-key: the-key-of-clerk", &["403"]),
    case("roles", "DELETE /orders/1\nx-api-key: the-key-of-boss", &["200", "DELETE /orders/1"]),
    case("cedar", "GET /orders/1\nx-api-key: the-key-of-clerk", &["200", "GET /orders/1"]),
    case("cedar", "GET /orders/of/green\nx-api-key: the-key-of-reader", &["200"]),
    case(
        "cedar",
        "DELETE /orders/1\nx-api-key: the-key-of-clerk",
        &["403", "access_denied", "-say-why"],
    ),
    case(
        "cedar",
        "DELETE /orders/1\nx-api-key: the-key-of-clerk\nx-purpose: a double",
        &["200", "DELETE /orders/1"],
    ),
    case(
        "cedar",
        "DELETE /orders/1\nx-api-key: the-key-of-reader\nx-purpose: a double",
        &["403", "access_denied"],
    ),
    case(
        "issuers",
        "GET /orders/1\nSTAFF",
        &["200", "x-yett-consumer: login.example.com/alice", "-authorization"],
    ),
    case("issuers", "POST /orders\nSTAFF\ncontent-length: 2\n\nhi", &["200", "POST /orders"]),
    case(
        "issuers",
        "GET /orders/1\nPARTNER",
        &["200", "x-yett-consumer: bakery", "-authorization"],
    ),
    case("issuers", "GET /orders/1\nKEY", &["200", "x-yett-consumer: bakery", "-x-api-key"]),
    case("issuers", "POST /orders\nPARTNER\ncontent-length: 2\n\nhi", &["403", "access_denied"]),
    case(
        "issuers",
        "GET /orders/1\nauthorization: Bearer nonsense",
        &["401", "credentials_invalid"],
    ),
    case(
        "basic",
        "GET /orders/1\nauthorization: Basic ZGVzazpvcGVuIHNlc2FtZQ==",
        &["200", "x-yett-consumer: desk", "x-yett-groups: sales", "-authorization"],
    ),
    case(
        "basic",
        "GET /orders/1\nauthorization: Basic ZGVzazpvcGVuIGJhcmxleQ==",
        &["401", "credentials_invalid", "Basic realm=\"orders\""],
    ),
    case(
        "basic",
        "POST /orders\nauthorization: Basic Ym9hcmQ6bG9vayBvbmx5\ncontent-length: 2\n\nhi",
        &["403", "access_denied"],
    ),
    case("basic", "GET /orders/1\nKEY", &["200", "x-yett-consumer: web-shop"]),
    case("hmac", SIGNED, &["200", "x-yett-consumer: shop", "-signature"]),
    case("hmac", SIGNED, &["401", "credentials_invalid"]),
    case("hmac", "GET /orders/1", &["401", "credentials_missing"]),
    case(
        "oauth",
        "GET /orders/1",
        &[
            "401",
            "resource_metadata=\"http://127.0.0.1:8080/.well-known/oauth-protected-resource/orders\"",
        ],
    ),
    case(
        "oauth",
        "GET /.well-known/oauth-protected-resource/orders",
        &["200", "\"authorization_servers\":[\"http://127.0.0.1:9192\"]"],
    ),
    case(
        "oauth",
        "GET /orders/1\nauthorization: Bearer alice",
        &["200", "x-yett-consumer: 127.0.0.1/alice", "x-scope: orders:read orders:write"],
    ),
    case(
        "overload",
        "GET /orders/1\nx-api-key: gold-is-what-this-caller-has",
        &["200", "GET /orders/1", "x-yett-consumer: alice"],
    ),
    case("canary", "GET /orders/1\nx-canary: 1", &["200", "GET /orders/1"]),
    case("canary", "GET /shop/1", &["200", "GET /orders/1", "set-cookie: side=", "Max-Age=86400"]),
    case("mirror", "GET /orders/1", &["200", "GET /orders/1", "-x-yett-mirror"]),
    case("tcp", "GET /orders/1", &["200", "GET /orders/1"]),
    case("headers", "GET /api/articles/7/stock", &["200", "GET /stock/7 "]),
    case("headers", "GET /api/v0/orders/7?lang=en", &["308", "location: /api/orders/7?lang=en"]),
    case(
        "headers",
        "OPTIONS /api/orders/7\norigin: https://shop.example.com\naccess-control-request-method: GET",
        &["204", "access-control-allow-origin: https://shop.example.com"],
    ),
    case(
        "headers",
        "OPTIONS /api/orders/7\norigin: https://elsewhere.example\naccess-control-request-method: GET",
        &["403", "cors_refused", "-access-control-allow-origin"],
    ),
    case(
        "grpc",
        "POST /demo.Nobody/Hello\ncontent-type: application/grpc",
        &["200", "content-type: application/grpc", "grpc-status: 12", "no_route"],
    ),
    case(
        "grpc",
        "POST /demo.Greeter/Hello\ncontent-type: application/grpc-web\ngrpc-timeout: soon",
        &["200", "content-type: application/grpc-web", "grpc-status: 13", "bad_request"],
    ),
    case(
        "compress",
        "GET /orders/1\naccept-encoding: gzip",
        &["200", "vary: accept-encoding", "-content-encoding"],
    ),
    case(
        "compress",
        "GET /words\naccept-encoding: deflate",
        &["200", "vary: accept-encoding", "-content-encoding", "the same again"],
    ),
    case(
        "compress",
        "GET /words\naccept-encoding: gzip, br;q=0.5",
        &["200", "vary: accept-encoding", "content-encoding: gzip", "-content-length"],
    ),
    case(
        "compress",
        "POST /orders\ncontent-encoding: br\ncontent-length: 1\n\nx",
        &["415", "encoding_unsupported", "accept-encoding: gzip, zstd"],
    ),
    case("compress", "POST /orders\ncontent-length: 1\n\nx", &["200", "POST /orders"]),
    case("compress", "GET /account\naccept-encoding: gzip", &["200", "-content-encoding", "-vary"]),
    case(
        "websocket",
        "GET /chat\nconnection: upgrade\nupgrade: websocket\nsec-websocket-version: 8",
        &["426", "websocket_version", "sec-websocket-version: 13"],
    ),
    case(
        "websocket",
        "GET /chat\nconnection: upgrade\nupgrade: websocket\nsec-websocket-version: 13\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\norigin: https://evil.example",
        &["403", "origin_refused"],
    ),
    case("unix-socket", "GET /orders/1", &["200", "GET /orders/1", "host: localhost"]),
    case(
        "ext-authz",
        "GET /orders/1\nauthorization: Bearer alice\nx-tenant: lie\nx-yett-groups: admin",
        &[
            "200",
            "GET /orders/1",
            "x-tenant: t1",
            "x-yett-consumer: 127.0.0.1:9191/alice",
            "x-yett-groups: sales",
            "-lie",
        ],
    ),
    case("zones", "GET /orders/1", &["200", "GET /orders/1"]),
    case("where-and-when", "GET /orders/1", &["200", "GET /orders/1"]),
    case("where-and-when", "GET /orders/1\nuser-agent: AhrefsBot/7.0", &["403", "agent_refused"]),
    case(
        "where-and-when",
        "GET /orders/1\nuser-agent: Googlebot/2.1",
        &["503", "agent_unproven", "retry-after: 3"],
    ),
    case(
        "where-and-when",
        "GET /stock/7",
        &["403", "address_refused", "the stock is for our shops", "-192.0.2.7"],
    ),
    Case {
        example: "client-certificates",
        listener: "secure",
        request: "GET /prices\nhost: partners.localhost",
        expected: &["421", "misdirected"],
    },
    Case {
        example: "tls",
        listener: "plain",
        request: "GET /where?to=1\nhost: localhost:8080",
        expected: &["308", "location: https://localhost:8443/where?to=1"],
    },
];

/// An example with what its page has readers set up.
fn bearer(token: &str) -> String {
    format!("authorization: Bearer {}", token.trim())
}

fn example(name: &str, authority: &Authority) -> Surroundings {
    let folder = repository().join("examples").join(name);
    let all = Surroundings::folder(&folder).env("BACKEND_TOKEN", "open-sesame");
    let mut all = all.env("ZONE", "eu-west-1b").env("REGION", "eu-west-1");
    all = all.env("XDG_RUNTIME_DIR", "/run/user/1000").env("GATEWAY_SECRET", "an-example");
    all = all.env("NIGHTLY_SECRET", "an example of a secret, 32 bytes or more");
    let all_names =
        [("site", "localhost"), ("api", "api.localhost"), ("partners", "partners.localhost")];
    for (file, host) in all_names {
        let pair = authority.sign(&[host]);
        all = all.file(&format!("certs/{file}.pem"), pair.cert_pem);
        all = all.file(&format!("certs/{file}.key"), pair.key_pem);
    }
    let revoked = authority.revoked(&[MALLORY], Duration::from_secs(86_400));
    all.file("certs/partners-ca.pem", authority.ca_pem.as_str()).file("certs/partners.crl", revoked)
}

fn serve(name: &str, authority: &Authority) -> TestGateway {
    let gateway = TestGateway::within(&example(name, authority));
    for address in SHOP {
        gateway.put(address, Backend::echo());
    }
    let page =
        "HTTP/1.1 200 OK\nserver: nginx\ncontent-type: text/html\ncontent-length: 6\n\nhello\n";
    gateway.put(UNIX, Backend::echo());
    let yes =
        "HTTP/1.1 200 OK\nx-user: alice\nx-groups: sales\nx-tenant: t1\ncontent-length: 0\n\n";
    gateway.put(AUTHORISER, Backend::answer(yes));
    let length = ACTIVE.len();
    let said = format!(
        "HTTP/1.1 200 OK\ncontent-type: application/json\ncontent-length: {length}\n\n{ACTIVE}"
    );
    gateway.put(ISSUER, Backend::answer(&said));
    gateway.put(FILES, Backend::acts([Act::Answer(page.to_owned())]));
    gateway.advance(Duration::from_secs(SIGNATURE_SKEW_S + 1));
    gateway
}

fn names() -> Vec<String> {
    let folders = std::fs::read_dir(repository().join("examples")).unwrap();
    let mut names: Vec<String> =
        folders.map(|folder| folder.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn examples_answer_as_their_pages_say() {
    let authority = Authority::new();
    for name in names() {
        let gateway = serve(&name, &authority);
        let mut asked = 0;
        for case in CASES.iter().filter(|case| case.example == name) {
            let request = case.request.replace("KEY", KEY);
            let tokens = [("ALICE", ALICE), ("BOB", BOB), ("STAFF", STAFF), ("PARTNER", PARTNER)];
            let request = tokens
                .iter()
                .fold(request, |request, (name, token)| request.replace(name, &bearer(token)));
            let request = request.replacen('\n', " HTTP/1.1\n", 1);
            let request =
                if request.contains('\n') { request } else { format!("{request} HTTP/1.1") };
            let mut connection = gateway.connect_to(case.listener);
            let answer = gateway.ask_on(&mut connection, &request).await;
            let (status, rest) = case.expected.split_first().unwrap();
            let asked_for = format!("{name}: {request}\n{answer}");
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{asked_for}");
            for part in rest {
                match part.strip_prefix('-') {
                    None => assert!(answer.contains(part), "`{part}` is missing in {asked_for}"),
                    Some(part) => assert!(!answer.contains(part), "`{part}` is in {asked_for}"),
                }
            }
            asked += 1;
        }
        assert!(asked > 0, "no request is made to the example `{name}`");
    }
}

#[tokio::test]
async fn the_quick_start_limits_stock_checks() {
    let gateway = serve("quickstart", &Authority::new());
    for expected in [200, 200, 200, 200, 200, 429, 429] {
        let answer = gateway.ask(&format!("GET /stock/1 HTTP/1.1\n{KEY}")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{answer}");
    }
}

#[tokio::test]
async fn the_quick_start_serves_orders_with_one_of_two_servers() {
    let gateway = serve("quickstart", &Authority::new());
    gateway.put("127.0.0.1:9111", Backend::refusing());
    for id in 1..5 {
        let answer = gateway.ask(&format!("GET /orders/{id} HTTP/1.1\n{KEY}")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

#[tokio::test]
async fn the_tls_example_chooses_its_certificate_by_name() {
    let authority = Authority::new();
    let gateway = serve("tls", &authority);
    for (host, path, expected) in [
        ("localhost", "/", "this is the site"),
        ("api.localhost", "/status", "strict-transport-security"),
        ("localhost", "/status", "no_route"),
    ] {
        let mut connection = gateway.connect_tls("secure", host, &authority.ca_pem).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\nhost: {host}:8443");
        let answer = gateway.ask_on(&mut connection, &request).await;
        assert!(answer.contains(expected), "{answer}");
    }
    let stranger = Authority::new();
    let refused = gateway.connect_tls("secure", "localhost", &stranger.ca_pem).await;
    assert!(refused.is_err(), "a client that trusts another authority must not connect");
}

#[tokio::test]
async fn the_example_of_client_certificates_lets_partners_in_and_nobody_else() {
    let authority = Authority::new();
    let gateway = serve("client-certificates", &authority);
    let [bakery, mill] =
        ["bakery", "mill"].map(|name| authority.sign(&[&format!("{name}.partners.example")]));
    let mallory = authority.sign_client("mallory", MALLORY);
    let stranger = Authority::new().sign(&["bakery.partners.example"]);
    for (host, path, pair, expected) in [
        ("localhost", "/status", None, "200"),
        ("partners.localhost", "/prices", None, "refused"),
        ("partners.localhost", "/prices", Some(&stranger), "refused"),
        ("partners.localhost", "/prices", Some(&mallory), "refused"),
        ("partners.localhost", "/prices", Some(&mill), "200"),
        ("partners.localhost", "/recipes", Some(&mill), "403"),
        ("partners.localhost", "/recipes", Some(&bakery), "200"),
    ] {
        let client = client_tls_with(&authority.ca_pem, pair);
        let request = format!("GET {path} HTTP/1.1\nhost: {host}:8443");
        // A client of TLS 1.3 learns only with the first answer that it is refused.
        let answer = match gateway.connect_tls_with("secure", host, client).await {
            Ok(mut connection) => gateway.ask_on(&mut connection, &request).await,
            Err(_) => String::new(),
        };
        let status = answer.split(' ').nth(1).unwrap_or("refused");
        assert_eq!(status, expected, "{host}{path} {answer}");
    }
}

#[test]
fn examples_have_no_errors_and_no_warnings() {
    let authority = Authority::new();
    for name in names() {
        let report = report(&example(&name, &authority));
        // The certificates of tests are made by the real clock, and looked at by that of the test.
        let is_bad =
            |p: &&base::Problem| p.severity != Severity::Note && p.code != "early_certificate";
        let bad: Vec<_> = report.problems().iter().filter(is_bad).collect();
        assert!(bad.is_empty(), "{name}: {bad:?}");
    }
}

#[test]
fn examples_are_in_canonical_form_and_explained() {
    for source in files::ending(".yaml") {
        if source.path.starts_with("examples/") {
            let formatted = model::format(&source.text, &source.path.as_str().into()).unwrap();
            assert_eq!(formatted, source.text, "`yett fmt` would change {}", source.path);
        }
    }
    for name in names() {
        let page = files::read(&format!("examples/{name}/README.md"));
        assert!(page.contains("```sh\n") && page.contains("curl "), "{name}: how is it run?");
    }
}
