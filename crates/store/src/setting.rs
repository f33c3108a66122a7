//! Settings: what is kept for the platform as a whole. What they mean is not known here.

use crate::audit::Deed;
use crate::sql::sql;
use crate::{Error, Result, Store, Write};

/// A setting.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Setting {
    /// What it is called.
    pub name: String,
    /// What it says, as JSON.
    pub body: String,
    /// How often it was changed, from 1.
    pub revision: i64,
    /// Milliseconds since 1970.
    pub updated_ms: i64,
}

impl Write {
    /// Sets what has this revision; 0 of what was never set.
    ///
    /// # Errors
    /// [`Error::Changed`] with the revision it has.
    pub async fn setting_update(
        &mut self,
        name: &str,
        revision: i64,
        body: &str,
    ) -> Result<Setting> {
        let was = self.setting_lock(name).await?;
        let present = was.as_ref().map_or(0, |it| it.revision);
        if present != revision {
            return Err(Error::Changed(present));
        }
        let statement = sql("INSERT INTO setting (name, body, revision, updated_ms) VALUES ($1, $2, 1, $3)
             ON CONFLICT (name) DO UPDATE SET body = $2, revision = setting.revision + 1, updated_ms = $3
             WHERE setting.revision = $4 RETURNING name, body, revision, updated_ms");
        let statement = statement.bind(name).bind(body).bind(self.at_ms).bind(revision);
        // Of two who set it first, one finds it set.
        let became: Vec<Setting> = self.tx.all(statement).await?;
        let Some(became) = became.into_iter().next() else { return Err(Error::Changed(1)) };
        let was = was.map(|it| it.body);
        self.setting_note("update", name, was.as_deref(), Some(&became.body)).await?;
        Ok(became)
    }

    /// Forgets what was set and has this revision.
    ///
    /// # Errors
    /// [`Error::Missing`], or [`Error::Changed`] with the revision it has.
    pub async fn setting_delete(&mut self, name: &str, revision: i64) -> Result<()> {
        let was = self.setting_lock(name).await?.ok_or(Error::Missing)?;
        if was.revision != revision {
            return Err(Error::Changed(was.revision));
        }
        self.tx.run(sql("DELETE FROM setting WHERE name = $1").bind(name)).await?;
        self.setting_note("delete", name, Some(&was.body), None).await
    }

    async fn setting_lock(&mut self, name: &str) -> Result<Option<Setting>> {
        let statement = sql(
            "UPDATE setting SET name = name WHERE name = $1 RETURNING name, body, revision, updated_ms",
        );
        Ok(self.tx.all(statement.bind(name)).await?.pop())
    }

    async fn setting_note(
        &mut self,
        action: &'static str,
        subject: &str,
        was: Option<&str>,
        became: Option<&str>,
    ) -> Result<()> {
        self.note(&Deed { workspace: None, action, noun: "setting", subject, was, became }).await
    }
}

impl Store {
    /// One setting.
    ///
    /// # Errors
    /// [`Error::Missing`] when it was never set.
    pub async fn setting_get(&self, name: &str) -> Result<Setting> {
        let statement = sql("SELECT name, body, revision, updated_ms FROM setting WHERE name = $1");
        self.pool.one(statement.bind(name)).await
    }

    /// All that were set, by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn setting_list(&self) -> Result<Vec<Setting>> {
        self.pool
            .all(sql("SELECT name, body, revision, updated_ms FROM setting ORDER BY name"))
            .await
    }
}
