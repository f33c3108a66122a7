//! Settings that have a short form beside the long one: a word for a map, a text for a list.

use base::decode::short_or_long;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer};
use std::borrow::Cow;

/// Settings with a short form.
pub(crate) trait Short: DeserializeOwned + JsonSchema {
    /// What is expected, for messages.
    const EXPECTING: &'static str;
    /// One short form, for editors.
    const SAMPLE: &'static str;

    /// Reads the short form.
    fn short(text: &str) -> Result<Self, String>;
}

/// Settings in either form.
pub struct Written<T>(pub(crate) T);

impl<T> From<T> for Written<T> {
    fn from(settings: T) -> Self {
        Self(settings)
    }
}

impl<'de, T: Short> Deserialize<'de> for Written<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        short_or_long::<D, T, Self>(deserializer, T::EXPECTING, |text| T::short(text).map(Self))
    }
}

impl<T: Short> JsonSchema for Written<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let long = generator.subschema_for::<T>();
        schemars::json_schema!({ "anyOf": [
            { "type": ["string", "integer"], "description": T::EXPECTING, "examples": [T::SAMPLE] },
            long,
        ] })
    }
}

/// One text or several.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(from = "Listed")]
#[schemars(with = "Listed")]
pub struct OneOrMany(pub(crate) Vec<String>);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a text or a list of texts")]
enum Listed {
    One(String),
    Many(Vec<String>),
}

impl From<Listed> for OneOrMany {
    fn from(listed: Listed) -> Self {
        match listed {
            Listed::One(text) => Self(vec![text]),
            Listed::Many(texts) => Self(texts),
        }
    }
}
