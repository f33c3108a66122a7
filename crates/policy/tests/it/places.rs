use crate::it::kit::{Case, told};
use testkit::gateway::problems_with;
use testkit::{Surroundings, TestGateway};

const fn case(policies: &'static str, told: &'static str, saw: &'static str) -> Case {
    Case { path: "/*", policies, request: "GET /a HTTP/1.1\n", told, saw }
}

pub(crate) const IP: &[Case] = &[
    case("[{ ip: { allow: [192.0.2.0/24] } }]", "200", "GET /a"),
    case("[{ ip: { deny: [192.0.2.7] } }]", "403 address_refused", ""),
    case("[{ ip: { allow: [192.0.2.0/24], deny: [192.0.2.0/29] } }]", "403 address_refused", ""),
    case("[{ ip: { allow: [198.51.100.0/24] } }]", "403 address_refused", ""),
];

pub(crate) const GEO: &[Case] = &[
    case("[{ geo: { database: country.mmdb, allow: [IE] } }]", "200", "GET /a"),
    case("[{ geo: { database: country.mmdb, allow: [GB] } }]", "403 country_refused", ""),
    case("[{ geo: { database: country.mmdb, deny: [IE] } }]", "403 country_refused", ""),
];

const CURL: &str = "GET /a HTTP/1.1\nuser-agent: Curl/8\n";

pub(crate) const AGENTS: &[Case] = &[
    says(CURL, "[{ agents: { deny: [curl] } }]", "403 agent_refused", ""),
    says(CURL, "[{ agents: { allow: [curl] } }]", "200", "GET /a\nuser-agent: Curl/8"),
    says("GET /a HTTP/1.1\n", "[{ agents: { missing: refuse } }]", "403 agent_refused", ""),
    says(
        CURL,
        "[{ agents: { bots: { curl: 192.0.2.7 }, deny: [curl] } }]",
        "200",
        "GET /a\nuser-agent: Curl/8",
    ),
    says(CURL, "[{ agents: { bots: { curl: 10.0.0.7 } } }]", "403 agent_refused", ""),
    says(
        CURL,
        "[{ agents: { bots: { curl: { domains: bots.test } } } }]",
        "503 agent_unproven\nretry-after: 3",
        "",
    ),
];

const fn says(
    request: &'static str,
    policies: &'static str,
    told: &'static str,
    saw: &'static str,
) -> Case {
    Case { path: "/*", policies, request, told, saw }
}

/// Whenever the test runs.
pub(crate) const HOURS: &[Case] = &[
    case("[{ hours: { open: 00:00-24:00, time_zone: UTC } }]", "200", "GET /a"),
    case(
        "[{ hours: { open: 00:00-24:00, time_zone: UTC, status: 403 } }, { ip: { deny: [192.0.2.7] } }]",
        "403 address_refused",
        "",
    ),
];

/// A config with this line at its top and this policy.
fn config(top: &str, policy: &str) -> String {
    format!(
        "version: 1\n{top}\nlisteners: {{ public: {{ bind: '127.0.0.1:8080' }} }}\n\
         apis: {{ all: {{ public: a test, routes: [{{ GET /: {{ policies: [{{ {policy} }}, {{ respond: {{ body: ok }} }}] }} }}] }} }}\n"
    )
}

#[tokio::test]
async fn databases_at_the_top_of_a_config_serve_policies_and_expressions() {
    let places = [("192.0.2.0/24", serde_json::json!({ "country": { "iso_code": "IE" } }))];
    let database = testkit::mmdb::database("Test-Country", &places);
    let top = "geo: { database: country.mmdb }";
    for (policy, expected) in [
        ("geo: { allow: [IE] }", "200"),
        ("geo: { deny: [IE] }", "403 country_refused"),
        ("deny: geo.country == 'IE'", "403 access_denied"),
        ("allow: geo.country == 'IE'", "200"),
    ] {
        let surroundings = Surroundings::of(&config(top, policy));
        let gateway = TestGateway::within(&surroundings.file("country.mmdb", database.as_slice()));
        let answer = gateway.ask("GET / HTTP/1.1\n").await;
        assert!(told(&answer).starts_with(expected), "{policy}: {answer}");
    }
    for (top, policy, part) in [
        ("", "deny: geo.country == 'IE'", "asks for a database of places"),
        (top, "deny: geo.asn == 7", "yett.yaml:4:"),
        ("geo: { database: none.mmdb }", "geo: { allow: [IE] }", "yett.yaml:2:18: error"),
        ("geo: { database: [] }", "geo: { allow: [IE] }", "the list is empty"),
        ("geo: {}", "geo: { allow: [IE] }", "database"),
    ] {
        let files: [(&str, &[u8]); 1] = [("country.mmdb", &database)];
        let told = problems_with(&config(top, policy), &files, &[]);
        assert!(told.contains(part), "{top} {policy}: {told}");
    }
}
