//! Stage one: normalise and refuse. What leaves this stage has one host, one canonical path, and only
//! headers that a client may set.

use crate::gateway::Worker;
use crate::{client_certificate, forwarded};
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, HeaderValue, LOCATION,
    PROXY_AUTHORIZATION, TE,
};
use http::uri::PathAndQuery;
use http::{Method, Version};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::sync::Arc;
use traffic::exchange::{Connection, Exchange};
use traffic::grpc::Rpc;
use traffic::head::{RequestHead, Scheme};
use traffic::snapshot::{ListenerPart, Reserved, Snapshot};
use traffic::upgrade::Upgrade;
use traffic::{Body, Fault, FaultCode, Headers, Interim, Stage, canonical};

/// A request as a connection brings it.
#[derive(Debug)]
pub struct Arrival {
    /// Its head: the authority as the target or else `Host` gives it, empty if there is none.
    pub head: RequestHead,
    /// Its body.
    pub body: Body,
    /// The way of informational answers to the client.
    pub interim: Interim,
    /// The other protocol that the client wants to go on in.
    pub upgrade: Option<Box<Upgrade>>,
    /// Why the engine will not have it passed on, if so. The head holds what could be read.
    pub refused: Option<Box<Fault>>,
}

/// Headers by which proxies tell backends who a client is and what it asked for. Only the gateway may
/// set them; from a client they are lies. Names that begin with any of [`IDENTITY_PREFIXES`] are
/// stripped as well.
pub const IDENTITY_HEADERS: &[&str] = &[
    "cf-connecting-ip",
    "client-cert",
    "client-cert-chain",
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
pub fn arrive(
    worker: &Worker,
    connection: &Arc<Connection>,
    head: RequestHead,
    body: Body,
    interim: Interim,
    upgrade: Option<Box<Upgrade>>,
) -> Exchange {
    let gateway = &worker.gateway;
    // What switches has no status to tell.
    let rpc = if upgrade.is_some() { None } else { Rpc::of(&head) };
    let exchange = Exchange::new(&gateway.clock, worker.index, Arc::clone(connection), head);
    Exchange { body, interim, upgrade, rpc, ..exchange }
}

/// Refuses what must not pass and normalises the rest. Returns what the listener serves by.
///
/// # Errors
/// Why the request is refused.
pub fn check<'a>(
    snapshot: &'a Snapshot,
    exchange: &mut Exchange,
    refused: Option<Box<Fault>>,
) -> Result<&'a Arc<ListenerPart>, Fault> {
    let listener = snapshot.listener(&exchange.connection.listener);
    let listener = listener.ok_or_else(|| fault(FaultCode::ListenerGone).closing())?;
    exchange.revision = Arc::clone(&listener.revision);
    let mut believed = Ok(());
    if listener.clients.trusted.hold(exchange.connection.peer_ip()) {
        believed = forwarded::believe(exchange, &listener.clients);
    }
    if let Some(fault) = refused {
        return Err(*fault);
    }
    believed?;
    if exchange.request.headers.len() > base::caps::HEADERS_MAX {
        return Err(fault(FaultCode::HeadTooLarge).closing());
    }
    match exchange.request.method {
        // What follows may be meant for whoever is at the other end of the tunnel (RFC 9931, 7).
        Method::CONNECT => return Err(fault(FaultCode::MethodUnsupported).closing()),
        Method::TRACE => return Err(fault(FaultCode::MethodUnsupported)),
        _ => {}
    }
    if exchange.connection.lacks_tls {
        return Err(fault(FaultCode::TlsExpected).closing());
    }
    check_host(exchange)?;
    let has_shown = exchange.connection.tls.as_ref().is_some_and(|tls| tls.client.is_some());
    if has_shown || listener.tls.as_ref().is_some_and(|tls| tls.asks_clients()) {
        client_certificate::check(exchange, listener.tls.as_deref())?;
    }
    check_target(exchange, listener)?;
    if let Some(port) = listener.redirect_https
        && exchange.request.scheme == Scheme::Http
    {
        return Err(to_https(exchange, port));
    }
    if listener.clients.tells_forwarded {
        forwarded::tell(exchange);
    }
    strip(&mut exchange.request.headers);
    if let Some(reserved) = &snapshot.reserved {
        withhold(exchange, reserved);
    }
    if exchange.body.is_empty() || exchange.request.version == Version::HTTP_10 {
        // Without a body there is nothing to wait for, and HTTP/1.0 cannot mean it (RFC 9110, 10.1.1).
        exchange.request.headers.remove(EXPECT);
    }
    exchange.is_preflight = is_preflight(&exchange.request);
    Ok(listener)
}

