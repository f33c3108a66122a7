//! Users: people who use the console and the admin API, and the roles they have.

use crate::permission::{self, Permission, Verb};
use crate::{Caller, Code, Control, Problem, name, problem};
use base::Secret;
use store::user::{User, Written};

const NOUN: &str = "user";

impl Control {
    /// Makes the first user, an owner of everything, and the link by which they log in once; nothing if there is
    /// somebody already.
    ///
    /// # Errors
    /// When the database cannot be written to.
    pub async fn first_user(&self) -> Result<Option<Secret>, Problem> {
        if self.store.has_users().await.map_err(problem::of(NOUN))? {
            return Ok(None);
        }
        let system = Caller::system("first run");
        let mut write = self.write(&system).await?;
        let written = Written { name: "admin", email: "", is_disabled: false };
        let made = write.user_create(written).await.map_err(problem::of(NOUN))?;
        write.user_role_add(&made.id, "", "owner").await.map_err(problem::of(NOUN))?;
        write.commit().await.map_err(problem::of(NOUN))?;
        self.link_create(&system, &made.id).await.map(Some)
    }

    /// Adds a user, who has no role yet.
    ///
    /// # Errors
    /// When it is not allowed, there is one of this name, or name or password will not do.
    pub async fn user_create(
        &self,
        caller: &Caller,
        name: &str,
        email: &str,
        password: Option<Secret>,
    ) -> Result<User, Problem> {
        caller.must(Permission::new(NOUN, Verb::Create), None)?;
        let name = name::check("/name", name)?;
        let hash = match password {
            Some(password) => Some(self.attempts.hash(password).await?),
            None => None,
        };
        let mut write = self.write(caller).await?;
        let written = Written { name, email, is_disabled: false };
        let made = write.user_create(written).await.map_err(problem::of(NOUN))?;
        if let Some(hash) = &hash {
            write.user_password_set(&made.id, Some(hash)).await.map_err(problem::of(NOUN))?;
        }
        write.commit().await.map_err(problem::of(NOUN))?;
        Ok(made)
    }

    /// Gives a user a role in a workspace; in all where it is empty. Nobody gives what they could not do there themselves.
    ///
    /// # Errors
    /// When it is not allowed, or there is no such user, role or workspace.
    pub async fn user_role_add(
        &self,
        caller: &Caller,
        id: &str,
        workspace: &str,
        role: &str,
    ) -> Result<(), Problem> {
        let place = Some(workspace).filter(|it| !it.is_empty());
        caller.must(Permission::new(NOUN, Verb::Update), place)?;
        let Some(role) = permission::role(role) else {
            return Err(Problem::invalid("/role", format!("there is no role `{role}`")));
        };
        let exceeds = permission::NOUNS
            .iter()
            .flat_map(|noun| Verb::ALL.map(|verb| Permission::new(noun, verb)));
        let exceeds = exceeds
            .filter(|it| role.may.iter().any(|pattern| it.is_in(pattern)))
            .any(|it| !caller.may(it, place));
        if exceeds {
            return Err(Problem::new(
                Code::Forbidden,
                "this role may do more than you may yourself",
            ));
        }
        if let Some(place) = place {
            self.store.workspace_get(place).await.map_err(problem::of("workspace"))?;
        }
        let mut write = self.write(caller).await?;
        write.user_role_add(id, workspace, role.name).await.map_err(problem::of(NOUN))?;
        write.commit().await.map_err(problem::of(NOUN))
    }

    /// Users by name, from the first after `after`, at most `limit`.
    ///
    /// # Errors
    /// When it is not allowed, or the database cannot be read.
    pub async fn user_list(
        &self,
        caller: &Caller,
        after: &str,
        limit: i64,
    ) -> Result<Vec<User>, Problem> {
        caller.must(Permission::new(NOUN, Verb::Read), None)?;
        self.store.user_list(after, limit).await.map_err(problem::of(NOUN))
    }
}
