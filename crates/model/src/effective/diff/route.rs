//! Routes.

use super::parts::said;
use super::{Found, Level, What, is_wider, named, new_in};
use crate::effective::{EffectivePolicy, EffectiveRoute, Purpose};

/// A route that was not there before.
pub(super) fn appears(id: &str, route: &EffectiveRoute, found: &mut Found) {
    let takes = takes(route);
    let (level, text) = match &route.public {
        Some(reason) => {
            (Level::Warning, format!("is new, and anybody may call it ({reason}): {takes}"))
        }
        None => (Level::Note, format!("is new: {takes}")),
    };
    found.add(level, What::Added, ("route", id), "", text);
}

/// A route that is no longer there.
pub(super) fn vanishes(id: &str, route: &EffectiveRoute, found: &mut Found) {
    let text = format!("is gone: {}", takes(route));
    found.add(Level::Warning, What::Removed, ("route", id), "", text);
}

/// Which requests it takes, in words.
fn takes(route: &EffectiveRoute) -> String {
    let matching = &route.matching;
    let listed = |set: &std::collections::BTreeSet<String>, sign: &str, all: &str| {
        let list = set.iter().map(String::as_str).collect::<Vec<_>>().join(sign);
        if list.is_empty() { all.to_owned() } else { list }
    };
    let methods = listed(&matching.methods, ",", "*");
    let hosts = listed(&matching.hosts, ", ", "any host");
    format!("{methods} {} of {hosts}", matching.path)
}

/// A route that was there before.
pub(super) fn compare(
    id: &str,
    before: &EffectiveRoute,
    after: &EffectiveRoute,
    found: &mut Found,
) {
    if before == after {
        return;
    }
    let mut told = Told { subject: ("route", id), found };
    if before.state != after.state {
        let name =
            |route: &EffectiveRoute| route.state.clone().unwrap_or_else(|| "published".to_owned());
        let text = format!("is {}, which was {}", name(after), name(before));
        told.add(Level::Warning, What::State, "/state", text);
    }
    told.matching(before, after);
    told.public(before, after);
    for purpose in [Purpose::Authentication, Purpose::Access, Purpose::Limit, Purpose::Treatment] {
        let list = |route: &EffectiveRoute| route.policies(purpose).cloned().collect::<Vec<_>>();
        told.policies(purpose, &list(before), &list(after), after.public.is_some());
    }
    told.upstream(before, after);
    for (name, reason) in &after.exempt {
        if before.exempt.get(name) != Some(reason) {
            let text = format!("`{name}` does not apply: {reason}");
            told.add(Level::Note, What::Settings, "/exempt", text);
        }
    }
}

struct Told<'a> {
    subject: (&'a str, &'a str),
    found: &'a mut Found,
}

