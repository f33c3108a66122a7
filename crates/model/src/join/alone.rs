//! What a workspace may write at all.

use super::{
    Api, Config, PathPattern, WORKSPACE_APIS_MAX, WORKSPACE_PLANS_MAX, WORKSPACE_POLICIES_MAX,
    WORKSPACE_REGEXES_MAX, WORKSPACE_ROUTES_MAX, WORKSPACE_TARGETS_MAX, WORKSPACE_UPSTREAMS_MAX,
};
use base::secret::{Reference, Text};
use base::{Node, Report, Value};

/// The sections of a config that a workspace has.
const SECTIONS: [&str; 6] = ["version", "upstreams", "policies", "apis", "roles", "plans"];

/// Refuses what holds for the whole node.
pub(super) fn sections(tree: &Node, report: &mut Report) {
    let Value::Map(fields) = &tree.value else { return };
    for (key, _) in fields {
        let is_known = crate::config::FIELDS.contains(&key.value.as_str());
        if is_known && !SECTIONS.contains(&key.value.as_str()) {
            let help = match key.value.as_str() {
                "consumers" => {
                    "consumers and their credentials are kept beside configs: add them by the admin API"
                }
                "listeners" => "an API says on which of the platform's `listeners` it is served",
                _ => "ask those who run the platform",
            };
            let message = format!("`{}` is the platform's to say, not a workspace's", key.value);
            report
                .error("not_delegated", &key.place, message)
                .at(format!("/{}", key.value))
                .help(help);
        }
    }
}

/// Refuses references to what is on the machine.
pub(super) fn references(node: &Node, report: &mut Report) {
    match &node.value {
        Value::Text(text) => {
            // What is no reference at all is told when it is decoded.
            let Ok(text) = Text::parse(text) else { return };
            for reference in text.references().filter(|it| !matches!(it, Reference::Kept(_))) {
                let message =
                    format!("`{reference}` is on the machine, which a workspace does not read");
                report
                    .error("reads_host", &node.place, message)
                    .help("keep it as a secret of the workspace, and write `${secret:NAME}`");
            }
        }
        Value::List(items) => items.iter().for_each(|item| references(item, report)),
        Value::Map(fields) => fields.iter().for_each(|(_, value)| references(value, report)),
        _ => {}
    }
}

/// Refuses more of anything than a workspace may have.
pub(super) fn caps(config: &Config, report: &mut Report) {
    let apis = || config.apis.iter().map(|(_, api)| api);
    let policies = |api: &Api| {
        let of_routes = api.routes.iter().map(|route| route.value.settings.policies.len());
        api.policies.len() + of_routes.sum::<usize>()
    };
    let is_regex = |pattern: &PathPattern| matches!(pattern, PathPattern::Regex(_));
    let regexes = apis().flat_map(|api| &api.routes).filter(|it| is_regex(&it.value.path.value));
    let targets = config.upstreams.iter().map(|(_, upstream)| upstream.targets.len());
    for (pointer, what, count, most) in [
        ("/apis", "APIs", config.apis.len(), WORKSPACE_APIS_MAX),
        ("/apis", "routes", apis().map(|api| api.routes.len()).sum(), WORKSPACE_ROUTES_MAX),
        ("/apis", "regular expressions as paths", regexes.count(), WORKSPACE_REGEXES_MAX),
        (
            "/policies",
            "policies",
            config.policies.len() + apis().map(policies).sum::<usize>(),
            WORKSPACE_POLICIES_MAX,
        ),
        ("/upstreams", "upstreams", config.upstreams.len(), WORKSPACE_UPSTREAMS_MAX),
        ("/upstreams", "targets", targets.sum(), WORKSPACE_TARGETS_MAX),
        ("/plans", "plans and roles", config.plans.len() + config.roles.len(), WORKSPACE_PLANS_MAX),
    ] {
        if count > most {
            let message = format!("the workspace has {count} {what}, but {most} are the most");
            report
                .error("too_many", &config.version.place, message)
                .at(pointer)
                .help("ask those who run the platform for a second workspace");
        }
    }
}
