//! How much passes: the arithmetic of limits, and where what was used is remembered.
//!
//! A [`Limiter`] holds several [`Rule`]s over one key. A request passes when all of them have room for it, and only
//! then uses any; what a later policy refuses is given back. Start reading at [`Rule`], then [`Table`].

use base::Clock;
use base::rates::Limit;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Arrival times: the generic cell rate algorithm.
mod gcra;
/// What a request costs.
mod cost;
/// What becomes of what is too much.
mod excess;
/// What is held of counts that gateways share.
mod lease;
/// Limits that gateways share.
pub(crate) mod leases;
/// What has a limit of its own.
mod per;
/// Who has how many requests under way.
mod permits;
/// Who shares a bandwidth.
mod lanes;
/// What one limit says, whatever its algorithm.
mod rule;
/// What all requests used together.
mod shared;
/// What was used, by key.
mod table;
/// What clients are told of it.
pub(crate) mod told;
/// Two counters: the sliding window.
mod window;
#[cfg(test)]
mod tests;

pub(crate) use cost::Cost;
pub use excess::Excess;
pub(crate) use excess::Refusal;
pub(crate) use gcra::Gcra;
pub(crate) use lanes::LaneTable;
pub(crate) use leases::{Judged, SharedLimiter};
pub(crate) use per::{Per, Who};
pub(crate) use permits::Permits;
pub(crate) use rule::Rule;
pub(crate) use table::{Key, Table};

/// How a limit counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// The generic cell rate algorithm: a burst, which comes back evenly.
    #[default]
    Gcra,
    /// As many as the limit says in any length of time, counted in two windows of which the earlier one counts by as
    /// much as still overlaps.
    SlidingWindow,
}

/// What is decided about one request, and what is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// How much more would pass now.
    pub(crate) remaining: u64,
    /// When as much would pass as after a long pause.
    pub(crate) reset_after: Duration,
    /// When this would pass, if it does not.
    pub(crate) retry_after: Option<Duration>,
    /// Which of the limits that hold together says so, in the order in which they were written.
    pub(crate) rule: usize,
}

impl Verdict {
    /// Of no limit at all.
    pub(crate) const UNLIMITED: Self =
        Self { remaining: u64::MAX, reset_after: Duration::ZERO, retry_after: None, rule: 0 };

    /// The same, said by this of several limits.
    pub(crate) const fn of(mut self, rule: usize) -> Self {
        self.rule = rule;
        self
    }

    /// Of two limits the one that says more: the one that is used up for longer, else the one of which less is left.
    pub(crate) fn tighter(self, other: Self) -> Self {
        let rank = |it: &Self| (it.retry_after, std::cmp::Reverse(it.remaining), it.reset_after);
        if rank(&other) > rank(&self) { other } else { self }
    }
}

/// A key, and what is left of each limit.
type Used = (Key, Vec<(Limit, Verdict)>);

/// Limits that hold together for each key of a table.
#[derive(Clone)]
pub(crate) struct Limiter {
    rules: Arc<[Rule]>,
    table: Arc<Table>,
}

/// Limits that this gateway counts alone, or together with others.
#[derive(Clone)]
pub(crate) enum Limits {
    /// Here.
    Here(Limiter),
    /// In a store.
    Shared(SharedLimiter),
}

impl Limits {
    /// The limits, in the order in which they were written.
    pub(crate) fn rules(&self) -> &[Rule] {
        match self {
            Self::Here(limiter) => limiter.rules(),
            Self::Shared(shared) => shared.rules(),
        }
    }
}

impl Limiter {
    /// The limits with what is remembered under `id`. Another number of limits, or windows of another length, begin
    /// anew; a changed rate or burst goes on from what was used.
    pub(crate) fn new(
        id: &str,
        rules: impl Into<Arc<[Rule]>>,
        state: &traffic::State,
        clock: &Clock,
    ) -> Self {
        let rules = rules.into();
        let kinds: Vec<String> = rules.iter().map(Rule::kind).collect();
        let id = format!("{id}#{}", kinds.join(","));
        let table = state.portable(&id, || Table::new(clock, Arc::clone(&rules)));
        Self { rules, table }
    }

