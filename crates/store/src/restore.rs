//! A database is made from a dump as a whole, or not at all.

use crate::backup::{Dumped, corrupt, disk, hexadecimal};
use crate::migrate::{self, NEWEST};
use crate::sql::{Pool, Sql, Tx, Value, made, sql};
use crate::tables::{Holds, TABLES};
use crate::{Error, Location, Result, Store};
use Holds::{Bytes, Number, Text};
use aws_lc_rs::digest::{Context, SHA256};
use base::{Clock, random};
use serde_json::Value as Json;
use std::fs::{self, File};
use std::io::{BufRead, ErrorKind};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Bytes of one line of a dump.
const LINE_BYTES_MAX: usize = 64 << 20;
/// Tables that are in no dump, as they are only of the moment.
const MOMENTARY: [&str; 4] = ["outbox", "lease", "idempotency", "migration"];

/// What becomes of what is in the database already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Former {
    /// It stays, and nothing is restored.
    Stays,
    /// What is restored takes its place. The file of an SQLite database is kept beside the new one, as `….replaced`.
    Goes,
}

/// The next line of a dump, which is neither too long nor cut off.
fn next(from: &mut impl BufRead, line: &mut String) -> Result<bool> {
    line.clear();
    let mut bounded = std::io::Read::take(&mut *from, LINE_BYTES_MAX as u64);
    bounded.read_line(line).map_err(|why| match why.kind() {
        ErrorKind::InvalidData => corrupt("the dump is not what was written: it is no text"),
        _ => disk(&why),
    })?;
    if !line.is_empty() && !line.ends_with('\n') {
        return Err(corrupt("the dump is cut off, or no dump"));
    }
    Ok(!line.is_empty())
}

/// The table that following rows belong to.
struct Open {
    text: String,
    holds: Vec<Holds>,
}

/// What a dump says, line by line.
struct Reading {
    digest: Context,
    rows: u64,
    header: Option<(i64, i64)>,
    table: Option<Open>,
    is_ended: bool,
}

enum Line {
    Header(i64),
    Table,
    Row(Vec<Value>),
    End,
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

impl Reading {
    fn read(&mut self, text: &str) -> Result<Line> {
        let wrong = || corrupt("the dump has a line that no dump has");
        let line: Json = serde_json::from_str(text).map_err(|_| wrong())?;
        if self.is_ended {
            return Err(corrupt("the dump goes on after its end"));
        }
        let number = |name: &str| line.get(name).and_then(Json::as_i64);
        let Some((schema, _)) = self.header else {
            let is_dump = line.get("yett").and_then(Json::as_str) == Some("dump");
            let (schema, at_ms) = number("schema").zip(number("at_ms")).ok_or_else(wrong)?;
            if !is_dump || schema < 1 {
                return Err(wrong());
            }
            if schema > NEWEST {
                return Err(Error::Newer(schema));
            }
            self.header = Some((schema, at_ms));
            self.digest.update(text.as_bytes());
            return Ok(Line::Header(schema));
        };
        if let Some(expected) = line.get("sha256").and_then(Json::as_str) {
            let found = hexadecimal(self.digest.clone().finish().as_ref());
            if found != expected || number("rows").map(i64::unsigned_abs) != Some(self.rows) {
                return Err(corrupt("the dump is not what was written: its digest is another"));
            }
            self.is_ended = true;
            return Ok(Line::End);
        }
        self.digest.update(text.as_bytes());
        if let Some(name) = line.get("table").and_then(Json::as_str) {
            self.table = Some(open(schema, name, line.get("columns")).ok_or_else(wrong)?);
            return Ok(Line::Table);
        }
        let (Some(values), Some(table)) = (line.as_array(), &self.table) else {
            return Err(wrong());
        };
        if values.len() != table.holds.len() {
            return Err(wrong());
        }
        let values = values.iter().zip(&table.holds).map(|(value, holds)| kept(value, *holds));
        self.rows += 1;
        values.collect::<Option<Vec<Value>>>().map(Line::Row).ok_or_else(wrong)
    }
}

fn open(_schema: i64, name: &str, columns: Option<&Json>) -> Option<Open> {
    let mut names = Vec::new();
    let mut holds = Vec::new();
    for column in columns?.as_array()? {
        let [name, held] = column.as_array()?.as_slice() else { return None };
        names.push(name.as_str().filter(|name| is_name(name))?);
        holds.push(match held.as_str()? {
            "text" => Text,
            "number" => Number,
            "bytes" => Bytes,
            _ => return None,
        });
    }
    if !TABLES.iter().any(|table| table.name == name) || names.is_empty() {
        return None;
    }
    let marks = (1..=names.len()).map(|at| format!("${at}")).collect::<Vec<_>>().join(", ");
    let columns = names.join(", ");
    let text = format!("INSERT INTO {name} ({columns}) @given@ VALUES ({marks})");
    Some(Open { text, holds })
}

pub(crate) fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else { return None };
    let byte = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    pairs.iter().map(byte).collect()
}

fn kept(value: &Json, holds: Holds) -> Option<Value> {
    Some(match (holds, value) {
        (Text, Json::Null) => Value::Text(None),
        (Number, Json::Null) => Value::Number(None),
        (Bytes, Json::Null) => Value::Bytes(None),
        (Text, Json::String(text)) => Value::Text(Some(text.clone())),
        (Number, Json::Number(number)) => Value::Number(Some(number.as_i64()?)),
        (Bytes, Json::String(digits)) => Value::Bytes(Some(bytes_of(digits)?)),
        _ => return None,
    })
}

