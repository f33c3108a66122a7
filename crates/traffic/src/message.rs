//! Requests towards an upstream, answers, and what is said ahead of an answer.

use crate::body::Body;
use crate::headers::Headers;
use base::caps::INFORMATIONAL_MAX;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, StatusCode};
use std::sync::{Arc, Mutex, PoisonError};

/// A request as an upstream gets it: `Host` is among its headers, framing is not.
#[derive(Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: PathAndQuery,
    /// The headers, without those of a connection.
    pub headers: Headers,
    /// The body. Beside a `protocol` it is the client's raw bytes, of which none come before the answer
    /// that switches was passed on.
    pub body: Body,
    /// The protocol that the target is asked to go on in, such as `websocket`: by an `Upgrade` over HTTP/1.1
    /// (RFC 9110, 7.8), by an extended CONNECT over HTTP/2 (RFC 8441). The method is GET either way, and each
    /// connection has a handshake of its own: the headers that prove it (`Sec-WebSocket-Key`,
    /// `Sec-WebSocket-Accept`) are added and looked at by the engine that speaks to the target. What has
    /// switched answers 101 with the target's raw bytes, whatever its version of HTTP says; no time limit of
    /// bodies holds for them, since whoever asked keeps those of the tunnel. Any other answer is a usual one.
    pub protocol: Option<HeaderValue>,
}

/// An answer. Framing follows from the body; a `Connection` among its headers is an order to the
/// engine that writes it, and goes no further. The status 101 says that the target has switched to the
/// protocol that the request asked for, and that the body is a tunnel's ([`Body::tunnel`]).
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: Headers,
    /// The body.
    pub body: Body,
}

impl Response {
    /// An answer without headers.
    #[must_use]
    pub fn new(status: StatusCode, body: impl Into<Body>) -> Self {
        Self { status, headers: Headers::with_capacity(crate::headers::SPARE), body: body.into() }
    }
}

/// An informational answer (RFC 9110, 15.2).
#[derive(Clone, Debug)]
pub struct Informational {
    /// From 100 to 199, never 101.
    pub status: StatusCode,
    /// Its headers.
    pub headers: Headers,
}

/// The way of informational answers to the client: whoever speaks to the upstream leaves them here, and
/// the client's connection takes them whenever it has polled the request.
#[derive(Clone, Debug, Default)]
pub struct Interim(Option<Arc<Mutex<Vec<Informational>>>>);

impl Interim {
    /// A way to a client that can be told.
    #[must_use]
    pub fn open() -> Self {
        Self(Some(Arc::default()))
    }

    /// Leaves one for the client. Beyond [`INFORMATIONAL_MAX`] that wait, and for clients that cannot
    /// be told, it is dropped, which any proxy may do.
    pub fn send(&self, informational: Informational) {
        let Some(queue) = &self.0 else { return };
        let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.len() < INFORMATIONAL_MAX {
            queue.push(informational);
        }
    }

    /// Takes what waits, in order.
    #[must_use]
    pub fn take(&self) -> Vec<Informational> {
        let Some(queue) = &self.0 else { return Vec::new() };
        std::mem::take(&mut *queue.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
