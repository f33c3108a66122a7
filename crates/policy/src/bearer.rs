//! Tokens (RFC 6750, RFC 9449): where requests show them, and how those without a good one are refused.

use crate::kind::BuildCtx;
use crate::sender::DPOP;
use crate::{cookie, key, query};
use base::caps::QUERY_PARAMS_MAX;
use base::{BoxError, Node, Report};
use http::header::{AUTHORIZATION, COOKIE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;
use std::borrow::Cow;
use traffic::head::RequestHead;
use traffic::{Fault, FaultCode, Stage};

/// Where a token is looked for, as users write it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub struct From {
    /// The header that holds the token: `authorization` unless said otherwise.
    pub header: Option<String>,
    /// The word before the token in that header: `Bearer` in `authorization`, none in any other.
    pub scheme: Option<String>,
    /// A cookie that may hold the token.
    pub cookie: Option<String>,
    /// A query parameter that may hold the token. Queries end up in histories and logs: prefer a header.
    pub query: Option<String>,
}

/// Where a token is looked for.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    header: HeaderName,
    scheme: Option<Box<str>>,
    cookie: Option<Box<str>>,
    query: Option<Box<str>>,
}

/// How a token is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// Alone: whoever has it may use it.
    Bearer,
    /// With a proof beside it (`Authorization: DPoP`).
    Dpop,
}

/// What a request shows.
#[derive(Debug, PartialEq)]
pub(crate) enum Shown<'a> {
    Nothing,
    One(Cow<'a, str>, By),
    /// Several that differ, or one that is no text.
    Unclear,
}

impl<'a> Shown<'a> {
    fn add(&mut self, token: Cow<'a, str>, by: By) {
        match self {
            _ if token.is_empty() || token.starts_with(key::PREFIX) => {}
            Self::Nothing => *self = Self::One(token, by),
            Self::One(other, other_by) if *other == token && *other_by == by => {}
            _ => *self = Self::Unclear,
        }
    }
}

impl Places {
    /// Reads the setting `from` of a policy.
    pub(crate) fn read(
        from: &From,
        node: &Node,
        ctx: &BuildCtx<'_>,
        report: &mut Report,
    ) -> Option<Self> {
        let header = from.header.as_deref().unwrap_or("authorization");
        let header = HeaderName::from_bytes(header.as_bytes()).ok();
        let Some(header) = header.filter(|name| name != COOKIE) else {
            ctx.error(report, node, "/from/header", "this is not a header that can hold a token")
                .help("leave it out for `authorization`; for a cookie write `cookie: NAME`");
            return None;
        };
        let words = [
            ("/from/scheme", &from.scheme),
            ("/from/cookie", &from.cookie),
            ("/from/query", &from.query),
        ];
        for (below, word) in words {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if word.as_ref().is_some_and(|it| it.is_empty() || !it.chars().all(is_plain)) {
                ctx.error(report, node, below, "a name has letters, digits, `-`, `_` and `.`");
                return None;
            }
        }
        let scheme = match &from.scheme {
            None if header == AUTHORIZATION => Some("Bearer".into()),
            written => written.as_deref().map(Into::into),
        };
        let short = |name: &Option<String>| name.as_deref().map(Into::into);
        Some(Self { header, scheme, cookie: short(&from.cookie), query: short(&from.query) })
    }

    /// The headers that may hold it or belong to it, besides the usual one.
    pub(crate) fn headers(&self) -> Vec<HeaderName> {
        let own = (self.header != AUTHORIZATION).then(|| self.header.clone());
        own.into_iter().chain([DPOP]).collect()
    }

    /// Whether it is looked for where RFC 6750, 2.1 has it.
    pub(crate) fn is_usual(&self) -> bool {
        let scheme = self.scheme.as_deref().unwrap_or_default();
        self.header == AUTHORIZATION && scheme.eq_ignore_ascii_case("Bearer")
    }

