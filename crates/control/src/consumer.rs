//! Consumers: who calls APIs. What is said of them takes effect at once, without a revision.

use crate::page::{Ask, Page, place};
use crate::permission::{Permission, Verb};
use crate::{Caller, Control, Problem, name, problem};
use base::caps::CONSUMER_GROUPS_MAX;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use store::consumer::Written;

const NOUN: &str = "consumer";

/// Letters of a group or role.
const GROUP_MAX: usize = 128;

/// A consumer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Consumer {
    /// Its id.
    pub id: String,
    /// What it is called in its workspace.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// The plan by which it uses APIs; the default one, if there is one, when there is none here.
    pub plan: Option<String>,
    /// Groups it belongs to, for policies to ask about.
    pub groups: Vec<String>,
    /// What it may do, for `rbac`: names of `roles`.
    pub roles: Vec<String>,
    /// Whether its credentials are not accepted for the time being.
    pub is_suspended: bool,
    /// How often it was changed, from 1.
    pub revision: i64,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Milliseconds since 1970.
    pub updated_ms: i64,
}

/// What is sent of a consumer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent<'a> {
    /// What it is called in its workspace.
    pub name: &'a str,
    /// What people call it.
    pub title: &'a str,
    /// The plan by which it uses APIs.
    pub plan: Option<&'a str>,
    /// Groups it belongs to.
    pub groups: &'a [String],
    /// What it may do, for `rbac`.
    pub roles: &'a [String],
    /// Whether its credentials are not accepted for the time being.
    pub is_suspended: bool,
}

/// What is kept of a consumer as JSON.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Body {
    pub(crate) groups: Vec<String>,
    pub(crate) roles: Vec<String>,
}

impl From<store::consumer::Consumer> for Consumer {
    fn from(kept: store::consumer::Consumer) -> Self {
        let store::consumer::Consumer { id, name, title, plan, revision, .. } = kept;
        // It was JSON when it was kept.
        let Body { groups, roles } = serde_json::from_str(&kept.body).unwrap_or_default();
        let (is_suspended, created_ms) = (kept.is_suspended != 0, kept.created_ms);
        let updated_ms = kept.updated_ms;
        Self {
            id,
            name,
            title,
            plan,
            groups,
            roles,
            is_suspended,
            revision,
            created_ms,
            updated_ms,
        }
    }
}

/// Refuses what could not stand in one line of a log, or in a rule.
pub(crate) fn groups(pointer: &str, groups: &[String]) -> Result<(), Problem> {
    if groups.len() > CONSUMER_GROUPS_MAX {
        return Err(Problem::invalid(pointer, format!("there may be {CONSUMER_GROUPS_MAX}")));
    }
    let is_fine = |group: &String| {
        !group.is_empty()
            && group.chars().count() <= GROUP_MAX
            && !group.chars().any(char::is_control)
    };
    if let Some(at) = groups.iter().position(|group| !is_fine(group)) {
        let wanted = format!("it has 1 to {GROUP_MAX} letters in one line");
        return Err(Problem::invalid(&format!("{pointer}/{at}"), wanted));
    }
    let mut seen = HashSet::new();
    if let Some(at) = groups.iter().position(|group| !seen.insert(group)) {
        return Err(Problem::invalid(&format!("{pointer}/{at}"), "it is there twice"));
    }
    Ok(())
}

fn check<'a>(sent: Sent<'a>, body: &'a mut String) -> Result<Written<'a>, Problem> {
    let Sent { name, title, plan, groups, roles, is_suspended } = sent;
    name::check("/name", name)?;
    name::title("/title", title)?;
    if let Some(plan) = plan {
        name::check("/plan", plan)?;
    }
    self::groups("/groups", groups)?;
    self::groups("/roles", roles)?;
    *body = serde_json::json!({ "groups": groups, "roles": roles }).to_string();
    Ok(Written { name, title, plan, is_suspended, groups, body })
}

