//! What has to be done to the objects of a draft so that they say a config.

use super::parts::{self, Part, key, normal, nth};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use store::Id;
use store::object::Object;

/// Between two places of a list, so that there is room for others.
const STEP: i64 = 1_024;
/// Letters of a name that is made of a key.
const NAME_MAX: usize = 48;

/// What becomes of one object.
#[derive(Clone, Debug)]
pub(super) enum Delta {
    Create(Object),
    Update(Object, Object),
    Delete(Object),
}

/// What has to be done, and what comes of it.
#[derive(Debug, Default)]
pub(super) struct Diff {
    pub(super) deltas: Vec<Delta>,
    /// Objects that the config lacks and that stay.
    pub(super) drift: Vec<Object>,
    /// All objects as they will be.
    pub(super) after: Vec<Object>,
    /// Where in the config that was sent each object stands, by its id.
    pub(super) pointers: HashMap<String, String>,
}

/// Objects by kind, owner and key.
type Known<'a> = HashMap<(&'a str, &'a str, String), &'a Object>;

/// A part with what is known of it.
struct Match<'a> {
    part: &'a Part,
    id: String,
    owner: String,
    was: Option<&'a Object>,
}

/// Compares a draft with a config.
pub(super) fn diff(
    draft: &[Object],
    wanted: &[Part],
    place: (&str, i64),
    prune: bool,
    mut id: impl FnMut() -> store::Result<Id>,
) -> store::Result<Diff> {
    let known = known(draft);
    let mut matches: Vec<Match<'_>> = Vec::with_capacity(wanted.len());
    for part in wanted {
        let owner = part.owner.and_then(|at| matches.get(at)).map(|it| it.id.clone());
        let owner = owner.unwrap_or_default();
        let was = known.get(&(part.kind, &*owner, part.key.clone())).copied();
        let id = was.map_or_else(|| id().map(|id| id.to_string()), |was| Ok(was.id.clone()))?;
        matches.push(Match { part, id, owner, was });
    }
    let positions = positions(&matches);
    let mut names = names(draft);
    let mut diff = Diff::default();
    let mut met = HashSet::new();
    for (it, position) in matches.iter().zip(positions) {
        diff.pointers.insert(it.id.clone(), it.part.pointer.clone());
        let object = match it.was {
            Some(was) => {
                met.insert(&*was.id);
                changed(was, it.part, position, place.1)
            }
            None => Some(made(it, position, place, &mut names)),
        };
        match (it.was, object) {
            (Some(was), None) => diff.after.push(was.clone()),
            (Some(was), Some(became)) => {
                diff.after.push(became.clone());
                diff.deltas.push(Delta::Update(was.clone(), became));
            }
            (None, made) => {
                diff.after.extend(made.clone());
                diff.deltas.extend(made.map(Delta::Create));
            }
        }
    }
    for object in draft.iter().filter(|it| !met.contains(&*it.id)) {
        if prune {
            diff.deltas.push(Delta::Delete(object.clone()));
        } else {
            diff.drift.push(object.clone());
            diff.after.push(object.clone());
        }
    }
    Ok(diff)
}

fn read(object: &Object) -> Value {
    serde_json::from_str(&object.body).unwrap_or_default()
}

/// What is there, by what it is told by.
fn known(draft: &[Object]) -> Known<'_> {
    let mut seen: HashMap<(&str, &str), HashMap<String, usize>> = HashMap::new();
    let mut sorted: Vec<&Object> = draft.iter().collect();
    sorted.sort_by(|a, b| a.position.cmp(&b.position).then_with(|| a.name.cmp(&b.name)));
    let mut known = Known::new();
    for object in sorted {
        let (kind, owner) = (parts::kind(&object.kind), &*object.owner);
        let name = if matches!(kind, "route" | "policy") {
            nth(key(kind, &read(object)), seen.entry((kind, owner)).or_default())
        } else {
            object.name.clone()
        };
        known.insert((kind, owner, name), object);
    }
    known
}

/// The object as it has to be, if that is another than it is.
fn changed(was: &Object, part: &Part, position: i64, at_ms: i64) -> Option<Object> {
    if was.position == position && normal(part.kind, read(was)) == part.body {
        return None;
    }
    let body = part.body.to_string();
    let revision = was.revision + 1;
    Some(Object { position, body, revision, updated_ms: at_ms, ..was.clone() })
}

/// Names that are taken, by kind and owner.
type Names = HashMap<(String, String), HashSet<String>>;

fn names(draft: &[Object]) -> Names {
    let mut names = Names::new();
    for object in draft {
        let group = names.entry((object.kind.clone(), object.owner.clone())).or_default();
        group.insert(object.name.clone());
    }
    names
}

fn made(
    it: &Match<'_>,
    position: i64,
    (workspace, at_ms): (&str, i64),
    names: &mut Names,
) -> Object {
    let Part { kind, key, body, .. } = it.part;
    let taken = names.entry(((*kind).to_owned(), it.owner.clone())).or_default();
    let name =
        if matches!(*kind, "route" | "policy") { free(kind, key, taken) } else { key.clone() };
    taken.insert(name.clone());
    Object {
        id: it.id.clone(),
        workspace: workspace.to_owned(),
        kind: (*kind).to_owned(),
        owner: it.owner.clone(),
        name,
        position,
        body: body.to_string(),
        revision: 1,
        created_ms: at_ms,
        updated_ms: at_ms,
    }
}

