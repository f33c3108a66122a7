//! Durations, sizes and rates as words: `30s`, `64KiB`, `100/min`.

use schemars::JsonSchema;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use std::fmt;
use std::time::Duration;

/// A length of time: `250ms`, `30s`, `5min`, `1h`, `7d`, and sums such as `1h30min`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

/// A number of bytes: `512B`, `64KiB`, `10MiB`, `1GiB`, or the decimal `64kB`, `10MB`, `1GB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// So many per length of time: `100/min`, `5/s`, `1000/h`, `10/30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// Per how long.
    pub period: Duration,
}

/// Bytes per second: `1MiB/s`, `500kB/s`, `8Mbit/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Speed(pub u64);

/// A share of a whole: `10%`, `0.5%`, `all`, `none`. In millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

const PERIODS: &[(&str, u64)] = &[
    ("ms", 1),
    ("s", 1_000),
    ("sec", 1_000),
    ("second", 1_000),
    ("m", 60_000),
    ("min", 60_000),
    ("minute", 60_000),
    ("h", 3_600_000),
    ("hour", 3_600_000),
    ("d", 86_400_000),
    ("day", 86_400_000),
];

const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];

impl Period {
    /// Reads a period. Without a unit it is refused, since seconds and milliseconds are confused too
    /// easily.
    ///
    /// # Errors
    /// A sentence that says what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a duration such as `250ms`, `30s`, `5min` or `1h`");
        let mut total_ms: u64 = 0;
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(wrong());
        }
        while !rest.is_empty() {
            let (number, unit, tail) = number_and_unit(rest).ok_or_else(wrong)?;
            let unit_ms = factor(PERIODS, unit).ok_or_else(wrong)?;
            total_ms = number
                .checked_mul(unit_ms)
                .and_then(|ms| total_ms.checked_add(ms))
                .ok_or_else(|| format!("`{text}` is too long"))?;
            rest = tail;
        }
        Ok(Self(Duration::from_millis(total_ms)))
    }
}

impl Size {
    /// Reads a size; a bare number counts bytes.
    ///
    /// # Errors
    /// A sentence that says what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a size such as `64KiB`, `10MiB` or `1GiB`");
        let text = text.trim();
        if let Ok(bytes) = text.parse() {
            return Ok(Self(bytes));
        }
        let (number, unit, tail) = number_and_unit(text).ok_or_else(wrong)?;
        let factor = factor(SIZES, unit).filter(|_| tail.is_empty()).ok_or_else(wrong)?;
        number.checked_mul(factor).map(Self).ok_or_else(|| format!("`{text}` is too large"))
    }
}

impl Rate {
    /// Reads a rate.
    ///
    /// # Errors
    /// A sentence that says what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a rate such as `100/min`, `5/s` or `10/30s`");
        let (count, per) = text.trim().split_once('/').ok_or_else(wrong)?;
        let count: u32 = count.trim().parse().map_err(|_| wrong())?;
        let per = per.trim();
        let period = if per.starts_with(|c: char| c.is_ascii_digit()) {
            Period::parse(per).map_err(|_| wrong())?.0
        } else {
            Duration::from_millis(factor(PERIODS, per).ok_or_else(wrong)?)
        };
        if count == 0 || period.is_zero() {
            return Err(format!("`{text}` allows nothing; count and period must be above zero"));
        }
        Ok(Self { count, period })
    }
}

/// Eight of them are a byte.
const BITS: &[(&str, u64)] =
    &[("bit", 1), ("kbit", 1_000), ("Mbit", 1_000_000), ("Gbit", 1_000_000_000)];

impl Speed {
    /// Reads a speed.
    ///
    /// # Errors
    /// A sentence that says what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a speed such as `1MiB/s`, `500kB/s` or `8Mbit/s`");
        let (amount, per) = text.trim().split_once('/').ok_or_else(wrong)?;
        if !matches!(per.trim(), "s" | "sec" | "second") {
            return Err(wrong());
        }
        let amount = amount.trim();
        let bits = number_and_unit(amount).filter(|(_, _, rest)| rest.is_empty());
        let bits = bits.and_then(|(number, unit, _)| number.checked_mul(factor(BITS, unit)?));
        let bytes = match bits {
            Some(bits) => bits / 8,
            None => Size::parse(amount).map_err(|_| wrong())?.0,
        };
        if bytes == 0 {
            return Err(format!("`{text}` lets nothing pass"));
        }
        Ok(Self(bytes))
    }
}

impl Share {
    /// All of it.
    pub const ALL: Self = Self(MILLION);
    /// Nothing of it.
    pub const NONE: Self = Self(0);

