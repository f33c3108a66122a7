//! Backups. A copy of an SQLite database is made while it is used. A dump is text that either database can be made from: one
//! JSON document a line, and a digest of all lines as the last. Secrets stay encrypted in both: who restores one needs the
//! master key, which is in neither.

use crate::migrate::{self, NEWEST};
use crate::sql::{Pool, Sql, Value, made};
use crate::{Error, Location, Result, Store};
use aws_lc_rs::digest::{Context, SHA256};
use base::{Clock, random};
use serde_json::{Value as Json, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use std::fs::{self, File, Permissions};
use std::io::{BufRead, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Rows read at once.
const PAGE: usize = 500;
/// Bytes of one line of a dump.
const LINE_BYTES_MAX: usize = 64 << 20;

/// What the columns of a table hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Texts.
    Text,
    /// Whole numbers.
    Number,
    /// Bytes.
    Bytes,
}

use Holds::{Bytes, Number, Text};

/// A table of a dump.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its columns; the first `key` ones tell rows apart.
    pub columns: &'static [(&'static str, Holds)],
    key: usize,
}

/// The tables of a dump, each after those that it refers to. What is only of the moment is not among them: events of the
/// outbox, leases, and answers that are kept for a day.
pub const TABLES: &[Table] = &[
    Table {
        name: "workspace",
        key: 1,
        columns: &[
            ("id", Text),
            ("name", Text),
            ("title", Text),
            ("grants", Text),
            ("revision", Number),
            ("created_ms", Number),
            ("updated_ms", Number),
        ],
    },
    Table {
        name: "audit",
        key: 1,
        columns: &[
            ("id", Number),
            ("at_ms", Number),
            ("workspace", Text),
            ("actor", Text),
            ("action", Text),
            ("noun", Text),
            ("subject", Text),
            ("was", Text),
            ("became", Text),
            ("address", Text),
            ("request", Text),
            ("sequence", Number),
            ("seal", Bytes),
        ],
    },
    Table {
        name: "object",
        key: 1,
        columns: &[
            ("id", Text),
            ("workspace", Text),
            ("kind", Text),
            ("owner", Text),
            ("name", Text),
            ("position", Number),
            ("body", Text),
            ("revision", Number),
            ("created_ms", Number),
            ("updated_ms", Number),
        ],
    },
    Table {
        name: "revision",
        key: 2,
        columns: &[
            ("workspace", Text),
            ("number", Number),
            ("config", Text),
            ("digest", Bytes),
            ("note", Text),
            ("author", Text),
            ("again", Number),
            ("created_ms", Number),
        ],
    },
    Table {
        name: "yett_user",
        key: 1,
        columns: &[
            ("id", Text),
            ("name", Text),
            ("email", Text),
            ("password", Text),
            ("totp", Bytes),
            ("issuer", Text),
            ("subject", Text),
            ("is_disabled", Number),
            ("revision", Number),
            ("created_ms", Number),
            ("updated_ms", Number),
        ],
    },
    Table {
        name: "role",
        key: 1,
        columns: &[
            ("id", Text),
            ("name", Text),
            ("permissions", Text),
            ("revision", Number),
            ("created_ms", Number),
            ("updated_ms", Number),
            ("about", Text),
        ],
    },
    Table {
        name: "role_grant",
        key: 3,
        columns: &[("holder", Text), ("workspace", Text), ("role", Text)],
    },
    Table {
        name: "second_factor",
        key: 1,
        columns: &[
            ("holder", Text),
            ("is_confirmed", Number),
            ("step", Number),
            ("codes", Text),
            ("created_ms", Number),
        ],
    },
    Table {
        name: "login",
        key: 1,
        columns: &[
            ("hash", Bytes),
            ("id", Text),
            ("holder", Text),
            ("kind", Text),
            ("name", Text),
            ("scopes", Text),
            ("created_ms", Number),
            ("expires_ms", Number),
            ("used_ms", Number),
        ],
    },
    Table {
        name: "consumer",
        key: 1,
        columns: &[
            ("id", Text),
            ("workspace", Text),
            ("name", Text),
            ("body", Text),
            ("revision", Number),
            ("created_ms", Number),
            ("updated_ms", Number),
            ("title", Text),
            ("plan", Text),
            ("is_suspended", Number),
            ("search", Text),
        ],
    },
    Table { name: "consumer_group", key: 2, columns: &[("consumer", Text), ("name", Text)] },
    Table {
        name: "application",
        key: 1,
        columns: &[
            ("id", Text),
            ("consumer", Text),
            ("name", Text),
            ("body", Text),
            ("revision", Number),
            ("created_ms", Number),
            ("updated_ms", Number),
            ("workspace", Text),
            ("title", Text),
            ("plan", Text),
            ("is_suspended", Number),
            ("search", Text),
        ],
    },
    Table {
        name: "credential",
        key: 1,
        columns: &[
            ("id", Text),
            ("workspace", Text),
            ("consumer", Text),
            ("application", Text),
            ("kind", Text),
            ("name", Text),
            ("hash", Bytes),
            ("hint", Text),
            ("body", Text),
            ("password", Text),
            ("master", Number),
            ("wrapped", Bytes),
            ("sealed", Bytes),
            ("from_ms", Number),
            ("expires_ms", Number),
            ("revision", Number),
            ("created_ms", Number),
            ("updated_ms", Number),
        ],
    },
    Table {
        name: "tally",
        key: 2,
        columns: &[("workspace", Text), ("noun", Text), ("count", Number)],
    },
    Table {
        name: "setting",
        key: 1,
        columns: &[("name", Text), ("body", Text), ("revision", Number), ("updated_ms", Number)],
    },
    Table {
        name: "secret",
        key: 1,
        columns: &[
            ("id", Text),
            ("workspace", Text),
            ("name", Text),
            ("master", Number),
            ("wrapped", Bytes),
            ("sealed", Bytes),
            ("revision", Number),
            ("created_ms", Number),
            ("updated_ms", Number),
        ],
    },
];

