use crate::it::kit::Case;

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
