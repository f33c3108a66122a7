//! A set of routes published together.

use crate::{Map, PolicyConfig, Route};
use base::{Moment, Placed};
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
    /// Its version, such as `v2` or `2024-06-01`, for people.
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,31}$"))]
    pub version: Option<Placed<String>>,
    /// Whether it is served: `draft` (nowhere yet), `published`, `deprecated` (clients are told by headers that it is
    /// going away) or `retired` (every request gets 410); `published` unless said otherwise.
    #[serde(default)]
    pub state: ApiState,
    /// Since when, or from when on, it is deprecated (`Deprecation`, RFC 9745).
    pub deprecated_at: Option<Placed<Moment>>,
    /// When it stops answering (`Sunset`, RFC 8594).
    pub sunset: Option<Placed<Moment>>,
    /// What clients are to use instead: the name of an API, a URL, or a path (`Link` with `successor-version`, RFC 5829).
    pub successor: Option<Placed<String>>,
    /// URL or path of a page that tells about it (`Link` with `deprecation`, RFC 9745).
    pub deprecation_link: Option<Placed<String>>,
    /// The routes; without any, everything below `path` goes to `upstream`.
    #[serde(default)]
    pub routes: Vec<Placed<Route>>,
}

/// Whether an API is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApiState {
    /// Not yet: it is checked, and served nowhere.
    Draft,
    /// It is.
    #[default]
    Published,
    /// It is, and clients are told that it is going away.
    Deprecated,
    /// No longer: every request gets 410 and is told of the successor.
    Retired,
}

impl ApiState {
    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Published => "published",
            Self::Deprecated => "deprecated",
            Self::Retired => "retired",
        }
    }
}

/// Letters of a version.
const VERSION_BYTES_MAX: usize = 32;

/// Whether something may be the version of an API.
#[must_use]
pub fn is_version(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    text.len() <= VERSION_BYTES_MAX
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(is_plain)
}
