//! Quotas: how much in a window of the calendar, and the ledger of what was used.
//!
//! Counts are kept by who uses how much of which calendar, not by plan: who changes to a plan with another amount in
//! the same windows goes on from what was used. Start reading at [`Allotment`], then [`Ledger`].

use base::calendar::Span;
use base::caps::CLOCK_BACK_MAX_S;
use base::clock::unix_ms;
use base::quotas::Quota;
use http::HeaderValue;
use http::header::RETRY_AFTER;
use smallvec::SmallVec;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use telemetry::Metrics;
use telemetry::metrics::QuotaMetrics;
use traffic::{Exchange, Fault, FaultCode, Headers, Stage, State};

/// Who asks for how much.
mod ask;
/// What was used, by whom.
mod ledger;
/// A part of the ledger.
mod shard;
/// What gateways share.
mod pool;
/// What goes from one process to another.
mod moved;
#[cfg(test)]
mod tests;

pub(crate) use ask::{Ask, Holder};
pub use ledger::Ledger;
pub(crate) use pool::Pool;
pub use shard::Record;

use crate::by;
use crate::expression::Scope;
use crate::limit::leases;
use crate::limit::told::{self, seconds};
use crate::limit::{Cost, Excess, Verdict, Who};
use crate::store::{OnFailure, Store};
use base::Clock;

/// The id of the one ledger of a gateway.
const LEDGER: &str = "quotas";

/// The ledger of all quotas.
#[must_use]
pub fn ledger(state: &State) -> Arc<Ledger> {
    state.whole().portable(LEDGER, Ledger::default)
}

/// The ledger, if a living config has quotas.
#[must_use]
pub fn ledger_in_use(state: &State) -> Option<Arc<Ledger>> {
    state.whole().is_in_use(LEDGER).then(|| ledger(state))
}

/// One quota, ready to be asked.
pub(crate) struct Meter {
    /// What it says.
    pub(crate) quota: Quota,
    /// What a request uses of it; as much as of all others where nothing is said.
    cost: Option<Cost>,
    /// Tells its calendar apart from others.
    calendar: u64,
    /// The window of now: its end and its length, packed.
    span: AtomicU64,
}

/// When to come back to a quota of which other gateways may have left something.
const SOON: Duration = Duration::from_secs(1);
/// How many bits the length of a window takes.
const LENGTH_BITS: u32 = 24;

impl Meter {
    fn new(quota: &Quota, scope: Scope<'_>) -> Result<Self, String> {
        let calendar = by::hash(&[quota.per.to_string().as_bytes()]);
        let cost = quota.cost.as_deref().map(|cost| Cost::parse(Some(cost), scope)).transpose()?;
        let meter = Self { quota: quota.clone(), cost, calendar, span: AtomicU64::new(0) };
        match &meter.cost {
            Some(cost) => meter.check(cost).map(|()| meter),
            None => Ok(meter),
        }
    }

    /// Refuses a cost that would never pass.
    fn check(&self, cost: &Cost) -> Result<(), String> {
        match cost {
            Cost::Same(cost) if *cost > self.quota.amount => {
                Err(format!("nothing that costs {cost} would ever pass {}", self.quota))
            }
            _ => Ok(()),
        }
    }

    /// The window of now. A clock that is set back a little does not leave it, or what was used in it would be
    /// forgotten.
    pub(crate) fn span(&self, now_s: i64) -> Span {
        let packed = self.span.load(Ordering::Relaxed);
        let (ends_s, length_s) = (packed >> LENGTH_BITS, packed & ((1 << LENGTH_BITS) - 1));
        let ends_s = i64::try_from(ends_s).unwrap_or(0);
        let starts_s = ends_s - i64::try_from(length_s).unwrap_or(0);
        if (starts_s - CLOCK_BACK_MAX_S..ends_s).contains(&now_s) {
            return Span { starts_s, ends_s };
        }
        // Beyond all calendars there is one window.
        let span = self.quota.per.span(now_s).filter(|span| span.starts_s >= 0);
        let span = span.unwrap_or(Span { starts_s: 0, ends_s: i64::MAX >> LENGTH_BITS });
        if let (Ok(ends_s), Ok(length_s)) =
            (u64::try_from(span.ends_s), u64::try_from(span.ends_s - span.starts_s))
            && length_s < 1 << LENGTH_BITS
        {
            self.span.store(ends_s << LENGTH_BITS | length_s, Ordering::Relaxed);
        }
        span
    }

