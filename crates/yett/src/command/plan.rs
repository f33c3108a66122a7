//! `yett plan`: what `yett apply` would change.

use crate::remote::files::Written;
use crate::remote::{Failure, Remote, Target, show};
use crate::render;
use clap::Args;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Something would change.
const CHANGES: u8 = 3;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Config files, or folders of them.
    #[arg(required = true)]
    files: Vec<String>,
    /// As if what the files lack were deleted.
    #[arg(long)]
    prune: bool,
    #[command(flatten)]
    target: Target,
}

/// Ends with 0 if nothing would change, with 3 if something would, with 2 if it could not be published.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let Arguments { files, prune, target } = arguments;
    let planned = Remote::of(target).and_then(|remote| {
        let files = Written::read(files)?;
        let plan = plan(&remote, &files, *prune)?;
        Ok((plan, files))
    });
    match planned {
        Ok((plan, files)) => {
            if target.json {
                render::out(&plan.to_string());
            } else {
                files.tell(&plan["errors"], &plan["warnings"]);
                render::out(&show::lines(&plan, &files).join("\n"));
            }
            code(&plan)
        }
        Err(failure) => failure.tell(target.json),
    }
}

fn code(plan: &Value) -> ExitCode {
    let has = |name: &str| plan[name].as_array().is_some_and(|all| !all.is_empty());
    match (has("errors"), has("changes") || plan["is_new"] == true) {
        (true, _) => ExitCode::from(crate::BAD_CONFIG),
        (false, true) => ExitCode::from(CHANGES),
        (false, false) => ExitCode::SUCCESS,
    }
}

/// What applying files would change.
pub(super) fn plan(remote: &Remote, files: &Written, prune: bool) -> Result<Value, Failure> {
    let body = json!({ "config": files.config, "prune": prune, "dry_run": true, "diff": true });
    remote.ask("PUT", "/config", Some(&body))
}
