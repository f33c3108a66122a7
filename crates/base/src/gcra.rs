//! So much per length of time, as arithmetic: the generic cell rate algorithm (ITU-T I.371).

use crate::units::Rate;

/// Beyond it, sums of nanoseconds could overflow within the age of a machine.
pub const SPAN_NS_MAX: u64 = 366 * 86_400 * 1_000_000_000;

/// How much older than that of another the moment may be at which a worker judges.
pub const LAG_NS_MAX: u64 = 1_000_000_000;

/// A limit. What is remembered is one number: the time at which everything used would have come back (the theoretical
/// arrival time).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gcra {
    /// What one is worth, in nanoseconds.
    cost_ns: u64,
    /// How far ahead of now arrival times may be.
    burst_ns: u64,
}

/// What is decided, and what is remembered after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The arrival time to remember.
    pub arrival_ns: u64,
    /// How far ahead of now the arrival time is.
    pub ahead_ns: u64,
    /// When it would pass, if it does not.
    pub wait_ns: Option<u64>,
}

impl Gcra {
    /// A limit that nothing passes.
    pub const NEVER: Self = Self { cost_ns: SPAN_NS_MAX, burst_ns: 0 };

    /// Nothing when one is worth less than a nanosecond, or the burst more than a year.
    #[must_use]
    pub fn new(limit: Rate, burst: u32) -> Option<Self> {
        let period_ns = u64::try_from(limit.period.as_nanos()).ok()?;
        let cost_ns = period_ns.checked_div(u64::from(limit.count)).filter(|ns| *ns > 0)?;
        let burst_ns = cost_ns.checked_mul(u64::from(burst)).filter(|ns| *ns <= SPAN_NS_MAX)?;
        Some(Self { cost_ns, burst_ns })
    }

    /// The arrival time to go on from, and how far ahead of now that is. What a larger limit left behind is cut to a
    /// burst used up, so that a changed limit never locks anybody out. Else it never goes back, even where workers come a
    /// little out of turn and `now_ns` is older than that of another.
    fn from(self, arrival_ns: u64, now_ns: u64) -> (u64, u64) {
        let ahead_ns = arrival_ns.saturating_sub(now_ns);
        if ahead_ns > self.burst_ns.saturating_add(LAG_NS_MAX) {
            return (now_ns.saturating_add(self.burst_ns), self.burst_ns);
        }
        (arrival_ns.max(now_ns), ahead_ns.min(self.burst_ns))
    }

    /// Judges what costs so much. What is refused uses nothing.
    #[must_use]
    pub fn judge(self, arrival_ns: u64, now_ns: u64, cost: u64) -> Judged {
        let (arrival_ns, ahead_ns) = self.from(arrival_ns, now_ns);
        let cost_ns = self.cost_ns.saturating_mul(cost);
        let next_ns = ahead_ns.saturating_add(cost_ns);
        match next_ns.checked_sub(self.burst_ns).filter(|ns| *ns > 0) {
            Some(wait_ns) => Judged { arrival_ns, ahead_ns, wait_ns: Some(wait_ns) },
            None => {
                let arrival_ns = arrival_ns.saturating_add(cost_ns);
                Judged { arrival_ns, ahead_ns: next_ns, wait_ns: None }
            }
        }
    }

    /// The arrival time after what cost so much, whether it passes or not: at most a burst ahead.
    #[must_use]
    pub fn fill(self, arrival_ns: u64, now_ns: u64, cost: u64) -> u64 {
        let (arrival_ns, ahead_ns) = self.from(arrival_ns, now_ns);
        let room_ns = self.burst_ns.saturating_sub(ahead_ns);
        arrival_ns.saturating_add(self.cost_ns.saturating_mul(cost).min(room_ns))
    }

    /// How much more would pass where the arrival time is so far ahead.
    #[must_use]
    pub const fn remaining(self, ahead_ns: u64) -> u64 {
        self.burst_ns.saturating_sub(ahead_ns) / self.cost_ns
    }

    /// The arrival time without what cost so much.
    #[must_use]
    pub fn give_back(self, arrival_ns: u64, cost: u64) -> u64 {
        arrival_ns.saturating_sub(self.cost_ns.saturating_mul(cost))
    }

    /// The largest cost that can ever pass.
    #[must_use]
    pub const fn cost_max(self) -> u64 {
        self.burst_ns / self.cost_ns
    }
}
