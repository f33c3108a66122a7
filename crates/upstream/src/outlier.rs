//! Puts a target aside to which requests fail, and tries it again later: first by one request only. What
//! is known of a target is shared by all workers and routes; requests that go well touch an atomic.

use crate::spec::OutlierSpec;
use crate::target::TargetCell;
use crate::window::{Ended, Window};
use arc_swap::ArcSwapOption;
use base::Clock;
use base::units::Share;
use http::{HeaderName, StatusCode};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};
use tracing::{info, warn};
use traffic::Response;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// The status `UNAVAILABLE` of gRPC.
const GRPC_UNAVAILABLE: &str = "14";

/// How an attempt ended, as far as it tells something about the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// An answer that speaks for it.
    Good,
    /// No connection could be opened.
    NoConnection,
    /// A connection, but no whole answer: too late, broken off, not HTTP.
    NoAnswer,
    /// An answer that counts as a failure.
    BadAnswer,
}

/// What decides about the targets of one upstream under one config.
pub(crate) struct Judge {
    spec: OutlierSpec,
    clock: Clock,
    /// The beginning of the time in milliseconds.
    born: Instant,
    workers: usize,
    peers: Vec<Weak<TargetCell>>,
    /// So that two workers do not put two targets aside where one may be.
    deciding: Mutex<()>,
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judge").field("spec", &self.spec).finish_non_exhaustive()
    }
}

/// What is known of one target; outlives configs.
#[derive(Debug, Default)]
pub(crate) struct Outlier {
    judge: ArcSwapOption<Judge>,
    /// Whether each request counts, not only those that fail.
    counts_all: AtomicBool,
    /// Whether answers can count as failures.
    judges_answers: AtomicBool,
    window: OnceLock<Window>,
    /// Failures in a row.
    streak: AtomicU32,
    /// When it may be tried again; zero while it takes requests.
    out_until_ms: AtomicU64,
    /// The request that tries it, by a number of its own; zero for none.
    probe: AtomicU64,
    /// How often it was put aside without being well for long in between.
    times: AtomicU32,
    back_since_ms: AtomicU64,
    /// Good health checks in a row since it was put aside.
    checks: AtomicU32,
    /// Whether its answers were the reason: a health check says nothing about them.
    is_by_answer: AtomicBool,
    why: Mutex<String>,
}

/// Whether a target may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It takes requests.
    In,
    /// It takes one request, to see how it is.
    Probe,
    /// It takes none.
    Out,
}

impl Judge {
    /// One that goes by these settings over these targets. `born` is the same for all configs.
    pub(crate) fn new(
        spec: OutlierSpec,
        clock: Clock,
        born: Instant,
        workers: usize,
        peers: &[Arc<TargetCell>],
    ) -> Arc<Self> {
        let peers = peers.iter().map(Arc::downgrade).collect();
        Arc::new(Self { spec, clock, born, workers, peers, deciding: Mutex::default() })
    }

