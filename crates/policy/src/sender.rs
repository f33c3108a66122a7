//! Tokens that only their holder can use: bound to a key whose possession each request proves (DPoP, RFC 9449), or
//! to the client certificate of the connection (RFC 8705).
//!
//! What a token is bound to is in its `cnf` (RFC 7800). All of it must hold, and what is not understood never does: a
//! bound token is nothing that whoever has it may use.

use crate::bearer::{self, By};
use crate::dpop::nonce::Nonces;
use crate::dpop::{self, ALGORITHMS, Asked, Origin, Proof};
use crate::kind::BuildCtx;
use crate::replay::{Refused, Replays, Shown};
use crate::verified::{self, TokenHash};
use crate::written::{OneOrMany, Short, Written};
use base::caps::{CHALLENGE_URL_BYTES_MAX, DPOP_NONCE_S, LONG_CHECKS_MAX, LONG_PROOFS_REMEMBERED};
use base::units::Period;
use base::{Clock, Node, Report};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue};
use quick_cache::sync::Cache;
use schemars::JsonSchema;
use serde::Deserialize;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::Semaphore;
use traffic::background::compute;
use traffic::exchange::Claims;
use traffic::{Background, Exchange, Fault, FaultCode, Stage};

#[cfg(test)]
mod tests;

/// The header that holds the proof.
pub(crate) const DPOP: HeaderName = HeaderName::from_static("dpop");
/// The header by which a nonce is given.
pub(crate) const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

const PROOF_AGE: Duration = Duration::from_secs(60);
const PROOF_AGE_MAX: Duration = Duration::from_secs(600);

/// What is asked of those who show tokens; short: what tokens must be bound to. Tokens that are bound are only ever
/// accepted from their holder, whatever is said here.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub struct Settings {
    /// What tokens must be bound to: `dpop`, `certificate`, or `any` of them. Tokens that are bound to nothing are
    /// accepted, too, when left out.
    pub required: Option<Required>,
    /// Whether proofs must repeat a nonce of the gateway, so that none can be made in advance. Clients that do not are
    /// told one with 401 and `use_dpop_nonce`, and again after some minutes.
    pub nonce: bool,
    /// How old a proof may be: 60s when left out, at most 10m. The policy's leeway is added.
    pub proof_age: Option<Period>,
    /// Scheme and host by which clients call, such as `https://api.example.com`, where something in front changes them.
    /// Those of the request when left out, where the API has `hosts`.
    pub origin: OneOrMany,
}

impl fmt::Debug for Written<Settings> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What tokens must be bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Required {
    /// A key (RFC 9449).
    Dpop,
    /// A client certificate (RFC 8705).
    Certificate,
    /// One of them.
    Any,
}

impl Short for Settings {
    const EXPECTING: &'static str =
        "`dpop`, `certificate` or `any`, or `{ required, nonce, proof_age, origin }`";
    const SAMPLE: &'static str = "dpop";

    fn short(text: &str) -> Result<Self, String> {
        let required = match text {
            "dpop" => Required::Dpop,
            "certificate" => Required::Certificate,
            "any" => Required::Any,
            _ => return Err(format!("`{text}` is none of `dpop`, `certificate` and `any`")),
        };
        Ok(Self { required: Some(required), ..Self::default() })
    }
}

/// What a token is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    /// The thumbprint of a key (`jkt`).
    key: Option<Box<str>>,
    /// The SHA-256 digest of a certificate (`x5t#S256`), in hexadecimal digits.
    certificate: Option<Box<str>>,
}

impl Binding {
    /// Reads what a token is bound to, if it is.
    pub(crate) fn read(claims: &Claims) -> Result<Option<Box<Self>>, &'static str> {
        let Some(told) = claims.get("cnf") else { return Ok(None) };
        let told = told.as_object().filter(|told| !told.is_empty());
        let told = told.ok_or("the token is bound to nothing that is understood (`cnf`)")?;
        let mut binding = Self { key: None, certificate: None };
        for (name, value) in told {
            let text = value.as_str().unwrap_or_default();
            let bytes = URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
            let is_digest = bytes.len() == 32;
            match name.as_str() {
                "jkt" if is_digest => binding.key = Some(text.into()),
                "x5t#S256" if is_digest => {
                    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                    binding.certificate = Some(digits.into());
                }
                _ => return Err("the token is bound to something that is not understood (`cnf`)"),
            }
        }
        Ok(Some(Box::new(binding)))
    }

    /// About how many bytes it takes.
    pub(crate) fn bytes(&self) -> u64 {
        let text = |it: &Option<Box<str>>| it.as_ref().map_or(0, |it| it.len() as u64 + 16);
        32 + text(&self.key) + text(&self.certificate)
    }
}

