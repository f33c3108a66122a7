//! Connections that are passed on as bytes, unread.

use base::decode::short_or_long;
use base::network::Network;
use base::units::Period;
use base::{Place, Placed};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

/// Where the bytes of a connection go: the name of an upstream, or with settings.
#[derive(Clone, Debug)]
pub struct Relay {
    /// The upstream.
    pub upstream: Placed<String>,
    /// How long both directions may be silent.
    pub idle: Option<Placed<Period>>,
    /// Who may connect.
    pub from: Vec<Placed<Network>>,
    /// Why anybody may.
    pub public: Option<Placed<String>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RelayLong {
    /// The upstream that gets the bytes. Its targets, balance, breaker, outliers, `concurrency`, `timeouts.connect`,
    /// `proxy_protocol` and `tls` hold; what is about requests does not.
    upstream: Placed<String>,
    /// How long both directions may be silent, up to a quarter longer; 10 min unless said otherwise.
    idle: Option<Placed<Period>>,
    /// Who may connect: networks such as `10.0.0.0/8`, addresses, or `unix`. Others are closed at once.
    #[serde(default)]
    from: Vec<Placed<Network>>,
    /// Why anybody may connect, in a few words.
    public: Option<Placed<String>>,
}

impl From<RelayLong> for Relay {
    fn from(long: RelayLong) -> Self {
        let RelayLong { upstream, idle, from, public } = long;
        Self { upstream, idle, from, public }
    }
}

/// A relay as written, before its short form knows where it stands.
struct Written(Result<String, Relay>);

impl From<RelayLong> for Written {
    fn from(long: RelayLong) -> Self {
        Self(Err(long.into()))
    }
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        short_or_long::<D, RelayLong, Self>(
            deserializer,
            "the name of an upstream, or `{ upstream, idle, from, public }`",
            |text| Ok(Self(Ok(text.to_owned()))),
        )
    }
}

impl<'de> Deserialize<'de> for Relay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Placed { value, place } = Placed::<Written>::deserialize(deserializer)?;
        Ok(match value.0 {
            Err(relay) => relay,
            Ok(name) => Self::to(name, place),
        })
    }
}

impl Relay {
    /// The short form.
    fn to(name: String, place: Place) -> Self {
        let upstream = Placed { value: name, place };
        Self { upstream, idle: None, from: Vec::new(), public: None }
    }
}

impl JsonSchema for Relay {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Relay".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let long = generator.subschema_for::<RelayLong>();
        schemars::json_schema!({ "oneOf": [{ "type": "string" }, long] })
    }
}
