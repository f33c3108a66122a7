//! Objects: the parts of a config as they were written, such as an upstream, an API or one of its routes.
//!
//! What a body may say is not known here. Put together, the objects of a workspace are its draft.

use crate::audit::Deed;
use crate::list::{After, Filter};
use crate::sql::{Sql, sql};
use crate::{Error, Id, Result, Store, Write};
use std::fmt::Write as _;
use std::sync::LazyLock;

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

    /// Objects of a kind and owner by name that are looked for, from the first after `after`, at most `limit`. Searched are
    /// names.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn object_page(
        &self,
        place: Place<'_>,
        filter: &Filter<'_>,
        after: After<'_>,
        limit: i64,
    ) -> Result<Vec<Object>> {
        let statement = sql(columns!(
            "SELECT",
            "FROM object WHERE workspace = $1 AND kind = $2 AND owner = $3 AND name > $4
                 AND ($5 = '' OR name LIKE $5 ESCAPE '\\') AND ($6 = '' OR name LIKE $6 ESCAPE '\\')
             ORDER BY name LIMIT $7"
        ));
        let statement = statement.bind(place.workspace).bind(place.kind).bind(place.owner);
        let statement = statement.bind(after.name).bind(filter.search_pattern());
        self.pool.all(statement.bind(filter.prefix_pattern()).bind(limit)).await
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

/// Rows that one statement writes where there are many.
const ROWS: usize = 64;

/// What is done to one of many objects.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// Adds this one, of revision 1.
    Create(&'a Object),
    /// Makes the first the second, which has its id, kind, owner and name.
    Update(&'a Object, &'a Object),
    /// Takes out this one alone, without its parts.
    Delete(&'a Object),
}

/// A statement for so many rows of so many values each: `before (…), (…) after`.
fn rows(before: &str, width: usize, after: &str) -> String {
    let mut text = format!("{before} ");
    for row in 0..ROWS {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 1..=width {
            // Writing to a string cannot fail.
            write!(text, "{}${}", if column == 1 { "" } else { ", " }, row * width + column).ok();
        }
        text.push(')');
    }
    text.push(' ');
    text + after
}

static CREATE: LazyLock<String> = LazyLock::new(|| {
    let before = "INSERT INTO object (id, workspace, kind, owner, name, position, body, revision, created_ms, updated_ms) VALUES";
    rows(before, 10, "")
});
static UPDATE: LazyLock<String> = LazyLock::new(|| {
    let before = "UPDATE object SET position = v.column3, body = v.column4, revision = revision + 1, updated_ms = v.column5 FROM (VALUES";
    rows(before, 5, ") AS v WHERE object.id = v.column1 AND object.revision = v.column2")
});
static DELETE: LazyLock<String> = LazyLock::new(|| {
    let before = "DELETE FROM object WHERE (id, revision) IN (VALUES";
    rows(before, 2, ")")
});
static AUDIT: LazyLock<String> = LazyLock::new(|| {
    let before = "INSERT INTO audit (at_ms, workspace, actor, action, noun, subject, was, became, address, request) VALUES";
    rows(before, 10, "")
});

impl Write {
    /// Changes many objects of a workspace at once, which nobody else can do until the end of this transaction. The outbox
    /// gets one event, `config.apply` of the workspace.
    ///
    /// # Errors
    /// [`Error::Changed`] when one of them is not what it was any more, [`Error::Taken`] when a new one has the name of
    /// another, [`Error::Bound`] when there is no such workspace.
    pub async fn objects_change(&mut self, workspace: &str, all: &[Change<'_>]) -> Result<()> {
        let lock = sql("UPDATE workspace SET id = id WHERE id = $1");
        if self.tx.run(lock.bind(workspace)).await? == 0 {
            return Err(Error::Bound);
        }
        // What goes makes room for what comes.
        for rank in 0..3 {
            let of_rank = all.iter().filter(|change| change.rank() == rank).copied();
            let of_rank: Vec<Change<'_>> = of_rank.collect();
            let (many, few) = of_rank.as_chunks::<ROWS>();
            for many in many {
                let texts: [&'static str; 3] = [&DELETE, &UPDATE, &CREATE];
                let text = texts[usize::from(rank)];
                let statement = many.iter().fold(sql(text), |it, change| change.bind(it));
                if self.tx.run(statement).await? != ROWS as u64 {
                    return Err(Error::Changed(0));
                }
            }
            for change in few {
                if self.tx.run(change.bind(sql(change.alone()))).await? == 0 {
                    return Err(Error::Changed(0));
                }
            }
        }
        let (many, few) = all.as_chunks::<ROWS>();
        for many in many {
            let statement = many.iter().fold(sql(&AUDIT), |it, change| self.entry(it, change));
            self.tx.run(statement).await?;
        }
        for change in few {
            let text = "INSERT INTO audit (at_ms, workspace, actor, action, noun, subject, was, became, address, request)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
            self.tx.run(self.entry(sql(text), change)).await?;
        }
        self.tell("config.apply", workspace).await
    }

    /// Ids and revisions of all objects of a workspace.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn draft_versions(&mut self, workspace: &str) -> Result<Vec<(String, i64)>> {
        let statement = sql("SELECT id, revision FROM object WHERE workspace = $1 ORDER BY id");
        self.tx.all(statement.bind(workspace)).await
    }

    /// The values of a row of the audit trail.
    fn entry(&self, statement: Sql, change: &Change<'_>) -> Sql {
        let (action, was, became) = match *change {
            Change::Create(became) => ("create", None, Some(became)),
            Change::Update(was, became) => ("update", Some(was), Some(became)),
            Change::Delete(was) => ("delete", Some(was), None),
        };
        let object = change.object();
        let (was, became) = (was.map(Object::json), became.map(Object::json));
        statement
            .bind(self.at_ms)
            .bind(&*object.workspace)
            .bind(&*self.actor.name)
            .bind(action)
            .bind(&*object.kind)
            .bind(&*object.id)
            .bind(was.as_deref())
            .bind(became.as_deref())
            .bind(self.actor.address.as_deref())
            .bind(self.actor.request.as_deref())
    }
}

impl Change<'_> {
    const fn rank(&self) -> u8 {
        match self {
            Self::Delete(_) => 0,
            Self::Update(..) => 1,
            Self::Create(_) => 2,
        }
    }

    const fn object(&self) -> &Object {
        match self {
            Self::Delete(object) | Self::Update(_, object) | Self::Create(object) => object,
        }
    }

    /// The statement for one row.
    const fn alone(&self) -> &'static str {
        match self {
            Self::Delete(_) => "DELETE FROM object WHERE id = $1 AND revision = $2",
            Self::Update(..) => {
                "UPDATE object SET position = $3, body = $4, revision = revision + 1, updated_ms = $5
                 WHERE id = $1 AND revision = $2"
            }
            Self::Create(_) => {
                "INSERT INTO object (id, workspace, kind, owner, name, position, body, revision, created_ms, updated_ms)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
            }
        }
    }

    /// The values of its row.
    fn bind(&self, statement: Sql) -> Sql {
        match self {
            Self::Delete(was) => statement.bind(&*was.id).bind(was.revision),
            Self::Update(was, became) => statement
                .bind(&*was.id)
                .bind(was.revision)
                .bind(became.position)
                .bind(&*became.body)
                .bind(became.updated_ms),
            Self::Create(it) => statement
                .bind(&*it.id)
                .bind(&*it.workspace)
                .bind(&*it.kind)
                .bind(&*it.owner)
                .bind(&*it.name)
                .bind(it.position)
                .bind(&*it.body)
                .bind(it.revision)
                .bind(it.created_ms)
                .bind(it.updated_ms),
        }
    }
}
