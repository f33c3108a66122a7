//! Which APIs can be reached past a certificate that clients must show. Entries of a listener may ask different
//! things of their clients, and an API answers to every host it matches: so one that is meant for hosts which let
//! nobody in without a certificate may be open by another host of the same listener.

use base::network::Network;
use base::{Node, Place, Placed, Report, Value};
use model::{Api, Config, Map, PolicyConfig};
use traffic::tls::ListenerTls;

/// What can be reached by one host pattern of an API, with a host of each kind as an example.
#[derive(Debug, Default)]
struct Reach {
    /// It needs a certificate.
    guarded: Option<String>,
    /// It does not.
    open: Option<String>,
    /// No certificate of the listener names it.
    unnamed: bool,
}

/// Warns about APIs on a listener that are reached with and without a certificate, and about hosts of which nobody
/// can tell what is asked.
pub(crate) fn check(
    config: &Config,
    listener: &Placed<String>,
    tls: &ListenerTls,
    report: &mut Report,
) {
    let mut names: Vec<(String, bool)> = tls.names().collect();
    names.sort_unstable();
    let asks = |is_required| names.iter().any(|(_, required)| *required == is_required);
    if !tls.is_divided() || !asks(true) {
        return;
    }
    for (name, api) in config.apis.iter() {
        let is_served = api.listeners.is_empty()
            || api.listeners.iter().any(|served| served.value == listener.value);
        if is_served {
            warn(name, api, listener, &names, report);
        }
    }
}

/// Warns about APIs that identify by certificates which no listener of theirs asks for: nobody ever gets in by them; and
/// of passwords over sockets that tell nobody's address.
pub(crate) fn check_asked(config: &Config, asking: &[&str], report: &mut Report) {
    check_told(config, report);
    let is_asking = |listener: &str| asking.contains(&listener);
    for (name, api) in config.apis.iter() {
        let is_asked = if api.listeners.is_empty() {
            config.listeners.iter().any(|(name, _)| is_asking(&name.value))
        } else {
            api.listeners.iter().any(|name| is_asking(&name.value))
        };
        if is_asked {
            continue;
        }
        let is_exempt = |exempt: &Map<String>| exempt.iter().any(|(name, _)| name.value == MTLS);
        let gateway = config.policies.iter().filter(|_| !is_exempt(&api.exempt));
        let routes = api.routes.iter().flat_map(|route| &route.value.settings.policies);
        for policy in gateway.chain(&api.policies).chain(routes) {
            let Some(place) = asks_for(policy, MTLS) else { continue };
            let message = format!(
                "no listener of `{}` asks clients for certificates, so that nobody is ever identified by one",
                name.value
            );
            report.warning("client_not_asked", place, message).help(
                "let its listener ask: `tls: { client: { mode: optional, ca: clients.pem } }`, or `trusted_proxies: { from, client_cert: verified }`",
            );
        }
    }
}

/// Warns of passwords that are asked for over Unix sockets by which nobody tells who the client is: only accounts
/// are protected from guessing there.
fn check_told(config: &Config, report: &mut Report) {
    let tells = |from: &[Placed<Network>]| from.iter().any(|it| it.value == Network::Unix);
    let untold = config.listeners.iter().find(|(_, listener)| {
        let trusted = listener.trusted_proxies.as_ref().unwrap_or(&config.trusted_proxies);
        let is_unix = listener.bind.value.to_string().starts_with("unix:");
        is_unix && !tells(&trusted.from) && !tells(&listener.proxy_protocol.from)
    });
    let Some((name, listener)) = untold else { return };
    let of_apis = config.apis.iter().flat_map(|(_, api)| {
        let routes = api.routes.iter().flat_map(|route| &route.value.settings.policies);
        api.policies.iter().chain(routes)
    });
    if config.policies.iter().chain(of_apis).any(|it| asks_for(it, BASIC).is_some()) {
        let message = format!(
            "nobody tells by `{}` which client it is: guesses of passwords are counted for each account there, and for no address",
            name.value
        );
        report.warning("clients_untold", &listener.bind.place, message).help(
            "where a proxy is in front, have it tell, and believe it: `trusted_proxies: [unix]`",
        );
    }
}

/// The kind of policy that looks at certificates of clients,
const MTLS: &str = "mtls";
/// and the one that looks at passwords.
const BASIC: &str = "basic";

/// Where a policy, or one that it is made of, is of a kind.
fn asks_for<'a>(policy: &'a PolicyConfig, kind: &str) -> Option<&'a Place> {
    if policy.kind.value == kind {
        return Some(policy.place());
    }
    let ways = policy.settings.field("of").unwrap_or(&policy.settings);
    let Value::List(ways) = &ways.value else { return None };
    let is_it = |way: &&Node| match &way.value {
        Value::Text(own) => own == kind,
        _ => way.field(kind).is_some(),
    };
    let is_combined = ["any", "all"].contains(&policy.kind.value.as_str());
    let way = ways.iter().find(is_it).filter(|_| is_combined)?;
    Some(if way.place.is_known() { &way.place } else { policy.place() })
}

