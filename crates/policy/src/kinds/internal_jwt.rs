//! Tells the backend who calls by a short-lived token that the gateway signs (RFC 7519).
//!
//! What a client sends in the same header is never forwarded. A request that nobody was identified for gets no token.

use super::identity_headers::find;
use crate::field;
use crate::kind::{BuildCtx, Group, Kind};
use base::caps::{IDENTITY_CLAIMS_MAX, INTERNAL_KEYS_MAX, INTERNAL_TOKEN_S_MAX};
use base::clock::unix_ms;
use base::secret::Text;
use base::units::Period;
use base::{Clock, Node, Report, decode};
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use keys::{Key, Published, Ring};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;
use traffic::exchange::Slot;
use traffic::policy::{Facts, Phases};
use traffic::{Exchange, Fault, FaultCode, Flow, Outcome, Policy, Stage};

pub(crate) mod keys;

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "internal_jwt",
    group: Group::Shape,
    phases: Phases { request: true, forward: true, reply: false, record: false },
    answers: false,
    about: "Tells the backend who calls by a token that the gateway signs and that holds for a minute. A `jwks` policy \
            publishes the keys.",
    example: "internal_jwt: { issuer: \"https://gateway.example.com\", audience: orders }",
    resets: "changing `algorithm`: new keys are made, which verifiers have not seen yet",
    schema: <Settings as JsonSchema>::json_schema,
    build,
};

/// Settings of `internal_jwt`. The token says `iss`, `aud`, `sub`, `iat`, `exp`, `jti`, and besides `consumer`, `known` (whether the
/// config knows the consumer), `groups`, `application` and the chosen claims below `claims`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The gateway's name in tokens, usually the URL under which the keys are published.
    pub issuer: String,
    /// Whom the token is for.
    pub audience: String,
    /// The header that holds it: `authorization` as a bearer token, any other as it is.
    #[serde(default = "header")]
    pub header: String,
    /// How long it holds, from one second to five minutes.
    #[serde(default = "ttl")]
    pub ttl: Period,
    /// Names of claims of the caller that it tells too.
    #[serde(default)]
    pub claims: Vec<String>,
    /// A private key of P-256 or Ed25519 in PEM, such as `${file:signing.pem}`. Without one the gateway makes its own, each
    /// node another one, and keeps them in `state_dir`; where there is none, each start makes new ones.
    pub key: Option<Text>,
    /// Keys that are published too, so that tokens which they signed are believed: the next one, and the last.
    #[serde(default)]
    pub publish: Vec<Text>,
    /// What keys that the gateway makes are for.
    #[serde(default)]
    pub algorithm: Algorithm,
    /// How often it makes a new one. Each is published a whole period before it signs, and one after.
    #[serde(default = "rotate")]
    pub rotate: Period,
}

/// How tokens are signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// ECDSA with P-256 and SHA-256.
    #[default]
    Es256,
    /// Ed25519.
    EdDsa,
}

fn header() -> String {
    "authorization".to_owned()
}

const fn ttl() -> Period {
    Period(Duration::from_secs(60))
}

const fn rotate() -> Period {
    Period(Duration::from_secs(24 * 3_600))
}

/// The shortest time after which made keys change: verifiers ask for the set now and then only.
const ROTATE_MIN: Duration = Duration::from_secs(600);

struct SignIdentity {
    issuer: String,
    audience: String,
    header: HeaderName,
    ttl_s: u64,
    claims: Vec<String>,
    ring: Arc<Ring>,
    clock: Clock,
    _published: Arc<Published>,
}

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    let settings = decode::<Settings>(node, ctx.path, report)?;
    let mut wrongs: Vec<(&str, String)> = Vec::new();
    let header = match HeaderName::from_bytes(settings.header.as_bytes()) {
        Ok(name) if !field::is_own(&name) || name.as_str() == "x-yett-token" => Some(name),
        _ => {
            wrongs.push(("/header", format!("`{}` cannot hold a token", settings.header)));
            None
        }
    };
    let ttl_s = settings.ttl.0.as_secs();
    if ttl_s == 0 || ttl_s > INTERNAL_TOKEN_S_MAX {
        wrongs.push(("/ttl", format!("a token holds from 1 to {INTERNAL_TOKEN_S_MAX} seconds")));
    }
    if settings.claims.len() > IDENTITY_CLAIMS_MAX {
        wrongs.push(("/claims", format!("at most {IDENTITY_CLAIMS_MAX} claims can be told")));
    }
    if settings.rotate.0 < ROTATE_MIN {
        wrongs.push(("/rotate", "keys change every ten minutes at most".to_owned()));
    }
    let ring = ring(&settings, ctx, &mut wrongs);
    for (below, message) in &wrongs {
        ctx.error(report, node, below, message.as_str());
    }
    let (ring, header) = (ring?, header?);
    if !wrongs.is_empty() {
        return None;
    }
    let published = Published::of(ctx);
    published.add(&ring);
    let Settings { issuer, audience, claims, .. } = settings;
    let clock = ctx.clock.clone();
    Some(Arc::new(SignIdentity {
        issuer,
        audience,
        header,
        ttl_s,
        claims,
        ring,
        clock,
        _published: published,
    }))
}

