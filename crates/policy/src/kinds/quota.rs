//! So many requests in windows of the calendar: an hour, a day, a week, a month.
//!
//! What was used is kept in the gateway's `state_dir`, so that it outlives a restart. What another limit refuses is given
//! back. Headers are those of `rate_limit`.

use crate::counting::{self, Apart, Counting, Id, Page, Whom};
use crate::kind::{BuildCtx, Group, Kind};
use crate::limit::{Cost, Excess, Per, Refusal};
use crate::quota::{self, Allotment, Charge, Holder};
use crate::written::{Short, Written};
use base::quotas::Quotas;
use base::stores::OnStoreFailure;
use base::{Clock, Node, Report, decode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use traffic::exchange::Slot;
use traffic::policy::Phases;
use traffic::{Exchange, Flow, Outcome, Policy, Response};

#[cfg(test)]
mod tests;

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "quota",
    group: Group::Limit,
    phases: Phases { request: true, forward: false, reply: true, record: false },
    answers: false,
    about: "Lets so many requests pass in each hour, day, week or month of the calendar, for each consumer, each client address, \
            all together, or whatever else requests are told apart by; the rest is refused with 429 until the window ends, and \
            counts for nothing. What consumers may use by their plan is said in `plans`.",
    example: "quota: 1000/day per consumer",
    resets: "another `id` or owner, or other windows (`per`, `time_zone`, `anchor` of a quota); another amount goes on from what was \
             used so far",
    schema: <Written<Settings> as JsonSchema>::json_schema,
    build,
};

/// Settings of `quota`; short: `1000/day`, `1000/day and 20k/month per consumer`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Settings {
    /// How many requests pass in each window; several quotas hold together.
    pub quota: Quotas,
    /// What has a quota of its own: `all` requests together, each `consumer` or `application` (a request that nobody was
    /// identified for counts by its address), each `plan`, each `route`, each client `address` (of IPv6 the first 64 bits,
    /// which one client owns) or network of them (`address/24`, `address/24/48` for IPv4 and IPv6), `header NAME`,
    /// `cookie NAME`, or what an expression gives. Requests that lack what is asked for have one quota together.
    #[serde(default = "all")]
    pub per: String,
    /// What a request costs: a number, or an expression that gives one. A quota that says something else goes by that.
    pub cost: Option<String>,
    /// Whether nothing is refused: what would be is counted (`yett_limit_would_refuse_total`) and logged.
    #[serde(default)]
    pub dry_run: bool,
    /// Whether what is refused counts, too. Otherwise refused requests count for nothing.
    #[serde(default)]
    pub count_refused: bool,
    /// Whether answers have the headers `RateLimit-Policy` and `RateLimit`. They have, but in a dry run.
    pub headers: Option<bool>,
    /// The store in which all gateways count together; each counts for itself when left out.
    pub store: Option<String>,
    /// What becomes of requests while the store cannot be asked: `local` (each gateway allows its share), `refuse` (503), or
    /// `{ allow: "why that is right" }`. `local` when left out.
    pub on_store_failure: Option<OnStoreFailure>,
}

fn all() -> String {
    Per::ALL.to_owned()
}

impl Short for Settings {
    const EXPECTING: &'static str =
        "a quota such as `1000/day per consumer`, or `{ quota, per, cost }`";
    const SAMPLE: &'static str = "1000/day per consumer";

    fn short(text: &str) -> Result<Self, String> {
        let (quota, per) = Per::split(text);
        let (dry_run, count_refused) = (false, false);
        let quota = Quotas::parse(quota)?;
        Ok(Self {
            quota,
            per,
            cost: None,
            dry_run,
            count_refused,
            headers: None,
            store: None,
            on_store_failure: None,
        })
    }
}

