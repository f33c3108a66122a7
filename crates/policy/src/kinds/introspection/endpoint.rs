//! Who is asked about tokens, and how the gateway proves who asks (RFC 7662, 2.1; RFC 6749, 2.3.1).

use super::answer;
use super::memory::Memory;
use crate::issuer::{Fetcher, Source, discover};
use arc_swap::ArcSwapOption;
use base::Secret;
use base::caps::INTROSPECTION_BYTES_MAX;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::timeout;
use traffic::exchange::Claims;
use traffic::outbound::{Destination, Remote, read};
use traffic::{Body, Headers, Outbound, Request};

/// Failures in a row after which the place that the issuer told is not believed any more.
const FAILURES: u32 = 3;

/// How the gateway proves who it is.
#[derive(Debug)]
pub(super) enum Proof {
    /// User name and password in a header.
    Basic(HeaderValue),
    /// The same in the form.
    Post(Secret),
}

/// Where questions go.
pub(super) enum Place {
    /// To an address that is known.
    Fixed(Arc<dyn Remote>),
    /// Where the issuer says.
    Told {
        issuer: String,
        way: Arc<dyn Outbound>,
        found: ArcSwapOption<Arc<dyn Remote>>,
        /// Failures there in a row.
        failures: AtomicU32,
        /// One asks at a time.
        asking: Mutex<()>,
    },
}

/// Who is asked.
pub(super) struct Endpoint {
    pub(super) place: Place,
    pub(super) proof: Proof,
    pub(super) limit: Duration,
    /// Certificates that are trusted in place of the usual ones.
    pub(super) ca_pem: Option<Vec<u8>>,
}

impl Proof {
    pub(super) fn basic(id: &str, secret: &Secret) -> Option<Self> {
        let pair = format!("{}:{}", encoded(id), encoded(secret.reveal()));
        let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair))).ok()?;
        value.set_sensitive(true);
        Some(Self::Basic(value))
    }

    pub(super) fn post(id: &str, secret: &Secret) -> Self {
        let form = format!("&client_id={}&client_secret={}", encoded(id), encoded(secret.reveal()));
        Self::Post(Secret::new(form))
    }
}

impl Endpoint {
    /// Asks what a token is worth; nothing if it is not active.
    pub(super) async fn ask(
        &self,
        worker: usize,
        token: &str,
        memory: &Memory,
    ) -> Result<Option<Claims>, Arc<str>> {
        let asked = async {
            let _place = memory.places.acquire().await.map_err(|_| "it is closed".to_owned())?;
            let remote = self.remote().await?;
            self.call(&*remote, worker, token).await
        };
        let said = timeout(self.limit, asked).await;
        let said = said.unwrap_or_else(|_| Err(format!("no answer within {:?}", self.limit)));
        self.note(said.is_ok());
        said.map_err(Arc::from)
    }

    async fn call(
        &self,
        remote: &dyn Remote,
        worker: usize,
        token: &str,
    ) -> Result<Option<Claims>, String> {
        let request = self.request(remote, token);
        let answer = remote.call(Some(worker), request).await.map_err(|fault| {
            fault.cause.map_or_else(|| fault.code.name().to_owned(), |cause| cause.to_string())
        })?;
        let is_ok = answer.status == StatusCode::OK;
        match answer.status {
            StatusCode::OK => {}
            // What it says is about this one token, not about itself.
            StatusCode::BAD_REQUEST
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::URI_TOO_LONG
            | StatusCode::UNPROCESSABLE_ENTITY
            | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(format!(
                    "it answers {}: are `client_id` and `client_secret` right?",
                    answer.status.as_u16()
                ));
            }
            other => return Err(format!("it answers {}", other.as_u16())),
        }
        let bytes = read(answer.body, INTROSPECTION_BYTES_MAX).await;
        let bytes = bytes.map_err(|fault| {
            fault.cause.map_or_else(|| fault.code.name().to_owned(), |cause| cause.to_string())
        })?;
        if !is_ok {
            return match answer::about_who_asks(&bytes) {
                Some(error) => Err(format!("it answers {}, {error}", answer.status.as_u16())),
                None => Ok(None),
            };
        }
        answer::read(&bytes).map_err(str::to_owned)
    }

    fn request(&self, remote: &dyn Remote, token: &str) -> Request {
        let mut form = format!("token={}&token_type_hint=access_token", encoded(token));
        let mut headers = Headers::new();
        match &self.proof {
            Proof::Basic(value) => headers.append(AUTHORIZATION, value.clone()),
            Proof::Post(more) => form.push_str(more.reveal()),
        }
        headers.append(ACCEPT, HeaderValue::from_static("application/json"));
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.append(CONTENT_TYPE, kind);
        headers.append(CONTENT_LENGTH, HeaderValue::from(form.len()));
        let target = remote.target().clone();
        Request { method: Method::POST, target, headers, body: Body::full(form), protocol: None }
    }

    async fn remote(&self) -> Result<Arc<dyn Remote>, String> {
        let (issuer, way, found, asking) = match &self.place {
            Place::Fixed(remote) => return Ok(Arc::clone(remote)),
            Place::Told { issuer, way, found, asking, .. } => (issuer, way, found, asking),
        };
        if let Some(remote) = &*found.load() {
            return Ok(Arc::clone(remote));
        }
        let _asking = asking.lock().await;
        if let Some(remote) = &*found.load() {
            return Ok(Arc::clone(remote));
        }
        let mut fetcher = Fetcher::new(Source::Discovery(issuer.clone()), self.ca_pem.clone());
        let url = discover((issuer, "introspection_endpoint"), &mut fetcher, way).await?;
        let remote = way.open(self.destination(&url)?)?;
        found.store(Some(Arc::new(Arc::clone(&remote))));
        Ok(remote)
    }

    /// The destination of an address.
    pub(super) fn destination(&self, url: &str) -> Result<Destination, String> {
        destination(url, self.limit, self.ca_pem.clone())
    }

    /// After several failures in a row the issuer is asked again where to ask. One may be due to a single token.
    fn note(&self, is_well: bool) {
        let Place::Told { found, failures, .. } = &self.place else { return };
        if is_well {
            failures.store(0, Ordering::Relaxed);
        } else if failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES {
            failures.store(0, Ordering::Relaxed);
            found.store(None);
        }
    }
}

/// An address with the patience of whoever waits for it.
pub(super) fn destination(
    url: &str,
    limit: Duration,
    ca_pem: Option<Vec<u8>>,
) -> Result<Destination, String> {
    let mut to = Destination::parse(url)?;
    to.timeouts.connect = Some(limit);
    to.timeouts.first_byte = Some(limit);
    to.timeouts.idle = Some(limit);
    to.timeouts.total = Some(limit);
    to.ca_pem = ca_pem;
    Ok(to)
}

/// What stands for itself in no form.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'*');

fn encoded(text: &str) -> impl std::fmt::Display {
    utf8_percent_encode(text, FORM)
}
