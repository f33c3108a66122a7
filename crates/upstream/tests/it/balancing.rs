use super::kit::{Net, exchange, fetch, get, in_flight, send, settle, spec, target, text, world};
use std::sync::Arc;
use traffic::FaultCode;
use upstream::{Balance, build};

#[tokio::test]
async fn targets_are_picked_as_often_as_their_weights_say() {
    let world = world(&Arc::default());
    let mut spec = spec(&[]);
    spec.targets = vec![target("192.0.2.1:80", 3), target("192.0.2.2:80", 1)];
    let upstream = build(spec, &world).unwrap();
    let mut counts = [0; 2];
    for _ in 0..400 {
        counts[upstream.pick(&exchange()).unwrap().index] += 1;
    }
    assert_eq!(counts, [300, 100]);
}

#[tokio::test]
async fn a_target_that_was_tried_is_skipped_while_there_are_others() {
    let world = world(&Arc::default());
    for balance in [Balance::RoundRobin, Balance::LeastRequest] {
        let mut spec = spec(&["192.0.2.1:80", "192.0.2.2:80"]);
        spec.balance = balance.clone();
        let upstream = build(spec, &world).unwrap();
        let mut exchange = exchange();
        exchange.attempts.tried.push(1);
        assert!((0..20).all(|_| upstream.pick(&exchange).unwrap().index == 0));
        exchange.attempts.tried.push(0);
        assert!(
            upstream.pick(&exchange).is_ok(),
            "all were tried: any of them is better than none"
        );
    }
}

#[tokio::test]
async fn an_upstream_without_targets_fails_clearly() {
    let upstream = build(spec(&[]), &world(&Arc::default())).unwrap();
    let fault = upstream.pick(&exchange()).unwrap_err();
    assert_eq!(fault.code, FaultCode::NoTarget);
}

#[tokio::test]
async fn the_target_with_fewer_requests_under_way_is_preferred() {
    let world = world(&Arc::default());
    let mut spec = spec(&["192.0.2.1:80", "192.0.2.2:80"]);
    spec.balance = Balance::LeastRequest;
    let upstream = build(spec, &world).unwrap();
    let picked: Vec<_> = (0..10).map(|_| upstream.pick(&exchange()).unwrap()).collect();
    let under_way: Vec<_> = upstream.status().iter().map(|status| status.in_flight).collect();
    assert_eq!(under_way, [5, 5]);
    drop(picked);
    assert_eq!(in_flight(&upstream), 0);
}

#[tokio::test]
async fn the_turn_and_the_places_under_way_survive_a_new_config() {
    let world = world(&Arc::default());
    let targets = ["192.0.2.1:80", "192.0.2.2:80", "192.0.2.3:80"];
    let old = build(spec(&targets), &world).unwrap();
    let picked = old.pick(&exchange()).unwrap();
    let new = build(spec(&targets), &world).unwrap();
    drop(old);
    assert_eq!(new.pick(&exchange()).unwrap().index, 1);
    assert_eq!(in_flight(&new), 1);
    drop(picked);
    assert_eq!(in_flight(&new), 0);
    drop(new);
    settle().await;
    world.state.sweep();
    assert!(world.state.is_empty(), "nothing is kept of an upstream that is gone");
}

#[tokio::test]
async fn a_place_is_given_back_however_an_exchange_ends() {
    let net = Arc::new(Net::default());
    net.serve("192.0.2.1:80", |_| async { text("hello") });
    let upstream = build(spec(&["192.0.2.1:80"]), &world(&net)).unwrap();
    fetch(&upstream).await;
    assert_eq!(in_flight(&upstream), 0, "read to the end");
    let response = send(&upstream, get()).await.unwrap();
    assert_eq!(in_flight(&upstream), 1);
    drop(response);
    assert_eq!(in_flight(&upstream), 0, "answer dropped");
    let sending = send(&upstream, get());
    assert_eq!(in_flight(&upstream), 1);
    drop(sending);
    assert_eq!(in_flight(&upstream), 0, "request dropped");
}

#[tokio::test]
async fn what_is_done_is_counted() {
    let net = Arc::new(Net::default());
    net.serve("192.0.2.1:80", |_| async { text("hello") });
    let world = world(&net);
    let upstream = build(spec(&["192.0.2.1:80", "192.0.2.2:80"]), &world).unwrap();
    fetch(&upstream).await;
    assert!(send(&upstream, get()).await.is_err());
    fetch(&upstream).await;
    assert!(upstream.may_repeat(0, telemetry::RetryReason::Connect));
    let metrics = world.metrics.upstream("orders");
    let counts = [
        metrics.attempts.sum(),
        metrics.retries.sum(),
        metrics.connections_opened.sum(),
        metrics.connect_failed.sum(),
        metrics.pool_reused.sum(),
    ];
    assert_eq!(counts, [3, 1, 1, 1, 1]);
    let dead = world.metrics.target("orders", "192.0.2.2:80");
    assert_eq!((dead.requests.sum(), dead.failures.sum()), (1, 1));
}
