//! What happened between two looks.

use super::fetch::Reading;
use super::openmetrics::Series;
use clap::ValueEnum;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What can be looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Table {
    /// What requests ask for.
    #[default]
    Routes,
    /// Routes published together, with their latencies.
    Apis,
    /// Whom requests are sent to.
    Targets,
    /// How much upstreams can work on, and what is too much.
    Upstreams,
    /// Where clients come in.
    Listeners,
}

impl Table {
    pub(super) const ALL: [Self; 5] =
        [Self::Routes, Self::Apis, Self::Targets, Self::Upstreams, Self::Listeners];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Routes => "routes",
            Self::Apis => "apis",
            Self::Targets => "targets",
            Self::Upstreams => "upstreams",
            Self::Listeners => "listeners",
        }
    }
}

/// All numbers of one look; rates are per second.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    pub(super) status: Value,
    pub(super) total: Traffic,
    pub(super) cpu_percent: f64,
    pub(super) resident_bytes: f64,
    pub(super) open_files: f64,
    pub(super) connections: f64,
    pub(super) bytes_in: f64,
    pub(super) bytes_out: f64,
    pub(super) routes: Vec<(String, String, Traffic)>,
    pub(super) apis: Vec<(String, Traffic)>,
    pub(super) targets: Vec<Target>,
    pub(super) upstreams: Vec<Load>,
    pub(super) listeners: Vec<Listener>,
}

/// What came and what became of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Traffic {
    pub(super) rate: f64,
    pub(super) refused: f64,
    pub(super) failed: f64,
    pub(super) active: f64,
    /// Milliseconds, of the API where this is a route.
    pub(super) p50_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
}

/// A target of an upstream.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) upstream: String,
    pub(super) address: String,
    pub(super) is_healthy: bool,
    pub(super) reason: String,
    pub(super) rate: f64,
    pub(super) failures: f64,
    pub(super) active: f64,
}

/// How much an upstream has to do.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) upstream: String,
    /// `closed`, `half_open` or `open`; empty without a breaker.
    pub(super) breaker: String,
    pub(super) active: f64,
    /// How many requests may be under way, if that is limited.
    pub(super) limit: Option<f64>,
    pub(super) queued: f64,
    /// Milliseconds that those waited on average who had to.
    pub(super) waited_ms: Option<f64>,
    pub(super) shed: f64,
}

/// A listener.
#[derive(Clone, Debug)]
pub(super) struct Listener {
    pub(super) name: String,
    pub(super) bind: String,
    pub(super) is_tls: bool,
    /// `http`, `https`, `tcp` or `tls`.
    pub(super) speaks: String,
    pub(super) connections: f64,
    pub(super) accepted: f64,
    pub(super) refused: f64,
}

/// Series of two readings by name, for what grew between them.
struct Between<'a> {
    seconds: f64,
    before: BTreeMap<String, f64>,
    now: &'a [Series],
}

/// Names a series among all of its page.
fn identity(series: &Series) -> String {
    const LABELS: [&str; 9] =
        ["api", "route", "status", "le", "listener", "reason", "upstream", "target", "priority"];
    LABELS.iter().fold(series.name.clone(), |mut name, label| {
        name.push('\u{1f}');
        name.push_str(series.label(label));
        name
    })
}

impl<'a> Between<'a> {
    fn new(before: &Reading, now: &'a Reading) -> Self {
        let seconds = now.at.saturating_duration_since(before.at).as_secs_f64();
        let before = before.series.iter().map(|series| (identity(series), series.value));
        Self { seconds, before: before.collect(), now: &now.series }
    }

