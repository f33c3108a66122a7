//! The compiled config: immutable, shared by all workers, swapped as a whole.

use crate::canonical::PathRules;
use crate::chain::Chain;
use crate::clients::Clients;
use crate::memory::Memory;
use crate::observe::Observe;
use crate::overload::Overload;
use crate::relay::Relays;
use crate::tls::ListenerTls;
use crate::tree::RouteTree;
use crate::upstream::Upstream;
use base::{Endpoint, Place};
use http::{HeaderName, HeaderValue};
use std::sync::Arc;
use telemetry::metrics::{ListenerMetrics, RouteMetrics};

/// Everything the data plane serves by.
#[derive(Debug)]
pub struct Snapshot {
    /// Identifies the config this was compiled from.
    pub revision: Arc<str>,
    /// The listeners.
    pub listeners: Vec<Arc<ListenerPart>>,
    /// The routes of all APIs, in the order they were written.
    pub routes: Vec<Arc<Route>>,
    /// The policies of the gateway that treat answers to requests which no route takes.
    pub unrouted: Option<Arc<Chain>>,
    /// The upstreams.
    pub upstreams: Vec<Arc<dyn Upstream>>,
    /// What is measured of requests and kept for their record.
    pub observe: Arc<Observe>,
    /// Headers that policies need for themselves. None if there are none.
    pub reserved: Option<Arc<Reserved>>,
    /// From when on the node refuses what it could not do well.
    pub overload: Overload,
    /// The memory of the process; outlives snapshots.
    pub memory: Arc<Memory>,
}

/// Headers that policies need for themselves, besides those that are stripped anyway; `_` in them is written `-`.
#[derive(Debug, Default)]
pub struct Reserved {
    /// Those by which policies tell backends who calls: no client may.
    pub spoken_for: Box<[Box<str>]>,
    /// Those by which clients show who they are, or the gateway does: none of them stands in a trailer or with `_`,
    /// where no policy looks and some backends do.
    pub credentials: Box<[Box<str>]>,
}

impl Snapshot {
    /// The part of a listener. Listeners are few, so looking along the list is fastest.
    #[must_use]
    pub fn listener(&self, name: &str) -> Option<&Arc<ListenerPart>> {
        self.listeners.iter().find(|part| &*part.name == name)
    }
}

/// What one listener serves by.
#[derive(Debug)]
pub struct ListenerPart {
    /// Its name in the config.
    pub name: Arc<str>,
    /// The revision this belongs to.
    pub revision: Arc<str>,
    /// Where it is bound.
    pub bind: Endpoint,
    /// Who may connect, if that is a Unix socket: the mode of its file.
    pub mode: u32,
    /// What it makes of whoever connects.
    pub clients: Clients,
    /// TLS, if it speaks it.
    pub tls: Option<Arc<ListenerTls>>,
    /// What it passes on unread.
    pub relays: Relays,
    /// The port of the HTTPS listener to which every request is redirected.
    pub redirect_https: Option<u16>,
    /// What to do with unusual paths.
    pub path_rules: PathRules,
    /// The routes served here.
    pub tree: RouteTree,
    /// Its counters.
    pub metrics: Arc<ListenerMetrics>,
}

impl ListenerPart {
    /// What is spoken here, for operators: `http`, `https`, or `tcp` and `tls` where bytes are passed on only.
    #[must_use]
    pub fn speaks(&self) -> &'static str {
        let is_raw = self.relays.whole.is_some();
        match (&self.tls, self.relays.by_name.is_empty()) {
            (Some(_), _) if is_raw => "tls",
            (None, _) if is_raw => "tcp",
            (Some(_), _) => "https",
            (None, false) => "tls",
            (None, true) => "http",
        }
    }
}

/// One route: what is done with the requests it matches.
#[derive(Debug)]
pub struct Route {
    /// `api/name`, unique in a config.
    pub id: Arc<str>,
    /// The API it belongs to.
    pub api: Arc<str>,
    /// Its name within the API.
    pub name: Arc<str>,
    /// The hosts it matches, as written; any host when empty.
    pub hosts: Box<[Box<str>]>,
    /// The whole path pattern, that of the API included.
    pub pattern: Arc<str>,
    /// Names of what the path captures, in order.
    pub params: Box<[Box<str>]>,
    /// Where it was written.
    pub place: Place,
    /// Its policies.
    pub chain: Chain,
    /// Where its requests go, unless a policy answers them all.
    pub upstream: Option<Arc<dyn Upstream>>,
    /// Why it may be called without an identity.
    pub public: Option<Arc<str>>,
    /// Inherited policies that do not apply to it, each with the reason.
    pub exempt: Box<[(Box<str>, Box<str>)]>,
    /// Why it answers nothing but 503: its config has a problem.
    pub broken: Option<Arc<str>>,
    /// Its counters.
    pub metrics: Arc<RouteMetrics>,
    /// Headers that policies of its workspace need for themselves, and those of the platform. None where the platform's
    /// own hold.
    pub reserved: Option<Arc<Reserved>>,
    /// What clients are told about the future of its API. None if that is not known to end.
    pub lifecycle: Option<Arc<Lifecycle>>,
}

/// What clients are told of an API that is going away, or has gone.
#[derive(Debug, Default)]
pub struct Lifecycle {
    /// What it is: `published` with an end that is known, `deprecated` or `retired`.
    pub state: &'static str,
    /// Whether it answers no longer.
    pub is_retired: bool,
    /// Whether calls of it are counted, since they are to become none.
    pub is_counted: bool,
    /// Headers of its answers: `Deprecation`, `Sunset` and `Link`.
    pub headers: Box<[(HeaderName, HeaderValue)]>,
    /// What clients are told where it no longer answers.
    pub detail: Option<Arc<str>>,
}
