//! An upstream some of whose targets are names: each address of a name is a target of its own, with its own
//! health and connections. When a name changes, the targets are lined up anew, as if the config had been:
//! who stays keeps everything, who is new joins, and who is gone gets no more requests but finishes those
//! under way.

use crate::backend::{self, Backend};
use crate::balance::Wish;
use crate::config::Config;
use crate::connect::Connector;
use crate::names::{Found, Known, Name};
use crate::reach;
use crate::spec::{HostHeader, TargetHost, TargetSpec, UpstreamSpec};
use crate::target::{TargetCell, Task};
use crate::world::World;
use arc_swap::ArcSwap;
use rustls::pki_types::ServerName;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use telemetry::RetryReason;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};
use traffic::upstream::{
    AdmissionStatus, Call, Entry, Failed, Hedge, Opened, Pass, Picked, Retries, Target,
    TargetStatus, Timeouts, Upstream,
};
use traffic::{BoxFuture, Exchange, Fault, FaultCode, Request, Response, Stage};

/// How much more a record of weight 1 counts than one of weight 0, which should get hardly anything
/// (RFC 2782).
const RECORD_WEIGHT: u32 = 10;

/// The time between two looks whether targets that are gone have finished.
const CLEAR_UP_PERIOD: Duration = Duration::from_secs(2);

/// Whether some of the targets are names.
pub(crate) fn has_names(spec: &UpstreamSpec) -> bool {
    spec.targets
        .iter()
        .any(|target| !matches!(target.host, TargetHost::Ip(_) | TargetHost::Unix(_)))
}

/// The upstream, following its names from now on, until nobody holds it any more.
///
/// # Errors
/// In words, what makes it impossible whatever the names stand for.
pub(crate) fn build(
    spec: UpstreamSpec,
    world: &World,
    config: Arc<Config>,
) -> Result<Arc<dyn Upstream>, String> {
    for target in spec.targets.iter().filter(|target| matches!(target.host, TargetHost::Name(_))) {
        let connector = Connector::new(target, spec.tls.as_ref(), spec.protocol, world)?;
        if spec.host == HostHeader::Target || spec.health.is_some() {
            reach::own_host(target, &connector.scheme())?;
        }
    }
    let name = |target: &TargetSpec| Name::of(target, &spec.choice.name_servers, world);
    let names: Vec<_> = spec.targets.iter().map(name).collect();
    let first = members(&spec, &names);
    let first = UpstreamSpec { targets: first, ..spec.clone() };
    let now = backend::assemble(&first, world, &config, None)?;
    let shared = Arc::new(Shared {
        spec,
        names,
        world: world.clone(),
        config,
        now: ArcSwap::new(now),
        turn: Mutex::new(()),
        lined_up: watch::Sender::new(()),
        leaving: Mutex::default(),
    });
    let follow = |name: &Arc<Name>| {
        let mut known = name.known.subscribe();
        // What was learned since the first line-up is not missed.
        known.mark_changed();
        Task::start(world, follow(Arc::downgrade(&shared), known))
    };
    let following = shared.names.iter().flatten().map(follow).collect();
    Ok(Arc::new(Members { shared, _following: following }))
}

struct Members {
    shared: Arc<Shared>,
    _following: Vec<Task>,
}

struct Shared {
    spec: UpstreamSpec,
    /// In the order of the configured targets; none for an address.
    names: Vec<Option<Arc<Name>>>,
    world: World,
    config: Arc<Config>,
    now: ArcSwap<Backend>,
    /// One line-up at a time.
    turn: Mutex<()>,
    lined_up: watch::Sender<()>,
    /// Targets that are gone, but may have requests under way.
    leaving: Mutex<Vec<Weak<TargetCell>>>,
}

async fn follow(shared: Weak<Shared>, mut known: watch::Receiver<Known>) {
    let mut are_leaving = false;
    loop {
        tokio::select! {
            changed = known.changed() => {
                if changed.is_err() {
                    return;
                }
                known.mark_unchanged();
                let Some(shared) = shared.upgrade() else { return };
                shared.line_up();
                are_leaving = shared.clear_up();
            }
            () = sleep(CLEAR_UP_PERIOD), if are_leaving => {
                let Some(shared) = shared.upgrade() else { return };
                are_leaving = shared.clear_up();
            }
        }
    }
}

impl Shared {
    fn line_up(&self) {
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.now.load_full();
        let targets = members(&self.spec, &self.names);
        if !before.has_targets(&targets) {
            let spec = UpstreamSpec { targets, ..self.spec.clone() };
            match backend::assemble(&spec, &self.world, &self.config, Some(&before)) {
                Ok(now) => {
                    self.now.store(now);
                    self.leaving().extend(before.cells_beside(&spec.targets));
                }
                Err(why) => {
                    warn!(upstream = %spec.name, why, "the targets stay as they were");
                }
            }
        }
        drop(turn);
        self.lined_up.send_replace(());
    }

