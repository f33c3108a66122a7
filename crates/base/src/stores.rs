//! What becomes of a limit whose store cannot be asked, as words.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use std::fmt;

/// What becomes of requests while the store of their limit cannot be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OnStoreFailure {
    /// Each gateway allows its share.
    #[default]
    Local,
    /// They are refused.
    Refuse,
    /// They pass uncounted, and why that is right.
    Allow(String),
}

const EXPECTING: &str = "`local`, `refuse` or `{ allow: \"why that is right\" }`";

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Allow {
    allow: String,
}

impl<'de> Deserialize<'de> for OnStoreFailure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Word;
        impl<'de> Visitor<'de> for Word {
            type Value = OnStoreFailure;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTING)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<OnStoreFailure, E> {
                match text {
                    "local" => Ok(OnStoreFailure::Local),
                    "refuse" => Ok(OnStoreFailure::Refuse),
                    "allow" => Err(E::custom(
                        "a limit that lets everything pass without its store says why: \
                         `on_store_failure: { allow: \"the reason\" }`",
                    )),
                    other => Err(E::custom(format!("`{other}` is not {EXPECTING}"))),
                }
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OnStoreFailure, A::Error> {
                let Allow { allow } = Allow::deserialize(MapAccessDeserializer::new(map))?;
                if allow.trim().is_empty() {
                    return Err(A::Error::custom("the reason of `allow` is empty"));
                }
                Ok(OnStoreFailure::Allow(allow))
            }
        }
        deserializer.deserialize_any(Word)
    }
}

impl JsonSchema for OnStoreFailure {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "OnStoreFailure".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "description": EXPECTING, "anyOf": [
            { "type": "string", "enum": ["local", "refuse"] },
            {
                "type": "object",
                "properties": { "allow": {
                    "type": "string", "minLength": 1, "description": "Why that is right.",
                } },
                "required": ["allow"],
                "additionalProperties": false,
            },
        ] })
    }
}

#[cfg(test)]
mod tests {
    use super::OnStoreFailure;
    use crate::{Node, Report, decode};
    use serde_json::json;

    #[test]
    fn to_let_everything_pass_needs_a_reason() {
        let read = |json: &serde_json::Value| {
            let mut report = Report::new();
            let read: Option<OnStoreFailure> = decode(&Node::from_json(json), "", &mut report);
            read.ok_or_else(|| report.to_string())
        };
        assert_eq!(read(&json!("local")), Ok(OnStoreFailure::Local));
        assert_eq!(read(&json!("refuse")), Ok(OnStoreFailure::Refuse));
        let allowed = OnStoreFailure::Allow("a demo".to_owned());
        assert_eq!(read(&json!({ "allow": "a demo" })), Ok(allowed));
        for (written, part) in [
            (json!("allow"), "says why"),
            (json!({ "allow": " " }), "is empty"),
            (json!("open"), "is not `local`"),
            (json!({ "allow": "x", "until": 1 }), "until"),
        ] {
            let message = read(&written).unwrap_err();
            assert!(message.contains(part), "{written}: {message}");
        }
    }
}
