use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// How often consumers came to the end of a quota.
#[derive(Debug, Default)]
pub struct QuotaMetrics {
    pub(super) nearly: AtomicU64,
    pub(super) used_up: AtomicU64,
}

impl QuotaMetrics {
    /// Counts one that came to eight tenths.
    pub fn nearly_used_up(&self) {
        self.nearly.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one that came to the end.
    pub fn used_up(&self) {
        self.used_up.fetch_add(1, Ordering::Relaxed);
    }
}

/// How the journal of quotas does.
#[derive(Debug, Default)]
pub(super) struct JournalState {
    pub(super) failures: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) counts: AtomicU64,
    /// 0 where there is none, 1 while it is written, 2 while it cannot be.
    state: AtomicU8,
}

impl JournalState {
    pub(super) fn written(&self, bytes: u64, counts: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
        self.counts.store(counts, Ordering::Relaxed);
        self.state.store(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.state.store(2, Ordering::Relaxed);
    }

    /// Whether it is written, if there is one.
    pub(super) fn is_up(&self) -> Option<bool> {
        match self.state.load(Ordering::Relaxed) {
            0 => None,
            state => Some(state == 1),
        }
    }
}
