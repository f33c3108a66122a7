use super::kit::{
    At, Names, Net, exchange, fetch, found, get, send, send_within, settle, spec, text, world,
    world_with_names,
};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use traffic::FaultCode;
use traffic::upstream::Timeouts;
use upstream::{Server, TargetHost, TargetSpec, build};

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
    assert_eq!(status.resolved, Some("192.0.2.1:80".parse().unwrap()));
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
async fn each_address_of_a_name_is_a_target_of_its_own() {
    let names = Names::new([found(&["192.0.2.1", "192.0.2.2"])]);
    let upstream = build(spec(&[NAMED]), &world_with_names(&net(), names)).unwrap();
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(fetch(&upstream).await);
    }
    assert_eq!(answers, ["192.0.2.1:80", "192.0.2.2:80", "192.0.2.1:80", "192.0.2.2:80"]);
    let status = upstream.status();
    assert!(status.iter().all(|status| &*status.address == NAMED && status.share == 500));
    assert_eq!(status[1].resolved, Some("192.0.2.2:80".parse().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn the_health_of_an_address_is_its_own() {
    let names = Names::new([found(&["192.0.2.1", "192.0.2.2"])]);
    let net = net();
    net.put("192.0.2.1:80", At::Refuses);
    let mut spec = spec(&[NAMED]);
    spec.health = Some(upstream::HealthSpec {
        question: upstream::HealthQuestion::Request {
            method: http::Method::GET,
            path: "/".to_owned(),
        },
        every: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        healthy_after: 1,
        unhealthy_after: 1,
    });
    let upstream = build(spec, &world_with_names(&net, names)).unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let healthy: Vec<_> = upstream.status().iter().map(|status| status.healthy).collect();
    assert_eq!(healthy, [false, true]);
    for _ in 0..4 {
        assert_eq!(fetch(&upstream).await, "192.0.2.2:80");
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_that_is_gone_finishes_and_one_that_is_new_joins() {
    let net = Arc::new(Net::default());
    let mut old = net.listen("192.0.2.1:80");
    net.serve("192.0.2.2:80", |_| async { text("new") });
    let names = Names::new([found(&["192.0.2.1"]), found(&["192.0.2.2"])]);
    let world = world_with_names(&net, names);
    let upstream = build(spec(&[NAMED]), &world).unwrap();
    let under_way = tokio::spawn(send(&upstream, get()));
    let mut connection = old.recv().await.unwrap();
    let mut request = [0; 4];
    connection.read_exact(&mut request).await.unwrap();
    tokio::time::sleep(Duration::from_secs(11)).await;
    for _ in 0..3 {
        assert_eq!(fetch(&upstream).await, "new");
    }
    connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nold").await.unwrap();
    let answer = under_way.await.unwrap().unwrap();
    let series = "target=\"orders.test:80/192.0.2.1\"";
    assert!(world.metrics.encode().contains(series), "it is still used");
    assert_eq!(super::kit::read(answer).await, "old", "what was under way went on");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!world.metrics.encode().contains(series), "nothing is kept of it");
    settle().await;
    let closed = connection.read(&mut [0; 4_096]).await;
    while connection.read(&mut [0; 4_096]).await.unwrap_or(0) > 0 {}
    assert!(closed.is_ok(), "nobody keeps a connection to an address that is gone");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_flaps_keeps_those_who_stay() {
    let net = Arc::new(Net::default());
    for address in ["192.0.2.1:80", "192.0.2.2:80"] {
        net.serve(address, move |_| async move { text(address) });
    }
    let both = || found(&["192.0.2.1", "192.0.2.2"]);
    let mut answers = Vec::new();
    for _ in 0..10 {
        answers.extend([both(), found(&["192.0.2.1"])]);
    }
    let upstream = build(spec(&[NAMED]), &world_with_names(&net, Names::new(answers))).unwrap();
    for _ in 0..20 {
        for _ in 0..4 {
            fetch(&upstream).await;
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    let dialed = net.dialed.lock().unwrap().clone();
    let to = |last: &str| dialed.iter().filter(|to| to.to_string() == last).count();
    assert_eq!(to("192.0.2.1:80"), 1, "the one that stays keeps its connection");
    assert_eq!(to("192.0.2.2:80"), 10, "the other joins each time");
}

#[tokio::test(start_paused = true)]
async fn of_addresses_that_are_gone_nothing_is_kept() {
    let net = Arc::new(Net::default());
    let ip = |round: usize| format!("192.0.2.{round}");
    for round in 1..=200 {
        net.serve(&format!("{}:80", ip(round)), |_| async { text("hello") });
    }
    let answers = (1..=200).map(|round| found(&[&ip(round), "192.0.2.250"]));
    let world = world_with_names(&net, Names::new(answers));
    net.serve("192.0.2.250:80", |_| async { text("hello") });
    let upstream = build(spec(&[NAMED]), &world).unwrap();
    let mut sizes = Vec::new();
    for round in 1..=200 {
        fetch(&upstream).await;
        fetch(&upstream).await;
        if round % 50 == 0 {
            let exposed = world.metrics.encode();
            let series = exposed.lines().filter(|line| line.starts_with("yett_target_up{")).count();
            sizes.push((world.state.len(), series));
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    let (cells, series) = sizes[0];
    assert!(series <= 3, "{sizes:?}");
    assert!(sizes.iter().all(|size| *size == (cells, series)), "{sizes:?}");
    let stays = world.metrics.target("orders", &format!("{NAMED}/192.0.2.250"));
    assert!(stays.requests.sum() >= 150, "{}", stays.requests.sum());
}

fn asked_at(path: &str) -> Option<upstream::HealthSpec> {
    Some(upstream::HealthSpec {
        question: upstream::HealthQuestion::Request {
            method: http::Method::GET,
            path: path.to_owned(),
        },
        every: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        healthy_after: 1,
        unhealthy_after: 1,
    })
}

#[tokio::test(start_paused = true)]
async fn an_old_config_that_is_still_used_changes_nothing_of_the_new_one() {
    let net = Arc::new(Net::default());
    let paths = Arc::new(Mutex::new(BTreeSet::new()));
    for address in ["192.0.2.1:80", "192.0.2.2:80"] {
        let paths = Arc::clone(&paths);
        net.serve(address, move |request| {
            paths.lock().unwrap().insert((address, request.uri().path().to_owned()));
            async move { text(address) }
        });
    }
    let mut spec = spec(&[NAMED]);
    // Which of the two lines up last is up to the runtime; so it is tried often.
    for round in 0..20 {
        paths.lock().unwrap().clear();
        let names = Names::new([found(&["192.0.2.1"]), found(&["192.0.2.1", "192.0.2.2"])]);
        let world = world_with_names(&net, names);
        spec.health = asked_at("/old");
        spec.trouble.outliers = Some(upstream::OutlierSpec::gentle());
        let old = build(spec.clone(), &world).unwrap();
        fetch(&old).await;
        spec.health = asked_at("/new");
        spec.trouble.outliers = None;
        let new = build(spec.clone(), &world).unwrap();
        paths.lock().unwrap().clear();
        tokio::time::sleep(Duration::from_secs(15)).await;
        let asked = paths.lock().unwrap().clone();
        let expected = ["192.0.2.1:80", "192.0.2.2:80"].map(|at| (at, "/new".to_owned()));
        assert_eq!(asked, expected.into(), "round {round}");
        assert_eq!(old.status().len(), 2, "who still uses it finds the new address, too");
        drop((old, new));
    }
}

#[tokio::test(start_paused = true)]
async fn a_config_that_came_to_nothing_leaves_the_one_before_it_in_charge() {
    let net = net();
    let names = Names::new([found(&["192.0.2.1"]), found(&["192.0.2.2"])]);
    let world = world_with_names(&net, names);
    let mut spec = spec(&[NAMED]);
    spec.health = asked_at("/");
    let used = build(spec.clone(), &world).unwrap();
    fetch(&used).await;
    drop(build(spec, &world).unwrap());
    net.put("192.0.2.2:80", At::Refuses);
    tokio::time::sleep(Duration::from_secs(15)).await;
    let status = &used.status()[0];
    assert_eq!((status.healthy, status.resolved), (false, Some("192.0.2.2:80".parse().unwrap())));
}

fn server(host: &str, port: u16, priority: u16, weight: u16) -> Server {
    Server { host: host.to_owned(), port, priority, weight }
}

fn service() -> TargetSpec {
    let name = "_orders._tcp.test.example".to_owned();
    TargetSpec::new(name.as_str().into(), TargetHost::Service(name), 0)
}

#[tokio::test(start_paused = true)]
async fn records_of_a_service_are_targets_with_port_weight_and_priority() {
    let net = Arc::new(Net::default());
    let mut names = Names::new([found(&["192.0.2.1"])]);
    names.servers = vec![
        server("a.test.example", 81, 1, 30),
        server("b.test.example", 82, 1, 10),
        server("c.test.example", 83, 2, 0),
    ];
    let mut spec = spec(&[]);
    spec.targets = vec![service()];
    let upstream = build(spec, &world_with_names(&net, names)).unwrap();
    assert!(upstream.pick(&exchange()).is_ok(), "the first wait for the answer");
    settle().await;
    let mut counts = [0; 3];
    for _ in 0..400 {
        counts[upstream.pick(&exchange()).unwrap().index] += 1;
    }
    assert_eq!(counts, [300, 100, 0]);
    let status: Vec<_> = upstream.status();
    let rows: Vec<_> = status.iter().map(|s| (s.resolved.unwrap().port(), s.share)).collect();
    assert_eq!(rows, [(81, 750), (82, 250), (83, 0)]);
    assert_eq!(&*status[0].address, "_orders._tcp.test.example");
}

#[tokio::test(start_paused = true)]
async fn with_tls_servers_of_another_domain_are_passed_over() {
    let mut names = Names::new([found(&["192.0.2.1"])]);
    names.servers = vec![server("a.test.example", 81, 1, 1), server("evil.test", 82, 0, 1)];
    let mut spec = spec(&[]);
    spec.targets = vec![service()];
    spec.tls = Some(upstream::TlsSpec::default());
    let upstream = build(spec.clone(), &world_with_names(&Arc::default(), names)).unwrap();
    settle().await;
    let ports = |upstream: &Arc<dyn traffic::upstream::Upstream>| -> Vec<u16> {
        upstream.status().iter().filter_map(|s| Some(s.resolved?.port())).collect()
    };
    assert_eq!(ports(&upstream), [81]);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_cannot_be_resolved_says_so() {
    let mut spec = spec(&[]);
    spec.targets = vec![service()];
    let upstream = build(spec, &world(&Arc::default())).unwrap();
    settle().await;
    let fault = upstream.pick(&exchange()).unwrap_err();
    assert_eq!(fault.code, FaultCode::Unresolved);
    let cause = fault.cause.unwrap().to_string();
    assert_eq!(cause, "_orders._tcp.test.example: nobody offers it");
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
    assert!(new.status()[0].resolved.is_some());
    assert_eq!(asked(), 1);
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(asked(), 2, "one task asks for both");
    drop(new);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(asked(), 2);
}
