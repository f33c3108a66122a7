use crate::it::kit::{Case, PLANNED_KEY, gateway, told};

/// A request with the key of an application that has the plan `small`, two requests a minute.
const REQUEST: &str = "GET /a HTTP/1.1\nx-api-key: planned-for-years\n";

pub(crate) const CASES: &[Case] = &[
    Case {
        path: "/*",
        policies: "[api_key, { plan: { cost: 1 } }]",
        request: REQUEST,
        told: "200\nratelimit-policy: \"small\";q=2;w=60\nratelimit: \"small\";r=1;t=30",
        saw: "GET /a\nx-yett-consumer: alice",
    },
    Case {
        path: "/*",
        policies: "[api_key, { plan: { cost: 1 } }]",
        request: "GET /a HTTP/1.1\nx-api-key: KEY\n",
        told: "200",
        saw: "GET /a\nx-yett-consumer: alice",
    },
];

#[tokio::test(start_paused = true)]
async fn plans_hold_on_every_route_without_being_asked_for() {
    let (gateway, _) = gateway("/*", "[api_key, { rate_limit: { limit: 3/h, per: all } }]");
    let ask = async || {
        let request = format!("GET / HTTP/1.1\nx-api-key: {PLANNED_KEY}");
        told(&gateway.ask(&request).await)
    };
    assert!(ask().await.starts_with("200"));
    assert!(ask().await.starts_with("200"));
    let refused = ask().await;
    assert!(refused.starts_with("429 rate_limited"), "{refused}");
    gateway.advance(std::time::Duration::from_secs(3_000));
    for status in ["200", "200", "429", "429"] {
        let answer = ask().await;
        assert!(answer.starts_with(status), "{answer}");
    }
    let answer = ask().await;
    let left = |part: &str| answer.contains(part);
    assert!(left("\"small\";r=0") || left("\"small\";r=1"), "{answer}");
}
