use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// How a store is in which gateways share counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreState {
    /// It was not reached yet.
    #[default]
    Starting,
    /// It answers.
    Up,
    /// It answers, but not for all counts.
    Partly,
    /// It does not answer.
    Down,
}

impl StoreState {
    /// Its name in `/status`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Partly => "partly",
            Self::Down => "down",
        }
    }
}

/// What a store is asked, and what becomes of requests without it.
#[derive(Debug, Default)]
pub struct StoreMetrics {
    /// 0 before it was reached, 1 while it answers, 2 while it does not.
    state: AtomicU8,
    gateways: AtomicU32,
    asked: AtomicU64,
    failed: AtomicU64,
    waited: AtomicU64,
    local: AtomicU64,
    refused: AtomicU64,
    allowed: AtomicU64,
    crowded: AtomicU64,
}

impl StoreMetrics {
    /// It changed.
    pub fn turned(&self, state: StoreState) {
        let state = match state {
            StoreState::Starting => 0,
            StoreState::Up | StoreState::Partly => 1,
            StoreState::Down => 2,
        };
        self.state.store(state, Ordering::Relaxed);
    }

    /// So many gateways share it.
    pub fn gateways(&self, count: u32) {
        self.gateways.store(count, Ordering::Relaxed);
    }

    /// Counts questions, and those of them that failed.
    pub fn asked(&self, asked: u64, failed: u64) {
        self.asked.fetch_add(asked, Ordering::Relaxed);
        self.failed.fetch_add(failed, Ordering::Relaxed);
    }

    /// Counts a request that waits for an answer.
    pub fn waited(&self) {
        self.waited.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that this gateway judged alone.
    pub fn local(&self) {
        self.local.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that was refused for want of the store.
    pub fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that passed uncounted for want of the store.
    pub fn allowed(&self) {
        self.allowed.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that this gateway judged alone since too many waited for the store.
    pub fn crowded(&self) {
        self.crowded.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests that were judged alone for want of room.
    pub(super) fn crowd(&self) -> u64 {
        self.crowded.load(Ordering::Relaxed)
    }

    /// Whether it answers.
    pub(super) fn is_up(&self) -> bool {
        self.state.load(Ordering::Relaxed) == 1
    }

    /// How many gateways share it.
    pub(super) fn gateways_now(&self) -> i64 {
        i64::from(self.gateways.load(Ordering::Relaxed))
    }

    /// Questions by outcome.
    pub(super) fn questions(&self) -> [(&'static str, u64); 2] {
        let failed = self.failed.load(Ordering::Relaxed);
        let asked = self.asked.load(Ordering::Relaxed);
        [("answered", asked.saturating_sub(failed)), ("failed", failed)]
    }

    /// Requests that waited for it.
    pub(super) fn waits(&self) -> u64 {
        self.waited.load(Ordering::Relaxed)
    }

    /// Requests that were judged without it.
    pub(super) fn without(&self) -> [(&'static str, u64); 3] {
        [("local", &self.local), ("refuse", &self.refused), ("allow", &self.allowed)]
            .map(|(how, count)| (how, count.load(Ordering::Relaxed)))
    }
}
