//! `yett dump`: what a workspace has, as a config file.

use crate::remote::{Failure, Remote, Target};
use crate::render;
use clap::Args;
use std::process::ExitCode;
use std::sync::Arc;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// This revision, in place of the draft.
    #[arg(long, short)]
    revision: Option<i64>,
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match dump(arguments) {
        Ok(text) => {
            render::out(&text);
            ExitCode::SUCCESS
        }
        Err(failure) => failure.tell(arguments.target.json),
    }
}

fn dump(arguments: &Arguments) -> Result<String, Failure> {
    let Arguments { revision, target } = arguments;
    let remote = Remote::of(target)?;
    let config = match revision {
        None => remote.ask("GET", "/config", None)?,
        Some(number) => remote.ask("GET", &format!("/revisions/{number}"), None)?["config"].take(),
    };
    let text = serde_json::to_string_pretty(&config).unwrap_or_default();
    if target.json {
        return Ok(text);
    }
    // JSON is YAML; the canonical form has it as people write it.
    let file = Arc::from("dump");
    Ok(model::format(&text, &file).unwrap_or(text))
}