/// What is asked of those who show tokens.
pub(crate) struct Sender {
    required: Option<Required>,
    /// Those that proofs must repeat, if they must.
    nonces: Option<Arc<Nonces>>,
    replays: Arc<Replays>,
    age_max: Duration,
    leeway: Duration,
    origins: Vec<Origin>,
    /// Where clients learn what this asks for (RFC 9728, 5.1), as a parameter of challenges.
    metadata: Option<String>,
    long: LongProofs,
    clock: Clock,
}

/// Proofs whose signature takes long to check, such as those of P-521: that is done beside the request path, a few at a
/// time. Whether a text is signed by the key in it never changes, so the outcome is looked up when the request goes on.
struct LongProofs {
    background: Arc<dyn Background>,
    places: Arc<Semaphore>,
    outcomes: Arc<Cache<TokenHash, bool>>,
}

/// The cause of a fault that only means: [`Sender::finish`] first.
#[derive(Debug)]
struct Unfinished(Box<str>);

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the signature of a proof waits to be checked")
    }
}

impl std::error::Error for Unfinished {}

/// Whether this is no verdict: [`Sender::finish`] is to be waited for, and then all is to be judged once more.
pub(crate) fn is_unfinished(fault: &Fault) -> bool {
    fault.cause.as_ref().is_some_and(|cause| cause.is::<Unfinished>())
}

impl Sender {
    /// Reads the settings `sender` and `resource_metadata` of a policy.
    pub(crate) fn read(
        settings: &Settings,
        (metadata, leeway): (Option<&str>, Duration),
        node: &Node,
        ctx: &BuildCtx<'_>,
        report: &mut Report,
    ) -> Option<Self> {
        let age_max = settings.proof_age.map_or(PROOF_AGE, |age| age.0);
        if age_max > PROOF_AGE_MAX {
            let message = "a proof that is older than 10m proves little";
            ctx.error(report, node, "/sender/proof_age", message);
            return None;
        }
        let mut origins = Vec::new();
        for text in &settings.origin.0 {
            let Some(origin) = Origin::parse(text) else {
                let message =
                    format!("`{text}` is not an origin such as `https://api.example.com`");
                ctx.error(report, node, "/sender/origin", message);
                return None;
            };
            origins.push(origin);
        }
        let metadata = match metadata {
            None => None,
            Some(url) if is_address(url) => Some(format!(", resource_metadata=\"{url}\"")),
            Some(url) => {
                let message = format!("`{url}` is not an address of resource metadata");
                ctx.error(report, node, "/resource_metadata", message)
                    .help("such as `https://api.example.com/.well-known/oauth-protected-resource`");
                return None;
            }
        };
        let nonces = || ctx.state.portable("dpop/nonces", Nonces::new);
        // One for all: a proof that one policy has seen is none for another that believes older ones.
        let replays = ctx.state.portable("dpop/replays", || Replays::new(ctx.clock.clone()));
        replays.remember_for(age_max + leeway);
        Some(Self {
            required: settings.required,
            nonces: settings.nonce.then(nonces),
            replays,
            age_max,
            leeway,
            origins,
            metadata,
            long: LongProofs {
                background: Arc::clone(ctx.background),
                places: ctx.state.whole().cell("dpop/long", || Semaphore::new(LONG_CHECKS_MAX)),
                outcomes: ctx.state.cell("dpop/outcomes", || Cache::new(LONG_PROOFS_REMEMBERED)),
            },
            clock: ctx.clock.clone(),
        })
    }

    /// Whether proofs are to be about the hosts of the route.
    pub(crate) const fn needs_host(&self) -> bool {
        let is_proven = matches!(self.required, Some(Required::Dpop | Required::Any));
        (is_proven || self.nonces.is_some()) && self.origins.is_empty()
    }

