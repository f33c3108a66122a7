use super::kit::{Net, exchange, fetch, send, settle, spec, target, text, world};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use traffic::upstream::Upstream;
use upstream::{
    Balance, HashSpec, HealthQuestion, HealthSpec, Locality, Resolve, StickySpec, TargetSpec,
    UpstreamSpec, World, build,
};

const ADDRESSES: [&str; 4] = ["192.0.2.1:80", "192.0.2.2:80", "192.0.2.3:80", "192.0.2.4:80"];

fn hashed() -> Balance {
    let key = |exchange: &traffic::Exchange| {
        let value = exchange.request.headers.get("x-tenant")?;
        value.to_str().ok()?.bytes().map(u64::from).reduce(|hash, byte| hash * 31 + byte)
    };
    Balance::Hash(HashSpec { key: Arc::new(key), load_max_percent: 125 })
}

fn of_tenant(tenant: &str) -> traffic::Exchange {
    let mut exchange = exchange();
    let value = http::HeaderValue::try_from(tenant).unwrap();
    exchange.request.headers.append(http::HeaderName::from_static("x-tenant"), value);
    exchange
}

fn placed(address: &str, zone: &str, region: &str, priority: u32) -> TargetSpec {
    let locality = Locality { zone: Some(zone.into()), region: Some(region.into()) };
    TargetSpec { locality, priority, ..target(address, 1) }
}

fn count(upstream: &Arc<dyn Upstream>, rounds: usize) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for _ in 0..rounds {
        let picked = upstream.pick(&exchange()).unwrap();
        *counts.entry(picked.address.to_string()).or_default() += 1;
    }
    counts
}

/// Asks each second, and believes the first answer.
fn checked() -> Option<HealthSpec> {
    Some(HealthSpec {
        question: HealthQuestion::Request { method: http::Method::GET, path: "/".to_owned() },
        every: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        healthy_after: 1,
        unhealthy_after: 1,
    })
}

