//! What one route matches, and what happens to it.

use crate::map::Refused;
use crate::path::PathPattern;
use crate::{Map, PolicyConfig};
use base::Placed;
use base::decode::{by_first_key, short_or_long};
use schemars::JsonSchema;
use serde::Deserialize;
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
    #[serde(default, deserialize_with = "methods")]
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
        let (before, path) =
            text.find(['/', '~']).and_then(|at| text.split_at_checked(at)).ok_or_else(|| {
                format!("`{text}` has no path; a route is written such as `GET /orders/{{id}}`")
            })?;
        if !before.is_empty() && !before.ends_with(char::is_whitespace) {
            return Err(format!("a space is missing before `{path}`"));
        }
        let methods = match before.trim() {
            "" | "*" => Vec::new(),
            list => list.split(',').map(|word| method(word.trim())).collect::<Result<_, _>>()?,
        };
        let path = Placed::unplaced(PathPattern::parse(path)?);
        Ok(Self { name: None, methods, path, settings: RouteSettings::default() })
    }
}

/// Checks a method: a token (RFC 9110, section 5.6.2) without lower-case letters, since methods are
/// case-sensitive and all that are in use are upper-case.
fn method(text: &str) -> Result<String, String> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if text.is_empty() || !text.chars().all(is_token) {
        return Err(format!("`{text}` is not a method such as `GET`"));
    }
    if text.chars().any(|c| c.is_ascii_lowercase()) {
        let upper = text.to_ascii_uppercase();
        return Err(format!("methods are written in capitals: `{upper}` in place of `{text}`"));
    }
    Ok(text.to_owned())
}

pub(crate) fn methods<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Method(String);
    impl<'de> Deserialize<'de> for Method {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = String::deserialize(deserializer)?;
            method(&text).map(Self).map_err(D::Error::custom)
        }
    }
    let methods = Vec::<Method>::deserialize(deserializer)?;
    Ok(methods.into_iter().map(|method| method.0).collect())
}

impl<'de> Deserialize<'de> for Route {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Placed { place, value: Written(mut route) } = Placed::deserialize(deserializer)?;
        if !route.path.place.is_known() {
            route.path.place = place;
        }
        Ok(route)
    }
}

struct Written(Route);

impl From<Keyed> for Written {
    fn from(keyed: Keyed) -> Self {
        Self(keyed.0)
    }
}

impl From<TextOrLong> for Written {
    fn from(other: TextOrLong) -> Self {
        Self(other.0)
    }
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // No setting has capitals in its name, but methods have.
        let is_route = |key: &str| key.contains(['/', '~']) || key.contains(char::is_uppercase);
        by_first_key::<D, Keyed, TextOrLong, Self>(deserializer, is_route)
    }
}

/// `GET /path`, or a map with `path`.
struct TextOrLong(Route);

impl From<RouteLong> for TextOrLong {
    fn from(long: RouteLong) -> Self {
        Self(long.into())
    }
}

impl<'de> Deserialize<'de> for TextOrLong {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let short = |text: &str| Route::parse(text).map(Self);
        short_or_long::<D, RouteLong, Self>(
            deserializer,
            "a route such as `GET /{id}`, alone or with settings",
            short,
        )
    }
}

/// `GET /path: { … }`.
struct Keyed(Route);

impl<'de> Deserialize<'de> for Keyed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RouteAndSettings).map(Self)
    }
}

/// A route without settings, so that what is wrong with it is told at the key.
struct Short(Route);

impl<'de> Deserialize<'de> for Short {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Route::parse(&text).map(Self).map_err(D::Error::custom)
    }
}

struct RouteAndSettings;

impl<'de> Visitor<'de> for RouteAndSettings {
    type Value = Route;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a route with settings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Route, A::Error> {
        let Placed { place, value: Short(mut route) } =
            map.next_key()?.ok_or_else(|| A::Error::custom("a route needs a path"))?;
        route.path.place = place;
        route.settings = map.next_value()?;
        route.name = route.settings.name.take();
        map.next_key_seed(Refused(|other: &str| {
            if other.contains('/') {
                format!("one route per list item; begin `{other}` with a `- ` of its own")
            } else {
                format!("`{other}` stands beside a route; indent it to make it a setting of it")
            }
        }))?;
        Ok(route)
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
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
struct ValueMatchLong {
    /// Exactly this text.
    exact: Option<String>,
    /// A regular expression over the whole value.
    regex: Option<String>,
    /// Whether it is there at all.
    present: Option<bool>,
}

impl<'de> Deserialize<'de> for ValueMatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written(Result<ValueMatch, &'static str>);
        impl From<ValueMatchLong> for Written {
            fn from(long: ValueMatchLong) -> Self {
                Self(match (long.exact, long.regex, long.present) {
                    (Some(text), None, None) => Ok(ValueMatch::Exact(text)),
                    (None, Some(pattern), None) => Ok(ValueMatch::Regex(pattern)),
                    (None, None, Some(present)) => Ok(ValueMatch::Present(present)),
                    _ => Err("exactly one of `exact`, `regex` and `present` is needed"),
                })
            }
        }
        let Written(written) = short_or_long::<D, ValueMatchLong, Written>(
            deserializer,
            "a text, or one of `{ exact: … }`, `{ regex: … }`, `{ present: true }`",
            |text| Ok(Written(Ok(Self::Exact(text.to_owned())))),
        )?;
        written.map_err(D::Error::custom)
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
