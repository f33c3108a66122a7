use crate::it::kit::{accept, hear, tell};
use std::time::Duration;
use testkit::gateway::{BACKEND, problems};
use testkit::{Backend, TestGateway};

/// Consumers, and the hashes of their keys: a name and `-key-for-years`.
const CONSUMERS: [(&str, &str); 3] = [
    ("low", "5e2b3279a869446b7e2a1668a19105311befbaa232a8231e92f48e7f1aac2879"),
    ("normal", "51ddcb6882f997005382a286c653bbe8b9b42db2c6ab523a0e4a496404beb573"),
    ("high", "8ccffa7c8972ed789b3acc39683da7d838f56dd4ce8e1071eaf9c483c2154df5"),
];

/// Less than the default.
const TARGET: &str = "overload: { queue_delay: 100ms }";
const LATE: Duration = Duration::from_millis(150);
const VERY_LATE: Duration = Duration::from_secs(5);

/// A gateway whose consumers have plans of all priorities, each with a key of its name.
fn gateway(more: &str) -> TestGateway {
    let consumer = |(name, hash): (&str, &str)| {
        format!("  {name}: {{ plan: {name}, keys: ['sha256:{hash}'] }}\n")
    };
    let consumers: String = CONSUMERS.map(consumer).concat();
    let gateway = TestGateway::new(&format!(
        "version: 1
{more}
listeners: {{ public: {{ bind: '127.0.0.1:8080' }} }}
upstreams: {{ one: {{ targets: ['{BACKEND}'] }} }}
apis:
  test: {{ upstream: one, policies: [api_key], path: /test }}
  open: {{ upstream: one, public: a test, path: /open }}
  own: {{ public: a test, path: /own, routes: [{{ path: /, policies: [{{ respond: {{ status: 200, body: fine }} }}] }}] }}
plans:
  low: {{ limit: 9/h, priority: low }}
  normal: {{ limit: 100/h }}
  high: {{ limit: 100/h, priority: high }}
consumers:
{consumers}"
    ));
    gateway.put(BACKEND, Backend::echo());
    gateway
}

/// Status and fault of a request by a consumer.
async fn asked(gateway: &TestGateway, who: &str) -> String {
    let request = format!("GET /test HTTP/1.1\nx-api-key: {who}-key-for-years");
    brief(&gateway.ask(&request).await)
}

fn brief(answer: &str) -> String {
    let status = answer.split(' ').nth(1).unwrap_or_default().to_owned();
    let (_, body) = answer.split_once("\n\n").unwrap_or_default();
    let problem: Option<serde_json::Value> = serde_json::from_str(body).ok();
    match problem.as_ref().and_then(|problem| problem["code"].as_str()) {
        Some(code) => {
            let waits = ["retry-after: 1\n", "retry-after: 2\n", "retry-after: 3\n"];
            assert!(waits.iter().any(|wait| answer.contains(wait)), "{answer}");
            format!("{status} {code}")
        }
        None => status,
    }
}

const REFUSED: &str = "503 overloaded";

/// Has its worker come late, and then a request of each priority.
async fn round(gateway: &TestGateway, delay: Duration) {
    gateway.late(delay);
    for (who, _) in CONSUMERS {
        asked(gateway, who).await;
    }
}

