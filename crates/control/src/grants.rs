//! What the platform delegates to workspaces: hosts and paths, listeners, and whether their targets may lead inward.

use crate::permission::{Permission, Verb};
use crate::{Caller, Code, Control, Problem, problem};
use base::caps::WORKSPACE_HOSTS_MAX;
use model::join::Grants;
use store::workspace::{Workspace, Written};

const NOUN: &str = "workspace";
/// Workspaces that are read at once.
const PAGE: i64 = 200;

/// What was written of a workspace.
fn read(workspace: &Workspace) -> Result<Grants, Problem> {
    serde_json::from_str(&workspace.grants).map_err(|why| Problem {
        cause: Some(format!("the grants of workspace {}: {why}", workspace.name)),
        ..Problem::new(Code::StoreCorrupt, "the database holds something unexpected")
    })
}

impl Control {
    /// What is delegated to the workspace of a name, and the revision of the workspace.
    ///
    /// # Errors
    /// When it is not allowed everywhere, or there is no such workspace.
    pub async fn grants_get(
        &self,
        caller: &Caller,
        name: &str,
    ) -> Result<(Grants, Workspace), Problem> {
        caller.must(Permission::new(NOUN, Verb::Read), None)?;
        let found = self.store.workspace_find(name).await.map_err(problem::of(NOUN))?;
        Ok((read(&found)?, found))
    }

    /// Says what is delegated to the workspace of a name, which has this revision. It takes the right to change workspaces
    /// everywhere: none delegates anything to itself. What its routes no longer may take is served no more.
    ///
    /// # Errors
    /// When it is not allowed, is not there or was changed meanwhile, a host will not do, or another workspace has it.
    pub async fn grants_update(
        &self,
        caller: &Caller,
        (name, revision): (&str, i64),
        grants: &Grants,
    ) -> Result<Workspace, Problem> {
        caller.must(Permission::new(NOUN, Verb::Update), None)?;
        if grants.hosts.len().max(grants.listeners.len()) > WORKSPACE_HOSTS_MAX {
            let message = format!("{WORKSPACE_HOSTS_MAX} may be delegated at most");
            return Err(Problem::invalid("/hosts", message));
        }
        grants.validate().map_err(|(at, why)| Problem::invalid(&format!("/hosts/{at}"), why))?;
        let found = self.store.workspace_find(name).await.map_err(problem::of(NOUN))?;
        self.must_be_free(&found.id, grants).await?;
        let text = serde_json::to_string(grants)
            .map_err(|why| Problem::new(Code::Internal, why.to_string()))?;
        let written = Written { name: &found.name, title: &found.title, grants: &text };
        let mut write = self.write(caller).await?;
        let became = write.workspace_update(&found.id, revision, written).await;
        let became = became.map_err(problem::of(NOUN))?;
        write.commit().await.map_err(problem::of(NOUN))?;
        Ok(became)
    }

    /// Refuses what is delegated to another workspace.
    async fn must_be_free(&self, id: &str, grants: &Grants) -> Result<(), Problem> {
        let mut after = String::new();
        loop {
            let page = self.store.workspace_list(&after, PAGE).await.map_err(problem::of(NOUN))?;
            let Some(last) = page.last() else { return Ok(()) };
            after.clone_from(&last.name);
            for other in page.iter().filter(|other| other.id != id) {
                let theirs = read(other)?;
                if let Some(host) = grants.overlap(&theirs) {
                    let at = grants.hosts.iter().position(|it| it == host).unwrap_or_default();
                    let message = format!("`{host}` meets what is delegated to `{}`", other.name);
                    return Err(Problem::invalid(&format!("/hosts/{at}"), message));
                }
            }
        }
    }
}
