//! A named backend: its targets, and which of them is next.

use crate::admission::{Admission, Time};
use crate::attempt::Attempt;
use crate::balance::levels::Rank;
use crate::balance::sticky::Sticky;
use crate::balance::{Balancer, Place, Turns, View, Wish};
use crate::config::Config;
use crate::outlier::Judge;
use crate::planning::{self, Planner, Watch};
use crate::reach::Reach;
use crate::spec::{Balance, Distance, HashKey, Locality, TargetSpec, UpstreamSpec};
use crate::target::{Seat, TargetCell, Task};
use crate::world::World;
use crate::{health, members};
use http::HeaderValue;
use smallvec::SmallVec;
use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Weak};
use telemetry::{RetryReason, UpstreamMetrics};
use traffic::upstream::{
    AdmissionStatus, Entry, Hedge, Pass, Picked, Retries, TargetStatus, Timeouts, Upstream,
};
use traffic::{Exchange, Fault, FaultCode, Stage};

/// How often somebody else may be faster before a target counts as full.
const RACES_MAX: usize = 8;

/// The upstream that `spec` describes, going on where one of the same name was. Resolving names and
/// checking health begin at once, and end when nobody holds the upstream any more.
///
/// # Errors
/// In words, what makes it impossible: a CA without certificates, a name that TLS cannot ask for.
pub fn build(spec: UpstreamSpec, world: &World) -> Result<Arc<dyn Upstream>, String> {
    let walled = spec.is_walled.then(|| world.walled());
    let world = walled.as_ref().unwrap_or(world);
    let config = Arc::new(Config::of(&spec.name, world));
    if members::has_names(&spec) {
        return members::build(spec, world, config);
    }
    let backend = assemble(&spec, world, &config, None)?;
    Ok(backend)
}

/// The backend of a spec whose targets are addresses. Targets that were there before are reached as they
/// were. What is shared with other configs of the upstream stays as it is, unless `config` is the latest.
///
/// # Errors
/// As [`build`].
pub(crate) fn assemble(
    spec: &UpstreamSpec,
    world: &World,
    config: &Arc<Config>,
    before: Option<&Backend>,
) -> Result<Arc<Backend>, String> {
    let change = config.change();
    let is_latest = change.is_latest;
    let mut targets = Vec::with_capacity(spec.targets.len());
    for target in &spec.targets {
        if let Some(known) = before.and_then(|before| before.reach(target)) {
            targets.push(known);
            continue;
        }
        let cell = TargetCell::of(&spec.name, target, world);
        let reach = Reach::new(target, spec, cell, world, is_latest)?;
        if is_latest {
            health::keep_asking(&reach, target, spec, world)?;
        }
        targets.push(Arc::new(reach));
    }
    let time = Time::of(&spec.name, world);
    let metrics = world.metrics.upstream(&spec.name);
    let admission = Admission::new(spec, world, &metrics, time.clone(), (config, is_latest));
    if is_latest {
        judge(spec, &targets, world, &time);
    }
    let balancer = Arc::new(balancer(spec, world));
    let cells = targets.iter().map(|target| Arc::clone(&target.cell)).collect();
    let watch = Watch::new(&spec.name, cells, spec.choice.slow_start, world);
    let planner = Planner::new(&spec.name, &balancer, &watch, &metrics);
    let planning = planning::keep_planned(planner, config, is_latest, world);
    let sticky = spec.choice.sticky.as_ref();
    Ok(Arc::new(Backend {
        balancer,
        watch,
        _planning: planning,
        key: match &spec.balance {
            Balance::Hash(hash) => Some(Arc::clone(&hash.key)),
            _ => None,
        },
        sticky: sticky.map(|sticky| Sticky::new(sticky, spec.targets.iter().map(|t| &*t.text))),
        is_placed: spec.choice.here != Locality::default(),
        here: spec.choice.here.clone(),
        metrics,
        timeouts: spec.timeouts,
        admission,
        retries: spec.trouble.retries.clone(),
        hedge: spec.trouble.hedge,
        name: Arc::clone(&spec.name),
        specs: spec.targets.clone(),
        targets,
        _config: Arc::clone(config),
    }))
}

/// Has the targets put aside as `spec` wants it.
fn judge(spec: &UpstreamSpec, targets: &[Arc<Reach>], world: &World, time: &Time) {
    let cells = || targets.iter().map(|target| &target.cell);
    // Without a weight it takes nobody's requests over.
    let at_work = cells().zip(&spec.targets).filter(|(_, target)| target.weight > 0);
    let peers: Vec<_> = at_work.map(|(cell, _)| Arc::clone(cell)).collect();
    let judge = spec.trouble.outliers.as_ref().map(|outliers| {
        Judge::new(outliers.clone(), time.clock.clone(), time.born, world.workers, &peers)
    });
    for cell in cells() {
        cell.outlier.judged_by(cell, judge.clone());
    }
}

