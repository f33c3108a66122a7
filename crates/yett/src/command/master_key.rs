//! `yett master-key`: another master key for the secrets in the database of the control plane.

use crate::database::{Database, Failure, Outcome, Target, numbered};
use crate::database::{counted, file_failure};
use clap::{Args, Subcommand};
use control::upkeep::UPKEEP_EVERY;
use control::{Caller, Checked, Control};
use serde_json::json;
use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use store::envelope::Keys;
use store::{Location, Store};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add a master key to `master.key`, and encrypt all secrets with it, while the gateway serves.
    ///
    /// The keys before it stay in the file, for backups made until now: see `yett master-key forget`. Several gateways on one
    /// PostgreSQL need the new key before anything is encrypted with it: see `add` and `rewrap`.
    Rotate(Alone),
    /// Add a master key to `master.key`, and encrypt nothing with it yet.
    ///
    /// Where the config says the keys itself (`master_key`), print the lines that it should say from then on.
    Add(Alone),
    /// Encrypt with the newest master key what is encrypted with older ones. Each gateway on this database must have it.
    Rewrap(Alone),
    /// Take the master keys out of `master.key` with which nothing is encrypted any more. Backups that were made with them
    /// cannot be read without: keep a copy for as long as those.
    Forget(Alone),
}

#[derive(Args, Debug)]
pub(crate) struct Alone {
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(command: &Command) -> ExitCode {
    match command {
        Command::Rotate(Alone { target }) => {
            target.run(false, async |database| rotate(&database).await)
        }
        Command::Add(Alone { target }) => target.run(false, async |database| add(&database).await),
        Command::Rewrap(Alone { target }) => {
            target.run(false, async |database| rewrap(&database).await)
        }
        Command::Forget(Alone { target }) => {
            target.run(false, async |database| forget(&database).await)
        }
    }
}

/// The keys, which open what is in the database, and their file if the config does not say them itself.
async fn keys(database: &Database, store: &Store) -> Result<(Keys, Option<PathBuf>), Failure> {
    let name = database.keys_name();
    let keys = database.keys()?.ok_or_else(|| {
        format!("there is no {name}; put it back from where it is backed up, or start the gateway, which makes one where nothing is encrypted yet")
    })?;
    store.keys_check(&keys).await.map_err(|error| {
        format!("{name} does not open the secrets of the database ({error}); put back the one that belongs to it")
    })?;
    Ok((keys, database.place.keys_file()))
}

/// Adds a key; its number, and the file that has it.
async fn added(database: &Database) -> Result<(Keys, Option<PathBuf>), Failure> {
    let store = database.open().await?;
    let found = keys(database, &store).await;
    store.close().await;
    let (mut keys, file) = found?;
    keys.rotate().map_err(|error| database.told(&error))?;
    if let Some(file) = &file {
        keys.save(file).map_err(|why| file_failure(file, &why))?;
    }
    Ok((keys, file))
}

async fn add(database: &Database) -> Result<Outcome, Failure> {
    let (keys, file) = added(database).await?;
    let newest = keys.newest();
    let Some(file) = file else {
        let lines = vec![
            keys.text().reveal().trim_end().to_owned(),
            "have `master_key` say these lines on each gateway and restart it, then run `yett master-key rewrap`".to_owned(),
        ];
        return Ok(Outcome::good(
            lines,
            json!({ "master_key": newest, "lines": keys.text().reveal() }),
        ));
    };
    let name = file.display();
    let lines = vec![format!(
        "{name} has master key {newest}; copy the file to each gateway on this database, and to where it is backed up, then run `yett master-key rewrap`"
    )];
    Ok(Outcome::good(lines, json!({ "master_key": newest, "file": file })))
}

/// Whether a gateway serves by an SQLite database.
fn is_served(database: &Database) -> bool {
    let folder = database.place.keys_file();
    let lock = folder.and_then(|file| File::open(file.parent()?.join("lock")).ok());
    // One who may not lock it has not found out.
    lock.is_some_and(|lock| lock.try_lock().is_err())
}

async fn rotate(database: &Database) -> Result<Outcome, Failure> {
    if database.place.keys_file().is_none() {
        return Err("the config says the master keys itself (`master_key`): `yett master-key add` prints what it should say".to_owned().into());
    }
    if matches!(database.place.location(), Location::Postgres(_)) {
        return Err("other gateways may use this PostgreSQL, and need the new key first: run `yett master-key add`, copy `master.key` to each of them, then run `yett master-key rewrap`".to_owned().into());
    }
    added(database).await?;
    if is_served(database) {
        // It looks as often for other keys.
        crate::render::tell("waiting for the gateway to take up the new key");
        tokio::time::sleep(UPKEEP_EVERY + Duration::from_secs(2)).await;
    }
    let mut outcome = rewrap(database).await?;
    outcome
        .lines
        .push(format!("keep a copy of {} elsewhere: it is in no backup", database.keys_name()));
    Ok(outcome)
}

async fn rewrap(database: &Database) -> Result<Outcome, Failure> {
    let store = database.open().await?;
    let (keys, _) = keys(database, &store).await?;
    let newest = keys.newest();
    let control = Control::new(store.clone(), &database.clock, |_| Checked::default());
    let caller = Caller::system("master-key");
    let done = control.with_keys(keys).secret_rewrap(&caller).await;
    store.close().await;
    let count = done.map_err(|problem| problem.cause.unwrap_or(problem.detail))?;
    let lines =
        vec![format!("{} encrypted anew with master key {newest}", counted(count, "secret"))];
    Ok(Outcome::good(lines, json!({ "master_key": newest, "rewrapped": count })))
}

async fn forget(database: &Database) -> Result<Outcome, Failure> {
    let store = database.open().await?;
    let (mut keys, file) = keys(database, &store).await?;
    let used = store.masters().await.map_err(|error| database.told(&error))?;
    store.close().await;
    let Some(file) = file else {
        return Err("the config says the master keys itself (`master_key`): take the lines out there with which nothing is encrypted any more".to_owned().into());
    };
    let newest = keys.newest();
    let old: Vec<i64> = used.into_iter().filter(|number| *number != newest).collect();
    if !old.is_empty() {
        return Err(format!("secrets are encrypted with {} still; `yett master-key rewrap` encrypts them with {newest}", numbered(&old)).into());
    }
    keys.forget_old();
    keys.save(&file).map_err(|why| file_failure(&file, &why))?;
    let lines = vec![format!("{} has master key {newest} alone", file.display())];
    Ok(Outcome::good(lines, json!({ "master_key": newest, "file": file })))
}
