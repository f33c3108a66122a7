//! How the program itself runs: admin listener, access log, draining.

use base::units::Period;
use base::{Placed, Text};
use schemars::JsonSchema;
use serde::Deserialize;

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

/// Where one line per request goes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessLog {
    /// How a line is written.
    #[serde(default)]
    pub format: LogFormat,
    /// `stdout`, `stderr`, `off`, or a file relative to the config file.
    pub to: Option<Placed<String>>,
}

/// How an access line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One JSON object per line.
    #[default]
    Json,
    /// For people: the main fields in one line of text.
    Text,
}

/// How the program ends.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// How long requests under way may take to finish after SIGTERM; 30 s unless said otherwise.
    pub timeout: Option<Period>,
}
