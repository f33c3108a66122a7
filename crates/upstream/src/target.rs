//! One server and all that is known of it: addresses, health, requests under way. It outlives configs
//! and is the same for all routes and workers.

use crate::health::Health;
use crate::names;
use crate::outlier::{Outcome, Outlier, Standing};
use crate::spec::{TargetHost, TargetSpec};
use crate::world::World;
use arc_swap::ArcSwap;
use base::caps::ADDRESSES_PER_NAME_MAX;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use telemetry::TargetMetrics;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tracing::{info, warn};
use traffic::upstream::{Pass, TargetStatus};

/// The live state of a target.
pub(crate) struct TargetCell {
    pub(crate) upstream: Arc<str>,
    pub(crate) text: Arc<str>,
    pub(crate) metrics: Arc<TargetMetrics>,
    pub(crate) health: Health,
    pub(crate) outlier: Outlier,
    port: u16,
    known: ArcSwap<Known>,
    learned: Notify,
    /// Its name was asked for and has never had an address.
    is_nowhere: AtomicBool,
    /// Whose turn it is among the addresses.
    turn: AtomicUsize,
    in_flight: AtomicU64,
    resolving: Mutex<Option<Task>>,
}

/// What is known of a target's addresses.
#[derive(Debug, Default)]
struct Known {
    addresses: Box<[SocketAddr]>,
    /// Why the last attempt to learn them failed, if it did.
    error: Option<String>,
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
    /// The state of a target, new or as it was; learning its addresses begins at once.
    pub(crate) fn of(upstream: &Arc<str>, spec: &TargetSpec, world: &World) -> Arc<Self> {
        let id = format!("upstream/{upstream}/target/{}/{}", spec.text, spec.way());
        let cell = world.state.cell(&id, || Self::new(upstream, spec, world));
        if let TargetHost::Name(name) = &spec.host {
            let mut resolving = cell.resolving.lock().unwrap_or_else(PoisonError::into_inner);
            resolving.get_or_insert_with(|| {
                let resolve = Arc::clone(&world.resolve);
                let task = names::keep_fresh(Arc::downgrade(&cell), resolve, name.clone());
                Task::start(world, task)
            });
        }
        cell
    }

    fn new(upstream: &Arc<str>, spec: &TargetSpec, world: &World) -> Self {
        let addresses = match &spec.host {
            TargetHost::Ip(address) => Box::from([SocketAddr::new(*address, spec.port)]),
            TargetHost::Name(_) => Box::default(),
        };
        Self {
            upstream: Arc::clone(upstream),
            text: Arc::clone(&spec.text),
            metrics: world.metrics.target(upstream, &spec.text),
            health: Health::default(),
            outlier: Outlier::default(),
            port: spec.port,
            known: ArcSwap::from_pointee(Known { addresses, error: None }),
            learned: Notify::new(),
            is_nowhere: AtomicBool::new(false),
            turn: AtomicUsize::new(0),
            in_flight: AtomicU64::new(0),
            resolving: Mutex::default(),
        }
    }

    /// Whether it may be chosen.
    pub(crate) fn is_available(&self) -> bool {
        self.is_well() && self.outlier.standing() != Standing::Out
    }

    /// Whether it would take requests, had none of them failed.
    pub(crate) fn is_well(&self) -> bool {
        self.health.is_good() && !self.is_nowhere()
    }

    /// Whether its name has never had an address. While it is asked for the first time that is not
    /// known yet.
    pub(crate) fn is_nowhere(&self) -> bool {
        self.is_nowhere.load(Ordering::Relaxed)
    }

    /// Requests under way.
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether a connection to this address is still one to the target.
    pub(crate) fn holds(&self, address: SocketAddr) -> bool {
        self.known.load().addresses.contains(&address)
    }

    /// Its addresses, and whose turn it is among them. Waits while its name is asked for the first
    /// time.
    ///
    /// # Errors
    /// Why it has none.
    pub(crate) async fn addresses(&self) -> Result<(Box<[SocketAddr]>, usize), String> {
        loop {
            let mut learned = std::pin::pin!(self.learned.notified());
            // What is learned from now on is not missed.
            learned.as_mut().enable();
            let known = self.known.load_full();
            if !known.addresses.is_empty() {
                let turn = self.turn.fetch_add(1, Ordering::Relaxed);
                return Ok((known.addresses.clone(), turn));
            }
            if let Some(error) = &known.error {
                return Err(error.clone());
            }
            learned.await;
        }
    }

    /// Its name stands for these addresses now; there is at least one.
    pub(crate) fn resolved(&self, addresses: &[IpAddr]) {
        let kept = addresses.iter().take(ADDRESSES_PER_NAME_MAX);
        let addresses: Box<[_]> = kept.map(|ip| SocketAddr::new(*ip, self.port)).collect();
        let before = self.known.swap(Arc::new(Known { addresses, error: None }));
        self.is_nowhere.store(false, Ordering::Relaxed);
        self.learned.notify_waiters();
        if before.error.is_some() {
            info!(upstream = %self.upstream, target = %self.text, "the name is resolved again");
        }
    }

    /// Its name could not be resolved: what was known stays.
    pub(crate) fn not_resolved(&self, error: String) {
        let before = self.known.load_full();
        if before.error.is_none() {
            let (upstream, target) = (&self.upstream, &self.text);
            warn!(%upstream, %target, %error, "the name could not be resolved");
        }
        let addresses = before.addresses.clone();
        self.is_nowhere.store(addresses.is_empty(), Ordering::Relaxed);
        self.known.store(Arc::new(Known { addresses, error: Some(error) }));
        self.learned.notify_waiters();
    }

    /// What operators see of it.
    pub(crate) fn status(&self) -> TargetStatus {
        let known = self.known.load();
        TargetStatus {
            address: Arc::clone(&self.text),
            resolved: known.addresses.to_vec(),
            healthy: self.is_well() && !self.outlier.is_out(),
            reason: match &known.error {
                Some(error) if known.addresses.is_empty() => Some(error.clone()),
                // Of two reasons the one that health checks give says more.
                _ if !self.health.is_good() => self.health.reason(),
                _ => self.outlier.reason().or_else(|| self.health.reason()),
            },
            in_flight: self.in_flight(),
            ejected: self.outlier.is_out(),
        }
    }
}

/// A place among a target's requests under way; dropping it gives it back.
pub(crate) struct Seat {
    pub(crate) cell: Arc<TargetCell>,
    /// The number of the request that tries a target which was put aside; zero for all others.
    pub(crate) probe: u64,
    /// The request's leave to use the upstream, which it keeps until the answer has ended.
    _pass: Option<Arc<dyn Pass>>,
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
        let seat = Self { cell: Arc::clone(cell), probe, _pass: pass };
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
