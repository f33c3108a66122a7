//! API keys: how they are made, recognised and hashed.
//!
//! A key is `yett_`, 43 base-62 digits of 256 random bits and 6 base-62 digits of the CRC-32 of
//! all that. The prefix lets secret scanners find leaked keys ([`PATTERN`]); the checksum lets them, and
//! the gateway, tell a key from a look-alike without asking anybody. Only the SHA-256 of a key is ever
//! stored: a key has so many random bits that a slow hash would add nothing.

use aws_lc_rs::digest::{SHA256, digest};
use base::{BoxError, Secret, random};
use traffic::directory::CredentialHash;

/// What every key of ours begins with.
pub const PREFIX: &str = "yett_";
/// A regular expression for secret scanners.
pub const PATTERN: &str = r"\byett_[0-9A-Za-z]{49}\b";

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 62^43 is the first power of 62 above 2^256.
const RANDOM_DIGITS: usize = 43;
/// 62^6 is the first power of 62 above 2^32.
const CHECKSUM_DIGITS: usize = 6;

/// A new key and the hash by which a directory knows it.
///
/// # Errors
/// When the operating system has no randomness to give.
pub fn generate() -> Result<(Secret, CredentialHash), BoxError> {
    let mut bits = [0; 32];
    random::fill(&mut bits).map_err(|error| error.to_string())?;
    let mut key = PREFIX.to_owned();
    push_digits::<RANDOM_DIGITS>(&mut key, &mut bits);
    let mut checksum = crc32(key.as_bytes()).to_be_bytes();
    push_digits::<CHECKSUM_DIGITS>(&mut key, &mut checksum);
    let hash = hash(key.as_bytes());
    Ok((Secret::new(key), hash))
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
    let Some(at) = key.len().checked_sub(CHECKSUM_DIGITS) else { return false };
    let Some((body, checksum)) = key.split_at_checked(at) else { return false };
    let Some(digits) = body.strip_prefix(PREFIX) else { return false };
    let is_formed =
        digits.len() == RANDOM_DIGITS && digits.bytes().all(|d| d.is_ascii_alphanumeric());
    is_formed && number(checksum) == Some(u64::from(crc32(body.as_bytes())))
}

/// The number that a few base-62 digits stand for.
fn number(digits: &str) -> Option<u64> {
    digits.bytes().try_fold(0, |number: u64, digit| {
        let (first, below) = match digit {
            b'0'..=b'9' => (b'0', 0),
            b'A'..=b'Z' => (b'A', 10),
            b'a'..=b'z' => (b'a', 36),
            _ => return None,
        };
        number.checked_mul(62)?.checked_add(u64::from(digit - first + below))
    })
}

/// Appends a big-endian number as `LENGTH` base-62 digits. Leaves zero in `number`.
fn push_digits<const LENGTH: usize>(text: &mut String, number: &mut [u8]) {
    let mut digits = ['0'; LENGTH];
    for digit in digits.iter_mut().rev() {
        let mut remainder: u16 = 0;
        for byte in number.iter_mut() {
            let dividend = (remainder << 8) | u16::from(*byte);
            // A remainder is below 62, so the quotient is below 256.
            *byte = u8::try_from(dividend / 62).unwrap_or(u8::MAX);
            remainder = dividend % 62;
        }
        *digit = char::from(DIGITS[usize::from(remainder)]);
    }
    text.extend(digits);
}

/// CRC-32 as in ISO 3309 and zlib, a byte at a time: each request with a key needs one.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        let [low, ..] = (crc ^ u32::from(*byte)).to_le_bytes();
        (crc >> 8) ^ CRC_OF_BYTE[usize::from(low)]
    })
}

/// What each value of a byte does to a checksum.
const CRC_OF_BYTE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte: u32 = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[byte as usize] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::{PATTERN, crc32, generate, has_valid_checksum, hash, push_digits};

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

    #[test]
    fn checksum_and_digits_are_the_known_ones() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        let mut text = String::new();
        push_digits::<6>(&mut text, &mut 0x0000_F3FF_u32.to_be_bytes());
        assert_eq!(text, "000GFT");
        let mut text = String::new();
        push_digits::<43>(&mut text, &mut [0xFF; 32]);
        assert_eq!(text.len(), 43);
    }
}
