//! What a config comes to, as plain data: for those who compare two of them, or show one.

use crate::routes;
use aws_lc_rs::digest::{SHA256, digest as sha};
use base::{Node, Placed, Value};
use model::effective::{
    ClientCertificates, EffectiveConfig, EffectiveListener, EffectivePart, EffectivePolicy,
    EffectiveRoute, EffectiveUpstream, Here, Matching, Purpose,
};
use model::listener::ClientMode;
use model::{Config, Listener, Plan, PolicyConfig, Role, Upstream};
use policy::Group;
use std::collections::{BTreeMap, HashMap};
use std::fmt::{Debug, Write as _};
use traffic::chain::Entry;
use traffic::snapshot::{Route, Snapshot};

/// Says what a config comes to that was compiled to this snapshot.
#[must_use]
pub fn effective(config: &Config, snapshot: &Snapshot) -> EffectiveConfig {
    let written = routes::written_by_id(config);
    let digests = digests(config);
    let plain = |name: &Placed<String>| name.value.clone();
    let admin = (!config.admin.off).then(|| match &config.admin.bind {
        Some(bind) => bind.value.to_string(),
        None => format!("127.0.0.1:{}", model::node::ADMIN_PORT),
    });
    EffectiveConfig {
        admin,
        listeners: config.listeners.iter().map(|(name, it)| (plain(name), listener(it))).collect(),
        upstreams: config.upstreams.iter().map(|(name, it)| (plain(name), upstream(it))).collect(),
        plans: config.plans.iter().map(|(name, it)| (plain(name), plan(it))).collect(),
        roles: config.roles.iter().map(|(name, it)| (plain(name), role(it))).collect(),
        routes: snapshot
            .routes
            .iter()
            .map(|it| (it.id.to_string(), route(it, &written, &digests)))
            .collect(),
    }
}

/// Twelve hexadecimal digits that stand for what was written, wherever that was. Secrets are references there.
fn digest(written: &impl Debug) -> String {
    let text = format!("{written:#?}");
    let mut digits = String::new();
    for byte in sha(&SHA256, text.as_bytes()).as_ref().iter().take(6) {
        // Writing to a string cannot fail.
        write!(digits, "{byte:02x}").ok();
    }
    digits
}

/// Settings whose fields stand in one order.
fn sorted(written: &Value) -> Value {
    let node = |node: &Node| Node::unplaced(sorted(&node.value));
    match written {
        Value::List(items) => Value::List(items.iter().map(node).collect()),
        Value::Map(fields) => {
            let field = |(name, it): &(Placed<String>, Node)| (name.clone(), node(it));
            let mut fields: Vec<_> = fields.iter().map(field).collect();
            fields.sort_by(|(a, _), (b, _)| a.value.cmp(&b.value));
            Value::Map(fields)
        }
        other => other.clone(),
    }
}

/// The digests of the settings of all policies by the id that they have in a chain.
fn digests(config: &Config) -> HashMap<String, String> {
    let mut all = HashMap::new();
    let mut add = |owner: &str, policies: &[PolicyConfig]| {
        for policy in policies {
            let own = policy.id.as_ref().map_or_else(String::new, |id| format!("/{id}"));
            let settings = digest(&sorted(&policy.settings.value));
            all.insert(format!("{owner}/{}{own}", policy.kind.value), settings);
        }
    };
    add(crate::chains::GATEWAY, &config.policies);
    for part in &config.workspaces {
        add(&format!("({})", part.name), &part.policies);
    }
    for (name, api) in config.apis.iter() {
        add(&name.value, &api.policies);
        for route in &api.routes {
            let id = format!("{}/{}", name.value, routes::route_name(&route.value, false));
            add(&id, &route.value.settings.policies);
        }
    }
    all
}

