//! How targets are chosen, where the gateway runs, and how names are resolved.

use super::pointer;
use crate::balance::{Sticky, parse_name_server};
use crate::upstream::Target;
use crate::{Config, Upstream};
use base::caps::{NAME_SERVERS_MAX, PRIORITY_MAX};
use base::{Place, Placed, Report};

/// The longest name of a zone or region in bytes.
const ZONE_BYTES_MAX: usize = 128;

pub(super) fn check(config: &Config, report: &mut Report) {
    let gateway = [("zone", &config.gateway.zone), ("region", &config.gateway.region)];
    for (field, text) in gateway {
        let plain = text.as_ref().filter(|text| !text.has_reference());
        if let Some(text) = plain {
            zone(&text.to_string(), &text.place, &pointer(&["gateway", field]), report);
        }
    }
    let servers = &config.dns.servers;
    for (index, server) in servers.iter().enumerate() {
        if let Err(message) = parse_name_server(server) {
            report
                .error("invalid_address", &server.place, message)
                .at(pointer(&["dns", "servers", &index.to_string()]))
                .help("write an IP address, with a port unless it is 53: `10.0.0.2`, `127.0.0.1:8600`");
        }
    }
    if let Some(first) = servers.get(NAME_SERVERS_MAX) {
        report
            .error(
                "invalid_value",
                &first.place,
                format!("{NAME_SERVERS_MAX} name servers are the most"),
            )
            .at("/dns/servers");
    }
}

pub(super) fn upstream(name: &Placed<String>, upstream: &Upstream, report: &mut Report) {
    if let Some(sticky) = &upstream.sticky {
        self::sticky(name, sticky, report);
    }
    for (index, target) in upstream.targets.iter().enumerate() {
        let path = pointer(&["upstreams", name, "targets", &index.to_string()]);
        place(target, &path, report);
    }
}

fn place(target: &Placed<Target>, path: &str, report: &mut Report) {
    for text in [&target.zone, &target.region].into_iter().flatten() {
        zone(text, &target.place, path, report);
    }
    if target.priority > PRIORITY_MAX {
        let message = format!("{PRIORITY_MAX} is the highest number of a priority");
        report.error("invalid_value", &target.place, message).at(path).help(
            "targets of priority 0 come first, those of 1 when these cannot carry all, and so on",
        );
    }
}

fn zone(text: &str, place: &Place, path: &str, report: &mut Report) {
    let is_fine = !text.is_empty()
        && text.len() <= ZONE_BYTES_MAX
        && text.chars().all(|c| c.is_ascii_graphic());
    if !is_fine {
        report
            .error(
                "invalid_name",
                place,
                format!("`{text}` cannot be the name of a zone or region"),
            )
            .at(path)
            .help("it has letters, digits and signs, and no spaces, such as `eu-west-1a`");
    }
}

fn sticky(name: &Placed<String>, sticky: &Placed<Sticky>, report: &mut Report) {
    let path = pointer(&["upstreams", name, "sticky"]);
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if sticky.cookie.is_empty() || !sticky.cookie.chars().all(is_token) {
        report
            .error(
                "invalid_name",
                &sticky.place,
                format!("`{}` cannot be the name of a cookie", sticky.cookie),
            )
            .at(path.clone())
            .help("write a word such as `yett_target` (RFC 6265, 4.1.1)");
    }
    let is_visible = |c: char| c.is_ascii_graphic() && c != ';' && c != ',';
    if !sticky.path.starts_with('/') || !sticky.path.chars().all(is_visible) {
        report
            .error(
                "invalid_value",
                &sticky.place,
                format!("`{}` cannot be the path of a cookie", sticky.path),
            )
            .at(path)
            .help("it begins with `/`, which alone stands for all paths");
    }
}
