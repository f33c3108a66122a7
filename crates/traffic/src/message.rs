//! Requests towards an upstream, answers, and what is said ahead of an answer.

use crate::body::Body;
use crate::headers::Headers;
use base::caps::INFORMATIONAL_MAX;
use http::uri::PathAndQuery;
use http::{Method, StatusCode};
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
    /// The body.
    pub body: Body,
}

/// An answer. Framing follows from the body; a `Connection` among its headers is an order to the
/// engine that writes it, and goes no further.
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
