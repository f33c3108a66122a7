use crate::it::kit::{Case, FOREIGN_KEY, gateway, told};
use std::time::Duration;

const fn passes(policies: &'static str, told: &'static str) -> Case {
    Case { path: "/*", policies, request: "GET /a HTTP/1.1\n", told, saw: "GET /a" }
}

pub(crate) const CASES: &[Case] = &[
    passes(
        "[{ rate_limit: 2/min }]",
        "200\nratelimit-policy: \"default\";q=2;w=60\nratelimit: \"default\";r=1;t=30",
    ),
    passes(
        "[{ rate_limit: { limit: 100/s, burst: 5, id: fast } }]",
        "200\nratelimit-policy: \"fast\";q=100;w=1\nratelimit: \"fast\";r=4;t=1",
    ),
    // One who is refused by access uses nothing up and is told nothing.
    Case {
        path: "/*",
        policies: "[{ rate_limit: 2/min }, { deny: 'true' }]",
        request: "GET /a HTTP/1.1\n",
        told: "403 access_denied",
        saw: "",
    },
];

const USED_UP: &str = "429 rate_limited\nratelimit-policy: \"default\";q=2;w=60\nratelimit: \"default\";r=0;t=60\nretry-after: 30";

#[tokio::test(start_paused = true)]
async fn what_is_used_up_comes_back_with_time() {
    let (gateway, _) = gateway("/*", "[{ rate_limit: 2/min }]");
    let ask = async || told(&gateway.ask("GET / HTTP/1.1").await);
    assert!(ask().await.starts_with("200"));
    assert!(ask().await.starts_with("200"));
    assert_eq!(ask().await, USED_UP);
    assert_eq!(ask().await, USED_UP, "a refused request counts for nothing");
    gateway.advance(Duration::from_secs(29));
    assert!(ask().await.starts_with("429"));
    gateway.advance(Duration::from_secs(1));
    assert!(ask().await.starts_with("200"));
    assert!(ask().await.starts_with("429"));
    assert_eq!(gateway.seen().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn each_consumer_or_address_has_its_own() {
    let (keyed, key) = gateway("/*", "[api_key, { rate_limit: 1/h per consumer }]");
    let with = |key: &str| format!("GET / HTTP/1.1\nx-api-key: {key}");
    assert!(told(&keyed.ask(&with(key.reveal())).await).starts_with("200"));
    let other_key = keyed.ask(&with(FOREIGN_KEY)).await;
    assert!(told(&other_key).starts_with("429"), "both keys are those of alice");

    let (gateway, _) = gateway("/*", "[{ rate_limit: 1/h per address }]");
    for (peer, status) in [
        ("192.0.2.1:1000", "200"),
        ("192.0.2.1:2000", "429"),
        ("192.0.2.2:1000", "200"),
        ("[2001:db8::1]:1", "200"),
        ("[2001:db8::2]:1", "429"),
        ("[2001:db8:0:1::1]:1", "200"),
    ] {
        let answer = gateway.ask_on(&mut gateway.connect_from(peer), "GET / HTTP/1.1").await;
        assert!(told(&answer).starts_with(status), "{peer}: {answer}");
    }
}
