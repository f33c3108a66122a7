use base::clock::unix_ms;
use base::random;
use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::time::SystemTime;

/// The id of a row: a UUID of version 7 (RFC 9562, 5.7), which begins with the time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id([u8; 16]);

impl Id {
    /// One that nobody has.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn new(wall: SystemTime) -> crate::Result<Self> {
        let mut bytes = [0; 16];
        random::fill(&mut bytes).map_err(|why| crate::Error::Unavailable(why.to_string()))?;
        let [.., a, b, c, d, e, f] = unix_ms(wall).to_be_bytes();
        bytes[..6].copy_from_slice(&[a, b, c, d, e, f]);
        bytes[6] = bytes[6] & 0x0f | 0x70;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if [4, 6, 8, 10].contains(&at) {
                f.write_char('-')?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Only as it is written here: small letters, with all four dashes.
impl FromStr for Id {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
        let pairs: &[[u8; 2]; 16] = digits.as_chunks().0.try_into().map_err(|_| ())?;
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            let pair = str::from_utf8(pair).map_err(|_| ())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| ())?;
        }
        let id = Self(bytes);
        (id.to_string() == text).then_some(id).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::Id;
    use std::time::{Duration, SystemTime};

    #[test]
    fn ids_are_in_the_order_of_time_and_read_as_they_are_written() {
        let at = |ms| Id::new(SystemTime::UNIX_EPOCH + Duration::from_millis(ms)).unwrap();
        let (one, two) = (at(1_700_000_000_000), at(1_700_000_000_001));
        assert!(one < two && one.to_string() < two.to_string());
        assert_eq!(one.to_string().parse(), Ok(one));
        assert!(one.to_string().starts_with("018bcfe5-6800-7"), "{one}");
    }

    #[test]
    fn what_is_no_id_is_refused() {
        let id = Id::new(SystemTime::UNIX_EPOCH).unwrap().to_string();
        for wrong in [
            id.trim_start_matches(|first| id.starts_with(first)),
            &id.to_uppercase(),
            &id.replace('-', ""),
            &format!("{id}0"),
            "../..",
        ] {
            assert_eq!(wrong.parse::<Id>(), Err(()), "{wrong}");
        }
    }
}
