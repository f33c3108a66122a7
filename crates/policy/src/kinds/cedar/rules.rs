//! Policies in Cedar as they are asked: read, validated, named.

use super::foreseen::Foresight;
use super::known::Known;
use super::written::Source;
use crate::access::{Access, permission_of};
use crate::kind::BuildCtx;
use base::Report;
use base::caps::CEDAR_POLICIES_MAX;
use base::report::did_you_mean;
use cedar_policy::{
    Authorizer, Decision, Effect, Entities, Entity, EntityUid, Policy, PolicyId, PolicySet,
    Request, Schema, ValidationMode, Validator,
};
use http::Method;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::str::FromStr as _;

/// What may be judged on a worker; what may take longer is judged beside the request path.
const WORKER_NS_MAX: usize = 200_000;

/// What judging takes at most: for every request, for each byte of policies and for each entity. Measured, with a
/// margin of two.
const REQUEST_NS: usize = 40_000;
const POLICY_BYTE_NS: usize = 10;
const ENTITY_NS: usize = 4_000;

/// The types of which the gateway makes entities.
const TYPES: [&str; 7] = ["Consumer", "Nobody", "Group", "Role", "Action", "Route", "Api"];

/// Policies, and the entities that they may ask about besides those of the request.
pub(super) struct Rules {
    authorizer: Authorizer,
    pub(super) set: PolicySet,
    names: HashMap<PolicyId, String>,
    pub(super) known: Known,
    /// How many bytes the policies have.
    bytes: usize,
    pub(super) foresight: Foresight,
}

/// What the policies say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Permitted(String),
    Refused(String),
    /// Some that matter could not be evaluated.
    Undecided(String),
}

impl Rules {
    /// Reads policies; whatever is wrong is told at its line.
    pub(super) fn read(
        policies: &Source<'_>,
        schema: Option<&Source<'_>>,
        entities: Option<&Source<'_>>,
        ctx: &BuildCtx<'_>,
        report: &mut Report,
    ) -> Option<Self> {
        let mut own = Report::new();
        let set = parse(policies, &mut own);
        let validator = schema.and_then(|schema| read_schema(schema, &mut own));
        let known = match entities {
            Some(entities) => Known::read(entities, &mut own),
            None => Some(Known::default()),
        };
        if let (Some(set), Some(validator)) = (&set, &validator) {
            validate(set, validator, policies, &mut own);
        }
        if let (Some(set), Some(known)) = (&set, &known) {
            doubts(set, known, policies, ctx.access, &mut own);
        }
        let is_fine = !own.has_errors();
        report.absorb(own);
        let (set, mut known) = (set?, known?);
        known.name(set.policies().flat_map(Policy::entity_literals));
        is_fine.then(|| Self {
            authorizer: Authorizer::new(),
            names: names(&set, policies),
            foresight: Foresight::of(&set),
            set,
            known,
            bytes: policies.text.len(),
        })
    }

    /// How many policies there are.
    pub(super) fn count(&self) -> usize {
        self.set.num_of_policies()
    }

    /// The groups by which they judge; none that are known where groups may be within groups.
    pub(super) fn groups(&self) -> Vec<String> {
        if !self.known.types().is_empty() {
            return Vec::new();
        }
        let named = self.set.policies().flat_map(Policy::entity_literals);
        let groups = named.filter(|uid| uid.type_name().to_string() == "Group");
        groups.map(|uid| uid.id().unescaped().to_owned()).collect()
    }

    /// What a policy is called.
    pub(super) fn name(&self, id: &PolicyId) -> &str {
        self.names.get(id).map_or("?", String::as_str)
    }

    /// Whether judging with so many entities may take longer than a worker should be held up.
    pub(super) const fn is_long(&self, entities: usize) -> bool {
        REQUEST_NS + self.bytes * POLICY_BYTE_NS + entities * ENTITY_NS > WORKER_NS_MAX
    }

