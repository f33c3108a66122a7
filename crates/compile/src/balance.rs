//! How targets are chosen.

use crate::inputs::{Inputs, SecretsAt};
use base::{Placed, Report, Secret, Text};
use model::Config;
use model::balance::{Balance, parse_name_server};
use policy::by::By;
use std::sync::Arc;
use upstream::{ChoiceSpec, HashSpec, Locality, StickySpec};

/// How much more than its fair share a target may have under way before keys go elsewhere, in percent: little
/// enough that a popular key overruns nobody, and enough that keys stay while load is even.
const LOAD_MAX_PERCENT: u32 = 125;

/// The way in which a target is chosen.
pub(crate) fn balance(
    name: &Placed<String>,
    written: &model::Upstream,
    inputs: Inputs<'_>,
    report: &mut Report,
) -> Option<upstream::Balance> {
    let Some(balance) = &written.balance else { return Some(upstream::Balance::RoundRobin) };
    let key = match &balance.value {
        Balance::RoundRobin => return Some(upstream::Balance::RoundRobin),
        Balance::LeastRequest => return Some(upstream::Balance::LeastRequest),
        Balance::PeakEwma => return Some(upstream::Balance::PeakEwma),
        Balance::Random => return Some(upstream::Balance::Random),
        Balance::Hash(key) => key,
    };
    // An upstream belongs to many routes, so that parameters of their paths are not known here.
    match By::parse(key, policy::expression::Scope { params: &[], geo: inputs.geo }) {
        Ok(by) => {
            let key = Arc::new(move |exchange: &traffic::Exchange| by.hash(exchange));
            Some(upstream::Balance::Hash(HashSpec { key, load_max_percent: LOAD_MAX_PERCENT }))
        }
        Err(message) => {
            report
                .error("bad_balance", &balance.place, message)
                .at(format!("/upstreams/{}/balance/hash", name.value));
            None
        }
    }
}

/// What decides about the targets of all upstreams: where the gateway runs, and who is asked for names.
pub(crate) fn common(
    config: &Config,
    inputs: Inputs<'_>,
    report: &mut Report,
) -> Option<ChoiceSpec> {
    let servers = config.dns.servers.iter();
    Some(ChoiceSpec {
        here: here(config, inputs, report)?,
        // What is wrong with one was reported by the model.
        name_servers: servers.filter_map(|server| parse_name_server(server).ok()).collect(),
        ..ChoiceSpec::default()
    })
}

/// What decides about the targets of one.
pub(crate) fn choice(
    name: &Placed<String>,
    written: &model::Upstream,
    common: &ChoiceSpec,
    inputs: Inputs<'_>,
    report: &mut Report,
) -> Option<ChoiceSpec> {
    let sticky = match &written.sticky {
        None => None,
        Some(sticky) => {
            let secret = match &sticky.secret {
                // Better than the address itself, and the same on all gateways.
                None => Secret::new(format!("upstream {}", name.value)),
                Some(secret) => resolve(secret, &sticky.place, inputs, report)?,
            };
            Some(StickySpec {
                cookie: sticky.cookie.clone(),
                ttl: sticky.ttl.map(|ttl| ttl.0),
                path: sticky.path.clone(),
                secret,
            })
        }
    };
    Some(ChoiceSpec {
        sticky,
        slow_start: written.slow_start.map(|period| period.0),
        panic_threshold: written.panic_threshold,
        ..common.clone()
    })
}

/// Where the gateway runs.
fn here(config: &Config, inputs: Inputs<'_>, report: &mut Report) -> Option<Locality> {
    let mut name = |text: &Option<Placed<Text>>| match text {
        None => Some(None),
        Some(text) => {
            let name = resolve(&text.value, &text.place, inputs, report)?;
            // A variable that is set to nothing says that nobody knows.
            Some((!name.reveal().trim().is_empty()).then(|| Arc::from(name.reveal().trim())))
        }
    };
    let (zone, region) = (name(&config.gateway.zone), name(&config.gateway.region));
    Some(Locality { zone: zone?, region: region? })
}

fn resolve(
    text: &Text,
    place: &base::Place,
    inputs: Inputs<'_>,
    report: &mut Report,
) -> Option<Secret> {
    let secrets = SecretsAt { outside: inputs.outside, place };
    let resolved = text.resolve(&secrets);
    if let Err(why) = &resolved {
        report.error("missing_secret", place, why.clone()).help(
            "the gateway reads it when the config is loaded; make sure that it is there by then",
        );
    }
    resolved.ok()
}
