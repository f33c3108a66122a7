//! What is counted, by which labels, and the text that a scrape gets.
//!
//! Whoever compiles a config asks [`Metrics`] for handles and keeps them in the snapshot; workers then
//! only touch atomics of their own shard. Locks are taken when handles are made and when a scrape lists
//! them, never by a request.

mod control;
mod exposition;
mod file;
mod overload;
mod process;
mod limit;
mod quota;
mod store;
mod series;
mod trouble;

pub use control::ControlPlane;
pub use file::FileMetrics;
pub use limit::LimitMetrics;
pub use overload::{OverloadMetrics, OverloadNow, Shortage};
pub use process::resident_bytes_now;
pub use quota::QuotaMetrics;
pub use series::{
    ApiMetrics, AuthoriserMetrics, BackendTokenMetrics, IntrospectionMetrics, IssuerMetrics,
    ListenerMetrics, MirrorMetrics, Refusal, RouteMetrics, TargetMetrics, UpstreamMetrics,
};
pub use store::{StoreMetrics, StoreState};
pub use trouble::{BreakerState, Load, RetryReason, ShedReason, TroubleMetrics};

use crate::shards::Sharded;
use base::caps;
use exposition::Exposition;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use series::Table;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// The media type of what [`Metrics::encode`] returns, for the `content-type` header.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The label value that series share once a cap is reached.
const OTHER: &str = "other";

/// All numbers of one process; there is one, inside an `Arc`.
pub struct Metrics {
    state: Arc<State>,
    registry: Registry,
}

/// The numbers themselves, shared with what writes them out.
#[derive(Debug)]
struct State {
    shards: usize,
    fault_codes: &'static [&'static str],
    faults: Sharded<Box<[AtomicU64]>>,
    apis: Table<ApiMetrics>,
    routes: Table<RouteMetrics>,
    listeners: Table<ListenerMetrics>,
    upstreams: Table<UpstreamMetrics>,
    targets: Table<TargetMetrics>,
    mirrors: Table<MirrorMetrics>,
    issuers: Table<IssuerMetrics>,
    introspections: Table<IntrospectionMetrics>,
    authorisers: Table<AuthoriserMetrics>,
    backend_tokens: Table<BackendTokenMetrics>,
    limits: Table<LimitMetrics>,
    quotas: Table<QuotaMetrics>,
    stores: Table<StoreMetrics>,
    quota_journal: quota::JournalState,
    files: Table<FileMetrics>,
    overload: OverloadMetrics,
    control: Mutex<Option<ControlPlane>>,
    reloads_ok: AtomicU64,
    reloads_failed: AtomicU64,
    config: Mutex<ConfigState>,
    log_dropped: AtomicU64,
    spans_exported: AtomicU64,
    spans_dropped: AtomicU64,
    /// Messages and connections that broke the protocol's rules, by reason.
    refused: Mutex<BTreeMap<&'static str, u64>>,
}

/// What the last reload that worked left behind.
#[derive(Clone, Debug, Default)]
struct ConfigState {
    revision: String,
    /// Since 1970.
    loaded: Option<Duration>,
}

