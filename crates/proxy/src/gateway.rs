//! What all workers share, and what each has for itself.

use crate::load::Loads;
use crate::overload::Shedding;
use crate::revoke::Watchers;
use arc_swap::ArcSwap;
use base::{Clock, Shortage};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use telemetry::access::{AccessLog, AccessWriter};
use telemetry::metrics::{Metrics, RouteMetrics};
use traffic::Snapshot;
use traffic::directory::Directory;
use traffic::memory::Memory;

/// What all workers share.
pub struct Gateway {
    /// What is served by; swapped as a whole.
    pub snapshot: ArcSwap<Snapshot>,
    /// Time.
    pub clock: Clock,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Counters of the requests that matched no route.
    pub unmatched: Arc<RouteMetrics>,
    /// One line per request.
    pub access_log: AccessLog,
    /// Who may call: what is taken away there ends what is under way.
    pub directory: Arc<Directory>,
    /// The memory of the process.
    pub memory: Arc<Memory>,
    /// How often what is served by was swapped.
    swaps: AtomicU64,
    /// Whether clients wait because there are no file descriptors for them.
    pub(crate) shortage: Shortage,
}

impl Gateway {
    /// A gateway that serves by this snapshot.
    #[must_use]
    pub fn new(
        snapshot: Snapshot,
        clock: Clock,
        metrics: Arc<Metrics>,
        access_log: AccessLog,
        directory: Arc<Directory>,
    ) -> Arc<Self> {
        let memory = Arc::clone(&snapshot.memory);
        let snapshot = ArcSwap::from_pointee(snapshot);
        let unmatched = metrics.route("none", "none");
        let shortage = Shortage::new(clock.clone());
        let swaps = AtomicU64::new(0);
        Arc::new(Self {
            snapshot,
            clock,
            metrics,
            unmatched,
            access_log,
            directory,
            memory,
            swaps,
            shortage,
        })
    }

    /// Serves by another snapshot from the next request on. Requests under way keep the one they
    /// began with; the old one is freed here, off the workers, or by its last request.
    pub fn swap(&self, snapshot: Snapshot) {
        drop(self.snapshot.swap(Arc::new(snapshot)));
        // Whoever sees the new number sees what was swapped before it.
        self.swaps.fetch_add(1, Ordering::Release);
    }

    /// A number that is another one after every change of credentials, and of what is demanded of clients.
    pub(crate) fn epoch(&self) -> u64 {
        self.directory.epoch().wrapping_add(self.swaps.load(Ordering::Acquire))
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gateway(revision {})", self.snapshot.load().revision)
    }
}

/// One worker: a thread, its position among the workers, and what it gathers for the access log.
pub struct Worker {
    /// What all workers share.
    pub gateway: Arc<Gateway>,
    /// Its position, the index into sharded state.
    pub index: usize,
    /// How busy it is, and the others are.
    pub(crate) loads: Arc<Loads>,
    /// What it refuses for coming late.
    pub(crate) shedding: Shedding,
    /// Whom a revoked credential ends.
    pub(crate) watchers: Watchers,
    /// What a look at the clock said last, so that what need not be exact costs no look of its own.
    second: AtomicU64,
    began: Instant,
    /// Only this worker's own tasks write, so the lock is never waited for.
    lines: Mutex<AccessWriter>,
}

impl Worker {
    /// A worker of a gateway that shares its work with no other.
    #[must_use]
    pub fn new(gateway: Arc<Gateway>, index: usize) -> Arc<Self> {
        Self::among(gateway, index, Arc::new(Loads::new(index + 1)))
    }

    /// One of several workers.
    pub(crate) fn among(gateway: Arc<Gateway>, index: usize, loads: Arc<Loads>) -> Arc<Self> {
        let lines = Mutex::new(gateway.access_log.writer());
        let began = gateway.clock.now();
        let (second, watchers) = (AtomicU64::new(0), Watchers::default());
        let shedding = Shedding::default();
        Arc::new(Self { gateway, index, loads, shedding, watchers, second, began, lines })
    }

    /// Looks at the clock, and whether credentials that are in use have ended.
    pub fn tick(&self) {
        self.watchers.look(self.gateway.epoch(), self.gateway.clock.wall());
        let since = self.gateway.clock.now().saturating_duration_since(self.began);
        self.second.store(since.as_secs(), Ordering::Relaxed);
    }

    /// Seconds since the worker began, at the last look.
    #[must_use]
    pub fn seconds(&self) -> u64 {
        self.second.load(Ordering::Relaxed)
    }

    /// Writes to the access log.
    pub fn log(&self, write: impl FnOnce(&mut AccessWriter)) {
        write(&mut self.lines.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Worker({})", self.index)
    }
}
