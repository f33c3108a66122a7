use crate::it::kit::{Case, gateway, told};

const POLICIES: &str = "[{ cors: { origins: ['https://app.test'], methods: [GET, PUT], headers: [x-a], expose: [x-b], credentials: true, max_age: 10min } }]";

pub(crate) const CASES: &[Case] = &[
    Case {
        path: "/*",
        policies: POLICIES,
        request: "OPTIONS /a HTTP/1.1\norigin: https://app.test\naccess-control-request-method: PUT\naccess-control-request-headers: x-a\n",
        told: "204\naccess-control-allow-credentials: true\naccess-control-allow-headers: x-a\naccess-control-allow-methods: PUT\naccess-control-allow-origin: https://app.test\naccess-control-max-age: 600\nvary: origin, access-control-request-method, access-control-request-headers",
        saw: "",
    },
    Case {
        path: "/*",
        policies: POLICIES,
        request: "OPTIONS /a HTTP/1.1\norigin: https://evil.test\naccess-control-request-method: PUT\n",
        told: "403 cors_refused: this origin is not allowed",
        saw: "",
    },
    Case {
        path: "/*",
        policies: POLICIES,
        request: "OPTIONS /a HTTP/1.1\norigin: https://app.test\naccess-control-request-method: DELETE\n",
        told: "403 cors_refused: this method is not allowed for other origins",
        saw: "",
    },
    Case {
        path: "/*",
        policies: POLICIES,
        request: "GET /a HTTP/1.1\norigin: https://app.test\n",
        told: "200\naccess-control-allow-credentials: true\naccess-control-allow-origin: https://app.test\naccess-control-expose-headers: x-b\nvary: origin",
        saw: "GET /a\norigin: https://app.test",
    },
    Case {
        path: "/*",
        policies: POLICIES,
        request: "GET /a HTTP/1.1\norigin: https://evil.test\n",
        told: "200\nvary: origin",
        saw: "GET /a\norigin: https://evil.test",
    },
    Case {
        path: "/*",
        policies: POLICIES,
        request: "GET /a HTTP/1.1\n",
        told: "200\nvary: origin",
        saw: "GET /a",
    },
    // No policy answers a preflight: it must not reach the backend.
    Case {
        path: "/*",
        policies: "[]",
        request: "OPTIONS /a HTTP/1.1\norigin: https://app.test\naccess-control-request-method: PUT\n",
        told: "403 cors_refused: this route takes no cross-origin requests",
        saw: "",
    },
];

#[tokio::test(start_paused = true)]
async fn a_page_may_read_why_its_request_was_refused() {
    let (gateway, _) = gateway("/*", "[{ cors: 'https://app.test' }, api_key]");
    let answer = gateway.ask("GET / HTTP/1.1\norigin: https://app.test").await;
    assert_eq!(
        told(&answer),
        "401 credentials_missing\naccess-control-allow-origin: https://app.test\nvary: origin\nwww-authenticate: Bearer realm=\"yett\""
    );
    let answer = gateway.ask("GET / HTTP/1.1\norigin: https://evil.test").await;
    assert!(!answer.contains("access-control"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_preflight_needs_no_credentials_and_counts_for_no_limit() {
    let (gateway, _) =
        gateway("/*", "[{ cors: 'https://app.test' }, api_key, { rate_limit: 1/h }]");
    for _ in 0..3 {
        let preflight =
            "OPTIONS / HTTP/1.1\norigin: https://app.test\naccess-control-request-method: GET";
        let answer = gateway.ask(preflight).await;
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    }
    assert!(gateway.seen().is_empty());
}