    /// Reads a share. Without `%` a number is refused, since `1` could be one in a hundred or all.
    ///
    /// # Errors
    /// A sentence that says what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a share such as `10%`, `0.5%`, `all` or `none`");
        let number = match text.trim() {
            "all" => return Ok(Self::ALL),
            "none" => return Ok(Self::NONE),
            text => text.strip_suffix('%').ok_or_else(wrong)?.trim_end(),
        };
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        let is_number = |digits: &str, max| {
            (1..=max).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit())
        };
        if !is_number(whole, 3) || !is_number(part, 4) {
            return Err(wrong());
        }
        let whole: u32 = whole.parse().map_err(|_| wrong())?;
        let part: u32 = format!("{part:0<4}").parse().map_err(|_| wrong())?;
        let millionths = whole * (MILLION / 100) + part;
        if millionths > MILLION {
            return Err(format!("`{text}` is more than all of it"));
        }
        Ok(Self(millionths))
    }

    /// So many in a hundred; more than a hundred are all.
    #[must_use]
    pub const fn percent(percent: u8) -> Self {
        let percent = if percent > 100 { 100 } else { percent as u32 };
        Self(percent * (MILLION / 100))
    }

    /// So many in a hundred.
    #[must_use]
    pub fn in_percent(self) -> f64 {
        f64::from(self.0) / f64::from(MILLION / 100)
    }

    /// This share of a number, rounded down.
    #[must_use]
    pub fn of(self, whole: u64) -> u64 {
        let share = u128::from(whole) * u128::from(self.0) / u128::from(MILLION);
        u64::try_from(share).unwrap_or(u64::MAX)
    }

    /// Whether so many of so many are at least this share.
    #[must_use]
    pub fn is_reached(self, part: u64, whole: u64) -> bool {
        u128::from(part) * u128::from(MILLION) >= u128::from(whole) * u128::from(self.0)
    }

    /// From 0 to 1.
    #[must_use]
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / f64::from(MILLION)
    }

    /// Whether a number drawn at random from all of `u64` belongs to this share. One that belongs to a
    /// share belongs to every larger one.
    #[must_use]
    pub fn takes(self, drawn: u64) -> bool {
        self == Self::ALL || drawn < u64::from(self.0) * (u64::MAX / u64::from(MILLION))
    }
}

const MILLION: u32 = 1_000_000;

/// `12min rest` → 12, `min`, ` rest`.
fn number_and_unit(text: &str) -> Option<(u64, &str, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, rest) = text.split_at_checked(digits)?;
    let rest = rest.trim_start();
    let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    let (unit, tail) = rest.split_at_checked(letters)?;
    Some((number.parse().ok()?, unit, tail.trim_start()))
}

fn factor(units: &[(&str, u64)], unit: &str) -> Option<u64> {
    units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor)
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        match ms {
            0 => f.write_str("0s"),
            _ if ms.is_multiple_of(86_400_000) => write!(f, "{}d", ms / 86_400_000),
            _ if ms.is_multiple_of(3_600_000) => write!(f, "{}h", ms / 3_600_000),
            _ if ms.is_multiple_of(60_000) => write!(f, "{}min", ms / 60_000),
            _ if ms.is_multiple_of(1_000) => write!(f, "{}s", ms / 1_000),
            _ => write!(f, "{ms}ms"),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0;
        match bytes {
            0 => f.write_str("0B"),
            _ if bytes.is_multiple_of(1 << 30) => write!(f, "{}GiB", bytes >> 30),
            _ if bytes.is_multiple_of(1 << 20) => write!(f, "{}MiB", bytes >> 20),
            _ if bytes.is_multiple_of(1 << 10) => write!(f, "{}KiB", bytes >> 10),
            _ => write!(f, "{bytes}B"),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let period = Period(self.period).to_string();
        let period = match period.strip_prefix('1') {
            Some(unit) if unit.starts_with(|c: char| c.is_ascii_alphabetic()) => unit,
            _ => &period,
        };
        write!(f, "{}/{period}", self.count)
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", Size(self.0))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / (MILLION / 100), self.0 % (MILLION / 100));
        match part {
            0 => write!(f, "{whole}%"),
            _ => write!(f, "{whole}.{}%", format!("{part:04}").trim_end_matches('0')),
        }
    }
}

/// Deserialization from text (and plain numbers where the parser takes them), and the schema.
macro_rules! word {
    ($type:ident, $expecting:literal, $pattern:literal) => {
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
                }
                deserializer.deserialize_any(Word)
            }
        }
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": ["string", "integer"], "description": $expecting, "pattern": $pattern
                })
            }
        }
    };
}