    /// Asks all policies.
    pub(super) fn judge(&self, request: &Request, entities: Vec<Entity>) -> Verdict {
        match Entities::from_entities(entities, None) {
            Ok(entities) => self.verdict(request, &self.set, &entities),
            Err(error) => Verdict::Undecided(error.to_string()),
        }
    }

    /// Asks some of the policies. A `forbid` that cannot be evaluated refuses: Cedar itself would leave it out.
    /// A `permit` of that kind permits nothing, as in Cedar.
    pub(super) fn verdict(
        &self,
        request: &Request,
        set: &PolicySet,
        entities: &Entities,
    ) -> Verdict {
        let answer = self.authorizer.is_authorized(request, set, entities);
        let mut failed = None;
        for error in answer.diagnostics().errors() {
            let cedar_policy::AuthorizationError::PolicyEvaluationError(error) = error;
            let id = error.policy_id();
            let forbids = set.policy(id).is_none_or(|policy| policy.effect() == Effect::Forbid);
            let why = || format!("{} cannot be evaluated: {}", self.name(id), error.inner());
            if forbids {
                return Verdict::Undecided(why());
            }
            failed.get_or_insert_with(why);
        }
        let mut names: Vec<&str> = answer.diagnostics().reason().map(|id| self.name(id)).collect();
        names.sort_unstable();
        match (answer.decision(), names.is_empty(), failed) {
            (Decision::Allow, _, _) => Verdict::Permitted(names.join(", ")),
            (Decision::Deny, false, _) => {
                Verdict::Refused(format!("{} forbids it", names.join(", ")))
            }
            (Decision::Deny, true, Some(why)) => Verdict::Undecided(why),
            (Decision::Deny, true, None) => Verdict::Refused("no policy permits it".to_owned()),
        }
    }

    /// The policies of a set that hold for a request whatever others say.
    pub(super) fn holding(
        &self,
        request: &Request,
        set: &PolicySet,
        entities: &Entities,
    ) -> Vec<String> {
        let answer = self.authorizer.is_authorized(request, set, entities);
        let mut names: Vec<String> =
            answer.diagnostics().reason().map(|id| self.name(id).to_owned()).collect();
        names.sort_unstable();
        names
    }
}

fn parse(source: &Source<'_>, report: &mut Report) -> Option<PolicySet> {
    let set = match PolicySet::from_str(&source.text) {
        Ok(set) => set,
        Err(errors) => {
            errors.iter().for_each(|error| source.mistake(error, report));
            return None;
        }
    };
    if set.num_of_policies() > CEDAR_POLICIES_MAX {
        let message = format!("there can be at most {CEDAR_POLICIES_MAX} policies");
        source.error(None, &message, "", report);
    }
    if let Some(template) = set.templates().next() {
        let at = source.text.find(&template.to_string());
        let help = "write the policy out: `principal == Consumer::\"alice\"`";
        source.error(at, "this is a template, and nothing fills in its slots", help, report);
    }
    Some(set)
}

fn read_schema(source: &Source<'_>, report: &mut Report) -> Option<Validator> {
    match Schema::from_cedarschema_str(&source.text) {
        Ok((schema, warnings)) => {
            warnings.for_each(|warning| source.doubt(&warning, report));
            Some(Validator::new(schema))
        }
        Err(error) => {
            source.mistake(&error, report);
            None
        }
    }
}

fn validate(set: &PolicySet, validator: &Validator, source: &Source<'_>, report: &mut Report) {
    let result = validator.validate(set, ValidationMode::Strict);
    result.validation_errors().for_each(|error| source.mistake(error, report));
    result.validation_warnings().for_each(|warning| source.doubt(warning, report));
}

/// What policies are called: by their `@id`, or by the line where they begin.
fn names(set: &PolicySet, source: &Source<'_>) -> HashMap<PolicyId, String> {
    let begins = begins(set, source);
    let named = set.policies().map(|policy| {
        let name = match (policy.annotation("id"), begins.get(policy.id())) {
            (Some(name), _) => format!("policy `{name}`"),
            (None, Some(at)) => format!("the policy at line {}", source.line(*at).0),
            (None, None) => format!("policy `{}`", policy.id()),
        };
        (policy.id().clone(), name)
    });
    named.collect()
}

