//! What a gateway does when its backends are in trouble.

use crate::it::kit::{accept, brief, config, hear, tell, with_upstream};
use base::caps::HALF_CLOSED_TIMEOUT_S;
use std::net::SocketAddr;
use std::time::Duration;
use testkit::{Act, Backend, TestGateway};
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, timeout};

const FIRST: &str = "10.0.0.1:80";
const SECOND: &str = "10.0.0.2:80";
const OK: &str = "HTTP/1.1 200 OK\ncontent-length: 2\n\nok";
const BUSY: &str = "HTTP/1.1 503 Busy\ncontent-length: 4\n\nbusy";
const GET: &str = "GET / HTTP/1.1\nhost: a.test\n\n";
const POST: &str = "POST / HTTP/1.1\nhost: a.test\ncontent-length: 5\n\nhello";

/// One backend that misbehaves and one that answers.
fn pair(bad: Backend, settings: &str) -> TestGateway {
    let gateway = with_upstream(&format!("{{ targets: ['{FIRST}', '{SECOND}'], {settings} }}"));
    gateway.put(FIRST, bad);
    gateway.put(SECOND, Backend::answer(OK));
    gateway
}

fn single(backend: Backend, settings: &str) -> TestGateway {
    let gateway = with_upstream(&format!("{{ targets: ['{FIRST}'], {settings} }}"));
    gateway.put(FIRST, backend);
    gateway
}

fn seen(gateway: &TestGateway, address: &str) -> usize {
    let address: SocketAddr = address.parse().unwrap();
    gateway.backends.seen().iter().filter(|seen| seen.address == address).count()
}

/// The paused time of the test.
#[expect(clippy::disallowed_methods, reason = "waits go by the paused time")]
fn now() -> Instant {
    Instant::now()
}

/// The outcome of one request, however long it takes.
async fn get(gateway: &TestGateway) -> String {
    brief(&gateway.ask(GET).await)
}

