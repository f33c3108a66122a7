use super::State;
use super::exposition::{Page, counter, gauge};
use crate::shards::{Sharded, ShardedCounter};
use prometheus_client::encoding::NoLabelSet;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// What a node has too little of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// Its workers come late to what is ready for them.
    Time,
    /// There is no room for what requests leave behind.
    Memory,
}

/// The values of the label `priority`, the lowest first.
const PRIORITIES: [&str; 3] = ["low", "normal", "high"];

/// What the node went without.
#[derive(Debug)]
pub struct OverloadMetrics {
    shed: [[ShardedCounter; PRIORITIES.len()]; 2],
    /// What was not kept in memory, though it had been of use.
    pub unkept: AtomicU64,
    workers: Sharded<Worker>,
    memory: [AtomicU64; 3],
    want: AtomicU32,
}

/// How it is with one worker.
#[derive(Debug, Default)]
struct Worker {
    level: AtomicU32,
    delay_us: AtomicU64,
}

/// How it is with the node now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OverloadNow {
    /// Workers that refuse requests.
    pub workers: u64,
    /// The longest of their delays.
    pub delay: Duration,
    /// Bytes that the process takes, of which so many are held by requests, and may take; zero where that is not bounded.
    pub memory: [u64; 3],
    /// How far it goes without for want of memory; 0 is not at all.
    pub want: u32,
}

impl OverloadMetrics {
    pub(super) fn new(shards: usize) -> Self {
        Self {
            shed: [(); 2].map(|()| [(); 3].map(|()| ShardedCounter::new(shards))),
            unkept: AtomicU64::new(0),
            workers: Sharded::new(shards, Worker::default),
            memory: Default::default(),
            want: AtomicU32::new(0),
        }
    }

    /// Requests refused for want of something, by priority, the lowest being 0 and the highest 2.
    #[must_use]
    pub fn shed(&self, shortage: Shortage, priority: usize) -> &ShardedCounter {
        &self.shed[shortage as usize][priority.min(PRIORITIES.len() - 1)]
    }

    /// Notes how much a worker refuses, and how late it comes.
    pub fn worker(&self, worker: usize, level: u32, delay: Duration) {
        let cell = self.workers.cell(worker);
        let delay_us = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        cell.level.store(level, Ordering::Relaxed);
        cell.delay_us.store(delay_us, Ordering::Relaxed);
    }

    /// Notes what the process takes, what of it requests hold, what it may take, and how far it goes without.
    pub fn memory(&self, memory: [u64; 3], want: u32) {
        self.memory
            .iter()
            .zip(memory)
            .for_each(|(cell, bytes)| cell.store(bytes, Ordering::Relaxed));
        self.want.store(want, Ordering::Relaxed);
    }

    /// How it is now.
    #[must_use]
    pub fn now(&self) -> OverloadNow {
        let refuses = |worker: &&Worker| worker.level.load(Ordering::Relaxed) > 0;
        let workers = self.workers.cells().filter(refuses).count() as u64;
        let delays = self.workers.cells().map(|worker| worker.delay_us.load(Ordering::Relaxed));
        OverloadNow {
            workers,
            delay: Duration::from_micros(delays.max().unwrap_or(0)),
            memory: self.memory.each_ref().map(|bytes| bytes.load(Ordering::Relaxed)),
            want: self.want.load(Ordering::Relaxed),
        }
    }
}

/// Writes what the node went without.
pub(super) fn node(page: &mut Page<'_>, state: &State) -> fmt::Result {
    let (metrics, now) = (&state.overload, state.overload.now());
    let mut family = page.counters(
        "yett_overload_shed",
        "Requests refused because the node had too much to do, by what it lacked",
    )?;
    for (reason, counts) in ["queue_delay", "memory"].into_iter().zip(&metrics.shed) {
        for (priority, count) in PRIORITIES.into_iter().zip(counts) {
            counter(&mut family, &[("reason", reason), ("priority", priority)], count.sum())?;
        }
    }
    page.gauges("yett_overload_workers", "Workers that refuse requests for coming late")?
        .encode_gauge(&i64::try_from(now.workers).unwrap_or(i64::MAX))?;
    page.gauges(
        "yett_overload_queue_delay_microseconds",
        "How late the slowest worker comes to what is ready for it",
    )?
    .encode_gauge(&i64::try_from(now.delay.as_micros()).unwrap_or(i64::MAX))?;
    let mut family = page.gauges(
        "yett_overload_memory_bytes",
        "Memory that the process takes, that requests hold of it, and that it may take",
    )?;
    for (of, bytes) in ["taken", "held", "ceiling"].into_iter().zip(now.memory) {
        gauge(&mut family, &[("of", of)], i64::try_from(bytes).unwrap_or(i64::MAX))?;
    }
    page.gauges("yett_overload_memory_want", "What goes without for want of memory: 0 nothing, 1 buffers, 2 requests of low priority, 3 of normal, 4 all")?
        .encode_gauge(&i64::from(now.want))?;
    page.counters(
        "yett_overload_unkept",
        "Bodies that were not kept for a repetition or a copy, for want of memory",
    )?
    .encode_counter::<NoLabelSet, _, u64>(&metrics.unkept.load(Ordering::Relaxed), None)
}
