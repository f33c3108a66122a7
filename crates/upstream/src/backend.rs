//! A named backend: its targets, and which of them is next.

use crate::attempt::Attempt;
use crate::balance::{Balancer, Turns};
use crate::health;
use crate::reach::Reach;
use crate::spec::UpstreamSpec;
use crate::target::{Seat, TargetCell};
use crate::world::World;
use std::fmt;
use std::sync::Arc;
use telemetry::UpstreamMetrics;
use traffic::upstream::{Picked, TargetStatus, Timeouts, Upstream};
use traffic::{Exchange, Fault, FaultCode, Stage};

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
    let id = format!("upstream/{}/turns", spec.name);
    let turns = world.state.cell(&id, || Turns::new(world.shelves()));
    let weights: Vec<_> = spec.targets.iter().map(|target| target.weight).collect();
    Ok(Arc::new(Backend {
        balancer: Balancer::new(spec.balance, &weights, turns),
        metrics: world.metrics.upstream(&spec.name),
        timeouts: spec.timeouts,
        retries_max: spec.retries_max,
        name: spec.name,
        targets,
    }))
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
    timeouts: Timeouts,
    retries_max: u32,
}

impl Backend {
    fn next(&self, worker: usize, usable: &dyn Fn(usize) -> bool) -> Option<usize> {
        let load = |index: usize| self.targets.get(index).map_or(0, |t| t.cell.in_flight());
        self.balancer.next(worker, usable, &load)
    }

    fn is_available(&self, index: usize) -> bool {
        self.targets.get(index).is_some_and(|target| target.cell.is_available())
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

    fn retries_max(&self) -> u32 {
        self.retries_max
    }

    fn count_retry(&self, worker: usize) {
        self.metrics.retries.add(worker, 1);
    }

    fn pick(&self, exchange: &Exchange) -> Result<Picked, Fault> {
        let tried = &exchange.attempts.tried;
        let worker = exchange.worker;
        let is_untried = |index: usize| !tried.contains(&index) && self.is_available(index);
        let mut next = self.next(worker, &is_untried);
        if next.is_none() && !tried.is_empty() {
            next = self.next(worker, &|index| self.is_available(index));
        }
        let reach = next.and_then(|index| Some((index, self.targets.get(index)?)));
        let (index, reach) = reach.ok_or_else(|| self.nobody())?;
        let seat = Seat::take(&reach.cell);
        Ok(Picked {
            index,
            address: Arc::clone(&reach.cell.text),
            target: Box::new(Attempt { reach: Arc::clone(reach), seat }),
        })
    }

    fn status(&self) -> Vec<TargetStatus> {
        self.targets.iter().map(|target| target.cell.status()).collect()
    }
}