/// What it does, compiled.
pub(crate) struct Quota {
    allotment: Allotment,
    per: Per,
    /// As it was written.
    per_text: Box<str>,
    cost: Cost,
    clock: Clock,
    excess: Excess,
    refusal: Refusal,
}

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    let Written(settings) = decode::<Written<Settings>>(node, ctx.path, report)?;
    if let Some(doubt) = settings.quota.doubt() {
        ctx.warning(report, node, "/quota", doubt);
    }
    let per = Per::parse(&settings.per, ctx.scope())
        .map_err(|message| ctx.error(report, node, "/per", message))
        .ok()?;
    if let Some(doubt) = per.doubt(ctx.plans.allowances().next().is_some()) {
        ctx.warning(report, node, "/per", doubt);
    }
    let own_name = ctx.id.rsplit_once("/quota/").map(|(_, own)| own);
    let name = own_name.or_else(|| ctx.level()).unwrap_or_default();
    let Settings { dry_run, count_refused, headers, .. } = settings;
    let excess = Excess { dry_run, count_refused, headers };
    let store =
        ctx.store(report, node, settings.store.as_deref(), settings.on_store_failure.as_ref());
    let store = store.ok()?;
    let store = store.as_ref().map(|(store, on_failure)| (store, *on_failure));
    let (label, quotas) = (ctx.shown_id(), &settings.quota.0);
    let written = quota::Written { name, label, quotas, scope: ctx.scope(), excess, store };
    let allotment = Allotment::new(ctx.id, &written, ctx.state, ctx.clock, ctx.metrics)
        .map_err(|message| ctx.error(report, node, "/quota", message))
        .ok()?;
    let cost = Cost::parse(settings.cost.as_deref(), ctx.scope())
        .and_then(|cost| allotment.check(&cost).map(|()| cost))
        .map_err(|message| ctx.error(report, node, "/cost", message))
        .ok()?;
    let refusal = Refusal::new(excess, ctx.shown_id(), ctx.metrics);
    let (per_text, clock) = (settings.per.into_boxed_str(), ctx.clock.clone());
    Some(Arc::new(Quota { allotment, per, per_text, cost, clock, excess, refusal }))
}

impl Policy for Quota {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, slot: Slot) -> Outcome<'a, Flow> {
        let wall = self.clock.wall();
        let who = self.per.who(exchange);
        let holder = self.allotment.holder_of(&who);
        self.allotment.meet(holder, &who, wall);
        let cost = self.cost.of(exchange);
        let charge = self.allotment.charge(holder, exchange, cost, wall);
        self.allotment.warn(&charge, exchange);
        let judged = charge.judged();
        exchange.notes.put(slot, charge);
        Outcome::Now(self.refusal.decide(judged, exchange).map(|()| Flow::Continue))
    }

    fn about(&self) -> Vec<String> {
        self.allotment.about().chain(self.excess.about()).collect()
    }

    /// An answer that came before this policy's turn has no note, and tells nothing.
    fn on_reply<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        reply: &'a mut Response,
        slot: Slot,
    ) -> Outcome<'a, ()> {
        if let Some(charge) = exchange.notes.peek::<Charge>(slot) {
            self.allotment.answer(charge, exchange, &mut reply.headers);
        }
        Outcome::Now(Ok(()))
    }
}

impl Quota {
    fn holder(&self, whom: Whom<'_>) -> Result<Holder, String> {
        match whom {
            Whom::Id(id) => Ok(Holder(id)),
            Whom::Named(key, application) => {
                Ok(self.allotment.holder_of(&self.per.named(key, application)?))
            }
        }
    }
}

impl Counting for Quota {
    fn per(&self) -> &str {
        &self.per_text
    }

    fn apart(&self) -> Apart {
        self.per.apart()
    }

    fn id(&self, whom: Whom<'_>) -> Result<Id, String> {
        self.holder(whom).map(|holder| holder.0)
    }

    fn left(&self, whom: Whom<'_>, clock: &Clock) -> Result<Value, String> {
        let left = self.allotment.used(self.holder(whom)?, clock.wall());
        Ok(json!({ "quotas": left.into_iter().map(counting::of_quota).collect::<Vec<_>>() }))
    }

    fn reset(&self, whom: Whom<'_>, clock: &Clock) -> Result<(), String> {
        match whom {
            Whom::Id(id) => self.allotment.reset(Holder(id), clock.wall()),
            Whom::Named(key, application) => {
                let who = self.per.named(key, application)?;
                self.allotment.reset_for(self.allotment.holder_of(&who), &who, clock.wall());
            }
        }
        Ok(())
    }

    /// The ledger is that of all quotas, and tells nobody whose a count is.
    fn reset_all(&self) -> bool {
        false
    }

    fn remembered(&self) -> Option<usize> {
        None
    }

    fn page(&self, _: u64, _: usize, _: &Clock) -> Option<Page> {
        None
    }
}