    fn leaving(&self) -> MutexGuard<'_, Vec<Weak<TargetCell>>> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what is known of targets that are gone and have finished: a name may stand for other addresses each
    /// second. Says whether some have not finished yet.
    fn clear_up(&self) -> bool {
        let mut leaving = self.leaving();
        let before = leaving.len();
        leaving.retain(|cell| cell.strong_count() > 0);
        let (have_left, are_leaving) = (leaving.len() < before, !leaving.is_empty());
        drop(leaving);
        if have_left {
            self.world.state.sweep();
            self.world.metrics.forget();
        }
        are_leaving
    }

    /// The configured names, with what is known of them.
    fn known(&self) -> impl Iterator<Item = (&TargetSpec, Known)> {
        let named = self.spec.targets.iter().zip(&self.names);
        named.filter_map(|(target, name)| Some((target, name.as_ref()?.known.borrow().clone())))
    }

    /// A name whose first answer will bring targets: it is asked for, or they are not lined up yet.
    fn awaited(&self, now: &Backend) -> Option<Arc<str>> {
        let is_behind = now.has_targets(&[]) && !members(&self.spec, &self.names).is_empty();
        let mut known = self.known();
        let awaited = known.find(|(_, known)| is_behind || known.is_awaited());
        awaited.map(|(target, _)| Arc::clone(&target.text))
    }

    /// Says of an upstream all of whose targets are names without addresses that this is why.
    fn explained(&self, fault: Fault) -> Fault {
        if !self.names.iter().all(Option::is_some) {
            return fault;
        }
        let mut why = None;
        for (target, known) in self.known() {
            if !known.found.is_empty() {
                return fault;
            }
            why = why.or_else(|| Some(format!("{}: {}", target.text, known.error?)));
        }
        let fault = Fault::new(Stage::Forward, FaultCode::Unresolved);
        why.map_or_else(
            || Fault::new(Stage::Forward, FaultCode::Unresolved),
            |why| fault.cause(why),
        )
    }
}

/// The targets that the names stand for now, in a fixed order.
fn members(spec: &UpstreamSpec, names: &[Option<Arc<Name>>]) -> Vec<TargetSpec> {
    let mut members = Vec::with_capacity(spec.targets.len());
    for (target, name) in spec.targets.iter().zip(names) {
        let Some(name) = name else {
            members.push(target.clone());
            continue;
        };
        let found = Arc::clone(&name.known.borrow().found);
        let is_weighted =
            found.iter().any(|found| found.server.as_ref().is_some_and(|server| server.weight > 0));
        members.extend(found.iter().filter_map(|found| member(spec, target, found, is_weighted)));
    }
    let mut texts = std::collections::HashSet::new();
    members.retain(|member| texts.insert(Arc::clone(&member.text)));
    members
}

/// One address of a name as a target; none if it must not be one.
fn member(
    spec: &UpstreamSpec,
    target: &TargetSpec,
    found: &Found,
    is_weighted: bool,
) -> Option<TargetSpec> {
    let mut member = target.clone();
    member.address = Some(found.address);
    member.origin = Some(Arc::clone(&target.text));
    member.priority = target.priority << 16;
    let Some(server) = &found.server else {
        member.text = format!("{}/{}", target.text, found.address).into();
        return Some(member);
    };
    if spec.tls.as_ref().is_some_and(|tls| tls.server_name.is_none()) {
        // The certificate is verified for a name that came by DNS, which anybody may have written. So it must
        // belong to the domain that was asked for.
        let TargetHost::Service(service) = &target.host else { return None };
        if !is_within(&server.host, service) || ServerName::try_from(&*server.host).is_err() {
            debug!(service, host = server.host, "a server of another domain is passed over");
            return None;
        }
    }
    member.text = format!("{}:{}/{}", server.host, server.port, found.address).into();
    member.host = TargetHost::Name(server.host.clone());
    member.port = server.port;
    member.priority |= u32::from(server.priority);
    let weight = match (is_weighted, server.weight) {
        (true, 0) | (false, _) => 1,
        (true, weight) => u32::from(weight) * RECORD_WEIGHT,
    };
    member.weight = target.weight.saturating_mul(weight);
    Some(member)
}

/// Whether a host belongs to the domain of a service: `a.example.com` to `_orders._tcp.example.com`.
fn is_within(host: &str, service: &str) -> bool {
    let service = service.trim_end_matches('.').to_lowercase();
    let mut labels = service.splitn(3, '.');
    let (Some(name), Some(protocol), Some(domain)) = (labels.next(), labels.next(), labels.next())
    else {
        return false;
    };
    let is_marked = name.starts_with('_') && protocol.starts_with('_') && domain.contains('.');
    is_marked && (host == domain || host.strip_suffix(domain).is_some_and(|h| h.ends_with('.')))
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Members").field("now", &self.shared.now.load()).finish_non_exhaustive()
    }
}

impl Upstream for Members {
    fn name(&self) -> &Arc<str> {
        &self.shared.spec.name
    }

    fn timeouts(&self) -> Timeouts {
        self.shared.spec.timeouts
    }

    fn retries(&self) -> &Retries {
        &self.shared.spec.trouble.retries
    }

