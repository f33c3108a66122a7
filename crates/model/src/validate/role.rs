//! Roles, and who has them.

use super::{names, unknown};
use crate::Config;
use crate::role::{EVERY_API, Grant, READY_MADE};
use base::caps::ROLES_MAX;
use base::report::did_you_mean;
use base::{Placed, Report};
use std::collections::HashMap;

pub(super) fn check(config: &Config, report: &mut Report) {
    names("a role", &config.roles, report);
    if let Some((name, _)) = config.roles.iter().nth(ROLES_MAX) {
        let message = format!("there are {} roles; {ROLES_MAX} fit", config.roles.len());
        report
            .error("too_many_roles", &name.place, message)
            .help("roles with the same grants can be one");
    }
    for (_, role) in config.roles.iter() {
        for (api, grant) in role.iter() {
            if api.value != EVERY_API && config.apis.get(api).is_none() {
                unknown("api", api, &config.apis, report);
            }
            self::grant(api, grant, report);
        }
    }
    for (_, consumer) in config.consumers.iter() {
        held(&consumer.roles, config, report);
        for (_, application) in consumer.applications.iter() {
            held(application.roles.as_deref().unwrap_or_default(), config, report);
        }
    }
}

/// Roles that somebody has must be there.
fn held(roles: &[Placed<String>], config: &Config, report: &mut Report) {
    let mut seen = HashMap::new();
    for role in roles {
        if config.roles.get(role).is_none() {
            unknown("role", role, &config.roles, report);
        }
        if let Some(first) = seen.insert(role.as_str(), &role.place) {
            report
                .error("duplicate_name", &role.place, format!("`{}` appears twice", role.value))
                .help(format!("it is already listed at {first}"));
        }
    }
}

fn grant(api: &Placed<String>, grant: &Grant, report: &mut Report) {
    // Without any field it would permit everything, which is said as such.
    if grant.permissions.is_empty() && grant.methods.is_empty() && grant.routes.is_empty() {
        let message = format!("nothing is said about what is permitted of `{}`", api.value);
        report.error("missing_field", &api.place, message).help(
            "write permissions such as `read` or `[read, create]`, or `{ permissions, methods, routes }`; `admin` permits everything",
        );
    }
    for permission in &grant.permissions {
        if !is_permission(permission) {
            let message = format!("`{}` cannot be the name of a permission", permission.value);
            report.error("invalid_name", &permission.place, message).help(
                "a name has lower-case letters, digits, `-`, `_`, `.` and `:`; ready-made are `read`, `create`, `update`, `delete` and `admin`",
            );
        } else if !READY_MADE.contains(&permission.as_str())
            && let Some(near) = did_you_mean(permission, READY_MADE)
        {
            let message = format!("`{}` is a permission of one's own", permission.value);
            report
                .warning("unusual_permission", &permission.place, message)
                .help(format!("did you mean `{near}`?"));
        }
    }
    if let Some(route) = grant.routes.first().filter(|_| api.value == EVERY_API) {
        report
            .error("invalid_value", &route.place, "routes belong to one API, not to all of them")
            .help("name the API in place of `'*'`");
    }
}

/// Whether a permission can be called this.
fn is_permission(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.:".contains(c);
    (1..=super::NAME_BYTES_MAX).contains(&name.len())
        && name.chars().all(is_plain)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}
