//! What must hold of a token beside its signature (RFC 7519, 4.1; RFC 8725; RFC 9068, 4).

use crate::jose::{Algorithm, Message};
use crate::json;
use serde_json::Value;
use std::time::{Duration, SystemTime};
use traffic::exchange::Claims;

/// Why a token is refused, for the log.
pub(in crate::kinds) type Why = &'static str;

/// What a policy asks of tokens.
#[derive(Debug)]
pub(in crate::kinds) struct Rules {
    pub(in crate::kinds) issuer: String,
    /// Any audience is fine when there is none.
    pub(in crate::kinds) audience: Vec<String>,
    pub(in crate::kinds) algorithms: Vec<Algorithm>,
    pub(in crate::kinds) leeway: Duration,
    pub(in crate::kinds) required: Vec<String>,
    /// The media type of tokens, in small letters.
    pub(in crate::kinds) token_type: Option<String>,
    pub(in crate::kinds) scopes: Vec<String>,
    /// The same with spaces between.
    pub(in crate::kinds) scopes_text: String,
}

/// Types of tokens that are accepted where none is asked for: other types are for other purposes (RFC 8725, 3.11).
const TYPES: [&str; 2] = ["jwt", "at+jwt"];

impl Rules {
    /// What a token says, if it is one of this issuer. Nothing of it is verified.
    pub(in crate::kinds) fn read(&self, message: &Message<'_>) -> Result<Claims, Why> {
        if !self.algorithms.contains(&message.algorithm) {
            return Err("the token's algorithm is not one of this issuer");
        }
        let media_type = message.media_type()?;
        let is_right = match (&self.token_type, &media_type) {
            (Some(wanted), Some(told)) => wanted == told,
            (Some(_), None) => false,
            (None, told) => told.as_deref().is_none_or(|told| TYPES.contains(&told)),
        };
        if !is_right {
            return Err("the token's type (`typ`) is another one");
        }
        let content = message.header.get("cty").and_then(Value::as_str).unwrap_or_default();
        if content.to_ascii_lowercase().ends_with("jwt") {
            return Err("the token holds another token");
        }
        let claims = json::object(&message.payload)?;
        if claims.get("iss").and_then(Value::as_str) != Some(&*self.issuer) {
            return Err("the token's issuer (`iss`) is another one");
        }
        Ok(claims)
    }

    /// Checks what a verified token says; returns until when that holds.
    pub(in crate::kinds) fn check(
        &self,
        claims: &Claims,
        now: SystemTime,
    ) -> Result<SystemTime, Why> {
        let expires = date(claims, "exp")?.ok_or("the token never expires (`exp` is missing)")?;
        let until = expires.checked_add(self.leeway).ok_or("the token expires too late")?;
        if until <= now {
            return Err("the token has expired");
        }
        let soon = now.checked_add(self.leeway).ok_or("the clock is wrong")?;
        if date(claims, "nbf")?.is_some_and(|from| from > soon) {
            return Err("the token is not valid yet (`nbf`)");
        }
        if date(claims, "iat")?.is_some_and(|issued| issued > soon) {
            return Err("the token was issued in the future (`iat`)");
        }
        if !self.audience.is_empty() && !self.is_for_us(claims) {
            return Err("the token is for somebody else (`aud`)");
        }
        let is_there = |name: &String| claims.get(name).is_some_and(|value| !value.is_null());
        if !self.required.iter().all(is_there) {
            return Err("a claim that is required is missing");
        }
        Ok(until)
    }

    /// Whether it is for one of the audiences.
    pub(in crate::kinds) fn is_for_us(&self, claims: &Claims) -> bool {
        let is_ours = |value: &Value| {
            value.as_str().is_some_and(|told| self.audience.iter().any(|own| own == told))
        };
        match claims.get("aud") {
            Some(Value::Array(all)) => all.iter().any(is_ours),
            Some(one) => is_ours(one),
            None => false,
        }
    }

    /// Asks whether a token lacks a scope that is demanded.
    pub(in crate::kinds) fn lacks_scope(&self) -> impl Fn(&Claims) -> bool {
        |claims: &Claims| {
            // `scope` is that of RFC 8693, 4.2; `scp` is what others use.
            let told: Vec<&str> =
                ["scope", "scp"].iter().flat_map(|it| words(claims, it)).collect();
            !self.scopes.iter().all(|wanted| told.contains(&wanted.as_str()))
        }
    }
}

/// A claim that is a text with spaces between words, or a list of texts.
pub(in crate::kinds) fn words<'a>(claims: &'a Claims, name: &str) -> Vec<&'a str> {
    listed(claims.get(name))
}

/// The same of a value.
pub(in crate::kinds) fn listed(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::String(text)) => text.split_ascii_whitespace().collect(),
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// The last second of the year 9999.
const LATEST_S: u64 = 253_402_300_799;

/// A time (RFC 7519, 2: seconds since 1970, which may have a fraction).
pub(in crate::kinds) fn date(claims: &Claims, name: &str) -> Result<Option<SystemTime>, Why> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = match value.as_u64() {
        Some(whole) => Duration::from_secs(whole.min(LATEST_S)),
        None => {
            let told = value.as_f64().filter(|told| *told >= 0.0);
            let told = told.ok_or("a time in the token is not a number of seconds")?;
            #[expect(clippy::cast_precision_loss, reason = "half a second does not matter there")]
            Duration::from_secs_f64(told.min(LATEST_S as f64))
        }
    };
    Ok(SystemTime::UNIX_EPOCH.checked_add(seconds))
}
