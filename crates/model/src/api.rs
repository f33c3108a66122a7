//! A set of routes published together.

use crate::{Map, PolicyConfig, Route};
use base::Placed;
use schemars::JsonSchema;
use serde::Deserialize;

/// An API: hosts, a base path, routes, and the policies they share.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Api {
    /// Host names it answers to: exact, or `*.example.com` for every name below; any host when empty.
    #[serde(default)]
    pub hosts: Vec<Placed<String>>,
    /// Path that every route of this API begins with.
    pub path: Option<Placed<String>>,
    /// Listeners it is served on; all when empty.
    #[serde(default)]
    pub listeners: Vec<Placed<String>>,
    /// Upstream of the routes that name none.
    pub upstream: Option<Placed<String>>,
    /// Why these routes may be called without an identity.
    pub public: Option<Placed<String>>,
    /// Policies of every route of this API, after those of the gateway.
    #[serde(default)]
    pub policies: Vec<PolicyConfig>,
    /// Inherited policies that do not apply here: kind (or `kind/id`) and the reason.
    #[serde(default)]
    pub exempt: Map<String>,
    /// The routes; without any, everything below `path` goes to `upstream`.
    #[serde(default)]
    pub routes: Vec<Placed<Route>>,
}