/// What chooses among the targets of a spec.
fn balancer(spec: &UpstreamSpec, world: &World) -> Balancer {
    let id = format!("upstream/{}/turns", spec.name);
    let turns = world.state.cell(&id, || Turns::new(world.shelves()));
    // A key finds the same target from everywhere.
    let is_near_preferred = !matches!(spec.balance, Balance::Hash(_));
    let here = is_near_preferred.then_some(&spec.choice.here);
    let place = |target| place(target, here);
    let places: Vec<_> = spec.targets.iter().map(place).collect();
    Balancer::new(spec.balance.clone(), spec.choice.panic_threshold, &places, turns)
}

fn place<'a>(target: &'a TargetSpec, here: Option<&Locality>) -> Place<'a> {
    let distance = here.map_or(Distance::Zone, |here| here.distance(&target.locality));
    let rank = Rank { priority: target.priority, distance };
    Place { name: &target.text, weight: target.weight, rank }
}

/// Finds what makes building impossible, without bringing anything to life.
///
/// # Errors
/// In words, as [`build`] would say it about the TLS settings.
pub fn check(spec: &UpstreamSpec) -> Result<(), String> {
    match &spec.tls {
        Some(tls) => crate::tls::config(tls, spec.protocol).map(drop),
        None => Ok(()),
    }
}

/// A backend of a fixed set of addresses.
pub(crate) struct Backend {
    name: Arc<str>,
    targets: Vec<Arc<Reach>>,
    /// As configured, in the same order.
    specs: Vec<TargetSpec>,
    balancer: Arc<Balancer>,
    watch: Arc<Watch>,
    _planning: Option<Task>,
    /// What finds the key of a request, if targets are chosen by one.
    key: Option<HashKey>,
    sticky: Option<Sticky>,
    here: Locality,
    /// Whether the gateway knows where it is.
    is_placed: bool,
    metrics: Arc<UpstreamMetrics>,
    admission: Admission,
    timeouts: Timeouts,
    retries: Retries,
    hedge: Option<Hedge>,
    _config: Arc<Config>,
}

impl Backend {
    /// The target, if it is reached here already.
    fn reach(&self, target: &TargetSpec) -> Option<Arc<Reach>> {
        let at = self.specs.iter().position(|spec| spec.text == target.text)?;
        self.targets.get(at).map(Arc::clone)
    }

    /// Whether its targets are these.
    pub(crate) fn has_targets(&self, targets: &[TargetSpec]) -> bool {
        self.specs == targets
    }

    /// What is known of its targets that are not among these.
    pub(crate) fn cells_beside(
        &self,
        targets: &[TargetSpec],
    ) -> impl Iterator<Item = Weak<TargetCell>> {
        let texts: HashSet<&str> = targets.iter().map(|target| &*target.text).collect();
        let own = self.targets.iter().zip(&self.specs);
        let gone = own.filter(move |(_, spec)| !texts.contains(&*spec.text));
        gone.map(|(target, _)| Arc::downgrade(&target.cell))
    }

    /// What a request wishes for.
    pub(crate) fn wish(&self, exchange: &Exchange) -> Wish {
        let headers = &exchange.request.headers;
        Wish {
            worker: exchange.worker,
            scheme: exchange.request.scheme,
            key: self.key.as_ref().and_then(|key| key(exchange)),
            pin: self.sticky.as_ref().and_then(|sticky| sticky.position(headers)),
            is_again: !exchange.attempts.tried.is_empty(),
        }
    }

    fn next(&self, wish: &Wish, usable: &dyn Fn(usize) -> bool) -> Option<usize> {
        let cell = |index: usize| self.targets.get(index).map(|target| &target.cell);
        let load = |index: usize| cell(index).map_or(0, |cell| cell.in_flight());
        let cost = |index: usize| {
            let reach = self.targets.get(index);
            reach.map_or(0, |reach| reach.cell.latency.cost(reach.cell.in_flight(), reach.now()))
        };
        self.balancer.next(wish, &View { usable, load: &load, cost: &cost })
    }

    fn number(&self, index: usize) -> usize {
        self.targets.get(index).map_or(usize::MAX, |target| target.cell.number)
    }

    /// Chooses a target that is not among the numbers `tried`, if there is any such, and takes a place
    /// there.
    ///
    /// # Errors
    /// `no_target` or `upstream_busy`.
    pub(crate) fn choose(
        &self,
        wish: &Wish,
        tried: &[usize],
        pass: &Option<Arc<dyn Pass>>,
    ) -> Result<Picked, Fault> {
        // With so few healthy targets that these would be overrun, all are used.
        let is_panic = self.balancer.is_panic();
        let is_usable = |index: usize| is_panic || self.is_available(index);
        let is_untried = |index: usize| !tried.contains(&self.number(index)) && is_usable(index);
        let mut found = self.seat(wish, pass, is_panic, &is_untried);
        if found.is_none() && !tried.is_empty() {
            found = self.seat(wish, pass, is_panic, &is_usable);
        }
        if found.is_none() {
            if self.available() > 0 {
                return Err(self.admission.no_room(wish.worker));
            }
            // A target to which requests failed is better than none.
            found = self.seat(wish, pass, true, &|index| self.is_well(index));
        }
        let reach = found.and_then(|(index, seat)| Some((index, seat, self.targets.get(index)?)));
        let (index, seat, reach) = reach.ok_or_else(|| self.nobody())?;
        if self.is_placed
            && let Some(spec) = self.specs.get(index)
        {
            let distance = self.here.distance(&spec.locality);
            self.metrics.by_distance[distance as usize].add(wish.worker, 1);
        }
        let cookie = self.cookie(wish, index);
        Ok(Picked {
            index: reach.cell.number,
            address: Arc::clone(&reach.cell.text),
            host: reach.host().cloned(),
            target: Box::new(Attempt { reach: Arc::clone(reach), seat, cookie }),
        })
    }

