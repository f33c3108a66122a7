//! Spans on their way to a collector, which may be slow, busy or gone.

use super::backend::{self, Backend, Seen};
use super::client::get;
use super::wait::{Gate, until_true};
use super::yett::{Launch, Yett, plain};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn config(backend: &Backend, collector: &str) -> String {
    let tracing = format!(
        "tracing: {{ service: shop, otlp: {{ endpoint: \"http://{collector}\", headers: {{ authorization: \"Bearer ${{env:OTLP}}\" }} }} }}\n"
    );
    plain(&backend.address.to_string(), &tracing)
}

fn start(backend: &Backend, collector: &str) -> Yett {
    Launch::new(&config(backend, collector)).env("OTLP", "s3cret").start()
}

fn asked(yett: &Yett, times: usize) {
    for _ in 0..times {
        assert_eq!(get(&yett.address("public"), "/").body, "hi");
    }
}

/// The bytes of each field with this number.
fn field(mut message: &[u8], wanted: u64) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message);
        let length = match tag & 7 {
            0 => {
                varint(&mut message);
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(&mut message)).unwrap(),
            other => panic!("wire type {other}"),
        };
        let value = message.split_off(..length).unwrap();
        if tag >> 3 == wanted {
            found.push(value.to_vec());
        }
    }
    found
}

fn varint(message: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *message.split_off_first().unwrap();
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

/// All messages at the end of a path of field numbers.
fn at(message: &[u8], path: &[u64]) -> Vec<Vec<u8>> {
    path.iter().fold(vec![message.to_vec()], |messages, number| {
        messages.iter().flat_map(|message| field(message, *number)).collect()
    })
}

/// Names of the spans of requests in what a collector got.
fn roots(seen: &[Seen]) -> usize {
    let spans = seen.iter().flat_map(|seen| at(&seen.body, &[1, 2, 2]));
    spans.filter(|span| field(span, 4).is_empty()).count()
}

#[test]
fn spans_reach_the_collector_in_batches() {
    let collector = Backend::says("");
    let target = Backend::says("hi");
    let mut yett = start(&target, &collector.address.to_string());
    asked(&yett, 5);
    until_true("all spans arrived", || roots(&collector.seen()) == 5);
    let seen = collector.seen();
    assert!(seen.len() < 5, "one request for each: {}", seen.len());
    assert_eq!(seen[0].line(), "POST /v1/traces HTTP/1.1");
    assert_eq!(seen[0].header("content-type").as_deref(), Some("application/x-protobuf"));
    assert_eq!(seen[0].header("authorization").as_deref(), Some("Bearer s3cret"));
    let resource = at(&seen[0].body, &[1, 1, 1]);
    assert_eq!(at(&resource[0], &[1]), [b"service.name"]);
    assert_eq!(at(&resource[0], &[2, 1]), [b"shop"]);
    let names = at(&seen[0].body, &[1, 2, 2, 5]);
    for name in ["admit", "route", "guard", "forward", "GET", "reply", "record"] {
        assert!(names.contains(&name.as_bytes().to_vec()), "{name}");
    }
    let traceparent = target.seen()[0].header("traceparent").unwrap();
    let traces: Vec<String> = at(&seen[0].body, &[1, 2, 2, 1])
        .iter()
        .map(|id| id.iter().map(|byte| format!("{byte:02x}")).collect())
        .collect();
    assert!(traces.iter().any(|id| traceparent.contains(id.as_str())), "{traceparent}");
    until_true("they are counted", || yett.count("yett_trace_spans_exported_total", &[]) >= 5 * 8);
    // What is still gathered goes out at the end.
    asked(&yett, 1);
    yett.signal("TERM");
    assert!(yett.ended().success());
    assert_eq!(roots(&collector.seen()), 6);
    assert!(!yett.log.text().contains("s3cret"), "{}", yett.log.text());
}

#[test]
fn a_busy_collector_gets_the_same_spans_again() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let collector = Backend::start(move |_, stream| {
        let status = match counted.fetch_add(1, Ordering::SeqCst) {
            0 => "503 Service Unavailable",
            _ => "200 OK",
        };
        backend::answer(stream, status, "", b"")
    });
    let target = Backend::says("hi");
    let yett = start(&target, &collector.address.to_string());
    asked(&yett, 1);
    yett.log.expect(&["the collector takes no spans, trying again: it answers 503"]);
    yett.log.expect(&["the collector takes spans again"]);
    let seen = collector.seen();
    assert_eq!(seen[0].body, seen[1].body);
    assert_eq!(yett.count("yett_trace_spans_dropped_total", &[]), 0);
}

#[test]
fn a_collector_that_refuses_or_hangs_costs_spans_and_nothing_else() {
    let target = Backend::says("hi");
    let refusing = Backend::start(|_, stream| backend::answer(stream, "400 Bad Request", "", b""));
    let yett = start(&target, &refusing.address.to_string());
    asked(&yett, 3);
    yett.log.expect(&["the collector takes no spans, they are lost: it answers 400"]);
    until_true("they are counted", || yett.count("yett_trace_spans_dropped_total", &[]) == 3 * 8);

    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let hanging = Backend::start(move |_, _| {
        held.pass();
        false
    });
    let mut yett = start(&target, &hanging.address.to_string());
    asked(&yett, 1);
    hanging.until_seen(1);
    asked(&yett, 20);
    yett.signal("TERM");
    assert!(yett.ended().success(), "it does not wait for the collector for long");
    yett.log.expect(&["the last spans are lost"]);
    gate.open();
}

#[test]
fn a_collector_that_is_gone_is_told_of_and_slows_nobody() {
    let target = Backend::says("hi");
    let yett = start(&target, "127.0.0.1:1");
    asked(&yett, 20);
    let said = yett.log.expect(&["the collector takes no spans, trying again"]);
    assert!(said.contains("127.0.0.1:1"), "{said}");
    assert_eq!(yett.count("yett_requests_total", &["status=\"2xx\""]), 20);
}

#[test]
fn spans_leave_as_the_egress_settings_of_the_last_config_say() {
    let (target, collector, proxy) = (Backend::says("hi"), Backend::says(""), Backend::says(""));
    let address = collector.address.to_string();
    let yett = start(&target, &address);
    asked(&yett, 1);
    until_true("they go straight", || roots(&collector.seen()) == 1);
    let through =
        format!("{}egress: {{ proxy: \"http://{}\" }}\n", config(&target, &address), proxy.address);
    let reload = yett.reload(through);
    assert_eq!(reload["adopted"], true, "{reload}");
    asked(&yett, 1);
    proxy.until_seen(1);
    assert_eq!(proxy.seen()[0].line(), format!("CONNECT {address} HTTP/1.1"));
    assert_eq!(roots(&collector.seen()), 1, "nothing leaves in another way");
}
