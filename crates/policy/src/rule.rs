//! Rules that send requests to an upstream: the first whose condition holds decides.

use crate::expression::Expression;
use crate::kind::BuildCtx;
use base::{Node, Report};
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;
use traffic::Exchange;
use traffic::upstream::{Destination, Upstream};

/// A condition and where the requests go for which it holds.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct WrittenRule {
    /// An expression (CEL) over `request`, `consumer`, `claims`, `client` and `tls`. One that has no answer,
    /// as when a header it compares is absent, does not hold.
    pub when: String,
    /// The upstream.
    pub to: String,
}

/// A rule that was checked.
pub(crate) struct Rule {
    when: Expression,
    pub(crate) to: Arc<dyn Upstream>,
}

/// Checks the rules of the list at `below`; problems go to the report.
pub(crate) fn build(
    written: &[WrittenRule],
    (node, below): (&Node, &str),
    ctx: &BuildCtx<'_>,
    report: &mut Report,
) -> Vec<Rule> {
    let mut rules = Vec::with_capacity(written.len());
    for (index, rule) in written.iter().enumerate() {
        let at = |field: &str| format!("{below}/{index}/{field}");
        let rule =
            self::rule((&rule.when, &rule.to), (node, [&at("when"), &at("to")]), ctx, report);
        rules.extend(rule);
    }
    rules
}

/// Checks one rule whose condition and upstream stand at two places.
pub(crate) fn rule(
    (when, to): (&str, &str),
    (node, [when_at, to_at]): (&Node, [&str; 2]),
    ctx: &BuildCtx<'_>,
    report: &mut Report,
) -> Option<Rule> {
    let when = Expression::compile(when, ctx.scope()).map_err(|message| {
        ctx.error(report, node, when_at, message);
    });
    let to = ctx.upstream(report, node, to_at, to);
    Some(Rule { when: when.ok()?, to: to? })
}

/// Where the first rule that holds sends a request.
pub(crate) fn first<'r>(rules: &'r [Rule], exchange: &Exchange) -> Option<&'r Arc<dyn Upstream>> {
    rules.iter().find(|rule| rule.when.eval_bool(exchange).unwrap_or(false)).map(|rule| &rule.to)
}

/// What rules say to those who read a config.
pub(crate) fn destinations(rules: &[Rule]) -> impl Iterator<Item = Destination> {
    rules.iter().map(|rule| Destination {
        upstream: Arc::clone(&rule.to),
        which: format!("when {:?}", rule.when),
    })
}
