//! Listeners, upstreams, plans and roles.

use super::{Found, Level, What, named, new_in};
use crate::effective::{EffectiveConfig, EffectiveListener, EffectivePart, EffectiveUpstream};
use std::collections::BTreeMap;
use std::net::SocketAddr;

pub(super) fn compare(before: &EffectiveConfig, after: &EffectiveConfig, found: &mut Found) {
    admin(before.admin.as_deref(), after.admin.as_deref(), found);
    each("listener", (&before.listeners, &after.listeners), found, listener, |it| {
        let level = if reach(&it.bind) <= Reach::Loopback { Level::Note } else { Level::Danger };
        (level, What::Exposure, format!("is new: the gateway is reached at {} as well", it.bind))
    });
    each("upstream", (&before.upstreams, &after.upstreams), found, upstream, |it| {
        (Level::Note, What::Added, format!("is new, with {}", named(&it.targets, "no target")))
    });
    each("plan", (&before.plans, &after.plans), found, part, new);
    each("role", (&before.roles, &after.roles), found, part, new);
}

fn new(part: &EffectivePart) -> (Level, What, String) {
    let about = part.about.join(", ");
    let about = if about.is_empty() { about } else { format!(": {about}") };
    (Level::Note, What::Added, format!("is new{about}"))
}

/// Compares what has the same name, and tells what is new or gone.
fn each<T: PartialEq>(
    kind: &str,
    (before, after): (&BTreeMap<String, T>, &BTreeMap<String, T>),
    found: &mut Found,
    compare: impl Fn((&str, &str), &T, &T, &mut Found),
    new: impl Fn(&T) -> (Level, What, String),
) {
    for (name, now) in after {
        match before.get(name) {
            Some(then) if then == now => {}
            Some(then) => compare((kind, name), then, now, found),
            None => {
                let (level, what, text) = new(now);
                found.add(level, what, (kind, name), "", text);
            }
        }
    }
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        let level = match kind {
            // It no longer limits those who had it.
            "plan" => Level::Danger,
            // Who went there goes elsewhere, which is told of each route.
            "upstream" => Level::Note,
            _ => Level::Warning,
        };
        found.add(level, What::Removed, (kind, name), "", "is gone");
    }
}

/// From how far an address is reached.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Socket,
    Loopback,
    Address,
    Everywhere,
}

fn reach(bind: &str) -> Reach {
    if bind.starts_with("unix:") {
        return Reach::Socket;
    }
    match bind.parse::<SocketAddr>() {
        Ok(address) if address.ip().to_canonical().is_loopback() => Reach::Loopback,
        Ok(address) if address.ip().is_unspecified() => Reach::Everywhere,
        _ => Reach::Address,
    }
}

fn admin(before: Option<&str>, after: Option<&str>, found: &mut Found) {
    let subject = ("admin", "");
    match (before, after) {
        (before, after) if before == after => {}
        (_, None) => {
            found.add(Level::Note, What::Exposure, subject, "", "operators are served nowhere");
        }
        (before, Some(after)) => {
            let was = before.map_or(Reach::Socket, reach);
            let wider = reach(after) > was && reach(after) > Reach::Loopback;
            let level = if wider { Level::Danger } else { Level::Warning };
            let text =
                format!("operators are served at {after}, where nobody is asked for a login");
            found.add(level, What::Exposure, subject, "", text);
        }
    }
}

fn listener(
    subject: (&str, &str),
    before: &EffectiveListener,
    after: &EffectiveListener,
    found: &mut Found,
) {
    let mut is_told = false;
    if before.bind != after.bind {
        let wider = reach(&after.bind) > reach(&before.bind);
        let level = if wider { Level::Danger } else { Level::Warning };
        let text = format!("is bound to {} in place of {}", after.bind, before.bind);
        found.add(level, What::Exposure, subject, "/bind", text);
        is_told = true;
    }
    if before.tls != after.tls {
        let (level, text) = if after.tls {
            (Level::Warning, "speaks TLS only")
        } else {
            (Level::Danger, "no longer speaks TLS: everything can be read and changed on the way")
        };
        found.add(level, What::Exposure, subject, "/tls", text);
        is_told = true;
    }
    if before.client_certificates != after.client_certificates {
        let (level, text) = if after.client_certificates < before.client_certificates {
            (Level::Danger, "lets clients in without a certificate")
        } else {
            (Level::Warning, "asks clients for a certificate")
        };
        found.add(level, What::Authentication, subject, "/client_certificates", text);
        is_told = true;
    }
    if !is_told {
        found.add(Level::Warning, What::Settings, subject, "/digest", "has other settings");
    }
}

fn upstream(
    subject: (&str, &str),
    before: &EffectiveUpstream,
    after: &EffectiveUpstream,
    found: &mut Found,
) {
    let mut is_told = false;
    if before.targets != after.targets {
        let gone = new_in(&after.targets, &before.targets);
        let new = new_in(&before.targets, &after.targets);
        let gone = gone.iter().map(|target| format!("-{target}"));
        let new = new.iter().map(|target| format!("+{target}"));
        let text = gone.chain(new).collect::<Vec<_>>().join(" ");
        let text = format!("has other targets: {text}");
        found.add(Level::Warning, What::Upstream, subject, "/targets", text);
        is_told = true;
    }
    if before.tls != after.tls {
        let (level, text) = if after.tls {
            (Level::Note, "is called by TLS")
        } else {
            (Level::Danger, "is no longer called by TLS: whoever is on the way reads everything")
        };
        found.add(level, What::Upstream, subject, "/tls", text);
        is_told = true;
    }
    if !is_told {
        found.add(Level::Warning, What::Settings, subject, "/digest", "has other settings");
    }
}

fn part(subject: (&str, &str), before: &EffectivePart, after: &EffectivePart, found: &mut Found) {
    let what = if subject.0 == "plan" { What::Limit } else { What::Access };
    // Where nothing is said of limits there are none.
    let is_open = after.about.is_empty() && !before.about.is_empty();
    let level = if is_open { Level::Danger } else { Level::Warning };
    let text = if before.about == after.about {
        "has other settings".to_owned()
    } else {
        format!("says {} in place of {}", said(&after.about), said(&before.about))
    };
    found.add(level, what, subject, "/digest", text);
}

/// What is said for people, in one line.
pub(super) fn said(about: &[String]) -> String {
    if about.is_empty() { "nothing".to_owned() } else { format!("`{}`", about.join(", ")) }
}
