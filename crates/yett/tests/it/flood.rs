//! A flood of bodies that have to be held in memory, under a small ceiling: the gateway stays up and small, and serves
//! those of high priority.

use super::backend::Backend;
use super::client::{connect, curl};
use super::python::Python;
use super::wait::until_true;
use super::yett::{PUBLIC, TOP, Yett};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/authoriser.py");
/// Clients of the flood, and how long the body of each is, which is in memory twice: together more than the ceiling.
const CLIENTS: usize = 200;
const BYTES: usize = 1 << 20;
/// So many of them are refused at least, for there is no room for half of them.
const REFUSED: u64 = 80;
/// What the process may take, in mebibytes.
const CEILING_MB: u64 = 320;
/// What the memory may exceed the ceiling by, in kilobytes: what the allocator has not given back, and what was on its
/// way when it was reached.
const SLACK_KB: u64 = 64 << 10;

/// A gateway that asks an authoriser about bodies, and may take so much memory.
fn start(authoriser: &Python, backend: &Backend) -> Yett {
    Yett::start(&format!(
        "{TOP}{PUBLIC}overload: {{ memory: {CEILING_MB}MiB }}
access_log: {{ to: off }}
upstreams: {{ backend: {{ targets: [\"{}\"] }} }}
apis:
  checked: {{ path: /checked, upstream: backend, public: a test, policies: [{{ ext_authz: {{ http: 'http://127.0.0.1:{}', timeout: 20s, body: {{ max: 1MiB }} }} }}] }}
  plain: {{ path: /plain, upstream: backend, policies: [api_key] }}
plans: {{ gold: {{ limit: 1000/s, priority: high }} }}
consumers: {{ alice: {{ plan: gold, keys: ['sha256:5a55ebd42e49b9e370611a550c60e42ac453c8302b8f633de0d0aae35c6e6872'] }} }}
",
        backend.address,
        authoriser.port()
    ))
}

/// Begins a request and sends all of its body but the last byte, as far as it is taken.
fn begin(address: &str) -> TcpStream {
    let mut stream = connect(address);
    let head = format!("POST /checked HTTP/1.1\r\nhost: a\r\ncontent-length: {BYTES}\r\n\r\n");
    // Who is refused is not read any further.
    drop(stream.write_all(head.as_bytes()));
    drop(stream.write_all(&vec![b'x'; BYTES - 1]));
    stream
}

#[test]
fn a_flood_of_bodies_that_are_held_in_memory_stays_below_the_ceiling_and_others_are_served() {
    let authoriser = Python::start(PROGRAM, &["http"]);
    let backend = Backend::says("ok");
    let yett = start(&authoriser, &backend);
    let address = yett.address("public");
    let held = |yett: &Yett| yett.metric("yett_overload_memory_bytes", &["of=\"held\""]);
    until_true("memory is looked at", || {
        yett.metric("yett_overload_memory_bytes", &["of=\"taken\""]) > 0.0
    });
    let senders: Vec<_> = (0..8)
        .map(|_| {
            let address = address.clone();
            thread::spawn(move || (0..CLIENTS / 8).map(|_| begin(&address)).collect::<Vec<_>>())
        })
        .collect();
    until_true("as much is held as may be", || held(&yett) > f64::from(50 << 20));
    until_true("the rest is refused", || {
        yett.count("yett_faults_total", &["code=\"memory_short\""]) >= REFUSED
    });
    let plain = format!("http://{address}/plain");
    let key = "x-api-key: gold-is-what-this-caller-has";
    assert_eq!(curl(&["-H", key, &plain]).status, 200, "small requests are served");
    assert_eq!(yett.status()["state"], "serving", "and so are operators");
    let mut clients: Vec<TcpStream> =
        senders.into_iter().flat_map(|one| one.join().unwrap()).collect();
    let peak_kb = yett.memory_kb("VmHWM");
    assert!(peak_kb < (CEILING_MB << 10) + SLACK_KB, "{peak_kb} kB");
    let mut answer = [0; 12];
    let mut is_told = |stream: &mut TcpStream| {
        drop(stream.set_nonblocking(true));
        stream.read(&mut answer).is_ok_and(|read| answer[..read].starts_with(b"HTTP/1.1 503"))
    };
    until_true("who is refused is told so", || clients.iter_mut().any(&mut is_told));
    drop(clients);
    until_true("all of it comes back", || held(&yett) < 1.0);
    until_true("and bodies are held again", || {
        curl(&["-d", "small", &format!("http://{address}/checked")]).status != 503
    });
}
