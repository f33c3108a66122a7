//! How many requests an upstream has under way, and how long others wait for their turn.

use super::granted::Meter;
use super::lent::Whose;
use super::{Queued, Time, busy};
use crate::adaptive::Adaptive;
use crate::gate::{Arrival, Asker, Gate, Place, Turn, Waiting};
use crate::spec::{ConcurrencySpec, DelaySpec};
use crate::world::World;
use base::caps::OVERLOAD_RETRY_S_MAX;
use base::random;
use http::HeaderValue;
use http::header::RETRY_AFTER;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use telemetry::{ShedReason, UpstreamMetrics};
use traffic::exchange::Exchange;
use traffic::plan::Priority;
use traffic::upstream::AdmissionStatus;
use traffic::{Fault, FaultCode, Stage};

/// What a measured delay is at least: what RFC 8289 (4.2, 4.3) takes for all networks.
const TARGET_US: u64 = 5_000;
const INTERVAL_US: u64 = 100_000;

/// The places of an upstream under one config.
#[derive(Clone)]
pub(super) struct Places {
    pub(super) spec: ConcurrencySpec,
    pub(super) gate: Arc<Gate>,
    adaptive: Option<Arc<Adaptive>>,
    pub(super) metrics: Arc<UpstreamMetrics>,
}

impl Places {
    /// As `spec` wants them, going on where those of the same upstream were.
    pub(super) fn new(
        upstream: &str,
        spec: ConcurrencySpec,
        world: &World,
        metrics: &Arc<UpstreamMetrics>,
    ) -> Self {
        let cell = |what: &str| format!("upstream/{upstream}/{what}");
        Self {
            spec,
            gate: world.state.cell(&cell("gate"), Gate::new),
            adaptive: spec
                .adaptive
                .map(|spec| world.state.cell(&cell("adaptive"), || Adaptive::new(spec))),
            metrics: Arc::clone(metrics),
        }
    }

    /// Asks for a place, or for a position among those who wait.
    pub(super) fn enter(
        &self,
        exchange: &Exchange,
        time: &Time,
        available: impl FnOnce() -> u32,
    ) -> Turn {
        let who = || Arrival {
            priority: self.priority(exchange),
            from: match &exchange.consumer {
                Some(consumer) => Asker::Consumer(&consumer.name),
                None => Asker::Address(network(exchange.client())),
            },
            now_us: time.now_us(),
        };
        let turn = self.gate.enter(self.count(available), self.spec.queue, who);
        self.found(turn)
    }

    /// The same for one who was in already, as many places as there were last.
    pub(super) fn enter_again(&self, whose: &Whose, time: &Time) -> Turn {
        let Whose { priority, consumer, network } = whose;
        let who = || Arrival {
            priority: *priority,
            from: match consumer {
                Some(consumer) => Asker::Consumer(&consumer.name),
                None => Asker::Address(*network),
            },
            now_us: time.now_us(),
        };
        self.found(self.gate.enter(self.gate.cap(), self.spec.queue, who))
    }

    /// By what one who is in may ask again.
    pub(super) fn whose(&self, exchange: &Exchange) -> Whose {
        Whose {
            priority: self.priority(exchange),
            consumer: exchange.consumer.clone(),
            network: network(exchange.client()),
        }
    }

    fn found(&self, turn: Turn) -> Turn {
        if let (Some(adaptive), Turn::Wait(_) | Turn::Full) = (&self.adaptive, &turn) {
            adaptive.found_none();
        }
        turn
    }

    /// Waits until it is somebody's turn, or too late.
    pub(super) fn turn(
        &self,
        waiting: Waiting,
        priority: Priority,
        worker: usize,
        time: &Time,
    ) -> impl Future<Output = Result<Place, Fault>> + Send + use<> {
        let queued = Queued::new(worker, Arc::clone(&self.metrics), time.clone());
        let (wait, deadline_us) = self.patience(&waiting);
        let places = self.clone();
        async move {
            let place = tokio::time::timeout(wait, waiting.place()).await;
            let is_late = queued.time.now_us() > deadline_us;
            drop(queued);
            match place {
                Ok(Some(place)) if !is_late => Ok(place),
                Ok(None) => Err(places.shed(priority, ShedReason::Displaced, worker)),
                Ok(Some(_)) | Err(_) => Err(places.shed(priority, ShedReason::Late, worker)),
            }
        }
    }

    /// Who goes first. Whoever shows no credential must not be better off for it.
    pub(super) fn priority(&self, exchange: &Exchange) -> Priority {
        let is_stranger = exchange.consumer.is_none() && exchange.plan.is_none();
        if is_stranger { self.spec.strangers } else { exchange.priority() }
    }

    /// Asks for a place that is free.
    pub(super) fn enter_now(&self, available: impl FnOnce() -> u32) -> Option<Place> {
        self.gate.enter_now(self.count(available))
    }