    /// The token of a request. API keys of our own are none.
    pub(crate) fn find<'a>(&self, head: &'a RequestHead) -> Shown<'a> {
        let mut shown = Shown::Nothing;
        for value in head.headers.all(&self.header) {
            match self.read_value(value) {
                Written::Nothing => {}
                Written::Token(token, by) => shown.add(Cow::Borrowed(token), by),
                Written::Unclear => shown = Shown::Unclear,
            }
        }
        if let Some(name) = &self.cookie {
            cookie::values(head, name)
                .for_each(|token| shown.add(Cow::Borrowed(token), By::Bearer));
        }
        if let (Some(name), Some(query)) = (&self.query, head.query()) {
            let pairs =
                query::pairs(query).take(QUERY_PARAMS_MAX).filter(|(own, _)| own == &**name);
            pairs.for_each(|(_, token)| shown.add(token, By::Bearer));
        }
        shown
    }

    /// Takes the token out, wherever it may be.
    pub(crate) fn hide(&self, head: &mut RequestHead) {
        let is_shown = |value: &HeaderValue| match self.read_value(value) {
            Written::Nothing => false,
            Written::Token(token, _) => !token.starts_with(key::PREFIX),
            Written::Unclear => true,
        };
        if head.headers.all(&self.header).any(is_shown) {
            head.headers.remove(&self.header);
        }
        // A proof says nothing without its token.
        head.headers.remove(&DPOP);
        if let Some(name) = &self.cookie {
            cookie::hide(head, name);
        }
        if let (Some(name), Some(query)) = (&self.query, head.query()) {
            let target = match query::without(query, name) {
                Some(query) => format!("{}?{query}", head.path()),
                None => head.path().to_owned(),
            };
            // A part of a valid target is valid.
            if let Ok(target) = PathAndQuery::try_from(target) {
                head.target = target;
            }
        }
    }

    /// What a value of the header is. Backends read more than RFC 9110, 11.4 allows, so whatever one of them might
    /// take for a token is one here, or unclear.
    fn read_value<'a>(&self, value: &'a HeaderValue) -> Written<'a> {
        let text = value.to_str().ok();
        let Some(scheme) = &self.scheme else {
            return text.map_or(Written::Unclear, |text| Written::Token(text.trim(), By::Bearer));
        };
        let by = |word: &[u8]| {
            let is_dpop = self.header == AUTHORIZATION && word.eq_ignore_ascii_case(b"DPoP");
            let is_bearer = word.eq_ignore_ascii_case(scheme.as_bytes());
            if is_bearer { Some(By::Bearer) } else { is_dpop.then_some(By::Dpop) }
        };
        let one = text.and_then(|text| text.split_once(' '));
        if let Some((word, token)) = one
            && let Some(by) = by(word.as_bytes())
        {
            return Written::Token(token.trim(), by);
        }
        // After another scheme, after white space of another kind, or beside bytes that are no text.
        let mut parts = value.as_bytes().split(|byte| !byte.is_ascii_graphic());
        parts.next_back();
        let mut words = parts.filter_map(|part| part.rsplit(|byte| !is_of_scheme(*byte)).next());
        if words.any(|word| by(word).is_some()) { Written::Unclear } else { Written::Nothing }
    }
}

/// Whether a byte can be one of a scheme's name (RFC 9110, 5.6.2), as users write it.
const fn is_of_scheme(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// What a value of the header is.
enum Written<'a> {
    /// Nothing that is looked for here.
    Nothing,
    Token(&'a str, By),
    /// Perhaps a token, and perhaps another one for whoever reads it next.
    Unclear,
}

/// Whether a request shows a token with a proof.
pub(crate) fn is_dpop(head: &RequestHead) -> bool {
    head.headers.all(AUTHORIZATION).any(|value| {
        let scheme = value.as_bytes().split(|byte| *byte == b' ').next();
        scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"DPoP"))
    })
}

/// Nothing is shown (RFC 6750, 3.1: no error is named then).
pub(crate) fn missing() -> Fault {
    let challenge = HeaderValue::from_static("Bearer realm=\"yett\"");
    Fault::new(Stage::Guard, FaultCode::CredentialsMissing).header(WWW_AUTHENTICATE, challenge)
}

/// One answer for everything that is wrong with a token; the log gets the reason.
pub(crate) fn invalid(why: impl Into<BoxError>) -> Fault {
    let challenge = HeaderValue::from_static("Bearer realm=\"yett\", error=\"invalid_token\"");
    Fault::new(Stage::Guard, FaultCode::CredentialsInvalid)
        .detail("the token is not valid")
        .header(WWW_AUTHENTICATE, challenge)
        .cause(why)
}

/// The token is good, and does not allow this. `scopes` are those that would, with spaces between.
pub(crate) fn insufficient(scopes: &str) -> Fault {
    let challenge =
        format!("Bearer realm=\"yett\", error=\"insufficient_scope\", scope=\"{scopes}\"");
    let fault = Fault::new(Stage::Guard, FaultCode::InsufficientScope);
    match HeaderValue::try_from(challenge) {
        Ok(challenge) => fault.header(WWW_AUTHENTICATE, challenge),
        Err(_) => fault,
    }
}

/// Nobody can say now whether the token is good.
pub(crate) fn unavailable(why: impl Into<BoxError>) -> Fault {
    Fault::new(Stage::Guard, FaultCode::IdentityUnavailable)
        .header(RETRY_AFTER, HeaderValue::from_static("5"))
        .cause(why)
}

/// Whether this can be a scope (RFC 6749, 3.3).
pub(crate) fn is_scope(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    !text.is_empty() && text.bytes().all(is_allowed)
}
