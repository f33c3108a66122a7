//! How the gateway's own requests leave, and proxies on the way to targets.

use crate::inputs::{Inputs, SecretsAt};
use crate::upstreams;
use base::{Placed, Report, Text};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use model::Config;
use model::authority::{Host, parse_authority};
use std::sync::Arc;
use traffic::Outbound;
use upstream::{EgressSpec, NoProxy, ProxySpec, TargetHost};

/// What is said of a proxy that is not written as one.
const FORM: &str = "write `http://proxy:3128`, or `http://user:${env:PASSWORD}@proxy:3128`";

/// The way out as the config wants it. Where it cannot be had there is none: nothing leaves in another way.
pub(crate) fn compile(
    config: &Config,
    inputs: Inputs<'_>,
    report: &mut Report,
) -> Arc<dyn Outbound> {
    match spec(config, inputs, report) {
        Some(spec) => upstream::outbound(spec, inputs.world),
        None => upstream::outbound(EgressSpec::default(), None),
    }
}

/// The way out for the policies of a workspace: as for all others, but not inward.
pub(crate) fn of_workspace(
    config: &Config,
    (workspace, is_walled): (&str, bool),
    inputs: Inputs<'_>,
) -> Arc<dyn Outbound> {
    // What is wrong with it was told when the way out of all others was made.
    let spec = spec(config, inputs, &mut Report::new());
    let workspace = Some(Arc::from(workspace));
    match spec {
        Some(spec) => upstream::outbound(EgressSpec { workspace, is_walled, ..spec }, inputs.world),
        None => upstream::outbound(EgressSpec::default(), None),
    }
}

fn spec(config: &Config, inputs: Inputs<'_>, report: &mut Report) -> Option<EgressSpec> {
    let written = &config.egress;
    let ca_pem = written.ca.as_ref().map(|path| upstreams::read(path, inputs, report));
    let proxy = written.proxy.as_ref().map(|url| proxy(url, inputs, report));
    let mut no_proxy = Vec::with_capacity(written.no_proxy.len());
    for rule in &written.no_proxy {
        match NoProxy::parse(&rule.value) {
            Ok(rule) => no_proxy.push(rule),
            Err(why) => {
                report.error("bad_no_proxy", &rule.place, why);
                return None;
            }
        }
    }
    let ca_pem = match ca_pem {
        Some(read) => Some(read?),
        None => None,
    };
    let proxy = match proxy {
        Some(read) => Some(read?),
        None => None,
    };
    Some(EgressSpec { ca_pem, proxy, no_proxy, ..EgressSpec::default() })
}

/// Reads the URL of a proxy. What it says of a user may be secret, so it is never repeated.
pub(crate) fn proxy(
    written: &Placed<Text>,
    inputs: Inputs<'_>,
    report: &mut Report,
) -> Option<ProxySpec> {
    let secrets = SecretsAt { outside: inputs.outside, place: &written.place };
    let text = match written.value.resolve(&secrets) {
        Ok(text) => text,
        Err(why) => {
            report.error("missing_secret", &written.place, why).help(
                "the gateway reads it when the config is loaded; make sure that it is there by then",
            );
            return None;
        }
    };
    let mut wrong = |message: &str, help: &str| {
        report.error("bad_proxy", &written.place, message.to_owned()).help(help.to_owned());
    };
    let text = text.reveal();
    let Some(rest) = text.strip_prefix("http://") else {
        wrong("a proxy is given as a URL that begins with `http://`", FORM);
        return None;
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (user, authority) = match rest.rsplit_once('@') {
        Some((user, authority)) => (Some(user), authority),
        None => (None, rest),
    };
    if user.is_some() && !written.value.has_reference() {
        let help =
            "take it from the environment or a file: `http://user:${env:PASSWORD}@proxy:3128`";
        wrong("the proxy's password stands in the config", help);
        return None;
    }
    let Ok(authority) = parse_authority(authority) else {
        wrong("the proxy has no host and port", FORM);
        return None;
    };
    let authorization = user.map(|user| {
        let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(user))).ok()?;
        value.set_sensitive(true);
        Some(value)
    });
    let host = match authority.host {
        Host::Ip(address) => TargetHost::Ip(address),
        Host::Name(name) => TargetHost::Name(name),
    };
    Some(ProxySpec { host, port: authority.port, authorization: authorization.flatten() })
}
