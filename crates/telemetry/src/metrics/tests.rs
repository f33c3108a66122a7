use super::series::Refusal;
use super::{ControlPlane, Metrics};
use base::caps;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const CODES: &[&str] = &["no_route", "upstream_timeout"];

/// A scrape, read the way a scraper does.
struct Scrape {
    /// `name{key="value",…}` with values unescaped, keys in the order written.
    samples: BTreeMap<(String, Vec<(String, String)>), f64>,
    types: BTreeMap<String, String>,
}

impl Scrape {
    fn of(metrics: &Metrics) -> Self {
        let text = metrics.encode();
        let body = text.strip_suffix("# EOF\n").expect("ends with the end mark");
        let mut scrape = Self { samples: BTreeMap::new(), types: BTreeMap::new() };
        for line in body.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                let old = scrape.types.insert(name.to_owned(), kind.to_owned());
                assert_eq!(old, None, "{name} is written twice");
            } else if !line.starts_with("# HELP ") {
                let (name, labels, value) = sample(line);
                let old = scrape.samples.insert((name, labels), value);
                assert_eq!(old, None, "written twice: {line}");
            }
        }
        scrape
    }

    fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        self.samples.get(&(name.to_owned(), labels)).copied()
    }

    fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels).unwrap_or_else(|| panic!("no {name} {labels:?}"))
    }

    /// All values of a name whose labels hold this one.
    fn with(&self, name: &str, key: &str, value: &str) -> Vec<f64> {
        let wanted = (key.to_owned(), value.to_owned());
        let samples = self.samples.iter();
        samples.filter(|((n, l), _)| n == name && l.contains(&wanted)).map(|(_, v)| *v).collect()
    }

    fn count(&self, name: &str) -> usize {
        self.samples.keys().filter(|(n, _)| n == name).count()
    }
}

fn sample(line: &str) -> (String, Vec<(String, String)>, f64) {
    let (name, mut rest) = match line.find(['{', ' ']) {
        Some(end) => line.split_at(end),
        None => panic!("no value: {line}"),
    };
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (key, value) = rest.trim_start_matches(',').split_once("=\"").unwrap();
            let (value, after) = unescape(value);
            labels.push((key.to_owned(), value));
            rest = after;
        }
        rest = rest.strip_prefix('}').unwrap();
    }
    let value = rest.strip_prefix(' ').unwrap().parse().unwrap();
    (name.to_owned(), labels, value)
}

fn unescape(text: &str) -> (String, &str) {
    let (mut value, mut chars) = (String::new(), text.chars());
    loop {
        match chars.next().unwrap() {
            '"' => return (value, chars.as_str()),
            '\\' => value.push(match chars.next().unwrap() {
                'n' => '\n',
                c @ ('\\' | '"') => c,
                c => panic!("unknown escape {c}"),
            }),
            c => value.push(c),
        }
    }
}

fn new() -> Arc<Metrics> {
    Metrics::new(2, CODES)
}

#[test]
fn requests_are_counted_by_api_route_and_class() {
    let metrics = new();
    let route = metrics.route("orders", "GET /{id}");
    for (shard, status) in [(0, 200), (1, 204), (0, 404), (1, 503), (0, 101), (0, 0), (0, 999)] {
        route.record(shard, status, Duration::from_millis(3), 10, 100);
    }
    route.in_flight().add(0, 3);
    route.in_flight().add(1, -1);
    let scrape = Scrape::of(&metrics);
    let of = |status| {
        let labels = [("api", "orders"), ("route", "GET /{id}"), ("status", status)];
        scrape.find("yett_requests_total", &labels)
    };
    assert_eq!(of("2xx"), Some(2.0));
    assert_eq!(of("4xx"), Some(1.0));
    assert_eq!(of("5xx"), Some(1.0));
    assert_eq!(of("1xx"), Some(1.0));
    assert_eq!(of("other"), Some(2.0));
    assert_eq!(of("3xx"), None);
    assert_eq!(scrape.types["yett_requests"], "counter");
    assert_eq!(scrape.value("yett_request_bytes_total", &[("api", "orders")]), 70.0);
    assert_eq!(scrape.value("yett_response_bytes_total", &[("api", "orders")]), 700.0);
    let labels = [("api", "orders"), ("route", "GET /{id}")];
    assert_eq!(scrape.value("yett_requests_in_flight", &labels), 2.0);
}

