//! Objects: the parts of a config as they were written, such as an upstream, an API or one of its routes.
//!
//! What a body may say is not known here. Put together, the objects of a workspace are its draft.

use crate::audit::Deed;
use crate::sql::sql;
use crate::{Error, Id, Result, Store, Write};

/// An object.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Object {
    /// Its id.
    pub id: String,
    /// The id of the workspace it belongs to.
    pub workspace: String,
    /// What it is: a noun, such as `upstream`.
    pub kind: String,
    /// The id of what it is a part of; empty for parts of the workspace itself.
    pub owner: String,
    /// What it is called among those of its kind and owner.
    pub name: String,
    /// Where it stands among them, if their order counts.
    pub position: i64,
    /// What was written, as JSON.
    pub body: String,
    /// How often it was changed, from 1.
    pub revision: i64,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Milliseconds since 1970.
    pub updated_ms: i64,
}

/// Where an object stands.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The id of its workspace.
    pub workspace: &'a str,
    /// What it is.
    pub kind: &'static str,
    /// The id of what it is a part of; empty for parts of the workspace itself.
    pub owner: &'a str,
}

/// What is written of an object.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    /// What it is called among those of its kind and owner.
    pub name: &'a str,
    /// Where it stands among them, if their order counts.
    pub position: i64,
    /// What it says, as JSON, without secrets.
    pub body: &'a str,
}

/// All columns, in a statement.
macro_rules! columns {
    ($before:literal, $after:literal) => {
        concat!(
            $before,
            " id, workspace, kind, owner, name, position, body, revision, created_ms, updated_ms ",
            $after
        )
    };
}

impl Object {
    fn json(&self) -> String {
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let (id, name, owner) = (text(&self.id), text(&self.name), text(&self.owner));
        let Self { position, body, revision, .. } = self;
        format!(
            r#"{{"id":{id},"name":{name},"owner":{owner},"position":{position},"revision":{revision},"body":{body}}}"#
        )
    }
}

impl Write {
    /// Adds an object.
    ///
    /// # Errors
    /// [`Error::Taken`] when there is one of this name, [`Error::Bound`] when there is no such workspace.
    pub async fn object_create(
        &mut self,
        place: Place<'_>,
        written: Written<'_>,
    ) -> Result<Object> {
        let id = Id::new(self.clock.wall())?.to_string();
        let statement = sql(columns!(
            "INSERT INTO object (id, workspace, kind, owner, name, position, body, revision, created_ms, updated_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8, $8) RETURNING",
            ""
        ));
        let statement = statement.bind(id).bind(place.workspace).bind(place.kind).bind(place.owner);
        let statement = statement.bind(written.name).bind(written.position).bind(written.body);
        let made: Object = self.tx.one(statement.bind(self.at_ms)).await?;
        self.object_note("create", place.kind, None, Some(&made)).await?;
        Ok(made)
    }

