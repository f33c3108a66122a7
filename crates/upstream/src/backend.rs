//! A named backend: its targets, and which of them is next.

use crate::admission::{Admission, Time};
use crate::attempt::Attempt;
use crate::balance::{Balancer, Turns};
use crate::health;
use crate::outlier::Judge;
use crate::reach::Reach;
use crate::spec::UpstreamSpec;
use crate::target::{Seat, TargetCell};
use crate::world::World;
use smallvec::SmallVec;
use std::fmt;
use std::sync::Arc;
use telemetry::{RetryReason, UpstreamMetrics};
use traffic::upstream::{
    AdmissionStatus, Entry, Hedge, Picked, Retries, TargetStatus, Timeouts, Upstream,
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
    let mut targets = Vec::with_capacity(spec.targets.len());
    for target in &spec.targets {
        let cell = TargetCell::of(&spec.name, target, world);
        let reach = Reach::new(target, &spec, cell, world)?;
        health::keep_asking(&reach, target, &spec, world)?;
        targets.push(Arc::new(reach));
    }
    let time = Time::of(&spec.name, world);
    let metrics = world.metrics.upstream(&spec.name);
    let admission = Admission::new(&spec, world, &metrics, time.clone());
    judge(&spec, &targets, world, &time);
    let id = format!("upstream/{}/turns", spec.name);
    let turns = world.state.cell(&id, || Turns::new(world.shelves()));
    let weights: Vec<_> = spec.targets.iter().map(|target| target.weight).collect();
    Ok(Arc::new(Backend {
        balancer: Balancer::new(spec.balance, &weights, turns),
        metrics,
        admission,
        timeouts: spec.timeouts,
        retries: spec.trouble.retries,
        hedge: spec.trouble.hedge,
        name: spec.name,
        targets,
    }))
}

/// Has the targets put aside as `spec` wants it.
fn judge(spec: &UpstreamSpec, targets: &[Arc<Reach>], world: &World, time: &Time) {
    let cells: Vec<_> = targets.iter().map(|target| Arc::clone(&target.cell)).collect();
    let judge = spec.trouble.outliers.as_ref().map(|outliers| {
        Judge::new(outliers.clone(), time.clock.clone(), time.born, world.workers, &cells)
    });
    for cell in &cells {
        cell.outlier.judged_by(cell, judge.clone());
    }
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

struct Backend {
    name: Arc<str>,
    targets: Vec<Arc<Reach>>,
    balancer: Balancer,
    metrics: Arc<UpstreamMetrics>,
    admission: Admission,
    timeouts: Timeouts,
    retries: Retries,
    hedge: Option<Hedge>,
}

impl Backend {
    fn next(&self, worker: usize, usable: &dyn Fn(usize) -> bool) -> Option<usize> {
        let load = |index: usize| self.targets.get(index).map_or(0, |t| t.cell.in_flight());
        self.balancer.next(worker, usable, &load)
    }

    fn is_available(&self, index: usize) -> bool {
        self.targets.get(index).is_some_and(|target| target.cell.is_available())
    }

    fn is_well(&self, index: usize) -> bool {
        self.targets.get(index).is_some_and(|target| target.cell.is_well())
    }

    /// How many targets take requests.
    fn available(&self) -> u32 {
        let available = self.targets.iter().filter(|target| target.cell.is_available()).count();
        u32::try_from(available).unwrap_or(u32::MAX)
    }

    /// A place at one of the targets that are `usable`, even if they were put aside with `is_anyhow`.
    fn seat(
        &self,
        exchange: &Exchange,
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
            let index = self.next(exchange.worker, &usable)?;
            let cell = &self.targets.get(index)?.cell;
            if let Some(seat) = Seat::take(cell, most, is_anyhow, exchange.attempts.pass.clone()) {
                return Some((index, seat));
            }
            lost.push(index);
        }
        None
    }

    fn nobody(&self) -> Fault {
        let are_nowhere =
            !self.targets.is_empty() && self.targets.iter().all(|target| target.cell.is_nowhere());
        let code = if are_nowhere { FaultCode::Unresolved } else { FaultCode::NoTarget };
        let said = self.targets.iter().find_map(|target| {
            let reason = target.cell.status().reason?;
            Some(format!("{}: {reason}", target.cell.text))
        });
        let fault = Fault::new(Stage::Forward, code);
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

    fn enter(&self, worker: usize) -> Entry {
        self.admission.enter(worker, || self.available())
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
        let tried = &exchange.attempts.tried;
        let is_untried = |index: usize| !tried.contains(&index) && self.is_available(index);
        let mut found = self.seat(exchange, false, &is_untried);
        if found.is_none() && !tried.is_empty() {
            found = self.seat(exchange, false, &|index| self.is_available(index));
        }
        if found.is_none() {
            if self.available() > 0 {
                return Err(self.admission.no_room(exchange.worker));
            }
            // A target to which requests failed is better than none.
            found = self.seat(exchange, true, &|index| self.is_well(index));
        }
        let reach = found.and_then(|(index, seat)| Some((index, seat, self.targets.get(index)?)));
        let (index, seat, reach) = reach.ok_or_else(|| self.nobody())?;
        Ok(Picked {
            index,
            address: Arc::clone(&reach.cell.text),
            target: Box::new(Attempt { reach: Arc::clone(reach), seat }),
        })
    }

    fn status(&self) -> Vec<TargetStatus> {
        self.targets.iter().map(|target| target.cell.status()).collect()
    }
    fn admission(&self) -> AdmissionStatus {
        self.admission.status()
    }
}