#[test]
fn histogram_is_cumulative_and_agrees_with_the_requests() {
    let metrics = new();
    let routes = [metrics.route("a", "x"), metrics.route("a", "y")];
    let mut sum_s = 0.0;
    for i in 0..1_000_u32 {
        let duration = Duration::from_micros(u64::from(i) * u64::from(i) * 50);
        sum_s += duration.as_secs_f64();
        routes[i as usize % 2].record(i as usize % 3, 200, duration, 0, 0);
    }
    let scrape = Scrape::of(&metrics);
    let requests: f64 = scrape.with("yett_requests_total", "api", "a").iter().sum();
    let api = [("api", "a")];
    assert_eq!(requests, 1_000.0);
    assert_eq!(scrape.value("yett_request_duration_seconds_count", &api), requests);
    let difference = scrape.value("yett_request_duration_seconds_sum", &api) - sum_s;
    assert!(difference.abs() < 0.001, "{difference}");
    let mut bounds: Vec<(f64, f64)> = Vec::new();
    for ((name, labels), count) in &scrape.samples {
        if name == "yett_request_duration_seconds_bucket" {
            let le = labels.iter().find(|(key, _)| key == "le").map(|(_, le)| le).unwrap();
            bounds.push((le.replace("+Inf", "inf").parse().unwrap(), *count));
        }
    }
    bounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert_eq!(bounds.len(), 15);
    assert_eq!(bounds.last(), Some(&(f64::INFINITY, requests)));
    for (bound, count) in bounds {
        let below = (0..1_000_u32).filter(|i| f64::from(i * i) * 5e-5 <= bound + 1e-9).count();
        assert_eq!(count, below as f64, "le {bound}");
    }
}

#[test]
fn duration_at_a_bound_belongs_to_its_bucket() {
    let metrics = new();
    let route = metrics.route("a", "x");
    route.record(0, 200, Duration::from_millis(1), 0, 0);
    route.record(0, 200, Duration::from_micros(1_001), 0, 0);
    route.record(0, 200, Duration::MAX, 0, 0);
    let scrape = Scrape::of(&metrics);
    let bucket = |le| {
        let name = "yett_request_duration_seconds_bucket";
        scrape.value(name, &[("le", le), ("api", "a")])
    };
    assert_eq!(bucket("0.0005"), 0.0);
    assert_eq!(bucket("0.001"), 1.0);
    assert_eq!(bucket("0.0025"), 2.0);
    assert_eq!(bucket("30.0"), 2.0);
    assert_eq!(bucket("+Inf"), 3.0);
}

#[test]
fn hostile_labels_stay_labels() {
    let metrics = new();
    let hostile = "a\"} 1\nfake_total{x=\"\\";
    metrics.route(hostile, hostile).record(0, 200, Duration::ZERO, 0, 0);
    metrics.target(hostile, hostile).set_up(false);
    let scrape = Scrape::of(&metrics);
    let labels = [("api", hostile), ("route", hostile), ("status", "2xx")];
    assert_eq!(scrape.value("yett_requests_total", &labels), 1.0);
    let labels = [("upstream", hostile), ("target", hostile)];
    assert_eq!(scrape.value("yett_target_up", &labels), 0.0);
    assert_eq!(scrape.count("fake_total"), 0);
}

#[test]
fn same_labels_are_the_same_numbers() {
    let metrics = new();
    metrics.route("a", "x").record(0, 200, Duration::ZERO, 0, 0);
    metrics.route("a", "x").record(0, 200, Duration::ZERO, 0, 0);
    assert!(Arc::ptr_eq(metrics.route("a", "x").api(), &metrics.api("a")));
    let labels = [("api", "a"), ("route", "x"), ("status", "2xx")];
    assert_eq!(Scrape::of(&metrics).value("yett_requests_total", &labels), 2.0);
}

