//! Applications: programs of a consumer, each with credentials of its own.

use crate::consumer::groups;
use crate::page::{Ask, Page, place};
use crate::permission::{Permission, Verb};
use crate::{Caller, Control, Problem, name, problem};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use store::application::Written;

const NOUN: &str = "application";

/// An application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Application {
    /// Its id.
    pub id: String,
    /// The id of its consumer.
    pub consumer: String,
    /// The name of its consumer; only where applications of many are told.
    pub owner: Option<String>,
    /// What its consumer calls it.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// The plan by which it uses APIs; its consumer's when there is none here.
    pub plan: Option<String>,
    /// The only roles that it makes use of, of all that its consumer has; all of them when there are none here.
    pub roles: Option<Vec<String>>,
    /// Whether its credentials are not accepted for the time being.
    pub is_suspended: bool,
    /// How often it was changed, from 1.
    pub revision: i64,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Milliseconds since 1970.
    pub updated_ms: i64,
}

/// What is sent of an application.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent<'a> {
    /// What its consumer calls it.
    pub name: &'a str,
    /// What people call it.
    pub title: &'a str,
    /// The plan by which it uses APIs, if it is another than its consumer's.
    pub plan: Option<&'a str>,
    /// The only roles that it makes use of.
    pub roles: Option<&'a [String]>,
    /// Whether its credentials are not accepted for the time being.
    pub is_suspended: bool,
}

/// What is kept of an application as JSON.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Body {
    pub(crate) roles: Option<Vec<String>>,
}

impl From<store::application::Application> for Application {
    fn from(kept: store::application::Application) -> Self {
        let store::application::Application { id, consumer, name, title, plan, revision, .. } =
            kept;
        // It was JSON when it was kept.
        let Body { roles } = serde_json::from_str(&kept.body).unwrap_or_default();
        let (is_suspended, created_ms) = (kept.is_suspended != 0, kept.created_ms);
        let updated_ms = kept.updated_ms;
        Self {
            id,
            consumer,
            owner: None,
            name,
            title,
            plan,
            roles,
            is_suspended,
            revision,
            created_ms,
            updated_ms,
        }
    }
}

fn check<'a>(sent: Sent<'a>, body: &'a mut String) -> Result<Written<'a>, Problem> {
    let Sent { name, title, plan, roles, is_suspended } = sent;
    name::check("/name", name)?;
    name::title("/title", title)?;
    if let Some(plan) = plan {
        name::check("/plan", plan)?;
    }
    groups("/roles", roles.unwrap_or_default())?;
    *body = serde_json::json!({ "roles": roles }).to_string();
    Ok(Written { name, title, plan, is_suspended, body })
}

impl Control {
    /// Adds an application to a consumer.
    ///
    /// # Errors
    /// When it is not allowed, the consumer is not there or has one of this name or too many, or something of it will not
    /// do.
    pub async fn application_create(
        &self,
        caller: &Caller,
        (workspace, consumer): (&str, &str),
        sent: Sent<'_>,
    ) -> Result<Application, Problem> {
        caller.must(Permission::new(NOUN, Verb::Create), Some(workspace))?;
        let mut body = String::new();
        let written = check(sent, &mut body)?;
        let mut write = self.write(caller).await?;
        let made = write.application_create((workspace, consumer), written).await;
        let made = made.map_err(problem::part_of("consumer", NOUN))?;
        write.commit().await.map_err(problem::of(NOUN))?;
        Ok(made.into())
    }

    /// Changes an application that has this revision. Gateways know within a second.
    ///
    /// # Errors
    /// When it is not allowed, is not there, was changed meanwhile, or something of it will not do.
    pub async fn application_update(
        &self,
        caller: &Caller,
        (workspace, id): (&str, &str),
        revision: i64,
        sent: Sent<'_>,
    ) -> Result<Application, Problem> {
        caller.must(Permission::new(NOUN, Verb::Update), Some(workspace))?;
        let mut body = String::new();
        let written = check(sent, &mut body)?;
        let mut write = self.write(caller).await?;
        let became = write.application_update((workspace, id), revision, written).await;
        let became = became.map_err(problem::of(NOUN))?;
        write.commit().await.map_err(problem::of(NOUN))?;
        Ok(became.into())
    }

    /// Takes out an application that has this revision, with its credentials.
    ///
    /// # Errors
    /// When it is not allowed, is not there, or was changed meanwhile.
    pub async fn application_delete(
        &self,
        caller: &Caller,
        (workspace, id): (&str, &str),
        revision: i64,
    ) -> Result<(), Problem> {
        caller.must(Permission::new(NOUN, Verb::Delete), Some(workspace))?;
        let mut write = self.write(caller).await?;
        write.application_delete((workspace, id), revision).await.map_err(problem::of(NOUN))?;
        write.commit().await.map_err(problem::of(NOUN))
    }

    /// One application.
    ///
    /// # Errors
    /// When it is not allowed, or not there.
    pub async fn application_get(
        &self,
        caller: &Caller,
        (workspace, id): (&str, &str),
    ) -> Result<Application, Problem> {
        caller.must(Permission::new(NOUN, Verb::Read), Some(workspace))?;
        let found = self.store.application_get(workspace, id).await;
        found.map(Application::from).map_err(problem::of(NOUN))
    }

    /// The application that a consumer calls so.
    ///
    /// # Errors
    /// When it is not allowed, or not there.
    pub async fn application_find(
        &self,
        caller: &Caller,
        (workspace, consumer): (&str, &str),
        name: &str,
    ) -> Result<Application, Problem> {
        caller.must(Permission::new(NOUN, Verb::Read), Some(workspace))?;
        let found = self.store.application_find((workspace, consumer), name).await;
        found.map(Application::from).map_err(problem::of(NOUN))
    }

    /// Applications of a consumer, or of the whole workspace, by name.
    ///
    /// # Errors
    /// When it is not allowed, what is asked makes no sense, or the database cannot be read.
    pub async fn application_list(
        &self,
        caller: &Caller,
        (workspace, consumer): (&str, Option<&str>),
        ask: &Ask<'_>,
    ) -> Result<Page<Application>, Problem> {
        caller.must(Permission::new(NOUN, Verb::Read), Some(workspace))?;
        let (after, limit, filter) = (ask.after()?, ask.limit()?, ask.filter()?);
        let of = (workspace, consumer);
        let found = self.store.application_list(of, &filter, place(&after), limit + 1).await;
        let found = found.map_err(problem::of(NOUN))?.into_iter().map(Application::from);
        let mut page = Page::new(found.collect(), limit, |it: &Application| (&it.name, &it.id));
        if consumer.is_none() {
            self.name_owners(workspace, &mut page.items).await?;
        }
        Ok(page)
    }

    /// Says whose applications these are.
    async fn name_owners(
        &self,
        workspace: &str,
        applications: &mut [Application],
    ) -> Result<(), Problem> {
        let mut known: HashMap<String, Option<String>> = HashMap::new();
        for application in applications {
            if !known.contains_key(&application.consumer) {
                let name = match self.store.consumer_get(workspace, &application.consumer).await {
                    Ok(owner) => Some(owner.name),
                    // It went meanwhile, with its applications.
                    Err(store::Error::Missing) => None,
                    Err(error) => return Err(problem::of(NOUN)(error)),
                };
                known.insert(application.consumer.clone(), name);
            }
            application.owner = known.get(&application.consumer).cloned().flatten();
        }
        Ok(())
    }
}
