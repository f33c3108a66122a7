//! How keys get here: by the address of a set, or by the document in which an issuer says that address.

use super::age;
use crate::jose::KeySet;
use crate::json;
use aws_lc_rs::digest::{SHA256, digest};
use base::caps::{KEY_SET_BYTES_MAX, KEYS_DISCOVERY_EVERY};
use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL};
use http::{HeaderValue, Method, StatusCode};
use serde_json::Value;
use std::sync::{Arc, Weak};
use std::time::Duration;
use traffic::outbound::{Destination, Remote, read};
use traffic::{Body, Fault, Headers, Outbound, Request};

/// Where the keys of an issuer are.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// At this address, which is told by another name where it is a secret.
    Url { url: String, name: String },
    /// Where the issuer of this name says.
    Discovery(String),
}

impl Source {
    /// The address or the name, for logs and metrics.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Url { name, .. } | Self::Discovery(name) => name,
        }
    }

    /// What state is known by.
    pub(super) fn key(&self) -> String {
        match self {
            Self::Url { url, .. } => format!("keys {url}"),
            Self::Discovery(issuer) => format!("discovery {issuer}"),
        }
    }
}

/// Keys as they were fetched.
pub(super) struct Fetched {
    pub(super) keys: KeySet,
    /// SHA-256 of the text that they were read from.
    pub(super) hash: [u8; 32],
    /// How long they are good for.
    pub(super) age: Duration,
}

/// What an issuer said, and for how many more fetches that is believed.
struct Found {
    url: String,
    left: u32,
}

/// A way that is open: to this address, and what opened it.
struct Open {
    url: String,
    by: Weak<dyn Outbound>,
    remote: Arc<dyn Remote>,
}

/// Fetches the keys of one source again and again.
pub(crate) struct Fetcher {
    source: Source,
    /// The address of the set, if the issuer has told it and it was right last time.
    found: Option<Found>,
    /// Ways that are open. Names that were resolved once stay so.
    open: Vec<Open>,
    ca_pem: Option<Vec<u8>>,
}

impl Fetcher {
    /// `ca_pem` are certificates that are trusted in place of the usual ones.
    pub(crate) const fn new(source: Source, ca_pem: Option<Vec<u8>>) -> Self {
        Self { source, found: None, open: Vec::new(), ca_pem }
    }

    /// An address, for logs: without what may be a secret.
    fn shown(&self, url: &str) -> String {
        match &self.source {
            Source::Url { url: own, name } if own == url => name.clone(),
            _ => plain(url).to_owned(),
        }
    }

    /// Fetches the keys; on failure says in words why not.
    pub(super) async fn fetch(&mut self, way: &Arc<dyn Outbound>) -> Result<Fetched, String> {
        let (url, left) = match &self.source {
            Source::Url { url, .. } => (url.clone(), 0),
            Source::Discovery(issuer) => match self.found.take() {
                Some(Found { url, left }) if left > 0 => (url, left - 1),
                _ => (
                    discover((&issuer.clone(), "jwks_uri"), self, way).await?,
                    KEYS_DISCOVERY_EVERY,
                ),
            },
        };
        let (bytes, told_s) = self.document(&url, way).await?;
        let keys = KeySet::parse(&bytes).map_err(|why| format!("{}: {why}", self.shown(&url)))?;
        let age = age(told_s);
        // After a failure the issuer is asked again where its keys are.
        self.found = Some(Found { url, left });
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &bytes).as_ref());
        Ok(Fetched { keys, hash, age })
    }

    /// A document of JSON, and the `max-age` that came with it.
    async fn document(
        &mut self,
        url: &str,
        way: &Arc<dyn Outbound>,
    ) -> Result<(Bytes, Option<u64>), String> {
        let remote = self.remote(url, way)?;
        let mut headers = Headers::new();
        headers.append(ACCEPT, HeaderValue::from_static("application/json"));
        let target = remote.target().clone();
        let request =
            Request { method: Method::GET, target, headers, body: Body::empty(), protocol: None };
        let shown = self.shown(url);
        let answer = remote.call(None, request).await.map_err(|fault| told(&shown, &fault))?;
        if answer.status != StatusCode::OK {
            return Err(format!("{shown} answers {}", answer.status.as_u16()));
        }
        let controls = answer.headers.all(CACHE_CONTROL).filter_map(|value| value.to_str().ok());
        let told_s = controls.flat_map(|text| text.split(',')).find_map(max_age);
        let bytes =
            read(answer.body, KEY_SET_BYTES_MAX).await.map_err(|fault| told(&shown, &fault))?;
        Ok((bytes, told_s))
    }

    fn remote(&mut self, url: &str, way: &Arc<dyn Outbound>) -> Result<Arc<dyn Remote>, String> {
        // Another config has another way out.
        let by = Arc::downgrade(way);
        self.open.retain(|open| open.by.ptr_eq(&by));
        if let Some(open) = self.open.iter().find(|open| open.url == url) {
            return Ok(Arc::clone(&open.remote));
        }
        let mut destination = Destination::parse(url)?;
        destination.ca_pem.clone_from(&self.ca_pem);
        let remote = way.open(destination)?;
        if self.open.len() >= OPEN_MAX {
            self.open.clear();
        }
        self.open.push(Open { url: url.to_owned(), by, remote: Arc::clone(&remote) });
        Ok(remote)
    }
}