/// Moves both clocks, in steps that let whoever waits do something.
async fn pass(world: &World, seconds: u64) {
    for _ in 0..seconds * 4 {
        world.clock.advance(Duration::from_millis(250));
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    settle().await;
}

#[tokio::test]
async fn two_gateways_find_the_same_target_for_the_same_key() {
    let of = |order: &[usize]| -> Arc<dyn Upstream> {
        let mut spec = spec(&order.iter().map(|at| ADDRESSES[*at]).collect::<Vec<_>>());
        spec.balance = hashed();
        build(spec, &world(&Arc::default())).unwrap()
    };
    let (one, other) = (of(&[0, 1, 2, 3]), of(&[3, 1, 0, 2]));
    let mut seen = HashMap::new();
    for tenant in 0..200 {
        let exchange = of_tenant(&format!("tenant-{tenant}"));
        let address = one.pick(&exchange).unwrap().address;
        assert_eq!(address, other.pick(&exchange).unwrap().address);
        *seen.entry(address).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 4);
    assert!(seen.values().all(|keys| *keys > 20), "{seen:?}");
    assert!(one.pick(&exchange()).is_ok(), "a request without a key goes to anybody");
}

#[tokio::test]
async fn requests_go_to_whoever_answers_soonest() {
    let net = Arc::new(Net::default());
    let world = world(&net);
    let clock = world.clock.clone();
    for (address, ms) in [(ADDRESSES[0], 200), (ADDRESSES[1], 5)] {
        let clock = clock.clone();
        net.serve(address, move |_| {
            clock.advance(Duration::from_millis(ms));
            async { text("answer") }
        });
    }
    let mut spec = spec(&ADDRESSES[..2]);
    spec.balance = Balance::PeakEwma;
    let upstream = build(spec, &world).unwrap();
    for _ in 0..20 {
        fetch(&upstream).await;
    }
    let counts = count(&upstream, 100);
    assert_eq!(counts.get(ADDRESSES[1]), Some(&100), "{counts:?}");
    let slow = world.metrics.target("orders", ADDRESSES[0]).requests.sum();
    assert!(slow <= 2, "the slow one was asked {slow} times");
}

#[tokio::test(start_paused = true)]
async fn who_was_slow_once_is_asked_again() {
    let net = Arc::new(Net::default());
    let world = world(&net);
    for (address, is_slow) in [(ADDRESSES[0], true), (ADDRESSES[1], false)] {
        let (clock, first) = (world.clock.clone(), AtomicBool::new(is_slow));
        net.serve(address, move |_| {
            let took = if first.swap(false, Ordering::SeqCst) { 20_000 } else { 5 };
            clock.advance(Duration::from_millis(took));
            async { text("answer") }
        });
    }
    let mut spec = spec(&ADDRESSES[..2]);
    spec.balance = Balance::PeakEwma;
    let upstream = build(spec, &world).unwrap();
    for _ in 0..20 {
        fetch(&upstream).await;
    }
    let sent = || world.metrics.target("orders", ADDRESSES[0]).requests.sum();
    let before = sent();
    assert_eq!(before, 1, "once it was slow it is left alone");
    world.clock.advance(Duration::from_secs(120));
    for _ in 0..200 {
        fetch(&upstream).await;
    }
    assert!(sent() - before >= 2, "{} of 200", sent() - before);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_slowly_makes_no_target_look_slow() {
    let net = Arc::new(Net::default());
    let world = world(&net);
    for address in &ADDRESSES[..2] {
        let clock = world.clock.clone();
        net.serve(address, move |request| {
            let clock = clock.clone();
            async move {
                http_body_util::BodyExt::collect(request.into_body()).await.unwrap();
                clock.advance(Duration::from_millis(5));
                text("answer")
            }
        });
    }
    let mut spec = spec(&ADDRESSES[..2]);
    spec.balance = Balance::PeakEwma;
    let upstream = build(spec, &world).unwrap();
    for _ in 0..20 {
        fetch(&upstream).await;
    }
    let (feeder, body) = super::kit::fed();
    let sending = tokio::spawn(send(&upstream, super::kit::post(body)));
    settle().await;
    world.clock.advance(Duration::from_secs(4));
    drop(feeder);
    assert_eq!(super::kit::read(sending.await.unwrap().unwrap()).await, "answer");
    let sent = |at: usize| world.metrics.target("orders", ADDRESSES[at]).requests.sum();
    let before = [sent(0), sent(1)];
    for _ in 0..100 {
        fetch(&upstream).await;
    }
    let now = [sent(0) - before[0], sent(1) - before[1]];
    assert!(now.iter().all(|sent| *sent >= 20), "{now:?}");
}

#[tokio::test(start_paused = true)]
async fn who_hangs_is_left_alone_although_nobody_waits_to_the_end() {
    let net = Arc::new(Net::default());
    let world = world(&net);
    let is_stuck = Arc::new(AtomicBool::new(false));
    for (address, may_hang) in [(ADDRESSES[0], true), (ADDRESSES[1], false)] {
        let (clock, is_stuck) = (world.clock.clone(), Arc::clone(&is_stuck));
        net.serve(address, move |_| {
            let hangs = may_hang && is_stuck.load(Ordering::SeqCst);
            clock.advance(Duration::from_millis(5));
            async move {
                if hangs {
                    std::future::pending::<()>().await;
                }
                text("answer")
            }
        });
    }
    let mut spec = spec(&ADDRESSES[..2]);
    spec.balance = Balance::PeakEwma;
    let upstream = build(spec, &world).unwrap();
    for _ in 0..20 {
        fetch(&upstream).await;
    }
    is_stuck.store(true, Ordering::SeqCst);
    let mut waiting = None;
    for _ in 0..50 {
        let sending = tokio::spawn(send(&upstream, super::kit::get()));
        settle().await;
        if !sending.is_finished() {
            waiting = Some(sending);
            break;
        }
    }
    world.clock.advance(Duration::from_secs(3));
    waiting.expect("somebody waits").abort();
    settle().await;
    for _ in 0..100 {
        let sending = send(&upstream, super::kit::get());
        assert!(tokio::time::timeout(Duration::from_secs(1), sending).await.is_ok());
    }
}

fn sticky(spec: &mut UpstreamSpec) {
    spec.choice.sticky = Some(StickySpec {
        cookie: "yett_target".to_owned(),
        ttl: None,
        path: "/".to_owned(),
        secret: base::Secret::new("secret".to_owned()),
    });
}

#[tokio::test(start_paused = true)]
async fn a_cookie_brings_a_client_back_until_its_target_is_gone() {
    let net = Arc::new(Net::default());
    for address in &ADDRESSES[..2] {
        net.serve(address, move |_| async move { text(address) });
    }
    let mut spec = spec(&ADDRESSES[..2]);
    sticky(&mut spec);
    spec.health = checked();
    let upstream = build(spec.clone(), &world(&net)).unwrap();
    let ask = async |upstream: &Arc<dyn Upstream>, cookie: Option<&str>| {
        let mut exchange = exchange();
        if let Some(cookie) = cookie {
            let value = http::HeaderValue::try_from(cookie).unwrap();
            exchange.request.headers.append(http::header::COOKIE, value);
        }
        let picked = upstream.pick(&exchange).unwrap();
        let call = traffic::upstream::Call::default();
        let answer = picked.target.send(call, super::kit::get()).await.unwrap();
        let set = answer.headers.get("set-cookie").map(|set| set.to_str().unwrap().to_owned());
        (super::kit::read(answer).await, set)
    };
    let (first, set) = ask(&upstream, None).await;
    let cookie = set.unwrap();
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{cookie}");
    let pair = cookie.split(';').next().unwrap();
    for _ in 0..5 {
        assert_eq!(ask(&upstream, Some(pair)).await, (first.clone(), None));
    }
    let other_gateway = build(spec, &world(&net)).unwrap();
    assert_eq!(ask(&other_gateway, Some(pair)).await, (first.clone(), None));
    net.put(&first, super::kit::At::Refuses);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (second, set) = ask(&upstream, Some(pair)).await;
    assert_ne!(first, second);
    let new = set.expect("a new cookie");
    assert_eq!(ask(&upstream, new.split(';').next()).await, (second, None));
}

#[tokio::test(start_paused = true)]
async fn the_nearest_are_preferred_and_the_next_take_what_these_cannot_carry() {
    let net = Arc::new(Net::default());
    for address in ADDRESSES {
        net.serve(address, |_| async { text("fine") });
    }
    let mut spec = spec(&[]);
    spec.targets = vec![
        placed(ADDRESSES[0], "a", "eu", 0),
        placed(ADDRESSES[1], "b", "eu", 0),
        placed(ADDRESSES[2], "c", "us", 0),
        placed(ADDRESSES[3], "a", "eu", 1),
    ];
    spec.choice.here = Locality { zone: Some("a".into()), region: Some("eu".into()) };
    spec.health = checked();
    let world = world(&net);
    let upstream = build(spec, &world).unwrap();
    pass(&world, 2).await;
    assert_eq!(count(&upstream, 50), [(ADDRESSES[0].to_owned(), 50)].into());
    for gone in 0..3 {
        net.put(ADDRESSES[gone], super::kit::At::Refuses);
        pass(&world, 3).await;
        let counts = count(&upstream, 50);
        assert_eq!(counts, [(ADDRESSES[gone + 1].to_owned(), 50)].into(), "{gone}");
    }
    let status = &upstream.status()[3];
    assert_eq!((status.zone.as_deref(), status.priority, status.share), (Some("a"), 1, 1_000));
    assert!(world.metrics.encode().contains("distance=\"region\"} 50"));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_healthy_again_starts_slowly() {
    let net = Arc::new(Net::default());
    net.serve(ADDRESSES[0], |_| async { text("fine") });
    let mut spec = spec(&ADDRESSES[..2]);
    spec.health = checked();
    spec.choice.slow_start = Some(Duration::from_secs(40));
    let world = world(&net);
    let upstream = build(spec, &world).unwrap();
    assert_eq!(
        count(&upstream, 10)[ADDRESSES[0]],
        5,
        "whoever is new with all others is not behind"
    );
    pass(&world, 60).await;
    assert_eq!(count(&upstream, 10), [(ADDRESSES[0].to_owned(), 10)].into());
    net.serve(ADDRESSES[1], |_| async { text("fine") });
    pass(&world, 3).await;
    let early = count(&upstream, 1_000)[ADDRESSES[1]];
    assert!((60..120).contains(&early), "{early}: a tenth of its weight at first");
    pass(&world, 20).await;
    let half = count(&upstream, 1_000)[ADDRESSES[1]];
    assert!((280..400).contains(&half), "{half}: about half of its weight");
    pass(&world, 40).await;
    assert_eq!(count(&upstream, 1_000)[ADDRESSES[1]], 500);
}

#[tokio::test(start_paused = true)]
async fn with_too_few_healthy_targets_all_get_requests_and_it_is_told() {
    let net = Arc::new(Net::default());
    net.serve(ADDRESSES[0], |_| async { text("fine") });
    let mut spec = spec(&ADDRESSES);
    spec.health = checked();
    spec.choice.panic_threshold = Some(base::units::Share::percent(50));
    let world = world(&net);
    let upstream = build(spec, &world).unwrap();
    let is_panic = || world.metrics.encode().contains("yett_upstream_panic{upstream=\"orders\"} 1");
    assert!(!is_panic());
    pass(&world, 4).await;
    assert!(is_panic());
    assert_eq!(count(&upstream, 40).len(), 4);
    for address in &ADDRESSES[1..3] {
        net.serve(address, |_| async { text("fine") });
    }
    pass(&world, 4).await;
    assert!(!is_panic());
    assert_eq!(count(&upstream, 40).len(), 3);
    drop(send(&upstream, super::kit::get()));
}

#[tokio::test(start_paused = true)]
async fn only_the_latest_config_tells_whether_too_few_targets_are_healthy() {
    let net = Arc::new(Net::default());
    net.serve(ADDRESSES[0], |_| async { text("fine") });
    let mut old = UpstreamSpec { health: checked(), ..spec(&ADDRESSES) };
    let mut new = old.clone();
    // While its targets ramp up it looks again and again.
    old.choice.slow_start = Some(Duration::from_secs(100));
    old.choice.panic_threshold = Some(base::units::Share::percent(50));
    new.choice.panic_threshold = Some(base::units::Share::percent(10));
    let world = world(&net);
    let old = build(old, &world).unwrap();
    let new = build(new, &world).unwrap();
    let is_panic = || world.metrics.encode().contains("yett_upstream_panic{upstream=\"orders\"} 1");
    pass(&world, 20).await;
    assert!(!is_panic());
    assert_eq!((count(&old, 40).len(), count(&new, 40).len()), (4, 1), "each goes by its own");
    drop(new);
    pass(&world, 4).await;
    assert!(is_panic(), "the old one is the latest again");
}

#[tokio::test(start_paused = true)]
async fn names_are_asked_for_at_the_servers_that_are_named() {
    struct Elsewhere;
    impl Resolve for Elsewhere {
        fn resolve(&self, _: &str) -> traffic::BoxFuture<'_, Result<upstream::Resolved, String>> {
            Box::pin(async { Err("not here".to_owned()) })
        }
        fn through(&self, servers: &[std::net::SocketAddr]) -> Option<Arc<dyn Resolve>> {
            assert_eq!(servers, ["127.0.0.1:5353".parse().unwrap()]);
            Some(Arc::new(super::kit::Names::new([super::kit::found(&["192.0.2.1"])])))
        }
    }
    let mut world = world(&Arc::default());
    world.resolve = Arc::new(Elsewhere);
    let mut spec = spec(&["orders.test:80"]);
    spec.choice.name_servers = vec!["127.0.0.1:5353".parse().unwrap()];
    let upstream = build(spec, &world).unwrap();
    settle().await;
    assert_eq!(upstream.status()[0].resolved, Some("192.0.2.1:80".parse().unwrap()));
}
