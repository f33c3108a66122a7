//! How much in a window of the calendar, as words: `50k/month`.

use crate::calendar::{Calendar, Every, WEEKDAYS, Zone, weekday};
use crate::caps::QUOTAS_MAX;
use crate::decode::short_or_long;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// So many per window of the calendar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// How many.
    pub amount: u64,
    /// Per what.
    pub per: Calendar,
    /// What one request uses of it: a number, or an expression that gives one.
    pub cost: Option<String>,
}

/// Quotas that hold together; never none, and no two of the same windows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quotas(pub Vec<Quota>);

/// A number as people write it: `1000`, `50k`, `1.5M`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Amount(u64);

/// A length of calendar time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Unit {
    /// From one full hour to the next.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From Monday to Sunday.
    Week,
    /// From the first day to the last.
    Month,
}

/// The hour, day or date on which windows begin.
#[derive(Clone, Debug)]
struct Anchor(String);

impl Amount {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (number, factor) = match text.strip_suffix(['k', 'K']) {
            Some(number) => (number, 1_000),
            None => text.strip_suffix('M').map_or((text, 1), |number| (number, 1_000_000)),
        };
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let has_dot = number.contains('.');
        if whole.is_empty() || !is_number(whole) || !is_number(part) || (has_dot == part.is_empty())
        {
            return None;
        }
        let mut amount = whole.parse::<u64>().ok()?.checked_mul(factor)?;
        let mut worth = factor;
        for digit in part.bytes() {
            if worth % 10 != 0 {
                return None;
            }
            worth /= 10;
            amount = amount.checked_add(u64::from(digit - b'0') * worth)?;
        }
        Some(Self(amount))
    }
}

/// The largest amount: what one can count in a year at any rate.
const AMOUNT_MAX: u64 = 1_000_000_000_000_000;

impl Quota {
    /// Reads an amount and a unit.
    ///
    /// # Errors
    /// A sentence that says what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{}` is not a quota such as `1000/day` or `50k/month`", text.trim());
        let (amount, unit) = text.split_once('/').ok_or_else(wrong)?;
        let amount = Amount::parse(amount).ok_or_else(wrong)?;
        let per = match unit.trim() {
            "h" | "hour" => Unit::Hour,
            "d" | "day" => Unit::Day,
            "w" | "week" => Unit::Week,
            "month" => Unit::Month,
            "min" | "s" | "m" | "minute" | "second" => {
                return Err(format!(
                    "{}; for shorter times there is `limit`, which counts without a calendar",
                    wrong()
                ));
            }
            _ => return Err(wrong()),
        };
        QuotaLong { amount, per, time_zone: None, anchor: None, cost: None }.read()
    }

    /// The word for its windows: `month`.
    #[must_use]
    pub const fn unit(&self) -> &'static str {
        match self.per.every {
            Every::Hour => "hour",
            Every::Day { .. } => "day",
            Every::Week { .. } => "week",
            Every::Month { .. } => "month",
        }
    }

    /// How long its windows are, in seconds, if all are as long but for changes of the clocks.
    #[must_use]
    pub const fn window_s(&self) -> Option<u64> {
        match self.per.every {
            Every::Hour => Some(3_600),
            Every::Day { .. } => Some(86_400),
            Every::Week { .. } => Some(604_800),
            Every::Month { .. } => None,
        }
    }

    /// The order of lengths, in days of the shortest window.
    const fn rank(&self) -> u64 {
        match self.per.every {
            Every::Hour => 0,
            Every::Day { .. } => 1,
            Every::Week { .. } => 7,
            Every::Month { .. } => 28,
        }
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.amount, self.unit())
    }
}

impl Quotas {
    /// Reads quotas with `and` or commas between them. A comma needs quotes inside of YAML's `{ }` and `[ ]`.
    ///
    /// # Errors
    /// A sentence that says what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts = text.split(',').flat_map(|text| text.split(" and "));
        parts.map(Quota::parse).collect::<Result<Vec<_>, _>>().and_then(Self::new)
    }

    fn new(quotas: Vec<Quota>) -> Result<Self, String> {
        if quotas.is_empty() {
            return Err(format!("an empty list; write {EXPECTING}"));
        }
        if quotas.len() > QUOTAS_MAX {
            return Err(format!("more than {QUOTAS_MAX} quotas at once"));
        }
        for (at, quota) in quotas.iter().enumerate() {
            if let Some(same) = quotas.iter().take(at).find(|other| other.per == quota.per) {
                return Err(format!(
                    "{same} and {quota} overlap: they count in the same windows; keep one of them"
                ));
            }
        }
        Ok(Self(quotas))
    }

    /// What is doubtful about them: one that another keeps from ever being used up.
    #[must_use]
    pub fn doubt(&self) -> Option<String> {
        let pairs = self.0.iter().flat_map(|one| self.0.iter().map(move |other| (one, other)));
        let mut idle = pairs.filter(|(shorter, longer)| {
            shorter.rank() < longer.rank()
                && shorter.amount >= longer.amount
                && shorter.cost == longer.cost
        });
        idle.next().map(|(shorter, longer)| {
            format!("{shorter} is never used up: {longer} is used up before it")
        })
    }
}

