//! Stage one: normalise and refuse. What leaves this stage has one host, one canonical path, and only
//! headers that a client may set.

use crate::gateway::Worker;
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Uri, Version};
use std::borrow::Cow;
use std::sync::Arc;
use traffic::exchange::{Attempts, Connection, Exchange, Notes, Record};
use traffic::head::{RequestHead, Scheme};
use traffic::id::{RequestId, Trace};
use traffic::snapshot::{ListenerPart, Snapshot};
use traffic::upstream::Timeouts;
use traffic::{Body, Fault, FaultCode, Stage, canonical};

/// Set by [`crate::connection`] on a request whose length can be read in two ways.
#[derive(Clone, Copy, Debug)]
pub struct AmbiguousLength;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Headers by which proxies tell backends who a client is and what it asked for. Only the gateway may
/// set them; from a client they are lies. Names that begin with any of [`IDENTITY_PREFIXES`] are
/// stripped as well.
pub const IDENTITY_HEADERS: &[&str] = &[
    "cf-connecting-ip",
    "client-ip",
    "forwarded",
    "forwarded-for",
    "remote-user",
    "true-client-ip",
    "via",
    "x-authenticated-user",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-consumer-custom-id",
    "x-consumer-groups",
    "x-consumer-id",
    "x-consumer-name",
    "x-consumer-username",
    "x-credential-identifier",
    "x-host",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-uri",
    "x-original-url",
    "x-real-ip",
    "x-remote-user",
    "x-request-id",
    "x-rewrite-url",
    "x-webauth-user",
];

/// Beginnings of names that only a gateway may set; `x-yett-` are our own.
pub const IDENTITY_PREFIXES: &[&str] = &["x-auth-request-", "x-forwarded-", "x-yett-"];

/// Makes an exchange of a request as it came.
#[must_use]
pub fn arrive(worker: &Worker, connection: &Arc<Connection>, head: Parts, body: Body) -> Exchange {
    let gateway = &worker.gateway;
    let trace = Trace::follow(head.headers.get(TRACEPARENT));
    let is_ambiguous = head.extensions.get::<AmbiguousLength>().is_some();
    let authority = authority(&head.uri, &head.headers);
    let target = head.uri.into_parts().path_and_query;
    let request = RequestHead {
        method: head.method,
        scheme: connection.scheme,
        host: Arc::from(""),
        authority: authority.unwrap_or_else(|| HeaderValue::from_static("")),
        target: target.unwrap_or_else(|| PathAndQuery::from_static("/")),
        version: head.version,
        headers: head.headers,
    };
    let mut record = Record::default();
    if is_ambiguous {
        record.fault = Some(FaultCode::BadFraming);
    }
    Exchange {
        id: RequestId::new(&gateway.clock),
        trace,
        arrived: gateway.clock.now(),
        worker: worker.index,
        revision: Arc::from(""),
        connection: Arc::clone(connection),
        request,
        body,
        matched: None,
        consumer: None,
        credential: None,
        timeouts: Timeouts::default(),
        notes: Notes::default(),
        attempts: Attempts::default(),
        record,
        is_preflight: false,
    }
}

/// The authority of an absolute target or of `:authority`, otherwise of `Host`.
fn authority(uri: &Uri, headers: &HeaderMap) -> Option<HeaderValue> {
    match uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => headers.get(HOST).cloned(),
    }
}

/// Refuses what must not pass and normalises the rest. Returns what the listener serves by.
///
/// # Errors
/// Why the request is refused.
pub fn check<'a>(
    snapshot: &'a Snapshot,
    exchange: &mut Exchange,
) -> Result<&'a Arc<ListenerPart>, Fault> {
    let listener = snapshot.listener(&exchange.connection.listener);
    let listener = listener.ok_or_else(|| fault(FaultCode::ListenerGone).closing())?;
    exchange.revision = Arc::clone(&listener.revision);
    let is_ambiguous = exchange.record.fault.take() == Some(FaultCode::BadFraming);
    if is_ambiguous || has_unknown_coding(&exchange.request.headers) {
        return Err(fault(FaultCode::BadFraming).closing());
    }
    if exchange.request.headers.len() > base::caps::HEADERS_MAX {
        return Err(fault(FaultCode::HeadTooLarge).closing());
    }
    if matches!(exchange.request.method, Method::CONNECT | Method::TRACE) {
        return Err(fault(FaultCode::MethodUnsupported));
    }
    check_host(exchange)?;
    check_target(exchange, listener)?;
    if let Some(port) = listener.redirect_https {
        return Err(to_https(exchange, port));
    }
    strip(&mut exchange.request.headers);
    exchange.is_preflight = is_preflight(&exchange.request);
    Ok(listener)
}

fn fault(code: FaultCode) -> Fault {
    Fault::new(Stage::Admit, code)
}

/// Whether a transfer coding other than `chunked` alone was applied. Only that one is undone on the way,
/// so the backend would get the others without being told (RFC 9112, 6.1).
fn has_unknown_coding(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_chunked = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"chunked");
    codings.next().is_some_and(|first| !is_chunked(first) || codings.next().is_some())
}

