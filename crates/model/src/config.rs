//! Everything a user may write.

use crate::balance::{Dns, Gateway};
use crate::control::ControlPlane;
use crate::join::Part;
use crate::node::{AccessLog, Admin, Drain, Egress, Geo};
use crate::overload::Overload;
use crate::proxies::TrustedProxies;
use crate::tracing::Tracing;
use crate::{Api, Consumer, Listener, Map, Plan, PolicyConfig, Role, Store, Upstream};
use base::{Placed, Text};
use schemars::JsonSchema;
use serde::Deserialize;

/// The newest version of the config language this program reads.
pub const VERSION: u32 = 1;

/// The fields of [`Config`] in the order in which they are best written.
pub const FIELDS: [&str; 23] = [
    "version",
    "include",
    "state_dir",
    "workers",
    "admin",
    "control",
    "access_log",
    "tracing",
    "drain",
    "overload",
    "trusted_proxies",
    "egress",
    "gateway",
    "dns",
    "geo",
    "listeners",
    "upstreams",
    "stores",
    "policies",
    "apis",
    "roles",
    "plans",
    "consumers",
];

/// A whole config, merged from all its files.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Version of the config language: 1.
    pub version: Placed<u32>,
    /// More files that belong to this config, relative to this file; `*` matches within one folder.
    #[serde(default)]
    pub include: Vec<Placed<String>>,
    /// Folder for what must outlive a restart, relative to this file.
    pub state_dir: Option<Placed<Text>>,
    /// Threads that serve traffic; one per core unless said otherwise.
    pub workers: Option<Placed<u16>>,
    /// The listener for operators: metrics, status, probes.
    #[serde(default)]
    pub admin: Admin,
    /// The control plane; there is none unless this is here.
    pub control: Option<Placed<ControlPlane>>,
    /// Where the access log goes.
    #[serde(default)]
    pub access_log: AccessLog,
    /// Traces, and a closer look at single requests.
    #[serde(default)]
    pub tracing: Tracing,
    /// How the program ends.
    #[serde(default)]
    pub drain: Drain,
    /// When the node refuses what it could not do well, the lowest priority first; `off` is never.
    #[serde(default)]
    pub overload: Overload,
    /// Proxies in front of the gateway that are believed about the client's address, scheme and host.
    #[serde(default)]
    pub trusted_proxies: TrustedProxies,
    /// How the gateway's own requests leave: to key servers, authorisers, collectors.
    #[serde(default)]
    pub egress: Egress,
    /// Where this gateway runs.
    #[serde(default)]
    pub gateway: Gateway,
    /// How names of targets are resolved.
    #[serde(default)]
    pub dns: Dns,
    /// Where clients are, for policies `geo` and for expressions.
    pub geo: Option<Geo>,
    /// The addresses on which clients are served.
    #[serde(default)]
    #[schemars(extend("propertyNames" = {"pattern": "^[a-z0-9][a-z0-9_-]{0,62}$"}))]
    pub listeners: Map<Listener>,
    /// The backends.
    #[serde(default)]
    #[schemars(extend("propertyNames" = {"pattern": "^[a-z0-9][a-z0-9_-]{0,62}$"}))]
    pub upstreams: Map<Upstream>,
    /// Where gateways share the counts of limits.
    #[serde(default)]
    #[schemars(extend("propertyNames" = {"pattern": "^[a-z0-9][a-z0-9_-]{0,62}$"}))]
    pub stores: Map<Store>,
    /// Policies of every route of every API.
    #[serde(default)]
    pub policies: Vec<PolicyConfig>,
    /// The APIs.
    #[serde(default)]
    #[schemars(extend("propertyNames" = {"pattern": "^[a-z0-9][a-z0-9_-]{0,62}$"}))]
    pub apis: Map<Api>,
    /// What callers may do, for `rbac`: roles, and what each permits of which API; `'*'` is every API.
    #[serde(default)]
    #[schemars(extend("propertyNames" = {"pattern": "^[a-z0-9][a-z0-9_-]{0,62}$"}))]
    pub roles: Map<Role>,
    /// How much consumers may call, and who goes first.
    #[serde(default)]
    #[schemars(extend("propertyNames" = {"pattern": "^[a-z0-9][a-z0-9_-]{0,62}$"}))]
    pub plans: Map<Plan>,
    /// Who calls.
    #[serde(default)]
    #[schemars(extend("propertyNames" = {"pattern": "^[a-z0-9][a-z0-9_-]{0,62}$"}))]
    pub consumers: Map<Consumer>,
    /// Workspaces that stand beside what is the platform's, see [`crate::join`]. No file says them.
    #[serde(skip)]
    pub workspaces: Vec<Part>,
}
