//! What the node goes without when there is too much to do: a worker that comes late to what is ready for it, and a
//! process that is short of memory, refuse requests of the lowest priority first. Operators, health checks and what is
//! not traffic run elsewhere and are never refused.

use crate::gateway::Worker;
use base::Clock;
use sojourn::{Sojourn, WHOLE, refused};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use telemetry::metrics::Shortage;
use traffic::exchange::Exchange;
use traffic::memory::Want;
use traffic::plan::Priority;
use traffic::{Fault, FaultCode, Stage};

/// How much a worker refuses, by how late it comes.
mod sojourn;

/// How often a worker with requests under way looks how late it is,
const PROBE_EVERY: Duration = Duration::from_millis(10);
/// and one without.
const PROBE_IDLE_EVERY: Duration = Duration::from_millis(100);
/// For how long nothing was refused before that is told: what comes and goes is told once.
const QUIET: Duration = Duration::from_secs(5);

/// What one worker refuses. Only its own tasks change it.
#[derive(Debug, Default)]
pub(crate) struct Shedding {
    level: AtomicU32,
    /// Requests by priority since the level was set.
    seen: [AtomicU32; 3],
    /// What each priority still owes of a refusal, in parts of a request: so exactly the share is refused.
    owed: [AtomicU32; 3],
    delays: Mutex<Delays>,
}

#[derive(Debug, Default)]
struct Delays {
    sojourn: Sojourn,
    /// For how long nothing was refused, while it is still told that something is.
    quiet: Option<Duration>,
}

impl Shedding {
    /// Whether requests are judged at all.
    #[inline]
    fn is_on(&self) -> bool {
        self.level.load(Ordering::Relaxed) > 0
    }

    /// Judges one request.
    fn refuses(&self, priority: Priority) -> bool {
        let index = priority.index();
        let (Some(seen), Some(owed)) = (self.seen.get(index), self.owed.get(index)) else {
            return false;
        };
        add(seen, 1);
        let share = refused(self.level.load(Ordering::Relaxed), index);
        let owes = owed.load(Ordering::Relaxed) + share;
        let refuses = owes >= WHOLE;
        owed.store(if refuses { owes - WHOLE } else { owes }, Ordering::Relaxed);
        refuses
    }
}

fn add(count: &AtomicU32, more: u32) {
    count.store(count.load(Ordering::Relaxed).saturating_add(more), Ordering::Relaxed);
}

/// Judges a request of which it is known who makes it.
///
/// # Errors
/// `overloaded` or `memory_short`, both asking to come back.
#[inline]
pub(crate) fn admit(worker: &Worker, exchange: &Exchange) -> Result<(), Fault> {
    if !worker.shedding.is_on() && worker.gateway.memory.want() == Want::None {
        return Ok(());
    }
    judge(worker, exchange)
}

#[cold]
fn judge(worker: &Worker, exchange: &Exchange) -> Result<(), Fault> {
    // What the gateway answers by itself costs it no more than a refusal, and may be what others watch it by.
    if exchange.matched.as_ref().is_some_and(|matched| matched.route.upstream.is_none()) {
        return Ok(());
    }
    let priority = exchange.priority();
    let (shortage, code) = if worker.gateway.memory.want().refuses(priority) {
        (Shortage::Memory, FaultCode::MemoryShort)
    } else if worker.shedding.is_on() && worker.shedding.refuses(priority) {
        (Shortage::Time, FaultCode::Overloaded)
    } else {
        return Ok(());
    };
    worker.gateway.metrics.overload().shed(shortage, priority.index()).add(worker.index, 1);
    Err(Fault::new(Stage::Guard, code).come_back())
}

/// Looks again and again how late the worker comes to what is ready for it: as late as to the end of a pause.
pub(crate) async fn probe(worker: Arc<Worker>) {
    loop {
        let is_busy = worker.loads.requests(worker.index) > 0 || worker.shedding.is_on();
        let pause = if is_busy { PROBE_EVERY } else { PROBE_IDLE_EVERY };
        let look = Look::now(&worker.gateway.clock);
        tokio::time::sleep(pause).await;
        let (delay, since) = look.late(&worker.gateway.clock, pause);
        worker.came_late(delay, since);
    }
}

/// A moment, and how long the thread had been at work until then.
struct Look {
    at: Instant,
    spent: Duration,
}

impl Look {
    fn now(clock: &Clock) -> Self {
        Self { at: clock.now(), spent: clock.spent_by_thread() }
    }

    /// By how much more than a pause it is later now, and how long it is since then. Of a delay only what was work of the
    /// thread counts. For the rest the system let others run: a thread that gets no processor comes late without any
    /// backlog, and refusing requests would not help it.
    fn late(&self, clock: &Clock, pause: Duration) -> (Duration, Duration) {
        let now = Self::now(clock);
        let since = now.at.saturating_duration_since(self.at);
        let spent = now.spent.saturating_sub(self.spent);
        (since.saturating_sub(pause).min(spent), since)
    }
}

impl Worker {
    /// Notes that the worker came so late to what was ready for it, so long after this was noted last.
    pub fn came_late(&self, delay: Duration, since: Duration) {
        let metrics = self.gateway.metrics.overload();
        let Some(target) = self.gateway.snapshot.load().overload.queue_delay else {
            self.shedding.level.store(0, Ordering::Relaxed);
            return metrics.worker(self.index, 0, Duration::ZERO);
        };
        let mut delays = self.shedding.delays.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = || {
            let seen = self.shedding.seen.each_ref();
            seen.map(|count| count.swap(0, Ordering::Relaxed))
        };
        let before = self.shedding.level.load(Ordering::Relaxed);
        if let Some((level, least)) = delays.sojourn.note(delay, since, target, seen) {
            self.shedding.level.store(level, Ordering::Relaxed);
            metrics.worker(self.index, level, least);
            if level > 0 && before == 0 && delays.quiet.is_none() {
                let delay_ms = u64::try_from(least.as_millis()).unwrap_or(u64::MAX);
                tracing::warn!(
                    worker = self.index,
                    delay_ms,
                    "too much to do: requests are refused, those of low priority first"
                );
            }
            if level > 0 {
                delays.quiet = Some(Duration::ZERO);
            }
        }
        if before == 0
            && let Some(quiet) = &mut delays.quiet
        {
            *quiet += since;
            if *quiet >= QUIET {
                delays.quiet = None;
                tracing::info!(worker = self.index, "nothing is refused any more");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Look;
    use base::Clock;
    use std::thread;
    use std::time::Duration;

    const PAUSE: Duration = Duration::from_millis(10);
    const LONG: Duration = Duration::from_millis(60);

    #[test]
    fn a_thread_that_works_comes_late_and_one_that_is_not_let_run_does_not() {
        let clock = Clock::System;
        let look = Look::now(&clock);
        while look.late(&clock, PAUSE).0 < LONG {}
        let (delay, since) = look.late(&clock, PAUSE);
        assert!(since >= delay + PAUSE);
        let look = Look::now(&clock);
        let began = clock.now();
        while clock.now() - began < PAUSE + LONG {
            thread::park_timeout(LONG);
        }
        let (delay, since) = look.late(&clock, PAUSE);
        assert!(since > LONG && delay < LONG, "{delay:?} of {since:?}");
    }
}
