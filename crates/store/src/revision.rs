//! Revisions: configs that were published, numbered for each workspace and never changed.

use crate::audit::Deed;
use crate::sql::sql;
use crate::{Error, Result, Store, Write};
use aws_lc_rs::digest::{SHA256, digest};

/// A published config.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Revision {
    /// The id of the workspace.
    pub workspace: String,
    /// From 1, without gaps.
    pub number: i64,
    /// The whole config.
    pub config: String,
    /// Its SHA-256.
    pub digest: Vec<u8>,
    /// Why it was published.
    pub note: String,
    /// Who published it.
    pub author: String,
    /// The revision that was taken up again, if this is a roll-back.
    pub again: Option<i64>,
    /// Milliseconds since 1970.
    pub created_ms: i64,
}

impl Write {
    /// Publishes a config as the next revision of a workspace, if `last` is the last one so far (0: there is none).
    ///
    /// # Errors
    /// [`Error::Changed`] with the number of the last one, or [`Error::Bound`] when there is no such workspace.
    pub async fn revision_create(
        &mut self,
        workspace: &str,
        last: i64,
        config: &str,
        note: &str,
        again: Option<i64>,
    ) -> Result<Revision> {
        // Publishing waits for whoever publishes in the same workspace.
        let locked =
            self.tx.run(sql("UPDATE workspace SET id = id WHERE id = $1").bind(workspace)).await?;
        if locked == 0 {
            return Err(Error::Bound);
        }
        let newest = sql("SELECT COALESCE(MAX(number), 0) FROM revision WHERE workspace = $1");
        let (newest,): (i64,) = self.tx.one(newest.bind(workspace)).await?;
        if newest != last {
            return Err(Error::Changed(newest));
        }
        let statement = sql(
            "INSERT INTO revision (workspace, number, config, digest, note, author, again, created_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             RETURNING workspace, number, config, digest, note, author, again, created_ms",
        );
        let hash = digest(&SHA256, config.as_bytes());
        let statement = statement.bind(workspace).bind(last + 1).bind(config).bind(hash.as_ref());
        let statement = statement.bind(note).bind(&*self.actor.name).bind(again).bind(self.at_ms);
        let made: Revision = self.tx.one(statement).await?;
        let subject = format!("{workspace}/{}", made.number);
        self.note(&Deed {
            workspace: Some(workspace),
            action: "create",
            noun: "revision",
            subject: &subject,
            was: None,
            became: None,
        })
        .await?;
        Ok(made)
    }
}

impl Store {
    /// One revision of a workspace.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is none of this number; [`Error::Corrupt`] when it is not what was published.
    pub async fn revision_get(&self, workspace: &str, number: i64) -> Result<Revision> {
        let statement = sql(
            "SELECT workspace, number, config, digest, note, author, again, created_ms FROM revision
             WHERE workspace = $1 AND number = $2",
        );
        let found: Revision = self.pool.one(statement.bind(workspace).bind(number)).await?;
        if digest(&SHA256, found.config.as_bytes()).as_ref() == found.digest {
            Ok(found)
        } else {
            Err(Error::Corrupt(format!("revision {number} is not what was published")))
        }
    }

    /// Revisions of a workspace before the one of a number, newest first, at most `limit`. Their configs are left out.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn revision_list(
        &self,
        workspace: &str,
        before: i64,
        limit: i64,
    ) -> Result<Vec<Revision>> {
        let statement = sql(
            "SELECT workspace, number, '' AS config, digest, note, author, again, created_ms FROM revision
             WHERE workspace = $1 AND number < $2 ORDER BY number DESC LIMIT $3",
        );
        self.pool.all(statement.bind(workspace).bind(before).bind(limit)).await
    }

    /// The number of the last revision of a workspace; 0 when there is none.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn revision_last(&self, workspace: &str) -> Result<i64> {
        let statement = sql("SELECT COALESCE(MAX(number), 0) FROM revision WHERE workspace = $1");
        let (last,): (i64,) = self.pool.one(statement.bind(workspace)).await?;
        Ok(last)
    }

    /// The id and name of each workspace with the number of its newest revision (0: it has none), by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn revision_newest(&self) -> Result<Vec<(String, String, i64)>> {
        // Of each workspace one look at the end of an index, however many revisions it has.
        self.pool
            .all(sql("SELECT w.id, w.name, COALESCE((SELECT r.number FROM revision r
                 WHERE r.workspace = w.id ORDER BY r.number DESC LIMIT 1), 0) AS number
             FROM workspace w ORDER BY w.name"))
            .await
    }
}
