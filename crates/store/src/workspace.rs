//! Workspaces: teams, each with names of its own.

use crate::audit::Deed;
use crate::list::{After, Filter};
use crate::sql::sql;
use crate::{Error, Id, Result, Store, Write};

/// A workspace.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Workspace {
    /// Its id.
    pub id: String,
    /// What it is called in paths and files.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// Which hosts and paths it was given, as JSON.
    pub grants: String,
    /// How often it was changed, from 1.
    pub revision: i64,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Milliseconds since 1970.
    pub updated_ms: i64,
}

/// What is written of one.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    /// What it is called in paths and files.
    pub name: &'a str,
    /// What people call it.
    pub title: &'a str,
    /// Which hosts and paths it is given, as JSON.
    pub grants: &'a str,
}

impl Workspace {
    fn json(&self) -> String {
        let Self { id, name, title, grants, revision, .. } = self;
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let (id, name, title) = (text(id), text(name), text(title));
        format!(
            r#"{{"id":{id},"name":{name},"title":{title},"grants":{grants},"revision":{revision}}}"#
        )
    }
}

impl Write {
    /// Adds a workspace.
    ///
    /// # Errors
    /// [`Error::Taken`] when there is one of this name.
    pub async fn workspace_create(&mut self, written: Written<'_>) -> Result<Workspace> {
        let id = Id::new(self.clock.wall())?.to_string();
        let statement =
            sql("INSERT INTO workspace (id, name, title, grants, revision, created_ms, updated_ms)
             VALUES ($1, $2, $3, $4, 1, $5, $5)
             RETURNING id, name, title, grants, revision, created_ms, updated_ms");
        let Written { name, title, grants } = written;
        let statement = statement.bind(id).bind(name).bind(title).bind(grants).bind(self.at_ms);
        let made: Workspace = self.tx.one(statement).await?;
        self.workspace_note("create", None, Some(&made)).await?;
        Ok(made)
    }

    /// Changes a workspace that has this revision.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Changed`] with the revision it has, or [`Error::Taken`].
    pub async fn workspace_update(
        &mut self,
        id: &str,
        revision: i64,
        written: Written<'_>,
    ) -> Result<Workspace> {
        let was = self.workspace_lock(id, revision).await?;
        let statement = sql(
            "UPDATE workspace SET name = $2, title = $3, grants = $4, revision = revision + 1, updated_ms = $5
             WHERE id = $1 RETURNING id, name, title, grants, revision, created_ms, updated_ms",
        );
        let Written { name, title, grants } = written;
        let statement = statement.bind(id).bind(name).bind(title).bind(grants).bind(self.at_ms);
        let became: Workspace = self.tx.one(statement).await?;
        self.workspace_note("update", Some(&was), Some(&became)).await?;
        Ok(became)
    }

    /// Takes out a workspace that has this revision and holds nothing.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Changed`] with the revision it has, or [`Error::Bound`].
    pub async fn workspace_delete(&mut self, id: &str, revision: i64) -> Result<()> {
        let was = self.workspace_lock(id, revision).await?;
        self.tx.run(sql("DELETE FROM workspace WHERE id = $1").bind(id)).await?;
        self.workspace_note("delete", Some(&was), None).await
    }

    /// The workspace, which nobody else can change until the end of this transaction.
    async fn workspace_lock(&mut self, id: &str, revision: i64) -> Result<Workspace> {
        // An update of nothing locks the row in both databases.
        let statement = sql("UPDATE workspace SET id = id WHERE id = $1
             RETURNING id, name, title, grants, revision, created_ms, updated_ms");
        let found: Workspace = self.tx.one(statement.bind(id)).await?;
        if found.revision == revision { Ok(found) } else { Err(Error::Changed(found.revision)) }
    }

    async fn workspace_note(
        &mut self,
        action: &'static str,
        was: Option<&Workspace>,
        became: Option<&Workspace>,
    ) -> Result<()> {
        let subject = was.or(became).map(|workspace| workspace.id.clone()).unwrap_or_default();
        let (was, became) = (was.map(Workspace::json), became.map(Workspace::json));
        self.note(&Deed {
            workspace: Some(&subject),
            action,
            noun: "workspace",
            subject: &subject,
            was: was.as_deref(),
            became: became.as_deref(),
        })
        .await
    }
}

impl Store {
    /// One workspace.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is none of this id.
    pub async fn workspace_get(&self, id: &str) -> Result<Workspace> {
        let statement = sql(
            "SELECT id, name, title, grants, revision, created_ms, updated_ms FROM workspace WHERE id = $1",
        );
        self.pool.one(statement.bind(id)).await
    }

    /// The workspace of a name.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is none.
    pub async fn workspace_find(&self, name: &str) -> Result<Workspace> {
        let statement = sql(
            "SELECT id, name, title, grants, revision, created_ms, updated_ms FROM workspace WHERE name = $1",
        );
        self.pool.one(statement.bind(name)).await
    }

    /// Workspaces by name that are looked for, from the first after `after`, at most `limit`. Searched are names and titles.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn workspace_page(
        &self,
        filter: &Filter<'_>,
        after: After<'_>,
        limit: i64,
    ) -> Result<Vec<Workspace>> {
        let statement =
            sql("SELECT id, name, title, grants, revision, created_ms, updated_ms FROM workspace
             WHERE name > $1 AND ($2 = '' OR lower(name || ' ' || title) LIKE $2 ESCAPE '\\')
                 AND ($3 = '' OR name LIKE $3 ESCAPE '\\')
             ORDER BY name LIMIT $4");
        let statement = statement.bind(after.name).bind(filter.search_pattern());
        self.pool.all(statement.bind(filter.prefix_pattern()).bind(limit)).await
    }

    /// Workspaces by name, from the first after `after`, at most `limit`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn workspace_list(&self, after: &str, limit: i64) -> Result<Vec<Workspace>> {
        let statement =
            sql("SELECT id, name, title, grants, revision, created_ms, updated_ms FROM workspace
             WHERE name > $1 ORDER BY name LIMIT $2");
        self.pool.all(statement.bind(after).bind(limit)).await
    }
}
