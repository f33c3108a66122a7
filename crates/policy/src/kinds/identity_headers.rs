//! Tells the backend who calls, in headers that only the gateway sets.
//!
//! Whatever clients send under these names is taken out of every request to the gateway, not only on routes with
//! this policy: a backend that believes a header must be able to believe it whichever way a request came.

use crate::field;
use crate::kind::{BuildCtx, Group, Kind};
use base::caps::{IDENTITY_CLAIMS_MAX, IDENTITY_VALUE_BYTES_MAX};
use base::{Node, Report, decode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use schemars::JsonSchema;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use traffic::exchange::{Claim, KeptClaims, Slot};
use traffic::policy::Phases;
use traffic::{Exchange, Flow, Outcome, Policy};

#[cfg(test)]
mod tests;

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "identity_headers",
    group: Group::Shape,
    phases: Phases { request: true, forward: false, reply: false, record: false },
    answers: false,
    about: "Tells the backend who calls: application, groups and chosen claims, beside the consumer's name that it learns \
            anyway (`x-yett-consumer`). What clients send under the same names is taken out of all requests.",
    example: "identity_headers: { consumer: x-user, claims: { x-email: email } }",
    resets: "it has no state",
    schema: <Settings as JsonSchema>::json_schema,
    build,
};

/// Settings of `identity_headers`; it needs none. In values everything but printable ASCII is percent-encoded, and so is `%`; in
/// members of lists also the comma. A value of more than 8KiB is left out.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The header that holds the consumer's name, besides `x-yett-consumer`.
    pub consumer: Option<String>,
    /// The header that holds the name of the consumer's application.
    pub application: String,
    /// The header that holds the consumer's groups, separated by commas.
    pub groups: String,
    /// Headers, and for each the claim that it holds: its name, or a JSON pointer such as `/realm_access/roles` to
    /// what is within one. Lists are separated by commas, objects are written as JSON.
    pub claims: BTreeMap<String, String>,
    /// Whether the backend gets the certificate that the client showed, and what came with it, in `Client-Cert` and
    /// `Client-Cert-Chain` (RFC 9440).
    pub client_cert: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            consumer: None,
            application: "x-yett-application".to_owned(),
            groups: "x-yett-groups".to_owned(),
            claims: BTreeMap::new(),
            client_cert: false,
        }
    }
}

/// What cannot stand in a value as it is.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');
/// What cannot stand in a member of a list.
const ENCODED_IN_LIST: &AsciiSet = &ENCODED.add(b',');
/// Headers that the gateway writes itself when it forwards.
const WRITTEN: &[&str] = &[
    "client-cert",
    "client-cert-chain",
    "forwarded",
    "traceparent",
    "via",
    "x-request-id",
    "x-yett-consumer",
    "x-yett-mirror",
];

/// What a header tells.
enum Told {
    Consumer,
    Application,
    Groups,
    Claim(Box<str>),
    Certificate,
    Chain,
}

struct TellIdentity(Vec<(HeaderName, Told)>);

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    let settings = decode::<Settings>(node, ctx.path, report)?;
    let mut told = vec![
        ("/application".to_owned(), settings.application, Told::Application),
        ("/groups".to_owned(), settings.groups, Told::Groups),
    ];
    if let Some(consumer) = settings.consumer {
        told.push(("/consumer".to_owned(), consumer, Told::Consumer));
    }
    if settings.claims.len() > IDENTITY_CLAIMS_MAX {
        let message = format!("at most {IDENTITY_CLAIMS_MAX} claims can be told");
        ctx.error(report, node, "/claims", message);
        return None;
    }
    for (header, claim) in settings.claims {
        let below = format!("/claims/{}", header.replace('~', "~0").replace('/', "~1"));
        told.push((below, header, Told::Claim(claim.into())));
    }
    let mut named: Vec<(HeaderName, Told)> = Vec::with_capacity(told.len());
    let mut is_fine = true;
    for (below, written, what) in told {
        let name = name(&written).and_then(|name| {
            let is_there = named.iter().any(|(other, _)| *other == name);
            if is_there { Err(format!("`{name}` is told twice")) } else { Ok(name) }
        });
        match name {
            Ok(name) => named.push((name, what)),
            Err(message) => {
                ctx.error(report, node, &below, message);
                is_fine = false;
            }
        }
    }
    if settings.client_cert {
        named.push((HeaderName::from_static("client-cert"), Told::Certificate));
        named.push((HeaderName::from_static("client-cert-chain"), Told::Chain));
    }
    is_fine.then(|| Arc::new(TellIdentity(named)) as Arc<dyn Policy>)
}