/// What was dumped, or restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dumped {
    /// The number of the schema.
    pub schema: i64,
    /// When it was dumped, in milliseconds since 1970.
    pub at_ms: i64,
    /// How many rows.
    pub rows: u64,
}

impl Table {
    /// Reads rows, from the first after the one with the key of a row; from the very first without one.
    fn page(&self, after: Option<&[Value]>) -> Sql {
        let columns = list(self.columns.iter().map(|(name, _)| *name));
        let key = list(self.columns.iter().take(self.key).map(|(name, _)| *name));
        let name = self.name;
        let Some(after) = after else {
            return made(format!("SELECT {columns} FROM {name} ORDER BY {key} LIMIT {PAGE}"));
        };
        let marks = (1..=self.key).map(|at| format!("${at}")).collect::<Vec<_>>().join(", ");
        let text = format!(
            "SELECT {columns} FROM {name} WHERE ({key}) > ({marks}) ORDER BY {key} LIMIT {PAGE}"
        );
        after.iter().take(self.key).cloned().fold(made(text), Sql::bind)
    }
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

fn disk(why: &std::io::Error) -> Error {
    Error::Unavailable(why.to_string())
}

fn corrupt(why: impl Into<String>) -> Error {
    Error::Corrupt(why.into())
}

/// Lines with their digest.
struct Lines<W> {
    to: W,
    digest: Context,
    rows: u64,
}

impl<W: Write> Lines<W> {
    fn line(&mut self, line: &Json) -> Result<()> {
        let line = format!("{line}\n");
        self.digest.update(line.as_bytes());
        self.to.write_all(line.as_bytes()).map_err(|why| disk(&why))
    }
}

fn shown(value: &Value) -> Json {
    match value {
        Value::Text(text) => json!(text),
        Value::Number(number) => json!(number),
        Value::Bytes(bytes) => json!(bytes.as_ref().map(|bytes| hexadecimal(bytes))),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else { return None };
    let byte = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    pairs.iter().map(byte).collect()
}

impl Store {
    /// Writes all that is kept as text, as it was at one moment.
    ///
    /// # Errors
    /// When the database cannot be read, or `to` not be written to.
    pub async fn dump(&self, to: impl Write + Send) -> Result<Dumped> {
        let mut lines = Lines { to, digest: Context::new(&SHA256), rows: 0 };
        let mut tx = self.begin_snapshot().await?;
        let at_ms = self.now_ms();
        lines.line(&json!({ "yett": "dump", "schema": NEWEST, "at_ms": at_ms }))?;
        for table in TABLES {
            let columns: Vec<Json> = table
                .columns
                .iter()
                .map(|(name, holds)| json!([name, format!("{holds:?}").to_lowercase()]))
                .collect();
            lines.line(&json!({ "table": table.name, "columns": columns }))?;
            let holds: Vec<Holds> = table.columns.iter().map(|(_, holds)| *holds).collect();
            let mut last: Option<Vec<Value>> = None;
            loop {
                let page = tx.values(table.page(last.as_deref()), &holds).await?;
                for row in &page {
                    lines.line(&Json::Array(row.iter().map(shown).collect()))?;
                    lines.rows += 1;
                }
                let is_last = page.len() < PAGE;
                last = page.into_iter().next_back();
                if is_last {
                    break;
                }
            }
        }
        let Lines { mut to, digest, rows } = lines;
        let end = json!({ "rows": rows, "sha256": hexadecimal(digest.finish().as_ref()) });
        to.write_all(format!("{end}\n").as_bytes()).map_err(|why| disk(&why))?;
        to.flush().map_err(|why| disk(&why))?;
        Ok(Dumped { schema: NEWEST, at_ms, rows })
    }

    /// Copies an SQLite database into a file that does not exist yet, while it is used, and looks whether the copy is whole.
    ///
    /// # Errors
    /// When it is no SQLite database, there is such a file, or the disk is full; then there is no such file afterwards.
    pub async fn backup(&self, path: &Path) -> Result<Dumped> {
        let Pool::Sqlite { writer, .. } = &self.pool else {
            let why = "only an SQLite database is copied as a file; dump this one";
            return Err(Error::Unavailable(why.to_owned()));
        };
        if path.exists() {
            return Err(Error::Taken);
        }
        let beside = path.with_extension(format!("{:016x}", random::fast()));
        let at_ms = self.now_ms();
        let copied = async {
            // A connection of its own: who writes does not wait for it.
            let options = SqliteConnectOptions::clone(&writer.connect_options());
            let mut connection = options.connect().await?;
            let copy = sqlx::query("VACUUM INTO $1").bind(beside.display().to_string());
            copy.execute(&mut connection).await?;
            connection.close().await?;
            settle(&beside).map_err(|why| disk(&why))?;
            let dumped = look(&beside, at_ms).await?;
            fs::rename(&beside, path).map_err(|why| disk(&why))?;
            Ok(dumped)
        };
        let copied = copied.await;
        if copied.is_err() {
            fs::remove_file(&beside).ok();
        }
        copied
    }
}

/// Keeps a file for its owner, on the disk.
fn settle(path: &Path) -> std::io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    File::open(path)?.sync_all()
}

/// Whether a copy is whole.
async fn look(path: &Path, at_ms: i64) -> Result<Dumped> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true);
    let mut connection = options.connect().await?;
    let (said,): (String,) =
        sqlx::query_as("PRAGMA integrity_check").fetch_one(&mut connection).await?;
    if said != "ok" {
        return Err(corrupt(said));
    }
    let (schema,): (i64,) =
        sqlx::query_as("SELECT MAX(number) FROM migration").fetch_one(&mut connection).await?;
    let mut rows = 0;
    for table in TABLES {
        let text = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {}", table.name));
        let (count,): (i64,) = sqlx::query_as(text).fetch_one(&mut connection).await?;
        rows += count.unsigned_abs();
    }
    connection.close().await?;
    Ok(Dumped { schema, at_ms, rows })
}

