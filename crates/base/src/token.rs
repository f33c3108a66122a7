//! Random texts that people and scanners can tell from others: a prefix, random digits and a checksum.
//!
//! A text is its prefix, 43 base-62 digits of 256 random bits and 6 base-62 digits of the CRC-32 of all that. The prefix lets
//! secret scanners find those that were lost; the checksum tells one from a look-alike without asking anybody.

use crate::{Secret, random};

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 62^43 is the first power of 62 above 2^256.
const RANDOM_DIGITS: usize = 43;
/// 62^6 is the first power of 62 above 2^32.
const CHECKSUM_DIGITS: usize = 6;

/// A new text behind a prefix.
///
/// # Errors
/// When the operating system has no randomness to give.
pub fn generate(prefix: &str) -> Result<Secret, crate::BoxError> {
    let mut bits = [0; 32];
    random::fill(&mut bits).map_err(|error| error.to_string())?;
    let mut text = prefix.to_owned();
    push_digits::<RANDOM_DIGITS>(&mut text, &mut bits);
    let mut checksum = crc32(text.as_bytes()).to_be_bytes();
    push_digits::<CHECKSUM_DIGITS>(&mut text, &mut checksum);
    Ok(Secret::new(text))
}

/// Whether this is a text of our form behind a prefix, with the checksum it must have.
#[must_use]
pub fn has_valid_checksum(prefix: &str, text: &str) -> bool {
    let Some(at) = text.len().checked_sub(CHECKSUM_DIGITS) else { return false };
    let Some((body, checksum)) = text.split_at_checked(at) else { return false };
    let Some(digits) = body.strip_prefix(prefix) else { return false };
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

/// CRC-32 as in ISO 3309 and zlib, a byte at a time: each request with one needs it.
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
    use super::{crc32, push_digits};

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