/// Two documents that may say where the keys are, and the keys.
const OPEN_MAX: usize = 3;

/// Asks the issuer for one of its addresses (OpenID Connect Discovery 1.0, 4; RFC 8414, 3).
pub(crate) async fn discover(
    (issuer, member): (&str, &str),
    fetcher: &mut Fetcher,
    way: &Arc<dyn Outbound>,
) -> Result<String, String> {
    let mut problem = String::new();
    for url in documents(issuer) {
        let document = match fetcher.document(&url, way).await {
            Ok((document, _)) => document,
            Err(why) if problem.is_empty() => {
                problem = why;
                continue;
            }
            Err(_) => continue,
        };
        let document = json::object(&document).map_err(|why| format!("{url}: {why}"))?;
        // Whoever could answer for another issuer would sign for it (RFC 8414, 3.3).
        let told = document.get("issuer").and_then(Value::as_str).unwrap_or_default();
        if told != issuer {
            let told: String = told.chars().take(200).collect();
            return Err(format!("{url} is about another issuer, `{}`", told.escape_debug()));
        }
        let address = document.get(member).and_then(Value::as_str);
        let address = address.ok_or_else(|| format!("{url} has no `{member}`"))?;
        if issuer.starts_with("https:") && !address.starts_with("https:") {
            let address: String = address.chars().take(200).collect();
            let address = address.escape_debug();
            return Err(format!("{url} says that `{member}` is `{address}`, which is not safe"));
        }
        return Ok(address.to_owned());
    }
    Err(problem)
}

/// An address without what may be a secret in it.
pub(crate) fn plain(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

fn documents(issuer: &str) -> [String; 2] {
    let base = issuer.trim_end_matches('/');
    let at = base.find("://").map_or(0, |at| at + 3);
    let host_end = base.get(at..).and_then(|rest| rest.find('/')).map_or(base.len(), |it| at + it);
    let (origin, path) = base.split_at_checked(host_end).unwrap_or((base, ""));
    [
        format!("{base}/.well-known/openid-configuration"),
        format!("{origin}/.well-known/oauth-authorization-server{path}"),
    ]
}

fn max_age(directive: &str) -> Option<u64> {
    let (name, value) = directive.trim().split_once('=')?;
    if !name.eq_ignore_ascii_case("max-age") {
        return None;
    }
    value.trim_matches('"').parse().ok()
}

fn told(url: &str, fault: &Fault) -> String {
    match &fault.cause {
        Some(cause) => format!("{url}: {cause}"),
        None => format!("{url}: {}", fault.code.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::{documents, max_age};

    #[test]
    fn the_documents_of_an_issuer_are_where_the_standards_say() {
        let well_known = |rest: &str| format!("https://a.test/.well-known/{rest}");
        for issuer in ["https://a.test", "https://a.test/"] {
            let expected = ["openid-configuration", "oauth-authorization-server"].map(well_known);
            assert_eq!(documents(issuer), expected);
        }
        let expected = [
            "https://a.test/realms/x/.well-known/openid-configuration".to_owned(),
            well_known("oauth-authorization-server/realms/x"),
        ];
        assert_eq!(documents("https://a.test/realms/x"), expected);
    }

    #[test]
    fn how_long_keys_are_good_for_is_read_from_the_answer() {
        assert_eq!(max_age(" max-age=300"), Some(300));
        assert_eq!(max_age("Max-Age=\"300\""), Some(300));
        for other in ["s-maxage=3", "max-age", "max-age=-1", "max-age=x", "no-store"] {
            assert_eq!(max_age(other), None, "{other}");
        }
    }
}
