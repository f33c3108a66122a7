use super::kit::{At, Net, exchange, fetch, get, send, spec, text, world};
use http::{Method, StatusCode};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use traffic::FaultCode;
use traffic::upstream::Upstream;
use upstream::{
    HealthQuestion, HealthSpec, OutlierSpec, Protocol, TroubleSpec, UpstreamSpec, build,
};

const ONE: &str = "192.0.2.1:80";
const TWO: &str = "192.0.2.2:8080";

fn checked(targets: &[&str]) -> UpstreamSpec {
    let health = HealthSpec {
        question: HealthQuestion::Request { method: Method::GET, path: "/health?deep".to_owned() },
        every: Duration::from_secs(10),
        timeout: Duration::from_secs(2),
        healthy_after: 2,
        unhealthy_after: 3,
    };
    UpstreamSpec { health: Some(health), ..spec(targets) }
}

/// A server that says how it is, as long as it is `well`.
struct Patient {
    well: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    heard: Arc<Mutex<String>>,
}

fn patient(net: &Net, at: &str, http2: bool) -> Patient {
    let patient = Patient {
        well: Arc::new(AtomicBool::new(true)),
        asked: Arc::default(),
        heard: Arc::default(),
    };
    let (well, asked) = (Arc::clone(&patient.well), Arc::clone(&patient.asked));
    let heard = Arc::clone(&patient.heard);
    let answer = move |request: http::Request<hyper::body::Incoming>| {
        if request.uri().path() == "/health" {
            asked.fetch_add(1, Ordering::SeqCst);
            let header = |name| request.headers().get(name).map(|v| v.to_str().unwrap());
            let host =
                header("host").unwrap_or_else(|| request.uri().authority().unwrap().as_str());
            let agent = header("user-agent").unwrap();
            *heard.lock().unwrap() =
                format!("{} {} {host} {agent}", request.method(), request.uri().query().unwrap());
        }
        let mut answer = text("hello");
        if !well.load(Ordering::SeqCst) {
            *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        std::future::ready(answer)
    };
    if http2 {
        net.serve_http2(at, answer);
    } else {
        net.serve(at, answer);
    }
    patient
}

fn health(upstream: &Arc<dyn Upstream>) -> Vec<bool> {
    upstream.status().iter().map(|status| status.healthy).collect()
}

async fn pass(secs: u64) {
    tokio::time::sleep(Duration::from_secs(secs)).await;
}

#[tokio::test(start_paused = true)]
async fn an_unwell_target_is_skipped_until_it_recovers() {
    let net = Arc::new(Net::default());
    let (one, two) = (patient(&net, ONE, false), patient(&net, TWO, false));
    let world = world(&net);
    let upstream = build(checked(&[ONE, TWO]), &world).unwrap();
    pass(60).await;
    assert_eq!(health(&upstream), [true, true]);
    assert_eq!(*two.heard.lock().unwrap(), "GET deep 192.0.2.2:8080 yett-health");
    assert_eq!(*one.heard.lock().unwrap(), "GET deep 192.0.2.1 yett-health");
    one.well.store(false, Ordering::SeqCst);
    pass(20).await;
    assert_eq!(health(&upstream), [true, true], "two bad answers are not enough");
    pass(15).await;
    assert_eq!(health(&upstream), [false, true]);
    assert_eq!(upstream.status()[0].reason.as_deref(), Some("answered 503"));
    assert!(!world.metrics.target("orders", ONE).is_up());
    assert!((0..10).all(|_| upstream.pick(&exchange()).unwrap().index == 1));
    one.well.store(true, Ordering::SeqCst);
    pass(25).await;
    assert_eq!(health(&upstream), [true, true]);
    assert!(world.metrics.target("orders", ONE).is_up());
}

#[tokio::test(start_paused = true)]
async fn an_upstream_without_a_healthy_target_fails_clearly() {
    let net = Arc::new(Net::default());
    net.put(ONE, At::Hangs);
    let upstream = build(checked(&[ONE, TWO]), &world(&net)).unwrap();
    assert_eq!(health(&upstream), [true, true], "new targets are trusted");
    pass(60).await;
    assert_eq!(health(&upstream), [false, false]);
    let fault = upstream.pick(&exchange()).unwrap_err();
    assert_eq!(fault.code, FaultCode::NoTarget);
    assert!(fault.cause.is_some());
    let reason = upstream.status()[0].reason.clone().unwrap();
    assert!(reason.contains("within 2s"), "{reason}");
    let reason = upstream.status()[1].reason.clone().unwrap();
    assert!(reason.contains("connecting to 192.0.2.2:8080 failed"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn the_verdict_survives_new_settings_and_one_task_asks() {
    let net = Arc::new(Net::default());
    let one = patient(&net, ONE, false);
    one.well.store(false, Ordering::SeqCst);
    let world = world(&net);
    let old = build(checked(&[ONE]), &world).unwrap();
    pass(60).await;
    let same = build(checked(&[ONE]), &world).unwrap();
    assert_eq!(health(&same), [false]);
    let mut slower = checked(&[ONE]);
    slower.health.as_mut().unwrap().every = Duration::from_secs(100);
    let new = build(slower, &world).unwrap();
    drop((old, same));
    assert_eq!(health(&new), [false]);
    let before = one.asked.load(Ordering::SeqCst);
    pass(1_000).await;
    let asked = one.asked.load(Ordering::SeqCst) - before;
    assert!((9..=11).contains(&asked), "{asked}");
    let unchecked = build(spec(&[ONE]), &world).unwrap();
    assert_eq!(health(&unchecked), [true], "who is not checked is healthy");
    let before = one.asked.load(Ordering::SeqCst);
    pass(1_000).await;
    assert_eq!(one.asked.load(Ordering::SeqCst), before);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_once_the_upstream_is_gone() {
    let net = Arc::new(Net::default());
    let one = patient(&net, ONE, false);
    let upstream = build(checked(&[ONE]), &world(&net)).unwrap();
    pass(60).await;
    let before = one.asked.load(Ordering::SeqCst);
    assert!(before >= 5, "{before}");
    drop(upstream);
    pass(60).await;
    assert_eq!(one.asked.load(Ordering::SeqCst), before);
}

#[tokio::test(start_paused = true)]
async fn targets_are_asked_in_the_protocol_of_the_requests() {
    let net = Arc::new(Net::default());
    let two = patient(&net, TWO, true);
    let spec = UpstreamSpec { protocol: Protocol::Http2, ..checked(&[TWO]) };
    let upstream = build(spec, &world(&net)).unwrap();
    pass(60).await;
    assert_eq!(*two.heard.lock().unwrap(), "GET deep 192.0.2.2:8080 yett-health");
    assert_eq!(health(&upstream), [true]);
    assert_eq!(upstream.status()[0].reason.as_deref(), Some("answered 200"));
    fetch(&upstream).await;
}

#[tokio::test(start_paused = true)]
async fn a_target_that_takes_connections_is_well_where_nothing_is_asked() {
    let net = Arc::new(Net::default());
    let mut accepted = net.listen(ONE);
    let mut silent = checked(&[ONE, TWO]);
    silent.health.as_mut().unwrap().question = HealthQuestion::Connect;
    let world = world(&net);
    let upstream = build(silent.clone(), &world).unwrap();
    net.put(TWO, At::Hangs);
    pass(60).await;
    assert_eq!(health(&upstream), [true, false]);
    let status = upstream.status();
    assert_eq!(status[0].reason.as_deref(), Some("a connection could be opened"));
    assert!(status[1].reason.as_ref().unwrap().contains("within 2s"), "{status:?}");
    let mut said = Vec::new();
    accepted.recv().await.unwrap().read_to_end(&mut said).await.unwrap();
    assert!(said.is_empty(), "it hears nothing, and is left again");
    net.put(ONE, At::Refuses);
    let _accepted = net.listen(TWO);
    pass(60).await;
    assert_eq!(health(&upstream), [false, true]);
    assert!(upstream.status()[0].reason.as_ref().unwrap().contains("refused"));
    // What is not HTTP does not pass where HTTP is asked for: the next config asks anew.
    let upstream = build(checked(&[TWO]), &world).unwrap();
    pass(60).await;
    assert_eq!(health(&upstream), [false]);
    let upstream = build(silent, &world).unwrap();
    pass(60).await;
    assert_eq!(health(&upstream), [false, true]);
}

#[tokio::test]
async fn a_path_that_is_none_is_refused_when_built() {
    let mut spec = checked(&[ONE]);
    let path = "http://elsewhere.test/".to_owned();
    spec.health.as_mut().unwrap().question = HealthQuestion::Request { method: Method::GET, path };
    let error = build(spec, &world(&Arc::default())).unwrap_err();
    assert!(error.contains("is no path for a health check"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_the_gateway_lacks_speaks_against_no_target() {
    let net = Arc::new(Net::default());
    let one = patient(&net, ONE, false);
    let world = world(&net);
    let outliers = Some(OutlierSpec { consecutive: 1, ..OutlierSpec::gentle() });
    let trouble = TroubleSpec { outliers, ..TroubleSpec::default() };
    let upstream = build(UpstreamSpec { trouble, ..checked(&[ONE, TWO]) }, &world).unwrap();
    patient(&net, TWO, false);
    pass(60).await;
    let asked = one.asked.load(Ordering::SeqCst);
    net.put(ONE, At::Wants);
    net.put(TWO, At::Wants);
    pass(300).await;
    assert_eq!(one.asked.load(Ordering::SeqCst), asked);
    for _ in 0..20 {
        let failed = send(&upstream, get()).await.unwrap_err();
        assert_eq!(failed.fault.code, FaultCode::NoResources);
        assert!(failed.unsent.is_some(), "it may go elsewhere");
    }
    for status in upstream.status() {
        assert!(status.healthy && !status.ejected, "{status:?}");
    }
    patient(&net, ONE, false);
    patient(&net, TWO, false);
    assert_eq!(fetch(&upstream).await, "hello");
}
