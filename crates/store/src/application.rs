//! Applications: programs of a consumer, each with credentials of its own.

use crate::audit::Deed;
use crate::directory::Change;
use crate::list::{After, Filter, searched};
use crate::sql::sql;
use crate::{Error, Id, Result, Store, Write};
use base::caps::{APPLICATIONS_MAX, APPLICATIONS_PER_CONSUMER_MAX};

/// An application.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Application {
    /// Its id.
    pub id: String,
    /// The id of its workspace.
    pub workspace: String,
    /// The id of its consumer.
    pub consumer: String,
    /// What its consumer calls it.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// The plan by which it uses APIs, if it is another than its consumer's.
    pub plan: Option<String>,
    /// 1 of one whose credentials are not accepted for the time being.
    pub is_suspended: i64,
    /// Its roles and the like, as JSON.
    pub body: String,
    /// How often it was changed, from 1.
    pub revision: i64,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Milliseconds since 1970.
    pub updated_ms: i64,
}

/// What is written of an application.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    /// What its consumer calls it.
    pub name: &'a str,
    /// What people call it.
    pub title: &'a str,
    /// The plan by which it uses APIs, if it is another than its consumer's.
    pub plan: Option<&'a str>,
    /// Whether its credentials are not accepted for the time being.
    pub is_suspended: bool,
    /// Its roles and the like, as JSON.
    pub body: &'a str,
}

/// All columns, in a statement.
macro_rules! columns {
    ($before:literal, $after:literal) => {
        concat!(
            $before,
            " id, workspace, consumer, name, title, plan, is_suspended, body, revision, created_ms, updated_ms ",
            $after
        )
    };
}

impl Application {
    fn json(&self) -> String {
        let Self { id, consumer, name, title, plan, is_suspended, revision, body, .. } = self;
        let body: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
        serde_json::json!({
            "id": id, "consumer": consumer, "name": name, "title": title, "plan": plan,
            "is_suspended": *is_suspended != 0, "revision": revision, "body": body,
        })
        .to_string()
    }
}

impl Write {
    /// Adds an application to a consumer.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is no such consumer, [`Error::Taken`] when it has one of this name,
    /// [`Error::Full`] when it has too many.
    pub async fn application_create(
        &mut self,
        (workspace, consumer): (&str, &str),
        written: Written<'_>,
    ) -> Result<Application> {
        self.consumer_lock((workspace, consumer), None).await?;
        let count = sql("SELECT COUNT(*) FROM application WHERE consumer = $1");
        let (count,): (i64,) = self.tx.one(count.bind(consumer)).await?;
        if count >= APPLICATIONS_PER_CONSUMER_MAX {
            return Err(Error::Full(APPLICATIONS_PER_CONSUMER_MAX));
        }
        self.tally_add(workspace, "application", APPLICATIONS_MAX).await?;
        let id = Id::new(self.clock.wall())?.to_string();
        let Written { name, title, plan, is_suspended, body } = written;
        let statement = sql(columns!(
            "INSERT INTO application
                 (id, workspace, consumer, name, title, plan, is_suspended, body, search, revision, created_ms, updated_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1, $10, $10) RETURNING",
            ""
        ));
        let statement = statement.bind(id).bind(workspace).bind(consumer).bind(name).bind(title);
        let statement = statement.bind(plan).bind(i64::from(is_suspended)).bind(body);
        let statement = statement.bind(searched(name, title)).bind(self.at_ms);
        let made: Application = self.tx.one(statement).await?;
        self.application_note("create", None, Some(&made)).await?;
        Ok(made)
    }

    /// Changes an application that has this revision.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Changed`] with the revision it has, or [`Error::Taken`].
    pub async fn application_update(
        &mut self,
        (workspace, id): (&str, &str),
        revision: i64,
        written: Written<'_>,
    ) -> Result<Application> {
        let was = self.application_lock((workspace, id), Some(revision)).await?;
        let Written { name, title, plan, is_suspended, body } = written;
        let statement = sql(columns!(
            "UPDATE application SET name = $2, title = $3, plan = $4, is_suspended = $5, body = $6, search = $7,
                 revision = revision + 1, updated_ms = $8
             WHERE id = $1 RETURNING",
            ""
        ));
        let statement = statement.bind(id).bind(name).bind(title).bind(plan);
        let statement = statement.bind(i64::from(is_suspended)).bind(body);
        let statement = statement.bind(searched(name, title)).bind(self.at_ms);
        let became: Application = self.tx.one(statement).await?;
        self.application_note("update", Some(&was), Some(&became)).await?;
        Ok(became)
    }

