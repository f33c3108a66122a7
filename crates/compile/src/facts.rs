//! What policies of a config mean to each other: headers that two of them write, tokens that one needs and no other
//! keeps, names that two issuers give to different people.

use crate::callers::TELL_CLAIMS;
use base::Report;
use http::HeaderName;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use traffic::chain::Entry;
use traffic::policy::Voucher;
use traffic::snapshot::Route;

/// Reports what cannot be meant. Policies that many routes inherit are told of once.
pub(crate) fn check<'a>(routes: impl Iterator<Item = &'a Arc<Route>>, report: &mut Report) {
    let mut told = Told::default();
    let mut vouchers = BTreeMap::new();
    for route in routes {
        one(route, &mut told, report);
        for entry in route.chain.entries() {
            for voucher in entry.policy.facts().vouchers {
                agree(voucher, entry, &mut vouchers, &mut told, report);
            }
        }
    }
}

/// What was told, of which policy.
#[derive(Default)]
struct Told(HashSet<(&'static str, Arc<str>)>);

impl Told {
    fn is_new(&mut self, code: &'static str, entry: &Entry) -> bool {
        self.0.insert((code, Arc::clone(&entry.id)))
    }
}

fn one(route: &Route, told: &mut Told, report: &mut Report) {
    let entries = route.chain.entries();
    let facts: Vec<_> = entries.iter().map(|entry| (entry, entry.policy.facts())).collect();
    let keeps_token = facts.iter().any(|(_, facts)| facts.keeps_token);
    let mut writers: BTreeMap<&str, &Entry> = BTreeMap::new();
    for (entry, facts) in &facts {
        if facts.needs_host && route.hosts.is_empty() && told.is_new("unknown_origin", entry) {
            let message = format!(
                "proofs (DPoP) are about an address, and route `{}` has no hosts: a server that was shown a proof could use it here",
                route.id
            );
            report.error("unknown_origin", &entry.place, message).help(
                "give the API `hosts`, or say here by which address clients call: `sender: { origin: https://api.example.com, … }`",
            );
        }
        if facts.needs_token && !keeps_token && told.is_new("no_token", entry) {
            let message = format!(
                "there is nothing to exchange on route `{}`: no policy believes a bearer token and leaves it in place",
                route.id
            );
            report
                .error("no_token", &entry.place, message)
                .help("identify callers by `jwt` or `introspection` with `keep: true`");
        }
        let tells = || entries.iter().any(|entry| TELL_CLAIMS.contains(&entry.kind));
        if entry.kind == "scopes" && !tells() && told.is_new("no_scopes", entry) {
            let message = format!(
                "nobody passes on route `{}`: no policy there reads tokens, and only they have scopes",
                route.id
            );
            report.warning("no_scopes", &entry.place, message).help(
                "identify callers by `jwt` or `introspection`, or say who may by `rbac` or `acl`",
            );
        }
        for name in facts.writes.iter().map(HeaderName::as_str) {
            let Some(first) = writers.insert(name, entry) else { continue };
            if told.is_new("written_twice", entry) {
                let message =
                    format!("`{}` and `{}` both write the header `{name}`", first.kind, entry.kind);
                report
                    .error("written_twice", &entry.place, message)
                    .help("give one of them another `header`");
            }
        }
    }
}

/// Two who vouch for people must not call them by the same names, unless the config says so.
fn agree(
    voucher: Voucher,
    entry: &Entry,
    known: &mut BTreeMap<String, Voucher>,
    told: &mut Told,
    report: &mut Report,
) {
    let begins =
        |one: &str, other: &str| other.strip_prefix(one).is_some_and(|rest| rest.starts_with('/'));
    // Names may hold slashes, too: `a` can say `b/1` where `a/b` says `1`.
    let within = known.values().find(|other| {
        let is_within =
            begins(&other.prefix, &voucher.prefix) || begins(&voucher.prefix, &other.prefix);
        is_within && other.name != voucher.name
    });
    if let Some(other) = within
        && told.is_new("same_names", entry)
    {
        let message = format!(
            "callers of `{}` and of `{}` may have the same names: `{}/…` and `{}/…` are the beginnings of both",
            other.name, voucher.name, other.prefix, voucher.prefix
        );
        report
            .error("same_names", &entry.place, message)
            .help("give each issuer a prefix that is not the beginning of another's");
        return;
    }
    let Some(first) = known.get(&voucher.prefix) else {
        known.insert(voucher.prefix.clone(), voucher);
        return;
    };
    let is_meant = first.is_told && voucher.is_told;
    if first.name == voucher.name || is_meant || !told.is_new("same_names", entry) {
        return;
    }
    let Voucher { prefix, name, .. } = &voucher;
    let message = format!(
        "callers of `{}` and of `{name}` would have the same names, `{prefix}/…`, whoever they are",
        first.name
    );
    report.error("same_names", &entry.place, message).help(
        "give each issuer a prefix of its own, `consumer: { prefix: partners }`; where both know the same people, write the same one at both",
    );
}
