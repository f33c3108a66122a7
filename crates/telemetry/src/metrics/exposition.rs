//! Writes the numbers out: one method per group of families, in the order in which they are read.

use super::process::Process;
use super::series::{ApiMetrics, ApiTotals, BUCKETS_US, CLASSES, Labels, Refusal};
use super::{OTHER, State, overload, trouble};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

/// What a scrape asks for the numbers.
#[derive(Debug)]
pub(super) struct Exposition(pub(super) Arc<State>);

impl Collector for Exposition {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page { encoder };
        self.requests(&mut page)?;
        self.apis(&mut page)?;
        self.faults(&mut page)?;
        self.listeners(&mut page)?;
        self.upstreams(&mut page)?;
        self.mirrors(&mut page)?;
        self.issuers(&mut page)?;
        self.introspections(&mut page)?;
        self.authorisers(&mut page)?;
        self.backend_tokens(&mut page)?;
        self.limits(&mut page)?;
        self.quotas(&mut page)?;
        super::file::files(&mut page, &self.0.files.list())?;
        self.stores(&mut page)?;
        self.targets(&mut page)?;
        overload::node(&mut page, &self.0)?;
        let control = *self.0.control.lock().unwrap_or_else(PoisonError::into_inner);
        super::control::control(&mut page, control)?;
        self.config(&mut page)?;
        process(&mut page)
    }
}

impl Exposition {
    fn requests(&self, page: &mut Page<'_>) -> fmt::Result {
        let routes = self.0.routes.list();
        let keys = ["api", "route"];
        let mut family = page.counters(
            "yett_requests",
            "Requests that ended, by class of the status sent to the client",
        )?;
        for ([api, route], metrics) in &routes {
            for (class, count) in CLASSES.iter().zip(metrics.totals()) {
                // A class nobody has seen costs a series per route; the usual one is always
                // there, so that a rate over a new route starts at zero.
                if count > 0 || *class == "2xx" {
                    let labels = [("api", &**api), ("route", route), ("status", class)];
                    counter(&mut family, &labels, count)?;
                }
            }
        }
        let mut family = page.counters("yett_grpc_calls", "Calls of gRPC that ended, by status")?;
        for ([api, route], metrics) in &routes {
            let counts = metrics.rpc_totals().into_iter().enumerate();
            for (status, count) in counts.filter(|(_, count)| *count > 0) {
                let status = status.to_string();
                let labels = [("api", &**api), ("route", route), ("grpc_status", &status)];
                counter(&mut family, &labels, count)?;
            }
        }
        let mut family = page.gauges("yett_requests_in_flight", "Requests under way")?;
        for (values, metrics) in &routes {
            let count = metrics.in_flight().sum().max(0);
            gauge(&mut family, &labels(keys, values), count)?;
        }
        Ok(())
    }

    fn apis(&self, page: &mut Page<'_>) -> fmt::Result {
        let total = |(labels, api): (Labels, Arc<ApiMetrics>)| (labels, api.totals());
        let apis: Vec<(Labels, ApiTotals)> = self.0.apis.list().into_iter().map(total).collect();
        let mut family = page.family(
            "yett_request_duration_seconds",
            "Time from the first byte of a request to the last of its answer",
            MetricType::Histogram,
        )?;
        for (values, totals) in &apis {
            histogram(&mut family, &labels(["api"], values), totals)?;
        }
        let mut family = page.counters("yett_request_bytes", "Bytes of request bodies")?;
        for (values, totals) in &apis {
            counter(&mut family, &labels(["api"], values), totals.bytes_in)?;
        }
        let mut family = page.counters("yett_response_bytes", "Bytes of answer bodies")?;
        for (values, totals) in &apis {
            counter(&mut family, &labels(["api"], values), totals.bytes_out)?;
        }
        let help = "Calls of APIs that are deprecated or retired";
        let mut family = page.counters("yett_deprecated_requests", help)?;
        for (values, totals) in apis.iter().filter(|(_, totals)| totals.deprecated > 0) {
            counter(&mut family, &labels(["api"], values), totals.deprecated)?;
        }
        Ok(())
    }

