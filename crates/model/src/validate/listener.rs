//! Listeners, and the admin listener beside them.

use super::pointer;
use crate::listener::ClientMode;
use crate::proxies::TrustedProxies;
use crate::{Config, Listener};
use base::gcra::Gcra;
use base::network::Network;
use base::units::Period;
use base::{Endpoint, Place, Placed, Report, Text};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Where the admin listener is unless said otherwise.
const ADMIN_BIND: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9901);

/// The shortest age to which connections may be bounded.
const CONNECTION_AGE_LEAST: Duration = Duration::from_secs(10);

/// An address that is taken, by whom and where that is written.
struct Taken {
    ip: IpAddr,
    owner: String,
    place: Place,
}

pub(super) fn check(config: &Config, report: &mut Report) {
    trusted(&config.trusted_proxies.from, report);
    told_certificates(&config.trusted_proxies, report);
    if config.listeners.is_empty() {
        report
            .error("no_listener", &config.version.place, "there is no listener")
            .help("add one, such as `listeners: { public: { bind: 0.0.0.0:8080 } }`");
    }
    let (mut taken, mut paths) = (HashMap::new(), HashMap::new());
    for (name, listener) in config.listeners.iter() {
        let owner = format!("listener `{}`", name.value);
        let path = ["listeners", name, "bind"];
        match bind(&listener.bind, &path, report) {
            Some(Endpoint::Ip(address)) => {
                take(address, owner, &listener.bind.place, &mut taken, report);
            }
            Some(Endpoint::Unix(path)) => {
                take_path(path, owner, &listener.bind.place, &mut paths, report);
            }
            None => {}
        }
        if let Some(mode) = listener.mode.as_ref().filter(|_| !is_path(&listener.bind)) {
            report
                .error("invalid_value", &mode.place, "`mode` is for Unix sockets")
                .help("take it out: whoever can reach an address can connect to it");
        }
        redirect(listener, report);
        proxies(listener, report);
        bounds(listener, report);
        certificates(listener, report);
        super::relay::check(name, listener, config, report);
    }
    if config.admin.off {
        return;
    }
    let (address, place) = match &config.admin.bind {
        None => (Some(ADMIN_BIND), &config.version.place),
        Some(text) => (admin(text, report), &text.place),
    };
    if let Some(address) = address {
        if !address.ip().is_loopback() {
            report
                .warning("admin_exposed", place, "the admin listener can be reached from outside")
                .at("/admin/bind")
                .help(
                    "it asks for no login: bind it to 127.0.0.1, or keep others out by a firewall",
                );
        }
        take(address, "the admin listener".to_owned(), place, &mut taken, report);
    }
}

/// Where operators are served: not on a Unix socket, since that has no firewall and no port to ask.
fn admin(text: &Placed<Text>, report: &mut Report) -> Option<SocketAddr> {
    if is_path(text) {
        report
            .error("invalid_address", &text.place, "the admin listener cannot be a Unix socket")
            .at(pointer(&["admin", "bind"]))
            .help("write an IP address and a port, such as `127.0.0.1:9901`");
        return None;
    }
    bind(text, &["admin", "bind"], report)?.ip()
}

/// Whether it is the path of a Unix socket; the path itself may refer to the environment.
fn is_path(text: &Placed<Text>) -> bool {
    text.to_string().trim_start().starts_with("unix:")
}

/// Two listeners cannot have one path.
fn take_path(
    path: Arc<Path>,
    owner: String,
    place: &Place,
    taken: &mut HashMap<Arc<Path>, (String, Place)>,
    report: &mut Report,
) {
    if let Some((other, at)) = taken.get(&path) {
        let message = format!("{owner} and {other} listen on the same path");
        report
            .error("address_in_use", place, message)
            .help(format!("the other is at {at}; change one of them"));
        return;
    }
    taken.insert(path, (owner, place.clone()));
}

/// The address or path to listen on, where it is known without secrets.
fn bind(text: &Placed<Text>, path: &[&str], report: &mut Report) -> Option<Endpoint> {
    if text.has_reference() {
        return None;
    }
    let written = text.to_string();
    if let Some(unix) = Endpoint::unix(&written) {
        if let Err(why) = &unix {
            report.error("invalid_address", &text.place, why.clone()).at(pointer(path)).help(
                "write an absolute path that is not too long, such as `unix:/run/yett/yett.sock`",
            );
        }
        return unix.ok().map(Endpoint::Unix);
    }
    let address = written.parse::<SocketAddr>();
    if address.is_err() {
        let help = match written.rsplit_once(':') {
            Some(("" | "*", port)) => format!("write `0.0.0.0:{port}` for all addresses"),
            Some(("localhost", port)) => format!("write `127.0.0.1:{port}`"),
            Some((_, port)) if port.parse::<u16>().is_ok() => {
                "write an IP address and a port; an IPv6 address stands in brackets: `[::]:8080`"
                    .to_owned()
            }
            None if written.parse::<u16>().is_ok() => {
                format!("write `0.0.0.0:{written}` for all addresses")
            }
            _ => "write an IP address and a port, such as `0.0.0.0:8080`".to_owned(),
        };
        report
            .error("invalid_address", &text.place, format!("cannot listen on `{written}`"))
            .at(pointer(path))
            .help(help);
    }
    address.ok().map(Endpoint::Ip)
}

