//! What one route matches, and what happens to it.

use crate::path::PathPattern;
use crate::{Map, PolicyConfig};
use base::Placed;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::value::StringDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use std::fmt;

/// A route as written: `GET /{id}`, `GET /{id}: { … }`, or the long form with `path`.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name in logs, metrics and `explain`; methods and path unless said otherwise.
    pub name: Option<Placed<String>>,
    /// Methods it answers; every method when empty. `GET` also answers `HEAD`.
    pub methods: Vec<String>,
    /// Paths it answers, below the path of its API.
    pub path: Placed<PathPattern>,
    /// What is the same in both forms.
    pub settings: RouteSettings,
}

/// What can be said of a route besides methods and path.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteSettings {
    /// Its name in logs, metrics and `explain`.
    pub name: Option<Placed<String>>,
    /// Headers a request must have.
    #[serde(default)]
    pub headers: Map<ValueMatch>,
    /// Query parameters a request must have.
    #[serde(default)]
    pub query: Map<ValueMatch>,
    /// Where requests go, if not to the API's upstream.
    pub upstream: Option<Placed<String>>,
    /// Why this route may be called without an identity.
    pub public: Option<Placed<String>>,
    /// Policies of this route, after those of its API.
    #[serde(default)]
    pub policies: Vec<PolicyConfig>,
    /// Inherited policies that do not apply here: kind (or `kind/id`) and the reason.
    #[serde(default)]
    pub exempt: Map<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RouteLong {
    /// Its name in logs, metrics and `explain`; methods and path unless said otherwise.
    name: Option<Placed<String>>,
    /// Methods it answers; every method when empty. `GET` also answers `HEAD`.
    #[serde(default)]
    methods: Vec<String>,
    /// Paths it answers: `/exact`, `/with/{param}`, `/below/*`, `/rest/{*name}`, or `~` and a regular
    /// expression over the whole path.
    path: Placed<PathPattern>,
    /// Headers a request must have.
    #[serde(default)]
    headers: Map<ValueMatch>,
    /// Query parameters a request must have.
    #[serde(default)]
    query: Map<ValueMatch>,
    /// Where requests go, if not to the API's upstream.
    upstream: Option<Placed<String>>,
    /// Why this route may be called without an identity.
    public: Option<Placed<String>>,
    /// Policies of this route, after those of its API.
    #[serde(default)]
    policies: Vec<PolicyConfig>,
    /// Inherited policies that do not apply here: kind (or `kind/id`) and the reason.
    #[serde(default)]
    exempt: Map<String>,
}

impl From<RouteLong> for Route {
    fn from(long: RouteLong) -> Self {
        let settings = RouteSettings {
            name: None,
            headers: long.headers,
            query: long.query,
            upstream: long.upstream,
            public: long.public,
            policies: long.policies,
            exempt: long.exempt,
        };
        Self { name: long.name, methods: long.methods, path: long.path, settings }
    }
}

impl Route {
    /// Reads `GET /path`, `GET,POST /path`, `* /path` or `/path`.
    ///
    /// # Errors
    /// A sentence that says what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (methods, path) = match text.split_once(char::is_whitespace) {
            Some((methods, path)) if !text.starts_with(['/', '~']) => (methods, path.trim()),
            _ => ("*", text),
        };
        let methods = match methods {
            "*" => Vec::new(),
            list => list.split(',').map(str::to_owned).collect(),
        };
        let path = Placed::unplaced(PathPattern::parse(path)?);
        Ok(Self { name: None, methods, path, settings: RouteSettings::default() })
    }
}

impl<'de> Deserialize<'de> for Route {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyForm)
    }
}

struct AnyForm;

impl<'de> Visitor<'de> for AnyForm {
    type Value = Route;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a route such as `GET /{id}`, alone or with settings")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Route, E> {
        Route::parse(text).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Route, A::Error> {
        let first: Placed<String> =
            map.next_key()?.ok_or_else(|| A::Error::custom("a route needs a path"))?;
        if !first.value.contains('/') && !first.value.contains('~') {
            let whole = WithFirstKey { first: Some(first.value), map };
            let long = serde::de::value::MapAccessDeserializer::new(whole);
            return RouteLong::deserialize(long).map(Into::into);
        }
        let mut route = Route::parse(&first.value).map_err(A::Error::custom)?;
        route.path.place = first.place;
        route.settings = map.next_value()?;
        route.name = route.settings.name.take();
        match map.next_key::<String>()? {
            None => Ok(route),
            Some(other) => Err(A::Error::custom(format_args!(
                "`{other}` stands beside `{}`; indent it to make it a setting of the route",
                first.value
            ))),
        }
    }
}

/// A map whose first key was already read.
struct WithFirstKey<A> {
    first: Option<String>,
    map: A,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for WithFirstKey<A> {
    type Error = A::Error;

    fn next_key_seed<K: serde::de::DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        match self.first.take() {
            Some(first) => seed.deserialize(StringDeserializer::<A::Error>::new(first)).map(Some),
            None => self.map.next_key_seed(seed),
        }
    }

    fn next_value_seed<V: serde::de::DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

impl JsonSchema for Route {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Route".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let long = generator.subschema_for::<RouteLong>();
        let settings = generator.subschema_for::<RouteSettings>();
        schemars::json_schema!({
            "anyOf": [
                { "type": "string" },
                long,
                {
                    "type": "object",
                    "patternProperties": { "[/~]": settings },
                    "additionalProperties": false,
                    "minProperties": 1,
                    "maxProperties": 1
                }
            ]
        })
    }
}

/// What the value of a header or query parameter must be: a text, or one of the long forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueMatch {
    /// Exactly this text.
    Exact(String),
    /// A regular expression over the whole value.
    Regex(String),
    /// Whether it is there at all.
    Present(bool),
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ValueMatchLong {
    /// Exactly this text.
    Exact(String),
    /// A regular expression over the whole value.
    Regex(String),
    /// Whether it is there at all.
    Present(bool),
}

impl From<ValueMatchLong> for ValueMatch {
    fn from(long: ValueMatchLong) -> Self {
        match long {
            ValueMatchLong::Exact(text) => Self::Exact(text),
            ValueMatchLong::Regex(pattern) => Self::Regex(pattern),
            ValueMatchLong::Present(present) => Self::Present(present),
        }
    }
}

impl<'de> Deserialize<'de> for ValueMatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        base::decode::short_or_long::<D, ValueMatchLong, Self>(
            deserializer,
            "a text, or one of `{ exact: … }`, `{ regex: … }`, `{ present: true }`",
            |text| Ok(Self::Exact(text.to_owned())),
        )
    }
}

impl JsonSchema for ValueMatch {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ValueMatch".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let long = generator.subschema_for::<ValueMatchLong>();
        schemars::json_schema!({ "anyOf": [{ "type": "string" }, long] })
    }
}