    fn hedge(&self) -> Option<Hedge> {
        self.shared.spec.trouble.hedge
    }

    fn enter(&self, exchange: &Exchange) -> Entry {
        self.shared.now.load().enter(exchange)
    }

    fn enter_beside(&self, worker: usize) -> Option<Entry> {
        self.shared.now.load().enter_beside(worker)
    }

    fn may_repeat(&self, worker: usize, reason: RetryReason) -> bool {
        self.shared.now.load().may_repeat(worker, reason)
    }

    fn may_hedge(&self, worker: usize) -> bool {
        self.shared.now.load().may_hedge(worker)
    }

    fn count_hedge_won(&self, worker: usize) {
        self.shared.now.load().count_hedge_won(worker);
    }

    fn admission(&self) -> AdmissionStatus {
        self.shared.now.load().admission()
    }

    fn pick(&self, exchange: &Exchange) -> Result<Picked, Fault> {
        let backend = self.shared.now.load();
        let fault = match backend.pick(exchange) {
            Ok(picked) => return Ok(picked),
            Err(fault) if fault.code != FaultCode::NoTarget => return Err(fault),
            Err(fault) => fault,
        };
        let Some(address) = self.shared.awaited(&backend) else {
            return Err(self.shared.explained(fault));
        };
        let shared = Arc::clone(&self.shared);
        let (wish, pass) = (backend.wish(exchange), exchange.attempts.pass.clone());
        // No target has this number: it is not known yet which one it will be.
        let index = usize::MAX;
        let target = Box::new(Waiting { shared, wish, pass });
        Ok(Picked { index, address, host: None, target })
    }

    fn status(&self) -> Vec<TargetStatus> {
        let mut status = self.shared.now.load().status();
        for (target, known) in self.shared.known().filter(|(_, known)| known.found.is_empty()) {
            let awaited = || "the name is asked for for the first time".to_owned();
            status.push(TargetStatus {
                address: Arc::clone(&target.text),
                reason: Some(known.error.map_or_else(awaited, |error| error.to_string())),
                weight: target.weight,
                priority: target.priority,
                zone: target.locality.zone.clone(),
                region: target.locality.region.clone(),
                ..TargetStatus::default()
            });
        }
        status
    }
}

/// A request that came before the first answer of the name server.
struct Waiting {
    shared: Arc<Shared>,
    wish: Wish,
    pass: Option<Arc<dyn Pass>>,
}

impl Target for Waiting {
    fn send(
        self: Box<Self>,
        call: Call,
        request: Request,
    ) -> BoxFuture<'static, Result<Response, Failed>> {
        Box::pin(async move {
            match self.choose(call.timeouts.connect).await {
                Ok(picked) => picked.target.send(call, request).await,
                Err(fault) => Err(Failed { fault, unsent: Some(Box::new(request)) }),
            }
        })
    }

    fn open(self: Box<Self>, call: Call) -> BoxFuture<'static, Result<Box<dyn Opened>, Fault>> {
        Box::pin(async move {
            let picked = self.choose(call.timeouts.connect).await?;
            picked.target.open(call).await
        })
    }
}

impl Waiting {
    /// Waits for a name, and chooses.
    async fn choose(self: Box<Self>, limit: Option<Duration>) -> Result<Picked, Fault> {
        let Self { shared, wish, pass } = *self;
        let choosing = choose(&shared, &wish, &pass);
        match limit {
            None => choosing.await,
            Some(limit) => timeout(limit, choosing).await.unwrap_or_else(|_| {
                let fault = Fault::new(Stage::Forward, FaultCode::ConnectTimeout);
                Err(fault.cause(format!("no name was resolved within {limit:?}")))
            }),
        }
    }
}

/// Waits until somebody can be chosen, or no name is awaited any more.
async fn choose(
    shared: &Shared,
    wish: &Wish,
    pass: &Option<Arc<dyn Pass>>,
) -> Result<Picked, Fault> {
    let mut lined_up = shared.lined_up.subscribe();
    loop {
        let backend = shared.now.load_full();
        let is_awaited = shared.awaited(&backend).is_some();
        match backend.choose(wish, &[], pass) {
            Ok(picked) => return Ok(picked),
            Err(fault) if fault.code != FaultCode::NoTarget => return Err(fault),
            Err(fault) if !is_awaited => return Err(shared.explained(fault)),
            Err(_) => {}
        }
        if lined_up.changed().await.is_err() {
            return Err(Fault::new(Stage::Forward, FaultCode::NoTarget));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_within;

    #[test]
    fn a_server_belongs_to_the_domain_of_its_service() {
        for (host, expected) in [
            ("example.com", true),
            ("a.example.com", true),
            ("a.b.example.com", true),
            ("example.com.evil.test", false),
            ("badexample.com", false),
            ("com", false),
        ] {
            assert_eq!(is_within(host, "_orders._tcp.Example.com."), expected, "{host}");
        }
        assert!(!is_within("a.com", "_orders._tcp.com"));
        assert!(!is_within("a.example.com", "orders.tcp.example.com"));
    }
}
