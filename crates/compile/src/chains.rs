//! The effective chain of a route: gateway → API → route. Inheritance only ever adds; taking away needs
//! an `exempt` with a reason.

use crate::inputs::{FilesAt, Inputs, SecretsAt};
use crate::rooms::Room;
use crate::upstreams::Upstreams;
use base::report::did_you_mean;
use base::units::Size;
use base::{Node, Placed, Report, Value};
use model::{Map, PolicyConfig};
use policy::{BuildCtx, Kind};
use std::collections::HashSet;
use std::sync::Arc;
use traffic::chain::{Chain, Entry};
use traffic::exchange::Slot;
use traffic::policy::Placement;
use upstream::EgressSpec;

/// The kind that holds consumers to their plan.
const PLAN: &str = "plan";

/// The policies of one owner, built once for all routes that inherit them.
#[derive(Default)]
pub(crate) struct Owned {
    policies: Vec<Built>,
    /// Whether any policy could not be built: then the owner's routes answer 503.
    pub(crate) is_broken: bool,
    /// Whether no exemption takes them away: those of the platform, on routes of workspaces.
    pub(crate) is_locked: bool,
}

struct Built {
    kind: &'static Kind,
    /// Its own id, if it has one.
    id: Option<String>,
    entry: Entry,
}

/// What the gateway is called as an owner of policies. No API can be called this.
pub(crate) const GATEWAY: &str = "(gateway)";

/// Who owns policies, and what they are built with.
pub(crate) struct Owner<'a> {
    /// [`GATEWAY`], a workspace's name in parentheses, an API's name, or `api/route`.
    pub(crate) id: &'a str,
    /// JSON pointer of the owner in the config.
    pub(crate) path: String,
    /// Names captured by the owner's path.
    pub(crate) params: &'a [Box<str>],
}

/// Builds the policies of one owner.
pub(crate) fn build(
    owner: &Owner<'_>,
    written: &[PolicyConfig],
    room: Room<'_>,
    report: &mut Report,
) -> Owned {
    let mut owned = Owned::default();
    if written.is_empty() {
        return owned;
    }
    let Room { inputs, upstreams, plans, .. } = room;
    let closed = upstream::outbound(EgressSpec::default(), None);
    let outbound = inputs.outbound.unwrap_or(&closed);
    let background = upstream::background(inputs.world);
    let (nobody, no_stores) = (Arc::default(), Arc::default());
    let stores = inputs.stores.unwrap_or(&no_stores);
    let nameless = upstream::names(&[], None);
    let names = inputs.names.unwrap_or(&nameless);
    let access = inputs.access.unwrap_or(&nobody);
    let mut ids = HashSet::new();
    for (index, config) in written.iter().enumerate() {
        let Some(kind) = known(config, report) else {
            owned.is_broken = true;
            continue;
        };
        let own_id = config.id.as_ref().map_or_else(String::new, |id| format!("/{id}"));
        let id = format!("{}/{}{own_id}", owner.id, kind.name);
        if !ids.insert(id.clone()) {
            let message = format!("a second `{}` here without an `id` of its own", kind.name);
            report.error("ambiguous_policy", config.place(), message).help(
                "give each an `id` among its settings, so that their state never gets mixed up",
            );
            owned.is_broken = true;
            continue;
        }
        let secrets = SecretsAt { outside: inputs.outside, place: config.place() };
        let files = FilesAt { outside: inputs.outside, place: config.place() };
        let path = format!("{}/policies/{index}/{}", owner.path, kind.name);
        // Names may hold slashes; the owner's length keeps two owners from meeting in one key.
        let key = format!("{}:{id}", owner.id.len());
        let ctx = BuildCtx {
            id: &key,
            workspace: room.workspace,
            path: &path,
            place: config.place(),
            state: if kind.identifies() { room.identities } else { inputs.state },
            directory: inputs.directory,
            secrets: &secrets,
            files: &files,
            clock: inputs.clock,
            access,
            plans,
            stores,
            metrics: inputs.metrics,
            params: owner.params,
            outbound,
            background: &background,
            names,
            geo: inputs.geo,
            upstreams,
        };
        let Some(policy) = (kind.build)(&config.settings, &ctx, report) else {
            owned.is_broken = true;
            continue;
        };
        let entry = Entry {
            policy,
            kind: kind.name,
            id: Arc::from(id.as_str()),
            place: config.place().clone(),
            phases: kind.phases,
            slot: Slot(0),
            identifies: kind.identifies(),
        };
        owned.policies.push(Built { kind, id: config.id.clone(), entry });
    }
    owned
}

/// What applies where a config says nothing: a bound on request bodies.
pub(crate) fn defaults(inputs: Inputs<'_>, report: &mut Report) -> Owned {
    let size = Size(base::caps::BODY_BYTES_DEFAULT).to_string();
    let body_limit = PolicyConfig {
        kind: Placed::unplaced("body_limit".to_owned()),
        id: None,
        settings: Node::unplaced(Value::Text(size)),
    };
    let owner = Owner { id: "default", path: String::new(), params: &[] };
    let room = Room {
        workspace: None,
        upstreams: &Upstreams::new(),
        plans: &Arc::default(),
        inputs,
        identities: inputs.state,
    };
    build(&owner, &[body_limit], room, report)
}

