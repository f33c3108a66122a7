use crate::it::kit::Case;

const fn case(policies: &'static str, target: &'static str, saw: &'static str) -> Case {
    Case { path: "/orders/{*rest}", policies, request: target, told: "200", saw }
}

pub(crate) const CASES: &[Case] = &[
    case("[{ rewrite: '/new/{*rest}' }]", "GET /orders/a/b?x=1 HTTP/1.1\n", "GET /new/a/b?x=1"),
    case(
        "[{ rewrite: { strip_prefix: /orders, add_prefix: /v2, query: drop } }]",
        "GET /orders/a/b?x=1 HTTP/1.1\n",
        "GET /v2/a/b",
    ),
    case(
        "[{ rewrite: { regex: { match: '/([0-9]+)$', replace: '/n-$1' } } }]",
        "PUT /orders/42 HTTP/1.1\n",
        "PUT /orders/n-42",
    ),
    case(
        "[{ rewrite: { host: 'inner.test:8080' } }]",
        "GET /orders/a HTTP/1.1\n",
        "GET /orders/a\nhost: inner.test:8080",
    ),
    // Encoded parts stay encoded where they go.
    case(
        "[{ rewrite: '/new/{*rest}' }]",
        "GET /orders/a%20b/%3Fx%23y HTTP/1.1\n",
        "GET /new/a%20b/%3Fx%23y",
    ),
    // Access judges the path that was asked for.
    case(
        "[{ rewrite: /internal }, { deny: 'request.path == \"/internal\"' }]",
        "GET /orders/a HTTP/1.1\n",
        "GET /internal",
    ),
    Case {
        path: "/orders/{*rest}",
        policies: "[{ rewrite: { regex: { match: '^/orders', replace: '/..' } } }]",
        request: "GET /orders/a HTTP/1.1\n",
        told: "400 bad_path",
        saw: "",
    },
];