    fn ask(&self, cost: u64, now_s: i64) -> Ask {
        let ends_s = u64::try_from(self.span(now_s).ends_s).unwrap_or(0);
        Ask::new(self.calendar, ends_s, self.quota.amount, cost)
    }
}

/// Quotas as they were written.
pub(crate) struct Written<'a> {
    /// What they are called in headers; empty if they have no name.
    pub(crate) name: &'a str,
    /// What they are called in metrics.
    pub(crate) label: &'a str,
    pub(crate) quotas: &'a [Quota],
    /// Names captured by the route's path, for expressions.
    pub(crate) scope: Scope<'a>,
    pub(crate) excess: Excess,
    /// Where gateways share the counts, and what becomes of requests without.
    pub(crate) store: Option<(&'a Arc<Store>, OnFailure)>,
}

/// Quotas that hold together for everybody who has a share of its own.
#[derive(Clone)]
pub(crate) struct Allotment {
    /// What tells holders of the same name apart.
    scope: Arc<str>,
    meters: Arc<[Meter]>,
    ledger: Arc<Ledger>,
    metrics: Arc<QuotaMetrics>,
    told: Told,
    excess: Excess,
    store: Option<(Arc<Pool>, OnFailure)>,
}

/// What is remembered of one request until it is answered.
pub(crate) struct Charge {
    holder: Holder,
    asks: SmallVec<[Ask; 2]>,
    now_s: i64,
    /// Whether it was counted.
    pub(crate) is_taken: bool,
    /// Whether there may be more as soon as others have been heard of.
    is_early: bool,
    /// What becomes of it without the store of its counts, if that does not answer.
    without: Option<OnFailure>,
}

impl Allotment {
    /// Quotas. Counts are shared with all others of the same scope.
    ///
    /// # Errors
    /// What is wrong with the cost of one.
    pub(crate) fn new(
        scope: &str,
        written: &Written<'_>,
        state: &State,
        clock: &Clock,
        metrics: &Metrics,
    ) -> Result<Self, String> {
        let Written { name, label, quotas, scope: names, excess, store } = written;
        let meters = quotas.iter().map(|quota| Meter::new(quota, *names));
        let store = store.map(|(store, on_failure)| {
            let id = format!("{LEDGER}@{}", store.mark());
            let ledger = ledger(state);
            let pool = state.cell(&id, || Pool::new(store, &ledger, clock));
            store.share(&pool);
            (pool, on_failure)
        });
        Ok(Self {
            store,
            scope: scope.into(),
            meters: meters.collect::<Result<_, _>>()?,
            ledger: ledger(state),
            metrics: metrics.quota(label),
            told: Told::new(name, quotas),
            excess: *excess,
        })
    }

    /// What they say, for people who read a config.
    pub(crate) fn about(&self) -> impl Iterator<Item = String> {
        self.meters.iter().map(|meter| format!("{} ({})", meter.quota, meter.quota.per))
    }

    /// Refuses a cost that would never pass one of these quotas that has no other.
    ///
    /// # Errors
    /// Which quota that is.
    pub(crate) fn check(&self, cost: &Cost) -> Result<(), String> {
        self.meters.iter().filter(|meter| meter.cost.is_none()).try_for_each(|it| it.check(cost))
    }

    /// Who has the share of what is told apart by `parts`.
    pub(crate) fn holder(&self, parts: &impl Hash) -> Holder {
        self.ledger.holder(&self.scope, parts)
    }

    /// The same of a policy; whoever no config knows takes no room from those it does.
    pub(crate) fn holder_of(&self, who: &Who<'_>) -> Holder {
        let holder = self.holder(who);
        if who.is_of_outsiders() { holder.outside() } else { holder }
    }

    /// Notes that a request of a holder, who is these parts, is about to be counted.
    pub(crate) fn meet(&self, holder: Holder, parts: &impl Hash, wall: SystemTime) {
        self.share(holder, parts, wall, Pool::touch);
    }

    fn share<W: Hash>(
        &self,
        holder: Holder,
        parts: &W,
        wall: SystemTime,
        how: impl Fn(&Pool, [u64; 2], u64, &dyn Fn() -> Box<str>),
    ) {
        let Some((pool, _)) = &self.store else { return };
        for meter in &*self.meters {
            let ask = meter.ask(0, unix_s(wall));
            let name =
                || ["q:", &*leases::name(&(&*self.scope, meter.calendar, parts))].concat().into();
            how(pool, holder.key(meter.calendar), ask.ends_s, &name);
        }
    }

