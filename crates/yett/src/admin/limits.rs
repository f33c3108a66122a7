//! What is left of plans and limits, and resetting it: `/limits` of the admin listener.

use super::{Answer, Board, text, typed};
use http::header::ORIGIN;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::iter::empty;
use std::sync::{Arc, PoisonError};
use traffic::directory::{Consumer, Credential, CredentialKind};
use traffic::plan::Plan;

/// Those of `rate_limit`, `quota` and `concurrency`.
mod policies;

const USAGE: &str = "name a consumer (/limits?consumer=NAME, or one of its applications: &application=NAME) for what its plan leaves, or a policy (/limits?policy=ID), and whose share of it: &key=NAME, &application=NAME\n";

/// Whose share is asked for.
#[derive(Debug, Default)]
struct Question {
    consumer: String,
    /// All of the consumer's when there is none.
    application: Option<String>,
    /// The plan of somebody whom only an issuer knows, where that depends on the token.
    plan: Option<String>,
    /// The id of a policy.
    policy: Option<String>,
    /// Of a share of a policy: a name, an address, a value.
    key: Option<String>,
    /// Of a share of a policy: what it is remembered by.
    share: Option<String>,
    /// Where a page begins.
    from: Option<String>,
    /// Whether all shares are meant.
    all: bool,
}

impl Question {
    /// Of a query; none where something is asked for that is not known, twice, or beside what it does not belong to:
    /// whoever resets a limit must not get another one than was meant.
    fn of(query: &str) -> Option<Self> {
        let mut question = Self::default();
        let mut names = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=')?;
            if names.contains(&name) {
                return None;
            }
            names.push(name);
            let value =
                percent_decode_str(&value.replace('+', " ")).decode_utf8().ok()?.into_owned();
            match name {
                "consumer" => question.consumer = value,
                "application" => question.application = Some(value),
                "plan" => question.plan = Some(value),
                "policy" => question.policy = Some(value),
                "key" => question.key = Some(value),
                "share" => question.share = Some(value),
                "from" => question.from = Some(value),
                "all" => question.all = value == "true",
                _ => return None,
            }
        }
        let has = |name: &str| names.contains(&name);
        let is_of_policy = ["key", "share", "from", "all"].into_iter().any(has);
        let is_wrong = if has("policy") { has("consumer") } else { is_of_policy };
        let is_twofold = question.all && ["key", "share", "application"].into_iter().any(has);
        (!is_wrong && !is_twofold).then_some(question)
    }
}

/// Whoever has a share of its own: an application, or the consumer itself.
type Shares = BTreeMap<Option<Arc<str>>, Option<Arc<Plan>>>;

impl Board {
    fn shares(&self, question: &Question) -> Shares {
        let plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner).names();
        let mut shares = Shares::new();
        let mut credentials = self.gateway.directory.of_consumer(&question.consumer);
        if credentials.is_empty() && question.consumer.contains('/') {
            // Whoever an issuer of tokens spoke for.
            let name = Arc::from(&*question.consumer);
            let plan = question.plan.as_deref().map(Arc::from);
            let consumer = Arc::new(Consumer { name, plan, ..Consumer::default() });
            credentials.push(Arc::new(Credential::new(CredentialKind::Token, consumer)));
        }
        for credential in credentials {
            let plan = plans.of(Some(&credential.consumer), Some(&credential), &empty());
            shares.insert(credential.application.clone(), plan);
        }
        let wanted = question.application.as_deref();
        shares.retain(|application, _| wanted.is_none() || application.as_deref() == wanted);
        shares
    }

    fn shown(&self, question: &Question, shares: &Shares) -> Value {
        let plans = Arc::clone(&self.plans.lock().unwrap_or_else(PoisonError::into_inner));
        let clock = &self.gateway.clock;
        let share = |(application, plan): (&Option<Arc<str>>, &Option<Arc<Plan>>)| {
            let plan = plan.as_ref();
            let left = plan.and_then(|plan| {
                plans.shown(plan, &question.consumer, application.as_deref(), clock)
            });
            let mut share = json!({ "application": application, "plan": plan.map(|it| &*it.name) });
            if let (Some(share), Some(Value::Object(left))) = (share.as_object_mut(), left) {
                share.extend(left);
            }
            share
        };
        let shares: Vec<Value> = shares.iter().map(share).collect();
        // Of whom only an issuer knows nothing is known here but the name.
        let is_known = !self.gateway.directory.of_consumer(&question.consumer).is_empty();
        json!({ "consumer": question.consumer, "known": is_known, "shares": shares })
    }
}

/// What is left to a consumer and its applications, or of a policy; what there is if nothing is asked for.
pub(super) fn show(board: &Board, query: Option<&str>) -> Answer {
    let Some(question) = Question::of(query.unwrap_or_default()) else { return wrong(USAGE) };
    if let Some(policy) = &question.policy {
        return policies::show(board, policy, &question);
    }
    if question.consumer.is_empty() {
        return told(&board.overview(&question));
    }
    match find(board, &question) {
        Ok(shares) => told(&board.shown(&question, &shares)),
        Err(answer) => *answer,
    }
}

/// Forgets what a consumer and its applications have used.
pub(super) fn reset(board: &Board, request: &Request<Incoming>) -> Answer {
    // A page of somebody else's can have a browser send this, but not without saying where it comes from.
    if request.headers().contains_key(ORIGIN) {
        return text(StatusCode::FORBIDDEN, "this is not for web pages\n");
    }
    let question = Question::of(request.uri().query().unwrap_or_default());
    let Some(question) = question else { return wrong(USAGE) };
    if let Some(policy) = &question.policy {
        return policies::reset(board, policy, &question);
    }
    let shares = match find(board, &question) {
        Ok(found) => found,
        Err(answer) => return *answer,
    };
    let plans = Arc::clone(&board.plans.lock().unwrap_or_else(PoisonError::into_inner));
    for (application, plan) in &shares {
        let Some(plan) = plan else { continue };
        plans.reset(plan, &question.consumer, application.as_deref(), &board.gateway.clock);
        let (consumer, application) = (&*question.consumer, application.as_deref());
        tracing::info!(consumer, application, plan = &*plan.name, "limits and quotas were reset");
    }
    told(&board.shown(&question, &shares))
}

fn find(board: &Board, question: &Question) -> Result<Shares, Box<Answer>> {
    if question.consumer.is_empty() {
        return Err(Box::new(wrong(USAGE)));
    }
    let shares = board.shares(question);
    if shares.is_empty() {
        let unknown = "there is no such consumer or application\n";
        return Err(Box::new(text(StatusCode::NOT_FOUND, unknown)));
    }
    Ok(shares)
}

fn wrong(why: &str) -> Answer {
    text(StatusCode::BAD_REQUEST, why)
}

fn told(value: &Value) -> Answer {
    let body = serde_json::to_string_pretty(value).unwrap_or_default();
    typed(StatusCode::OK, "application/json", body + "\n")
}
