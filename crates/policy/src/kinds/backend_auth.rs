//! Proves to the backend who the gateway is: by a fixed secret, or by a token that it obtains.
//!
//! The credential is added to each attempt, after copies of the request were made and everything was noted of it
//! that is written down.

use crate::field;
use crate::kind::{BuildCtx, Group, Kind};
use crate::{plain, verified};
use base::secret::Text;
use base::{Node, Report, Secret, decode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use endpoint::{About, Endpoint, secret_of, sensitive};
use exchanged::{Exchanged, Failed, Memory};
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use source::Source;
use std::sync::Arc;
use std::time::SystemTime;
use traffic::exchange::Slot;
use traffic::policy::{Facts, Phases};
use traffic::{Exchange, Fault, FaultCode, Flow, Outcome, Policy, Response, Stage};

mod endpoint;
mod source;
mod exchanged;

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "backend_auth",
    group: Group::Shape,
    phases: Phases { request: true, forward: true, reply: true, record: false },
    answers: false,
    about: "Proves to the backend who the gateway is: by a user name and a password, a bearer token or a key, or by a token \
            of OAuth 2.0 that it obtains and renews, for itself or in exchange for the caller's. Without one requests are \
            refused with 503.",
    example: "backend_auth: { bearer: '${env:TOKEN}' }",
    resets: "changing what a token is asked for with: another one is obtained",
    schema: <Settings as JsonSchema>::json_schema,
    build,
};

/// Settings of `backend_auth`: one of these. Secrets are named, never written: `${env:NAME}`, `${file:PATH}`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub struct Settings {
    /// A user name and a password (RFC 7617).
    pub basic: Option<BasicSettings>,
    /// A bearer token (RFC 6750).
    pub bearer: Option<Text>,
    /// A key in a header.
    pub api_key: Option<KeySettings>,
    /// A token for the gateway itself (RFC 6749, 4.4), renewed in the background before it ends.
    pub client_credentials: Option<ClientSettings>,
    /// A token in exchange for the bearer token of the caller (RFC 8693), which `jwt` or `introspection` must have believed and
    /// must `keep`. It is used no longer than the caller's own.
    pub token_exchange: Option<ClientSettings>,
}

/// A user name and a password.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicSettings {
    /// The user name, without a colon.
    pub username: Text,
    /// The password.
    pub password: Text,
}

/// A key in a header.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeySettings {
    /// The header.
    #[serde(default = "key_header")]
    pub header: String,
    /// The key.
    pub value: Text,
}

fn key_header() -> String {
    "x-api-key".to_owned()
}

/// A token endpoint, and what it is asked for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientSettings {
    /// The token endpoint.
    pub token_url: String,
    /// The name of the gateway there.
    pub client_id: Option<String>,
    /// Its secret.
    pub client_secret: Option<Text>,
    /// How it proves that it knows the secret.
    #[serde(default)]
    pub client_auth: ClientAuth,
    /// What the token is to allow, separated by spaces.
    pub scope: Option<String>,
    /// Whom the token is for, by name.
    pub audience: Option<String>,
    /// Whom the token is for, by URL (RFC 8707).
    pub resource: Option<String>,
}

/// How a client proves who it is (RFC 6749, 2.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// In the header `authorization`.
    #[default]
    Basic,
    /// In the body.
    Post,
}

/// The type of the tokens that are exchanged (RFC 8693, 3).
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

enum Proof {
    /// The same for all requests.
    Fixed(HeaderName, HeaderValue),
    /// A token for the gateway.
    Own(Arc<Source>),
    /// A token for each caller.
    Exchanged(Box<Exchanged>),
}

/// The caller's token, between two hooks.
struct Subject {
    token: Secret,
    /// Whose it is, and which.
    key: [u8; 32],
    /// When it ends.
    until: Option<SystemTime>,
}

impl Subject {
    /// That of a request, if an identity policy has believed it. What nobody has looked at is somebody else's, perhaps.
    fn of(exchange: &Exchange) -> Option<Self> {
        let token = bearer(exchange)?;
        let hash = verified::hash(token.reveal());
        if exchange.token != Some(hash) {
            return None;
        }
        let name = exchange.consumer.as_ref().map_or("", |consumer| &consumer.name);
        let key = verified::digest_of(&[&hash[..], name.as_bytes()].concat());
        Some(Self { token, key, until: exchange.valid_until })
    }
}