    fn named(&self, name: &'a str) -> impl Iterator<Item = &'a Series> {
        self.now.iter().filter(move |series| series.name == name)
    }

    /// What a counter grew by; all of it if the gateway was started anew in between.
    fn growth(&self, series: &Series) -> f64 {
        let before = self.before.get(&identity(series)).copied().unwrap_or(0.0);
        if series.value >= before { series.value - before } else { series.value }
    }

    fn rate(&self, series: &Series) -> f64 {
        if self.seconds > 0.0 { self.growth(series) / self.seconds } else { 0.0 }
    }

    fn rate_of(&self, name: &'a str) -> f64 {
        self.named(name).map(|series| self.rate(series)).sum()
    }

    fn sum(&self, name: &'a str) -> f64 {
        self.named(name).map(|series| series.value).sum()
    }
}

impl View {
    /// What happened from one reading to the next.
    pub(crate) fn between(before: &Reading, now: &Reading) -> Self {
        let between = Between::new(before, now);
        let (apis, total) = apis(&between);
        Self {
            status: now.status.clone(),
            total,
            cpu_percent: 100.0 * between.rate_of("process_cpu_seconds_total"),
            resident_bytes: between.sum("process_resident_memory_bytes"),
            open_files: between.sum("process_open_fds"),
            connections: between.sum("yett_connections_active"),
            bytes_in: between.rate_of("yett_request_bytes_total"),
            bytes_out: between.rate_of("yett_response_bytes_total"),
            routes: routes(&between, &apis),
            apis: apis.into_iter().collect(),
            targets: targets(&between, &now.status),
            upstreams: upstreams(&between, &now.status),
            listeners: listeners(&between, &now.status),
        }
    }

