//! `yett backup`: all that the database of the control plane holds, in a file.

use crate::database::{Database, Failure, Outcome, Progress, Target};
use crate::database::{counted, file_failure, numbered, written};
use crate::render;
use base::random;
use clap::Args;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use store::backup::Dumped;
use store::restore::verify;
use store::{Error, Store};

/// What stands for standard output.
const STDOUT: &str = "-";

/// Write all that the database of the control plane holds into a file, while the gateway serves.
///
/// It is what was there at one moment, nobody waits for it, and the file is read again before it gets its name. `yett
/// restore` makes the same database of it, SQLite or PostgreSQL.
///
/// The master key is NOT in it: secrets stay encrypted, and only the master key opens them (`master.key` in `state_dir`, or
/// what `master_key` says). Keep a copy of that elsewhere. Hashes of passwords and of API keys are in it, so that
/// the file is for its owner only.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The file, which must not be there yet; `-` is standard output.
    file: PathBuf,
    /// Replace the file if it is there.
    #[arg(long, short)]
    force: bool,
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let Arguments { file, force, target } = arguments;
    target.run(false, async |database| backup(&database, file, *force).await)
}

async fn backup(database: &Database, file: &Path, is_forced: bool) -> Result<Outcome, Failure> {
    if file == Path::new(STDOUT) {
        return pour(database).await;
    }
    if !is_forced && fs::symlink_metadata(file).is_ok() {
        return Err(taken(file));
    }
    let store = database.open().await?;
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{:016x}", random::fast()));
    let beside = PathBuf::from(name);
    let kept = keep(database, &store, (&beside, file), is_forced).await;
    fs::remove_file(&beside).ok();
    let (dumped, bytes) = kept?;
    let masters = store.masters().await.map_err(|error| database.told(&error))?;
    store.close().await;
    let Dumped { schema, at_ms, rows } = dumped;
    let mut lines = vec![format!(
        "{}: {} of {}, {bytes} bytes, read again and whole",
        file.display(),
        counted(rows, "row"),
        written(at_ms),
    )];
    if !masters.is_empty() {
        lines.push(format!(
            "{} of {} is not in it, and without nobody reads its secrets: keep a copy elsewhere",
            numbered(&masters),
            database.keys_name()
        ));
    }
    let value = json!({
        "file": file, "at": written(at_ms), "schema": schema, "rows": rows, "bytes": bytes, "master_keys": masters,
    });
    Ok(Outcome::good(lines, value))
}

fn taken(file: &Path) -> Failure {
    format!("{}: there is such a file; `--force` replaces it", file.display()).into()
}

/// Writes a file beside another one, reads it again, and gives it the name of that.
async fn keep(
    database: &Database,
    store: &Store,
    (beside, file): (&Path, &Path),
    is_forced: bool,
) -> Result<(Dumped, u64), Failure> {
    let told = |why: io::Error| file_failure(file, &why);
    let open = File::options().write(true).create_new(true).mode(0o600).open(beside);
    let to = open.map_err(told)?;
    let synced = to.try_clone().map_err(told)?;
    let mut to = Progress::of(BufWriter::new(to), "writing", None);
    let dumped = dump(database, store, &mut to, file).await?;
    let bytes = to.done();
    drop(to);
    synced.sync_all().map_err(told)?;
    let from = BufReader::new(File::open(beside).map_err(told)?);
    let found = verify(Progress::of(from, "reading again", Some(bytes)));
    if found.as_ref().ok() != Some(&dumped) {
        let why = "what was written is not what is there: the disk may be broken";
        return Err(file_failure(file, &why));
    }
    if is_forced {
        fs::rename(beside, file).map_err(told)?;
    } else {
        fs::hard_link(beside, file).map_err(|why| match why.kind() {
            io::ErrorKind::AlreadyExists => taken(file),
            _ => told(why),
        })?;
    }
    let folder = file.parent().filter(|it| !it.as_os_str().is_empty());
    let folder = File::open(folder.unwrap_or_else(|| Path::new("."))).map_err(told)?;
    folder.sync_all().map_err(told)?;
    Ok((dumped, bytes))
}

/// Writes a dump; what the database says is told as such, and what the disk says of the file.
async fn dump(
    database: &Database,
    store: &Store,
    to: impl Write + Send,
    file: &Path,
) -> Result<Dumped, Failure> {
    struct Heard<T> {
        to: T,
        why: Option<io::Error>,
    }
    impl<T: Write> Write for Heard<T> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.to.write(bytes).map_err(|why| {
                let again = io::Error::new(why.kind(), why.to_string());
                self.why = Some(why);
                again
            })
        }
        fn flush(&mut self) -> io::Result<()> {
            self.to.flush().map_err(|why| {
                let again = io::Error::new(why.kind(), why.to_string());
                self.why = Some(why);
                again
            })
        }
    }
    let mut heard = Heard { to, why: None };
    let dumped: Result<Dumped, Error> = store.dump(&mut heard).await;
    dumped.map_err(|error| match heard.why {
        Some(why) => file_failure(file, &why),
        None => database.told(&error),
    })
}

/// Writes to standard output; what came of it is told beside.
async fn pour(database: &Database) -> Result<Outcome, Failure> {
    let store = database.open().await?;
    let to = BufWriter::new(io::stdout());
    let dumped = dump(database, &store, to, Path::new("standard output")).await?;
    store.close().await;
    render::tell(&format!(
        "{} of {}; `yett restore --check -` reads them again",
        counted(dumped.rows, "row"),
        written(dumped.at_ms)
    ));
    Ok(Outcome::good(Vec::new(), Value::Null))
}
