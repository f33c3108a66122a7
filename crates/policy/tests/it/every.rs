use crate::it::kit::{Case, difference};
use crate::it::{
    access, allow, api_key, bandwidth, basic, body_limit, compress, concurrency, cors, decompress,
    deny, errors, ext_authz, grpc_web, headers, hmac, hsts, introspection, jwt, maintenance,
    mirror, mtls, places, plan, quota, rate_limit, redirect, respond, rewrite, split, steer,
    timeouts, towards_backends, websocket,
};

const ANY: &[Case] = &[
    identified("[any: [api_key, { api_key: { header: x-b } }]]", "GET /a HTTP/1.1\nx-b: KEY\n"),
    identified(
        "[any: [api_key, { api_key: { header: x-b } }]]",
        "GET /a HTTP/1.1\nx-api-key: KEY\n",
    ),
];

const METADATA: &[Case] = &[
    Case {
        path: "/.well-known/oauth-protected-resource",
        policies: "[{ resource_metadata: 'https://api.test by https://idp.test' }]",
        request: "GET /.well-known/oauth-protected-resource HTTP/1.1\n",
        told: "200\ncache-control: max-age=3600\ncontent-type: application/json\n\n{\"resource\":\"https://api.test\",\"authorization_servers\":[\"https://idp.test\"],\"bearer_methods_supported\":[\"header\"]}",
        saw: "",
    },
    Case {
        path: "/*",
        policies: "[{ resource_metadata: 'https://api.test/a by https://idp.test' }]",
        request: "GET /.well-known/oauth-protected-resource HTTP/1.1\n",
        told: "404 no_route",
        saw: "",
    },
];

const ALL: &[Case] = &[
    identified(
        "[all: [api_key, { api_key: { header: x-b } }]]",
        "GET /a HTTP/1.1\nx-b: KEY\nx-api-key: KEY\n",
    ),
    Case {
        path: "/*",
        policies: "[all: [api_key, { api_key: { header: x-b } }]]",
        request: "GET /a HTTP/1.1\nx-b: KEY\n",
        told: "401 credentials_missing\nwww-authenticate: Bearer realm=\"yett\"",
        saw: "",
    },
];

const fn identified(policies: &'static str, request: &'static str) -> Case {
    Case { path: "/*", policies, request, told: "200", saw: "GET /a\nx-yett-consumer: alice" }
}

const TABLE: &[(&str, &[Case])] = &[
    ("cors", cors::CASES),
    ("hsts", hsts::CASES),
    ("compress", compress::CASES),
    ("grpc_web", grpc_web::CASES),
    ("ip", places::IP),
    ("geo", places::GEO),
    ("agents", places::AGENTS),
    ("hours", places::HOURS),
    ("maintenance", maintenance::CASES),
    ("websocket", websocket::CASES),
    ("resource_metadata", METADATA),
    ("mtls", mtls::CASES),
    ("api_key", api_key::CASES),
    ("basic", basic::CASES),
    ("hmac", hmac::CASES),
    ("jwt", jwt::CASES),
    ("introspection", introspection::CASES),
    ("any", ANY),
    ("all", ALL),
    ("ext_authz", ext_authz::CASES),
    ("acl", access::ACL),
    ("allow", allow::CASES),
    ("deny", deny::CASES),
    ("scopes", access::SCOPES),
    ("rbac", access::RBAC),
    ("cedar", access::CEDAR),
    ("plan", plan::CASES),
    ("rate_limit", rate_limit::CASES),
    ("quota", quota::CASES),
    ("concurrency", concurrency::CASES),
    ("bandwidth", bandwidth::CASES),
    ("decompress", decompress::CASES),
    ("body_limit", body_limit::CASES),
    ("timeouts", timeouts::CASES),
    ("split", split::CASES),
    ("steer", steer::CASES),
    ("mirror", mirror::CASES),
    ("redirect", redirect::CASES),
    ("rewrite", rewrite::CASES),
    ("headers", headers::CASES),
    ("identity_headers", towards_backends::IDENTITY_HEADERS),
    ("internal_jwt", towards_backends::INTERNAL_JWT),
    ("backend_auth", towards_backends::BACKEND_AUTH),
    ("jwks", towards_backends::JWKS),
    ("errors", errors::CASES),
    ("respond", respond::CASES),
];

#[test]
fn every_kind_has_cases_of_a_whole_gateway() {
    let tested: Vec<&str> = TABLE.iter().map(|(kind, _)| *kind).collect();
    let kinds: Vec<&str> = policy::KINDS.iter().map(|kind| kind.name).collect();
    assert_eq!(tested, kinds);
    for (kind, cases) in TABLE {
        let uses = |case: &&Case| case.policies.contains(kind);
        assert!(cases.iter().filter(uses).count() >= 2, "`{kind}` has too few cases");
    }
}

#[tokio::test(start_paused = true)]
async fn every_case_has_its_answer() {
    let mut differing = Vec::new();
    for case in TABLE.iter().flat_map(|(_, cases)| *cases) {
        differing.extend(difference(case).await);
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

/// The upstreams that an example names, and one for its route.
fn upstreams(example: &str) -> String {
    let mut upstreams = "{ one: { targets: ['10.0.0.1:80'] }".to_owned();
    for name in ["orders", "orders-v2", "shadow"] {
        let is_named = |word: &str| word == name;
        if example.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').any(is_named) {
            upstreams.push_str(&format!(", {name}: {{ targets: ['10.0.0.2:80'] }}"));
        }
    }
    upstreams + " }"
}

/// Whom examples name.
const WHO: &str = "roles: { approver: { test: approve } }\nplans: { small: { default: true, limit: 5/s } }\nconsumers: { alice: { groups: [staff, interns] } }\n";

const TLS: &str = ", tls: { certificates: [{ cert: site.pem, key: site.key }], client: { mode: optional, ca: ca.pem } }";

#[test]
fn every_example_loads() {
    let authority = testkit::Authority::new();
    let site = authority.sign(&["localhost"]);
    let files = [
        ("site.pem", site.cert_pem.as_bytes()),
        ("site.key", site.key_pem.as_bytes()),
        ("ca.pem", authority.ca_pem.as_bytes()),
        ("country.mmdb", &testkit::mmdb::of_this_machine()),
    ];
    for kind in policy::KINDS {
        let asks = ["acl", "scopes", "rbac"].contains(&kind.name);
        let config = format!(
            "version: 1
state_dir: state
listeners: {{ public: {{ bind: '127.0.0.1:8080'{} }} }}
upstreams: {}
apis:
  test:
    upstream: one
    {}
    policies:
      - {}
      {}
{WHO}",
            if kind.name == "mtls" { TLS } else { "" },
            upstreams(kind.example),
            if kind.identifies() || asks { "" } else { "public: a test" },
            kind.example,
            match kind.name {
                "scopes" => "- jwt: https://idp.test for a",
                _ if asks => "- api_key",
                _ => "",
            },
        );
        let problems = testkit::gateway::problems_with(&config, &files, &[("TOKEN", "a secret")]);
        // Certificates are made by another clock than configs are read by.
        let problems: Vec<&str> =
            problems.lines().filter(|line| !line.contains("is valid only from")).collect();
        assert!(problems.is_empty(), "{}: {problems:?}", kind.name);
    }
}
