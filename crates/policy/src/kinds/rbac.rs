//! Lets requests pass that a role of the caller permits, and refuses all others: role-based access control.
//!
//! What a role permits stands in the config (`roles`); who has one is told by the consumer, and by the groups
//! and claims that this policy maps to roles. Where several of this kind apply to a route, every permission that one
//! of them names is needed, by roles that this one and those outside of it give: an inner one widens nothing. The
//! last of them stands for all and is made when the route is ([`Policy::at_route`]), so that a request only
//! compares bits.

use crate::access::{Access, Needs, RoleSet};
use crate::kind::{BuildCtx, Group, Kind};
use crate::written::{OneOrMany, Short, Written};
use base::caps::{ROLES_MAX, ROLES_TOLD_MAX};
use base::report::did_you_mean;
use base::{Node, Report, Value, decode};
use http::Method;
use schemars::JsonSchema;
use serde::Deserialize;
use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use traffic::directory::Consumer;
use traffic::exchange::{Claim, KeptClaims, Slot};
use traffic::policy::{Asked, Facts, Foreseen, Joined, Phases, Placement};
use traffic::{Exchange, Fault, FaultCode, Flow, Outcome, Policy, Stage};

#[cfg(test)]
mod tests;

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "rbac",
    group: Group::Access,
    phases: Phases { request: true, forward: false, reply: false, record: false },
    answers: false,
    about: "Lets requests pass that a role of the caller permits, and refuses all others with 403. Each needs one permission of \
            its API: the one that its method stands for (`read`: GET, HEAD, OPTIONS, QUERY; `create`: POST; `update`: PUT, \
            PATCH; `delete`: DELETE; `admin`: any other), unless a policy names one. Roles stand under `roles` in \
            the config. Where several apply, every permission that one of them names is needed, by roles of the caller \
            and those that this one and the outer ones give by groups and claims.",
    example: "rbac: { permission: approve }",
    resets: "it has no state",
    schema: <Written<Settings> as JsonSchema>::json_schema,
    build,
};

/// Settings of `rbac`; it needs none. Short: the permission alone.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub struct Settings {
    /// The permission that every request needs here, in place of the one that its method stands for: a ready-made one
    /// or one of your own.
    pub permission: Option<String>,
    /// Roles that the members of groups have, besides their own.
    pub groups: BTreeMap<String, OneOrMany>,
    /// Roles that callers have by what is said of them.
    pub claims: Vec<ClaimSettings>,
}

/// Roles by a claim.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct ClaimSettings {
    /// The claim: a text or a list of texts; dots lead into objects. `scope` and `scp` may be texts with spaces between.
    pub claim: String,
    /// The roles for each value. When left out, values are names of roles: then whoever says the claim decides.
    pub roles: Option<BTreeMap<String, OneOrMany>>,
    /// The issuer that must say it (`iss`); anybody whom an identity policy trusts, when left out.
    pub issuer: Option<String>,
}

impl Short for Settings {
    const EXPECTING: &'static str =
        "a permission such as `approve`, or `{ permission, groups, claims }`";
    const SAMPLE: &'static str = "approve";