fn metric(gateway: &TestGateway, name: &str) -> u64 {
    let value = gateway.metric(&format!("{name}{{upstream=\"one\"}}"));
    format!("{value:.0}").parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_status_is_asked_for_once_more_only_if_that_is_safe() {
    let settings = "retries: { max: 1, on: [503] }";
    let gateway = pair(Backend::answer(BUSY), settings);
    for _ in 0..4 {
        assert_eq!(get(&gateway).await, "200");
    }
    assert_eq!((seen(&gateway, FIRST), metric(&gateway, "yett_upstream_retries_total")), (2, 2));
    let reasons = "yett_upstream_retry_reasons_total{upstream=\"one\",reason=\"status\"}";
    assert!((gateway.metric(reasons) - 2.0).abs() < 0.1);
    assert_eq!(
        gateway.backends.dialled(),
        2,
        "a small answer is read, so that its connection is kept"
    );
    let gateway = pair(Backend::answer(BUSY), settings);
    let both = [brief(&gateway.ask(POST).await), brief(&gateway.ask(POST).await)];
    assert!(both.contains(&"503".to_owned()) && both.contains(&"200".to_owned()), "{both:?}");
}

#[tokio::test(start_paused = true)]
async fn retries_leave_the_turns_of_first_attempts_alone() {
    let third = "10.0.0.3:80";
    let settings = format!("targets: ['{FIRST}', '{SECOND}', '{third}'], outliers: false");
    let gateway =
        with_upstream(&format!("{{ {settings}, retries: {{ backoff: {{ base: 0s }} }} }}"));
    gateway.put(FIRST, Backend::acts([Act::Close]));
    for address in [SECOND, third] {
        gateway.put(address, Backend::answer(OK));
    }
    for _ in 0..60 {
        assert_eq!(get(&gateway).await, "200");
    }
    let seen = [FIRST, SECOND, third].map(|address| seen(&gateway, address));
    assert_eq!(seen, [20, 30, 30], "a third each, and half of what the first failed");
}

#[tokio::test(start_paused = true)]
async fn reasons_that_are_not_named_are_not_repeated() {
    let gateway = pair(Backend::acts([Act::Close]), "retries: { max: 1, on: [connect] }");
    let mut both = [get(&gateway).await, get(&gateway).await];
    both.sort();
    assert_eq!(both, ["200", "502 upstream_reset"]);
}

#[tokio::test(start_paused = true)]
async fn a_target_says_how_long_it_wants_to_be_left_alone() {
    for (wanted, waited_s, outcome) in [("1", 1, "200"), ("120", 0, "503"), ("soon", 0, "503")] {
        let bad = BUSY.replace("content-length", &format!("retry-after: {wanted}\ncontent-length"));
        let gateway = single(Backend::answer(&bad), "retries: { max: 1, on: [503] }");
        let asking = async {
            let began = now();
            (get(&gateway).await, began.elapsed().as_secs())
        };
        let healing = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            gateway.put(FIRST, Backend::answer(OK));
        };
        let (asked, ()) = tokio::join!(asking, healing);
        assert_eq!(asked, (outcome.to_owned(), waited_s), "{wanted}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_is_cut_short_only_if_another_one_can_follow() {
    let settings = "retries: { max: 1, per_try: 200ms }, timeouts: { first_byte: 5s }";
    let gateway = pair(Backend::acts([Act::Hang]), settings);
    let began = now();
    assert_eq!([get(&gateway).await, get(&gateway).await], ["200", "200"]);
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    assert_eq!(seen(&gateway, FIRST), 1);
    let gateway = single(Backend::acts([Act::Hang]), settings);
    let began = now();
    assert_eq!(brief(&gateway.ask(POST).await), "504 first_byte_timeout");
    assert_eq!(began.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_retries_is_cut() {
    let gateway = single(
        Backend::acts([Act::Close]),
        "retries: { max: 1, budget: 10%, backoff: { base: 0s } }",
    );
    for _ in 0..300 {
        assert_eq!(get(&gateway).await, "502 upstream_reset");
    }
    let repeated = metric(&gateway, "yett_upstream_retries_total");
    assert!((100..=130).contains(&repeated), "{repeated}");
    assert_eq!(metric(&gateway, "yett_upstream_retries_cut_total"), 300 - repeated);
    let gateway = pair(Backend::refusing(), "outliers: false, retries: { budget: 0% }");
    for _ in 0..300 {
        assert_eq!(get(&gateway).await, "200", "what was not sent costs the backend nothing");
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_comes_back_has_no_retries_saved_up() {
    let upstream = format!(
        "{{ targets: ['{FIRST}'], retries: {{ max: 1, budget: 50%, backoff: {{ base: 0s }} }} }}"
    );
    let gateway = with_upstream(&upstream);
    gateway.put(FIRST, Backend::answer(OK));
    for _ in 0..1_000 {
        assert_eq!(get(&gateway).await, "200");
    }
    gateway
        .reload(&config(&format!("{{ targets: ['{SECOND}'] }}"), "[]").replace("one", "other"))
        .unwrap();
    gateway.reload(&config(&upstream, "[]")).unwrap();
    gateway.put(FIRST, Backend::acts([Act::Close]));
    for _ in 0..400 {
        assert_eq!(get(&gateway).await, "502 upstream_reset");
    }
    let repeated = metric(&gateway, "yett_upstream_retries_total");
    assert!((200..=310).contains(&repeated), "the floor and half of the new ones: {repeated}");
}

#[tokio::test(start_paused = true)]
async fn retries_wait_longer_each_time() {
    let gateway = single(
        Backend::acts([Act::Close]),
        "retries: { max: 3, backoff: { base: 100ms, max: 200ms } }",
    );
    let began = now();
    assert_eq!(get(&gateway).await, "502 upstream_reset");
    let waited_ms = began.elapsed().as_millis();
    assert!((250..=510).contains(&waited_ms), "{waited_ms}");
}

const BREAKER: &str = "breaker: { failures: 50% in 10s, min_requests: 4, probes: 2, open: 5s }";

#[tokio::test(start_paused = true)]
async fn a_breaker_opens_for_all_and_closes_after_good_probes() {
    let gateway = single(Backend::answer(BUSY), BREAKER);
    for _ in 0..4 {
        assert_eq!(get(&gateway).await, "503");
    }
    let refused = gateway.ask(GET).await;
    assert_eq!(brief(&refused), "503 breaker_open");
    assert!(refused.contains("\nretry-after: 5\n"), "{refused}");
    assert_eq!((seen(&gateway, FIRST), metric(&gateway, "yett_upstream_breaker")), (4, 2));
    // A new config with another threshold keeps it open.
    let changed = BREAKER.replace("min_requests: 4", "min_requests: 3");
    let upstream = format!("{{ targets: ['{FIRST}'], {changed} }}");
    gateway.reload(&config(&upstream, "[]")).unwrap();
    assert_eq!(get(&gateway).await, "503 breaker_open");
    gateway.advance(Duration::from_secs(5));
    assert_eq!(get(&gateway).await, "503", "a probe finds it still failing");
    assert_eq!(get(&gateway).await, "503 breaker_open");
    gateway.put(FIRST, Backend::answer(OK));
    gateway.advance(Duration::from_secs(5));
    for _ in 0..3 {
        assert_eq!(get(&gateway).await, "200");
    }
    assert_eq!(metric(&gateway, "yett_upstream_breaker"), 0);
    assert_eq!(metric(&gateway, "yett_upstream_breaker_opened_total"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_breaker_counts_no_fault_of_a_client() {
    let gateway = single(Backend::answer("HTTP/1.1 404 No\ncontent-length: 0\n\n"), BREAKER);
    for _ in 0..20 {
        assert_eq!(get(&gateway).await, "404");
    }
}

const SLOW: &str =
    "breaker: { slow: { over: 2s, share: 50% }, failures: 50% in 60s, min_requests: 2, open: 5s }";

/// Has the backend's next request answered after so long.
async fn answer_after(gateway: &TestGateway, backend: &mut tokio::io::DuplexStream, seconds: u64) {
    assert!(hear(backend).await.starts_with("GET "));
    gateway.advance(Duration::from_secs(seconds));
    backend.write_all(OK.replace('\n', "\r\n").as_bytes()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_place_is_not_the_upstream_s_slowness() {
    let concurrency = "concurrency: { max: 1, queue: 9, wait: 60s }";
    let gateway = with_upstream(&format!("{{ targets: ['{FIRST}'], {concurrency}, {SLOW} }}"));
    let mut connections = gateway.play(FIRST);
    let mut clients: Vec<_> = (0..6).map(|_| gateway.connect()).collect();
    for client in &mut clients {
        tell(client, GET).await;
        assert_eq!(hear(client).await, "");
    }
    let mut backend = accept(&mut connections).await;
    for client in &mut clients {
        answer_after(&gateway, &mut backend, 1).await;
        assert_eq!(brief(&hear(client).await), "200");
    }
    let asking = async { [get(&gateway).await, get(&gateway).await, get(&gateway).await] };
    let answering = async {
        for seconds in [0, 3, 3] {
            answer_after(&gateway, &mut backend, seconds).await;
        }
    };
    let (answers, ()) = tokio::join!(asking, answering);
    assert_eq!(answers, ["200"; 3]);
    assert_eq!(metric(&gateway, "yett_upstream_breaker_opened_total"), 0);
    for _ in 0..6 {
        let (answer, ()) = tokio::join!(get(&gateway), answer_after(&gateway, &mut backend, 3));
        assert_eq!(answer, "200");
        if metric(&gateway, "yett_upstream_breaker_opened_total") == 1 {
            return;
        }
    }
    panic!("answers that are slow themselves open it");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_slowly_is_not_the_upstream_s_slowness() {
    let gateway = with_upstream(&format!("{{ targets: ['{FIRST}'], {SLOW} }}"));
    let mut connections = gateway.play(FIRST);
    for round in 0..4 {
        let mut client = gateway.connect();
        tell(&mut client, POST.trim_end_matches("lo")).await;
        if round == 0 {
            assert_eq!(hear(&mut client).await, "");
        }
        hear(&mut client).await;
        gateway.advance(Duration::from_secs(10));
        tell(&mut client, "lo").await;
        let mut backend = accept(&mut connections).await;
        assert!(hear(&mut backend).await.ends_with("hello"));
        let answer = OK.replace("content", "connection: close\ncontent").replace('\n', "\r\n");
        backend.write_all(answer.as_bytes()).await.unwrap();
        assert_eq!(brief(&hear(&mut client).await), "200");
    }
    assert_eq!(metric(&gateway, "yett_upstream_breaker_opened_total"), 0);
}

const JUDGED: &str =
    "outliers: { consecutive: 2, eject: 1h, eject_max: 1h }, timeouts: { total: 20s },
    breaker: { failures: 50% in 10min, min_requests: 4, open: 5s }";

/// Has a client send a request, whole or not, and lets its time run out; returns what it hears.
async fn run_out(gateway: &TestGateway, request: &str, rest: &str) -> String {
    let mut client = gateway.connect();
    tell(&mut client, request).await;
    assert_eq!(hear(&mut client).await, "");
    gateway.advance(Duration::from_secs(20));
    tokio::time::sleep(Duration::from_millis(19_900)).await;
    tell(&mut client, rest).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    brief(&hear(&mut client).await).replace(", closed", "")
}

#[tokio::test(start_paused = true)]
async fn a_target_that_lets_the_whole_time_run_out_has_failed() {
    for request in [GET, POST] {
        let gateway = pair(Backend::acts([Act::Hang]), JUDGED);
        gateway.put(SECOND, Backend::acts([Act::Hang]));
        for _ in 0..4 {
            assert_eq!(run_out(&gateway, request, "").await, "504 total_timeout");
        }
        let ejections =
            format!("yett_target_ejections_total{{upstream=\"one\",target=\"{FIRST}\"}}");
        assert!((gateway.metric(&ejections) - 1.0).abs() < 0.1, "{request}");
        assert_eq!(metric(&gateway, "yett_upstream_breaker_opened_total"), 1, "{request}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_time_that_is_used_up_by_failed_attempts_opens_the_breaker() {
    let settings = format!("{JUDGED}, retries: {{ max: 1, per_try: 19s }}");
    let gateway = single(Backend::acts([Act::Hang]), &settings);
    for _ in 0..4 {
        let mut client = gateway.connect();
        tell(&mut client, GET).await;
        assert_eq!(hear(&mut client).await, "");
        gateway.advance(Duration::from_millis(18_500));
        tokio::time::sleep(Duration::from_millis(19_100)).await;
        gateway.advance(Duration::from_millis(1_500));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(hear(&mut client).await.contains("\"total_timeout\""));
    }
    assert_eq!(seen(&gateway, FIRST), 8);
    assert_eq!(metric(&gateway, "yett_upstream_breaker_opened_total"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_lets_the_whole_time_run_out_takes_no_target_away() {
    // The rest comes never, or when hardly any time is left.
    for rest in ["", "lo"] {
        let gateway = pair(Backend::acts([Act::Hang]), JUDGED);
        gateway.put(SECOND, Backend::acts([Act::Hang]));
        for _ in 0..8 {
            let request = POST.trim_end_matches("lo");
            assert_eq!(run_out(&gateway, request, rest).await, "504 total_timeout");
        }
        let ejections =
            format!("yett_target_ejections_total{{upstream=\"one\",target=\"{FIRST}\"}}");
        assert!(gateway.metric(&ejections).abs() < 0.1, "{rest:?}");
        assert_eq!(metric(&gateway, "yett_upstream_breaker_opened_total"), 0, "{rest:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn callers_in_a_hurry_open_no_breaker_and_take_no_target_away() {
    let settings = format!("{BREAKER}, outliers: {{ consecutive: 3 }}, timeouts: {{ total: 20s }}");
    let gateway = single(Backend::acts([Act::Hang]), &settings);
    let call = "POST /a HTTP/1.1\nhost: a.test\ncontent-type: application/grpc\ngrpc-timeout: 5m\n";
    let call = format!("{call}content-length: 1\n\nx");
    for _ in 0..8 {
        gateway.ask(&call).await;
    }
    let empty = call.replace("content-length: 1\n\nx", "content-length: 0\n\n");
    for _ in 0..8 {
        gateway.ask(&empty).await;
    }
    gateway.put(FIRST, Backend::answer(OK));
    assert_eq!(get(&gateway).await, "200");
    assert_eq!(metric(&gateway, "yett_upstream_breaker_opened_total"), 0);
}

#[tokio::test(start_paused = true)]
async fn places_are_given_in_the_order_of_those_who_wait() {
    let gateway = with_upstream(&format!(
        "{{ targets: ['{FIRST}'], concurrency: {{ max: 1, queue: 2, wait: 10s }} }}"
    ));
    let mut connections = gateway.play(FIRST);
    let mut clients = [gateway.connect(), gateway.connect(), gateway.connect(), gateway.connect()];
    for (client, path) in clients.iter_mut().zip(["/1", "/2", "/3"]) {
        tell(client, &GET.replacen('/', path, 1)).await;
        assert_eq!(hear(client).await, "");
    }
    let [first, second, third, fourth] = &mut clients;
    tell(fourth, GET).await;
    let busy = hear(fourth).await;
    assert_eq!(brief(&busy), "503 upstream_busy");
    assert!(busy.contains("retry-after: 10\n"), "{busy}");
    assert_eq!(metric(&gateway, "yett_upstream_queue"), 2);
    let mut backend = accept(&mut connections).await;
    for client in [first, second, third] {
        assert!(hear(&mut backend).await.starts_with("GET "), "one at a time");
        backend.write_all(OK.replace('\n', "\r\n").as_bytes()).await.unwrap();
        assert_eq!(brief(&hear(client).await), "200");
    }
    assert_eq!(metric(&gateway, "yett_upstream_queue"), 0);
    assert_eq!(metric(&gateway, "yett_upstream_queued_total"), 2);
}

#[tokio::test(start_paused = true)]
async fn whoever_leaves_the_queue_frees_its_position() {
    let gateway = with_upstream(&format!(
        "{{ targets: ['{FIRST}'], concurrency: {{ max: 1, queue: 1, wait: 60s }} }}"
    ));
    let mut connections = gateway.play(FIRST);
    let (mut first, mut second) = (gateway.connect(), gateway.connect());
    tell(&mut first, GET).await;
    assert_eq!(hear(&mut first).await, "");
    tell(&mut second, GET).await;
    assert_eq!(hear(&mut second).await, "");
    assert_eq!(brief(&gateway.ask(GET).await), "503 upstream_busy");
    drop(second);
    // Whoever has only closed its sending side is still answered for a while.
    tokio::time::sleep(Duration::from_secs(HALF_CLOSED_TIMEOUT_S + 1)).await;
    assert_eq!(metric(&gateway, "yett_upstream_queue"), 0);
    let mut third = gateway.connect();
    tell(&mut third, GET).await;
    assert_eq!(hear(&mut third).await, "");
    let mut backend = accept(&mut connections).await;
    for client in [&mut first, &mut third] {
        assert!(hear(&mut backend).await.starts_with("GET "));
        backend.write_all(OK.replace('\n', "\r\n").as_bytes()).await.unwrap();
        assert_eq!(brief(&hear(client).await), "200");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_too_long_is_told_to_come_back() {
    let gateway = single(Backend::acts([Act::Hang]), "concurrency: { max: 1, queue: 1, wait: 2s }");
    let mut first = gateway.connect();
    tell(&mut first, GET).await;
    assert_eq!(hear(&mut first).await, "");
    let began = now();
    assert_eq!(get(&gateway).await, "503 upstream_busy");
    assert_eq!(began.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_has_enough_is_passed_over() {
    let gateway = with_upstream(&format!(
        "{{ targets: ['{FIRST}', '{SECOND}'], concurrency: {{ max_per_target: 1 }} }}"
    ));
    gateway.put(FIRST, Backend::acts([Act::Hang]));
    gateway.put(SECOND, Backend::answer(OK));
    let mut held = gateway.connect();
    tell(&mut held, GET).await;
    let mut answers = vec![brief(&hear(&mut held).await)];
    for _ in 0..6 {
        let mut client = gateway.connect();
        tell(&mut client, GET).await;
        answers.push(brief(&hear(&mut client).await));
        if answers.last().unwrap().is_empty() {
            held = client;
        }
    }
    drop(held);
    assert_eq!(answers.iter().filter(|answer| **answer == "200").count(), 6, "{answers:?}");
    assert_eq!(seen(&gateway, FIRST), 1);
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_is_raced_by_another_target() {
    let slow = [Act::Wait(Duration::from_secs(3)), Act::Answer(OK.to_owned())];
    let gateway = pair(Backend::acts(slow.clone()), "hedge: 200ms");
    let began = now();
    for _ in 0..4 {
        assert_eq!(get(&gateway).await, "200");
    }
    assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
    assert_eq!(metric(&gateway, "yett_upstream_hedges_total"), 2);
    assert_eq!(metric(&gateway, "yett_upstream_hedges_won_total"), 2);
    let gateway = pair(Backend::acts(slow), "hedge: 200ms");
    for request in [POST, POST, &GET.replace("GET", "DELETE"), &GET.replace("GET", "DELETE")] {
        gateway.ask(request).await;
    }
    assert_eq!(metric(&gateway, "yett_upstream_hedges_total"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_race_goes_on_when_one_of_its_attempts_fails() {
    let failing = [Act::Wait(Duration::from_millis(300)), Act::Close];
    let gateway = pair(Backend::acts(failing.clone()), "retries: 0, hedge: 200ms");
    gateway.put(
        SECOND,
        Backend::acts([Act::Wait(Duration::from_millis(150)), Act::Answer(OK.to_owned())]),
    );
    assert_eq!([get(&gateway).await, get(&gateway).await], ["200", "200"]);
    gateway.put(SECOND, Backend::acts(failing));
    assert_eq!(get(&gateway).await, "502 upstream_reset");
}

const OUTLIERS: &str = "outliers: { consecutive: 3, eject: 30s }, retries: 0";

#[tokio::test(start_paused = true)]
async fn a_target_that_fails_is_put_aside_and_tried_by_one_request() {
    let gateway = pair(Backend::answer(BUSY), OUTLIERS);
    let mut outcomes = Vec::new();
    for _ in 0..6 {
        outcomes.push(get(&gateway).await);
    }
    assert_eq!(outcomes.iter().filter(|outcome| *outcome == "503").count(), 3);
    for _ in 0..10 {
        assert_eq!(get(&gateway).await, "200");
    }
    assert_eq!(seen(&gateway, FIRST), 3);
    gateway.advance(Duration::from_secs(31));
    let mut outcomes = Vec::new();
    for _ in 0..10 {
        outcomes.push(get(&gateway).await);
    }
    assert_eq!(outcomes.iter().filter(|outcome| *outcome == "503").count(), 1, "one tries it");
    gateway.put(FIRST, Backend::answer(OK));
    gateway.advance(Duration::from_secs(31));
    get(&gateway).await;
    get(&gateway).await;
    assert_eq!(seen(&gateway, FIRST), 4, "the second time it is out for twice as long");
    gateway.advance(Duration::from_secs(30));
    for _ in 0..10 {
        assert_eq!(get(&gateway).await, "200");
    }
    assert!(seen(&gateway, FIRST) >= 8);
    let ejected = format!("yett_target_ejected{{upstream=\"one\",target=\"{FIRST}\"}}");
    assert!(gateway.metric(&ejected).abs() < 0.1);
}

#[tokio::test(start_paused = true)]
async fn the_last_target_is_never_put_aside() {
    let gateway = single(Backend::answer(BUSY), OUTLIERS);
    for _ in 0..20 {
        assert_eq!(get(&gateway).await, "503");
    }
    let gateway = pair(Backend::answer(BUSY), OUTLIERS);
    gateway.put(SECOND, Backend::answer(BUSY));
    for _ in 0..20 {
        assert_eq!(get(&gateway).await, "503", "one of two stays");
    }
    assert_eq!(seen(&gateway, FIRST).min(seen(&gateway, SECOND)), 3);
}

#[tokio::test(start_paused = true)]
async fn a_target_without_weight_is_nobody_who_could_take_over() {
    let drained = format!("{{ address: '{SECOND}', weight: 0 }}");
    let targets = format!("{{ targets: ['{FIRST}', {drained}], {OUTLIERS} }}");
    let gateway = with_upstream(&targets);
    gateway.put(FIRST, Backend::refusing());
    gateway.put(SECOND, Backend::answer(OK));
    for _ in 0..10 {
        assert_eq!(get(&gateway).await, "502 connect_failed", "the last one at work stays");
    }
    gateway.put(FIRST, Backend::answer(OK));
    assert_eq!(get(&gateway).await, "200");
    assert_eq!(seen(&gateway, SECOND), 0);
}

#[tokio::test(start_paused = true)]
async fn unless_said_otherwise_only_targets_without_a_connection_are_put_aside() {
    let gateway = pair(Backend::answer(BUSY), "retries: 0");
    for _ in 0..20 {
        get(&gateway).await;
    }
    assert_eq!(seen(&gateway, FIRST), 10);
    let gateway = pair(Backend::refusing(), "");
    for _ in 0..20 {
        assert_eq!(get(&gateway).await, "200");
    }
    assert_eq!(metric(&gateway, "yett_upstream_connect_failed_total"), 5);
    let gateway = pair(Backend::refusing(), "outliers: false");
    for _ in 0..20 {
        assert_eq!(get(&gateway).await, "200");
    }
    assert_eq!(metric(&gateway, "yett_upstream_connect_failed_total"), 10);
}

/// Speaks HTTP/2 on each connection, and takes one request at a time, which it answers or never does.
async fn one_at_a_time(
    mut connections: tokio::sync::mpsc::Receiver<tokio::io::DuplexStream>,
    answers: bool,
) {
    while let Some(io) = connections.recv().await {
        tokio::spawn(async move {
            let mut builder = h2::server::Builder::new();
            builder.max_concurrent_streams(1);
            let mut connection = builder.handshake::<_, bytes::Bytes>(io).await.unwrap();
            let mut kept = Vec::new();
            while let Some(Ok((request, mut answer))) = connection.accept().await {
                if answers {
                    answer.send_response(http::Response::new(()), true).unwrap();
                }
                kept.push((request, answer));
            }
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_others_fill_is_not_put_aside_and_requests_go_elsewhere() {
    let limits = "timeouts: { connect: 5s, first_byte: 10min }";
    let upstream = format!("{{ targets: ['{FIRST}', '{SECOND}'], protocol: http2, {limits} }}");
    let gateway = with_upstream(&upstream);
    tokio::spawn(one_at_a_time(gateway.play(FIRST), false));
    tokio::spawn(one_at_a_time(gateway.play(SECOND), true));
    let mut clients = Vec::new();
    for _ in 0..2 * base::caps::LINKS_PER_SHELF_MAX {
        let mut client = gateway.connect();
        tell(&mut client, GET).await;
        hear(&mut client).await;
        clients.push(client);
    }
    let began = now();
    for _ in 0..12 {
        assert_eq!(get(&gateway).await, "200");
    }
    assert_eq!(began.elapsed().as_secs(), 6 * base::caps::STREAM_WAIT_MS / 1_000);
    let ejections = format!("yett_target_ejections_total{{upstream=\"one\",target=\"{FIRST}\"}}");
    assert!(gateway.metric(&ejections).abs() < 0.1, "it is as well as ever");
    drop(clients);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_nobody_answers_in_grpc_counts_as_a_failure() {
    let unavailable = "HTTP/1.1 200 OK\ngrpc-status: 14\ncontent-length: 0\n\n";
    let gateway = pair(Backend::answer(unavailable), OUTLIERS);
    for _ in 0..20 {
        get(&gateway).await;
    }
    assert_eq!(seen(&gateway, FIRST), 3);
}

#[tokio::test(start_paused = true)]
async fn a_share_of_failures_puts_a_target_aside() {
    let settings =
        "retries: 0, outliers: { consecutive: 0, failures: 50% in 30s, min_requests: 4 }";
    let gateway = pair(Backend::answer(OK), settings);
    for round in 0..20 {
        let answer = if round % 4 < 2 { OK } else { BUSY };
        gateway.put(FIRST, Backend::answer(answer));
        get(&gateway).await;
    }
    assert_eq!(seen(&gateway, FIRST), 4, "half of the first four");
}

#[tokio::test(start_paused = true)]
async fn without_a_word_of_the_client_a_place_is_not_held() {
    let gateway = single(Backend::answer(OK), "concurrency: 1");
    for _ in 0..5 {
        assert_eq!(timeout(Duration::from_secs(1), get(&gateway)).await.unwrap(), "200");
    }
}