    fn faults(&self, page: &mut Page<'_>) -> fmt::Result {
        let mut family = page.counters("yett_faults", "Requests that failed, by fault code")?;
        for (index, code) in self.0.fault_codes.iter().enumerate() {
            let cells = self.0.faults.cells().filter_map(|cells| cells.get(index));
            counter(&mut family, &[("code", code)], crate::shards::sum(cells))?;
        }
        let mut family = page.counters(
            "yett_protocol_errors",
            "Messages and connections that broke the rules of HTTP, by reason",
        )?;
        let refused = self.0.refused.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (reason, count) in refused {
            counter(&mut family, &[("reason", reason)], count)?;
        }
        Ok(())
    }

    fn listeners(&self, page: &mut Page<'_>) -> fmt::Result {
        let listeners = self.0.listeners.list();
        let mut family =
            page.counters("yett_connections", "Connections accepted, also those then refused")?;
        for (values, metrics) in &listeners {
            counter(&mut family, &labels(["listener"], values), metrics.accepted.sum())?;
        }
        let mut family = page.gauges("yett_connections_active", "Client connections open")?;
        for (values, metrics) in &listeners {
            gauge(&mut family, &labels(["listener"], values), metrics.active.sum().max(0))?;
        }
        let mut family = page.counters(
            "yett_connections_handed_over",
            "Connections given to a worker less busy than the one that accepted them",
        )?;
        for (values, metrics) in &listeners {
            counter(&mut family, &labels(["listener"], values), metrics.handed_over.sum())?;
        }
        let mut family = page.counters(
            "yett_connections_refused",
            "Connections closed before a request could be sent, by reason",
        )?;
        for ([listener, _], metrics) in &listeners {
            for reason in Refusal::ALL {
                let labels = [("listener", &**listener), ("reason", reason.label())];
                counter(&mut family, &labels, metrics.refused(reason).sum())?;
            }
        }
        let mut family =
            page.counters("yett_tls_handshakes_failed", "TLS handshakes failed or too slow")?;
        for (values, metrics) in &listeners {
            counter(&mut family, &labels(["listener"], values), metrics.handshake_failed.sum())?;
        }
        self.relayed(page)
    }

    fn relayed(&self, page: &mut Page<'_>) -> fmt::Result {
        let listeners = self.0.listeners.list();
        let mut family = page
            .counters("yett_relayed_connections", "Connections passed on as bytes, by outcome")?;
        for ([listener, _], metrics) in &listeners {
            let relayed = &metrics.relayed;
            for (outcome, count) in [("ended", &relayed.ended), ("failed", &relayed.failed)] {
                let labels = [("listener", &**listener), ("outcome", outcome)];
                counter(&mut family, &labels, count.sum())?;
            }
        }
        let mut family = page.counters("yett_relayed_bytes", "Bytes passed on, by direction")?;
        for ([listener, _], metrics) in &listeners {
            let relayed = &metrics.relayed;
            for (direction, count) in [("in", &relayed.bytes_in), ("out", &relayed.bytes_out)] {
                let labels = [("listener", &**listener), ("direction", direction)];
                counter(&mut family, &labels, count.sum())?;
            }
        }
        Ok(())
    }

    fn upstreams(&self, page: &mut Page<'_>) -> fmt::Result {
        let upstreams = self.0.upstreams.list();
        for (name, help, value) in UPSTREAM_FAMILIES {
            let mut family = page.counters(name, help)?;
            for (values, metrics) in &upstreams {
                counter(&mut family, &labels(["upstream"], values), value(metrics).sum())?;
            }
        }
        trouble::upstreams(page, &upstreams)?;
        self.choices(page)
    }

