//! Upstreams and their targets.

use super::{balance, pointer};
use crate::authority::{parse_authority, parse_host};
use crate::upstream::{Health, Target};
use crate::{Config, Upstream};
use base::{Endpoint, Placed, Report};
use std::collections::HashMap;

/// The sum of the weights of an upstream's targets.
const WEIGHT_SUM_MAX: u64 = 1_000;

pub(super) fn check(config: &Config, report: &mut Report) {
    for (name, upstream) in config.upstreams.iter() {
        targets(name, upstream, report);
        settings(name, upstream, report);
        balance::upstream(name, upstream, report);
        super::trouble::check(name, upstream, report);
        if let Some(health) = &upstream.health {
            self::health(health, &pointer(&["upstreams", name, "health"]), report);
        }
    }
}

fn targets(name: &Placed<String>, upstream: &Upstream, report: &mut Report) {
    let mut seen = HashMap::new();
    for (index, target) in upstream.targets.iter().enumerate() {
        let path = pointer(&["upstreams", name, "targets", &index.to_string()]);
        if let Some(address) = address(target, &path, report)
            && let Some(first) = seen.insert(address, &target.place)
        {
            let message = format!("the target `{}` appears twice", target.address);
            report
                .error("duplicate_target", &target.place, message)
                .at(path)
                .help(format!("it is already listed at {first}; give it a `weight` to get more"));
        }
    }
    let weights: u64 = upstream.targets.iter().map(|target| u64::from(target.weight)).sum();
    if weights == 0 && !upstream.targets.is_empty() {
        report
            .error(
                "invalid_weight",
                &name.place,
                format!("all targets of `{}` have weight 0", name.value),
            )
            .help("give at least one target a weight above 0");
    }
    if weights > WEIGHT_SUM_MAX {
        let message = format!(
            "the weights of `{}` sum up to {weights}, but {WEIGHT_SUM_MAX} is the most",
            name.value
        );
        report
            .error("invalid_weight", &name.place, message)
            .help("only their ratio matters: divide all of them by the same number");
    }
}

/// The address in one spelling, where it is known without secrets.
fn address(target: &Placed<Target>, path: &str, report: &mut Report) -> Option<String> {
    let written = target.address.to_string();
    if target.address.has_reference() {
        return None;
    }
    if target.is_service {
        return service(target, &written, path, report);
    }
    if let Some(unix) = Endpoint::unix(&written) {
        return match unix {
            Ok(path) => Some(Endpoint::Unix(path).to_string()),
            Err(why) => {
                report.error("invalid_address", &target.place, why).at(path).help(
                    "write an absolute path that is not too long, such as `unix:/run/app.sock`",
                );
                None
            }
        };
    }
    match parse_authority(&written) {
        Ok(authority) => Some(authority.to_string()),
        Err(message) => {
            let help = if written.starts_with("https://") {
                "add the port, and `tls: true` to the upstream"
            } else {
                "a target is a host and a port, such as `10.0.0.1:8080` or `orders:8080`, or the path of a Unix socket, such as `unix:/run/app.sock`"
            };
            report.error("invalid_address", &target.place, message).at(path).help(help);
            None
        }
    }
}

/// The name of a service in one spelling.
fn service(
    target: &Placed<Target>,
    written: &str,
    path: &str,
    report: &mut Report,
) -> Option<String> {
    let name = written.trim_end_matches('.').to_lowercase();
    let mut labels = name.splitn(3, '.');
    let marked = |label: Option<&str>| label.is_some_and(|l| l.len() > 1 && l.starts_with('_'));
    let is_service = marked(labels.next()) && marked(labels.next());
    if is_service && labels.next().is_some_and(|domain| parse_host(domain).is_ok()) {
        return Some(name);
    }
    report
        .error(
            "invalid_address",
            &target.place,
            format!("`{written}` is not the name of a service"),
        )
        .at(path)
        .help("it is `_name._protocol.domain`, such as `_orders._tcp.example.com` (RFC 2782)");
    None
}

fn settings(name: &Placed<String>, upstream: &Upstream, report: &mut Report) {
    if let Some(host) = &upstream.host
        && !matches!(host.as_str(), "preserve" | "target")
        && let (Err(message), Err(_)) = (parse_host(host), parse_authority(host))
    {
        report
            .error("invalid_host", &host.place, message)
            .at(pointer(&["upstreams", name, "host"]))
            .help("write `preserve`, `target` or a host name");
    }
    let Some(tls) = &upstream.tls else { return };
    if let Some(server_name) = &tls.server_name
        && let Err(message) = parse_host(server_name)
    {
        report
            .error("invalid_host", &server_name.place, message)
            .at(pointer(&["upstreams", name, "tls", "server_name"]))
            .help("write the name that is in the certificate of the targets");
    }
    if let Some(ca) = tls.ca.as_ref().filter(|ca| ca.is_empty()) {
        report
            .error("invalid_value", &ca.place, "`ca` has no file")
            .at(pointer(&["upstreams", name, "tls", "ca"]))
            .help(
                "write the name of a PEM file, or leave `ca` out to trust the system's authorities",
            );
    }
}

fn health(health: &Placed<Health>, path: &str, report: &mut Report) {
    let is_token = |c: char| c.is_ascii_uppercase() || c == '-';
    let is_visible = |c: char| c.is_ascii_graphic();
    let mut problem = |message: &str, help: &str| {
        report.error("invalid_health", &health.place, message).at(path).help(help);
    };
    if health.method.as_ref().is_some_and(|m| m.is_empty() || !m.chars().all(is_token)) {
        problem("the method of a health check is a word in capitals", "write `GET` or `HEAD`");
    }
    if health.path.as_ref().is_some_and(|p| !p.starts_with('/') || !p.chars().all(is_visible)) {
        problem(
            "the path of a health check begins with `/` and has no spaces",
            "write a path such as `/healthz`",
        );
    }
    match (health.tcp, &health.path, &health.method) {
        (false, None, _) => problem(
            "the health check asks nothing",
            "write `path: /healthz`, or `tcp: true` where the targets do not speak HTTP",
        ),
        (true, None, None) | (false, Some(_), _) => {}
        (true, ..) => problem(
            "a health check by `tcp` sends no request",
            "take `path` and `method` out, or `tcp`",
        ),
    }
    if health.every.is_zero() || health.timeout.is_zero() {
        problem("the times of a health check are above zero", "write a duration such as `5s`");
    } else if health.timeout > health.every {
        problem(
            "the timeout of a health check (2s unless said otherwise) is longer than its interval",
            "raise `every`, or lower `timeout`",
        );
    }
    if health.healthy_after == 0 || health.unhealthy_after == 0 {
        problem("a health check needs at least one answer to judge by", "write 1 or more");
    }
}
