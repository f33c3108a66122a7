//! Roles: those that come with the program, and those that are made here for the teams of this platform.

use crate::page::{Ask, Page, place};
use crate::permission::{self, NOUNS, Permission, ROLES, Verb};
use crate::{Caller, Code, Control, Problem, name, problem};
use base::caps::ROLE_PATTERNS_MAX;
use serde::Serialize;

const NOUN: &str = "role";

/// A role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Role {
    /// What it is called.
    pub name: String,
    /// Whom it is for.
    pub about: String,
    /// What it may: patterns such as `api:read`, `api:*` and `*:read`.
    pub may: Vec<String>,
    /// Whether it came with the program; such a one never changes.
    pub is_builtin: bool,
    /// How often it was changed, from 1; 0 of those that came with the program.
    pub revision: i64,
}

/// What is sent of a role.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    /// Whom it is for.
    pub about: &'a str,
    /// What it may.
    pub may: &'a [String],
}

impl From<&permission::Role> for Role {
    fn from(known: &permission::Role) -> Self {
        let may = known.may.iter().map(|it| (*it).to_owned()).collect();
        let (name, about) = (known.name.to_owned(), known.about.to_owned());
        Self { name, about, may, is_builtin: true, revision: 0 }
    }
}

impl From<store::role::Role> for Role {
    fn from(kept: store::role::Role) -> Self {
        let store::role::Role { name, about, permissions, revision, .. } = kept;
        // What cannot be read allows nothing.
        let may = serde_json::from_str(&permissions).unwrap_or_default();
        Self { name, about, may, is_builtin: false, revision }
    }
}

/// The JSON that is kept of patterns that speak of what there is.
fn check(sent: Sent<'_>) -> Result<String, Problem> {
    name::title("/about", sent.about)?;
    if sent.may.is_empty() || sent.may.len() > ROLE_PATTERNS_MAX {
        let wanted = format!("a role has 1 to {ROLE_PATTERNS_MAX} permissions");
        return Err(Problem::invalid("/may", wanted));
    }
    let is_known = |pattern: &str| {
        pattern.split_once(':').is_some_and(|(noun, verb)| {
            (noun == "*" || NOUNS.contains(&noun))
                && (verb == "*" || Verb::ALL.iter().any(|it| it.name() == verb))
        })
    };
    if let Some(at) = sent.may.iter().position(|pattern| !is_known(pattern)) {
        let wanted = "a permission is a noun and a verb: `api:update`, `api:*`, `*:read`";
        return Err(Problem::invalid(&format!("/may/{at}"), wanted));
    }
    Ok(serde_json::json!(sent.may).to_string())
}

/// Refuses to give what the caller has not, in a workspace; in all of them without one.
pub(crate) fn must_have<'a>(
    caller: &Caller,
    may: impl Iterator<Item = &'a str>,
    workspace: Option<&str>,
) -> Result<(), Problem> {
    let all = || NOUNS.iter().flat_map(|noun| Verb::ALL.map(|verb| Permission::new(noun, verb)));
    for pattern in may {
        let exceeds = all().filter(|it| it.is_in(pattern)).find(|it| !caller.may(*it, workspace));
        if let Some(Permission { noun, verb }) = exceeds {
            let why =
                format!("this role may do more than you may yourself: {noun}:{}", verb.name());
            return Err(Problem::new(Code::Forbidden, why));
        }
    }
    Ok(())
}

impl Control {
    /// Makes a role. Nobody makes one that may more than they may themselves, in all workspaces.
    ///
    /// # Errors
    /// When it is not allowed, there is one of this name, or it speaks of what there is not.
    pub async fn role_create(
        &self,
        caller: &Caller,
        name: &str,
        sent: Sent<'_>,
    ) -> Result<Role, Problem> {
        caller.must(Permission::new(NOUN, Verb::Create), None)?;
        let name = name::check("/name", name)?;
        let permissions = check(sent)?;
        if permission::role(name).is_some() {
            return Err(Problem::new(Code::Taken, "a role of this name comes with the program"));
        }
        must_have(caller, sent.may.iter().map(|it| &**it), None)?;
        let mut write = self.write(caller).await?;
        let made = write.role_create(name, sent.about, &permissions).await;
        let made = made.map_err(problem::of(NOUN))?;
        write.commit().await.map_err(problem::of(NOUN))?;
        Ok(made.into())
    }