/// Exactly one host, and the same one in both places where it can stand (RFC 9112, 3.2; RFC 9113,
/// 8.3.1).
fn check_host(exchange: &mut Exchange) -> Result<(), Fault> {
    let request = &mut exchange.request;
    let bad = |detail: &'static str| fault(FaultCode::BadHost).detail(detail);
    let mut hosts = request.headers.get_all(HOST).iter();
    let written = hosts.next();
    if hosts.next().is_some() {
        return Err(bad("several Host headers").closing());
    }
    let is_needed = request.version == Version::HTTP_11 || request.authority.is_empty();
    if written.is_none() && is_needed {
        return Err(bad("no Host header").closing());
    }
    if written
        .is_some_and(|host| !host.as_bytes().eq_ignore_ascii_case(request.authority.as_bytes()))
    {
        return Err(bad("Host differs from the request target").closing());
    }
    let authority = request.authority.to_str().map_err(|_| bad("not a host name").closing())?;
    let host = canonical::host(authority).ok_or_else(|| bad("not a host name").closing())?;
    request.host = Arc::from(host);
    Ok(())
}

/// The canonical path, and the caps on the target.
fn check_target(exchange: &mut Exchange, listener: &ListenerPart) -> Result<(), Fault> {
    let request = &mut exchange.request;
    if request.target.as_str().len() > base::caps::TARGET_BYTES_MAX {
        return Err(fault(FaultCode::TargetTooLong));
    }
    let bad = |detail: &'static str| fault(FaultCode::BadPath).detail(detail);
    let path = canonical::path(request.path(), listener.path_rules);
    if let Cow::Owned(path) = path.map_err(|reason| bad(reason.detail()))? {
        let whole = match request.query() {
            Some(query) => format!("{path}?{query}"),
            None => path,
        };
        request.target = PathAndQuery::try_from(whole)
            .map_err(|_| bad("the target holds a character that has no place in it"))?;
    }
    Ok(())
}

fn to_https(exchange: &Exchange, port: u16) -> Fault {
    let RequestHead { host, target, .. } = &exchange.request;
    let port =
        if port == Scheme::Https.default_port() { String::new() } else { format!(":{port}") };
    let location = HeaderValue::try_from(format!("https://{host}{port}{target}"));
    match location {
        Ok(location) => fault(FaultCode::HttpsRequired).header(LOCATION, location),
        Err(_) => fault(FaultCode::BadPath),
    }
}

/// Removes what concerns only this connection (RFC 9110, 7.6.1), and what only the gateway may say.
/// Most requests have none of it, which one look along the names tells.
fn strip(headers: &mut HeaderMap) {
    headers.remove(HOST);
    let is_for_us = |name: &HeaderName| {
        is_hop_by_hop(name) || *name == EXPECT || *name == PROXY_AUTHORIZATION || is_identity(name)
    };
    if headers.keys().any(is_for_us) {
        strip_hop_by_hop(headers);
        headers.remove(EXPECT);
        headers.remove(PROXY_AUTHORIZATION);
        strip_identity(headers);
    }
}

/// Removes what only the gateway may say, also from trailers: many backends put them to the headers.
pub(crate) fn strip_identity(headers: &mut HeaderMap) {
    let lies: Vec<HeaderName> = headers.keys().filter(|name| is_identity(name)).cloned().collect();
    for name in lies {
        headers.remove(name);
    }
}

/// Backends that see headers as variables (CGI and its heirs) cannot tell `_` from `-`.
fn is_identity(name: &HeaderName) -> bool {
    let is_lie = |name: &str| {
        IDENTITY_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            || IDENTITY_HEADERS.binary_search(&name).is_ok()
    };
    let name = name.as_str();
    // Most names are told apart by their first letter.
    if !name.starts_with(['c', 'f', 'r', 't', 'v', 'x']) {
        return false;
    }
    if name.contains('_') { is_lie(&name.replace('_', "-")) } else { is_lie(name) }
}

/// Removes the headers of one connection, those named by `Connection` included. `TE: trailers` stays,
/// because gRPC needs it and we pass trailers on.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if !headers.keys().any(is_hop_by_hop) {
        return;
    }
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
            .filter(|name| *name != CONTENT_LENGTH && *name != HOST && *name != TE)
            .collect();
        for name in named {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    headers.remove(TRANSFER_ENCODING);
    headers.remove(KEEP_ALIVE);
    headers.remove(PROXY_CONNECTION);
    headers.remove(PROXY_AUTHENTICATE);
    headers.remove(UPGRADE);
    if headers.contains_key(TE) {
        let wants_trailers = headers.get_all(TE).iter().any(|value| {
            let value = value.to_str().unwrap_or_default();
            value.split(',').any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
        });
        headers.remove(TE);
        if wants_trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
    }
}

/// Whether a header concerns one connection only.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// A preflight of the Fetch standard: it asks about another request and never reaches a backend.
fn is_preflight(request: &RequestHead) -> bool {
    request.method == Method::OPTIONS
        && request.headers.contains_key(http::header::ORIGIN)
        && request.headers.contains_key(http::header::ACCESS_CONTROL_REQUEST_METHOD)
}

#[cfg(test)]
mod tests {
    use super::{IDENTITY_HEADERS, strip};
    use http::HeaderMap;

    #[test]
    fn identity_headers_can_be_searched_for() {
        assert!(IDENTITY_HEADERS.is_sorted());
        assert!(
            IDENTITY_HEADERS.iter().all(|name| name.starts_with(['c', 'f', 'r', 't', 'v', 'x']))
        );
    }

    #[test]
    fn hop_by_hop_and_identity_headers_are_stripped() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Private, content-length"),
            ("x-private", "1"),
            ("content-length", "3"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip, trailers"),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-yett-consumer", "admin"),
            ("x-consumer-username", "admin"),
            ("x-harmless", "2"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        strip(&mut headers);
        let mut left: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
            .collect();
        left.sort();
        assert_eq!(left, ["content-length=3", "te=trailers", "x-harmless=2"]);
    }
}
