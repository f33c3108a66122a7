//! Connections that are passed on as bytes.

use crate::upstreams::Upstreams;
use base::{Placed, Report};
use model::{Config, Listener};
use std::sync::Arc;
use std::time::Duration;
use traffic::relay::{ByName, Relay, Relays};

/// How long both directions may be silent unless said otherwise.
const IDLE: Duration = Duration::from_secs(600);

/// Kinds of policies that look as if they held for connections, too.
const LOOK_ALIKE: [&str; 6] = ["ip", "geo", "hours", "maintenance", "concurrency", "bandwidth"];

/// Warns of policies of the gateway that do not hold for what a listener passes on, and could be taken for it.
pub(crate) fn doubts(
    config: &Config,
    name: &Placed<String>,
    listener: &Listener,
    report: &mut Report,
) {
    if listener.tcp.is_none() && listener.passthrough.iter().next().is_none() {
        return;
    }
    let is_alike = |kind: &str| LOOK_ALIKE.contains(&kind);
    for policy in config.policies.iter().filter(|policy| is_alike(&policy.kind.value)) {
        let (kind, name) = (&policy.kind.value, &name.value);
        let message = format!(
            "`{kind}` does not hold for connections that listener `{name}` passes on: policies are about requests"
        );
        report.warning("unheld_policy", &policy.kind.place, message).help(
            "bound those by `from`, `connections_max` and `connections_per_address_max` of the listener, and by `concurrency` of their upstream",
        );
    }
}

/// What a listener passes on. None if any of it goes to an upstream that is broken: nobody then takes its
/// connections, rather than somebody they are not meant for.
pub(crate) fn compile(listener: &Listener, upstreams: &Upstreams) -> Option<Relays> {
    let relay = |written: &model::relay::Relay| {
        let upstream = upstreams.get(written.upstream.as_str())?.clone()?;
        let idle = written.idle.as_ref().map_or(IDLE, |idle| idle.value.0);
        let from = written.from.iter().map(|network| network.value).collect();
        Some(Arc::new(Relay { upstream, idle, from }))
    };
    let whole = match &listener.tcp {
        Some(written) => Some(relay(written)?),
        None => None,
    };
    let mut by_name = ByName::default();
    for (name, written) in listener.passthrough.iter() {
        by_name.add(name, relay(written)?);
    }
    Some(Relays { whole, by_name })
}
