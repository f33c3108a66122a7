//! Leaves a whole upstream alone while it is in trouble. Closed, all requests pass and are counted; when
//! too many fail or are slow it opens, and none pass; after a while it is half open, and a few pass to
//! see how it goes. There is one per upstream, for all workers and routes, and it takes no lock.

use crate::spec::BreakerSpec;
use crate::window::{Ended, Window};
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use telemetry::{BreakerState, UpstreamMetrics};
use tracing::{info, warn};

/// How long whoever comes too late to be a probe is told to wait.
const PROBED: Duration = Duration::from_secs(1);

/// The lower half of [`Breaker::probes_left`].
const ERA_MASK: u64 = (1 << 32) - 1;

/// As much of an era as fits beside the probes.
const fn era_of(era: u64) -> u64 {
    era & ERA_MASK
}

/// A breaker and what it has counted; outlives configs.
pub(crate) struct Breaker {
    upstream: Arc<str>,
    metrics: Arc<UpstreamMetrics>,
    spec: ArcSwap<BreakerSpec>,
    window: Window,
    /// Counts changes of the state: what began in one says nothing about another.
    era: AtomicU64,
    /// When it is half open; zero while it is closed.
    open_until_ms: AtomicU64,
    /// How many more may try it in the lower half, the era in which they may in the upper.
    probes_left: AtomicU64,
    /// How many there were when it opened: settings may change while they are under way.
    probes_wanted: AtomicU32,
    probes_good: AtomicU32,
}

/// A request that the breaker let pass, until somebody says how it ended.
pub(crate) struct Passed {
    breaker: Arc<Breaker>,
    era: u64,
    is_probe: bool,
}

/// How long a request waited for its answer once it was sent, and how it ended.
type How = (Duration, Verdict);

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Good,
    Bad,
}

impl Breaker {
    /// A closed one.
    pub(crate) fn new(
        upstream: &Arc<str>,
        workers: usize,
        metrics: Arc<UpstreamMetrics>,
        spec: BreakerSpec,
    ) -> Self {
        metrics.trouble.set_breaker(Some(BreakerState::Closed));
        Self {
            upstream: Arc::clone(upstream),
            metrics,
            spec: ArcSwap::from_pointee(spec),
            window: Window::new(workers),
            era: AtomicU64::new(0),
            open_until_ms: AtomicU64::new(0),
            probes_left: AtomicU64::new(0),
            probes_wanted: AtomicU32::new(0),
            probes_good: AtomicU32::new(0),
        }
    }

    /// Goes by these settings from now on, and keeps what it has counted.
    pub(crate) fn set(&self, spec: BreakerSpec) {
        if **self.spec.load() != spec {
            self.spec.store(Arc::new(spec));
        }
    }

    /// Lets a request pass.
    ///
    /// # Errors
    /// How long to stay away.
    pub(crate) fn pass(self: &Arc<Self>, now_ms: u64) -> Result<Passed, Duration> {
        let era = self.era.load(Ordering::Acquire);
        let until_ms = self.open_until_ms.load(Ordering::Acquire);
        let is_probe = until_ms != 0;
        if is_probe {
            if now_ms < until_ms {
                return Err(Duration::from_millis(until_ms - now_ms));
            }
            let are_left = |left: u64| left >> 32 == era_of(era) && left & ERA_MASK > 0;
            let take = |left: u64| are_left(left).then(|| left - 1);
            if self.probes_left.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_err() {
                return Err(PROBED);
            }
            self.metrics.trouble.set_breaker(Some(BreakerState::HalfOpen));
        }
        Ok(Passed { breaker: Arc::clone(self), era, is_probe })
    }

    /// Where it stands.
    pub(crate) fn state(&self, now_ms: u64) -> BreakerState {
        match self.open_until_ms.load(Ordering::Acquire) {
            0 => BreakerState::Closed,
            until_ms if now_ms < until_ms => BreakerState::Open,
            _ => BreakerState::HalfOpen,
        }
    }

