//! The handles that the request path holds, and the tables that keep them by label.

use super::trouble::TroubleMetrics;
use crate::shards::{Gauge, Sharded, ShardedCounter, sum};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// Upper bounds of the duration buckets in microseconds, both ends of what a gateway sees: half a
/// millisecond from a cache, half a minute until a time-out. One more bucket takes the rest.
pub(super) const BUCKETS_US: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 10_000_000, 30_000_000,
];

/// Values of the label `status`: what is no status at all, then the five classes of RFC 9110.
pub(super) const CLASSES: [&str; 6] = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// What one API served.
#[derive(Debug)]
pub struct ApiMetrics {
    label: Box<str>,
    cells: Sharded<ApiCell>,
}

#[derive(Debug, Default)]
struct ApiCell {
    buckets: [AtomicU64; BUCKETS_US.len() + 1],
    duration_us: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    deprecated: AtomicU64,
}

/// What one API served, added up.
#[derive(Debug, Default)]
pub(super) struct ApiTotals {
    pub(super) buckets: [u64; BUCKETS_US.len() + 1],
    pub(super) duration_us: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) deprecated: u64,
}

impl ApiMetrics {
    pub(super) fn new(shards: usize, label: &str) -> Self {
        Self { label: label.into(), cells: Sharded::new(shards, ApiCell::default) }
    }

    /// The value of the label `api`.
    pub(super) fn label(&self) -> &str {
        &self.label
    }

    fn record(&self, shard: usize, duration: Duration, bytes_in: u64, bytes_out: u64) {
        let cell = self.cells.cell(shard);
        // Whole microseconds hold 500 000 years: nanoseconds would wrap within days under many
        // long-lived connections. Rounding to the nearest keeps the mean of short ones true.
        let duration = duration.saturating_add(Duration::from_nanos(500));
        let duration_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_US.partition_point(|&bound_us| bound_us < duration_us);
        cell.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        cell.duration_us.fetch_add(duration_us, Ordering::Relaxed);
        cell.bytes_in.fetch_add(bytes_in, Ordering::Relaxed);
        cell.bytes_out.fetch_add(bytes_out, Ordering::Relaxed);
    }

    pub(super) fn totals(&self) -> ApiTotals {
        let cells = || self.cells.cells();
        ApiTotals {
            buckets: std::array::from_fn(|i| sum(cells().map(|cell| &cell.buckets[i]))),
            duration_us: sum(cells().map(|cell| &cell.duration_us)),
            bytes_in: sum(cells().map(|cell| &cell.bytes_in)),
            bytes_out: sum(cells().map(|cell| &cell.bytes_out)),
            deprecated: sum(cells().map(|cell| &cell.deprecated)),
        }
    }
}

/// What one route served.
#[derive(Debug)]
pub struct RouteMetrics {
    api: Arc<ApiMetrics>,
    classes: Sharded<[AtomicU64; CLASSES.len()]>,
    in_flight: Gauge,
    /// Calls of gRPC by how they ended: routes without any have none.
    rpcs: OnceLock<Sharded<[AtomicU64; RPC_STATUSES]>>,
    shards: usize,
}

/// Statuses that a call of gRPC can end with.
pub(super) const RPC_STATUSES: usize = 17;

impl RouteMetrics {
    pub(super) fn new(shards: usize, api: Arc<ApiMetrics>) -> Self {
        let classes = Sharded::new(shards, <[AtomicU64; CLASSES.len()]>::default);
        let in_flight = Gauge::new(shards);
        Self { api, classes, in_flight, rpcs: OnceLock::new(), shards }
    }

