//! Databases of places (MaxMind DB format, version 2.0), written for tests: small ones, as nobody else's may be bundled.

use serde_json::Value;
use std::net::IpAddr;

/// Bytes between the tree and the data.
const SEPARATOR: usize = 16;
/// Bytes of a node: two records of 32 bits.
const NODE_BYTES: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Record {
    Nothing,
    Node(usize),
    /// An offset among the data.
    Data(usize),
}

/// A database that says these things of these networks, such as `10.0.0.0/8`. A later network within an earlier one
/// must be smaller.
///
/// # Panics
/// When what is given is no network.
#[must_use]
pub fn database(kind: &str, networks: &[(&str, Value)]) -> Vec<u8> {
    let mut nodes = vec![[Record::Nothing; 2]];
    let mut data = Vec::new();
    for (network, value) in networks {
        let at = data.len();
        encode(value, &mut data);
        let (address, prefix) = network.split_once('/').expect("a network has a prefix");
        let prefix: u32 = prefix.parse().expect("a prefix is a number");
        let (bits, prefix) = match address.parse().expect("an address") {
            // The tree is of IPv6, in which IPv4 addresses begin with 96 zeros.
            IpAddr::V4(address) => (u128::from(address.to_bits()), prefix + 96),
            IpAddr::V6(address) => (address.to_bits(), prefix),
        };
        insert(&mut nodes, bits, prefix, Record::Data(at));
    }
    let mut file = Vec::new();
    let number = |record: &Record| match record {
        Record::Nothing => nodes.len(),
        Record::Node(at) => *at,
        Record::Data(at) => nodes.len() + SEPARATOR + at,
    };
    for record in nodes.iter().flatten() {
        let number = u32::try_from(number(record)).expect("a small database");
        file.extend_from_slice(&number.to_be_bytes());
    }
    assert_eq!(file.len(), nodes.len() * NODE_BYTES);
    file.extend_from_slice(&[0; SEPARATOR]);
    file.extend_from_slice(&data);
    file.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    metadata(kind, nodes.len(), &mut file);
    file
}

/// By which 127.0.0.1 is in Great Britain and of AS64496, and 127.0.0.2 is in France and of AS64497.
#[must_use]
pub fn of_this_machine() -> Vec<u8> {
    let says = |code: &str, asn: u32| serde_json::json!({ "country": { "iso_code": code }, "autonomous_system_number": asn });
    let networks = [("127.0.0.1/32", says("GB", 64_496)), ("127.0.0.2/32", says("FR", 64_497))];
    database("Test-Country-ASN", &networks)
}

fn insert(nodes: &mut Vec<[Record; 2]>, bits: u128, prefix: u32, record: Record) {
    let mut node = 0;
    for depth in 0..prefix {
        let side = usize::from(bits >> (127 - depth) & 1 == 1);
        if depth + 1 == prefix {
            nodes[node][side] = record;
            return;
        }
        node = match nodes[node][side] {
            Record::Node(next) => next,
            // What held for the whole holds for both halves.
            whole => {
                nodes.push([whole; 2]);
                let next = nodes.len() - 1;
                nodes[node][side] = Record::Node(next);
                next
            }
        };
    }
}

/// A control byte: the type, and how many bytes or things follow.
fn head(kind: u8, size: usize, out: &mut Vec<u8>) {
    let (short, more) = match size {
        0..29 => (u8::try_from(size).unwrap_or_default(), Vec::new()),
        29..285 => (29, vec![u8::try_from(size - 29).unwrap_or_default()]),
        _ => (30, u16::try_from(size - 285).expect("a short value").to_be_bytes().to_vec()),
    };
    if kind > 7 {
        out.extend([short, kind - 7]);
    } else {
        out.push(kind << 5 | short);
    }
    out.extend(more);
}

fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::String(text) => {
            head(2, text.len(), out);
            out.extend_from_slice(text.as_bytes());
        }
        Value::Number(number) => {
            let number = number.as_u64().and_then(|it| u32::try_from(it).ok()).expect("a number");
            unsigned(6, u64::from(number), out);
        }
        Value::Object(fields) => {
            head(7, fields.len(), out);
            for (name, value) in fields {
                encode(&Value::String(name.clone()), out);
                encode(value, out);
            }
        }
        Value::Array(items) => {
            head(11, items.len(), out);
            items.iter().for_each(|item| encode(item, out));
        }
        Value::Bool(flag) => head(14, usize::from(*flag), out),
        Value::Null => panic!("there is no null in this format"),
    }
}

/// A number without the zeros that it begins with.
fn unsigned(kind: u8, number: u64, out: &mut Vec<u8>) {
    let bytes = number.to_be_bytes();
    let from = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    head(kind, bytes.len() - from, out);
    out.extend_from_slice(&bytes[from..]);
}

fn metadata(kind: &str, nodes: usize, out: &mut Vec<u8>) {
    let text = |name: &str, out: &mut Vec<u8>| encode(&Value::String(name.to_owned()), out);
    head(7, 9, out);
    text("binary_format_major_version", out);
    unsigned(5, 2, out);
    text("binary_format_minor_version", out);
    unsigned(5, 0, out);
    text("build_epoch", out);
    unsigned(9, 1_767_225_600, out);
    text("database_type", out);
    text(kind, out);
    text("description", out);
    encode(&serde_json::json!({ "en": "a database of a test" }), out);
    text("ip_version", out);
    unsigned(5, 6, out);
    text("languages", out);
    encode(&serde_json::json!(["en"]), out);
    text("node_count", out);
    unsigned(6, nodes as u64, out);
    text("record_size", out);
    unsigned(5, 32, out);
}
