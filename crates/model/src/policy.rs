//! One configured treatment of requests: a kind, an optional id, and settings that only crate `policy`
//! understands.

use crate::map::Refused;
use base::{Node, Place, Placed, Value};
use schemars::JsonSchema;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use std::fmt;

/// A policy as written: `- kind`, `- kind: settings`, the settings being short or long.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyConfig {
    /// The kind, such as `rate_limit`.
    pub kind: Placed<String>,
    /// Tells two policies of one kind at one owner apart (`id` among the settings).
    pub id: Option<String>,
    /// What the kind is to do, without `id`.
    pub settings: Node,
}

impl<'de> Deserialize<'de> for PolicyConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Placed { place, value: mut policy } = Placed::<Written>::deserialize(deserializer)?;
        if !policy.0.kind.place.is_known() {
            policy.0.kind.place = place;
        }
        if !policy.0.settings.place.is_known() {
            // A bare kind has no settings of its own that problems could point at.
            policy.0.settings.place = policy.0.kind.place.clone();
        }
        Ok(policy.0)
    }
}

struct Written(PolicyConfig);

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindAndSettings).map(Self)
    }
}

struct KindAndSettings;

impl<'de> Visitor<'de> for KindAndSettings {
    type Value = PolicyConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a policy: `kind`, or `kind: settings`")
    }

    fn visit_str<E: Error>(self, kind: &str) -> Result<PolicyConfig, E> {
        let kind = Placed::unplaced(kind.to_owned());
        Ok(PolicyConfig { kind, id: None, settings: Node::unplaced(Value::Null) })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PolicyConfig, A::Error> {
        let entry: Option<(Placed<String>, Node)> = map.next_entry()?;
        let (kind, mut settings) =
            entry.ok_or_else(|| A::Error::custom("a policy needs a kind"))?;
        let kind_name = kind.value.clone();
        map.next_key_seed(Refused(|other: &str| {
            format!("`{other}` stands beside `{kind_name}`; a setting is indented below its policy, and another policy begins with a `- ` of its own")
        }))?;
        let id = take_id(&mut settings).map_err(A::Error::custom)?;
        Ok(PolicyConfig { kind, id, settings })
    }
}

/// `id` belongs to every kind, so it is taken out before the kind reads its settings.
fn take_id(settings: &mut Node) -> Result<Option<String>, &'static str> {
    let Value::Map(fields) = &mut settings.value else { return Ok(None) };
    let Some(index) = fields.iter().position(|(name, _)| name.value == "id") else {
        return Ok(None);
    };
    match fields.remove(index).1.value {
        Value::Text(id) if !id.is_empty() => Ok(Some(id)),
        _ => Err("`id` must be a name"),
    }
}

impl PolicyConfig {
    /// Where the policy was written.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.kind.place
    }
}

impl JsonSchema for PolicyConfig {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Policy".into()
    }
    /// The kinds are known to crate `policy`, which fills this definition in.
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "object"] })
    }
}
