//! Passwords: how they are hashed and verified, by argon2id (RFC 9106).

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use base::{BoxError, Secret, random};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// KiB of memory, passes and lanes of hashes made here: OWASP's first choice.
const COST: (u32, u32, u32) = (19_456, 2, 1);
const SALT_BYTES: usize = 16;
const DIGEST_BYTES: usize = 32;

/// A hash of a password that was read.
pub(crate) struct Hashed {
    params: Params,
    salt: Vec<u8>,
    digest: Vec<u8>,
}

/// The hash of a password with a new salt, as a PHC string.
///
/// # Errors
/// When the operating system has no randomness to give, or no memory.
pub fn hash(password: &Secret) -> Result<Secret, BoxError> {
    let mut salt = [0; SALT_BYTES];
    random::fill(&mut salt).map_err(|error| error.to_string())?;
    let (memory, passes, lanes) = COST;
    let params = Params::new(memory, passes, lanes, Some(DIGEST_BYTES));
    let params = params.map_err(|error| error.to_string())?;
    let digest = digest(password.reveal().as_bytes(), &salt, &params, DIGEST_BYTES)?;
    let (salt, digest) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(digest));
    Ok(Secret::new(format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${digest}")))
}

fn digest(
    password: &[u8],
    salt: &[u8],
    params: &Params,
    length: usize,
) -> Result<Vec<u8>, BoxError> {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    let mut digest = vec![0; length];
    argon2.hash_password_into(password, salt, &mut digest).map_err(|error| error.to_string())?;
    Ok(digest)
}

impl Hashed {
    /// Reads a PHC string of argon2id.
    pub(crate) fn parse(phc: &str) -> Option<Self> {
        let rest = phc.strip_prefix("$argon2id$v=19$")?;
        let mut parts = rest.split('$');
        let (parameters, salt, digest) = (parts.next()?, parts.next()?, parts.next()?);
        let number = |name: &str| -> Option<u32> {
            let mut of_name = parameters.split(',').filter_map(|part| part.split_once('='));
            of_name.find(|(its, _)| *its == name)?.1.parse().ok()
        };
        let digest = STANDARD_NO_PAD.decode(digest).ok()?;
        let params =
            Params::new(number("m")?, number("t")?, number("p")?, Some(digest.len())).ok()?;
        Some(Self { params, salt: STANDARD_NO_PAD.decode(salt).ok()?, digest })
    }

    /// One that no password has, which costs as much to verify as those made here.
    pub(crate) fn of_nobody() -> Option<Self> {
        let (memory, passes, lanes) = COST;
        let params = Params::new(memory, passes, lanes, Some(DIGEST_BYTES)).ok()?;
        Some(Self { params, salt: vec![0; SALT_BYTES], digest: vec![0; DIGEST_BYTES] })
    }

    /// Whether it is the hash of this password. It takes tens of milliseconds: for the compute pool.
    pub(crate) fn verify(&self, password: &[u8]) -> bool {
        digest(password, &self.salt, &self.params, self.digest.len())
            .is_ok_and(|digest| verify_slices_are_equal(&digest, &self.digest).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::{Hashed, hash};
    use base::Secret;

    #[test]
    fn a_password_has_its_hash_and_no_other_has() {
        let hash = hash(&Secret::new("correct horse".to_owned())).unwrap();
        let hashed = Hashed::parse(hash.reveal()).unwrap();
        assert!(hashed.verify(b"correct horse"));
        assert!(!hashed.verify(b"correct horsf"));
        assert!(!Hashed::of_nobody().unwrap().verify(b"correct horse"));
    }

    /// Made by the reference implementation: `echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1`.
    #[test]
    fn hashes_of_other_programs_are_understood() {
        let hash = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert!(Hashed::parse(hash).unwrap().verify(b"password"));
    }
}
