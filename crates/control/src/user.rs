//! Users: people who use the console and the admin API, and the roles they have.

use crate::page::{Ask, Page, place};
use crate::permission::{self, Permission, Verb};
use crate::role::must_have;
use crate::{Caller, Code, Control, Problem, name, problem};
use base::Secret;
use store::Write;
use store::user::{Grant, User, Written};

const NOUN: &str = "user";
/// Who comes first.
const FIRST: &str = "admin";

/// Whether somebody may do everything, and log in.
async fn has_owner(write: &mut Write) -> Result<bool, Problem> {
    write.user_has_owner("owner").await.map_err(problem::of(NOUN))
}

impl Control {
    /// Makes the first user, an owner of everything, and the link by which they log in once. As long as nobody has logged in
    /// there is another link each time; nothing afterwards.
    ///
    /// # Errors
    /// When the database cannot be written to.
    pub async fn first_user(&self) -> Result<Option<Secret>, Problem> {
        let told = problem::of(NOUN);
        if self.store.has_logins().await.map_err(&told)? {
            return Ok(None);
        }
        let system = Caller::system("first run");
        if !self.store.has_users().await.map_err(&told)? {
            let mut write = self.write(&system).await?;
            let written = Written { name: FIRST, email: "", is_disabled: false };
            match write.user_create(written).await {
                Ok(made) => {
                    write.user_role_add(&made.id, "", "owner").await.map_err(&told)?;
                    write.commit().await.map_err(&told)?;
                }
                // Another process was quicker.
                Err(store::Error::Taken) => drop(write),
                Err(error) => return Err(told(error)),
            }
        }
        let Some(first) = self.store.user_proof(FIRST).await.map_err(&told)? else {
            return Ok(None);
        };
        self.link_create(&system, &first.id, true).await.map(Some)
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
        let may = self.role_may(role).await?;
        if may.is_empty() {
            return Err(Problem::invalid("/role", format!("there is no role `{role}`")));
        }
        must_have(caller, may.iter().map(|it| &**it), place)?;
        if let Some(place) = place {
            self.store.workspace_get(place).await.map_err(problem::of("workspace"))?;
        }
        let mut write = self.write(caller).await?;
        // A role that is taken out meanwhile is given to nobody.
        if permission::role(role).is_none()
            && write.role_hold(role).await.map_err(problem::of(NOUN))?.is_none()
        {
            return Err(Problem::invalid("/role", format!("there is no role `{role}`")));
        }
        write.user_role_add(id, workspace, role).await.map_err(problem::of(NOUN))?;
        write.commit().await.map_err(problem::of(NOUN))
    }

    /// Takes a role in a workspace from a user; in all where it is empty. Nobody takes what they could not do there
    /// themselves, and one owner of everything remains who can log in.
    ///
    /// # Errors
    /// When it is not allowed, or there is no such user.
    pub async fn user_role_remove(
        &self,
        caller: &Caller,
        id: &str,
        workspace: &str,
        role: &str,
    ) -> Result<(), Problem> {
        let place = Some(workspace).filter(|it| !it.is_empty());
        caller.must(Permission::new(NOUN, Verb::Update), place)?;
        let may = self.role_may(role).await?;
        must_have(caller, may.iter().map(|it| &**it), place)?;
        self.store.user_get(id).await.map_err(problem::of(NOUN))?;
        let mut write = self.write(caller).await?;
        let had = has_owner(&mut write).await?;
        write.user_role_remove(id, workspace, role).await.map_err(problem::of(NOUN))?;
        self.keep_an_owner(&mut write, had).await?;
        write.commit().await.map_err(problem::of(NOUN))
    }

    /// Which roles a user has: in one workspace, in all without one. Everybody sees their own.
    ///
    /// # Errors
    /// When it is not allowed, or there is no such user.
    pub async fn user_roles(
        &self,
        caller: &Caller,
        id: &str,
        workspace: Option<&str>,
    ) -> Result<Vec<Grant>, Problem> {
        if id != caller.user || caller.is_narrow() {
            caller.must(Permission::new(NOUN, Verb::Read), workspace)?;
        }
        let found = self.store.user_roles(id).await.map_err(problem::of(NOUN))?;
        let is_asked = |it: &Grant| workspace.is_none_or(|place| it.workspace == place);
        Ok(found.into_iter().filter(is_asked).collect())
    }

    /// One user.
    ///
    /// # Errors
    /// When it is not allowed, or not there.
    pub async fn user_get(&self, caller: &Caller, id: &str) -> Result<User, Problem> {
        if id != caller.user {
            caller.must(Permission::new(NOUN, Verb::Read), None)?;
        }
        self.store.user_get(id).await.map_err(problem::of(NOUN))
    }

