//! Lets clients pass by the addresses they come from: networks in the config, and files of up to a million of them.
//! What is denied is denied whatever is allowed.

use crate::addresses::{Addresses, WrittenAddresses};
use crate::kind::{BuildCtx, Group, Kind};
use base::{Node, Report, decode};
use schemars::JsonSchema;
use serde::Deserialize;
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use traffic::exchange::Slot;
use traffic::policy::{Asked, Foreseen, Phases};
use traffic::{Exchange, Fault, FaultCode, Flow, Outcome, Policy, Stage};

#[cfg(test)]
mod tests;

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "ip",
    group: Group::Access,
    phases: Phases { request: true, forward: false, reply: false, record: false },
    answers: false,
    about: "Lets clients pass by their addresses, and refuses all others with 403. Networks stand in the config or in \
            files, which are read again when they change; one that turns bad leaves in force what it said before. The \
            address is that which trusted proxies tell. Where several apply, all must let the client pass.",
    example: "ip: { allow: [10.0.0.0/8, 2001:db8::/32], deny: 10.66.0.0/16 }",
    resets: "it has no state",
    schema: <Settings as JsonSchema>::json_schema,
    build,
};

/// Settings of `ip`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline, extend("minProperties" = 1))]
pub struct Settings {
    /// Who may pass; nobody else may. Without it everybody may who is not denied.
    allow: Option<WrittenAddresses>,
    /// Who may not, whatever is allowed.
    deny: Option<WrittenAddresses>,
    /// What a refused client is told.
    reason: Option<String>,
}

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    let settings = decode::<Settings>(node, ctx.path, report)?;
    if settings.allow.is_none() && settings.deny.is_none() {
        let message = "it refuses nobody: say who may pass (`allow`), or who may not (`deny`)";
        ctx.error(report, node, "", message);
        return None;
    }
    let allow = settings.allow.as_ref().map(|list| list.build((node, "/allow"), ctx, report));
    let deny = settings.deny.as_ref().map(|list| list.build((node, "/deny"), ctx, report));
    // Both are looked at before either ends it, so that all problems are told.
    let (allow, deny) = (optional(allow)?, optional(deny)?);
    if allow.as_ref().is_some_and(Addresses::is_empty) {
        ctx.warning(report, node, "/allow", "nobody is allowed: every request is refused");
    }
    Some(Arc::new(Ip { allow, deny, reason: settings.reason.map(Cow::Owned) }))
}

/// What is not there need not have been built.
#[expect(
    clippy::option_option,
    reason = "the outer is whether there is any, the inner whether it is good"
)]
fn optional<T>(built: Option<Option<T>>) -> Option<Option<T>> {
    built.map_or(Some(None), |built| built.map(Some))
}

struct Ip {
    allow: Option<Addresses>,
    deny: Option<Addresses>,
    reason: Option<Cow<'static, str>>,
}

impl Policy for Ip {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, _: Slot) -> Outcome<'a, Flow> {
        let client = exchange.client_ip();
        let is_denied = self.deny.as_ref().is_some_and(|deny| deny.hold(client));
        if !is_denied && self.allow.as_ref().is_none_or(|allow| allow.hold(client)) {
            return Outcome::Now(Ok(Flow::Continue));
        }
        let fault = Fault::new(Stage::Guard, FaultCode::AddressRefused).cause(self.told(client));
        Outcome::Now(Err(match &self.reason {
            Some(reason) => fault.detail(reason.clone()),
            None => fault,
        }))
    }

    fn about(&self) -> Vec<String> {
        let allow = self.allow.as_ref().map(|allow| format!("allows {}", allow.about()));
        let deny = self.deny.as_ref().map(|deny| format!("denies {}", deny.about()));
        allow.into_iter().chain(deny).collect()
    }

    fn foresee(&self, _: &Asked<'_>) -> Option<Foreseen> {
        Some(Foreseen::Depends(format!("the client's address: {}", self.about().join("; "))))
    }
}

impl Ip {
    /// Why a client was refused, for the log.
    fn told(&self, client: Option<IpAddr>) -> String {
        let who =
            client.map_or_else(|| "a client without an address".to_owned(), |ip| ip.to_string());
        match self.deny.as_ref().filter(|deny| deny.hold(client)) {
            Some(deny) => format!("{who} is denied by {}", deny.which(client)),
            None => format!("{who} is not among those who are allowed"),
        }
    }
}
