//! A signed message in its compact form (RFC 7515, 3.1 and 7.1): header, payload and signature with dots between.

use super::Algorithm;
use crate::json;
use base::caps::TOKEN_BYTES_MAX;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// A signed message that nobody has verified yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Message<'a> {
    /// How it says to be signed.
    pub algorithm: Algorithm,
    /// The key it says to be signed by.
    pub key_id: Option<String>,
    /// All of its header. Keys and addresses of keys in it (`jwk`, `jku`, `x5c`, `x5u`) are what the sender wants to
    /// be believed, and say nothing about who signed.
    pub header: Map<String, Value>,
    /// What is signed, decoded.
    pub payload: Vec<u8>,
    /// What the signature is of.
    signed: &'a str,
    signature: Vec<u8>,
}

impl<'a> Message<'a> {
    /// Takes a message apart.
    ///
    /// # Errors
    /// Why it is none, for the log. Messages that are encrypted, that have extensions which must be understood
    /// (`crit`, RFC 7515, 4.1.11), or that are larger than `TOKEN_BYTES_MAX` are none.
    pub fn parse(text: &'a str) -> Result<Self, &'static str> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err("the token is too long");
        }
        let (signed, signature) = text.rsplit_once('.').ok_or("the token is not a JWT")?;
        let (header, payload) = signed.split_once('.').ok_or("the token is not a JWT")?;
        match payload.split('.').count() {
            1 => {}
            3 => return Err("the token is encrypted (JWE), which is not understood"),
            _ => return Err("the token is not a JWT"),
        }
        let header = json::object(&decode(header)?)?;
        if header.contains_key("crit") {
            return Err("the token has extensions that must be understood (`crit`)");
        }
        let algorithm = header.get("alg").and_then(Value::as_str);
        let algorithm = algorithm.ok_or("the token names no algorithm")?;
        let algorithm =
            Algorithm::of(algorithm).ok_or("the token's algorithm is none that is known here")?;
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(id)) => Some(id.clone()),
            Some(_) => return Err("the token's `kid` is not a text"),
        };
        let (payload, signature) = (decode(payload)?, decode(signature)?);
        Ok(Self { algorithm, key_id, header, payload, signed, signature })
    }

    /// What the signature is of.
    #[must_use]
    pub const fn signed(&self) -> &'a str {
        self.signed
    }

    /// The signature.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// Its media type (RFC 7515, 4.1.9) in small letters and without `application/`, if it says one.
    ///
    /// # Errors
    /// When it is not a text.
    pub fn media_type(&self) -> Result<Option<String>, &'static str> {
        let Some(written) = self.header.get("typ") else { return Ok(None) };
        let written = written.as_str().ok_or("the token's `typ` is not a text")?;
        let name = written.to_ascii_lowercase();
        Ok(Some(name.strip_prefix("application/").map_or_else(|| name.clone(), str::to_owned)))
    }
}

/// Strict: no padding, no line breaks, no bits that say nothing.
pub(super) fn decode(text: &str) -> Result<Vec<u8>, &'static str> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| "the token is not base64url")
}