    /// What finds the limit, if it is found.
    pub(super) fn meter(&self) -> Option<Meter> {
        let adaptive = Arc::clone(self.adaptive.as_ref()?);
        Some(Meter { spec: self.spec.adaptive?, adaptive, places: self.clone() })
    }

    /// How many there are: as many as are allowed, and no more than the targets have.
    fn count(&self, available: impl FnOnce() -> u32) -> u32 {
        let max = self.limit();
        match self.spec.max_per_target {
            None => max,
            // Without any target it is for the choice to say so.
            Some(each) => max.min(each.saturating_mul(available().max(1))),
        }
    }

    fn limit(&self) -> u32 {
        let found = self.adaptive.as_ref().zip(self.spec.adaptive);
        let found = found.map_or(u32::MAX, |(adaptive, spec)| adaptive.limit(spec));
        self.spec.max.min(found)
    }

    /// How long somebody waits, and when it is too late to be served.
    ///
    /// While the queue becomes empty from time to time, it only evens out what comes unevenly. One that has not been
    /// empty for `interval` does nothing but make everybody wait (RFC 8289, 3.1): from then on nobody waits longer than
    /// `target`, which is all that is needed so that no place is ever free. CoDel drops one packet and then more and more
    /// of them, so that senders slow down; requests that come from many clients do not, so all that have waited for too
    /// long go at once (Maurer, "Fail at Scale", ACM Queue 13.8, 2015).
    fn patience(&self, waiting: &Waiting) -> (Duration, u64) {
        let (since_us, line_since_us) = (waiting.since_us, waiting.line_since_us);
        let last_us = since_us.saturating_add(micros(self.spec.wait));
        let Some((target_us, interval_us)) = self.delay_us() else {
            return (self.spec.wait, u64::MAX);
        };
        let standing_us = line_since_us.saturating_add(interval_us);
        let deadline_us = standing_us.max(since_us.saturating_add(target_us)).min(last_us);
        (Duration::from_micros(deadline_us.saturating_sub(since_us)), deadline_us)
    }

    /// The target and the interval of those who wait, if there are any.
    fn delay_us(&self) -> Option<(u64, u64)> {
        match self.spec.delay? {
            DelaySpec::Fixed { target, interval } => Some((micros(target), micros(interval))),
            DelaySpec::Measured => {
                let unloaded_us = self.adaptive.as_ref().map_or(0, |found| found.unloaded_us());
                // As long as nothing is known, nobody is in a hurry. Who waits for less than an answer takes may just
                // have missed the moment in which a backend gives all of its answers.
                (unloaded_us > 0).then(|| {
                    let interval_us = unloaded_us.saturating_mul(2);
                    (TARGET_US.max(unloaded_us), INTERVAL_US.max(interval_us))
                })
            }
        }
    }

    /// Turns a request away that would have to wait.
    pub(super) fn shed(&self, priority: Priority, reason: ShedReason, worker: usize) -> Fault {
        self.metrics.trouble.busy.add(worker, 1);
        self.metrics.trouble.load.shed(priority.index(), reason);
        let cause = match reason {
            ShedReason::Full => "no place is free and the queue is full",
            ShedReason::Displaced => "somebody with a better right took its position in the queue",
            ShedReason::Late => "no place became free in time",
        };
        let is_overload = self.spec.delay.is_some() || reason == ShedReason::Displaced;
        if !is_overload {
            return busy(self.spec.wait, cause);
        }
        let fault = Fault::new(Stage::Forward, FaultCode::UpstreamOverloaded).cause(cause);
        let after_s = 1 + random::fast_below(OVERLOAD_RETRY_S_MAX);
        fault.header(RETRY_AFTER, HeaderValue::from(after_s))
    }

    /// What operators see.
    pub(super) fn status(&self) -> AdmissionStatus {
        let unloaded_us = self.adaptive.as_ref().map_or(0, |adaptive| adaptive.unloaded_us());
        AdmissionStatus {
            concurrency: Some((self.gate.taken(), self.limit())),
            queued: self.gate.waiting(),
            is_adaptive: self.adaptive.is_some(),
            unloaded: (unloaded_us > 0).then(|| Duration::from_micros(unloaded_us)),
            ..AdmissionStatus::default()
        }
    }
}

/// Has metrics tell the limit, if there is one.
pub(super) fn show(places: Option<&Places>, metrics: &UpstreamMetrics) {
    let load = &metrics.trouble.load;
    // Without a limit in all there may be one for each target.
    let limit = places.map_or(u32::MAX, Places::limit);
    load.limit.store(if limit == u32::MAX { 0 } else { limit }, Ordering::Relaxed);
    load.in_flight.store(places.map_or(0, |places| places.gate.taken()), Ordering::Relaxed);
    let adaptive = places.and_then(|places| places.adaptive.as_ref());
    load.unloaded_us.store(adaptive.map_or(0, |found| found.unloaded_us()), Ordering::Relaxed);
}

/// Whom an address stands for: of IPv6, whoever has its 64 bits has all below them.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