    fn short(text: &str) -> Result<Self, String> {
        Ok(Self { permission: Some(text.to_owned()), ..Self::default() })
    }
}

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    let settings = match node.value {
        Value::Null => Settings::default(),
        _ => decode::<Written<Settings>>(node, ctx.path, report)?.0,
    };
    let mut own = Report::new();
    let permission = settings.permission.map(String::into_boxed_str);
    if permission.as_ref().is_some_and(|name| !is_permission(name)) {
        ctx.error(&mut own, node, "/permission", "this cannot be the name of a permission")
            .help("a name has lower-case letters, digits, `-`, `_`, `.` and `:`");
    }
    let mut mapping = Mapping::default();
    for (group, roles) in &settings.groups {
        let below = format!("/groups/{}", escaped(group));
        let set = set(&roles.0, (node, &below), ctx, &mut own);
        mapping.groups.insert(group.as_str().into(), set);
    }
    for (index, rule) in settings.claims.iter().enumerate() {
        let by_value = rule.roles.as_ref().map(|by_value| {
            let one = |(value, roles): (&String, &OneOrMany)| {
                let below = format!("/claims/{index}/roles/{}", escaped(value));
                (value.as_str().into(), set(&roles.0, (node, &below), ctx, &mut own))
            };
            by_value.iter().map(one).collect()
        });
        let issuer = rule.issuer.as_deref().map(Into::into);
        mapping.claims.push(ByClaim { path: rule.claim.as_str().into(), issuer, by_value });
    }
    if ctx.access.roles.names().next().is_none() {
        ctx.warning(&mut own, node, "", "there are no roles, so that nobody may do anything here")
            .help("say what callers may do under `roles`: `roles: { reader: { '*': read } }`");
    }
    let is_fine = !own.has_errors();
    report.absorb(own);
    is_fine.then(|| {
        let mapping = Arc::new(mapping);
        Arc::new(Rbac { access: Arc::clone(ctx.access), permission, mapping }) as _
    })
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn is_permission(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.:".contains(c);
    !name.is_empty() && name.chars().all(is_plain)
}

/// The roles of these names.
fn set(
    names: &[String],
    (node, below): (&Node, &str),
    ctx: &BuildCtx<'_>,
    report: &mut Report,
) -> RoleSet {
    let mut set = RoleSet::default();
    for name in names {
        if let Some(role) = ctx.access.roles.id(name) {
            set.insert(role);
            continue;
        }
        let known = ctx.access.roles.names();
        let help = match did_you_mean(name, known.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: {}", known.take(10).collect::<Vec<_>>().join(", ")),
        };
        ctx.error(report, node, below, format!("there is no role `{name}`")).help(help);
    }
    set
}

/// As it was written: what it becomes on a route is [`OnRoute`].
struct Rbac {
    access: Arc<Access>,
    permission: Option<Box<str>>,
    mapping: Arc<Mapping>,
}

/// Who has which roles besides those of their own.
#[derive(Debug, Default)]
struct Mapping {
    groups: HashMap<Box<str>, RoleSet>,
    claims: Vec<ByClaim>,
}

#[derive(Debug)]
struct ByClaim {
    path: Box<str>,
    issuer: Option<Box<str>>,
    by_value: Option<HashMap<Box<str>, RoleSet>>,
}

/// What all of this kind on one route are together.
struct OnRoute {
    access: Arc<Access>,
    /// Of the outermost owner first.
    mappings: Box<[Arc<Mapping>]>,
    /// All that is needed.
    asks: Box<[Ask]>,
}

/// A permission that is needed.
struct Ask {
    needs: Needs,
    /// How many of the mappings count for it: those of the owner that asks and of the outer ones.
    mappings: usize,
}

impl Policy for Rbac {
    /// Runs on no route.
    fn on_request<'a>(&'a self, _: &'a mut Exchange, _: Slot) -> Outcome<'a, Flow> {
        let fault = Fault::new(Stage::Guard, FaultCode::PermissionMissing);
        Outcome::Now(Err(fault.cause("the policy was not told its route")))
    }

    fn at_route(&self, at: &Placement<'_>) -> Option<Arc<dyn Policy>> {
        if !at.is_last() {
            return Some(Arc::new(Joined));
        }
        let same = at.same.iter().filter_map(|policy| {
            let policy: &dyn Any = &**policy;
            policy.downcast_ref::<Self>()
        });
        let same: Vec<&Self> = same.collect();
        let ask = |permission: Option<&str>, mappings| {
            let needs = self.access.roles.needs(at.api, at.route, permission);
            Ask { needs, mappings }
        };
        let mut named: Vec<&str> = Vec::new();
        let mut asks: Vec<Ask> = Vec::new();
        for (position, rbac) in same.iter().enumerate() {
            let Some(permission) = rbac.permission.as_deref() else { continue };
            // Where an outer one asks for the same, fewer mappings count.
            if !named.contains(&permission) {
                named.push(permission);
                asks.push(ask(Some(permission), position + 1));
            }
        }
        if asks.is_empty() {
            asks.push(ask(None, same.len()));
        }
        Some(Arc::new(OnRoute {
            asks: asks.into(),
            mappings: same.iter().map(|rbac| Arc::clone(&rbac.mapping)).collect(),
            access: Arc::clone(&self.access),
        }))
    }
}

