use ::http1::Refusal;
use base::caps::HEAD_BYTES_MAX;
use h2::ext::Protocol;
use http::header::{CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Version};
use std::sync::Arc;
use traffic::head::{RequestHead, Scheme};
use traffic::headers::SPARE;
use traffic::upgrade::WEBSOCKET;
use traffic::{Fault, FaultCode, Headers, Stage};

/// Why a request is refused.
#[derive(Debug)]
pub struct Refused {
    /// Stable name, in metrics.
    pub name: &'static str,
    /// What the client is told.
    pub fault: Fault,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { name: refusal.name(), fault: refusal.fault() }
    }
}

impl Refused {
    fn new(name: &'static str, detail: &'static str) -> Self {
        let fault = Fault::new(Stage::Admit, FaultCode::BadRequest);
        Self { name, fault: fault.detail(detail) }
    }
}

/// What HTTP/2 counts for a header besides its name and value (RFC 9113, 6.5.2).
pub(super) const FIELD_OVERHEAD: usize = 32;

/// Turns the head of a request into the form that the spine knows, and says why it must not be passed on,
/// if so. `h2` has seen to it that names are lower case, that pseudo-headers are known, single and in front,
/// and that nothing in it concerns a connection; what it lets pass is looked at here (RFC 9113, 8.2, 8.3),
/// so that a head in HTTP/1's form holds what was meant and nothing else.
#[must_use]
pub fn convert(parts: Parts, scheme: Scheme) -> (RequestHead, Option<Refused>) {
    let asks_tunnel = asks_tunnel(&parts);
    let Parts { method, uri, headers, .. } = parts;
    // An extended CONNECT is the other form of a GET that asks for an upgrade (RFC 8441, 5).
    let method = if asks_tunnel { Method::GET } else { method };
    let uri = uri.into_parts();
    let is_known = |scheme: &http::uri::Scheme| matches!(scheme.as_str(), "http" | "https");
    let mut refused = None;
    if asks_tunnel && headers.contains_key(CONTENT_LENGTH) {
        refused = Some(Refused::new("tunnel_length", "a tunnel has no length"));
    }
    if uri.scheme.is_some_and(|scheme| !is_known(&scheme)) {
        refused = Some(Refused::new("bad_scheme", "the scheme is neither http nor https"));
    }
    let target = match uri.path_and_query {
        Some(target) if has_form(&target, &method) => target,
        None if method == Method::CONNECT => PathAndQuery::from_static("/"),
        target => {
            refused = refused.or_else(|| Some(Refusal::TargetForm.into()));
            target.unwrap_or_else(|| PathAndQuery::from_static("/"))
        }
    };
    let written = uri.authority.map(|authority| HeaderValue::from_str(authority.as_str()));
    let authority = match written {
        Some(authority) => authority.ok(),
        None => headers.get(HOST).cloned(),
    };
    let size = target.as_str().len() + authority.as_ref().map_or(0, HeaderValue::len);
    let (headers, bad) = fields(headers, size);
    let head = RequestHead {
        method,
        scheme,
        host: Arc::from(""),
        authority: authority.unwrap_or_else(|| HeaderValue::from_static("")),
        target,
        version: Version::HTTP_2,
        headers,
    };
    (head, refused.or(bad))
}

/// Whether a request is an extended CONNECT for the protocol that is tunnelled. All others stay what they are, which
/// is refused.
pub(super) fn asks_tunnel(parts: &Parts) -> bool {
    let protocol = parts.extensions.get::<Protocol>();
    parts.method == Method::CONNECT && protocol.is_some_and(|name| name.as_str() == WEBSOCKET)
}

/// A path, or for OPTIONS the asterisk.
fn has_form(target: &PathAndQuery, method: &Method) -> bool {
    let target = target.as_str();
    target.starts_with('/') || (target == "*" && *method == Method::OPTIONS)
}

/// The headers as a list, the pieces of cookies joined (RFC 9113, 8.2.3). `size` are the bytes that the
/// head has besides them.
fn fields(map: HeaderMap, mut size: usize) -> (Headers, Option<Refused>) {
    let mut list = Headers::with_capacity(map.len() + SPARE);
    let mut crumbs = Vec::new();
    let mut refused = None;
    let mut last: Option<HeaderName> = None;
    for (name, value) in map {
        // A repeated name comes once, then nameless.
        let is_repeated = name.is_none();
        let Some(name) = name.or_else(|| last.take()) else { continue };
        size += name.as_str().len() + value.len() + FIELD_OVERHEAD;
        if let Some(reason) = check(&name, &value, is_repeated) {
            refused.get_or_insert(reason);
        }
        if name == COOKIE && is_repeated && list.contains(COOKIE) {
            join(&mut crumbs, list.get(COOKIE), &value);
        } else if name != COOKIE || !value.is_empty() {
            list.append(name.clone(), value);
        }
        last = Some(name);
    }
    if !crumbs.is_empty()
        && let Ok(cookie) = HeaderValue::from_maybe_shared(bytes::Bytes::from(crumbs))
    {
        list.insert(COOKIE, cookie);
    }
    if size > HEAD_BYTES_MAX {
        refused.get_or_insert_with(|| Refusal::HeadTooLarge.into());
    }
    (list, refused)
}

/// Adds a piece. An empty one would leave a semicolon with nothing behind it.
fn join(crumbs: &mut Vec<u8>, first: Option<&HeaderValue>, next: &HeaderValue) {
    if next.is_empty() {
        return;
    }
    if crumbs.is_empty() {
        crumbs.extend_from_slice(first.map_or(b"", HeaderValue::as_bytes));
    }
    crumbs.extend_from_slice(b"; ");
    crumbs.extend_from_slice(next.as_bytes());
}

/// What is wrong with a header, if anything.
fn check(name: &HeaderName, value: &HeaderValue, is_repeated: bool) -> Option<Refused> {
    if !is_token(name) {
        return Some(Refusal::BadFieldName.into());
    }
    let bytes = value.as_bytes();
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if is_space(bytes.first()) || is_space(bytes.last()) {
        return Some(Refused::new(
            "space_around_value",
            "a header's value begins or ends with white space",
        ));
    }
    if *name == CONTENT_LENGTH {
        if is_repeated {
            return Some(Refusal::SeveralLengths.into());
        }
        if bytes.is_empty() || !bytes.iter().all(u8::is_ascii_digit) {
            return Some(Refusal::BadLength.into());
        }
    }
    if *name == EXPECT && !bytes.eq_ignore_ascii_case(b"100-continue") {
        return Some(Refusal::ExpectationFailed.into());
    }
    None
}

/// Whether a name may stand in HTTP/1 (RFC 9110, 5.6.2): of what `http` lets pass, all but one character.
pub(super) fn is_token(name: &HeaderName) -> bool {
    !name.as_str().contains('"')
}
