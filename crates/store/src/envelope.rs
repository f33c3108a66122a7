//! Envelopes: each secret is encrypted with a key of its own, which is encrypted with a master key that is never in the
//! database. Master keys have numbers; the highest encrypts, the others still open what they closed.
//!
//! Both are AES-256-GCM with a random nonce in front. What a secret belongs to is part of what is authenticated, so that
//! nobody who can write to the database can put one in another's place.

use crate::{Error, Result};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base::{Secret, random};
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

const KEY_BYTES: usize = 32;

type Key = [u8; KEY_BYTES];

/// Master keys by their numbers.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys(BTreeMap<i64, Secret>);

/// An encrypted secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The number of the master key.
    pub master: i64,
    /// The key of the secret, encrypted with the master key.
    pub wrapped: Vec<u8>,
    /// The secret, encrypted with its key.
    pub sealed: Vec<u8>,
}

/// What the secret of a workspace is encrypted for.
#[must_use]
pub fn of_secret(workspace: &str, name: &str) -> String {
    format!("secret {workspace}/{name}")
}

/// What the secret of a credential is encrypted for.
#[must_use]
pub fn of_credential(workspace: &str, id: &str) -> String {
    format!("credential {workspace}/{id}")
}

/// What the secret of a user's one-time passwords is encrypted for.
#[must_use]
pub fn of_totp(user: &str) -> String {
    format!("totp {user}")
}

impl Sealed {
    /// As one row of bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let length = u16::try_from(self.wrapped.len()).unwrap_or(u16::MAX).to_be_bytes();
        [&self.master.to_be_bytes()[..], &length, &self.wrapped, &self.sealed].concat()
    }

    /// Reads what [`bytes`](Self::bytes) gave.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (master, bytes) = bytes.split_first_chunk()?;
        let (length, bytes) = bytes.split_first_chunk()?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (wrapped, sealed) = bytes.split_at_checked(length)?;
        let (wrapped, sealed) = (wrapped.to_vec(), sealed.to_vec());
        Some(Self { master: i64::from_be_bytes(*master), wrapped, sealed })
    }
}

impl Keys {
    /// A first master key.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate() -> Result<Self> {
        let mut keys = Self(BTreeMap::new());
        keys.rotate()?;
        Ok(keys)
    }

    /// Reads keys as they are written: lines of a number and 64 hexadecimal digits, the highest number being the newest key.
    ///
    /// # Errors
    /// A sentence that says what is wrong, without any of the digits.
    pub fn parse(text: &Secret) -> std::result::Result<Self, String> {
        let wrong = "a master key is a number and 64 hexadecimal digits: `1 0f4a…`";
        let mut keys = BTreeMap::new();
        let lines = text.reveal().lines().map(str::trim);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (number, digits) = line.split_once(' ').unwrap_or(("1", line));
            let number: i64 = number.parse().map_err(|_| wrong.to_owned())?;
            let digits = digits.trim();
            if number < 1 || read(digits).is_none() {
                return Err(wrong.to_owned());
            }
            if keys.insert(number, Secret::new(digits.to_owned())).is_some() {
                return Err(format!("there are two master keys of number {number}"));
            }
        }
        if keys.is_empty() { Err("there is no master key".to_owned()) } else { Ok(Self(keys)) }
    }

    /// As it is written.
    #[must_use]
    pub fn text(&self) -> Secret {
        let mut text = String::new();
        for (number, digits) in &self.0 {
            // Writing to a string cannot fail.
            writeln!(text, "{number} {}", digits.reveal()).ok();
        }
        Secret::new(text)
    }

    /// Adds a key, which is the newest from now on; its number.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn rotate(&mut self) -> Result<i64> {
        let number = self.newest().saturating_add(1);
        let digits = fresh::<KEY_BYTES>()?.iter().fold(String::new(), |mut digits, byte| {
            write!(digits, "{byte:02x}").ok();
            digits
        });
        self.0.insert(number, Secret::new(digits));
        Ok(number)
    }

    /// Forgets all keys but the newest, when nothing is encrypted with them any more.
    pub fn forget_old(&mut self) {
        let newest = self.newest();
        self.0.retain(|number, _| *number == newest);
    }

    /// The number of the key that encrypts.
    #[must_use]
    pub fn newest(&self) -> i64 {
        self.0.keys().next_back().copied().unwrap_or(0)
    }

    /// Encrypts the secret of something.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn seal(&self, of: &str, secret: &[u8]) -> Result<Sealed> {
        let key: Key = fresh()?;
        let master = self.newest();
        let wrapped = close(&self.key(master)?, &around(master, of), &key)?;
        Ok(Sealed { master, wrapped, sealed: close(&key, of, secret)? })
    }

    /// Decrypts the secret of something.
    ///
    /// # Errors
    /// [`Error::Locked`] without the master key, [`Error::Corrupt`] when it is not what was encrypted for this.
    pub fn open(&self, of: &str, sealed: &Sealed) -> Result<Vec<u8>> {
        let key = self.unwrap(of, sealed)?;
        open(&key, of, &sealed.sealed)
    }

    /// Encrypts the key of a secret with the newest master key; the secret itself stays as it is.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn rewrap(&self, of: &str, sealed: &Sealed) -> Result<Sealed> {
        let key = self.unwrap(of, sealed)?;
        let master = self.newest();
        let wrapped = close(&self.key(master)?, &around(master, of), &key)?;
        Ok(Sealed { master, wrapped, sealed: sealed.sealed.clone() })
    }

    fn unwrap(&self, of: &str, sealed: &Sealed) -> Result<Key> {
        let Sealed { master, wrapped, .. } = sealed;
        let key = open(&self.key(*master)?, &around(*master, of), wrapped)?;
        key.try_into().map_err(|_| corrupt())
    }

    fn key(&self, number: i64) -> Result<Key> {
        let digits = self.0.get(&number).ok_or(Error::Locked(number))?;
        read(digits.reveal()).ok_or(Error::Locked(number))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What a wrapped key is bound to: not what the secret itself is bound to, so that neither is taken for the other.
fn around(master: i64, of: &str) -> String {
    format!("master {master}\n{of}")
}

fn corrupt() -> Error {
    Error::Corrupt("a secret is not what was encrypted".to_owned())
}

fn read(digits: &str) -> Option<Key> {
    let pairs: &[[u8; 2]; KEY_BYTES] = digits.as_bytes().as_chunks().0.try_into().ok()?;
    if digits.len() != 2 * KEY_BYTES || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut key = Key::default();
    for (byte, pair) in key.iter_mut().zip(pairs) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(key)
}

fn fresh<const LENGTH: usize>() -> Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    random::fill(&mut bytes).map_err(|why| Error::Unavailable(why.to_string()))?;
    Ok(bytes)
}

