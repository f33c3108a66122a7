//! `yett restore`: the database of the control plane from a backup.

use crate::database::{ATTEMPTS, counted, file_failure, is_passing, numbered, written};
use crate::database::{Database, Failure, Outcome, Progress, Target};
use crate::platform::DEFAULT;
use crate::platform::parts::forget_another;
use clap::Args;
use serde_json::json;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use store::audit::Actor;
use store::backup::Dumped;
use store::restore::{Former, restore, verify};
use store::{Error, Location, Store};

/// What stands for standard input.
const STDIN: &str = "-";

/// Make the database of the control plane from a backup.
///
/// The backup is looked through first, and the database is there as a whole or as it was before. It is of the newest schema
/// then, also from a backup of an older program, and SQLite or PostgreSQL, wherever the backup is from.
///
/// The master key is not in a backup: put `master.key` back into `state_dir` as well, or secrets cannot be read. Sessions,
/// tokens and credentials that were revoked after the backup are valid again: revoke them once more.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The backup; `-` is standard input.
    file: PathBuf,
    /// Replace what is in the database. The file of an SQLite database is kept beside it, as `….replaced`.
    #[arg(long, short)]
    force: bool,
    /// Only look whether the backup is whole, and restore nothing.
    #[arg(long, conflicts_with = "force")]
    check: bool,
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let Arguments { file, force, check, target } = arguments;
    if *check {
        return target.without(|| looked_through(file));
    }
    let former = if *force { Former::Goes } else { Former::Stays };
    target.run(true, async |database| fill(&database, file, former).await)
}

/// What a backup holds.
fn holds(file: &Path, dumped: &Dumped) -> String {
    format!("{}: {} of {}", file.display(), counted(dumped.rows, "row"), written(dumped.at_ms))
}

fn open(file: &Path, verb: &'static str) -> Result<Box<dyn BufRead + Send>, Failure> {
    if file == Path::new(STDIN) {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let opened = File::open(file).map_err(|why| file_failure(file, &why))?;
    let bytes = opened.metadata().ok().map(|about| about.len());
    Ok(Box::new(Progress::of(BufReader::new(opened), verb, bytes)))
}

/// What is wrong with a backup.
fn wrong(file: &Path, error: &Error) -> Failure {
    let name = file.display();
    match error {
        Error::Corrupt(why) => format!(
            "{name}: {why}; nothing was restored: take another backup"
        ),
        Error::Newer(number) => format!(
            "{name}: the backup has schema {number}, of a newer program; this one knows up to {}: restore it with that program",
            store::NEWEST
        ),
        error => format!("{name}: {error}"),
    }
    .into()
}

fn looked_through(file: &Path) -> Result<Outcome, Failure> {
    let dumped = verify(open(file, "reading")?).map_err(|error| wrong(file, &error))?;
    let Dumped { schema, at_ms, rows } = dumped;
    let value = json!({ "file": file, "at": written(at_ms), "schema": schema, "rows": rows });
    Ok(Outcome::good(vec![format!("{}, whole", holds(file, &dumped))], value))
}

async fn fill(database: &Database, file: &Path, former: Former) -> Result<Outcome, Failure> {
    if file != Path::new(STDIN) {
        looked_through(file)?;
    }
    let location = database.place.location();
    // What comes on standard input comes once.
    let mut left = if file == Path::new(STDIN) { 1 } else { ATTEMPTS };
    let restored = loop {
        left -= 1;
        let from = open(file, "restoring")?;
        match restore(location, &database.clock, former, from).await {
            Err(error) if left > 0 && is_passing(&error) => {}
            restored => break restored,
        }
    };
    let dumped = restored.map_err(|error| match error {
        Error::Taken => format!(
            "{database}: there is something in the database; `--force` replaces it with the backup"
        )
        .into(),
        error @ (Error::Corrupt(_) | Error::Newer(_)) => wrong(file, &error),
        error => database.told(&error),
    })?;
    let store = database.open().await?;
    let warning = noted(database, &store, file, &dumped).await;
    store.close().await;
    let warning = warning?;
    let Dumped { schema, at_ms, rows } = dumped;
    let mut lines = vec![format!("{database} has {}", holds(file, &dumped))];
    if former == Former::Goes && matches!(location, Location::Sqlite(_)) {
        lines.push(format!("what it was is kept as {database}.replaced"));
    }
    lines.extend(warning.as_ref().map(|warning| format!("warning: {warning}")));
    let value = json!({
        "file": file, "at": written(at_ms), "schema": schema, "rows": rows, "warning": warning,
    });
    Ok(Outcome::good(lines, value))
}

/// Notes in the trail that the database was restored; what is wrong with the master keys.
async fn noted(
    database: &Database,
    store: &Store,
    file: &Path,
    dumped: &Dumped,
) -> Result<Option<String>, Failure> {
    let told = |error: Error| database.told(&error);
    let about = json!({ "file": file, "at": written(dumped.at_ms), "rows": dumped.rows });
    let mut write = store.write(Actor::system("restore")).await.map_err(told)?;
    write.database_note("restore", &about.to_string()).await.map_err(told)?;
    write.commit().await.map_err(told)?;
    // What was served by from another database is not what this one has.
    let known = store.revision_newest().await.map_err(told)?;
    let first = known.iter().find(|(_, name, _)| name == DEFAULT).map(|(id, ..)| &**id);
    if let Some(folder) = database.place.folder() {
        forget_another(folder, first).map_err(|why| file_failure(folder, &why))?;
    }
    let masters = store.masters().await.map_err(told)?;
    if masters.is_empty() {
        return Ok(None);
    }
    let (needed, place) = (numbered(&masters), database.keys_name());
    let keys = match database.keys() {
        Ok(Some(keys)) => keys,
        Ok(None) => {
            return Ok(Some(format!(
                "secrets in it are encrypted with {needed}, and there is no {place}: put it back before the gateway starts"
            )));
        }
        Err(Failure::Said(why)) => return Ok(Some(why)),
        Err(failure) => return Err(failure),
    };
    Ok(store.keys_check(&keys).await.err().map(|error| {
        format!("{place} does not open secrets in it, which need {needed}: {error}; put back the one that belongs to the backup")
    }))
}
