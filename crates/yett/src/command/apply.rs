//! `yett apply`: make files what a workspace publishes.

use super::plan::plan;
use crate::remote::files::Written;
use crate::remote::{Failure, Remote, Target, show};
use crate::render;
use clap::Args;
use serde_json::{Value, json};
use std::io::IsTerminal as _;
use std::process::ExitCode;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Config files, or folders of them.
    #[arg(required = true)]
    files: Vec<String>,
    /// Delete what the files lack.
    #[arg(long)]
    prune: bool,
    /// Why, for those who read the history.
    #[arg(long, short, default_value = "")]
    note: String,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match apply(arguments) {
        Ok(told) => {
            render::out(&told);
            ExitCode::SUCCESS
        }
        Err(failure) => failure.tell(arguments.target.json),
    }
}

fn apply(arguments: &Arguments) -> Result<String, Failure> {
    let Arguments { files, prune, note, yes, target } = arguments;
    let remote = Remote::of(target)?;
    let files = Written::read(files)?;
    let planned = plan(&remote, &files, *prune)?;
    if !target.json {
        files.tell(&planned["errors"], &planned["warnings"]);
    }
    let has = |name: &str| planned[name].as_array().is_some_and(|all| !all.is_empty());
    if has("errors") {
        if target.json {
            render::out(&planned.to_string());
        }
        return Err(Failure::BadFiles);
    }
    if !has("changes") && planned["is_new"] != true {
        return Ok(if target.json { planned.to_string() } else { "nothing to change".to_owned() });
    }
    if !target.json {
        render::out(&show::lines(&planned, &files).join("\n"));
    }
    if !yes {
        agree()?;
    }
    // What was shown is what is done: if somebody publishes meanwhile, nothing is.
    let body =
        json!({ "config": files.config, "prune": prune, "last": planned["last"], "note": note });
    let applied = match remote.ask("PUT", "/config", Some(&body)) {
        Err(Failure::Refused(refusal)) if refusal.status == 422 && !target.json => {
            files.tell(&refusal.problem["findings"], &Value::Null);
            return Err(Failure::BadFiles);
        }
        applied => applied?,
    };
    Ok(match &applied["revision"] {
        _ if target.json => applied.to_string(),
        Value::Null => "nothing to publish".to_owned(),
        revision => format!("published as revision {revision} of {}", target.workspace),
    })
}

/// Asks whoever sits there.
fn agree() -> Result<(), Failure> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err("nobody is there to agree: `--yes` does".to_owned().into());
    }
    render::tell("Publish this? [y/N]");
    let mut answer = String::new();
    stdin.read_line(&mut answer).map_err(|error| format!("cannot read standard input: {error}"))?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err("nothing was changed".to_owned().into()),
    }
}
