//! What differs between two configs in what they come to. Where and in which order something is written makes no
//! difference here.

use super::{EffectiveConfig, EffectiveRoute, Matching};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

mod parts;
mod route;

/// How much a change matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// It does no harm by itself.
    Note,
    /// Somebody may notice it: requests go elsewhere, or are refused.
    Warning,
    /// It opens something: who calls is asked less, less is limited, or more can be reached.
    Danger,
}

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// There is something new.
    Added,
    /// Something is gone.
    Removed,
    /// A route has another name.
    Renamed,
    /// Whether an API is going away.
    State,
    /// Which requests a route takes.
    Match,
    /// Who can reach it: hosts, listeners, addresses.
    Exposure,
    /// Whether anybody may call, and why.
    Public,
    /// How it is found out who calls.
    Authentication,
    /// Whether callers may.
    Access,
    /// How much they may.
    Limit,
    /// What else is done with requests and answers.
    Treatment,
    /// Where requests go.
    Upstream,
    /// Any other setting.
    Settings,
}

/// One thing that has changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Change {
    /// How much it matters.
    pub level: Level,
    /// What has changed.
    pub what: What,
    /// What has changed, by kind and name: `route orders/list`.
    pub subject: String,
    /// JSON pointer (RFC 6901) to it in the [`EffectiveConfig`] after the change, or in the one before if it is gone.
    pub pointer: String,
    /// What it means, for people.
    pub text: String,
}

/// All that has changed, what matters most first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Diff(pub Vec<Change>);

impl Diff {
    /// Whether nothing has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How much the change that matters most does; nothing if there is none.
    #[must_use]
    pub fn level(&self) -> Option<Level> {
        self.0.iter().map(|change| change.level).max()
    }
}

/// How many of those of whom the same is said are named.
const NAMED_MAX: usize = 3;

impl fmt::Display for Diff {
    /// One line for each change; what is said of several routes is said once.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut at = 0;
        while let Some(first) = self.0.get(at) {
            let same = self.0.iter().skip(at);
            let is_same = |it: &&Change| {
                (it.level, it.what, &it.text) == (first.level, first.what, &first.text)
            };
            let subjects: Vec<&str> =
                same.take_while(is_same).map(|it| it.subject.as_str()).collect();
            at += subjects.len();
            let level = match first.level {
                Level::Note => "note",
                Level::Warning => "warning",
                Level::Danger => "danger",
            };
            let named = subjects.iter().take(NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
            let more = match subjects.len().saturating_sub(NAMED_MAX) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            writeln!(f, "{level:<8} {named}{more}: {}", first.text)?;
        }
        Ok(())
    }
}

/// Collects changes.
#[derive(Default)]
struct Found(Vec<Change>);

impl Found {
    fn add(
        &mut self,
        level: Level,
        what: What,
        (kind, name): (&str, &str),
        below: &str,
        text: impl Into<String>,
    ) {
        let escaped = name.replace('~', "~0").replace('/', "~1");
        let section = if name.is_empty() { kind.to_owned() } else { format!("{kind}s/{escaped}") };
        self.0.push(Change {
            level,
            what,
            subject: format!("{kind} {name}").trim_end().to_owned(),
            pointer: format!("/{section}{below}"),
            text: text.into(),
        });
    }
}

/// Says what has changed from one config to another. Of equal ones that is nothing.
#[must_use]
pub fn diff(before: &EffectiveConfig, after: &EffectiveConfig) -> Diff {
    let mut found = Found::default();
    parts::compare(before, after, &mut found);
    let mut gone: BTreeMap<&str, &EffectiveRoute> = BTreeMap::new();
    for (id, route) in &before.routes {
        match after.routes.get(id) {
            Some(now) => route::compare(id, route, now, &mut found),
            None => {
                gone.insert(id, route);
            }
        }
    }
    // A route that takes the same requests under another name is the same route.
    let by_match: BTreeMap<(&Matching, &BTreeSet<String>), &str> =
        gone.iter().map(|(id, route)| ((&route.matching, &route.listeners), *id)).collect();
    for (id, now) in &after.routes {
        if before.routes.contains_key(id) {
            continue;
        }
        let former = by_match.get(&(&now.matching, &now.listeners));
        match former.and_then(|former| Some((*former, gone.remove(former)?))) {
            Some((former, route)) => {
                let text = format!("was called `{former}` before");
                found.add(Level::Note, What::Renamed, ("route", id), "", text);
                route::compare(id, route, now, &mut found);
            }
            None => route::appears(id, now, &mut found),
        }
    }
    for (id, route) in gone {
        route::vanishes(id, route, &mut found);
    }
    let mut changes = found.0;
    changes.sort_by(|a, b| {
        let order = b.level.cmp(&a.level).then(a.what.cmp(&b.what));
        order.then_with(|| a.text.cmp(&b.text)).then_with(|| a.pointer.cmp(&b.pointer))
    });
    Diff(changes)
}

/// What is in the second set only.
fn new_in(before: &BTreeSet<String>, after: &BTreeSet<String>) -> Vec<String> {
    after.difference(before).cloned().collect()
}

