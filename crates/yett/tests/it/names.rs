//! Targets that are names: a name server that the test plays, and real backends.

use super::backend::Backend;
use super::client::{Load, get, raw};
use super::wait::{until, until_true};
use super::yett::{PUBLIC, TOP, Yett};
use std::collections::{BTreeSet, HashMap};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Types of records (RFC 1035, 2782).
const A: u16 = 1;
const PTR: u16 = 12;
const SRV: u16 = 33;

/// A record's content.
#[derive(Clone, Debug)]
enum Record {
    Address(Ipv4Addr),
    Name(&'static str),
    Server { priority: u16, weight: u16, port: u16, host: &'static str },
}

type Zone = HashMap<(&'static str, u16), Vec<Record>>;

/// The longest answer over UDP (what clients say they take, RFC 9715).
const DATAGRAM_BYTES_MAX: usize = 1_232;
/// The response code of a server that is in trouble (RFC 1035, 4.1.1).
const SERVFAIL: u8 = 2;

/// A name server over UDP, and TCP for what is too long for that, whose records hold for a second.
struct NameServer {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    /// In place of any answer, unless it is zero.
    trouble: Arc<AtomicU8>,
    asked: Arc<AtomicUsize>,
}

impl NameServer {
    fn start() -> Self {
        let (socket, listener) = until("a port is free for both", || {
            let socket = UdpSocket::bind("127.0.0.1:0").ok()?;
            let listener = TcpListener::bind(socket.local_addr().ok()?).ok()?;
            Some((socket, listener))
        });
        let server = Self {
            address: socket.local_addr().unwrap(),
            zone: Arc::default(),
            trouble: Arc::default(),
            asked: Arc::default(),
        };
        let reply = server.reply();
        std::thread::spawn(move || {
            let mut question = [0; 1_024];
            while let Ok((length, from)) = socket.recv_from(&mut question) {
                let mut answer = reply(&question[..length]);
                if answer.len() > DATAGRAM_BYTES_MAX {
                    // Truncated: who wants to know more asks by TCP.
                    answer.truncate(length);
                    answer[2] |= 0x02;
                    answer[6..12].fill(0);
                }
                socket.send_to(&answer, from).unwrap();
            }
        });
        let reply = server.reply();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                converse(stream.unwrap(), &reply);
            }
        });
        server
    }

    fn reply(&self) -> impl Fn(&[u8]) -> Vec<u8> + Send + 'static {
        let (zone, trouble) = (Arc::clone(&self.zone), Arc::clone(&self.trouble));
        let asked = Arc::clone(&self.asked);
        move |question| {
            asked.fetch_add(1, Ordering::SeqCst);
            let nothing = Zone::new();
            match trouble.load(Ordering::SeqCst) {
                0 => answer(question, &zone.lock().unwrap()),
                code => {
                    let mut answer = answer(question, &nothing);
                    answer[3] = 0x80 | code;
                    answer
                }
            }
        }
    }

    fn put(&self, name: &'static str, kind: u16, records: Vec<Record>) {
        self.zone.lock().unwrap().insert((name, kind), records);
    }

    /// Waits until somebody has asked twice more: the first of it may have been answered before.
    fn until_asked(&self) {
        let before = self.asked.load(Ordering::SeqCst);
        until_true("somebody asks", || self.asked.load(Ordering::SeqCst) >= before + 4);
    }
}

/// Answers the questions of one connection (RFC 1035, 4.2.2), until nobody asks any more.
fn converse(mut stream: TcpStream, reply: &impl Fn(&[u8]) -> Vec<u8>) {
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut length = [0; 2];
    while stream.read_exact(&mut length).is_ok() {
        let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
        if stream.read_exact(&mut question).is_err() {
            return;
        }
        let answer = reply(&question);
        let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
        if stream.write_all(&[&length, &*answer].concat()).is_err() {
            return;
        }
    }
}

/// The answer to one question (RFC 1035, 4.1): what the zone has, or that there is no such name.
fn answer(question: &[u8], zone: &Zone) -> Vec<u8> {
    let mut labels = Vec::new();
    let mut at = 12;
    while question[at] != 0 {
        let end = at + 1 + usize::from(question[at]);
        labels.push(String::from_utf8_lossy(&question[at + 1..end]).to_lowercase());
        at = end;
    }
    let name = labels.join(".");
    let kind = u16::from_be_bytes([question[at + 1], question[at + 2]]);
    let known = zone.iter().find(|((own, of), _)| *own == name && *of == kind);
    let records = known.map(|(_, records)| records.clone()).unwrap_or_default();
    let is_known = zone.keys().any(|(own, _)| *own == name);
    let mut answer = question[..2].to_vec();
    answer.extend([0x81, if is_known { 0x80 } else { 0x83 }, 0, 1]);
    answer.extend(u16::try_from(records.len()).unwrap().to_be_bytes());
    answer.extend([0, 0, 0, 0]);
    answer.extend(&question[12..at + 5]);
    for record in records {
        answer.extend([0xC0, 12]);
        answer.extend(kind.to_be_bytes());
        answer.extend([0, 1, 0, 0, 0, 1]);
        let content = content(&record);
        answer.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
        answer.extend(content);
    }
    answer
}