/// A name like a key that nobody has: `get-orders-id` for `GET /orders/{id}`.
fn free(kind: &str, key: &str, taken: &HashSet<String>) -> String {
    let plain =
        |c: char| if c.is_ascii_alphanumeric() || c == '_' { c.to_ascii_lowercase() } else { '-' };
    let dashed: String = key.chars().map(plain).collect();
    let words: Vec<&str> = dashed.split('-').filter(|word| !word.is_empty()).collect();
    let short: String = words.join("-").chars().take(NAME_MAX).collect();
    let begins = short.starts_with(|c: char| c.is_ascii_alphanumeric());
    let stem = if begins { short } else { format!("{kind}{short}") };
    let mut name = stem.clone();
    let mut count = 1;
    while taken.contains(&name) {
        count += 1;
        name = format!("{stem}-{count}");
    }
    name
}

/// Where each part is to stand. What is in order already stays where it is.
fn positions(matches: &[Match<'_>]) -> Vec<i64> {
    let mut groups: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
    for (at, it) in matches.iter().enumerate() {
        if matches!(it.part.kind, "route" | "policy") {
            groups.entry((it.part.kind, &it.owner)).or_default().push(at);
        }
    }
    let mut positions: Vec<i64> =
        matches.iter().map(|it| it.was.map_or(0, |it| it.position)).collect();
    for group in groups.values() {
        let have = |at: &usize| {
            matches.get(*at).and_then(|it| it.was).map(|was| (was.position, &*was.name))
        };
        let have: Vec<Option<(i64, &str)>> = group.iter().map(have).collect();
        for (at, position) in group.iter().zip(settle(&have)) {
            if let Some(slot) = positions.get_mut(*at) {
                *slot = position;
            }
        }
    }
    positions
}

/// Places for a list, of which some have one already: as many as can be keep theirs.
fn settle(have: &[Option<(i64, &str)>]) -> Vec<i64> {
    let spread = || (1..).take(have.len()).map(|at| at * STEP).collect();
    let keep = rising(have);
    let mut settled: Vec<i64> = Vec::with_capacity(have.len());
    let mut at = 0;
    while at < have.len() {
        if let (true, Some((position, _))) = (keep.contains(&at), have.get(at).copied().flatten()) {
            settled.push(position);
            at += 1;
            continue;
        }
        // A gap: what comes between two that stay, or after the last.
        let end = (at..have.len()).find(|it| keep.contains(it));
        let gap = i64::try_from(end.unwrap_or(have.len()) - at).unwrap_or(i64::MAX);
        let before = settled.last().copied().unwrap_or(0);
        let step = match end.and_then(|end| have.get(end).copied().flatten()) {
            None => STEP,
            Some((after, _)) => after.saturating_sub(before) / gap.saturating_add(1),
        };
        if step < 1 {
            return spread();
        }
        settled.extend((1..=gap).map(|nth| before.saturating_add(nth.saturating_mul(step))));
        at += usize::try_from(gap).unwrap_or(usize::MAX);
    }
    settled
}

/// Which of a list may stay: a longest part of it that is in order.
fn rising(have: &[Option<(i64, &str)>]) -> HashSet<usize> {
    // The last of the best list of each length, and what comes before each.
    let mut tails: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = vec![None; have.len()];
    for (at, value) in have.iter().enumerate() {
        let Some(value) = value else { continue };
        let is_less =
            |tail: &usize| have.get(*tail).copied().flatten().is_some_and(|it| it < *value);
        let length = tails.partition_point(is_less);
        before[at] = length.checked_sub(1).and_then(|it| tails.get(it).copied());
        match tails.get_mut(length) {
            Some(tail) => *tail = at,
            None => tails.push(at),
        }
    }
    let mut keep = HashSet::new();
    let mut next = tails.last().copied();
    while let Some(at) = next {
        keep.insert(at);
        next = before.get(at).copied().flatten();
    }
    keep
}

#[cfg(test)]
mod tests {
    use super::{free, settle};
    use std::collections::HashSet;

    #[test]
    fn what_is_in_order_stays_where_it_is() {
        assert_eq!(settle(&[None, None]), [1024, 2048]);
        assert_eq!(settle(&[Some((1024, "a")), None, Some((2048, "b"))]), [1024, 1536, 2048]);
        assert_eq!(settle(&[None, Some((1024, "a"))]), [512, 1024]);
        let moved = [Some((3072, "c")), Some((1024, "a")), Some((2048, "b"))];
        assert_eq!(settle(&moved), [512, 1024, 2048]);
        assert_eq!(settle(&[Some((1, "a")), None, Some((2, "b"))]), [1024, 2048, 3072], "no room");
        assert_eq!(settle(&[Some((0, "a")), Some((0, "b"))]), [0, 0], "names decide");
        assert_eq!(settle(&[Some((0, "b")), Some((0, "a"))]), [1024, 2048]);
    }

    #[test]
    fn keys_become_names_that_nobody_has() {
        let taken = HashSet::from(["get-orders-id".to_owned()]);
        assert_eq!(free("route", "GET /orders/{id}", &taken), "get-orders-id-2");
        assert_eq!(free("route", "/", &taken), "route");
        assert_eq!(free("route", "_x", &taken), "route_x");
        assert_eq!(free("policy", "rate_limit/gold", &taken), "rate_limit-gold");
    }
}