    /// Counts a call of an API that is deprecated or retired, on behalf of the worker `shard`.
    pub fn deprecated(&self, shard: usize) {
        self.api.cells.cell(shard).deprecated.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that ended, here and at its API, on behalf of the worker `shard`.
    pub fn record(
        &self,
        shard: usize,
        status: u16,
        duration: Duration,
        bytes_in: u64,
        bytes_out: u64,
    ) {
        let classes = self.classes.cell(shard);
        let class = classes.get(usize::from(status / 100)).unwrap_or(&classes[0]);
        class.fetch_add(1, Ordering::Relaxed);
        self.api.record(shard, duration, bytes_in, bytes_out);
    }

    /// Counts a call of gRPC that ended with the status of this number.
    pub fn record_rpc(&self, shard: usize, status: u8) {
        let cells = self.rpcs.get_or_init(|| Sharded::new(self.shards, Default::default));
        if let Some(count) = cells.cell(shard).get(usize::from(status)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Calls of gRPC by the number of their status.
    pub(super) fn rpc_totals(&self) -> [u64; RPC_STATUSES] {
        let cells = || self.rpcs.get().into_iter().flat_map(Sharded::cells);
        std::array::from_fn(|i| sum(cells().map(|statuses| &statuses[i])))
    }

    /// Requests under way.
    #[must_use]
    pub fn in_flight(&self) -> &Gauge {
        &self.in_flight
    }

    /// What the route's API served.
    #[must_use]
    pub fn api(&self) -> &Arc<ApiMetrics> {
        &self.api
    }

    /// Requests by class, in the order of [`CLASSES`].
    pub(super) fn totals(&self) -> [u64; CLASSES.len()] {
        std::array::from_fn(|i| sum(self.classes.cells().map(|classes| &classes[i])))
    }
}

/// Why a client's connection was closed before it could send a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The listener holds as many connections as it may.
    Full,
    /// The gateway is about to end.
    Draining,
    /// The client's address may not connect.
    Denied,
    /// The client's address has as many connections as it may.
    Address,
    /// A proxy that must announce whom it carries did not, or not properly.
    ProxyHeader,
    /// It asked by TLS for a name that the listener has neither a certificate nor an upstream for, or for none.
    UnknownName,
    /// The client's address connects more often than it may.
    Often,
    /// It begins TLS more often than it may.
    Handshakes,
    /// The process takes as much memory as it may.
    Memory,
}

impl Refusal {
    /// All of them, in the order of the counters.
    pub(super) const ALL: [Self; 9] = [
        Self::Full,
        Self::Draining,
        Self::Denied,
        Self::Address,
        Self::ProxyHeader,
        Self::UnknownName,
        Self::Often,
        Self::Handshakes,
        Self::Memory,
    ];

    /// The value of the label `reason`.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Draining => "draining",
            Self::Denied => "denied",
            Self::Address => "address_full",
            Self::ProxyHeader => "proxy_header",
            Self::UnknownName => "unknown_name",
            Self::Often => "connection_rate",
            Self::Handshakes => "handshake_rate",
            Self::Memory => "memory",
        }
    }
}

/// What one listener saw.
#[derive(Debug)]
pub struct ListenerMetrics {
    /// Connections accepted by the operating system, also those refused afterwards.
    pub accepted: ShardedCounter,
    /// Connections open now.
    pub active: Gauge,
    /// Connections that went to a worker less busy than the one that accepted them.
    pub handed_over: ShardedCounter,
    /// TLS handshakes that failed or took too long.
    pub handshake_failed: ShardedCounter,
    /// What was passed on as bytes.
    pub relayed: RelayMetrics,
    refused: [ShardedCounter; Refusal::ALL.len()],
}

/// What one listener passed on as bytes.
#[derive(Debug)]
pub struct RelayMetrics {
    /// Connections that came to their end.
    pub ended: ShardedCounter,
    /// Connections that did not: no target was reached, one side broke off, or nobody said anything.
    pub failed: ShardedCounter,
    /// Bytes from clients.
    pub bytes_in: ShardedCounter,
    /// Bytes to clients.
    pub bytes_out: ShardedCounter,
}

impl ListenerMetrics {
    pub(super) fn new(shards: usize) -> Self {
        Self {
            accepted: ShardedCounter::new(shards),
            active: Gauge::new(shards),
            handed_over: ShardedCounter::new(shards),
            handshake_failed: ShardedCounter::new(shards),
            relayed: RelayMetrics {
                ended: ShardedCounter::new(shards),
                failed: ShardedCounter::new(shards),
                bytes_in: ShardedCounter::new(shards),
                bytes_out: ShardedCounter::new(shards),
            },
            refused: std::array::from_fn(|_| ShardedCounter::new(shards)),
        }
    }

    /// Connections refused for that reason.
    #[must_use]
    pub fn refused(&self, reason: Refusal) -> &ShardedCounter {
        &self.refused[reason as usize]
    }
}

/// What was done with one upstream.
#[derive(Debug)]
pub struct UpstreamMetrics {
    /// Requests sent to a target, each retry counting anew.
    pub attempts: ShardedCounter,
    /// Attempts after the first of a request.
    pub retries: ShardedCounter,
    /// Connections made.
    pub connections_opened: ShardedCounter,
    /// Connections that could not be made, TLS included.
    pub connect_failed: ShardedCounter,
    /// Attempts that found an open connection in the pool.
    pub pool_reused: ShardedCounter,
    /// What went wrong, and what was done about it.
    pub trouble: TroubleMetrics,
    /// Attempts by how far the target is: in the zone, in the region, elsewhere.
    pub by_distance: [ShardedCounter; 3],
    is_panic: AtomicBool,
}