#[derive(serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct QuotaLong {
    /// How many: `1000`, `50k`, `1.5M`.
    amount: Amount,
    /// In which windows.
    per: Unit,
    /// Whose clocks and calendars count; `UTC` when left out.
    time_zone: Option<Zone>,
    /// When windows begin: of a month the day (1 to 31; a shorter month begins on its last), of a week the day's name,
    /// of a day the hour (0 to 23). The first day, Monday, or midnight when left out.
    anchor: Option<Anchor>,
    /// What one request uses of it: a number, or an expression that gives one; 1 when left out.
    cost: Option<String>,
}

impl QuotaLong {
    fn read(self) -> Result<Quota, String> {
        let Self { amount: Amount(amount), per, time_zone, anchor, cost } = self;
        if amount == 0 {
            return Err("a quota of zero allows nothing".to_owned());
        }
        if amount > AMOUNT_MAX {
            return Err(format!("{amount} is more than can be counted ({AMOUNT_MAX})"));
        }
        let anchor = anchor.map(|anchor| anchor.0);
        let number = |range: std::ops::RangeInclusive<u8>, usual: u8| match &anchor {
            None => Ok(usual),
            Some(text) => {
                text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
                    let (first, last) = (range.start(), range.end());
                    format!("`anchor: {text}` is none of {first} to {last}")
                })
            }
        };
        let every = match per {
            Unit::Hour => match &anchor {
                None => Every::Hour,
                Some(_) => return Err("windows of an hour have no `anchor`".to_owned()),
            },
            Unit::Day => Every::Day { hour: number(0..=23, 0)? },
            Unit::Week => Every::Week {
                weekday: match &anchor {
                    None => 0,
                    Some(name) => weekday(name).ok_or_else(|| {
                        format!("`anchor: {name}` is no day of a week, such as `{}`", WEEKDAYS[0])
                    })?,
                },
            },
            Unit::Month => Every::Month { day: number(1..=31, 1)? },
        };
        let zone = time_zone.unwrap_or_else(Zone::utc);
        Ok(Quota { amount, per: Calendar { zone, every }, cost })
    }
}

/// What was read, or why it is none; told by whoever asked for it.
struct Read(Result<Quota, String>);

impl From<QuotaLong> for Read {
    fn from(long: QuotaLong) -> Self {
        Self(long.read())
    }
}

impl<'de> Deserialize<'de> for Quota {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let short = |text: &str| Self::parse(text).map(|quota| Read(Ok(quota)));
        let read = short_or_long::<D, QuotaLong, Read>(
            deserializer,
            "a quota such as `50k/month`, or `{ amount, per, time_zone, anchor, cost }`",
            short,
        )?;
        read.0.map_err(D::Error::custom)
    }
}

const EXPECTING: &str =
    "a quota such as `50k/month`, several such as `1000/day and 20k/month`, or a list of them";