impl Control {
    /// Adds a consumer to a workspace.
    ///
    /// # Errors
    /// When it is not allowed, there is one of this name, there are too many, or something of it will not do.
    pub async fn consumer_create(
        &self,
        caller: &Caller,
        workspace: &str,
        sent: Sent<'_>,
    ) -> Result<Consumer, Problem> {
        caller.must(Permission::new(NOUN, Verb::Create), Some(workspace))?;
        let mut body = String::new();
        let written = check(sent, &mut body)?;
        let mut write = self.write(caller).await?;
        let made = write.consumer_create(workspace, written).await.map_err(problem::of(NOUN))?;
        write.commit().await.map_err(problem::of(NOUN))?;
        Ok(made.into())
    }

    /// Changes a consumer that has this revision. Gateways know within a second.
    ///
    /// # Errors
    /// When it is not allowed, is not there, was changed meanwhile, or something of it will not do.
    pub async fn consumer_update(
        &self,
        caller: &Caller,
        (workspace, id): (&str, &str),
        revision: i64,
        sent: Sent<'_>,
    ) -> Result<Consumer, Problem> {
        caller.must(Permission::new(NOUN, Verb::Update), Some(workspace))?;
        let mut body = String::new();
        let written = check(sent, &mut body)?;
        let mut write = self.write(caller).await?;
        let became = write.consumer_update((workspace, id), revision, written).await;
        let became = became.map_err(problem::of(NOUN))?;
        write.commit().await.map_err(problem::of(NOUN))?;
        Ok(became.into())
    }

    /// Takes out a consumer that has this revision, with its applications and credentials.
    ///
    /// # Errors
    /// When it is not allowed, is not there, or was changed meanwhile.
    pub async fn consumer_delete(
        &self,
        caller: &Caller,
        (workspace, id): (&str, &str),
        revision: i64,
    ) -> Result<(), Problem> {
        caller.must(Permission::new(NOUN, Verb::Delete), Some(workspace))?;
        let mut write = self.write(caller).await?;
        write.consumer_delete((workspace, id), revision).await.map_err(problem::of(NOUN))?;
        write.commit().await.map_err(problem::of(NOUN))
    }

    /// One consumer.
    ///
    /// # Errors
    /// When it is not allowed, or not there.
    pub async fn consumer_get(
        &self,
        caller: &Caller,
        (workspace, id): (&str, &str),
    ) -> Result<Consumer, Problem> {
        caller.must(Permission::new(NOUN, Verb::Read), Some(workspace))?;
        let found = self.store.consumer_get(workspace, id).await;
        found.map(Consumer::from).map_err(problem::of(NOUN))
    }

    /// The consumer of a name.
    ///
    /// # Errors
    /// When it is not allowed, or not there.
    pub async fn consumer_find(
        &self,
        caller: &Caller,
        (workspace, name): (&str, &str),
    ) -> Result<Consumer, Problem> {
        caller.must(Permission::new(NOUN, Verb::Read), Some(workspace))?;
        let found = self.store.consumer_find(workspace, name).await;
        found.map(Consumer::from).map_err(problem::of(NOUN))
    }

    /// Consumers of a workspace, by name.
    ///
    /// # Errors
    /// When it is not allowed, what is asked makes no sense, or the database cannot be read.
    pub async fn consumer_list(
        &self,
        caller: &Caller,
        workspace: &str,
        ask: &Ask<'_>,
    ) -> Result<Page<Consumer>, Problem> {
        caller.must(Permission::new(NOUN, Verb::Read), Some(workspace))?;
        let (after, limit) = (ask.after()?, ask.limit()?);
        let found =
            self.store.consumer_list(workspace, &ask.filter()?, place(&after), limit + 1).await;
        let found = found.map_err(problem::of(NOUN))?.into_iter().map(Consumer::from);
        Ok(Page::new(found.collect(), limit, |it| (&it.name, &it.id)))
    }
}
