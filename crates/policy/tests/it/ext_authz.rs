use crate::it::kit::{AUTHORISER, Case, gateway, told, written};
use base::Secret;
use testkit::gateway::{BACKEND, problems};
use testkit::{Backend, TestGateway};

/// Where an authoriser is that says no.
pub(crate) const DENIER: &str = "10.0.0.4:80";

/// Says yes, and that `bob` calls.
pub(crate) fn authoriser() -> Backend {
    Backend::answer(
        "HTTP/1.1 204 No Content\nx-user: bob\nx-groups: sales, admin\nx-tenant: t1\nx-yett-consumer: root\nset-cookie: seen=1\n\n",
    )
}

/// Says no, with words of its own.
pub(crate) fn denier() -> Backend {
    Backend::answer(
        "HTTP/1.1 401 Unauthorized\nwww-authenticate: Bearer realm=\"theirs\"\nx-secret: 1\nx-yett-a: 1\ncontent-type: text/plain\ncontent-length: 5\n\nno no",
    )
}

pub(crate) const CASES: &[Case] = &[
    Case {
        path: "/*",
        policies: "[ext_authz: { http: { url: 'http://10.0.0.3/check?a=1', to_backend: [x-tenant], to_client_on_success: [set-cookie] }, timeout: 10s }]",
        request: "GET /a?b=1 HTTP/1.1\nauthorization: Bearer x\nx-tenant: lie\nx-other: 1\n",
        told: "200\nset-cookie: seen=1",
        saw: "GET /check?a=1\nauthorization: Bearer x\nhost: 10.0.0.3\n---\nGET /a?b=1\nauthorization: Bearer x\nx-other: 1\nx-tenant: t1",
    },
    Case {
        path: "/*",
        policies: "[ext_authz: { http: { url: 'http://10.0.0.3/pre/', append_path: true, method: HEAD }, headers: [x-other], context: { x-route: r }, timeout: 10s, consumer: { header: x-user, groups: { from: x-groups, as: [admin] } } }, { deny: '!(\"admin\" in consumer.groups) || \"sales\" in consumer.groups || !(\"10.0.0.3/sales\" in consumer.groups)' }]",
        request: "GET /a?b=1 HTTP/1.1\nauthorization: Bearer x\nx-other: 1\n",
        told: "200",
        saw: "HEAD /pre/a?b=1\nhost: 10.0.0.3\nx-other: 1\nx-route: r\n---\nGET /a?b=1\nauthorization: Bearer x\nx-other: 1\nx-yett-consumer: 10.0.0.3/bob",
    },
    Case {
        path: "/*",
        policies: "[ext_authz: { http: 'http://10.0.0.3/', body: { max: 4B, partial: true }, timeout: 10s }]",
        request: "POST /a HTTP/1.1\ncontent-length: 6\n\nabcdef",
        told: "200",
        saw: "POST /\nhost: 10.0.0.3\nx-envoy-auth-partial-body: true\n\nabcd\n---\nPOST /a\n\nabcdef",
    },
    Case {
        path: "/*",
        policies: "[ext_authz: { http: 'http://10.0.0.3/', body: { max: 4B }, timeout: 10s }]",
        request: "POST /a HTTP/1.1\ncontent-length: 6\n\nabcdef",
        told: "413 body_too_large: at most 4B are accepted here\nconnection: close",
        saw: "",
    },
    Case {
        path: "/*",
        policies: "[ext_authz: { http: 'http://10.0.0.4/', timeout: 10s }]",
        request: "GET /a HTTP/1.1\n",
        told: "401\ncontent-type: text/plain\nwww-authenticate: Bearer realm=\"theirs\"\n\nno no",
        saw: "GET /\nhost: 10.0.0.4",
    },
    Case {
        path: "/*",
        policies: "[ext_authz: { http: 'http://10.0.0.3/', timeout: 10s, consumer: { header: x-nobody } }]",
        request: "GET /a HTTP/1.1\n",
        told: "503 authoriser_unavailable",
        saw: "GET /\nhost: 10.0.0.3",
    },
    Case {
        path: "/*",
        policies: "[any: [api_key, { ext_authz: { http: 'http://10.0.0.3/', timeout: 10s, consumer: { header: x-user } } }]]",
        request: "GET /a HTTP/1.1\n",
        told: "200",
        saw: "GET /\nhost: 10.0.0.3\n---\nGET /a\nx-yett-consumer: 10.0.0.3/bob",
    },
    Case {
        path: "/*",
        policies: "[ext_authz: { http: 'http://10.0.0.9/', timeout: 1s }]",
        request: "GET /a HTTP/1.1\n",
        told: "503 authoriser_unavailable",
        saw: "",
    },
];

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_remembered_holds_for_the_same_request_only() {
    let (gateway, _) = gateway(
        "/*",
        "[{ ext_authz: { http: 'http://10.0.0.3/check', headers: [x-tenant, cookie], cache: { key: 'request.headers[\"x-tenant\"]' } } }]",
    );
    let asked = || gateway.seen().iter().filter(|seen| seen.contains("x-forwarded-uri")).count();
    for (headers, expected) in [
        ("x-tenant: acme\n", 1),
        ("x-tenant: acme\n", 1),
        ("x-tenant: acme\nx-tenant: mine\n", 2),
        ("x-tenant: acme\nx-tenant: mine\n", 3),
        ("x-tenant: acme\n", 3),
        ("x-tenant: acme\ncookie: a=b\n", 4),
        ("x-tenant: acme\ncookie: a=b\n", 4),
        ("x-tenant: acme\n", 4),
    ] {
        gateway.ask(&format!("GET /a HTTP/1.1\n{headers}")).await;
        assert_eq!(asked(), expected, "{headers}");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_but_the_authoriser_says_who_calls() {
    let (gateway, key) = gateway(
        "/*",
        "[api_key, { ext_authz: { http: 'http://10.0.0.3/check', consumer: { header: x-user, groups: x-groups } } }]",
    );
    let request =
        format!("GET /a HTTP/1.1\nx-api-key: {}\nx-user: admin\nx_groups: admin\n", key.reveal());
    gateway.ask(&request).await;
    assert!(gateway.seen().iter().all(|seen| !seen.contains("admin")), "{:?}", gateway.seen());
}

/// A gateway with two consumers, and an authoriser that is asked; the keys of both.
fn two_consumers(policies: &str) -> (TestGateway, [Secret; 2]) {
    let made = [policy::key::generate().unwrap(), policy::key::generate().unwrap()];
    let [alice, bob] = made.each_ref().map(|(_, hash)| written(hash));
    let gateway = TestGateway::new(&format!(
        "version: 1
listeners: {{ public: {{ bind: '127.0.0.1:8080' }} }}
upstreams: {{ one: {{ targets: ['{BACKEND}'] }} }}
apis: {{ test: {{ upstream: one, policies: {policies} }} }}
consumers: {{ alice: {{ keys: ['{alice}'] }}, bob: {{ keys: ['{bob}'] }} }}
"
    ));
    gateway.put(BACKEND, Backend::answer("HTTP/1.1 200 OK\ncontent-length: 0\n\n"));
    gateway.put(AUTHORISER, authoriser());
    (gateway, made.map(|(key, _)| key))
}

#[tokio::test(start_paused = true)]
async fn a_yes_for_one_consumer_is_none_for_another_also_within_all() {
    let asks = "ext_authz: { http: 'http://10.0.0.3/check', consumer: { header: x-user }, cache: { key: 'request.method' } }";
    for policies in [format!("[api_key, {{ {asks} }}]"), format!("[all: [api_key, {{ {asks} }}]]")]
    {
        let (gateway, [alice, bob]) = two_consumers(&policies);
        let ask = async |key: &Secret| {
            let request = format!("GET /a HTTP/1.1\nx-api-key: {}\n", key.reveal());
            told(&gateway.ask(&request).await)
        };
        let asked = || {
            let seen = gateway.seen();
            let asked = seen.into_iter().filter(|seen| seen.contains("x-forwarded-uri"));
            asked.collect::<Vec<_>>()
        };
        for _ in 0..2 {
            // The authoriser says bob to everybody.
            assert!(ask(&bob).await.starts_with("200"), "{policies}");
        }
        assert_eq!(asked().len(), 1);
        assert!(asked()[0].contains("x-yett-consumer: bob"), "{:?}", asked());
        gateway.put(AUTHORISER, denier());
        assert!(ask(&alice).await.starts_with("401"), "{policies}");
        assert!(asked()[1].contains("x-yett-consumer: alice"), "{:?}", asked());
        assert!(ask(&bob).await.starts_with("200"), "{policies}");
        assert_eq!(asked().len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn large_answers_that_are_remembered_take_the_places_of_several() {
    let asks = |entries: usize| {
        format!(
            "[{{ ext_authz: {{ http: {{ url: 'http://10.0.0.3/check', to_backend: [x-tenant] }}, cache: {{ key: 'request.method', entries: {entries} }} }} }}]"
        )
    };
    let large = "x".repeat(8_000);
    let answer = format!("HTTP/1.1 204 No Content\nx-tenant: {large}\n\n");
    for (entries, is_remembered) in [(1, false), (1_000, true)] {
        let (gateway, _) = gateway("/*", &asks(entries));
        gateway.put(AUTHORISER, Backend::answer(&answer));
        for _ in 0..2 {
            gateway.ask("GET /a HTTP/1.1\n").await;
        }
        let seen = gateway.seen();
        let asked = seen.iter().filter(|seen| seen.contains("x-forwarded-uri")).count();
        assert_eq!(asked == 1, is_remembered, "{entries}");
    }
}

#[test]
fn by_grpc_an_answer_is_remembered_only_where_it_is_known_what_was_told() {
    let problems = |more: &str| {
        problems(&format!(
            "version: 1
listeners: {{ public: {{ bind: '127.0.0.1:8080' }} }}
upstreams: {{ one: {{ targets: ['{BACKEND}'] }} }}
apis: {{ test: {{ upstream: one, public: a test, policies: [{{ ext_authz: {{ grpc: 'grpc://127.0.0.1:9191', cache: {{ key: request.method }}{more} }} }}] }} }}
"
        ))
    };
    assert!(problems("").contains("list those that it goes by"));
    assert_eq!(problems(", headers: [authorization]"), "");
}