    /// Takes out an application that has this revision, with its credentials: each has its row in the trail.
    ///
    /// # Errors
    /// [`Error::Missing`], or [`Error::Changed`] with the revision it has.
    pub async fn application_delete(
        &mut self,
        (workspace, id): (&str, &str),
        revision: i64,
    ) -> Result<()> {
        let was = self.application_lock((workspace, id), Some(revision)).await?;
        self.credentials_delete(workspace, &was.consumer, Some(id)).await?;
        self.tx.run(sql("DELETE FROM application WHERE id = $1").bind(id)).await?;
        self.tally_remove(workspace, "application", 1).await?;
        self.application_note("delete", Some(&was), None).await
    }

    /// Takes out all applications of a consumer, which have no credentials any more.
    pub(crate) async fn applications_delete(
        &mut self,
        workspace: &str,
        consumer: &str,
    ) -> Result<()> {
        let statement = sql(columns!("DELETE FROM application WHERE consumer = $1 RETURNING", ""));
        let gone: Vec<Application> = self.tx.all(statement.bind(consumer)).await?;
        for application in &gone {
            self.application_note("delete", Some(application), None).await?;
        }
        self.tally_remove(workspace, "application", gone.len()).await
    }

    /// The application, which nobody else can change until the end of this transaction.
    pub(crate) async fn application_lock(
        &mut self,
        (workspace, id): (&str, &str),
        revision: Option<i64>,
    ) -> Result<Application> {
        let statement = sql(columns!(
            "UPDATE application SET id = id WHERE id = $1 AND workspace = $2 RETURNING",
            ""
        ));
        let found: Application = self.tx.one(statement.bind(id).bind(workspace)).await?;
        let is_expected = revision.is_none_or(|revision| revision == found.revision);
        if is_expected { Ok(found) } else { Err(Error::Changed(found.revision)) }
    }

    async fn application_note(
        &mut self,
        action: &'static str,
        was: Option<&Application>,
        became: Option<&Application>,
    ) -> Result<()> {
        let Some(application) = was.or(became) else { return Ok(()) };
        let (was, became) = (was.map(Application::json), became.map(Application::json));
        self.note(&Deed {
            workspace: Some(&application.workspace),
            action,
            noun: "application",
            subject: &application.id,
            was: was.as_deref(),
            became: became.as_deref(),
        })
        .await?;
        self.tell_directory(&Change::of_application(&application.consumer, &application.id)).await
    }
}

impl Store {
    /// One application of a workspace.
    ///
    /// # Errors
    /// [`Error::Missing`] when the workspace has none of this id.
    pub async fn application_get(&self, workspace: &str, id: &str) -> Result<Application> {
        let statement =
            sql(columns!("SELECT", "FROM application WHERE id = $1 AND workspace = $2"));
        self.pool.one(statement.bind(id).bind(workspace)).await
    }

    /// The application that a consumer calls so.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is none.
    pub async fn application_find(
        &self,
        (workspace, consumer): (&str, &str),
        name: &str,
    ) -> Result<Application> {
        let statement = sql(columns!(
            "SELECT",
            "FROM application WHERE consumer = $1 AND name = $2 AND workspace = $3"
        ));
        self.pool.one(statement.bind(consumer).bind(name).bind(workspace)).await
    }

    /// Applications by name, of one consumer or of all of a workspace, from the first after `after`, at most `limit`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn application_list(
        &self,
        (workspace, consumer): (&str, Option<&str>),
        filter: &Filter<'_>,
        after: After<'_>,
        limit: i64,
    ) -> Result<Vec<Application>> {
        let statement = match consumer {
            // The workspace is asked of the consumer, so that no index but that of its applications can be chosen.
            Some(consumer) => sql(columns!(
                "SELECT",
                "FROM application
                 WHERE consumer = (SELECT id FROM consumer WHERE id = $1 AND workspace = $2) AND name > $3"
            ))
            .bind(consumer)
            .bind(workspace)
            .bind(after.name),
            None => sql(columns!(
                "SELECT",
                "FROM application WHERE workspace = $1 AND (name, id) > ($2, $3)"
            ))
            .bind(workspace)
            .bind(after.name)
            .bind(after.id),
        };
        let statement = statement
            .and("search LIKE @ ESCAPE '\\'", &filter.search_pattern())
            .and("name LIKE @ ESCAPE '\\'", &filter.prefix_pattern())
            .and("plan = @", filter.plan)
            .and("consumer IN (SELECT consumer FROM consumer_group WHERE name = @)", filter.group)
            .end("ORDER BY name, id", limit);
        self.pool.all(statement).await
    }
}