    fn now_ms(&self) -> u64 {
        let since = self.clock.now().saturating_duration_since(self.born);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether one more target may be out.
    fn has_room(&self) -> bool {
        let peers = || self.peers.iter().filter_map(Weak::upgrade);
        let all = peers().count() as u64;
        let out = peers().filter(|peer| !peer.health.is_good() || peer.outlier.is_out()).count();
        let most = self.spec.ejected_max.of(all);
        // A small share of few targets is meant to be one of them.
        let most = if self.spec.ejected_max > Share::NONE && all > 1 { most.max(1) } else { most };
        (out as u64) < most.min(all.saturating_sub(1))
    }

    /// Whether an answer counts as a failure. gRPC says in a header that nobody is there.
    fn is_bad(&self, response: &Response) -> bool {
        let is_unavailable =
            || response.headers.get(GRPC_STATUS).is_some_and(|status| status == GRPC_UNAVAILABLE);
        self.spec.statuses.contains(&response.status)
            || (response.status == StatusCode::OK && is_unavailable())
    }

    fn share_is_reached(&self, outlier: &Outlier, now_ms: u64) -> bool {
        let (Some(failures), Some(window)) = (self.spec.failures, outlier.window.get()) else {
            return false;
        };
        let totals = window.totals(now_ms, failures.within);
        totals.all >= u64::from(failures.requests_min)
            && failures.share.is_reached(totals.bad, totals.all)
    }
}

impl Outlier {
    /// Goes by this judge from now on; without one the target takes requests whatever happens.
    pub(crate) fn judged_by(&self, cell: &TargetCell, judge: Option<Arc<Judge>>) {
        let counts_all = judge.as_ref().is_some_and(|judge| judge.spec.failures.is_some());
        if let Some(judge) = judge.as_ref().filter(|_| counts_all) {
            self.window.get_or_init(|| Window::new(judge.workers));
        }
        self.counts_all.store(counts_all, Ordering::Relaxed);
        let judges_answers = judge.as_ref().is_some_and(|judge| !judge.spec.is_connect_only);
        self.judges_answers.store(judges_answers, Ordering::Relaxed);
        if judge.is_none() && self.is_out() {
            self.return_to_service(cell, 0, "targets are not put aside any more");
        }
        self.judge.store(judge);
    }

    /// Whether it is put aside.
    pub(crate) fn is_out(&self) -> bool {
        self.out_until_ms.load(Ordering::Relaxed) != 0
    }

    /// Whether it may be chosen.
    pub(crate) fn standing(&self) -> Standing {
        let until_ms = self.out_until_ms.load(Ordering::Relaxed);
        if until_ms == 0 {
            return Standing::In;
        }
        let is_over = self.judge.load().as_ref().is_none_or(|judge| judge.now_ms() >= until_ms);
        if is_over && self.probe.load(Ordering::Relaxed) == 0 {
            Standing::Probe
        } else {
            Standing::Out
        }
    }