struct ProveToBackend(Proof);

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    let settings = decode::<Settings>(node, ctx.path, report)?;
    let asked = [
        (&settings.client_credentials, "/client_credentials/token_url"),
        (&settings.token_exchange, "/token_exchange/token_url"),
    ];
    for (client, below) in asked {
        if let Some(client) = client {
            let what = "secrets and tokens go there by plain HTTP, for all to read";
            plain::warn((&client.token_url, what), (node, below), ctx, report);
        }
    }
    match proof(&settings, ctx) {
        Ok(proof) => Some(Arc::new(ProveToBackend(proof))),
        Err((below, message)) => {
            ctx.error(report, node, &below, message);
            None
        }
    }
}

fn proof(settings: &Settings, ctx: &BuildCtx<'_>) -> Result<Proof, (String, String)> {
    let at = |below: &'static str| move |message: String| (below.to_owned(), message);
    let Settings { basic, bearer, api_key, client_credentials, token_exchange } = settings;
    match (basic, bearer, api_key, client_credentials, token_exchange) {
        (Some(basic), None, None, None, None) => {
            let password = secret_of(&basic.password, ctx).map_err(at("/basic/password"))?;
            let username = basic.username.resolve(ctx.secrets).map_err(at("/basic/username"))?;
            if username.reveal().contains(':') {
                return Err(at("/basic/username")("a user name has no colon".to_owned()));
            }
            let pair = Secret::new(format!("{}:{}", username.reveal(), password.reveal()));
            let text = Secret::new(format!("Basic {}", STANDARD.encode(pair.reveal())));
            fixed(AUTHORIZATION, &text).map_err(at("/basic"))
        }
        (None, Some(bearer), None, None, None) => {
            let token = secret_of(bearer, ctx).map_err(at("/bearer"))?;
            fixed(AUTHORIZATION, &Secret::new(format!("Bearer {}", token.reveal().trim())))
                .map_err(at("/bearer"))
        }
        (None, None, Some(key), None, None) => {
            let value = secret_of(&key.value, ctx).map_err(at("/api_key/value"))?;
            let name = field::name(&key.header).map_err(at("/api_key/header"))?;
            fixed(name, &Secret::new(value.reveal().trim().to_owned()))
                .map_err(at("/api_key/value"))
        }
        (None, None, None, Some(client), None) => own(client, ctx)
            .map_err(|(below, message)| (format!("/client_credentials{below}"), message)),
        (None, None, None, None, Some(client)) => exchanged(client, ctx)
            .map_err(|(below, message)| (format!("/token_exchange{below}"), message)),
        _ => {
            let message = "the gateway proves who it is in one way: `basic`, `bearer`, `api_key`, `client_credentials` or `token_exchange`";
            Err(at("")(message.to_owned()))
        }
    }
}

fn fixed(name: HeaderName, text: &Secret) -> Result<Proof, String> {
    let value = HeaderValue::from_str(text.reveal())
        .map_err(|_| "what it stands for is more than one line, or not printable".to_owned())?;
    Ok(Proof::Fixed(name, sensitive(value)))
}

fn own(client: &ClientSettings, ctx: &BuildCtx<'_>) -> Result<Proof, (&'static str, String)> {
    if client.client_id.is_none() {
        return Err(("/client_id", "`client_id` is missing".to_owned()));
    }
    let endpoint = Endpoint::open(client, &[("grant_type", "client_credentials")], ctx)?;
    let id = format!("backend_auth/own/{}", endpoint.print());
    let source = ctx.state.cell(&id, || Source::new(endpoint, ctx.clock.clone()));
    source.begin(&**ctx.background);
    Ok(Proof::Own(source))
}

fn exchanged(client: &ClientSettings, ctx: &BuildCtx<'_>) -> Result<Proof, (&'static str, String)> {
    let grant = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token_type", ACCESS_TOKEN),
        ("requested_token_type", ACCESS_TOKEN),
    ];
    let endpoint = Endpoint::open(client, &grant, ctx)?;
    let id = format!("backend_auth/exchanged/{}", endpoint.print());
    let memory = ctx.state.cell(&id, Memory::new);
    Ok(Proof::Exchanged(Box::new(Exchanged::new(endpoint, memory, ctx.clock.clone()))))
}

fn unavailable(why: impl Into<base::BoxError>) -> Fault {
    Fault::new(Stage::Forward, FaultCode::BackendCredentialsUnavailable).cause(why)
}