    /// Changes a role that has this revision. Whoever has it may at once what it says from now on.
    ///
    /// # Errors
    /// When it is not allowed, is not there or came with the program, was changed meanwhile, may more than the caller
    /// before or after, or speaks of what there is not.
    pub async fn role_update(
        &self,
        caller: &Caller,
        name: &str,
        revision: i64,
        sent: Sent<'_>,
    ) -> Result<Role, Problem> {
        caller.must(Permission::new(NOUN, Verb::Update), None)?;
        let permissions = check(sent)?;
        let (id, was) = self.role_own(name).await?;
        must_have(caller, was.may.iter().chain(sent.may).map(|it| &**it), None)?;
        let mut write = self.write(caller).await?;
        let became = write.role_update(&id, revision, sent.about, &permissions).await;
        let became = became.map_err(problem::of(NOUN))?;
        write.commit().await.map_err(problem::of(NOUN))?;
        Ok(became.into())
    }

    /// Takes out a role that has this revision and that nobody has.
    ///
    /// # Errors
    /// When it is not allowed, is not there or came with the program, was changed meanwhile, or somebody has it.
    pub async fn role_delete(
        &self,
        caller: &Caller,
        name: &str,
        revision: i64,
    ) -> Result<(), Problem> {
        caller.must(Permission::new(NOUN, Verb::Delete), None)?;
        let (id, _) = self.role_own(name).await?;
        let mut write = self.write(caller).await?;
        write.role_delete(&id, revision).await.map_err(|error| match error {
            store::Error::Bound => {
                Problem::new(Code::Bound, "somebody has this role; take it from them first")
            }
            error => problem::of(NOUN)(error),
        })?;
        write.commit().await.map_err(problem::of(NOUN))
    }

    /// A role that was made here.
    async fn role_own(&self, name: &str) -> Result<(String, Role), Problem> {
        if permission::role(name).is_some() {
            let why = "this role comes with the program and never changes; make another";
            return Err(Problem::new(Code::Forbidden, why));
        }
        let found = self.store.role_find(name).await.map_err(problem::of(NOUN))?;
        Ok((found.id.clone(), found.into()))
    }

    /// One role, also of those that came with the program.
    ///
    /// # Errors
    /// When it is not allowed, or not there.
    pub async fn role_get(&self, caller: &Caller, name: &str) -> Result<Role, Problem> {
        caller.must_anywhere(Permission::new(NOUN, Verb::Read))?;
        match permission::role(name) {
            Some(known) => Ok(known.into()),
            None => self.role_own(name).await.map(|(_, role)| role),
        }
    }

    /// Roles: on the first page those that came with the program, the mightiest first; then those that were made here,
    /// by name.
    ///
    /// # Errors
    /// When it is not allowed, what is asked makes no sense, or the database cannot be read.
    pub async fn role_list(&self, caller: &Caller, ask: &Ask<'_>) -> Result<Page<Role>, Problem> {
        caller.must_anywhere(Permission::new(NOUN, Verb::Read))?;
        let (after, limit, filter) = (ask.after()?, ask.limit()?, ask.filter()?);
        let found = self.store.role_list(&filter, place(&after), limit + 1).await;
        let found = found.map_err(problem::of(NOUN))?.into_iter().map(Role::from);
        let mut page = Page::new(found.collect(), limit, |it: &Role| (&it.name, ""));
        if ask.after.is_empty() {
            let search = filter.search.to_lowercase();
            let is_asked = |it: &&permission::Role| {
                it.name.starts_with(filter.prefix)
                    && (it.name.contains(&search) || it.about.to_lowercase().contains(&search))
            };
            page.items.splice(0..0, ROLES.iter().filter(is_asked).map(Role::from));
        }
        Ok(page)
    }

    /// What a role may; nothing of one that nobody knows.
    pub(crate) async fn role_may(&self, name: &str) -> Result<Vec<String>, Problem> {
        if let Some(known) = permission::role(name) {
            return Ok(Role::from(known).may);
        }
        match self.store.role_find(name).await {
            Ok(found) => Ok(Role::from(found).may),
            Err(store::Error::Missing) => Ok(Vec::new()),
            Err(error) => Err(problem::of(NOUN)(error)),
        }
    }
}
