//! Waiting longer after each failure, with jitter so that many waiters do not wake together.

use crate::random;
use std::time::Duration;

/// Exponential back-off with full jitter between half of each step and the step.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    /// Starts at `first` and doubles up to `max`.
    #[must_use]
    pub const fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, failures: 0 }
    }

    /// How long to wait after one more failure.
    pub fn after_failure(&mut self) -> Duration {
        let step = self.first.saturating_mul(1 << self.failures.min(20)).min(self.max);
        self.failures = self.failures.saturating_add(1);
        let half_ns = u64::try_from(step.as_nanos() / 2).unwrap_or(u64::MAX);
        Duration::from_nanos(half_ns.saturating_add(random::fast_below(half_ns.max(1))))
    }

    /// Forgets the failures.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::Backoff;
    use std::time::Duration;

    #[test]
    fn waits_grow_to_the_maximum_and_start_over_after_success() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        for step_ms in [100, 200, 400, 800, 1_600, 2_000, 2_000] {
            let wait = backoff.after_failure();
            let step = Duration::from_millis(step_ms);
            assert!(wait >= step / 2 && wait <= step, "{wait:?} is not within {step:?}");
        }
        backoff.reset();
        assert!(backoff.after_failure() <= Duration::from_millis(100));
    }
}
