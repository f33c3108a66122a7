use super::kit::{
    At, Names, Net, exchange, fetch, found, get, send, send_within, settle, spec, text, world,
    world_with_names,
};
use std::sync::Arc;
use std::time::Duration;
use traffic::FaultCode;
use traffic::upstream::Timeouts;
use upstream::build;

const NAMED: &str = "orders.test:80";

fn net() -> Arc<Net> {
    let net = Arc::new(Net::default());
    for address in ["192.0.2.1:80", "192.0.2.2:80"] {
        net.serve(address, move |_| async move {
            let mut answer = text(address);
            answer.headers_mut().insert("connection", http::HeaderValue::from_static("close"));
            answer
        });
    }
    net
}

#[tokio::test(start_paused = true)]
async fn the_first_requests_wait_until_the_name_is_resolved() {
    let mut names = Names::new([found(&["192.0.2.1"])]);
    names.delay = Duration::from_secs(2);
    let upstream = build(spec(&[NAMED]), &world_with_names(&net(), names)).unwrap();
    assert_eq!(fetch(&upstream).await, "192.0.2.1:80");
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_name_ends_with_the_connect_timeout() {
    let mut names = Names::new([found(&["192.0.2.1"])]);
    names.delay = Duration::from_secs(20);
    let upstream = build(spec(&[NAMED]), &world_with_names(&net(), names)).unwrap();
    let limits = Timeouts { connect: Some(Duration::from_secs(5)), ..Timeouts::default() };
    let failed = send_within(&upstream, get(), limits).await.unwrap_err();
    assert_eq!(failed.fault.code, FaultCode::ConnectTimeout);
    assert!(failed.unsent.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_name_that_never_resolved_is_told_from_a_target_that_is_unwell() {
    let names = Names::new([Err("no such name".to_owned()), found(&["192.0.2.1"])]);
    let upstream = build(spec(&[NAMED]), &world_with_names(&net(), names)).unwrap();
    let failed = send(&upstream, get()).await.unwrap_err();
    assert_eq!(failed.fault.code, FaultCode::Unresolved, "it was being asked for when picked");
    let fault = upstream.pick(&exchange()).unwrap_err();
    assert_eq!(fault.code, FaultCode::Unresolved);
    assert_eq!(fault.cause.unwrap().to_string(), "orders.test:80: no such name");
    let status = &upstream.status()[0];
    assert_eq!((status.healthy, status.reason.as_deref()), (false, Some("no such name")));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(fetch(&upstream).await, "192.0.2.1:80", "it was asked for again");
}

#[tokio::test(start_paused = true)]
async fn the_last_known_addresses_stay_when_resolving_fails() {
    let names = Names::new([found(&["192.0.2.1"]), Err("the server failed".to_owned())]);
    let upstream = build(spec(&[NAMED]), &world_with_names(&net(), names)).unwrap();
    fetch(&upstream).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(fetch(&upstream).await, "192.0.2.1:80");
    let status = &upstream.status()[0];
    assert!(status.healthy);
    assert_eq!(status.resolved, ["192.0.2.1:80".parse().unwrap()]);
}

#[tokio::test(start_paused = true)]
async fn requests_follow_a_name_to_its_new_address() {
    let net = Arc::new(Net::default());
    for address in ["192.0.2.1:80", "192.0.2.2:80"] {
        net.serve(address, move |_| async move { text(address) });
    }
    let names = Names::new([found(&["192.0.2.1"]), found(&["192.0.2.2"])]);
    let upstream = build(spec(&[NAMED]), &world_with_names(&net, names)).unwrap();
    assert_eq!(fetch(&upstream).await, "192.0.2.1:80");
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(fetch(&upstream).await, "192.0.2.2:80", "the open connection is to the old one");
}

#[tokio::test(start_paused = true)]
async fn connections_rotate_over_the_addresses_and_pass_over_dead_ones() {
    let net = net();
    let names = || Names::new([found(&["192.0.2.1", "192.0.2.2"])]);
    let upstream = build(spec(&[NAMED]), &world_with_names(&net, names())).unwrap();
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(fetch(&upstream).await);
        settle().await;
    }
    assert_eq!(answers, ["192.0.2.1:80", "192.0.2.2:80", "192.0.2.1:80", "192.0.2.2:80"]);
    net.put("192.0.2.1:80", At::Refuses);
    for at in [At::Refuses, At::Hangs] {
        net.put("192.0.2.1:80", at);
        for _ in 0..4 {
            let limits = Timeouts { connect: Some(Duration::from_secs(5)), ..Timeouts::default() };
            let response = send_within(&upstream, get(), limits).await.unwrap();
            assert_eq!(super::kit::read(response).await, "192.0.2.2:80");
            settle().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn addresses_survive_a_new_config_and_nothing_runs_for_nobody() {
    let net = net();
    let names = Arc::new(Names::new([found(&["192.0.2.1"])]));
    let mut world = world(&net);
    world.resolve = Arc::clone(&names) as Arc<dyn upstream::Resolve>;
    let asked = || names.asked.load(std::sync::atomic::Ordering::Relaxed);
    let old = build(spec(&[NAMED]), &world).unwrap();
    fetch(&old).await;
    let new = build(spec(&[NAMED]), &world).unwrap();
    drop(old);
    assert_eq!(new.status()[0].resolved.len(), 1);
    assert_eq!(asked(), 1);
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(asked(), 2, "one task asks for both");
    drop(new);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(asked(), 2);
}
