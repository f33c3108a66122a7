//! Whom an upstream lets in: its breaker, its places, and its budget of repetitions. One per config,
//! over cells that outlive it.

mod granted;
mod lent;
mod places;
mod watch;

use crate::breaker::{Breaker, Passed};
use crate::budget::Budget;
use crate::config::Config;
use crate::gate::Turn;
use crate::spec::UpstreamSpec;
use crate::target::Task;
use crate::world::World;
use base::Clock;
use granted::Granting;
use http::HeaderValue;
use http::header::RETRY_AFTER;
use places::Places;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};
use telemetry::{BreakerState, RetryReason, ShedReason, UpstreamMetrics};
use traffic::exchange::Exchange;
use traffic::upstream::{AdmissionStatus, Entry};
use traffic::{Fault, FaultCode, Stage};

/// Whom one upstream lets in.
pub(crate) struct Admission {
    breaker: Option<Arc<Breaker>>,
    places: Option<Places>,
    budget: Arc<Budget>,
    retry_budget: base::units::Share,
    metrics: Arc<UpstreamMetrics>,
    time: Time,
    _watch: Option<Task>,
}

/// Milli- and microseconds since an upstream was first known.
#[derive(Clone, Debug)]
pub(crate) struct Time {
    pub(crate) clock: Clock,
    pub(crate) born: Instant,
}

impl Time {
    /// Of an upstream; goes on under a new config.
    pub(crate) fn of(upstream: &str, world: &World) -> Self {
        let born = world.state.cell(&format!("upstream/{upstream}/born"), || world.clock.now());
        Self { clock: world.clock.clone(), born: *born }
    }

    fn now_ms(&self) -> u64 {
        self.now_us() / 1_000
    }

    fn now_us(&self) -> u64 {
        let since = self.clock.now().saturating_duration_since(self.born);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }
}

impl Admission {
    /// As `spec` wants it, going on where one of the same name was. What that shares with other configs goes by the
    /// latest.
    pub(crate) fn new(
        spec: &UpstreamSpec,
        world: &World,
        metrics: &Arc<UpstreamMetrics>,
        time: Time,
        (config, is_latest): (&Arc<Config>, bool),
    ) -> Self {
        let (name, trouble) = (&spec.name, &spec.trouble);
        let breaker = trouble.breaker.as_ref().map(|wanted| {
            let breaker = world.state.cell(&format!("upstream/{name}/breaker"), || {
                Breaker::new(name, world.workers, Arc::clone(metrics), wanted.clone())
            });
            if is_latest {
                breaker.set(wanted.clone());
            }
            breaker
        });
        if breaker.is_none() && is_latest {
            metrics.trouble.set_breaker(None);
        }
        let places = trouble.concurrency.map(|wanted| Places::new(name, wanted, world, metrics));
        if is_latest {
            places::show(places.as_ref(), metrics);
        }
        let watch = places.as_ref().map(|places| watch::keep_looking(name, places, config, world));
        Self {
            breaker,
            places,
            budget: world.state.cell(&format!("upstream/{name}/budget"), || {
                // What is counted may be older than this.
                Budget::new(time.now_ms(), firsts(metrics))
            }),
            retry_budget: trouble.retry_budget,
            metrics: Arc::clone(metrics),
            time,
            _watch: watch,
        }
    }

    /// Lets a request in, has it wait, or turns it away. `available` counts the targets that take
    /// requests.
    pub(crate) fn enter(&self, exchange: &Exchange, available: impl FnOnce() -> u32) -> Entry {
        if self.breaker.is_none() && self.places.is_none() {
            return Entry::Open;
        }
        let worker = exchange.worker;
        let passed = match self.pass_breaker(worker) {
            Ok(passed) => passed,
            Err(fault) => return Entry::Refused(Box::new(fault)),
        };
        let granting = self.granting(worker, passed);
        let Some(places) = &self.places else { return Entry::Pass(granting.pass(None)) };
        match places.enter(exchange, &self.time, available) {
            Turn::Place(place) => Entry::Pass(granting.pass(Some(place))),
            Turn::Full => {
                let fault = places.shed(places.priority(exchange), ShedReason::Full, worker);
                Entry::Refused(Box::new(fault))
            }
            Turn::Wait(waiting) => {
                let turn = places.turn(waiting, places.priority(exchange), worker, &self.time);
                Entry::Queue(Box::pin(async move { granting.finish(Some(turn.await?)) }))
            }
        }
    }

