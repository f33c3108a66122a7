//! Workspaces: teams, each with names of its own.

use crate::page::{Ask, Page, place};
use crate::permission::{Permission, Verb};
use crate::{Caller, Control, Problem, name, problem};
use store::workspace::{Workspace, Written};

const NOUN: &str = "workspace";

/// Letters of a title.
const TITLE_MAX: usize = 200;

fn check<'a>(name: &'a str, title: &'a str) -> Result<Written<'a>, Problem> {
    let name = name::check("/name", name)?;
    if title.chars().count() > TITLE_MAX || title.chars().any(char::is_control) {
        return Err(Problem::invalid(
            "/title",
            format!("a title has up to {TITLE_MAX} letters in one line"),
        ));
    }
    Ok(Written { name, title, grants: "{}" })
}

impl Control {
    /// Adds a workspace.
    ///
    /// # Errors
    /// When it is not allowed, there is one of this name, or the name will not do.
    pub async fn workspace_create(
        &self,
        caller: &Caller,
        name: &str,
        title: &str,
    ) -> Result<Workspace, Problem> {
        caller.must(Permission::new(NOUN, Verb::Create), None)?;
        let written = check(name, title)?;
        let mut write = self.write(caller).await?;
        let made = write.workspace_create(written).await.map_err(problem::of(NOUN))?;
        write.commit().await.map_err(problem::of(NOUN))?;
        Ok(made)
    }

    /// Changes a workspace that has this revision.
    ///
    /// # Errors
    /// When it is not allowed, is not there, was changed meanwhile, or the name will not do.
    pub async fn workspace_update(
        &self,
        caller: &Caller,
        (id, revision): (&str, i64),
        name: &str,
        title: &str,
    ) -> Result<Workspace, Problem> {
        caller.must(Permission::new(NOUN, Verb::Update), Some(id))?;
        let known = self.store.workspace_get(id).await.map_err(problem::of(NOUN))?;
        // What is delegated to it stays; if that is changed meanwhile, the revision is another one.
        let written = Written { grants: &known.grants, ..check(name, title)? };
        let mut write = self.write(caller).await?;
        let became =
            write.workspace_update(id, revision, written).await.map_err(problem::of(NOUN))?;
        write.commit().await.map_err(problem::of(NOUN))?;
        Ok(became)
    }

    /// Takes out a workspace that has this revision and holds nothing.
    ///
    /// # Errors
    /// When it is not allowed, is not there, was changed meanwhile, or holds something.
    pub async fn workspace_delete(
        &self,
        caller: &Caller,
        id: &str,
        revision: i64,
    ) -> Result<(), Problem> {
        caller.must(Permission::new(NOUN, Verb::Delete), Some(id))?;
        let mut write = self.write(caller).await?;
        write.workspace_delete(id, revision).await.map_err(problem::of(NOUN))?;
        write.commit().await.map_err(problem::of(NOUN))
    }

    /// One workspace.
    ///
    /// # Errors
    /// When it is not allowed or not there, which are told in the same words.
    pub async fn workspace_get(&self, caller: &Caller, id: &str) -> Result<Workspace, Problem> {
        caller.must(Permission::new(NOUN, Verb::Read), Some(id))?;
        self.store.workspace_get(id).await.map_err(problem::of(NOUN))
    }

    /// The workspaces that the caller may see and that are looked for, by name. Searched are names and titles.
    ///
    /// # Errors
    /// When what is asked makes no sense, or the database cannot be read.
    pub async fn workspace_page(
        &self,
        caller: &Caller,
        ask: &Ask<'_>,
    ) -> Result<Page<Workspace>, Problem> {
        let (mut after, limit, filter) = (ask.after()?, ask.limit()?, ask.filter()?);
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut seen: Vec<Workspace> = Vec::new();
        while seen.len() <= most {
            let found = self.store.workspace_page(&filter, place(&after), limit + 1).await;
            let found = found.map_err(problem::of(NOUN))?;
            let Some(last) = found.last() else { break };
            after = (last.name.clone(), last.id.clone());
            let may = |it: &Workspace| caller.may(Permission::new(NOUN, Verb::Read), Some(&it.id));
            seen.extend(found.into_iter().filter(may));
        }
        Ok(Page::new(seen, limit, |it| (&it.name, &it.id)))
    }

    /// The workspaces that the caller may see, by name, from the first after `after`, at most `limit`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn workspace_list(
        &self,
        caller: &Caller,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Workspace>, Problem> {
        let (mut seen, mut after) = (Vec::new(), after.to_owned());
        let page = i64::try_from(limit).unwrap_or(i64::MAX);
        loop {
            let found = self.store.workspace_list(&after, page).await.map_err(problem::of(NOUN))?;
            let Some(last) = found.last() else { return Ok(seen) };
            after.clone_from(&last.name);
            let may = |it: &Workspace| caller.may(Permission::new(NOUN, Verb::Read), Some(&it.id));
            seen.extend(found.into_iter().filter(may));
            if seen.len() >= limit {
                seen.truncate(limit);
                return Ok(seen);
            }
        }
    }
}
