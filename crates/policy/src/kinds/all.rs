//! Demands that several ways to identify the caller succeed, and agree on who it is.

use crate::combined::{self, Combined};
use crate::identity::Identity;
use crate::kind::{BuildCtx, Group, Kind};
use base::{Node, Report};
use std::sync::Arc;
use traffic::exchange::Slot;
use traffic::policy::Phases;
use traffic::{Exchange, Fault, Flow, Outcome, Policy};

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "all",
    group: Group::Identity,
    phases: Phases { request: true, forward: false, reply: false, record: false },
    answers: false,
    about: "Identifies the consumer only if all of several identity policies succeed. Consumers that the config \
            knows must be the same; where the directory knows only one of them, that one counts, and where it knows \
            none, the last.",
    example: "all: [api_key, { api_key: { header: x-device-key } }]",
    resets: "changing the order of the list: each item's state is keyed by its kind and place in it",
    schema: combined::schema,
    build,
};

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    Combined::build(node, ctx, report).map(|all| Arc::new(All(all)) as _)
}

struct All(Combined);

impl All {
    /// Tries one after the other without waiting; nothing if that cannot be.
    fn now(&self, exchange: &Exchange) -> Option<Result<Identity, Fault>> {
        let mut whole = Identity::default();
        for scheme in &self.0.schemes {
            match scheme
                .now(exchange)?
                .and_then(|identity| std::mem::take(&mut whole).and(identity))
            {
                Ok(joined) => whole = joined,
                Err(fault) => return Some(Err(fault)),
            }
        }
        Some(Ok(whole))
    }

    async fn later(&self, exchange: &mut Exchange) -> Result<Identity, Fault> {
        let mut whole = Identity::default();
        for scheme in &self.0.schemes {
            let identity = match scheme.now(exchange) {
                Some(judged) => judged?,
                None => scheme.later(exchange).await?,
            };
            whole = whole.and(identity)?;
        }
        Ok(whole)
    }

    fn settle(
        &self,
        exchange: &mut Exchange,
        judged: Result<Identity, Fault>,
    ) -> Result<Flow, Fault> {
        let identity = judged.map_err(|fault| self.0.guesses.noted(exchange, fault))?;
        identity.settle(exchange)?;
        for scheme in self.0.schemes.iter().filter(|scheme| !scheme.keeps()) {
            scheme.hide(&mut exchange.request);
        }
        Ok(Flow::Continue)
    }
}

impl Policy for All {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, _: Slot) -> Outcome<'a, Flow> {
        if let Some(judged) = self.now(exchange) {
            return Outcome::Now(self.settle(exchange, judged));
        }
        Outcome::Later(Box::pin(async move {
            let judged = self.later(exchange).await;
            self.settle(exchange, judged)
        }))
    }
}
