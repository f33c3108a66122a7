//! Secrets of a workspace, which its config names as `${secret:NAME}`. They are written and never read: only gateways
//! learn what they are.

use crate::page::{Ask, Page, place};
use crate::permission::{Permission, Verb};
use crate::{Caller, Code, Control, Problem, name, problem};
use base::Secret as Text;
use base::caps::SECRET_VALUE_BYTES_MAX;
use serde::Serialize;
use serde_json::Value;
use store::envelope::of_secret;

const NOUN: &str = "secret";
/// How much is encrypted with another master key in one transaction.
const STEP: i64 = 100;

/// A secret, without its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Secret {
    /// Its id.
    pub id: String,
    /// What configs call it.
    pub name: String,
    /// How often it was changed, from 1.
    pub revision: i64,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// When its value was set last, in milliseconds since 1970.
    pub updated_ms: i64,
}

impl From<store::secret::Secret> for Secret {
    fn from(kept: store::secret::Secret) -> Self {
        let store::secret::Secret { id, name, revision, created_ms, updated_ms, .. } = kept;
        Self { id, name, revision, created_ms, updated_ms }
    }
}

fn check(value: &Text) -> Result<(), Problem> {
    let length = value.reveal().len();
    if (1..=SECRET_VALUE_BYTES_MAX).contains(&length) {
        return Ok(());
    }
    let wanted = format!("a secret has 1 to {SECRET_VALUE_BYTES_MAX} bytes");
    Err(Problem::invalid("/value", wanted))
}

/// Refuses what holds a private key as a plain text: configs are shown, and kept as they are written.
///
/// # Errors
/// With the place of it.
pub(crate) fn must_be_named(pointer: &str, value: &Value) -> Result<(), Problem> {
    match value {
        Value::String(text) if text.contains("PRIVATE KEY-----") => Err(Problem::invalid(
            pointer,
            "a private key would be shown to all who may read this; keep it as a secret and name it: `${secret:NAME}`",
        )),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(at, item)| must_be_named(&format!("{pointer}/{at}"), item)),
        Value::Object(fields) => fields.iter().try_for_each(|(name, field)| {
            let name = name.replace('~', "~0").replace('/', "~1");
            must_be_named(&format!("{pointer}/{name}"), field)
        }),
        _ => Ok(()),
    }
}

impl Control {
    /// Adds a secret to a workspace.
    ///
    /// # Errors
    /// When it is not allowed, there is one of this name, there are too many, or name or value will not do.
    pub async fn secret_create(
        &self,
        caller: &Caller,
        (workspace, name): (&str, &str),
        value: Text,
    ) -> Result<Secret, Problem> {
        caller.must(Permission::new(NOUN, Verb::Create), Some(workspace))?;
        let name = name::check("/name", name)?;
        check(&value)?;
        let sealed = self.seal(&of_secret(workspace, name), &value)?;
        let mut write = self.write(caller).await?;
        let made = write.secret_create((workspace, name), &sealed).await;
        let made = made.map_err(problem::of(NOUN))?;
        write.commit().await.map_err(problem::of(NOUN))?;
        Ok(made.into())
    }

    /// Gives a secret that has this revision another value. Gateways take it up at once.
    ///
    /// # Errors
    /// When it is not allowed, is not there, was changed meanwhile, or the value will not do.
    pub async fn secret_update(
        &self,
        caller: &Caller,
        (workspace, id): (&str, &str),
        revision: i64,
        value: Text,
    ) -> Result<Secret, Problem> {
        caller.must(Permission::new(NOUN, Verb::Update), Some(workspace))?;
        check(&value)?;
        let found = self.store.secret_get(workspace, id).await.map_err(problem::of(NOUN))?;
        let sealed = self.seal(&of_secret(workspace, &found.name), &value)?;
        let mut write = self.write(caller).await?;
        let became = write.secret_update((workspace, id), revision, &sealed).await;
        let became = became.map_err(problem::of(NOUN))?;
        write.commit().await.map_err(problem::of(NOUN))?;
        Ok(became.into())
    }

