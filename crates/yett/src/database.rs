//! The database of a config, for the commands that look after it beside the process that serves by it.

/// How far long work has come.
mod progress;

pub(crate) use progress::Progress;

use crate::command::{Format, Printed};
use crate::disk::StateDir;
use crate::platform::Place;
use crate::prepare;
use crate::render;
use base::{Clock, Moment};
use clap::Args;
use serde_json::Value;
use std::fmt;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};
use store::envelope::Keys;
use store::{Error, Location, Store, Trouble};

/// How often a database is tried that is busy.
pub(crate) const ATTEMPTS: u32 = 4;

/// Whether a database may be free the next moment: each attempt waits for seconds.
pub(crate) fn is_passing(error: &Error) -> bool {
    match error {
        Error::Unavailable(why) => {
            Trouble::of(why) == Trouble::Locked
                || ["timed out", "deadlock"].iter().any(|word| why.contains(word))
        }
        _ => false,
    }
}

/// Which database is meant, and how results are printed.
#[derive(Args, Debug)]
pub(crate) struct Target {
    /// Config file, or a folder of them, whose `control` says where the database is.
    #[arg(long, short, default_value = "yett.yaml", env = "YETT_CONFIG")]
    config: String,
    #[command(flatten)]
    printed: Printed,
}

/// Why a command came to nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// In words, and what to do.
    Said(String),
    /// The config has problems, which were told.
    BadConfig,
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self::Said(why)
    }
}

/// What came of a command: lines for people, a value for programs.
pub(crate) struct Outcome {
    pub(crate) lines: Vec<String>,
    pub(crate) value: Value,
    /// Whether it is what was hoped for. Nothing is printed where there is no value.
    pub(crate) is_good: bool,
}

impl Outcome {
    /// What was hoped for.
    pub(crate) const fn good(lines: Vec<String>, value: Value) -> Self {
        Self { lines, value, is_good: true }
    }
}

/// Where the database of a config is, and what belongs to it.
pub(crate) struct Database {
    pub(crate) place: Place,
    /// The folder for what outlives a restart, claimed if that was asked for, until the work is done.
    _held: Option<StateDir>,
    pub(crate) clock: Clock,
}

impl Target {
    /// Does something with the database and tells what came of it.
    pub(crate) fn run<D>(&self, is_claimed: bool, does: impl FnOnce(Database) -> D) -> ExitCode
    where
        D: Future<Output = Result<Outcome, Failure>>,
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        self.without(|| match (self.database(is_claimed)?, runtime) {
            (database, Ok(runtime)) => runtime.block_on(does(database)),
            (_, Err(error)) => Err(error.to_string().into()),
        })
    }

    /// Does something without the database and tells what came of it.
    pub(crate) fn without(&self, does: impl FnOnce() -> Result<Outcome, Failure>) -> ExitCode {
        match does() {
            Ok(Outcome { lines, value, is_good }) => {
                match self.printed.format() {
                    _ if value.is_null() => {}
                    Format::Json => render::out(&value.to_string()),
                    Format::Text if is_good => render::out(&lines.join("\n")),
                    Format::Text => render::failure(&lines.join("\n")),
                }
                if is_good { ExitCode::SUCCESS } else { ExitCode::from(crate::FAILED) }
            }
            Err(Failure::Said(why)) => {
                render::failure(&why);
                ExitCode::from(crate::FAILED)
            }
            Err(Failure::BadConfig) => ExitCode::from(crate::BAD_CONFIG),
        }
    }

    fn database(&self, is_claimed: bool) -> Result<Database, Failure> {
        let read = prepare::read(&self.config);
        // What is wrong with routes need not keep anybody from a backup.
        let Some(config) = &read.config else {
            render::text(&read.report, &read.sources);
            return Err(Failure::BadConfig);
        };
        let Some(place) = Place::of(config, &read.disk)? else {
            let why = format!("{} has no control plane, and so no database", self.config);
            return Err(why.into());
        };
        let is_file = matches!(place.location(), Location::Sqlite(_));
        let held = if is_claimed && is_file {
            let held = StateDir::claim(config, &read.disk, None).map_err(|why| {
                format!("{why}, which would go on with the database it has; stop that first")
            })?;
            let why = || "the folder `state_dir` cannot be used: is it there, and whose is it?";
            Some(held.ok_or_else(|| why().to_owned())?)
        } else {
            None
        };
        Ok(Database { place, _held: held, clock: Clock::System })
    }
}

