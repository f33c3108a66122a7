//! Objects: the parts of a draft, such as an upstream, an API or one of its routes. They are checked as a whole when they
//! are published; here only what could not be kept is refused.

use crate::page::{Ask, Page, place};
use crate::permission::{OBJECTS, Permission, Verb};
use crate::secret::must_be_named;
use crate::{Caller, Control, Problem, name, problem};
use serde_json::Value;
use store::object::{Object, Place, Written};

/// Bytes of one object.
const BODY_MAX: usize = 1 << 20;

/// What is sent of an object.
#[derive(Clone, Debug)]
pub struct Sent<'a> {
    /// What it is called.
    pub name: &'a str,
    /// Where it stands among its kind, if the order counts.
    pub position: i64,
    /// What it says.
    pub body: &'a Value,
}

/// The name of a kind, from the table.
fn kind(kind: &str) -> Result<&'static str, Problem> {
    OBJECTS.iter().find(|known| **known == kind).copied().ok_or_else(|| Problem::missing("kind"))
}

/// Whose part a kind may be.
fn owners(kind: &str) -> &'static [&'static str] {
    match kind {
        "route" => &["api"],
        "policy" => &["", "api", "route"],
        _ => &[""],
    }
}

fn text(body: &Value) -> Result<String, Problem> {
    must_be_named("/body", body)?;
    let text = body.to_string();
    if text.len() > BODY_MAX {
        return Err(Problem::invalid("/body", "it is larger than 1 MiB"));
    }
    Ok(text)
}

impl Control {
    /// Adds a part to the draft of a workspace.
    ///
    /// # Errors
    /// When it is not allowed, there is one of this name, or it cannot be a part of `owner`.
    pub async fn object_create(
        &self,
        caller: &Caller,
        (workspace, noun, owner): (&str, &str, &str),
        sent: Sent<'_>,
    ) -> Result<Object, Problem> {
        let kind = kind(noun)?;
        caller.must(Permission::new(kind, Verb::Create), Some(workspace))?;
        let body = text(sent.body)?;
        self.owner(workspace, kind, owner).await?;
        let written = Written {
            name: name::check("/name", sent.name)?,
            position: sent.position,
            body: &body,
        };
        let mut write = self.write(caller).await?;
        let place = Place { workspace, kind, owner };
        let made = write.object_create(place, written).await.map_err(problem::of(kind))?;
        write.commit().await.map_err(problem::of(kind))?;
        Ok(made)
    }

    /// Refuses a part of nothing.
    async fn owner(&self, workspace: &str, kind: &str, owner: &str) -> Result<(), Problem> {
        let owners = owners(kind);
        if owner.is_empty() && owners.contains(&"") {
            return Ok(());
        }
        for of in owners.iter().filter(|of| !of.is_empty()) {
            match self.store.object_get(workspace, of, owner).await {
                Ok(_) => return Ok(()),
                Err(store::Error::Missing) => {}
                Err(error) => return Err(problem::of(of)(error)),
            }
        }
        Err(Problem::invalid("/owner", format!("a {kind} is part of {}", owners.join(" or "))))
    }

    /// Changes a part that has this revision.
    ///
    /// # Errors
    /// When it is not allowed, is not there, or was changed meanwhile.
    pub async fn object_update(
        &self,
        caller: &Caller,
        (workspace, noun, id): (&str, &str, &str),
        revision: i64,
        sent: Sent<'_>,
    ) -> Result<Object, Problem> {
        let kind = kind(noun)?;
        caller.must(Permission::new(kind, Verb::Update), Some(workspace))?;
        let body = text(sent.body)?;
        let written = Written {
            name: name::check("/name", sent.name)?,
            position: sent.position,
            body: &body,
        };
        let mut write = self.write(caller).await?;
        let became = write.object_update((workspace, kind, id), revision, written).await;
        let became = became.map_err(problem::of(kind))?;
        write.commit().await.map_err(problem::of(kind))?;
        Ok(became)
    }

    /// Takes out a part that has this revision, with all that is part of it.
    ///
    /// # Errors
    /// When it is not allowed, is not there, or was changed meanwhile.
    pub async fn object_delete(
        &self,
        caller: &Caller,
        (workspace, noun, id): (&str, &str, &str),
        revision: i64,
    ) -> Result<(), Problem> {
        let kind = kind(noun)?;
        caller.must(Permission::new(kind, Verb::Delete), Some(workspace))?;
        let mut write = self.write(caller).await?;
        write.object_delete((workspace, kind, id), revision).await.map_err(problem::of(kind))?;
        write.commit().await.map_err(problem::of(kind))
    }

    /// One part of a draft.
    ///
    /// # Errors
    /// When it is not allowed, or not there.
    pub async fn object_get(
        &self,
        caller: &Caller,
        (workspace, noun, id): (&str, &str, &str),
    ) -> Result<Object, Problem> {
        let kind = kind(noun)?;
        caller.must(Permission::new(kind, Verb::Read), Some(workspace))?;
        self.store.object_get(workspace, kind, id).await.map_err(problem::of(kind))
    }

    /// Parts of a kind and owner by name that are looked for. Searched are names.
    ///
    /// # Errors
    /// When it is not allowed, what is asked makes no sense, or the database cannot be read.
    pub async fn object_page(
        &self,
        caller: &Caller,
        (workspace, noun, owner): (&str, &str, &str),
        ask: &Ask<'_>,
    ) -> Result<Page<Object>, Problem> {
        let kind = kind(noun)?;
        caller.must(Permission::new(kind, Verb::Read), Some(workspace))?;
        let (after, limit, filter) = (ask.after()?, ask.limit()?, ask.filter()?);
        let of = Place { workspace, kind, owner };
        let found = self.store.object_page(of, &filter, place(&after), limit + 1).await;
        let found = found.map_err(problem::of(kind))?;
        Ok(Page::new(found, limit, |it| (&it.name, &it.id)))
    }

    /// Parts of a kind and owner by name, from the first after `after`, at most `limit`.
    ///
    /// # Errors
    /// When it is not allowed, or the database cannot be read.
    pub async fn object_list(
        &self,
        caller: &Caller,
        (workspace, noun, owner): (&str, &str, &str),
        after: &str,
        limit: i64,
    ) -> Result<Vec<Object>, Problem> {
        let kind = kind(noun)?;
        caller.must(Permission::new(kind, Verb::Read), Some(workspace))?;
        let place = Place { workspace, kind, owner };
        self.store.object_list(place, after, limit).await.map_err(problem::of(kind))
    }
}
