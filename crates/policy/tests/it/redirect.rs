use crate::it::kit::Case;

const fn case(policies: &'static str, request: &'static str, told: &'static str) -> Case {
    Case { path: "/old/{id}", policies, request, told, saw: "" }
}

pub(crate) const CASES: &[Case] = &[
    case(
        "[{ redirect: 'https://www.test/new' }]",
        "GET /old/1 HTTP/1.1\n",
        "308\nlocation: https://www.test/new",
    ),
    case(
        "[{ redirect: { to: '/new/{id}#top', status: 302 } }]",
        "GET /old/a%20b?x=1 HTTP/1.1\n",
        "302\nlocation: /new/a%20b?x=1#top",
    ),
    case(
        "[{ redirect: { to: '/new?y=2', keep_query: false } }]",
        "POST /old/1?x=1 HTTP/1.1\ncontent-length: 2\n\nhi",
        "308\nlocation: /new?y=2",
    ),
    // A client cannot name another host.
    case("[{ redirect: '/{id}' }]", "GET /old/evil.test HTTP/1.1\n", "308\nlocation: /evil.test"),
    // Access comes first.
    case("[{ redirect: /new }, { deny: 'true' }]", "GET /old/1 HTTP/1.1\n", "403 access_denied"),
];
