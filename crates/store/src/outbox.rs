//! The outbox: what others have to be told of, such as that a revision was published. An event is written with the change
//! itself. Whoever follows remembers a [`Position`] and is told each event at least once.
//!
//! PostgreSQL gives numbers to events before their transactions end, so that one with a lower number may appear later than
//! one with a higher. Each event has therefore the number of its transaction as well, and a position is a horizon: the
//! lowest transaction that had not ended when the outbox was read. Everything below it was there to be read; what is
//! above is read again, without what was told already. So nothing is missed, and nothing waits: a transaction that
//! lasts only makes more to be read again. SQLite has one writer, and its numbers are in order.

use crate::sql::{Pool, sql};
use crate::{Result, Store, Write};
use std::collections::BTreeMap;

/// How long events are kept, in milliseconds.
pub const KEPT_MS: i64 = 3_600_000;

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// Up to where somebody has followed the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    horizon: i64,
    /// What was told of what is not below the horizon: the numbers of events with those of their transactions.
    told: BTreeMap<i64, i64>,
    read_ms: i64,
}

/// What happened since a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// This, oldest first. When there are as many as were asked for, there may be more.
    Events(Vec<Event>),
    /// More than is kept: whoever follows must read everything anew, and goes on from here.
    Lost,
}

#[derive(sqlx::FromRow)]
struct Row {
    horizon: i64,
    id: Option<i64>,
    xid: Option<i64>,
    at_ms: Option<i64>,
    topic: Option<String>,
    body: Option<String>,
}

/// The horizon, and the events that are not below `$1`.
const POSTGRES: &str = "SELECT horizon, id, xid, at_ms, topic, body
    FROM (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS horizon) AS now
        LEFT JOIN outbox ON xid >= $1
    ORDER BY id LIMIT $2";
const SQLITE: &str = "SELECT horizon, id, id AS xid, at_ms, topic, body
    FROM (SELECT COALESCE(MAX(id) + 1, $1) AS horizon FROM outbox) AS now LEFT JOIN outbox ON id >= $1
    ORDER BY id LIMIT $2";

impl Write {
    /// Adds an event.
    pub(crate) async fn tell(&mut self, topic: &str, body: &str) -> Result<()> {
        let statement = sql("INSERT INTO outbox (at_ms, topic, body) VALUES ($1, $2, $3)");
        self.tx.run(statement.bind(self.at_ms).bind(topic).bind(body)).await.map(drop)
    }

    /// Takes out events that are older than any that is kept; how many.
    ///
    /// # Errors
    /// When the database cannot be written to.
    pub async fn outbox_purge(&mut self) -> Result<u64> {
        // Twice as long: who follows compares with a clock of its own.
        let before_ms = self.at_ms.saturating_sub(2 * KEPT_MS);
        self.tx.run(sql("DELETE FROM outbox WHERE at_ms < $1").bind(before_ms)).await
    }
}

impl Store {
    /// Where to follow from when everything is read afterwards.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn outbox_position(&self) -> Result<Position> {
        let read_ms = self.now_ms();
        // Nothing is told by this: an event that is there already may be told later.
        let row: Row = self.pool.one(self.events().bind(i64::MAX).bind(1)).await?;
        let horizon = if row.horizon == i64::MAX { 0 } else { row.horizon };
        Ok(Position { horizon, told: BTreeMap::new(), read_ms })
    }

    /// What happened since a position, at most about `limit`, and the position after it.
    ///
    /// # Errors
    /// When the database cannot be read; the position is as before then.
    pub async fn outbox_follow(&self, position: &mut Position, limit: usize) -> Result<Followed> {
        let read_ms = self.now_ms();
        if read_ms.saturating_sub(position.read_ms) > KEPT_MS {
            *position = self.outbox_position().await?;
            return Ok(Followed::Lost);
        }
        let most = i64::try_from(limit.saturating_add(position.told.len())).unwrap_or(i64::MAX);
        let rows: Vec<Row> = self.pool.all(self.events().bind(position.horizon).bind(most)).await?;
        let is_all = i64::try_from(rows.len()).is_ok_and(|count| count < most);
        let horizon = rows.first().map_or(position.horizon, |row| row.horizon);
        let mut events = Vec::new();
        for row in rows {
            // A horizon without events has none of these.
            let (Some(id), Some(xid)) = (row.id, row.xid) else { continue };
            let (Some(at_ms), Some(topic), Some(body)) = (row.at_ms, row.topic, row.body) else {
                continue;
            };
            if position.told.insert(id, xid).is_none() {
                events.push(Event { id, at_ms, topic, body });
            }
        }
        if is_all {
            position.horizon = horizon;
            position.told.retain(|_, xid| *xid >= horizon);
        }
        position.read_ms = read_ms;
        Ok(Followed::Events(events))
    }

    fn events(&self) -> crate::sql::Sql {
        sql(if matches!(self.pool, Pool::Postgres(_)) { POSTGRES } else { SQLITE })
    }
}
