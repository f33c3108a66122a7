//! What requests are told apart by: the client, the consumer, a header, a cookie, or any expression.
//! The same request gives the same number on every gateway and after every restart, so that what is
//! chosen by it stays chosen.

use crate::expression::{Expression, Scope};
use base::network::owner;
use http::HeaderName;
use http::header::COOKIE;
use std::borrow::Cow;
use std::fmt;
use traffic::Exchange;

/// What requests are told apart by.
#[derive(Debug)]
pub enum By {
    /// The address of the client; of IPv6 the first 64 bits, which one client owns.
    Client,
    /// The consumer; a request that nobody was identified for counts by its address.
    Consumer,
    /// The first value of a header.
    Header(HeaderName),
    /// The value of a cookie.
    Cookie(Box<str>),
    /// What an expression gives.
    Expression(Box<Expression>),
}

impl By {
    /// What users are told to write.
    pub const EXPECTING: &str =
        "`client`, `consumer`, `header NAME`, `cookie NAME`, or an expression that gives a text";

    /// Reads `client`, `consumer`, `header x-tenant`, `cookie sid`, or an expression, in its
    /// scope.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse<'a>(text: &str, scope: impl Into<Scope<'a>>) -> Result<Self, String> {
        let text = text.trim();
        let named = text.split_once(char::is_whitespace).map(|(word, name)| (word, name.trim()));
        match (text, named) {
            ("client" | "address", _) => Ok(Self::Client),
            ("consumer", _) => Ok(Self::Consumer),
            (_, Some(("header", name))) => HeaderName::from_bytes(name.as_bytes())
                .map(Self::Header)
                .map_err(|_| format!("`{name}` is not a header name")),
            (_, Some(("cookie", name))) => match is_cookie_name(name) {
                true => Ok(Self::Cookie(name.into())),
                false => Err(format!("`{name}` is not the name of a cookie")),
            },
            ("header" | "cookie", None) => Err(format!("`{text}` needs a name: `{text} NAME`")),
            _ => Expression::compile_key(text, scope)
                .map(|expression| Self::Expression(Box::new(expression)))
                .map_err(|message| format!("{message}; it can be {}", Self::EXPECTING)),
        }
    }

    /// The number of this request, evenly spread; none if the request lacks what is asked for.
    #[must_use]
    pub fn hash(&self, exchange: &Exchange) -> Option<u64> {
        let of_client = || hash(&[b"client", &owner(exchange.client()).to_be_bytes()]);
        match self {
            Self::Client => Some(of_client()),
            Self::Consumer => Some(match &exchange.consumer {
                Some(consumer) => hash(&[b"consumer", consumer.name.as_bytes()]),
                None => of_client(),
            }),
            Self::Header(name) => {
                exchange.request.headers.get(name).map(|value| hash(&[value.as_bytes()]))
            }
            Self::Cookie(name) => cookie(exchange, name).map(|value| hash(&[value.as_bytes()])),
            Self::Expression(expression) => {
                expression.eval_key(exchange).ok().map(|key| hash(&[key.as_bytes()]))
            }
        }
    }
}

impl By {
    /// What tells this request apart, as text; none if the request lacks what is asked for.
    pub(crate) fn text<'a>(&self, exchange: &'a Exchange) -> Option<Cow<'a, [u8]>> {
        match self {
            Self::Client => Some(owner(exchange.client()).to_be_bytes().to_vec().into()),
            Self::Consumer => Some(exchange.consumer.as_ref()?.name.as_bytes().into()),
            Self::Header(name) => Some(exchange.request.headers.get(name)?.as_bytes().into()),
            Self::Cookie(name) => Some(match cookie(exchange, name)? {
                Cow::Borrowed(value) => value.as_bytes().into(),
                Cow::Owned(value) => value.into_bytes().into(),
            }),
            Self::Expression(expression) => {
                expression.eval_key(exchange).ok().map(|key| key.into_bytes().into())
            }
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => f.write_str("client"),
            Self::Consumer => f.write_str("consumer"),
            Self::Header(name) => write!(f, "header {name}"),
            Self::Cookie(name) => write!(f, "cookie {name}"),
            Self::Expression(expression) => write!(f, "{expression:?}"),
        }
    }
}

/// Whether a cookie can have this name (RFC 6265, 4.1.1).
pub(crate) fn is_cookie_name(name: &str) -> bool {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !name.is_empty() && name.chars().all(is_token)
}

/// The value of a cookie of the request (RFC 6265, 4.2.1), the first if there are several.
pub(crate) fn cookie<'a>(exchange: &'a Exchange, name: &str) -> Option<Cow<'a, str>> {
    let lines = exchange.request.headers.all(COOKIE).filter_map(|value| value.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    pairs.find(|(own, _)| own.trim() == name).map(|(_, value)| Cow::Borrowed(value.trim()))
}

/// A number for texts that is the same everywhere and for ever: FNV-1a, then the finishing of
/// SplitMix64, without which texts that differ in their last letter would lie close together.
pub(crate) fn hash(parts: &[&[u8]]) -> u64 {
    let mut state: u64 = 0xCBF2_9CE4_8422_2325;
    for part in parts {
        // What no text holds keeps `a` and `bc` from meeting `ab` and `c`.
        for byte in part.iter().chain(&[0xFF]) {
            state = (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }
    mix(state)
}

/// Spreads a number over all bits (the finishing of SplitMix64).
pub(crate) fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::{By, cookie, hash};
    use crate::fixture;

    fn number(by: &str, request: &str) -> Option<u64> {
        By::parse(by, &[]).unwrap().hash(&fixture::exchange(request))
    }

    #[test]
    fn the_same_request_always_gives_the_same_number() {
        // Of a release that is out: another number would move every client to another side.
        assert_eq!(hash(&[b"a", b"bc"]), 0x0372_A433_AA0F_E51E);
        assert_ne!(hash(&[b"a", b"bc"]), hash(&[b"ab", b"c"]));
        let tenant = number("header x-tenant", "GET /\nx-tenant: a");
        assert_eq!(tenant, number("request.headers[\"x-tenant\"]", "GET /\nx-tenant: a"));
        assert_ne!(tenant, number("header x-tenant", "GET /\nx-tenant: b"));
    }

    #[test]
    fn a_request_that_lacks_what_is_asked_for_has_no_number() {
        assert!(number("client", "GET /").is_some());
        assert_eq!(number("consumer", "GET /"), number("client", "GET /"));
        for by in ["header x-tenant", "cookie sid", "request.query.user"] {
            assert_eq!(number(by, "GET /"), None, "{by}");
        }
        assert!(number("size(request.path)", "GET /abc").is_some());
    }

    #[test]
    fn cookies_are_found_among_others() {
        let exchange = fixture::exchange("GET /\ncookie: a=1; sid=x=y\ncookie: sid=2; b");
        assert_eq!(cookie(&exchange, "sid").as_deref(), Some("x=y"));
        assert_eq!(cookie(&exchange, "b"), None);
    }

    #[test]
    fn wrong_words_are_refused_with_what_could_stand_there() {
        for (by, part) in [
            ("consumr", "did you mean `consumer`"),
            ("header", "needs a name"),
            ("header a b", "is not a header name"),
            ("cookie a=b", "is not the name of a cookie"),
            ("request.headers", "gives a map, not a text"),
        ] {
            let message = By::parse(by, &[]).unwrap_err();
            assert!(message.contains(part), "{by}: {message}");
        }
    }
}
