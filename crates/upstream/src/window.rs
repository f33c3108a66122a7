//! How many requests of the last while were bad or slow. Each worker counts in a row of slices of its
//! own, which are reused as time goes on; whoever wants to know adds them up.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use telemetry::Sharded;

/// Slices of a window. What is counted lasts for the window, give or take one of them.
const SLICES: usize = 10;
/// Bits of a stamp that hold the length of the slice, so that a window of another length begins anew.
const LENGTH_BITS: u32 = 24;

/// What was counted.
#[derive(Debug)]
pub(crate) struct Window(Sharded<[Slice; SLICES]>);

#[derive(Debug, Default)]
struct Slice {
    /// Which slice of time it holds, and how long that is; zero for none.
    stamp: AtomicU64,
    all: AtomicU32,
    bad: AtomicU32,
    slow: AtomicU32,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) is_bad: bool,
    pub(crate) is_slow: bool,
}

/// What the slices of a window add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) all: u64,
    pub(crate) bad: u64,
    pub(crate) slow: u64,
}

impl Window {
    /// Nothing counted yet, by so many workers.
    pub(crate) fn new(workers: usize) -> Self {
        Self(Sharded::new(workers, <[Slice; SLICES]>::default))
    }

    /// Counts a request that ended at `now_ms` on behalf of a worker.
    pub(crate) fn note(&self, worker: usize, now_ms: u64, within: Duration, ended: Ended) {
        let length_ms = length_ms(within);
        let number = now_ms / length_ms;
        let slot = usize::try_from(number % SLICES as u64).unwrap_or(0);
        let Some(slice) = self.0.cell(worker).get(slot) else { return };
        let stamp = stamp(number, length_ms);
        if slice.stamp.swap(stamp, Ordering::Relaxed) != stamp {
            slice.all.store(0, Ordering::Relaxed);
            slice.bad.store(0, Ordering::Relaxed);
            slice.slow.store(0, Ordering::Relaxed);
        }
        slice.all.fetch_add(1, Ordering::Relaxed);
        slice.bad.fetch_add(u32::from(ended.is_bad), Ordering::Relaxed);
        slice.slow.fetch_add(u32::from(ended.is_slow), Ordering::Relaxed);
    }

    /// What was counted in the window that ends at `now_ms`.
    pub(crate) fn totals(&self, now_ms: u64, within: Duration) -> Totals {
        let length_ms = length_ms(within);
        let last = now_ms / length_ms;
        let first = last.saturating_sub(SLICES as u64 - 1);
        let (oldest, newest) = (stamp(first, length_ms), stamp(last, length_ms));
        let length = oldest & ((1 << LENGTH_BITS) - 1);
        let mut totals = Totals::default();
        for slice in self.0.cells().flatten() {
            let stamp = slice.stamp.load(Ordering::Relaxed);
            let is_ours = stamp & ((1 << LENGTH_BITS) - 1) == length;
            if is_ours && (oldest..=newest).contains(&stamp) {
                totals.all += u64::from(slice.all.load(Ordering::Relaxed));
                totals.bad += u64::from(slice.bad.load(Ordering::Relaxed));
                totals.slow += u64::from(slice.slow.load(Ordering::Relaxed));
            }
        }
        totals
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        for slice in self.0.cells().flatten() {
            slice.stamp.store(0, Ordering::Relaxed);
        }
    }
}

fn length_ms(within: Duration) -> u64 {
    let longest = (1 << LENGTH_BITS) - 1;
    u64::try_from(within.as_millis() / SLICES as u128).unwrap_or(longest).clamp(1, longest)
}

const fn stamp(number: u64, length_ms: u64) -> u64 {
    ((number + 1) << LENGTH_BITS) | length_ms
}

#[cfg(test)]
mod tests {
    use super::{Ended, Totals, Window};
    use std::time::Duration;

    const TEN: Duration = Duration::from_secs(10);
    const BAD: Ended = Ended { is_bad: true, is_slow: false };
    const SLOW: Ended = Ended { is_bad: false, is_slow: true };

    #[test]
    fn what_all_workers_saw_lasts_for_the_window_and_no_longer() {
        let window = Window::new(2);
        window.note(0, 0, TEN, BAD);
        window.note(1, 4_000, TEN, SLOW);
        assert_eq!(window.totals(4_500, TEN), Totals { all: 2, bad: 1, slow: 1 });
        assert_eq!(window.totals(9_999, TEN), Totals { all: 2, bad: 1, slow: 1 });
        assert_eq!(window.totals(10_000, TEN), Totals { all: 1, bad: 0, slow: 1 });
        assert_eq!(window.totals(14_000, TEN), Totals::default());
        window.note(0, 20_000, TEN, BAD);
        assert_eq!(window.totals(20_000, TEN), Totals { all: 1, bad: 1, slow: 0 });
    }

    #[test]
    fn a_window_of_another_length_and_one_that_is_cleared_begin_anew() {
        let window = Window::new(1);
        window.note(0, 1_000, TEN, BAD);
        assert_eq!(window.totals(1_000, TEN * 2), Totals::default());
        window.clear();
        assert_eq!(window.totals(1_000, TEN), Totals::default());
        window.note(0, 1_000, TEN, SLOW);
        assert_eq!(window.totals(1_000, TEN), Totals { all: 1, bad: 0, slow: 1 });
    }
}
