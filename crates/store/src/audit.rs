//! The audit trail: who did what, with what was there before and after. Rows are added by every change, in its own
//! transaction, and never changed.
//!
//! One process after the other seals them: each seal is a hash of a row and of the seal before it, so that whoever
//! changes, takes out or adds a row later has to change all that follow.

use crate::sql::sql;
use crate::{Result, Store, Write};
use aws_lc_rs::digest::{Context, SHA256};

/// Rows sealed in one transaction.
const SEALED_MAX: i64 = 1_000;

/// Who does something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// A user, a token or a part of the program.
    pub name: String,
    /// Where the request came from.
    pub address: Option<String>,
    /// The id of the request.
    pub request: Option<String>,
}

impl Actor {
    /// A part of the program itself.
    #[must_use]
    pub fn system(name: &str) -> Self {
        Self { name: format!("system:{name}"), address: None, request: None }
    }
}

/// What is done to one row.
pub(crate) struct Deed<'a> {
    pub(crate) workspace: Option<&'a str>,
    /// `create`, `update` or `delete`.
    pub(crate) action: &'static str,
    pub(crate) noun: &'static str,
    /// The id of the row.
    pub(crate) subject: &'a str,
    /// The row as JSON, with secrets masked.
    pub(crate) was: Option<&'a str>,
    pub(crate) became: Option<&'a str>,
}

/// A row of the trail.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Entry {
    /// In the order in which they were written, with gaps.
    pub id: i64,
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// None of what belongs to no workspace.
    pub workspace: Option<String>,
    /// Who did it.
    pub actor: String,
    /// `create`, `update` or `delete`.
    pub action: String,
    /// The kind of the row.
    pub noun: String,
    /// The id of the row.
    pub subject: String,
    /// What was there before, as JSON with secrets masked.
    pub was: Option<String>,
    /// What is there since.
    pub became: Option<String>,
    /// Where the request came from.
    pub address: Option<String>,
    /// The id of the request.
    pub request: Option<String>,
    /// Its place among what is sealed, from 1.
    pub sequence: Option<i64>,
    /// The hash over it and all before.
    pub seal: Option<Vec<u8>>,
}

/// What is wrong with a trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Here a row was taken out or added.
    Gap(i64),
    /// This row is not what was sealed.
    Changed(i64),
}

impl Write {
    /// Adds to the trail, and to the outbox.
    pub(crate) async fn note(&mut self, deed: &Deed<'_>) -> Result<()> {
        let Deed { workspace, action, noun, subject, was, became } = *deed;
        let statement = sql(
            "INSERT INTO audit (at_ms, workspace, actor, action, noun, subject, was, became, address, request)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        );
        let statement = statement
            .bind(self.at_ms)
            .bind(workspace)
            .bind(&*self.actor.name)
            .bind(action)
            .bind(noun)
            .bind(subject)
            .bind(was)
            .bind(became)
            .bind(self.actor.address.as_deref())
            .bind(self.actor.request.as_deref());
        self.tx.run(statement).await?;
        self.tell(&format!("{noun}.{action}"), subject).await
    }
}

impl Write {
    /// Adds to the trail what was done to the database as a whole, such as that it was restored.
    ///
    /// # Errors
    /// When the database cannot be written to.
    pub async fn database_note(&mut self, action: &'static str, became: &str) -> Result<()> {
        let (noun, subject, became) = ("database", "", Some(became));
        let deed = Deed { workspace: None, action, noun, subject, was: None, became };
        self.note(&deed).await
    }
}

/// What is looked for in the trail. What is empty narrows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sought<'a> {
    /// The id of a workspace.
    pub workspace: &'a str,
    /// Who did it.
    pub actor: &'a str,
    /// To which kind of row.
    pub noun: &'a str,
    /// To which row: an id.
    pub subject: &'a str,
    /// Not before, in milliseconds since 1970.
    pub from_ms: Option<i64>,
    /// Before, in milliseconds since 1970.
    pub until_ms: Option<i64>,
}

/// In which order rows are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The oldest first.
    Oldest,
    /// The newest first.
    Newest,
}

/// A statement that reads rows of which something is so that has an index.
macro_rules! found {
    ($first:literal, $order:expr) => {
        match $order {
            Order::Oldest => found!($first, "id > $1", "ORDER BY id LIMIT $8"),
            Order::Newest => found!($first, "id < $1", "ORDER BY id DESC LIMIT $8"),
        }
    };
    ($first:literal, $after:literal, $order:literal) => {
        sql(concat!(
            "SELECT id, at_ms, workspace, actor, action, noun, subject, was, became, address, request, sequence, seal
             FROM audit WHERE ",
            $first,
            " AND ",
            $after,
            " AND ($2 = '' OR workspace = $2) AND ($3 = '' OR actor = $3) AND ($4 = '' OR noun = $4)
                 AND ($5 = '' OR subject = $5) AND at_ms >= $6 AND at_ms < $7 ",
            $order
        ))
    };
}

