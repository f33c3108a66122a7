//! Requests to go on in another protocol (RFC 9110, 7.8; RFC 8441): a tunnel is an exchange whose request
//! body is the client's raw bytes and whose answer's body is the target's. Only WebSocket is tunnelled.

use crate::body::Body;
use aws_lc_rs::digest;
use base::random;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use std::time::Duration;

/// The one protocol that is tunnelled, as `Upgrade` and `:protocol` name it.
pub const WEBSOCKET: &str = "websocket";

/// What RFC 6455, 1.3 has appended to a key.
const WEBSOCKET_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Bytes of randomness in a key (RFC 6455, 4.1).
const KEY_BYTES: usize = 16;

/// What a client asks for besides an answer.
#[derive(Debug)]
pub struct Upgrade {
    /// The protocol, in lower case.
    pub protocol: HeaderValue,
    /// The client's raw bytes; none come before it was told that the protocol is another.
    pub body: Body,
    /// Whether the request is an extended CONNECT, which cannot be answered as if it were a plain one.
    pub is_connect: bool,
    /// On which terms it may; nothing as long as no policy has allowed it.
    pub terms: Option<Terms>,
}

/// How long a tunnel may last; none means unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Silence of both directions.
    pub idle: Option<Duration>,
    /// From the arrival of the request to the end of the tunnel.
    pub total: Option<Duration>,
}

impl Upgrade {
    /// Allows it. Where several policies do, the shortest limits hold.
    pub fn allow(&mut self, terms: Terms) {
        let before = self.terms.unwrap_or_default();
        let shorter = |a: Option<Duration>, b: Option<Duration>| a.into_iter().chain(b).min();
        self.terms = Some(Terms {
            idle: shorter(before.idle, terms.idle),
            total: shorter(before.total, terms.total),
        });
    }
}

/// A new `Sec-WebSocket-Key` (RFC 6455, 4.1).
#[must_use]
pub fn websocket_key() -> HeaderValue {
    // It need not be secret: it shows that the answer was made for this request.
    let key = [random::fast().to_ne_bytes(), random::fast().to_ne_bytes()];
    header(&STANDARD.encode(key.as_flattened()))
}

/// Whether a `Sec-WebSocket-Key` is one (RFC 6455, 4.2.1).
#[must_use]
pub fn is_websocket_key(key: &HeaderValue) -> bool {
    STANDARD.decode(key.as_bytes()).is_ok_and(|key| key.len() == KEY_BYTES)
}

/// The `Sec-WebSocket-Accept` that answers a key (RFC 6455, 4.2.2).
#[must_use]
pub fn websocket_accept(key: &HeaderValue) -> HeaderValue {
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key.as_bytes());
    hash.update(WEBSOCKET_GUID);
    header(&STANDARD.encode(hash.finish()))
}

/// What base64 is made of may stand in a header.
fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::{Terms, Upgrade, is_websocket_key, websocket_accept, websocket_key};
    use crate::Body;
    use http::HeaderValue;
    use std::time::Duration;

    #[test]
    fn a_key_is_answered_as_the_standard_says() {
        // The example of RFC 6455, 1.3.
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        assert!(is_websocket_key(&key));
        assert_eq!(websocket_accept(&key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn new_keys_are_keys_and_differ() {
        let (one, other) = (websocket_key(), websocket_key());
        assert!(is_websocket_key(&one) && is_websocket_key(&other));
        assert_ne!(one, other);
    }

    #[test]
    fn what_is_no_key_is_told_from_one() {
        for text in ["", "x", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZSE=", "AAAA"] {
            assert!(!is_websocket_key(&HeaderValue::from_static(text)), "{text}");
        }
    }

    #[test]
    fn of_several_terms_the_shortest_limits_hold() {
        let mut upgrade = Upgrade {
            protocol: HeaderValue::from_static("websocket"),
            body: Body::empty(),
            is_connect: false,
            terms: None,
        };
        let seconds = |n| Some(Duration::from_secs(n));
        upgrade.allow(Terms { idle: seconds(9), total: None });
        upgrade.allow(Terms { idle: seconds(5), total: seconds(60) });
        upgrade.allow(Terms { idle: seconds(7), total: seconds(90) });
        assert_eq!(upgrade.terms, Some(Terms { idle: seconds(5), total: seconds(60) }));
    }
}