/// A header by which who calls can be told.
fn name(written: &str) -> Result<HeaderName, String> {
    let name = HeaderName::from_bytes(written.as_bytes())
        .map_err(|_| format!("`{written}` is not a header name"))?;
    let is_taken = WRITTEN.contains(&name.as_str())
        || name.as_str().starts_with("x-forwarded-")
        || name == AUTHORIZATION
        || name == COOKIE
        || (field::is_own(&name) && !name.as_str().starts_with("x-yett-"));
    if is_taken {
        return Err(format!("`{name}` has another meaning; name one such as `x-user`"));
    }
    Ok(name)
}

impl Policy for TellIdentity {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, _: Slot) -> Outcome<'a, Flow> {
        for (name, told) in &self.0 {
            // Another policy may have set it.
            exchange.request.headers.remove(name);
            if let Some(value) = told.value(exchange) {
                exchange.request.headers.append(name.clone(), value);
            }
        }
        Outcome::Now(Ok(Flow::Continue))
    }

    fn speaks_for(&self) -> Vec<HeaderName> {
        self.0.iter().map(|(name, _)| name.clone()).collect()
    }
}

impl Told {
    fn value(&self, exchange: &Exchange) -> Option<HeaderValue> {
        let text = match self {
            Self::Consumer => encoded(exchange.consumer.as_ref()?.own_name()).into_owned(),
            Self::Application => {
                encoded(exchange.credential.as_ref()?.application.as_ref()?).into_owned()
            }
            Self::Groups => {
                let groups = &exchange.consumer.as_ref()?.groups;
                joined(groups.iter().map(|group| Cow::Borrowed(&**group)))
            }
            Self::Claim(name) => text(find(exchange.claims.as_deref()?, name)?),
            Self::Certificate => bytes(exchange.shown_by_client()?.chain.first()?),
            Self::Chain => {
                let (_, others) = exchange.shown_by_client()?.chain.split_first()?;
                others.iter().map(|der| bytes(der)).collect::<Vec<_>>().join(", ")
            }
        };
        if text.is_empty() || text.len() > IDENTITY_VALUE_BYTES_MAX {
            return None;
        }
        HeaderValue::try_from(text).ok()
    }
}

/// A claim by its name, or by a JSON pointer (RFC 6901).
pub(super) fn find<'a>(claims: &'a KeptClaims, name: &str) -> Option<&'a Claim> {
    let Some(pointer) = name.strip_prefix('/') else { return claims.get(name) };
    let (first, rest) = pointer.split_once('/').unwrap_or((pointer, ""));
    let first = claims.get(&first.replace("~1", "/").replace("~0", "~"))?;
    if rest.is_empty() { Some(first) } else { first.pointer(&format!("/{rest}")) }
}

/// A sequence of bytes as a structured field (RFC 9651, 3.3.5).
fn bytes(bytes: &[u8]) -> String {
    format!(":{}:", STANDARD.encode(bytes))
}

fn text(claim: &Claim) -> String {
    match claim {
        Claim::Null => String::new(),
        Claim::Text(text) => encoded(text).into_owned(),
        Claim::List(items) => joined(items.iter().map(|item| match item {
            Claim::Text(text) => Cow::Borrowed(&**text),
            other => Cow::Owned(other.json().to_string()),
        })),
        other => encoded(&other.json().to_string()).into_owned(),
    }
}

/// A text as the value of a header: everything but printable ASCII is percent-encoded.
pub(super) fn encoded(text: &str) -> Cow<'_, str> {
    within(text, ENCODED)
}

/// The same; spaces at the ends too, since whoever reads a header drops them (RFC 9110, 5.5).
fn within<'a>(text: &'a str, encoded: &'static AsciiSet) -> Cow<'a, str> {
    let rest = text.trim_start_matches(' ');
    let inner = rest.trim_end_matches(' ');
    let spaces = |count: usize| "%20".repeat(count);
    match (text.len() - rest.len(), rest.len() - inner.len()) {
        (0, 0) => utf8_percent_encode(text, encoded).into(),
        (before, after) => {
            let inner = utf8_percent_encode(inner, encoded);
            format!("{}{inner}{}", spaces(before), spaces(after)).into()
        }
    }
}

fn joined<'a>(members: impl Iterator<Item = Cow<'a, str>>) -> String {
    let members = members.map(|member| within(&member, ENCODED_IN_LIST).into_owned());
    members.collect::<Vec<_>>().join(",")
}
