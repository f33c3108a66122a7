use crate::it::kit::Case;

const fn case(policies: &'static str, request: &'static str, told: &'static str) -> Case {
    Case { path: "/*", policies, request, told, saw: "GET /a" }
}

pub(crate) const CASES: &[Case] = &[
    case("[{ split: 100% to two }]", "GET /a HTTP/1.1\n", "200\nserver: two"),
    case("[{ split: 0% to two by client }]", "GET /a HTTP/1.1\n", "200"),
    case(
        "[{ split: { to: { one: 0, two: 1 }, cookie: side } }]",
        "GET /a HTTP/1.1\n",
        "200\nserver: two\nset-cookie: side=e9a5c30b; Path=/; HttpOnly; SameSite=Lax",
    ),
    Case {
        path: "/*",
        policies: "[{ split: { to: { two: 0% }, match: [{ when: 'request.headers[\"x-canary\"] == \"1\"', to: two }] } }]",
        request: "GET /a HTTP/1.1\nx-canary: 1\n",
        told: "200\nserver: two",
        saw: "GET /a\nx-canary: 1",
    },
    // What is closer to the route decides, and a rule is stronger than a share.
    case(
        "[{ split: { id: far, to: { two: 1 } } }, { split: { id: near, to: { one: 1 } } }]",
        "GET /a HTTP/1.1\n",
        "200",
    ),
    case("[{ steer: one }, { split: 100% to two }]", "GET /a HTTP/1.1\n", "200"),
];