    /// Becomes the request that tries it; a number to give back, if nobody else is.
    pub(crate) fn claim(&self) -> Option<u64> {
        let number = base::random::fast().max(1);
        let claimed =
            self.probe.compare_exchange(0, number, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        claimed.then_some(number)
    }

    /// Lets another request try it, unless that happened already.
    pub(crate) fn unclaim(&self, number: u64) {
        self.probe.compare_exchange(number, 0, Ordering::AcqRel, Ordering::Relaxed).ok();
    }

    /// Notes that an attempt was answered.
    pub(crate) fn answered(
        &self,
        cell: &TargetCell,
        worker: usize,
        response: &Response,
        probe: u64,
    ) {
        let is_bad = self.judges_answers.load(Ordering::Relaxed)
            && self.judge.load().as_ref().is_some_and(|judge| judge.is_bad(response));
        let outcome = if is_bad { Outcome::BadAnswer } else { Outcome::Good };
        self.note(cell, worker, outcome, probe);
    }

    /// Notes how an attempt ended. `probe` is the number of the one that tried it.
    pub(crate) fn note(&self, cell: &TargetCell, worker: usize, outcome: Outcome, probe: u64) {
        let is_quiet = self.streak.load(Ordering::Relaxed) == 0
            && probe == 0
            && !self.counts_all.load(Ordering::Relaxed);
        if outcome == Outcome::Good && is_quiet {
            return;
        }
        let judge = self.judge.load();
        let Some(judge) = &*judge else { return };
        let is_bad = match outcome {
            Outcome::Good => false,
            Outcome::NoConnection => true,
            Outcome::NoAnswer | Outcome::BadAnswer => !judge.spec.is_connect_only,
        };
        let is_probe = probe != 0 && self.probe.load(Ordering::Relaxed) == probe;
        let now_ms = judge.now_ms();
        if let (Some(failures), Some(window)) = (judge.spec.failures, self.window.get()) {
            window.note(worker, now_ms, failures.within, Ended { is_bad, is_slow: false });
        }
        match (is_bad, is_probe) {
            (false, true) => self.return_to_service(cell, now_ms, "a request went well"),
            (false, false) => self.streak.store(0, Ordering::Relaxed),
            (true, true) => {
                self.put_aside(cell, judge, now_ms, outcome, "the request that tried it failed");
                self.unclaim(probe);
            }
            (true, false) => self.failed(cell, judge, now_ms, outcome),
        }
    }

    fn failed(&self, cell: &TargetCell, judge: &Judge, now_ms: u64, outcome: Outcome) {
        let streak = self.streak.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if self.is_out() {
            return;
        }
        let most = judge.spec.consecutive;
        let is_streak = most > 0 && streak >= most;
        if !is_streak && !judge.share_is_reached(self, now_ms) {
            return;
        }
        let Ok(_deciding) = judge.deciding.try_lock() else { return };
        if self.is_out() || !judge.has_room() {
            return;
        }
        let why = if is_streak {
            format!("{streak} failures in a row")
        } else {
            "too large a share of its requests failed".to_owned()
        };
        self.put_aside(cell, judge, now_ms, outcome, &why);
    }

    fn put_aside(
        &self,
        cell: &TargetCell,
        judge: &Judge,
        now_ms: u64,
        outcome: Outcome,
        why: &str,
    ) {
        let was_well_ms = now_ms.saturating_sub(self.back_since_ms.load(Ordering::Relaxed));
        let was_well = Duration::from_millis(was_well_ms) >= judge.spec.eject_max;
        if was_well && !self.is_out() {
            self.times.store(0, Ordering::Relaxed);
        }
        let times = self.times.fetch_add(1, Ordering::Relaxed).min(20);
        let length = judge.spec.eject.saturating_mul(1 << times).min(judge.spec.eject_max);
        let length_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        let what = match outcome {
            Outcome::NoConnection => "no connection",
            Outcome::BadAnswer => "an answer that counts as a failure",
            _ => "no answer",
        };
        let why = format!("put aside for {length:?}: {why}, the last one: {what}");
        self.is_by_answer.store(outcome == Outcome::BadAnswer, Ordering::Relaxed);
        self.checks.store(0, Ordering::Relaxed);
        self.out_until_ms.store(now_ms.saturating_add(length_ms).max(1), Ordering::Release);
        cell.metrics.set_ejected(true);
        cell.metrics.ejections.add(0, 1);
        let (upstream, target) = (&cell.upstream, &cell.text);
        warn!(%upstream, %target, reason = why, "the target is put aside");
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    fn return_to_service(&self, cell: &TargetCell, now_ms: u64, reason: &str) {
        if self.out_until_ms.swap(0, Ordering::AcqRel) == 0 {
            return;
        }
        self.streak.store(0, Ordering::Relaxed);
        self.back_since_ms.store(now_ms, Ordering::Relaxed);
        if let Some(window) = self.window.get() {
            window.clear();
        }
        self.probe.store(0, Ordering::Release);
        cell.metrics.set_ejected(false);
        let (upstream, target) = (&cell.upstream, &cell.text);
        info!(%upstream, %target, reason, "the target takes requests again");
    }

    /// Notes what a health check said. As many good ones in a row as make a target healthy bring one
    /// back that was put aside because it did not answer.
    pub(crate) fn checked(&self, cell: &TargetCell, is_good: bool, healthy_after: u32) {
        if !self.is_out() {
            return;
        }
        if !is_good {
            self.checks.store(0, Ordering::Relaxed);
            return;
        }
        let checks = self.checks.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if checks >= healthy_after.max(1)
            && !self.is_by_answer.load(Ordering::Relaxed)
            && let Some(judge) = &*self.judge.load()
        {
            self.return_to_service(cell, judge.now_ms(), "its health checks go well");
        }
    }

    /// Why it is put aside, if it is.
    pub(crate) fn reason(&self) -> Option<String> {
        self.is_out().then(|| self.why.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}
