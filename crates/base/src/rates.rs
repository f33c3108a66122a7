//! Several rates that hold together, as words: `10/s and 1000/h`.

use crate::caps::LIMITS_MAX;
use crate::decode::short_or_long;
use crate::units::Rate;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// How much, per how long, and how much at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// How much, per how long.
    pub rate: Rate,
    /// How much may come at once after a pause; as much as the rate counts, when there is none.
    pub burst: Option<u32>,
}

/// Limits that hold together; never none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits(pub Vec<Limit>);

impl From<Rate> for Limit {
    fn from(rate: Rate) -> Self {
        Self { rate, burst: None }
    }
}

impl Limits {
    /// Limits that hold together.
    ///
    /// # Errors
    /// A sentence that says how many they can be at most.
    pub fn new(limits: Vec<Limit>) -> Result<Self, String> {
        if limits.len() > LIMITS_MAX {
            return Err(format!("at most {LIMITS_MAX} limits hold together"));
        }
        Ok(Self(limits))
    }

    /// A limit that never has its turn, with the one that is always used up before it or at the same time: one of the
    /// same length that lets no more pass.
    #[must_use]
    pub fn idle(&self) -> Option<(Limit, Limit)> {
        let burst = |limit: &Limit| limit.burst.unwrap_or(limit.rate.count);
        let is_within = |one: &Limit, other: &Limit| {
            one.rate.period == other.rate.period
                && one.rate.count <= other.rate.count
                && burst(one) <= burst(other)
        };
        let pairs = self.0.iter().enumerate();
        let mut pairs = pairs.flat_map(|(at, one)| {
            self.0.iter().enumerate().filter(move |(of, _)| *of != at).map(move |(_, it)| (one, it))
        });
        pairs.find(|(one, other)| is_within(one, other)).map(|(one, other)| (*other, *one))
    }

    /// Reads rates with `and` or commas between them. A comma needs quotes inside of YAML's `{ }` and `[ ]`.
    ///
    /// # Errors
    /// A sentence that says what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        text.split(',')
            .flat_map(|text| text.split(" and "))
            .map(|rate| Rate::parse(rate).map(Limit::from))
            .collect::<Result<_, _>>()
            .and_then(Self::new)
    }
}

#[derive(serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct LimitLong {
    /// How much, per how long: `100/min`.
    rate: Rate,
    /// How much may come at once after a pause; as much as `rate` counts, when left out.
    #[schemars(range(min = 1))]
    burst: Option<u32>,
    /// Whether requests must keep even distances, so that `10/s` lets one pass every 100 ms and never two at once: a
    /// burst of one.
    #[serde(default)]
    smooth: bool,
}

impl From<LimitLong> for Limit {
    fn from(LimitLong { rate, burst, smooth }: LimitLong) -> Self {
        Self { rate, burst: burst.or_else(|| smooth.then_some(1)) }
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let short = |text: &str| Rate::parse(text).map(Self::from);
        short_or_long::<D, LimitLong, Self>(
            deserializer,
            "a rate such as `100/min`, or `{ rate, burst }`",
            short,
        )
    }
}

const EXPECTING: &str =
    "a rate such as `100/min`, several such as `10/s and 1000/h`, or a list of them";