impl Store {
    /// Rows that are looked for, from the first after the one with the id `after`, at most `limit`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn audit_find(
        &self,
        sought: &Sought<'_>,
        order: Order,
        after: i64,
        limit: i64,
    ) -> Result<Vec<Entry>> {
        let Sought { workspace, actor, noun, subject, from_ms, until_ms } = *sought;
        let statement = match (subject, actor, workspace) {
            ("", "", "") => found!("1 = 1", order),
            ("", "", _) => found!("workspace = $2", order),
            ("", _, _) => found!("actor = $3", order),
            _ if noun.is_empty() => found!("1 = 1", order),
            _ => found!("noun = $4 AND subject = $5", order),
        };
        let statement = statement.bind(after).bind(workspace).bind(actor).bind(noun).bind(subject);
        let statement = statement.bind(from_ms.unwrap_or(i64::MIN));
        self.pool.all(statement.bind(until_ms.unwrap_or(i64::MAX)).bind(limit)).await
    }

    /// Rows after `after`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn audit_list(&self, after: i64, limit: i64) -> Result<Vec<Entry>> {
        let statement = sql(
            "SELECT id, at_ms, workspace, actor, action, noun, subject, was, became, address, request, sequence, seal
             FROM audit WHERE id > $1 ORDER BY id LIMIT $2",
        );
        self.pool.all(statement.bind(after).bind(limit)).await
    }
}

/// What a seal is made of, besides the seal before it: no text of one column can be taken for that of two.
fn seal(before: &[u8], entry: &Entry, sequence: i64) -> Vec<u8> {
    let mut hash = Context::new(&SHA256);
    hash.update(before);
    for number in [sequence, entry.id, entry.at_ms] {
        hash.update(&number.to_be_bytes());
    }
    let texts = [
        &entry.workspace,
        &Some(entry.actor.clone()),
        &Some(entry.action.clone()),
        &Some(entry.noun.clone()),
        &Some(entry.subject.clone()),
        &entry.was,
        &entry.became,
        &entry.address,
        &entry.request,
    ];
    for text in texts {
        let length = text.as_ref().map_or(u64::MAX, |text| text.len() as u64);
        hash.update(&length.to_be_bytes());
        hash.update(text.as_deref().unwrap_or_default().as_bytes());
    }
    hash.finish().as_ref().to_vec()
}

const SEALED: &str = "SELECT id, at_ms, workspace, actor, action, noun, subject, was, became, address, request, sequence, seal
    FROM audit WHERE sequence > $1 ORDER BY sequence LIMIT $2";
const UNSEALED: &str = "SELECT id, at_ms, workspace, actor, action, noun, subject, was, became, address, request, sequence, seal
    FROM audit WHERE sequence IS NULL ORDER BY id LIMIT $1";
const LAST: &str = "SELECT id, at_ms, workspace, actor, action, noun, subject, was, became, address, request, sequence, seal
    FROM audit WHERE sequence IS NOT NULL ORDER BY sequence DESC LIMIT 1";

impl Write {
    /// Seals rows that are not sealed yet; how many. Only who holds the lease for it may do so.
    ///
    /// # Errors
    /// When the database cannot be written to.
    pub async fn audit_seal(&mut self) -> Result<u64> {
        let last: Vec<Entry> = self.tx.all(sql(LAST)).await?;
        let last = last.into_iter().next();
        let mut sequence = last.as_ref().and_then(|entry| entry.sequence).unwrap_or(0);
        let mut before = last.and_then(|entry| entry.seal).unwrap_or_default();
        let open: Vec<Entry> = self.tx.all(sql(UNSEALED).bind(SEALED_MAX)).await?;
        for entry in &open {
            sequence += 1;
            before = seal(&before, entry, sequence);
            let statement = sql("UPDATE audit SET sequence = $1, seal = $2 WHERE id = $3");
            self.tx.run(statement.bind(sequence).bind(&*before).bind(entry.id)).await?;
        }
        Ok(open.len() as u64)
    }
}

impl Store {
    /// The seal at a place in the chain, if there is one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn audit_sealed(&self, sequence: i64) -> Result<Option<Vec<u8>>> {
        let statement = sql("SELECT seal FROM audit WHERE sequence = $1").bind(sequence);
        let found: Vec<(Option<Vec<u8>>,)> = self.pool.all(statement).await?;
        Ok(found.into_iter().next().and_then(|(seal,)| seal))
    }

    /// How many rows are not sealed yet.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn audit_unsealed(&self) -> Result<i64> {
        let statement = sql("SELECT COUNT(*) FROM audit WHERE sequence IS NULL");
        let (count,): (i64,) = self.pool.one(statement).await?;
        Ok(count)
    }

    /// Looks through all that is sealed, from where its beginning was taken out: the place of the last row, or the first
    /// thing that is wrong.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn audit_verify(&self) -> Result<std::result::Result<i64, Flaw>> {
        let base = self.audit_base().await?;
        let (mut count, mut before) = (base.sequence, base.seal);
        loop {
            let entries: Vec<Entry> =
                self.pool.all(sql(SEALED).bind(count).bind(SEALED_MAX)).await?;
            for entry in &entries {
                count += 1;
                if entry.sequence != Some(count) {
                    return Ok(Err(Flaw::Gap(count)));
                }
                before = seal(&before, entry, count);
                if entry.seal.as_deref() != Some(&*before) {
                    return Ok(Err(Flaw::Changed(entry.id)));
                }
            }
            if entries.is_empty() {
                return Ok(Ok(count));
            }
        }
    }
}
