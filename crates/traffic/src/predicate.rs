//! What a request may be required to carry besides host, path and method.

use crate::head::RequestHead;
use http::HeaderName;
use percent_encoding::percent_decode_str;
use regex::Regex;

/// A requirement on one header or query parameter.
#[derive(Clone, Debug)]
pub struct Predicate {
    /// Which value is looked at.
    pub subject: Subject,
    /// What it must be.
    pub test: Test,
}

/// Which value is looked at.
#[derive(Clone, Debug)]
pub enum Subject {
    /// A header; any of its values may match.
    Header(HeaderName),
    /// A query parameter; any of its values may match.
    Query(String),
}

/// What a value must be.
#[derive(Clone, Debug)]
pub enum Test {
    /// Exactly this.
    Exact(String),
    /// Matching this (the expression is anchored by whoever compiles it).
    Regex(Regex),
    /// There, or not there.
    Present(bool),
}

impl Predicate {
    /// Whether the request fulfils the requirement.
    #[must_use]
    pub fn holds(&self, head: &RequestHead) -> bool {
        match &self.subject {
            Subject::Header(name) => {
                let values = head.headers.all(name);
                self.test
                    .holds_for_any(values.map(|value| value.to_str().unwrap_or_default().into()))
            }
            Subject::Query(name) => self.test.holds_for_any(query_values(head, name)),
        }
    }
}

impl Test {
    fn holds_for_any<'a>(
        &self,
        mut values: impl Iterator<Item = std::borrow::Cow<'a, str>>,
    ) -> bool {
        match self {
            Self::Exact(text) => values.any(|value| value == text.as_str()),
            Self::Regex(regex) => values.any(|value| regex.is_match(&value)),
            Self::Present(present) => values.next().is_some() == *present,
        }
    }
}

/// The decoded values of a query parameter.
pub fn query_values<'a>(
    head: &'a RequestHead,
    name: &'a str,
) -> impl Iterator<Item = std::borrow::Cow<'a, str>> {
    let pairs = head.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(move |(key, _)| percent_decode_str(key).decode_utf8_lossy() == name)
        .map(|(_, value)| percent_decode_str(value).decode_utf8_lossy())
}
