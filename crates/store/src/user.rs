//! Users: people who use the console and the admin API, and the roles they have.

use crate::audit::Deed;
use crate::list::{After, Filter};
use crate::sql::sql;
use crate::{Error, Id, Result, Store, Write};

/// A user. Hashes of passwords and the like are not shown with it.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct User {
    /// The id.
    pub id: String,
    /// What one logs in as.
    pub name: String,
    /// Where mail goes; empty when there is none.
    pub email: String,
    /// The issuer of whoever comes from an identity provider.
    pub issuer: Option<String>,
    /// What that issuer calls the user.
    pub subject: Option<String>,
    /// 1 of who may not log in any more.
    pub is_disabled: i64,
    /// How often it was changed, from 1.
    pub revision: i64,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Milliseconds since 1970.
    pub updated_ms: i64,
}

/// What is written of a user.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    /// What one logs in as.
    pub name: &'a str,
    /// Where mail goes.
    pub email: &'a str,
    /// Who may not log in any more.
    pub is_disabled: bool,
}

/// A role that somebody has.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Grant {
    /// The id of the user.
    pub holder: String,
    /// The id of the workspace; empty for all of them.
    pub workspace: String,
    /// The name of the role.
    pub role: String,
}

/// What proves who somebody is. Its texts are hashes and ciphers.
#[derive(Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Proof {
    /// The id of the user.
    pub id: String,
    /// The hash of the password, in the PHC format.
    pub password: Option<String>,
    /// The secret of one-time passwords, encrypted.
    pub totp: Option<Vec<u8>>,
    /// 1 of who may not log in any more.
    pub is_disabled: i64,
}

/// The columns of a user.
macro_rules! columns {
    ($before:literal, $after:literal) => {
        concat!(
            $before,
            " id, name, email, issuer, subject, is_disabled, revision, created_ms, updated_ms ",
            $after
        )
    };
}

impl User {
    fn json(&self) -> String {
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let (id, name, email) = (text(&self.id), text(&self.name), text(&self.email));
        let Self { is_disabled, revision, .. } = self;
        format!(
            r#"{{"id":{id},"name":{name},"email":{email},"is_disabled":{is_disabled},"revision":{revision}}}"#
        )
    }
}

impl Write {
    /// Adds a user, who has no password and no role yet.
    ///
    /// # Errors
    /// [`Error::Taken`] when there is one of this name.
    pub async fn user_create(&mut self, written: Written<'_>) -> Result<User> {
        let id = Id::new(self.clock.wall())?.to_string();
        let statement = sql(columns!(
            "INSERT INTO yett_user (id, name, email, is_disabled, revision, created_ms, updated_ms)
             VALUES ($1, $2, $3, $4, 1, $5, $5) RETURNING",
            ""
        ));
        let statement = statement.bind(id).bind(written.name).bind(written.email);
        let statement = statement.bind(i64::from(written.is_disabled)).bind(self.at_ms);
        let made: User = self.tx.one(statement).await?;
        self.user_note("create", None, Some(&made)).await?;
        Ok(made)
    }

    /// Adds a user whom an issuer knows as this subject.
    ///
    /// # Errors
    /// [`Error::Taken`] when there is one of this name, or of this issuer and subject.
    pub async fn user_create_of(
        &mut self,
        (issuer, subject): (&str, &str),
        written: Written<'_>,
    ) -> Result<User> {
        let made = self.user_create(written).await?;
        let statement = sql(columns!(
            "UPDATE yett_user SET issuer = $2, subject = $3 WHERE id = $1 RETURNING",
            ""
        ));
        let made: User = self.tx.one(statement.bind(&*made.id).bind(issuer).bind(subject)).await?;
        let of = serde_json::json!({ "issuer": issuer, "subject": subject }).to_string();
        self.user_deed("provider", &made.id, None, Some(&of)).await?;
        Ok(made)
    }

