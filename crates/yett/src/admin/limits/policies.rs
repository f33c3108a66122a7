use super::{Board, Question, told, wrong};
use crate::admin::{Answer, text};
use http::StatusCode;
use policy::counting::{Apart, Counting, Id, Whom, counting};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError};
use traffic::Policy;
use traffic::chain::Entry;
use traffic::directory::ApplicationName;
use traffic::snapshot::Snapshot;

/// Shares or policies of one answer.
const PAGE: usize = 100;
/// Names looked at together to find out whose shares these are.
const NAMES_AT_ONCE: usize = 100_000;

/// A share by its name: a consumer, plan or route, and an application.
type Name = (String, Option<String>);

impl Board {
    /// All plans, and the policies that count.
    pub(super) fn overview(&self, question: &Question) -> Value {
        let plans = Arc::clone(&self.plans.lock().unwrap_or_else(PoisonError::into_inner));
        let snapshot = self.gateway.snapshot.load_full();
        let from = question.from.as_deref().unwrap_or_default();
        let policies = all(&snapshot);
        let mut shown = policies.iter().filter(|(id, _)| ***id > *from);
        let page: Vec<Value> = shown.by_ref().take(PAGE).map(|(_, entry)| summary(entry)).collect();
        let is_more = shown.next().is_some();
        let next = page.last().filter(|_| is_more).map(|last| last["policy"].clone());
        json!({ "plans": plans.about().collect::<Vec<_>>(), "policies": page, "next": next })
    }

    /// At most so many of the names of shares that can be known, after one of them.
    fn names(&self, apart: Apart, after: Option<&Name>, most: usize) -> Vec<Name> {
        let alone = |names: BTreeSet<String>| {
            let is_later = |name: &String| after.is_none_or(|(after, _)| name > after);
            let later = names.into_iter().filter(is_later).take(most);
            later.map(|name| (name, None)).collect()
        };
        // After a consumer come those of other names, whatever applications it has.
        let last = (apart == Apart::Consumers).then(|| Arc::from("\u{10ffff}"));
        let holders = || {
            let after: Option<ApplicationName> = after.map(|(name, application)| {
                (Arc::from(&**name), application.as_deref().map(Arc::from).or(last))
            });
            self.gateway.directory.holders(after.as_ref(), most)
        };
        match apart {
            Apart::Nothing => alone(BTreeSet::from([String::new()])),
            Apart::Consumers => {
                alone(holders().into_iter().map(|(name, _)| name.to_string()).collect())
            }
            Apart::Applications => {
                let text = |name: Arc<str>| name.to_string();
                holders().into_iter().map(|(name, own)| (text(name), own.map(text))).collect()
            }
            Apart::Plans => {
                let plans = Arc::clone(&self.plans.lock().unwrap_or_else(PoisonError::into_inner));
                alone(plans.names().names().map(str::to_owned).collect())
            }
            Apart::Routes => {
                let snapshot = self.gateway.snapshot.load_full();
                alone(snapshot.routes.iter().map(|route| route.id.to_string()).collect())
            }
            Apart::Other => Vec::new(),
        }
    }

    /// Whose shares these are, as far as that can be known.
    fn named(&self, policy: &dyn Counting, ids: &[Id]) -> HashMap<Id, Name> {
        let mut found = HashMap::new();
        let mut after: Option<Name> = None;
        while found.len() < ids.len() {
            let names = self.names(policy.apart(), after.as_ref(), NAMES_AT_ONCE);
            let Some(last) = names.last().cloned() else { break };
            for name in names {
                let id = policy.id(Whom::Named(&name.0, name.1.as_deref()));
                if let Some(id) = id.ok().filter(|id| ids.contains(id)) {
                    found.insert(id, name);
                }
            }
            after = Some(last);
        }
        found
    }
}

/// The policies that count, by their ids.
fn all(snapshot: &Snapshot) -> BTreeMap<Arc<str>, Entry> {
    let entries = snapshot.routes.iter().flat_map(|route| route.chain.entries());
    let counts = entries.filter(|entry| counting(&*entry.policy).is_some());
    counts.map(|entry| (Arc::clone(&entry.id), entry.clone())).collect()
}

fn summary(entry: &Entry) -> Value {
    let Some(policy) = counting(&*entry.policy) else { return Value::Null };
    json!({
        "policy": &*entry.id,
        "kind": entry.kind,
        "place": entry.place.to_string(),
        "limits": entry.policy.about(),
        "per": policy.per(),
        "remembered": policy.remembered(),
    })
}

/// What is left of a policy: of one share, or of those of which something is used.
pub(super) fn show(board: &Board, id: &str, question: &Question) -> Answer {
    let Some(found) = find(board, id) else { return unknown() };
    let Some(policy) = counting(&*found) else { return unknown() };
    match whom(policy, question) {
        Err(why) => wrong(&format!("{why}\n")),
        Ok(Some(whom)) => one(board, id, policy, question, whom),
        Ok(None) => page(board, id, policy, question.from.as_deref()),
    }
}

fn find(board: &Board, id: &str) -> Option<Arc<dyn Policy>> {
    let snapshot = board.gateway.snapshot.load_full();
    all(&snapshot).remove(id).map(|entry| entry.policy)
}

fn unknown() -> Answer {
    let why = "there is no such policy that counts; /limits without anything lists them\n";
    text(StatusCode::NOT_FOUND, why)
}

