//! How many rows of a noun a workspace has. Whoever adds one waits for others who add one to the same workspace.

use crate::sql::sql;
use crate::{Error, Result, Store, Write};

impl Write {
    /// Counts a row that is added to a workspace.
    ///
    /// # Errors
    /// [`Error::Full`] when there are `most` already, [`Error::Bound`] when there is no such workspace.
    pub(crate) async fn tally_add(
        &mut self,
        workspace: &str,
        noun: &'static str,
        most: i64,
    ) -> Result<()> {
        let statement = sql("INSERT INTO tally (workspace, noun, count) VALUES ($1, $2, 1)
             ON CONFLICT (workspace, noun) DO UPDATE SET count = tally.count + 1 RETURNING count");
        let (count,): (i64,) = self.tx.one(statement.bind(workspace).bind(noun)).await?;
        if count > most { Err(Error::Full(most)) } else { Ok(()) }
    }

    /// Counts rows that were taken out.
    pub(crate) async fn tally_remove(
        &mut self,
        workspace: &str,
        noun: &'static str,
        by: usize,
    ) -> Result<()> {
        let by = i64::try_from(by).unwrap_or(i64::MAX);
        let statement =
            sql("UPDATE tally SET count = count - $3 WHERE workspace = $1 AND noun = $2");
        self.tx.run(statement.bind(workspace).bind(noun).bind(by)).await.map(drop)
    }
}

impl Store {
    /// How many consumers, applications or credentials a workspace has.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn tally(&self, workspace: &str, noun: &str) -> Result<i64> {
        let statement = sql("SELECT count FROM tally WHERE workspace = $1 AND noun = $2");
        let found: Vec<(i64,)> = self.pool.all(statement.bind(workspace).bind(noun)).await?;
        Ok(found.first().map_or(0, |(count,)| *count))
    }
}