    /// Everything, for programs.
    pub(crate) fn json(&self) -> Value {
        let traffic = |traffic: &Traffic| {
            json!({
                "requests_per_s": rounded(traffic.rate),
                "client_errors_per_s": rounded(traffic.refused),
                "server_errors_per_s": rounded(traffic.failed),
                "in_flight": traffic.active,
                "p50_ms": traffic.p50_ms.map(rounded),
                "p99_ms": traffic.p99_ms.map(rounded),
            })
        };
        let with = |mut value: Value, name: &str, text: &str| {
            value[name] = json!(text);
            value
        };
        let routes = self.routes.iter().map(|(api, route, numbers)| {
            // The latencies are those of the API.
            let mut value = traffic(numbers);
            if let Some(fields) = value.as_object_mut() {
                fields.retain(|name, _| !name.ends_with("_ms"));
            }
            with(with(value, "api", api), "route", route)
        });
        let targets = self.targets.iter().map(|target| {
            json!({
                "upstream": target.upstream, "target": target.address,
                "healthy": target.is_healthy, "reason": target.reason,
                "requests_per_s": rounded(target.rate), "failures_per_s": rounded(target.failures),
                "in_flight": target.active,
            })
        });
        let upstreams = self.upstreams.iter().map(|load| {
            json!({
                "upstream": load.upstream, "breaker": load.breaker, "in_flight": load.active,
                "limit": load.limit, "queued": load.queued,
                "waited_ms": load.waited_ms.map(rounded), "shed_per_s": rounded(load.shed),
            })
        });
        let listeners = self.listeners.iter().map(|listener| {
            json!({
                "listener": listener.name, "bind": listener.bind, "tls": listener.is_tls,
                "speaks": listener.speaks,
                "connections": listener.connections,
                "accepted_per_s": rounded(listener.accepted),
                "refused_per_s": rounded(listener.refused),
            })
        });
        json!({
            "gateway": {
                "version": self.status["version"], "state": self.status["state"],
                "revision": self.status["revision"], "uptime_s": self.status["uptime_s"],
                "cpu_percent": rounded(self.cpu_percent), "resident_bytes": self.resident_bytes,
                "open_files": self.open_files, "connections": self.connections,
                "bytes_in_per_s": rounded(self.bytes_in),
                "bytes_out_per_s": rounded(self.bytes_out),
            },
            "total": traffic(&self.total),
            "apis": self.apis.iter().map(|(api, numbers)| with(traffic(numbers), "api", api))
                .collect::<Vec<_>>(),
            "routes": routes.collect::<Vec<_>>(),
            "targets": targets.collect::<Vec<_>>(),
            "upstreams": upstreams.collect::<Vec<_>>(),
            "listeners": listeners.collect::<Vec<_>>(),
        })
    }
}

/// Three decimals say enough.
fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

impl Traffic {
    fn count(&mut self, status: &str, rate: f64) {
        self.rate += rate;
        match status {
            "4xx" => self.refused += rate,
            "5xx" => self.failed += rate,
            _ => {}
        }
    }
}

fn apis(between: &Between<'_>) -> (BTreeMap<String, Traffic>, Traffic) {
    let (mut apis, mut total) = (BTreeMap::<String, Traffic>::new(), Traffic::default());
    for series in between.named("yett_requests_total") {
        let (status, rate) = (series.label("status"), between.rate(series));
        apis.entry(series.label("api").to_owned()).or_default().count(status, rate);
        total.count(status, rate);
    }
    for series in between.named("yett_requests_in_flight") {
        apis.entry(series.label("api").to_owned()).or_default().active += series.value.max(0.0);
        total.active += series.value.max(0.0);
    }
    let mut buckets = BTreeMap::<String, Vec<(f64, f64)>>::new();
    for series in between.named("yett_request_duration_seconds_bucket") {
        let bound = series.label("le").parse().unwrap_or(f64::INFINITY);
        let count = between.growth(series);
        buckets.entry(series.label("api").to_owned()).or_default().push((bound, count));
    }
    let mut all = Vec::<(f64, f64)>::new();
    for (api, buckets) in buckets {
        for (at, (bound, count)) in buckets.iter().enumerate() {
            match all.get_mut(at) {
                Some((_, sum)) => *sum += count,
                None => all.push((*bound, *count)),
            }
        }
        let numbers = apis.entry(api).or_default();
        (numbers.p50_ms, numbers.p99_ms) = (quantile(&buckets, 0.5), quantile(&buckets, 0.99));
    }
    (total.p50_ms, total.p99_ms) = (quantile(&all, 0.5), quantile(&all, 0.99));
    (apis, total)
}

/// Milliseconds below which this part of the requests stayed, by buckets that each count all requests up
/// to their bound in seconds. Within a bucket they are taken to be spread evenly.
fn quantile(buckets: &[(f64, f64)], part: f64) -> Option<f64> {
    let (_, total) = buckets.last().filter(|(_, total)| *total > 0.0)?;
    let rank = part * total;
    let (mut low, mut below) = (0.0, 0.0);
    for (bound, count) in buckets {
        if *count >= rank {
            let spread = if bound.is_finite() && *count > below {
                low + (bound - low) * (rank - below) / (count - below)
            } else {
                low
            };
            return Some(spread * 1e3);
        }
        (low, below) = (*bound, *count);
    }
    None
}

fn routes(
    between: &Between<'_>,
    apis: &BTreeMap<String, Traffic>,
) -> Vec<(String, String, Traffic)> {
    let mut routes = BTreeMap::<(String, String), Traffic>::new();
    let key = |series: &Series| (series.label("api").to_owned(), series.label("route").to_owned());
    for series in between.named("yett_requests_total") {
        routes.entry(key(series)).or_default().count(series.label("status"), between.rate(series));
    }
    for series in between.named("yett_requests_in_flight") {
        routes.entry(key(series)).or_default().active = series.value.max(0.0);
    }
    let of_api = |api: &str| apis.get(api).map(|api| (api.p50_ms, api.p99_ms)).unwrap_or_default();
    let all = routes.into_iter().map(|((api, route), mut numbers)| {
        (numbers.p50_ms, numbers.p99_ms) = of_api(&api);
        (api, route, numbers)
    });
    all.collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn targets(between: &Between<'_>, status: &Value) -> Vec<Target> {
    let rate = |name, upstream: &str, target: &str| {
        let fits = |series: &&Series| {
            series.label("upstream") == upstream && series.label("target") == target
        };
        between.named(name).find(fits).map_or(0.0, |series| between.rate(series))
    };
    let mut all = Vec::new();
    for upstream in list(&status["upstreams"]) {
        let name = text(&upstream["name"]);
        for target in list(&upstream["targets"]) {
            let address = text(&target["address"]);
            all.push(Target {
                rate: rate("yett_target_requests_total", &name, &address),
                failures: rate("yett_target_failures_total", &name, &address),
                is_healthy: target["healthy"].as_bool().unwrap_or(true),
                reason: text(&target["reason"]),
                active: target["in_flight"].as_f64().unwrap_or(0.0),
                upstream: name.clone(),
                address,
            });
        }
    }
    all
}

fn upstreams(between: &Between<'_>, status: &Value) -> Vec<Load> {
    let mine = |name: &'static str, upstream: &str| -> f64 {
        let mine = between.named(name).filter(|series| series.label("upstream") == upstream);
        mine.map(|series| between.growth(series)).sum()
    };
    let load = |upstream: &Value| {
        let name = text(&upstream["name"]);
        let (concurrency, targets) = (&upstream["concurrency"], &upstream["targets"]);
        let active = || list(targets).filter_map(|target| target["in_flight"].as_f64()).sum();
        let queued = mine("yett_upstream_queued_total", &name);
        let waited_s = mine("yett_upstream_queue_wait_seconds_total", &name);
        let limit = concurrency["max"].as_f64().filter(|max| *max < f64::from(u32::MAX));
        Load {
            breaker: text(&upstream["breaker"]),
            active: concurrency["in_flight"].as_f64().unwrap_or_else(active),
            limit,
            queued: concurrency["queued"].as_f64().unwrap_or(0.0),
            waited_ms: (queued > 0.0).then(|| waited_s * 1e3 / queued),
            shed: mine("yett_upstream_shed_total", &name) / between.seconds.max(1e-3),
            upstream: name,
        }
    };
    list(&status["upstreams"]).map(load).collect()
}

fn listeners(between: &Between<'_>, status: &Value) -> Vec<Listener> {
    let rate = |name, listener: &str| -> f64 {
        let mine = between.named(name).filter(|series| series.label("listener") == listener);
        mine.map(|series| between.rate(series)).sum()
    };
    let listener = |listener: &Value| {
        let name = text(&listener["name"]);
        Listener {
            bind: text(&listener["bind"]),
            is_tls: listener["tls"].as_bool().unwrap_or(false),
            speaks: text(&listener["speaks"]),
            connections: listener["connections"].as_f64().unwrap_or(0.0),
            accepted: rate("yett_connections_total", &name),
            refused: rate("yett_connections_refused_total", &name),
            name,
        }
    };
    list(&status["listeners"]).map(listener).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::{View, quantile};
    use crate::top::fetch::Reading;
    use base::Clock;
    use std::time::Duration;

    fn page(ok: u64, failed: u64, fast: u64) -> String {
        let all = ok + failed;
        format!(
            "yett_requests_total{{api=\"shop\",route=\"GET /{{id}}\",status=\"2xx\"}} {ok}\n\
             yett_requests_total{{api=\"shop\",route=\"GET /{{id}}\",status=\"5xx\"}} {failed}\n\
             yett_requests_in_flight{{api=\"shop\",route=\"GET /{{id}}\"}} 3\n\
             yett_request_duration_seconds_bucket{{le=\"0.001\",api=\"shop\"}} {fast}\n\
             yett_request_duration_seconds_bucket{{le=\"0.01\",api=\"shop\"}} {all}\n\
             yett_request_duration_seconds_bucket{{le=\"+Inf\",api=\"shop\"}} {all}\n\
             yett_target_requests_total{{upstream=\"shop\",target=\"10.0.0.1:80\"}} {ok}\n\
             yett_target_failures_total{{upstream=\"shop\",target=\"10.0.0.1:80\"}} {failed}\n\
             yett_upstream_shed_total{{upstream=\"shop\",priority=\"low\",reason=\"late\"}} {failed}\n\
             yett_upstream_queued_total{{upstream=\"shop\"}} {all}\n\
             yett_upstream_queue_wait_seconds_total{{upstream=\"shop\"}} {failed}\n\
             yett_connections_total{{listener=\"public\"}} {ok}\n\
             process_cpu_seconds_total {}\nprocess_resident_memory_bytes 20971520\n",
            all / 100
        )
    }

    const STATUS: &str = r#"{
        "version": "1", "state": "serving", "revision": "0123456789ab", "uptime_s": 93784,
        "listeners": [{ "name": "public", "bind": "0.0.0.0:80", "tls": true, "speaks": "https", "connections": 5 }],
        "upstreams": [{ "name": "shop", "concurrency": { "in_flight": 7, "max": 8, "queued": 3 }, "targets": [
            { "address": "10.0.0.1:80", "healthy": false, "reason": "connection refused", "in_flight": 2 }
        ] }]
    }"#;

