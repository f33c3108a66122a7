//! JSON that two readers cannot read in two ways: members are there once.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// Reads an object. Nesting is bounded by `serde_json` (128 levels), size by who calls.
///
/// # Errors
/// In words, when it is no JSON, no object, has a member twice, or goes on after its end.
pub(crate) fn object(bytes: &[u8]) -> Result<Map<String, Value>, &'static str> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict.deserialize(&mut reader).map_err(|error| {
        let is_twice = error.is_data();
        if is_twice { "a member of the JSON is there twice" } else { "it is not JSON" }
    })?;
    reader.end().map_err(|_| "something follows the JSON")?;
    match value {
        Value::Object(members) => Ok(members),
        _ => Err("the JSON is not an object"),
    }
}

/// Any value without members that are there twice.
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }
    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }
    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(Self)?;
            if map.insert(name, value).is_some() {
                return Err(A::Error::custom("twice"));
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::object;

    #[test]
    fn an_object_is_read_as_it_is() {
        let text = r#"{"a":[1,-2,0.5,null,true,"x"],"b":{"a":{"\u0061":1}}}"#;
        let read = object(text.as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), text.replace("\\u0061", "a"));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200));
        for (text, expected) in [
            (r#"{"a":1,"a":1}"#, "there twice"),
            (r#"{"a":1,"\u0061":2}"#, "there twice"),
            (r#"{"b":[{"a":1,"a":2}]}"#, "there twice"),
            (r#"{"a":1} {"a":2}"#, "follows"),
            (r#"{"a":1"#, "not JSON"),
            (r#"{"a":1e999}"#, "not JSON"),
            ("{\"a\":\"\u{0}\"}", "not JSON"),
            ("[1]", "not an object"),
            ("", "not JSON"),
            (&deep, "not JSON"),
        ] {
            let problem = object(text.as_bytes()).unwrap_err();
            assert!(problem.contains(expected), "{text}: {problem}");
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}").unwrap_err(), "it is not JSON");
    }
}
