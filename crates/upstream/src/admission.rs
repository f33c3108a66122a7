//! Whom an upstream lets in: its breaker, its places, and its budget of repetitions. One per config,
//! over cells that outlive it.

use crate::breaker::{Breaker, Passed, Verdict};
use crate::budget::Budget;
use crate::gate::{Gate, Place, Turn};
use crate::spec::{ConcurrencySpec, UpstreamSpec};
use crate::world::World;
use base::Clock;
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use telemetry::{BreakerState, RetryReason, UpstreamMetrics};
use traffic::upstream::{AdmissionStatus, Entry, Pass};
use traffic::{Blame, Fault, FaultCode, Stage};

/// No attempt was sent whole yet.
const NOT_SENT: u64 = u64::MAX;

/// Whom one upstream lets in.
pub(crate) struct Admission {
    breaker: Option<Arc<Breaker>>,
    gate: Option<(Arc<Gate>, ConcurrencySpec)>,
    budget: Arc<Budget>,
    retry_budget: base::units::Share,
    metrics: Arc<UpstreamMetrics>,
    time: Time,
}

/// Milliseconds since an upstream was first known.
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
        let since = self.clock.now().saturating_duration_since(self.born);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
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
        is_latest: bool,
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
        let gate = trouble
            .concurrency
            .map(|wanted| (world.state.cell(&format!("upstream/{name}/gate"), Gate::new), wanted));
        Self {
            breaker,
            gate,
            budget: world.state.cell(&format!("upstream/{name}/budget"), || {
                // What is counted may be older than this.
                Budget::new(time.now_ms(), firsts(metrics))
            }),
            retry_budget: trouble.retry_budget,
            metrics: Arc::clone(metrics),
            time,
        }
    }

    /// Lets a request in, has it wait, or turns it away. `available` counts the targets that take
    /// requests.
    pub(crate) fn enter(&self, worker: usize, available: impl FnOnce() -> u32) -> Entry {
        if self.breaker.is_none() && self.gate.is_none() {
            return Entry::Open;
        }
        let passed = match self.pass_breaker(worker) {
            Ok(passed) => passed,
            Err(fault) => return Entry::Refused(Box::new(fault)),
        };
        let Some((gate, spec)) = &self.gate else { return self.granted(worker, None, passed) };
        match gate.enter(places(spec, available), spec.queue) {
            Turn::Place(place) => self.granted(worker, Some(place), passed),
            Turn::Full => {
                self.metrics.trouble.busy.add(worker, 1);
                Entry::Refused(Box::new(busy(spec.wait, "no place is free and the queue is full")))
            }
            Turn::Wait(waiting) => {
                let (wait, metrics) = (spec.wait, Arc::clone(&self.metrics));
                let granted = self.granting(worker, passed);
                let queued = Queued::new(worker, metrics, self.time.clone());
                Entry::Queue(Box::pin(async move {
                    let place = tokio::time::timeout(wait, waiting.place()).await;
                    let metrics = Arc::clone(&queued.metrics);
                    drop(queued);
                    match place {
                        Ok(place) => granted.finish(Some(place)),
                        Err(_) => {
                            metrics.trouble.busy.add(worker, 1);
                            Err(busy(wait, "no place became free in time"))
                        }
                    }
                }))
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
        let Some((gate, spec)) = &self.gate else { return Some(Entry::Open) };
        match gate.enter(places(spec, available), 0) {
            Turn::Place(place) => Some(self.granted(worker, Some(place), None)),
            _ => None,
        }
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
        Granting { worker, passed, breaker: self.breaker.clone(), time: self.time.clone() }
    }

    fn granted(&self, worker: usize, place: Option<Place>, passed: Option<Passed>) -> Entry {
        Entry::Pass(self.granting(worker, passed).pass(place))
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
        self.gate.as_ref()?.1.max_per_target
    }

    /// What somebody is told for whom no target has room.
    pub(crate) fn no_room(&self, worker: usize) -> Fault {
        self.metrics.trouble.busy.add(worker, 1);
        let wait = self.gate.as_ref().map_or(Duration::ZERO, |(_, spec)| spec.wait);
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
            concurrency: self.gate.as_ref().map(|(gate, spec)| (gate.taken(), spec.max)),
            queued: self.gate.as_ref().map_or(0, |(gate, _)| gate.waiting()),
        }
    }
}

