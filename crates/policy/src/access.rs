//! What callers may do: roles, what they permit, and the sets of roles that suffice.
//!
//! Everything that a route needs is worked out when a config is compiled: for each method the roles that
//! permit it, one bit for each role. A request looks its caller's roles up and compares.

use http::Method;
use std::collections::{BTreeSet, HashMap};
use std::fmt;

/// What callers may do, and whom a config names.
#[derive(Debug, Default)]
pub struct Access {
    /// The roles.
    pub roles: Roles,
    /// The names of all consumers of the config.
    pub consumers: BTreeSet<String>,
    /// The names of all groups that they belong to.
    pub groups: BTreeSet<String>,
}

/// What one role permits: each of the fields narrows it.
#[derive(Clone, Debug, Default)]
pub struct Grant {
    /// The API; every one if there is none.
    pub api: Option<Box<str>>,
    /// The permissions; every one if there are none.
    pub permissions: Box<[Box<str>]>,
    /// The methods; every one if there are none.
    pub methods: Box<[Method]>,
    /// The names of the routes; every one if there are none.
    pub routes: Box<[Box<str>]>,
}

/// The permission that holds every other one.
pub const ADMIN: &str = "admin";

/// The safe method with a body.
const QUERY: &str = "QUERY";

/// The permission that a method stands for.
#[must_use]
pub fn permission_of(method: &Method) -> &'static str {
    match *method {
        Method::GET | Method::HEAD | Method::OPTIONS => "read",
        Method::POST => "create",
        Method::PUT | Method::PATCH => "update",
        Method::DELETE => "delete",
        _ if method.as_str() == QUERY => "read",
        _ => ADMIN,
    }
}

impl Grant {
    /// Whether it permits a request by this method, or by one that no grant names.
    fn permits(&self, route: &str, permission: &str, method: Option<&Method>) -> bool {
        let is_of = |names: &[Box<str>], name: &str| names.iter().any(|own| **own == *name);
        let has_permission = self.permissions.is_empty()
            || is_of(&self.permissions, ADMIN)
            || is_of(&self.permissions, permission);
        // As with routes, who may GET may ask for the head alone (RFC 9110, 9.3.2).
        let is_named = |method: &Method| {
            self.methods.contains(method)
                || (method == Method::HEAD && self.methods.contains(&Method::GET))
        };
        let has_method = self.methods.is_empty() || method.is_some_and(is_named);
        has_permission && has_method && (self.routes.is_empty() || is_of(&self.routes, route))
    }
}

/// A set of roles: one bit for each role of a config.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleSet(Box<[u64]>);

impl RoleSet {
    /// Adds a role by its number.
    pub fn insert(&mut self, role: usize) {
        let word = role / 64;
        if self.0.len() <= word {
            let mut words = std::mem::take(&mut self.0).into_vec();
            words.resize(word + 1, 0);
            self.0 = words.into();
        }
        if let Some(word) = self.0.get_mut(word) {
            *word |= 1 << (role % 64);
        }
    }

    /// Whether a role is in it.
    #[must_use]
    pub fn has(&self, role: usize) -> bool {
        self.0.get(role / 64).is_some_and(|word| word & (1 << (role % 64)) != 0)
    }

    /// Whether any role is in both.
    #[must_use]
    pub fn meets(&self, other: &[u64]) -> bool {
        self.0.iter().zip(other).any(|(own, other)| own & other != 0)
    }

    /// Its words, the first roles in the first; role 0 is the lowest bit.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        &self.0
    }

    /// The numbers of its roles.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        let words = self.0.iter().enumerate();
        words.flat_map(|(at, word)| {
            (0..64).filter(move |bit| word & (1 << bit) != 0).map(move |bit| at * 64 + bit)
        })
    }

    /// Adds all roles of another set.
    pub fn union(&mut self, other: &Self) {
        for role in other.iter() {
            self.insert(role);
        }
    }
}

/// The roles of a config.
#[derive(Default)]
pub struct Roles {
    names: Vec<Box<str>>,
    ids: HashMap<Box<str>, usize>,
    /// Of each API the grants that name it.
    by_api: HashMap<Box<str>, Vec<(usize, Grant)>>,
    everywhere: Vec<(usize, Grant)>,
}

impl Roles {
    /// Those of a config, in its order.
    pub fn new(roles: impl IntoIterator<Item = (Box<str>, Vec<Grant>)>) -> Self {
        let mut all = Self::default();
        for (id, (name, grants)) in roles.into_iter().enumerate() {
            all.names.push(name.clone());
            all.ids.insert(name, id);
            for grant in grants {
                match &grant.api {
                    Some(api) => all.by_api.entry(api.clone()).or_default().push((id, grant)),
                    None => all.everywhere.push((id, grant)),
                }
            }
        }
        all
    }

    /// The number of a role; none of one that the config does not have, which grants nothing.
    #[must_use]
    pub fn id(&self, name: &str) -> Option<usize> {
        self.ids.get(name).copied()
    }

    /// The name of a role.
    #[must_use]
    pub fn name(&self, id: usize) -> &str {
        self.names.get(id).map_or("", |name| name)
    }