#[test]
fn routes_beyond_the_cap_share_a_label() {
    let metrics = new();
    let held: Vec<_> =
        (0..caps::METRIC_ROUTES_MAX + 5).map(|i| metrics.route("a", &i.to_string())).collect();
    held.iter().for_each(|route| route.record(0, 200, Duration::ZERO, 0, 0));
    let scrape = Scrape::of(&metrics);
    assert_eq!(scrape.count("yett_requests_total"), caps::METRIC_ROUTES_MAX + 1);
    let labels = [("api", "a"), ("route", "other"), ("status", "2xx")];
    assert_eq!(scrape.value("yett_requests_total", &labels), 5.0);
    let all: f64 = scrape.with("yett_requests_total", "api", "a").iter().sum();
    assert_eq!(all, held.len() as f64);
    assert_eq!(scrape.value("yett_request_duration_seconds_count", &[("api", "a")]), all);
}

#[test]
fn at_the_cap_routes_that_nobody_holds_make_room() {
    let metrics = new();
    let kept = metrics.route("kept", "x");
    kept.record(0, 200, Duration::ZERO, 0, 0);
    for i in 0..3 * caps::METRIC_ROUTES_MAX {
        // Every route with an API of its own: those must make room as well.
        drop(metrics.route(&format!("api {i}"), "x"));
    }
    let scrape = Scrape::of(&metrics);
    let labels = [("api", "kept"), ("route", "x"), ("status", "2xx")];
    assert_eq!(scrape.value("yett_requests_total", &labels), 1.0);
    assert!(scrape.count("yett_requests_total") <= caps::METRIC_ROUTES_MAX);
    assert!(scrape.count("yett_request_bytes_total") <= caps::METRIC_NAMES_MAX);
    assert!(scrape.with("yett_requests_total", "api", "other").is_empty());
}

#[test]
fn apis_beyond_the_cap_share_a_label() {
    let metrics = new();
    let held: Vec<_> =
        (0..caps::METRIC_NAMES_MAX + 3).map(|i| metrics.api(&i.to_string())).collect();
    let late = metrics.route("late", "x");
    late.record(0, 200, Duration::ZERO, 1, 0);
    let scrape = Scrape::of(&metrics);
    assert_eq!(held.len(), caps::METRIC_NAMES_MAX + 3);
    assert_eq!(scrape.value("yett_request_bytes_total", &[("api", "other")]), 1.0);
    let labels = [("api", "other"), ("route", "x"), ("status", "2xx")];
    assert_eq!(scrape.value("yett_requests_total", &labels), 1.0);
}

#[test]
fn targets_beyond_the_cap_share_a_label_that_is_neither_up_nor_down() {
    let metrics = new();
    let held: Vec<_> =
        (0..caps::METRIC_TARGETS_MAX + 2).map(|i| metrics.target("u", &i.to_string())).collect();
    held.iter().for_each(|target| target.requests.add(0, 1));
    let scrape = Scrape::of(&metrics);
    assert_eq!(scrape.count("yett_target_up"), caps::METRIC_TARGETS_MAX);
    let labels = [("upstream", "other"), ("target", "other")];
    assert_eq!(scrape.value("yett_target_requests_total", &labels), 2.0);
}

#[test]
fn targets_that_nobody_uses_any_more_are_forgotten_and_others_stay() {
    let metrics = new();
    drop(metrics.target("a", "10.0.0.1:80"));
    let held = metrics.target("a", "10.0.0.2:80");
    held.failures.add(1, 4);
    metrics.forget();
    let scrape = Scrape::of(&metrics);
    assert_eq!(scrape.count("yett_target_up"), 1);
    let labels = [("upstream", "a"), ("target", "10.0.0.2:80")];
    assert_eq!(scrape.value("yett_target_failures_total", &labels), 4.0);
    assert_eq!(metrics.target("a", "10.0.0.2:80").failures.sum(), 4, "it is the same as before");
}

#[test]
fn faults_are_counted_by_code_and_unknown_ones_are_not() {
    let metrics = new();
    metrics.fault(0, 1);
    metrics.fault(1, 1);
    metrics.fault(9, 1);
    metrics.fault(0, 2);
    let scrape = Scrape::of(&metrics);
    assert_eq!(scrape.value("yett_faults_total", &[("code", "upstream_timeout")]), 3.0);
    assert_eq!(scrape.value("yett_faults_total", &[("code", "no_route")]), 0.0);
    assert_eq!(scrape.count("yett_faults_total"), 2);
}

