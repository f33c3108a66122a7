//! Gateways that share limits through Redis, and what they do without it.

use super::client::{Answer, Load, get};
use super::redis::{Redis, store_state as state};
use super::servers::free_port;
use super::wait::{now, until_true};
use super::yett::{Launch, PUBLIC, TOP, Yett, signal};

const RATE: u64 = 100;

fn shared(store: &str, limit: &str) -> String {
    format!(
        "{TOP}{PUBLIC}access_log: {{ to: off }}\nstores: {{ shared: {store} }}\napis: {{ all: {{ public: a test, policies: [{{ rate_limit: {limit} }}, {{ respond: {{ body: hi }} }}] }} }}\n"
    )
}

fn by_url(port: u16, more: &str) -> String {
    format!("{{ redis: \"redis://127.0.0.1:{port}\"{more} }}")
}

fn limit(more: &str) -> String {
    format!("{{ limit: {RATE}/s, per: all, store: shared{more} }}")
}

fn gateways(yett: &Yett) -> u64 {
    yett.status()["stores"][0]["gateways"].as_u64().unwrap()
}

fn passed(all: &[Yett]) -> u64 {
    let passed =
        |yett: &Yett| yett.count("yett_requests_total", &["api=\"all\"", "status=\"2xx\""]);
    all.iter().map(passed).sum()
}

fn broken(all: &[Yett]) -> u64 {
    let broken =
        |yett: &Yett| yett.count("yett_requests_total", &["api=\"all\"", "status=\"5xx\""]);
    all.iter().map(broken).sum()
}

fn three(config: &str) -> Vec<Yett> {
    let all: Vec<Yett> = (0..3).map(|_| Yett::start(config)).collect();
    until_true("all gateways know of each other", || {
        all.iter().all(|yett| state(yett) == "up" && gateways(yett) == 3)
    });
    all
}

#[test]
fn three_gateways_hold_one_limit_together_through_death_and_standstill_of_redis() {
    let mut redis = Redis::start(&[]);
    let all = three(&shared(&by_url(redis.port, ", timeout: 300ms"), &limit("")));
    let since = now();
    let loads: Vec<Load> = all.iter().map(|yett| Load::start(&yett.url("public"))).collect();
    // What may have passed by now, with as many more at once as `extra` times the limit says.
    let holds = |what: &str, extra: f64| {
        let passed = passed(&all);
        let elapsed = now().duration_since(since).as_secs_f64();
        let most = RATE as f64 * (1.02 + extra + elapsed);
        assert!(passed as f64 <= most, "{what}: {passed} passed, {most} may");
        passed
    };
    let first = holds("at first", 0.0);
    until_true("the limit comes back", || passed(&all) > first + 3 * RATE);
    let steady = holds("steady", 0.0);
    let questions = |outcome: &str| -> u64 {
        let label = format!("outcome=\"{outcome}\"");
        all.iter().map(|yett| yett.count("yett_store_questions_total", &[&label])).sum()
    };
    assert!(questions("answered") > 0);

    redis.kill();
    until_true("that is noticed", || all.iter().all(|yett| state(yett) == "down"));
    until_true("shares are allowed", || passed(&all) > steady + 2 * RATE);
    let alone = holds("without Redis", 1.0);

    redis.revive(&[]);
    until_true("it is back", || all.iter().all(|yett| state(yett) == "up"));
    until_true("the limit goes on", || passed(&all) > alone + 2 * RATE);
    let back = holds("with Redis again", 1.0);

    signal(redis.child.id(), "STOP");
    until_true("it stands still", || all.iter().all(|yett| state(yett) == "down"));
    until_true("shares are allowed again", || passed(&all) > back + RATE);
    signal(redis.child.id(), "CONT");
    until_true("it goes on", || all.iter().all(|yett| state(yett) == "up"));
    holds("at the end", 2.0);
    loads.into_iter().for_each(|load| drop(load.end()));
    assert_eq!(broken(&all), 0, "nobody was turned away for want of Redis");
    for yett in &all {
        yett.log.expect(&["the store of shared limits is reached"]);
        yett.log.expect(&["the store of shared limits does not answer"]);
        yett.log.expect(&["the store of shared limits answers again"]);
        assert!(yett.count("yett_store_failures_total", &["went=\"local\""]) > 0);
    }
}

#[test]
fn without_its_store_a_limit_does_what_it_says() {
    let port = free_port();
    let store = by_url(port, ", gateways: 2, timeout: 100ms");
    let one = |name: &str, more: &str| {
        format!(
            "{{ path: /{name}, policies: [{{ rate_limit: {{ limit: 10/h, store: shared{more} }} }}, {{ respond: {{ body: hi }} }}] }}"
        )
    };
    let routes = [
        one("local", ""),
        one("refuse", ", on_store_failure: refuse"),
        one("allow", ", on_store_failure: { allow: a test }"),
    ];
    let config = format!(
        "{TOP}{PUBLIC}stores: {{ shared: {store} }}\napis: {{ all: {{ public: a test, routes: [{}] }} }}\n",
        routes.join(", ")
    );
    let yett = Launch::new(&config).start();
    let address = yett.address("public");
    let asked = |path: &str| -> Vec<Answer> { (0..8).map(|_| get(&address, path)).collect() };
    let statuses = |all: &[Answer]| all.iter().map(|it| it.status).collect::<Vec<_>>();
    until_true("it is known to be gone", || state(&yett) == "down");
    assert_eq!(statuses(&asked("/local")), [200, 200, 200, 200, 200, 429, 429, 429]);
    assert_eq!(statuses(&asked("/allow")), [200; 8]);
    let refused = asked("/refuse");
    assert_eq!(statuses(&refused), [503; 8]);
    assert_eq!(refused[0].header("retry-after").unwrap(), "1");
    assert!(refused[0].body.contains("The service is not available"), "{}", refused[0].body);
    assert_eq!(yett.count("yett_store_up", &["store=\"shared\""]), 0);
    for (went, count) in [("local", 8), ("refuse", 8), ("allow", 8)] {
        let label = format!("went=\"{went}\"");
        assert_eq!(yett.count("yett_store_failures_total", &[&label]), count, "{went}");
    }
    let told = |part: &str| yett.log.all().iter().filter(|line| line.contains(part)).count();
    assert_eq!(told("the store of shared limits does not answer"), 1, "once");
}
