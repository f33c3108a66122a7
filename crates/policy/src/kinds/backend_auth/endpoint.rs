//! Asks a token endpoint (RFC 6749, 3.2).

use super::{ClientAuth, ClientSettings};
use crate::json;
use crate::kind::BuildCtx;
use base::caps::{
    BACKEND_TOKEN_BYTES_MAX, BACKEND_TOKEN_PAUSE_S, BACKEND_TOKEN_S, BACKEND_TOKEN_S_MAX,
    BACKEND_TOKEN_TIMEOUT_S, TOKEN_ANSWER_BYTES_MAX,
};
use base::secret::Text;
use base::{Clock, Secret};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use telemetry::metrics::BackendTokenMetrics;
use traffic::{Body, Destination, Headers, Remote, Request, outbound};

/// What stays as it is in a form (WHATWG URL, application/x-www-form-urlencoded).
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'*');

/// A token for a backend.
pub(super) struct Token {
    /// As a header has it, `Bearer …`.
    pub(super) header: HeaderValue,
    /// When it was asked for.
    pub(super) begun: Instant,
    /// How long it holds from then on.
    pub(super) lifetime: Duration,
    /// Until when it is used.
    pub(super) until: Instant,
    /// Whether a backend has refused it, so that another one is to be had. It is used until there is one.
    pub(super) is_doubted: AtomicBool,
}

impl Token {
    /// A backend has refused it: whether another one is to be had. One that is new is not replaced again.
    pub(super) fn doubt(&self, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.begun);
        age >= Duration::from_secs(BACKEND_TOKEN_PAUSE_S)
            && !self.is_doubted.swap(true, Ordering::Relaxed)
    }
}

/// Why there is no token, in words without any secret.
#[derive(Debug)]
pub(super) enum Lost {
    /// The endpoint does not give one for what it was shown (RFC 6749, 5.2; RFC 8693, 2.2.2).
    Refused(About, String),
    /// It cannot be asked, or does not know the gateway.
    Failed(String),
}

/// What a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// The token that was shown.
    Token,
    /// What another one is asked for.
    Target,
}

/// The errors of an endpoint that are about what it was shown, and not about who asks.
const REFUSALS: [(&str, About); 5] = [
    // RFC 8693, 2.2.2 says the first of a token that is not accepted; many endpoints say the second.
    ("invalid_request", About::Token),
    ("invalid_grant", About::Token),
    ("invalid_target", About::Target),
    ("invalid_scope", About::Target),
    ("access_denied", About::Target),
];

/// A token endpoint, and how the gateway proves there who it is.
pub(super) struct Endpoint {
    remote: Arc<dyn Remote>,
    pub(super) host: String,
    authorization: Option<HeaderValue>,
    form: Secret,
    clock: Clock,
    metrics: Arc<BackendTokenMetrics>,
}

impl Endpoint {
    /// Opens the way to it. `grant` are the parameters that say what is asked for.
    ///
    /// # Errors
    /// In words: which setting, and what is wrong with it.
    pub(super) fn open(
        client: &ClientSettings,
        grant: &[(&str, &str)],
        ctx: &BuildCtx<'_>,
    ) -> Result<Self, (&'static str, String)> {
        let mut destination =
            Destination::parse(&client.token_url).map_err(|message| ("/token_url", message))?;
        // Requests wait for it.
        destination.timeouts.total = Some(Duration::from_secs(BACKEND_TOKEN_TIMEOUT_S));
        let host = destination.url.authority().map(ToString::to_string).unwrap_or_default();
        let mut form = String::new();
        for (name, value) in grant {
            push(&mut form, name, value);
        }
        let optional = [
            ("scope", &client.scope),
            ("audience", &client.audience),
            ("resource", &client.resource),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                push(&mut form, name, value);
            }
        }
        let mut authorization = None;
        match (&client.client_id, &client.client_secret, client.client_auth) {
            (None, Some(_), _) => {
                return Err(("/client_secret", "a secret needs a `client_id`".to_owned()));
            }
            (None, None, _) => {}
            (Some(id), None, _) => push(&mut form, "client_id", id),
            (Some(id), Some(secret), ClientAuth::Post) => {
                let secret = secret_of(secret, ctx).map_err(|why| ("/client_secret", why))?;
                push(&mut form, "client_id", id);
                push(&mut form, "client_secret", secret.reveal());
            }
            (Some(id), Some(secret), ClientAuth::Basic) => {
                let secret = secret_of(secret, ctx).map_err(|why| ("/client_secret", why))?;
                // Both are encoded as in a form first (RFC 6749, 2.3.1).
                let pair = Secret::new(format!(
                    "{}:{}",
                    utf8_percent_encode(id, FORM),
                    utf8_percent_encode(secret.reveal(), FORM)
                ));
                let text = format!("Basic {}", STANDARD.encode(pair.reveal()));
                authorization = HeaderValue::try_from(text).ok().map(sensitive);
            }
        }
        let remote = ctx.outbound.open(destination).map_err(|message| ("/token_url", message))?;
        let metrics = ctx.metrics.backend_tokens(&host);
        let (form, clock) = (Secret::new(form), ctx.clock.clone());
        Ok(Self { remote, host, authorization, form, clock, metrics })
    }

    /// Tells apart endpoints and what is asked for, so that what is remembered of one is not taken for another's.
    pub(super) fn print(&self) -> String {
        let hash = |text: &[u8]| {
            let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text);
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(hash.as_ref())
        };
        let authorization = self.authorization.as_ref().map(HeaderValue::as_bytes);
        format!(
            "{}{}/{}/{}/{}",
            self.host,
            self.remote.target(),
            self.remote.manner(),
            hash(self.form.reveal().as_bytes()),
            hash(authorization.unwrap_or_default()),
        )
    }

    /// Asks for a token.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn ask(
        &self,
        worker: Option<usize>,
        more: &[(&str, &str)],
    ) -> Result<Token, Lost> {
        // The limits of the way end with the head of the answer.
        let limit = Duration::from_secs(BACKEND_TOKEN_TIMEOUT_S);
        let asked = tokio::time::timeout(limit, self.answer(worker, more)).await;
        let asked = asked
            .unwrap_or_else(|_| Err(Lost::Failed(format!("no whole answer within {limit:?}"))));
        let counter = if asked.is_ok() { &self.metrics.obtained } else { &self.metrics.failed };
        counter.add(worker.unwrap_or_default(), 1);
        let told = |why| format!("the token endpoint {}: {why}", self.host);
        asked.map_err(|lost| match lost {
            Lost::Refused(about, why) => Lost::Refused(about, told(why)),
            Lost::Failed(why) => Lost::Failed(told(why)),
        })
    }

    async fn answer(&self, worker: Option<usize>, more: &[(&str, &str)]) -> Result<Token, Lost> {
        let begun = self.clock.now();
        let mut form = self.form.reveal().to_owned();
        for (name, value) in more {
            push(&mut form, name, value);
        }
        let mut headers = Headers::with_capacity(4);
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.append(CONTENT_TYPE, form_type);
        headers.append(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(authorization) = &self.authorization {
            headers.append(AUTHORIZATION, authorization.clone());
        }
        let request = Request {
            method: Method::POST,
            target: self.remote.target().clone(),
            headers,
            body: Body::full(form),
            protocol: None,
        };
        let in_words = |fault: traffic::Fault| {
            let cause = fault.cause.map(|cause| format!(": {cause}")).unwrap_or_default();
            Lost::Failed(format!("{}{cause}", fault.code.name()))
        };
        let response = self.remote.call(worker, request).await.map_err(in_words)?;
        let status = response.status;
        let body = outbound::read(response.body, TOKEN_ANSWER_BYTES_MAX).await.map_err(in_words)?;
        let answer = json::object(&body).ok().map(Value::Object);
        if !status.is_success() {
            return Err(refused(status.as_u16(), answer.as_ref()));
        }
        let failed = |why: &str| Lost::Failed(why.to_owned());
        let answer = answer.ok_or_else(|| failed("its answer is no JSON"))?;
        token(&answer, begun).ok_or_else(|| failed("its answer holds no bearer token"))
    }
}

