//! The spans of a request that is part of a trace: one for the request, one for each stage it came to, and
//! one for each attempt.

use base::random::fast;
use http::Method;
use std::borrow::Cow;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};
use telemetry::trace::{Fact, Kind, Span, Traced, Value};
use traffic::Stage;
use traffic::exchange::Exchange;
use traffic::observe::{Marks, Try};

/// Everything about a request that ended at `now`, which is `wall` for those who read it.
pub(crate) fn of(exchange: &Exchange, marks: &Marks, now: Instant, wall: SystemTime) -> Traced {
    let times = Times { now, wall_ns: nanos(wall.duration_since(SystemTime::UNIX_EPOCH).ok()) };
    let mut spans = vec![whole(exchange, &times)];
    let root = exchange.trace.span();
    let fault = exchange.record.fault;
    for (stage, began, ended) in marks.stages(exchange.arrived) {
        let id = fast() | 1;
        // What failed in it is the fault; a fault of an earlier stage runs through the later ones.
        let failed = fault.filter(|_| marks.failed == Some(stage));
        spans.push(Span {
            id,
            parent: root,
            kind: Kind::Internal,
            name: stage.name().into(),
            began_ns: times.at(began),
            ended_ns: times.at(ended),
            facts: Vec::new(),
            error: failed.map(|code| code.name().into()),
        });
        if stage == Stage::Forward {
            let tries = marks.tries.iter().enumerate();
            spans.extend(tries.map(|(at, tried)| attempt(exchange, tried, at, id, &times)));
        }
    }
    Traced { trace: exchange.trace.number(), spans }
}

struct Times {
    now: Instant,
    wall_ns: u64,
}

impl Times {
    /// Nanoseconds since 1970.
    fn at(&self, instant: Instant) -> u64 {
        self.wall_ns.saturating_sub(nanos(Some(self.now.saturating_duration_since(instant))))
    }
}

fn nanos(duration: Option<Duration>) -> u64 {
    duration.map_or(0, |duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

/// An IPv4 address is written as one, also where the socket is an IPv6 one.
fn address(address: IpAddr) -> Value {
    // Over a Unix socket there is none.
    let is_unix = address.is_unspecified();
    let text = if is_unix { "unix".to_owned() } else { address.to_canonical().to_string() };
    Value::Text(text.into())
}

/// The span of the request, by the semantic conventions for HTTP servers.
fn whole(exchange: &Exchange, times: &Times) -> Span {
    let (request, record) = (&exchange.request, &exchange.record);
    let route = exchange.matched.as_ref().map(|matched| &matched.route);
    let method = method(&request.method);
    let path = exchange.matched.as_ref().map_or_else(|| request.path(), |m| m.target.path());
    let mut facts: Vec<Fact> = vec![
        ("http.request.method", Value::Text(method.into())),
        ("url.path", Value::cut(path)),
        ("url.scheme", Value::Text(request.scheme.as_str().into())),
        ("http.response.status_code", Value::Number(record.status.into())),
        ("server.address", Value::cut(&request.host)),
        ("client.address", address(exchange.client())),
        ("network.peer.address", address(exchange.connection.peer.ip())),
        ("network.protocol.version", Value::Text(version(request.version).into())),
        ("yett.listener", Value::Shared(exchange.connection.listener.clone())),
        ("yett.revision", Value::Shared(exchange.revision.clone())),
        ("yett.request_id", Value::Text(exchange.id.to_string().into())),
    ];
    if let Some(agent) = request.header("user-agent") {
        facts.push(("user_agent.original", Value::cut(agent)));
    }
    if let Some(route) = route {
        facts.push(("http.route", Value::Shared(route.pattern.clone())));
        facts.push(("yett.api", Value::Shared(route.api.clone())));
        facts.push(("yett.route", Value::Shared(route.name.clone())));
    }
    if let Some(consumer) = &exchange.consumer {
        facts.push(("yett.consumer", Value::cut(&consumer.name)));
    }
    if let Some(upstream) = &record.upstream {
        facts.push(("yett.upstream", Value::Shared(upstream.clone())));
    }
    if !record.complete {
        facts.push(("yett.complete", Value::Text("false".into())));
    }
    let error = error(record.fault.map(|code| code.name()), record.status, 500);
    facts.extend(error.clone().map(|error| ("error.type", Value::Text(error))));
    let name = match route {
        Some(route) => format!("{method} {}", route.pattern).into(),
        None => method.into(),
    };
    Span {
        id: exchange.trace.span(),
        parent: exchange.trace.parent(),
        kind: Kind::Server,
        name,
        began_ns: times.at(exchange.arrived),
        ended_ns: times.wall_ns,
        facts,
        // What the client did wrong is no failure of ours.
        error: error.filter(|_| record.status >= 500),
    }
}

/// The span of an attempt, by the semantic conventions for HTTP clients.
fn attempt(exchange: &Exchange, tried: &Try, at: usize, parent: u64, times: &Times) -> Span {
    let method = method(&exchange.request.method);
    let mut facts: Vec<Fact> = vec![
        ("http.request.method", Value::Text(method.into())),
        ("yett.target", Value::Shared(tried.target.clone())),
        ("yett.attempt", Value::Number(number(at + 1))),
    ];
    let (host, port) = tried.target.rsplit_once(':').unwrap_or((&tried.target, ""));
    facts.push(("server.address", Value::cut(host.trim_matches(['[', ']']))));
    if let Ok(port) = port.parse::<u16>() {
        facts.push(("server.port", Value::Number(port.into())));
    }
    if at > 0 {
        facts.push(("http.request.resend_count", Value::Number(number(at))));
    }
    if let Some(status) = tried.status {
        facts.push(("http.response.status_code", Value::Number(status.into())));
    }
    if let Some(took) = tried.connected.took() {
        let us = usize::try_from(took.as_micros()).unwrap_or(usize::MAX);
        facts.push(("yett.connect_us", Value::Number(number(us))));
    }
    let fault = match (tried.ended, tried.fault) {
        (None, _) => Some("canceled"),
        (_, fault) => fault.map(|code| code.name()),
    };
    let error = error(fault, tried.status.unwrap_or(0), 400);
    facts.extend(error.clone().map(|error| ("error.type", Value::Text(error))));
    Span {
        id: tried.span,
        parent,
        kind: Kind::Client,
        name: method.into(),
        began_ns: times.at(tried.began),
        ended_ns: times.at(tried.ended.unwrap_or(times.now)),
        facts,
        error,
    }
}

/// The fault, or a status from which on it is an error.
fn error(fault: Option<&'static str>, status: u16, from: u16) -> Option<Cow<'static, str>> {
    match fault {
        Some(fault) => Some(fault.into()),
        None if status >= from => Some(status.to_string().into()),
        None => None,
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Only known methods are told apart, as the conventions want it: anybody can make up others.
fn method(method: &Method) -> &'static str {
    const KNOWN: [&str; 10] =
        ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE", "QUERY"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("_OTHER")
}

fn version(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_10 => "1.0",
        http::Version::HTTP_2 => "2",
        _ => "1.1",
    }
}
