//! So many requests per length of time.
//!
//! Several limits hold together: a request passes when all of them have room for it, and only then counts. What another
//! policy refuses after it is given back. Headers are those of draft-ietf-httpapi-ratelimit-headers: `RateLimit-Policy`
//! and `RateLimit`, of several limits the one that is used up first.

use crate::counting::{self, Apart, Counting, Id, Page, Whom};
use crate::kind::{BuildCtx, Group, Kind};
use crate::limit::told::{self, Taken, Told};
use crate::limit::{
    Algorithm, Cost, Excess, Judged, Key, Limiter, Limits, Per, Refusal, Rule, SharedLimiter,
};
use crate::written::{Short, Written};
use base::rates;
use base::stores::OnStoreFailure;
use base::{Clock, Node, Report, decode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
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
    pub limit: rates::Limits,
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
    /// Whether requests must keep even distances, so that `10/s` lets one pass every 100 ms and never two at once: what
    /// others call spike arrest. `burst: 2` forgives those that come a little early.
    #[serde(default)]
    pub smooth: bool,
    /// How it counts.
    #[serde(default)]
    pub algorithm: Algorithm,
    /// What a request costs: a number, or an expression that gives one.
    pub cost: Option<String>,
    /// Whether nothing is refused: what would be is counted (`yett_limit_would_refuse_total`) and logged.
    #[serde(default)]
    pub dry_run: bool,
    /// Whether what is refused counts, too, so that only who slows down gets through again. Otherwise refused requests
    /// count for nothing.
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
        "a rate such as `100/min per consumer`, or `{ limit, per, burst }`";
    const SAMPLE: &'static str = "100/min per consumer";

    fn short(text: &str) -> Result<Self, String> {
        let (limit, per) = Per::split(text);
        let limit = rates::Limits::parse(limit)?;
        let algorithm = Algorithm::default();
        let (dry_run, count_refused) = (false, false);
        Ok(Self {
            limit,
            per,
            burst: None,
            smooth: false,
            algorithm,
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
pub(crate) struct RateLimit {
    limits: Limits,
    per: Per,
    /// As it was written.
    per_text: Box<str>,
    cost: Cost,
    told: Told,
    excess: Excess,
    refusal: Refusal,
}

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    let Written(settings) = decode::<Written<Settings>>(node, ctx.path, report)?;
    let rules = rules(&settings, node, ctx, report)?;
    let per = Per::parse(&settings.per, ctx.scope())
        .map_err(|message| ctx.error(report, node, "/per", message))
        .ok()?;
    if let Some(doubt) = per.doubt(ctx.plans.allowances().next().is_some()) {
        ctx.warning(report, node, "/per", doubt);
    }
    if let Some((idle, other)) = settings.limit.idle() {
        let message = format!("`{}` never has its turn beside `{}`", idle.rate, other.rate);
        ctx.warning(report, node, "/limit", message).help("leave it out");
    }
    let cost = Cost::parse(settings.cost.as_deref(), ctx.scope())
        .and_then(|cost| cost.check(&rules).map(|()| cost))
        .map_err(|message| ctx.error(report, node, "/cost", message))
        .ok()?;
    let store =
        ctx.store(report, node, settings.store.as_deref(), settings.on_store_failure.as_ref());
    let limits = match store.ok()? {
        None => Limits::Here(Limiter::new(ctx.id, rules, ctx.state, ctx.clock)),
        Some(_) if settings.count_refused => {
            let message = "what is refused cannot count in a store: refusals are not told to it";
            ctx.error(report, node, "/count_refused", message);
            return None;
        }
        Some((store, on_failure)) => {
            let store = (&store, on_failure);
            Limits::Shared(SharedLimiter::new(ctx.id, rules, store, ctx.state, ctx.clock))
        }
    };
    let Settings { dry_run, count_refused, headers, .. } = settings;
    let excess = Excess { dry_run, count_refused, headers };
    let name = own_name(ctx.id).or_else(|| ctx.level()).unwrap_or("default");
    let told = Told::new(name, limits.rules()).only_if(excess.tells());
    let refusal = Refusal::new(excess, ctx.shown_id(), ctx.metrics);
    let per_text = settings.per.into_boxed_str();
    Some(Arc::new(RateLimit { limits, per, per_text, cost, told, excess, refusal }))
}

fn rules(
    settings: &Settings,
    node: &Node,
    ctx: &BuildCtx<'_>,
    report: &mut Report,
) -> Option<Vec<Rule>> {
    let mut limits = settings.limit.0.clone();
    if settings.smooth && settings.burst.is_some() {
        let message = "what is smooth has no burst; leave one of both out";
        ctx.error(report, node, "/smooth", message);
        return None;
    }
    if let Some(burst) = settings.burst.or_else(|| settings.smooth.then_some(1)) {
        let [limit] = &mut limits[..] else {
            let field = if settings.smooth { "smooth" } else { "burst" };
            let message = format!(
                "of several limits each has a {field} of its own: `{{ rate, burst }}`, `{{ rate, smooth: true }}`"
            );
            ctx.error(report, node, &format!("/{field}"), message);
            return None;
        };
        limit.burst = Some(burst);
    }
    if settings.smooth && settings.cost.is_some() {
        let message = "what is smooth lets one request pass at a time, so none that costs more would ever pass; leave `cost` out, or allow a `burst`";
        ctx.error(report, node, "/cost", message);
        return None;
    }
    let counting = |rule: Rule| rule.counting_refused(settings.count_refused);
    let rules = limits.into_iter().map(|limit| Rule::new(limit, settings.algorithm).map(counting));
    let below = if settings.burst == Some(0) { "/burst" } else { "/limit" };
    rules.collect::<Result<_, _>>().map_err(|message| ctx.error(report, node, below, message)).ok()
}

/// The policy's own id, if it has one: what tells two limits apart in the headers.
fn own_name(id: &str) -> Option<&str> {
    id.rsplit_once("/rate_limit/").map(|(_, own)| own)
}

impl Policy for RateLimit {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, slot: Slot) -> Outcome<'a, Flow> {
        let cost = self.cost.of(exchange);
        let limiter = match &self.limits {
            Limits::Here(limiter) => limiter,
            Limits::Shared(shared) => return self.together(shared, exchange, cost, slot),
        };
        let key = self.per.key(limiter, exchange);
        let (taken, judged): (Taken, Result<(), Fault>) = told::take(limiter, key, cost);
        exchange.notes.put(slot, taken);
        Outcome::Now(self.refusal.decide(judged, exchange).map(|()| Flow::Continue))
    }

    fn about(&self) -> Vec<String> {
        self.limits.rules().iter().map(Rule::about).chain(self.excess.about()).collect()
    }

    /// An answer that came before this policy's turn has no note, and tells nothing.
    fn on_reply<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        reply: &'a mut Response,
        slot: Slot,
    ) -> Outcome<'a, ()> {
        if let Some(taken) = exchange.notes.peek::<Taken>(slot) {
            told::answer(&self.told, &self.limits, taken, exchange, &mut reply.headers);
        }
        Outcome::Now(Ok(()))
    }
}

