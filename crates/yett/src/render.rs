//! Problems as people and programs read them.

use base::{Problem, Report, Severity};
use model::effective::Diff;
use owo_colors::{OwoColorize as _, Stream, Style};
use serde_json::json;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;

/// Prints a result. A closed pipe is the reader's choice, not an error.
pub(crate) fn out(text: &str) {
    drop(writeln!(std::io::stdout().lock(), "{}", text.trim_end()));
}

/// Prints a result of several, and says whether anybody still reads.
pub(crate) fn one_of_many(text: &str) -> bool {
    writeln!(std::io::stdout().lock(), "{text}").is_ok()
}

/// Prints what is told besides results.
pub(crate) fn tell(text: &str) {
    drop(writeln!(std::io::stderr().lock(), "{}", text.trim_end()));
}

/// Prints why nothing came of it.
pub(crate) fn failure(why: &str) {
    let label = "error".if_supports_color(Stream::Stderr, |text| text.style(red())).to_string();
    tell(&format!("{label}: {why}"));
}

fn red() -> Style {
    Style::new().red().bold()
}

/// Prints a report with the lines it is about.
pub(crate) fn text(report: &Report, sources: &[(Arc<str>, Arc<str>)]) {
    let mut text = String::new();
    for problem in report.problems() {
        text.push_str(&one(problem, sources));
    }
    if report.dropped() > 0 {
        // Writing to a string cannot fail.
        writeln!(text, "and {} more problems", report.dropped()).ok();
    }
    let (errors, warnings) = report.counts();
    if errors + warnings > 0 {
        writeln!(text, "{}", summary(errors, warnings)).ok();
    }
    if !text.is_empty() {
        tell(&text);
    }
}

fn summary(errors: usize, warnings: usize) -> String {
    let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    match (errors, warnings) {
        (0, warnings) => plural(warnings, "warning"),
        (errors, 0) => plural(errors, "error"),
        (errors, warnings) => {
            format!("{}, {}", plural(errors, "error"), plural(warnings, "warning"))
        }
    }
}

fn one(problem: &Problem, sources: &[(Arc<str>, Arc<str>)]) -> String {
    let (label, style) = match problem.severity {
        Severity::Error => ("error", red()),
        Severity::Warning => ("warning", Style::new().yellow().bold()),
        Severity::Note => ("note", Style::new().cyan().bold()),
    };
    let label = label.if_supports_color(Stream::Stderr, |text| text.style(style)).to_string();
    let bold = |text: &str| {
        text.if_supports_color(Stream::Stderr, |text| text.style(Style::new().bold())).to_string()
    };
    let mut text = format!("{}: {label}: {}\n", bold(&problem.place.to_string()), problem.message);
    if let Some(line) = line(problem, sources) {
        let number = problem.place.line.to_string();
        let column = usize::try_from(problem.place.column).unwrap_or(1).saturating_sub(1);
        let margin = " ".repeat(number.len());
        let caret = "^".if_supports_color(Stream::Stderr, |text| text.style(style)).to_string();
        let shown: String = line.chars().take(160).collect();
        // Writing to a string cannot fail.
        write!(text, " {number} | {shown}\n {margin} | {}{caret}\n", " ".repeat(column)).ok();
    }
    if let Some(help) = &problem.help {
        writeln!(text, "  help: {help}").ok();
    }
    text
}

fn line<'a>(problem: &Problem, sources: &'a [(Arc<str>, Arc<str>)]) -> Option<&'a str> {
    let (_, text) = sources.iter().find(|(name, _)| *name == problem.place.file)?;
    let index = usize::try_from(problem.place.line).ok()?.checked_sub(1)?;
    let line = text.lines().nth(index)?;
    // A long line helps nobody.
    let column = usize::try_from(problem.place.column).unwrap_or(usize::MAX);
    let is_private = problem.path.starts_with("/consumers") || is_private(text, index, line);
    (!is_private && column <= 160 && !line.trim().is_empty()).then_some(line)
}

/// Whether somebody may have written a secret in plain in a line: where credentials belong, and beside any word for one.
fn is_private(text: &str, index: usize, line: &str) -> bool {
    const WORDS: [&str; 8] =
        ["password", "secret", "token", "bearer", "basic", "hmac", "yett_", "private"];
    let is_section = |line: &&str| line.starts_with(|c: char| c.is_alphanumeric() || c == '"');
    let section = text.lines().take(index + 1).filter(is_section).last();
    let is_of_consumers = section.is_some_and(|section| section.contains("consumers"));
    let line = line.to_ascii_lowercase();
    is_of_consumers || WORDS.iter().any(|word| line.contains(word))
}

/// Prints a report for programs, and what has changed if that was asked for.
pub(crate) fn json(report: &Report, changes: Option<&Diff>) {
    let (errors, warnings) = report.counts();
    let mut report = json!({
        "errors": errors,
        "warnings": warnings,
        "dropped": report.dropped(),
        "problems": report.problems(),
    });
    if let Some(changes) = changes {
        report["changes"] = json!(changes);
    }
    out(&serde_json::to_string_pretty(&report).unwrap_or_default());
}