/// A line of a dump, which is neither too long nor cut off.
fn next(from: &mut impl BufRead, line: &mut String) -> Result<bool> {
    line.clear();
    let mut bounded = std::io::Read::take(&mut *from, LINE_BYTES_MAX as u64);
    bounded.read_line(line).map_err(|why| disk(&why))?;
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

/// Makes a database from a dump, or leaves it as it was. Afterwards it is brought up to date, if the dump is of an older
/// program.
///
/// # Errors
/// [`Error::Taken`] when there is something in the database already, [`Error::Corrupt`] when the dump is not whole,
/// [`Error::Newer`] when it is of a newer program.
pub async fn restore(
    location: &Location,
    clock: &Clock,
    mut from: impl BufRead + Send,
) -> Result<Dumped> {
    let store = Store::connect(location, clock).await?;
    let is_postgres = matches!(store.pool, Pool::Postgres(_));
    let mut tx = store.begin().await?;
    let mut reading = Reading::new();
    let mut line = String::new();
    while next(&mut from, &mut line)? {
        match reading.read(&line)? {
            Line::Header(schema) => {
                if migrate::present(&mut tx).await? != 0 {
                    return Err(Error::Taken);
                }
                migrate::steps(&mut tx, &store, (0, schema)).await?;
            }
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
        tx.one::<(i64,)>(crate::sql::sql(text)).await?;
    }
    tx.commit().await?;
    store.close().await;
    Store::open(location, clock).await?.close().await;
    Ok(dumped)
}
