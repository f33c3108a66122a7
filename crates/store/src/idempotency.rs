//! Answers of requests that may come again: who asks twice with the same key is answered twice the same.
//!
//! A request takes its key before it does anything, and leaves its answer there afterwards. If the program ends in between,
//! nobody can say what became of it: until the key is forgotten, whoever comes with it is told so.

use crate::sql::sql;
use crate::{Error, Result, Store, Write};
use base::caps::IDEMPOTENCY_KEYS_MAX;

/// How long a key and its answer are kept, in milliseconds.
pub const KEPT_MS: i64 = 86_400_000;

/// What a key is worth to who comes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Nobody came with it before.
    New,
    /// The same request was answered so.
    Answered {
        /// The status of the answer.
        status: i64,
        /// What was kept of it.
        answer: String,
    },
    /// The same request came `since_ms` and was not answered yet.
    Open {
        /// When it came, in milliseconds since 1970.
        since_ms: i64,
    },
    /// Another request came with it.
    Other,
}

#[derive(sqlx::FromRow)]
struct Row {
    request: Vec<u8>,
    status: i64,
    answer: String,
    created_ms: i64,
}

impl Store {
    /// Takes a key for a request that has this digest.
    ///
    /// # Errors
    /// [`Error::Full`] when the holder has too many, or when the database cannot be written to.
    pub async fn idempotency_take(&self, holder: &str, key: &str, request: &[u8]) -> Result<Taken> {
        let mut tx = self.begin().await?;
        let forgotten =
            sql("DELETE FROM idempotency WHERE holder = $1 AND key = $2 AND created_ms <= $3");
        let now_ms = self.now_ms();
        let before_ms = now_ms.saturating_sub(KEPT_MS);
        tx.run(forgotten.bind(holder).bind(key).bind(before_ms)).await?;
        let count = sql("SELECT COUNT(*) FROM idempotency WHERE holder = $1").bind(holder);
        let (count,): (i64,) = tx.one(count).await?;
        if count >= IDEMPOTENCY_KEYS_MAX {
            return Err(Error::Full(IDEMPOTENCY_KEYS_MAX));
        }
        let statement =
            sql("INSERT INTO idempotency (holder, key, request, status, answer, created_ms)
             VALUES ($1, $2, $3, 0, '', $4) ON CONFLICT DO NOTHING");
        let statement = statement.bind(holder).bind(key).bind(request).bind(now_ms);
        if tx.run(statement).await? == 1 {
            tx.commit().await?;
            return Ok(Taken::New);
        }
        let statement = sql(
            "SELECT request, status, answer, created_ms FROM idempotency WHERE holder = $1 AND key = $2",
        );
        let row: Row = tx.one(statement.bind(holder).bind(key)).await?;
        Ok(if row.request != request {
            Taken::Other
        } else if row.status == 0 {
            Taken::Open { since_ms: row.created_ms }
        } else {
            Taken::Answered { status: row.status, answer: row.answer }
        })
    }

    /// Leaves the answer of a request that took a key.
    ///
    /// # Errors
    /// When the database cannot be written to.
    pub async fn idempotency_answer(
        &self,
        holder: &str,
        key: &str,
        status: i64,
        answer: &str,
    ) -> Result<()> {
        let mut tx = self.begin().await?;
        let statement = sql(
            "UPDATE idempotency SET status = $3, answer = $4 WHERE holder = $1 AND key = $2 AND status = 0",
        );
        tx.run(statement.bind(holder).bind(key).bind(status).bind(answer)).await?;
        tx.commit().await
    }

    /// Gives a key back that was taken for nothing: nothing was done, and the same request may come again.
    ///
    /// # Errors
    /// When the database cannot be written to.
    pub async fn idempotency_release(&self, holder: &str, key: &str) -> Result<()> {
        let mut tx = self.begin().await?;
        let statement =
            sql("DELETE FROM idempotency WHERE holder = $1 AND key = $2 AND status = 0");
        tx.run(statement.bind(holder).bind(key)).await?;
        tx.commit().await
    }
}

impl Write {
    /// Takes out keys that are forgotten; how many.
    ///
    /// # Errors
    /// When the database cannot be written to.
    pub async fn idempotency_purge(&mut self) -> Result<u64> {
        let before_ms = self.at_ms.saturating_sub(KEPT_MS);
        self.tx.run(sql("DELETE FROM idempotency WHERE created_ms <= $1").bind(before_ms)).await
    }
}