word!(Period, "a duration such as `250ms`, `30s`, `5min` or `1h`", "^([0-9]+ ?[a-z]+ ?)+$");
word!(Size, "a size such as `64KiB`, `10MiB` or `1GiB`", "^[0-9]+ ?([kKMG]i?)?B?$");
word!(Rate, "a rate such as `100/min`, `5/s` or `10/30s`", "^[0-9]+ ?/ ?[0-9]* ?[a-z]+$");
word!(
    Speed,
    "a speed such as `1MiB/s`, `500kB/s` or `8Mbit/s`",
    "^[0-9]+ ?(([kKMG]i?)?B?|[kMG]?bit) ?/ ?s(ec(ond)?)?$"
);
word!(
    Share,
    "a share such as `10%`, `0.5%`, `all` or `none`",
    "^(all|none|[0-9]{1,3}(\\.[0-9]{1,4})? ?%)$"
);

#[cfg(test)]
mod tests {
    use super::{Period, Rate, Share, Size, Speed};

    fn period(text: &str) -> String {
        Period::parse(text).map_or_else(|e| e, |p| format!("{}ms = {p}", p.0.as_millis()))
    }

    #[test]
    fn periods() {
        assert_eq!(period("250ms"), "250ms = 250ms");
        assert_eq!(period("1h30min"), "5400000ms = 90min");
        assert_eq!(period("90 s"), "90000ms = 90s");
        assert!(period("30").contains("is not a duration"));
        assert!(period("").contains("is not a duration"));
        assert!(period("5 parsecs").contains("is not a duration"));
        assert!(period("99999999999999999999d").contains("is not a duration"));
        assert!(period("9999999999999999999d").contains("is too long"));
    }

    #[test]
    fn sizes() {
        assert_eq!(Size::parse("64KiB").unwrap().0, 65_536);
        assert_eq!(Size::parse("10MB").unwrap().0, 10_000_000);
        assert_eq!(Size::parse("1024").unwrap().to_string(), "1KiB");
        assert!(Size::parse("64kibi").is_err());
        assert!(Size::parse("-1").is_err());
    }

    #[test]
    fn rates() {
        assert_eq!(Rate::parse("100/min").unwrap().to_string(), "100/min");
        assert_eq!(Rate::parse("10/30s").unwrap().to_string(), "10/30s");
        assert_eq!(Rate::parse("5 / second").unwrap().to_string(), "5/s");
        assert!(Rate::parse("0/min").unwrap_err().contains("allows nothing"));
        assert!(Rate::parse("100").is_err());
        assert!(Rate::parse("100/fortnight").is_err());
    }

    #[test]
    fn speeds() {
        for (text, bytes, shown) in [
            ("1MiB/s", 1 << 20, "1MiB/s"),
            ("500 kB / s", 500_000, "500000B/s"),
            ("8Mbit/s", 1_000_000, "1000000B/s"),
            ("1024/second", 1_024, "1KiB/s"),
        ] {
            let speed = Speed::parse(text).unwrap();
            assert_eq!((speed.0, &*speed.to_string()), (bytes, shown), "{text}");
        }
        for wrong in ["1MiB", "1MiB/min", "fast", "/s", "-1kB/s", "1Mbit 1kbit/s"] {
            assert!(Speed::parse(wrong).unwrap_err().contains("is not a speed"), "{wrong}");
        }
        assert!(Speed::parse("7bit/s").unwrap_err().contains("lets nothing pass"));
    }

    #[test]
    fn a_share_of_a_number_is_rounded_down_and_reached_when_it_is_exact() {
        let third = Share::parse("33.3%").unwrap();
        assert_eq!((third.of(10), third.of(1_000), Share::ALL.of(u64::MAX)), (3, 333, u64::MAX));
        assert!(third.is_reached(333, 1_000) && !third.is_reached(332, 1_000));
        assert_eq!(
            (Share::percent(50), Share::percent(200)),
            (Share::parse("50%").unwrap(), Share::ALL)
        );
    }

    #[test]
    fn shares() {
        for (text, shown) in [
            ("all", "100%"),
            ("none", "0%"),
            ("10%", "10%"),
            ("0.5 %", "0.5%"),
            ("100.0%", "100%"),
            ("0.0001%", "0.0001%"),
        ] {
            assert_eq!(Share::parse(text).unwrap().to_string(), shown, "{text}");
        }
        for wrong in ["", "%", "10", "0.1", "-1%", "1.%", ".5%", "1e1%", "0.00001%", "1000%"] {
            assert!(Share::parse(wrong).unwrap_err().contains("is not a share"), "{wrong}");
        }
        assert!(Share::parse("101%").unwrap_err().contains("more than all"));
    }

    #[test]
    fn a_share_takes_its_part_of_all_numbers() {
        let tenth = Share::parse("10%").unwrap();
        assert!(tenth.takes(0) && tenth.takes(u64::MAX / 11) && !tenth.takes(u64::MAX / 9));
        assert!(Share::ALL.takes(u64::MAX) && !Share::NONE.takes(0));
    }
}