/// Where each policy begins: they are numbered as they stand.
fn begins(set: &PolicySet, source: &Source<'_>) -> HashMap<PolicyId, usize> {
    let mut begins = HashMap::new();
    let mut from = 0;
    for number in 0..set.num_of_policies() {
        let id = PolicyId::new(format!("policy{number}"));
        let Some(policy) = set.policy(&id) else { continue };
        let rest = source.text.get(from..).unwrap_or_default();
        let text = policy.to_string();
        let Some(at) = rest.find(&text) else { continue };
        begins.insert(id, from + at);
        from += at + text.len();
    }
    begins
}

/// What is no mistake in Cedar, and yet hardly meant.
fn doubts(
    set: &PolicySet,
    known: &Known,
    source: &Source<'_>,
    access: &Access,
    report: &mut Report,
) {
    if !set.policies().any(|policy| policy.effect() == Effect::Permit) {
        let help = "what no policy permits is refused: write a `permit`";
        source.warning(None, "no policy permits anything", help, report);
    }
    let begins = begins(set, source);
    let mut policies: Vec<&Policy> = set.policies().collect();
    policies.sort_by_key(|policy| begins.get(policy.id()));
    let mut ids = HashSet::new();
    for policy in policies {
        let at = begins.get(policy.id()).copied();
        if let Some(id) = policy.annotation("id").filter(|id| !ids.insert((*id).to_owned())) {
            let message = format!("a second policy is called `{id}`");
            source.warning(at, &message, "the log tells them by their `@id`", report);
        }
        let literals: HashSet<EntityUid> = policy.entity_literals().into_iter().collect();
        let mut told: Vec<(String, String)> = literals
            .iter()
            .filter(|uid| !known.has(uid))
            .filter_map(|uid| unknown(uid, known, access))
            .collect();
        told.sort();
        for (message, help) in told {
            source.warning(at, &message, &help, report);
        }
    }
}

/// What is doubtful about an entity that a policy names, with what may be meant.
fn unknown(uid: &EntityUid, known: &Known, access: &Access) -> Option<(String, String)> {
    let kind = uid.type_name().to_string();
    let id: &str = uid.id().as_ref();
    let near = |what: &str, names: Vec<&str>| {
        if names.contains(&id) {
            return None;
        }
        let help = match did_you_mean(id, names) {
            Some(near) => format!("did you mean `{kind}::\"{near}\"`?"),
            None => String::new(),
        };
        Some((format!("there is no {what} `{id}`"), help))
    };
    match kind.as_str() {
        "Action" => {
            let own = ["read", "create", "update", "delete", "admin"];
            let methods = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "QUERY"];
            let is_method = id.chars().all(|c| c.is_ascii_uppercase() || c == '-')
                && Method::from_bytes(id.as_bytes()).is_ok_and(|it| permission_of(&it) == "admin");
            if is_method && !id.is_empty() {
                return None;
            }
            near("method or permission", own.into_iter().chain(methods).collect())
        }
        "Role" => near("role", access.roles.names().collect()),
        // An issuer or an authoriser may say so.
        "Consumer" if id.contains('/') => None,
        "Consumer" => near("consumer", access.consumers.iter().map(String::as_str).collect()),
        "Group" => near("group", access.groups.iter().map(String::as_str).collect())
            .filter(|(_, help)| !help.is_empty()),
        _ if TYPES.contains(&kind.as_str()) => None,
        _ => {
            let types: BTreeSet<String> = known.types();
            if types.contains(&kind) {
                return None;
            }
            let all = types.iter().map(String::as_str).chain(TYPES);
            let help = match did_you_mean(&kind, all) {
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    format!("the gateway knows {}; others stand in `entities`", TYPES.join(", "))
                }
            };
            Some((format!("there is no entity of the type `{kind}`"), help))
        }
    }
}