impl RateLimit {
    /// Judges by what all gateways count together.
    fn together<'a>(
        &'a self,
        shared: &'a SharedLimiter,
        exchange: &'a mut Exchange,
        cost: u64,
        slot: Slot,
    ) -> Outcome<'a, Flow> {
        let ruled = move |ruling, exchange: &mut Exchange| {
            let (taken, judged) = told::ruled(shared.rules(), ruling, cost);
            if let Some(taken) = taken {
                exchange.notes.put(slot, taken);
            }
            self.refusal.decide(judged, exchange).map(|()| Flow::Continue)
        };
        match shared.take(&self.per.who(exchange), cost) {
            Judged::Now(ruling) => Outcome::Now(ruled(ruling, exchange)),
            Judged::Later(key, told) => Outcome::Later(Box::pin(async move {
                let told = shared.wait(told).await;
                let ruling = shared.waited((key, told), &self.per.who(exchange), cost);
                ruled(ruling, exchange)
            })),
        }
    }

    /// The key of a share; none where all have one that needs none.
    fn key(&self, whom: Whom<'_>) -> Result<Option<Key>, String> {
        Ok(match (whom, &self.limits) {
            (_, Limits::Here(limiter)) if self.per.is_all() && limiter.is_lockless() => None,
            (Whom::Id(id), _) => Some(Key(id)),
            (Whom::Named(key, application), Limits::Here(limiter)) => {
                Some(limiter.key(&self.per.named(key, application)?))
            }
            (Whom::Named(key, application), Limits::Shared(shared)) => {
                Some(shared.key(&self.per.named(key, application)?))
            }
        })
    }
}

impl Counting for RateLimit {
    fn per(&self) -> &str {
        &self.per_text
    }

    fn apart(&self) -> Apart {
        self.per.apart()
    }

    fn id(&self, whom: Whom<'_>) -> Result<Id, String> {
        self.key(whom).map(|key| key.map_or([0; 2], |key| key.0))
    }

    fn left(&self, whom: Whom<'_>, clock: &Clock) -> Result<Value, String> {
        let key = self.key(whom)?;
        let left = match (&self.limits, key) {
            (Limits::Here(limiter), key) => limiter.shown(key, clock.now()),
            (Limits::Shared(shared), Some(key)) => shared.shown(key, clock.now()),
            (Limits::Shared(_), None) => Vec::new(),
        };
        Ok(json!({ "limits": left.into_iter().map(counting::of_limit).collect::<Vec<_>>() }))
    }

    fn reset(&self, whom: Whom<'_>, _: &Clock) -> Result<(), String> {
        match (&self.limits, whom) {
            (Limits::Here(limiter), whom) => limiter.reset(self.key(whom)?),
            (Limits::Shared(shared), Whom::Id(id)) => shared.reset_known(Key(id)),
            (Limits::Shared(shared), Whom::Named(key, application)) => {
                shared.reset(&self.per.named(key, application)?);
            }
        }
        Ok(())
    }

    /// Of a store nobody knows all shares.
    fn reset_all(&self) -> bool {
        let Limits::Here(limiter) = &self.limits else { return false };
        limiter.reset_all();
        true
    }

    fn remembered(&self) -> Option<usize> {
        let Limits::Here(limiter) = &self.limits else { return None };
        Some(if self.apart() == Apart::Nothing { 1 } else { limiter.len() })
    }

    fn page(&self, from: u64, most: usize, clock: &Clock) -> Option<Page> {
        let Limits::Here(limiter) = &self.limits else { return None };
        if self.apart() == Apart::Nothing {
            return None;
        }
        let (shares, next) = limiter.page(from, most, clock.now());
        let shown = |(key, left): (Key, Vec<_>)| {
            let left: Vec<Value> = left.into_iter().map(counting::of_limit).collect();
            (key.0, json!({ "limits": left }))
        };
        Some(Page { shares: shares.into_iter().map(shown).collect(), next })
    }
}
