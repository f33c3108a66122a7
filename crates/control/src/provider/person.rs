use super::Provider;
use super::says::text;
use crate::name;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use base::caps::{IDENTITY_GROUPS_MAX, IDENTITY_NAME_BYTES_MAX};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Seconds by which clocks may differ.
const LEEWAY_S: i64 = 60;
/// Bytes of a name that are kept, so that a number fits behind it.
const NAME_KEPT_MAX: usize = 56;

/// Somebody as a provider knows them.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) subject: String,
    /// Names to be called by, the best first.
    pub(super) names: Vec<String>,
    pub(super) email: String,
    pub(super) groups: BTreeSet<String>,
}

impl Provider {
    /// Who a token is about.
    pub(super) fn person(
        &self,
        claims: &Map<String, Value>,
        nonce: &str,
        now_s: i64,
    ) -> Result<Person, &'static str> {
        let is_plain =
            |it: &String| it.len() <= IDENTITY_NAME_BYTES_MAX && !it.chars().any(char::is_control);
        let said = |name: &str| text(claims, name).filter(is_plain);
        if said("iss").as_deref() != Some(&self.issuer) {
            return Err("the token is of another issuer");
        }
        let is_for_us = match claims.get("aud") {
            Some(Value::String(only)) => *only == self.client,
            Some(Value::Array(all)) => {
                let is_named = all.iter().any(|it| it.as_str() == Some(&self.client));
                is_named && (all.len() == 1 || said("azp").as_deref() == Some(&self.client))
            }
            _ => false,
        };
        if !is_for_us || claims.contains_key("azp") && said("azp").as_deref() != Some(&self.client)
        {
            return Err("the token is for another client");
        }
        let time = |name: &str| claims.get(name)?.as_i64();
        if time("exp").is_none_or(|it| it.saturating_add(LEEWAY_S) <= now_s) {
            return Err("the token has expired");
        }
        if time("iat").is_none_or(|it| it.saturating_sub(LEEWAY_S) > now_s) {
            return Err("the token is of the future");
        }
        if time("nbf").is_some_and(|it| it.saturating_sub(LEEWAY_S) > now_s) {
            return Err("the token is not valid yet");
        }
        let shown = said("nonce").unwrap_or_default();
        if verify_slices_are_equal(shown.as_bytes(), nonce.as_bytes()).is_err() {
            return Err("the token is of another login");
        }
        let subject = said("sub").filter(|it| !it.is_empty()).ok_or("the token is about nobody")?;
        let email = said("email").filter(|it| name::title("/email", it).is_ok());
        let email = email.unwrap_or_default();
        let local = email.split_once('@').map(|(local, _)| local.to_owned());
        let names = [said("preferred_username"), local, Some(subject.clone())];
        let names = names.into_iter().flatten().collect();
        Ok(Person { subject, names, email, groups: groups(claims, &self.groups)? })
    }
}

/// The groups that a claim names.
fn groups(claims: &Map<String, Value>, claim: &str) -> Result<BTreeSet<String>, &'static str> {
    let within = || {
        let mut parts = claim.split('.');
        let first = claims.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part))
    };
    match claims.get(claim).or_else(within) {
        None | Some(Value::Null) => Ok(BTreeSet::new()),
        Some(Value::String(only)) => Ok(BTreeSet::from([only.clone()])),
        Some(Value::Array(all)) if all.len() <= IDENTITY_GROUPS_MAX => {
            Ok(all.iter().filter_map(|it| it.as_str().map(str::to_owned)).collect())
        }
        Some(Value::Array(_)) => Err("the token names too many groups"),
        Some(_) => Err("the claim of groups is no list of names"),
    }
}

/// A name as it can stand anywhere, of what somebody is called elsewhere.
pub(super) fn plain_name(text: &str) -> Option<String> {
    let plain = |c: char| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9' | '-' | '_') => c,
        _ => '-',
    };
    let name: String = text.chars().map(plain).take(NAME_KEPT_MAX).collect();
    let name = name.trim_matches(['-', '_']);
    (!name.is_empty()).then(|| name.to_owned())
}
