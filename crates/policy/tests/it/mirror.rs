use crate::it::kit::{Case, OTHER, gateway, told};
use std::time::Duration;
use testkit::{Act, Backend, TestGateway};

const fn case(policies: &'static str, told: &'static str) -> Case {
    Case { path: "/*", policies, request: "GET /a HTTP/1.1\n", told, saw: "GET /a" }
}

pub(crate) const CASES: &[Case] = &[
    case("[{ mirror: 0% to two }]", "200"),
    case("[{ mirror: { to: two, when: 'request.path == \"/b\"' } }]", "200"),
    // What never reaches a backend is not copied.
    Case {
        path: "/*",
        policies: "[{ mirror: two }, { respond: 204 }]",
        request: "GET /a HTTP/1.1\n",
        told: "204",
        saw: "",
    },
];

/// What the upstream `two` saw, once it has seen `count` requests.
async fn copies(gateway: &TestGateway, count: usize) -> Vec<String> {
    let seen = || -> Vec<String> {
        let all = gateway.backends.seen().into_iter();
        let of_other = all.filter(|seen| seen.address.to_string() == OTHER);
        of_other.map(|seen| String::from_utf8_lossy(&seen.request).replace('\r', "")).collect()
    };
    for _ in 0..10_000 {
        if seen().len() >= count {
            break;
        }
        tokio::task::yield_now().await;
    }
    seen()
}

