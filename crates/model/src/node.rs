//! How the program itself runs: admin listener, access log, draining.

use crate::role::Words;
use base::decode::short_or_long;
use base::units::{Period, Share, Size};
use base::{Placed, Text};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

/// Port of the admin listener on loopback, unless said otherwise.
pub const ADMIN_PORT: u16 = 9901;

/// The listener for operators: `/metrics`, `/livez`, `/readyz`, `/status`, `/log`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// Address to listen on; `127.0.0.1:9901` unless said otherwise. It asks for no login, so keep it
    /// on loopback.
    pub bind: Option<Placed<Text>>,
    /// Whether there is an admin listener at all.
    #[serde(default)]
    pub off: bool,
}

/// The access log: one line per request.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessLog {
    /// How a line is written: `json` (one object per line, unless said otherwise), `text` (for people), or a
    /// template with fields in braces: `'{client} {method} {path} {status} {duration_ms}ms'`. The fields are
    /// those of `json`, and `{request.header.NAME}`, `{response.header.NAME}`, `{timings.guard_us}`.
    pub format: Option<Placed<String>>,
    /// `stdout`, `stderr`, `off`, or a file relative to the config file.
    pub to: Option<Placed<String>>,
    /// Which requests get a line; all unless said otherwise. Metrics count every request.
    #[serde(default)]
    pub sample: LogSample,
    /// Move the file away when it is full, if nobody else does.
    pub rotate: Option<LogRotation>,
    /// Measure the stages of every request, and write it down as `timings`.
    #[serde(default)]
    pub timings: bool,
}

/// Which requests get a line: a share of those that went well, or `{ success, errors, slower_than }`.
#[derive(Clone, Debug, Default)]
pub struct LogSample(pub LogSampleLong);

/// Which requests get a line, in full.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogSampleLong {
    /// The share of requests that went well: a status below 400, `grpc-status` 0 where there is one, and the
    /// answer sent whole.
    pub success: Option<Share>,
    /// The share of all others.
    pub errors: Option<Share>,
    /// Requests that took at least so long get a line in any case.
    pub slower_than: Option<Period>,
}

impl<'de> Deserialize<'de> for LogSample {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        short_or_long::<D, LogSampleLong, Self>(
            deserializer,
            "a share such as `10%`, or `{ success: 10%, errors: all, slower_than: 1s }`",
            |text| {
                let success = Some(Share::parse(text)?);
                Ok(Self(LogSampleLong { success, ..LogSampleLong::default() }))
            },
        )
    }
}

impl From<LogSampleLong> for LogSample {
    fn from(long: LogSampleLong) -> Self {
        Self(long)
    }
}

impl JsonSchema for LogSample {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "LogSample".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let short = generator.subschema_for::<Share>();
        let long = generator.subschema_for::<LogSampleLong>();
        schemars::json_schema!({ "oneOf": [short, long] })
    }
}

/// When a log file is moved away.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogRotation {
    /// A file that would become larger is moved to `NAME.1`, which was moved to `NAME.2` before, and so on.
    pub size: Placed<Size>,
    /// How many old files are kept; 5 unless said otherwise.
    pub keep: Option<u8>,
}

/// How the program ends.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// How long requests under way may take to finish after SIGTERM; 30 s unless said otherwise.
    pub timeout: Option<Period>,
}

/// How the gateway's own requests leave: those of policies and exporters, not those of clients, which go where
/// `upstreams` say.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Egress {
    /// The proxy through which they go (by CONNECT): `http://proxy:3128`, or
    /// `http://user:${env:PASSWORD}@proxy:3128`.
    pub proxy: Option<Placed<Text>>,
    /// Hosts that are reached directly: a name, `.name` for all below it, an address, or a network such as
    /// `10.0.0.0/8`.
    #[serde(default)]
    pub no_proxy: Vec<Placed<String>>,
    /// PEM file with the certificate authorities to trust in place of the system's.
    pub ca: Option<Placed<String>>,
}

/// Where clients are.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Geo {
    /// A database of places (`.mmdb`), relative to this file, or several, such as one of countries and one of networks; of what
    /// both say, the first has its way. It is read again when it changes.
    pub database: Words,
}
