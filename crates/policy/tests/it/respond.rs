use crate::it::kit::Case;

const fn case(policies: &'static str, request: &'static str, told: &'static str) -> Case {
    Case { path: "/*", policies, request, told, saw: "" }
}

pub(crate) const CASES: &[Case] = &[
    case("[{ respond: 204 }]", "GET /a HTTP/1.1\n", "204"),
    case(
        "[{ respond: { status: 410, body: gone, headers: { x-a: b } } }]",
        "DELETE /a HTTP/1.1\n",
        "410\ncontent-type: text/plain; charset=utf-8\nx-a: b\n\ngone",
    ),
    case(
        "[{ respond: { json: { status: up, n: [1, 2] } } }]",
        "GET /a HTTP/1.1\n",
        "200\ncontent-type: application/json\n\n{\"status\":\"up\",\"n\":[1,2]}",
    ),
    case(
        "[{ respond: { body: hello } }]",
        "HEAD /a HTTP/1.1\n",
        "200\ncontent-type: text/plain; charset=utf-8",
    ),
    case("[{ respond: 200 }, { deny: 'true' }]", "GET /a HTTP/1.1\n", "403 access_denied"),
];
