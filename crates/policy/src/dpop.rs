//! Proofs of possession (DPoP, RFC 9449): a client shows with each request that it holds the key its token is bound
//! to, by a message that it signs for this one request.

use crate::jose::{Algorithm, Key, Message, thumbprint};
use crate::json;
use aws_lc_rs::digest::{SHA256, digest};
use base::caps::{DPOP_ID_BYTES_MAX, DPOP_URL_BYTES_MAX, SIGNATURE_US_MAX};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Uri;
use serde_json::{Map, Value};
use std::time::{Duration, SystemTime};
use traffic::canonical::{self, DoubleSlash, PathRules};

/// Numbers that the gateway gives out and proofs repeat.
pub(crate) mod nonce;
#[cfg(test)]
mod tests;

/// The algorithms that proofs may be signed with (RFC 9449, 5.1).
pub const ALGORITHMS: &str = "ES256 ES384 ES512 PS256 PS384 PS512 RS256 RS384 RS512 EdDSA";

/// Digits of an RSA key's modulus and exponent: 4096 bits, and three bytes. Larger ones make the gateway work.
const MODULUS_CHARS_MAX: usize = 684;
const EXPONENT_CHARS_MAX: usize = 4;

/// What is wrong with a proof, for the log.
pub type Why = &'static str;

/// What a proof has to be about.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The request's method.
    pub method: &'a str,
    /// Scheme and host by which the request came, such as `https://api.example.com:8443`; any of these.
    pub origins: &'a [Origin],
    /// The canonical path.
    pub path: &'a str,
    /// The token that is shown beside it.
    pub token: &'a str,
    /// The thumbprint of the key that the token is bound to (RFC 7638).
    pub key: &'a str,
    /// Now.
    pub now: SystemTime,
    /// How old it may be.
    pub age_max: Duration,
    /// How much the client's clock may differ.
    pub leeway: Duration,
}

/// A proof that holds, but for what only a memory can tell: whether its nonce is ours, and whether it was shown before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The thumbprint of the key that signed it (RFC 7638).
    pub thumbprint: String,
    /// What tells it from other proofs of this key.
    pub id: String,
    /// The nonce it repeats.
    pub nonce: Option<String>,
    /// When nobody believes it any more.
    pub until: SystemTime,
}

/// Scheme, host and port of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    is_https: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// Reads `https://host` or `https://host:port`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        Self::of(scheme, authority)
    }

    /// That of a scheme and what stands between it and the path.
    #[must_use]
    pub fn of(scheme: &str, authority: &str) -> Option<Self> {
        let is_https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = canonical::host(authority)?.into_owned();
        let after_host = authority.rsplit_once(']').map_or(authority, |(_, rest)| rest);
        let port = match after_host.rsplit_once(':') {
            Some((_, port)) => port.parse().ok()?,
            None if is_https => 443,
            None => 80,
        };
        Some(Self { is_https, host, port })
    }
}

/// Checks a proof (RFC 9449, 4.3) but for its nonce and whether it was shown before.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check(text: &str, asked: &Asked<'_>) -> Result<Proof, Why> {
    let proof = check_by(text, asked, |message, jwk| signed(message, jwk).map(Some))?;
    proof.ok_or("the proof's signature was not checked")
}

/// The same; none if its signature takes long to check, and it is not `known` whether it is right.
pub(crate) fn check_at_once(
    text: &str,
    asked: &Asked<'_>,
    known: Option<bool>,
) -> Result<Option<Proof>, Why> {
    check_by(text, asked, |message, jwk| match known {
        Some(known) => Ok(Some(known)),
        None if cost_us(message, jwk) > SIGNATURE_US_MAX => Ok(None),
        None => signed(message, jwk).map(Some),
    })
}

/// Whether a proof is signed by the key that it brings along, whatever it says.
pub(crate) fn is_signed(text: &str) -> bool {
    let signed = |message: &Message<'_>| {
        let jwk = message.header.get("jwk").and_then(Value::as_object)?;
        signed(message, jwk).ok()
    };
    Message::parse(text).ok().and_then(|message| signed(&message)).unwrap_or(false)
}

/// How many microseconds it takes to check the signature, about.
fn cost_us(message: &Message<'_>, jwk: &Map<String, Value>) -> u32 {
    let digits = jwk.get("n").and_then(Value::as_str).map_or(0, str::len).min(MODULUS_CHARS_MAX);
    message.algorithm.cost_us(u32::try_from(digits * 6).unwrap_or(u32::MAX))
}

