//! Documents whose every value remembers where it was written. A parser (YAML in `model`) makes the
//! tree; [`crate::decode`] turns parts of it into typed values.

use crate::report::Place;
use schemars::JsonSchema;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

/// Asks [`crate::decode`] for a value together with its place.
pub(crate) const PLACED_TOKEN: &str = "$yett::placed";
/// Asks [`crate::decode`] to let references to secrets pass.
pub const TEXT_TOKEN: &str = "$yett::text";

/// Asks [`crate::decode`] for the first key of a map before the map itself.
pub(crate) const FIRST_KEY_TOKEN: &str = "$yett::first_key";

/// A value and where it was written. `{:#?}` shows the value alone.
#[derive(Clone, PartialEq)]
pub struct Node {
    /// Where the value begins.
    pub place: Place,
    /// The value.
    pub value: Value,
}

/// A value of a document.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map in the order it was written; keys are unique.
    Map(Vec<(Placed<String>, Node)>),
}

impl Node {
    /// A node that was not written in any file.
    #[must_use]
    pub fn unplaced(value: Value) -> Self {
        Self { place: Place::unknown(), value }
    }

    /// A node made of a JSON value, all at unknown places.
    #[must_use]
    pub fn from_json(json: &serde_json::Value) -> Self {
        let value = match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(flag) => Value::Bool(*flag),
            serde_json::Value::Number(number) => number
                .as_i64()
                .map_or_else(|| Value::Float(number.as_f64().unwrap_or(f64::NAN)), Value::Int),
            serde_json::Value::String(text) => Value::Text(text.clone()),
            serde_json::Value::Array(items) => {
                Value::List(items.iter().map(Self::from_json).collect())
            }
            serde_json::Value::Object(fields) => Value::Map(
                fields
                    .iter()
                    .map(|(key, value)| (Placed::unplaced(key.clone()), Self::from_json(value)))
                    .collect(),
            ),
        };
        Self::unplaced(value)
    }

    /// The value of a key, if this is a map that has it.
    #[must_use]
    pub fn field(&self, key: &str) -> Option<&Self> {
        let Value::Map(fields) = &self.value else { return None };
        fields.iter().find(|(name, _)| name.value == key).map(|(_, node)| node)
    }

    /// What kind of value this is, for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

/// A typed value and where it was written. `{:#?}` shows the value alone.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Placed<T> {
    /// Where the value begins.
    pub place: Place,
    /// The value.
    pub value: T,
}

impl<T> Placed<T> {
    /// A value that was not written in any file.
    #[must_use]
    pub fn unplaced(value: T) -> Self {
        Self { place: Place::unknown(), value }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug(&self.value, &self.place, f)
    }
}

impl<T: fmt::Debug> fmt::Debug for Placed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug(&self.value, &self.place, f)
    }
}

fn debug<T: fmt::Debug>(value: &T, place: &Place, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    value.fmt(f)?;
    if f.alternate() { Ok(()) } else { write!(f, " ({place})") }
}

impl<T> std::ops::Deref for Placed<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: JsonSchema> JsonSchema for Placed<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> std::borrow::Cow<'static, str> {
        T::schema_id()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        T::json_schema(generator)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Placed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(PLACED_TOKEN, PlacedVisitor(PhantomData))
    }
}

/// Takes the fields `file`, `line`, `column`, `value` from [`crate::decode`], or a bare value from
/// any other deserializer.
struct PlacedVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for PlacedVisitor<T> {
    type Value = Placed<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Placed<T>, A::Error> {
        let mut place = Place::unknown();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "file" => place.file = map.next_value::<String>()?.into(),
                "line" => place.line = map.next_value()?,
                "column" => place.column = map.next_value()?,
                _ => return Ok(Placed { place, value: map.next_value()? }),
            }
        }
        Err(A::Error::missing_field("value"))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, d: D) -> Result<Placed<T>, D::Error> {
        Ok(Placed::unplaced(T::deserialize(d)?))
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let placed = Placed::<Value>::deserialize(deserializer)?;
        Ok(Self { place: placed.place, value: placed.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(TEXT_TOKEN, ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_newtype_struct<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        d.deserialize_any(self)
    }
    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E: Error>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }
    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(number))
    }
    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        i64::try_from(number).map(Value::Int).map_err(|_| E::custom("the number is too large"))
    }
    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<Node>()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields: Vec<(Placed<String>, Node)> = Vec::new();
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<Placed<String>>()? {
            if !seen.insert(key.value.clone()) {
                map.next_value::<IgnoredAny>()?;
                return Err(A::Error::custom(format_args!("`{}` appears twice", key.value)));
            }
            fields.push((key, map.next_value()?));
        }
        Ok(Value::Map(fields))
    }
}