impl Policy for OnRoute {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, _: Slot) -> Outcome<'a, Flow> {
        let Some(lacking) = self.asks.iter().find(|ask| !self.permits(ask, exchange)) else {
            return Outcome::Now(Ok(Flow::Continue));
        };
        let fault = Fault::new(Stage::Guard, FaultCode::PermissionMissing);
        Outcome::Now(Err(fault.cause(self.lack(lacking, exchange))))
    }

    fn facts(&self) -> Facts {
        let groups = self.mappings.iter().flat_map(|mapping| mapping.groups.keys());
        Facts { groups: groups.map(ToString::to_string).collect(), ..Facts::default() }
    }

    fn foresee(&self, asked: &Asked<'_>) -> Option<Foreseen> {
        if asked.exchange.consumer.is_none() {
            return Some(Foreseen::Refuses("nobody is identified".to_owned()));
        }
        let (mut passes, mut depends) = (Vec::new(), Vec::new());
        for ask in &self.asks {
            match self.foresee_one(ask, asked) {
                Foreseen::Passes(why) => passes.push(why),
                Foreseen::Depends(on) if depends.contains(&on) => {}
                Foreseen::Depends(on) => depends.push(on),
                refuses @ Foreseen::Refuses(_) => return Some(refuses),
            }
        }
        Some(if depends.is_empty() {
            Foreseen::Passes(passes.join(", "))
        } else {
            Foreseen::Depends(depends.join(" and "))
        })
    }
}

/// The permissions that a request needs by a method, if a policy is of this kind and on a route.
#[must_use]
pub fn permissions<'a>(policy: &'a dyn Policy, method: &Method) -> Vec<&'a str> {
    let policy: &dyn Any = policy;
    let asks = policy.downcast_ref::<OnRoute>().map_or(&[][..], |policy| &policy.asks);
    asks.iter().map(|ask| ask.needs.permission(method)).collect()
}

/// Roles that a policy gives by groups and claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// Whichever an issuer of tokens names.
    Any,
    /// These.
    These(Vec<String>),
}

/// What a policy gives, if it is of this kind and on a route.
#[must_use]
pub fn given(policy: &dyn Policy) -> Option<Given> {
    let policy: &dyn Any = policy;
    let policy = policy.downcast_ref::<OnRoute>()?;
    let mut set = RoleSet::default();
    for mapping in &policy.mappings {
        mapping.groups.values().for_each(|roles| set.union(roles));
        for rule in &mapping.claims {
            let Some(by_value) = &rule.by_value else { return Some(Given::Any) };
            by_value.values().for_each(|roles| set.union(roles));
        }
    }
    let names = set.iter().map(|role| policy.access.roles.name(role).to_owned());
    Some(Given::These(names.collect()))
}

/// As many bits as there can be roles.
type Words = [u64; ROLES_MAX / 64];

