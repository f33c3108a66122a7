//! How an answer is framed and announced, from scratch.

use crate::admit::takes_trailers;
use crate::http1::Asked;
use ::http1::{Framing, Sending, Version, write};
use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE,
};
use http::{Method, StatusCode};
use http_body::Body as _;
use traffic::upgrade::{WEBSOCKET, websocket_accept};
use traffic::{Body, Headers, Response};

/// What of a request decides how it is answered.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) version: Version,
    pub(super) is_head: bool,
    pub(super) keeps_alive: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub(super) expects_continue: bool,
    pub(super) has_continued: bool,
    pub(super) takes_trailers: bool,
    /// The key of a handshake of WebSocket, to be answered if the protocol is switched.
    pub(super) key: Option<HeaderValue>,
}

impl Facts {
    pub(super) fn of(asked: &Asked) -> Self {
        match asked {
            Err(bad) => Self {
                version: bad.version.unwrap_or(Version::Http11),
                is_head: bad.method.as_ref() == Some(&Method::HEAD),
                keeps_alive: false,
                expects_continue: false,
                has_continued: false,
                takes_trailers: false,
                key: None,
            },
            Ok(head) => Self {
                version: head.version,
                is_head: head.method == Method::HEAD,
                // Whoever asks for another protocol may take what follows for it.
                keeps_alive: head.keeps_alive && !head.upgrades,
                expects_continue: head.expects_continue,
                has_continued: false,
                takes_trailers: takes_trailers(&head.headers),
                key: head.upgrades.then(|| head.headers.get(SEC_WEBSOCKET_KEY).cloned()).flatten(),
            },
        }
    }
}

/// Writes the head of an answer. Returns the body to be sent after it, and whether the connection can
/// serve another request then.
pub(super) fn begin(response: Response, facts: &Facts, out: &mut Vec<u8>) -> (Sending, bool) {
    let Response { status, headers, body } = response;
    let framing = framing(status, &headers, &body, facts);
    let keeps_alive =
        facts.keeps_alive && framing != Framing::UntilClose && !orders_close(&headers);
    let connection: &[&str] = match (keeps_alive, facts.version) {
        // What the client is told to switch to (RFC 9110, 15.5.22).
        (false, Version::Http11) if headers.contains(UPGRADE) => &["upgrade", "close"],
        (false, _) => &["close"],
        (true, Version::Http10) => &["keep-alive"],
        (true, Version::Http11) => &[],
    };
    write::response_head(out, status, &headers, framing, connection, None);
    (Sending::new(body, framing, facts.takes_trailers), keeps_alive)
}

/// How the end of an answer is told (RFC 9112, 6.3). What the backend said of it does not matter, except
/// where there is no body to measure.
fn framing(status: StatusCode, headers: &Headers, body: &Body, facts: &Facts) -> Framing {
    if status == StatusCode::NO_CONTENT {
        return Framing::None;
    }
    let length = body.size_hint().exact();
    if facts.is_head || status == StatusCode::NOT_MODIFIED {
        let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let own = length.filter(|length| *length > 0);
        return Framing::Declared(declared.and_then(|digits| digits.parse().ok()).or(own));
    }
    match (length, facts.version) {
        (Some(length), _) => Framing::Length(length),
        (None, Version::Http11) => Framing::Chunked,
        (None, Version::Http10) => Framing::UntilClose,
    }
}

/// Whether the spine wants the connection closed.
fn orders_close(headers: &Headers) -> bool {
    headers.get(CONNECTION).is_some_and(|value| value == "close")
}

/// Writes the head of the answer after which the protocol is another (RFC 9110, 15.2.2). Returns the raw bytes to
/// be sent after it.
pub(super) fn switch(response: Response, key: Option<&HeaderValue>, out: &mut Vec<u8>) -> Sending {
    let Response { status, mut headers, body } = response;
    headers.insert(UPGRADE, HeaderValue::from_static(WEBSOCKET));
    if let Some(key) = key {
        headers.insert(SEC_WEBSOCKET_ACCEPT, websocket_accept(key));
    }
    write::response_head(out, status, &headers, Framing::None, &["upgrade"], None);
    Sending::new(body, Framing::UntilClose, false)
}

/// Writes an informational answer.
pub(super) fn informational(out: &mut Vec<u8>, status: StatusCode, headers: &Headers) {
    write::response_head(out, status, headers, Framing::None, &[], None);
}