    /// What becomes of requests now if the store does not answer, and how many gateways share it.
    fn without(&self) -> Option<(OnFailure, u64)> {
        let (pool, on_failure) = self.store.as_ref().filter(|(pool, _)| pool.store.is_down())?;
        pool.store.fell(*on_failure);
        Some((*on_failure, u64::from(pool.store.gateways())))
    }

    /// Counts a request if all quotas have room for it. It costs what a quota says, else `cost`.
    pub(crate) fn charge(
        &self,
        holder: Holder,
        exchange: &Exchange,
        cost: u64,
        wall: SystemTime,
    ) -> Charge {
        let now_s = unix_s(wall);
        let without = self.without();
        let gateways = match without {
            Some((OnFailure::Refuse, _)) => {
                let (asks, without) = (SmallVec::new(), Some(OnFailure::Refuse));
                return Charge { holder, asks, now_s, is_taken: false, is_early: false, without };
            }
            Some((OnFailure::Local, gateways)) => gateways,
            Some((OnFailure::Allow, _)) | None => 1,
        };
        let ask = |meter: &Meter| {
            let cost = meter.cost.as_ref().map_or(cost, |own| own.of(exchange));
            let ask = meter.ask(cost, now_s);
            if self.store.is_some() { ask.shared(gateways) } else { ask }
        };
        let mut asks: SmallVec<[Ask; 2]> = self.meters.iter().map(ask).collect();
        let is_taken = self.ledger.take(holder, &mut asks, now_s, self.excess.count_refused);
        let is_early = is_taken && without.is_none() && self.leaves_to_others(holder, &mut asks);
        let is_taken = is_taken && !is_early;
        Charge { holder, asks, now_s, is_taken, is_early, without: without.map(|(how, _)| how) }
    }

    /// Gives back what other gateways may have used by now.
    fn leaves_to_others(&self, holder: Holder, asks: &mut [Ask]) -> bool {
        let Some((pool, _)) = self.store.as_ref().filter(|_| !self.excess.count_refused) else {
            return false;
        };
        let is_others = |ask: &Ask| pool.is_others(ask.key(holder), ask);
        let others: SmallVec<[bool; 2]> = asks.iter().map(is_others).collect();
        if !others.contains(&true) {
            return false;
        }
        self.ledger.give_back(holder, asks);
        for (ask, is_others) in asks.iter_mut().zip(others) {
            *ask = ask.refused(is_others);
        }
        true
    }

    /// Gives back what was counted if a limit refused the request after all, and adds to the answer what is left.
    pub(crate) fn answer(&self, charge: &Charge, exchange: &Exchange, headers: &mut Headers) {
        if charge.asks.is_empty() {
            return;
        }
        let (at, mut verdict) = tightest(charge);
        let is_refused = exchange.record.fault.is_some_and(FaultCode::is_limit);
        if charge.is_taken && is_refused && !self.excess.count_refused {
            self.ledger.give_back(charge.holder, &charge.asks);
            let cost = charge.asks.get(at).map_or(0, Ask::cost);
            verdict.remaining = verdict.remaining.saturating_add(cost);
        }
        if self.excess.tells() {
            self.told.tell(at, verdict, headers);
        }
    }

    /// Tells operators which quotas have just come near to being used up, or there: each is told once in a window.
    pub(crate) fn warn(&self, charge: &Charge, exchange: &Exchange) {
        for (quota, percent, ask) in self.crossed(charge) {
            // Without a consumer it is outsiders who decide how many there are to tell of.
            let Some(consumer) = &exchange.consumer else { continue };
            let credential = exchange.credential.as_ref();
            let application = credential.and_then(|credential| credential.application.as_deref());
            tracing::info!(
                event = "quota_reached",
                percent,
                consumer = &*consumer.name,
                application,
                plan = exchange.plan.as_ref().map(|plan| &*plan.name),
                quota = %quota,
                used = ask.used,
                until_s = ask.ends_s,
                "a quota is used up to {percent} %"
            );
        }
    }