/// What a caller is told whose token was not exchanged: only what the issuer has answered is about the caller.
fn not_exchanged(failed: &Failed) -> Fault {
    let why = &*failed.why;
    match failed.refused {
        None => unavailable(why),
        Some(About::Token) => {
            let challenge =
                HeaderValue::from_static("Bearer realm=\"yett\", error=\"invalid_token\"");
            Fault::new(Stage::Forward, FaultCode::CredentialsNotExchanged)
                .detail("the token is not valid")
                .header(WWW_AUTHENTICATE, challenge)
                .cause(why)
        }
        Some(About::Target) => Fault::new(Stage::Forward, FaultCode::ExchangeDenied).cause(why),
    }
}

/// The one bearer token of a request.
fn bearer(exchange: &Exchange) -> Option<Secret> {
    let mut values = exchange.request.headers.all(AUTHORIZATION);
    let (scheme, token) = values.next()?.to_str().ok()?.split_once(' ')?;
    let is_one = values.next().is_none() && scheme.eq_ignore_ascii_case("bearer");
    is_one.then(|| Secret::new(token.trim().to_owned())).filter(|token| !token.reveal().is_empty())
}

impl Policy for ProveToBackend {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, slot: Slot) -> Outcome<'a, Flow> {
        let name = match &self.0 {
            Proof::Fixed(name, _) => name,
            Proof::Own(_) => &AUTHORIZATION,
            Proof::Exchanged(_) => {
                if let Some(subject) = Subject::of(exchange) {
                    exchange.notes.put(slot, subject);
                }
                &AUTHORIZATION
            }
        };
        // Backends that read headers as variables take `-` and `_` for the same.
        let is_other = |other: &HeaderName| !field::is_same(other, name);
        exchange.request.headers.retain(|other, _| is_other(other));
        Outcome::Now(Ok(Flow::Continue))
    }

    fn on_forward<'a>(&'a self, exchange: &'a mut Exchange, slot: Slot) -> Outcome<'a, ()> {
        let held = match &self.0 {
            Proof::Fixed(name, value) => {
                exchange.request.headers.insert(name.clone(), value.clone());
                return Outcome::Now(Ok(()));
            }
            Proof::Own(source) => source.now(),
            Proof::Exchanged(exchanged) => match exchange.notes.peek::<Subject>(slot) {
                Some(subject) => exchanged.now(&subject.key),
                None => {
                    let why = "there is no token to exchange that an identity policy believed: `jwt` and \
                               `introspection` leave it with `keep: true`";
                    return Outcome::Now(Err(unavailable(why)));
                }
            },
        };
        if let Some(token) = held {
            exchange.request.headers.insert(AUTHORIZATION, token);
            return Outcome::Now(Ok(()));
        }
        Outcome::Later(Box::pin(async move {
            let token = match &self.0 {
                Proof::Own(source) => {
                    source.obtain(Some(exchange.worker)).await.map_err(unavailable)?
                }
                Proof::Exchanged(exchanged) => {
                    // What waits must not hold on to the exchange.
                    let subject = exchange.notes.take::<Subject>(slot);
                    let Some(subject) = subject else {
                        return Err(unavailable("there is no token to exchange"));
                    };
                    let token = exchanged.obtain(exchange.worker, &subject).await;
                    exchange.notes.put(slot, subject);
                    token.map_err(|failed| not_exchanged(&failed))?
                }
                Proof::Fixed(..) => return Ok(()),
            };
            exchange.request.headers.insert(AUTHORIZATION, token);
            Ok(())
        }))
    }

    fn facts(&self) -> Facts {
        let writes = match &self.0 {
            Proof::Fixed(name, _) => name.clone(),
            _ => AUTHORIZATION,
        };
        let needs_token = matches!(self.0, Proof::Exchanged(_));
        Facts { needs_token, writes: vec![writes], ..Facts::default() }
    }

    /// A token that the backend refuses may have been revoked.
    fn on_reply<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        reply: &'a mut Response,
        slot: Slot,
    ) -> Outcome<'a, ()> {
        let is_refused = reply.status == StatusCode::UNAUTHORIZED
            && exchange.record.fault.is_none()
            && exchange.attempts.count > 0;
        if is_refused {
            match &self.0 {
                Proof::Fixed(..) => {}
                Proof::Own(source) => source.refused(),
                Proof::Exchanged(exchanged) => {
                    if let Some(subject) = exchange.notes.peek::<Subject>(slot) {
                        exchanged.refused(&subject.key);
                    }
                }
            }
        }
        Outcome::Now(Ok(()))
    }
}
