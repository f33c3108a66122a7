//! Plans, and who has them.

use crate::Config;
use base::report::did_you_mean;
use base::{Placed, Report};

pub(super) fn check(config: &Config, report: &mut Report) {
    let mut defaults = config.plans.iter().filter(|(_, plan)| plan.default);
    if let (Some((first, _)), Some((second, _))) = (defaults.next(), defaults.next()) {
        let message = format!("both `{}` and `{}` are the default plan", first.value, second.value);
        report.error("ambiguous_plan", &second.place, message).help(format!(
            "consumers without a plan have one; leave `default` out here or in {}",
            first.place
        ));
    }
    for (_, plan) in config.plans.iter() {
        match (&plan.store, &plan.on_store_failure) {
            (Some(store), _) if config.stores.get(&store.value).is_none() => {
                super::unknown("store", store, &config.stores, report);
            }
            (None, Some(on_failure)) => {
                let message = "without a `store` this plan is counted here, and no store can fail";
                report.error("invalid_value", &on_failure.place, message);
            }
            _ => {}
        }
    }
    for (_, consumer) in config.consumers.iter() {
        let of_applications = consumer.applications.iter().map(|(_, it)| it.plan.as_ref());
        for plan in of_applications.chain([consumer.plan.as_ref()]).flatten() {
            known(plan, config, report);
        }
    }
}

fn known(plan: &Placed<String>, config: &Config, report: &mut Report) {
    if config.plans.get(&plan.value).is_some() {
        return;
    }
    let help = match did_you_mean(&plan.value, config.plans.names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if config.plans.is_empty() => "define it under `plans:`".to_owned(),
        None => {
            let names: Vec<&str> = config.plans.names().take(10).collect();
            format!("known here: {}", names.join(", "))
        }
    };
    report
        .error("unknown_plan", &plan.place, format!("there is no plan `{}`", plan.value))
        .help(help);
}