/// Whose share is asked for; none if nobody's in particular.
fn whom<'a>(policy: &dyn Counting, question: &'a Question) -> Result<Option<Whom<'a>>, String> {
    if let Some(share) = &question.share {
        let wrong = || format!("`{share}` is not a share such as a page tells it");
        return share_of(share).map(|id| Some(Whom::Id(id))).ok_or_else(wrong);
    }
    let application = question.application.as_deref();
    Ok(match &question.key {
        Some(key) => Some(Whom::Named(key, application)),
        None if policy.apart() == Apart::Nothing => Some(Whom::Named("", None)),
        None => None,
    })
}

fn one(
    board: &Board,
    id: &str,
    policy: &dyn Counting,
    question: &Question,
    whom: Whom<'_>,
) -> Answer {
    let left = policy.left(whom, &board.gateway.clock);
    let (left, share) = match (left, policy.id(whom)) {
        (Ok(left), Ok(share)) => (left, share),
        (Err(why), _) | (_, Err(why)) => return wrong(&format!("{why}\n")),
    };
    let mut shown = json!({
        "policy": id, "per": policy.per(), "key": question.key,
        "application": question.application, "share": written(share),
    });
    extend(&mut shown, left);
    told(&shown)
}

fn page(board: &Board, id: &str, policy: &dyn Counting, from: Option<&str>) -> Answer {
    let from_number = from.map_or(Ok(0), str::parse);
    let listed = policy.page(from_number.clone().unwrap_or(0), PAGE, &board.gateway.clock);
    let (shares, next) = match listed {
        Some(_) if from_number.is_err() => {
            return wrong("`from` is what `next` of the page before says\n");
        }
        Some(page) => {
            let ids: Vec<Id> = page.shares.iter().map(|(id, _)| *id).collect();
            let mut names = board.named(policy, &ids);
            let shown =
                page.shares.into_iter().map(|(id, left)| share(id, names.remove(&id), left));
            (shown.collect(), page.next.map(|next| next.to_string()))
        }
        None => known(board, policy, from),
    };
    // Of what clients bring along a ledger knows no names.
    let is_whole = policy.remembered().is_some() || policy.apart() != Apart::Other;
    told(&json!({
        "policy": id, "per": policy.per(), "remembered": policy.remembered(), "shares": shares, "next": next,
        "note": (!is_whole).then_some("whose shares there are is not kept: ask for one by `key`"),
    }))
}

/// The shares of those whose names are known, and where the next ones begin.
fn known(board: &Board, policy: &dyn Counting, from: Option<&str>) -> (Vec<Value>, Option<String>) {
    let after = from.map(|from| match from.split_once('\u{0}') {
        Some((name, application)) => (name.to_owned(), Some(application.to_owned())),
        None => (from.to_owned(), None),
    });
    let names = board.names(policy.apart(), after.as_ref(), PAGE);
    let next = names.last().filter(|_| names.len() == PAGE).map(|(name, own)| match own {
        Some(own) => format!("{name}\u{0}{own}"),
        None => name.clone(),
    });
    let shown = |name: Name| {
        let whom = Whom::Named(&name.0, name.1.as_deref());
        let (id, left) = (policy.id(whom), policy.left(whom, &board.gateway.clock));
        Some(share(id.ok()?, Some(name), left.ok()?))
    };
    (names.into_iter().filter_map(shown).collect(), next)
}

fn share(id: Id, name: Option<Name>, left: Value) -> Value {
    let (key, application) = name.map_or((None, None), |(name, own)| (Some(name), own));
    let mut shown = json!({ "key": key, "application": application, "share": written(id) });
    extend(&mut shown, left);
    shown
}

fn extend(shown: &mut Value, left: Value) {
    if let (Some(shown), Value::Object(left)) = (shown.as_object_mut(), left) {
        shown.extend(left);
    }
}

/// Forgets what was used of a share, or of all.
pub(super) fn reset(board: &Board, id: &str, question: &Question) -> Answer {
    let Some(found) = find(board, id) else { return unknown() };
    let Some(policy) = counting(&*found) else { return unknown() };
    if !policy.forgets() {
        return wrong("what is under way ends by itself: there is nothing to forget\n");
    }
    let whom = match whom(policy, question) {
        Ok(whom) => whom,
        Err(why) => return wrong(&format!("{why}\n")),
    };
    let Some(whom) = whom else {
        if !question.all {
            return wrong("say whose share begins anew: key=NAME, share=ID, or all=true\n");
        }
        if !policy.reset_all() {
            return wrong("whose shares there are is not kept: name one by key=NAME\n");
        }
        tracing::info!(policy = id, "a limit was reset for all");
        return page(board, id, policy, None);
    };
    if let Err(why) = policy.reset(whom, &board.gateway.clock) {
        return wrong(&format!("{why}\n"));
    }
    let key = question.key.as_deref().or(question.share.as_deref());
    let application = question.application.as_deref();
    tracing::info!(policy = id, key, application, "a limit was reset");
    one(board, id, policy, question, whom)
}

fn written([first, second]: Id) -> String {
    format!("{first:016x}{second:016x}")
}

fn share_of(text: &str) -> Option<Id> {
    let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let whole = u128::from_str_radix(text, 16).ok().filter(|_| is_hex)?;
    let half = |shift: u32| u64::try_from(whole >> shift & u128::from(u64::MAX)).ok();
    Some([half(64)?, half(0)?])
}

#[cfg(test)]
mod tests {
    use super::{share_of, written};

    #[test]
    fn a_share_is_read_as_it_is_written() {
        for id in [[0, 0], [1, u64::MAX], [u64::MAX, 7]] {
            assert_eq!(share_of(&written(id)), Some(id));
        }
        for text in ["", "12", "+0000000000000000000000000000001", "zz"] {
            assert_eq!(share_of(text), None, "{text}");
        }
    }
}
