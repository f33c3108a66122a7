//! What a change of a config means: which routes appear or vanish, whose authentication, limits, upstream or exposure change.

use crate::config::assemble;
use crate::permission::{Permission, Verb};
use crate::{Asked, Caller, Code, Control, Problem, problem};
use model::effective::{self, Diff, EffectiveConfig};
use std::sync::Arc;

const NOUN: &str = "revision";

impl Control {
    /// What differs in what two revisions of a workspace come to, by now: beside what others have published since. Without a
    /// second one it is the draft; revision 0 says nothing.
    ///
    /// # Errors
    /// When it is not allowed, one of them is not there, or one of them cannot be compiled any more.
    pub async fn revision_diff(
        &self,
        caller: &Caller,
        workspace: &str,
        (from, to): (i64, Option<i64>),
    ) -> Result<Diff, Problem> {
        caller.must(Permission::new(NOUN, Verb::Read), Some(workspace))?;
        let before = self.config_of(workspace, Some(from)).await?;
        let after = self.config_of(workspace, to).await?;
        let found = self.difference(workspace, &before, &after).await?;
        let why = "one of the two cannot be compiled by now, so that nobody can tell what it comes to; `draft_check` tells why for the draft";
        found.ok_or_else(|| Problem::new(Code::Conflict, why))
    }

    /// The config of a revision as text; of the draft where there is no number.
    async fn config_of(&self, workspace: &str, number: Option<i64>) -> Result<String, Problem> {
        let told = problem::of(NOUN);
        match number {
            Some(0) => Ok(assemble(&[]).to_string()),
            Some(number) => {
                Ok(self.store.revision_get(workspace, number).await.map_err(told)?.config)
            }
            None => Ok(assemble(&self.store.draft(workspace).await.map_err(told)?).to_string()),
        }
    }

    /// What differs in what two configs of a workspace come to; nothing where that cannot be told.
    pub(crate) async fn difference(
        &self,
        workspace: &str,
        before: &str,
        after: &str,
    ) -> Result<Option<Diff>, Problem> {
        let Some(before) = self.effect(workspace, before).await? else { return Ok(None) };
        let after = self.effect(workspace, after).await?;
        Ok(after.map(|after| effective::diff(&before, &after)))
    }

    async fn effect(
        &self,
        workspace: &str,
        config: &str,
    ) -> Result<Option<EffectiveConfig>, Problem> {
        let found = self.store.workspace_get(workspace).await.map_err(problem::of("workspace"))?;
        let (effect, config) = (Arc::clone(&self.effect), config.to_owned());
        // Compiling takes its time, which whoever else is served here must not wait for.
        let look =
            move || effect(Asked { workspace: &found.id, name: &found.name, config: &config });
        tokio::task::spawn_blocking(look).await.map_err(|error| Problem {
            cause: Some(error.to_string()),
            ..Problem::new(Code::Internal, "the config could not be compiled; the log says why")
        })
    }
}