impl OnRoute {
    fn foresee_one(&self, ask: &Ask, asked: &Asked<'_>) -> Foreseen {
        let exchange = asked.exchange;
        if self.permits(ask, exchange) {
            return Foreseen::Passes(self.permitting(ask, exchange));
        }
        let (Some(needed), false) = (self.needed(ask, exchange), asked.knows.claims) else {
            return Foreseen::Refuses(self.lack(ask, exchange));
        };
        let mappings = || self.mappings.iter().take(ask.mappings);
        let mut claims: Vec<String> = mappings()
            .flat_map(|mapping| &mapping.claims)
            .filter(|rule| rule.may_meet(&needed))
            .map(|rule| format!("`claims.{}`", rule.path))
            .collect();
        claims.dedup();
        // The directory says nothing of groups that an issuer says.
        if exchange.consumer.as_ref().is_some_and(|consumer| !consumer.is_known)
            && mappings().any(|it| it.groups.values().any(|set| set.meets(&needed)))
        {
            claims.push("its groups".to_owned());
        }
        if claims.is_empty() {
            Foreseen::Refuses(self.lack(ask, exchange))
        } else {
            Foreseen::Depends(claims.join(" and "))
        }
    }

    /// The roles of which one is needed: of those that permit the request only the ones that the application
    /// makes use of. None if no role is left.
    fn needed(&self, ask: &Ask, exchange: &Exchange) -> Option<Words> {
        let sufficient = ask.needs.roles(&exchange.request.method).words();
        let mut needed = Words::default();
        match exchange.credential.as_ref().and_then(|credential| credential.roles.as_deref()) {
            None => needed.iter_mut().zip(sufficient).for_each(|(word, own)| *word = *own),
            Some(used) => {
                for role in used.iter().filter_map(|name| self.access.roles.id(name)) {
                    let bit = 1 << (role % 64);
                    let is_sufficient = sufficient.get(role / 64).is_some_and(|own| own & bit != 0);
                    if let Some(word) = needed.get_mut(role / 64).filter(|_| is_sufficient) {
                        *word |= bit;
                    }
                }
            }
        }
        needed.iter().any(|word| *word != 0).then_some(needed)
    }

    fn permits(&self, ask: &Ask, exchange: &Exchange) -> bool {
        let Some(consumer) = exchange.consumer.as_deref() else { return false };
        let Some(needed) = self.needed(ask, exchange) else { return false };
        consumer.roles.iter().any(|name| self.is_in(name, &needed))
            || self.mappings.iter().take(ask.mappings).any(|mapping| {
                mapping.by_groups(consumer).any(|set| set.meets(&needed))
                    || mapping.claims.iter().any(|rule| {
                        rule.said(exchange).any(|claims| self.gives(rule, claims, &needed))
                    })
            })
    }

    /// Whether a role is there and in a set.
    fn is_in(&self, name: &str, words: &[u64]) -> bool {
        let role = self.access.roles.id(name);
        role.is_some_and(|role| {
            words.get(role / 64).is_some_and(|word| word & (1 << (role % 64)) != 0)
        })
    }

    /// Whether a claim gives one of these roles.
    fn gives(&self, rule: &ByClaim, claims: &KeptClaims, words: &[u64]) -> bool {
        rule.values(claims).any(|value| match &rule.by_value {
            Some(by_value) => by_value.get(value).is_some_and(|set| set.meets(words)),
            None => self.is_in(value, words),
        })
    }

    /// All roles that a caller has for what is asked, used or not.
    fn held(&self, ask: &Ask, exchange: &Exchange) -> RoleSet {
        let mut held = RoleSet::default();
        let Some(consumer) = exchange.consumer.as_deref() else { return held };
        let roles = &self.access.roles;
        consumer.roles.iter().filter_map(|name| roles.id(name)).for_each(|id| held.insert(id));
        for mapping in self.mappings.iter().take(ask.mappings) {
            mapping.by_groups(consumer).for_each(|set| held.union(set));
            for rule in &mapping.claims {
                for value in rule.said(exchange).flat_map(|claims| rule.values(claims)) {
                    match &rule.by_value {
                        Some(by_value) => {
                            by_value.get(value).into_iter().for_each(|set| held.union(set))
                        }
                        None => roles.id(value).into_iter().for_each(|id| held.insert(id)),
                    }
                }
            }
        }
        held
    }

