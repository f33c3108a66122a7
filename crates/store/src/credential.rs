//! Credentials: by what a consumer, or one of its applications, proves who it is. What is shown is kept as a hash, or
//! encrypted where it is needed to verify a signature; nothing here tells it, nor does the trail.

use crate::audit::Deed;
use crate::directory::Change;
use crate::envelope::Sealed;
use crate::sql::sql;
use crate::{Error, Result, Store, Write};
use base::caps::{CREDENTIALS_MAX, CREDENTIALS_PER_HOLDER_MAX};

/// A credential, without what is secret of it.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Credential {
    /// Its id.
    pub id: String,
    /// The id of its workspace.
    pub workspace: String,
    /// The id of its consumer.
    pub consumer: String,
    /// The id of its application; none of what is the consumer's own.
    pub application: Option<String>,
    /// How it proves who shows it.
    pub kind: String,
    /// What people call it.
    pub name: String,
    /// What people tell it by, such as the first letters of a key.
    pub hint: String,
    /// What is known of it, as JSON.
    pub body: String,
    /// When it begins to be valid; from ever if there is no time. Milliseconds since 1970.
    pub from_ms: Option<i64>,
    /// When it stops being valid; never if there is no time. Milliseconds since 1970.
    pub expires_ms: Option<i64>,
    /// How often it was changed, from 1.
    pub revision: i64,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Milliseconds since 1970.
    pub updated_ms: i64,
}

/// What is written of a credential when it is made; only its name and times change later.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    /// How it proves who shows it.
    pub kind: &'static str,
    /// What people call it.
    pub name: &'a str,
    /// By what it is found; no other of the workspace and kind has the same.
    pub hash: &'a [u8],
    /// What people tell it by.
    pub hint: &'a str,
    /// What is known of it, as JSON, without secrets.
    pub body: &'a str,
    /// The hash of a password in the PHC format.
    pub password: Option<&'a str>,
    /// When it begins to be valid.
    pub from_ms: Option<i64>,
    /// When it stops being valid.
    pub expires_ms: Option<i64>,
}

/// All columns that may be shown, in a statement.
macro_rules! columns {
    ($before:literal, $after:expr) => {
        concat!(
            $before,
            " id, workspace, consumer, application, kind, name, hint, body, from_ms, expires_ms, revision, created_ms, updated_ms ",
            $after
        )
    };
}

impl Credential {
    fn json(&self) -> String {
        let Self { id, consumer, application, kind, name, hint, revision, .. } = self;
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        serde_json::json!({
            "id": id, "consumer": consumer, "application": application, "kind": kind, "name": name, "hint": hint,
            "from_ms": self.from_ms, "expires_ms": self.expires_ms, "revision": revision, "body": body,
        })
        .to_string()
    }
}

impl Write {
    /// Adds a credential of an id of [`Store::new_id`] to a consumer, or to one of its applications.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is no such consumer or application, [`Error::Taken`] when another of the workspace
    /// shows the same, [`Error::Full`] when there are too many.
    pub async fn credential_create(
        &mut self,
        id: &str,
        (workspace, consumer, application): (&str, &str, Option<&str>),
        written: Written<'_>,
        sealed: Option<&Sealed>,
    ) -> Result<Credential> {
        self.consumer_lock((workspace, consumer), None).await?;
        if let Some(application) = application {
            let found = self.application_lock((workspace, application), None).await?;
            if found.consumer != consumer {
                return Err(Error::Missing);
            }
        }
        let count = sql(
            "SELECT COUNT(*) FROM credential WHERE consumer = $1 AND COALESCE(application, '') = $2",
        );
        let count = count.bind(consumer).bind(application.unwrap_or_default());
        let (count,): (i64,) = self.tx.one(count).await?;
        if count >= CREDENTIALS_PER_HOLDER_MAX {
            return Err(Error::Full(CREDENTIALS_PER_HOLDER_MAX));
        }
        self.tally_add(workspace, "credential", CREDENTIALS_MAX).await?;
        let Written { kind, name, hash, hint, body, password, from_ms, expires_ms } = written;
        let statement = sql(columns!(
            "INSERT INTO credential
                 (id, workspace, consumer, application, kind, name, hash, hint, body, password, master, wrapped, sealed,
                  from_ms, expires_ms, revision, created_ms, updated_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, 1, $16, $16) RETURNING",
            ""
        ));
        let statement = statement.bind(id).bind(workspace).bind(consumer).bind(application);
        let statement = statement.bind(kind).bind(name).bind(hash).bind(hint).bind(body);
        let statement = statement.bind(password).bind(sealed.map(|it| it.master));
        let statement = statement.bind(sealed.map(|it| &*it.wrapped));
        let statement = statement.bind(sealed.map(|it| &*it.sealed));
        let statement = statement.bind(from_ms).bind(expires_ms).bind(self.at_ms);
        let made: Credential = self.tx.one(statement).await?;
        self.credential_note("create", None, Some(&made)).await?;
        Ok(made)
    }

    /// Changes name and times of a credential that has this revision.
    ///
    /// # Errors
    /// [`Error::Missing`], or [`Error::Changed`] with the revision it has.
    pub async fn credential_update(
        &mut self,
        (workspace, id): (&str, &str),
        revision: Option<i64>,
        name: &str,
        (from_ms, expires_ms): (Option<i64>, Option<i64>),
    ) -> Result<Credential> {
        let was = self.credential_lock((workspace, id), revision).await?;
        let statement = sql(columns!(
            "UPDATE credential SET name = $2, from_ms = $3, expires_ms = $4, revision = revision + 1, updated_ms = $5
             WHERE id = $1 RETURNING",
            ""
        ));
        let statement = statement.bind(id).bind(name).bind(from_ms).bind(expires_ms);
        let became: Credential = self.tx.one(statement.bind(self.at_ms)).await?;
        self.credential_note("update", Some(&was), Some(&became)).await?;
        Ok(became)
    }

