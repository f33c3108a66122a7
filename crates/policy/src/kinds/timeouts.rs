//! Time limits of the exchange, in place of the upstream's. Where several apply, the one that was
//! added last, closest to the route, decides each limit.

use crate::kind::{BuildCtx, Group, Kind};
use crate::written::{Short, Written};
use base::units::Period;
use base::{Node, Report, decode};
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;
use traffic::exchange::Slot;
use traffic::policy::Phases;
use traffic::upstream::Timeouts;
use traffic::{Exchange, Flow, Outcome, Policy};

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "timeouts",
    group: Group::Steer,
    phases: Phases { request: true, forward: false, reply: false, record: false },
    answers: false,
    about: "Limits how long an exchange and its parts may take, in place of the upstream's limits.",
    example: "timeouts: { first_byte: 5s, total: 30s }",
    resets: "it has no state",
    schema: <Written<Settings> as JsonSchema>::json_schema,
    build,
};

/// Settings of `timeouts`; short: `total` alone. What is not set stays as the upstream has it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Settings {
    /// Establishing a connection to the backend, TLS included.
    pub connect: Option<Period>,
    /// From the request's last byte to the answer's first.
    pub first_byte: Option<Period>,
    /// Between two pieces of a body, in either direction.
    pub idle: Option<Period>,
    /// The whole exchange.
    pub total: Option<Period>,
}

impl Short for Settings {
    const EXPECTING: &'static str =
        "a duration such as `30s`, or `{ connect, first_byte, idle, total }`";
    const SAMPLE: &'static str = "30s";

    fn short(text: &str) -> Result<Self, String> {
        let total = Some(Period::parse(text)?);
        Ok(Self { connect: None, first_byte: None, idle: None, total })
    }
}

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    let Written(settings) = decode::<Written<Settings>>(node, ctx.path, report)?;
    let limits = [
        ("/connect", settings.connect),
        ("/first_byte", settings.first_byte),
        ("/idle", settings.idle),
        ("/total", settings.total),
    ];
    let mut is_usable = true;
    for (field, _) in limits.iter().filter(|(_, limit)| limit.is_some_and(|p| p.0.is_zero())) {
        ctx.error(report, node, field, "a time limit of zero would fail every request");
        is_usable = false;
    }
    if limits.iter().all(|(_, limit)| limit.is_none()) {
        ctx.warning(report, node, "", "this `timeouts` limits nothing").help(
            "set at least one of `connect`, `first_byte`, `idle` and `total`, or leave it out",
        );
    }
    let period = |limit: Option<Period>| limit.map(|period| period.0);
    let timeouts = Timeouts {
        connect: period(settings.connect),
        first_byte: period(settings.first_byte),
        idle: period(settings.idle),
        total: period(settings.total),
    };
    is_usable.then(|| Arc::new(SetTimeouts(timeouts)) as Arc<dyn Policy>)
}

struct SetTimeouts(Timeouts);

impl Policy for SetTimeouts {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, _: Slot) -> Outcome<'a, Flow> {
        exchange.timeouts = self.0.or(exchange.timeouts);
        Outcome::Now(Ok(Flow::Continue))
    }
}

#[cfg(test)]
mod tests {
    use super::KIND;
    use crate::fixture;
    use serde_json::json;
    use std::time::Duration;

    #[test]
    fn later_limits_override_earlier_ones_field_by_field() {
        let mut exchange = fixture::exchange("GET /");
        for settings in [json!({ "connect": "1s", "total": "60s" }), json!("30s")] {
            assert_eq!(fixture::built(&KIND, &settings).request(&mut exchange), "continue");
        }
        assert_eq!(exchange.timeouts.connect, Some(Duration::from_secs(1)));
        assert_eq!(exchange.timeouts.total, Some(Duration::from_secs(30)));
        assert_eq!(exchange.timeouts.idle, None);
    }

    #[test]
    fn a_limit_of_zero_is_refused() {
        fixture::refuses(&KIND, &json!("0s"), "would fail every request");
        fixture::refuses(&KIND, &json!({ "idle": "0s" }), "would fail every request");
        fixture::refuses(&KIND, &json!("30"), "is not a duration");
    }
}
