//! How soon a target answers: a moving average that decays with time and jumps to a peak at once, so that
//! a target that becomes slow is left alone quickly and trusted again slowly.

use base::caps::LATENCY_DECAY_MS;
use http::StatusCode;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a failure counts as at least: a target that fails fast must not look like a fast one.
const FAILURE: Duration = Duration::from_secs(1);

/// The average, shared by all workers. Two that note at the same moment may lose one of the two notes,
/// which does no harm.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    average_ns: AtomicU64,
    /// Milliseconds since `epoch` of the last note.
    noted_ms: AtomicU64,
    epoch: OnceLock<Instant>,
    /// Attempts that have no answer yet.
    waiting: AtomicU64,
}

impl Latency {
    /// Notes how long the head of an answer took; without a status there was none. What a server that is in
    /// trouble answers fast does not make it look fast.
    pub(crate) fn note(&self, took: Duration, status: Option<StatusCode>, now: Instant) {
        let epoch = *self.epoch.get_or_init(|| now);
        let now_ms = millis(now.saturating_duration_since(epoch));
        let before = self.average_ns.load(Ordering::Relaxed);
        let since_ms = now_ms.saturating_sub(self.noted_ms.load(Ordering::Relaxed));
        let took_ns = match status {
            Some(status) if !status.is_server_error() => nanos(took),
            Some(_) => nanos(took).max(before),
            None => nanos(took.max(FAILURE)),
        };
        // The first note is an average by itself.
        let average = if before == 0 || took_ns >= before {
            took_ns
        } else {
            // What is kept of the old falls to 1/e in the time of decay. Notes of one moment would otherwise
            // change nothing.
            let kept = decayed(since_ms.max(1));
            before.saturating_sub(portion(before - took_ns, 1.0 - kept))
        };
        self.average_ns.store(average.max(1), Ordering::Relaxed);
        self.noted_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Notes that an attempt begins, which [`Latency::end`] follows.
    pub(crate) fn begin(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that an attempt has ended.
    pub(crate) fn end(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// Notes that an answer was waited for in vain for so long: it would have taken at least that.
    pub(crate) fn waited(&self, waited: Duration, now: Instant) {
        if nanos(waited) > self.average_ns() {
            self.note(waited, Some(StatusCode::OK), now);
        }
    }

    /// The average in nanoseconds; zero while nothing is known.
    pub(crate) fn average_ns(&self) -> u64 {
        self.average_ns.load(Ordering::Relaxed)
    }

    /// What a request more would cost with so many under way. Of a target of which nothing is known one
    /// answer is awaited before it gets more. What is known fades while no answer is awaited, or who was slow once
    /// would never be asked again.
    pub(crate) fn cost(&self, in_flight: u64, now: Instant) -> u128 {
        let average = match (self.average_ns(), self.waiting.load(Ordering::Relaxed)) {
            (0, _) if in_flight > 0 => nanos(FAILURE),
            (0, _) => 0,
            (average, 0) => portion(average, decayed(self.since_ms(now))).max(1),
            (average, _) => average,
        };
        u128::from(average) * u128::from(in_flight + 1)
    }

    /// Milliseconds since the last note.
    fn since_ms(&self, now: Instant) -> u64 {
        let epoch = *self.epoch.get_or_init(|| now);
        let now_ms = millis(now.saturating_duration_since(epoch));
        now_ms.saturating_sub(self.noted_ms.load(Ordering::Relaxed))
    }
}

fn decayed(since_ms: u64) -> f64 {
    let times = u32::try_from(since_ms).map_or(f64::MAX, f64::from) / f64::from(LATENCY_DECAY_MS);
    (-times).exp()
}

/// A part of a number, for a part between none and all.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a measured time needs no more than 52 bits, and the product is below the number"
)]
fn portion(whole: u64, part: f64) -> u64 {
    (whole as f64 * part) as u64
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::Latency;
    use base::Clock;
    use http::StatusCode;
    use std::time::Duration;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_peak_counts_at_once_and_fades_with_time() {
        let (clock, latency) = (Clock::manual(), Latency::default());
        let note = |took| latency.note(took, Some(StatusCode::OK), clock.now());
        note(10 * MS);
        assert_eq!(latency.average_ns(), 10_000_000);
        note(500 * MS);
        assert_eq!(latency.average_ns(), 500_000_000, "a peak is believed at once");
        note(10 * MS);
        assert!(latency.average_ns() > 490_000_000, "a moment later it still is");
        clock.advance(Duration::from_secs(60));
        note(10 * MS);
        assert!(latency.average_ns() < 12_000_000, "{}", latency.average_ns());
    }

    #[test]
    fn whoever_fails_fast_is_not_fast() {
        let (clock, latency) = (Clock::manual(), Latency::default());
        latency.note(20 * MS, Some(StatusCode::OK), clock.now());
        clock.advance(Duration::from_secs(60));
        latency.note(MS, Some(StatusCode::SERVICE_UNAVAILABLE), clock.now());
        assert_eq!(latency.average_ns(), 20_000_000);
        latency.note(MS, None, clock.now());
        assert_eq!(latency.average_ns(), 1_000_000_000);
    }

    #[test]
    fn requests_under_way_cost_and_the_unknown_is_tried_once() {
        let latency = Latency::default();
        let now = Clock::manual().now();
        assert_eq!(latency.cost(0, now), 0);
        assert!(latency.cost(1, now) > 0);
        latency.note(10 * MS, Some(StatusCode::OK), now);
        assert_eq!(latency.cost(3, now), 40_000_000);
    }

    #[test]
    fn who_was_slow_once_is_asked_again_but_not_by_all_at_once() {
        let (clock, latency) = (Clock::manual(), Latency::default());
        latency.note(4_000 * MS, Some(StatusCode::OK), clock.now());
        assert_eq!(latency.cost(0, clock.now()), 4_000_000_000);
        clock.advance(Duration::from_secs(100));
        assert!(latency.cost(0, clock.now()) < 1_000_000, "{}", latency.cost(0, clock.now()));
        latency.begin();
        assert_eq!(latency.cost(1, clock.now()), 8_000_000_000, "until it has answered");
        latency.note(10 * MS, Some(StatusCode::OK), clock.now());
        latency.end();
        assert!(latency.cost(0, clock.now()) < 11_000_000);
    }

    #[test]
    fn an_answer_that_does_not_come_counts_as_long_as_it_was_waited_for() {
        let (clock, latency) = (Clock::manual(), Latency::default());
        latency.note(10 * MS, Some(StatusCode::OK), clock.now());
        latency.waited(5 * MS, clock.now());
        assert_eq!(latency.average_ns(), 10_000_000, "that is no longer than usual");
        latency.waited(3_000 * MS, clock.now());
        assert_eq!(latency.average_ns(), 3_000_000_000);
    }
}