    /// Two seconds with a hundred requests, ten of which failed, half of them within a millisecond.
    pub(in crate::top) fn busy() -> View {
        let clock = Clock::manual();
        let before = Reading::of(clock.now(), &page(100, 0, 100), STATUS).unwrap();
        clock.advance(Duration::from_secs(2));
        let now = Reading::of(clock.now(), &page(190, 10, 150), STATUS).unwrap();
        View::between(&before, &now)
    }

    #[test]
    fn rates_are_what_grew_in_between() {
        let view = busy().json();
        assert_eq!(view["total"]["requests_per_s"], 50.0, "{view}");
        assert_eq!(view["total"]["server_errors_per_s"], 5.0);
        assert_eq!(view["total"]["in_flight"], 3.0);
        assert_eq!(view["apis"][0]["p50_ms"], 1.0);
        assert_eq!(view["apis"][0]["p99_ms"], 9.82);
        assert_eq!(view["routes"][0]["route"], "GET /{id}");
        assert_eq!(view["routes"][0]["requests_per_s"], 50.0);
        assert!(view["routes"][0]["p99_ms"].is_null(), "latencies are those of APIs");
        assert_eq!(view["targets"][0]["failures_per_s"], 5.0);
        assert_eq!(view["targets"][0]["healthy"], false);
        let load = &view["upstreams"][0];
        assert_eq!((&load["in_flight"], &load["limit"]), (&7.0.into(), &8.0.into()), "{load}");
        assert_eq!(
            (&load["shed_per_s"], &load["waited_ms"]),
            (&5.0.into(), &100.0.into()),
            "{load}"
        );
        assert_eq!(view["listeners"][0]["accepted_per_s"], 45.0);
        assert_eq!(view["gateway"]["cpu_percent"], 50.0);
    }

