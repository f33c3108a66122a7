use super::Verdict;
use super::gcra::{LAG_NS_MAX, SPAN_NS_MAX};
use base::units::Rate;
use std::time::Duration;

/// The sliding window with two counters. What was used in the window before counts by the part of it that still lies
/// within one length of time from now, rounded up: as if it had been spread evenly.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    count: u64,
    period_ns: u64,
}

/// What is remembered: the number of the window, and both counters.
#[derive(Clone, Copy)]
struct Used {
    before: u64,
    now: u64,
}

impl Window {
    /// Nothing when the window is longer than a year.
    pub(super) fn new(limit: Rate) -> Option<Self> {
        let period_ns = u64::try_from(limit.period.as_nanos()).ok()?;
        let is_countable = (1..=SPAN_NS_MAX).contains(&period_ns);
        is_countable.then_some(Self { count: u64::from(limit.count), period_ns })
    }

    pub(super) fn period_ns(self) -> u64 {
        self.period_ns
    }

    pub(super) fn count(self) -> u64 {
        self.count
    }

    fn is_lag(self, windows: u64) -> bool {
        (windows - 1).saturating_mul(self.period_ns) <= LAG_NS_MAX
    }

    fn counts(state: [u64; 2]) -> Used {
        Used { before: state[1] >> 32, now: state[1] & u64::from(u32::MAX) }
    }

    /// The number of the window, how far into it now is, and what was used. Windows never go back, even where workers come
    /// to a key a little out of turn.
    fn read(self, state: [u64; 2], now_ns: u64) -> (u64, u64, Used) {
        let number = now_ns / self.period_ns;
        let counts = Self::counts(state);
        match number.checked_sub(state[0]) {
            Some(0) => (number, now_ns % self.period_ns, counts),
            Some(1) => (number, now_ns % self.period_ns, Used { before: counts.now, now: 0 }),
            // Another worker was there first: this window has just begun.
            None if self.is_lag(state[0] - number) => (state[0], 0, counts),
            // Also a window that has not begun: the clock went back over it.
            _ => (number, now_ns % self.period_ns, Used { before: 0, now: 0 }),
        }
    }

    fn write(number: u64, used: Used) -> [u64; 2] {
        let cap = u64::from(u32::MAX);
        [number, used.before.min(cap) << 32 | used.now.min(cap)]
    }

    /// What `count` of the window before still counts, so far into this one.
    fn overlap(self, count: u64, into_ns: u64) -> u64 {
        let left_ns = u128::from(self.period_ns - into_ns);
        let counted = (u128::from(count) * left_ns).div_ceil(u128::from(self.period_ns));
        u64::try_from(counted).unwrap_or(u64::MAX)
    }

    /// Judges what costs so much: what is decided, and what is remembered after it.
    pub(super) fn judge(self, state: [u64; 2], now_ns: u64, cost: u64) -> (Verdict, [u64; 2]) {
        let (number, into_ns, mut used) = self.read(state, now_ns);
        let room = self.count.saturating_sub(used.now + self.overlap(used.before, into_ns));
        let retry_after = (cost > room).then(|| self.wait(used, into_ns, cost));
        let remaining = if retry_after.is_none() {
            used.now += cost;
            room - cost
        } else {
            room
        };
        let reset_ns = match used {
            Used { before: 0, now: 0 } => 0,
            Used { now: 0, .. } => self.period_ns - into_ns,
            _ => 2 * self.period_ns - into_ns,
        };
        let reset_after = Duration::from_nanos(reset_ns);
        (Verdict { remaining, reset_after, retry_after, rule: 0 }, Self::write(number, used))
    }

    /// What is remembered after what cost so much, whether there was room for it or not.
    pub(super) fn fill(self, state: [u64; 2], now_ns: u64, cost: u64) -> [u64; 2] {
        let (number, _, mut used) = self.read(state, now_ns);
        used.now = used.now.saturating_add(cost);
        Self::write(number, used)
    }

    /// How long it takes until there is room for `cost`; for what never has any, until nothing is used.
    fn wait(self, used: Used, into_ns: u64, cost: u64) -> Duration {
        let Some(room) = self.count.checked_sub(cost) else {
            return Duration::from_nanos(2 * self.period_ns - into_ns);
        };
        let ns = match room.checked_sub(used.now) {
            Some(for_before) => self.falls_to(used.before, for_before).saturating_sub(into_ns),
            // This window must end first, and then counts as the one before.
            None => self.period_ns - into_ns + self.falls_to(used.now, room),
        };
        Duration::from_nanos(ns.max(1))
    }

    /// How far into a window `count` of the one before counts no more than `room`.
    fn falls_to(self, count: u64, room: u64) -> u64 {
        if count <= room {
            return 0;
        }
        let counts_ns = u128::from(room) * u128::from(self.period_ns) / u128::from(count);
        self.period_ns - u64::try_from(counts_ns).unwrap_or(0)
    }

    /// What is remembered without what cost so much and was counted at `at_ns`, if that still counts.
    pub(super) fn give_back(self, state: [u64; 2], at_ns: u64, cost: u64) -> [u64; 2] {
        let mut used = Self::counts(state);
        match state[0].checked_sub(at_ns / self.period_ns) {
            Some(0) => used.now = used.now.saturating_sub(cost),
            Some(1) => used.before = used.before.saturating_sub(cost),
            _ => {}
        }
        Self::write(state[0], used)
    }

    /// When nothing is remembered any more.
    pub(super) fn ends_ns(self, state: [u64; 2]) -> u64 {
        match state[1] {
            0 => 0,
            _ => state[0].saturating_add(2).saturating_mul(self.period_ns),
        }
    }
}
