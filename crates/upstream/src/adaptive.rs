//! How many requests an upstream can have under way without making them wait: found from how long answers take. A
//! request that finds the backend free takes as long as the backend needs; once there are more of them than it can
//! work on, each one more only makes all of them longer. [`control`] tells how the limit follows from that.
//!
//! Nothing here is locked by a request: times are counted in atomics, and whichever request ends a window takes the
//! decision, while others go on.

mod control;
mod times;

use crate::spec::AdaptiveSpec;
use control::{Control, Window};
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use times::Times;

/// The limit of one upstream; outlives configs.
pub(crate) struct Adaptive {
    times: Times,
    /// Answers that said there is too much.
    refused: AtomicU32,
    /// The most requests under way at a time.
    peak: AtomicU32,
    /// Whether somebody found no place.
    is_bound: AtomicBool,
    /// What was sent before does not count: it met another limit.
    sent_after_us: AtomicU64,
    /// When the window is over, and after how many answers.
    ends_us: AtomicU64,
    enough: AtomicU32,
    limit: AtomicU32,
    unloaded_us: AtomicU64,
    control: Mutex<Control>,
}

/// What an answer tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// It came, or was waited for in vain.
    Took,
    /// The backend has too much to do, it says.
    Refused,
}

impl Adaptive {
    /// Nothing is known yet.
    pub(crate) fn new(spec: AdaptiveSpec) -> Self {
        let control = Control::new(spec);
        Self {
            times: Times::new(),
            refused: AtomicU32::new(0),
            peak: AtomicU32::new(0),
            is_bound: AtomicBool::new(false),
            sent_after_us: AtomicU64::new(0),
            ends_us: AtomicU64::new(0),
            enough: AtomicU32::new(control.enough()),
            limit: AtomicU32::new(control.in_force(spec)),
            unloaded_us: AtomicU64::new(0),
            control: Mutex::new(control),
        }
    }

    /// How many requests may be under way.
    pub(crate) fn limit(&self, spec: AdaptiveSpec) -> u32 {
        // It may have been found under other bounds.
        self.limit.load(Ordering::Relaxed).clamp(spec.min, spec.max)
    }

    /// How long answers take that find the backend free; zero while nothing is known.
    pub(crate) fn unloaded_us(&self) -> u64 {
        self.unloaded_us.load(Ordering::Relaxed)
    }

    /// Notes that a request has a place, with so many others.
    pub(crate) fn entered(&self, taken: u32) {
        if self.peak.load(Ordering::Relaxed) < taken {
            self.peak.fetch_max(taken, Ordering::Relaxed);
        }
    }

    /// Notes that there was no place.
    pub(crate) fn found_none(&self) {
        if !self.is_bound.load(Ordering::Relaxed) {
            self.is_bound.store(true, Ordering::Relaxed);
        }
    }

    /// Notes how long the head of an answer took. Whoever ends a window gets the new limit.
    pub(crate) fn note(
        &self,
        spec: AdaptiveSpec,
        sign: Sign,
        (sent_us, now_us): (u64, u64),
    ) -> Option<u32> {
        if sent_us < self.sent_after_us.load(Ordering::Relaxed) {
            return None;
        }
        match sign {
            Sign::Took => self.times.note(now_us.saturating_sub(sent_us)),
            Sign::Refused => {
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
        let count = self.times.count().saturating_add(self.refused.load(Ordering::Relaxed));
        if count < self.enough.load(Ordering::Relaxed)
            || now_us < self.ends_us.load(Ordering::Relaxed)
        {
            return None;
        }
        // Who decides already decides for this one, too.
        let mut control = self.control.try_lock().ok()?;
        if now_us < self.ends_us.load(Ordering::Relaxed) {
            return None;
        }
        let next = control.decide(spec, &self.window(now_us));
        self.sent_after_us.store(next.sent_after_us, Ordering::Relaxed);
        self.enough.store(next.enough, Ordering::Relaxed);
        self.unloaded_us.store(control.unloaded_us(), Ordering::Relaxed);
        self.limit.store(next.limit, Ordering::Relaxed);
        self.ends_us.store(next.ends_us, Ordering::Relaxed);
        Some(next.limit)
    }

    /// What the window was like that ends now; the next one begins.
    fn window(&self, now_us: u64) -> Window {
        let (median_us, answers) = self.times.take();
        Window {
            now_us,
            median_us,
            answers,
            refused: self.refused.swap(0, Ordering::Relaxed),
            peak: self.peak.swap(0, Ordering::Relaxed),
            is_bound: self.is_bound.swap(false, Ordering::Relaxed),
        }
    }
}

impl fmt::Debug for Adaptive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adaptive")
            .field("limit", &self.limit)
            .field("unloaded_us", &self.unloaded_us)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