    /// How targets were chosen.
    fn choices(&self, page: &mut Page<'_>) -> fmt::Result {
        let upstreams = self.0.upstreams.list();
        let mut family = page.gauges(
            "yett_upstream_panic",
            "Whether so few targets are well that all of them get requests",
        )?;
        for (values, metrics) in &upstreams {
            gauge(&mut family, &labels(["upstream"], values), i64::from(metrics.is_panic()))?;
        }
        let mut family = page.counters(
            "yett_upstream_distance",
            "Requests sent to a target, by how far it is from the gateway, if that is known",
        )?;
        for ([upstream, _], metrics) in &upstreams {
            for (distance, count) in DISTANCES.iter().zip(&metrics.by_distance) {
                // Most gateways do not know where they are.
                if count.sum() > 0 {
                    let labels = [("upstream", &**upstream), ("distance", distance)];
                    counter(&mut family, &labels, count.sum())?;
                }
            }
        }
        Ok(())
    }

    fn mirrors(&self, page: &mut Page<'_>) -> fmt::Result {
        let mirrors = self.0.mirrors.list();
        if mirrors.is_empty() {
            return Ok(());
        }
        let mut family =
            page.counters("yett_mirror_requests", "Copies of requests, by what became of them")?;
        for ([upstream, _], metrics) in &mirrors {
            let counts = [
                ("sent", &metrics.sent),
                ("failed", &metrics.failed),
                ("shed", &metrics.shed),
                ("too_large", &metrics.too_large),
                ("cut", &metrics.cut),
            ];
            for (outcome, count) in counts {
                let labels = [("upstream", &**upstream), ("outcome", outcome)];
                counter(&mut family, &labels, count.sum())?;
            }
        }
        Ok(())
    }

    fn issuers(&self, page: &mut Page<'_>) -> fmt::Result {
        let issuers = self.0.issuers.list();
        if issuers.is_empty() {
            return Ok(());
        }
        let mut family =
            page.counters("yett_issuer_fetches", "Fetches of an issuer's keys, by outcome")?;
        for ([issuer, _], metrics) in &issuers {
            for (outcome, count) in [("ok", &metrics.fetched), ("failed", &metrics.failed)] {
                let labels = [("issuer", &**issuer), ("outcome", outcome)];
                counter(&mut family, &labels, count.load(Ordering::Relaxed))?;
            }
        }
        let known = |name: &AtomicU64| i64::try_from(name.load(Ordering::Relaxed)).unwrap_or(0);
        let mut family = page.gauges("yett_issuer_keys", "Keys of an issuer that can be used")?;
        for ([issuer, _], metrics) in &issuers {
            gauge(&mut family, &[("issuer", &**issuer)], known(&metrics.keys))?;
        }
        let help = "When an issuer's keys were fetched for the last time, since 1970";
        let mut family = page.gauges("yett_issuer_fetched_timestamp_seconds", help)?;
        for ([issuer, _], metrics) in &issuers {
            gauge(&mut family, &[("issuer", &**issuer)], known(&metrics.fetched_s))?;
        }
        Ok(())
    }

    fn authorisers(&self, page: &mut Page<'_>) -> fmt::Result {
        let authorisers = self.0.authorisers.list();
        if authorisers.is_empty() {
            return Ok(());
        }
        let about = "Requests that an external authoriser decided about, by what it said";
        let mut family = page.counters("yett_authoriser_requests", about)?;
        for ([authoriser, _], metrics) in &authorisers {
            let counts = [
                ("allowed", &metrics.allowed),
                ("denied", &metrics.denied),
                ("failed", &metrics.failed),
                ("cached", &metrics.cached),
            ];
            for (outcome, count) in counts {
                let labels = [("authoriser", &**authoriser), ("outcome", outcome)];
                counter(&mut family, &labels, count.sum())?;
            }
        }
        let about = "Time that was waited for an external authoriser, in microseconds";
        let mut family = page.counters("yett_authoriser_wait_microseconds", about)?;
        for ([authoriser, _], metrics) in &authorisers {
            counter(&mut family, &[("authoriser", &**authoriser)], metrics.waited_us.sum())?;
        }
        Ok(())
    }