    /// Changes a user who has this revision. Whoever is disabled loses all logins.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Changed`] with the revision it has, or [`Error::Taken`].
    pub async fn user_update(
        &mut self,
        id: &str,
        revision: i64,
        written: Written<'_>,
    ) -> Result<User> {
        let was = self.user_lock(id, revision).await?;
        let statement = sql(columns!(
            "UPDATE yett_user SET name = $2, email = $3, is_disabled = $4, revision = revision + 1, updated_ms = $5
             WHERE id = $1 RETURNING",
            ""
        ));
        let statement = statement.bind(id).bind(written.name).bind(written.email);
        let statement = statement.bind(i64::from(written.is_disabled)).bind(self.at_ms);
        let became: User = self.tx.one(statement).await?;
        if written.is_disabled {
            self.tx.run(sql("DELETE FROM login WHERE holder = $1").bind(id)).await?;
        }
        self.user_note("update", Some(&was), Some(&became)).await?;
        Ok(became)
    }

    /// Takes out a user who has this revision, with all logins and roles.
    ///
    /// # Errors
    /// [`Error::Missing`], or [`Error::Changed`] with the revision it has.
    pub async fn user_delete(&mut self, id: &str, revision: i64) -> Result<()> {
        let was = self.user_lock(id, revision).await?;
        self.tx.run(sql("DELETE FROM yett_user WHERE id = $1").bind(id)).await?;
        self.user_note("delete", Some(&was), None).await
    }

    /// Sets the hash of the password of a user, who loses all logins by that.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is no such user.
    pub async fn user_password_set(&mut self, id: &str, password: Option<&str>) -> Result<()> {
        let statement = sql("UPDATE yett_user SET password = $2, updated_ms = $3 WHERE id = $1");
        let statement = statement.bind(id).bind(password).bind(self.at_ms);
        if self.tx.run(statement).await? == 0 {
            return Err(Error::Missing);
        }
        self.tx.run(sql("DELETE FROM login WHERE holder = $1").bind(id)).await?;
        self.user_deed("password", id, None, None).await
    }

    /// Gives a user a role in a workspace; an empty one stands for all of them.
    ///
    /// # Errors
    /// [`Error::Bound`] when there is no such user.
    pub async fn user_role_add(&mut self, id: &str, workspace: &str, role: &str) -> Result<()> {
        let statement = sql(
            "INSERT INTO role_grant (holder, workspace, role) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        );
        self.tx.run(statement.bind(id).bind(workspace).bind(role)).await?;
        let became = serde_json::json!({ "workspace": workspace, "role": role }).to_string();
        self.user_deed("role_add", id, None, Some(&became)).await
    }

    /// Takes a role from a user.
    ///
    /// # Errors
    /// When the database cannot be written to.
    pub async fn user_role_remove(&mut self, id: &str, workspace: &str, role: &str) -> Result<()> {
        let statement =
            sql("DELETE FROM role_grant WHERE holder = $1 AND workspace = $2 AND role = $3");
        self.tx.run(statement.bind(id).bind(workspace).bind(role)).await?;
        let was = serde_json::json!({ "workspace": workspace, "role": role }).to_string();
        self.user_deed("role_remove", id, Some(&was), None).await
    }

    /// Whether somebody has this role in all workspaces and may log in. Of two who take it away at once, one waits.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn user_has_owner(&mut self, role: &str) -> Result<bool> {
        let statement = sql("UPDATE role_grant SET role = role WHERE workspace = '' AND role = $1
                 AND holder IN (SELECT id FROM yett_user WHERE is_disabled = 0)");
        Ok(self.tx.run(statement.bind(role)).await? > 0)
    }

    /// The user, whom nobody else can change until the end of this transaction.
    async fn user_lock(&mut self, id: &str, revision: i64) -> Result<User> {
        let statement = sql(columns!("UPDATE yett_user SET id = id WHERE id = $1 RETURNING", ""));
        let found: User = self.tx.one(statement.bind(id)).await?;
        if found.revision == revision { Ok(found) } else { Err(Error::Changed(found.revision)) }
    }

    async fn user_note(
        &mut self,
        action: &'static str,
        was: Option<&User>,
        became: Option<&User>,
    ) -> Result<()> {
        let subject = was.or(became).map(|user| user.id.clone()).unwrap_or_default();
        let (was, became) = (was.map(User::json), became.map(User::json));
        self.user_deed(action, &subject, was.as_deref(), became.as_deref()).await
    }

    async fn user_deed(
        &mut self,
        action: &'static str,
        subject: &str,
        was: Option<&str>,
        became: Option<&str>,
    ) -> Result<()> {
        self.note(&Deed { workspace: None, action, noun: "user", subject, was, became }).await
    }
}

impl Store {
    /// One user.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is none of this id.
    pub async fn user_get(&self, id: &str) -> Result<User> {
        self.pool.one(sql(columns!("SELECT", "FROM yett_user WHERE id = $1")).bind(id)).await
    }

