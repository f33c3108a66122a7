//! Configs and the reports they give, side by side in `tests/golden`. With `YETT_BLESS=1` in the
//! environment the reports are written anew, to be read before they are kept.

use crate::it::kit::{Outer, differs, folder, shown};
use crate::it::surroundings::surroundings;
use std::collections::BTreeSet;
use std::fs;

/// The golden configs: names without ending, and texts.
fn configs() -> Vec<(String, String)> {
    let mut configs: Vec<(String, String)> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "yaml"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect();
    configs.sort();
    configs
}

#[test]
fn every_golden_config_gives_its_report() {
    let mut differing = Vec::new();
    let configs = configs();
    for (name, text) in &configs {
        let root = format!("{name}.yaml");
        let around = surroundings().clone().file(&root, text.as_str());
        let (compiled, report) = Outer::new().compile(&root, &around);
        let found = shown(&report);
        assert!(compiled.is_some(), "the model refuses {name}:\n{found}");
        assert!(!found.contains("s3cret"), "{name} shows a secret");
        if differs(&format!("{name}.report"), &found) {
            differing.push(format!("--- {name}\n{found}"));
        }
    }
    assert!(configs.len() > 10, "the golden files are found");
    assert!(differing.is_empty(), "reports differ:\n{}", differing.join("\n"));
}

/// What no config shows: the model finds it first, it takes megabytes of regular expressions, or a report asked for by
/// itself tells it (`crates/yett/tests/it/access.rs`).
const NOT_SHOWN: &[&str] = &[
    "bad_host",
    "no_otlp",
    "bad_method",
    "bad_regex",
    "tls",
    "too_much_to_ask",
    "open_to_write",
    "constant_rule",
    "unused_role",
    "unneeded_permission",
    "reaches_nothing",
    "idle_denial",
];

#[test]
fn every_problem_that_the_compiler_finds_is_in_a_golden_report() {
    let mut found = BTreeSet::new();
    for (name, _) in configs() {
        let report = fs::read_to_string(folder().join(format!("{name}.report"))).unwrap();
        let codes = report.lines().filter(|line| !line.starts_with(' '));
        found.extend(codes.filter_map(|line| line.split(' ').nth(2)).map(str::to_owned));
    }
    let mut missing = Vec::new();
    for entry in fs::read_dir(folder().join("../../src")).unwrap() {
        let source = fs::read_to_string(entry.unwrap().path()).unwrap();
        // A problem is made by `.error("code", …`, the code perhaps on the next line.
        for call in ["error(", "warning(", "note("] {
            for (before, after) in source.match_indices(call).map(|(at, _)| source.split_at(at)) {
                let argument = after.trim_start_matches(call).trim_start();
                let code = argument.strip_prefix('"').and_then(|rest| rest.split_once('"'));
                let Some((code, _)) = code.filter(|_| before.ends_with(['.', ' '])) else {
                    continue;
                };
                if !found.contains(code) && !NOT_SHOWN.contains(&code) {
                    missing.push(code.to_owned());
                }
            }
        }
    }
    assert!(missing.is_empty(), "no golden report has {missing:?}");
}