impl Metrics {
    /// Everything at zero, for so many workers. `fault_codes` are the values of the label `code`;
    /// [`Metrics::fault`] takes an index into them.
    #[must_use]
    pub fn new(shards: usize, fault_codes: &'static [&'static str]) -> Arc<Self> {
        let faults =
            Sharded::new(shards, || fault_codes.iter().map(|_| AtomicU64::new(0)).collect());
        let state = Arc::new(State {
            shards: shards.max(1),
            fault_codes,
            faults,
            apis: Table::new(caps::METRIC_NAMES_MAX),
            routes: Table::new(caps::METRIC_ROUTES_MAX),
            listeners: Table::new(caps::METRIC_NAMES_MAX),
            upstreams: Table::new(caps::METRIC_NAMES_MAX),
            targets: Table::new(caps::METRIC_TARGETS_MAX),
            mirrors: Table::new(caps::METRIC_NAMES_MAX),
            issuers: Table::new(caps::METRIC_NAMES_MAX),
            introspections: Table::new(caps::METRIC_NAMES_MAX),
            authorisers: Table::new(caps::METRIC_NAMES_MAX),
            backend_tokens: Table::new(caps::METRIC_NAMES_MAX),
            limits: Table::new(caps::METRIC_NAMES_MAX),
            quotas: Table::new(caps::METRIC_NAMES_MAX),
            stores: Table::new(caps::METRIC_NAMES_MAX),
            quota_journal: quota::JournalState::default(),
            files: Table::new(caps::METRIC_NAMES_MAX),
            overload: OverloadMetrics::new(shards),
            control: Mutex::default(),
            reloads_ok: AtomicU64::new(0),
            reloads_failed: AtomicU64::new(0),
            config: Mutex::default(),
            log_dropped: AtomicU64::new(0),
            spans_exported: AtomicU64::new(0),
            spans_dropped: AtomicU64::new(0),
            refused: Mutex::default(),
        });
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Exposition(Arc::clone(&state))));
        Arc::new(Self { state, registry })
    }

    /// How many workers there are cells for; at least one.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.state.shards
    }

    /// The numbers of a route, new or as they were: they outlive reloads. Beyond
    /// [`caps::METRIC_ROUTES_MAX`] the routes of an API share the label `route="other"`, after
    /// those that no config holds any more were forgotten.
    #[must_use]
    pub fn route(&self, api: &str, route: &str) -> Arc<RouteMetrics> {
        let api_metrics = self.api(api);
        let make = || RouteMetrics::new(self.shards(), Arc::clone(&api_metrics));
        let api = api_metrics.label();
        self.state.routes.entry([api, route], [api, OTHER], make)
    }

    /// The numbers of an API, new or as they were. Beyond [`caps::METRIC_NAMES_MAX`] they are
    /// shared under `api="other"`.
    #[must_use]
    pub fn api(&self, api: &str) -> Arc<ApiMetrics> {
        if self.state.apis.is_full() {
            // Routes that no config holds would keep their APIs.
            self.state.routes.prune();
        }
        let overflow = || ApiMetrics::new(self.shards(), OTHER);
        let make = || ApiMetrics::new(self.shards(), api);
        self.state.apis.entry_or([api, ""], [OTHER, ""], make, overflow)
    }

    /// The numbers of a listener, new or as they were. Beyond [`caps::METRIC_NAMES_MAX`] they are
    /// shared under `listener="other"`.
    #[must_use]
    pub fn listener(&self, name: &str) -> Arc<ListenerMetrics> {
        let make = || ListenerMetrics::new(self.shards());
        self.state.listeners.entry([name, ""], [OTHER, ""], make)
    }

    /// The numbers of an upstream, new or as they were. Beyond [`caps::METRIC_NAMES_MAX`] they are
    /// shared under `upstream="other"`.
    #[must_use]
    pub fn upstream(&self, name: &str) -> Arc<UpstreamMetrics> {
        let make = || UpstreamMetrics::new(self.shards());
        self.state.upstreams.entry([name, ""], [OTHER, ""], make)
    }

    /// The numbers of a target, new or as they were. Beyond [`caps::METRIC_TARGETS_MAX`] they are
    /// shared under `target="other"`, where `yett_target_up` says nothing.
    #[must_use]
    pub fn target(&self, upstream: &str, target: &str) -> Arc<TargetMetrics> {
        let make = || TargetMetrics::new(self.shards());
        self.state.targets.entry([upstream, target], [OTHER, OTHER], make)
    }

    /// The numbers of the copies that go to an upstream, new or as they were. Beyond
    /// [`caps::METRIC_NAMES_MAX`] they are shared under `upstream="other"`.
    #[must_use]
    pub fn mirror(&self, upstream: &str) -> Arc<MirrorMetrics> {
        let make = || MirrorMetrics::new(self.shards());
        self.state.mirrors.entry([upstream, ""], [OTHER, ""], make)
    }

    /// The numbers of an issuer whose keys are fetched, new or as they were. Beyond
    /// [`caps::METRIC_NAMES_MAX`] they are shared under `issuer="other"`.
    #[must_use]
    pub fn issuer(&self, issuer: &str) -> Arc<IssuerMetrics> {
        self.state.issuers.entry([issuer, ""], [OTHER, ""], IssuerMetrics::default)
    }

    /// The numbers of an external authoriser, new or as they were. Beyond [`caps::METRIC_NAMES_MAX`] they are
    /// shared under `authoriser="other"`.
    #[must_use]
    pub fn authoriser(&self, name: &str) -> Arc<AuthoriserMetrics> {
        let make = || AuthoriserMetrics::new(self.shards());
        self.state.authorisers.entry([name, ""], [OTHER, ""], make)
    }

    /// The numbers of a token endpoint, new or as they were. Beyond [`caps::METRIC_NAMES_MAX`] they are shared
    /// under `issuer="other"`.
    #[must_use]
    pub fn backend_tokens(&self, issuer: &str) -> Arc<BackendTokenMetrics> {
        let make = || BackendTokenMetrics::new(self.shards());
        self.state.backend_tokens.entry([issuer, ""], [OTHER, ""], make)
    }

    /// The numbers of the limits and quotas of a plan or policy, new or as they were. Beyond [`caps::METRIC_NAMES_MAX`]
    /// they are shared under `limit="other"`.
    #[must_use]
    pub fn limit(&self, name: &str) -> Arc<LimitMetrics> {
        self.state.limits.entry([name, ""], [OTHER, ""], LimitMetrics::default)
    }

    /// The numbers of the quotas of a plan or policy, new or as they were. Beyond [`caps::METRIC_NAMES_MAX`] they are
    /// shared under `quota="other"`.
    #[must_use]
    pub fn quota(&self, name: &str) -> Arc<QuotaMetrics> {
        self.state.quotas.entry([name, ""], [OTHER, ""], QuotaMetrics::default)
    }

    /// What the node went without.
    #[must_use]
    pub fn overload(&self) -> &OverloadMetrics {
        &self.state.overload
    }

    /// The numbers of a store in which gateways share counts, new or as they were. Beyond [`caps::METRIC_NAMES_MAX`]
    /// they are shared under `store="other"`.
    #[must_use]
    pub fn store(&self, name: &str) -> Arc<StoreMetrics> {
        self.state.stores.entry([name, ""], [OTHER, ""], StoreMetrics::default)
    }

    /// The journal of quotas was written: its bytes, and the counts there are.
    pub fn quota_journal_written(&self, bytes: u64, counts: u64) {
        self.state.quota_journal.written(bytes, counts);
    }

    /// The journal of quotas could not be written.
    pub fn quota_journal_failed(&self) {
        self.state.quota_journal.failed();
    }

    /// The numbers of a file that policies go by, new or as they were. Beyond [`caps::METRIC_NAMES_MAX`] they are shared
    /// under `file="other"`.
    #[must_use]
    pub fn file(&self, path: &str) -> Arc<FileMetrics> {
        self.state.files.entry([path, ""], [OTHER, ""], FileMetrics::default)
    }

    /// The numbers of an introspection endpoint, new or as they were. Beyond
    /// [`caps::METRIC_NAMES_MAX`] they are shared under `endpoint="other"`.
    #[must_use]
    pub fn introspection(&self, endpoint: &str) -> Arc<IntrospectionMetrics> {
        let make = IntrospectionMetrics::default;
        self.state.introspections.entry([endpoint, ""], [OTHER, ""], make)
    }

    /// Counts a fault; `code` is an index into the codes given to [`Metrics::new`], and one beyond
    /// them is not counted.
    pub fn fault(&self, shard: usize, code: usize) {
        if let Some(cell) = self.state.faults.cell(shard).get(code) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Drops the series of targets and files of which nobody holds the numbers any more.
    pub fn forget(&self) {
        self.state.targets.prune();
        self.state.files.prune();
    }

    /// Counts a message or a connection that broke the rules of HTTP, by reason. Reasons are few, for
    /// they stand in the program.
    pub fn refused(&self, reason: &'static str) {
        let mut refused = self.state.refused.lock().unwrap_or_else(PoisonError::into_inner);
        *refused.entry(reason).or_default() += 1;
    }

    /// Counts a reload. One that worked also leaves its revision and the time `wall`.
    pub fn reload(&self, ok: bool, revision: &str, wall: SystemTime) {
        if !ok {
            self.state.reloads_failed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.state.reloads_ok.fetch_add(1, Ordering::Relaxed);
        let loaded = wall.duration_since(SystemTime::UNIX_EPOCH).ok();
        let mut config = self.state.config.lock().unwrap_or_else(PoisonError::into_inner);
        *config = ConfigState { revision: revision.to_owned(), loaded };
    }

    /// Counts lines of the access log that were not written.
    pub fn log_dropped(&self, lines: u64) {
        self.state.log_dropped.fetch_add(lines, Ordering::Relaxed);
    }

    /// Counts spans that a collector took.
    pub fn spans_exported(&self, spans: u64) {
        self.state.spans_exported.fetch_add(spans, Ordering::Relaxed);
    }

    /// Counts spans that no collector took.
    pub fn spans_dropped(&self, spans: u64) {
        self.state.spans_dropped.fetch_add(spans, Ordering::Relaxed);
    }

    /// All numbers as OpenMetrics 1.0 text, which [`CONTENT_TYPE`] names. It reads `/proc/self`, so
    /// it belongs on a thread that may block for a moment, not on a worker.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut out = String::with_capacity(16 << 10);
        // Writing to a `String` cannot fail; a half-written text must not look like a whole one.
        if text::encode(&mut out, &self.registry).is_err() {
            out.clear();
        }
        out
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("shards", &self.state.shards).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
