//! From how long answers take to how many requests may be under way.
//!
//! The limit follows the latency gradient, which TCP Vegas (Brakmo and Peterson, 1995) brought to congestion control,
//! and Netflix's concurrency-limits (Gradient2) and Envoy's adaptive concurrency filter to servers: with the ratio of
//! the time that answers take without load to the time that they take now, the limit falls as soon as answers take
//! notably longer, and else grows a little, so that it finds what has become free. What differs here:
//!
//! - The time without load is measured, not averaged: from time to time half of the limit (or three quarters, where
//!   nothing changes) is in force until a few answers have come that found it so, as BBR does for round trips (Cardwell et al., 2016). A backend that has become
//!   slower for good gets its limit back thereby, and one that is overloaded for hours cannot make its long times
//!   look normal. While there are few requests, their times are as good, and nobody is held back.
//! - The limit grows only while somebody found no place. It falls with time neither when nobody comes nor when few do.
//! - Until answers take longer for the first time it grows by half at a time, as TCP's slow start doubles; then it goes
//!   at once to where they would not have.

use crate::spec::AdaptiveSpec;
use base::random;

/// Where the limit begins.
const START: f64 = 20.0;
/// How many times longer than without load answers may take before the limit falls.
const TOLERANCE: f64 = 1.2;
/// A ratio of times so bad that it is asked at once whether the backend has become slower.
const DOUBTFUL: f64 = 0.8;
/// What the limit grows by as long as answers have never taken longer.
const START_GROWTH: f64 = 1.5;
/// The most that the limit falls at a time, and the most when it has grown that fast.
const FALL: f64 = 0.8;
const START_FALL: f64 = 0.5;
/// Of answers that say there is too much, this share matters,
const REFUSED_SHARE: f64 = 0.1;
/// and makes the limit fall by as much.
const REFUSED_FALL: f64 = 0.9;
/// The shortest window, and the shortest one while the limit grows fast.
const WINDOW_US: u64 = 100_000;
const STARTING_WINDOW_US: u64 = 20_000;
/// Answers that a window needs: two for each request that may be under way, but no less and no more than these;
const ENOUGH: (f64, f64) = (8.0, 32.0);
/// and that a measurement needs: one for each.
const MEASURED_ENOUGH: (f64, f64) = (8.0, 50.0);
/// The part of the limit that is in force for a measurement; and where the last one found what was known. The limit cannot
/// creep upwards, for either is less than the tolerance makes up for.
const DEEP: f64 = 0.5;
const SHALLOW: f64 = 0.75;
/// The shortest and the longest time from one measurement to the next,
const MEASURE_US: (u64, u64) = (3_000_000, 30_000_000);
/// but at least so many times as long as an answer takes, as a measurement takes as long as a few,
const MEASURE_TIMES: u64 = 100;
/// and the shortest time from one to another that is made because of doubts.
const DOUBT_US: u64 = 1_000_000;

/// Decides for one upstream.
#[derive(Debug)]
pub(super) struct Control {
    limit: f64,
    /// Microseconds that an answer takes without load; zero while nothing is known.
    unloaded_us: f64,
    /// What was measured last, and the limit at that time.
    measured_unloaded_us: f64,
    measured_at: f64,
    measured_us: u64,
    /// Whether it is being measured, and which part of the limit is in force then.
    is_measuring: bool,
    part: f64,
    /// How long until it is next.
    period_us: u64,
    due_us: u64,
    is_starting: bool,
    /// Since when answers count for the window.
    began_us: u64,
}

/// What a window was like.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    pub(super) now_us: u64,
    /// The median of the times that answers took, and how many there were.
    pub(super) median_us: u64,
    pub(super) answers: u32,
    /// Answers besides that said there is too much.
    pub(super) refused: u32,
    /// The most requests under way at a time.
    pub(super) peak: u32,
    /// Whether somebody found no place.
    pub(super) is_bound: bool,
}

