//! Connections that are passed on as bytes.

use super::{reason, unknown};
use crate::listener::ClientMode;
use crate::relay::Relay;
use crate::{Config, Listener, authority};
use base::{Placed, Report};
use std::collections::HashSet;

pub(super) fn check(
    name: &Placed<String>,
    listener: &Listener,
    config: &Config,
    report: &mut Report,
) {
    if let Some(relay) = &listener.tcp {
        alone(name, listener, relay, report);
        settings(relay, config, asks_for_certificates(listener), report);
    }
    let mut seen = HashSet::new();
    for (host, relay) in listener.passthrough.iter() {
        server_name(host, &mut seen, report);
        settings(relay, config, false, report);
        wraps(relay, config, report);
        asks_in_the_clear(relay, config, report);
    }
    if let Some(port) =
        listener.redirect_https.as_ref().filter(|_| !listener.passthrough.is_empty())
    {
        report
            .error("invalid_redirect", &port.place, "a listener with `passthrough` speaks TLS")
            .help("use a second listener for the redirect");
    }
}

/// What is about HTTP has no meaning where there is none.
fn alone(name: &Placed<String>, listener: &Listener, relay: &Relay, report: &mut Report) {
    let place = &relay.upstream.place;
    let mut useless = |what: &str| {
        let message = format!("listener `{}` has both `tcp` and `{what}`", name.value);
        report.error("no_http", place, message).help(format!(
            "`tcp` passes every connection on: take `{what}` out, or use a listener for each"
        ));
    };
    if !listener.passthrough.is_empty() {
        useless("passthrough");
    }
    if listener.redirect_https.is_some() {
        useless("redirect_https");
    }
    if listener.forwarded {
        useless("forwarded");
    }
    if listener.connection_age_max.is_some() {
        useless("connection_age_max");
    }
}

/// Whether nobody comes in without a certificate.
fn asks_for_certificates(listener: &Listener) -> bool {
    let Some(tls) = &listener.tls else { return false };
    tls.certificates.iter().all(|certificate| {
        let client = certificate.client.as_ref().or(tls.client.as_ref());
        client.is_some_and(|client| client.mode == ClientMode::Required)
    })
}

/// Bytes say nothing of who sends them, so it must be said who may.
fn settings(relay: &Relay, config: &Config, is_identified: bool, report: &mut Report) {
    let upstream = &relay.upstream;
    if config.upstreams.get(upstream).is_none() {
        unknown("upstream", upstream, &config.upstreams, report);
    }
    if let Some(public) = &relay.public {
        reason("`public`", &public.place, public, report);
    }
    if relay.from.is_empty() && relay.public.is_none() && !is_identified {
        let message = format!("anybody may connect to `{}` here", upstream.value);
        report.error("no_identity", &upstream.place, message).help(format!(
            "say who may, `{{ upstream: {0}, from: [10.0.0.0/8] }}`, or why everybody may, \
             `{{ upstream: {0}, public: \"reason\" }}`; `tcp` also takes `tls` with `client` beside it",
            upstream.value
        ));
    }
    if let (Some(public), false) = (&relay.public, relay.from.is_empty()) {
        report
            .error("contradiction", &public.place, "`public` lets everybody in, `from` does not")
            .help("take one of them out");
    }
    if let Some(idle) = relay.idle.as_ref().filter(|idle| idle.value.0.is_zero()) {
        report
            .error("invalid_value", &idle.place, "a connection must be allowed to be silent")
            .help("write a duration such as `10m`");
    }
}

fn server_name<'a>(host: &'a Placed<String>, seen: &mut HashSet<&'a str>, report: &mut Report) {
    const HELP: &str =
        "a client names a host such as `db.example.com`; `*.example.com` is all below it";
    let plain = host.strip_prefix("*.").unwrap_or(host);
    let found = super::api::host(host).and_then(|()| {
        authority::dns_name(plain).map(drop).map_err(|message| (message, HELP.to_owned()))
    });
    if let Err((message, help)) = found {
        report.error("invalid_host", &host.place, message).help(help);
    }
    if !seen.insert(host.as_str()) {
        report
            .error("duplicate_host", &host.place, format!("`{}` appears twice", host.value))
            .help("take one of them out");
    }
}

/// A target that gets TLS as it comes expects it from health checks as well.
fn asks_in_the_clear(relay: &Relay, config: &Config, report: &mut Report) {
    let upstream = config.upstreams.get(&relay.upstream);
    let Some(health) = upstream.and_then(|upstream| upstream.health.as_ref()) else { return };
    if !health.tcp {
        let name = &relay.upstream;
        let message = format!(
            "the health check of `{}` asks by HTTP without TLS, and what is passed on is TLS",
            name.value
        );
        report
            .warning("health_in_the_clear", &health.place, message)
            .help("write `tcp every 5s`, unless the targets speak HTTP on the same port");
    }
}

/// What is passed on unopened is TLS already.
fn wraps(relay: &Relay, config: &Config, report: &mut Report) {
    let upstream = config.upstreams.get(&relay.upstream);
    if upstream.and_then(|upstream| upstream.tls.as_ref()).is_some_and(|tls| tls.on) {
        let name = &relay.upstream;
        let message = format!("`{}` has `tls`, and what is passed on is TLS already", name.value);
        report
            .error("tls_twice", &name.place, message)
            .help("use an upstream without `tls` for it: the client's own TLS reaches the target");
    }
}