fn cipher(key: &Key) -> Result<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, key).map(LessSafeKey::new).map_err(|_| corrupt())
}

fn close(key: &Key, of: &str, plain: &[u8]) -> Result<Vec<u8>> {
    let nonce: [u8; NONCE_LEN] = fresh()?;
    let mut bytes = plain.to_vec();
    let sealing = cipher(key)?.seal_in_place_append_tag(
        Nonce::assume_unique_for_key(nonce),
        Aad::from(of.as_bytes()),
        &mut bytes,
    );
    sealing.map_err(|_| corrupt())?;
    Ok([&nonce[..], &bytes].concat())
}

fn open(key: &Key, of: &str, closed: &[u8]) -> Result<Vec<u8>> {
    let (nonce, bytes) = closed.split_at_checked(NONCE_LEN).ok_or_else(corrupt)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| corrupt())?;
    let mut bytes = bytes.to_vec();
    let opened = cipher(key)?.open_in_place(nonce, Aad::from(of.as_bytes()), &mut bytes);
    Ok(opened.map_err(|_| corrupt())?.to_vec())
}

#[cfg(test)]
mod tests {
    use super::{Keys, Sealed};
    use crate::Error;
    use base::Secret;

    #[test]
    fn a_secret_opens_where_it_belongs_and_nowhere_else() {
        let keys = Keys::generate().unwrap();
        let sealed = keys.seal("secret team/token", b"the secret").unwrap();
        assert_eq!(keys.open("secret team/token", &sealed).unwrap(), b"the secret");
        assert!(matches!(keys.open("secret other/token", &sealed), Err(Error::Corrupt(_))));
        for part in [0, 1] {
            let bytes = [&sealed.wrapped, &sealed.sealed][part].len();
            for at in 0..bytes {
                let mut changed = sealed.clone();
                [&mut changed.wrapped, &mut changed.sealed][part][at] ^= 1;
                let opened = keys.open("secret team/token", &changed);
                assert!(matches!(opened, Err(Error::Corrupt(_))), "{part} {at}");
            }
        }
        let swapped = Sealed { wrapped: sealed.sealed.clone(), ..sealed.clone() };
        assert!(keys.open("secret team/token", &swapped).is_err());
        assert_eq!(Sealed::read(&sealed.bytes()).as_ref(), Some(&sealed));
        assert_eq!(Sealed::read(&[0; 9]), None);
        assert!(!sealed.sealed.windows(6).any(|it| it == b"secret"));
    }

    #[test]
    fn old_keys_open_until_all_is_wrapped_anew() {
        let mut keys = Keys::generate().unwrap();
        let old = keys.seal("a", b"secret").unwrap();
        assert_eq!(keys.rotate().unwrap(), 2);
        assert_eq!(keys.open("a", &old).unwrap(), b"secret");
        let new = keys.rewrap("a", &old).unwrap();
        assert_eq!((new.master, &new.sealed), (2, &old.sealed));
        keys.forget_old();
        assert_eq!(keys.open("a", &new).unwrap(), b"secret");
        assert!(matches!(keys.open("a", &old), Err(Error::Locked(1))));
    }

    #[test]
    fn keys_are_read_as_they_are_written_and_never_shown() {
        let mut keys = Keys::generate().unwrap();
        keys.rotate().unwrap();
        assert_eq!(Keys::parse(&keys.text()).as_ref(), Ok(&keys));
        assert_eq!(format!("{keys:?}"), "{1, 2}");
        let digits = "0f".repeat(32);
        let bare = Keys::parse(&Secret::new(digits.clone())).unwrap();
        assert_eq!(bare.newest(), 1);
        let odd = digits.get(1..).unwrap();
        for wrong in ["", "1", "0 ", odd, &format!("x {digits}"), &format!("-1 {digits}")] {
            let refused = Keys::parse(&Secret::new(wrong.to_owned())).unwrap_err();
            assert!(!refused.contains(odd), "{refused}");
        }
        let twice = Secret::new(format!("1 {digits}\n1 {digits}"));
        assert!(Keys::parse(&twice).unwrap_err().contains("two master keys"));
    }
}