/// What an endpoint says of a refusal (RFC 6749, 5.2). Its description is left out: it may repeat what was sent.
fn refused(status: u16, answer: Option<&Value>) -> Lost {
    let error = answer.and_then(|answer| answer.get("error")?.as_str());
    let is_plain = |error: &&str| {
        error.len() <= 64 && error.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
    };
    let Some(error) = error.filter(is_plain) else {
        return Lost::Failed(format!("it answers {status}"));
    };
    let why = format!("it answers {status}, {error}");
    let refusal = REFUSALS.iter().find(|(name, _)| matches!(status, 400 | 403) && *name == error);
    match refusal {
        Some((_, about)) => Lost::Refused(*about, why),
        None => Lost::Failed(why),
    }
}

/// The token of an answer (RFC 6749, 5.1; RFC 8693, 2.2.1).
fn token(answer: &Value, begun: Instant) -> Option<Token> {
    let text = answer.get("access_token")?.as_str()?;
    let kind = answer.get("token_type").and_then(Value::as_str).unwrap_or("bearer");
    let is_bearer = kind.eq_ignore_ascii_case("bearer") || kind.eq_ignore_ascii_case("n_a");
    // RFC 6750, 2.1, and nothing that would end the header.
    let is_token = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_bearer || !is_token || text.len() > BACKEND_TOKEN_BYTES_MAX {
        return None;
    }
    let lifetime_s = match answer.get("expires_in") {
        Some(Value::String(digits)) => digits.parse().ok(),
        Some(number) => number.as_u64(),
        None => None,
    };
    let lifetime_s = lifetime_s.unwrap_or(BACKEND_TOKEN_S).min(BACKEND_TOKEN_S_MAX);
    let lifetime = Duration::from_secs(lifetime_s);
    // What is on its way as it ends would be refused.
    let margin = (lifetime / 10).min(Duration::from_secs(10));
    let until = begun.checked_add(lifetime.saturating_sub(margin))?;
    let header = HeaderValue::try_from(format!("Bearer {text}")).ok().map(sensitive)?;
    Some(Token { header, begun, lifetime, until, is_doubted: AtomicBool::new(false) })
}

/// The value of a text that must name a secret.
///
/// # Errors
/// In words, when it does not, or when there is no such secret.
pub(super) fn secret_of(text: &Text, ctx: &BuildCtx<'_>) -> Result<Secret, String> {
    if !text.has_reference() {
        return Err(
            "a secret is not written in a config; name it: `${env:NAME}`, `${file:PATH}`".into()
        );
    }
    text.resolve(ctx.secrets)
}

/// Marks a value so that it is neither logged nor indexed.
pub(super) fn sensitive(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

fn push(form: &mut String, name: &str, value: &str) {
    if !form.is_empty() {
        form.push('&');
    }
    form.push_str(name);
    form.push('=');
    form.extend(utf8_percent_encode(value, FORM));
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({:?})", self.lifetime)
    }
}
