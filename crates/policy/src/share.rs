//! Parts of a whole as users write them: `10%`.

use schemars::JsonSchema;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use std::fmt;

/// A part of all requests, from 0 to 100 percent: `10%`, `0.5%`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(pub(crate) f64);

/// A part of a whole, or a weight beside other weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Weight {
    /// Percent of all.
    Share(f64),
    /// A number that means something only beside others.
    Plain(f64),
}

impl Share {
    /// Reads `10%`.
    ///
    /// # Errors
    /// A sentence that says what is expected.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let number = text.trim().strip_suffix('%').and_then(|number| plain(number.trim_end()));
        match number {
            Some(percent) if percent <= 100.0 => Ok(Self(percent)),
            Some(_) => Err(format!("`{text}` is more than all")),
            None => Err(format!("`{text}` is not a share such as `10%`")),
        }
    }
}

impl Share {
    /// Whether a number that was drawn at random is within the share.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a float exactly")]
    pub(crate) fn has(self, number: u64) -> bool {
        ((number >> 11) as f64) < self.0 / 100.0 * (1_u64 << 53) as f64
    }
}

impl Weight {
    /// Reads `10%` or `10`.
    fn parse(text: &str) -> Result<Self, String> {
        if text.contains('%') {
            return Share::parse(text).map(|share| Self::Share(share.0));
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

macro_rules! number {
    ($type:ident, $expecting:literal, $schema:tt) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Word;
                impl Visitor<'_> for Word {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_str<E: Error>(self, text: &str) -> Result<$type, E> {
                        $type::parse(text).map_err(E::custom)
                    }
                    fn visit_i64<E: Error>(self, number: i64) -> Result<$type, E> {
                        $type::parse(&number.to_string()).map_err(E::custom)
                    }
                    fn visit_u64<E: Error>(self, number: u64) -> Result<$type, E> {
                        $type::parse(&number.to_string()).map_err(E::custom)
                    }
                    fn visit_f64<E: Error>(self, number: f64) -> Result<$type, E> {
                        $type::parse(&number.to_string()).map_err(E::custom)
                    }
                }
                deserializer.deserialize_any(Word)
            }
        }
        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($schema)
            }
        }
    };
}

number!(Share, "a share such as `10%`", {
    "type": "string", "description": "a share such as `10%`", "pattern": "^[0-9.]+ ?%$"
});
number!(Weight, "a weight such as `10` or a share such as `10%`", {
    "type": ["string", "number"],
    "description": "a weight such as `10` or a share such as `10%`",
    "pattern": "^[0-9.]+ ?%?$",
    "minimum": 0
});

#[cfg(test)]
mod tests {
    use super::{Share, Weight};

    #[test]
    fn shares_and_weights_are_read() {
        assert_eq!(Share::parse("0.5%").unwrap(), Share(0.5));
        assert_eq!(Weight::parse("10 %").unwrap(), Weight::Share(10.0));
        assert_eq!(Weight::parse("2.5").unwrap(), Weight::Plain(2.5));
        for wrong in ["10", "-1%", "1e3%", "%", "nan%", "inf%", ".%"] {
            assert!(Share::parse(wrong).unwrap_err().contains("is not a share"), "{wrong}");
        }
        assert!(Share::parse("101%").unwrap_err().contains("more than all"));
        for wrong in ["-1", "nan", "1e3", "", "9999999999"] {
            assert!(Weight::parse(wrong).is_err(), "{wrong}");
        }
    }
}
