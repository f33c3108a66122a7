//! What went wrong with an upstream, and what was done about it.

use super::OTHER;
use super::exposition::{Page, counter, gauge, labels};
use super::series::{Labels, TargetMetrics, UpstreamMetrics};
use crate::shards::{Gauge, ShardedCounter};
use prometheus_client::encoding::NoLabelSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// Why an attempt was made once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryReason {
    /// There was no connection.
    Connect,
    /// The target took nothing of it.
    RefusedStream,
    /// The target broke off before it had answered.
    Reset,
    /// The answer did not begin in time.
    Timeout,
    /// The answer was not HTTP.
    Invalid,
    /// The answer had a status that asks for it.
    Status,
}

impl RetryReason {
    /// All of them, in the order of the counters.
    pub const ALL: [Self; 6] = [
        Self::Connect,
        Self::RefusedStream,
        Self::Reset,
        Self::Timeout,
        Self::Invalid,
        Self::Status,
    ];
    /// Those without an answer.
    pub const FAILURES: [Self; 5] =
        [Self::Connect, Self::RefusedStream, Self::Reset, Self::Timeout, Self::Invalid];

    /// The value of the label `reason`, which is also its name in a config.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::RefusedStream => "refused_stream",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Invalid => "invalid",
            Self::Status => "status",
        }
    }
}

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum BreakerState {
    /// Requests pass.
    Closed = 0,
    /// Some requests pass, to see how it goes.
    HalfOpen = 1,
    /// No request passes.
    Open = 2,
}

/// Why a request was turned away that would have had to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShedReason {
    /// As many waited as may.
    Full,
    /// Somebody with a better right took its position.
    Displaced,
    /// It had waited for too long.
    Late,
}

impl ShedReason {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Full, Self::Displaced, Self::Late];

    /// The value of the label `reason`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Displaced => "displaced",
            Self::Late => "late",
        }
    }
}

/// Priorities that requests are shed by, in the order of `traffic::Priority`.
const PRIORITIES: [&str; 3] = ["low", "normal", "high"];

/// How many requests an upstream may have under way, and what became of those that were more.
#[derive(Debug, Default)]
pub struct Load {
    /// How many may be under way; zero says that they are not limited.
    pub limit: AtomicU32,
    /// How many were a moment ago.
    pub in_flight: AtomicU32,
    /// Microseconds that answers take without load; zero where nobody measures.
    pub unloaded_us: AtomicU64,
    /// Of all workers together: whom it turns away is rarely told, and costs little else.
    shed: [[AtomicU64; ShedReason::ALL.len()]; PRIORITIES.len()],
}

impl Load {
    /// Counts a request of the priority with this position that was turned away for that reason.
    pub fn shed(&self, priority: usize, reason: ShedReason) {
        self.shed[priority.min(PRIORITIES.len() - 1)][reason as usize]
            .fetch_add(1, Ordering::Relaxed);
    }

    /// Requests that were turned away, one number for each priority.
    #[must_use]
    pub fn shed_by_priority(&self) -> [u64; PRIORITIES.len()] {
        std::array::from_fn(|priority| {
            self.shed[priority].iter().map(|count| count.load(Ordering::Relaxed)).sum()
        })
    }
}

/// Says that an upstream has no breaker.
const NO_BREAKER: u8 = u8::MAX;

/// What went wrong with one upstream.
#[derive(Debug)]
pub struct TroubleMetrics {
    reasons: [ShardedCounter; RetryReason::ALL.len()],
    /// Repetitions that the budget did not allow.
    pub retries_cut: ShardedCounter,
    /// Second attempts that raced a slow first one.
    pub hedges: ShardedCounter,
    /// Those of them that answered first.
    pub hedges_won: ShardedCounter,
    /// Requests that an open breaker turned away.
    pub breaker_refused: ShardedCounter,
    /// How often the breaker opened.
    pub breaker_opened: ShardedCounter,
    /// Requests that found no place, or none in time.
    pub busy: ShardedCounter,
    /// Requests that had to wait for a place.
    pub queued: ShardedCounter,
    /// How long they waited, in microseconds.
    pub queued_us: ShardedCounter,
    /// Requests that wait now.
    pub queue: Gauge,
    /// How many requests may be under way, and whom that turned away.
    pub load: Load,
    breaker: AtomicU8,
}

impl TroubleMetrics {
    pub(super) fn new(shards: usize) -> Self {
        let counter = || ShardedCounter::new(shards);
        Self {
            reasons: std::array::from_fn(|_| counter()),
            retries_cut: counter(),
            hedges: counter(),
            hedges_won: counter(),
            breaker_refused: counter(),
            breaker_opened: counter(),
            busy: counter(),
            queued: counter(),
            queued_us: counter(),
            queue: Gauge::new(shards),
            load: Load::default(),
            breaker: AtomicU8::new(NO_BREAKER),
        }
    }

    /// Repetitions for that reason.
    #[must_use]
    pub fn retries(&self, reason: RetryReason) -> &ShardedCounter {
        &self.reasons[reason as usize]
    }

    /// Says where the breaker stands; none says that there is no breaker.
    pub fn set_breaker(&self, state: Option<BreakerState>) {
        self.breaker.store(state.map_or(NO_BREAKER, |state| state as u8), Ordering::Relaxed);
    }
}

/// Name, help and place of a counter.
type Family = (&'static str, &'static str, fn(&TroubleMetrics) -> &ShardedCounter);