fn check_by(
    text: &str,
    asked: &Asked<'_>,
    is_signed: impl FnOnce(&Message<'_>, &Map<String, Value>) -> Result<Option<bool>, Why>,
) -> Result<Option<Proof>, Why> {
    let message = Message::parse(text)?;
    if message.media_type()?.as_deref() != Some("dpop+jwt") {
        return Err("the proof's type (`typ`) is not `dpop+jwt`");
    }
    if message.algorithm.is_symmetric() {
        return Err("the proof's algorithm needs a secret");
    }
    let jwk = message.header.get("jwk").and_then(Value::as_object);
    let jwk = jwk.ok_or("the proof brings no key along (`jwk`)")?;
    let claims = json::object(&message.payload)?;
    // What costs nothing comes before the signature.
    let until = fresh(&claims, asked)?;
    about(&claims, asked)?;
    let id = text_of(&claims, "jti")?.ok_or("the proof has no identifier (`jti`)")?;
    if id.is_empty() || id.len() > DPOP_ID_BYTES_MAX {
        return Err("the proof's identifier (`jti`) is empty or too long");
    }
    let nonce = text_of(&claims, "nonce")?.map(str::to_owned);
    let thumbprint = thumbprint(jwk).ok_or("the proof's key is not whole")?;
    if thumbprint != asked.key {
        return Err("the proof is signed by a key that the token is not bound to");
    }
    match is_signed(&message, jwk)? {
        Some(true) => Ok(Some(Proof { thumbprint, id: id.to_owned(), nonce, until })),
        Some(false) => Err("the proof's signature is wrong"),
        None => Ok(None),
    }
}

fn signed(message: &Message<'_>, jwk: &Map<String, Value>) -> Result<bool, Why> {
    // Beside `d`, which no public key has.
    if ["p", "q", "dp", "dq", "qi", "oth"].iter().any(|name| jwk.contains_key(*name)) {
        return Err("the proof's key has private parts");
    }
    let length = |name| jwk.get(name).and_then(Value::as_str).map_or(0, str::len);
    if length("n") > MODULUS_CHARS_MAX || length("e") > EXPONENT_CHARS_MAX {
        return Err("the proof's key is larger than a client needs");
    }
    Ok(Key::from_jwk_for(jwk, message.algorithm)?.verifies(message))
}

/// Until when the proof can be believed, if it can be at all.
fn fresh(claims: &Map<String, Value>, asked: &Asked<'_>) -> Result<SystemTime, Why> {
    let seconds = claims.get("iat").and_then(Value::as_f64);
    let seconds = seconds.filter(|told| (0.0..1e11).contains(told));
    let seconds = seconds.ok_or("the proof does not say when it was made (`iat`)")?;
    let made = SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds);
    if made > asked.now + asked.leeway {
        return Err("the proof was made in the future (`iat`)");
    }
    let until = made + asked.age_max + asked.leeway;
    if until <= asked.now {
        return Err("the proof is too old (`iat`)");
    }
    Ok(until)
}

/// Whether the proof is about this request and this token.
fn about(claims: &Map<String, Value>, asked: &Asked<'_>) -> Result<(), Why> {
    if text_of(claims, "htm")? != Some(asked.method) {
        return Err("the proof is about another method (`htm`)");
    }
    let url = text_of(claims, "htu")?.unwrap_or_default();
    if !is_about(url, asked) {
        return Err("the proof is about another address (`htu`)");
    }
    let told = text_of(claims, "ath")?.ok_or("the proof is about no token (`ath`)")?;
    if told != URL_SAFE_NO_PAD.encode(digest(&SHA256, asked.token.as_bytes())) {
        return Err("the proof is about another token (`ath`)");
    }
    Ok(())
}

/// Compares addresses in their normal form and without query and fragment (RFC 9449, 4.3; RFC 3986, 6.2.2 and 6.2.3).
fn is_about(url: &str, asked: &Asked<'_>) -> bool {
    if url.len() > DPOP_URL_BYTES_MAX {
        return false;
    }
    let Ok(url) = url.parse::<Uri>() else { return false };
    let (Some(scheme), Some(authority)) = (url.scheme_str(), url.authority()) else {
        return false;
    };
    let origin = Origin::of(scheme, authority.as_str());
    if !origin.is_some_and(|origin| asked.origins.contains(&origin)) {
        return false;
    }
    if url.path() == asked.path {
        return true;
    }
    // Whichever way the listener reads slashes.
    [DoubleSlash::Merge, DoubleSlash::Keep].into_iter().any(|double_slash| {
        let rules = PathRules { keep_encoded_slash: true, double_slash };
        canonical::path(url.path(), rules).is_ok_and(|path| path == asked.path)
    })
}

fn text_of<'a>(claims: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Why> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or("a claim of the proof is not a text"),
    }
}

/// Whether a name in [`ALGORITHMS`] is that of an algorithm.
#[must_use]
pub fn is_algorithm(name: &str) -> bool {
    Algorithm::of(name).is_some_and(|algorithm| !algorithm.is_symmetric())
}