fn content(record: &Record) -> Vec<u8> {
    match record {
        Record::Address(address) => address.octets().to_vec(),
        Record::Name(name) => name_as_bytes(name),
        Record::Server { priority, weight, port, host } => {
            let mut content = [priority, weight, port].map(|n| n.to_be_bytes()).concat();
            content.extend(name_as_bytes(host));
            content
        }
    }
}

fn name_as_bytes(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

const SERVICE: &str = "_orders._tcp.shop.test";
const HOST: &str = "node.shop.test";

fn server(backend: &Backend, priority: u16, weight: u16) -> Record {
    Record::Server { priority, weight, port: backend.address.port(), host: HOST }
}

#[test]
fn records_of_a_service_join_and_leave_without_a_lost_request() {
    let names = NameServer::start();
    let backends = [Backend::says("one"), Backend::says("two"), Backend::says("three")];
    let [one, two, three] = &backends;
    names.put(HOST, A, vec![Record::Address(Ipv4Addr::LOCALHOST)]);
    names.put(SERVICE, SRV, vec![server(one, 0, 1), server(two, 0, 1), server(three, 9, 1)]);
    let yett = Yett::start(&format!(
        "{TOP}{PUBLIC}access_log: {{ to: off }}
dns: {{ servers: [\"{}\"] }}
upstreams: {{ orders: {{ targets: [{{ srv: {SERVICE} }}] }} }}
apis: {{ all: {{ upstream: orders, public: a test }} }}
",
        names.address
    ));
    let said =
        || -> BTreeSet<String> { (0..8).map(|_| get(&yett.address("public"), "/").body).collect() };
    assert_eq!(said(), ["one", "two"].map(str::to_owned).into(), "the spare gets nothing");
    let load = Load::start(&yett.url("public"));
    names.put(SERVICE, SRV, vec![server(two, 0, 1), server(three, 0, 1)]);
    until_true("one leaves and three joins", || {
        said() == ["three", "two"].map(str::to_owned).into()
    });
    let status = yett.status();
    let targets = status["upstreams"][0]["targets"].as_array().unwrap().clone();
    assert_eq!(targets.len(), 2, "{status}");
    assert_eq!(targets[0]["address"], SERVICE);
    assert_eq!(targets[0]["share_permille"], 500);
    until_true("what was open to the first is closed", || one.opened() == one.closed());
    names.zone.lock().unwrap().clear();
    yett.log.expect(&["could not be resolved", SERVICE]);
    assert_eq!(said(), ["three", "two"].map(str::to_owned).into(), "what was known stays");
    assert_eq!(load.end().failures, Vec::<String>::new());
}

#[test]
fn a_name_that_comes_into_being_is_found() {
    let names = NameServer::start();
    let backend = Backend::says("here");
    let port = backend.address.port();
    let yett = Yett::start(&format!(
        "{TOP}{PUBLIC}dns: {{ servers: [\"{}\"] }}
upstreams: {{ orders: {{ targets: [\"{HOST}:{port}\"] }} }}
apis: {{ all: {{ upstream: orders, public: a test }} }}
",
        names.address
    ));
    let answer = get(&yett.address("public"), "/");
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.body.contains("unresolved"), "{}", answer.body);
    names.put(HOST, A, vec![Record::Address(Ipv4Addr::LOCALHOST)]);
    until_true("it is found", || get(&yett.address("public"), "/").body == "here");
}

#[test]
fn a_name_server_that_says_something_else_each_second_costs_no_request() {
    let names = NameServer::start();
    let one = Backend::says("one");
    let port = one.address.port();
    let two = Backend::says_at(SocketAddr::from(([127, 0, 0, 2], port)), "two");
    let addresses = |last: &[u8]| -> Vec<Record> {
        last.iter().map(|last| Record::Address(Ipv4Addr::new(127, 0, 0, *last))).collect()
    };
    names.put(HOST, A, addresses(&[1]));
    let yett = Yett::start(&format!(
        "{TOP}{PUBLIC}access_log: {{ to: off }}
dns: {{ servers: [\"{}\"] }}
upstreams: {{ orders: {{ targets: [\"{HOST}:{port}\"] }} }}
apis: {{ all: {{ upstream: orders, public: a test }} }}
",
        names.address
    ));
    assert_eq!(get(&yett.address("public"), "/").body, "one");
    let load = Load::start(&yett.url("public"));
    let shown = || yett.metrics().lines().filter(|l| l.starts_with("yett_target_up{")).count();
    for _ in 0..2 {
        names.put(HOST, A, addresses(&[1, 2]));
        until_true("both get requests", || shown() == 2);
        names.trouble.store(SERVFAIL, Ordering::SeqCst);
        names.until_asked();
        names.trouble.store(0, Ordering::SeqCst);
        names.put(HOST, A, addresses(&[2]));
        until_true("one is gone, and so are its numbers", || shown() == 1);
        names.put(HOST, A, Vec::new());
        names.until_asked();
        assert_eq!(get(&yett.address("public"), "/").body, "two", "what was known stays");
        names.zone.lock().unwrap().clear();
        names.until_asked();
        assert_eq!(get(&yett.address("public"), "/").body, "two", "what was known stays");
        names.put(HOST, A, addresses(&[1]));
        until_true("the other is back", || get(&yett.address("public"), "/").body == "one");
        until_true("the numbers of the one that left are gone", || shown() == 1);
    }
    assert_eq!(load.end().failures, Vec::<String>::new());
    yett.log.expect(&["the name could not be resolved", HOST]);
    yett.log.expect(&["the name is resolved again", HOST]);
    until_true("connections to the one that is gone are closed", || two.opened() == two.closed());
}

#[test]
fn of_a_thousand_addresses_as_many_are_used_as_may_be() {
    let names = NameServer::start();
    let backend = Backend::says("here");
    let port = backend.address.port();
    let address = |number: u16| {
        let [third, fourth] = number.to_be_bytes();
        Record::Address(Ipv4Addr::new(127, 0, third, fourth))
    };
    names.put(HOST, A, vec![address(1)]);
    let yett = Yett::start(&format!(
        "{TOP}{PUBLIC}dns: {{ servers: [\"{}\"] }}
upstreams: {{ orders: {{ targets: [\"{HOST}:{port}\"], outliers: false }} }}
apis: {{ all: {{ upstream: orders, public: a test }} }}
",
        names.address
    ));
    let targets = || yett.status()["upstreams"][0]["targets"].as_array().unwrap().clone();
    assert_eq!(get(&yett.address("public"), "/").body, "here");
    names.put(HOST, A, (1..=1_000).rev().map(address).collect());
    until_true("they are there", || targets().len() == 256);
    names.put(HOST, A, vec![address(1)]);
    until_true("they are gone", || targets().len() == 1);
    let shown = || yett.metrics().lines().filter(|l| l.starts_with("yett_target_up{")).count();
    until_true("so are their numbers", || shown() == 1);
    assert_eq!(get(&yett.address("public"), "/").body, "here");
}

/// The status and the code that a client at this address gets that says it is a bot.
fn told(yett: &Yett, client: &str) -> String {
    let request = format!(
        "GET / HTTP/1.1\r\nhost: a.test\r\nuser-agent: TestBot/1\r\nx-forwarded-for: {client}\r\n\
         connection: close\r\n\r\n"
    );
    let answer = raw(&yett.address("public"), request.as_bytes());
    let code = answer.split("\"code\":\"").nth(1).and_then(|rest| rest.split('"').next());
    format!("{} {}", answer.split(' ').nth(1).unwrap(), code.unwrap_or_default())
}

#[test]
fn a_bot_is_believed_once_its_name_leads_back_and_no_request_waits_for_that() {
    let names = NameServer::start();
    names.put("7.2.0.192.in-addr.arpa", PTR, vec![Record::Name("crawl-7.bots.test")]);
    names.put("crawl-7.bots.test", A, vec![Record::Address(Ipv4Addr::new(192, 0, 2, 7))]);
    // Whoever owns an address can call it what they like; this name is not there, and the other leads elsewhere.
    names.put("8.2.0.192.in-addr.arpa", PTR, vec![Record::Name("crawl-8.bots.test")]);
    names.put("9.2.0.192.in-addr.arpa", PTR, vec![Record::Name("crawl-7.bots.test")]);
    let yett = Yett::start(&format!(
        "{TOP}{PUBLIC}dns: {{ servers: [\"{}\"] }}
trusted_proxies: [127.0.0.0/8]
policies: [{{ agents: {{ bots: {{ testbot: {{ domains: bots.test }} }}, deny: [bot] }} }}]
apis: {{ all: {{ public: a test, routes: [{{ GET /: {{ policies: [{{ respond: {{ body: ok }} }}] }} }}] }} }}
",
        names.address
    ));
    for (client, expected) in [
        ("192.0.2.7", "200 "),
        ("192.0.2.8", "403 agent_refused"),
        ("192.0.2.9", "403 agent_refused"),
        // It has no name at all.
        ("192.0.2.10", "403 agent_refused"),
    ] {
        assert_eq!(told(&yett, client), "503 agent_unproven", "{client}");
        until_true(&format!("{client} is known"), || told(&yett, client) == expected);
    }
    names.trouble.store(SERVFAIL, Ordering::SeqCst);
    assert_eq!(told(&yett, "192.0.2.11"), "503 agent_unproven");
    yett.log.expect(&["could not be found out", "192.0.2.11"]);
    assert_eq!(told(&yett, "192.0.2.11"), "503 agent_unproven");
    assert_eq!(told(&yett, "192.0.2.7"), "200 ", "what was known stays");
}