impl<'de> Deserialize<'de> for Quotas {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Quotas;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTING)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Quotas, E> {
                Quotas::parse(text).map_err(E::custom)
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Quotas, E> {
                Quotas::parse(&number.to_string()).map_err(E::custom)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Quotas, A::Error> {
                let map = serde::de::value::MapAccessDeserializer::new(map);
                let quota = QuotaLong::deserialize(map)?.read().map_err(A::Error::custom)?;
                Ok(Quotas(vec![quota]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Quotas, A::Error> {
                let quotas: Vec<Quota> =
                    Deserialize::deserialize(SeqAccessDeserializer::new(list))?;
                Quotas::new(quotas).map_err(A::Error::custom)
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

impl JsonSchema for Quotas {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Quotas".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let long = generator.subschema_for::<QuotaLong>();
        let short = serde_json::json!({ "type": "string", "examples": ["50k/month"] });
        schemars::json_schema!({ "description": EXPECTING, "anyOf": [
            { "type": "string", "examples": ["1000/day and 20k/month"] },
            long,
            { "type": "array", "minItems": 1, "maxItems": QUOTAS_MAX, "items": { "anyOf": [short, long] } },
        ] })
    }
}

/// A number or a text, and its schema.
macro_rules! number_or_text {
    ($type:ident, $expecting:literal, $read:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Word;
                impl Visitor<'_> for Word {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_str<E: Error>(self, text: &str) -> Result<$type, E> {
                        let read: fn(&str) -> Option<$type> = $read;
                        read(text).ok_or_else(|| {
                            E::custom(format!(concat!("`{}` is not ", $expecting), text))
                        })
                    }
                    fn visit_i64<E: Error>(self, number: i64) -> Result<$type, E> {
                        self.visit_str(&number.to_string())
                    }
                    fn visit_u64<E: Error>(self, number: u64) -> Result<$type, E> {
                        self.visit_str(&number.to_string())
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
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                schemars::json_schema!({ "type": ["string", "integer"], "description": $expecting })
            }
        }
    };
}

number_or_text!(Amount, "a number such as `1000`, `50k` or `1.5M`", Amount::parse);
number_or_text!(Anchor, "a day of the month, a day of the week, or an hour", |text| Some(Anchor(
    text.trim().to_owned()
)));

#[cfg(test)]
mod tests {
    use super::{Amount, Quotas};
    use crate::{Node, Report, decode};
    use serde_json::{Value, json};

    fn read(json: &Value) -> Result<Quotas, String> {
        let mut report = Report::new();
        let quotas: Option<Quotas> = decode(&Node::from_json(json), "", &mut report);
        quotas.ok_or_else(|| report.to_string())
    }

    #[test]
    fn amounts_are_read_as_people_write_them() {
        let amount = |text| Amount::parse(text).map(|amount| amount.0);
        for (text, expected) in [
            ("1000", 1_000),
            ("50k", 50_000),
            ("50K", 50_000),
            ("2M", 2_000_000),
            ("1.5M", 1_500_000),
            ("0.25k", 250),
            ("1.234567M", 1_234_567),
        ] {
            assert_eq!(amount(text), Some(expected), "{text}");
        }
        for text in
            ["", "k", "1.5", "1.", ".5k", "1.2345k", "-1", "1e3", "1 k 2", "99999999999999999999"]
        {
            assert_eq!(amount(text), None, "{text}");
        }
    }

    #[test]
    fn one_quota_several_and_lists_are_read() {
        let long = json!({ "amount": "50k", "per": "month", "time_zone": "Europe/London", "anchor": 15, "cost": 2 });
        for (written, expected) in [
            (json!("50k/month"), vec!["50000/month: month from 1, UTC"]),
            (json!("10/h and 5/d"), vec!["10/hour: hour, UTC", "5/day: day from 00:00, UTC"]),
            (
                json!("1000/day, 20k/month"),
                vec!["1000/day: day from 00:00, UTC", "20000/month: month from 1, UTC"],
            ),
            (long, vec!["50000/month: month from 15, Europe/London"]),
            (
                json!(["10/h", { "amount": 5, "per": "week", "anchor": "wed" }]),
                vec!["10/hour: hour, UTC", "5/week: week from wednesday, UTC"],
            ),
            (json!({ "amount": 5, "per": "day", "anchor": 6 }), vec!["5/day: day from 06:00, UTC"]),
        ] {
            let quotas = read(&written).unwrap();
            let told: Vec<String> = quotas.0.iter().map(|it| format!("{it}: {}", it.per)).collect();
            assert_eq!(told, expected, "{written}");
        }
    }

    #[test]
    fn what_is_no_quota_is_refused_with_what_is_expected() {
        for (written, part) in [
            (json!("often"), "is not a quota such as"),
            (json!("50k/fortnight"), "is not a quota such as"),
            (json!("100/min"), "there is `limit`"),
            (json!("0/day"), "allows nothing"),
            (json!("1/day,"), "is not a quota"),
            (json!([]), "an empty list"),
            (json!("1/day, 2/day"), "1/day and 2/day overlap"),
            (json!({ "amount": "lots", "per": "day" }), "is not a number such as"),
            (json!({ "amount": 1, "per": "year" }), "year"),
            (json!({ "amount": 1, "per": "hour", "anchor": 1 }), "no `anchor`"),
            (json!({ "amount": 1, "per": "month", "anchor": 32 }), "none of 1 to 31"),
            (json!({ "amount": 1, "per": "day", "anchor": 24 }), "none of 0 to 23"),
            (json!({ "amount": 1, "per": "week", "anchor": "noday" }), "no day of a week"),
            (
                json!({ "amount": 1, "per": "day", "time_zone": "Mars/Olympus" }),
                "is not a time zone",
            ),
            (json!({ "amount": 1, "per": "day", "anker": 1 }), "anchor"),
            (
                json!(["1/day", "2/h", "3/week", "4/month", "5/d", "6/d", "7/d", "8/d", "9/d"]),
                "more than 8",
            ),
            (json!(true), "a quota such as"),
        ] {
            let message = read(&written).unwrap_err();
            assert!(message.contains(part), "{written}: {message}");
        }
    }

    #[test]
    fn a_quota_that_another_makes_idle_is_doubted() {
        let doubt = |text: &str| Quotas::parse(text).unwrap().doubt();
        assert_eq!(doubt("1000/day, 20k/month"), None);
        let told = doubt("20k/month, 20k/day").unwrap();
        assert!(told.contains("20000/day is never used up"), "{told}");
    }
}