    #[test]
    fn a_gateway_that_was_started_anew_has_no_negative_rates() {
        let clock = Clock::manual();
        let before = Reading::of(clock.now(), &page(1_000, 50, 900), STATUS).unwrap();
        clock.advance(Duration::from_secs(1));
        let now = Reading::of(clock.now(), &page(10, 0, 10), STATUS).unwrap();
        assert_eq!(View::between(&before, &now).json()["total"]["requests_per_s"], 10.0);
        assert_eq!(View::between(&now, &now).json()["total"]["requests_per_s"], 0.0);
    }

    #[test]
    fn quantiles_lie_within_their_buckets() {
        let buckets = [(0.001, 50.0), (0.01, 100.0), (f64::INFINITY, 100.0)];
        assert_eq!(quantile(&buckets, 0.5), Some(1.0));
        assert!((quantile(&buckets, 0.75).unwrap() - 5.5).abs() < 1e-9);
        let slow = [(30.0, 0.0), (f64::INFINITY, 4.0)];
        assert_eq!(quantile(&slow, 0.5), Some(30_000.0), "at least the last bound");
        assert_eq!(quantile(&[(1.0, 0.0), (f64::INFINITY, 0.0)], 0.5), None);
        assert_eq!(quantile(&[], 0.5), None);
    }
}
