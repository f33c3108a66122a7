//! Consumers: who calls APIs. They change one at a time, outside revisions, and gateways follow.

use crate::audit::Deed;
use crate::directory::Change;
use crate::list::{After, Filter, searched};
use crate::sql::sql;
use crate::{Error, Id, Result, Store, Write};
use base::caps::CONSUMERS_MAX;

/// A consumer.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Consumer {
    /// Its id.
    pub id: String,
    /// The id of its workspace.
    pub workspace: String,
    /// What it is called there.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// The plan by which it uses APIs, if it is not the default one.
    pub plan: Option<String>,
    /// 1 of one whose credentials are not accepted for the time being.
    pub is_suspended: i64,
    /// Its groups, roles and the like, as JSON.
    pub body: String,
    /// How often it was changed, from 1.
    pub revision: i64,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Milliseconds since 1970.
    pub updated_ms: i64,
}

/// What is written of a consumer.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    /// What it is called in its workspace.
    pub name: &'a str,
    /// What people call it.
    pub title: &'a str,
    /// The plan by which it uses APIs.
    pub plan: Option<&'a str>,
    /// Whether its credentials are not accepted for the time being.
    pub is_suspended: bool,
    /// The groups by which it is found.
    pub groups: &'a [String],
    /// Its groups, roles and the like, as JSON.
    pub body: &'a str,
}

/// All columns, in a statement.
macro_rules! columns {
    ($before:literal, $after:literal) => {
        concat!(
            $before,
            " id, workspace, name, title, plan, is_suspended, body, revision, created_ms, updated_ms ",
            $after
        )
    };
}

impl Consumer {
    fn json(&self) -> String {
        let Self { id, name, title, plan, is_suspended, revision, body, .. } = self;
        let body: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
        serde_json::json!({
            "id": id, "name": name, "title": title, "plan": plan, "is_suspended": *is_suspended != 0,
            "revision": revision, "body": body,
        })
        .to_string()
    }
}

impl Write {
    /// Adds a consumer.
    ///
    /// # Errors
    /// [`Error::Taken`] when there is one of this name, [`Error::Bound`] when there is no such workspace,
    /// [`Error::Full`] when it has too many.
    pub async fn consumer_create(
        &mut self,
        workspace: &str,
        written: Written<'_>,
    ) -> Result<Consumer> {
        self.tally_add(workspace, "consumer", CONSUMERS_MAX).await?;
        let id = Id::new(self.clock.wall())?.to_string();
        let Written { name, title, plan, is_suspended, groups, body } = written;
        let statement = sql(columns!(
            "INSERT INTO consumer
                 (id, workspace, name, title, plan, is_suspended, body, search, revision, created_ms, updated_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1, $9, $9) RETURNING",
            ""
        ));
        let statement = statement.bind(&*id).bind(workspace).bind(name).bind(title).bind(plan);
        let statement = statement.bind(i64::from(is_suspended)).bind(body);
        let statement = statement.bind(searched(name, title)).bind(self.at_ms);
        let made: Consumer = self.tx.one(statement).await?;
        self.consumer_groups(&id, groups).await?;
        self.consumer_note("create", None, Some(&made)).await?;
        Ok(made)
    }

    /// Changes a consumer that has this revision.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Changed`] with the revision it has, or [`Error::Taken`].
    pub async fn consumer_update(
        &mut self,
        (workspace, id): (&str, &str),
        revision: i64,
        written: Written<'_>,
    ) -> Result<Consumer> {
        let was = self.consumer_lock((workspace, id), Some(revision)).await?;
        let Written { name, title, plan, is_suspended, groups, body } = written;
        let statement = sql(columns!(
            "UPDATE consumer SET name = $2, title = $3, plan = $4, is_suspended = $5, body = $6, search = $7,
                 revision = revision + 1, updated_ms = $8
             WHERE id = $1 RETURNING",
            ""
        ));
        let statement = statement.bind(id).bind(name).bind(title).bind(plan);
        let statement = statement.bind(i64::from(is_suspended)).bind(body);
        let statement = statement.bind(searched(name, title)).bind(self.at_ms);
        let became: Consumer = self.tx.one(statement).await?;
        self.tx.run(sql("DELETE FROM consumer_group WHERE consumer = $1").bind(id)).await?;
        self.consumer_groups(id, groups).await?;
        self.consumer_note("update", Some(&was), Some(&became)).await?;
        Ok(became)
    }

