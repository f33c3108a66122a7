//! The outbox: what others have to be told of, such as that a revision was published. An event is written with the change
//! itself and stays until it was told, so that it is told at least once.
//!
//! Numbers of rows are given out before their transactions end, so that one with a lower number may appear later:
//! take out exactly what was told, and never all up to a number. Events of the same row are in order, since who changes it
//! holds it until the end.

use crate::sql::sql;
use crate::{Result, Store, Write};

/// An event.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Event {
    /// Its number.
    pub id: i64,
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// What happened: a noun, a dot and what was done to it.
    pub topic: String,
    /// To what: the id of a row.
    pub body: String,
}

impl Write {
    /// Adds an event.
    pub(crate) async fn tell(&mut self, topic: &str, body: &str) -> Result<()> {
        let statement = sql("INSERT INTO outbox (at_ms, topic, body) VALUES ($1, $2, $3)");
        self.tx.run(statement.bind(self.at_ms).bind(topic).bind(body)).await.map(drop)
    }

    /// Takes out an event that was told.
    ///
    /// # Errors
    /// When the database cannot be written to.
    pub async fn outbox_remove(&mut self, id: i64) -> Result<()> {
        self.tx.run(sql("DELETE FROM outbox WHERE id = $1").bind(id)).await.map(drop)
    }
}

impl Store {
    /// Events that were not told yet, oldest first, at most `limit`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn outbox_list(&self, limit: i64) -> Result<Vec<Event>> {
        let statement = sql("SELECT id, at_ms, topic, body FROM outbox ORDER BY id LIMIT $1");
        self.pool.all(statement.bind(limit)).await
    }
}
