//! Several rates that hold together, as words: `10/s and 1000/h`.

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
    /// Reads rates with `and` or commas between them. A comma needs quotes inside of YAML's `{ }` and `[ ]`.
    ///
    /// # Errors
    /// A sentence that says what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        text.split(',')
            .flat_map(|text| text.split(" and "))
            .map(|rate| Rate::parse(rate).map(Limit::from))
            .collect::<Result<_, _>>()
            .map(Self)
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
                Ok(Limits(limits))
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
    fn what_is_no_limit_is_refused_with_what_is_expected() {
        for (written, part) in [
            (serde_json::json!("often"), "is not a rate"),
            (serde_json::json!("1/s,"), "is not a rate"),
            (serde_json::json!([]), "an empty list"),
            (serde_json::json!(true), "a rate such as"),
            (serde_json::json!({ "rate": "1/s", "brust": 1 }), "burst"),
        ] {
            let message = read(&written).unwrap_err();
            assert!(message.contains(part), "{written}: {message}");
        }
    }
}
