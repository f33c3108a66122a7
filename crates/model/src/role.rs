//! What callers may do: roles, and what each permits of which API.

use crate::{Map, route};
use base::Placed;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// What whoever has the role may do of which API.
pub type Role = Map<Grant>;

/// The name that stands for every API.
pub const EVERY_API: &str = "*";

/// The permission that stands for every other one.
pub const ADMIN: &str = "admin";

/// The permissions that every method stands for one of: `admin` for those that are none of the others.
pub const READY_MADE: [&str; 5] = ["read", "create", "update", "delete", ADMIN];

/// What a role permits of one API: each of the fields narrows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grant {
    /// Permissions, ready-made or of one's own; every permission when empty.
    pub permissions: Vec<Placed<String>>,
    /// Methods; every method when empty.
    pub methods: Vec<String>,
    /// Names of routes; every route of the API when empty.
    pub routes: Vec<Placed<String>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
struct GrantLong {
    /// Permissions: `read` (GET, HEAD, OPTIONS, QUERY), `create` (POST), `update` (PUT, PATCH), `delete` (DELETE), `admin`
    /// (all of them), or those of one's own that `rbac: { permission: NAME }` asks for. All when left out.
    permissions: Option<Words>,
    /// Methods of requests; all when left out.
    #[serde(default, deserialize_with = "route::methods")]
    methods: Vec<String>,
    /// Routes of the API, by name or as they are written, such as `GET /{id}`; all when left out.
    routes: Option<Words>,
}

/// One text or several.
#[derive(Clone, Debug)]
pub struct Words(pub Vec<Placed<String>>);

impl<'de> Deserialize<'de> for Grant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Placed { place, value: Written(mut grant) } = Placed::deserialize(deserializer)?;
        for permission in &mut grant.permissions {
            if !permission.place.is_known() {
                permission.place = place.clone();
            }
        }
        Ok(grant)
    }
}

struct Written(Grant);

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Forms).map(Self)
    }
}

struct Forms;

impl<'de> Visitor<'de> for Forms {
    type Value = Grant;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a permission such as `read`, a list of them, or `{ permissions, methods, routes }`",
        )
    }

    fn visit_str<E: Error>(self, permission: &str) -> Result<Grant, E> {
        let permissions = vec![Placed::unplaced(permission.to_owned())];
        Ok(Grant { permissions, ..Grant::default() })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Grant, A::Error> {
        let permissions = TextOrTexts.visit_seq(list)?;
        Ok(Grant { permissions, ..Grant::default() })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Grant, A::Error> {
        let long = GrantLong::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
        let words = |words: Option<Words>| words.map(|words| words.0).unwrap_or_default();
        let (permissions, routes) = (words(long.permissions), words(long.routes));
        Ok(Grant { permissions, methods: long.methods, routes })
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Inner(Vec<Placed<String>>);
        impl<'de> Deserialize<'de> for Inner {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(TextOrTexts).map(Self)
            }
        }
        let Placed { place, value: Inner(mut words) } = Placed::deserialize(deserializer)?;
        for word in words.iter_mut().filter(|word| !word.place.is_known()) {
            word.place = place.clone();
        }
        Ok(Self(words))
    }
}

struct TextOrTexts;

impl<'de> Visitor<'de> for TextOrTexts {
    type Value = Vec<Placed<String>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a list of texts")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(vec![Placed::unplaced(text.to_owned())])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = list.next_element()? {
            texts.push(text);
        }
        if texts.is_empty() {
            return Err(A::Error::custom("the list is empty; at least one item is needed"));
        }
        Ok(texts)
    }
}

impl JsonSchema for Words {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Words".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "anyOf": [
            { "type": "string" },
            { "type": "array", "items": { "type": "string" }, "minItems": 1 },
        ] })
    }
}

impl JsonSchema for Grant {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Grant".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let words = Words::json_schema(generator);
        let long = generator.subschema_for::<GrantLong>();
        schemars::json_schema!({ "anyOf": [words, long] })
    }
}
