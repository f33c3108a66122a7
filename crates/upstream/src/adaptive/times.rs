//! How long answers took, counted so that the median can be told: each count stands for times that differ by 3 %.

use std::sync::atomic::{AtomicU32, Ordering};

/// Parts of each doubling.
const PARTS: u64 = 32;
const PART_BITS: u32 = PARTS.ilog2();
/// Doublings; the last one ends at more than an hour.
const DOUBLINGS: u64 = 28;

/// Counts of one window.
pub(super) struct Times {
    counts: Box<[AtomicU32]>,
    all: AtomicU32,
}

impl Times {
    pub(super) fn new() -> Self {
        let counts = (0..PARTS * DOUBLINGS).map(|_| AtomicU32::new(0)).collect();
        Self { counts, all: AtomicU32::new(0) }
    }

    pub(super) fn note(&self, took_us: u64) {
        let index = usize::try_from(index(took_us)).unwrap_or(usize::MAX);
        if let Some(count) = self.counts.get(index.min(self.counts.len() - 1)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.all.fetch_add(1, Ordering::Relaxed);
    }

    /// How many there are.
    pub(super) fn count(&self) -> u32 {
        self.all.load(Ordering::Relaxed)
    }

    /// Their median and their number; counting begins anew.
    pub(super) fn take(&self) -> (u64, u32) {
        self.all.store(0, Ordering::Relaxed);
        let counts: Vec<u32> =
            self.counts.iter().map(|count| count.swap(0, Ordering::Relaxed)).collect();
        let all: u32 = counts.iter().fold(0, |all, count| all.saturating_add(*count));
        let mut seen = 0_u32;
        let middle = counts.iter().zip(0_u64..).find(|(count, _)| {
            seen = seen.saturating_add(**count);
            seen > all / 2
        });
        (middle.map_or(0, |(_, index)| lowest(index)), all)
    }
}

/// Which count a time goes to: as they are up to the first doubling, then in parts of equal ratio.
const fn index(took_us: u64) -> u64 {
    if took_us < PARTS {
        return took_us;
    }
    let shift = took_us.ilog2() - PART_BITS;
    (shift as u64 + 1) * PARTS + (took_us >> shift) - PARTS
}

/// The shortest time of a count.
const fn lowest(index: u64) -> u64 {
    if index < PARTS {
        return index;
    }
    let shift = index / PARTS - 1;
    (index % PARTS + PARTS) << shift
}

#[cfg(test)]
mod tests {
    use super::{DOUBLINGS, PARTS, Times, index, lowest};

    #[test]
    fn a_count_stands_for_times_that_differ_by_a_thirtieth() {
        let mut last = 0;
        for took_us in 0..2_000_000_u64 {
            let index = index(took_us);
            assert!(index == last || index == last + 1, "{took_us}");
            last = index;
            let lowest = lowest(index);
            assert!(lowest <= took_us && took_us - lowest <= took_us / 30, "{took_us} {lowest}");
        }
        assert!(lowest(PARTS * DOUBLINGS - 1) > 3_600_000_000);
    }

    #[test]
    fn the_median_is_told_once() {
        let times = Times::new();
        for took_us in [20, 30, 25, 1_000_000, u64::MAX] {
            times.note(took_us);
        }
        assert_eq!(times.take(), (30, 5));
        assert_eq!(times.take(), (0, 0));
    }
}
