//! `yett rollback`: publish an earlier revision again.

use crate::remote::{Failure, Remote, Target};
use crate::render;
use clap::Args;
use serde_json::json;
use std::process::ExitCode;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The revision that is to be in force again.
    revision: i64,
    /// Why, for those who read the history.
    #[arg(long, short, default_value = "")]
    note: String,
    #[command(flatten)]
    target: Target,
}

/// The draft stays as it is: `yett plan` tells how it differs, and the next publishing publishes it.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match rollback(arguments) {
        Ok(text) => {
            render::out(&text);
            ExitCode::SUCCESS
        }
        Err(failure) => failure.tell(arguments.target.json),
    }
}

fn rollback(arguments: &Arguments) -> Result<String, Failure> {
    let Arguments { revision, note, target } = arguments;
    let remote = Remote::of(target)?;
    let made = remote.ask(
        "POST",
        &format!("/revisions/{revision}/rollback"),
        Some(&json!({ "note": note })),
    )?;
    Ok(if target.json {
        made.to_string()
    } else {
        format!(
            "revision {revision} of {} is published again, as revision {}; the draft stays as it is",
            target.workspace, made["number"]
        )
    })
}
