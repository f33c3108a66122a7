//! Configs and the reports they give, side by side in `tests/golden`. With `YETT_BLESS=1` in the
//! environment the reports are written anew, to be read before they are kept.

use crate::files::Memory;
use base::{Report, Severity};
use std::fs;
use std::path::PathBuf;

/// A report as it is kept.
pub(crate) fn shown(report: &Report) -> String {
    let mut out = String::new();
    for problem in report.problems() {
        let severity = match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        out.push_str(&format!("{} {severity} {}", problem.place, problem.code));
        if !problem.path.is_empty() {
            out.push_str(&format!(" {}", problem.path));
        }
        out.push_str(&format!("\n  {}\n", problem.message));
        match &problem.help {
            Some(help) => out.push_str(&format!("  help: {help}\n")),
            None => out.push_str("  (no help)\n"),
        }
    }
    out
}

#[test]
fn every_golden_config_gives_its_report() {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"));
    let bless = base::env::text("YETT_BLESS").is_some_and(|value| value == "1");
    let mut differing = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        count += 1;
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let mut files = Memory::default();
        files.add(&name, fs::read(&path).unwrap());
        let loaded = model::load(&name, &files);
        assert!(loaded.config.is_some() || loaded.report.has_errors(), "{name}");
        let found = shown(&loaded.report);
        let report = path.with_extension("report");
        if bless {
            fs::write(&report, &found).unwrap();
        } else if fs::read_to_string(&report).unwrap_or_default() != found {
            differing.push(format!("--- {name}\n{found}"));
        }
    }
    assert!(count > 20, "the golden files are found");
    assert!(differing.is_empty(), "reports differ:\n{}", differing.join("\n"));
}

#[test]
fn every_good_config_is_formatted_to_itself_or_to_the_same() {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"));
    for name in ["good.yaml", "forms.yaml"] {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        let once = model::format(&text, &name.into()).unwrap();
        assert_eq!(model::format(&once, &name.into()).unwrap(), once, "{name}");
    }
}
