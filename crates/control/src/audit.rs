//! The audit trail, for who may look into it.

use crate::page::{Ask, Page};
use crate::permission::{Permission, Verb};
use crate::{Caller, Control, Problem, problem};
use base::Moment;
use serde::Serialize;
use serde_json::Value;
use std::time::{Duration, SystemTime};
pub use store::audit::{Entry, Flaw};
use store::audit::{Order, Sought};

const NOUN: &str = "audit";

/// What is looked for. What is empty narrows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Narrowed<'a> {
    /// Who did it.
    pub actor: &'a str,
    /// To which kind of thing.
    pub noun: &'a str,
    /// To what: an id.
    pub subject: &'a str,
    /// Not before, in milliseconds since 1970.
    pub from_ms: Option<i64>,
    /// Before, in milliseconds since 1970.
    pub until_ms: Option<i64>,
}

/// A row of the trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// In the order in which they were written, with gaps.
    pub id: i64,
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// The id of the workspace; none of what belongs to none.
    pub workspace: Option<String>,
    /// Who did it.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To which kind of thing.
    pub noun: String,
    /// To what: an id.
    pub subject: String,
    /// What was there before, with secrets masked.
    pub was: Option<Value>,
    /// What is there since.
    pub became: Option<Value>,
    /// Where the request came from.
    pub address: Option<String>,
    /// The id of the request.
    pub request: Option<String>,
    /// Its place in the chain of seals; none until it is sealed.
    pub sequence: Option<i64>,
}

impl From<Entry> for Row {
    fn from(kept: Entry) -> Self {
        let value = |text: Option<String>| text.and_then(|text| serde_json::from_str(&text).ok());
        let Entry { id, at_ms, workspace, actor, action, noun, subject, sequence, .. } = kept;
        let (was, became) = (value(kept.was), value(kept.became));
        let (address, request) = (kept.address, kept.request);
        Self {
            id,
            at_ms,
            workspace,
            actor,
            action,
            noun,
            subject,
            was,
            became,
            address,
            request,
            sequence,
        }
    }
}

fn sought<'a>(workspace: Option<&'a str>, narrowed: &Narrowed<'a>) -> Sought<'a> {
    let Narrowed { actor, noun, subject, from_ms, until_ms } = *narrowed;
    Sought { workspace: workspace.unwrap_or_default(), actor, noun, subject, from_ms, until_ms }
}

/// A time as RFC 3339 writes it.
fn written(at_ms: i64) -> Option<String> {
    let since = Duration::from_millis(u64::try_from(at_ms).ok()?);
    Moment::of(SystemTime::UNIX_EPOCH.checked_add(since)?).map(|moment| moment.to_string())
}

impl Control {
    /// The trail of a workspace, or of all and of what belongs to none, newest first.
    ///
    /// # Errors
    /// When it is not allowed, what is asked makes no sense, or the database cannot be read.
    pub async fn audit_list(
        &self,
        caller: &Caller,
        workspace: Option<&str>,
        narrowed: &Narrowed<'_>,
        ask: &Ask<'_>,
    ) -> Result<Page<Row>, Problem> {
        caller.must(Permission::new(NOUN, Verb::Read), workspace)?;
        let ((_, after), limit) = (ask.after()?, ask.limit()?);
        let after = after.parse().unwrap_or(i64::MAX);
        let sought = sought(workspace, narrowed);
        let found = self.store.audit_find(&sought, Order::Newest, after, limit + 1).await;
        let found: Vec<(String, Row)> = found
            .map_err(problem::of(NOUN))?
            .into_iter()
            .map(|entry| (entry.id.to_string(), Row::from(entry)))
            .collect();
        Ok(Page::new(found, limit, |(id, _)| ("", id)).map(|(_, row)| row))
    }

    /// The trail as JSON lines, oldest first: those after the row with the id `after`, at most `limit`, and the id of
    /// the last; nothing when there are no more. What was there before and after is as it was kept, and each line has
    /// its seal, so that who keeps the lines can verify them elsewhere.
    ///
    /// # Errors
    /// When it is not allowed, or the database cannot be read.
    pub async fn audit_export(
        &self,
        caller: &Caller,
        workspace: Option<&str>,
        narrowed: &Narrowed<'_>,
        (after, limit): (i64, i64),
    ) -> Result<Option<(String, i64)>, Problem> {
        caller.must(Permission::new(NOUN, Verb::Read), workspace)?;
        let sought = sought(workspace, narrowed);
        let found = self.store.audit_find(&sought, Order::Oldest, after, limit).await;
        let found = found.map_err(problem::of(NOUN))?;
        let Some(last) = found.last().map(|entry| entry.id) else { return Ok(None) };
        let lines = found.into_iter().map(|entry| {
            let seal = entry.seal.as_ref().map(|seal| {
                seal.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
            });
            let line = serde_json::json!({
                "id": entry.id, "at": written(entry.at_ms), "at_ms": entry.at_ms, "workspace": entry.workspace,
                "actor": entry.actor, "action": entry.action, "noun": entry.noun, "subject": entry.subject,
                "was": entry.was, "became": entry.became, "address": entry.address, "request": entry.request,
                "sequence": entry.sequence, "seal": seal,
            });
            format!("{line}\n")
        });
        Ok(Some((lines.collect(), last)))
    }

    /// Looks through all that is sealed: how many rows that is, or the first thing that is wrong.
    ///
    /// # Errors
    /// When it is not allowed, or the database cannot be read.
    pub async fn audit_verify(&self, caller: &Caller) -> Result<Result<i64, Flaw>, Problem> {
        caller.must(Permission::new(NOUN, Verb::Read), None)?;
        self.store.audit_verify().await.map_err(problem::of(NOUN))
    }
}