    /// The user of a name.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is none.
    pub async fn user_find(&self, name: &str) -> Result<User> {
        self.pool.one(sql(columns!("SELECT", "FROM yett_user WHERE name = $1")).bind(name)).await
    }

    /// The user whom an issuer knows as this subject.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn user_of(&self, issuer: &str, subject: &str) -> Result<Option<User>> {
        let statement =
            sql(columns!("SELECT", "FROM yett_user WHERE issuer = $1 AND subject = $2"));
        Ok(self.pool.all(statement.bind(issuer).bind(subject)).await?.pop())
    }

    /// Users by name, from the first after `after`, at most `limit`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn user_list(&self, after: &str, limit: i64) -> Result<Vec<User>> {
        let statement =
            sql(columns!("SELECT", "FROM yett_user WHERE name > $1 ORDER BY name LIMIT $2"));
        self.pool.all(statement.bind(after).bind(limit)).await
    }

    /// Users by name that are looked for, from the first after `after`, at most `limit`. Searched are names and addresses.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn user_page(
        &self,
        filter: &Filter<'_>,
        after: After<'_>,
        limit: i64,
    ) -> Result<Vec<User>> {
        let statement = sql(columns!(
            "SELECT",
            "FROM yett_user WHERE name > $1 AND ($2 = '' OR lower(name || ' ' || email) LIKE $2 ESCAPE '\\')
                 AND ($3 = '' OR name LIKE $3 ESCAPE '\\')
             ORDER BY name LIMIT $4"
        ));
        let statement = statement.bind(after.name).bind(filter.search_pattern());
        self.pool.all(statement.bind(filter.prefix_pattern()).bind(limit)).await
    }

    /// What proves who the user of a name is; none if there is no such user.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn user_proof(&self, name: &str) -> Result<Option<Proof>> {
        let statement =
            sql("SELECT id, password, totp, is_disabled FROM yett_user WHERE name = $1");
        Ok(self.pool.all(statement.bind(name)).await?.pop())
    }

    /// Which roles a user has.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn user_roles(&self, id: &str) -> Result<Vec<Grant>> {
        let statement = sql(
            "SELECT holder, workspace, role FROM role_grant WHERE holder = $1 ORDER BY workspace, role",
        );
        self.pool.all(statement.bind(id)).await
    }

    /// Whether anybody has ever logged in. Sessions end, but the trail tells of them.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn has_logins(&self) -> Result<bool> {
        let statement =
            sql("SELECT id FROM audit WHERE noun = 'session' AND action = 'create' LIMIT 1");
        Ok(!self.pool.all::<(i64,)>(statement).await?.is_empty())
    }

    /// Whether there is any user yet.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn has_users(&self) -> Result<bool> {
        let (count,): (i64,) = self.pool.one(sql("SELECT COUNT(*) FROM yett_user")).await?;
        Ok(count > 0)
    }
}