    fn note(&self, passed: &Passed, worker: usize, now_ms: u64, (took, verdict): How) {
        let spec = self.spec.load();
        let is_slow = spec.slow.is_some_and(|(over, _)| took > over);
        let ended = Ended { is_bad: verdict == Verdict::Bad, is_slow };
        if passed.is_probe {
            return self.probed(&spec, passed.era, now_ms, ended);
        }
        if self.open_until_ms.load(Ordering::Acquire) != 0 {
            return;
        }
        let within = spec.failures.within;
        self.window.note(worker, now_ms, within, ended);
        if !ended.is_bad && !ended.is_slow {
            return;
        }
        let totals = self.window.totals(now_ms, within);
        if totals.all < u64::from(spec.failures.requests_min) {
            return;
        }
        let is_failing = totals.bad > 0 && spec.failures.share.is_reached(totals.bad, totals.all);
        let is_slow = spec.slow.is_some_and(|(_, share)| share.is_reached(totals.slow, totals.all));
        if (is_failing || is_slow) && self.open(&spec, passed.era, now_ms) {
            let (requests, failed, slow) = (totals.all, totals.bad, totals.slow);
            let open = spec.open;
            let upstream = &self.upstream;
            warn!(%upstream, requests, failed, slow, ?open, "the breaker opened: requests are turned away");
        }
    }

    /// What a probe found.
    fn probed(&self, spec: &BreakerSpec, era: u64, now_ms: u64, ended: Ended) {
        if ended.is_bad || ended.is_slow {
            if self.open(spec, era, now_ms) {
                let (upstream, open) = (&self.upstream, spec.open);
                warn!(%upstream, ?open, "the breaker opened again: a probe failed");
            }
            return;
        }
        let good = self.probes_good.fetch_add(1, Ordering::AcqRel) + 1;
        if good >= self.probes_wanted.load(Ordering::Acquire) && self.change(era) {
            self.window.clear();
            self.open_until_ms.store(0, Ordering::Release);
            self.metrics.trouble.set_breaker(Some(BreakerState::Closed));
            info!(upstream = %self.upstream, "the breaker closed: the upstream answers again");
        }
    }

    /// Opens it, unless somebody else has changed it meanwhile.
    fn open(&self, spec: &BreakerSpec, era: u64, now_ms: u64) -> bool {
        if !self.change(era) {
            return false;
        }
        self.probes_good.store(0, Ordering::Release);
        self.probes_wanted.store(spec.probes, Ordering::Release);
        let probes = u64::from(spec.probes);
        self.probes_left.store(era_of(era + 1) << 32 | probes, Ordering::Release);
        let open_ms = u64::try_from(spec.open.as_millis()).unwrap_or(u64::MAX);
        self.open_until_ms.store(now_ms.saturating_add(open_ms).max(1), Ordering::Release);
        self.metrics.trouble.set_breaker(Some(BreakerState::Open));
        self.metrics.trouble.breaker_opened.add(0, 1);
        true
    }

