use super::atomic::{AtomicU32, Ordering};

/// How many are in. Everybody changes it, so nobody takes a lock; nothing else is ordered by it.
#[derive(Debug)]
pub(super) struct Count(AtomicU32);

impl Count {
    pub(super) fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// One more, unless `max` are in.
    pub(super) fn enter(&self, max: u32) -> bool {
        let mut inside = self.0.load(Ordering::Relaxed);
        while inside < max {
            let entered = self.0.compare_exchange_weak(
                inside,
                inside + 1,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            match entered {
                Ok(_) => return true,
                Err(other) => inside = other,
            }
        }
        false
    }

    /// How many are in.
    pub(super) fn inside(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// One less; only who entered leaves, and once.
    pub(super) fn leave(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
