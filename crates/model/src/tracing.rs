//! Traces, and a closer look at single requests.

use base::decode::short_or_long;
use base::units::{Period, Share};
use base::{Placed, Text};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use crate::Map;

/// Traces: what became of single requests, for a collector and for those who look for a fault.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tracing {
    /// The collector that spans are sent to: a URL such as `http://collector:4318`, or
    /// `{ endpoint, headers, sample, … }`.
    pub otlp: Option<Placed<Otlp>>,
    /// What this gateway is called in traces; `yett` unless said otherwise.
    pub service: Option<Placed<String>>,
    /// A secret. A request that has it in the header `x-yett-debug` is traced whatever `sample` says, its
    /// access line has `timings`, and its answer has `server-timing`. The header goes no further.
    pub debug_token: Option<Placed<Text>>,
}

/// A collector that speaks OTLP over HTTP, and what it gets.
#[derive(Clone, Debug)]
pub struct Otlp(pub OtlpLong);

/// A collector, in full.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OtlpLong {
    /// Its URL; `/v1/traces` is meant where it has no path.
    pub endpoint: Placed<Text>,
    /// Headers of requests to it; secrets by reference: `authorization: "Bearer ${env:OTLP_TOKEN}"`.
    #[serde(default)]
    pub headers: Map<Placed<Text>>,
    /// The share of requests that are traced where nobody before the gateway has decided; all unless said
    /// otherwise.
    pub sample: Option<Share>,
    /// Whether to heed what the client's `traceparent` says.
    #[serde(default)]
    pub parent: Parent,
    /// How long one request to the collector may take; 10 s unless said otherwise.
    pub timeout: Option<Period>,
}

/// What the decision of whoever called means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Parent {
    /// A request that is traced already is traced here; one that was left out is left out.
    #[default]
    Follow,
    /// The trace goes on, but `sample` decides: for gateways whose clients are strangers.
    Ignore,
}

impl<'de> Deserialize<'de> for Otlp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        short_or_long::<D, OtlpLong, Self>(
            deserializer,
            "a URL such as `http://collector:4318`, or `{ endpoint, headers, sample, parent, timeout }`",
            |text| {
                Ok(Self(OtlpLong {
                    endpoint: Placed::unplaced(Text::parse(text)?),
                    headers: Map::default(),
                    sample: None,
                    parent: Parent::Follow,
                    timeout: None,
                }))
            },
        )
    }
}

impl From<OtlpLong> for Otlp {
    fn from(long: OtlpLong) -> Self {
        Self(long)
    }
}

impl JsonSchema for Otlp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Otlp".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let long = generator.subschema_for::<OtlpLong>();
        schemars::json_schema!({ "oneOf": [{ "type": "string" }, long] })
    }
}
