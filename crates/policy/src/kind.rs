//! What the table says of a kind of policy, and what a policy is built with.

use crate::access::Access;
use crate::expression::Scope;
use crate::files::Files;
use crate::geo::Geo;
use crate::plan::Plans;
use crate::store::{OnFailure, Store, Stores};
use base::report::did_you_mean;
use base::stores::OnStoreFailure;
use base::{Clock, Node, Place, Problem, Report, Secrets, Value};
use schemars::{Schema, SchemaGenerator};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use telemetry::Metrics;
use traffic::directory::Directory;
use traffic::names::Names;
use traffic::policy::Phases;
use traffic::upstream::Upstream;
use traffic::{Background, Outbound, Policy, State};

/// What a policy is built with, besides its settings.
pub struct BuildCtx<'a> {
    /// The stable id of this policy: owner and kind, and its own id if it has one. Keys its live state.
    pub id: &'a str,
    /// The workspace whose policy it is: names that it has are of consumers there. None if it is the platform's.
    pub workspace: Option<&'a str>,
    /// JSON pointer (RFC 6901) of the settings in their document.
    pub path: &'a str,
    /// Where the policy was written.
    pub place: &'a Place,
    /// Live state that outlives a snapshot.
    pub state: &'a State,
    /// The credentials of all consumers.
    pub directory: &'a Arc<Directory>,
    /// Where the values behind references come from.
    pub secrets: &'a dyn Secrets,
    /// Where files are that policies go by.
    pub files: &'a dyn Files,
    /// Where time comes from.
    pub clock: &'a Clock,
    /// What callers may do, and whom the config names.
    pub access: &'a Arc<Access>,
    /// The plans by which consumers use APIs.
    pub plans: &'a Arc<Plans>,
    /// Where gateways share counts.
    pub stores: &'a Arc<Stores>,
    /// Counters.
    pub metrics: &'a Metrics,
    /// Names captured by the route's path, in order.
    pub params: &'a [Box<str>],
    /// The way out for policies that must ask somebody.
    pub outbound: &'a Arc<dyn Outbound>,
    /// Work beside the request path.
    pub background: &'a Arc<dyn Background>,
    /// Where clients are, by the databases of the config, if it names any.
    pub geo: Option<&'a Arc<Geo>>,
    /// Asks what addresses are called.
    pub names: &'a Arc<dyn Names>,
    /// All upstreams by name; one that could not be built is there without a value.
    pub upstreams: &'a BTreeMap<String, Option<Arc<dyn Upstream>>>,
}

/// What kinds of policies are for; a chain runs the groups roughly in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// Protocol matters at the edge, before anybody is identified.
    Edge,
    /// Who calls.
    Identity,
    /// Whether they may.
    Access,
    /// How much they may.
    Limit,
    /// Where the request goes, and for how long.
    Steer,
    /// What request and answer look like.
    Shape,
}

/// One kind of policy: a row of the table.
pub struct Kind {
    /// The word in a config, such as `rate_limit`.
    pub name: &'static str,
    /// What it is for.
    pub group: Group,
    /// The phases in which it has a hook.
    pub phases: Phases,
    /// Whether it answers every request itself, so that a route with it needs no upstream.
    pub answers: bool,
    /// What it does, in one or two sentences, for the reference.
    pub about: &'static str,
    /// One item of a `policies` list, as YAML.
    pub example: &'static str,
    /// Which changes of its settings reset its live state.
    pub resets: &'static str,
    /// The schema of its settings.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
    /// Makes the runtime of one configured policy. There is one only when the settings had no error;
    /// every problem goes to the report.
    pub build: fn(&Node, &BuildCtx<'_>, &mut Report) -> Option<Arc<dyn Policy>>,
}

impl Kind {
    /// Whether policies of this kind say who calls.
    #[must_use]
    pub fn identifies(&self) -> bool {
        self.group == Group::Identity
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl fmt::Debug for BuildCtx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.id, self.place)
    }
}