    /// Why a request is refused, for the log.
    fn lack(&self, ask: &Ask, exchange: &Exchange) -> String {
        let permission = ask.needs.permission(&exchange.request.method);
        if exchange.consumer.is_none() {
            return format!("`{permission}` is lacking; nobody is identified");
        }
        let held = self.held(ask, exchange);
        let mut names: Vec<&str> =
            held.iter().take(ROLES_TOLD_MAX).map(|role| self.access.roles.name(role)).collect();
        if held.iter().nth(ROLES_TOLD_MAX).is_some() {
            names.push("…");
        }
        let roles = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let used = exchange.credential.as_ref().and_then(|credential| credential.roles.as_ref());
        let used = used.map(|used| match used.as_ref() {
            [] => "; the application uses none".to_owned(),
            used => {
                let used: Vec<&str> =
                    used.iter().take(ROLES_TOLD_MAX).map(|name| &**name).collect();
                format!("; the application uses {}", used.join(", "))
            }
        });
        format!("`{permission}` is lacking; roles: {roles}{}", used.unwrap_or_default())
    }

    /// Why it passes.
    fn permitting(&self, ask: &Ask, exchange: &Exchange) -> String {
        let needed = self.needed(ask, exchange).unwrap_or_default();
        let held = self.held(ask, exchange);
        let is_needed =
            |role: &usize| needed.get(role / 64).is_some_and(|word| word & (1 << (role % 64)) != 0);
        let names: Vec<String> = held
            .iter()
            .filter(is_needed)
            .take(ROLES_TOLD_MAX)
            .map(|role| format!("`{}`", self.access.roles.name(role)))
            .collect();
        let plural = if names.len() == 1 { "" } else { "s" };
        let permission = ask.needs.permission(&exchange.request.method);
        format!("`{permission}` by role{plural} {}", names.join(", "))
    }
}

impl Mapping {
    fn by_groups<'a>(&'a self, consumer: &'a Consumer) -> impl Iterator<Item = &'a RoleSet> {
        consumer.groups.iter().filter_map(|group| self.groups.get(&**group))
    }
}

/// Claims that are words with spaces between (RFC 8693, 4.2). Of any other claim a word is no value: people may
/// choose texts in which a word stands.
const SCOPES: [&str; 2] = ["scope", "scp"];

impl ByClaim {
    /// What is to be looked at: of an issuer its own words, where several vouch for the caller.
    fn said<'a>(&self, exchange: &'a Exchange) -> impl Iterator<Item = &'a KeptClaims> {
        let apart = self.issuer.as_ref().map(|_| exchange.said());
        let whole = exchange.claims.as_deref().filter(|_| self.issuer.is_none());
        apart.into_iter().flatten().chain(whole)
    }

    /// What the claim says, unless somebody else says it.
    fn values<'a>(&'a self, claims: &'a KeptClaims) -> impl Iterator<Item = &'a str> {
        let issuer = claims.get("iss").and_then(Claim::as_str);
        let is_issuer = self.issuer.as_deref().is_none_or(|wanted| issuer == Some(wanted));
        let value = Some(claims).filter(|_| is_issuer).and_then(|claims| claims.find(&self.path));
        let (one, many) = match value {
            Some(Claim::Text(text)) => (Some(&**text), &[][..]),
            Some(Claim::Bool(flag)) => (Some(if *flag { "true" } else { "false" }), &[][..]),
            Some(Claim::List(items)) => (None, &**items),
            _ => (None, &[][..]),
        };
        let is_scope = SCOPES.contains(&&*self.path);
        let words = one.filter(|_| is_scope).unwrap_or_default().split_ascii_whitespace();
        one.filter(|_| !is_scope)
            .into_iter()
            .chain(words)
            .chain(many.iter().filter_map(Claim::as_str))
    }

    /// Whether any value gives one of these roles.
    fn may_meet(&self, words: &[u64]) -> bool {
        match &self.by_value {
            Some(by_value) => by_value.values().any(|set| set.meets(words)),
            None => words.iter().any(|word| *word != 0),
        }
    }
}
