//! Publishing: the draft of a workspace, put together and checked, becomes its next revision.

use crate::permission::{Permission, Verb};
use crate::{Caller, Checked, Code, Control, Problem, problem};
use serde_json::{Map, Value, json};
use store::object::Object;
use store::revision::Revision;

const NOUN: &str = "revision";

/// Where parts of a kind stand in a config.
const SECTIONS: &[(&str, &str)] =
    &[("listener", "listeners"), ("upstream", "upstreams"), ("plan", "plans"), ("api", "apis")];

/// The config that a draft says: the same that files would.
fn config(draft: &[Object]) -> Value {
    let mut config = Map::from_iter([("version".to_owned(), json!(1))]);
    for (kind, section) in SECTIONS {
        let parts: Map<String, Value> = draft
            .iter()
            .filter(|it| it.kind == *kind)
            .map(|it| (it.name.clone(), whole(it, draft)))
            .collect();
        if !parts.is_empty() {
            config.insert((*section).to_owned(), Value::Object(parts));
        }
    }
    let policies = parts_of("", "policy", draft);
    if !policies.is_empty() {
        config.insert("policies".to_owned(), Value::Array(policies));
    }
    Value::Object(config)
}

/// What an object says, with its parts.
fn whole(object: &Object, draft: &[Object]) -> Value {
    // It was JSON when it was kept.
    let mut body: Value = serde_json::from_str(&object.body).unwrap_or_default();
    if let Value::Object(fields) = &mut body {
        for (kind, field) in [("route", "routes"), ("policy", "policies")] {
            let parts = parts_of(&object.id, kind, draft);
            if !parts.is_empty() {
                fields.insert(field.to_owned(), Value::Array(parts));
            }
        }
    }
    body
}

/// The parts of one kind of an owner, in their order.
fn parts_of(owner: &str, kind: &str, draft: &[Object]) -> Vec<Value> {
    let parts = draft.iter().filter(|it| it.kind == kind && it.owner == owner);
    parts.map(|it| whole(it, draft)).collect()
}

impl Control {
    /// What a draft comes to, without publishing it.
    ///
    /// # Errors
    /// When it is not allowed, or the database cannot be read.
    pub async fn draft_check(&self, caller: &Caller, workspace: &str) -> Result<Checked, Problem> {
        caller.must(Permission::new("api", Verb::Read), Some(workspace))?;
        let draft = self.store.draft(workspace).await.map_err(problem::of(NOUN))?;
        Ok((self.check)(&config(&draft).to_string()))
    }

    /// Publishes the draft of a workspace, if `last` is the last revision so far (0: there is none).
    ///
    /// # Errors
    /// When it is not allowed, somebody else has published meanwhile, or something is wrong with the draft: then all of
    /// that is told.
    pub async fn revision_create(
        &self,
        caller: &Caller,
        workspace: &str,
        last: i64,
        note: &str,
    ) -> Result<Revision, Problem> {
        caller.must(Permission::new(NOUN, Verb::Create), Some(workspace))?;
        let draft = self.store.draft(workspace).await.map_err(problem::of(NOUN))?;
        let config = config(&draft).to_string();
        self.publish(caller, (workspace, last), &config, note, None).await
    }

    /// Publishes an earlier revision again, if `last` is the last one so far.
    ///
    /// # Errors
    /// As for a new one; what was good once may refer to what is no longer there.
    pub async fn revision_rollback(
        &self,
        caller: &Caller,
        (workspace, last): (&str, i64),
        number: i64,
        note: &str,
    ) -> Result<Revision, Problem> {
        caller.must(Permission::new(NOUN, Verb::Create), Some(workspace))?;
        let old = self.store.revision_get(workspace, number).await.map_err(problem::of(NOUN))?;
        self.publish(caller, (workspace, last), &old.config, note, Some(number)).await
    }

    async fn publish(
        &self,
        caller: &Caller,
        (workspace, last): (&str, i64),
        config: &str,
        note: &str,
        again: Option<i64>,
    ) -> Result<Revision, Problem> {
        let checked = (self.check)(config);
        if !checked.errors.is_empty() {
            let detail =
                format!("the draft has {} errors; nothing was published", checked.errors.len());
            return Err(Problem {
                findings: checked.errors,
                ..Problem::new(Code::Invalid, detail)
            });
        }
        let mut write = self.write(caller).await?;
        let made = write.revision_create(workspace, last, config, note, again).await;
        let made = made.map_err(problem::of(NOUN))?;
        write.commit().await.map_err(problem::of(NOUN))?;
        Ok(made)
    }
}
