use super::Verdict;
use base::gcra;
use base::units::Rate;
use std::time::Duration;
use traffic::store::Counting;

pub(super) use base::gcra::{LAG_NS_MAX, SPAN_NS_MAX};

/// The generic cell rate algorithm. What is remembered is one number: the time at which everything used would have come
/// back (the theoretical arrival time).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gcra(gcra::Gcra);

impl Gcra {
    /// A limit that nothing passes.
    pub(crate) const NEVER: Self = Self(gcra::Gcra::NEVER);

    /// Nothing when a request is worth less than a nanosecond, or the burst more than a year.
    pub(crate) fn new(limit: Rate, burst: u32) -> Option<Self> {
        gcra::Gcra::new(limit, burst).map(Self)
    }

    /// Judges what costs so much: what is decided, and the arrival time after it.
    pub(super) fn judge(self, arrival_ns: u64, now_ns: u64, cost: u64) -> (Verdict, u64) {
        let judged = self.0.judge(arrival_ns, now_ns, cost);
        let verdict = Verdict {
            remaining: self.0.remaining(judged.ahead_ns),
            reset_after: Duration::from_nanos(judged.ahead_ns),
            retry_after: judged.wait_ns.map(Duration::from_nanos),
            rule: 0,
        };
        (verdict, judged.arrival_ns)
    }

    /// The arrival time after what cost so much, whether there was room for it or not: no more than a burst is ever used
    /// up, so that whoever pauses for one request's worth of time passes again.
    pub(super) fn fill(self, arrival_ns: u64, now_ns: u64, cost: u64) -> u64 {
        self.0.fill(arrival_ns, now_ns, cost)
    }

    /// The arrival time without what cost so much.
    pub(super) fn give_back(self, arrival_ns: u64, cost: u64) -> u64 {
        self.0.give_back(arrival_ns, cost)
    }

    /// How a store counts the same.
    pub(super) fn counting(self) -> Counting {
        let cost_ns = self.regain_ns(1);
        Counting::Gcra { cost_ns, burst_ns: cost_ns.saturating_mul(self.cost_max()) }
    }

    /// How long it takes until so much has come back.
    pub(super) fn regain_ns(self, cost: u64) -> u64 {
        u64::MAX - self.0.give_back(u64::MAX, cost)
    }

    /// The largest cost that can ever pass.
    pub(super) fn cost_max(self) -> u64 {
        self.0.cost_max()
    }
}