impl<'de> Deserialize<'de> for Limits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Limits;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTING)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Limits, E> {
                Limits::parse(text).map_err(E::custom)
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Limits, E> {
                Limits::parse(&number.to_string()).map_err(E::custom)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Limits, A::Error> {
                let map = serde::de::value::MapAccessDeserializer::new(map);
                LimitLong::deserialize(map).map(|long| Limits(vec![long.into()]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Limits, A::Error> {
                let limits: Vec<Limit> =
                    Deserialize::deserialize(SeqAccessDeserializer::new(list))?;
                if limits.is_empty() {
                    return Err(A::Error::custom(format!("an empty list; write {EXPECTING}")));
                }
                Limits::new(limits).map_err(A::Error::custom)
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

impl JsonSchema for Limit {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Limit".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (rate, long) =
            (generator.subschema_for::<Rate>(), generator.subschema_for::<LimitLong>());
        schemars::json_schema!({ "anyOf": [rate, long] })
    }
}

impl JsonSchema for Limits {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Limits".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let long = generator.subschema_for::<LimitLong>();
        let rate = generator.subschema_for::<Rate>();
        schemars::json_schema!({ "description": EXPECTING, "anyOf": [
            { "type": "string", "examples": ["10/s and 1000/h"] },
            long,
            { "type": "array", "minItems": 1, "items": { "anyOf": [rate, long] } },
        ] })
    }
}

#[cfg(test)]
mod tests {
    use super::Limits;
    use crate::{Node, Report, decode};

    fn read(json: &serde_json::Value) -> Result<Vec<String>, String> {
        let mut report = Report::new();
        let limits: Option<Limits> = decode(&Node::from_json(json), "", &mut report);
        let text = |limits: Limits| {
            let one = |limit: &super::Limit| match limit.burst {
                Some(burst) => format!("{} burst {burst}", limit.rate),
                None => limit.rate.to_string(),
            };
            limits.0.iter().map(one).collect()
        };
        limits.map(text).ok_or_else(|| report.to_string())
    }

    #[test]
    fn one_limit_several_and_lists_are_read() {
        for (written, expected) in [
            (serde_json::json!("100/min"), vec!["100/min"]),
            (serde_json::json!("10/s, 1000/h"), vec!["10/s", "1000/h"]),
            (serde_json::json!("10/s and 1000/h"), vec!["10/s", "1000/h"]),
            (serde_json::json!({ "rate": "5/s", "burst": 20 }), vec!["5/s burst 20"]),
            (serde_json::json!(["1/s", { "rate": "5/min" }]), vec!["1/s", "5/min"]),
            (serde_json::json!({ "rate": "5/s", "smooth": true }), vec!["5/s burst 1"]),
        ] {
            assert_eq!(read(&written).unwrap(), expected, "{written}");
        }
    }

    #[test]
    fn a_limit_that_never_has_its_turn_is_found() {
        for (written, expected) in [
            ("5/s and 5/s", Some("5/s 5/s")),
            ("10/s, 5/s", Some("10/s 5/s")),
            ("5/s, 10/s", Some("10/s 5/s")),
            ("5/s and 300/min", None),
            ("5/s, 100/min", None),
        ] {
            let idle = Limits::parse(written).unwrap().idle();
            let idle = idle.map(|(idle, other)| format!("{} {}", idle.rate, other.rate));
            assert_eq!(idle.as_deref(), expected, "{written}");
        }
        let bursts = |first: u32, second: u32| {
            let limit = |count: u32, burst: u32| serde_json::json!({ "rate": format!("{count}/s"), "burst": burst });
            let node = Node::from_json(&serde_json::json!([limit(5, first), limit(10, second)]));
            let limits: Option<Limits> = decode(&node, "", &mut Report::new());
            limits.unwrap().idle().is_some()
        };
        assert!(bursts(10, 20) && !bursts(20, 10));
    }

    #[test]
    fn what_is_no_limit_is_refused_with_what_is_expected() {
        for (written, part) in [
            (serde_json::json!("often"), "is not a rate"),
            (serde_json::json!("1/s,"), "is not a rate"),
            (serde_json::json!([]), "an empty list"),
            (serde_json::json!(true), "a rate such as"),
            (serde_json::json!("1/s, 2/s, 3/s, 4/s, 5/s, 6/s, 7/s, 8/s, 9/s"), "at most 8 limits"),
            (
                serde_json::json!(["1/s", "2/s", "3/s", "4/s", "5/s", "6/s", "7/s", "8/s", "9/s"]),
                "at most 8 limits",
            ),
            (serde_json::json!({ "rate": "1/s", "brust": 1 }), "burst"),
        ] {
            let message = read(&written).unwrap_err();
            assert!(message.contains(part), "{written}: {message}");
        }
    }
}
