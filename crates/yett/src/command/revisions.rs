//! `yett revisions`: what a workspace has published.

use crate::remote::{Failure, Remote, Target};
use crate::render;
use clap::Args;
use serde_json::Value;
use std::process::ExitCode;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// How many, the newest first.
    #[arg(long, short, default_value_t = 20, value_parser = clap::value_parser!(u8).range(1..=100))]
    limit: u8,
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match list(arguments) {
        Ok(text) => {
            render::out(&text);
            ExitCode::SUCCESS
        }
        Err(failure) => failure.tell(arguments.target.json),
    }
}

fn list(arguments: &Arguments) -> Result<String, Failure> {
    let remote = Remote::of(&arguments.target)?;
    let page = remote.ask("GET", &format!("/revisions?limit={}", arguments.limit), None)?;
    if arguments.target.json {
        return Ok(page.to_string());
    }
    let all = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    if all.is_empty() {
        return Ok("nothing was published yet".to_owned());
    }
    let line = |it: &Value| {
        let text = |name: &str| it[name].as_str().unwrap_or_default();
        let again =
            it["again"].as_i64().map(|number| format!("again {number}  ")).unwrap_or_default();
        let line = format!(
            "{:>6}  {}  {:<16}  {again}{}",
            it["number"],
            text("created"),
            text("author"),
            text("note")
        );
        line.trim_end().to_owned()
    };
    Ok(all.iter().map(line).collect::<Vec<_>>().join("\n"))
}