    /// The limits, in the order in which they were written.
    pub(crate) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The key of what is told apart by `parts`, which outsiders may choose.
    pub(crate) fn key(&self, parts: &impl std::hash::Hash) -> Key {
        self.table.key(parts)
    }

    /// Whether what all requests share can be counted without a lock.
    pub(crate) fn is_lockless(&self) -> bool {
        self.rules.iter().all(Rule::is_one_word)
    }

    /// Judges what costs so much, and counts it if it passes; without a key, for all requests together.
    pub(crate) fn take(&self, key: Option<Key>, cost: u64, at: Instant) -> Verdict {
        let now_ns = self.table.nanoseconds(at);
        match key {
            Some(key) => self.table.take(key, &self.rules, cost, now_ns),
            None => self.table.shared.take(&self.rules, cost, now_ns),
        }
    }

    /// The moment at which to judge. It is not that of a request's arrival: before it is judged it may have waited, for
    /// as long as its client wants, and who comes out of turn would turn back the time of a key.
    pub(crate) fn now(&self) -> Instant {
        self.table.now()
    }

    /// What is left, by the limit that says most.
    pub(crate) fn left(&self, key: Option<Key>, at: Instant) -> Verdict {
        let each = self.shown(key, at).into_iter().enumerate();
        each.map(|(rule, (_, verdict))| verdict.of(rule))
            .reduce(Verdict::tighter)
            .unwrap_or(Verdict::UNLIMITED)
    }

    /// What is left of each limit.
    pub(crate) fn shown(&self, key: Option<Key>, at: Instant) -> Vec<(Limit, Verdict)> {
        let now_ns = self.table.nanoseconds(at);
        let verdicts = match key {
            Some(key) => self.table.peek_each(key, &self.rules, now_ns),
            None => self.table.shared.peek_each(&self.rules, now_ns),
        };
        self.rules.iter().map(|rule| rule.limit).zip(verdicts).collect()
    }

    /// Forgets what was used.
    pub(crate) fn reset(&self, key: Option<Key>) {
        match key {
            Some(key) => self.table.reset(key, &self.rules),
            None => self.table.shared.reset(),
        }
    }

    /// Forgets what was used by all.
    pub(crate) fn reset_all(&self) {
        self.table.reset_all();
    }

    /// How many keys are remembered.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// At most so many keys of which something is used, what is left of each, and where the next ones begin.
    pub(crate) fn page(&self, from: u64, most: usize, at: Instant) -> (Vec<Used>, Option<u64>) {
        let (keys, next) = self.table.page(&self.rules, from, most, self.table.nanoseconds(at));
        let shown = |key: Key| (key, self.shown(Some(key), at));
        (keys.into_iter().map(shown).collect(), next)
    }

    /// Goes on from what was used elsewhere at a moment, by rule, if nothing is remembered of the key.
    pub(crate) fn seed(&self, key: Key, used: &[u64], then: Instant) {
        self.table.seed(key, &self.rules, used, self.table.nanoseconds(then));
    }

    /// How much is used, by rule.
    pub(crate) fn used(&self, key: Key, at: Instant) -> Vec<u64> {
        let left = self.table.peek_each(key, &self.rules, self.table.nanoseconds(at));
        let used = |(rule, left): (&Rule, Verdict)| rule.cost_max().saturating_sub(left.remaining);
        self.rules.iter().zip(left).map(used).collect()
    }

    /// What is left now of what was used then, by rule, if nothing else was.
    pub(crate) fn faded(&self, used: &[u64], then: Instant, at: Instant) -> Vec<u64> {
        let (then_ns, at_ns) = (self.table.nanoseconds(then), self.table.nanoseconds(at));
        let rest = |(rule, used): (&Rule, &u64)| {
            let most = rule.cost_max();
            let (_, words) = rule.judge(&[], then_ns, (*used).min(most));
            most.saturating_sub(rule.judge(&words, at_ns, 0).0.remaining)
        };
        self.rules.iter().zip(used).map(rest).collect()
    }

    /// Gives back what passed here and was refused elsewhere.
    pub(crate) fn give_back(&self, key: Option<Key>, cost: u64, at: Instant) {
        let now_ns = self.table.nanoseconds(at);
        match key {
            Some(key) => self.table.give_back(key, &self.rules, cost, now_ns),
            None => self.table.shared.give_back(&self.rules, cost, now_ns),
        }
    }
}
