//! The control plane: a database, and an admin API to it.

use base::{Placed, Text};
use schemars::JsonSchema;
use serde::Deserialize;

/// Port of the admin API on loopback, unless said otherwise.
pub const CONTROL_PORT: u16 = 9181;

/// The control plane: users, workspaces and what they publish, in a database, and an admin API to it. `control: {}` is
/// enough; without this field there is none of it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ControlPlane {
    /// Address of the admin API; `127.0.0.1:9181` unless said otherwise. Nobody does anything there without a login, which
    /// is shown in plain: where others than this machine reach it, put TLS in front of it.
    pub bind: Option<Placed<Text>>,
    /// Where the database is: `postgres://user:${env:PASSWORD}@host/name`. Unless said otherwise it is the file `yett.db`
    /// in `state_dir`, made at the first start.
    pub database: Option<Placed<Text>>,
    /// The keys by which secrets in the database are encrypted, lines of a number and 64 hexadecimal digits:
    /// `${file:/run/secrets/master}`. Unless
    /// said otherwise it is the file `master.key` in `state_dir`, made at the first start.
    pub master_key: Option<Placed<Text>>,
    /// Whether there is no control plane after all.
    #[serde(default)]
    pub off: bool,
}