    /// Takes out a consumer that has this revision, with its applications and credentials: each has its row in the trail.
    ///
    /// # Errors
    /// [`Error::Missing`], or [`Error::Changed`] with the revision it has.
    pub async fn consumer_delete(
        &mut self,
        (workspace, id): (&str, &str),
        revision: i64,
    ) -> Result<()> {
        let was = self.consumer_lock((workspace, id), Some(revision)).await?;
        self.credentials_delete(workspace, id, None).await?;
        self.applications_delete(workspace, id).await?;
        self.tx.run(sql("DELETE FROM consumer WHERE id = $1").bind(id)).await?;
        self.tally_remove(workspace, "consumer", 1).await?;
        self.consumer_note("delete", Some(&was), None).await
    }

    async fn consumer_groups(&mut self, id: &str, groups: &[String]) -> Result<()> {
        for group in groups {
            let statement = sql(
                "INSERT INTO consumer_group (consumer, name) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            );
            self.tx.run(statement.bind(id).bind(&**group)).await?;
        }
        Ok(())
    }

    /// The consumer, which nobody else can change until the end of this transaction.
    pub(crate) async fn consumer_lock(
        &mut self,
        (workspace, id): (&str, &str),
        revision: Option<i64>,
    ) -> Result<Consumer> {
        let statement = sql(columns!(
            "UPDATE consumer SET id = id WHERE id = $1 AND workspace = $2 RETURNING",
            ""
        ));
        let found: Consumer = self.tx.one(statement.bind(id).bind(workspace)).await?;
        let is_expected = revision.is_none_or(|revision| revision == found.revision);
        if is_expected { Ok(found) } else { Err(Error::Changed(found.revision)) }
    }

    async fn consumer_note(
        &mut self,
        action: &'static str,
        was: Option<&Consumer>,
        became: Option<&Consumer>,
    ) -> Result<()> {
        let Some(consumer) = was.or(became) else { return Ok(()) };
        let (was, became) = (was.map(Consumer::json), became.map(Consumer::json));
        self.note(&Deed {
            workspace: Some(&consumer.workspace),
            action,
            noun: "consumer",
            subject: &consumer.id,
            was: was.as_deref(),
            became: became.as_deref(),
        })
        .await?;
        self.tell_directory(&Change::of_consumer(&consumer.id)).await
    }
}

impl Store {
    /// One consumer of a workspace.
    ///
    /// # Errors
    /// [`Error::Missing`] when the workspace has none of this id.
    pub async fn consumer_get(&self, workspace: &str, id: &str) -> Result<Consumer> {
        let statement = sql(columns!("SELECT", "FROM consumer WHERE id = $1 AND workspace = $2"));
        self.pool.one(statement.bind(id).bind(workspace)).await
    }

    /// The consumer of a workspace that has this name.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is none.
    pub async fn consumer_find(&self, workspace: &str, name: &str) -> Result<Consumer> {
        let statement = sql(columns!("SELECT", "FROM consumer WHERE workspace = $1 AND name = $2"));
        self.pool.one(statement.bind(workspace).bind(name)).await
    }

    /// Consumers of a workspace by name, from the first after `after`, at most `limit`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn consumer_list(
        &self,
        workspace: &str,
        filter: &Filter<'_>,
        after: After<'_>,
        limit: i64,
    ) -> Result<Vec<Consumer>> {
        let statement = sql(columns!("SELECT", "FROM consumer WHERE workspace = $1 AND name > $2"));
        let statement = statement
            .bind(workspace)
            .bind(after.name)
            .and("search LIKE @ ESCAPE '\\'", &filter.search_pattern())
            .and("name LIKE @ ESCAPE '\\'", &filter.prefix_pattern())
            .and("plan = @", filter.plan)
            .and("id IN (SELECT consumer FROM consumer_group WHERE name = @)", filter.group)
            .end("ORDER BY name", limit);
        self.pool.all(statement).await
    }
}