/// Requests ever, without repetitions.
fn firsts(metrics: &UpstreamMetrics) -> u64 {
    let again = metrics.retries.sum() + metrics.trouble.hedges.sum();
    metrics.attempts.sum().saturating_sub(again)
}

/// How many places there are: as many as are allowed, and no more than the targets have.
fn places(spec: &ConcurrencySpec, available: impl FnOnce() -> u32) -> u32 {
    match spec.max_per_target {
        None => spec.max,
        // Without any target it is for the choice to say so.
        Some(each) => spec.max.min(each.saturating_mul(available().max(1))),
    }
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

/// What a request gets that is let in.
struct Granting {
    worker: usize,
    passed: Option<Passed>,
    breaker: Option<Arc<Breaker>>,
    time: Time,
}

impl Granting {
    fn pass(self, place: Option<Place>) -> Arc<dyn Pass> {
        let Self { worker, passed, time, .. } = self;
        Arc::new(Granted {
            worker,
            is_judged: passed.is_some(),
            passed: Mutex::new(passed),
            time,
            sent_ms: AtomicU64::new(NOT_SENT),
            has_failed: AtomicBool::new(false),
            _place: place,
        })
    }

    /// After a wait, in which the breaker may have opened.
    fn finish(self, place: Option<Place>) -> Result<Arc<dyn Pass>, Fault> {
        let now_ms = self.time.now_ms();
        if self.breaker.as_ref().is_some_and(|breaker| breaker.state(now_ms) == BreakerState::Open)
        {
            let fault = Fault::new(Stage::Forward, FaultCode::BreakerOpen);
            return Err(fault.header(RETRY_AFTER, seconds(Duration::ZERO)));
        }
        Ok(self.pass(place))
    }
}

/// A request that was let in.
struct Granted {
    worker: usize,
    /// Taken by whoever says how the request ended; nobody else wants the lock.
    passed: Mutex<Option<Passed>>,
    /// Whether there is anything to say to a breaker.
    is_judged: bool,
    time: Time,
    /// When the last attempt was sent whole.
    sent_ms: AtomicU64,
    /// A target failed an attempt, or let the whole time run out.
    has_failed: AtomicBool,
    _place: Option<Place>,
}

impl fmt::Debug for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Granted").finish_non_exhaustive()
    }
}

impl Pass for Granted {
    fn sent(&self) {
        if self.is_judged {
            self.sent_ms.store(self.time.now_ms(), Ordering::Relaxed);
        }
    }

    fn failed(&self) {
        self.has_failed.store(true, Ordering::Relaxed);
    }

    fn settle(&self, outcome: Result<StatusCode, &Fault>) {
        let passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(passed) = passed else { return };
        let has_failed = || self.has_failed.load(Ordering::Relaxed);
        let verdict = match outcome {
            Ok(status) if passed.spec().statuses.contains(&status) => Verdict::Bad,
            Ok(_) => Verdict::Good,
            // Neither says anything about the targets.
            Err(fault) if fault.code == FaultCode::UpstreamBusy => return,
            Err(fault) if fault.code == FaultCode::TotalTimeout && !has_failed() => return,
            Err(fault) if fault.code == FaultCode::TotalTimeout => Verdict::Bad,
            Err(fault) if fault.code.row().blame == Blame::Upstream => Verdict::Bad,
            Err(_) => return,
        };
        let now_ms = self.time.now_ms();
        let took_ms = match self.sent_ms.load(Ordering::Relaxed) {
            // Answered before all of it was sent, it did not wait for the target.
            NOT_SENT => 0,
            sent_ms => now_ms.saturating_sub(sent_ms),
        };
        passed.settle(self.worker, now_ms, (Duration::from_millis(took_ms), verdict));
    }
}
