//! `yett check`: find every problem of a config without serving.

use super::Format;
use crate::prepare;
use crate::render;
use clap::Args;
use compile::least_privilege;
use std::process::ExitCode;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Config file, or a folder of them.
    #[arg(default_value = "yett.yaml", env = "YETT_CONFIG")]
    config: String,
    /// How problems are printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Count warnings as errors.
    #[arg(long)]
    strict: bool,
    /// Tell also what callers may do beyond what they need.
    #[arg(long)]
    report: bool,
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
    let is_bad = errors > 0 || (arguments.strict && warnings > 0);
    match arguments.format {
        Format::Json => render::json(&checked.report),
        Format::Text => {
            render::text(&checked.report, &checked.sources);
            if checked.snapshot.is_none() {
                render::tell("more may be found once these are mended");
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
