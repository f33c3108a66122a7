use super::kit::{Names, Net, endless, found, text, world, world_with_names};
use http::header::HOST;
use http::{Method, StatusCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use traffic::outbound::read;
use traffic::{Body, Destination, FaultCode, Headers, Remote, Request};
use upstream::{EgressSpec, World, outbound};

const AT: &str = "192.0.2.1:8080";

fn open(url: &str, world: &World) -> Arc<dyn Remote> {
    let out = outbound(EgressSpec::default(), Some(world));
    out.open(Destination::parse(url).unwrap()).unwrap()
}

fn ask(remote: &dyn Remote, method: Method) -> Request {
    let headers = Headers::new();
    let target = remote.target().clone();
    Request { method, target, headers, body: Body::empty(), protocol: None }
}

#[tokio::test]
async fn a_destination_is_asked_from_a_worker_and_from_anywhere_else() {
    let net = Arc::new(Net::default());
    net.serve(AT, |request| async move {
        text(&format!("{} at {}", request.uri(), request.headers()[HOST].to_str().unwrap()))
    });
    let names = Names::new([found(&["192.0.2.1"])]);
    let world = world_with_names(&net, names);
    let remote = open("http://keys.test:8080/keys?a=1", &world);
    for (worker, dials) in [(None, 1), (None, 1), (Some(0), 2), (Some(0), 2)] {
        let answer = remote.call(worker, ask(&*remote, Method::GET)).await.unwrap();
        assert_eq!(answer.status, StatusCode::OK);
        let said = read(answer.body, 1_000).await.unwrap();
        assert_eq!(said, "/keys?a=1 at keys.test:8080");
        assert_eq!(net.dials(), dials, "{worker:?}");
    }
}

#[tokio::test]
async fn two_ways_to_one_host_share_its_connections() {
    let net = Arc::new(Net::default());
    net.serve(AT, |_| async { text("hello") });
    let world = world(&net);
    for path in ["/keys", "/introspect"] {
        let remote = open(&format!("http://{AT}{path}"), &world);
        let answer = remote.call(None, ask(&*remote, Method::GET)).await.unwrap();
        read(answer.body, 1_000).await.unwrap();
        assert_eq!(
            net.dials(),
            if path == "/keys" { 1 } else { 2 },
            "kept while somebody holds it"
        );
    }
    let first = open(&format!("http://{AT}/keys"), &world);
    let second = open(&format!("http://{AT}/introspect"), &world);
    for remote in [first, second] {
        let answer = remote.call(None, ask(&*remote, Method::GET)).await.unwrap();
        read(answer.body, 1_000).await.unwrap();
    }
    assert_eq!(net.dials(), 3);
}

#[tokio::test]
async fn what_is_safe_to_repeat_is_repeated_once() {
    let net = Arc::new(Net::default());
    let mut accepted = net.listen(AT);
    let dropped = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&dropped);
    tokio::spawn(async move {
        while let Some(mut io) = accepted.recv().await {
            counted.fetch_add(1, Ordering::Relaxed);
            // Something is read, so that something was sent.
            tokio::io::AsyncReadExt::read_u8(&mut io).await.unwrap();
        }
    });
    let remote = open(&format!("http://{AT}/"), &world(&net));
    for (method, tries) in [(Method::GET, 2), (Method::POST, 1)] {
        dropped.store(0, Ordering::Relaxed);
        let fault = remote.call(None, ask(&*remote, method)).await.unwrap_err();
        assert_eq!(fault.code, FaultCode::UpstreamReset);
        assert_eq!(dropped.load(Ordering::Relaxed), tries);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_begin_or_end_is_given_up() {
    let net = Arc::new(Net::default());
    net.put(AT, super::kit::At::Hangs);
    let remote = open(&format!("http://{AT}/"), &world(&net));
    let fault = remote.call(None, ask(&*remote, Method::GET)).await.unwrap_err();
    assert_eq!(fault.code, FaultCode::ConnectTimeout);
    net.serve(AT, |_| async { endless("first") });
    let answer = remote.call(None, ask(&*remote, Method::GET)).await.unwrap();
    let fault = read(answer.body, 1_000).await.unwrap_err();
    assert_eq!(fault.code, FaultCode::UpstreamReset);
}

#[tokio::test]
async fn destinations_that_are_only_looked_at_send_nothing() {
    let net = Arc::new(Net::default());
    let out =
        outbound(EgressSpec { ca_pem: Some(b"nothing".to_vec()), ..EgressSpec::default() }, None);
    let remote = out.open(Destination::parse("http://keys.test/").unwrap()).unwrap();
    let fault = remote.call(None, ask(&*remote, Method::GET)).await.unwrap_err();
    assert_eq!((fault.code, net.dials()), (FaultCode::NoTarget, 0));
    let error = out.open(Destination::parse("https://keys.test/").unwrap()).unwrap_err();
    assert_eq!(error, "the CA holds no certificate; give it as PEM");
}