/// The keys that these settings name. Those with the same ones share them.
fn ring(
    settings: &Settings,
    ctx: &BuildCtx<'_>,
    wrongs: &mut Vec<(&'static str, String)>,
) -> Option<Arc<Ring>> {
    let is_ed25519 = settings.algorithm == Algorithm::EdDsa;
    let Some(key) = &settings.key else {
        if !settings.publish.is_empty() {
            let message = "keys that the gateway makes are published by themselves; give a `key`";
            wrongs.push(("/publish", message.to_owned()));
            return None;
        }
        let id = format!("internal_jwt/made/{is_ed25519}/{:?}", settings.rotate.0);
        let published = Published::of(ctx);
        let made = Ring::made(is_ed25519, settings.rotate.0, &published, ctx.clock.clone());
        let made = made.map_err(|message| wrongs.push(("", message))).ok()?;
        return Some(ctx.state.lasting(&id, || made));
    };
    if settings.publish.len() >= INTERNAL_KEYS_MAX {
        wrongs.push(("/publish", format!("at most {INTERNAL_KEYS_MAX} keys are published")));
        return None;
    }
    let mut id = "internal_jwt/read".to_owned();
    let mut read = |text: &Text, below: &'static str| {
        if !text.has_reference() {
            let message =
                "a private key is not written in a config; name it: `${file:signing.pem}`";
            wrongs.push((below, message.to_owned()));
            return None;
        }
        let pem = text.resolve(ctx.secrets);
        let key = pem.and_then(|pem| Key::read(pem.reveal()));
        let key = key.map_err(|message| wrongs.push((below, message))).ok()?;
        id.push_str(&format!("/{}", key.id));
        Some(key)
    };
    let signs = read(key, "/key");
    let others: Vec<_> = settings.publish.iter().map(|text| read(text, "/publish")).collect();
    let others: Option<Vec<Key>> = others.into_iter().collect();
    let (signs, others) = (signs?, others?);
    Some(ctx.state.cell(&id, || Ring::of(signs, others, ctx.clock.clone())))
}

impl SignIdentity {
    fn token(&self, exchange: &Exchange) -> Result<Option<HeaderValue>, String> {
        let Some(consumer) = &exchange.consumer else { return Ok(None) };
        let now_s = unix_ms(self.clock.wall()) / 1_000;
        let mut claims = json!({
            "iss": self.issuer,
            "aud": self.audience,
            "sub": consumer.own_name(),
            "iat": now_s,
            "exp": now_s + self.ttl_s,
            // Each attempt is a use of its own.
            "jti": format!("{}-{}", exchange.id.as_str(), exchange.attempts.count),
            "consumer": consumer.own_name(),
            "known": consumer.is_known,
            "groups": consumer.groups,
        });
        if let Some(fields) = claims.as_object_mut() {
            let credential = exchange.credential.as_ref();
            if let Some(application) = credential.and_then(|it| it.application.as_ref()) {
                fields.insert("application".to_owned(), json!(application));
            }
            let told: Map<String, Value> = self
                .claims
                .iter()
                .filter_map(|name| {
                    let value = find(exchange.claims.as_deref()?, name)?;
                    Some((name.clone(), value.json()))
                })
                .collect();
            if !told.is_empty() {
                fields.insert("claims".to_owned(), Value::Object(told));
            }
        }
        let token = self.ring.signer().sign(&claims)?;
        let text = if self.header == AUTHORIZATION { format!("Bearer {token}") } else { token };
        let mut value = HeaderValue::try_from(text).map_err(|error| error.to_string())?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

impl Policy for SignIdentity {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, _: Slot) -> Outcome<'a, Flow> {
        exchange.request.headers.remove(&self.header);
        Outcome::Now(Ok(Flow::Continue))
    }

    /// Each attempt gets a token of its own, however late it begins.
    fn on_forward<'a>(&'a self, exchange: &'a mut Exchange, _: Slot) -> Outcome<'a, ()> {
        let token = self.token(exchange).map_err(|why| {
            Fault::new(Stage::Forward, FaultCode::BackendCredentialsUnavailable).cause(why)
        });
        Outcome::Now(token.map(|token| {
            if let Some(token) = token {
                exchange.request.headers.insert(self.header.clone(), token);
            }
        }))
    }

    fn facts(&self) -> Facts {
        Facts { writes: vec![self.header.clone()], ..Facts::default() }
    }

    fn speaks_for(&self) -> Vec<HeaderName> {
        // Clients show credentials of their own in `authorization`, on other routes too.
        if self.header == AUTHORIZATION { Vec::new() } else { vec![self.header.clone()] }
    }
}
