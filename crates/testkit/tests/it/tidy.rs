//! Rules of the repository that no compiler checks. Each test collects everything that breaks a rule, so
//! that one run tells it all.

use super::files::{self, Source};
use regex::Regex;
use std::process::Command;
use testkit::repository;

/// Who may use whom: the arrows of `ARCHITECTURE.md`. Tests may use `testkit` besides.
const ARROWS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("model", &["base"]),
    ("telemetry", &["base"]),
    ("traffic", &["base", "telemetry"]),
    ("http1", &["base", "traffic"]),
    ("upstream", &["base", "telemetry", "traffic", "http1"]),
    ("policy", &["base", "telemetry", "traffic"]),
    ("compile", &["base", "telemetry", "model", "traffic", "upstream", "policy"]),
    ("proxy", &["base", "telemetry", "traffic", "http1"]),
    ("store", &["base"]),
    ("control", &["base", "telemetry", "model", "store"]),
    ("api", &["base", "telemetry", "control"]),
    (
        "testkit",
        &[
            "base",
            "telemetry",
            "model",
            "traffic",
            "upstream",
            "policy",
            "compile",
            "proxy",
            "http1",
        ],
    ),
    (
        "yett",
        &[
            "base",
            "telemetry",
            "model",
            "traffic",
            "upstream",
            "policy",
            "compile",
            "proxy",
            "store",
            "control",
            "api",
        ],
    ),
];

/// Lines of one source file, tests not counted.
const FILE_LINES_MAX: usize = 800;

fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

/// Everything a pattern matches, line by line.
fn search(sources: &[Source], pattern: &str) -> Vec<String> {
    let pattern = Regex::new(pattern).unwrap();
    let hit = |source: &Source| {
        let lines = source.lines().filter(|(_, line)| pattern.is_match(line));
        lines.map(|(n, line)| format!("{}:{n}: {}", source.path, line.trim())).collect::<Vec<_>>()
    };
    sources.iter().flat_map(hit).collect()
}

fn manifests() -> Vec<serde_json::Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(repository())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

#[test]
fn crates_use_only_whom_they_may() {
    let packages = manifests();
    let mut found = Vec::new();
    for package in &packages {
        let name = package["name"].as_str().unwrap();
        let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == name) else {
            found.push(format!("`{name}` is not in the table of arrows"));
            continue;
        };
        for dependency in package["dependencies"].as_array().unwrap() {
            let used = dependency["name"].as_str().unwrap();
            let is_test = dependency["kind"] == "dev";
            let is_ours = ARROWS.iter().any(|(known, _)| *known == used);
            let may = allowed.contains(&used) || (is_test && used != "yett");
            if is_ours && !may {
                found.push(format!("`{name}` must not use `{used}`"));
            }
        }
    }
    assert_eq!(packages.len(), ARROWS.len(), "the table names crates that are gone");
    none("forbidden arrows between crates", &found);
}

#[test]
fn every_crate_follows_the_rules_of_the_workspace() {
    let mut found = Vec::new();
    for manifest in files::ending("/Cargo.toml") {
        for wanted in ["[lints]\nworkspace = true", "publish.workspace = true", "description = \""]
        {
            if manifest.path.starts_with("crates/") && !manifest.text.contains(wanted) {
                found.push(format!("{} lacks `{}`", manifest.path, wanted.replace('\n', " ")));
            }
        }
    }
    none("manifests", &found);
}

#[test]
fn every_crate_has_its_place_in_the_architecture() {
    let page = files::read("ARCHITECTURE.md");
    let missing = |(name, _): &&(&str, &[&str])| !page.contains(&format!("### `{name}`"));
    let found: Vec<_> = ARROWS
        .iter()
        .filter(missing)
        .map(|(name, _)| format!("`{name}` has no paragraph"))
        .collect();
    none("ARCHITECTURE.md", &found);
}

