//! What a listener makes of whoever connects.

use crate::inputs::Inputs;
use base::Placed;
use base::caps::{CONNECTION_AGE_MAX_S, CONNECTIONS_PER_LISTENER_MAX};
use base::network::{Network, Networks};
use model::proxies::ForwardedBy;
use model::{Config, Listener};
use traffic::clients::{Clients, Crowd, PerAddress, ToldBy};

pub(crate) fn compile(
    name: &str,
    listener: &Listener,
    config: &Config,
    inputs: Inputs<'_>,
) -> Clients {
    let trusted = listener.trusted_proxies.as_ref().unwrap_or(&config.trusted_proxies);
    let per_address = listener.connections_per_address_max.as_ref().map(|max| PerAddress {
        max: max.value,
        crowd: inputs.state.cell(&format!("listener/{name}/crowd"), Crowd::default),
    });
    let connections_max = listener.connections_max.as_ref().map(|max| max.value as usize);
    let age = listener.connection_age_max.as_ref().map(|age| age.value.0.as_secs());
    Clients {
        announcing: networks(&listener.proxy_protocol.from),
        trusted: networks(&trusted.from),
        told_by: match trusted.header {
            ForwardedBy::XForwarded => ToldBy::XForwarded,
            ForwardedBy::Forwarded => ToldBy::Forwarded,
        },
        tells_forwarded: listener.forwarded,
        connections_max: connections_max.unwrap_or(CONNECTIONS_PER_LISTENER_MAX),
        per_address,
        age_max_s: age.unwrap_or(CONNECTION_AGE_MAX_S),
    }
}

fn networks(written: &[Placed<Network>]) -> Networks {
    written.iter().map(|network| network.value).collect()
}
