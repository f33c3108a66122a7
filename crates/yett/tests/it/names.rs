//! Targets that are names: a name server that the test plays, and real backends.

use super::backend::Backend;
use super::client::{Load, get};
use super::wait::until_true;
use super::yett::{PUBLIC, TOP, Yett};
use std::collections::{BTreeSet, HashMap};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};

/// Types of records (RFC 1035, 2782).
const A: u16 = 1;
const SRV: u16 = 33;

/// A record's content.
#[derive(Clone, Debug)]
enum Record {
    Address(Ipv4Addr),
    Server { priority: u16, weight: u16, port: u16, host: &'static str },
}

type Zone = HashMap<(&'static str, u16), Vec<Record>>;

/// A name server over UDP whose records hold for a second.
struct NameServer {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
}

impl NameServer {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let server = Self { address: socket.local_addr().unwrap(), zone: Arc::default() };
        let zone = Arc::clone(&server.zone);
        std::thread::spawn(move || {
            let mut question = [0; 1_024];
            while let Ok((length, from)) = socket.recv_from(&mut question) {
                let answer = answer(&question[..length], &zone.lock().unwrap());
                socket.send_to(&answer, from).unwrap();
            }
        });
        server
    }

    fn put(&self, name: &'static str, kind: u16, records: Vec<Record>) {
        self.zone.lock().unwrap().insert((name, kind), records);
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
        Record::Server { priority, weight, port, host } => {
            let mut content = [priority, weight, port].map(|n| n.to_be_bytes()).concat();
            for label in host.split('.') {
                content.push(u8::try_from(label.len()).unwrap());
                content.extend(label.as_bytes());
            }
            content.push(0);
            content
        }
    }
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
