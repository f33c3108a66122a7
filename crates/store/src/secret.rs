//! Secrets of workspaces, which configs name as `${secret:NAME}`. What is kept is encrypted, and neither lists nor the
//! trail tell it.

use crate::audit::Deed;
use crate::envelope::Sealed;
use crate::list::{After, Filter};
use crate::sql::sql;
use crate::{Error, Id, Result, Store, Write};
use base::caps::SECRETS_MAX;

/// A secret, without its value.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Secret {
    /// Its id.
    pub id: String,
    /// The id of its workspace.
    pub workspace: String,
    /// What configs call it.
    pub name: String,
    /// The number of the master key that it is encrypted with.
    pub master: i64,
    /// How often it was changed, from 1.
    pub revision: i64,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Milliseconds since 1970.
    pub updated_ms: i64,
}

#[derive(sqlx::FromRow)]
struct Value {
    name: String,
    master: i64,
    wrapped: Vec<u8>,
    sealed: Vec<u8>,
}

/// All columns that may be shown, in a statement.
macro_rules! columns {
    ($before:literal, $after:literal) => {
        concat!($before, " id, workspace, name, master, revision, created_ms, updated_ms ", $after)
    };
}

impl Secret {
    fn json(&self) -> String {
        let Self { id, name, revision, .. } = self;
        serde_json::json!({ "id": id, "name": name, "revision": revision }).to_string()
    }
}

impl Write {
    /// Adds a secret.
    ///
    /// # Errors
    /// [`Error::Taken`] when there is one of this name, [`Error::Bound`] when there is no such workspace,
    /// [`Error::Full`] when it has too many.
    pub async fn secret_create(
        &mut self,
        (workspace, name): (&str, &str),
        sealed: &Sealed,
    ) -> Result<Secret> {
        self.tally_add(workspace, "secret", SECRETS_MAX).await?;
        let id = Id::new(self.clock.wall())?.to_string();
        let statement = sql(columns!(
            "INSERT INTO secret (id, workspace, name, master, wrapped, sealed, revision, created_ms, updated_ms)
             VALUES ($1, $2, $3, $4, $5, $6, 1, $7, $7) RETURNING",
            ""
        ));
        let statement = statement.bind(id).bind(workspace).bind(name).bind(sealed.master);
        let statement = statement.bind(&*sealed.wrapped).bind(&*sealed.sealed).bind(self.at_ms);
        let made: Secret = self.tx.one(statement).await?;
        self.secret_note("create", None, Some(&made)).await?;
        Ok(made)
    }

    /// Gives a secret that has this revision another value.
    ///
    /// # Errors
    /// [`Error::Missing`], or [`Error::Changed`] with the revision it has.
    pub async fn secret_update(
        &mut self,
        (workspace, id): (&str, &str),
        revision: i64,
        sealed: &Sealed,
    ) -> Result<Secret> {
        let was = self.secret_lock((workspace, id), revision).await?;
        let statement = sql(columns!(
            "UPDATE secret SET master = $2, wrapped = $3, sealed = $4, revision = revision + 1, updated_ms = $5
             WHERE id = $1 RETURNING",
            ""
        ));
        let statement = statement.bind(id).bind(sealed.master).bind(&*sealed.wrapped);
        let statement = statement.bind(&*sealed.sealed).bind(self.at_ms);
        let became: Secret = self.tx.one(statement).await?;
        self.secret_note("update", Some(&was), Some(&became)).await?;
        Ok(became)
    }

    /// Takes out a secret that has this revision.
    ///
    /// # Errors
    /// [`Error::Missing`], or [`Error::Changed`] with the revision it has.
    pub async fn secret_delete(
        &mut self,
        (workspace, id): (&str, &str),
        revision: i64,
    ) -> Result<()> {
        let was = self.secret_lock((workspace, id), revision).await?;
        self.tx.run(sql("DELETE FROM secret WHERE id = $1").bind(id)).await?;
        self.tally_remove(workspace, "secret", 1).await?;
        self.secret_note("delete", Some(&was), None).await
    }

    /// The secret, which nobody else can change until the end of this transaction.
    async fn secret_lock(
        &mut self,
        (workspace, id): (&str, &str),
        revision: i64,
    ) -> Result<Secret> {
        let statement = sql(columns!(
            "UPDATE secret SET id = id WHERE id = $1 AND workspace = $2 RETURNING",
            ""
        ));
        let found: Secret = self.tx.one(statement.bind(id).bind(workspace)).await?;
        if found.revision == revision { Ok(found) } else { Err(Error::Changed(found.revision)) }
    }

    async fn secret_note(
        &mut self,
        action: &'static str,
        was: Option<&Secret>,
        became: Option<&Secret>,
    ) -> Result<()> {
        let Some(secret) = was.or(became) else { return Ok(()) };
        let (was, became) = (was.map(Secret::json), became.map(Secret::json));
        self.note(&Deed {
            workspace: Some(&secret.workspace),
            action,
            noun: "secret",
            subject: &secret.id,
            was: was.as_deref(),
            became: became.as_deref(),
        })
        .await
    }
}

impl Store {
    /// One secret of a workspace.
    ///
    /// # Errors
    /// [`Error::Missing`] when the workspace has none of this id.
    pub async fn secret_get(&self, workspace: &str, id: &str) -> Result<Secret> {
        let statement = sql(columns!("SELECT", "FROM secret WHERE id = $1 AND workspace = $2"));
        self.pool.one(statement.bind(id).bind(workspace)).await
    }

    /// The secret of a workspace that has this name.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is none.
    pub async fn secret_find(&self, workspace: &str, name: &str) -> Result<Secret> {
        let statement = sql(columns!("SELECT", "FROM secret WHERE workspace = $1 AND name = $2"));
        self.pool.one(statement.bind(workspace).bind(name)).await
    }

    /// Secrets of a workspace by name, from the first after `after`, at most `limit`. Searched are names.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn secret_list(
        &self,
        workspace: &str,
        filter: &Filter<'_>,
        after: After<'_>,
        limit: i64,
    ) -> Result<Vec<Secret>> {
        let statement = sql(columns!(
            "SELECT",
            "FROM secret WHERE workspace = $1 AND name > $2
                 AND ($3 = '' OR name LIKE $3 ESCAPE '\\') AND ($4 = '' OR name LIKE $4 ESCAPE '\\')
             ORDER BY name LIMIT $5"
        ));
        let statement = statement.bind(workspace).bind(after.name);
        let statement = statement.bind(filter.search_pattern()).bind(filter.prefix_pattern());
        self.pool.all(statement.bind(limit)).await
    }

    /// All secrets of a workspace with their values, encrypted.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn secret_values(&self, workspace: &str) -> Result<Vec<(String, Sealed)>> {
        let statement = sql(
            "SELECT name, master, wrapped, sealed FROM secret WHERE workspace = $1 ORDER BY name",
        );
        let values: Vec<Value> = self.pool.all(statement.bind(workspace)).await?;
        let values = values.into_iter().map(|it| {
            let Value { name, master, wrapped, sealed } = it;
            (name, Sealed { master, wrapped, sealed })
        });
        Ok(values.collect())
    }
}