impl UpstreamMetrics {
    pub(super) fn new(shards: usize) -> Self {
        Self {
            attempts: ShardedCounter::new(shards),
            retries: ShardedCounter::new(shards),
            connections_opened: ShardedCounter::new(shards),
            connect_failed: ShardedCounter::new(shards),
            pool_reused: ShardedCounter::new(shards),
            trouble: TroubleMetrics::new(shards),
            by_distance: std::array::from_fn(|_| ShardedCounter::new(shards)),
            is_panic: AtomicBool::new(false),
        }
    }

    /// Says whether so few targets are well that all of them get requests; returns what was said before.
    pub fn set_panic(&self, is_panic: bool) -> bool {
        self.is_panic.swap(is_panic, Ordering::Relaxed)
    }

    /// Whether so few targets are well that all of them get requests.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        self.is_panic.load(Ordering::Relaxed)
    }
}

/// What became of the copies of requests that go to one upstream.
#[derive(Debug)]
pub struct MirrorMetrics {
    /// Sent and answered, with whatever status.
    pub sent: ShardedCounter,
    /// Sent, or not even that, and not answered in time.
    pub failed: ShardedCounter,
    /// Not made since too many were under way.
    pub shed: ShardedCounter,
    /// Not made since the body was too large.
    pub too_large: ShardedCounter,
    /// Not made since the request's body never came to its end.
    pub cut: ShardedCounter,
}

impl MirrorMetrics {
    pub(super) fn new(shards: usize) -> Self {
        Self {
            sent: ShardedCounter::new(shards),
            failed: ShardedCounter::new(shards),
            shed: ShardedCounter::new(shards),
            too_large: ShardedCounter::new(shards),
            cut: ShardedCounter::new(shards),
        }
    }
}

/// How fetching the keys of one issuer goes.
#[derive(Debug, Default)]
pub struct IssuerMetrics {
    pub(super) fetched: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) keys: AtomicU64,
    pub(super) fetched_s: AtomicU64,
}

impl IssuerMetrics {
    /// Counts a fetch that worked, with the time in milliseconds since 1970.
    pub fn fetched(&self, wall_ms: u64) {
        self.fetched.fetch_add(1, Ordering::Relaxed);
        self.fetched_s.store(wall_ms / 1_000, Ordering::Relaxed);
    }

    /// Counts a fetch that failed.
    pub fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Says how many keys can be used.
    pub fn set_keys(&self, keys: usize) {
        self.keys.store(keys as u64, Ordering::Relaxed);
    }
}

/// What an external authoriser was asked.
#[derive(Debug)]
pub struct AuthoriserMetrics {
    /// It let the request pass.
    pub allowed: ShardedCounter,
    /// It refused the request.
    pub denied: ShardedCounter,
    /// It did not answer in time, or gave an answer that means nothing.
    pub failed: ShardedCounter,
    /// It was not asked, since what it would say was known.
    pub cached: ShardedCounter,
    /// Microseconds that were waited for it.
    pub waited_us: ShardedCounter,
}

impl AuthoriserMetrics {
    pub(super) fn new(shards: usize) -> Self {
        Self {
            allowed: ShardedCounter::new(shards),
            denied: ShardedCounter::new(shards),
            failed: ShardedCounter::new(shards),
            cached: ShardedCounter::new(shards),
            waited_us: ShardedCounter::new(shards),
        }
    }
}

/// What became of asking for the tokens that backends want of the gateway.
#[derive(Debug)]
pub struct BackendTokenMetrics {
    /// Tokens that were obtained.
    pub obtained: ShardedCounter,
    /// Times that there was none to obtain.
    pub failed: ShardedCounter,
}

impl BackendTokenMetrics {
    pub(super) fn new(shards: usize) -> Self {
        Self { obtained: ShardedCounter::new(shards), failed: ShardedCounter::new(shards) }
    }
}

/// What one introspection endpoint said.
#[derive(Debug, Default)]
pub struct IntrospectionMetrics {
    pub(super) active: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) failed: AtomicU64,
}

impl IntrospectionMetrics {
    /// Counts a token that is good.
    pub fn active(&self) {
        self.active.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one that is not, or not here.
    pub fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a question that was not answered.
    pub fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }
}

