use crate::it::kit::Case;

const fn case(policies: &'static str, request: &'static str, told: &'static str) -> Case {
    Case { path: "/orders/{id}", policies, request, told, saw: "" }
}

const fn passes(policies: &'static str, request: &'static str, saw: &'static str) -> Case {
    Case { path: "/orders/{id}", policies, request, told: "200", saw }
}

const ADMIN: &str = "[api_key, { allow: '\"admin\" in consumer.groups' }]";
const ROOT: &str = "[api_key, { allow: '\"root\" in consumer.groups' }]";

pub(crate) const CASES: &[Case] = &[
    passes(
        ADMIN,
        "GET /orders/1 HTTP/1.1\nx-api-key: KEY\n",
        "GET /orders/1\nx-yett-consumer: alice",
    ),
    case(ROOT, "GET /orders/1 HTTP/1.1\nx-api-key: KEY\n", "403 access_denied"),
    // Identity comes first: strangers learn nothing about access.
    case(
        "[{ allow: 'false' }, api_key]",
        "GET /orders/1 HTTP/1.1\n",
        "401 credentials_missing\nwww-authenticate: Bearer realm=\"yett\"",
    ),
    passes(
        "[{ allow: 'request.params.id == \"1\"' }]",
        "GET /orders/1 HTTP/1.1\n",
        "GET /orders/1",
    ),
    case(
        "[{ allow: { when: 'request.params.id == \"1\"', reason: only the first } }]",
        "GET /orders/2 HTTP/1.1\n",
        "403 access_denied: only the first",
    ),
    // What cannot be decided is refused.
    case(
        "[{ allow: 'request.headers.x == \"1\"' }]",
        "GET /orders/1 HTTP/1.1\n",
        "403 access_undecided",
    ),
    // Of several, all must hold.
    case(
        "[{ allow: { id: a, when: 'true' } }, { allow: { id: b, when: 'request.method == \"PUT\"' } }]",
        "GET /orders/1 HTTP/1.1\n",
        "403 access_denied",
    ),
    passes(
        "[{ allow: 'client.address == \"192.0.2.7\" && request.query.a == \"x y\"' }]",
        "GET /orders/1?a=x%20y HTTP/1.1\n",
        "GET /orders/1?a=x%20y",
    ),
];
