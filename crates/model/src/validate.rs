//! What can be said about a config without knowing policies, and without input or output.

use crate::control::ControlPlane;
use crate::node::LogRotation;
use crate::{Config, Map};
use base::caps::LOG_FILE_BYTES_MIN;
use base::report::did_you_mean;
use base::units::Size;
use base::{Placed, Report, Text};

mod api;
mod balance;
mod conflict;
mod consumer;
mod lifecycle;
mod listener;
mod overload;
mod plan;
mod relay;
mod role;
mod route;
mod trouble;
mod upstream;

pub(crate) use api::host as host_pattern;
pub(crate) use conflict::check as conflicts;
pub use lifecycle::is_link;

/// The longest name in bytes.
const NAME_BYTES_MAX: usize = 63;

/// Checks a config and tells all problems to `report`.
pub fn validate(config: &Config, report: &mut Report) {
    names("a listener", &config.listeners, report);
    names("an upstream", &config.upstreams, report);
    names("an API", &config.apis, report);
    names("a store", &config.stores, report);
    names("a plan", &config.plans, report);
    names("a consumer", &config.consumers, report);
    node(config, report);
    listener::check(config, report);
    overload::check(config, report);
    balance::check(config, report);
    upstream::check(config, report);
    api::check(config, report);
    conflict::check(config, report);
    role::check(config, report);
    consumer::check(config, report);
    plan::check(config, report);
}

/// Whether something may be called that.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let is_plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_' || c == b'-';
    name.len() <= NAME_BYTES_MAX
        && name.bytes().all(is_plain)
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
}

/// Names end up in metrics, logs and addresses of the admin API, so they are kept simple.
fn names<T>(what: &str, map: &Map<T>, report: &mut Report) {
    for (name, _) in map.iter() {
        if !is_name(name) {
            let message = format!("`{}` cannot be the name of {what}", name.value);
            report.error("invalid_name", &name.place, message).help(format!(
                "a name has up to {NAME_BYTES_MAX} lower-case letters, digits, `-` and `_`, and begins \
                 with a letter or digit"
            ));
        }
    }
}

/// How the program itself runs.
fn node(config: &Config, report: &mut Report) {
    if let Some(workers) = config.workers.as_ref().filter(|workers| workers.value == 0) {
        report
            .error("invalid_value", &workers.place, "at least one worker is needed")
            .at("/workers")
            .help("leave `workers` out for one per core");
    }
    control(config, report);
    if let Some(to) = config.access_log.to.as_ref().filter(|to| to.trim().is_empty()) {
        report
            .error("invalid_value", &to.place, "the access log has no destination")
            .at("/access_log/to")
            .help("write `stdout`, `stderr`, `off` or the name of a file");
    }
    if let Some(rotate) = &config.access_log.rotate {
        rotation(rotate, config, report);
    }
}

/// The control plane needs a place for its database.
fn control(config: &Config, report: &mut Report) {
    let Some(control) = config.control.as_ref().filter(|control| !control.off) else { return };
    if config.state_dir.is_none() && control.database.is_none() {
        report
            .error("missing_field", &control.place, "the control plane has no place for its database")
            .at("/control")
            .help("name a folder, `state_dir: /var/lib/yett`, or a PostgreSQL: `control: { database: \"postgres://…\" }`");
    }
    control_address(control, report);
    let is_wrong = |database: &&Placed<Text>| {
        let text = database.value.to_string();
        let names_other = |scheme: &str| !matches!(scheme, "postgres" | "postgresql");
        !text.starts_with("${")
            && text.split_once("://").is_none_or(|(scheme, _)| names_other(scheme))
    };
    if let Some(database) = control.database.as_ref().filter(is_wrong) {
        report
            .error("invalid_value", &database.place, "this is no address of a PostgreSQL")
            .at("/control/database")
            .help("write `postgres://user:${env:PASSWORD}@host/name`, or leave it out for a file in `state_dir`");
    }
}

/// Logins pass no network in plain without a reason.
fn control_address(control: &ControlPlane, report: &mut Report) {
    let address = control.bind.as_ref().and_then(|bind| {
        Some((bind, bind.value.to_string().parse::<std::net::SocketAddr>().ok()?))
    });
    if let (Some((bind, _)), true) =
        (address.filter(|(_, it)| !it.ip().is_loopback()), control.is_in_plain())
    {
        report
            .error(
                "in_plain",
                &bind.place,
                "others than this machine would send passwords and tokens to this address in plain",
            )
            .at("/control/bind")
            .help("give it a certificate, `tls: { cert: admin.pem, key: admin.key }`; or say who ends TLS, `plain: \"the load balancer ends TLS\"`; or bind it to 127.0.0.1");
    }
    for host in &control.hosts {
        let is_name = !host.value.is_empty()
            && host.value.len() <= 253
            && host.value.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.'));
        if !is_name {
            report
                .error(
                    "invalid_value",
                    &host.place,
                    format!("`{}` is no name of a host", host.value),
                )
                .at("/control/hosts")
                .help("write it without scheme and port, such as `yett.example.com`");
        }
    }
}

/// Only a file of our own can be moved away.
fn rotation(rotate: &LogRotation, config: &Config, report: &mut Report) {
    let to = config.access_log.to.as_ref().map_or("stdout", |to| to.value.as_str());
    if matches!(to, "stdout" | "stderr" | "off") {
        report
            .error("invalid_value", &rotate.size.place, format!("`{to}` cannot be moved away"))
            .at("/access_log/rotate")
            .help("name a file: `to: /var/log/yett/access.log`, or leave `rotate` out");
    }
    if rotate.size.value.0 < LOG_FILE_BYTES_MIN {
        let message = format!("`{}` is too little for a file", rotate.size.value);
        report
            .error("invalid_value", &rotate.size.place, message)
            .at("/access_log/rotate/size")
            .help(format!("allow at least {}", Size(LOG_FILE_BYTES_MIN)));
    }
}

/// Says that a name is not in the map of those that `what` calls.
fn unknown<T>(what: &str, name: &Placed<String>, known: &Map<T>, report: &mut Report) {
    let help = match did_you_mean(name, known.names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => format!("define it under `{what}s:`"),
        None => format!("known here: {}", known.names().take(10).collect::<Vec<_>>().join(", ")),
    };
    report
        .error("unknown_name", &name.place, format!("there is no {what} `{}`", name.value))
        .help(help);
}

/// A path into the document (RFC 6901).
fn pointer(parts: &[&str]) -> String {
    parts.iter().map(|part| format!("/{}", part.replace('~', "~0").replace('/', "~1"))).collect()
}

/// Reasons are kept for those who review the config, so they must say something.
fn reason(what: &str, place: &base::Place, text: &str, report: &mut Report) {
    if text.trim().is_empty() {
        report
            .error("missing_reason", place, format!("{what} needs a reason"))
            .help("say in a few words why, for those who review the config");
    }
}
