//! What callers may do beyond what they need: routes that any consumer may write to, roles and permissions without
//! a use, rules that decide nothing, consumers that reach nothing.

use crate::callers::{Caller, DECIDE, Request, callers};
use crate::routes;
use base::caps::ACCESS_QUESTIONS_MAX;
use base::{Place, Report};
use http::Method;
use model::Config;
use model::role::{ADMIN, EVERY_API, Grant};
use policy::kinds::{acl, allow, rbac};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use traffic::Exchange;
use traffic::chain::Entry;
use traffic::directory::{Credential, CredentialHash};
use traffic::policy::{Asked, Foreseen, Knows};
use traffic::snapshot::{Route, Snapshot};

/// The methods that are asked about where a route answers every method.
const METHODS: [Method; 5] =
    [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// A route that works and identifies its callers, with the methods that it is asked about.
struct Guarded {
    route: Arc<Route>,
    methods: Vec<Method>,
}

impl Guarded {
    fn entries(&self) -> &[Entry] {
        self.route.chain.entries()
    }
}

/// Looks at a config that compiled without errors. All that is told are notes.
#[must_use]
pub fn least_privilege(
    config: &Config,
    snapshot: &Snapshot,
    credentials: &[(CredentialHash, Arc<Credential>)],
) -> Report {
    let mut report = Report::new();
    let methods: BTreeMap<String, Vec<Method>> = routes::methods_by_id(config);
    let routes = snapshot.routes.iter().filter(|it| it.public.is_none() && it.broken.is_none());
    let routes: Vec<Guarded> = routes
        .map(|route| {
            let named = methods.get(&*route.id).filter(|named| !named.is_empty());
            let methods = named.map_or_else(|| METHODS.to_vec(), Clone::clone);
            Guarded { route: Arc::clone(route), methods }
        })
        .collect();
    open_to_write(&routes, &mut report);
    shadowed(&routes, &mut report);
    roles(config, &routes, &mut report);
    permissions(config, &routes, &mut report);
    let callers = callers(credentials);
    if callers.len().saturating_mul(routes.len()) > ACCESS_QUESTIONS_MAX {
        let message = "there are too many consumers and routes to ask for each what it may reach";
        report
            .note("too_much_to_ask", &config.version.place, message)
            .help("`yett who-can` tells for one route");
    } else {
        reach(config, &callers, &routes, &mut report);
    }
    report.sort();
    report
}

/// Routes by which any consumer may change something.
fn open_to_write(routes: &[Guarded], report: &mut Report) {
    // A known consumer without a name, groups, roles: what is open to it is open to any.
    let anyone = Caller::with(String::new(), None, None);
    for guarded in routes {
        let is_open = |method: &&Method| {
            let request = Request::any_of(&guarded.route, (*method).clone());
            let exchange = request.exchange(&anyone);
            !guarded.entries().iter().any(|entry| holds(entry, &request, &exchange, &anyone))
        };
        let is_write = |method: &&Method| policy::access::permission_of(method) != "read";
        let methods = guarded.methods.iter().filter(is_write).filter(is_open);
        let writes: Vec<&str> = methods.map(Method::as_str).collect();
        if writes.is_empty() {
            continue;
        }
        let message =
            format!("any consumer may write to `{}`: {}", guarded.route.id, writes.join(", "));
        report
            .note("open_to_write", &guarded.route.place, message)
            .help("say who may, by `rbac`, `acl` or `allow`");
    }
}

/// Whether a policy may hold somebody back by who it is.
fn holds(entry: &Entry, request: &Request<'_>, exchange: &Exchange, anyone: &Caller) -> bool {
    if entry.policy.facts().asks_scopes {
        return true;
    }
    if !DECIDE.contains(&entry.kind) {
        return false;
    }
    match request.ask(entry, exchange, anyone) {
        Some(Foreseen::Passes(_)) => false,
        Some(Foreseen::Depends(_)) => {
            let asked = request.asked(exchange, anyone);
            !allow::is_up_to_sender(&*entry.policy, &asked)
        }
        // Who says nothing asks somebody else.
        Some(Foreseen::Refuses(_)) | None => true,
    }
}

/// Expressions that decide nothing, or nothing but no; denials of those whom another policy refuses in any case.
fn shadowed(routes: &[Guarded], report: &mut Report) {
    let mut told = HashSet::new();
    for guarded in routes {
        for entry in
            guarded.entries().iter().filter(|entry| ["allow", "deny"].contains(&entry.kind))
        {
            if !told.insert(entry.place.to_string()) {
                continue;
            }
            let request = Request::any_of(&guarded.route, Method::GET);
            let exchange = request.exchange(&Caller::anybody());
            let knows = Knows::default();
            let message =
                match entry.policy.foresee(&Asked { exchange: &exchange, shows: None, knows }) {
                    Some(Foreseen::Passes(_)) => {
                        format!("this `{}` lets every request pass", entry.kind)
                    }
                    Some(Foreseen::Refuses(_)) => {
                        format!("this `{}` refuses every request", entry.kind)
                    }
                    _ => continue,
                };
            report.note("constant_rule", &entry.place, message).help(
                "its expression does not depend on anything; remove it, or say what it is to ask",
            );
        }
    }
}

/// Roles that nobody can have.
fn roles(config: &Config, routes: &[Guarded], report: &mut Report) {
    let mut used: BTreeSet<String> = BTreeSet::new();
    for (_, consumer) in config.consumers.iter() {
        used.extend(consumer.roles.iter().map(|role| role.value.clone()));
    }
    for entry in routes.iter().flat_map(Guarded::entries) {
        match rbac::given(&*entry.policy) {
            // An issuer of tokens may name any role.
            Some(rbac::Given::Any) => return,
            Some(rbac::Given::These(names)) => used.extend(names),
            None => {}
        }
    }
    for (name, _) in config.roles.iter().filter(|(name, _)| !used.contains(&name.value)) {
        let message = format!("nobody has the role `{}`", name.value);
        report.note("unused_role", &name.place, message).help(
            "give it to a consumer (`roles`), or to a group or a claim (`rbac: { groups, claims }`); or remove it",
        );
    }
}

/// Permissions that no route asks for.
fn permissions(config: &Config, routes: &[Guarded], report: &mut Report) {
    // Of each API that asks for any, those that it asks for.
    let mut needed: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for guarded in routes {
        for (entry, method) in guarded
            .entries()
            .iter()
            .flat_map(|entry| guarded.methods.iter().map(move |method| (entry, method)))
        {
            for permission in rbac::permissions(&*entry.policy, method) {
                let of_api = needed.entry(&guarded.route.api).or_default();
                of_api.insert(permission.to_owned());
            }
        }
    }
    for (_, role) in config.roles.iter() {
        for (api, grant) in role.iter() {
            let of_api: BTreeSet<&str> = needed
                .iter()
                .filter(|(name, _)| api.value == EVERY_API || **name == api.value)
                .flat_map(|(_, permissions)| permissions.iter().map(String::as_str))
                .collect();
            if of_api.is_empty() {
                let message = format!(
                    "`{}` asks for no permission: `rbac` applies to none of its routes",
                    api.value
                );
                report
                    .note("unneeded_permission", &api.place, message)
                    .help("add `rbac` to its policies, or remove the grant");
                continue;
            }
            unneeded(&api.value, grant, &of_api, report);
        }
    }
}

fn unneeded(api: &str, grant: &Grant, needed: &BTreeSet<&str>, report: &mut Report) {
    for permission in &grant.permissions {
        if permission.value == ADMIN || needed.contains(permission.as_str()) {
            continue;
        }
        let of =
            if api == EVERY_API { "no route".to_owned() } else { format!("no route of `{api}`") };
        let message = format!("{of} needs `{}`", permission.value);
        report
            .note("unneeded_permission", &permission.place, message)
            .help("remove it; whoever adds such a route can add it again");
    }
}

/// Consumers and applications that no route lets in, and denials of those whom something else refuses in any case.
fn reach(config: &Config, callers: &[Caller], routes: &[Guarded], report: &mut Report) {
    let mut idle_denials = BTreeMap::new();
    for caller in callers {
        let mut reaches = false;
        for guarded in routes {
            for method in &guarded.methods {
                let request = Request::any_of(&guarded.route, method.clone());
                let decision = request.decide(caller);
                // What is closed for now is no reason to take somebody's key away.
                let is_refused = matches!(decision.foreseen, Foreseen::Refuses(_))
                    && decision.kind != Some("maintenance");
                reaches |= !is_refused;
            }
            denials(caller, guarded, &mut idle_denials);
        }
        let Some((place, is_application)) =
            place(config, caller).filter(|_| !reaches && !routes.is_empty())
        else {
            continue;
        };
        let what = if is_application { "the application" } else { "the consumer" };
        let message = format!("{what} `{}` can call no route that asks who calls", caller.name);
        report
            .note("reaches_nothing", place, message)
            .help("`yett who-can METHOD URL --all` tells why; remove it if it is of no use");
    }
    for ((_, name), (place, is_idle)) in idle_denials {
        if is_idle {
            let message =
                format!("`{name}` is denied here, and refused in any case by other policies");
            report
                .note("idle_denial", &place, message)
                .help("remove the name, unless it is to outlast them");
        }
    }
}

/// By place and name: where it is denied, and whether that decided nothing so far.
type Denials = BTreeMap<(String, String), (Place, bool)>;

fn denials(caller: &Caller, guarded: &Guarded, idle: &mut Denials) {
    let Some(consumer) = caller.consumer.as_deref() else { return };
    for entry in guarded.entries().iter().filter(|entry| acl::denies(&*entry.policy, consumer)) {
        let key = (entry.place.to_string(), consumer.name.to_string());
        let of_key = idle.entry(key).or_insert_with(|| (entry.place.clone(), true));
        let methods = if of_key.1 { guarded.methods.as_slice() } else { &[] };
        for method in methods {
            let request = Request::any_of(&guarded.route, method.clone());
            let exchange = request.exchange(caller);
            let others = guarded.entries().iter().filter(|other| other.place != entry.place);
            let mut said = others.filter_map(|other| request.ask(other, &exchange, caller));
            of_key.1 &= said.any(|said| matches!(said, Foreseen::Refuses(_)));
        }
    }
}

/// Where a caller was written, and whether it is an application.
fn place<'a>(config: &'a Config, caller: &Caller) -> Option<(&'a Place, bool)> {
    let (consumer, application) = match caller.name.split_once('/') {
        Some((consumer, application)) => (consumer, Some(application)),
        None => (caller.name.as_str(), None),
    };
    let (name, written) = config.consumers.iter().find(|(name, _)| name.value == consumer)?;
    let Some(application) = application else {
        // One that has nothing to show of its own is there for its applications.
        let is_shell = written.credentials().next().is_some_and(|own| own.is_empty());
        return (!is_shell || written.applications.is_empty()).then_some((&name.place, false));
    };
    let mut applications = written.applications.iter();
    applications.find(|(name, _)| name.value == application).map(|(name, _)| (&name.place, true))
}
