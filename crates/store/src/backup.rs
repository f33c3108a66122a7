//! Backups: a dump is text that either database can be made from, one JSON document a line, and a digest of all lines as the
//! last. It is what was there at one moment, however long it takes to write, and nobody waits for it. Secrets stay
//! encrypted: who restores one needs the master key, which is not in it.

use crate::migrate::NEWEST;
use crate::sql::Value;
use crate::tables::{Holds, TABLES};
use crate::{Error, Result, Store};
use aws_lc_rs::digest::{Context, SHA256};
use serde_json::{Value as Json, json};
use std::io::Write;

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

pub(crate) fn disk(why: &std::io::Error) -> Error {
    Error::Unavailable(why.to_string())
}

pub(crate) fn corrupt(why: impl Into<String>) -> Error {
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

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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
                let is_last = page.len() < table.at_once();
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
}
