//! What a request holds that was let in, and what its end tells.

use super::Time;
use super::lent::{Lent, Whose};
use super::places::Places;
use crate::adaptive::{Adaptive, Sign};
use crate::breaker::{Breaker, Passed, Verdict};
use crate::gate::{Place, Turn};
use crate::spec::AdaptiveSpec;
use http::StatusCode;
use http::header::RETRY_AFTER;
use std::fmt;
use std::future::ready;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use telemetry::{BreakerState, ShedReason};
use traffic::exchange::Exchange;
use traffic::upstream::Pass;
use traffic::{Blame, Body, BoxFuture, Fault, FaultCode, Stage};

/// No attempt was sent whole yet.
const NOT_SENT: u64 = u64::MAX;

/// Finds a limit from how long answers take.
#[derive(Clone)]
pub(super) struct Meter {
    pub(super) spec: AdaptiveSpec,
    pub(super) adaptive: Arc<Adaptive>,
    pub(super) places: Places,
}

impl Meter {
    fn entered(&self) {
        self.adaptive.entered(self.places.gate.taken());
    }

    fn note(&self, sign: Sign, sent_us: u64, now_us: u64) {
        let Some(limit) = self.adaptive.note(self.spec, sign, (sent_us, now_us)) else { return };
        // Those who wait need not wait for the next one who comes.
        self.places.gate.limit(limit);
        let load = &self.places.metrics.trouble.load;
        load.limit.store(limit, Ordering::Relaxed);
        load.unloaded_us.store(self.adaptive.unloaded_us(), Ordering::Relaxed);
    }
}

/// What a request gets that is let in.
pub(super) struct Granting {
    pub(super) worker: usize,
    pub(super) passed: Option<Passed>,
    pub(super) breaker: Option<Arc<Breaker>>,
    pub(super) meter: Option<Meter>,
    pub(super) time: Time,
}

impl Granting {
    pub(super) fn pass(self, place: Option<Place>) -> Arc<dyn Pass> {
        let Self { worker, passed, meter, time, .. } = self;
        if let Some(meter) = &meter {
            meter.entered();
        }
        Arc::new(Granted {
            worker,
            is_timed: passed.is_some() || meter.is_some(),
            passed: Mutex::new(passed),
            meter,
            is_settled: AtomicBool::new(false),
            time,
            sent_us: AtomicU64::new(NOT_SENT),
            has_failed: AtomicBool::new(false),
            place: Mutex::new(place),
        })
    }

    /// After a wait, in which the breaker may have opened.
    pub(super) fn finish(self, place: Option<Place>) -> Result<Arc<dyn Pass>, Fault> {
        let now_ms = self.time.now_ms();
        if self.breaker.as_ref().is_some_and(|breaker| breaker.state(now_ms) == BreakerState::Open)
        {
            let fault = Fault::new(Stage::Forward, FaultCode::BreakerOpen);
            return Err(fault.header(RETRY_AFTER, super::seconds(Duration::ZERO)));
        }
        Ok(self.pass(place))
    }
}

/// A request that was let in.
pub(super) struct Granted {
    worker: usize,
    /// Taken by whoever says how the request ended; nobody else wants the lock.
    passed: Mutex<Option<Passed>>,
    meter: Option<Meter>,
    /// Whether somebody wants to know how long the answer took.
    is_timed: bool,
    is_settled: AtomicBool,
    time: Time,
    /// When the last attempt was sent whole.
    sent_us: AtomicU64,
    /// A target failed an attempt, or let the whole time run out.
    has_failed: AtomicBool,
    /// Given back with the whole exchange, or as soon as there is an answer where that is what the limit is found from.
    place: Mutex<Option<Place>>,
}

impl Granted {
    fn place(&self) -> MutexGuard<'_, Option<Place>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether its place was given back although there is no answer yet.
    pub(super) fn lacks_place(&self) -> bool {
        !self.is_settled.load(Ordering::Relaxed) && self.place().is_none()
    }

    /// Gives its place to somebody else until it has one again.
    pub(super) fn lend(&self) {
        drop(self.place().take());
    }