/// Looks whether a dump is whole, without any database.
///
/// # Errors
/// [`Error::Corrupt`] when it is not, [`Error::Newer`] when it is of a newer program.
pub fn verify(mut from: impl BufRead) -> Result<Dumped> {
    let mut reading = Reading::new();
    let mut line = String::new();
    while next(&mut from, &mut line)? {
        reading.read(&line)?;
    }
    reading.dumped()
}

impl Reading {
    fn new() -> Self {
        let digest = Context::new(&SHA256);
        Self { digest, rows: 0, header: None, table: None, is_ended: false }
    }

    fn dumped(&self) -> Result<Dumped> {
        let (Some((schema, at_ms)), true) = (self.header, self.is_ended) else {
            return Err(corrupt("the dump is cut off, or no dump"));
        };
        Ok(Dumped { schema, at_ms, rows: self.rows })
    }
}

/// Makes a database from a dump, or leaves it as it was. Afterwards it is of the newest schema, also if the dump is of an older
/// program. An SQLite database that a process has open must not be replaced: that process would go on with the former one.
///
/// # Errors
/// [`Error::Taken`] when there is something in the database that is to stay, [`Error::Corrupt`] when the dump is not whole,
/// [`Error::Newer`] when it is of a newer program.
pub async fn restore(
    location: &Location,
    clock: &Clock,
    former: Former,
    from: impl BufRead + Send,
) -> Result<Dumped> {
    let Location::Sqlite(path) = location else {
        let dumped = fill(location, clock, former, from).await?;
        Store::open(location, clock).await?.close().await;
        return Ok(dumped);
    };
    let is_there = fs::metadata(path).is_ok_and(|about| about.len() > 0);
    if is_there && former == Former::Stays {
        return Err(Error::Taken);
    }
    let beside = with(path, &format!(".{:016x}", random::fast()));
    let made = make(&beside, clock, from).await;
    let placed = match made {
        Ok(dumped) => replace(path, &beside, clock, is_there).await.map(|()| dumped),
        Err(error) => Err(error),
    };
    for end in ["", "-wal", "-shm"] {
        fs::remove_file(with(&beside, end)).ok();
    }
    placed
}

/// A path with more at its end.
fn with(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// Makes a file with an SQLite database of a dump.
async fn make(path: &Path, clock: &Clock, from: impl BufRead + Send) -> Result<Dumped> {
    // It holds hashes of passwords.
    let file = File::options().write(true).create_new(true).mode(0o600).open(path);
    let file = file.map_err(|why| disk(&why))?;
    let location = Location::Sqlite(path.to_owned());
    let dumped = fill(&location, clock, Former::Stays, from).await?;
    let store = Store::open(&location, clock).await?;
    let looked = store.look().await;
    store.close().await;
    looked?;
    file.sync_all().map_err(|why| disk(&why))?;
    Ok(dumped)
}

/// Puts a file in the place of a database, which is kept beside it.
async fn replace(path: &Path, beside: &Path, clock: &Clock, is_there: bool) -> Result<()> {
    let placed = || -> std::io::Result<()> {
        if is_there {
            for end in ["", "-wal"] {
                let (from, to) = (with(path, end), with(path, &format!(".replaced{end}")));
                gone(&to)?;
                match fs::hard_link(from, to) {
                    Err(why) if why.kind() != ErrorKind::NotFound => return Err(why),
                    _ => {}
                }
            }
        }
        // They are of the former one.
        gone(&with(path, "-wal"))?;
        gone(&with(path, "-shm"))?;
        fs::rename(beside, path)?;
        let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
        File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
    };
    if is_there {
        // What its log holds comes into the file, if it can be opened at all: nothing is lost if this ends halfway.
        if let Ok(former) = Store::connect(&Location::Sqlite(path.to_owned()), clock, false).await {
            former.close().await;
        }
    }
    placed().map_err(|why| disk(&why))
}

/// Takes a file out, if it is there.
fn gone(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(why) if why.kind() != ErrorKind::NotFound => Err(why),
        _ => Ok(()),
    }
}

/// Fills a database in one transaction.
async fn fill(
    location: &Location,
    clock: &Clock,
    former: Former,
    mut from: impl BufRead + Send,
) -> Result<Dumped> {
    let store = Store::connect(location, clock, true).await?;
    let mut tx = store.begin().await?;
    let is_postgres = matches!(store.pool, Pool::Postgres(_));
    let mut reading = Reading::new();
    let mut line = String::new();
    while next(&mut from, &mut line)? {
        match reading.read(&line)? {
            Line::Header(schema) => begin(&mut tx, &store, former, schema).await?,
            Line::Row(values) => {
                let Some(table) = &reading.table else { continue };
                // Numbers of rows are as they were.
                let given = if is_postgres { "OVERRIDING SYSTEM VALUE" } else { "" };
                let text = table.text.replace("@given@", given);
                tx.run(values.into_iter().fold(made(text), Sql::bind)).await?;
            }
            Line::Table | Line::End => {}
        }
    }
    let dumped = reading.dumped()?;
    if is_postgres {
        let text = "SELECT setval(pg_get_serial_sequence('audit', 'id'), COALESCE(MAX(id), 0) + 1, false) FROM audit";
        tx.one::<(i64,)>(sql(text)).await?;
    }
    tx.commit().await?;
    store.close().await;
    Ok(dumped)
}

/// Makes room, and the tables of a schema.
async fn begin(tx: &mut Tx, store: &Store, former: Former, schema: i64) -> Result<()> {
    migrate::alone(tx).await?;
    if migrate::present(tx).await? != 0 {
        if former == Former::Stays {
            return Err(Error::Taken);
        }
        for name in TABLES.iter().rev().map(|table| table.name).chain(MOMENTARY) {
            tx.run(made(format!("DROP TABLE IF EXISTS {name} CASCADE"))).await?;
        }
        migrate::present(tx).await?;
    }
    migrate::steps(tx, store, (0, schema)).await
}