/// Whether a set of which none stands for all takes more than before.
fn is_wider(before: &BTreeSet<String>, after: &BTreeSet<String>) -> bool {
    !before.is_empty() && (after.is_empty() || !after.is_subset(before))
}

/// A set of which none stands for all.
fn named(set: &BTreeSet<String>, all: &str) -> String {
    if set.is_empty() {
        return all.to_owned();
    }
    set.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::{Level, diff};
    use crate::effective::{
        EffectiveConfig, EffectiveListener, EffectivePart, EffectivePolicy, EffectiveRoute,
        EffectiveUpstream, Matching, Purpose,
    };
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn names() -> impl Strategy<Value = BTreeSet<String>> {
        proptest::collection::btree_set("[a-c]", 0..3)
    }

    fn policy() -> impl Strategy<Value = EffectivePolicy> {
        let kinds = prop_oneof![
            Just(("jwt", Purpose::Authentication)),
            Just(("api_key", Purpose::Authentication)),
            Just(("acl", Purpose::Access)),
            Just(("rate_limit", Purpose::Limit)),
            Just(("headers", Purpose::Treatment)),
        ];
        (kinds, "[a-b]", "[0-2]").prop_map(|((kind, purpose), id, digest)| EffectivePolicy {
            id: format!("{id}/{kind}"),
            kind: kind.to_owned(),
            purpose,
            digest,
            about: Vec::new(),
        })
    }

    fn route() -> impl Strategy<Value = EffectiveRoute> {
        let matching = (names(), "/[a-c]", names()).prop_map(|(hosts, path, methods)| Matching {
            hosts,
            path,
            methods,
            conditions: BTreeSet::new(),
        });
        let parts = (
            matching,
            names(),
            proptest::option::of("[a-b]"),
            proptest::collection::vec(policy(), 0..5),
            proptest::option::of("[a-b]"),
        );
        parts.prop_map(|(matching, listeners, public, chain, upstream)| EffectiveRoute {
            matching,
            listeners,
            public,
            chain,
            upstream,
            ..EffectiveRoute::default()
        })
    }

    fn config() -> impl Strategy<Value = EffectiveConfig> {
        let part = "[0-2]".prop_map(|digest| EffectivePart { digest, about: Vec::new() });
        let listener = ("127.0.0.1:[1-2]|0.0.0.0:1", any::<bool>(), "[0-2]").prop_map(
            |(bind, tls, digest)| EffectiveListener {
                bind,
                tls,
                client_certificates: None,
                digest,
            },
        );
        let upstream = (names(), any::<bool>(), "[0-2]")
            .prop_map(|(targets, tls, digest)| EffectiveUpstream { targets, tls, digest });
        let map = |size| 0..size;
        (
            proptest::collection::btree_map("[a-c]", listener, map(3)),
            proptest::collection::btree_map("[a-c]", upstream, map(3)),
            proptest::collection::btree_map("[a-c]", part, map(3)),
            proptest::collection::btree_map("[a-e]", route(), map(5)),
        )
            .prop_map(|(listeners, upstreams, plans, routes)| EffectiveConfig {
                listeners,
                upstreams,
                plans,
                routes,
                ..EffectiveConfig::default()
            })
    }

    proptest! {
        #[test]
        fn equal_configs_differ_in_nothing(config in config()) {
            prop_assert!(diff(&config, &config.clone()).is_empty());
        }

        #[test]
        fn whatever_differs_is_told(before in config(), after in config()) {
            // The order of two policies of one kind is the order in which they run; what else differs is told.
            let sorted = |config: &EffectiveConfig| {
                let mut config = config.clone();
                for route in config.routes.values_mut() {
                    route.chain.sort_by(|a, b| (&a.id, &a.digest).cmp(&(&b.id, &b.digest)));
                }
                config
            };
            let (before, after) = (sorted(&before), sorted(&after));
            prop_assert_eq!(diff(&before, &after).is_empty(), before == after);
        }

        #[test]
        fn a_route_that_becomes_public_is_a_danger(config in config(), reason in "[a-z]{1,3}") {
            let mut after = config.clone();
            let closed = after.routes.iter_mut().find(|(_, route)| route.public.is_none());
            let Some((id, route)) = closed else { return Ok(()) };
            let pointer = format!("/routes/{id}/public");
            route.public = Some(reason);
            let told = diff(&config, &after);
            let change = told.0.iter().find(|change| change.pointer == pointer);
            prop_assert_eq!(change.map(|change| change.level), Some(Level::Danger));
        }

        #[test]
        fn nothing_is_lost_when_it_is_kept_as_json(before in config(), after in config()) {
            let changes = diff(&before, &after);
            let json = serde_json::to_string(&changes).unwrap();
            prop_assert_eq!(serde_json::from_str::<super::Diff>(&json).unwrap(), changes);
            let json = serde_json::to_string(&before).unwrap();
            prop_assert_eq!(serde_json::from_str::<EffectiveConfig>(&json).unwrap(), before);
        }
    }
}
