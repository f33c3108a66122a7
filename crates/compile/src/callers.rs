//! Who may call: everybody whom a config names, asked against the policies of a route before any request comes.

use base::{Clock, Place};
use http::{HeaderValue, Method, Version};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use traffic::chain::Entry;
use traffic::directory::{Consumer, Credential, CredentialHash, CredentialKind};
use traffic::exchange::Connection;
use traffic::head::{RequestHead, Scheme};
use traffic::plan::Plans;
use traffic::policy::{Asked, Foreseen, Knows};
use traffic::snapshot::Route;
use traffic::tree::Matched;
use traffic::{Exchange, Headers};

/// Somebody who could call.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// What it is called: a consumer, an application as `consumer/application`, or a group or role alone.
    pub(crate) name: String,
    pub(crate) consumer: Option<Arc<Consumer>>,
    credential: Option<Arc<Credential>>,
    /// By what it can prove who it is; nothing if that does not matter.
    shows: Option<Vec<CredentialKind>>,
    /// Whether it had more to show, which has ended.
    pub(crate) has_ended: bool,
}

/// A plan, and why somebody has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ByPlan {
    /// Its name; none if only a claim gives one.
    pub name: Option<String>,
    /// What decides it.
    pub by: String,
}

/// Kinds of policies that decide whether an identified caller may pass.
pub(crate) const DECIDE: [&str; 7] =
    ["acl", "allow", "deny", "scopes", "rbac", "cedar", "ext_authz"];

/// Policies by which claims may come to be known, so that none are only known when a request comes.
pub(crate) const TELL_CLAIMS: [&str; 5] = ["jwt", "introspection", "any", "all", "ext_authz"];

/// What comes of somebody's request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) foreseen: Foreseen,
    /// Where the policy was written that decides; none if no policy does.
    pub(crate) place: Option<Place>,
    /// Its kind.
    pub(crate) kind: Option<&'static str>,
}

/// The consumers and their applications, by name.
pub(crate) fn callers(credentials: &[(CredentialHash, Arc<Credential>)]) -> Vec<Caller> {
    let now = Clock::System.wall();
    let mut all: BTreeMap<(Arc<str>, Option<Arc<str>>), Caller> = BTreeMap::new();
    for (_, credential) in credentials {
        let consumer = &credential.consumer;
        let key = (Arc::clone(&consumer.name), credential.application.clone());
        let caller = all.entry(key).or_insert_with(|| Caller {
            name: match &credential.application {
                Some(application) => format!("{}/{application}", consumer.name),
                None => consumer.name.to_string(),
            },
            consumer: Some(Arc::clone(consumer)),
            // Of an application the roles that it makes use of count, which all its credentials tell.
            credential: Some(Arc::clone(credential)),
            shows: Some(Vec::new()),
            has_ended: false,
        });
        if credential.until.is_some_and(|until| until <= now) {
            caller.has_ended = true;
            continue;
        }
        if let Some(shows) = caller.shows.as_mut().filter(|shows| !shows.contains(&credential.kind))
        {
            shows.push(credential.kind);
        }
    }
    all.into_values().collect()
}

impl Caller {
    /// Somebody of whom nothing is known but a group or a role.
    pub(crate) fn with(name: String, group: Option<&str>, role: Option<&str>) -> Self {
        let consumer = Consumer {
            groups: group.into_iter().map(Arc::from).collect(),
            roles: role.into_iter().map(Arc::from).collect(),
            is_known: true,
            ..Consumer::default()
        };
        Self {
            name,
            consumer: Some(Arc::new(consumer)),
            credential: None,
            shows: None,
            has_ended: false,
        }
    }

    /// Somebody of the config of whom nothing is known but what it can show.
    pub(crate) fn showing(kinds: Vec<CredentialKind>) -> Self {
        Self { shows: Some(kinds), ..Self::with(String::new(), None, None) }
    }

    /// Somebody whom only others know, such as an issuer of tokens.
    pub(crate) fn stranger() -> Self {
        let consumer = Consumer { name: "?/?".into(), is_known: false, ..Consumer::default() };
        Self {
            name: "others".to_owned(),
            consumer: Some(Arc::new(consumer)),
            credential: None,
            shows: Some(Vec::new()),
            has_ended: false,
        }
    }