/// What was done with one target.
#[derive(Debug)]
pub struct TargetMetrics {
    /// Requests sent to it.
    pub requests: ShardedCounter,
    /// Requests that it did not answer, or answered with what counts as a failure for its health.
    pub failures: ShardedCounter,
    /// How often it was taken out for a while because requests to it failed.
    pub ejections: ShardedCounter,
    up: AtomicBool,
    ejected: AtomicBool,
}

impl TargetMetrics {
    pub(super) fn new(shards: usize) -> Self {
        Self {
            requests: ShardedCounter::new(shards),
            failures: ShardedCounter::new(shards),
            ejections: ShardedCounter::new(shards),
            up: AtomicBool::new(true),
            ejected: AtomicBool::new(false),
        }
    }

    /// Says whether the target may be chosen. A new one is up until somebody says otherwise.
    pub fn set_up(&self, up: bool) {
        self.up.store(up, Ordering::Relaxed);
    }

    /// Whether the target may be chosen.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed) && !self.is_ejected()
    }

    /// Says whether the target is out for a while because requests to it failed.
    pub fn set_ejected(&self, ejected: bool) {
        self.ejected.store(ejected, Ordering::Relaxed);
    }

    /// Whether it is.
    #[must_use]
    pub fn is_ejected(&self) -> bool {
        self.ejected.load(Ordering::Relaxed)
    }
}

/// Values of up to two labels; the second is empty where there is only one.
pub(super) type Labels = [Box<str>; 2];

/// Of so many that find no room one looks whether any is left that nobody holds.
const PRUNE_EVERY: usize = 64;

/// Series by their labels. The lock is taken when a config is compiled and when a scrape lists them.
#[derive(Debug)]
pub(super) struct Table<T> {
    cap: usize,
    /// How many have found no room one after the other.
    crowded_out: AtomicUsize,
    series: Mutex<BTreeMap<Labels, Arc<T>>>,
}

impl<T> Table<T> {
    /// Nothing yet, and never more than `cap` series beside those for the overflow.
    pub(super) fn new(cap: usize) -> Self {
        Self { cap, crowded_out: AtomicUsize::new(0), series: Mutex::default() }
    }

    /// The series with these labels, made if there is room, else the one with the labels `overflow`.
    pub(super) fn entry(
        &self,
        labels: [&str; 2],
        overflow: [&str; 2],
        make: impl Fn() -> T,
    ) -> Arc<T> {
        self.entry_or(labels, overflow, &make, &make)
    }

    /// Like [`Table::entry`], where the series for the overflow is made in a way of its own.
    pub(super) fn entry_or(
        &self,
        labels: [&str; 2],
        overflow: [&str; 2],
        make: impl FnOnce() -> T,
        make_overflow: impl FnOnce() -> T,
    ) -> Arc<T> {
        let labels = labels.map(Box::from);
        let mut series = self.lock();
        if let Some(known) = series.get(&labels) {
            return Arc::clone(known);
        }
        // Of a config with far more routes than there is room for, not each one is worth a look at all.
        let crowded_out = self.crowded_out.load(Ordering::Relaxed);
        if series.len() >= self.cap && crowded_out.is_multiple_of(PRUNE_EVERY) {
            series.retain(|_, held| is_held(held));
        }
        if series.len() >= self.cap {
            self.crowded_out.store(crowded_out.wrapping_add(1), Ordering::Relaxed);
            let overflow = overflow.map(Box::from);
            return Arc::clone(series.entry(overflow).or_insert_with(|| Arc::new(make_overflow())));
        }
        self.crowded_out.store(0, Ordering::Relaxed);
        Arc::clone(series.entry(labels).or_insert_with(|| Arc::new(make())))
    }

    /// Whether new labels find no room before others are dropped.
    pub(super) fn is_full(&self) -> bool {
        self.lock().len() >= self.cap
    }

    /// Drops the series that nobody holds.
    pub(super) fn prune(&self) {
        self.lock().retain(|_, held| is_held(held));
    }

    /// All series in the order of their labels, taken out so that the lock is not held while they
    /// are written.
    pub(super) fn list(&self) -> Vec<(Labels, Arc<T>)> {
        self.lock().iter().map(|(labels, series)| (labels.clone(), Arc::clone(series))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Labels, Arc<T>>> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether anybody but the table has it.
fn is_held<T>(series: &Arc<T>) -> bool {
    Arc::strong_count(series) > 1
}