    /// What brings the client back to the target, if it has not been there before.
    fn cookie(&self, wish: &Wish, index: usize) -> Option<HeaderValue> {
        let sticky = self.sticky.as_ref().filter(|_| wish.pin != Some(index))?;
        sticky.set(index, wish.scheme)
    }

    fn is_available(&self, index: usize) -> bool {
        self.targets.get(index).is_some_and(|target| target.cell.is_available())
    }

    fn is_well(&self, index: usize) -> bool {
        self.targets.get(index).is_some_and(|target| target.cell.is_well())
    }

    /// How many targets take requests. One without a weight is not asked, however well it is.
    fn available(&self) -> u32 {
        let at_work = self.targets.iter().zip(&self.specs).filter(|(_, spec)| spec.weight > 0);
        let available = at_work.filter(|(target, _)| target.cell.is_available()).count();
        u32::try_from(available).unwrap_or(u32::MAX)
    }

    /// A place at one of the targets that are `usable`, even if they were put aside with `is_anyhow`.
    fn seat(
        &self,
        wish: &Wish,
        pass: &Option<Arc<dyn Pass>>,
        is_anyhow: bool,
        usable: &dyn Fn(usize) -> bool,
    ) -> Option<(usize, Seat)> {
        let most = self.admission.max_per_target();
        let has_room = |index: usize| {
            most.is_none_or(|most| {
                self.targets.get(index).is_some_and(|t| t.cell.in_flight() < u64::from(most))
            })
        };
        // Others choose at the same time, and may be faster.
        let mut lost: SmallVec<[usize; 4]> = SmallVec::new();
        while lost.len() <= RACES_MAX {
            let usable = |index| has_room(index) && !lost.contains(&index) && usable(index);
            let index = self.next(wish, &usable)?;
            let cell = &self.targets.get(index)?.cell;
            if let Some(seat) = Seat::take(cell, most, is_anyhow, pass.clone()) {
                return Some((index, seat));
            }
            lost.push(index);
        }
        None
    }

    fn nobody(&self) -> Fault {
        let said = self.targets.iter().find_map(|target| {
            let reason = target.cell.status().reason?;
            Some(format!("{}: {reason}", target.cell.text))
        });
        let fault = Fault::new(Stage::Forward, FaultCode::NoTarget);
        match said {
            Some(said) => fault.cause(said),
            None => fault,
        }
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend")
            .field("name", &self.name)
            .field("targets", &self.targets.len())
            .finish_non_exhaustive()
    }
}

impl Upstream for Backend {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    fn retries(&self) -> &Retries {
        &self.retries
    }

    fn hedge(&self) -> Option<Hedge> {
        self.hedge
    }

    fn enter(&self, exchange: &Exchange) -> Entry {
        self.admission.enter(exchange, || self.available())
    }

    fn enter_beside(&self, worker: usize) -> Option<Entry> {
        self.admission.enter_beside(worker, || self.available())
    }

    fn may_repeat(&self, worker: usize, reason: RetryReason) -> bool {
        self.admission.may_repeat(worker, reason)
    }

    fn may_hedge(&self, worker: usize) -> bool {
        self.admission.may_hedge(worker)
    }

    fn count_hedge_won(&self, worker: usize) {
        self.metrics.trouble.hedges_won.add(worker, 1);
    }

    fn pick(&self, exchange: &Exchange) -> Result<Picked, Fault> {
        self.choose(&self.wish(exchange), &exchange.attempts.tried, &exchange.attempts.pass)
    }

    fn status(&self) -> Vec<TargetStatus> {
        let shares = self.balancer.shares(&self.watch.vitals());
        let of = |((target, spec), share): ((&Arc<Reach>, &TargetSpec), u32)| TargetStatus {
            address: Arc::clone(spec.origin.as_ref().unwrap_or(&spec.text)),
            zone: spec.locality.zone.clone(),
            region: spec.locality.region.clone(),
            priority: if spec.origin.is_some() { spec.priority >> 16 } else { spec.priority },
            weight: spec.weight,
            share,
            ..target.cell.status()
        };
        self.targets.iter().zip(&self.specs).zip(shares).map(of).collect()
    }
    fn admission(&self) -> AdmissionStatus {
        self.admission.status()
    }
}