    /// Whether a valid token is shown by its holder; a nonce if the client is to go on with another one.
    pub(crate) fn check(
        &self,
        exchange: &Exchange,
        (token, by): (&str, By),
        binding: Option<&Binding>,
    ) -> Result<Option<HeaderValue>, Fault> {
        let Some(binding) = binding else {
            return match (self.required, by) {
                (None, By::Bearer) => Ok(None),
                (Some(_), _) => Err(bearer::invalid("the token is bound to nothing, and must be")),
                (None, By::Dpop) => {
                    Err(bearer::invalid("the token is shown with a proof, and not bound to a key"))
                }
            };
        };
        let is_as_required = match self.required {
            Some(Required::Dpop) => binding.key.is_some(),
            Some(Required::Certificate) => binding.certificate.is_some(),
            Some(Required::Any) | None => true,
        };
        if !is_as_required {
            return Err(bearer::invalid("the token is not bound to what is required"));
        }
        if let Some(wanted) = &binding.certificate {
            let shown = exchange.client_certificate();
            if shown.is_none_or(|shown| !shown.fingerprint.eq_ignore_ascii_case(wanted)) {
                return Err(bearer::invalid("the token is bound to another client certificate"));
            }
        }
        match (&binding.key, by) {
            (None, By::Bearer) => Ok(None),
            (Some(key), By::Dpop) => self.prove(exchange, token, key),
            (None, By::Dpop) => {
                Err(bearer::invalid("the token is shown with a proof, and not bound to a key"))
            }
            // Whoever found the token could use it that way (RFC 9449, 7.2).
            (Some(_), By::Bearer) => {
                Err(bearer::invalid("the token is bound to a key, and shown without a proof"))
            }
        }
    }

    fn prove(
        &self,
        exchange: &Exchange,
        token: &str,
        key: &str,
    ) -> Result<Option<HeaderValue>, Fault> {
        let name = DPOP;
        let mut shown = exchange.request.headers.all(&name);
        let (Some(text), None) = (shown.next(), shown.next()) else {
            return Err(wrong("there is no proof, or more than one"));
        };
        let text = text.to_str().map_err(|_| wrong("the proof is not a JWT"))?;
        let now = self.clock.wall();
        let own;
        let origins = if self.origins.is_empty() {
            own = origin_of(exchange)?;
            own.as_slice()
        } else {
            &self.origins
        };
        let asked = Asked {
            method: exchange.request.method.as_str(),
            origins,
            path: exchange.request.path(),
            token,
            key,
            now,
            age_max: self.age_max,
            leeway: self.leeway,
        };
        let known = self.long.outcomes.get(&verified::hash(text));
        match dpop::check_at_once(text, &asked, known).map_err(wrong)? {
            Some(proof) => self.is_new(exchange, &proof),
            None => Err(Fault::new(Stage::Guard, FaultCode::ComputeBusy)
                .header(RETRY_AFTER, HeaderValue::from_static("1"))
                .cause(Unfinished(text.into()))),
        }
    }

    /// Does what a request has to wait for before it can be judged.
    ///
    /// # Errors
    /// `compute_busy`, or the fault itself if it is a verdict.
    pub(crate) async fn finish(&self, fault: Fault) -> Result<(), Fault> {
        let text = match fault.cause.as_ref().and_then(|cause| cause.downcast_ref::<Unfinished>()) {
            Some(Unfinished(text)) => text.clone(),
            None => return Err(fault),
        };
        // Nobody closes it.
        let Ok(_place) = self.long.places.acquire().await else { return Err(fault) };
        let hash = verified::hash(&text);
        let is_signed = compute(&*self.long.background, move || dpop::is_signed(&text)).await?;
        self.long.outcomes.insert(hash, is_signed);
        Ok(())
    }

