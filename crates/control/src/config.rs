//! Whole configs: the draft of a workspace as one document, and documents that become drafts. Files and the database are two
//! views of one model; what was written is compared part by part, so that applying the same again changes nothing.

use crate::permission::{Permission, Verb};
use crate::secret::must_be_named;
use crate::{Caller, Code, Control, Finding, Problem, problem};
use diff::{Delta, Diff, diff};
use model::effective;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use store::Id;
use store::object::{Change as Kept, Object};
use store::revision::Revision;

/// Configs and objects.
mod parts;
/// What has to be done to objects.
mod diff;

pub use parts::{Part, assemble, split};

const NOUN: &str = "revision";
/// How often to begin again where somebody else changes the draft meanwhile.
const ATTEMPTS: usize = 4;

/// How a config is applied.
#[derive(Clone, Copy, Debug, Default)]
pub struct Apply<'a> {
    /// Whether what the config lacks is taken out of the draft.
    pub prune: bool,
    /// The last revision that its author knows of; any where nothing is said.
    pub base_revision: Option<i64>,
    /// Why, for those who read the revisions.
    pub note: &'a str,
    /// Whether the draft is published.
    pub publish: bool,
    /// Whether it is only said what would change.
    pub dry_run: bool,
    /// Whether it is said what that means as well.
    pub diff: bool,
}

/// What becomes of one part.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// `create`, `update`, `delete`, or `keep` for what the config lacks and the draft has.
    pub action: &'static str,
    /// What it is, such as `route`.
    pub kind: &'static str,
    /// What it is called, behind the name of whose part it is: `orders/get-id`.
    pub name: String,
    /// Where it stands: a pointer into the config that was sent, or, of what that lacks, into the draft.
    pub pointer: String,
    /// What was written before, without parts of its own.
    pub was: Option<Value>,
    /// What is written since.
    pub became: Option<Value>,
}

/// What came of applying a config, or would.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// What was changed in the draft. Of what was deleted only the outermost parts are told.
    pub changes: Vec<Change>,
    /// What the draft has and the config lacks: the outermost parts.
    pub drift: Vec<Change>,
    /// What is wrong; only where it is only said what would change.
    pub errors: Vec<Finding>,
    /// What its author should know.
    pub warnings: Vec<Finding>,
    /// The last revision before.
    pub last: i64,
    /// Whether the draft says another config than the last revision, so that publishing makes a new one.
    pub is_new: bool,
    /// The revision that was made.
    pub revision: Option<i64>,
    /// What would change in what the last revision comes to; only if that was asked for and can be told.
    pub diff: Option<effective::Diff>,
}

/// What an attempt came to.
enum Outcome {
    Done(Applied),
    /// Somebody else changed the draft meanwhile.
    Again,
}

impl Control {
    /// The draft of a workspace, or one of its revisions, as a config.
    ///
    /// # Errors
    /// When it is not allowed or not there.
    pub async fn config_get(
        &self,
        caller: &Caller,
        workspace: &str,
        revision: Option<i64>,
    ) -> Result<Value, Problem> {
        caller.must(Permission::new(NOUN, Verb::Read), Some(workspace))?;
        let Some(number) = revision else {
            let draft = self.store.draft(workspace).await.map_err(problem::of(NOUN))?;
            return Ok(assemble(&draft));
        };
        let found = self.store.revision_get(workspace, number).await.map_err(problem::of(NOUN))?;
        read(&found)
    }

    /// What applying a config would change, and what is wrong with what would come of it.
    ///
    /// # Errors
    /// When it is not allowed, or the config cannot be kept at all.
    pub async fn config_plan(
        &self,
        caller: &Caller,
        workspace: &str,
        config: &Value,
        prune: bool,
    ) -> Result<Applied, Problem> {
        let apply = Apply { prune, dry_run: true, ..Apply::default() };
        self.config_apply(caller, workspace, config, apply).await
    }

    /// Makes a config the draft of a workspace, and publishes it if that is wanted: all of it or nothing. Objects are
    /// created, changed and, with `prune`, deleted as far as they differ. Applying it twice changes nothing.
    ///
    /// # Errors
    /// When a permission for any of the changes is missing, when the last revision is not `base_revision`, or when it is
    /// to be published and something is wrong with it.
    pub async fn config_apply(
        &self,
        caller: &Caller,
        workspace: &str,
        config: &Value,
        apply: Apply<'_>,
    ) -> Result<Applied, Problem> {
        caller.must(Permission::new(NOUN, Verb::Read), Some(workspace))?;
        let parts = split(config).map_err(|findings| {
            let detail = "this config cannot be taken; nothing was changed";
            Problem { findings, ..Problem::new(Code::Invalid, detail) }
        })?;
        must_be_named("", config)?;
        for _ in 0..ATTEMPTS {
            match self.attempt(caller, workspace, &parts, apply).await? {
                Outcome::Done(applied) => return Ok(applied),
                Outcome::Again => {}
            }
        }
        Err(Problem::new(Code::Changed, "somebody else is changing this draft; try again"))
    }

