//! `yett login`: log in to the admin API of a control plane.

use crate::command::password;
use crate::remote::client::Client;
use crate::remote::logins::{self, Login};
use crate::remote::trust::Trust;
use crate::remote::{Failure, answered};
use crate::render;
use base::Secret;
use clap::Args;
use serde_json::json;
use std::process::ExitCode;

/// What stands before a one-time link.
const LINK: &str = "/login/";

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Address of the admin API, such as `http://127.0.0.1:9181`, or a link that logs in once.
    url: String,
    /// Log in with the password of this user, which is read from standard input. A terminal does not show what is typed.
    #[arg(long, short)]
    user: Option<String>,
    /// Read a token from standard input, as `POST /v1/tokens` makes them.
    #[arg(long, conflicts_with = "user")]
    token: bool,
    #[command(flatten)]
    trust: Trust,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match login(arguments) {
        Ok(told) => {
            render::out(&told);
            ExitCode::SUCCESS
        }
        Err(failure) => failure.tell(false),
    }
}

fn login(arguments: &Arguments) -> Result<String, Failure> {
    let client = Client::new(&arguments.url, &arguments.trust)?;
    let url = client.url();
    let begin = |how: serde_json::Value| -> Result<Secret, Failure> {
        let session = answered(client.ask("POST", "/v1/sessions", None, Some(&how))?)?;
        let shown = session["bearer"]
            .as_str()
            .ok_or_else(|| "the control plane begins no session".to_owned())?;
        Ok(Secret::new(shown.to_owned()))
    };
    let token = match (arguments.url.split_once(LINK), &arguments.user) {
        (Some((_, link)), _) => begin(json!({ "link": link, "bearer": true }))?,
        (None, Some(user)) => {
            let password = password::read()?;
            begin(json!({ "name": user, "password": password.reveal(), "bearer": true }))?
        }
        (None, None) if arguments.token => password::read()?,
        (None, None) => {
            return Err("say how to log in: `--user NAME` with a password, `--token` with a token on standard input, or the one-time link that the gateway printed in place of the URL".to_owned().into());
        }
    };
    let who = answered(client.ask("GET", "/v1/sessions/current", Some(&token), None)?)?;
    let path =
        logins::keep(&Login { url: url.clone(), token, ca: whole(arguments.trust.ca.as_deref()) })?;
    let name = who["name"].as_str().unwrap_or_default();
    let told = format!("logged in at {url} as {name}; kept in {}", path.display());
    let is_by_link = arguments.url.contains(LINK);
    Ok(if is_by_link {
        format!(
            "{told}\nthe link is used up: `yett password set` gives you a password for the next time"
        )
    } else {
        told
    })
}

/// A file by a name that holds in every folder.
fn whole(file: Option<&str>) -> Option<String> {
    let path = std::fs::canonicalize(file?).ok()?;
    Some(path.to_string_lossy().into_owned())
}
