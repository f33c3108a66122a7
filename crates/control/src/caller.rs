use crate::permission::{NOUNS, Permission, Verb};
use crate::{Code, Problem};
use store::audit::Actor;

/// Who asks, and what they may do.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The id of the user.
    pub user: String,
    /// What the audit trail calls them.
    pub name: String,
    /// Where the request came from.
    pub address: Option<String>,
    /// The id of the request.
    pub request: Option<String>,
    /// Workspaces, empty for all, with a pattern of permissions there.
    grants: Vec<(String, Box<str>)>,
    /// Whether this is the session of somebody who has logged in.
    pub(crate) is_person: bool,
    /// What the token was made for; everything where nothing is said.
    scopes: Option<Vec<Box<str>>>,
}

impl Caller {
    /// Somebody who has nothing yet.
    pub(crate) fn new(user: &str, name: &str) -> Self {
        Self {
            user: user.to_owned(),
            name: name.to_owned(),
            address: None,
            request: None,
            grants: Vec::new(),
            scopes: None,
            is_person: false,
        }
    }

    /// Somebody who has not logged in.
    #[must_use]
    pub fn nobody() -> Self {
        Self::new("", "nobody")
    }

    /// With what is allowed in a workspace; in all where it is empty.
    pub(crate) fn grant<'a>(&mut self, workspace: &str, may: impl IntoIterator<Item = &'a str>) {
        self.grants.extend(may.into_iter().map(|pattern| (workspace.to_owned(), pattern.into())));
    }

    /// Never more than these.
    pub(crate) fn narrow(&mut self, scopes: Vec<Box<str>>) {
        self.scopes = Some(scopes);
    }

    /// Refuses tokens and parts of the program.
    pub(crate) fn must_be_person(&self) -> Result<(), Problem> {
        let why = "only people do this, for themselves: log in, a token will not do";
        if self.is_person { Ok(()) } else { Err(Problem::new(Code::Forbidden, why)) }
    }

    /// Whether this is a token that may do less than its user.
    pub(crate) const fn is_narrow(&self) -> bool {
        self.scopes.is_some()
    }

    /// Whether a token with these scopes may do no more than what the caller has shown: who has scopes gives none away.
    pub(crate) fn may_pass_on(&self, scopes: &[&str]) -> bool {
        let Some(own) = &self.scopes else { return true };
        let all = NOUNS.iter().flat_map(|noun| Verb::ALL.map(|verb| Permission::new(noun, verb)));
        let is_new =
            |it: &Permission| scopes.is_empty() || scopes.iter().any(|scope| it.is_in(scope));
        all.filter(is_new).all(|it| own.iter().any(|scope| it.is_in(scope)))
    }

    /// A part of the program, which may do everything.
    #[must_use]
    pub fn system(name: &str) -> Self {
        let mut caller = Self::new("", &format!("system:{name}"));
        caller.grant("", ["*:*"]);
        caller
    }

    /// Whether this is allowed in a workspace; without one, in all of them.
    #[must_use]
    pub fn may(&self, permission: Permission, workspace: Option<&str>) -> bool {
        let is_granted = self.grants.iter().any(|(place, pattern)| {
            (place.is_empty() || workspace == Some(place)) && permission.is_in(pattern)
        });
        let is_in_scope = |scopes: &Vec<Box<str>>| scopes.iter().any(|it| permission.is_in(it));
        is_granted && self.scopes.as_ref().is_none_or(is_in_scope)
    }

    /// Refuses what is not allowed. A workspace in which the caller may do nothing does not exist for them.
    ///
    /// # Errors
    /// [`Code::Forbidden`], or [`Code::NotFound`] for such a workspace.
    pub fn must(&self, permission: Permission, workspace: Option<&str>) -> Result<(), Problem> {
        if self.may(permission, workspace) {
            return Ok(());
        }
        if workspace.is_some_and(|workspace| !self.knows(workspace)) {
            return Err(Problem::missing("workspace"));
        }
        let Permission { noun, verb } = permission;
        let needed = format!("this needs the permission {noun}:{}", verb.name());
        Err(Problem::new(Code::Forbidden, needed))
    }

    /// Whether the caller may do anything at all in a workspace.
    pub(crate) fn knows(&self, workspace: &str) -> bool {
        self.grants.iter().any(|(it, _)| it.is_empty() || it == workspace)
    }

    /// Refuses what is allowed nowhere.
    pub(crate) fn must_anywhere(&self, permission: Permission) -> Result<(), Problem> {
        if self.grants.iter().any(|(place, _)| self.may(permission, Some(place))) {
            return Ok(());
        }
        self.must(permission, None)
    }

    /// As the audit trail knows them.
    pub(crate) fn actor(&self) -> Actor {
        let Self { name, address, request, .. } = self.clone();
        Actor { name, address, request }
    }
}
