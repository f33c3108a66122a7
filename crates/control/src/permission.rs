//! What may be done: a verb on a noun, such as `api:update`. Roles are sets of these; a workspace has its own members, and
//! who has a role in no workspace by name has it in all of them.

/// What is done to a noun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Looking at it.
    Read,
    /// Adding one.
    Create,
    /// Changing it.
    Update,
    /// Taking it out.
    Delete,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Read, Self::Create, Self::Update, Self::Delete];

    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// A verb on a noun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission {
    /// Which kind of thing.
    pub noun: &'static str,
    /// What is done to it.
    pub verb: Verb,
}

impl Permission {
    /// A verb on a noun.
    #[must_use]
    pub const fn new(noun: &'static str, verb: Verb) -> Self {
        Self { noun, verb }
    }

    /// Whether a pattern stands for it: `api:read`, `api:*`, `*:read` or `*:*`.
    #[must_use]
    pub fn is_in(self, pattern: &str) -> bool {
        let Some((noun, verb)) = pattern.split_once(':') else { return false };
        (noun == "*" || noun == self.noun) && (verb == "*" || verb == self.verb.name())
    }
}

/// Parts of a config, in the order in which they stand there.
pub const OBJECTS: &[&str] =
    &["listener", "upstream", "certificate", "plan", "api", "route", "policy"];
/// Everything that is kept.
pub const NOUNS: &[&str] = &[
    "workspace",
    "user",
    "role",
    "token",
    "listener",
    "upstream",
    "certificate",
    "secret",
    "api",
    "route",
    "policy",
    "consumer",
    "application",
    "credential",
    "plan",
    "revision",
    "audit",
    "setting",
];

/// A role that comes with the program.
#[derive(Clone, Copy, Debug)]
pub struct Role {
    /// Its name.
    pub name: &'static str,
    /// Whom it is for.
    pub about: &'static str,
    /// What it may: patterns.
    pub may: &'static [&'static str],
}

/// The roles that come with the program, the mightiest first.
pub const ROLES: &[Role] = &[
    Role { name: "owner", about: "May do everything, also give others roles.", may: &["*:*"] },
    Role {
        name: "admin",
        about: "May do everything but give roles, or make and take out workspaces.",
        may: &[
            "*:read",
            "listener:*",
            "upstream:*",
            "certificate:*",
            "secret:*",
            "api:*",
            "route:*",
            "policy:*",
            "plan:*",
            "consumer:*",
            "application:*",
            "credential:*",
            "revision:*",
            "token:*",
        ],
    },
    Role {
        name: "publisher",
        about: "Changes and publishes APIs.",
        may: &[
            "workspace:read",
            "listener:read",
            "certificate:read",
            "secret:read",
            "setting:read",
            "upstream:*",
            "api:*",
            "route:*",
            "policy:*",
            "plan:*",
            "revision:*",
            "consumer:read",
            "application:read",
            "credential:read",
        ],
    },
    Role {
        name: "auditor",
        about: "Sees everything, also the audit trail, and changes nothing.",
        may: &["*:read"],
    },
    Role {
        name: "support",
        about: "Helps consumers: their applications and credentials.",
        may: &[
            "workspace:read",
            "api:read",
            "route:read",
            "policy:read",
            "plan:read",
            "revision:read",
            "consumer:read",
            "consumer:update",
            "application:*",
            "credential:*",
        ],
    },
    Role {
        name: "viewer",
        about: "Sees APIs and what belongs to them.",
        may: &[
            "workspace:read",
            "listener:read",
            "upstream:read",
            "certificate:read",
            "api:read",
            "route:read",
            "policy:read",
            "plan:read",
            "revision:read",
        ],
    },
];

/// The role of this name that comes with the program.
#[must_use]
pub fn role(name: &str) -> Option<&'static Role> {
    ROLES.iter().find(|role| role.name == name)
}

#[cfg(test)]
mod tests {
    use super::{NOUNS, Permission, ROLES, Verb, role};

    fn may(name: &str, noun: &'static str, verb: Verb) -> bool {
        role(name).unwrap().may.iter().any(|pattern| Permission::new(noun, verb).is_in(pattern))
    }

    #[test]
    fn who_only_looks_changes_nothing() {
        for noun in NOUNS {
            for verb in [Verb::Create, Verb::Update, Verb::Delete] {
                assert!(!may("viewer", noun, verb) && !may("auditor", noun, verb), "{noun}");
            }
            assert!(may("auditor", noun, Verb::Read), "{noun}");
        }
        assert!(!may("viewer", "audit", Verb::Read) && !may("viewer", "credential", Verb::Read));
    }

    #[test]
    fn only_owners_make_others_mightier() {
        for role in ROLES.iter().filter(|role| role.name != "owner") {
            for noun in ["user", "role", "workspace", "setting"] {
                for verb in [Verb::Create, Verb::Update, Verb::Delete] {
                    assert!(!may(role.name, noun, verb), "{}: {noun}", role.name);
                }
            }
        }
    }

    #[test]
    fn roles_speak_of_nouns_that_there_are() {
        for pattern in ROLES.iter().flat_map(|role| role.may) {
            let (noun, verb) = pattern.split_once(':').unwrap();
            assert!(noun == "*" || NOUNS.contains(&noun), "{pattern}");
            assert!(verb == "*" || Verb::ALL.iter().any(|it| it.name() == verb), "{pattern}");
        }
    }
}
