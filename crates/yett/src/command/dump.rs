//! `yett dump`: what a workspace has, as a config file.

use crate::remote::{Failure, Remote, Target, folder};
use crate::render;
use clap::Args;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// This revision, in place of the draft.
    #[arg(long, short)]
    revision: Option<i64>,
    /// Write the files of this folder in place of printing: one for each API, one for each other kind of part. Parts stay in
    /// the files where they are, and files that say already what they should are left alone, with their comments.
    #[arg(long, value_name = "FOLDER", conflicts_with = "json")]
    into: Option<PathBuf>,
    /// Take out of the files what the workspace lacks.
    #[arg(long, requires = "into")]
    prune: bool,
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
    let Arguments { revision, target, into, prune } = arguments;
    let remote = Remote::of(target)?;
    let config = match revision {
        None => remote.ask("GET", "/config", None)?,
        Some(number) => remote.ask("GET", &format!("/revisions/{number}"), None)?["config"].take(),
    };
    if let (Some(folder), Some(config)) = (into, config.as_object()) {
        return write(folder, config, *prune).map_err(Failure::Said);
    }
    let text = serde_json::to_string_pretty(&config).unwrap_or_default();
    if target.json {
        return Ok(text);
    }
    // JSON is YAML; the canonical form has it as people write it.
    let file = Arc::from("dump");
    Ok(model::format(&text, &file).unwrap_or(text))
}

/// Writes a config into a folder, and says what was done.
fn write(into: &Path, config: &Map<String, Value>, prune: bool) -> Result<String, String> {
    let layout = folder::layout(&folder::read(into)?, config, prune);
    folder::write(into, &layout)
        .map_err(|error| format!("cannot write to {}: {error}", into.display()))?;
    let shown = |name: &String| into.join(name).display().to_string();
    let mut lines: Vec<String> =
        layout.written.keys().map(|name| format!("wrote {}", shown(name))).collect();
    lines.extend(layout.emptied.iter().map(|name| format!("removed {}", shown(name))));
    if lines.is_empty() {
        lines.push("nothing to change".to_owned());
    }
    lines.extend(layout.kept.iter().map(|part| {
        format!(
            "! {part} is in the files and not in the workspace, and stays; `--prune` takes it out"
        )
    }));
    Ok(lines.join("\n"))
}
