//! `yett key`: make API keys.

use super::Format;
use crate::render;
use clap::{Args, Subcommand};
use std::fmt::Write as _;
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a key. It is shown once; only its hash goes into a config.
    Create(Create),
    /// Print the hash of a key that is read from standard input.
    Hash,
}

#[derive(Args, Debug)]
pub(crate) struct Create {
    /// Consumer the key is for.
    #[arg(long, default_value = "someone")]
    consumer: String,
    /// How the key is printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(command: &Command) -> ExitCode {
    match command {
        Command::Create(create) => self::create(create),
        Command::Hash => hash(),
    }
}

fn create(arguments: &Create) -> ExitCode {
    let (key, hash) = match policy::key::generate() {
        Ok(made) => made,
        Err(error) => {
            render::failure(&format!("the system gives no randomness: {error}"));
            return ExitCode::from(crate::FAILED);
        }
    };
    let hash = hexadecimal(&hash);
    let consumer = &arguments.consumer;
    match arguments.format {
        Format::Json => render::out(
            &serde_json::json!({ "consumer": consumer, "key": key.reveal(), "hash": hash })
                .to_string(),
        ),
        Format::Text => render::out(&format!(
            "key    {}\n       give it to the client; it cannot be shown again\n\nconfig consumers:\n         {consumer}:\n           keys: [\"{hash}\"]",
            key.reveal()
        )),
    }
    ExitCode::SUCCESS
}

fn hash() -> ExitCode {
    let mut line = String::new();
    if let Err(error) = std::io::stdin().read_line(&mut line) {
        render::failure(&format!("cannot read standard input: {error}"));
        return ExitCode::from(crate::FAILED);
    }
    render::out(&hexadecimal(&policy::key::hash(line.trim().as_bytes())));
    ExitCode::SUCCESS
}

fn hexadecimal(hash: &[u8; 32]) -> String {
    hash.iter().fold("sha256:".to_owned(), |mut text, byte| {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}
