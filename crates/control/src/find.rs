use crate::permission::{Permission, Verb};
use crate::{Caller, Control, Object, Problem, Revision, User, Workspace, problem};
use store::object::Place;

impl Control {
    /// The workspace of a name. One in which the caller may do nothing does not exist for them.
    ///
    /// # Errors
    /// When there is none.
    pub async fn workspace_find(&self, caller: &Caller, name: &str) -> Result<Workspace, Problem> {
        let found = self.store.workspace_find(name).await.map_err(problem::of("workspace"))?;
        if caller.knows(&found.id) { Ok(found) } else { Err(Problem::missing("workspace")) }
    }

    /// The part of a name, for whoever has a permission in its workspace.
    ///
    /// # Errors
    /// When it is not allowed, or there is none of this name, kind and owner.
    pub async fn object_find(
        &self,
        caller: &Caller,
        permission: Permission,
        (workspace, noun, owner): (&str, &'static str, &str),
        name: &str,
    ) -> Result<Object, Problem> {
        caller.must(permission, Some(workspace))?;
        let place = Place { workspace, kind: noun, owner };
        self.store.object_find(place, name).await.map_err(problem::of(noun))
    }

    /// The user of a name, for whoever has a permission in a workspace; in all where none is given.
    ///
    /// # Errors
    /// When it is not allowed, or nobody has this name.
    pub async fn user_find(
        &self,
        caller: &Caller,
        permission: Permission,
        workspace: Option<&str>,
        name: &str,
    ) -> Result<User, Problem> {
        caller.must(permission, workspace)?;
        self.store.user_find(name).await.map_err(problem::of("user"))
    }

    /// One revision, with its config.
    ///
    /// # Errors
    /// When it is not allowed, or not there.
    pub async fn revision_get(
        &self,
        caller: &Caller,
        workspace: &str,
        number: i64,
    ) -> Result<Revision, Problem> {
        caller.must(Permission::new("revision", Verb::Read), Some(workspace))?;
        self.store.revision_get(workspace, number).await.map_err(problem::of("revision"))
    }

    /// Revisions before the one of a number, newest first, at most `limit`, without their configs.
    ///
    /// # Errors
    /// When it is not allowed, or the database cannot be read.
    pub async fn revision_list(
        &self,
        caller: &Caller,
        workspace: &str,
        before: i64,
        limit: i64,
    ) -> Result<Vec<Revision>, Problem> {
        caller.must(Permission::new("revision", Verb::Read), Some(workspace))?;
        let found = self.store.revision_list(workspace, before, limit).await;
        found.map_err(problem::of("revision"))
    }

    /// The number of the last revision; 0 when nothing was published yet.
    ///
    /// # Errors
    /// When it is not allowed, or the database cannot be read.
    pub async fn revision_last(&self, caller: &Caller, workspace: &str) -> Result<i64, Problem> {
        caller.must(Permission::new("revision", Verb::Read), Some(workspace))?;
        self.store.revision_last(workspace).await.map_err(problem::of("revision"))
    }
}