    fn backend_tokens(&self, page: &mut Page<'_>) -> fmt::Result {
        let issuers = self.0.backend_tokens.list();
        if issuers.is_empty() {
            return Ok(());
        }
        let about = "Tokens for backends that an issuer was asked for, by what became of it";
        let mut family = page.counters("yett_backend_tokens", about)?;
        for ([issuer, _], metrics) in &issuers {
            for (outcome, count) in [("obtained", &metrics.obtained), ("failed", &metrics.failed)] {
                let labels = [("issuer", &**issuer), ("outcome", outcome)];
                counter(&mut family, &labels, count.sum())?;
            }
        }
        Ok(())
    }

    fn limits(&self, page: &mut Page<'_>) -> fmt::Result {
        let limits = self.0.limits.list();
        if limits.is_empty() {
            return Ok(());
        }
        let about = "Requests that a plan, a `rate_limit` or a `quota` has refused";
        let mut family = page.counters("yett_limit_refused", about)?;
        for ([limit, _], metrics) in &limits {
            let count = metrics.refused.load(Ordering::Relaxed);
            counter(&mut family, &[("limit", &**limit)], count)?;
        }
        let about = "Requests that a limit would have refused, but for its `dry_run`";
        let mut family = page.counters("yett_limit_would_refuse", about)?;
        for ([limit, _], metrics) in &limits {
            let count = metrics.would_refuse.load(Ordering::Relaxed);
            counter(&mut family, &[("limit", &**limit)], count)?;
        }
        Ok(())
    }