    /// By which plan it calls, and why; nothing of groups and roles alone.
    pub(crate) fn plan(&self, plans: &Plans) -> Option<ByPlan> {
        let consumer = self.consumer.as_deref().filter(|_| self.is_somebody())?;
        let credential = self.credential.as_deref();
        let claims: BTreeSet<String> = plans.claims().map(|it| format!("`claims.{it}`")).collect();
        let by = match credential.and_then(|credential| credential.plan.as_ref()) {
            Some(_) => "its application has it".to_owned(),
            None if consumer.plan.is_some() => "it has it".to_owned(),
            None if !claims.is_empty() => {
                let claims: Vec<String> = claims.into_iter().collect();
                format!("unless {} gives another", claims.join(" or "))
            }
            None => "the default".to_owned(),
        };
        let plan = plans.of(Some(consumer), credential, &std::iter::empty());
        if plan.is_none() && plans.claims().next().is_none() {
            return None;
        }
        let name = plan.map(|plan| plan.name.to_string());
        Some(ByPlan { name, by })
    }

    /// Whether it is more than a group or a role.
    pub(crate) const fn is_somebody(&self) -> bool {
        self.shows.is_some()
    }

    /// Nobody in particular.
    pub(crate) fn anybody() -> Self {
        Self {
            name: "anybody".to_owned(),
            consumer: None,
            credential: None,
            shows: None,
            has_ended: false,
        }
    }
}

/// A request that is asked about.
pub(crate) struct Request<'a> {
    pub(crate) head: RequestHead,
    /// What the path gave; none if any path of the route is meant.
    pub(crate) matched: Option<Matched>,
    pub(crate) route: &'a Route,
}

impl<'a> Request<'a> {
    /// Any request of a route by a method.
    pub(crate) fn any_of(route: &'a Route, method: Method) -> Self {
        let head = RequestHead {
            method,
            scheme: Scheme::Https,
            host: Arc::from(""),
            authority: HeaderValue::from_static(""),
            target: http::uri::PathAndQuery::from_static("/"),
            version: Version::HTTP_11,
            headers: Headers::new(),
        };
        Self { head, matched: None, route }
    }

    /// What comes of it if this caller makes it. Of several policies that refuse the first does.
    pub(crate) fn decide(&self, caller: &Caller) -> Decision {
        let entries = self.route.chain.entries();
        let mut decided = Decision {
            foreseen: Foreseen::Passes("no policy refuses anybody who is identified".to_owned()),
            place: None,
            kind: None,
        };
        let exchange = self.exchange(caller);
        for entry in entries {
            let Some(foreseen) = self.ask(entry, &exchange, caller) else { continue };
            let weight = |foreseen: &Foreseen| match foreseen {
                Foreseen::Passes(_) => 0,
                Foreseen::Depends(_) => 1,
                Foreseen::Refuses(_) => 2,
            };
            // Of those that let pass the last says most: it is the closest to what may be done.
            if weight(&foreseen) > weight(&decided.foreseen)
                || weight(&foreseen) == 0 && weight(&decided.foreseen) == 0
            {
                let place = Some(entry.place.clone()).filter(Place::is_known);
                decided = Decision { foreseen, place, kind: Some(entry.kind) };
            }
            if matches!(decided.foreseen, Foreseen::Refuses(_)) {
                break;
            }
        }
        decided
    }

    /// What one policy would say.
    pub(crate) fn ask(
        &self,
        entry: &Entry,
        exchange: &Exchange,
        caller: &Caller,
    ) -> Option<Foreseen> {
        entry.policy.foresee(&self.asked(exchange, caller))
    }

    /// What policies are asked.
    pub(crate) fn asked<'b>(&self, exchange: &'b Exchange, caller: &'b Caller) -> Asked<'b> {
        let entries = self.route.chain.entries();
        let tells = entries.iter().any(|entry| TELL_CLAIMS.contains(&entry.kind));
        let is_known_path = self.matched.is_some();
        let knows = Knows { caller: true, claims: !tells, method: true, path: is_known_path };
        Asked { exchange, shows: caller.shows.as_deref(), knows }
    }

    /// The request as a caller would make it.
    pub(crate) fn exchange(&self, caller: &Caller) -> Exchange {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let connection = Arc::new(Connection::plain(Arc::from(""), nowhere, nowhere));
        let mut exchange = Exchange::new(&Clock::System, 0, connection, self.head.clone());
        exchange.matched.clone_from(&self.matched);
        exchange.consumer.clone_from(&caller.consumer);
        exchange.credential.clone_from(&caller.credential);
        exchange
    }
}
