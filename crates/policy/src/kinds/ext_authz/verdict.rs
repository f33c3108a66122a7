//! What an authoriser says, whatever protocol it speaks, and what becomes of a request by it.

use crate::field;
use crate::groups::Groups;
use crate::identity::Identity;
use crate::query;
use base::caps::{CONSUMER_NAME_BYTES_MAX, HEADERS_MAX, TARGET_BYTES_MAX};
use bytes::Bytes;
use http::header::{HOST, SET_COOKIE};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::sync::Arc;
use traffic::directory::{Consumer, CredentialKind, Directory, qualified};
use traffic::exchange::KeptClaims;
use traffic::head::RequestHead;
use traffic::{Fault, FaultCode, Headers, Response, Stage, canonical};

/// Headers that the gateway writes itself when it forwards, besides those of [`field::is_own`].
const WRITTEN: &[&str] = &[
    "client-cert",
    "client-cert-chain",
    "expect",
    "forwarded",
    "proxy-authorization",
    "traceparent",
    "via",
    "x-request-id",
];

/// What an authoriser says of a request.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    /// It may pass, changed like this.
    Allowed(Box<Allowed>),
    /// It may not, and the client is told this.
    Denied(Denied),
}

impl Verdict {
    /// Whether the client is told a cookie with it.
    pub(super) fn sets_cookies(&self) -> bool {
        let told = match self {
            Self::Allowed(allowed) => &allowed.reply,
            Self::Denied(denied) => &denied.headers,
        };
        told.iter().any(|change| change.name == SET_COOKIE)
    }
}

/// What becomes of a request that may pass.
#[derive(Clone, Debug, Default)]
pub(super) struct Allowed {
    /// Headers for the backend.
    pub(super) headers: Vec<Change>,
    /// Headers that the backend does not get.
    pub(super) removed: Vec<HeaderName>,
    /// Headers for the client.
    pub(super) reply: Vec<Change>,
    /// Parameters of the query to set.
    pub(super) query: Vec<(String, String)>,
    /// Parameters of the query to remove.
    pub(super) query_removed: Vec<String>,
    /// The consumer's name, and its groups.
    pub(super) consumer: Option<(String, Vec<String>)>,
    /// What it says of the caller.
    pub(super) claims: Option<Arc<KeptClaims>>,
}

/// The answer to a request that may not pass.
#[derive(Clone, Debug)]
pub(super) struct Denied {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<Change>,
    pub(super) body: Bytes,
}

/// A change of one header.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) name: HeaderName,
    pub(super) value: HeaderValue,
    pub(super) how: How,
}

/// What a change does where the header is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// The header has this value and no other.
    Set,
    /// This is one more value.
    Append,
    /// Only if the header is not there.
    AddIfAbsent,
    /// Only if the header is there.
    SetIfPresent,
}

impl Change {
    /// Reads a change.
    ///
    /// # Errors
    /// When it is not one of a header.
    pub(super) fn new(name: &str, value: &[u8], how: How) -> Result<Self, String> {
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| format!("it names no header: {name:?}"))?;
        let value = HeaderValue::from_bytes(value)
            .map_err(|_| format!("what it says for `{name}` is no header value"))?;
        Ok(Self { name, value, how })
    }

    fn apply(&self, headers: &mut Headers) {
        let is_there = headers.contains(&self.name);
        match self.how {
            How::AddIfAbsent if is_there => {}
            How::SetIfPresent if !is_there => {}
            How::Append | How::AddIfAbsent => {
                headers.append(self.name.clone(), self.value.clone());
            }
            How::Set | How::SetIfPresent => headers.insert(self.name.clone(), self.value.clone()),
        }
    }
}

/// Whether an authoriser has no say about a header: it frames the message, belongs to the connection, or is
/// one by which only the gateway speaks.
pub(super) fn is_closed(name: &HeaderName) -> bool {
    let plain = name.as_str().replace('_', "-");
    let is_own = |name: &HeaderName| field::is_own(name);
    is_own(name)
        || HeaderName::from_bytes(plain.as_bytes()).is_ok_and(|name| is_own(&name))
        || plain.starts_with("x-forwarded-")
        || WRITTEN.contains(&&*plain)
}

impl Allowed {
    /// Whether there is more of it than a request may have.
    pub(super) fn is_too_much(&self) -> bool {
        [self.headers.len(), self.removed.len(), self.reply.len(), self.query.len()]
            .into_iter()
            .chain([self.query_removed.len()])
            .any(|count| count > HEADERS_MAX)
    }

    /// Changes a request as the authoriser wants it. What it has no say about stays as it is.
    ///
    /// # Errors
    /// In words, when the request could not be forwarded any more.
    pub(super) fn apply(&self, head: &mut RequestHead, allows_host: bool) -> Result<(), String> {
        for name in self.removed.iter().filter(|name| !is_closed(name)) {
            head.headers.remove(name);
        }
        for change in &self.headers {
            if change.name == HOST && allows_host {
                let host =
                    change.value.to_str().ok().filter(|host| canonical::host(host).is_some());
                host.ok_or("the host that it sets is none")?;
                head.authority = change.value.clone();
            } else if !is_closed(&change.name) {
                change.apply(&mut head.headers);
            }
        }
        if head.headers.len() > HEADERS_MAX {
            return Err("with the headers that it sets there are too many".to_owned());
        }
        if self.query.is_empty() && self.query_removed.is_empty() {
            return Ok(());
        }
        self.change_query(head)
    }

