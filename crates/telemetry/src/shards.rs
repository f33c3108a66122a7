//! Counters and gauges that workers can touch without disturbing each other: each worker has a cell of
//! its own on a cache line of its own, and only a reader adds the cells up.

use crossbeam_utils::CachePadded;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// One `T` per worker, each on a cache line of its own.
#[derive(Debug)]
pub struct Sharded<T> {
    cells: Box<[CachePadded<T>]>,
}

impl<T> Sharded<T> {
    /// As many cells as there are shards; at least one.
    #[must_use]
    pub fn new(shards: usize, cell: impl Fn() -> T) -> Self {
        Self { cells: (0..shards.max(1)).map(|_| CachePadded::new(cell())).collect() }
    }

    /// The cell of a worker. A shard beyond the last shares a cell with another: nothing is lost,
    /// it is only slower.
    #[must_use]
    #[inline]
    pub fn cell(&self, shard: usize) -> &T {
        let index = if shard < self.cells.len() { shard } else { shard % self.cells.len() };
        &self.cells[index]
    }

    /// All cells, for a reader that adds them up.
    pub fn cells(&self) -> impl Iterator<Item = &T> {
        self.cells.iter().map(|cell| &**cell)
    }
}

/// A number that only grows. It wraps around at 2⁶⁴.
#[derive(Debug)]
pub struct ShardedCounter(Sharded<AtomicU64>);

impl ShardedCounter {
    /// Zero, for so many workers.
    #[must_use]
    pub fn new(shards: usize) -> Self {
        Self(Sharded::new(shards, AtomicU64::default))
    }

    /// Adds `n`, on behalf of the worker `shard`.
    #[inline]
    pub fn add(&self, shard: usize, n: u64) {
        self.0.cell(shard).fetch_add(n, Ordering::Relaxed);
    }

    /// The sum over all workers.
    #[must_use]
    pub fn sum(&self) -> u64 {
        sum(self.0.cells())
    }
}

/// A number that rises and falls.
#[derive(Debug)]
pub struct Gauge(Sharded<AtomicI64>);

impl Gauge {
    /// Zero, for so many workers.
    #[must_use]
    pub fn new(shards: usize) -> Self {
        Self(Sharded::new(shards, AtomicI64::default))
    }

    /// Adds `n`, which may be negative, on behalf of the worker `shard`. What one worker added
    /// another may take away.
    #[inline]
    pub fn add(&self, shard: usize, n: i64) {
        self.0.cell(shard).fetch_add(n, Ordering::Relaxed);
    }

    /// The sum over all workers. While they work it may be off by what is under way, even below
    /// zero.
    #[must_use]
    pub fn sum(&self) -> i64 {
        let cells = self.0.cells().map(|cell| cell.load(Ordering::Relaxed));
        cells.fold(0, i64::wrapping_add)
    }
}

/// Adds cells up, wrapping around as they do.
pub(crate) fn sum<'a>(cells: impl Iterator<Item = &'a AtomicU64>) -> u64 {
    cells.map(|cell| cell.load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
}

#[cfg(test)]
mod tests {
    use super::{Gauge, Sharded, ShardedCounter};

    #[test]
    fn a_counter_adds_up_what_many_threads_added() {
        let counter = ShardedCounter::new(4);
        std::thread::scope(|scope| {
            for shard in 0..4 {
                let counter = &counter;
                scope.spawn(move || (0..10_000).for_each(|_| counter.add(shard, 2)));
            }
        });
        assert_eq!(counter.sum(), 80_000);
    }

    #[test]
    fn a_gauge_may_rise_on_one_shard_and_fall_on_another() {
        let gauge = Gauge::new(2);
        gauge.add(0, 5);
        gauge.add(1, -3);
        assert_eq!(gauge.sum(), 2);
    }

    #[test]
    fn a_shard_beyond_the_last_is_counted_too() {
        let counter = ShardedCounter::new(2);
        counter.add(7, 1);
        counter.add(usize::MAX, 1);
        assert_eq!(counter.sum(), 2);
        let none = ShardedCounter::new(0);
        none.add(0, 1);
        assert_eq!(none.sum(), 1);
    }

    #[test]
    fn cells_do_not_share_a_cache_line() {
        let sharded = Sharded::new(2, || 0_u8);
        let distance = std::ptr::from_ref(sharded.cell(1)) as usize
            - std::ptr::from_ref(sharded.cell(0)) as usize;
        assert!(distance >= 64, "{distance} bytes apart");
    }
}
