//! `yett user`: users of the control plane, by whoever has its host.

use crate::database::{Database, Failure, Outcome, Target};
use clap::{Args, Subcommand};
use control::{Caller, Checked, Control};
use serde_json::json;
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print a link by which a user logs in once, within an hour, for whoever has lost password and second factor.
    ///
    /// It is made in the database that the config names, while the gateway serves or not: who may read that may do so. The audit
    /// trail tells of it.
    Link(Link),
}

#[derive(Args, Debug)]
pub(crate) struct Link {
    /// Name of the user.
    #[arg(default_value = "admin")]
    name: String,
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(command: &Command) -> ExitCode {
    let Command::Link(Link { name, target }) = command;
    target.run(false, async |database| link(&database, name).await)
}

async fn link(database: &Database, name: &str) -> Result<Outcome, Failure> {
    let store = database.open().await?;
    let control = Control::new(store.clone(), &database.clock, |_| Checked::default());
    let made = control.user_link_of_host(&Caller::system("user-link"), name).await;
    store.close().await;
    let link = made.map_err(|problem| {
        let why = problem.cause.unwrap_or(problem.detail);
        Failure::from(format!("user `{name}`: {why}"))
    })?;
    let path = format!("/login/{}", link.reveal());
    let address = database.place.address();
    // Where the system chooses the port only the gateway knows it.
    let shown = match address.port() {
        0 => path,
        _ => format!("{}{path}", database.place.reached(address)),
    };
    let lines = vec![
        shown.clone(),
        "it works once, within an hour, and asks for no second factor; then set a password with `yett password set`".to_owned(),
    ];
    Ok(Outcome::good(lines, json!({ "user": name, "link": shown })))
}
