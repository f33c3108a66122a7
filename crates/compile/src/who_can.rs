//! Who may call: for one request everybody whom a config names, with the rule that decides.

pub use crate::callers::ByPlan;
use crate::callers::{Caller, DECIDE, Decision, Request, callers};
use crate::explain::{Found, Outcome, Question, listeners, look_up};
use base::Place;
use model::Config;
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Arc;
use traffic::directory::{Credential, CredentialHash};
use traffic::plan::Plans;
use traffic::policy::Foreseen;
use traffic::snapshot::{ListenerPart, Snapshot};

/// Who may make a request on one listener.
#[derive(Debug, Serialize)]
pub struct WhoCan {
    /// The listener.
    pub listener: String,
    /// The host that is routed.
    pub host: String,
    /// The canonical path that is routed.
    pub path: String,
    /// `api/name` of the route.
    pub route: Option<String>,
    /// Where it was written.
    pub place: Option<Place>,
    /// Why anybody may call it.
    pub public: Option<String>,
    /// What becomes of the request whoever makes it, if it reaches no route or none that works.
    pub otherwise: Option<Outcome>,
    /// Everybody, one line each.
    pub callers: Vec<Line>,
}

/// What comes of somebody's request.
#[derive(Debug, Serialize)]
pub struct Line {
    /// A consumer, an application as `consumer/application`, a group as `group:NAME`, a role as `role:NAME`.
    pub caller: String,
    /// Its groups.
    pub groups: Vec<String>,
    /// Its roles.
    pub roles: Vec<String>,
    /// By which plan it calls; none where no plan is held to.
    pub plan: Option<ByPlan>,
    /// Whether it may.
    pub may: May,
    /// Why.
    pub why: String,
    /// The kind of the policy that decides.
    pub policy: Option<String>,
    /// Where that was written.
    pub rule: Option<Place>,
}

/// Whether somebody may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum May {
    /// In any case.
    Yes,
    /// That depends on the request.
    Depends,
    /// Never.
    No,
}

impl May {
    /// The word in a table.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::Depends => "depends",
            Self::No => "no",
        }
    }
}

/// Says who may make a request on each listener that fits its URL.
///
/// # Errors
/// When the URL has no host.
pub fn who_can(
    config: &Config,
    snapshot: &Snapshot,
    credentials: &[(CredentialHash, Arc<Credential>)],
    question: &Question,
) -> Result<Vec<WhoCan>, String> {
    let (host, parts) = listeners(snapshot, question)?;
    let callers = everybody(config, credentials);
    let stores = policy::store::Stores::default();
    let plans = policy::plan::names(&crate::plans::specs(config, None, &stores));
    let asked = Asking { question, callers: &callers, plans: &plans };
    Ok(parts.into_iter().map(|part| asked.on_listener(part, &host)).collect())
}

/// Consumers, then what only groups and roles are known of, then whom the config does not know.
fn everybody(config: &Config, credentials: &[(CredentialHash, Arc<Credential>)]) -> Vec<Caller> {
    let mut all = callers(credentials);
    let groups: BTreeSet<&String> =
        config.consumers.iter().flat_map(|(_, consumer)| &consumer.groups).collect();
    all.extend(groups.iter().map(|name| Caller::with(format!("group:{name}"), Some(name), None)));
    let roles = config.roles.names();
    all.extend(roles.map(|name| Caller::with(format!("role:{name}"), None, Some(name))));
    all.push(Caller::stranger());
    all
}

/// What is asked, of whom.
struct Asking<'a> {
    question: &'a Question,
    callers: &'a [Caller],
    plans: &'a Plans,
}

impl Asking<'_> {
    fn on_listener(&self, part: &ListenerPart, host: &str) -> WhoCan {
        let Asking { question, callers, plans } = *self;
        let mut answer = WhoCan {
            listener: part.name.to_string(),
            host: host.to_owned(),
            path: question.url.path().to_owned(),
            route: None,
            place: None,
            public: None,
            otherwise: None,
            callers: Vec::new(),
        };
        let found = look_up(part, host, question);
        answer.path = found.path;
        let (head, matched) = match found.found {
            Found::Route(head, matched) => (*head, matched),
            Found::Other(outcome) => {
                answer.otherwise = Some(outcome);
                return answer;
            }
        };
        let route = Arc::clone(&matched.route);
        answer.route = Some(route.id.to_string());
        answer.place = Some(route.place.clone());
        answer.public = route.public.as_ref().map(ToString::to_string);
        if let Some(broken) = &route.broken {
            answer.otherwise = Some(Outcome::Broken(broken.to_string()));
            return answer;
        }
        let request = Request { head, matched: Some(matched), route: &route };
        // A route may be exempt from plans.
        let is_held = route.chain.entries().iter().any(|entry| entry.kind == "plan");
        let line = |caller: &Caller| {
            let plan = caller.plan(plans).filter(|_| is_held);
            line(caller, plan, request.decide(caller))
        };
        // What would come of a group or a role alone tells something only where somebody asks.
        let asks = route.chain.entries().iter().any(|entry| DECIDE.contains(&entry.kind));
        answer.callers = match &route.public {
            Some(_) => vec![line(&Caller::anybody())],
            None => callers.iter().filter(|it| asks || it.is_somebody()).map(line).collect(),
        };
        answer
    }
}

fn line(caller: &Caller, plan: Option<ByPlan>, decision: Decision) -> Line {
    let texts = |names: &[Arc<str>]| names.iter().map(ToString::to_string).collect();
    let consumer = caller.consumer.as_deref();
    let (may, why) = match decision.foreseen {
        Foreseen::Passes(why) => (May::Yes, why),
        Foreseen::Depends(on) => (May::Depends, format!("depends on {on}")),
        Foreseen::Refuses(why) => {
            let asks_who = decision.kind.is_some_and(|kind| !DECIDE.contains(&kind));
            let ended = if caller.has_ended && asks_who { "; what it had has ended" } else { "" };
            (May::No, format!("{why}{ended}"))
        }
    };
    Line {
        caller: caller.name.clone(),
        groups: consumer.map(|it| texts(&it.groups)).unwrap_or_default(),
        roles: consumer.map(|it| texts(&it.roles)).unwrap_or_default(),
        plan,
        may,
        why,
        policy: decision.kind.map(str::to_owned),
        rule: decision.place,
    }
}
