//! A request's way through proxies, as far as it is believed.

use crate::tls::ShownByClient;
use http::HeaderValue;
use std::net::IpAddr;
use std::sync::Arc;

/// What a trusted proxy told of a request, and what backends will be told of it.
#[derive(Clone, Debug)]
pub struct Forwarded {
    /// The client: the nearest address on the request's way that is not trusted.
    pub client: IpAddr,
    /// The same, as backends are told.
    pub client_text: HeaderValue,
    /// The believed part of the way, from the client to our peer: `X-Forwarded-For` for backends.
    pub way: HeaderValue,
    /// The host the client asked for, if the proxy told.
    pub host: Option<HeaderValue>,
    /// The client's certificate, as far as proxies tell.
    pub certificate: ToldCertificate,
    /// The whole as `Forwarded` (RFC 7239), if backends are to be told so.
    pub told: Option<HeaderValue>,
}

/// What trusted proxies tell of the certificate that a client showed to them (RFC 9440).
#[derive(Clone, Debug, Default)]
pub enum ToldCertificate {
    /// They are not asked: the one that was shown to the gateway counts.
    #[default]
    NotAsked,
    /// It showed none. What the connection was made with is the proxy's, and says nothing of the client.
    Nothing,
    /// It showed this.
    Shown(Arc<ShownByClient>),
}
