//! Roles that were made here: named sets of permissions, besides those that come with the program.

use crate::audit::Deed;
use crate::list::{After, Filter};
use crate::sql::sql;
use crate::{Error, Id, Result, Store, Write};

/// A role.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Role {
    /// Its id.
    pub id: String,
    /// What it is called; it never changes.
    pub name: String,
    /// Whom it is for.
    pub about: String,
    /// What it may, as JSON.
    pub permissions: String,
    /// How often it was changed, from 1.
    pub revision: i64,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Milliseconds since 1970.
    pub updated_ms: i64,
}

impl Role {
    fn json(&self) -> String {
        let Self { id, name, about, permissions, revision, .. } = self;
        let may: serde_json::Value = serde_json::from_str(permissions).unwrap_or_default();
        serde_json::json!({ "id": id, "name": name, "about": about, "may": may, "revision": revision })
            .to_string()
    }
}

impl Write {
    /// Adds a role.
    ///
    /// # Errors
    /// [`Error::Taken`] when there is one of this name.
    pub async fn role_create(
        &mut self,
        name: &str,
        about: &str,
        permissions: &str,
    ) -> Result<Role> {
        let id = Id::new(self.clock.wall())?.to_string();
        let statement =
            sql("INSERT INTO role (id, name, about, permissions, revision, created_ms, updated_ms)
             VALUES ($1, $2, $3, $4, 1, $5, $5)
             RETURNING id, name, about, permissions, revision, created_ms, updated_ms");
        let statement = statement.bind(id).bind(name).bind(about).bind(permissions);
        let made: Role = self.tx.one(statement.bind(self.at_ms)).await?;
        self.role_note("create", None, Some(&made)).await?;
        Ok(made)
    }

    /// Changes a role that has this revision. Whoever has it may at once what it says from now on.
    ///
    /// # Errors
    /// [`Error::Missing`], or [`Error::Changed`] with the revision it has.
    pub async fn role_update(
        &mut self,
        id: &str,
        revision: i64,
        about: &str,
        permissions: &str,
    ) -> Result<Role> {
        let was = self.role_lock(id, revision).await?;
        let statement = sql(
            "UPDATE role SET about = $2, permissions = $3, revision = revision + 1, updated_ms = $4
             WHERE id = $1 RETURNING id, name, about, permissions, revision, created_ms, updated_ms",
        );
        let statement = statement.bind(id).bind(about).bind(permissions).bind(self.at_ms);
        let became: Role = self.tx.one(statement).await?;
        self.role_note("update", Some(&was), Some(&became)).await?;
        Ok(became)
    }

    /// Takes out a role that has this revision and that nobody has.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Changed`] with the revision it has, or [`Error::Bound`] when somebody has it.
    pub async fn role_delete(&mut self, id: &str, revision: i64) -> Result<()> {
        let was = self.role_lock(id, revision).await?;
        let held = sql("SELECT COUNT(*) FROM role_grant WHERE role = $1").bind(&*was.name);
        let (held,): (i64,) = self.tx.one(held).await?;
        if held > 0 {
            return Err(Error::Bound);
        }
        self.tx.run(sql("DELETE FROM role WHERE id = $1").bind(id)).await?;
        self.role_note("delete", Some(&was), None).await
    }

    /// The role of a name, which nobody can take out until the end of this transaction; none if there is none.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn role_hold(&mut self, name: &str) -> Result<Option<Role>> {
        let statement = sql("UPDATE role SET id = id WHERE name = $1
             RETURNING id, name, about, permissions, revision, created_ms, updated_ms");
        Ok(self.tx.all(statement.bind(name)).await?.pop())
    }

    /// The role, which nobody else can change until the end of this transaction.
    async fn role_lock(&mut self, id: &str, revision: i64) -> Result<Role> {
        let statement = sql("UPDATE role SET id = id WHERE id = $1
             RETURNING id, name, about, permissions, revision, created_ms, updated_ms");
        let found: Role = self.tx.one(statement.bind(id)).await?;
        if found.revision == revision { Ok(found) } else { Err(Error::Changed(found.revision)) }
    }

    async fn role_note(
        &mut self,
        action: &'static str,
        was: Option<&Role>,
        became: Option<&Role>,
    ) -> Result<()> {
        let subject = was.or(became).map(|role| role.id.clone()).unwrap_or_default();
        let (was, became) = (was.map(Role::json), became.map(Role::json));
        let (was, became) = (was.as_deref(), became.as_deref());
        let deed = Deed { workspace: None, action, noun: "role", subject: &subject, was, became };
        self.note(&deed).await
    }
}

impl Store {
    /// The role of a name.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is none.
    pub async fn role_find(&self, name: &str) -> Result<Role> {
        let statement = sql(
            "SELECT id, name, about, permissions, revision, created_ms, updated_ms FROM role WHERE name = $1",
        );
        self.pool.one(statement.bind(name)).await
    }

    /// Roles by name, from the first after `after`, at most `limit`. Searched are names and whom they are for.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn role_list(
        &self,
        filter: &Filter<'_>,
        after: After<'_>,
        limit: i64,
    ) -> Result<Vec<Role>> {
        let statement =
            sql("SELECT id, name, about, permissions, revision, created_ms, updated_ms FROM role
             WHERE name > $1 AND ($2 = '' OR lower(name || ' ' || about) LIKE $2 ESCAPE '\\')
                 AND ($3 = '' OR name LIKE $3 ESCAPE '\\')
             ORDER BY name LIMIT $4");
        let statement = statement.bind(after.name).bind(filter.search_pattern());
        self.pool.all(statement.bind(filter.prefix_pattern()).bind(limit)).await
    }
}