    fn quotas(&self, page: &mut Page<'_>) -> fmt::Result {
        let quotas = self.0.quotas.list();
        if !quotas.is_empty() {
            let about = "Consumers and applications that came to so many percent of a quota, once in each window";
            let mut family = page.counters("yett_quota_reached", about)?;
            for ([quota, _], metrics) in &quotas {
                for (percent, count) in [("80", &metrics.nearly), ("100", &metrics.used_up)] {
                    let labels = [("quota", &**quota), ("percent", percent)];
                    counter(&mut family, &labels, count.load(Ordering::Relaxed))?;
                }
            }
        }
        let journal = &self.0.quota_journal;
        let Some(is_up) = journal.is_up() else { return Ok(()) };
        let about = "Whether the journal of quotas is written (1) or cannot be (0)";
        gauge(&mut page.gauges("yett_quota_journal_up", about)?, &[], i64::from(is_up))?;
        let about = "Times that the journal of quotas could not be written";
        let failures = journal.failures.load(Ordering::Relaxed);
        counter(&mut page.counters("yett_quota_journal_failures", about)?, &[], failures)?;
        let signed =
            |number: &AtomicU64| i64::try_from(number.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        let about = "Size of the journal of quotas";
        gauge(&mut page.gauges("yett_quota_journal_bytes", about)?, &[], signed(&journal.bytes))?;
        let about = "Counts of quotas that are kept";
        gauge(&mut page.gauges("yett_quota_counts", about)?, &[], signed(&journal.counts))
    }

    fn stores(&self, page: &mut Page<'_>) -> fmt::Result {
        let stores = self.0.stores.list();
        if stores.is_empty() {
            return Ok(());
        }
        let about = "Whether the store in which gateways share counts answers (1) or not (0)";
        let mut family = page.gauges("yett_store_up", about)?;
        for ([store, _], metrics) in &stores {
            gauge(&mut family, &[("store", &**store)], i64::from(metrics.is_up()))?;
        }
        let about = "Gateways that share the store, this one among them";
        let mut family = page.gauges("yett_store_gateways", about)?;
        for ([store, _], metrics) in &stores {
            gauge(&mut family, &[("store", &**store)], metrics.gateways_now())?;
        }
        let about = "Counts that the store was asked about";
        let mut family = page.counters("yett_store_questions", about)?;
        for ([store, _], metrics) in &stores {
            for (outcome, count) in metrics.questions() {
                counter(&mut family, &[("store", &**store), ("outcome", outcome)], count)?;
            }
        }
        let about = "Requests that waited for the store";
        let mut family = page.counters("yett_store_waits", about)?;
        for ([store, _], metrics) in &stores {
            counter(&mut family, &[("store", &**store)], metrics.waits())?;
        }
        let about = "Requests that this gateway judged alone since too many waited for the store";
        let mut family = page.counters("yett_store_crowded", about)?;
        for ([store, _], metrics) in &stores {
            counter(&mut family, &[("store", &**store)], metrics.crowd())?;
        }
        let about = "Requests that were judged without the store, by `on_store_failure`";
        let mut family = page.counters("yett_store_failures", about)?;
        for ([store, _], metrics) in &stores {
            for (how, count) in metrics.without() {
                counter(&mut family, &[("store", &**store), ("went", how)], count)?;
            }
        }
        Ok(())
    }

    fn introspections(&self, page: &mut Page<'_>) -> fmt::Result {
        let endpoints = self.0.introspections.list();
        if endpoints.is_empty() {
            return Ok(());
        }
        let help = "Questions about tokens at an introspection endpoint, by what was said";
        let mut family = page.counters("yett_introspections", help)?;
        for ([endpoint, _], metrics) in &endpoints {
            let outcomes = [
                ("active", &metrics.active),
                ("refused", &metrics.refused),
                ("failed", &metrics.failed),
            ];
            for (outcome, count) in outcomes {
                let labels = [("endpoint", &**endpoint), ("outcome", outcome)];
                counter(&mut family, &labels, count.load(Ordering::Relaxed))?;
            }
        }
        Ok(())
    }

    fn targets(&self, page: &mut Page<'_>) -> fmt::Result {
        let targets = self.0.targets.list();
        let keys = ["upstream", "target"];
        let mut family = page.gauges("yett_target_up", "Whether the target may be chosen")?;
        for (values, metrics) in &targets {
            // Many targets in one series are neither up nor down.
            if *values[1] != *OTHER {
                gauge(&mut family, &labels(keys, values), i64::from(metrics.is_up()))?;
            }
        }
        let mut family = page.counters("yett_target_requests", "Requests sent to the target")?;
        for (values, metrics) in &targets {
            counter(&mut family, &labels(keys, values), metrics.requests.sum())?;
        }
        let mut family = page.counters("yett_target_failures", "Requests the target failed")?;
        for (values, metrics) in &targets {
            counter(&mut family, &labels(keys, values), metrics.failures.sum())?;
        }
        trouble::targets(page, &targets)
    }

    fn config(&self, page: &mut Page<'_>) -> fmt::Result {
        let mut family = page.counters("yett_config_reloads", "Attempts to load a config")?;
        counter(&mut family, &[("result", "ok")], self.0.reloads_ok.load(Ordering::Relaxed))?;
        let failed = self.0.reloads_failed.load(Ordering::Relaxed);
        counter(&mut family, &[("result", "failed")], failed)?;

        let config = self.0.config.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(loaded) = config.loaded {
            page.gauges(
                "yett_config_last_reload_success_timestamp_seconds",
                "When a config was last loaded, since 1970",
            )?
            .encode_gauge(&loaded.as_secs_f64())?;
            page.info("yett_config", "The config in force")?
                .encode_info(&[("revision", config.revision.as_str())])?;
        }
        page.counters("yett_access_log_dropped", "Lines of the access log not written")?
            .encode_counter::<NoLabelSet, _, u64>(
                &self.0.log_dropped.load(Ordering::Relaxed),
                None,
            )?;
        for (name, help, spans) in [
            ("yett_trace_spans_exported", "Spans a collector took", &self.0.spans_exported),
            ("yett_trace_spans_dropped", "Spans no collector took", &self.0.spans_dropped),
        ] {
            page.counters(name, help)?
                .encode_counter::<NoLabelSet, _, u64>(&spans.load(Ordering::Relaxed), None)?;
        }
        page.info("yett_build", "The program")?
            .encode_info(&[("version", env!("CARGO_PKG_VERSION"))])
    }
}

/// Name, help and place of a counter of upstreams.
type UpstreamFamily =
    (&'static str, &'static str, fn(&super::UpstreamMetrics) -> &crate::shards::ShardedCounter);

/// How far targets are, in the order of their counters.
const DISTANCES: [&str; 3] = ["zone", "region", "rest"];

const UPSTREAM_FAMILIES: [UpstreamFamily; 5] = [
    ("yett_upstream_attempts", "Requests sent to a target, retries included", |u| &u.attempts),
    ("yett_upstream_retries", "Attempts after the first of a request", |u| &u.retries),
    ("yett_upstream_connections_opened", "Connections made", |u| &u.connections_opened),
    ("yett_upstream_connect_failed", "Connections that could not be made", |u| &u.connect_failed),
    ("yett_upstream_pool_reused", "Attempts on a connection already open", |u| &u.pool_reused),
];

fn process(page: &mut Page<'_>) -> fmt::Result {
    let process = Process::read();
    if let Some(bytes) = process.resident_bytes {
        page.gauges("process_resident_memory_bytes", "Memory held in RAM")?.encode_gauge(&bytes)?;
    }
    if let Some(cpu_s) = process.cpu_s {
        page.counters("process_cpu_seconds", "Time spent on processors")?
            .encode_counter::<NoLabelSet, _, u64>(&cpu_s, None)?;
    }
    if let Some(fds) = process.open_fds {
        page.gauges("process_open_fds", "Open file descriptors")?.encode_gauge(&fds)?;
    }
    if let Some(started_s) = process.started_s {
        page.gauges("process_start_time_seconds", "When the process started, since 1970")?
            .encode_gauge(&started_s)?;
    }
    Ok(())
}

/// The text being written.
pub(super) struct Page<'a> {
    encoder: DescriptorEncoder<'a>,
}

