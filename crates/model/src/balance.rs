//! How a target of an upstream is chosen.

use base::decode::short_or_long;
use base::report::did_you_mean;
use base::units::Period;
use base::{Placed, Text};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

/// How a target is chosen among those that take requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// One after the other, by weight.
    #[default]
    RoundRobin,
    /// The one with the fewest requests under way for its weight, of two drawn at random.
    LeastRequest,
    /// The one that is expected to answer sooner, of two drawn at random.
    PeakEwma,
    /// Drawn at random, by weight.
    Random,
    /// By a key: the same key finds the same target.
    Hash(String),
}

/// The long form of [`Balance`].
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BalanceLong {
    /// The key by which the same target is found again: `client`, `consumer`, `header NAME`,
    /// `cookie NAME`, or an expression (CEL) that gives a text. A request that lacks it may go to any.
    hash: String,
}

impl From<BalanceLong> for Balance {
    fn from(long: BalanceLong) -> Self {
        Self::Hash(long.hash)
    }
}

impl Balance {
    const EXPECTING: &str =
        "`round_robin`, `least_request`, `peak_ewma`, `random`, or `{ hash: client }`";

    fn parse(text: &str) -> Result<Self, String> {
        match text.trim() {
            "round_robin" => Ok(Self::RoundRobin),
            "least_request" => Ok(Self::LeastRequest),
            "peak_ewma" => Ok(Self::PeakEwma),
            "random" => Ok(Self::Random),
            "hash" => Err("`hash` needs a key: `{ hash: client }`".to_owned()),
            other => match other.strip_prefix("hash ") {
                Some(key) => Ok(Self::Hash(key.trim().to_owned())),
                None => Err(unknown(other)),
            },
        }
    }
}

fn unknown(word: &str) -> String {
    let words = ["round_robin", "least_request", "peak_ewma", "random"];
    match did_you_mean(word, words) {
        Some(near) => format!("`{word}` is not known here; did you mean `{near}`?"),
        None => format!("`{word}` is not one of {}", Balance::EXPECTING),
    }
}

impl<'de> Deserialize<'de> for Balance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        short_or_long::<D, BalanceLong, Self>(deserializer, Self::EXPECTING, Self::parse)
    }
}

impl JsonSchema for Balance {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Balance".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let long = generator.subschema_for::<BalanceLong>();
        let pattern = "^(round_robin|least_request|peak_ewma|random|hash .+)$";
        schemars::json_schema!({ "oneOf": [{ "type": "string", "pattern": pattern }, long] })
    }
}

/// The name of the cookie unless said otherwise.
const COOKIE: &str = "yett_target";

/// Keeps each browser at the target that answered it first, by a cookie of the gateway: `true`, the name of
/// the cookie, or with settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sticky {
    /// The name of the cookie.
    pub cookie: String,
    /// How long browsers keep it; as long as they run, where nothing is said.
    pub ttl: Option<Period>,
    /// The path for which browsers send it.
    pub path: String,
    /// What its values are made with.
    pub secret: Option<Text>,
}

/// The long form of [`Sticky`].
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StickyLong {
    /// The name of the cookie; `yett_target` unless said otherwise.
    cookie: Option<String>,
    /// How long browsers keep it, counted from when they got it; until they end unless said otherwise.
    #[serde(default, deserialize_with = "crate::upstream::above_zero")]
    ttl: Option<Period>,
    /// The path for which browsers send it; `/` unless said otherwise.
    path: Option<String>,
    /// What its values are made with, such as `${env:STICKY_SECRET}`; the same for all gateways that serve the
    /// same clients. Without it values are made with the upstream's name, and whoever tries all addresses can
    /// find out which one a value stands for.
    secret: Option<Text>,
}

impl From<StickyLong> for Sticky {
    fn from(long: StickyLong) -> Self {
        Self {
            cookie: long.cookie.unwrap_or_else(|| COOKIE.to_owned()),
            ttl: long.ttl,
            path: long.path.unwrap_or_else(|| "/".to_owned()),
            secret: long.secret,
        }
    }
}

impl Sticky {
    fn parse(text: &str) -> Result<Self, String> {
        let cookie = match text {
            "true" => COOKIE,
            "false" => return Err("to keep nobody at a target leave `sticky` out".to_owned()),
            name => name,
        };
        Ok(Self { cookie: cookie.to_owned(), ttl: None, path: "/".to_owned(), secret: None })
    }
}

impl<'de> Deserialize<'de> for Sticky {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        short_or_long::<D, StickyLong, Self>(
            deserializer,
            "`true`, the name of a cookie, or `{ cookie, ttl, path, secret }`",
            Self::parse,
        )
    }
}

impl JsonSchema for Sticky {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Sticky".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let long = generator.subschema_for::<StickyLong>();
        schemars::json_schema!({
            "oneOf": [{ "type": "string" }, { "type": "boolean" }, long]
        })
    }
}

/// Where this gateway runs, so that it prefers near targets.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gateway {
    /// The zone, such as `eu-west-1a`; often `${env:ZONE}`, so that gateways share a config.
    pub zone: Option<Placed<Text>>,
    /// The region, such as `eu-west-1`.
    pub region: Option<Placed<Text>>,
}

/// How names of targets are resolved.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dns {
    /// Name servers to ask in place of the system's, such as `10.0.0.2` or `127.0.0.1:8600`.
    #[serde(default)]
    pub servers: Vec<Placed<String>>,
}

/// Reads the address of a name server; without a port it is 53.
///
/// # Errors
/// A sentence that says what is expected.
pub fn parse_name_server(text: &str) -> Result<std::net::SocketAddr, String> {
    /// Where name servers listen.
    const PORT: u16 = 53;
    let with_port = text.parse::<std::net::SocketAddr>();
    let without = text.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    with_port
        .or_else(|_| without.map(|ip| std::net::SocketAddr::new(ip, PORT)))
        .map_err(|_| format!("`{text}` is not the address of a name server"))
}