    /// Takes out a secret that has this revision, if neither the draft nor the newest revision of its workspace names it.
    ///
    /// # Errors
    /// When it is not allowed, is not there, was changed meanwhile, or is named.
    pub async fn secret_delete(
        &self,
        caller: &Caller,
        (workspace, id): (&str, &str),
        revision: i64,
    ) -> Result<(), Problem> {
        caller.must(Permission::new(NOUN, Verb::Delete), Some(workspace))?;
        let of = problem::of;
        let found = self.store.secret_get(workspace, id).await.map_err(of(NOUN))?;
        let named = format!("${{secret:{}}}", found.name);
        let draft = self.store.draft(workspace).await.map_err(of(NOUN))?;
        if let Some(object) = draft.iter().find(|object| object.body.contains(&named)) {
            let why = format!("the {} `{}` names it", object.kind, object.name);
            return Err(Problem::new(Code::Bound, why));
        }
        let last = self.store.revision_last(workspace).await.map_err(of(NOUN))?;
        if last > 0 {
            let newest = self.store.revision_get(workspace, last).await.map_err(of(NOUN))?;
            if newest.config.contains(&named) {
                let why = format!("revision {last} names it; publish one that does not, first");
                return Err(Problem::new(Code::Bound, why));
            }
        }
        let mut write = self.write(caller).await?;
        write.secret_delete((workspace, id), revision).await.map_err(of(NOUN))?;
        write.commit().await.map_err(of(NOUN))
    }

    /// One secret, without its value.
    ///
    /// # Errors
    /// When it is not allowed, or not there.
    pub async fn secret_get(
        &self,
        caller: &Caller,
        (workspace, id): (&str, &str),
    ) -> Result<Secret, Problem> {
        caller.must(Permission::new(NOUN, Verb::Read), Some(workspace))?;
        let found = self.store.secret_get(workspace, id).await;
        found.map(Secret::from).map_err(problem::of(NOUN))
    }

    /// The secret of a name, without its value.
    ///
    /// # Errors
    /// When it is not allowed, or not there.
    pub async fn secret_find(
        &self,
        caller: &Caller,
        (workspace, name): (&str, &str),
    ) -> Result<Secret, Problem> {
        caller.must(Permission::new(NOUN, Verb::Read), Some(workspace))?;
        let found = self.store.secret_find(workspace, name).await;
        found.map(Secret::from).map_err(problem::of(NOUN))
    }

    /// Secrets of a workspace by name, without their values.
    ///
    /// # Errors
    /// When it is not allowed, what is asked makes no sense, or the database cannot be read.
    pub async fn secret_list(
        &self,
        caller: &Caller,
        workspace: &str,
        ask: &Ask<'_>,
    ) -> Result<Page<Secret>, Problem> {
        caller.must(Permission::new(NOUN, Verb::Read), Some(workspace))?;
        let (after, limit) = (ask.after()?, ask.limit()?);
        let found =
            self.store.secret_list(workspace, &ask.filter()?, place(&after), limit + 1).await;
        let found = found.map_err(problem::of(NOUN))?.into_iter().map(Secret::from);
        Ok(Page::new(found.collect(), limit, |it| (&it.name, &it.id)))
    }

    /// The secrets of a workspace by name, with their values. This is for the gateway of the same process: nothing asks for
    /// a permission, and no operation of the admin API may hand out what it gives.
    ///
    /// # Errors
    /// When the database cannot be read, or one does not open.
    pub async fn secret_values(&self, workspace: &str) -> Result<Vec<(String, Text)>, Problem> {
        let values = self.store.secret_values(workspace).await.map_err(problem::of(NOUN))?;
        let open = |(name, sealed): (String, _)| {
            let value = self.open(&of_secret(workspace, &name), &sealed)?;
            Ok((name, value))
        };
        values.into_iter().map(open).collect()
    }

    /// Encrypts what was encrypted with older master keys with the newest one; how much. Other processes that use the
    /// database must have that key by then.
    ///
    /// # Errors
    /// When it is not allowed, something does not open, or the database cannot be written to. What was done stays done.
    pub async fn secret_rewrap(&self, caller: &Caller) -> Result<u64, Problem> {
        caller.must(Permission::new("setting", Verb::Update), None)?;
        let keys = self.keys()?;
        let mut count = 0;
        loop {
            let closed = self.store.closed_before(keys.newest(), STEP).await;
            let closed = closed.map_err(problem::of(NOUN))?;
            if closed.is_empty() {
                return Ok(count);
            }
            let mut write = self.write(caller).await?;
            for it in &closed {
                let sealed = keys.rewrap(&it.of, &it.sealed).map_err(problem::of(NOUN))?;
                let is_kept = write.rewrap(it, &sealed).await.map_err(problem::of(NOUN))?;
                count += u64::from(is_kept);
            }
            let about = serde_json::json!({ "master_key": keys.newest(), "count": closed.len() });
            let noted = write.database_note("rewrap", &about.to_string()).await;
            noted.map_err(problem::of(NOUN))?;
            write.commit().await.map_err(problem::of(NOUN))?;
        }
    }
}
