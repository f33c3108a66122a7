//! The commands and their arguments.

/// `yett run`.
mod run;
/// `yett check`.
mod check;
/// `yett fmt`.
mod fmt;
/// `yett import`.
mod import;
/// `yett schema`.
mod schema;
/// `yett explain`.
mod explain;
/// `yett who-can`.
mod who_can;
/// `yett key`.
mod key;
/// `yett password`.
mod password;
/// `yett top`.
mod top;
/// `yett limits`.
mod limits;
/// `yett demo`.
mod demo;
/// `yett login`.
mod login;
/// `yett token`.
mod token;
/// `yett plan`.
mod plan;
/// `yett apply`.
mod apply;
/// `yett dump`.
mod dump;
/// `yett revisions`.
mod revisions;
/// `yett rollback`.
mod rollback;
/// `yett backup`.
mod backup;
/// `yett restore`.
mod restore;
/// `yett audit`.
mod audit;
/// `yett master-key`.
mod master_key;
/// `yett user`.
mod user;

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::process::ExitCode;

/// An API gateway: one facade for clients, in front of any number of backends.
#[derive(Debug, Parser)]
#[command(name = "yett", version, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What the program is to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve traffic by a config file or folder.
    Run(run::Arguments),
    /// Find every problem of a config without serving.
    Check(check::Arguments),
    /// Bring config files into their canonical form, comments kept.
    Fmt(fmt::Arguments),
    /// Make a config of what other programs describe APIs by.
    #[command(subcommand)]
    Import(import::Command),
    /// Print the JSON Schema of config files, for editors.
    Schema(schema::Arguments),
    /// Say which route a request takes, why, and what happens to it there.
    Explain(explain::Arguments),
    /// Say who may make a request, and which rule decides.
    WhoCan(who_can::Arguments),
    /// Watch a running gateway: rates, latencies, errors, targets.
    Top(top::Arguments),
    /// Show what is left of plans and limits of a running gateway, or let it begin anew.
    Limits(limits::Arguments),
    /// Make API keys.
    #[command(subcommand)]
    Key(key::Command),
    /// Hash passwords.
    #[command(subcommand)]
    Password(password::Command),
    /// Serve the quick start: a small shop and the gateway in front of it.
    Demo(demo::Arguments),
    /// Log in to the admin API of a control plane, for the commands that follow.
    Login(login::Arguments),
    /// Make a token for a program, such as a pipeline, that uses the admin API in your place.
    Token(token::Arguments),
    /// Say what `apply` would change: ends with 0 if nothing, with 3 if something, with 2 if it could not be published.
    Plan(plan::Arguments),
    /// Publish config files in a workspace. Applying the same again changes nothing.
    Apply(apply::Arguments),
    /// Print what a workspace has as a config file.
    Dump(dump::Arguments),
    /// List what a workspace has published.
    Revisions(revisions::Arguments),
    /// Publish an earlier revision again. The draft stays as it is.
    Rollback(rollback::Arguments),
    /// Write all that the database of the control plane holds into a file, while the gateway serves.
    Backup(backup::Arguments),
    /// Make the database of the control plane from a backup.
    Restore(restore::Arguments),
    /// Look through the audit trail, or write it out.
    #[command(subcommand)]
    Audit(audit::Command),
    /// Change the master key with which secrets in the database are encrypted.
    #[command(subcommand)]
    MasterKey(master_key::Command),
    /// Let a user of the control plane in again, from its host.
    #[command(subcommand)]
    User(user::Command),
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// How a command prints its results.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Printed {
    /// How results are printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// The same as `--format json`.
    #[arg(long)]
    json: bool,
}

impl Printed {
    pub(crate) const fn format(self) -> Format {
        if self.json { Format::Json } else { self.format }
    }
}

impl Command {
    pub(crate) fn run(self) -> ExitCode {
        match self {
            Self::Run(arguments) => run::run(&arguments),
            Self::Check(arguments) => check::run(&arguments),
            Self::Fmt(arguments) => fmt::run(&arguments),
            Self::Import(command) => import::run(&command),
            Self::Schema(arguments) => schema::run(&arguments),
            Self::Explain(arguments) => explain::run(&arguments),
            Self::WhoCan(arguments) => who_can::run(&arguments),
            Self::Top(arguments) => top::run(&arguments),
            Self::Limits(arguments) => limits::run(&arguments),
            Self::Key(command) => key::run(&command),
            Self::Password(command) => password::run(&command),
            Self::Demo(arguments) => demo::run(&arguments),
            Self::Login(arguments) => login::run(&arguments),
            Self::Token(arguments) => token::run(&arguments),
            Self::Plan(arguments) => plan::run(&arguments),
            Self::Apply(arguments) => apply::run(&arguments),
            Self::Dump(arguments) => dump::run(&arguments),
            Self::Revisions(arguments) => revisions::run(&arguments),
            Self::Rollback(arguments) => rollback::run(&arguments),
            Self::Backup(arguments) => backup::run(&arguments),
            Self::Restore(arguments) => restore::run(&arguments),
            Self::Audit(command) => audit::run(&command),
            Self::MasterKey(command) => master_key::run(&command),
            Self::User(command) => user::run(&command),
        }
    }
}