impl Database {
    /// Opens a database that is there.
    ///
    /// # Errors
    /// Why it cannot be used, and what helps.
    pub(crate) async fn open(&self) -> Result<Store, Failure> {
        let mut left = ATTEMPTS;
        loop {
            left -= 1;
            match Store::open_there(self.place.location(), &self.clock).await {
                Err(error) if left > 0 && is_passing(&error) => {}
                opened => return opened.map_err(|error| self.told(&error)),
            }
        }
    }

    /// What a database says, and what helps.
    pub(crate) fn told(&self, error: &Error) -> Failure {
        let help = match error {
            Error::Missing => {
                let why = match self.place.location() {
                    Location::Sqlite(path) => format!(
                        "{}: there is no database; `yett run` makes one, and `yett restore` fills one from a backup",
                        path.display()
                    ),
                    Location::Postgres(_) => "the PostgreSQL database is empty; `yett run` fills it, or `yett restore` from a backup".to_owned(),
                };
                return why.into();
            }
            Error::Older(_) => {
                "start the gateway with this program first, which brings it up to date, or use the program that serves by it"
            }
            Error::Newer(_) => "use the program that serves by it",
            Error::Unavailable(why) => advice(why),
            _ => "",
        };
        let separator = if help.is_empty() { "" } else { "; " };
        format!("{self}: {error}{separator}{help}").into()
    }

    /// The master keys that the config or its folder has, if any; and where they are.
    ///
    /// # Errors
    /// When what is there are no master keys.
    pub(crate) fn keys(&self) -> Result<Option<Keys>, Failure> {
        Ok(self.place.keys_there()?)
    }

    /// Where the master keys are, for people.
    pub(crate) fn keys_name(&self) -> String {
        let file = self.place.keys_file();
        file.map_or_else(|| "`master_key`".to_owned(), |path| path.display().to_string())
    }
}

/// Without the password of a URL.
impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place.location() {
            Location::Sqlite(path) => path.display().fmt(f),
            Location::Postgres(_) => f.write_str("PostgreSQL"),
        }
    }
}

/// What helps against what a database or a disk says.
pub(crate) fn advice(why: &str) -> &'static str {
    match Trouble::of(why) {
        Trouble::Locked => {
            "somebody else is writing to it for long; try again, or find out who has it open"
        }
        Trouble::Full => "make room on the disk and try again",
        Trouble::ReadOnly => "run this as the user who owns it",
        Trouble::Away if why.contains("onnect") || why.contains("timed out") => {
            "is it running, and is `control: { database: … }` right?"
        }
        _ => "",
    }
}

/// Why a file cannot be read or written, and what helps.
pub(crate) fn file_failure(path: &Path, why: &dyn fmt::Display) -> Failure {
    let why = why.to_string();
    let help = advice(&why);
    let separator = if help.is_empty() { "" } else { "; " };
    format!("{}: {why}{separator}{help}", path.display()).into()
}

/// A time in milliseconds since 1970, as RFC 3339 writes it.
pub(crate) fn written(at_ms: i64) -> String {
    let since = Duration::from_millis(u64::try_from(at_ms).unwrap_or_default());
    let moment = SystemTime::UNIX_EPOCH.checked_add(since).and_then(Moment::of);
    moment.map(|moment| moment.to_string()).unwrap_or_default()
}

/// How many of something there are, for people.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Numbers of master keys, for people.
pub(crate) fn numbered(numbers: &[i64]) -> String {
    let all: Vec<String> = numbers.iter().map(i64::to_string).collect();
    format!("master key{} {}", if all.len() == 1 { "" } else { "s" }, all.join(", "))
}
