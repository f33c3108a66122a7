//! The plans of a config, ready to hold consumers to them.

use crate::inputs::Inputs;
use base::{Node, Placed, Report, Value};
use model::consumer::Consumer;
use model::join::{of, split};
use model::plan::{Per, Priority};
use model::{Config, PolicyConfig};
use policy::plan::{ClaimSpec, Each, Excess, PlanSpec, Plans};
use policy::store::{OnFailure, Stores};
use std::sync::Arc;
use traffic::plan;
use traffic::snapshot::Route;

/// The lowest priority that anybody has by a plan, or without one.
pub(crate) fn lowest(config: &Config) -> plan::Priority {
    let of_plans = config.plans.iter().map(|(_, plan)| priority(plan.priority));
    of_plans.fold(plan::Priority::Normal, plan::Priority::min)
}

const fn priority(written: Priority) -> plan::Priority {
    match written {
        Priority::Low => plan::Priority::Low,
        Priority::Normal => plan::Priority::Normal,
        Priority::High => plan::Priority::High,
    }
}

/// The plans of a workspace, or of the platform, as they were written.
pub(crate) fn specs(config: &Config, workspace: Option<&str>, stores: &Stores) -> Vec<PlanSpec> {
    of(&config.plans, workspace)
        .map(|(name, plan)| PlanSpec {
            name: Arc::from(name),
            priority: priority(plan.priority),
            limits: plan.limit.as_ref().map(|limits| limits.value.0.clone()).unwrap_or_default(),
            quotas: plan.quota.as_ref().map(|quotas| quotas.value.0.clone()).unwrap_or_default(),
            store: plan.store.as_ref().and_then(|name| {
                let on_failure = plan.on_store_failure.as_ref();
                let how = on_failure.map_or(OnFailure::Local, |how| (&how.value).into());
                Some((Arc::clone(stores.0.get(&name.value)?.as_ref()?), how))
            }),
            each: match plan.per {
                Per::Application => Each::Application,
                Per::Consumer => Each::Consumer,
            },
            excess: Excess {
                dry_run: plan.dry_run,
                count_refused: plan.count_refused,
                headers: plan.headers,
            },
            claim: plan.claim.as_ref().map(|claim| ClaimSpec {
                claim: claim.value.name.clone(),
                values: claim.value.values.clone(),
                issuer: claim.value.issuer.clone(),
            }),
            is_default: plan.default,
        })
        .collect()
}

/// Compiles all plans. With a broken one there are none: what consumers were sold is then unknown, and requests of
/// those who have a plan are answered 503.
pub(crate) fn compile(
    config: &Config,
    workspace: Option<&str>,
    inputs: Inputs<'_>,
    report: &mut Report,
) -> Arc<Plans> {
    if workspace.is_none() {
        doubts(config, report);
    }
    let none = Arc::default();
    let stores = inputs.stores.unwrap_or(&none);
    // One whose store is missing must not count alone in silence.
    let is_stored = |plan: &model::Plan| {
        let store = plan.store.as_ref();
        store.is_none_or(|name| matches!(stores.0.get(&name.value), Some(Some(_))))
    };
    if !of(&config.plans, workspace).all(|(_, plan)| is_stored(plan)) {
        return Arc::default();
    }
    let specs = specs(config, workspace, stores);
    let plans = Plans::new(&specs, inputs.state, inputs.clock, inputs.metrics);
    let plans = plans.unwrap_or_else(|(index, field, why)| {
        if let Some((name, plan)) = of(&config.plans, workspace).nth(index) {
            let of_limit = plan.limit.as_ref().map(|limit| &limit.place);
            let of_quota = plan.quota.as_ref().map(|quota| &quota.place);
            let place = if field == "quota" { of_quota } else { of_limit };
            // A plan without either cannot be wrong in this.
            let Some(place) = place else { return Plans::default() };
            report.error("invalid_value", place, why).at(format!("/plans/{name}/{field}"));
        }
        Plans::default()
    });
    Arc::new(plans)
}

