use crate::it::kit::Case;

const fn case(policies: &'static str, request: &'static str, told: &'static str) -> Case {
    Case { path: "/*", policies, request, told, saw: "" }
}

pub(crate) const CASES: &[Case] = &[
    case(
        "[{ maintenance: true }]",
        "GET /a HTTP/1.1\n",
        "503 maintenance: this service is being worked on; please come back later\nretry-after: 300\nvary: accept",
    ),
    // It is told before anybody is asked who they are.
    case(
        "[api_key, { maintenance: { message: soon, retry_after: 1h } }]",
        "GET /a HTTP/1.1\naccept: text/plain",
        "503\ncontent-type: text/plain; charset=utf-8\nretry-after: 3600\nvary: accept\n\nThe service is being worked on: soon\n",
    ),
    // A page of one's own, and one for all failures, which has its say first.
    case(
        "[{ maintenance: { message: soon, page: { html: '<b>{detail}</b>' } } }]",
        "GET /a HTTP/1.1\naccept: text/html",
        "503\ncontent-type: text/html; charset=utf-8\nretry-after: 300\nvary: accept\n\n<b>soon</b>",
    ),
    case(
        "[{ maintenance: { message: soon } }, { errors: { pages: { 503: { html: '<i>{code}</i>' } } } }]",
        "GET /a HTTP/1.1\naccept: text/html",
        "503\ncontent-type: text/html; charset=utf-8\nretry-after: 300\nvary: accept\n\n<i>maintenance</i>",
    ),
    Case {
        path: "/*",
        policies: "[{ maintenance: { allow: [192.0.2.7] } }]",
        request: "GET /a HTTP/1.1\n",
        told: "200",
        saw: "GET /a",
    },
];
