//! What callers may do, and whom the config names: for the policies that ask.

use base::Report;
use base::report::did_you_mean;
use http::Method;
use model::Config;
use model::api::ApiState;
use model::join::of;
use model::role::{EVERY_API, Grant};
use policy::access::{Access, Roles};
use std::collections::BTreeSet;
use std::sync::Arc;
use traffic::snapshot::Route;

/// The roles of a workspace, or of the platform, and the names of its consumers and groups.
pub(crate) fn compile(config: &Config, workspace: Option<&str>) -> Access {
    let roles = of(&config.roles, workspace).map(|(name, role)| {
        let grants = role.iter().map(|(api, grant)| self::grant(api, grant)).collect();
        (name.into(), grants)
    });
    let consumers = || of(&config.consumers, workspace);
    Access {
        roles: Roles::new(roles),
        consumers: consumers().map(|(name, _)| name.to_owned()).collect(),
        groups: consumers().flat_map(|(_, it)| it.groups.iter().cloned()).collect(),
    }
}

fn grant(api: &str, written: &Grant) -> policy::access::Grant {
    // What cannot be a method was refused when it was read.
    let methods =
        written.methods.iter().filter_map(|name| Method::from_bytes(name.as_bytes()).ok());
    policy::access::Grant {
        api: (api != EVERY_API).then(|| api.into()),
        permissions: written.permissions.iter().map(|it| it.value.as_str().into()).collect(),
        methods: methods.collect(),
        routes: written.routes.iter().map(|it| it.value.as_str().into()).collect(),
    }
}

/// Routes that roles name must be there: one that is misspelt permits nothing, and is one day a route that was never
/// meant.
pub(crate) fn check(config: &Config, routes: &[Arc<Route>], report: &mut Report) {
    for (_, role) in config.roles.iter() {
        for (api, grant) in role.iter() {
            let of_api = routes.iter().filter(|route| *route.api == *api.value);
            let known: BTreeSet<&str> = of_api.map(|route| &*route.name).collect();
            // An unknown API was told by the model.
            let is_served = config.apis.get(api).is_some_and(|api| api.state != ApiState::Draft);
            for name in grant.routes.iter().filter(|_| is_served) {
                if known.contains(name.as_str()) {
                    continue;
                }
                let help = match did_you_mean(name, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => {
                        let some: Vec<&str> = known.iter().take(10).copied().collect();
                        format!(
                            "a route is named as it is written, or by its `name`; known here: {}",
                            some.join(", ")
                        )
                    }
                };
                let message = format!("`{}` has no route `{}`", api.value, name.value);
                report.error("unknown_name", &name.place, message).help(help);
            }
        }
    }
}