    /// Asks for a place once more, as one who has just come.
    pub(super) fn ask_again(&self, whose: &Whose) -> BoxFuture<'static, Result<Place, Fault>> {
        let Some(meter) = &self.meter else {
            return Box::pin(ready(Err(Fault::new(Stage::Forward, FaultCode::Internal))));
        };
        let (places, priority) = (&meter.places, whose.priority);
        match places.enter_again(whose, &self.time) {
            Turn::Place(place) => Box::pin(ready(Ok(place))),
            Turn::Full => {
                let fault = places.shed(priority, ShedReason::Full, self.worker);
                Box::pin(ready(Err(fault)))
            }
            Turn::Wait(waiting) => {
                Box::pin(places.turn(waiting, priority, self.worker, &self.time))
            }
        }
    }

    /// Has a place again, unless it is answered by now.
    pub(super) fn regain(&self, place: Place) {
        if !self.is_settled.load(Ordering::Relaxed) {
            *self.place() = Some(place);
        }
        self.meter.iter().for_each(Meter::entered);
    }

    /// Tells how long the answer took, if that says anything about how much the upstream has to do.
    fn measure(&self, outcome: Result<StatusCode, &Fault>, sent_us: u64, now_us: u64) {
        let Some(meter) = &self.meter else { return };
        let sign = match outcome {
            Ok(StatusCode::SERVICE_UNAVAILABLE) => Sign::Refused,
            // It is this caller who asks for too much (RFC 6585, 4): whoever has that said to it again and again must
            // not take places from others.
            Ok(StatusCode::TOO_MANY_REQUESTS) => return,
            // What fails fast must not look like what is fast.
            Ok(status) if status.is_server_error() => return,
            Ok(_) => Sign::Took,
            Err(fault) => match fault.code {
                FaultCode::FirstByteTimeout => Sign::Took,
                FaultCode::TotalTimeout if self.has_failed.load(Ordering::Relaxed) => Sign::Took,
                _ => return,
            },
        };
        // Answered before all of it was sent, it did not wait for the target.
        if sent_us != NOT_SENT {
            meter.note(sign, sent_us, now_us);
        }
    }
}

impl fmt::Debug for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Granted").finish_non_exhaustive()
    }
}

impl Pass for Granted {
    fn sent(&self) {
        if self.is_timed {
            self.sent_us.store(self.time.now_us(), Ordering::Relaxed);
        }
    }

    fn mind(self: Arc<Self>, exchange: &Exchange, body: Body) -> Body {
        let Some(meter) = &self.meter else { return body };
        if body.is_empty() || body.is_tunnel() {
            return body;
        }
        let whose = meter.places.whose(exchange);
        Body::stream(Lent::new(body, self, whose))
    }

    fn failed(&self) {
        self.has_failed.store(true, Ordering::Relaxed);
    }

    fn settle(&self, outcome: Result<StatusCode, &Fault>) {
        if !self.is_timed || self.is_settled.swap(true, Ordering::Relaxed) {
            return;
        }
        let (sent_us, now_us) = (self.sent_us.load(Ordering::Relaxed), self.time.now_us());
        self.measure(outcome, sent_us, now_us);
        if self.meter.is_some() {
            // What is measured is what is limited. How long a body takes is often up to the client, who could keep
            // places from others by not reading it.
            self.lend();
        }
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
        let took_us = match sent_us {
            // Answered before all of it was sent, it did not wait for the target.
            NOT_SENT => 0,
            sent_us => now_us.saturating_sub(sent_us),
        };
        passed.settle(self.worker, now_us / 1_000, (Duration::from_micros(took_us), verdict));
    }
}

impl Drop for Granted {
    /// Of a client that did not wait for the answer: it would have taken at least as long as it was waited for.
    fn drop(&mut self) {
        let Some(meter) = &self.meter else { return };
        let sent_us = *self.sent_us.get_mut();
        if *self.is_settled.get_mut() || sent_us == NOT_SENT {
            return;
        }
        let now_us = self.time.now_us();
        if now_us.saturating_sub(sent_us) > meter.adaptive.unloaded_us() {
            meter.note(Sign::Took, sent_us, now_us);
        }
    }
}
