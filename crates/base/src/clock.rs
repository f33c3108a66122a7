//! Time, real or driven by a test.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// Where "now" comes from. Cloning is cheap; clones of a manual clock move together.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clocks.
    #[default]
    System,
    /// A clock that only [`Clock::advance`] moves.
    Manual(Arc<ManualClock>),
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock {
    start: Instant,
    start_wall: SystemTime,
    elapsed_ns: AtomicU64,
    /// How far somebody has set the wall time.
    stepped_s: AtomicI64,
}

impl Clock {
    /// A clock that stands still, its wall time being 2026-01-01T00:00:00Z.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn manual() -> Self {
        let start_wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        let (elapsed_ns, stepped_s) = (AtomicU64::new(0), AtomicI64::new(0));
        let start = Instant::now();
        Self::Manual(Arc::new(ManualClock { start, start_wall, elapsed_ns, stepped_s }))
    }

    /// Monotonic time, for durations and deadlines.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn now(&self) -> Instant {
        match self {
            Self::System => Instant::now(),
            Self::Manual(manual) => manual.start + manual.elapsed(),
        }
    }

    /// Wall time, for logs and expiry dates; it may jump.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn wall(&self) -> SystemTime {
        match self {
            Self::System => SystemTime::now(),
            Self::Manual(manual) => {
                let wall = manual.start_wall + manual.elapsed();
                let stepped_s = manual.stepped_s.load(Ordering::SeqCst);
                let step = Duration::from_secs(stepped_s.unsigned_abs());
                let moved =
                    if stepped_s < 0 { wall.checked_sub(step) } else { wall.checked_add(step) };
                moved.unwrap_or(wall)
            }
        }
    }

    /// Processor time that this thread has spent, which does not grow while the system lets others run. With a manual clock
    /// a thread is never idle.
    #[must_use]
    pub fn spent_by_thread(&self) -> Duration {
        match self {
            Self::System => {
                let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
                Duration::try_from(spent).unwrap_or_default()
            }
            Self::Manual(manual) => manual.elapsed(),
        }
    }

    /// Sets the wall time of a manual clock so many seconds forward, or back, as an administrator or a time
    /// server does to a machine's. Monotonic time goes on as if nothing had happened.
    pub fn step_wall(&self, by_s: i64) {
        if let Self::Manual(manual) = self {
            manual.stepped_s.fetch_add(by_s, Ordering::SeqCst);
        }
    }

    /// Moves a manual clock forward; the system clock is not ours to move and stays.
    pub fn advance(&self, by: Duration) {
        if let Self::Manual(manual) = self {
            let by_ns = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
            manual.elapsed_ns.fetch_add(by_ns, Ordering::SeqCst);
        }
    }
}

impl ManualClock {
    fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.elapsed_ns.load(Ordering::SeqCst))
    }
}

/// Milliseconds since 1970, zero before it.
#[must_use]
pub fn unix_ms(wall: SystemTime) -> u64 {
    let since = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::Clock;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn only_its_own_work_counts_as_what_a_thread_spent() {
        const WORK: Duration = Duration::from_millis(100);
        let clock = Clock::System;
        let before = clock.spent_by_thread();
        let other = thread::spawn(|| {
            let clock = Clock::System;
            while clock.spent_by_thread() < WORK {}
            clock.spent_by_thread()
        });
        assert!(other.join().unwrap() >= WORK);
        assert!(clock.spent_by_thread() - before < WORK, "it only waited");
    }
}