/// Warns of quotas and keys that a restart forgets, and of quotas that are never used up.
fn doubts(config: &Config, report: &mut Report) {
    idle(config, report);
    for (_, plan) in config.plans.iter() {
        if let Some(quotas) = &plan.quota
            && let Some(doubt) = quotas.value.doubt()
        {
            report.warning("doubtful_value", &quotas.place, doubt);
        }
    }
    unplanned(config, report);
    if config.state_dir.is_some() {
        return;
    }
    let of_plans = config.plans.iter().find_map(|(_, plan)| plan.quota.as_ref());
    let of_policies = policies(config).find(|policy| policy.kind.value == "quota");
    let place = of_plans.map(|quotas| &quotas.place);
    if let Some(place) = place.or_else(|| of_policies.map(|policy| &policy.kind.place)) {
        report
            .warning("unkept_quota", place, "a restart forgets what was used of quotas")
            .help("name a folder for it at the top of the config: `state_dir: /var/lib/yett`");
    }
    let makes_keys = |policy: &&PolicyConfig| {
        policy.kind.value == "internal_jwt" && policy.settings.field("key").is_none()
    };
    if let Some(policy) = policies(config).find(makes_keys) {
        let message = "a restart forgets the keys that the gateway makes for itself: backends refuse its tokens until they have asked for the new ones";
        report.warning("unkept_keys", &policy.kind.place, message).help(
            "name a folder for them at the top of the config: `state_dir: /var/lib/yett`, or give a `key`",
        );
    }
}

/// Warns of limits of plans that never have their turn.
fn idle(config: &Config, report: &mut Report) {
    for (name, plan) in config.plans.iter() {
        let Some(limits) = &plan.limit else { continue };
        let Some((idle, other)) = limits.value.idle() else { continue };
        let message = format!(
            "`{}` of the plan `{}` never has its turn beside `{}`",
            idle.rate, name.value, other.rate
        );
        report.warning("idle_limit", &limits.place, message).help("leave it out");
    }
}

/// Whether somebody may have no plan where others do.
fn has_no_default(config: &Config) -> bool {
    let mut plans = config.plans.iter();
    plans.next().is_some() && !config.plans.iter().any(|(_, plan)| plan.default)
}

const PLAN_HELP: &str =
    "make one of the `plans` the default (`default: true`), which may be one without a limit";

/// Warns of consumers whom nothing limits where others have a plan: once, for there may be many.
fn unplanned(config: &Config, report: &mut Report) {
    if !has_no_default(config) {
        return;
    }
    let lacks = |consumer: &Consumer| {
        let mut applications = consumer.applications.iter();
        let has_own = consumer.credentials().next().is_some_and(|own| !own.is_empty());
        consumer.plan.is_none()
            && (has_own
                || consumer.applications.is_empty()
                || applications.any(|(_, application)| application.plan.is_none()))
    };
    let mut lacking = config.consumers.iter().filter(|(_, consumer)| lacks(consumer));
    let Some((first, _)) = lacking.next() else { return };
    let message = match lacking.count() {
        0 => format!("`{}` has no plan, and none is the default: no plan limits it", first.value),
        others => format!(
            "`{}` and {others} more have no plan, and none is the default: no plan limits them",
            first.value
        ),
    };
    report.warning("no_plan", &first.place, message).help(PLAN_HELP);
}

/// Warns of a policy that lets in whom the config does not know, and whom nothing limits therefore where consumers
/// have plans: once.
pub(crate) fn unplanned_strangers<'a>(
    config: &Config,
    routes: impl Iterator<Item = &'a Arc<Route>>,
    report: &mut Report,
) {
    if !has_no_default(config) {
        return;
    }
    for route in routes {
        let entries = route.chain.entries();
        let lets_in = entries.iter().find(|entry| !entry.policy.facts().vouchers.is_empty());
        if let Some(entry) = lets_in.filter(|_| entries.iter().any(|entry| entry.kind == "plan")) {
            let message = "callers whom only this policy knows have no plan, and none is the default: no plan limits them";
            report.warning("no_plan", &entry.place, message).help(PLAN_HELP);
            return;
        }
    }
}

/// All policies that a config writes, wherever.
fn policies(config: &Config) -> impl Iterator<Item = &PolicyConfig> {
    let of_apis = config.apis.iter().flat_map(|(_, api)| {
        api.policies
            .iter()
            .chain(api.routes.iter().flat_map(|route| &route.value.settings.policies))
    });
    config.policies.iter().chain(of_apis)
}

/// The policies of the gateway with the one that holds consumers to their plans, if there are any.
pub(crate) fn with_policy(config: &Config, workspace: Option<&str>) -> Vec<PolicyConfig> {
    let mut policies = config.policies.clone();
    let is_there = policies.iter().any(|policy| policy.kind.value == "plan");
    let mut plans = config.plans.iter().filter(|(name, _)| split(&name.value).0 == workspace);
    if let Some((first, _)) = plans.next().filter(|_| !is_there) {
        policies.push(PolicyConfig {
            kind: Placed { value: "plan".to_owned(), place: first.place.clone() },
            id: None,
            settings: Node { value: Value::Map(Vec::new()), place: first.place.clone() },
        });
    }
    policies
}
