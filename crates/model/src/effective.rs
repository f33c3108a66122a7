//! What a config comes to: every route with all that holds for it, wherever that was written. It is plain data, so that
//! it can be kept, sent and compared ([`diff`]); crate `compile` fills it.

use base::report::Place;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What differs between two of them, and how much that matters.
pub mod diff;

pub use diff::{Change, Diff, Level, What, diff};

/// What a config comes to. Settings are there as digests only, so that nothing in it is secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EffectiveConfig {
    /// Where operators are served, unless nowhere.
    pub admin: Option<String>,
    /// The listeners by name.
    pub listeners: BTreeMap<String, EffectiveListener>,
    /// The upstreams by name.
    pub upstreams: BTreeMap<String, EffectiveUpstream>,
    /// The plans by name.
    pub plans: BTreeMap<String, EffectivePart>,
    /// The roles by name.
    pub roles: BTreeMap<String, EffectivePart>,
    /// The routes by id: `api/name`.
    pub routes: BTreeMap<String, EffectiveRoute>,
}

/// An address on which clients are served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EffectiveListener {
    /// The address as written.
    pub bind: String,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// What it asks of clients' certificates, unless a host says otherwise: nothing where there is none.
    pub client_certificates: Option<ClientCertificates>,
    /// A digest of all its settings.
    pub digest: String,
}

/// What a listener asks of clients' certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientCertificates {
    /// Who has one shows it.
    Optional,
    /// Nobody comes in without one.
    Required,
}

/// A backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EffectiveUpstream {
    /// Its targets as written.
    pub targets: BTreeSet<String>,
    /// Whether they are spoken to by TLS.
    pub tls: bool,
    /// A digest of all its settings.
    pub digest: String,
}

/// A part of which only is known whether it changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EffectivePart {
    /// A digest of all its settings.
    pub digest: String,
    /// What it says, a line each, for people.
    pub about: Vec<String>,
}

/// One route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EffectiveRoute {
    /// Its API.
    pub api: String,
    /// Whether that is going away: `deprecated` or `retired`; nothing if it is simply served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Which requests it takes.
    #[serde(rename = "match")]
    pub matching: Matching,
    /// The only listeners it is served on; all when empty.
    pub listeners: BTreeSet<String>,
    /// Why anybody may call it; nothing if who calls must be known.
    pub public: Option<String>,
    /// Its policies in the order in which they run, those that it inherits included.
    pub chain: Vec<EffectivePolicy>,
    /// Inherited policies that do not apply, with the reasons.
    pub exempt: BTreeMap<String, String>,
    /// Where its requests go, unless a policy answers or chooses.
    pub upstream: Option<String>,
    /// Where policies may send requests besides: kind, which of them, and the upstream.
    pub destinations: BTreeSet<(String, String, String)>,
    /// Where it was written, for people; two that differ in nothing else are the same.
    #[serde(skip)]
    pub place: Here,
}

/// Where something was written, which is no part of what it says.
#[derive(Clone, Debug, Default)]
pub struct Here(pub Place);

impl PartialEq for Here {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Here {}

/// Which requests a route takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct Matching {
    /// Hosts; any when empty.
    pub hosts: BTreeSet<String>,
    /// The whole path pattern.
    pub path: String,
    /// Methods; every method when empty.
    pub methods: BTreeSet<String>,
    /// What headers and query parameters must be.
    pub conditions: BTreeSet<String>,
}

/// One policy of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectivePolicy {
    /// Its id: owner, kind and own id.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// What it is for.
    pub purpose: Purpose,
    /// A digest of its settings.
    pub digest: String,
    /// What it allows, a line each, for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub about: Vec<String>,
}

/// What a policy is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// It finds out who calls.
    Authentication,
    /// It decides whether they may.
    Access,
    /// It decides how much they may.
    Limit,
    /// Anything else.
    Treatment,
}

impl EffectiveRoute {
    /// Its policies of one purpose.
    pub fn policies(&self, purpose: Purpose) -> impl Iterator<Item = &EffectivePolicy> {
        self.chain.iter().filter(move |policy| policy.purpose == purpose)
    }
}
