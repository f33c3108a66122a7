use std::sync::atomic::{AtomicU64, Ordering};

/// How often a limit was reached.
#[derive(Debug, Default)]
pub struct LimitMetrics {
    pub(super) refused: AtomicU64,
    pub(super) would_refuse: AtomicU64,
}

impl LimitMetrics {
    /// Counts a request that was refused.
    pub fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that a dry run let pass.
    pub fn would_refuse(&self) {
        self.would_refuse.fetch_add(1, Ordering::Relaxed);
    }
}
