//! Signed messages as JSON Web Signatures (RFC 7515) and the keys that verify them (RFC 7517).
//!
//! A key knows the algorithms it may be used with, and a message is verified by one of them or not at all: the
//! message's own header only chooses among what the key allows. A secret has algorithms of its own (`HS…`), so
//! that a public key can never be taken for one. Cryptography is that of `aws-lc-rs`.

/// How messages are signed.
mod algorithm;
/// What verifies a signature.
mod key;
/// Sets of keys.
mod key_set;
/// A signed message in its compact form.
mod message;
/// What tells keys apart.
mod thumbprint;

#[cfg(test)]
pub(crate) mod signer;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

pub use algorithm::Algorithm;
pub use key::Key;
pub use key_set::{KeySet, Verdict};
pub use message::Message;
pub use thumbprint::thumbprint;
