//! API keys: how they are made, recognised and hashed.
//!
//! A key is `yett_`, 43 base-62 digits of 256 random bits and 6 base-62 digits of the CRC-32 of
//! all that. The prefix lets secret scanners find leaked keys ([`PATTERN`]); the checksum lets them, and
//! the gateway, tell a key from a look-alike without asking anybody. Only the SHA-256 of a key is ever
//! stored: a key has so many random bits that a slow hash would add nothing.

use aws_lc_rs::digest::{SHA256, digest};
use base::{BoxError, Secret, token};
use traffic::directory::CredentialHash;

/// What every key of ours begins with.
pub const PREFIX: &str = "yett_";
/// A regular expression for secret scanners.
pub const PATTERN: &str = r"\byett_[0-9A-Za-z]{49}\b";

/// A new key and the hash by which a directory knows it.
///
/// # Errors
/// When the operating system has no randomness to give.
pub fn generate() -> Result<(Secret, CredentialHash), BoxError> {
    let key = token::generate(PREFIX)?;
    let hash = hash(key.reveal().as_bytes());
    Ok((key, hash))
}

/// The hash by which a directory knows a key, ours or one that was made elsewhere.
#[must_use]
pub fn hash(key: &[u8]) -> CredentialHash {
    let mut hash = CredentialHash::default();
    hash.copy_from_slice(digest(&SHA256, key).as_ref());
    hash
}

/// Whether this is a key of our form with the checksum it must have.
#[must_use]
pub fn has_valid_checksum(key: &str) -> bool {
    token::has_valid_checksum(PREFIX, key)
}

#[cfg(test)]
mod tests {
    use super::{PATTERN, generate, has_valid_checksum, hash};

    #[test]
    fn made_keys_have_the_published_form_and_a_valid_checksum() {
        let pattern = regex::Regex::new(PATTERN).unwrap();
        for _ in 0..50 {
            let (key, its_hash) = generate().unwrap();
            assert!(pattern.is_match(key.reveal()));
            assert!(has_valid_checksum(key.reveal()));
            assert_eq!(hash(key.reveal().as_bytes()), its_hash);
        }
    }

    #[test]
    fn any_changed_character_breaks_the_checksum() {
        let (key, _) = generate().unwrap();
        for position in 5..key.reveal().len() {
            let mut changed: Vec<char> = key.reveal().chars().collect();
            changed[position] = if changed[position] == 'a' { 'b' } else { 'a' };
            let changed: String = changed.iter().collect();
            assert!(!has_valid_checksum(&changed), "{changed}");
        }
        for other in ["", "yett_", "yett_é", "yett_1234567", "nope"] {
            assert!(!has_valid_checksum(other), "{other}");
        }
    }
}
