//! The plans of a config, ready to hold consumers to them.

use crate::inputs::Inputs;
use base::{Node, Placed, Report, Value};
use model::plan::{Per, Priority};
use model::{Config, PolicyConfig};
use policy::plan::{Each, PlanSpec, Plans};
use std::sync::Arc;
use traffic::plan;

/// Compiles all plans. With a broken one there are none: what consumers were sold is then unknown, and requests of
/// those who have a plan are answered 503.
pub(crate) fn compile(config: &Config, inputs: Inputs<'_>, report: &mut Report) -> Arc<Plans> {
    let specs: Vec<PlanSpec> = config
        .plans
        .iter()
        .map(|(name, plan)| PlanSpec {
            name: Arc::from(name.value.as_str()),
            priority: match plan.priority {
                Priority::Low => plan::Priority::Low,
                Priority::Normal => plan::Priority::Normal,
                Priority::High => plan::Priority::High,
            },
            limits: plan.limit.as_ref().map(|limits| limits.value.0.clone()).unwrap_or_default(),
            each: match plan.per {
                Per::Application => Each::Application,
                Per::Consumer => Each::Consumer,
            },
            is_default: plan.default,
        })
        .collect();
    let plans = Plans::new(&specs, inputs.state, inputs.clock).unwrap_or_else(|(index, why)| {
        if let Some((name, plan)) = config.plans.iter().nth(index) {
            let place = plan.limit.as_ref().map_or(&name.place, |limit| &limit.place);
            report.error("invalid_value", place, why).at(format!("/plans/{}/limit", name.value));
        }
        Plans::default()
    });
    Arc::new(plans)
}

/// The policies of the gateway with the one that holds consumers to their plans, if there are any.
pub(crate) fn with_policy(config: &Config) -> Vec<PolicyConfig> {
    let mut policies = config.policies.clone();
    let is_there = policies.iter().any(|policy| policy.kind.value == "plan");
    if let Some((first, _)) = config.plans.iter().next().filter(|_| !is_there) {
        policies.push(PolicyConfig {
            kind: Placed { value: "plan".to_owned(), place: first.place.clone() },
            id: None,
            settings: Node { value: Value::Map(Vec::new()), place: first.place.clone() },
        });
    }
    policies
}