    /// Lets one more attempt in, if that needs no waiting.
    pub(crate) fn enter_beside(
        &self,
        worker: usize,
        available: impl FnOnce() -> u32,
    ) -> Option<Entry> {
        if let Some(breaker) = &self.breaker
            && breaker.state(self.time.now_ms()) != BreakerState::Closed
        {
            return None;
        }
        let Some(places) = &self.places else { return Some(Entry::Open) };
        let place = places.enter_now(available)?;
        Some(Entry::Pass(self.granting(worker, None).pass(Some(place))))
    }

    fn pass_breaker(&self, worker: usize) -> Result<Option<Passed>, Fault> {
        let Some(breaker) = &self.breaker else { return Ok(None) };
        breaker.pass(self.time.now_ms()).map(Some).map_err(|wait| {
            self.metrics.trouble.breaker_refused.add(worker, 1);
            let fault = Fault::new(Stage::Forward, FaultCode::BreakerOpen);
            fault.header(RETRY_AFTER, seconds(wait))
        })
    }

    fn granting(&self, worker: usize, passed: Option<Passed>) -> Granting {
        Granting {
            worker,
            passed,
            breaker: self.breaker.clone(),
            meter: self.places.as_ref().and_then(Places::meter),
            time: self.time.clone(),
        }
    }

    /// Asks for leave to send a request once more.
    pub(crate) fn may_repeat(&self, worker: usize, reason: RetryReason) -> bool {
        let is_unsent = matches!(reason, RetryReason::Connect | RetryReason::RefusedStream);
        if !is_unsent && !self.take_from_budget(worker) {
            return false;
        }
        self.metrics.retries.add(worker, 1);
        self.metrics.trouble.retries(reason).add(worker, 1);
        true
    }

    /// Asks for leave to send a request to a second target meanwhile.
    pub(crate) fn may_hedge(&self, worker: usize) -> bool {
        let may = self.take_from_budget(worker);
        self.metrics.trouble.hedges.add(worker, u64::from(may));
        may
    }

    fn take_from_budget(&self, worker: usize) -> bool {
        let now_ms = self.time.now_ms();
        if self.breaker.as_ref().is_some_and(|b| b.state(now_ms) == BreakerState::Open) {
            return false;
        }
        let may = self.budget.take(now_ms, firsts(&self.metrics), self.retry_budget);
        if !may {
            self.metrics.trouble.retries_cut.add(worker, 1);
        }
        may
    }

    /// How many requests one target may have under way.
    pub(crate) fn max_per_target(&self) -> Option<u32> {
        self.places.as_ref()?.spec.max_per_target
    }

    /// What somebody is told for whom no target has room.
    pub(crate) fn no_room(&self, worker: usize) -> Fault {
        self.metrics.trouble.busy.add(worker, 1);
        let wait = self.places.as_ref().map_or(Duration::ZERO, |places| places.spec.wait);
        busy(wait, "every target has as many requests under way as it may")
    }

    /// What operators see.
    pub(crate) fn status(&self) -> AdmissionStatus {
        let now_ms = self.time.now_ms();
        AdmissionStatus {
            breaker: self.breaker.as_ref().map(|breaker| match breaker.state(now_ms) {
                BreakerState::Closed => "closed",
                BreakerState::HalfOpen => "half_open",
                BreakerState::Open => "open",
            }),
            ..self.places.as_ref().map(Places::status).unwrap_or_default()
        }
    }
}

/// Requests ever, without repetitions.
fn firsts(metrics: &UpstreamMetrics) -> u64 {
    let again = metrics.retries.sum() + metrics.trouble.hedges.sum();
    metrics.attempts.sum().saturating_sub(again)
}

/// Tells a request that it finds no room; `wait` is how long others wait for it.
pub(crate) fn busy(wait: Duration, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Fault {
    let fault = Fault::new(Stage::Forward, FaultCode::UpstreamBusy).cause(cause);
    fault.header(RETRY_AFTER, seconds(wait))
}

/// Whole seconds, rounded up, at least one.
fn seconds(wait: Duration) -> HeaderValue {
    let whole = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    HeaderValue::from(whole.max(1))
}

/// Somebody who waits in line, for the metrics.
struct Queued {
    worker: usize,
    metrics: Arc<UpstreamMetrics>,
    time: Time,
    since: Instant,
}

impl Queued {
    fn new(worker: usize, metrics: Arc<UpstreamMetrics>, time: Time) -> Self {
        metrics.trouble.queue.add(worker, 1);
        metrics.trouble.queued.add(worker, 1);
        Self { worker, metrics, since: time.clock.now(), time }
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        let waited = self.time.clock.now().saturating_duration_since(self.since);
        let waited_us = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        self.metrics.trouble.queue.add(self.worker, -1);
        self.metrics.trouble.queued_us.add(self.worker, waited_us);
    }
}
