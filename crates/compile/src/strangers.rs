//! Groups by which policies judge, and whether anybody who comes can be in them: a group that only others say stands
//! behind their prefix.

use crate::callers::{Caller, Request};
use base::Report;
use http::Method;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use traffic::directory::{Credential, CredentialHash, CredentialKind};
use traffic::policy::{Foreseen, Gives, Voucher};
use traffic::snapshot::Route;

/// Warns of groups that nobody is in who comes to a route, where others than the config say who comes.
pub(crate) fn check<'a>(
    routes: impl Iterator<Item = &'a Arc<Route>>,
    credentials: &[(CredentialHash, Arc<Credential>)],
    report: &mut Report,
) {
    // By what the members of each group can show who they are.
    let mut kinds: BTreeMap<&str, Vec<CredentialKind>> = BTreeMap::new();
    for (_, credential) in credentials {
        for group in &credential.consumer.groups {
            let of_group = kinds.entry(group).or_default();
            if !of_group.contains(&credential.kind) {
                of_group.push(credential.kind);
            }
        }
    }
    let mut told = HashSet::new();
    for route in routes.filter(|route| route.public.is_none() && route.broken.is_none()) {
        let entries = route.chain.entries();
        let facts: Vec<_> = entries.iter().map(|entry| (entry, entry.policy.facts())).collect();
        let vouchers: Vec<&Voucher> = facts.iter().flat_map(|(_, it)| &it.vouchers).collect();
        let Some(voucher) = vouchers.first() else { continue };
        for (entry, facts) in &facts {
            for group in &facts.groups {
                let comes = vouchers.iter().any(|voucher| says(voucher, group))
                    || kinds.get(group.as_str()).is_some_and(|kinds| may_show(route, kinds));
                if comes || !told.insert((Arc::clone(&entry.id), group.clone())) {
                    continue;
                }
                let message = format!(
                    "nobody who comes to `{}` is in the group `{group}`: `{}` says who comes, and not that",
                    route.id, voucher.name
                );
                let Voucher { prefix, .. } = voucher;
                report.warning("group_of_nobody", &entry.place, message).help(format!(
                    "a group that others say is called `{prefix}/{group}` here; or let them say this one, where callers are identified: `groups: {{ from: …, as: [{group}] }}`"
                ));
            }
        }
    }
}

/// Whether somebody may say that a caller is in a group.
fn says(voucher: &Voucher, group: &str) -> bool {
    match &voucher.groups {
        None => false,
        Some(Gives::All) => true,
        Some(Gives::These(own)) => {
            let rest = group.strip_prefix(voucher.prefix.as_str());
            rest.is_some_and(|rest| rest.starts_with('/')) || own.iter().any(|own| **own == *group)
        }
    }
}

/// Whether a consumer of the config with such credentials may be identified on a route.
fn may_show(route: &Route, kinds: &[CredentialKind]) -> bool {
    let caller = Caller::showing(kinds.to_vec());
    let request = Request::any_of(route, Method::GET);
    let exchange = request.exchange(&caller);
    let identifying = route.chain.entries().iter().filter(|entry| {
        policy::kind(entry.kind).is_some_and(policy::Kind::identifies) && entry.policy.identifies()
    });
    let mut said = identifying.filter_map(|entry| request.ask(entry, &exchange, &caller));
    !said.any(|said| matches!(said, Foreseen::Refuses(_)))
}