    async fn attempt(
        &self,
        caller: &Caller,
        workspace: &str,
        parts: &[Part],
        apply: Apply<'_>,
    ) -> Result<Outcome, Problem> {
        let store = &self.store;
        let last = store.revision_last(workspace).await.map_err(problem::of(NOUN))?;
        if let Some(base) = apply.base_revision.filter(|base| *base != last) {
            let detail = format!(
                "revision {last} is the last one, and not {base} any more; look at what has changed, then apply again"
            );
            return Err(Problem { revision: Some(last), ..Problem::new(Code::Changed, detail) });
        }
        let draft = store.draft(workspace).await.map_err(problem::of(NOUN))?;
        let (wall, at_ms) = self.now();
        let found = diff(&draft, parts, (workspace, at_ms), apply.prune, || Id::new(wall));
        let found = found.map_err(problem::of(NOUN))?;
        allowed(caller, workspace, &found.deltas)?;
        let whole = parts::whole(&found.after);
        let published = match last {
            0 => Value::Null,
            _ => read(&store.revision_get(workspace, last).await.map_err(problem::of(NOUN))?)?,
        };
        let is_new = whole.config != published;
        let (changes, drift) = told(&draft, &found);
        let mut applied = Applied { changes, drift, last, is_new, ..Applied::default() };
        if found.deltas.is_empty() && !is_new {
            return Ok(Outcome::Done(applied));
        }
        let config = whole.config.to_string();
        let checked = self.checked(workspace, &config).await?;
        let pointers = Pointers::new(&whole.pointers, &found.pointers);
        applied.warnings = pointers.all(checked.warnings);
        applied.errors = pointers.all(checked.errors);
        if apply.diff && applied.errors.is_empty() {
            let before = published_or_none(&published).to_string();
            applied.diff = self.difference(workspace, &before, &config).await?;
        }
        if apply.dry_run {
            return Ok(Outcome::Done(applied));
        }
        if apply.publish && is_new {
            caller.must(Permission::new(NOUN, Verb::Create), Some(workspace))?;
            if !applied.errors.is_empty() {
                let count = applied.errors.len();
                let detail = format!("the config has {count} errors; nothing was changed");
                let findings = applied.errors;
                return Err(Problem { findings, ..Problem::new(Code::Invalid, detail) });
            }
        }
        self.keep(caller, (workspace, &draft), &found, (applied, &config), apply).await
    }

    /// Writes what has to be done, unless the draft is another by now.
    async fn keep(
        &self,
        caller: &Caller,
        (workspace, draft): (&str, &[Object]),
        found: &Diff,
        (mut applied, config): (Applied, &str),
        apply: Apply<'_>,
    ) -> Result<Outcome, Problem> {
        let mut write = self.write(caller).await?;
        let kept: Vec<Kept<'_>> = found.deltas.iter().map(Delta::kept).collect();
        let now = write.draft_versions(workspace).await.map_err(problem::of(NOUN))?;
        let mut known: Vec<(String, i64)> =
            draft.iter().map(|it| (it.id.clone(), it.revision)).collect();
        known.sort();
        if now != known {
            return Ok(Outcome::Again);
        }
        if !kept.is_empty() {
            match write.objects_change(workspace, &kept).await {
                Err(store::Error::Changed(_) | store::Error::Taken) => return Ok(Outcome::Again),
                kept => kept.map_err(problem::of("workspace"))?,
            }
        }
        if apply.publish && applied.is_new {
            let made = write.revision_create(workspace, applied.last, config, apply.note, None);
            match made.await {
                Ok(made) => applied.revision = Some(made.number),
                Err(store::Error::Changed(_)) => return Ok(Outcome::Again),
                Err(error) => return Err(problem::of(NOUN)(error)),
            }
        }
        write.commit().await.map_err(problem::of(NOUN))?;
        Ok(Outcome::Done(applied))
    }
}

/// What is published, or a config that says nothing.
fn published_or_none(published: &Value) -> Value {
    if published.is_null() { assemble(&[]) } else { published.clone() }
}