/// Two listeners cannot have one port, unless each has an address of its own there.
fn take(
    address: SocketAddr,
    owner: String,
    place: &Place,
    taken: &mut HashMap<u16, Vec<Taken>>,
    report: &mut Report,
) {
    // The system chooses a free port for each.
    if address.port() == 0 {
        return;
    }
    let ip = address.ip();
    let others = taken.entry(address.port()).or_default();
    let collides = |other: &&Taken| {
        other.ip.is_ipv4() == ip.is_ipv4()
            && (other.ip == ip || other.ip.is_unspecified() || ip.is_unspecified())
    };
    if let Some(other) = others.iter().find(collides) {
        let message =
            format!("{owner} and {} listen on the same port {}", other.owner, address.port());
        report
            .error("address_in_use", place, message)
            .help(format!("the other is at {}; change one of the ports", other.place));
    }
    others.push(Taken { ip, owner, place: place.clone() });
}

fn redirect(listener: &Listener, report: &mut Report) {
    let Some(port) = &listener.redirect_https else { return };
    if listener.tls.is_some() {
        report
            .error(
                "invalid_redirect",
                &port.place,
                "a listener with `tls` cannot redirect to HTTPS",
            )
            .help("use a second listener without `tls` for the redirect");
    }
    if port.value == 0 {
        report
            .error("invalid_redirect", &port.place, "0 is not a port")
            .help("write the port of the listener with `tls`, usually 443");
    }
}

fn certificates(listener: &Listener, report: &mut Report) {
    let tls = listener.tls.iter();
    let per_host = tls.clone().flat_map(|tls| &tls.certificates).filter_map(|c| c.client.as_ref());
    for client in tls.filter_map(|tls| tls.client.as_ref()).chain(per_host) {
        if client.mode != ClientMode::Off && client.ca.is_none() {
            report
                .error("missing_field", &client.place, "clients' certificates need a `ca`")
                .help("write the name of a PEM file with the authorities that sign them");
        }
    }
    for certificate in listener.tls.iter().flat_map(|tls| &tls.certificates) {
        for (file, what) in [(&certificate.cert, "certificate"), (&certificate.key, "private key")]
        {
            if file.is_empty() {
                report
                    .error("invalid_value", &file.place, format!("the {what} has no file"))
                    .help("write the name of a PEM file");
            }
        }
    }
}

/// Whoever is believed must be known.
fn trusted(from: &[Placed<Network>], report: &mut Report) {
    for network in from.iter().filter(|network| network.is_everything()) {
        let message = format!("`{}` believes everybody", network.value);
        report.warning("trusts_everybody", &network.place, message).help(
            "every client can then say from which address it comes; list the proxies' networks",
        );
    }
}

fn proxies(listener: &Listener, report: &mut Report) {
    trusted(&listener.proxy_protocol.from, report);
    if let Some(proxies) = &listener.trusted_proxies {
        trusted(&proxies.from, report);
        told_certificates(proxies, report);
    }
}

/// A certificate is no secret: whoever is believed about certificates can be everybody who has one.
fn told_certificates(proxies: &TrustedProxies, report: &mut Report) {
    let everything = proxies.from.iter().find(|network| network.is_everything());
    if let Some(network) = everything.filter(|_| proxies.client_cert.is_some()) {
        report
            .error(
                "trusts_everybody",
                &network.place,
                "with `client_cert` every client could pose as any other",
            )
            .help("list the proxies' networks, or have TLS end here");
    }
}

fn bounds(listener: &Listener, report: &mut Report) {
    let per_address = &listener.connections_per_address_max;
    for max in listener.connections_max.iter().chain(per_address).filter(|max| max.value == 0) {
        report
            .error("invalid_value", &max.place, "no connection at all is let in")
            .help("write 1 or more, or leave it out");
    }
    rates(listener, report);
    let too_short = |age: &&Placed<Period>| age.value.0 < CONNECTION_AGE_LEAST;
    if let Some(age) = listener.connection_age_max.as_ref().filter(too_short) {
        report
            .error("invalid_value", &age.place, "connections must be allowed to last 10 s")
            .help("shorter ones would make clients connect again all the time");
    }
}

/// How often addresses may connect must be countable, and of use.
fn rates(listener: &Listener, report: &mut Report) {
    for rate in listener.connection_rate.iter().chain(&listener.handshake_rate) {
        let burst = rate.value.burst.unwrap_or(rate.value.rate.count);
        if burst == 0 || Gcra::new(rate.value.rate, burst).is_none() {
            report
                .error(
                    "invalid_value",
                    &rate.place,
                    "nobody could ever connect, or it cannot be counted",
                )
                .help("write a rate such as `50/s`, or `{ rate: 50/s, burst: 100 }`");
        }
    }
    if let Some(rate) = listener.handshake_rate.as_ref().filter(|_| listener.tls.is_none()) {
        report
            .error("invalid_value", &rate.place, "the listener does not speak TLS")
            .help("take `handshake_rate` out, or write `connection_rate`");
    }
}