impl Told<'_> {
    fn add(&mut self, level: Level, what: What, below: &str, text: impl Into<String>) {
        self.found.add(level, what, self.subject, below, text);
    }

    fn matching(&mut self, before: &EffectiveRoute, after: &EffectiveRoute) {
        let (was, is) = (&before.matching, &after.matching);
        for (below, was, is, all) in [
            ("/match/hosts", &was.hosts, &is.hosts, "any host"),
            ("/listeners", &before.listeners, &after.listeners, "all listeners"),
        ] {
            if was != is {
                let level = if is_wider(was, is) { Level::Danger } else { Level::Warning };
                let text =
                    format!("is served on {} in place of {}", named(is, all), named(was, all));
                self.add(level, What::Exposure, below, text);
            }
        }
        if was.path != is.path {
            let text = format!("takes the path `{}` in place of `{}`", is.path, was.path);
            self.add(Level::Warning, What::Match, "/match/path", text);
        }
        if was.methods != is.methods {
            let all = "every method";
            let (now, then) = (named(&is.methods, all), named(&was.methods, all));
            let text = format!("takes {now} in place of {then}");
            self.add(Level::Warning, What::Match, "/match/methods", text);
        }
        if was.conditions != is.conditions {
            let (now, then) = (named(&is.conditions, "nothing"), named(&was.conditions, "nothing"));
            let text = format!("asks for {now} in headers and query in place of {then}");
            self.add(Level::Warning, What::Match, "/match/conditions", text);
        }
    }

    fn public(&mut self, before: &EffectiveRoute, after: &EffectiveRoute) {
        match (&before.public, &after.public) {
            (None, Some(reason)) => {
                let text = format!("becomes public, so that anybody may call it: {reason}");
                self.add(Level::Danger, What::Public, "/public", text);
            }
            (Some(_), None) => {
                let text = "is no longer public: who calls must be known";
                self.add(Level::Warning, What::Public, "/public", text);
            }
            (Some(then), Some(now)) if then != now => {
                let text = format!("is public for another reason: {now}");
                self.add(Level::Note, What::Public, "/public", text);
            }
            _ => {}
        }
    }

    fn policies(
        &mut self,
        purpose: Purpose,
        before: &[EffectivePolicy],
        after: &[EffectivePolicy],
        is_public: bool,
    ) {
        let is_identity = purpose == Purpose::Authentication;
        let what = match purpose {
            Purpose::Authentication => What::Authentication,
            Purpose::Access => What::Access,
            Purpose::Limit => What::Limit,
            Purpose::Treatment => What::Treatment,
        };
        let Paired { moved, changed, gone, new } = pair(before, after);
        let (minor, major) = match purpose {
            Purpose::Treatment => (Level::Note, Level::Note),
            _ => (Level::Warning, Level::Danger),
        };
        for (was, is) in moved {
            let text = format!("`{}` is `{}`, which was `{}`", is.kind, is.id, was.id);
            self.add(Level::Note, what, "/chain", text);
        }
        for (was, is) in changed {
            self.add(minor, what, "/chain", other_settings(was, is));
        }
        if is_identity && !gone.is_empty() && !new.is_empty() {
            self.replaced((before, after), &gone, &new);
            return;
        }
        // That the route is public says it all.
        for policy in gone.iter().filter(|_| !(is_identity && after.is_empty() && is_public)) {
            let text = match is_identity {
                true => format!("no longer asks for `{}`", policy.kind),
                false if policy.about.is_empty() => {
                    format!("`{}` no longer applies", policy.kind)
                }
                false => {
                    format!("`{}` no longer applies: it said {}", policy.kind, said(&policy.about))
                }
            };
            self.add(major, what, "/chain", text);
        }
        for policy in new {
            let text = match is_identity {
                true => format!("asks for `{}` as well", policy.kind),
                false if policy.about.is_empty() => format!("`{}` applies", policy.kind),
                false => format!("`{}` applies: {}", policy.kind, said(&policy.about)),
            };
            self.add(Level::Note, what, "/chain", text);
        }
    }

    /// Other ways to find out who calls.
    fn replaced(
        &mut self,
        (before, after): (&[EffectivePolicy], &[EffectivePolicy]),
        gone: &[&EffectivePolicy],
        new: &[&EffectivePolicy],
    ) {
        // All of them must succeed, so that the strongest counts.
        let strength = |of: &[EffectivePolicy]| of.iter().map(strength).max();
        let kinds = |of: &[&EffectivePolicy]| {
            of.iter().map(|it| format!("`{}`", it.kind)).collect::<Vec<_>>().join(", ")
        };
        let text = format!("asks for {} in place of {}", kinds(new), kinds(gone));
        let (level, text) = match strength(after) < strength(before) {
            true => (Level::Danger, format!("{text}, which proves less")),
            false => (Level::Warning, text),
        };
        self.add(level, What::Authentication, "/chain", text);
    }

    fn upstream(&mut self, before: &EffectiveRoute, after: &EffectiveRoute) {
        if before.upstream != after.upstream {
            let name = |upstream: &Option<String>| {
                upstream.as_ref().map_or_else(|| "none".to_owned(), |name| format!("`{name}`"))
            };
            let (now, then) = (name(&after.upstream), name(&before.upstream));
            let text = format!("goes to the upstream {now} in place of {then}");
            self.add(Level::Warning, What::Upstream, "/upstream", text);
        }
        if before.destinations != after.destinations {
            let words = |route: &EffectiveRoute| {
                let words = route.destinations.iter();
                words.map(|(kind, which, to)| format!("{kind} {which} → {to}")).collect()
            };
            let new = new_in(&words(before), &words(after));
            let text = if new.is_empty() {
                "policies send no more requests where they sent some before".to_owned()
            } else {
                format!("policies send requests elsewhere: {}", new.join(", "))
            };
            self.add(Level::Warning, What::Upstream, "/destinations", text);
        }
    }
}

fn other_settings(was: &EffectivePolicy, is: &EffectivePolicy) -> String {
    if was.about == is.about {
        format!("`{}` has other settings", is.kind)
    } else {
        format!("`{}` says {} in place of {}", is.kind, said(&is.about), said(&was.about))
    }
}

/// What became of the policies of one purpose.
#[derive(Default)]
struct Paired<'a> {
    /// The same under another id.
    moved: Vec<(&'a EffectivePolicy, &'a EffectivePolicy)>,
    /// Of the same kind, with other settings.
    changed: Vec<(&'a EffectivePolicy, &'a EffectivePolicy)>,
    gone: Vec<&'a EffectivePolicy>,
    new: Vec<&'a EffectivePolicy>,
}

/// Finds for each policy what became of it: best the one with its id, then one that does the same, then one of its kind.
fn pair<'a>(before: &'a [EffectivePolicy], after: &'a [EffectivePolicy]) -> Paired<'a> {
    let mut paired = Paired::default();
    let mut left: Vec<&EffectivePolicy> = after.iter().collect();
    let mut take = |fits: &dyn Fn(&EffectivePolicy) -> bool| {
        left.iter().position(|it| fits(it)).map(|at| left.remove(at))
    };
    let mut others: Vec<&EffectivePolicy> = Vec::new();
    for was in before {
        match take(&|it| it.kind == was.kind && it.id == was.id) {
            Some(is) if is.digest == was.digest => {}
            Some(is) => paired.changed.push((was, is)),
            None => others.push(was),
        }
    }
    let mut unlike = Vec::new();
    for was in others {
        match take(&|it| it.kind == was.kind && it.digest == was.digest) {
            Some(is) => paired.moved.push((was, is)),
            None => unlike.push(was),
        }
    }
    for was in unlike {
        match take(&|it| it.kind == was.kind) {
            Some(is) => paired.changed.push((was, is)),
            None => paired.gone.push(was),
        }
    }
    paired.new = left;
    paired
}

/// How much a way to identify proves, roughly: something that was sent, something that was signed, a key that was held.
fn strength(policy: &EffectivePolicy) -> u8 {
    match policy.kind.as_str() {
        "all" => 5,
        "mtls" => 4,
        "hmac" | "jwt" | "introspection" => 3,
        "ext_authz" | "api_key" => 2,
        // Of several ways (`any`) the weakest counts.
        _ => 1,
    }
}
