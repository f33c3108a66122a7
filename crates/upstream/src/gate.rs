//! So many at a time: places that are taken and given back on any worker, and a line of those who wait
//! for one. Places are counted in an atomic; the line has a lock, which is touched only by those who
//! have to wait and by those who give a place back while somebody does.

mod line;

pub(crate) use line::{Arrival, Asker};

use line::{Called, Line, Position};
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// What one waiter more adds to [`Gate::counts`].
const WAITER: u64 = 1 << 32;

/// Places and the line before them; outlives configs.
pub(crate) struct Gate {
    /// Places taken in the lower half, waiters in the upper. Waiters change under the lock only.
    counts: AtomicU64,
    cap: AtomicU32,
    line: Mutex<Line>,
}

/// What somebody gets who asks for a place.
pub(crate) enum Turn {
    /// A place.
    Place(Place),
    /// A position in the line.
    Wait(Waiting),
    /// Nothing.
    Full,
}

const fn taken(counts: u64) -> u32 {
    (counts & (WAITER - 1)) as u32
}

const fn waiting(counts: u64) -> u32 {
    (counts >> 32) as u32
}

impl Gate {
    /// Nobody in, nobody waiting.
    pub(crate) fn new() -> Self {
        Self { counts: AtomicU64::new(0), cap: AtomicU32::new(1), line: Mutex::default() }
    }

    /// Asks for one of `cap` places, or for a position in a line of `line_max`. In a line that is full one of a lower
    /// priority is displaced, or of a consumer of whom more wait. `who` is asked only of those who wait.
    pub(crate) fn enter<'a>(
        self: &Arc<Self>,
        cap: u32,
        line_max: u32,
        who: impl FnOnce() -> Arrival<'a>,
    ) -> Turn {
        self.limit(cap);
        if self.take(cap) {
            return Turn::Place(Place(Arc::clone(self)));
        }
        if line_max == 0 {
            return Turn::Full;
        }
        let mut line = self.line();
        // A place may have become free before the lock was had.
        if self.take(cap) {
            return Turn::Place(Place(Arc::clone(self)));
        }
        let (who, (sender, called)) = (who(), oneshot::channel());
        let is_full = line.len() >= line_max as usize;
        if is_full {
            let Some(displaced) = line.displace(&who) else { return Turn::Full };
            // Whoever goes away takes its position out of the line first, under the same lock.
            displaced.send(Called::Displaced).ok();
        }
        let position = line.push(&who, sender);
        // Of the two, one has come and one has gone.
        if !is_full && waiting(self.counts.fetch_add(WAITER, Ordering::AcqRel)) == 0 {
            // Whoever left between the look and the entry saw nobody waiting.
            self.call(&mut line);
        }
        let line_since_us = line.since_us();
        drop(line);
        let (gate, called) = (Arc::clone(self), Some(called));
        Turn::Wait(Waiting { gate, position, since_us: who.now_us, line_since_us, called })
    }

    /// Asks for one of `cap` places, which must be free now.
    pub(crate) fn enter_now(self: &Arc<Self>, cap: u32) -> Option<Place> {
        self.limit(cap);
        self.take(cap).then(|| Place(Arc::clone(self)))
    }

    /// How many places there are.
    pub(crate) fn cap(&self) -> u32 {
        self.cap.load(Ordering::Relaxed)
    }

    /// Places taken.
    pub(crate) fn taken(&self) -> u32 {
        taken(self.counts.load(Ordering::Relaxed))
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> u32 {
        waiting(self.counts.load(Ordering::Relaxed))
    }

    /// Sets how many places there are. More than before let some in who wait; fewer are reached as
    /// places are given back.
    pub(crate) fn limit(&self, cap: u32) {
        if self.cap.load(Ordering::Relaxed) == cap {
            return;
        }
        let mut line = self.line();
        self.cap.store(cap, Ordering::Relaxed);
        self.call(&mut line);
    }

    /// Takes a place, unless somebody waits or all are taken.
    fn take(&self, cap: u32) -> bool {
        let free = |counts| (waiting(counts) == 0 && taken(counts) < cap).then(|| counts + 1);
        self.counts.fetch_update(Ordering::AcqRel, Ordering::Acquire, free).is_ok()
    }

    /// Gives a place back.
    fn release(&self) {
        let unwatched = |counts| (waiting(counts) == 0).then(|| counts - 1);
        if self.counts.fetch_update(Ordering::AcqRel, Ordering::Acquire, unwatched).is_ok() {
            return;
        }
        let mut line = self.line();
        self.counts.fetch_sub(1, Ordering::AcqRel);
        self.call(&mut line);
    }

    /// Gives free places to those whose turn it is.
    fn call(&self, line: &mut Line) {
        let cap = self.cap.load(Ordering::Relaxed);
        while line.len() > 0 {
            let entered = |counts| (taken(counts) < cap).then(|| counts + 1 - WAITER);
            if self.counts.fetch_update(Ordering::AcqRel, Ordering::Acquire, entered).is_err() {
                return;
            }
            if let Some(waiter) = line.pop() {
                // Whoever goes away takes its position out of the line first, under the same lock.
                waiter.send(Called::Place).ok();
            }
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("taken", &self.taken())
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}

/// A place; dropping it gives it to whoever is next.
#[derive(Debug)]
pub(crate) struct Place(Arc<Gate>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// A position in the line; dropping it gives it up.
#[derive(Debug)]
pub(crate) struct Waiting {
    gate: Arc<Gate>,
    position: Position,
    /// Since when it is held.
    pub(crate) since_us: u64,
    /// Since when there has been a line.
    pub(crate) line_since_us: u64,
    called: Option<oneshot::Receiver<Called>>,
}

impl Waiting {
    /// Waits for a place; none says that somebody with a better right has the position.
    pub(crate) async fn place(mut self) -> Option<Place> {
        let said = match &mut self.called {
            // The sender is not dropped but by being used, or when this position is given up.
            Some(called) => called.await.ok(),
            None => None,
        };
        self.called = None;
        (said == Some(Called::Place)).then(|| Place(Arc::clone(&self.gate)))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(called) = &mut self.called else { return };
        let mut line = self.gate.line();
        let was_waiting = line.remove(self.position);
        if was_waiting {
            self.gate.counts.fetch_sub(WAITER, Ordering::AcqRel);
        }
        drop(line);
        if !was_waiting && called.try_recv() == Ok(Called::Place) {
            // It had been called, and nobody came.
            self.gate.release();
        }
    }
}

#[cfg(test)]
mod tests;
