//! What operators see.

use super::backend::Backend;
use super::client::{ask, get};
use super::wait::{Lines, until_true};
use super::yett::{Yett, command, plain};
use std::process::Stdio;

#[test]
fn probes_and_status_answer() {
    let backend = Backend::says("ok");
    let yett = Yett::start(&plain(&backend.address.to_string(), ""));
    let admin = yett.admin();
    for path in ["/livez", "/readyz"] {
        let answer = get(&admin, path);
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"));
    }
    let status = yett.status();
    assert_eq!(status["state"], "serving");
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["revision"].as_str().unwrap().len(), 12);
    assert_eq!(status["listeners"][0]["name"], "public");
    assert_eq!(status["upstreams"][0]["targets"][0]["address"], backend.address.to_string());
    assert_eq!(status["broken_routes"].as_array().unwrap().len(), 0);
    assert_eq!(get(&admin, "/none").status, 404);
    assert_eq!(ask(&admin, "POST /status", &admin, "").status, 405);
    assert_eq!(ask(&admin, "POST /status", &admin, "").header("allow").unwrap(), "GET, HEAD");
}

/// Labels and their values.
type Labels<'a> = Vec<(&'a str, &'a str)>;

/// Splits a line of OpenMetrics into name, labels and value.
fn sample(line: &str) -> Option<(&str, Labels<'_>, f64)> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = match series.split_once('{') {
        None => (series, ""),
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(is_name) {
        return None;
    }
    let mut pairs = Vec::new();
    let mut rest = labels;
    while !rest.is_empty() {
        let (key, after) = rest.split_once("=\"")?;
        let (value, after) = after.split_once('"')?;
        pairs.push((key.trim_start_matches(','), value));
        rest = after;
    }
    Some((name, pairs, value.parse().ok()?))
}

#[test]
fn every_line_of_the_metrics_can_be_read_and_counts_are_right() {
    let backend = Backend::echo();
    let yett = Yett::start(&plain(&backend.address.to_string(), ""));
    let address = yett.address("public");
    for _ in 0..25 {
        assert_eq!(ask(&address, "POST /some", "a", "12345").status, 200);
    }
    for _ in 0..5 {
        assert_eq!(ask(&address, "GET /", "a b", "").status, 400);
    }
    let metrics = yett.metrics();
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
    let answer = get(&yett.admin(), "/metrics");
    assert!(answer.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let mut families = Vec::new();
    for line in metrics.lines().filter(|line| *line != "# EOF") {
        if let Some(meta) = line.strip_prefix("# ") {
            let mut words = meta.splitn(3, ' ');
            let (kind, name) = (words.next().unwrap(), words.next().unwrap());
            assert!(["HELP", "TYPE", "UNIT"].contains(&kind), "{line}");
            if kind == "TYPE" {
                assert!(!families.contains(&name), "{name} twice");
                families.push(name);
            }
            continue;
        }
        let (name, labels, value) = sample(line).unwrap_or_else(|| panic!("cannot read {line}"));
        assert!(families.last().is_some_and(|family| name.starts_with(family)), "{line}");
        assert!(value >= 0.0 && labels.iter().all(|(key, _)| !key.is_empty()), "{line}");
    }
    let of_api = |name: &str| yett.metric(name, &["api=\"all\""]);
    assert_eq!(of_api("yett_requests_total"), 25.0);
    assert_eq!(yett.metric("yett_requests_total", &["status=\"4xx\""]), 5.0);
    assert_eq!(of_api("yett_request_duration_seconds_count"), 25.0);
    assert_eq!(
        yett.metric("yett_request_duration_seconds_bucket", &["api=\"all\"", "le=\"+Inf\""]),
        25.0
    );
    assert_eq!(of_api("yett_request_bytes_total"), 125.0);
    let sent: usize = backend.seen().iter().map(|seen| seen.head.len() + seen.body.len()).sum();
    assert_eq!(of_api("yett_response_bytes_total"), sent as f64);
    assert_eq!(yett.metric("yett_target_requests_total", &[]), 25.0);
    assert_eq!(yett.metric("yett_connections_total", &["listener=\"public\""]), 30.0);
    assert_eq!(yett.metric("yett_faults_total", &["code=\"bad_host\""]), 5.0);
    until_true("nobody is connected", || yett.metric("yett_connections_active", &[]) == 0.0);
    assert!(yett.metric("process_resident_memory_bytes", &[]) > 1e6);
}

#[test]
fn the_log_level_changes_while_it_runs() {
    let yett = Yett::start(&plain("127.0.0.1:1", ""));
    let admin = yett.admin();
    assert_eq!(get(&admin, "/log").body, "info\n");
    get(&yett.address("public"), "/");
    assert!(!yett.log.text().contains("DEBUG"), "{}", yett.log.text());
    assert_eq!(ask(&admin, "PUT /log", &admin, "debug").status, 200);
    assert_eq!(get(&admin, "/log").body, "debug\n");
    get(&yett.address("public"), "/");
    yett.log.expect(&["DEBUG", "attempt failed"]);
    let wrong = ask(&admin, "PUT /log", &admin, "loud");
    assert_eq!(wrong.status, 400);
    assert!(wrong.body.contains("loud"), "{}", wrong.body);
    assert_eq!(get(&admin, "/log").body, "debug\n");
    assert_eq!(ask(&admin, "PUT /log", &admin, &"x".repeat(1_000)).status, 413);
    assert_eq!(ask(&admin, "DELETE /log", &admin, "").status, 405);
}

#[test]
fn names_of_others_are_refused() {
    let yett = Yett::start(&plain("127.0.0.1:1", ""));
    let admin = yett.admin();
    let port = admin.rsplit(':').next().unwrap();
    for host in ["127.0.0.1", "localhost", "LOCALHOST", "[::1]", "192.168.1.1"] {
        for host in [host.to_owned(), format!("{host}:{port}")] {
            assert_eq!(ask(&admin, "GET /livez", &host, "").status, 200, "{host}");
        }
    }
    for host in [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1@evil.example",
        "",
    ] {
        for line in ["GET /status", "GET /metrics", "PUT /log", "GET /livez"] {
            let answer = ask(&admin, line, host, "debug");
            assert!([400, 403].contains(&answer.status), "{line} at `{host}`: {answer:?}");
            assert!(!answer.body.contains("yett_"), "{answer:?}");
        }
    }
    assert_eq!(get(&admin, "/log").body, "info\n");
}

#[test]
fn diagnostics_are_json_lines_where_wanted() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("yett.yaml"), plain("127.0.0.1:1", "")).unwrap();
    let mut command = command(folder.path(), &["run", "yett.yaml", "--log-json"]);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let log = Lines::of(child.stderr.take().unwrap());
    log.expect(&["serving http://"]);
    super::yett::signal(child.id(), "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    log.expect(&["stopped"]);
    for line in log.all() {
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(line["message"].is_string() && line["level"].is_string(), "{line}");
    }
}
