//! The whole, top to bottom.

use crate::inputs::{Inputs, SecretsAt};
use crate::rooms::{Furniture, Household};
use crate::routes::PlacedRule;
use crate::shared::Shared;
use crate::upstreams::Upstreams;
use crate::{
    access, access_log, clients, consumers, facts, observe, plans, reach, relays, routes,
    strangers, tls, upstreams,
};
use base::{Endpoint, Placed, Report, Text};
use http::HeaderName;
use http::header::AUTHORIZATION;
use model::Config;
use model::join::split;
use model::listener::{DoubleSlash, EncodedSlash};
use model::overload::MemoryMax;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use telemetry::AccessSettings;
use traffic::Outbound;
use traffic::canonical::{self, PathRules};
use traffic::directory::{Credential, CredentialHash};
use traffic::memory::{Ceiling, Memory};
use traffic::overload::Overload;
use traffic::snapshot::{ListenerPart, Reserved, Route, Snapshot};

/// Who may connect to a Unix socket unless said otherwise: the gateway's user and group.
const UNIX_MODE: u32 = 0o660;

/// What became of a config.
#[derive(Debug)]
pub struct Compiled {
    /// What is served by.
    pub snapshot: Snapshot,
    /// The credentials the config names, for the Directory.
    pub credentials: Vec<(CredentialHash, Arc<Credential>)>,
    /// The plans by which consumers use APIs.
    pub plans: Arc<policy::plan::Plans>,
    /// Where gateways share counts.
    pub stores: Arc<policy::store::Stores>,
    /// Where the admin listener goes, unless it is off.
    pub admin: Option<SocketAddr>,
    /// The way out for the program's own requests, as the config says.
    pub outbound: Arc<dyn Outbound>,
    /// How the access log is written.
    pub access_log: AccessSettings,
    /// All problems.
    pub report: Report,
}

/// How much work a worker may have before what is ready for it, unless said otherwise: so much that nobody meets it whose
/// machine is merely busy, for a burst of a thousand requests is done in less.
const QUEUE_DELAY: Duration = Duration::from_millis(500);

/// Compiles a valid config. With errors in the report the snapshot is safe to serve by, but lacks the
/// listeners that are broken and answers 503 on the routes that are.
#[must_use]
pub fn compile(config: &Config, inputs: Inputs<'_>) -> Compiled {
    let mut report = Report::new();
    let shared = Shared::compile(config, inputs, &mut report);
    let inputs = shared.given(inputs);
    let parts = config.workspaces.iter();
    let furniture: Vec<_> = parts.map(|part| Furniture::new(config, part, inputs)).collect();
    let upstreams = upstreams::compile(config, &furniture, inputs, &mut report);
    let credentials = consumers::compile(config, inputs, &mut report);
    let platform = Household::new(config, None, &upstreams, inputs, &mut report);
    let of_workspace = |it| Household::new(config, Some(it), &upstreams, inputs, &mut report);
    let workspaces: Vec<_> = furniture.iter().map(of_workspace).collect();
    let plans = Arc::clone(&platform.plans);
    let (mut routes, unrouted) =
        routes::compile(config, &platform, &workspaces, inputs, &mut report);
    let reserved = reserve(&mut routes);
    facts::check(routes.iter().map(|placed| &placed.rule.route), &mut report);
    strangers::check(routes.iter().map(|placed| &placed.rule.route), &credentials, &mut report);
    let all = routes.iter().map(|placed| &placed.rule.route);
    plans::unplanned_strangers(config, all, &mut report);
    let listeners = listeners(config, (&routes, &upstreams), inputs, &mut report);
    let admin = admin(config, inputs, &mut report);
    let access_log = access_log::compile(config, &mut report);
    let observe = observe::compile(config, &access_log, inputs, &mut report);
    let routes: Vec<_> = routes.into_iter().map(|placed| placed.rule.route).collect();
    access::check(config, &routes, &mut report);
    report.sort();
    let snapshot = Snapshot {
        revision: Arc::clone(inputs.revision),
        listeners,
        reserved,
        routes,
        unrouted,
        upstreams: upstreams.into_values().flatten().collect(),
        observe,
        overload: overload(config),
        memory: Memory::of(inputs.state),
    };
    let (outbound, stores) = (Arc::clone(&shared.outbound), Arc::clone(&shared.stores));
    Compiled { snapshot, credentials, plans, stores, admin, outbound, access_log, report }
}

/// The listeners, but those that are broken.
fn listeners(
    config: &Config,
    (routes, upstreams): (&[PlacedRule], &Upstreams),
    inputs: Inputs<'_>,
    report: &mut Report,
) -> Vec<Arc<ListenerPart>> {
    let (mut listeners, mut asking) = (Vec::new(), Vec::new());
    let told = clients::told_certificates(&config.trusted_proxies, inputs, report);
    for (name, listener) in config.listeners.iter() {
        let bind = address(&listener.bind, inputs, report);
        let (tls, is_raw) = (listener.tls.as_ref(), listener.tcp.is_some());
        let tls = tls.map(|tls| tls::compile(name, tls, is_raw, inputs, report));
        if let Some(Some(tls)) = tls.as_ref().filter(|_| listener.speaks_http()) {
            reach::check(config, name, tls, report);
        }
        let trusted = listener.trusted_proxies.as_ref().unwrap_or(&config.trusted_proxies);
        // What a broken listener would have asked is not known.
        let asks =
            tls.as_ref().is_some_and(|tls| tls.as_ref().is_none_or(|tls| tls.asks_clients()));
        if asks || trusted.client_cert.is_some() {
            asking.push(name.value.as_str());
        }
        let clients = clients::compile(&name.value, listener, (config, &told), inputs, report);
        let served = if listener.speaks_http() { routes } else { &[][..] };
        let tree = routes::tree(&name.value, served, &name.place, report);
        let relays = relays::compile(listener, upstreams);
        relays::doubts(config, name, listener, report);
        let (Some(bind), Some(tree), Some(relays), Some(clients), None | Some(Some(_))) =
            (bind, tree, relays, clients, &tls)
        else {
            continue;
        };
        listeners.push(Arc::new(ListenerPart {
            name: Arc::from(name.value.as_str()),
            revision: Arc::clone(inputs.revision),
            bind,
            mode: listener.mode.as_ref().map_or(UNIX_MODE, |mode| mode.value.0),
            clients,
            tls: tls.flatten(),
            relays,
            redirect_https: listener.redirect_https.as_ref().map(|port| port.value),
            path_rules: path_rules(&listener.paths),
            tree,
            metrics: inputs.metrics.listener(&name.value),
        }));
    }
    reach::check_asked(config, &asking, report);
    listeners
}