    /// Whether the proof has a nonce of ours, and was never shown before.
    fn is_new(&self, exchange: &Exchange, proof: &Proof) -> Result<Option<HeaderValue>, Fault> {
        let now = self.clock.wall();
        let age = |nonces: &Nonces| nonces.age(proof.nonce.as_deref()?, now);
        let age = self.nonces.as_deref().map(age);
        if let (Some(nonces), Some(None)) = (&self.nonces, age) {
            let nonce = nonces.make(now);
            let nonce = nonce.ok_or_else(|| bearer::unavailable("there is no randomness"))?;
            return Err(challenge(FaultCode::CredentialsMissing, "use_dpop_nonce")
                .detail("the proof must repeat the nonce of `DPoP-Nonce`")
                .header(DPOP_NONCE, nonce)
                .cause("the proof has no nonce that is good"));
        }
        let life = self.age_max + self.leeway;
        let made = proof.until.checked_sub(life).unwrap_or(SystemTime::UNIX_EPOCH);
        let shown = Shown { holder: &proof.thumbprint, id: proof.id.as_bytes(), made };
        match self.replays.note(&shown, now, exchange.id) {
            Ok(()) => {}
            Err(Refused::Again) => return Err(wrong("the proof was shown before")),
            Err(Refused::Full) => {
                return Err(bearer::unavailable("no more proofs of this key can be remembered"));
            }
            Err(Refused::Early | Refused::HandedOver) => {
                let why = "the proof is older than what is remembered of those that were shown";
                return Err(bearer::unavailable(why));
            }
        }
        // Before the client must be refused for it (RFC 9449, 8.2).
        let is_due = age.flatten().is_some_and(|age_s| age_s >= DPOP_NONCE_S / 2);
        Ok(self.nonces.as_ref().filter(|_| is_due).and_then(|nonces| nonces.make(now)))
    }

    /// Makes the challenge of a refusal say what this policy asks for.
    pub(crate) fn dress(&self, mut fault: Fault, exchange: &Exchange) -> Fault {
        let is_dpop = self.required == Some(Required::Dpop) || bearer::is_dpop(&exchange.request);
        let offers_both = self.required == Some(Required::Any);
        if !is_dpop && !offers_both && self.metadata.is_none() {
            return fault;
        }
        let is_challenge = |(name, _): &(HeaderName, HeaderValue)| *name == WWW_AUTHENTICATE;
        let Some(at) = fault.headers.iter().position(is_challenge) else { return fault };
        let (_, written) = fault.headers.remove(at);
        let written = written.to_str().unwrap_or_default();
        let (scheme, parameters) = written.split_once(' ').unwrap_or((written, ""));
        let metadata = self.metadata.as_deref().unwrap_or_default();
        let about_proof = scheme == "DPoP";
        let mut texts = Vec::new();
        if !about_proof && (offers_both || !is_dpop) {
            texts.push(format!("Bearer {parameters}{metadata}"));
        }
        if about_proof {
            texts.push(format!("DPoP {parameters}{metadata}"));
        } else if is_dpop || offers_both {
            texts.push(format!("DPoP {parameters}, algs=\"{ALGORITHMS}\"{metadata}"));
        }
        for text in texts {
            if let Ok(value) = HeaderValue::try_from(text) {
                fault = fault.header(WWW_AUTHENTICATE, value);
            }
        }
        fault
    }
}

/// The proof does not hold; the log gets the reason.
fn wrong(why: &'static str) -> Fault {
    challenge(FaultCode::CredentialsInvalid, "invalid_dpop_proof")
        .detail("the proof that goes with the token is not valid")
        .cause(why)
}

fn challenge(code: FaultCode, error: &str) -> Fault {
    let text = format!("DPoP realm=\"yett\", error=\"{error}\", algs=\"{ALGORITHMS}\"");
    let fault = Fault::new(Stage::Guard, code);
    match HeaderValue::try_from(text) {
        Ok(value) => fault.header(WWW_AUTHENTICATE, value),
        Err(_) => fault,
    }
}

/// Scheme and host by which a request came, if the route is only for such hosts: whoever sends a request writes any host
/// in it, and a server that was shown a token and a proof could write its own.
fn origin_of(exchange: &Exchange) -> Result<Vec<Origin>, Fault> {
    if exchange.matched.as_ref().is_none_or(|matched| matched.route.hosts.is_empty()) {
        let why = "a proof is about an address, and nobody says which ones are the gateway's: \
                   give the API `hosts`, or `sender` an `origin`";
        return Err(bearer::unavailable(why));
    }
    let told = exchange.forwarded.as_ref().and_then(|forwarded| forwarded.host.as_ref());
    let authority = told.unwrap_or(&exchange.request.authority).to_str().unwrap_or_default();
    Ok(Origin::of(exchange.request.scheme.as_str(), authority).into_iter().collect())
}

/// Whether this can stand as an address within quotes.
fn is_address(url: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    url.len() <= CHALLENGE_URL_BYTES_MAX
        && url.bytes().all(is_plain)
        && url.parse::<http::Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
        })
}