/// What follows from a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) limit: u32,
    /// When what is sent counts again.
    pub(super) sent_after_us: u64,
    /// When the next window is over, and after how many answers.
    pub(super) ends_us: u64,
    pub(super) enough: u32,
}

impl Control {
    /// Nothing is known yet.
    pub(super) fn new(spec: AdaptiveSpec) -> Self {
        Self {
            limit: START.clamp(f64::from(spec.min), f64::from(spec.max)),
            unloaded_us: 0.0,
            measured_unloaded_us: 0.0,
            measured_at: START,
            measured_us: 0,
            is_measuring: false,
            part: DEEP,
            period_us: MEASURE_US.0,
            due_us: 0,
            is_starting: true,
            began_us: 0,
        }
    }

    /// The limit in force.
    pub(super) fn in_force(&self, spec: AdaptiveSpec) -> u32 {
        let limit = if self.is_measuring { self.limit * self.part } else { self.limit };
        whole(limit).clamp(spec.min, spec.max)
    }

    /// How many answers the window needs.
    pub(super) fn enough(&self) -> u32 {
        let (wanted, (least, most)) = match self.is_measuring {
            false => (self.limit * 2.0, ENOUGH),
            true => (self.limit * self.part, MEASURED_ENOUGH),
        };
        whole(wanted.clamp(least, most))
    }

    /// Microseconds that an answer takes without load; zero while nothing is known.
    pub(super) fn unloaded_us(&self) -> u64 {
        micros(self.unloaded_us)
    }

    /// Learns from a window.
    pub(super) fn decide(&mut self, spec: AdaptiveSpec, window: &Window) -> Next {
        let (min, max) = (f64::from(spec.min), f64::from(spec.max));
        self.limit = self.limit.clamp(min, max);
        let median_us = float(window.median_us);
        let mut rest_us = 0;
        let is_told = window.answers > 0;
        if std::mem::take(&mut self.is_measuring) {
            // Where nothing was answered but that there is too much, it stays as it was.
            let median_us = if is_told { median_us } else { self.unloaded_us };
            self.measured(window.now_us, median_us);
        } else {
            if self.unloaded_us <= 0.0 && is_told {
                self.measured(window.now_us, median_us);
            }
            let ratio = self.follow(window, (min, max));
            if window.is_bound && self.is_due(window.now_us, ratio) {
                if self.limit <= min {
                    // There is no less that could be tried.
                    let median_us = if is_told { median_us } else { self.unloaded_us };
                    self.measured(window.now_us, median_us);
                } else {
                    self.is_measuring = true;
                    if ratio < DOUBTFUL {
                        self.part = DEEP;
                    }
                    // Until then those are answered that are under way.
                    rest_us = window.median_us;
                }
            }
        }
        let window_us = match (self.is_measuring, self.is_starting) {
            (true, _) => 0,
            (false, true) => STARTING_WINDOW_US,
            (false, false) => WINDOW_US,
        };
        let sent_after_us = window.now_us.saturating_add(rest_us);
        self.began_us = sent_after_us;
        Next {
            limit: self.in_force(spec),
            sent_after_us,
            ends_us: sent_after_us.saturating_add(window_us),
            enough: self.enough(),
        }
    }