    /// Which quotas have just come near to being used up, or there: each is told once in a window.
    fn crossed<'a>(&'a self, charge: &'a Charge) -> impl Iterator<Item = (&'a Quota, u8, &'a Ask)> {
        self.meters.iter().zip(&charge.asks).filter_map(|(meter, ask)| {
            let percent = ask.crossed()?;
            match percent {
                100 => self.metrics.used_up(),
                _ => self.metrics.nearly_used_up(),
            }
            Some((&meter.quota, percent, ask))
        })
    }

    /// What a holder has used of each quota, and its window.
    pub(crate) fn used(&self, holder: Holder, wall: SystemTime) -> Vec<(&Quota, u64, Span)> {
        let now_s = unix_s(wall);
        let mut all = Vec::new();
        for meter in &*self.meters {
            let used = self.ledger.used(holder, &meter.ask(0, now_s));
            all.push((&meter.quota, used, meter.span(now_s)));
        }
        all
    }

    /// Forgets what was used in the windows of now, and has other gateways forget it.
    pub(crate) fn reset_for(&self, holder: Holder, parts: &impl Hash, wall: SystemTime) {
        self.share(holder, parts, wall, Pool::reset);
        self.reset(holder, wall);
    }

    /// Forgets what a holder has used in the windows of now.
    pub(crate) fn reset(&self, holder: Holder, wall: SystemTime) {
        let now_s = unix_s(wall);
        for meter in &*self.meters {
            self.ledger.reset(holder, &meter.ask(0, now_s));
        }
    }
}

impl Charge {
    /// The refusal, if it does not pass.
    pub(crate) fn judged(&self) -> Result<(), Fault> {
        match self.without {
            Some(OnFailure::Allow) => return Ok(()),
            Some(OnFailure::Refuse) => return Err(store_down()),
            Some(OnFailure::Local) | None => {}
        }
        match tightest(self).1.retry_after {
            None => Ok(()),
            Some(wait) => {
                let fault = Fault::new(Stage::Guard, FaultCode::QuotaExceeded);
                if let Some(ask) = self.asks.iter().find(|ask| ask.cost() > ask.amount) {
                    // Nobody is told to come back with what never passes.
                    let (cost, amount) = (ask.cost(), ask.amount);
                    return Err(fault.cause(format!("it costs {cost}, and {amount} is the quota")));
                }
                Err(fault.header(RETRY_AFTER, HeaderValue::from(seconds(wait).max(1))))
            }
        }
    }
}

/// Of a request that must not go on without the store of its counts.
fn store_down() -> Fault {
    let fault = Fault::new(Stage::Guard, FaultCode::LimitStoreDown);
    fault.header(RETRY_AFTER, HeaderValue::from_static("1"))
}

/// Of the quotas of a request the one that says most, and what it says.
fn tightest(charge: &Charge) -> (usize, Verdict) {
    let verdict = |ask: &Ask| {
        let left_s = ask.ends_s.saturating_sub(u64::try_from(charge.now_s).unwrap_or(0));
        let left = Duration::from_secs(left_s);
        let is_refused = !charge.is_taken && ask.is_too_much();
        Verdict {
            remaining: ask.remaining(),
            reset_after: left,
            retry_after: is_refused.then_some(if charge.is_early { SOON } else { left }),
            rule: 0,
        }
    };
    let all = charge.asks.iter().map(verdict).enumerate();
    all.reduce(|one, other| if one.1.tighter(other.1) == one.1 { one } else { other })
        .unwrap_or((0, Verdict::UNLIMITED))
}

/// What clients are told of quotas that hold together.
#[derive(Clone)]
struct Told {
    names: Arc<[Box<str>]>,
    policy: HeaderValue,
}

impl Told {
    fn new(name: &str, quotas: &[Quota]) -> Self {
        let named = |quota: &Quota| match told::plain(name) {
            Some(name) => format!("{name}-{}", quota.unit()).into_boxed_str(),
            None => quota.unit().into(),
        };
        let names: Arc<[Box<str>]> = quotas.iter().map(named).collect();
        let one = |(name, quota): (&str, &Quota)| match quota.window_s() {
            Some(window_s) => format!("\"{name}\";q={};w={window_s}", quota.amount),
            None => format!("\"{name}\";q={}", quota.amount),
        };
        let all: Vec<String> = names.iter().map(|name| &**name).zip(quotas).map(one).collect();
        let policy = HeaderValue::try_from(all.join(", "));
        Self { names, policy: policy.unwrap_or(HeaderValue::from_static("")) }
    }

    fn tell(&self, at: usize, verdict: Verdict, headers: &mut Headers) {
        let name = self.names.get(at).map_or("", |name| &**name);
        told::append(&self.policy, name, verdict, headers);
    }
}

/// Whole seconds since 1970.
pub(crate) fn unix_s(wall: SystemTime) -> i64 {
    i64::try_from(unix_ms(wall) / 1_000).unwrap_or(i64::MAX)
}
