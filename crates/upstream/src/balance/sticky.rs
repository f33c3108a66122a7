//! Clients that come back to the target that answered them first, by a cookie whose value says nothing to
//! anybody but the gateways.

use crate::spec::StickySpec;
use aws_lc_rs::hmac;
use base::caps::STICKY_COOKIE_BYTES_MAX;
use http::HeaderValue;
use http::header::COOKIE;
use std::collections::HashMap;
use std::fmt::Write as _;
use traffic::Headers;
use traffic::head::Scheme;

/// Bytes of a value, before they are written as hexadecimal digits.
const VALUE_BYTES: usize = 16;

/// The cookies of an upstream's targets.
#[derive(Debug)]
pub(crate) struct Sticky {
    cookie: Box<str>,
    /// What follows the value.
    attributes: String,
    values: Vec<Box<str>>,
    positions: HashMap<Box<str>, usize>,
}

impl Sticky {
    /// For targets of these names, in the order of their positions.
    pub(crate) fn new<'a>(spec: &StickySpec, targets: impl Iterator<Item = &'a str>) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, spec.secret.reveal().as_bytes());
        let value = |name: &str| -> Box<str> {
            let tag = hmac::sign(&key, name.as_bytes());
            let mut value = String::with_capacity(2 * VALUE_BYTES);
            for byte in tag.as_ref().iter().take(VALUE_BYTES) {
                // Writing to a string cannot fail.
                write!(value, "{byte:02x}").ok();
            }
            value.into()
        };
        let values: Vec<Box<str>> = targets.map(value).collect();
        let mut attributes = format!("; Path={}; HttpOnly; SameSite=Lax", spec.path);
        if let Some(ttl) = spec.ttl {
            write!(attributes, "; Max-Age={}", ttl.as_secs()).ok();
        }
        let positions = values.iter().cloned().enumerate().map(|(at, value)| (value, at)).collect();
        Self { cookie: spec.cookie.as_str().into(), attributes, values, positions }
    }

    /// The target that the client's cookie names, if there is one.
    pub(crate) fn position(&self, headers: &Headers) -> Option<usize> {
        headers
            .all(COOKIE)
            .filter_map(|value| value.to_str().ok())
            .filter(|value| value.len() <= STICKY_COOKIE_BYTES_MAX)
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| *name == &*self.cookie)
            .find_map(|(_, value)| self.positions.get(value).copied())
    }

    /// The `Set-Cookie` that brings a client back to a target. It is `Secure` where the client came by TLS.
    pub(crate) fn set(&self, position: usize, scheme: Scheme) -> Option<HeaderValue> {
        let value = self.values.get(position)?;
        let secure = if scheme == Scheme::Https { "; Secure" } else { "" };
        HeaderValue::try_from(format!("{}={value}{}{secure}", self.cookie, self.attributes)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::Sticky;
    use crate::spec::StickySpec;
    use base::Secret;
    use http::HeaderValue;
    use http::header::COOKIE;
    use std::time::Duration;
    use traffic::Headers;
    use traffic::head::Scheme;

    fn sticky(secret: &str) -> Sticky {
        let spec = StickySpec {
            cookie: "yett_target".to_owned(),
            ttl: Some(Duration::from_secs(3_600)),
            path: "/".to_owned(),
            secret: Secret::new(secret.to_owned()),
        };
        Sticky::new(&spec, ["10.0.0.1:80", "10.0.0.2:80"].into_iter())
    }

    fn cookie(text: &str) -> Headers {
        Headers::from_iter([(COOKIE, HeaderValue::try_from(text).unwrap())])
    }

    #[test]
    fn a_cookie_brings_back_and_says_nothing() {
        let sticky = sticky("s");
        let set = sticky.set(1, Scheme::Https).unwrap();
        let set = set.to_str().unwrap();
        let (pair, attributes) = set.split_once(';').unwrap();
        assert_eq!(attributes, " Path=/; HttpOnly; SameSite=Lax; Max-Age=3600; Secure");
        assert!(!set.contains("10.0"));
        assert_eq!(sticky.position(&cookie(pair)), Some(1));
        assert_eq!(sticky.position(&cookie(&format!("a=b; {pair} ;c"))), Some(1));
        assert!(!sticky.set(0, Scheme::Http).unwrap().to_str().unwrap().contains("Secure"));
    }

    #[test]
    fn what_was_not_made_by_the_same_secret_names_nobody() {
        let set = sticky("s").set(1, Scheme::Http).unwrap();
        let pair = set.to_str().unwrap().split_once(';').unwrap().0.to_owned();
        assert_eq!(sticky("t").position(&cookie(&pair)), None);
        for other in ["", "yett_target=", "yett_target", "yett_target=é", "x=1; =; ;;"] {
            let Ok(value) = HeaderValue::from_bytes(other.as_bytes()) else { continue };
            assert_eq!(sticky("s").position(&Headers::from_iter([(COOKIE, value)])), None);
        }
    }
}
