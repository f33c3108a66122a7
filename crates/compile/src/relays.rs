//! Connections that are passed on as bytes.

use crate::upstreams::Upstreams;
use model::Listener;
use std::sync::Arc;
use std::time::Duration;
use traffic::relay::{ByName, Relay, Relays};

/// How long both directions may be silent unless said otherwise.
const IDLE: Duration = Duration::from_secs(600);

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
