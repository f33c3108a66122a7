//! Looks at the targets of an upstream from time to time, where it depends on all of them who gets how
//! much: priorities, zones, slow start, panic.

use crate::balance::{Balancer, Vital};
use crate::config::Config;
use crate::target::{TargetCell, Task};
use crate::world::World;
use base::Clock;
use base::caps::{PLAN_PERIOD_MS, RAMP_PERCENT_MIN};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use telemetry::UpstreamMetrics;
use tracing::{info, warn};

const PERIOD: Duration = Duration::from_millis(PLAN_PERIOD_MS);

/// Knows how the targets of an upstream are.
pub(crate) struct Watch {
    cells: Vec<Arc<TargetCell>>,
    slow_start: Option<Duration>,
    clock: Clock,
    /// What the times of all targets are counted from; it outlives configs.
    born: Arc<Instant>,
}

impl Watch {
    /// Over these targets.
    pub(crate) fn new(
        upstream: &str,
        cells: Vec<Arc<TargetCell>>,
        slow_start: Option<Duration>,
        world: &World,
    ) -> Arc<Self> {
        let clock = world.clock.clone();
        let born = world.state.cell(&format!("upstream/{upstream}/born"), || clock.now());
        Arc::new(Self { cells, slow_start, clock, born })
    }

    /// How each of them is now, in the order of their positions.
    pub(crate) fn vitals(&self) -> Vec<Vital> {
        let now = self.clock.now().saturating_duration_since(*self.born).as_millis();
        // Zero says that a target is not well.
        let now_ms = u64::try_from(now).unwrap_or(u64::MAX).saturating_add(1);
        self.cells.iter().map(|cell| self.vital(cell, now_ms)).collect()
    }

    fn vital(&self, cell: &TargetCell, now_ms: u64) -> Vital {
        let is_available = cell.is_available();
        let Some(slow_start) = self.slow_start else {
            return Vital { is_available, ramp_percent: 100 };
        };
        if !is_available {
            cell.well_since_ms.store(0, Ordering::Relaxed);
            return Vital { is_available, ramp_percent: RAMP_PERCENT_MIN };
        }
        let since =
            cell.well_since_ms.compare_exchange(0, now_ms, Ordering::Relaxed, Ordering::Relaxed);
        let well_ms = now_ms.saturating_sub(since.err().unwrap_or(now_ms));
        let whole_ms = slow_start.as_millis().max(1);
        let percent = (u128::from(well_ms) * 100 / whole_ms).min(100);
        let ramp_percent = u32::try_from(percent).unwrap_or(100).max(RAMP_PERCENT_MIN);
        Vital { is_available, ramp_percent }
    }
}

/// Has plans made from now on, if they are needed, for as long as `config` lives.
pub(crate) fn keep_planned(
    mut planner: Planner,
    config: &Arc<Config>,
    is_latest: bool,
    world: &World,
) -> Option<Task> {
    if !planner.balancer.needs_plans() && planner.watch.slow_start.is_none() {
        if is_latest {
            planner.metrics.set_panic(false);
        }
        return None;
    }
    planner.look(is_latest);
    let config = Arc::downgrade(config);
    Some(Task::start(world, async move {
        loop {
            tokio::time::sleep(PERIOD).await;
            let Some(config) = config.upgrade() else { return };
            let change = config.change();
            planner.look(change.is_latest);
        }
    }))
}

/// Plans for one config of an upstream.
pub(crate) struct Planner {
    upstream: Arc<str>,
    balancer: Arc<Balancer>,
    watch: Arc<Watch>,
    metrics: Arc<UpstreamMetrics>,
    /// What the targets were like, and whether the config was the latest.
    last: Option<(Vec<Vital>, bool)>,
}

impl Planner {
    /// Tells `balancer` what `watch` sees.
    pub(crate) fn new(
        upstream: &Arc<str>,
        balancer: &Arc<Balancer>,
        watch: &Arc<Watch>,
        metrics: &Arc<UpstreamMetrics>,
    ) -> Self {
        Self {
            upstream: Arc::clone(upstream),
            balancer: Arc::clone(balancer),
            watch: Arc::clone(watch),
            metrics: Arc::clone(metrics),
            last: None,
        }
    }

    /// Plans anew if something has changed. What is told of the upstream is the latest config's to tell.
    fn look(&mut self, is_latest: bool) {
        let seen = Some((self.watch.vitals(), is_latest));
        if seen == self.last {
            return;
        }
        self.last = seen;
        let Some((vitals, _)) = &self.last else { return };
        let plan = self.balancer.plan(vitals);
        let (is_panic, upstream) = (plan.is_panic, &self.upstream);
        if is_latest && self.metrics.set_panic(is_panic) != is_panic {
            let well = vitals.iter().filter(|vital| vital.is_available).count();
            let all = vitals.len();
            if is_panic {
                warn!(%upstream, well, all, "too few targets are well: all of them get requests");
            } else {
                info!(%upstream, well, all, "enough targets are well again");
            }
        }
        self.balancer.adopt(plan);
    }
}
