//! Refuses requests for which an expression holds: `allow` the other way round.

use super::allow::{Settings, build_rule};
use crate::kind::{BuildCtx, Group, Kind};
use crate::written::Written;
use base::{Node, Report};
use schemars::JsonSchema;
use std::sync::Arc;
use traffic::Policy;
use traffic::policy::Phases;

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "deny",
    group: Group::Access,
    phases: Phases { request: true, forward: false, reply: false, record: false },
    answers: false,
    about: "Refuses requests for which an expression holds with 403, and lets all others pass. Where \
            several apply, none may hold. An expression that cannot be evaluated refuses.",
    example: "deny: { when: 'request.path.startsWith(\"/internal/\")', reason: internal only }",
    resets: "it has no state",
    schema: <Written<Settings> as JsonSchema>::json_schema,
    build,
};

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    build_rule((node, true), ctx, report)
}