const FAMILIES: [Family; 7] = [
    ("yett_upstream_retries_cut", "Repetitions that the budget did not allow", |t| &t.retries_cut),
    ("yett_upstream_hedges", "Second attempts that raced a slow first one", |t| &t.hedges),
    ("yett_upstream_hedges_won", "Second attempts that answered first", |t| &t.hedges_won),
    ("yett_upstream_breaker_opened", "How often the breaker opened", |t| &t.breaker_opened),
    ("yett_upstream_breaker_refused", "Requests turned away by an open breaker", |t| {
        &t.breaker_refused
    }),
    ("yett_upstream_busy", "Requests that found no place, or none in time", |t| &t.busy),
    ("yett_upstream_queued", "Requests that waited for a place", |t| &t.queued),
];

/// Writes what went wrong with upstreams.
pub(super) fn upstreams(
    page: &mut Page<'_>,
    upstreams: &[(Labels, Arc<UpstreamMetrics>)],
) -> fmt::Result {
    for (name, help, value) in FAMILIES {
        let mut family = page.counters(name, help)?;
        for (values, metrics) in upstreams {
            counter(&mut family, &labels(["upstream"], values), value(&metrics.trouble).sum())?;
        }
    }
    let mut family =
        page.counters("yett_upstream_retry_reasons", "Attempts after the first, by reason")?;
    for ([upstream, _], metrics) in upstreams {
        for reason in RetryReason::ALL {
            let count = metrics.trouble.retries(reason).sum();
            if count > 0 {
                let labels = [("upstream", &**upstream), ("reason", reason.label())];
                counter(&mut family, &labels, count)?;
            }
        }
    }
    let mut family =
        page.counters("yett_upstream_queue_wait_seconds", "Time that requests waited for a place")?;
    for (values, metrics) in upstreams {
        #[expect(clippy::cast_precision_loss, reason = "a float is what OpenMetrics has for times")]
        let wait_s = metrics.trouble.queued_us.sum() as f64 / 1e6;
        let labels = labels(["upstream"], values);
        let mut series = family.encode_family(&labels)?;
        series.encode_counter::<NoLabelSet, _, u64>(&wait_s, None)?;
    }
    let mut family = page.gauges("yett_upstream_queue", "Requests that wait for a place")?;
    for (values, metrics) in upstreams {
        let waiting = metrics.trouble.queue.sum().max(0);
        gauge(&mut family, &labels(["upstream"], values), waiting)?;
    }
    load(page, upstreams)?;
    let mut family = page.gauges(
        "yett_upstream_breaker",
        "Where the breaker stands: 0 closed, 1 half open, 2 open",
    )?;
    for (values, metrics) in upstreams {
        let state = metrics.trouble.breaker.load(Ordering::Relaxed);
        if state != NO_BREAKER {
            gauge(&mut family, &labels(["upstream"], values), i64::from(state))?;
        }
    }
    Ok(())
}

/// Writes how many requests upstreams may have under way, and whom that turned away.
fn load(page: &mut Page<'_>, upstreams: &[(Labels, Arc<UpstreamMetrics>)]) -> fmt::Result {
    let loads = || upstreams.iter().map(|(values, metrics)| (values, &metrics.trouble.load));
    let mut family = page.gauges(
        "yett_upstream_concurrency_limit",
        "How many requests may be under way at this moment",
    )?;
    for (values, load) in loads() {
        let limit = load.limit.load(Ordering::Relaxed);
        if limit > 0 {
            gauge(&mut family, &labels(["upstream"], values), i64::from(limit))?;
        }
    }
    let mut family = page.gauges(
        "yett_upstream_concurrency_in_flight",
        "How many requests were under way up to a second ago, where they are limited",
    )?;
    for (values, load) in loads() {
        if load.limit.load(Ordering::Relaxed) > 0 {
            let in_flight = load.in_flight.load(Ordering::Relaxed);
            gauge(&mut family, &labels(["upstream"], values), i64::from(in_flight))?;
        }
    }
    let mut family = page.gauges(
        "yett_upstream_unloaded_seconds",
        "How long answers take without load, where the limit is found from that",
    )?;
    for (values, load) in loads() {
        let unloaded_us = load.unloaded_us.load(Ordering::Relaxed);
        if unloaded_us > 0 {
            #[expect(
                clippy::cast_precision_loss,
                reason = "a float is what OpenMetrics has for times"
            )]
            let unloaded_s = unloaded_us as f64 / 1e6;
            family.encode_family(&labels(["upstream"], values))?.encode_gauge(&unloaded_s)?;
        }
    }
    let mut family = page.counters(
        "yett_upstream_shed",
        "Requests turned away because too many were under way, by priority and reason",
    )?;
    for ([upstream, _], load) in loads() {
        for (priority, counts) in PRIORITIES.into_iter().zip(&load.shed) {
            for (reason, count) in ShedReason::ALL.into_iter().zip(counts) {
                let count = count.load(Ordering::Relaxed);
                let labels =
                    [("upstream", &**upstream), ("priority", priority), ("reason", reason.label())];
                if count > 0 {
                    counter(&mut family, &labels, count)?;
                }
            }
        }
    }
    Ok(())
}

/// Writes which targets are out for a while.
pub(super) fn targets(
    page: &mut Page<'_>,
    targets: &[(Labels, Arc<TargetMetrics>)],
) -> fmt::Result {
    let keys = ["upstream", "target"];
    let mut family = page.gauges(
        "yett_target_ejected",
        "Whether the target is out for a while because requests to it failed",
    )?;
    for (values, metrics) in targets.iter().filter(|(values, _)| *values[1] != *OTHER) {
        gauge(&mut family, &labels(keys, values), i64::from(metrics.is_ejected()))?;
    }
    let mut family =
        page.counters("yett_target_ejections", "How often the target was taken out for a while")?;
    for (values, metrics) in targets {
        counter(&mut family, &labels(keys, values), metrics.ejections.sum())?;
    }
    Ok(())
}
