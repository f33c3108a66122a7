//! Connections that the kernel gave to one worker, and who serves them.

use base::Endpoint;
use proxy::Workers;
use proxy::socket::{self, Bound};
use std::sync::Arc;
use std::time::Duration;
use testkit::TestGateway;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const WORKERS: usize = 4;

fn gateway(listener: &str) -> TestGateway {
    TestGateway::new(&format!(
        "version: 1
listeners: {{ public: {{ bind: '127.0.0.1:8080', {listener} }} }}
apis: {{ test: {{ public: a test, policies: [{{ respond: {{ body: 'here' }} }}] }} }}
"
    ))
}

/// Clients that connect while one of the workers' sockets takes clients, and workers that serve them from then on.
async fn crowd(gateway: &TestGateway, clients: usize) -> (Workers, Vec<TcpStream>) {
    let alone = socket::bind(&Endpoint::Ip("127.0.0.1:0".parse().unwrap()), 0, 1).unwrap();
    let mut crowd = Vec::new();
    for _ in 0..clients {
        crowd.push(TcpStream::connect(alone.address.ip().unwrap()).await.unwrap());
    }
    let claim = alone.claim.share().unwrap();
    let bound = Bound::inherit(alone.sockets, None, claim, WORKERS).unwrap();
    let mut workers = Workers::start(&gateway.gateway, WORKERS).unwrap();
    workers.open(&Arc::from("public"), bound).unwrap();
    (workers, crowd)
}

/// What a client gets for a request that leaves its connection open.
async fn ask(io: &mut TcpStream) -> String {
    io.write_all(b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"here") {
        if io.read_buf(&mut answer).await.unwrap_or(0) == 0 {
            break;
        }
    }
    String::from_utf8(answer).unwrap()
}

fn each(workers: &Workers) -> Vec<u64> {
    (0..WORKERS).map(|worker| workers.loads().connections(worker)).collect()
}

fn handed_over(gateway: &TestGateway) -> u64 {
    gateway.metrics.listener("public").handed_over.sum()
}

#[tokio::test]
async fn connections_that_one_worker_accepted_are_served_by_all() {
    let gateway = gateway("");
    let (mut workers, mut clients) = crowd(&gateway, 64).await;
    for client in &mut clients {
        assert!(ask(client).await.starts_with("HTTP/1.1 200"));
    }
    let spread = each(&workers);
    assert_eq!(spread.iter().sum::<u64>(), 64, "{spread:?}");
    assert!(spread.iter().all(|count| (10..=28).contains(count)), "{spread:?}");
    assert!(handed_over(&gateway) >= 36, "{}", handed_over(&gateway));
    // Once more on the same connections, wherever they are by now.
    for client in &mut clients {
        assert!(ask(client).await.starts_with("HTTP/1.1 200"));
    }
    drop(clients);
    assert!(workers.drain(Duration::from_secs(60)).await);
    assert_eq!(each(&workers), [0; WORKERS]);
    workers.stop();
}

#[tokio::test]
async fn few_connections_stay_where_they_were_accepted() {
    let gateway = gateway("");
    let (mut workers, mut clients) = crowd(&gateway, 8).await;
    for client in &mut clients {
        assert!(ask(client).await.starts_with("HTTP/1.1 200"));
    }
    assert_eq!((each(&workers), handed_over(&gateway)), (vec![8, 0, 0, 0], 0));
    drop(clients);
    assert!(workers.drain(Duration::from_secs(60)).await);
    workers.stop();
}

#[tokio::test]
async fn the_cap_of_a_listener_counts_what_is_on_its_way() {
    let gateway = gateway("connections_max: 40");
    let (mut workers, mut clients) = crowd(&gateway, 64).await;
    let mut served = 0;
    for client in &mut clients {
        client.write_all(b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n").await.ok();
        let mut begin = [0; 12];
        served += usize::from(client.read_exact(&mut begin).await.is_ok());
    }
    assert_eq!(served, 40);
    drop(clients);
    assert!(workers.drain(Duration::from_secs(60)).await);
    workers.stop();
}

#[tokio::test]
async fn clients_who_wait_when_a_listener_closes_are_served_wherever_they_are() {
    let gateway = gateway("");
    let (mut workers, mut clients) = crowd(&gateway, 64).await;
    for client in &mut clients {
        client.write_all(b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n").await.unwrap();
    }
    // Some are not accepted by now, some are on their way to another worker.
    let drained = workers.drain(Duration::from_secs(60));
    let heard = async {
        for client in &mut clients {
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
        }
    };
    let (drained, ()) = tokio::join!(drained, heard);
    assert!(drained);
    assert_eq!(each(&workers), [0; WORKERS]);
    workers.stop();
}

#[tokio::test]
async fn whom_a_proxy_announces_is_known_on_the_worker_that_serves() {
    let gateway =
        gateway("proxy_protocol: { from: [127.0.0.0/8] }, connections_per_address_max: 40");
    let (mut workers, mut clients) = crowd(&gateway, 64).await;
    let mut served = 0;
    for client in &mut clients {
        client.write_all(b"PROXY TCP4 192.0.2.7 192.0.2.8 1000 80\r\n").await.ok();
        client.write_all(b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n").await.ok();
        let mut begin = [0; 12];
        served += usize::from(client.read_exact(&mut begin).await.is_ok());
    }
    assert_eq!(served, 40, "the address of the client counts on all workers together");
    drop(clients);
    assert!(workers.drain(Duration::from_secs(60)).await);
    workers.stop();
}
