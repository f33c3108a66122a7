//! One line, written into the buffer of a worker.

use super::escape;
use super::stamp::{Stamp, digits};
use super::{AccessLine, StageTimes};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// What a space becomes where the client controls the text, so that the text stays as it was sent.
const EXACT: &[u8] = b"\\x20";
/// What a space becomes in names from the config: `GET /x` is read as `GET-/x`.
const DASH: &[u8] = b"-";

/// Appends a JSON object and a line feed. The keys come in a fixed order; what is empty or does not
/// apply is left out.
pub(super) fn json(
    out: &mut Vec<u8>,
    stamp: &mut Stamp,
    line: &AccessLine<'_>,
    rate: Option<&str>,
) {
    out.extend_from_slice(b"{\"time\":\"");
    stamp.write(out, line.time);
    out.push(b'"');
    text_field(out, b",\"request_id\":", line.request_id);
    text_field(out, b",\"trace_id\":", line.trace_id);
    text_field(out, b",\"revision\":", line.revision);
    text_field(out, b",\"listener\":", line.listener);
    out.extend_from_slice(b",\"client\":\"");
    address(out, line.client);
    out.push(b'"');
    text_field(out, b",\"protocol\":", line.protocol);
    text_field(out, b",\"method\":", line.method);
    text_field(out, b",\"host\":", line.host);
    text_field(out, b",\"path\":", without_query(line.path));
    number_field(out, b",\"status\":", u64::from(line.status));
    if let Some(status) = line.grpc_status {
        number_field(out, b",\"grpc_status\":", u64::from(status));
    }
    text_field(out, b",\"fault\":", line.fault.unwrap_or_default());
    text_field(out, b",\"cause\":", line.cause.unwrap_or_default());
    text_field(out, b",\"api\":", line.api);
    text_field(out, b",\"route\":", line.route);
    text_field(out, b",\"consumer\":", line.consumer);
    text_field(out, b",\"application\":", line.application);
    text_field(out, b",\"credential\":", line.credential);
    text_field(out, b",\"upstream\":", line.upstream);
    text_field(out, b",\"target\":", line.target);
    if line.attempts > 0 {
        number_field(out, b",\"attempts\":", u64::from(line.attempts));
    }
    number_field(out, b",\"bytes_in\":", line.bytes_in);
    number_field(out, b",\"bytes_out\":", line.bytes_out);
    duration_field(out, b",\"duration_ms\":", line.duration);
    if !line.upstream_duration.is_zero() {
        duration_field(out, b",\"upstream_duration_ms\":", line.upstream_duration);
    }
    text_field(out, b",\"user_agent\":", line.user_agent);
    if !line.complete {
        out.extend_from_slice(b",\"complete\":false");
    }
    if let Some(stages) = &line.stages {
        stage_fields(out, stages);
    }
    if let Some(rate) = rate {
        out.extend_from_slice(b",\"sample\":");
        out.extend_from_slice(rate.as_bytes());
    }
    out.extend_from_slice(b"}\n");
}

/// Appends the main fields as words with spaces between, and a line feed. The first five are always
/// there; the others are left out where they are empty or do not apply.
pub(super) fn text(
    out: &mut Vec<u8>,
    stamp: &mut Stamp,
    line: &AccessLine<'_>,
    rate: Option<&str>,
) {
    stamp.write(out, line.time);
    out.push(b' ');
    number(out, u64::from(line.status));
    out.push(b' ');
    // A connection that is passed on as bytes has no method and no path, and a host only with TLS.
    let is_relayed = matches!(line.protocol, "tcp" | "tls");
    if is_relayed {
        escape::word(out, line.protocol, EXACT);
        out.push(b' ');
        escape::word(out, if line.host.is_empty() { line.listener } else { line.host }, EXACT);
    } else {
        escape::word(out, line.method, EXACT);
        out.push(b' ');
        escape::word(out, line.host, EXACT);
        escape::word(out, without_query(line.path), EXACT);
    }
    out.push(b' ');
    let tenths_ms = micros(line.duration) / 100;
    number(out, tenths_ms / 10);
    let [.., tenth] = digits(tenths_ms);
    out.extend_from_slice(&[b'.', tenth, b'm', b's']);
    if !line.api.is_empty() || !line.route.is_empty() {
        out.push(b' ');
        escape::word(out, line.api, DASH);
        out.push(b'/');
        escape::word(out, line.route, DASH);
    }
    word_field(out, b" consumer=", line.consumer);
    word_field(out, b" application=", line.application);
    word_field(out, b" target=", line.target);
    out.extend_from_slice(b" client=");
    address(out, line.client);
    if let Some(status) = line.grpc_status {
        number_field(out, b" grpc=", u64::from(status));
    }
    word_field(out, b" fault=", line.fault.unwrap_or_default());
    // A sentence: in quotes, where it cannot end either its field or the line.
    text_field(out, b" cause=", line.cause.unwrap_or_default());
    word_field(out, b" rid=", line.request_id);
    for (name, took) in line.stages.unwrap_or_default().named() {
        if let Some(took) = took {
            out.push(b' ');
            out.extend_from_slice(name.as_bytes());
            out.push(b'=');
            number(out, micros(took));
            out.extend_from_slice(b"us");
        }
    }
    word_field(out, b" sample=", rate.unwrap_or_default());
    if !line.complete {
        out.extend_from_slice(b" incomplete");
    }
    out.push(b'\n');
}

/// `,"timings":{"admit_us":12}`, without the stages that the request did not come to.
fn stage_fields(out: &mut Vec<u8>, stages: &StageTimes) {
    out.extend_from_slice(b",\"timings\":{");
    let mut before: &[u8] = b"\"";
    for (name, took) in stages.named() {
        if let Some(took) = took {
            out.extend_from_slice(before);
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"_us\":");
            number(out, micros(took));
            before = b",\"";
        }
    }
    out.push(b'}');
}

/// Whoever calls should not hand the query over; it must not be written if they do.
pub(super) fn without_query(path: &str) -> &str {
    path.split('?').next().unwrap_or_default()
}

fn text_field(out: &mut Vec<u8>, key: &[u8], text: &str) {
    if !text.is_empty() {
        out.extend_from_slice(key);
        escape::json(out, text);
    }
}

fn word_field(out: &mut Vec<u8>, key: &[u8], text: &str) {
    if !text.is_empty() {
        out.extend_from_slice(key);
        escape::word(out, text, EXACT);
    }
}

fn number_field(out: &mut Vec<u8>, key: &[u8], value: u64) {
    out.extend_from_slice(key);
    number(out, value);
}

fn duration_field(out: &mut Vec<u8>, key: &[u8], duration: Duration) {
    out.extend_from_slice(key);
    milliseconds(out, duration);
}

/// Milliseconds with three decimals.
pub(super) fn milliseconds(out: &mut Vec<u8>, duration: Duration) {
    let us = micros(duration);
    number(out, us / 1_000);
    let [a, b, c] = digits(us);
    out.extend_from_slice(&[b'.', a, b, c]);
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

pub(super) fn number(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// An IPv4 address is written as one, also where the socket is an IPv6 one (`::ffff:10.0.0.1`).
pub(super) fn address(out: &mut Vec<u8>, address: IpAddr) {
    match address.to_canonical() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => out.extend_from_slice(b"unix"),
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            number(out, u64::from(a));
            for octet in [b, c, d] {
                out.push(b'.');
                number(out, u64::from(octet));
            }
        }
        IpAddr::V6(address) => {
            let written = write!(out, "{address}");
            debug_assert!(written.is_ok(), "a vector takes everything");
        }
    }
}