/// The config of a revision.
fn read(revision: &Revision) -> Result<Value, Problem> {
    serde_json::from_str(&revision.config).map_err(|error| Problem {
        cause: Some(error.to_string()),
        ..Problem::new(
            Code::StoreCorrupt,
            "the database holds something unexpected; the log says what",
        )
    })
}

/// Asks for every permission that the changes need.
fn allowed(caller: &Caller, workspace: &str, deltas: &[Delta]) -> Result<(), Problem> {
    let mut asked: Vec<(&str, Verb)> = Vec::new();
    for delta in deltas {
        let verb = match delta {
            Delta::Create(_) => Verb::Create,
            Delta::Update(..) => Verb::Update,
            Delta::Delete(_) => Verb::Delete,
        };
        let needed = (parts::kind(&delta.object().kind), verb);
        if !asked.contains(&needed) {
            caller.must(parts::permission(needed.0, verb), Some(workspace))?;
            asked.push(needed);
        }
    }
    Ok(())
}

impl Delta {
    const fn object(&self) -> &Object {
        match self {
            Self::Create(object) | Self::Update(_, object) | Self::Delete(object) => object,
        }
    }

    const fn kept(&self) -> Kept<'_> {
        match self {
            Self::Create(object) => Kept::Create(object),
            Self::Update(was, became) => Kept::Update(was, became),
            Self::Delete(object) => Kept::Delete(object),
        }
    }
}

/// What is told of the changes, and of what stays though the config lacks it.
fn told(draft: &[Object], found: &Diff) -> (Vec<Change>, Vec<Change>) {
    let all: HashMap<&str, &Object> =
        draft.iter().chain(&found.after).map(|it| (&*it.id, it)).collect();
    let before = parts::whole(draft).pointers;
    let change = |action, object: &Object, was: Option<&Object>, became: Option<&Object>| {
        let body = |it: &Object| serde_json::from_str(&it.body).unwrap_or_default();
        let pointer = found.pointers.get(&object.id).or_else(|| before.get(&object.id));
        Change {
            action,
            kind: parts::kind(&object.kind),
            name: name(object, &all),
            pointer: pointer.cloned().unwrap_or_default(),
            was: was.map(body),
            became: became.map(body),
        }
    };
    let deleted = found.deltas.iter().filter(|delta| matches!(delta, Delta::Delete(_)));
    let gone: HashSet<&str> = deleted.map(|delta| &*delta.object().id).collect();
    let stays: HashSet<&str> = found.drift.iter().map(|it| &*it.id).collect();
    let changes = found.deltas.iter().filter_map(|delta| match delta {
        Delta::Create(it) => Some(change("create", it, None, Some(it))),
        Delta::Update(was, it) => Some(change("update", it, Some(was), Some(it))),
        Delta::Delete(it) if gone.contains(&*it.owner) => None,
        Delta::Delete(it) => Some(change("delete", it, Some(it), None)),
    });
    let drift = found.drift.iter().filter(|it| !stays.contains(&*it.owner));
    (changes.collect(), drift.map(|it| change("keep", it, Some(it), Some(it))).collect())
}

/// What an object is called, behind the names of whose part it is.
fn name(object: &Object, all: &HashMap<&str, &Object>) -> String {
    match all.get(&*object.owner) {
        Some(owner) => format!("{}/{}", name(owner, all), object.name),
        None => object.name.clone(),
    }
}

/// From where something stands in the draft to where it stood in what was sent.
struct Pointers<'a>(HashMap<&'a str, &'a str>);

impl<'a> Pointers<'a> {
    fn new(draft: &'a HashMap<String, String>, sent: &'a HashMap<String, String>) -> Self {
        let pair = |(id, pointer): (&'a String, &'a String)| Some((&**pointer, &**sent.get(id)?));
        Self(draft.iter().filter_map(pair).collect())
    }

    fn all(&self, findings: Vec<Finding>) -> Vec<Finding> {
        findings.into_iter().map(|it| Finding { pointer: self.one(&it.pointer), ..it }).collect()
    }

    fn one(&self, pointer: &str) -> String {
        let mut head = pointer;
        loop {
            if let (Some(sent), Some(rest)) = (self.0.get(head), pointer.strip_prefix(head)) {
                return format!("{sent}{rest}");
            }
            match head.rsplit_once('/') {
                Some((shorter, _)) => head = shorter,
                None => return pointer.to_owned(),
            }
        }
    }
}