    fn change_query(&self, head: &mut RequestHead) -> Result<(), String> {
        let mut query = head.query().map(str::to_owned);
        let names = self.query.iter().map(|(name, _)| name);
        for name in self.query_removed.iter().chain(names) {
            query = query.and_then(|query| query::without(&query, name));
        }
        let mut query = query.unwrap_or_default();
        for (name, value) in &self.query {
            if !query.is_empty() {
                query.push('&');
            }
            query.extend(utf8_percent_encode(name, NON_ALPHANUMERIC));
            query.push('=');
            query.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
        }
        let path = head.path();
        let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        if target.len() > TARGET_BYTES_MAX {
            return Err("with the parameters that it sets the query is too long".to_owned());
        }
        head.target = PathAndQuery::try_from(target).map_err(|error| error.to_string())?;
        Ok(())
    }

    /// Adds what the client is to be told.
    pub(super) fn apply_reply(&self, reply: &mut Response) {
        for change in self.reply.iter().filter(|change| !is_closed(&change.name)) {
            change.apply(&mut reply.headers);
        }
    }

    /// Who calls, as the authoriser says. A name that the directory does not know gets the authoriser's
    /// before it, so that nobody is taken for a known consumer.
    ///
    /// # Errors
    /// In words, when the name is none.
    pub(super) fn identity(
        &self,
        (authoriser, groups_as): (&str, Option<&Groups>),
        directory: &Directory,
    ) -> Result<Identity, String> {
        let claims = self.claims.clone();
        let Some((name, groups)) = &self.consumer else {
            return Ok(Identity { claims, ..Identity::default() });
        };
        let is_name = !name.is_empty()
            && name.len() <= CONSUMER_NAME_BYTES_MAX
            && name.trim() == name
            && !name.chars().any(char::is_control);
        if !is_name {
            return Err("the consumer that it names has no proper name".to_owned());
        }
        if let Some(known) =
            directory.find(CredentialKind::Name, &CredentialKind::Name.hash(&[name]))
        {
            return Ok(Identity { claims, ..Identity::of(known) });
        }
        let said = groups.iter().map(String::as_str);
        let groups = groups_as.map(|groups| groups.said(authoriser, said)).unwrap_or_default();
        let workspace = directory.workspace().cloned();
        let name = qualified(workspace.as_deref(), &format!("{authoriser}/{name}")).into();
        let consumer = Consumer { name, groups, workspace, ..Consumer::default() };
        let consumer = Some(Arc::new(consumer));
        Ok(Identity { consumer, claims, ..Identity::default() })
    }
}

impl Denied {
    /// The answer for the client; none where there is nothing to say but no.
    pub(super) fn answer(&self) -> Option<Response> {
        let is_bare =
            self.status == StatusCode::FORBIDDEN && self.headers.is_empty() && self.body.is_empty();
        if is_bare {
            return None;
        }
        let mut answer = Response::new(self.status, traffic::Body::full(self.body.clone()));
        for change in self.headers.iter().filter(|change| !is_closed(&change.name)) {
            change.apply(&mut answer.headers);
        }
        Some(answer)
    }

    /// The same as a fault, for who tries other ways to identify the caller.
    pub(super) fn fault(&self) -> Fault {
        let code = match self.status {
            // Nobody knows what it took for a credential, and whoever shows none has not guessed.
            StatusCode::UNAUTHORIZED => FaultCode::CredentialsMissing,
            _ => FaultCode::AuthoriserRefused,
        };
        let challenges =
            self.headers.iter().filter(|change| change.name == http::header::WWW_AUTHENTICATE);
        let fault = Fault::new(Stage::Guard, code).cause("the authoriser refused it");
        challenges
            .fold(fault, |fault, change| fault.header(change.name.clone(), change.value.clone()))
    }
}

impl Verdict {
    /// About how many bytes it takes.
    pub(super) fn bytes(&self) -> u64 {
        let changes = |changes: &[Change]| -> usize {
            let one = |change: &Change| {
                size_of::<Change>() + change.name.as_str().len() + change.value.len()
            };
            changes.iter().map(one).sum()
        };
        let bytes = match self {
            Self::Denied(denied) => changes(&denied.headers) + denied.body.len(),
            Self::Allowed(allowed) => {
                let texts = allowed.query.iter().flat_map(|(name, value)| [name, value]);
                let texts = texts.chain(&allowed.query_removed);
                let said = allowed.consumer.iter();
                let said = said.flat_map(|(name, groups)| std::iter::once(name).chain(groups));
                let texts: usize =
                    texts.chain(said).map(|text| size_of::<String>() + text.len()).sum();
                let removed: usize = allowed.removed.iter().map(|name| name.as_str().len()).sum();
                changes(&allowed.headers) + changes(&allowed.reply) + texts + removed
            }
        };
        let claims = match self {
            Self::Allowed(allowed) => allowed.claims.as_deref().map_or(0, KeptClaims::bytes),
            Self::Denied(_) => 0,
        };
        (size_of::<Self>() + size_of::<Allowed>() + bytes + claims) as u64
    }
}