async fn counted(gateway: &TestGateway, outcome: &str, count: f64) {
    let series = format!("yett_mirror_requests_total{{upstream=\"two\",outcome=\"{outcome}\"}}");
    for _ in 0..10_000 {
        if gateway.metric(&series) >= count {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(gateway.metric(&series), count, "{outcome}");
}

#[tokio::test(start_paused = true)]
async fn a_copy_is_what_is_forwarded_without_credentials_and_says_what_it_is() {
    let (gateway, key) = gateway(
        "/*",
        "[api_key, { mirror: two }, { rewrite: { strip_prefix: /a } }, { headers: { request: { set: { x-b: '1', authorization: token } } } }]",
    );
    let request = format!(
        "POST /a/b?c=d HTTP/1.1\nx-api-key: {}\ncookie: a=b\nexpect: 100-continue\ncontent-length: 5\n\nhello",
        key.reveal()
    );
    assert_eq!(told(&gateway.ask(&request).await).lines().next(), Some("200"));
    let copies = copies(&gateway, 1).await;
    let [copy] = &copies[..] else { panic!("{copies:?}") };
    assert!(copy.starts_with("POST /b?c=d HTTP/1.1\n"), "{copy}");
    assert!(copy.ends_with("\n\nhello"), "{copy}");
    for part in [
        "x-yett-mirror: 1",
        "x-yett-consumer: alice",
        "x-forwarded-for: 192.0.2.7",
        "x-b: 1",
        "content-length: 5",
    ] {
        assert!(copy.contains(&format!("\n{part}\n")), "{part} is not in {copy}");
    }
    for part in ["authorization", "cookie", "x-api-key", "expect"] {
        assert!(!copy.contains(&format!("\n{part}:")), "{part} is in {copy}");
    }
    let real = gateway.seen().into_iter().find(|seen| !seen.contains("x-yett-mirror")).unwrap();
    let id = |text: &str| text.lines().find(|l| l.starts_with("x-request-id")).map(str::to_owned);
    assert_eq!(id(copy), id(&real));
    assert!(real.contains("authorization: token"), "{real}");
    counted(&gateway, "sent", 1.0).await;
}

#[tokio::test(start_paused = true)]
async fn credentials_stay_only_where_that_is_said() {
    let (gateway, _) = gateway("/*", "[{ mirror: { to: two, credentials: keep } }]");
    gateway.ask("GET / HTTP/1.1\nauthorization: a\ncookie: b=c").await;
    let copies = copies(&gateway, 1).await;
    assert!(copies[0].contains("authorization: a") && copies[0].contains("cookie: b=c"));
}

#[tokio::test(start_paused = true)]
async fn credentials_that_are_kept_are_not_copied_wherever_policies_look_for_them() {
    for kept in [
        "api_key: { query: key, keep: true }",
        "any: [{ api_key: { query: key, keep: true } }, jwt]",
    ] {
        let jwt = "{ jwt: { issuer: i, audience: a, from: { query: token }, secret: '${env:SECRET}${env:SECRET}${env:SECRET}${env:SECRET}' } }";
        let policies = format!("[{{ {kept} }}, {{ mirror: two }}]").replace("jwt", jwt);
        let (gateway, key) = gateway("/*", &policies);
        let answer = gateway.ask(&format!("GET /a?b=c&key={} HTTP/1.1\n", key.reveal())).await;
        assert_eq!(told(&answer).lines().next(), Some("200"), "{kept}: {answer}");
        let copies = copies(&gateway, 1).await;
        assert!(copies[0].starts_with("GET /a?b=c HTTP/1.1\n"), "{kept}: {}", copies[0]);
        let real = gateway.seen().into_iter().find(|seen| !seen.contains("x-yett-mirror"));
        assert!(real.unwrap().contains(key.reveal()), "{kept}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_cannot_pass_for_a_copy() {
    let (gateway, _) = gateway("/*", "[]");
    gateway.ask("GET / HTTP/1.1\nx-yett-mirror: 1").await;
    assert!(!gateway.seen()[0].contains("x-yett-mirror"));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_too_large_passes_and_is_not_copied() {
    let (gateway, _) = gateway("/*", "[{ mirror: { to: two, body_max: 4B } }]");
    for request in [
        "POST / HTTP/1.1\ncontent-length: 5\n\nhello",
        "POST / HTTP/1.1\ntransfer-encoding: chunked\n\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
    ] {
        assert_eq!(told(&gateway.ask(request).await), "200");
    }
    counted(&gateway, "too_large", 2.0).await;
    assert!(copies(&gateway, 0).await.is_empty());
    assert_eq!(
        told(
            &gateway
                .ask(
                    "POST / HTTP/1.1\ntransfer-encoding: chunked\n\n2\r\nhe\r\n2\r\nll\r\n0\r\n\r\n"
                )
                .await
        ),
        "200"
    );
    assert!(copies(&gateway, 1).await[0].ends_with("\n\nhell"));
}

#[tokio::test(start_paused = true)]
async fn a_shadow_that_never_answers_costs_the_client_nothing_and_copies_are_shed() {
    let (gateway, _) = gateway("/*", "[{ mirror: { to: two, concurrency_max: 3, timeout: 5s } }]");
    gateway.put(OTHER, Backend::acts([Act::Wait(Duration::from_secs(3_600)), Act::Echo]));
    for _ in 0..10 {
        let answer = tokio::time::timeout(Duration::from_secs(1), gateway.ask("GET / HTTP/1.1"));
        assert_eq!(told(&answer.await.expect("nothing is waited for")), "200");
    }
    counted(&gateway, "shed", 7.0).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    counted(&gateway, "failed", 3.0).await;
    gateway.put(OTHER, Backend::echo());
    assert_eq!(told(&gateway.ask("GET / HTTP/1.1").await), "200");
    counted(&gateway, "sent", 1.0).await;
}

#[tokio::test(start_paused = true)]
async fn a_shadow_that_fails_is_asked_once_and_nobody_hears_of_it() {
    let (gateway, _) = gateway("/*", "[{ mirror: two }]");
    for backend in [Backend::refusing(), Backend::answer("nonsense\n\n")] {
        gateway.put(OTHER, backend);
        assert_eq!(told(&gateway.ask("GET / HTTP/1.1").await), "200");
    }
    counted(&gateway, "failed", 2.0).await;
    assert_eq!(gateway.metric("yett_upstream_retries_total{upstream=\"two\"}"), 0.0);
    assert_eq!(gateway.metric("yett_faults_total{code=\"connect_failed\"}"), 0.0);
}
