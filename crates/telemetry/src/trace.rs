//! Spans of requests, as whoever exports them gets them: what happened, when, and within what.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// Whether this build can export traces (feature `otlp`).
pub const CAN_EXPORT: bool = cfg!(feature = "otlp");

/// All spans of one request; the first is that of the request itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Traced {
    /// The trace they belong to (W3C Trace Context).
    pub trace: u128,
    /// The spans.
    pub spans: Vec<Span>,
}

/// Something that took time.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Names it within its trace; never zero.
    pub id: u64,
    /// The span it is part of; zero for none.
    pub parent: u64,
    /// On which side of a call it was.
    pub kind: Kind,
    /// What was done.
    pub name: Cow<'static, str>,
    /// When it began, in nanoseconds since 1970.
    pub began_ns: u64,
    /// When it ended, in nanoseconds since 1970.
    pub ended_ns: u64,
    /// What is known of it.
    pub facts: Vec<Fact>,
    /// Why it failed, if it did.
    pub error: Option<Cow<'static, str>>,
}

/// A name and a value; names follow OpenTelemetry's semantic conventions where they have one.
pub type Fact = (&'static str, Value);

/// The value of a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(Cow<'static, str>),
    /// A text that is known elsewhere, too.
    Shared(Arc<str>),
    /// A number.
    Number(i64),
}

impl Value {
    /// A text of a client, cut at [`base::caps::LOG_FIELD_BYTES_MAX`].
    #[must_use]
    pub fn cut(text: &str) -> Self {
        let end = text.floor_char_boundary(base::caps::LOG_FIELD_BYTES_MAX);
        Self::Text(text.get(..end).unwrap_or_default().to_owned().into())
    }

    /// The text, if it is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Shared(text) => Some(text),
            Self::Number(_) => None,
        }
    }
}

/// On which side of a call a span was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Within the program.
    Internal,
    /// It was asked.
    Server,
    /// It asked somebody else.
    Client,
}

/// Takes spans, and never makes the request that brings them wait.
pub trait TraceSink: Send + Sync + fmt::Debug {
    /// Takes the spans of a request that ended, or drops and counts them.
    fn take(&self, traced: Traced);
}
