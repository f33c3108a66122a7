//! What a listener makes of whoever connects.

use crate::client_auth;
use crate::inputs::Inputs;
use base::caps::{CONNECTION_AGE_MAX_S, CONNECTIONS_PER_LISTENER_MAX};
use base::gcra::Gcra;
use base::network::{Network, Networks};
use base::rates::Limit;
use base::{Placed, Report};
use model::listener::{ClientMode, ClientTls};
use model::proxies::{ForwardedBy, TrustedProxies};
use model::{Config, Listener};
use rustls::crypto::aws_lc_rs;
use std::sync::Arc;
use traffic::arrivals::{Arrivals, Pace};
use traffic::clients::{Clients, Crowd, PerAddress, ToldBy};
use traffic::tls::ToldCertificates;

/// What is made of certificates of which proxies tell; nothing within if they are not asked. `None` when it has a problem.
type Told = Option<Option<Arc<ToldCertificates>>>;

/// What is made of certificates of which these proxies tell.
pub(crate) fn told_certificates(
    proxies: &TrustedProxies,
    inputs: Inputs<'_>,
    report: &mut Report,
) -> Told {
    let Some(written) = &proxies.client_cert else { return Some(None) };
    let auth = written.ca.as_ref().map(|ca| {
        let (ca, crl) = (Some(ca.clone()), written.crl.clone());
        let asked = ClientTls { mode: ClientMode::Required, ca, crl };
        let provider = Arc::new(aws_lc_rs::default_provider());
        client_auth::compile(Some(&asked), &provider, inputs, report)
    });
    let auth = match auth {
        None => None,
        Some(None) => return None,
        Some(Some(auth)) => auth,
    };
    Some(Some(Arc::new(ToldCertificates::new(auth))))
}

/// `None` when it has a problem: nobody gets in then.
pub(crate) fn compile(
    name: &str,
    listener: &Listener,
    (config, told): (&Config, &Told),
    inputs: Inputs<'_>,
    report: &mut Report,
) -> Option<Clients> {
    let trusted = listener.trusted_proxies.as_ref().unwrap_or(&config.trusted_proxies);
    let told = match &listener.trusted_proxies {
        Some(own) => told_certificates(own, inputs, report),
        None => told.clone(),
    };
    let per_address = listener.connections_per_address_max.as_ref().map(|max| PerAddress {
        max: max.value,
        crowd: inputs.state.cell(&format!("listener/{name}/crowd"), Crowd::default),
    });
    let pace = |rate: &Option<Placed<Limit>>, what: &str| {
        let limit = rate.as_ref()?.value;
        let gcra = Gcra::new(limit.rate, limit.burst.unwrap_or(limit.rate.count))?;
        let id = format!("listener/{name}/{what}");
        let arrivals = inputs.state.cell(&id, || Arrivals::new(inputs.clock));
        Some(Pace { gcra, arrivals })
    };
    let connections_max = listener.connections_max.as_ref().map(|max| max.value as usize);
    let age = listener.connection_age_max.as_ref().map(|age| age.value.0.as_secs());
    Some(Clients {
        announcing: networks(&listener.proxy_protocol.from),
        trusted: networks(&trusted.from),
        told_by: match trusted.header {
            ForwardedBy::XForwarded => ToldBy::XForwarded,
            ForwardedBy::Forwarded => ToldBy::Forwarded,
        },
        told_certificates: told?,
        tells_forwarded: listener.forwarded,
        connections_max: connections_max.unwrap_or(CONNECTIONS_PER_LISTENER_MAX),
        per_address,
        connecting: pace(&listener.connection_rate, "connecting"),
        shaking_hands: pace(&listener.handshake_rate, "shaking_hands"),
        age_max_s: age.unwrap_or(CONNECTION_AGE_MAX_S),
    })
}

fn networks(written: &[Placed<Network>]) -> Networks {
    written.iter().map(|network| network.value).collect()
}
