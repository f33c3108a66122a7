use super::Verdict;
use base::units::Rate;
use std::time::Duration;

/// Beyond it, sums of nanoseconds could overflow within the age of a machine.
pub(super) const SPAN_NS_MAX: u64 = 366 * 86_400 * 1_000_000_000;

/// The generic cell rate algorithm. What is remembered is one number: the time at which everything used would have come
/// back (the theoretical arrival time).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gcra {
    /// What one request is worth, in nanoseconds.
    cost_ns: u64,
    /// How far ahead of now arrival times may be.
    burst_ns: u64,
}

impl Gcra {
    /// A limit that nothing passes.
    pub(crate) const NEVER: Self = Self { cost_ns: SPAN_NS_MAX, burst_ns: 0 };

    /// Nothing when a request is worth less than a nanosecond, or the burst more than a year.
    pub(crate) fn new(limit: Rate, burst: u32) -> Option<Self> {
        let period_ns = u64::try_from(limit.period.as_nanos()).ok()?;
        let cost_ns = period_ns.checked_div(u64::from(limit.count)).filter(|ns| *ns > 0)?;
        let burst_ns = cost_ns.checked_mul(u64::from(burst)).filter(|ns| *ns <= SPAN_NS_MAX)?;
        Some(Self { cost_ns, burst_ns })
    }

    /// Judges what costs so much: what is decided, and the arrival time after it. What a larger limit left behind is
    /// cut to a burst used up, so that a changed limit never locks anybody out.
    pub(super) fn judge(self, arrival_ns: u64, now_ns: u64, cost: u64) -> (Verdict, u64) {
        let ahead_ns = arrival_ns.saturating_sub(now_ns).min(self.burst_ns);
        let next_ns = ahead_ns.saturating_add(self.cost_ns.saturating_mul(cost));
        let (ahead_ns, wait_ns) = match next_ns.checked_sub(self.burst_ns).filter(|ns| *ns > 0) {
            Some(wait_ns) => (ahead_ns, Some(wait_ns)),
            None => (next_ns, None),
        };
        let verdict = Verdict {
            remaining: (self.burst_ns - ahead_ns) / self.cost_ns,
            reset_after: Duration::from_nanos(ahead_ns),
            retry_after: wait_ns.map(Duration::from_nanos),
        };
        (verdict, now_ns.saturating_add(ahead_ns))
    }

    /// The arrival time after what cost so much, whether there was room for it or not: no more than a burst is ever used
    /// up, so that whoever pauses for one request's worth of time passes again.
    pub(super) fn fill(self, arrival_ns: u64, now_ns: u64, cost: u64) -> u64 {
        let ahead_ns = arrival_ns.saturating_sub(now_ns);
        let ahead_ns = ahead_ns.saturating_add(self.cost_ns.saturating_mul(cost));
        now_ns.saturating_add(ahead_ns.min(self.burst_ns))
    }

    /// The arrival time without what cost so much.
    pub(super) fn give_back(self, arrival_ns: u64, cost: u64) -> u64 {
        arrival_ns.saturating_sub(self.cost_ns.saturating_mul(cost))
    }

    /// The largest cost that can ever pass.
    pub(super) fn cost_max(self) -> u64 {
        self.burst_ns / self.cost_ns
    }
}
