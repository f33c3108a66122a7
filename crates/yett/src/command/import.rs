//! `yett import`: make a config of what other programs describe APIs by.

use crate::render;
use base::caps::OPENAPI_BYTES_MAX;
use clap::{Args, Subcommand};
use model::openapi::{self, Options};
use std::fs::File;
use std::io::{self, Read as _};
use std::process::ExitCode;

/// What it is made of.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Of an OpenAPI document (3.0 to 3.2, JSON or YAML): the draft of an API with its routes.
    Openapi(Openapi),
}

#[derive(Args, Debug)]
pub(crate) struct Openapi {
    /// The document; `-` is standard input.
    file: String,
    /// What the API is called; made of the title unless said otherwise.
    #[arg(long)]
    name: Option<String>,
    /// The upstream of your config that its requests go to; a new one to the document's server unless said otherwise.
    #[arg(long)]
    upstream: Option<String>,
    /// Path that its routes begin with; that of the document's server unless said otherwise.
    #[arg(long)]
    path: Option<String>,
    /// Host that it answers to, may be repeated; those of the document's servers unless said otherwise.
    #[arg(long)]
    host: Vec<String>,
    /// Print JSON, as the admin API takes it.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(Command::Openapi(arguments): &Command) -> ExitCode {
    let text = match read(&arguments.file) {
        Ok(text) => text,
        Err(why) => {
            render::failure(&format!("cannot read `{}`: {why}", arguments.file));
            return ExitCode::from(crate::FAILED);
        }
    };
    let options = Options {
        name: arguments.name.clone(),
        upstream: arguments.upstream.clone(),
        path: arguments.path.clone(),
        hosts: arguments.host.clone(),
    };
    match openapi::import(&text, &options) {
        Ok(draft) => {
            let yaml = || draft.yaml();
            let json = || serde_json::to_string_pretty(&draft.json()).unwrap_or_default();
            render::out(&if arguments.json { json() } else { yaml() });
            for note in &draft.notes {
                render::tell(&format!("note: {note}"));
            }
            ExitCode::SUCCESS
        }
        Err(why) => {
            render::failure(&why);
            ExitCode::from(crate::BAD_CONFIG)
        }
    }
}

fn read(file: &str) -> Result<String, String> {
    let most = OPENAPI_BYTES_MAX as u64 + 1;
    let mut bytes = Vec::new();
    let read = match file {
        "-" => io::stdin().lock().take(most).read_to_end(&mut bytes),
        file => File::open(file).and_then(|file| file.take(most).read_to_end(&mut bytes)),
    };
    read.map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|_| "it is not text in UTF-8".to_owned())
}
