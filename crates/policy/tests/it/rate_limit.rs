use crate::it::kit::{Case, FOREIGN_KEY, gateway, told, written};
use std::collections::BTreeSet;
use std::time::Duration;
use testkit::TestGateway;

const fn passes(policies: &'static str, told: &'static str) -> Case {
    Case { path: "/*", policies, request: "GET /a HTTP/1.1\n", told, saw: "GET /a" }
}

pub(crate) const CASES: &[Case] = &[
    passes(
        "[{ rate_limit: 2/min }]",
        "200\nratelimit-policy: \"route\";q=2;w=60\nratelimit: \"route\";r=1;t=30",
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

const USED_UP: &str = "429 rate_limited\nratelimit-policy: \"route\";q=2;w=60\nratelimit: \"route\";r=0;t=60\nretry-after: 30";

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

/// Names in all lines of a header, in their order.
fn names(answer: &str, header: &str) -> Vec<String> {
    let lines = answer.lines().filter_map(|line| line.strip_prefix(header));
    let items = lines.flat_map(|line| line.split(", "));
    items.map(|item| item.split('"').nth(1).unwrap().to_owned()).collect()
}

/// A gateway with limits and quotas everywhere, and what it says at first: policies, and what is left of the tightest.
async fn named(policies: [&str; 3]) -> (Vec<String>, Vec<String>) {
    let [gateway, api, route] = policies;
    let hash = written(&policy::key::hash(FOREIGN_KEY.as_bytes()));
    let config = format!(
        "version: 1
listeners: {{ public: {{ bind: '127.0.0.1:8080' }} }}
policies: [api_key, {gateway}]
apis: {{ shop: {{ policies: [{api}], routes: [{{ path: /*, policies: [{route}, {{ respond: {{ body: hi }} }}] }}] }} }}
consumers: {{ alice: {{ plan: gold, keys: ['{hash}'] }} }}
plans: {{ gold: {{ limit: '10/s, 1000/h, 100/h, 500/5min', quota: 50/day and 1k/month }} }}
"
    );
    let gateway = TestGateway::new(&config);
    let answer = gateway.ask(&format!("GET / HTTP/1.1\nx-api-key: {FOREIGN_KEY}")).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    (names(&answer, "ratelimit-policy: "), names(&answer, "ratelimit: "))
}

#[tokio::test(start_paused = true)]
async fn no_two_limits_of_an_answer_have_the_same_name() {
    let nameless = "{ rate_limit: '20/s, 200/h' }, { quota: 100/day }";
    let (policies, left) = named([nameless; 3]).await;
    let apart: BTreeSet<&String> = policies.iter().collect();
    assert_eq!(apart.len(), policies.len(), "{policies:?}");
    assert!(left.iter().all(|name| apart.contains(name)), "{left:?} of {policies:?}");
    let of_plan = ["gold-1s", "gold-1h", "gold-1h-2", "gold-5min", "gold-day", "gold-month"];
    let others = ["default-1s", "day", "api-1h", "api-day", "route-1s", "route-day"];
    for name in of_plan.iter().chain(&others) {
        assert!(policies.iter().any(|told| told == name), "{name} in {policies:?}");
    }
    // Of limits that hold together the tightest is told by its own name.
    assert!(left.contains(&"gold-1s".to_owned()), "{left:?}");
    // What has an id is called by it, wherever it stands.
    let own = [
        "{ rate_limit: { id: one, limit: 20/s } }",
        "{ rate_limit: { id: two, limit: 20/s } }",
        "{ rate_limit: 20/s }",
    ];
    let (policies, _) = named(own).await;
    assert!(
        ["one", "two", "route"].iter().all(|name| policies.contains(&(*name).to_owned())),
        "{policies:?}"
    );
}
