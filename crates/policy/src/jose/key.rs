//! What verifies a signature, made of a JSON Web Key (RFC 7517, 7518, 8037), of PEM, or of a secret.

use super::message::decode;
use super::{Algorithm, Message};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ED25519, ParsedPublicKey, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use std::fmt;

/// A key, ready for each algorithm it may be used with.
pub struct Key {
    /// Its name among the keys of its owner.
    pub id: Option<Box<str>>,
    uses: Vec<(Algorithm, Verifier)>,
    /// Bits of its modulus, about.
    bits: u32,
}

enum Verifier {
    Public(ParsedPublicKey),
    Secret(Box<hmac::Key>),
}

/// Smallest and largest modulus of an RSA key.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;
const RSA_BITS_MAX: u32 = 8_192;

impl Key {
    /// A public key.
    ///
    /// # Errors
    /// Why it is not used: another purpose (`use`, `key_ops`), an algorithm or a type that is not understood, a size
    /// that is not safe, or no key at all. Secrets and private keys are refused: what is public is none, and
    /// what is none must not be public.
    pub fn from_jwk(jwk: &Map<String, Value>) -> Result<Self, &'static str> {
        Self::of_jwk(jwk, None)
    }

    /// The same for one algorithm only, which is less work.
    ///
    /// # Errors
    /// See [`Key::from_jwk`].
    pub fn from_jwk_for(
        jwk: &Map<String, Value>,
        algorithm: Algorithm,
    ) -> Result<Self, &'static str> {
        Self::of_jwk(jwk, Some(algorithm))
    }

    fn of_jwk(jwk: &Map<String, Value>, wanted: Option<Algorithm>) -> Result<Self, &'static str> {
        if text(jwk, "use")?.is_some_and(|purpose| purpose != "sig") {
            return Err("it is not for signatures (`use`)");
        }
        if let Some(operations) = jwk.get("key_ops") {
            let operations = operations.as_array().ok_or("its `key_ops` is not a list")?;
            if !operations.iter().any(|it| it == "verify") {
                return Err("it is not for verifying (`key_ops`)");
            }
        }
        if jwk.contains_key("d") || jwk.contains_key("k") {
            return Err("it is secret or has private parts: everybody who sees it can sign");
        }
        let only = match text(jwk, "alg")? {
            None => None,
            Some(name) => {
                Some(Algorithm::of(name).ok_or("its algorithm (`alg`) is not understood")?)
            }
        };
        let mut uses = match text(jwk, "kty")?.unwrap_or_default() {
            "RSA" => rsa(jwk, wanted.or(only))?,
            "EC" => elliptic(jwk)?,
            "OKP" => edwards(jwk)?,
            _ => return Err("its type (`kty`) is not understood"),
        };
        uses.retain(|(algorithm, _)| only.is_none_or(|only| only == *algorithm));
        if uses.is_empty() {
            return Err("its algorithm (`alg`) does not go with its type");
        }
        let bits = jwk.get("n").and_then(Value::as_str).map_or(0, |n| n.len() * 6);
        let bits = u32::try_from(bits).unwrap_or(u32::MAX);
        Ok(Self { id: text(jwk, "kid")?.map(Into::into), uses, bits })
    }

    /// The public key of a PEM block `PUBLIC KEY` (RFC 7468, 13).
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_pem(pem: &str) -> Result<Self, &'static str> {
        let inside = pem
            .split_once("-----BEGIN PUBLIC KEY-----")
            .and_then(|(_, rest)| rest.split_once("-----END PUBLIC KEY-----"))
            .ok_or("there is no block `PUBLIC KEY`")?;
        let packed: String = inside.0.split_ascii_whitespace().collect();
        let der = STANDARD.decode(packed).map_err(|_| "the block `PUBLIC KEY` is not base64")?;
        let mut uses = Vec::new();
        for algorithm in Algorithm::ALL {
            let parsed = if let Some(rsa) = algorithm.rsa() {
                ParsedPublicKey::new(rsa, &der)
            } else if let Some(ecdsa) = algorithm.ecdsa() {
                ParsedPublicKey::new(ecdsa, &der)
            } else if algorithm == Algorithm::EdDsa {
                ParsedPublicKey::new(&ED25519, &der)
            } else {
                continue;
            };
            if let Ok(parsed) = parsed {
                uses.push((algorithm, Verifier::Public(parsed)));
            }
        }
        if uses.is_empty() {
            return Err("the block `PUBLIC KEY` is no key of RSA, P-256, P-384, P-521 or Ed25519");
        }
        let bits = u32::try_from(der.len() * 8).unwrap_or(u32::MAX);
        Ok(Self { id: None, uses, bits })
    }

    /// A secret, for these algorithms.
    ///
    /// # Errors
    /// When it is shorter than RFC 7518, 3.2 wants for one of them, which is not one for secrets otherwise.
    pub fn from_secret(secret: &[u8], algorithms: &[Algorithm]) -> Result<Self, &'static str> {
        let mut uses = Vec::new();
        for &algorithm in algorithms {
            let (hmac, bytes_min) = algorithm.hmac().ok_or("it is not an algorithm of secrets")?;
            if secret.len() < bytes_min {
                return Err("the secret is shorter than its hash");
            }
            uses.push((algorithm, Verifier::Secret(Box::new(hmac::Key::new(hmac, secret)))));
        }
        Ok(Self { id: None, uses, bits: 0 })
    }

    /// How many microseconds checking a signature takes, about; none if it is not one of this key's algorithms.
    #[must_use]
    pub fn cost_us(&self, algorithm: Algorithm) -> Option<u32> {
        let is_used = self.algorithms().any(|own| own == algorithm);
        is_used.then(|| algorithm.cost_us(self.bits.min(RSA_BITS_MAX)))
    }

    /// The algorithms it may be used with.
    pub fn algorithms(&self) -> impl Iterator<Item = Algorithm> {
        self.uses.iter().map(|(algorithm, _)| *algorithm)
    }

    /// Whether the owner of this key signed the message.
    #[must_use]
    pub fn verifies(&self, message: &Message<'_>) -> bool {
        let verifier = self.uses.iter().find(|(algorithm, _)| *algorithm == message.algorithm);
        let (signed, signature) = (message.signed().as_bytes(), message.signature());
        match verifier {
            Some((_, Verifier::Public(key))) => key.verify_sig(signed, signature).is_ok(),
            Some((_, Verifier::Secret(key))) => hmac::verify(key, signed, signature).is_ok(),
            None => false,
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

fn text<'a>(jwk: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, &'static str> {
    let Some(value) = jwk.get(name) else { return Ok(None) };
    value.as_str().map(Some).ok_or("a member that must be a text is not")
}

fn number(jwk: &Map<String, Value>, name: &str) -> Result<Vec<u8>, &'static str> {
    let written = text(jwk, name)?.ok_or("a part of it is missing")?;
    decode(written).map_err(|_| "a part of it is not base64url")
}

fn rsa(
    jwk: &Map<String, Value>,
    only: Option<Algorithm>,
) -> Result<Vec<(Algorithm, Verifier)>, &'static str> {
    let (n, e) = (number(jwk, "n")?, number(jwk, "e")?);
    let trim = |number: &[u8]| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        number.get(zeros..).unwrap_or_default().to_vec()
    };
    let (n, e) = (trim(&n), trim(&e));
    let unused = n.first().map_or(0, |first| first.leading_zeros() as usize);
    if !RSA_BITS.contains(&(n.len() * 8).saturating_sub(unused)) {
        return Err("its modulus has less than 2048 bits, or more than 8192");
    }
    let components = RsaPublicKeyComponents { n, e };
    let mut uses = Vec::new();
    for algorithm in Algorithm::ALL.into_iter().filter(|it| only.is_none_or(|only| only == *it)) {
        let Some(parameters) = algorithm.rsa() else { continue };
        let parsed = components.to_parsed_public_key(parameters);
        let parsed = parsed.map_err(|_| "it is not a key of RSA")?;
        uses.push((algorithm, Verifier::Public(parsed)));
    }
    Ok(uses)
}

