use crate::body;
use crate::login::Shown;
use crate::precondition::{Goes, tag};
use crate::query::{PAGE_MAX, Query};
use crate::refusal::Refusal;
use base::clock::unix_ms;
use base::{Clock, Moment};
use control::{Caller, Control};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

/// What an operation is given: who asks was found out, and may do it; what was sent is JSON.
pub(crate) struct Call {
    pub(crate) control: Control,
    pub(crate) clock: Clock,
    pub(crate) caller: Caller,
    /// What the caller has shown; nothing where everybody may ask.
    pub(crate) shown: Option<Shown>,
    pub(crate) peer: IpAddr,
    pub(crate) is_tls: bool,
    /// The id of the workspace in the path; empty where there is none.
    pub(crate) workspace: String,
    pub(crate) path: String,
    pub(crate) parts: Vec<(String, String)>,
    pub(crate) query: Query,
    pub(crate) goes: Goes,
    pub(crate) body: Value,
    /// Whether what was sent must not be repeated.
    pub(crate) is_private: bool,
}

impl Call {
    /// A part of the path.
    pub(crate) fn part(&self, name: &str) -> &str {
        let found = self.parts.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// A part of the path that is a number.
    pub(crate) fn number(&self, name: &str) -> Result<i64, Refusal> {
        let wrong = || Refusal::malformed(format!("{{{name}}}"), "a whole number");
        self.part(name).parse().map_err(|_| wrong())
    }

    /// What was sent.
    pub(crate) fn sent<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        body::typed(&self.body, self.is_private)
    }

    /// The revision to go by, where what is there has this one.
    pub(crate) fn revision(&self, there: i64) -> i64 {
        match self.goes {
            Goes::By(revision) => revision,
            Goes::ByAny => there,
        }
    }
}

/// What an operation answers.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Option<Value>,
    pub(crate) tag: Option<String>,
    pub(crate) location: Option<String>,
    pub(crate) cookie: Option<HeaderValue>,
}

impl Answer {
    /// Something that is there.
    pub(crate) fn found(thing: &impl Serialize) -> Result<Self, Refusal> {
        Ok(Self { status: StatusCode::OK, body: Some(value(thing)?), ..Self::none() })
    }

    /// Something that was made, at a path.
    pub(crate) fn made(thing: &impl Serialize, location: Option<String>) -> Result<Self, Refusal> {
        Ok(Self { status: StatusCode::CREATED, location, ..Self::found(thing)? })
    }

    /// Something that is there, or became so, with its revision.
    pub(crate) fn one(thing: &impl Serialize, revision: i64) -> Result<Self, Refusal> {
        Ok(Self::found(thing)?.at(revision))
    }

    /// Something that was made below the path of the call, under its name.
    pub(crate) fn made_here(
        call: &Call,
        name: &str,
        thing: &impl Serialize,
        revision: i64,
    ) -> Result<Self, Refusal> {
        Ok(Self::made(thing, Some(format!("{}/{name}", call.path)))?.at(revision))
    }

    /// It was done, and there is nothing to say.
    pub(crate) const fn none() -> Self {
        let status = StatusCode::NO_CONTENT;
        Self { status, body: None, tag: None, location: None, cookie: None }
    }

    /// With the revision of what was read or written.
    pub(crate) fn at(self, revision: i64) -> Self {
        Self { tag: Some(tag(revision)), ..self }
    }

    /// A page of a list of which one more than `limit` was read; `name` tells where to go on.
    pub(crate) fn page<T, S: Serialize>(
        mut read: Vec<T>,
        limit: i64,
        name: impl Fn(&T) -> String,
        shape: impl Fn(T) -> S,
    ) -> Result<Self, Refusal> {
        let limit = usize::try_from(limit.min(PAGE_MAX)).unwrap_or_default();
        let has_more = read.len() > limit;
        read.truncate(limit);
        let next = read.last().filter(|_| has_more).map(name);
        let items: Vec<S> = read.into_iter().map(shape).collect();
        Self::found(&json!({ "items": value(&items)?, "next": next }))
    }
}

fn value(thing: &impl Serialize) -> Result<Value, Refusal> {
    serde_json::to_value(thing).map_err(|error| Refusal {
        cause: Some(error.to_string()),
        ..Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the answer cannot be written",
        )
    })
}

/// A time as answers say it (RFC 3339).
pub(crate) fn time(ms: i64) -> String {
    let since = Duration::from_millis(u64::try_from(ms).unwrap_or_default());
    let moment = SystemTime::UNIX_EPOCH.checked_add(since).and_then(Moment::of);
    moment.map(|moment| moment.to_string()).unwrap_or_default()
}

/// A time as it is kept.
pub(crate) fn ms(moment: Moment) -> i64 {
    i64::try_from(unix_ms(moment.0)).unwrap_or(i64::MAX)
}