    /// Changes a user who has this revision. Whoever is disabled is logged out everywhere, and cannot log in.
    ///
    /// # Errors
    /// When it is not allowed, the user may more than the caller, is not there, or was changed meanwhile.
    pub async fn user_update(
        &self,
        caller: &Caller,
        (id, revision): (&str, i64),
        written: Written<'_>,
    ) -> Result<User, Problem> {
        caller.must(Permission::new(NOUN, Verb::Update), None)?;
        name::check("/name", written.name)?;
        name::title("/email", written.email)?;
        self.must_exceed(caller, id).await?;
        let mut write = self.write(caller).await?;
        let had = has_owner(&mut write).await?;
        let became = write.user_update(id, revision, written).await.map_err(problem::of(NOUN))?;
        self.keep_an_owner(&mut write, had).await?;
        write.commit().await.map_err(problem::of(NOUN))?;
        Ok(became)
    }

    /// Takes out a user who has this revision, with all logins and roles.
    ///
    /// # Errors
    /// When it is not allowed, the user may more than the caller, is not there, or was changed meanwhile.
    pub async fn user_delete(
        &self,
        caller: &Caller,
        (id, revision): (&str, i64),
    ) -> Result<(), Problem> {
        caller.must(Permission::new(NOUN, Verb::Delete), None)?;
        self.must_exceed(caller, id).await?;
        let mut write = self.write(caller).await?;
        let had = has_owner(&mut write).await?;
        write.user_delete(id, revision).await.map_err(problem::of(NOUN))?;
        self.keep_an_owner(&mut write, had).await?;
        write.commit().await.map_err(problem::of(NOUN))
    }

    /// Makes a link by which a user who has lost the password logs in once; it works for an hour. Who has a second factor
    /// shows it all the same.
    ///
    /// # Errors
    /// When it is not allowed, the user may more than the caller, or is not there.
    pub async fn user_link_create(&self, caller: &Caller, id: &str) -> Result<Secret, Problem> {
        caller.must(Permission::new(NOUN, Verb::Update), None)?;
        self.must_exceed(caller, id).await?;
        self.link_create(caller, id, false).await
    }

    /// Makes a link for somebody who has lost every other way in, by whoever has the host, and so the database: nobody is asked
    /// for permission. It works for an hour, and asks for no second factor.
    ///
    /// # Errors
    /// When there is no such user, or the user may not log in.
    pub async fn user_link_of_host(&self, caller: &Caller, name: &str) -> Result<Secret, Problem> {
        let found = self.store.user_find(name).await.map_err(problem::of(NOUN))?;
        if found.is_disabled != 0 {
            return Err(Problem::new(Code::Conflict, "this user is disabled, and may not log in"));
        }
        self.link_create(caller, &found.id, true).await
    }

    /// Asks a user who has lost the app and its codes for no second factor any more.
    ///
    /// # Errors
    /// When it is not allowed, the user may more than the caller, or has none.
    pub async fn user_second_factor_delete(
        &self,
        caller: &Caller,
        id: &str,
    ) -> Result<(), Problem> {
        caller.must(Permission::new(NOUN, Verb::Update), None)?;
        self.must_exceed(caller, id).await?;
        let told = problem::of("second factor");
        let mut write = self.write(caller).await?;
        write.second_factor_delete(id).await.map_err(&told)?;
        write.commit().await.map_err(&told)
    }

    /// Refuses what would be done to somebody who may more than the caller: they could become them by it.
    async fn must_exceed(&self, caller: &Caller, id: &str) -> Result<(), Problem> {
        for grant in self.store.user_roles(id).await.map_err(problem::of(NOUN))? {
            let may = self.role_may(&grant.role).await?;
            let place = Some(&*grant.workspace).filter(|it| !it.is_empty());
            must_have(caller, may.iter().map(|it| &**it), place)?;
        }
        Ok(())
    }

    /// Refuses what would leave nobody who may do everything.
    pub(crate) async fn keep_an_owner(&self, write: &mut Write, had: bool) -> Result<(), Problem> {
        if !had || has_owner(write).await? {
            return Ok(());
        }
        let why = "nobody would be left who may do everything; make somebody else an owner first";
        Err(Problem::new(Code::Bound, why))
    }

    /// Users by name that are looked for. Searched are names and addresses.
    ///
    /// # Errors
    /// When it is not allowed, what is asked makes no sense, or the database cannot be read.
    pub async fn user_page(&self, caller: &Caller, ask: &Ask<'_>) -> Result<Page<User>, Problem> {
        caller.must(Permission::new(NOUN, Verb::Read), None)?;
        let (after, limit, filter) = (ask.after()?, ask.limit()?, ask.filter()?);
        let found = self.store.user_page(&filter, place(&after), limit + 1).await;
        Ok(Page::new(found.map_err(problem::of(NOUN))?, limit, |it| (&it.name, &it.id)))
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
