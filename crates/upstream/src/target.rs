//! One server and all that is known of it: address, health, requests under way. It outlives configs and
//! is the same for all routes and workers.

use crate::balance::latency::Latency;
use crate::health::Health;
use crate::outlier::{Outcome, Outlier, Standing};
use crate::spec::{TargetHost, TargetSpec};
use crate::world::World;
use base::Endpoint;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use telemetry::TargetMetrics;
use tokio::task::AbortHandle;
use traffic::upstream::{Pass, TargetStatus};

/// The live state of a target.
pub(crate) struct TargetCell {
    pub(crate) upstream: Arc<str>,
    pub(crate) text: Arc<str>,
    pub(crate) metrics: Arc<TargetMetrics>,
    pub(crate) health: Health,
    pub(crate) outlier: Outlier,
    /// How soon it answers, where that decides who is chosen.
    pub(crate) latency: Latency,
    /// Since when it takes requests, in milliseconds of whoever plans; zero while it does not.
    pub(crate) well_since_ms: AtomicU64,
    /// Its number among the targets of its upstream, those included that are gone.
    pub(crate) number: usize,
    /// Numbers go on for as long as there is any target.
    _numbers: Arc<AtomicUsize>,
    address: Endpoint,
    in_flight: AtomicU64,
}

/// A task beside the requests, which ends with its owner.
#[derive(Debug)]
pub(crate) struct Task(AbortHandle);

impl Task {
    /// One that was started elsewhere.
    pub(crate) const fn of(handle: AbortHandle) -> Self {
        Self(handle)
    }

    /// Starts it where it cannot stall traffic.
    pub(crate) fn start(world: &World, task: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(world.background.spawn(task).abort_handle())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl TargetCell {
    /// The state of a target, new or as it was.
    pub(crate) fn of(upstream: &Arc<str>, spec: &TargetSpec, world: &World) -> Arc<Self> {
        let numbers =
            world.state.cell(&format!("upstream/{upstream}/numbers"), AtomicUsize::default);
        let id = format!("upstream/{upstream}/target/{}/{}", spec.text, spec.way());
        world.state.cell(&id, || Self::new(upstream, spec, numbers, world))
    }

    fn new(
        upstream: &Arc<str>,
        spec: &TargetSpec,
        numbers: Arc<AtomicUsize>,
        world: &World,
    ) -> Self {
        let at = |host| Endpoint::Ip(SocketAddr::new(host, spec.port));
        let address = match &spec.host {
            TargetHost::Unix(path) => Endpoint::Unix(Arc::clone(path)),
            TargetHost::Ip(address) => at(*address),
            // Whoever builds targets resolves names first; nothing is reached at this address.
            TargetHost::Name(_) | TargetHost::Service(_) => {
                at(spec.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
            }
        };
        Self {
            upstream: Arc::clone(upstream),
            text: Arc::clone(&spec.text),
            metrics: world.metrics.target(upstream, &spec.text),
            health: Health::default(),
            outlier: Outlier::default(),
            latency: Latency::default(),
            well_since_ms: AtomicU64::new(0),
            number: numbers.fetch_add(1, Ordering::Relaxed),
            _numbers: numbers,
            address,
            in_flight: AtomicU64::new(0),
        }
    }

    /// Whether it may be chosen.
    pub(crate) fn is_available(&self) -> bool {
        self.is_well() && self.outlier.standing() != Standing::Out
    }

    /// Whether it would take requests, had none of them failed.
    pub(crate) fn is_well(&self) -> bool {
        self.health.is_good()
    }

    /// Requests under way.
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Where it is.
    pub(crate) const fn address(&self) -> &Endpoint {
        &self.address
    }

    /// What operators see of it.
    pub(crate) fn status(&self) -> TargetStatus {
        TargetStatus {
            address: Arc::clone(&self.text),
            resolved: self.address.ip(),
            healthy: self.is_well() && !self.outlier.is_out(),
            reason: match self.health.is_good() {
                // Of two reasons the one that health checks give says more.
                false => self.health.reason(),
                true => self.outlier.reason().or_else(|| self.health.reason()),
            },
            in_flight: self.in_flight(),
            ejected: self.outlier.is_out(),
            ..TargetStatus::default()
        }
    }
}

/// A place among a target's requests under way; dropping it gives it back.
pub(crate) struct Seat {
    pub(crate) cell: Arc<TargetCell>,
    /// The number of the request that tries a target which was put aside; zero for all others.
    pub(crate) probe: u64,
    /// The request's leave to use the upstream, which it keeps until the answer has ended.
    pub(crate) pass: Option<Arc<dyn Pass>>,
}

impl Seat {
    /// Takes a place, if there are fewer than `most` requests under way; and tries the target, if it was
    /// put aside and its time is over. `is_anyhow` asks a target even if it is out.
    pub(crate) fn take(
        cell: &Arc<TargetCell>,
        most: Option<u32>,
        is_anyhow: bool,
        pass: Option<Arc<dyn Pass>>,
    ) -> Option<Self> {
        let probe = match cell.outlier.standing() {
            Standing::In => 0,
            Standing::Probe => cell.outlier.claim()?,
            Standing::Out if is_anyhow => 0,
            Standing::Out => return None,
        };
        // From here on dropping it undoes what was done.
        let before = cell.in_flight.fetch_add(1, Ordering::Relaxed);
        let seat = Self { cell: Arc::clone(cell), probe, pass };
        most.is_none_or(|most| before < u64::from(most)).then_some(seat)
    }

    /// Notes that the answer broke off.
    pub(crate) fn broke_off(&self, worker: usize) {
        self.cell.metrics.failures.add(worker, 1);
        self.cell.outlier.note(&self.cell, worker, Outcome::NoAnswer, self.probe);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.cell.in_flight.fetch_sub(1, Ordering::Relaxed);
        if self.probe != 0 {
            self.cell.outlier.unclaim(self.probe);
        }
    }
}