impl BuildCtx<'_> {
    /// What expressions of this policy may name.
    pub(crate) fn scope(&self) -> Scope<'_> {
        Scope { params: self.params, geo: self.geo }
    }

    /// The id as people know it: owner, kind, and the policy's own id.
    pub(crate) fn shown_id(&self) -> &str {
        // The length of the owner stands before it.
        self.id.split_once(':').map_or(self.id, |(_, id)| id)
    }

    /// A word for whose policy this is, if it is not that of all requests: what callers are told of it has that as its
    /// name where the policy has none, so that it is told apart from others that hold for the same request.
    pub(crate) fn level(&self) -> Option<&'static str> {
        let mut steps = self.path.split('/').skip(1);
        match (steps.next(), steps.nth(1)) {
            (Some("apis"), Some("routes")) => Some("route"),
            (Some("apis"), _) => Some("api"),
            _ if self.workspace.is_some() => Some("workspace"),
            _ => None,
        }
    }

    /// The upstream `name`, which stands in the setting `below`. An unknown one is told to the report;
    /// what is wrong with one that could not be built was told there already.
    pub(crate) fn upstream(
        &self,
        report: &mut Report,
        settings: &Node,
        below: &str,
        name: &str,
    ) -> Option<Arc<dyn Upstream>> {
        if let Some(known) = self.upstreams.get(name) {
            return known.clone();
        }
        let names = self.upstreams.keys().map(String::as_str);
        let help = match did_you_mean(name, names.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if self.upstreams.is_empty() => "define it under `upstreams:`".to_owned(),
            None => format!("known here: {}", names.take(10).collect::<Vec<_>>().join(", ")),
        };
        let (place, path) = self.find(settings, below);
        let message = format!("there is no upstream `{name}`");
        report.error("unknown_name", &place, message).at(path).help(help);
        None
    }

    /// The store that a limit names, with what becomes of requests without it; nothing where none is named.
    ///
    /// # Errors
    /// When there is no such store, or it is broken: what is wrong was told.
    pub(crate) fn store(
        &self,
        report: &mut Report,
        settings: &Node,
        name: Option<&str>,
        on_failure: Option<&OnStoreFailure>,
    ) -> Result<Option<(Arc<Store>, OnFailure)>, ()> {
        let how = on_failure.map_or(OnFailure::Local, OnFailure::from);
        let Some(name) = name else {
            if on_failure.is_none() {
                return Ok(None);
            }
            let message = "without a `store` this limit is counted here, and no store can fail";
            self.error(report, settings, "/on_store_failure", message);
            return Err(());
        };
        match self.stores.0.get(name) {
            Some(Some(store)) => Ok(Some((Arc::clone(store), how))),
            Some(None) => Err(()),
            None => {
                let help = match did_you_mean(name, self.stores.0.keys().map(String::as_str)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "define it under `stores:`".to_owned(),
                };
                let (place, path) = self.find(settings, "/store");
                let message = format!("there is no store `{name}`");
                report.error("unknown_name", &place, message).at(path).help(help);
                Err(())
            }
        }
    }

    /// Adds an error about the setting `below`, a JSON pointer within `settings` (empty for the whole).
    /// It is placed at the setting, or at what holds it if it was not written, as in a short form.
    pub(crate) fn error<'r>(
        &self,
        report: &'r mut Report,
        settings: &Node,
        below: &str,
        message: impl Into<String>,
    ) -> &'r mut Problem {
        let (place, path) = self.find(settings, below);
        report.error("invalid_value", &place, message).at(path)
    }

    /// Adds a warning, placed like an error.
    pub(crate) fn warning<'r>(
        &self,
        report: &'r mut Report,
        settings: &Node,
        below: &str,
        message: impl Into<String>,
    ) -> &'r mut Problem {
        let (place, path) = self.find(settings, below);
        report.warning("doubtful_value", &place, message).at(path)
    }

    /// Where the setting `below` stands, and its JSON pointer.
    pub(crate) fn find(&self, settings: &Node, below: &str) -> (Place, String) {
        let mut node = settings;
        let mut path = self.path.to_owned();
        for part in below.split('/').skip(1) {
            let next = match &node.value {
                Value::List(items) => part.parse().ok().and_then(|at: usize| items.get(at)),
                _ => node.field(&part.replace("~1", "/").replace("~0", "~")),
            };
            let Some(next) = next else { break };
            node = next;
            path.push('/');
            path.push_str(part);
        }
        let place = if node.place.is_known() { &node.place } else { self.place };
        (place.clone(), path)
    }
}