#[test]
fn listeners_and_upstreams_are_counted() {
    let metrics = new();
    let listener = metrics.listener("public");
    listener.accepted.add(0, 7);
    listener.active.add(0, 2);
    listener.handshake_failed.add(1, 1);
    listener.refused(Refusal::Full).add(0, 3);
    let upstream = metrics.upstream("orders");
    upstream.attempts.add(0, 5);
    upstream.retries.add(1, 1);
    upstream.connections_opened.add(1, 2);
    upstream.connect_failed.add(1, 3);
    upstream.pool_reused.add(1, 4);
    let scrape = Scrape::of(&metrics);
    let public = [("listener", "public")];
    assert_eq!(scrape.value("yett_connections_total", &public), 7.0);
    assert_eq!(scrape.value("yett_connections_active", &public), 2.0);
    assert_eq!(scrape.value("yett_tls_handshakes_failed_total", &public), 1.0);
    for (reason, count) in [("full", 3.0), ("draining", 0.0), ("denied", 0.0)] {
        let labels = [("listener", "public"), ("reason", reason)];
        assert_eq!(scrape.value("yett_connections_refused_total", &labels), count);
    }
    let orders = [("upstream", "orders")];
    assert_eq!(scrape.value("yett_upstream_attempts_total", &orders), 5.0);
    assert_eq!(scrape.value("yett_upstream_retries_total", &orders), 1.0);
    assert_eq!(scrape.value("yett_upstream_connections_opened_total", &orders), 2.0);
    assert_eq!(scrape.value("yett_upstream_connect_failed_total", &orders), 3.0);
    assert_eq!(scrape.value("yett_upstream_pool_reused_total", &orders), 4.0);
}

#[test]
fn the_control_plane_is_told_of_where_there_is_one() {
    let metrics = new();
    assert_eq!(Scrape::of(&metrics).count("yett_database_up"), 0);
    metrics.control(ControlPlane { is_database_up: true, is_unlocked: false, refused: 2 });
    let scrape = Scrape::of(&metrics);
    let told = ["yett_database_up", "yett_master_key_up", "yett_revisions_refused"];
    assert_eq!(told.map(|name| scrape.value(name, &[])), [1.0, 0.0, 2.0]);
}

#[test]
fn failed_reload_leaves_revision_and_time_of_the_last_good_one() {
    let metrics = new();
    assert_eq!(Scrape::of(&metrics).count("yett_config_info"), 0);
    let wall = SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_225_600_500);
    metrics.reload(true, "r1", wall);
    metrics.reload(false, "r2", wall + Duration::from_secs(60));
    metrics.log_dropped(12);
    let scrape = Scrape::of(&metrics);
    assert_eq!(scrape.value("yett_config_reloads_total", &[("result", "ok")]), 1.0);
    assert_eq!(scrape.value("yett_config_reloads_total", &[("result", "failed")]), 1.0);
    let time = scrape.value("yett_config_last_reload_success_timestamp_seconds", &[]);
    assert_eq!(time, 1_767_225_600.5);
    assert_eq!(scrape.value("yett_config_info", &[("revision", "r1")]), 1.0);
    assert_eq!(scrape.types["yett_config"], "info");
    assert_eq!(scrape.value("yett_access_log_dropped_total", &[]), 12.0);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(scrape.value("yett_build_info", &[("version", version)]), 1.0);
    assert!(scrape.value("process_resident_memory_bytes", &[]) > 0.0);
    assert!(scrape.find("process_cpu_seconds_total", &[]).is_some());
    assert!(scrape.find("process_open_fds", &[]).is_some());
    assert!(scrape.find("process_start_time_seconds", &[]).is_some());
}

#[test]
fn negative_gauge_is_written_as_zero() {
    let metrics = new();
    metrics.listener("l").active.add(0, -1);
    assert_eq!(Scrape::of(&metrics).value("yett_connections_active", &[("listener", "l")]), 0.0);
}