    /// Sets what is kept of a new password.
    ///
    /// # Errors
    /// [`Error::Missing`], or [`Error::Changed`] with the revision it has.
    pub async fn credential_password_set(
        &mut self,
        (workspace, id): (&str, &str),
        revision: i64,
        password: &str,
    ) -> Result<Credential> {
        let was = self.credential_lock((workspace, id), Some(revision)).await?;
        let statement = sql(columns!(
            "UPDATE credential SET password = $2, revision = revision + 1, updated_ms = $3
             WHERE id = $1 AND password IS NOT NULL RETURNING",
            ""
        ));
        let statement = statement.bind(id).bind(password).bind(self.at_ms);
        let became: Credential = self.tx.one(statement).await?;
        self.credential_note("update", Some(&was), Some(&became)).await?;
        Ok(became)
    }

    /// Revokes a credential: it is gone, and gateways forget it. Without a revision, whatever was changed meanwhile.
    ///
    /// # Errors
    /// [`Error::Missing`], or [`Error::Changed`] with the revision it has.
    pub async fn credential_delete(
        &mut self,
        (workspace, id): (&str, &str),
        revision: Option<i64>,
    ) -> Result<()> {
        let was = self.credential_lock((workspace, id), revision).await?;
        self.tx.run(sql("DELETE FROM credential WHERE id = $1").bind(id)).await?;
        self.tally_remove(workspace, "credential", 1).await?;
        self.credential_note("delete", Some(&was), None).await
    }

    /// Takes out all credentials of a consumer, or of one of its applications.
    pub(crate) async fn credentials_delete(
        &mut self,
        workspace: &str,
        consumer: &str,
        application: Option<&str>,
    ) -> Result<()> {
        let statement = sql(columns!(
            "DELETE FROM credential WHERE consumer = $1 AND ($2 = '' OR application = $2) RETURNING",
            ""
        ));
        let statement = statement.bind(consumer).bind(application.unwrap_or_default());
        let gone: Vec<Credential> = self.tx.all(statement).await?;
        for credential in &gone {
            self.credential_note("delete", Some(credential), None).await?;
        }
        self.tally_remove(workspace, "credential", gone.len()).await
    }

    /// The credential, which nobody else can change until the end of this transaction.
    async fn credential_lock(
        &mut self,
        (workspace, id): (&str, &str),
        revision: Option<i64>,
    ) -> Result<Credential> {
        let statement = sql(columns!(
            "UPDATE credential SET id = id WHERE id = $1 AND workspace = $2 RETURNING",
            ""
        ));
        let found: Credential = self.tx.one(statement.bind(id).bind(workspace)).await?;
        let is_expected = revision.is_none_or(|revision| revision == found.revision);
        if is_expected { Ok(found) } else { Err(Error::Changed(found.revision)) }
    }

    async fn credential_note(
        &mut self,
        action: &'static str,
        was: Option<&Credential>,
        became: Option<&Credential>,
    ) -> Result<()> {
        let Some(credential) = was.or(became) else { return Ok(()) };
        let (was, became) = (was.map(Credential::json), became.map(Credential::json));
        self.note(&Deed {
            workspace: Some(&credential.workspace),
            action,
            noun: "credential",
            subject: &credential.id,
            was: was.as_deref(),
            became: became.as_deref(),
        })
        .await?;
        self.tell_directory(&Change::of_credential(credential)).await
    }
}

impl Store {
    /// One credential of a workspace.
    ///
    /// # Errors
    /// [`Error::Missing`] when the workspace has none of this id.
    pub async fn credential_get(&self, workspace: &str, id: &str) -> Result<Credential> {
        let statement = sql(columns!("SELECT", "FROM credential WHERE id = $1 AND workspace = $2"));
        self.pool.one(statement.bind(id).bind(workspace)).await
    }

    /// Whose credential it is that is found by a hash.
    ///
    /// # Errors
    /// [`Error::Missing`] when the workspace has none.
    pub async fn credential_find(
        &self,
        workspace: &str,
        kind: &str,
        hash: &[u8],
    ) -> Result<Credential> {
        let statement = sql(columns!(
            "SELECT",
            "FROM credential WHERE workspace = $1 AND kind = $2 AND hash = $3"
        ));
        self.pool.one(statement.bind(workspace).bind(kind).bind(hash)).await
    }

    /// Credentials of a consumer, with those of its applications, or of one of these, oldest first, from the first after
    /// the one with the id `after`, at most `limit`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn credential_list(
        &self,
        (workspace, consumer, application): (&str, &str, Option<&str>),
        after: &str,
        limit: i64,
    ) -> Result<Vec<Credential>> {
        let statement = sql(columns!(
            "SELECT",
            "FROM credential WHERE workspace = $1 AND consumer = $2 AND ($3 = '' OR application = $3) AND id > $4
             ORDER BY id LIMIT $5"
        ));
        let statement = statement.bind(workspace).bind(consumer);
        let statement = statement.bind(application.unwrap_or_default());
        self.pool.all(statement.bind(after).bind(limit)).await
    }
}