    /// All names, in the order of the config.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.names.iter().map(|name| &**name)
    }

    /// What the requests of a route need: the permission, or the one that each method stands for.
    #[must_use]
    pub fn needs(&self, api: &str, route: &str, permission: Option<&str>) -> Needs {
        let of_api = self.by_api.get(api).map(Vec::as_slice).unwrap_or_default();
        let grants = || of_api.iter().chain(&self.everywhere);
        let permitted = |method: Option<&Method>| {
            let of_method = || method.map_or(ADMIN, permission_of);
            let permission = permission.unwrap_or_else(of_method);
            let mut roles = RoleSet::default();
            let permitting = grants().filter(|(_, grant)| grant.permits(route, permission, method));
            permitting.for_each(|(role, _)| roles.insert(*role));
            roles
        };
        let mut others: Vec<(Method, RoleSet)> = Vec::new();
        for method in grants().flat_map(|(_, grant)| &grant.methods) {
            let is_there = COMMON.contains(method) || others.iter().any(|(own, _)| own == method);
            if !is_there {
                others.push((method.clone(), permitted(Some(method))));
            }
        }
        let query = Method::from_bytes(QUERY.as_bytes()).ok();
        if let Some(query) = query.filter(|query| !others.iter().any(|(own, _)| own == query)) {
            let roles = permitted(Some(&query));
            others.push((query, roles));
        }
        Needs {
            permission: permission.map(Into::into),
            common: COMMON.map(|method| permitted(Some(&method))),
            others: others.into(),
            unnamed: permitted(None),
        }
    }
}

impl fmt::Debug for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.names).finish()
    }
}

const COMMON: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::OPTIONS,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
];

/// What the requests of one route need: by method the roles that suffice.
#[derive(Debug)]
pub struct Needs {
    permission: Option<Box<str>>,
    common: [RoleSet; COMMON.len()],
    others: Box<[(Method, RoleSet)]>,
    unnamed: RoleSet,
}

impl Needs {
    /// The roles of which one is needed.
    #[must_use]
    pub fn roles(&self, method: &Method) -> &RoleSet {
        if let Some(at) = COMMON.iter().position(|common| common == method) {
            return self.common.get(at).unwrap_or(&self.unnamed);
        }
        let named = self.others.iter().find(|(own, _)| own == method);
        named.map_or(&self.unnamed, |(_, roles)| roles)
    }

    /// The permission that is needed.
    #[must_use]
    pub fn permission(&self, method: &Method) -> &str {
        self.permission.as_deref().unwrap_or_else(|| permission_of(method))
    }
}

#[cfg(test)]
mod tests {
    use super::{Grant, RoleSet, Roles};
    use http::Method;

    fn grant(api: &str, permissions: &[&str], methods: &[Method], routes: &[&str]) -> Grant {
        let boxed = |names: &[&str]| names.iter().map(|name| (*name).into()).collect();
        Grant {
            api: (api != "*").then(|| api.into()),
            permissions: boxed(permissions),
            methods: methods.into(),
            routes: boxed(routes),
        }
    }

    fn roles() -> Roles {
        Roles::new([
            ("reader".into(), vec![grant("orders", &["read"], &[], &[])]),
            ("clerk".into(), vec![grant("orders", &["read", "create", "update"], &[], &[])]),
            ("boss".into(), vec![grant("*", &["admin"], &[], &[])]),
            ("support".into(), vec![grant("orders", &[], &[Method::GET], &["one"])]),
            ("approver".into(), vec![grant("orders", &["approve"], &[], &[])]),
            ("cleaner".into(), vec![grant("*", &[], &["PURGE".parse().unwrap()], &[])]),
        ])
    }

    fn check(route: &str, permission: Option<&str>, method: &str, expected: &str) {
        let (api, route) = route.split_once('/').unwrap();
        let roles = roles();
        let needs = roles.needs(api, route, permission);
        let sufficient = needs.roles(&method.parse().unwrap());
        let names: Vec<&str> = sufficient.iter().map(|id| roles.name(id)).collect();
        assert_eq!(names.join(" "), expected, "{api}/{route} {permission:?} {method}");
    }

    #[test]
    fn a_method_stands_for_a_permission_and_grants_narrow() {
        check("orders/all", None, "GET", "reader clerk boss");
        check("orders/all", None, "HEAD", "reader clerk boss");
        check("orders/one", None, "HEAD", "reader clerk boss support");
        check("orders/all", None, "QUERY", "reader clerk boss");
        check("orders/all", None, "POST", "clerk boss");
        check("orders/all", None, "PATCH", "clerk boss");
        check("orders/all", None, "DELETE", "boss");
        check("orders/all", None, "PURGE", "boss cleaner");
        check("orders/all", None, "PROPFIND", "boss");
        check("users/all", None, "GET", "boss");
    }

    #[test]
    fn a_permission_of_ones_own_replaces_that_of_the_method() {
        check("orders/all", Some("approve"), "POST", "boss approver");
        check("orders/one", Some("approve"), "GET", "boss support approver");
        check("orders/all", Some("read"), "POST", "reader clerk boss");
    }

    #[test]
    fn sets_of_roles_grow_and_meet() {
        let mut set = RoleSet::default();
        assert!(!set.has(0) && !set.meets(set.words()));
        for role in [3, 64, 200] {
            set.insert(role);
        }
        assert_eq!(set.iter().collect::<Vec<_>>(), [3, 64, 200]);
        let mut other = RoleSet::default();
        other.insert(199);
        assert!(!set.meets(other.words()));
        other.insert(64);
        assert!(set.meets(other.words()) && other.meets(set.words()));
        assert!(set.has(200) && !set.has(199) && !set.has(10_000));
    }
}