    /// Of all who saw the same era, one may change the state.
    fn change(&self, era: u64) -> bool {
        self.era.compare_exchange(era, era + 1, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Passed {
    /// Says how it ended, and how long it had waited for the answer.
    pub(crate) fn settle(mut self, worker: usize, now_ms: u64, how: How) {
        let breaker = Arc::clone(&self.breaker);
        if self.era == breaker.era.load(Ordering::Acquire) {
            breaker.note(&self, worker, now_ms, how);
        }
        self.is_probe = false;
    }

    /// The settings it goes by.
    pub(crate) fn spec(&self) -> arc_swap::Guard<Arc<BreakerSpec>> {
        self.breaker.spec.load()
    }
}

impl Drop for Passed {
    /// A probe that said nothing lets another one try.
    fn drop(&mut self) {
        if self.is_probe {
            let ours = |left: u64| (left >> 32 == era_of(self.era)).then(|| left + 1);
            let left = &self.breaker.probes_left;
            left.fetch_update(Ordering::AcqRel, Ordering::Acquire, ours).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Breaker, Passed, Verdict};
    use crate::spec::{BreakerSpec, ShareSpec};
    use base::units::Share;
    use std::sync::Arc;
    use std::time::Duration;
    use telemetry::BreakerState::{Closed, HalfOpen, Open};
    use telemetry::Metrics;

    fn spec() -> BreakerSpec {
        let within = Duration::from_secs(10);
        BreakerSpec {
            failures: ShareSpec { share: Share::percent(50), within, requests_min: 4 },
            slow: Some((Duration::from_secs(2), Share::percent(80))),
            statuses: Vec::new(),
            open: Duration::from_secs(5),
            probes: 2,
        }
    }

    fn breaker() -> Arc<Breaker> {
        let metrics = Metrics::new(2, &[]).upstream("orders");
        Arc::new(Breaker::new(&"orders".into(), 2, metrics, spec()))
    }

    fn pass(breaker: &Arc<Breaker>, now_ms: u64) -> Passed {
        breaker.pass(now_ms).unwrap()
    }

    fn end(breaker: &Arc<Breaker>, now_ms: u64, verdicts: &[Verdict]) {
        for (worker, verdict) in verdicts.iter().enumerate() {
            pass(breaker, now_ms).settle(worker, now_ms, (NO_TIME, *verdict));
        }
    }

    const NO_TIME: Duration = Duration::ZERO;
    const BAD: Verdict = Verdict::Bad;
    const GOOD: Verdict = Verdict::Good;

    #[test]
    fn it_opens_at_the_share_and_not_before_there_are_enough_requests() {
        let breaker = breaker();
        end(&breaker, 0, &[BAD, BAD, GOOD]);
        assert_eq!(breaker.state(0), Closed);
        end(&breaker, 0, &[GOOD, BAD]);
        assert_eq!(breaker.state(0), Open, "three of five, on all workers");
        assert_eq!(breaker.pass(1_000).err(), Some(Duration::from_secs(4)));
    }

    #[test]
    fn old_failures_are_forgotten() {
        let breaker = breaker();
        end(&breaker, 0, &[BAD, BAD, BAD]);
        end(&breaker, 10_000, &[BAD]);
        assert_eq!(breaker.state(10_000), Closed);
    }

    #[test]
    fn slow_requests_open_it_as_well() {
        let breaker = breaker();
        for _ in 0..4 {
            pass(&breaker, 0).settle(0, 2_001, (Duration::from_millis(2_001), GOOD));
        }
        assert_eq!(breaker.state(2_001), Open);
    }

    #[test]
    fn half_open_lets_as_many_in_as_there_are_probes_and_closes_when_all_are_well() {
        let breaker = breaker();
        end(&breaker, 0, &[BAD; 4]);
        assert_eq!(breaker.state(5_000), HalfOpen);
        let (first, second) = (pass(&breaker, 5_000), pass(&breaker, 5_000));
        assert!(breaker.pass(5_000).is_err());
        first.settle(0, 5_100, (NO_TIME, GOOD));
        assert_eq!(breaker.state(5_100), HalfOpen);
        assert!(breaker.pass(5_100).is_err());
        second.settle(1, 5_200, (NO_TIME, GOOD));
        assert_eq!(breaker.state(5_200), Closed);
        end(&breaker, 5_200, &[BAD, BAD, BAD]);
        assert_eq!(breaker.state(5_200), Closed, "what was before does not count any more");
    }

    #[test]
    fn one_bad_probe_opens_it_again() {
        let breaker = breaker();
        end(&breaker, 0, &[BAD; 4]);
        let (first, second) = (pass(&breaker, 5_000), pass(&breaker, 5_000));
        first.settle(0, 6_000, (NO_TIME, BAD));
        second.settle(0, 6_000, (NO_TIME, GOOD));
        assert_eq!(breaker.state(10_999), Open);
        assert_eq!(breaker.state(11_000), HalfOpen);
    }

    #[test]
    fn a_probe_that_is_given_up_lets_another_one_try() {
        let breaker = breaker();
        end(&breaker, 0, &[BAD; 4]);
        let probes = [pass(&breaker, 5_000), pass(&breaker, 5_000)];
        assert!(breaker.pass(5_000).is_err());
        drop(probes);
        end(&breaker, 5_000, &[GOOD, GOOD]);
        assert_eq!(breaker.state(5_000), Closed);
    }

    #[test]
    fn what_began_before_it_opened_says_nothing_about_the_time_after() {
        let breaker = breaker();
        let late: Vec<Passed> = (0..8).map(|_| pass(&breaker, 0)).collect();
        end(&breaker, 0, &[BAD; 4]);
        end(&breaker, 5_000, &[GOOD, GOOD]);
        for late in late {
            late.settle(0, 5_000, (NO_TIME, BAD));
        }
        assert_eq!(breaker.state(5_000), Closed);
    }

    #[test]
    fn more_probes_in_new_settings_do_not_keep_an_open_one_from_closing() {
        let breaker = breaker();
        end(&breaker, 0, &[BAD; 4]);
        breaker.set(BreakerSpec { probes: 5, ..spec() });
        end(&breaker, 5_000, &[GOOD, GOOD]);
        assert_eq!(breaker.state(5_000), Closed, "as many as it had when it opened");
    }

    #[test]
    fn new_settings_keep_what_was_counted() {
        let breaker = breaker();
        end(&breaker, 0, &[BAD, BAD, BAD]);
        let failures = ShareSpec { requests_min: 3, ..spec().failures };
        breaker.set(BreakerSpec { failures, ..spec() });
        end(&breaker, 0, &[BAD]);
        assert_eq!(breaker.state(0), Open);
    }
}
