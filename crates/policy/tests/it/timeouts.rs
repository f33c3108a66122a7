use crate::it::kit::{Case, gateway, told};
use std::time::Duration;
use testkit::gateway::BACKEND;
use testkit::{Act, Backend};

pub(crate) const CASES: &[Case] = &[
    Case {
        path: "/*",
        policies: "[{ timeouts: 30s }]",
        request: "GET /a HTTP/1.1\n",
        told: "200",
        saw: "GET /a",
    },
    Case {
        path: "/*",
        policies: "[{ timeouts: { connect: 1s, first_byte: 2s, idle: 3s, total: 4s } }]",
        request: "GET /a HTTP/1.1\n",
        told: "200",
        saw: "GET /a",
    },
];

async fn slow(policies: &str) -> String {
    let (gateway, _) = gateway("/*", policies);
    let wait = Act::Wait(Duration::from_secs(10));
    gateway.put(BACKEND, Backend::acts([wait, Act::Echo]));
    told(&gateway.ask("GET / HTTP/1.1").await).lines().next().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn who_is_slower_than_the_limit_is_given_up() {
    assert_eq!(slow("[]").await, "200");
    assert_eq!(slow("[{ timeouts: 11s }]").await, "200");
    assert_eq!(slow("[{ timeouts: 9s }]").await, "504 total_timeout");
    assert_eq!(slow("[{ timeouts: { first_byte: 9s } }]").await, "504 first_byte_timeout");
    // The one added last decides each limit.
    let policies = "[{ timeouts: { id: a, total: 9s } }, { timeouts: { id: b, total: 20s } }]";
    assert_eq!(slow(policies).await, "200");
}
