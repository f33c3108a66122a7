//! What policies in Cedar will say, as far as that can be known before a request comes.
//!
//! Each policy either reads nothing but what is known, and is asked; or else only its scope is, so that it may or
//! cannot apply.

use super::question::Asking;
use super::rules::Verdict;
use base::caps::CEDAR_TOLD_MAX;
use cedar_policy::{Effect, Entities, Policy, PolicySet};
use serde_json::{Value, json};
use std::sync::OnceLock;
use traffic::policy::{Asked, Foreseen};

/// What of a request a policy reads, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Reads(u8);

const CLAIMS: u8 = 1;
/// Headers and the client's address, which are never known.
const SENT: u8 = 2;
const PATH: u8 = 4;
/// The name and the groups of the caller.
const CALLER: u8 = 8;
const COMBINATIONS: usize = 16;

/// Policies, ready to be asked in advance.
#[derive(Default)]
pub(super) struct Foresight {
    policies: Vec<Foreseeable>,
    /// By what is not known.
    parts: [OnceLock<Parts>; COMBINATIONS],
}

struct Foreseeable {
    policy: Policy,
    reads: Reads,
}

/// Policies by what of them is sure.
#[derive(Default)]
struct Parts {
    sure: PolicySet,
    /// Those that permit, or forbid, something that is not known: their scope alone.
    permits: PolicySet,
    forbids: PolicySet,
}

impl Foresight {
    pub(super) fn of(set: &PolicySet) -> Self {
        let policies = set.policies().map(|policy| Foreseeable {
            reads: policy.to_json().map_or(Reads(u8::MAX), |json| Reads::of(&json)),
            policy: policy.clone(),
        });
        Self { policies: policies.collect(), ..Self::default() }
    }

    fn parts(&self, unknown: u8) -> &Parts {
        static NONE: OnceLock<Parts> = OnceLock::new();
        let Some(cell) = self.parts.get(usize::from(unknown)) else {
            return NONE.get_or_init(Parts::default);
        };
        cell.get_or_init(|| {
            let mut parts = Parts::default();
            for Foreseeable { policy, reads } in &self.policies {
                let (into, policy) = match (reads.0 & unknown, policy.effect()) {
                    (0, _) => (&mut parts.sure, Some(policy.clone())),
                    (_, Effect::Permit) => (&mut parts.permits, scope(policy, unknown)),
                    (_, Effect::Forbid) => (&mut parts.forbids, scope(policy, unknown)),
                };
                // Ids differ, as they did before.
                policy.and_then(|policy| into.add(policy).ok());
            }
            parts
        })
    }
}

/// A policy without its conditions, and without what its scope asks of a caller who is not known.
fn scope(policy: &Policy, unknown: u8) -> Option<Policy> {
    let mut json = policy.to_json().ok()?;
    let fields = json.as_object_mut()?;
    fields.insert("conditions".to_owned(), json!([]));
    if unknown & CALLER != 0 && asks_caller(fields.get("principal")?) {
        fields.insert("principal".to_owned(), json!({ "op": "All" }));
    }
    Policy::from_json(Some(policy.id().clone()), json).ok()
}

/// Whether the scope of a policy asks who the caller is, or to what it belongs; roles are always known.
fn asks_caller(principal: &Value) -> bool {
    let is_role = |asked: &Value| asked.pointer("/entity/type").is_some_and(|it| it == "Role");
    match principal.get("op").and_then(Value::as_str) {
        Some("All") => false,
        Some("is") => principal.get("in").is_some_and(|within| !is_role(within)),
        Some("in") => !is_role(principal),
        _ => true,
    }
}

impl Reads {
    fn of(policy: &Value) -> Self {
        let mut reads = Self::default();
        if policy.get("principal").is_none_or(asks_caller) {
            reads.0 |= CALLER;
        }
        if let Some(conditions) = policy.get("conditions") {
            reads.walk(conditions);
        }
        reads
    }

    fn walk(&mut self, json: &Value) {
        match json {
            Value::Array(items) => items.iter().for_each(|item| self.walk(item)),
            Value::Object(fields) => {
                for (operator, inside) in fields {
                    match (operator.as_str(), inside) {
                        ("Var", Value::String(name)) => self.whole(name),
                        ("." | "has", Value::Object(_)) => self.part(inside),
                        _ => self.walk(inside),
                    }
                }
            }
            _ => {}
        }
    }

    /// A variable that is not asked for a part.
    fn whole(&mut self, name: &str) {
        self.0 |= match name {
            "context" => SENT | PATH,
            "principal" => CALLER,
            _ => 0,
        };
    }

    /// A part of something.
    fn part(&mut self, access: &Value) {
        let Some(left) = access.get("left") else { return };
        let name = match access.get("attr") {
            Some(Value::String(name)) => Some(name.as_str()),
            // `context has headers.a` names a way.
            Some(Value::Array(names)) => names.first().and_then(Value::as_str),
            _ => None,
        };
        match (left.get("Var").and_then(Value::as_str), name) {
            (Some("context"), Some("method")) => {}
            (Some("context"), Some("host" | "path" | "params")) => self.0 |= PATH,
            (Some("context"), _) => self.0 |= SENT,
            (Some("principal"), Some("known")) => {}
            (Some("principal"), Some("claims")) => self.0 |= CLAIMS,
            (Some("principal"), _) => self.0 |= CALLER,
            _ => self.walk(left),
        }
    }
}

impl Asking<'_> {
    /// What comes of a request of which only some is known.
    pub(super) fn foresee(&self, asked: &Asked<'_>) -> Foreseen {
        let knows = asked.knows;
        if !(knows.caller && knows.method) {
            return Foreseen::Depends("policies in Cedar".to_owned());
        }
        let is_stranger = asked.exchange.consumer.as_ref().is_some_and(|it| !it.is_known);
        let unknown = SENT
            | if knows.claims { 0 } else { CLAIMS }
            | if knows.path { 0 } else { PATH }
            | if is_stranger && !knows.claims { CALLER } else { 0 };
        let question = self.of(asked.exchange);
        let question = question.and_then(|(request, own)| {
            let entities = Entities::from_entities(own, None);
            Ok((request, entities.map_err(|error| error.to_string())?))
        });
        let (request, entities) = match question {
            Ok(question) => question,
            Err(why) => return Foreseen::Refuses(why),
        };
        let parts = self.rules.foresight.parts(unknown);
        let might = |set| self.rules.holding(&request, set, &entities);
        let depends = |names: &[String]| {
            let told: Vec<&str> = names.iter().take(CEDAR_TOLD_MAX).map(String::as_str).collect();
            let more = if names.len() > CEDAR_TOLD_MAX { ", …" } else { "" };
            Foreseen::Depends(format!("{}{more}", told.join(", ")))
        };
        match self.rules.verdict(&request, &parts.sure, &entities) {
            Verdict::Permitted(why) => match might(&parts.forbids).as_slice() {
                [] => Foreseen::Passes(why),
                names => depends(names),
            },
            Verdict::Refused(why) if parts.holds_back(&why) => Foreseen::Refuses(why),
            Verdict::Refused(why) | Verdict::Undecided(why) => {
                match might(&parts.permits).as_slice() {
                    [] => Foreseen::Refuses(why),
                    names => depends(names),
                }
            }
        }
    }
}

impl Parts {
    /// Whether a refusal came of a `forbid`, which no `permit` takes back.
    fn holds_back(&self, why: &str) -> bool {
        why.ends_with("forbids it")
    }
}
