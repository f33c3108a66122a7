//! Weights beside each other, and parts of a whole, as users write them: `10`, `10%`.

use base::units::Share;
use schemars::JsonSchema;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use std::fmt;

/// A part of a whole, or a weight beside other weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Weight {
    /// Percent of all.
    Share(f64),
    /// A number that means something only beside others.
    Plain(f64),
}

impl Weight {
    /// Reads `10%` or `10`.
    fn parse(text: &str) -> Result<Self, String> {
        if text.contains('%') {
            return Share::parse(text).map(|share| Self::Share(share.in_percent()));
        }
        let wrong = || format!("`{text}` is not a weight such as `10` or a share such as `10%`");
        plain(text.trim()).map(Self::Plain).ok_or_else(wrong)
    }
}

/// A number that is not below zero and has no exponent.
fn plain(text: &str) -> Option<f64> {
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|number: &f64| is_digits && number.is_finite() && *number < 1e9)
}

const EXPECTING: &str = "a weight such as `10` or a share such as `10%`";

impl<'de> Deserialize<'de> for Weight {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Word;
        impl Visitor<'_> for Word {
            type Value = Weight;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTING)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Weight, E> {
                Weight::parse(text).map_err(E::custom)
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Weight, E> {
                Weight::parse(&number.to_string()).map_err(E::custom)
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Weight, E> {
                Weight::parse(&number.to_string()).map_err(E::custom)
            }
            fn visit_f64<E: Error>(self, number: f64) -> Result<Weight, E> {
                Weight::parse(&number.to_string()).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Word)
    }
}

impl JsonSchema for Weight {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Weight".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["string", "number"],
            "description": EXPECTING,
            "pattern": "^[0-9.]+ ?%?$",
            "minimum": 0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Weight;

    #[test]
    fn shares_and_weights_are_read() {
        assert_eq!(Weight::parse("10 %").unwrap(), Weight::Share(10.0));
        assert_eq!(Weight::parse("0.5%").unwrap(), Weight::Share(0.5));
        assert_eq!(Weight::parse("2.5").unwrap(), Weight::Plain(2.5));
        for wrong in ["-1%", "1e3%", "%", "nan%", "inf%", ".%"] {
            assert!(Weight::parse(wrong).unwrap_err().contains("is not a share"), "{wrong}");
        }
        assert!(Weight::parse("101%").unwrap_err().contains("more than all"));
        for wrong in ["-1", "nan", "1e3", "", "9999999999"] {
            assert!(Weight::parse(wrong).is_err(), "{wrong}");
        }
    }
}
