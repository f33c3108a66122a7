//! A compiler with everything around it.

use base::{Clock, Report, Severity};
use compile::{Compiled, Inputs, compile};
use model::Loaded;
use model::load::load;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use telemetry::Metrics;
use testkit::Surroundings;
use traffic::State;
use traffic::fault::FAULT_NAMES;

/// What lies between two compilations.
pub(crate) struct Outer {
    pub(crate) state: State,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Clock,
}

impl Outer {
    pub(crate) fn new() -> Self {
        Self { state: State::new(), metrics: Metrics::new(1, FAULT_NAMES), clock: Clock::manual() }
    }

    /// Compiles the config in the file `root`, with upstreams that are only looked at. The problems of
    /// loading it are in the report as well.
    pub(crate) fn compile(&self, root: &str, around: &Surroundings) -> (Option<Compiled>, Report) {
        let Loaded { config, mut report, .. } = load(root, around);
        let inputs = Inputs {
            outside: around,
            upstream: &compile::inert,
            world: None,
            outbound: None,
            access: None,
            stores: None,
            names: None,
            geo: None,
            exporter: None,
            state: &self.state,
            directory: &Arc::default(),
            metrics: &self.metrics,
            clock: &self.clock,
            revision: &Arc::from("test"),
        };
        let mut compiled = config.map(|config| compile(&config, inputs));
        if let Some(compiled) = &mut compiled {
            report.absorb(std::mem::take(&mut compiled.report));
        }
        report.sort();
        (compiled, report)
    }
}

/// Compiles a config text that must be free of errors.
pub(crate) fn compiled(config: &str) -> Compiled {
    let (compiled, report) = Outer::new().compile("yett.yaml", &Surroundings::of(config));
    assert!(!report.has_errors(), "{report}");
    compiled.unwrap()
}

/// A report as it is kept.
pub(crate) fn shown(report: &Report) -> String {
    let mut out = String::new();
    for problem in report.problems() {
        let severity = match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        write!(out, "{} {severity} {}", problem.place, problem.code).unwrap();
        if !problem.path.is_empty() {
            write!(out, " {}", problem.path).unwrap();
        }
        writeln!(out, "\n  {}", problem.message).unwrap();
        if let Some(help) = &problem.help {
            writeln!(out, "  help: {help}").unwrap();
        }
    }
    out
}

/// The folder of the golden files.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Compares with a golden file, or writes it if `YETT_BLESS=1`; says whether it differs.
pub(crate) fn differs(name: &str, found: &str) -> bool {
    let file = folder().join(name);
    if base::env::text("YETT_BLESS").is_some_and(|value| value == "1") {
        fs::write(file, found).unwrap();
        return false;
    }
    fs::read_to_string(file).unwrap_or_default() != found
}