/// Has it refuse all but the highest priority.
async fn overloaded(gateway: &TestGateway) {
    for _ in 0..4 {
        round(gateway, VERY_LATE).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_comes_late_refuses_the_lowest_first_and_the_highest_last() {
    let gateway = gateway(TARGET);
    // Eight times the target: four tenths of the lowest priority.
    gateway.late(Duration::from_millis(850));
    let mut refused = 0;
    for _ in 0..10 {
        refused += usize::from(asked(&gateway, "low").await == REFUSED);
        assert_eq!(asked(&gateway, "normal").await, "200");
    }
    assert_eq!(refused, 4);
    for delay in [VERY_LATE, VERY_LATE, VERY_LATE, LATE, LATE, LATE] {
        round(&gateway, delay).await;
    }
    let mut answers = Vec::new();
    for who in ["low", "normal", "high"] {
        answers.push(asked(&gateway, who).await);
    }
    assert_eq!(answers, [REFUSED, REFUSED, "200"]);
    assert!(gateway.metric("yett_overload_workers") > 0.5);
    for _ in 0..2 {
        gateway.late(Duration::ZERO);
    }
    assert!(gateway.metric("yett_overload_workers") < 0.5);
    for who in ["normal", "high"] {
        assert_eq!(asked(&gateway, who).await, "200", "{who}");
    }
    let shed = "yett_overload_shed_total{reason=\"queue_delay\",priority=\"low\"}";
    assert!(gateway.metric(shed) > 4.5);
}

#[tokio::test(start_paused = true)]
async fn unless_it_is_set_half_a_second_refuses_nobody_and_more_does() {
    let gateway = gateway("");
    for (delay_ms, expected) in [(500, "200"), (5_500, REFUSED)] {
        for _ in 0..6 {
            round(&gateway, Duration::from_millis(delay_ms)).await;
        }
        assert_eq!(asked(&gateway, "low").await, expected, "{delay_ms}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_uses_up_nothing_of_a_plan() {
    let gateway = gateway(TARGET);
    overloaded(&gateway).await;
    for _ in 0..20 {
        assert_eq!(asked(&gateway, "low").await, REFUSED);
    }
    gateway.late(Duration::ZERO);
    gateway.late(Duration::ZERO);
    for _ in 0..5 {
        assert_eq!(asked(&gateway, "low").await, "200");
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_not_identified_is_of_normal_priority_and_credentials_are_checked_first() {
    let gateway = gateway(TARGET);
    overloaded(&gateway).await;
    let unknown = gateway.ask("GET /test HTTP/1.1\nx-api-key: nobody").await;
    assert!(unknown.starts_with("HTTP/1.1 401"), "{unknown}");
    assert_eq!(brief(&gateway.ask("GET /open HTTP/1.1").await), REFUSED);
    assert_eq!(asked(&gateway, "high").await, "200");
}

#[tokio::test(start_paused = true)]
async fn what_the_gateway_answers_by_itself_is_not_refused() {
    let gateway = gateway(TARGET);
    overloaded(&gateway).await;
    assert_eq!(brief(&gateway.ask("GET /own HTTP/1.1").await), "200");
    assert_eq!(brief(&gateway.ask("GET /open HTTP/1.1").await), REFUSED);
    gateway.gateway.memory.looked(200, 100);
    assert_eq!(brief(&gateway.ask("GET /own HTTP/1.1").await), "200");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_refused_where_it_is_off_or_what_is_late_is_allowed_to_be() {
    for more in ["overload: off", "overload: { queue_delay: 10s }"] {
        let gateway = gateway(more);
        overloaded(&gateway).await;
        assert_eq!(asked(&gateway, "low").await, "200", "{more}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_memory_is_short_the_lowest_goes_without_first() {
    let gateway = gateway(TARGET);
    for (taken, expected) in [
        (89, ["200", "200", "200"]),
        (90, ["503 memory_short", "200", "200"]),
        (95, ["503 memory_short", "503 memory_short", "200"]),
        (100, ["503 memory_short", "503 memory_short", "503 memory_short"]),
        (10, ["200", "200", "200"]),
    ] {
        gateway.gateway.memory.looked(taken, 100);
        let told = [
            asked(&gateway, "low").await,
            asked(&gateway, "normal").await,
            asked(&gateway, "high").await,
        ];
        assert_eq!(told, expected, "{taken} of 100");
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_that_are_kept_for_a_repetition_count_and_none_is_kept_where_memory_is_short() {
    let gateway = gateway(TARGET);
    let mut connections = gateway.play(BACKEND);
    let memory = &gateway.gateway.memory;
    memory.looked(0, 1_000);
    let put = async |body: &str| {
        let mut client = gateway.connect();
        let length = body.len();
        tell(
            &mut client,
            &format!("PUT /open HTTP/1.1\nhost: a.test\ncontent-length: {length}\n\n{body}"),
        )
        .await;
        client
    };
    let mut client = put(&"x".repeat(500)).await;
    let mut backend = accept(&mut connections).await;
    assert!(hear(&mut backend).await.ends_with("xxx"));
    assert_eq!((memory.held(), memory.taken()), (500, 500));
    // Of a second one there would be too little left.
    let mut other = put(&"y".repeat(400)).await;
    let mut second = accept(&mut connections).await;
    assert!(hear(&mut second).await.ends_with("yyy"), "it is served all the same");
    assert_eq!(memory.held(), 500);
    assert!((gateway.metric("yett_overload_unkept_total") - 1.0).abs() < 0.5);
    for (client, backend) in [(&mut client, &mut backend), (&mut other, &mut second)] {
        tell(backend, "HTTP/1.1 200 OK\ncontent-length: 2\n\nok").await;
        assert!(hear(client).await.ends_with("ok"));
    }
    assert_eq!(memory.taken(), 0, "all of it came back");
}

#[test]
fn what_no_node_could_keep_to_is_refused() {
    for (overload, part) in [
        ("on", "neither `off` nor"),
        ("{ queue_delay: 1ms }", "workers are often later"),
        ("{ memory: 1MiB }", "takes more than that"),
        ("{ memory: lots }", "neither a size such as"),
        ("{ memory: 101% }", "more than all of it"),
        ("{ memory: 0% }", "takes more than that"),
        ("{ memroy: 1GiB }", "memroy"),
    ] {
        let config = format!(
            "version: 1
overload: {overload}
listeners: {{ public: {{ bind: '127.0.0.1:8080' }} }}
upstreams: {{ one: {{ targets: ['{BACKEND}'] }} }}
apis: {{ test: {{ upstream: one, public: a test }} }}
"
        );
        let problems = problems(&config);
        assert!(problems.contains(part), "{overload}: {problems}");
    }
}