fn known(config: &PolicyConfig, report: &mut Report) -> Option<&'static Kind> {
    let kind = policy::kind(&config.kind);
    if kind.is_none() {
        let names = policy::KINDS.iter().map(|kind| kind.name);
        let help = match did_you_mean(&config.kind, names.clone()) {
            // It was left out when this program was built.
            _ if config.kind.value == "cedar" => "build it with the feature `cedar`".to_owned(),
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known policies: {}", names.collect::<Vec<_>>().join(", ")),
        };
        let message = format!("there is no policy `{}`", config.kind.value);
        report.error("unknown_policy", config.place(), message).help(help);
    }
    kind
}

/// The policies of an owner that treat answers, for requests that no route takes; none if there are none.
pub(crate) fn replies(owned: &Owned) -> Option<Arc<Chain>> {
    let mut built: Vec<&Built> =
        owned.policies.iter().filter(|built| built.kind.phases.reply).collect();
    built.sort_by_key(|built| policy::rank(built.kind.name));
    let entries: Vec<Entry> = built.into_iter().map(|built| built.entry.clone()).collect();
    (!entries.is_empty()).then(|| Arc::new(Chain::new(entries)))
}

/// What a route is told by its chain.
pub(crate) struct Effective {
    pub(crate) chain: Chain,
    /// Whether a policy finds out who calls.
    pub(crate) identity: Option<&'static str>,
    /// Whether a policy answers every request.
    pub(crate) answers: bool,
    /// Whether a policy chooses an upstream for every request.
    pub(crate) steers: bool,
    /// What does not apply, each with the reason.
    pub(crate) exempt: Vec<(Box<str>, Box<str>)>,
}

/// Joins what a route inherits and what it has, leaves out what it is exempt from, and sorts by kind.
/// Each exemption leaves out what owners above it brought along; a default comes in where no policy of
/// its kind is left.
pub(crate) fn join(
    defaults: &Owned,
    layers: &[(&Owned, &Map<String>)],
    (api, route): (&str, &str),
    report: &mut Report,
) -> Effective {
    let mut kept: Vec<&Built> = Vec::new();
    // How many of the first are there to stay.
    let mut locked = 0;
    let mut exempt = Vec::new();
    for (owned, exemptions) in layers {
        for (name, reason) in exemptions.iter() {
            let before = kept.len();
            let mut at = 0;
            kept.retain(|built| {
                at += 1;
                at <= locked || !is_named(built, &name.value)
            });
            if kept.len() == before {
                report
                    .error(
                        "idle_exemption",
                        &name.place,
                        format!("no inherited policy is named `{}`", name.value),
                    )
                    .help(
                        "name its kind, or `kind/id` where it has an id; or remove the exemption",
                    );
            } else if !reason.trim().is_empty() {
                let message = format!("`{}` does not apply here: {reason}", name.value);
                report.note("exemption", &name.place, message);
                exempt.push((name.value.as_str().into(), reason.as_str().into()));
            }
        }
        counted_all_the_same(owned, exemptions, report);
        kept.extend(&owned.policies);
        if owned.is_locked {
            locked = kept.len();
        }
    }
    kept.sort_by_key(|built| policy::rank(built.kind.name));
    for default in &defaults.policies {
        if !kept.iter().any(|built| built.kind.name == default.kind.name) {
            kept.push(default);
        }
    }
    kept.sort_by_key(|built| policy::rank(built.kind.name));
    let mut answering = kept.iter().filter(|built| built.kind.answers);
    let answers = answering.next();
    if let (Some(first), Some(second)) = (answers, answering.next()) {
        let (first, second) = (first.kind.name, &second.entry);
        let message =
            format!("`{}` never has its turn: `{first}` answers every request", second.kind);
        report.warning("unreachable_policy", &second.place, message);
    }
    Effective {
        identity: kept
            .iter()
            .find(|built| built.kind.identifies() && built.entry.policy.identifies())
            .map(|built| built.kind.name),
        answers: answers.is_some(),
        steers: kept.iter().any(|built| built.entry.policy.steers()),
        chain: Chain::new(entries(&kept, api, route)),
        exempt,
    }
}

/// Warns of owners that take plans away and say in the same breath what requests cost: those are counted.
fn counted_all_the_same(owned: &Owned, exemptions: &Map<String>, report: &mut Report) {
    let Some((name, _)) = exemptions.iter().find(|(name, _)| name.value == PLAN) else { return };
    if owned.policies.iter().any(|built| built.kind.name == PLAN) {
        let message = "this takes plans away, and a `plan` beside it says what requests cost: they are counted all the same";
        report
            .warning("counted_exemption", &name.place, message)
            .help("remove the exemption, or the `plan` beside it");
    }
}

/// The policies of a chain, as they are on this route.
fn entries(kept: &[&Built], api: &str, route: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::with_capacity(kept.len());
    // Sorted by kind, so that those of one kind stand together.
    for same in kept.chunk_by(|a, b| a.kind.name == b.kind.name) {
        let policies: Vec<_> = same.iter().map(|built| Arc::clone(&built.entry.policy)).collect();
        for (position, one) in same.iter().enumerate() {
            let at = Placement { api, route, same: &policies, position };
            let policy = one.entry.policy.at_route(&at);
            let mut entry = one.entry.clone();
            entry.policy = policy.unwrap_or(entry.policy);
            entries.push(entry);
        }
    }
    entries
}

fn is_named(built: &Built, name: &str) -> bool {
    match name.split_once('/') {
        Some((kind, id)) => built.kind.name == kind && built.id.as_deref() == Some(id),
        None => built.kind.name == name,
    }
}