fn warn(
    name: &Placed<String>,
    api: &Api,
    listener: &Placed<String>,
    names: &[(String, bool)],
    report: &mut Report,
) {
    let mut all = Reach::default();
    let mut place: &Place = &name.place;
    let mut unnamed = None;
    if api.hosts.is_empty() {
        all.add(reach("*", names));
    }
    for host in &api.hosts {
        let reached = reach(&host.value, names);
        if reached.unnamed && unnamed.is_none() {
            unnamed = Some(host);
        }
        if reached.open.is_some() {
            place = &host.place;
        }
        all.add(reached);
    }
    let (api, listener) = (&name.value, &listener.value);
    if let (Some(guarded), Some(open)) = (&all.guarded, &all.open) {
        let message = format!(
            "on listener `{listener}` nobody reaches `{api}` by `{guarded}` without a certificate, but by `{open}` everybody does"
        );
        report.warning("client_bypass", place, message).help(
            "give the API only the `hosts` it is for, or have it ask itself: `allow: tls.client.verified`",
        );
    } else if let Some(host) = unnamed {
        let message = format!(
            "no certificate of listener `{listener}` names all hosts of `{}`: requests for the others get 421, unless the client showed \
             what every entry with `mode: required` asks",
            host.value
        );
        report.warning("client_unknown_host", &host.place, message).help(
            "give the listener a certificate for them, or the API other `hosts` or `listeners`",
        );
    }
}

impl Reach {
    fn add(&mut self, other: Self) {
        self.guarded = self.guarded.take().or(other.guarded);
        self.open = self.open.take().or(other.open);
        self.unnamed |= other.unnamed;
    }
}

/// What is reached by a host pattern: a host, `*.` and a host for all below it, or `*` for any.
fn reach(pattern: &str, names: &[(String, bool)]) -> Reach {
    let pattern = pattern.to_ascii_lowercase();
    let mut reach = Reach::default();
    // Of names that cover the whole pattern the longest holds.
    let covering = names.iter().filter(|(name, _)| covers(name, &pattern));
    let covering = covering.max_by_key(|(name, _)| (!name.starts_with("*."), name.len()));
    match covering {
        Some((_, is_required)) => reach.put(&pattern, *is_required),
        None => reach.unnamed = true,
    }
    for (name, is_required) in names.iter().filter(|(name, _)| covers(&pattern, name)) {
        reach.put(name, *is_required);
    }
    reach
}

impl Reach {
    fn put(&mut self, host: &str, is_required: bool) {
        let kind = if is_required { &mut self.guarded } else { &mut self.open };
        kind.get_or_insert_with(|| host.to_owned());
    }
}

/// Whether every host of `inner` is one of `outer`. A wildcard stands for any number of labels, as it does where it is
/// decided what is asked of clients.
fn covers(outer: &str, inner: &str) -> bool {
    if outer == "*" || outer == inner {
        return true;
    }
    // Of a wildcard, what is left begins with the dot.
    outer.strip_prefix('*').is_some_and(|below| {
        inner
            .strip_prefix('*')
            .unwrap_or(inner)
            .strip_suffix(below)
            .is_some_and(|rest| !rest.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::{covers, reach};

    #[test]
    fn a_wildcard_covers_every_depth_below_it_and_not_itself() {
        for (outer, inner, expected) in [
            ("a.test", "a.test", true),
            ("*.a.test", "a.test", false),
            ("*.a.test", "b.a.test", true),
            ("*.a.test", "c.b.a.test", true),
            ("*.a.test", "ba.test", false),
            ("*.a.test", "*.a.test", true),
            ("*.a.test", "*.b.a.test", true),
            ("*.b.a.test", "*.a.test", false),
            ("a.test", "*.a.test", false),
            ("*", "*.a.test", true),
            ("*.a.test", "*", false),
        ] {
            assert_eq!(covers(outer, inner), expected, "{outer} {inner}");
        }
    }

    #[test]
    fn the_most_special_name_says_what_is_asked() {
        let names = [("*.a.test", true), ("open.a.test", false), ("*.deep.a.test", false)];
        let names = names.map(|(name, is_required)| (name.to_owned(), is_required));
        for (pattern, guarded, open, unnamed) in [
            ("x.a.test", true, false, false),
            ("open.a.test", false, true, false),
            ("y.deep.a.test", false, true, false),
            ("*.deep.a.test", false, true, false),
            ("*.a.test", true, true, false),
            ("*.x.a.test", true, false, false),
            ("a.test", false, false, true),
            ("*.test", true, true, true),
            ("*", true, true, true),
            ("OPEN.a.test", false, true, false),
        ] {
            let found = reach(pattern, &names);
            let found = (found.guarded.is_some(), found.open.is_some(), found.unnamed);
            assert_eq!(found, (guarded, open, unnamed), "{pattern}");
        }
    }
}