    /// Changes an object that has this revision.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Changed`] with the revision it has, or [`Error::Taken`].
    pub async fn object_update(
        &mut self,
        (workspace, kind, id): (&str, &'static str, &str),
        revision: i64,
        written: Written<'_>,
    ) -> Result<Object> {
        let was = self.object_lock((workspace, kind, id), revision).await?;
        let statement = sql(columns!(
            "UPDATE object SET name = $2, position = $3, body = $4, revision = revision + 1, updated_ms = $5
             WHERE id = $1 RETURNING",
            ""
        ));
        let statement = statement.bind(id).bind(written.name).bind(written.position);
        let became: Object = self.tx.one(statement.bind(written.body).bind(self.at_ms)).await?;
        self.object_note("update", kind, Some(&was), Some(&became)).await?;
        Ok(became)
    }

    /// Takes out an object that has this revision, and all that are parts of it.
    ///
    /// # Errors
    /// [`Error::Missing`], or [`Error::Changed`] with the revision it has.
    pub async fn object_delete(
        &mut self,
        (workspace, kind, id): (&str, &'static str, &str),
        revision: i64,
    ) -> Result<()> {
        let was = self.object_lock((workspace, kind, id), revision).await?;
        let statement = sql(columns!("SELECT", "FROM object WHERE workspace = $1 AND owner = $2"));
        let mut parts: Vec<Object> = self.tx.all(statement.bind(workspace).bind(id)).await?;
        // The deepest last: a policy of a route of an API.
        let mut at = 0;
        while let Some(part) = parts.get(at) {
            let statement =
                sql(columns!("SELECT", "FROM object WHERE workspace = $1 AND owner = $2"));
            let inner: Vec<Object> = self.tx.all(statement.bind(workspace).bind(&*part.id)).await?;
            parts.extend(inner);
            at += 1;
        }
        for part in parts.iter().rev().chain([&was]) {
            self.tx.run(sql("DELETE FROM object WHERE id = $1").bind(&*part.id)).await?;
            self.object_note("delete", kind, Some(part), None).await?;
        }
        Ok(())
    }

    /// The object, which nobody else can change until the end of this transaction.
    async fn object_lock(
        &mut self,
        (workspace, kind, id): (&str, &str, &str),
        revision: i64,
    ) -> Result<Object> {
        let statement = sql(columns!(
            "UPDATE object SET id = id WHERE id = $1 AND workspace = $2 AND kind = $3 RETURNING",
            ""
        ));
        let found: Object = self.tx.one(statement.bind(id).bind(workspace).bind(kind)).await?;
        if found.revision == revision { Ok(found) } else { Err(Error::Changed(found.revision)) }
    }

    async fn object_note(
        &mut self,
        action: &'static str,
        noun: &'static str,
        was: Option<&Object>,
        became: Option<&Object>,
    ) -> Result<()> {
        let Some(object) = was.or(became) else { return Ok(()) };
        let (workspace, subject) = (object.workspace.clone(), object.id.clone());
        let (was, became) = (was.map(Object::json), became.map(Object::json));
        self.note(&Deed {
            workspace: Some(&workspace),
            action,
            noun,
            subject: &subject,
            was: was.as_deref(),
            became: became.as_deref(),
        })
        .await
    }
}

impl Store {
    /// One object of a workspace.
    ///
    /// # Errors
    /// [`Error::Missing`] when the workspace has none of this kind and id.
    pub async fn object_get(&self, workspace: &str, kind: &str, id: &str) -> Result<Object> {
        let statement =
            sql(columns!("SELECT", "FROM object WHERE id = $1 AND workspace = $2 AND kind = $3"));
        self.pool.one(statement.bind(id).bind(workspace).bind(kind)).await
    }

    /// The object of a name, among those of its kind and owner.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is none.
    pub async fn object_find(&self, place: Place<'_>, name: &str) -> Result<Object> {
        let statement = sql(columns!(
            "SELECT",
            "FROM object WHERE workspace = $1 AND kind = $2 AND owner = $3 AND name = $4"
        ));
        let statement = statement.bind(place.workspace).bind(place.kind).bind(place.owner);
        self.pool.one(statement.bind(name)).await
    }

    /// Objects of a kind and owner by name, from the first after `after`, at most `limit`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn object_list(
        &self,
        place: Place<'_>,
        after: &str,
        limit: i64,
    ) -> Result<Vec<Object>> {
        let statement = sql(columns!(
            "SELECT",
            "FROM object WHERE workspace = $1 AND kind = $2 AND owner = $3 AND name > $4 ORDER BY name LIMIT $5"
        ));
        let statement = statement.bind(place.workspace).bind(place.kind).bind(place.owner);
        self.pool.all(statement.bind(after).bind(limit)).await
    }

    /// All objects of a workspace, as they are now: its draft.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn draft(&self, workspace: &str) -> Result<Vec<Object>> {
        let statement = sql(columns!(
            "SELECT",
            "FROM object WHERE workspace = $1 ORDER BY kind, owner, position, name"
        ));
        self.pool.all(statement.bind(workspace)).await
    }
}
