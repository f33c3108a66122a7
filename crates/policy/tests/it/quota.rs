use crate::it::kit::{COUNTED_KEY, Case, gateway, told};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

pub(crate) const CASES: &[Case] = &[
    Case {
        path: "/*",
        policies: "[{ quota: 2/day }]",
        request: "GET /a HTTP/1.1\n",
        told: "200\nratelimit-policy: \"route-day\";q=2;w=86400\nratelimit: \"route-day\";r=1;t=86400",
        saw: "GET /a",
    },
    Case {
        path: "/*",
        policies: "[{ quota: { id: free, quota: [5/month, 2/day], per: address, cost: 2 } }]",
        request: "GET /a HTTP/1.1\n",
        told: "200\nratelimit-policy: \"free-month\";q=5, \"free-day\";q=2;w=86400\nratelimit: \"free-day\";r=0;t=86400",
        saw: "GET /a",
    },
];

#[tokio::test(start_paused = true)]
async fn a_month_is_used_up_refused_and_there_again_when_the_next_begins() {
    let (gateway, _) = gateway("/*", "[{ quota: 3/month }]");
    let ask = async || told(&gateway.ask("GET / HTTP/1.1").await);
    for expected in ["200", "200", "200"] {
        assert!(ask().await.starts_with(expected));
    }
    let refused = ask().await;
    let parts =
        ["429 quota_exceeded", "retry-after: 2678400", "ratelimit: \"route-month\";r=0;t=2678400"];
    assert!(parts.iter().all(|part| refused.contains(part)), "{refused}");
    gateway.advance(31 * DAY - Duration::from_secs(1));
    assert!(ask().await.ends_with("\nretry-after: 1"));
    gateway.advance(Duration::from_secs(1));
    let answer = ask().await;
    let february = "ratelimit: \"route-month\";r=2;t=2419200";
    assert!(answer.starts_with("200") && answer.contains(february), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn what_a_quota_of_the_plan_lets_pass_and_a_later_limit_refuses_is_given_back() {
    let (gateway, _) = gateway("/*", "[api_key, { rate_limit: 1/h }]");
    let request = format!("GET / HTTP/1.1\nx-api-key: {COUNTED_KEY}");
    let answers = [gateway.ask(&request).await, gateway.ask(&request).await];
    let [passed, refused] = answers.map(|answer| told(&answer));
    assert!(passed.contains("ratelimit: \"counted-month\";r=999;t="), "{passed}");
    assert!(refused.starts_with("429 rate_limited"), "{refused}");
    gateway.advance(Duration::from_secs(3_600));
    let passed = told(&gateway.ask(&request).await);
    assert!(passed.contains("ratelimit: \"counted-month\";r=998;t="), "{passed}");
}