#[test]
fn every_crate_says_what_it_must_never_do_and_where_to_start() {
    let mut found = Vec::new();
    for (name, _) in ARROWS {
        let root = if *name == "yett" { "main" } else { "lib" };
        let path = format!("crates/{name}/src/{root}.rs");
        let text = files::read(&path);
        let head: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
        for wanted in ["never", "Start reading at"] {
            if !head.contains(wanted) {
                found.push(format!("{path} does not say `{wanted}`"));
            }
        }
    }
    none("first lines of crates", &found);
}

#[test]
fn every_module_is_documented_where_it_is_declared() {
    let declared = Regex::new(r"^\s*(pub(\([a-z]+\))? )?mod [a-z_]+;$").unwrap();
    let mut found = Vec::new();
    for source in files::ending(".rs") {
        if !matches!(source.name(), "lib.rs" | "main.rs") {
            continue;
        }
        let mut before = "";
        let mut above = "";
        for (number, line) in source.lines() {
            // Between the documentation and the module there may be an attribute.
            let is_documented = before.starts_with("///")
                || (before.starts_with("#[") && above.starts_with("///"))
                || before == "#[cfg(test)]";
            if declared.is_match(line) && !is_documented {
                found.push(format!("{}:{number}: {line}", source.path));
            }
            (above, before) = (before, line);
        }
    }
    none("modules without a line of documentation", &found);
}

#[test]
fn files_are_short() {
    let mut found = Vec::new();
    for source in files::ending(".rs") {
        let is_test = source.path.contains("/tests/") || source.path.ends_with("/tests.rs");
        let lines = source.text.lines().take_while(|line| *line != "mod tests {").count();
        if !is_test && lines > FILE_LINES_MAX {
            found.push(format!("{} has {lines} lines; {FILE_LINES_MAX} are the most", source.path));
        }
        if source.name() == "mod.rs" {
            found.push(format!("{}: name it after its folder, beside it", source.path));
        }
    }
    none("files", &found);
}

#[test]
fn nothing_is_left_for_later() {
    // Written in two halves, so that this file does not break its own rules.
    let patterns = [
        concat!(r"\bTO", r"DO\b|\bFIX", r"ME\b|\bXX", r"X\b"),
        concat!(r"\bto", r"do!|\bunimple", "mented!"),
        concat!(r"#\[ig", r"nore|#!?\[al", r"low\("),
        concat!(r"\bdb", "g!"),
    ];
    none("left for later", &search(&files::ending(".rs"), &patterns.join("|")));
}

#[test]
fn names_say_what_things_are() {
    let sources = files::ending(".rs");
    let vague =
        r"\b(struct|enum|trait|type|mod|fn) \w*(Manager|Helper|Util|_util|_helper|_manager)";
    none("vague names", &search(&sources, vague));
    none("`get_` says nothing", &search(&sources, r"\bpub(\([a-z]+\))? (const |async )*fn get_"));
    none("wildcard imports", &search(&sources, r"^\s*(pub )?use (crate|super)(::\w+)*::\*;"));
}

#[test]
fn no_space_ends_a_line_and_no_tab_begins_one() {
    // Makefiles need tabs, golden files show what becomes of them, and hostile messages are made of them.
    let is_exempt = |path: &str| {
        path.ends_with("Makefile") || path.contains("/golden/") || path.starts_with("fuzz/corpus/")
    };
    let sources: Vec<_> = files::all().into_iter().filter(|s| !is_exempt(&s.path)).collect();
    none("spaces and tabs", &search(&sources, r"[ \t]$|^\t|\r"));
    let is_open = |source: &&Source| !source.text.is_empty() && !source.text.ends_with('\n');
    let open: Vec<_> = sources.iter().filter(is_open).map(|source| source.path.clone()).collect();
    none("files without a last line break", &open);
}

#[test]
fn texts_are_about_the_program_only() {
    // Places on somebody's machine, and how something came about: neither helps a reader.
    let patterns = [
        concat!(r"/ro", r"ot/|/wo", r"rk/|/home/[a-z]"),
        concat!("(?i)co-auth", "ored-by|generated wi", "th|as reque", "sted by|as an a", r"i\b"),
    ];
    none("words that belong elsewhere", &search(&files::all(), &patterns.join("|")));
}
