//! Stores in which gateways share the counts of limits.

use base::decode::short_or_long;
use base::units::Period;
use base::{Placed, Text};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

/// Where gateways share counts: one server of Redis (`redis`), servers watched by Sentinels (`sentinel`), or a cluster
/// (`cluster`); or anything else that speaks Redis' protocol. Short: `redis://redis.internal:6379`.
#[derive(Clone, Debug, Default)]
pub struct Store(pub StoreLong);

/// Where gateways share counts: one server of Redis (`redis`), servers watched by Sentinels (`sentinel`), or a cluster
/// (`cluster`); or anything else that speaks Redis' protocol.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StoreLong {
    /// One server: `redis://redis.internal:6379`, `rediss://limits@redis.internal:6379/2` with TLS, a user and the number
    /// of a database.
    pub redis: Option<Placed<Text>>,
    /// Servers that Sentinels watch.
    pub sentinel: Option<Sentinel>,
    /// Some servers of a cluster; it tells the others.
    #[serde(default)]
    pub cluster: Vec<Placed<Text>>,
    /// Whether Sentinels, their servers, or those of a cluster speak TLS.
    #[serde(default)]
    pub tls: bool,
    /// Certificates, as PEM, that are trusted in place of the system's; a path relative to this file.
    pub ca: Option<Placed<String>>,
    /// The user, where it is not the default one.
    pub user: Option<Placed<Text>>,
    /// The password, never written here: `${env:REDIS_PASSWORD}`.
    pub password: Option<Placed<Text>>,
    /// The number of the database; 0 unless said otherwise. A cluster has but one.
    pub database: Option<u16>,
    /// How long a request waits for the store, at most; 20 ms unless said otherwise.
    pub timeout: Option<Placed<Period>>,
    /// What the names of all keys begin with; `yett:` unless said otherwise. Gateways that are to share counts say the same.
    pub prefix: Option<Placed<String>>,
    /// How many gateways share it at least, for the share of each while the store cannot be asked; they are counted as long
    /// as it can be.
    pub gateways: Option<Placed<u32>>,
}

/// Servers that Sentinels watch.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sentinel {
    /// What the Sentinels call the servers.
    pub master: Placed<String>,
    /// The Sentinels: `sentinel1.internal:26379`.
    #[serde(deserialize_with = "crate::map::at_least_one")]
    #[schemars(length(min = 1))]
    pub at: Vec<Placed<Text>>,
    /// The user that the Sentinels know, where it is not the default one.
    pub user: Option<Placed<Text>>,
    /// The password that the Sentinels ask for: `${env:SENTINEL_PASSWORD}`.
    pub password: Option<Placed<Text>>,
}

impl From<StoreLong> for Store {
    fn from(long: StoreLong) -> Self {
        Self(long)
    }
}

impl<'de> Deserialize<'de> for Store {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        short_or_long::<D, StoreLong, Self>(
            deserializer,
            "a URL such as `redis://redis.internal:6379`, or `{ redis, password, timeout }`",
            |text| {
                let redis = Some(Placed::unplaced(Text::parse(text)?));
                Ok(Self(StoreLong { redis, ..StoreLong::default() }))
            },
        )
    }
}

impl JsonSchema for Store {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Store".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let long = generator.subschema_for::<StoreLong>();
        schemars::json_schema!({
            "description": "Where gateways share counts: one server of Redis (`redis`), servers watched by Sentinels (`sentinel`), or a cluster (`cluster`); or anything else that speaks Redis' protocol. Short: `redis://redis.internal:6379`.",
            "oneOf": [{ "type": "string", "examples": ["redis://redis.internal:6379"] }, long],
        })
    }
}