fn listener(written: &Listener) -> EffectiveListener {
    let client = written.tls.as_ref().and_then(|tls| tls.client.as_ref());
    EffectiveListener {
        bind: written.bind.value.to_string(),
        tls: written.tls.is_some(),
        client_certificates: client.and_then(|client| match client.value.mode {
            ClientMode::Required => Some(ClientCertificates::Required),
            ClientMode::Optional => Some(ClientCertificates::Optional),
            ClientMode::Off => None,
        }),
        digest: digest(written),
    }
}

fn upstream(written: &Upstream) -> EffectiveUpstream {
    let targets = written.targets.iter().map(|target| {
        let mut text = target.address.to_string();
        if target.weight != 1 {
            text.push_str(&format!(" (weight {})", target.weight));
        }
        if target.priority != 0 {
            text.push_str(&format!(" (priority {})", target.priority));
        }
        text
    });
    EffectiveUpstream {
        targets: targets.collect(),
        tls: written.tls.as_ref().is_some_and(|tls| tls.on),
        digest: digest(written),
    }
}

fn role(written: &Role) -> EffectivePart {
    let grants: BTreeMap<&str, _> =
        written.iter().map(|(api, grant)| (api.value.as_str(), grant)).collect();
    EffectivePart { digest: digest(&grants), about: Vec::new() }
}

fn plan(written: &Plan) -> EffectivePart {
    let limits = written.limit.iter().flat_map(|limits| &limits.value.0);
    let quotas = written.quota.iter().flat_map(|quotas| &quotas.value.0);
    let limits = limits.map(|limit| limit.rate.to_string());
    let mut about: Vec<String> = limits.chain(quotas.map(ToString::to_string)).collect();
    if written.dry_run {
        about.push("nothing is refused".to_owned());
    }
    EffectivePart { digest: digest(written), about }
}

fn route(
    route: &Route,
    written: &BTreeMap<String, routes::Written<'_>>,
    digests: &HashMap<String, String>,
) -> EffectiveRoute {
    let texts = |list: &[Box<str>]| list.iter().map(ToString::to_string).collect();
    let written = written.get(&*route.id);
    let entries = route.chain.entries();
    let destinations = entries.iter().flat_map(|entry| {
        let to = entry.policy.destinations().into_iter();
        to.map(|to| (entry.kind.to_owned(), to.which, to.upstream.name().to_string()))
    });
    EffectiveRoute {
        api: route.api.to_string(),
        state: route.lifecycle.as_ref().map(|lifecycle| lifecycle.state.to_owned()),
        matching: Matching {
            hosts: texts(&route.hosts),
            path: route.pattern.to_string(),
            methods: written.map(routes::Written::methods).unwrap_or_default(),
            conditions: written.map(routes::Written::conditions).unwrap_or_default(),
        },
        listeners: written.map(routes::Written::listeners).unwrap_or_default(),
        public: route.public.as_ref().map(ToString::to_string),
        chain: entries.iter().map(|entry| policy(entry, digests)).collect(),
        exempt: route.exempt.iter().map(|(k, why)| (k.to_string(), why.to_string())).collect(),
        upstream: route.upstream.as_ref().map(|upstream| upstream.name().to_string()),
        destinations: destinations.collect(),
        place: Here(route.place.clone()),
    }
}

fn policy(entry: &Entry, digests: &HashMap<String, String>) -> EffectivePolicy {
    let purpose = match policy::kind(entry.kind).map(|kind| kind.group) {
        Some(Group::Identity) if entry.policy.identifies() => Purpose::Authentication,
        Some(Group::Identity | Group::Access) => Purpose::Access,
        Some(Group::Limit) => Purpose::Limit,
        _ => Purpose::Treatment,
    };
    EffectivePolicy {
        id: entry.id.to_string(),
        kind: entry.kind.to_owned(),
        purpose,
        // What comes of itself has no settings.
        digest: digests.get(&*entry.id).cloned().unwrap_or_default(),
        about: entry.policy.about(),
    }
}
