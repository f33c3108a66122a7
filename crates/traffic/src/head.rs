//! The request's head, in canonical form.

use crate::headers::Headers;
use http::uri::PathAndQuery;
use http::{Method, Version};
use std::sync::Arc;

/// The scheme by which the client came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

impl Scheme {
    /// As in a URL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that need not be written.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Method, target and headers of a request. Policies may change it; what they leave is forwarded.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// The scheme by which the client came.
    pub scheme: Scheme,
    /// The host asked for: lower case, without port.
    pub host: Arc<str>,
    /// The authority as the client wrote it, towards the backend.
    pub authority: http::HeaderValue,
    /// Canonical path, and the query as it was written.
    pub target: PathAndQuery,
    /// The protocol's version on the client's side.
    pub version: Version,
    /// The headers, without those of the connection.
    pub headers: Headers,
}

impl RequestHead {
    /// The canonical path.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.path()
    }

    /// The query without its question mark, as it was written.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.target.query()
    }

    /// A header's value, if it is text; the first if there are several.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}
