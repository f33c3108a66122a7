//! Logins: sessions of browsers, tokens of machines, and links that log in once. Only hashes of what is shown are kept.

use crate::audit::Deed;
use crate::sql::sql;
use crate::{Id, Result, Store, Write};

/// A login.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Login {
    /// The id, by which it is shown and ended.
    pub id: String,
    /// The id of the user.
    pub holder: String,
    /// `session`, `token` or `link`.
    pub kind: String,
    /// What people tell it by.
    pub name: String,
    /// What it may do, as JSON; all that its user may when empty.
    pub scopes: String,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Milliseconds since 1970.
    pub expires_ms: i64,
    /// When it was seen last, in milliseconds since 1970.
    pub used_ms: i64,
}

/// What is written of a login.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    /// SHA-256 of what is shown.
    pub hash: &'a [u8],
    /// The id of the user.
    pub holder: &'a str,
    /// `session`, `token` or `link`.
    pub kind: &'static str,
    /// What people tell it by.
    pub name: &'a str,
    /// What it may do, as JSON; all that its user may when empty.
    pub scopes: &'a str,
    /// Milliseconds since 1970.
    pub expires_ms: i64,
}

impl Write {
    /// Adds a login.
    ///
    /// # Errors
    /// [`Bound`](crate::Error::Bound) when there is no such user.
    pub async fn login_create(&mut self, written: Written<'_>) -> Result<Login> {
        let id = Id::new(self.clock.wall())?.to_string();
        let Written { hash, holder, kind, name, scopes, expires_ms } = written;
        let statement = sql(
            "INSERT INTO login (hash, id, holder, kind, name, scopes, created_ms, expires_ms, used_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $7)
             RETURNING id, holder, kind, name, scopes, created_ms, expires_ms, used_ms",
        );
        let statement = statement.bind(hash).bind(&*id).bind(holder).bind(kind).bind(name);
        let statement = statement.bind(scopes).bind(self.at_ms).bind(expires_ms);
        let made = self.tx.one(statement).await?;
        self.login_note("create", kind, &id).await?;
        Ok(made)
    }

    /// Ends a login; whether there was one.
    ///
    /// # Errors
    /// When the database cannot be written to.
    pub async fn login_delete(&mut self, id: &str) -> Result<bool> {
        let statement = sql("DELETE FROM login WHERE id = $1 RETURNING kind");
        let kinds: Vec<(String,)> = self.tx.all(statement.bind(id)).await?;
        let Some((kind,)) = kinds.first() else { return Ok(false) };
        let kind = if kind == "token" { "token" } else { "session" };
        self.login_note("delete", kind, id).await?;
        Ok(true)
    }

    /// Takes a link: it can be used once.
    ///
    /// # Errors
    /// When the database cannot be written to.
    pub async fn login_take(&mut self, hash: &[u8]) -> Result<Option<Login>> {
        let statement =
            sql("DELETE FROM login WHERE hash = $1 AND kind = 'link' AND expires_ms > $2
             RETURNING id, holder, kind, name, scopes, created_ms, expires_ms, used_ms");
        Ok(self.tx.all(statement.bind(hash).bind(self.at_ms)).await?.pop())
    }

    /// Takes out what has expired; how many.
    ///
    /// # Errors
    /// When the database cannot be written to.
    pub async fn login_sweep(&mut self) -> Result<u64> {
        self.tx.run(sql("DELETE FROM login WHERE expires_ms <= $1").bind(self.at_ms)).await
    }

    async fn login_note(
        &mut self,
        action: &'static str,
        noun: &'static str,
        subject: &str,
    ) -> Result<()> {
        self.note(&Deed { workspace: None, action, noun, subject, was: None, became: None }).await
    }
}

impl Store {
    /// The login of what was shown, if it has not expired.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn login_find(&self, hash: &[u8]) -> Result<Option<Login>> {
        let statement =
            sql("SELECT id, holder, kind, name, scopes, created_ms, expires_ms, used_ms FROM login
             WHERE hash = $1 AND kind <> 'link' AND expires_ms > $2");
        Ok(self.pool.all(statement.bind(hash).bind(self.now_ms())).await?.pop())
    }

    /// A link that was not taken yet.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn login_link(&self, hash: &[u8]) -> Result<Option<Login>> {
        let statement =
            sql("SELECT id, holder, kind, name, scopes, created_ms, expires_ms, used_ms FROM login
             WHERE hash = $1 AND kind = 'link' AND expires_ms > $2");
        Ok(self.pool.all(statement.bind(hash).bind(self.now_ms())).await?.pop())
    }

    /// The login of an id.
    ///
    /// # Errors
    /// [`Missing`](crate::Error::Missing) when there is none.
    pub async fn login_get(&self, id: &str) -> Result<Login> {
        let statement =
            sql("SELECT id, holder, kind, name, scopes, created_ms, expires_ms, used_ms FROM login
             WHERE id = $1");
        self.pool.one(statement.bind(id)).await
    }

    /// All logins of a user, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn login_list(&self, holder: &str) -> Result<Vec<Login>> {
        let statement =
            sql("SELECT id, holder, kind, name, scopes, created_ms, expires_ms, used_ms FROM login
             WHERE holder = $1 ORDER BY created_ms DESC, id DESC");
        self.pool.all(statement.bind(holder)).await
    }
}
