//! Leases: work that only one process may do at a time, such as sealing the audit trail.
//!
//! Who takes over work from somebody else gets a higher epoch. A process that was paused may believe that it still holds a
//! lease: each transaction of its work begins with [`Write::lease_hold`], which fails for an epoch that is over.

use crate::sql::sql;
use crate::{Error, Result, Store, Write};
use std::time::Duration;

/// Work that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// What it is for.
    pub work: &'static str,
    /// Grows whenever somebody else takes it.
    pub epoch: i64,
}

impl Store {
    /// Takes or extends a lease; none if somebody else holds it.
    ///
    /// # Errors
    /// When the database cannot be written to.
    pub async fn lease_take(
        &self,
        work: &'static str,
        holder: &str,
        length: Duration,
    ) -> Result<Option<Lease>> {
        let now_ms = self.now_ms();
        let until_ms = now_ms.saturating_add(i64::try_from(length.as_millis()).unwrap_or(i64::MAX));
        let mut tx = self.begin().await?;
        let statement =
            sql("INSERT INTO lease (work, holder, epoch, until_ms) VALUES ($1, $2, 1, $3)
             ON CONFLICT (work) DO UPDATE SET
                 epoch = lease.epoch + CASE WHEN lease.holder = $2 THEN 0 ELSE 1 END,
                 holder = $2, until_ms = $3
             WHERE lease.holder = $2 OR lease.until_ms <= $4
             RETURNING epoch");
        let statement = statement.bind(work).bind(holder).bind(until_ms).bind(now_ms);
        let taken: Vec<(i64,)> = tx.all(statement).await?;
        tx.commit().await?;
        Ok(taken.first().map(|(epoch,)| Lease { work, epoch: *epoch }))
    }
}

impl Write {
    /// Makes sure that a lease is still held, until the end of this transaction.
    ///
    /// # Errors
    /// [`Error::Changed`] with the epoch of now if somebody else has taken it.
    pub async fn lease_hold(&mut self, lease: &Lease) -> Result<()> {
        // An update, so that nobody takes it over before this transaction ends.
        let statement = sql("UPDATE lease SET epoch = epoch WHERE work = $1 RETURNING epoch");
        let (epoch,): (i64,) = self.tx.one(statement.bind(lease.work)).await?;
        if epoch == lease.epoch { Ok(()) } else { Err(Error::Changed(epoch)) }
    }
}
