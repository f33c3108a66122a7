//! So many requests per length of time.
//!
//! Several limits hold together: a request passes when all of them have room for it, and only then counts. What another
//! policy refuses after it is given back. Headers are those of draft-ietf-httpapi-ratelimit-headers: `RateLimit-Policy`
//! and `RateLimit`, of several limits the one that is used up first.

use crate::kind::{BuildCtx, Group, Kind};
use crate::limit::told::{self, Taken, Told};
use crate::limit::{Algorithm, Cost, Limiter, Per, Rule};
use crate::written::{Short, Written};
use base::rates::Limits;
use base::{Node, Report, decode};
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;
use traffic::exchange::Slot;
use traffic::policy::Phases;
use traffic::{Exchange, Fault, Flow, Outcome, Policy, Response};

#[cfg(test)]
mod tests;

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "rate_limit",
    group: Group::Limit,
    phases: Phases { request: true, forward: false, reply: true, record: false },
    answers: false,
    about: "Lets so many requests pass per length of time, for each consumer, each client address, or \
            all together, or whatever else requests are told apart by; the rest is refused with 429 and counts for nothing.",
    example: "rate_limit: 10/s and 1000/h per consumer",
    resets: "another `id` or owner, another number of limits, or a sliding window of another length; otherwise a changed limit goes on from what was used so far",
    schema: <Written<Settings> as JsonSchema>::json_schema,
    build,
};

/// Settings of `rate_limit`; short: `100/min`, `10/s and 1000/h per consumer`, `10/s per header x-tenant`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Settings {
    /// How many requests pass, per how long; several limits hold together.
    pub limit: Limits,
    /// What has a limit of its own: `all` requests together, each `consumer` or `application` (a request that nobody was
    /// identified for counts by its address), each `plan`, each `route`, each client `address` (of IPv6 the first 64 bits,
    /// which one client owns) or network of them (`address/24`, `address/24/48` for IPv4 and IPv6), `header NAME`,
    /// `cookie NAME`, or what an expression gives. Requests that lack what is asked for have one limit together.
    #[serde(default = "all")]
    pub per: String,
    /// How many requests may come at once after a pause; as many as `limit` counts, when left out. Of several limits each
    /// has its own: `{ rate, burst }`.
    #[schemars(range(min = 1))]
    pub burst: Option<u32>,
    /// How it counts.
    #[serde(default)]
    pub algorithm: Algorithm,
    /// What a request costs: a number, or an expression that gives one.
    pub cost: Option<String>,
}

fn all() -> String {
    Per::ALL.to_owned()
}

impl Short for Settings {
    const EXPECTING: &'static str =
        "a rate such as `100/min per consumer`, or `{ limit, per, burst }`";
    const SAMPLE: &'static str = "100/min per consumer";

    fn short(text: &str) -> Result<Self, String> {
        let (limit, per) = Per::split(text);
        let limit = Limits::parse(limit)?;
        let algorithm = Algorithm::default();
        Ok(Self { limit, per, burst: None, algorithm, cost: None })
    }
}

struct RateLimit {
    limiter: Limiter,
    per: Per,
    cost: Cost,
    told: Told,
}

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    let Written(settings) = decode::<Written<Settings>>(node, ctx.path, report)?;
    let rules = rules(&settings, node, ctx, report)?;
    let per = Per::parse(&settings.per, ctx.params)
        .map_err(|message| ctx.error(report, node, "/per", message))
        .ok()?;
    let cost = Cost::parse(settings.cost.as_deref(), ctx.params)
        .and_then(|cost| cost.check(&rules).map(|()| cost))
        .map_err(|message| ctx.error(report, node, "/cost", message))
        .ok()?;
    let limiter = Limiter::new(ctx.id, rules, ctx.state, ctx.clock);
    let told = Told::new(own_name(ctx.id), &limiter);
    Some(Arc::new(RateLimit { limiter, per, cost, told }))
}

fn rules(
    settings: &Settings,
    node: &Node,
    ctx: &BuildCtx<'_>,
    report: &mut Report,
) -> Option<Vec<Rule>> {
    let mut limits = settings.limit.0.clone();
    if let Some(burst) = settings.burst {
        let [limit] = &mut limits[..] else {
            let message = "of several limits each has a burst of its own: `{ rate, burst }`";
            ctx.error(report, node, "/burst", message);
            return None;
        };
        limit.burst = Some(burst);
    }
    let rules = limits.into_iter().map(|limit| Rule::new(limit, settings.algorithm));
    let below = if settings.burst == Some(0) { "/burst" } else { "/limit" };
    rules.collect::<Result<_, _>>().map_err(|message| ctx.error(report, node, below, message)).ok()
}

/// The policy's own id, if it has one: what tells two limits apart in the headers.
fn own_name(id: &str) -> &str {
    id.rsplit_once("/rate_limit/").map_or("default", |(_, own)| own)
}

impl Policy for RateLimit {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, slot: Slot) -> Outcome<'a, Flow> {
        let (key, cost) = (self.per.key(&self.limiter, exchange), self.cost.of(exchange));
        let (taken, judged): (Taken, Result<(), Fault>) =
            told::take(&self.limiter, key, cost, exchange);
        exchange.notes.put(slot, taken);
        Outcome::Now(judged.map(|()| Flow::Continue))
    }

    fn about(&self) -> Vec<String> {
        self.limiter.rules().iter().map(Rule::about).collect()
    }

    /// An answer that came before this policy's turn has no note, and tells nothing.
    fn on_reply<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        reply: &'a mut Response,
        slot: Slot,
    ) -> Outcome<'a, ()> {
        if let Some(taken) = exchange.notes.peek::<Taken>(slot) {
            told::answer(&self.told, &self.limiter, taken, exchange, &mut reply.headers);
        }
        Outcome::Now(Ok(()))
    }
}