fn elliptic(jwk: &Map<String, Value>) -> Result<Vec<(Algorithm, Verifier)>, &'static str> {
    let curve = text(jwk, "crv")?.unwrap_or_default();
    for algorithm in Algorithm::ALL {
        let (Some((name, bytes)), Some(ecdsa)) = (algorithm.curve(), algorithm.ecdsa()) else {
            continue;
        };
        if name != curve {
            continue;
        }
        let (x, y) = (number(jwk, "x")?, number(jwk, "y")?);
        if x.len() != bytes || y.len() != bytes {
            return Err("its coordinates do not have the length of its curve");
        }
        // An uncompressed point (SEC 1, 2.3.3).
        let point = [&[4][..], &x, &y].concat();
        let parsed = ParsedPublicKey::new(ecdsa, point);
        let parsed = parsed.map_err(|_| "its point is not on its curve")?;
        return Ok(vec![(algorithm, Verifier::Public(parsed))]);
    }
    Err("its curve (`crv`) is not understood")
}

fn edwards(jwk: &Map<String, Value>) -> Result<Vec<(Algorithm, Verifier)>, &'static str> {
    if text(jwk, "crv")? != Some("Ed25519") {
        return Err("its curve (`crv`) is not understood");
    }
    let x = number(jwk, "x")?;
    if x.len() != 32 {
        return Err("it does not have the length of its curve");
    }
    let parsed = ParsedPublicKey::new(&ED25519, x).map_err(|_| "it is not a key of Ed25519")?;
    Ok(vec![(Algorithm::EdDsa, Verifier::Public(parsed))])
}