/// Takes headers out of a request that policies need for themselves.
pub(crate) fn withhold(exchange: &mut Exchange, reserved: &Arc<Reserved>) {
    exchange.request.headers.retain(|name, _| {
        // In the other spelling a credential is not looked for.
        let is_hidden = || name.as_str().contains('_') && is_one_of(name, &reserved.credentials);
        !is_one_of(name, &reserved.spoken_for) && !is_hidden()
    });
    exchange.reserved = Some(Arc::clone(reserved));
}

fn fault(code: FaultCode) -> Fault {
    Fault::new(Stage::Admit, code)
}

/// Exactly one host, and the same one in both places where it can stand (RFC 9112, 3.2; RFC 9113,
/// 8.3.1).
fn check_host(exchange: &mut Exchange) -> Result<(), Fault> {
    let request = &mut exchange.request;
    let bad = |detail: &'static str| fault(FaultCode::BadHost).detail(detail);
    let mut hosts = request.headers.all(HOST);
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
fn strip(headers: &mut Headers) {
    strip_hop_by_hop(headers);
    headers.retain(|name, _| *name != HOST && *name != PROXY_AUTHORIZATION && !is_identity(name));
}

/// Backends that see headers as variables (CGI and its heirs) cannot tell `_` from `-`.
pub(crate) fn is_identity(name: &HeaderName) -> bool {
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

/// Whether a header is one of these, in either spelling.
pub(crate) fn is_one_of(name: &HeaderName, names: &[Box<str>]) -> bool {
    let name = name.as_str();
    let name =
        if name.contains('_') { Cow::Owned(name.replace('_', "-")) } else { Cow::Borrowed(name) };
    names.iter().any(|own| **own == *name)
}

/// Removes the headers of one connection, those named by `Connection` included. `TE: trailers` stays,
/// because gRPC needs it and we pass trailers on.
pub fn strip_hop_by_hop(headers: &mut Headers) {
    if !headers.names().any(is_hop_by_hop) {
        return;
    }
    // The usual options name no header.
    let named: SmallVec<[HeaderName; 2]> = headers
        .all(CONNECTION)
        .flat_map(members)
        .filter(|name| !name.eq_ignore_ascii_case(b"keep-alive"))
        .filter(|name| !name.eq_ignore_ascii_case(b"close"))
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .filter(|name| *name != CONTENT_LENGTH && *name != HOST && *name != TE)
        .collect();
    if !named.is_empty() {
        headers.retain(|name, _| !named.contains(name));
    }
    let wants_trailers = takes_trailers(headers);
    headers.retain(|name, _| !is_hop_by_hop(name));
    if wants_trailers {
        headers.append(TE, HeaderValue::from_static("trailers"));
    }
}

/// Whether whoever sent these headers takes trailers (RFC 9110, 10.1.4).
pub(crate) fn takes_trailers(headers: &Headers) -> bool {
    headers.all(TE).flat_map(members).any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
}

/// The members of a list, whatever bytes they are made of.
fn members(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
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
        && request.headers.contains(http::header::ORIGIN)
        && request.headers.contains(http::header::ACCESS_CONTROL_REQUEST_METHOD)
}

#[cfg(test)]
mod tests {
    use super::{IDENTITY_HEADERS, strip};
    use http::HeaderName;
    use traffic::Headers;

    #[test]
    fn identity_headers_can_be_searched_for() {
        assert!(IDENTITY_HEADERS.is_sorted());
        assert!(
            IDENTITY_HEADERS.iter().all(|name| name.starts_with(['c', 'f', 'r', 't', 'v', 'x']))
        );
    }

    #[test]
    fn hop_by_hop_and_identity_headers_are_stripped() {
        let mut headers = Headers::new();
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
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
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