/// From when on the node refuses what it could not do well.
fn overload(config: &Config) -> Overload {
    let model::overload::Overload { is_off, long } = &config.overload;
    if *is_off {
        return Overload::default();
    }
    Overload {
        queue_delay: Some(long.queue_delay.as_ref().map_or(QUEUE_DELAY, |delay| delay.value.0)),
        memory: long.memory.as_ref().map(|memory| match memory.value {
            MemoryMax::Size(size) => Ceiling::Bytes(size.0),
            MemoryMax::Share(share) => Ceiling::Share(share),
        }),
    }
}

/// The headers that any policy needs for itself: a backend that believes them on one route may be reached by another. The
/// backends of a workspace are reached by its own routes only, and no workspace takes headers from the others.
fn reserve(routes: &mut [PlacedRule]) -> Option<Arc<Reserved>> {
    let mut by_workspace: BTreeMap<Option<String>, Vec<usize>> = BTreeMap::new();
    for (at, placed) in routes.iter().enumerate() {
        let workspace = split(&placed.rule.route.api).0.map(str::to_owned);
        by_workspace.entry(workspace).or_default().push(at);
    }
    let chosen = |routes: &[PlacedRule], of: &[usize]| {
        let routes = of.iter().filter_map(|at| routes.get(*at));
        reserved(routes.map(|placed| &*placed.rule.route))
    };
    let of_platform = by_workspace.remove(&None).unwrap_or_default();
    for of in by_workspace.into_values() {
        // Those of the platform are taken out on every route.
        let both: Vec<usize> = of_platform.iter().chain(&of).copied().collect();
        let reserved = chosen(routes, &both);
        for at in of {
            if let Some(route) = routes.get_mut(at).and_then(|it| Arc::get_mut(&mut it.rule.route))
            {
                route.reserved.clone_from(&reserved);
            }
        }
    }
    chosen(routes, &of_platform)
}

fn reserved<'a>(routes: impl Iterator<Item = &'a Route>) -> Option<Arc<Reserved>> {
    let (mut spoken_for, mut credentials) = (BTreeSet::<Box<str>>::new(), BTreeSet::new());
    for entry in routes.flat_map(|route| route.chain.entries()) {
        let plain = |name: &HeaderName| Box::from(name.as_str().replace('_', "-"));
        spoken_for.extend(entry.policy.speaks_for().iter().map(plain));
        let facts = entry.policy.facts();
        let shown = facts.credentials.iter().chain(&facts.writes);
        credentials.extend(shown.filter(|name| *name != AUTHORIZATION).map(plain));
    }
    if spoken_for.is_empty() && credentials.is_empty() {
        return None;
    }
    let all = |names: BTreeSet<Box<str>>| names.into_iter().collect();
    Some(Arc::new(Reserved { spoken_for: all(spoken_for), credentials: all(credentials) }))
}

/// Where operators are served.
fn admin(config: &Config, inputs: Inputs<'_>, report: &mut Report) -> Option<SocketAddr> {
    if config.admin.off {
        return None;
    }
    let Some(bind) = &config.admin.bind else {
        return Some(SocketAddr::from(([127, 0, 0, 1], model::node::ADMIN_PORT)));
    };
    address(bind, inputs, report)?.ip()
}

fn address(bind: &Placed<Text>, inputs: Inputs<'_>, report: &mut Report) -> Option<Endpoint> {
    let secrets = SecretsAt { outside: inputs.outside, place: &bind.place };
    let text = match bind.value.resolve(&secrets) {
        Ok(text) => text,
        Err(why) => {
            report
                .error("missing_secret", &bind.place, why)
                .help("the gateway reads it when the config is loaded; make sure that it is there by then");
            return None;
        }
    };
    let text = text.reveal().trim();
    let parsed = match Endpoint::unix(text) {
        Some(path) => path.ok().map(Endpoint::Unix),
        None => text.parse().ok().map(Endpoint::Ip),
    };
    // What is wrong with a plain text was reported by the model.
    if parsed.is_none() && bind.value.has_reference() {
        let message = format!("what `{}` stands for is not an address to listen on", bind.value);
        report
            .error("bad_address", &bind.place, message)
            .help("write an IP address and a port, such as `0.0.0.0:8080` or `[::]:8443`, or a path of at most 107 bytes, such as `unix:/run/yett/yett.sock`");
    }
    parsed
}

fn path_rules(rules: &model::listener::PathRules) -> PathRules {
    PathRules {
        keep_encoded_slash: rules.encoded_slash == EncodedSlash::Keep,
        double_slash: match rules.double_slash {
            DoubleSlash::Merge => canonical::DoubleSlash::Merge,
            DoubleSlash::Reject => canonical::DoubleSlash::Reject,
            DoubleSlash::Keep => canonical::DoubleSlash::Keep,
        },
    }
}