    /// Moves the limit, and tells the ratio of the time without load to that of the window.
    fn follow(&mut self, window: &Window, (min, max): (f64, f64)) -> f64 {
        let median_us = float(window.median_us);
        let is_light = !window.is_bound && f64::from(window.peak) * 2.0 <= self.limit;
        if window.answers > 0 {
            self.learn(median_us, is_light);
        }
        if is_light && window.refused == 0 {
            self.measured_unloaded_us = self.unloaded_us;
            self.measured_at = self.limit;
            self.measured_us = window.now_us;
            self.due_us = self.due_us.max(window.now_us.saturating_add(MEASURE_US.0));
            return 1.0;
        }
        let all = f64::from(window.answers.saturating_add(window.refused));
        let is_refused = f64::from(window.refused) >= all * REFUSED_SHARE && window.refused > 0;
        let ratio = if window.answers == 0 || median_us <= 0.0 {
            1.0
        } else {
            TOLERANCE * self.unloaded_us / median_us
        };
        let ends_start = self.is_starting && (ratio < 1.0 || is_refused);
        self.is_starting &= !ends_start;
        let fall = if ends_start { START_FALL } else { FALL };
        let wanted = if is_refused && ratio > REFUSED_FALL {
            (self.limit * REFUSED_FALL).max(self.used(window))
        } else if is_refused {
            self.limit * ratio
        } else if self.is_starting {
            self.limit * START_GROWTH
        } else if ends_start {
            self.limit * ratio / TOLERANCE
        } else {
            self.limit.mul_add(ratio.min(1.0), self.limit.sqrt() / 2.0)
        };
        let highest = if window.is_bound { max } else { self.limit };
        self.limit = wanted.max(self.limit * fall).min(highest).clamp(min, max);
        // Whoever has fallen that low need not come back in small steps.
        self.is_starting |= self.limit <= min;
        ratio
    }

    /// How many requests were under way on average of those that were answered (Little's law), and the step by which
    /// the limit grows. Refusals alone make it no lower, for they may be meant for a single caller.
    fn used(&self, window: &Window) -> f64 {
        let median_us = float(window.median_us);
        // Only what was sent since it began counts, the first of which is answered so long after that.
        let length_us = float(window.now_us.saturating_sub(self.began_us)) - median_us;
        let used = f64::from(window.answers) * median_us / length_us.max(1.0);
        let used = used.min(self.limit);
        used + used.sqrt() / 2.0
    }

    /// Learns from answers that were not made to measure.
    fn learn(&mut self, median_us: f64, is_light: bool) {
        let above_us = median_us - self.unloaded_us;
        if is_light {
            // Down at once, for nothing makes an answer faster than it can be.
            self.unloaded_us += above_us * if above_us < 0.0 { 0.3 } else { 0.1 };
        } else if median_us < self.unloaded_us * 0.9 {
            self.unloaded_us += above_us * 0.3;
        }
    }

    /// Takes a time for that of an answer without load.
    fn measured(&mut self, now_us: u64, median_us: f64) {
        let is_as_before = (self.unloaded_us * 0.8..=self.unloaded_us * 1.25).contains(&median_us);
        self.period_us =
            if is_as_before { (self.period_us * 2).min(MEASURE_US.1) } else { MEASURE_US.0 };
        self.part = if is_as_before { SHALLOW } else { DEEP };
        self.unloaded_us = median_us.max(1.0);
        self.measured_unloaded_us = self.unloaded_us;
        self.measured_at = self.limit;
        self.measured_us = now_us;
        // Gateways of one backend do not measure all at once.
        let jitter_us = random::fast_below(self.period_us / 5);
        let period_us = (self.period_us - self.period_us / 10).saturating_add(jitter_us);
        let least_us = micros(self.unloaded_us).saturating_mul(MEASURE_TIMES);
        self.due_us = now_us.saturating_add(period_us.max(least_us));
    }

    /// Whether the time without load has to be measured.
    fn is_due(&self, now_us: u64, ratio: f64) -> bool {
        // It has become faster since, and nobody knows by how much.
        let is_faster = self.unloaded_us < self.measured_unloaded_us * DOUBTFUL;
        let pause_us = DOUBT_US.max(micros(self.unloaded_us * 10.0));
        let may_doubt = now_us >= self.measured_us.saturating_add(pause_us);
        now_us >= self.due_us
            || (may_doubt && (is_faster || ratio < DOUBTFUL))
            || self.limit <= self.measured_at / 2.0
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast of a float ends at the bounds of the integer"
)]
const fn whole(number: f64) -> u32 {
    number as u32
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast of a float ends at the bounds of the integer"
)]
const fn micros(number: f64) -> u64 {
    number as u64
}

#[expect(clippy::cast_precision_loss, reason = "a time of 285 years is exact")]
const fn float(number: u64) -> f64 {
    number as f64
}
