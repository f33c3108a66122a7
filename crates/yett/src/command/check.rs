//! `yett check`: find every problem of a config without serving.

use super::{Format, Printed};
use crate::prepare::{self, Checked};
use crate::render;
use clap::Args;
use compile::least_privilege;
use model::effective::{self, Diff, Level};
use std::process::ExitCode;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Config file, or a folder of them.
    #[arg(default_value = "yett.yaml", env = "YETT_CONFIG")]
    config: String,
    #[command(flatten)]
    printed: Printed,
    /// Count warnings as errors, and with `--diff` what is a danger.
    #[arg(long)]
    strict: bool,
    /// Tell also what callers may do beyond what they need.
    #[arg(long)]
    report: bool,
    /// Tell also what is other than in this config: which routes appear or vanish, and whose authentication, limits,
    /// upstream or exposure change.
    #[arg(long, value_name = "OLD")]
    diff: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let mut checked = prepare::check(&arguments.config);
    if arguments.report
        && !checked.report.has_errors()
        && let (Some(config), Some(snapshot)) = (&checked.config, &checked.snapshot)
    {
        checked.report.absorb(least_privilege(config, snapshot, &checked.credentials));
        checked.report.sort();
    }
    let (errors, warnings) = checked.report.counts();
    let diff = match arguments.diff.as_ref().map(|old| difference(old, &checked)).transpose() {
        Ok(diff) => diff.flatten(),
        Err(code) => return code,
    };
    let is_danger = diff.as_ref().is_some_and(|diff| diff.level() == Some(Level::Danger));
    let is_bad = errors > 0 || (arguments.strict && (warnings > 0 || is_danger));
    match arguments.printed.format() {
        Format::Json => render::json(&checked.report, diff.as_ref()),
        Format::Text => {
            render::text(&checked.report, &checked.sources);
            if checked.snapshot.is_none() {
                render::tell("more may be found once these are mended");
            }
            if let Some(diff) = &diff {
                let none =
                    if diff.is_empty() { "nothing has changed in what it comes to" } else { "" };
                render::out(format!("{diff}{none}").trim_end());
            }
            if !is_bad {
                let routes = checked.snapshot.as_ref().map_or(0, |snapshot| snapshot.routes.len());
                let plural = if routes == 1 { "" } else { "s" };
                render::out(&format!("{} is fine: {routes} route{plural}", arguments.config));
            }
        }
    }
    if is_bad { ExitCode::from(crate::BAD_CONFIG) } else { ExitCode::SUCCESS }
}

/// What is other than in an older config; nothing if there is something wrong with the new one.
fn difference(old: &str, new: &Checked) -> Result<Option<Diff>, ExitCode> {
    let old = prepare::check(old);
    let (Some(before), false) = (old.effective(), old.report.has_errors()) else {
        render::text(&old.report, &old.sources);
        return Err(ExitCode::from(crate::BAD_CONFIG));
    };
    let after = new.effective().filter(|_| !new.report.has_errors());
    Ok(after.map(|after| effective::diff(&before, &after)))
}
