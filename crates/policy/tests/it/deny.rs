use crate::it::kit::Case;

const fn case(policies: &'static str, request: &'static str, told: &'static str) -> Case {
    Case { path: "/*", policies, request, told, saw: "" }
}

const fn passes(policies: &'static str, request: &'static str, saw: &'static str) -> Case {
    Case { path: "/*", policies, request, told: "200", saw }
}

const INTERNAL: &str =
    "[{ deny: { when: 'request.path.startsWith(\"/internal/\")', reason: internal only } }]";

pub(crate) const CASES: &[Case] = &[
    passes(INTERNAL, "GET /a HTTP/1.1\n", "GET /a"),
    case(INTERNAL, "GET /internal/x HTTP/1.1\n", "403 access_denied: internal only"),
    case(INTERNAL, "GET /a/..//%69nternal/x HTTP/1.1\n", "403 access_denied: internal only"),
    case("[{ deny: 'request.headers.x == \"1\"' }]", "GET /a HTTP/1.1\n", "403 access_undecided"),
    passes("[{ deny: 'request.headers.x == \"1\"' }]", "GET /a HTTP/1.1\nx: 2\n", "GET /a\nx: 2"),
    // What is forbidden is told before what is not allowed.
    case(
        "[{ allow: { when: 'false', reason: b } }, { deny: { when: 'true', reason: a } }]",
        "GET /a HTTP/1.1\n",
        "403 access_denied: a",
    ),
];