impl Page<'_> {
    fn family<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.encoder.encode_descriptor(name, help, None, kind)
    }

    /// A family of counters; the encoder adds `_total` to the name.
    pub(super) fn counters<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.family(name, help, MetricType::Counter)
    }

    pub(super) fn gauges<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.family(name, help, MetricType::Gauge)
    }

    /// A family that only carries labels; the encoder adds `_info` to the name.
    fn info<'s>(&'s mut self, name: &'s str, help: &str) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.family(name, help, MetricType::Info)
    }
}

pub(super) fn labels<'a, const N: usize>(
    keys: [&'static str; N],
    values: &'a Labels,
) -> [(&'static str, &'a str); N] {
    std::array::from_fn(|i| (keys[i], values.get(i).map_or("", |value| &**value)))
}

pub(super) fn counter<const N: usize>(
    family: &mut MetricEncoder<'_>,
    labels: &[(&str, &str); N],
    value: u64,
) -> fmt::Result {
    family.encode_family(labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
}

pub(super) fn gauge<const N: usize>(
    family: &mut MetricEncoder<'_>,
    labels: &[(&str, &str); N],
    value: i64,
) -> fmt::Result {
    family.encode_family(labels)?.encode_gauge(&value)
}

/// The count is the sum of the buckets, so that the two always agree.
#[expect(clippy::cast_precision_loss, reason = "a float is what OpenMetrics has for times")]
fn histogram<const N: usize>(
    family: &mut MetricEncoder<'_>,
    labels: &[(&str, &str); N],
    totals: &ApiTotals,
) -> fmt::Result {
    let bounds = BUCKETS_US.iter().map(|&us| us as f64 / 1e6).chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(totals.buckets).collect();
    let count = totals.buckets.iter().fold(0_u64, |sum, count| sum.wrapping_add(*count));
    let sum_s = totals.duration_us as f64 / 1e6;
    family.encode_family(labels)?.encode_histogram::<NoLabelSet>(sum_s, count, &buckets, None)
}
