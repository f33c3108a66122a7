//! `yett token`: make a token for a program that uses the admin API.

use crate::remote::{Failure, Reach, Remote};
use crate::render;
use base::{Clock, Moment};
use clap::Args;
use serde_json::json;
use std::process::ExitCode;
use std::time::Duration;

/// Seconds of a day.
const DAY_S: u64 = 86_400;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// What you tell it by, such as `pipeline`.
    name: String,
    /// What it may do, of what you may: a permission such as `api:update` or `*:read`. May be repeated; without any it
    /// may do what you may.
    #[arg(long = "may", value_name = "PERMISSION")]
    may: Vec<String>,
    /// Days until it ends.
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..=365))]
    days: u16,
    #[command(flatten)]
    reach: Reach,
}

/// The token is all that is printed on standard output, so that a script can take it from there. It is shown once.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match token(arguments) {
        Ok(token) => {
            render::out(&token);
            ExitCode::SUCCESS
        }
        Err(failure) => failure.tell(false),
    }
}

fn token(arguments: &Arguments) -> Result<String, Failure> {
    let Arguments { name, may, days, reach } = arguments;
    let remote = Remote::anywhere(reach)?;
    let lasts = Duration::from_secs(u64::from(*days) * DAY_S);
    let end = Clock::System.wall().checked_add(lasts).and_then(Moment::of);
    let expires = end.map(|end| end.to_string());
    let body = json!({ "name": name, "scopes": may, "expires": expires });
    let made = remote.ask_at("POST", "/v1/tokens", Some(&body))?;
    let (token, end) = (made["token"].as_str(), made["expires"].as_str());
    let token = token.ok_or_else(|| "the control plane makes no token".to_owned())?;
    render::tell(&format!(
        "this token is shown once and ends at {}; programs take it from `YETT_TOKEN`",
        end.unwrap_or_default()
    ));
    Ok(token.to_owned())
}
