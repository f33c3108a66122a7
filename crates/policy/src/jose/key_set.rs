//! Sets of keys (RFC 7517, 5), as issuers publish them.

use super::{Key, Message};
use crate::json;
use base::caps::{KEY_SET_BYTES_MAX, KEY_SET_KEYS_MAX, KEYS_TRIED_MAX};
use serde_json::{Map, Value};

/// The keys of one issuer.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
    /// Why others of the set are not used, with their names.
    pub skipped: Vec<String>,
}

/// What the keys of a set say of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// One of them signed it.
    Signed,
    /// None of them did, and no other could have.
    Forged,
    /// It names a key that is not there; or it names none, and none of these signed it.
    Unknown,
}

impl KeySet {
    /// Reads a set. Keys that cannot be used are skipped, since an issuer may have others for other purposes.
    ///
    /// # Errors
    /// When it is no set, is too large, or has no key that can be used.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > KEY_SET_BYTES_MAX {
            return Err(format!("the set of keys has more than {KEY_SET_BYTES_MAX} bytes"));
        }
        Self::from_members(&json::object(bytes)?)
    }

    /// The same from what was read before; a single key counts as a set.
    ///
    /// # Errors
    /// As [`KeySet::parse`].
    pub fn from_members(members: &Map<String, Value>) -> Result<Self, String> {
        let single = [Value::Object(members.clone())];
        let written = match members.get("keys") {
            Some(Value::Array(keys)) => keys.as_slice(),
            Some(_) => return Err("`keys` is not a list".to_owned()),
            None if members.contains_key("kty") => &single,
            None => return Err("there is no list `keys`".to_owned()),
        };
        if written.len() > KEY_SET_KEYS_MAX {
            return Err(format!("the set has more than {KEY_SET_KEYS_MAX} keys"));
        }
        let mut set = Self::default();
        for (index, key) in written.iter().enumerate() {
            let Some(jwk) = key.as_object() else {
                set.skipped.push(format!("key {index}: it is not an object"));
                continue;
            };
            match Key::from_jwk(jwk) {
                Ok(key) => set.keys.push(key),
                Err(why) => {
                    let id = jwk.get("kid").and_then(Value::as_str).unwrap_or_default();
                    let id: String = id.chars().take(64).collect();
                    let id = id.escape_debug();
                    set.skipped.push(format!("key {index} `{id}`: {why}"));
                }
            }
        }
        if set.keys.is_empty() {
            return Err(match set.skipped.first() {
                Some(why) => format!("no key of the set can be used: {why}"),
                None => "the set has no keys".to_owned(),
            });
        }
        Ok(set)
    }

    /// A set of these keys.
    #[must_use]
    pub const fn of(keys: Vec<Key>) -> Self {
        Self { keys, skipped: Vec::new() }
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// How many microseconds it takes to tell who signed a message, about.
    #[must_use]
    pub fn cost_us(&self, message: &Message<'_>) -> u32 {
        let costs = self.candidates(message).filter_map(|key| key.cost_us(message.algorithm));
        costs.take(KEYS_TRIED_MAX).sum()
    }

    /// The keys by which a message may be signed, as far as names tell.
    fn candidates<'a>(&'a self, message: &'a Message<'_>) -> impl Iterator<Item = &'a Key> {
        self.keys.iter().filter(|key| match &message.key_id {
            // A key without a name may have any.
            Some(id) => key.id.as_deref().is_none_or(|own| own == id),
            None => true,
        })
    }

    /// Who signed a message. Of the keys that could have, at most `KEYS_TRIED_MAX` are tried.
    #[must_use]
    pub fn judge(&self, message: &Message<'_>) -> Verdict {
        let algorithm = message.algorithm;
        let candidates = || self.candidates(message);
        let mut usable = candidates().filter(|key| key.algorithms().any(|it| it == algorithm));
        if usable.by_ref().take(KEYS_TRIED_MAX).any(|key| key.verifies(message)) {
            return Verdict::Signed;
        }
        let is_named = message.key_id.is_some() && candidates().any(|key| key.id.is_some());
        if is_named { Verdict::Forged } else { Verdict::Unknown }
    }
}
