//! `yett key`: make API keys.

use super::{Format, Printed};
use crate::render;
use base::caps::API_KEY_BYTES_MAX;
use base::units::Period;
use base::{Clock, Moment};
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
    #[arg(long, default_value = "someone", value_parser = name)]
    consumer: String,
    /// Application of the consumer that the key is for.
    #[arg(long, value_parser = name)]
    application: Option<String>,
    /// What people call the key, for logs.
    #[arg(long)]
    name: Option<String>,
    /// When the key stops being valid: a date such as `2026-12-31`, a time (RFC 3339), or how long from now, such as
    /// `90d`.
    #[arg(long, value_parser = expiry)]
    expires: Option<Moment>,
    #[command(flatten)]
    printed: Printed,
}

/// Characters from which on a key made elsewhere is not warned of.
const KEY_BYTES_WORTHY: usize = 16;

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
    match arguments.printed.format() {
        Format::Json => {
            let mut made = serde_json::json!({
                "consumer": arguments.consumer, "key": key.reveal(), "hash": hash,
            });
            let expires = arguments.expires.map(|moment| moment.to_string());
            let optional = [
                ("application", &arguments.application),
                ("name", &arguments.name),
                ("expires", &expires),
            ];
            for (name, value) in optional {
                if let Some(value) = value {
                    made[name] = value.as_str().into();
                }
            }
            render::out(&made.to_string());
        }
        Format::Text => render::out(&format!(
            "key    {}\n       give it to the client; it cannot be shown again\n\nconfig consumers:\n{}",
            key.reveal(),
            snippet(arguments, &hash)
        )),
    }
    ExitCode::SUCCESS
}

/// What belongs into the config.
fn snippet(arguments: &Create, hash: &str) -> String {
    let mut item = format!("\"{hash}\"");
    if arguments.name.is_some() || arguments.expires.is_some() {
        item = format!("{{ hash: {item}");
        if let Some(name) = &arguments.name {
            item.push_str(&format!(", name: {}", serde_json::json!(name)));
        }
        if let Some(expires) = &arguments.expires {
            item.push_str(&format!(", expires: \"{expires}\""));
        }
        item.push_str(" }");
    }
    let consumer = &arguments.consumer;
    match &arguments.application {
        None => format!("         {consumer}:\n           keys: [{item}]"),
        Some(application) => format!(
            "         {consumer}:\n           applications:\n             {application}:\n               keys: [{item}]"
        ),
    }
}

/// Reads a name as configs have them.
fn name(text: &str) -> Result<String, String> {
    let wrong =
        || "a name has lower-case letters, digits, `-` and `_`, and begins with a letter or digit";
    model::validate::is_name(text).then(|| text.to_owned()).ok_or_else(|| wrong().to_owned())
}

/// Reads when something ends.
fn expiry(text: &str) -> Result<Moment, String> {
    let now = Clock::System.wall();
    let moment = match Period::parse(text) {
        Ok(period) => {
            now.checked_add(period.0).and_then(Moment::of).ok_or("that is too far away")?
        }
        Err(_) => Moment::parse(text)
            .map_err(|why| format!("{why}, nor how long from now, such as `90d`"))?,
    };
    if moment.0 <= now {
        return Err("that is over already".to_owned());
    }
    Ok(moment)
}

fn hash() -> ExitCode {
    let mut line = String::new();
    if let Err(error) = std::io::stdin().read_line(&mut line) {
        render::failure(&format!("cannot read standard input: {error}"));
        return ExitCode::from(crate::FAILED);
    }
    match check(line.trim()) {
        Ok(warning) => {
            render::out(&hexadecimal(&policy::key::hash(line.trim().as_bytes())));
            warning.into_iter().for_each(|warning| render::tell(&format!("warning: {warning}")));
            ExitCode::SUCCESS
        }
        Err(why) => {
            render::failure(&why);
            ExitCode::from(crate::FAILED)
        }
    }
}

/// Refuses what `api_key` would never accept; what can be guessed is warned of.
fn check(key: &str) -> Result<Option<String>, String> {
    if key.is_empty() {
        return Err("there is no key on standard input".to_owned());
    }
    if key.len() > API_KEY_BYTES_MAX {
        return Err(format!("a key has at most {API_KEY_BYTES_MAX} bytes"));
    }
    if key.chars().any(char::is_control) {
        return Err("a key has no control characters: no header can hold them".to_owned());
    }
    if key.starts_with(policy::key::PREFIX) && !policy::key::has_valid_checksum(key) {
        return Err(
            "the checksum of the key is wrong: it is not what `yett key create` printed".to_owned()
        );
    }
    let is_short = key.len() < KEY_BYTES_WORTHY;
    Ok(is_short.then(|| {
        format!("a key of less than {KEY_BYTES_WORTHY} characters can be guessed; `yett key create` makes a better one")
    }))
}

fn hexadecimal(hash: &[u8; 32]) -> String {
    hash.iter().fold("sha256:".to_owned(), |mut text, byte| {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}
