//! A gateway without file descriptors: clients wait, nobody is blamed, and all is well again when there are some.

use super::backend::{self, Backend};
use super::client::{connect, get, read_head};
use super::wait::{now, until_true};
use super::yett::{Launch, PUBLIC, TOP, Yett};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// Connections beyond what the limit allows.
const CLIENTS: usize = 200;
const ACCEPT_FAILS: &str = "clients have to wait: Too many open files";
const DIAL_FAILS: &str = "no connection to a target can be opened: Too many open files";

fn config(kept: &Backend, fresh: &[Backend; 2]) -> String {
    format!(
        "{TOP}{PUBLIC}workers: 1
access_log: {{ to: off }}
upstreams:
  kept: {{ targets: [\"{}\"] }}
  fresh: {{ targets: [\"{}\", \"{}\"], outliers: {{ consecutive: 2 }}, retries: 0, health: {{ path: /health, every: 1s, timeout: 1s, unhealthy_after: 1 }} }}
apis:
  kept: {{ path: /kept, upstream: kept, public: a test }}
  fresh: {{ path: /fresh, upstream: fresh, public: a test }}
",
        kept.address, fresh[0].address, fresh[1].address
    )
}

/// Asks on a connection that stays open; the status.
fn status(stream: &mut TcpStream, path: &str) -> String {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).unwrap();
    let head = read_head(stream);
    let length = super::client::header(&head, "content-length").unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    let status = head.split(' ').nth(1).unwrap().to_owned();
    let body = String::from_utf8(body).unwrap();
    if body.contains("no_resources") { format!("{status} no_resources") } else { status }
}

fn told(yett: &Yett, what: &str) -> usize {
    yett.log.all().iter().filter(|line| line.contains(what)).count()
}

/// What is not traffic has descriptors of its own: for the admin listener and for files.
fn operators_are_served(yett: &Yett, config: &str) {
    assert_eq!(yett.status()["state"], "serving");
    assert!(yett.count("yett_connections_active", &["listener=\"public\""]) > 20);
    let adopted = yett.reload(format!("{config}# changed\n"));
    assert_eq!(adopted["adopted"], true, "{adopted}");
    // Connections that stay open do not use them up.
    let open: Vec<TcpStream> = (0..4).map(|_| connect(&yett.admin())).collect();
    assert_eq!(get(&yett.admin(), "/livez").status, 200);
    drop(open);
}

#[test]
fn without_file_descriptors_clients_wait_targets_are_not_blamed_and_it_ends_by_itself() {
    let kept = Backend::says("ok");
    // Each request needs a new connection.
    let fresh = [(); 2].map(|()| {
        Backend::start(|_, stream| {
            backend::answer(stream, "200 OK", "connection: close\r\n", b"ok");
            false
        })
    });
    let yett = Launch::new(&config(&kept, &fresh)).limits("ulimit -n 100").start();
    yett.log.expect(&["few files may be open", "limit=100"]);
    let mut client = connect(&yett.address("public"));
    assert_eq!(status(&mut client, "/kept"), "200");
    assert_eq!(status(&mut client, "/fresh"), "200");
    let others: Vec<TcpStream> = (0..CLIENTS).map(|_| connect(&yett.address("public"))).collect();
    yett.log.expect(&[ACCEPT_FAILS]);
    let (began, worked) = (now(), yett.cpu());
    // Health checks come in between, and have nothing to say.
    until_true("two seconds have gone by", || {
        assert_eq!(status(&mut client, "/kept"), "200", "its connection is there");
        std::thread::park_timeout(Duration::from_millis(50));
        now() - began > Duration::from_secs(2)
    });
    let busy = (yett.cpu() - worked).as_secs_f64() / (now() - began).as_secs_f64();
    assert!(busy < 0.2, "{busy} of a processor");
    for _ in 0..10 {
        assert_eq!(status(&mut client, "/fresh"), "503 no_resources");
    }
    assert_eq!((told(&yett, ACCEPT_FAILS), told(&yett, DIAL_FAILS)), (1, 1));
    operators_are_served(&yett, &config(&kept, &fresh));
    drop(others);
    yett.log.expect(&["clients are accepted again"]);
    for _ in 0..4 {
        assert_eq!(status(&mut client, "/fresh"), "200", "none was put aside");
    }
    until_true("that is told", || {
        assert_eq!(get(&yett.address("public"), "/fresh").status, 200);
        told(&yett, "connections to targets can be opened again") == 1
    });
    let log = yett.log.text();
    assert!(!log.contains("gets no requests") && !log.contains("unhealthy"), "{log}");
    assert_eq!(yett.count("yett_faults_total", &["code=\"no_resources\""]), 10);
    assert_eq!(yett.count("yett_target_ejections_total", &[]), 0);
    assert!(yett.metrics().contains("yett_target_ejections_total"), "{}", yett.metrics());
}
