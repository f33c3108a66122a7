//! Time, real or driven by a test.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
}

impl Clock {
    /// A clock that stands still, its wall time being 2026-01-01T00:00:00Z.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn manual() -> Self {
        let start_wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        let elapsed_ns = AtomicU64::new(0);
        Self::Manual(Arc::new(ManualClock { start: Instant::now(), start_wall, elapsed_ns }))
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
            Self::Manual(manual) => manual.start_wall + manual.elapsed(),
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
