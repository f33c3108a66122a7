//! Asks an authoriser by gRPC, as Envoy does (`envoy.service.auth.v3`).

use super::ask::known;
use super::body::Beginning;
use super::protocol::{
    Address, Asked, Attributes, CheckRequest, CheckResponse, HeaderOption, HttpRequest, METHOD,
    Metadata, Peer, SocketAddress, Struct, Timestamp, TlsSession,
};
use super::verdict::{Allowed, Change, Denied, How, Verdict};
use super::{Authoriser, Named};
use base::Clock;
use base::caps::AUTHORISER_ANSWER_BYTES_MAX;
use base::clock::unix_ms;
use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, COOKIE, TE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use http_body::Body as _;
use prost::Message as _;
use std::collections::HashMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use traffic::exchange::{Claim, KeptClaims};
use traffic::{Body, Exchange, Headers, Request, Response};

/// Bytes before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;
/// Under this name the authoriser learns who was identified.
const NAMESPACE: &str = "yett";
/// Tells whether the body is only the beginning of it, as Envoy does.
const PARTIAL: &str = "x-envoy-auth-partial-body";

impl Authoriser {
    /// The call that asks about a request.
    pub(super) fn check(&self, exchange: &Exchange, body: Option<&Beginning>) -> Request {
        let message = CheckRequest { attributes: Some(self.attributes(exchange, body)) };
        let length = message.encoded_len();
        let mut bytes = BytesMut::with_capacity(PREFIX + length);
        bytes.put_u8(0);
        bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
        // It has room to grow.
        message.encode(&mut bytes).ok();
        let mut headers = Headers::with_capacity(4);
        headers.append(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.append(TE, HeaderValue::from_static("trailers"));
        let limit = format!("{}m", self.timeout.as_millis().max(1));
        if let Ok(limit) = HeaderValue::from_str(&limit) {
            headers.append(HeaderName::from_static("grpc-timeout"), limit);
        }
        headers.append(HeaderName::from_static("traceparent"), exchange.trace.header());
        Request {
            method: Method::POST,
            target: PathAndQuery::from_static(METHOD),
            headers,
            body: Body::full(bytes.freeze()),
            protocol: None,
        }
    }

    fn attributes(&self, exchange: &Exchange, body: Option<&Beginning>) -> Attributes {
        let connection = &exchange.connection;
        let tls = connection.tls.as_ref();
        let shown = exchange.client_certificate();
        let client = exchange.client();
        let port = if client == connection.peer.ip() { connection.peer.port() } else { 0 };
        Attributes {
            source: Some(Peer {
                address: Some(address(SocketAddr::new(client, port))),
                principal: shown.map(|shown| shown.subject.to_string()).unwrap_or_default(),
            }),
            destination: Some(Peer {
                address: Some(address(connection.local)),
                principal: String::new(),
            }),
            request: Some(Asked {
                time: Some(came(exchange, &self.clock)),
                http: Some(self.request(exchange, body)),
            }),
            context_extensions: self.context.iter().cloned().collect(),
            metadata_context: metadata(exchange),
            tls_session: tls.map(|tls| TlsSession {
                sni: tls.server_name.as_deref().unwrap_or_default().to_owned(),
            }),
        }
    }

    fn request(&self, exchange: &Exchange, body: Option<&Beginning>) -> HttpRequest {
        let head = &exchange.request;
        let authority = String::from_utf8_lossy(head.authority.as_bytes()).into_owned();
        let mut headers = self.told(&head.headers);
        for (name, value) in [
            (":authority", authority.as_str()),
            (":method", head.method.as_str()),
            (":path", head.target.as_str()),
            (":scheme", head.scheme.as_str()),
        ] {
            headers.insert(name.to_owned(), value.to_owned());
        }
        let size = exchange.body.size_hint().exact().and_then(|size| i64::try_from(size).ok());
        let (mut text, mut raw) = (String::new(), Bytes::new());
        if let Some(body) = body {
            headers.insert(PARTIAL.to_owned(), body.is_partial.to_string());
            match String::from_utf8(body.data.to_vec()) {
                Ok(body) => text = body,
                Err(_) => raw = body.data.clone(),
            }
        }
        HttpRequest {
            id: exchange.id.as_str().to_owned(),
            method: head.method.as_str().to_owned(),
            headers,
            path: head.target.as_str().to_owned(),
            host: authority,
            scheme: head.scheme.as_str().to_owned(),
            // The path has it, as Envoy has it.
            query: String::new(),
            size: size.unwrap_or(-1),
            protocol: if head.version == Version::HTTP_2 { "HTTP/2" } else { "HTTP/1.1" }
                .to_owned(),
            body: text,
            raw_body: raw,
        }
    }

    /// The headers that it is told, several values of a name as one.
    fn told(&self, headers: &Headers) -> HashMap<String, String> {
        let mut told: HashMap<String, String> = HashMap::new();
        let is_told =
            |name: &HeaderName| self.tells.as_ref().is_none_or(|tells| tells.contains(name));
        for (name, value) in headers.iter().filter(|(name, _)| is_told(name)) {
            let value = String::from_utf8_lossy(value.as_bytes());
            let separator = if *name == COOKIE { "; " } else { "," };
            told.entry(name.as_str().to_owned())
                .and_modify(|all| {
                    all.push_str(separator);
                    all.push_str(&value);
                })
                .or_insert_with(|| value.clone().into_owned());
        }
        told
    }

    /// Reads what it answers to [`Authoriser::check`].
    ///
    /// # Errors
    /// In words, when that means nothing.
    pub(super) async fn checked(&self, response: Response) -> Result<Verdict, String> {
        if response.status != StatusCode::OK {
            return Err(format!("it answers {} to a call of gRPC", response.status.as_u16()));
        }
        let early = status(response.headers.get("grpc-status"));
        let (bytes, trailers) = read(response.body).await?;
        let late = trailers.as_ref().and_then(|trailers| status(trailers.get("grpc-status")));
        match late.or(early) {
            Some(0) => {}
            Some(code) => return Err(format!("the call ends with grpc-status {code}")),
            None => return Err("the call ends without a grpc-status".to_owned()),
        }
        let mut verdict = verdict(&bytes)?;
        if let Verdict::Allowed(allowed) = &mut verdict {
            allowed.consumer = self.consumer(allowed)?;
        }
        Ok(verdict)
    }

    /// Who calls, from the header or the metadata that says it.
    fn consumer(&self, allowed: &mut Allowed) -> Result<Option<(String, Vec<String>)>, String> {
        let Some(named) = &self.named else { return Ok(None) };
        match named {
            Named::Header { name, groups } => {
                let mut take = |name: &HeaderName| {
                    let at = allowed.headers.iter().position(|change| change.name == *name)?;
                    let change = allowed.headers.get(at)?;
                    change.value.to_str().ok().map(str::to_owned)
                };
                let consumer = take(name).ok_or_else(|| format!("its yes says no `{name}`"))?;
                let groups = groups.as_ref().and_then(&mut take).unwrap_or_default();
                Ok(Some((consumer, super::list(&groups))))
            }
            Named::Metadata { name, groups } => {
                let claims = allowed.claims.as_deref();
                let value = |name: &str| claims.and_then(|claims| claims.get(name));
                let consumer = value(name).and_then(|value| value.as_str());
                let consumer = consumer.ok_or_else(|| format!("its yes says no `{name}`"))?;
                let groups = groups.as_deref().and_then(value).and_then(|value| match value {
                    Claim::List(items) => Some(items.iter()),
                    _ => None,
                });
                let groups = groups.into_iter().flatten().filter_map(|group| group.as_str());
                Ok(Some((consumer.to_owned(), groups.map(str::to_owned).collect())))
            }
        }
    }
}

/// Reads an answer: a message of gRPC behind its prefix. Who calls is not looked for.
fn verdict(bytes: &[u8]) -> Result<Verdict, String> {
    let answer = CheckResponse::decode(message(bytes)?)
        .map_err(|error| format!("its answer cannot be read: {error}"))?;
    // An empty message would be a yes by the protocol. Whoever says nothing is not believed.
    let says_yes = match (&answer.status, &answer.ok, &answer.denied) {
        (Some(status), _, None) => status.code == 0,
        (None, Some(_), None) => true,
        (_, _, Some(_)) => false,
        (None, None, None) => return Err("its answer says neither yes nor no".to_owned()),
    };
    if !says_yes {
        let denied = answer.denied.unwrap_or_default();
        let status = denied.status.and_then(|status| u16::try_from(status.code).ok());
        return Ok(Verdict::Denied(Denied {
            status: refusal(status),
            headers: changes(denied.headers, true)?,
            body: Bytes::from(denied.body),
        }));
    }
    let ok = answer.ok.unwrap_or_default();
    let claims = answer.dynamic_metadata.map(Struct::json).filter(|claims| !claims.is_empty());
    Ok(Verdict::Allowed(Box::new(Allowed {
        headers: changes(ok.headers, false)?,
        // What is no name of a header is on no request either.
        removed: ok.headers_to_remove.iter().filter_map(|name| name.parse().ok()).collect(),
        reply: changes(ok.response_headers_to_add, true)?,
        query: pairs(ok.query_parameters_to_set),
        query_removed: ok.query_parameters_to_remove,
        consumer: None,
        claims: claims.map(|claims| Arc::new(KeptClaims::from(&claims))),
    })))
}

/// Whether the answer of an authoriser, a message of gRPC behind its prefix, says yes.
///
/// # Errors
/// In words, when it means nothing.
pub fn says_yes(bytes: &[u8]) -> Result<bool, String> {
    verdict(bytes).map(|verdict| matches!(verdict, Verdict::Allowed(_)))
}

/// The status of a refusal: one by which the client can be sent elsewhere or told no, and 403 for any other.
pub(super) fn refusal(status: Option<u16>) -> StatusCode {
    status
        .filter(|status| (300..600).contains(status) && *status != 304)
        .and_then(|status| StatusCode::from_u16(status).ok())
        .unwrap_or(StatusCode::FORBIDDEN)
}

fn changes(options: Vec<HeaderOption>, appends: bool) -> Result<Vec<Change>, String> {
    let change = |option: HeaderOption| {
        let header = option.header.unwrap_or_default();
        let value =
            if header.raw_value.is_empty() { header.value.into() } else { header.raw_value };
        let how = match (option.append, option.append_action) {
            (Some(append), _) if append.value => How::Append,
            (Some(_), _) | (None, 2) => How::Set,
            (None, 1) => How::AddIfAbsent,
            (None, 3) => How::SetIfPresent,
            // Requests have headers set unless something else is said, answers have them added.
            (None, _) if appends => How::Append,
            (None, _) => How::Set,
        };
        Change::new(&header.key, &value, how)
    };
    options.into_iter().map(change).collect()
}

fn pairs(parameters: Vec<super::protocol::QueryParameter>) -> Vec<(String, String)> {
    parameters.into_iter().map(|parameter| (parameter.key, parameter.value)).collect()
}

fn address(address: SocketAddr) -> Address {
    let socket_address = SocketAddress {
        address: address.ip().to_canonical().to_string(),
        port_value: Some(u32::from(address.port())),
    };
    Address { socket_address: Some(socket_address) }
}

/// Who was identified by policies before this one.
fn metadata(exchange: &Exchange) -> Option<Metadata> {
    let known = known(exchange)?;
    Some(Metadata { filter_metadata: HashMap::from([(NAMESPACE.to_owned(), Struct::of(&known))]) })
}

/// When a request came, by the wall.
fn came(exchange: &Exchange, clock: &Clock) -> Timestamp {
    let ago = clock.now().saturating_duration_since(exchange.arrived);
    let ago_ms = u64::try_from(ago.as_millis()).unwrap_or_default();
    let at = Duration::from_millis(unix_ms(clock.wall()).saturating_sub(ago_ms));
    Timestamp {
        seconds: i64::try_from(at.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(at.subsec_nanos()).unwrap_or_default(),
    }
}

fn status(value: Option<&HeaderValue>) -> Option<u32> {
    value?.to_str().ok()?.parse().ok()
}

/// The one message of an answer.
fn message(bytes: &[u8]) -> Result<&[u8], String> {
    let broken = || "its answer is not one whole message".to_owned();
    let (prefix, message) = bytes.split_at_checked(PREFIX).ok_or_else(broken)?;
    let (flag, length) = prefix.split_first().ok_or_else(broken)?;
    if *flag != 0 {
        return Err("its answer is compressed, which nobody asked for".to_owned());
    }
    let length = length.try_into().map(u32::from_be_bytes).map_err(|_| broken())?;
    if usize::try_from(length) != Ok(message.len()) {
        return Err(broken());
    }
    Ok(message)
}

/// Reads an answer to its end, trailers included.
async fn read(mut body: Body) -> Result<(BytesMut, Option<HeaderMap>), String> {
    let mut all = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|error| format!("its answer breaks off: {error}"))?;
        match frame.into_data() {
            Ok(data) if all.len() + data.len() > AUTHORISER_ANSWER_BYTES_MAX => {
                return Err(format!(
                    "its answer has more than {AUTHORISER_ANSWER_BYTES_MAX} bytes"
                ));
            }
            Ok(data) => all.extend_from_slice(&data),
            Err(frame) => return Ok((all, frame.into_trailers().ok())),
        }
    }
    Ok((all, None))
}
