//! How busy each worker is, and which of them is to have a new connection. The kernel spreads connections
//! by chance, and one HTTP/2 connection may carry the work of a hundred: so whoever accepts compares.

use std::sync::atomic::{AtomicU64, Ordering};
use telemetry::shards::Sharded;

/// What a request under way weighs, in open connections: those wait most of their time, requests mostly do not.
const REQUEST_WEIGHT: u64 = 4;
/// How much busier than another a worker must be to give a connection away. Below it the way to
/// another thread costs more than it brings.
const IMBALANCE_MIN: u64 = 8;
/// The same as a part of its load: one in four.
const IMBALANCE_PART: u64 = 4;

/// The load of each worker, on a cache line of its own.
#[derive(Debug)]
pub struct Loads {
    cells: Sharded<Load>,
    workers: usize,
}

#[derive(Debug, Default)]
struct Load {
    connections: AtomicU64,
    requests: AtomicU64,
}

impl Load {
    fn weight(&self) -> u64 {
        let requests = self.requests.load(Ordering::Relaxed);
        let connections = self.connections.load(Ordering::Relaxed);
        connections.saturating_add(requests.saturating_mul(REQUEST_WEIGHT))
    }
}

impl Loads {
    /// Nothing to do for so many workers; at least one.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self { cells: Sharded::new(workers, Load::default), workers: workers.max(1) }
    }

    /// Connections that a worker has open, or that wait for it.
    #[must_use]
    pub fn connections(&self, worker: usize) -> u64 {
        self.cells.cell(worker).connections.load(Ordering::Relaxed)
    }

    /// Requests that a worker has under way.
    #[must_use]
    pub fn requests(&self, worker: usize) -> u64 {
        self.cells.cell(worker).requests.load(Ordering::Relaxed)
    }

    pub(crate) fn connected(&self, worker: usize) {
        self.cells.cell(worker).connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn disconnected(&self, worker: usize) {
        self.cells.cell(worker).connections.fetch_sub(1, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn asked(&self, worker: usize) {
        self.cells.cell(worker).requests.fetch_add(1, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn answered(&self, worker: usize) {
        self.cells.cell(worker).requests.fetch_sub(1, Ordering::Relaxed);
    }

    /// Which worker a connection should go to that `mine` accepted: the least busy, if `mine` is so much
    /// busier that the way is worth it. Of several the next in the circle.
    pub(crate) fn relief(&self, mine: usize) -> Option<usize> {
        let own = self.cells.cell(mine).weight();
        if own < IMBALANCE_MIN {
            return None;
        }
        let others = (1..self.workers).map(|step| (mine + step) % self.workers);
        let (least, other) =
            others.map(|other| (self.cells.cell(other).weight(), other)).min_by_key(|o| o.0)?;
        let threshold = IMBALANCE_MIN.max(own / IMBALANCE_PART);
        (own.saturating_sub(least) >= threshold).then_some(other)
    }
}

#[cfg(test)]
mod tests {
    use super::Loads;

    /// Workers with so many connections and requests each.
    fn loads(each: &[(usize, usize)]) -> Loads {
        let loads = Loads::new(each.len());
        for (worker, (connections, requests)) in each.iter().enumerate() {
            (0..*connections).for_each(|_| loads.connected(worker));
            (0..*requests).for_each(|_| loads.asked(worker));
        }
        loads
    }

    #[test]
    fn a_connection_goes_to_the_least_busy_once_the_way_is_worth_it() {
        for (each, expected) in [
            (&[(100, 0)][..], None),
            (&[(7, 0), (0, 0)], None),
            (&[(8, 0), (0, 0)], Some(1)),
            (&[(8, 0), (1, 0)], None),
            (&[(100, 0), (76, 0)], None),
            (&[(100, 0), (75, 0)], Some(1)),
            (&[(10, 0), (90, 0)], None),
            // One connection with many streams.
            (&[(1, 40), (20, 0)], Some(1)),
            (&[(50, 0), (1, 40)], None),
            (&[(20, 0), (9, 0), (3, 0), (5, 0)], Some(2)),
            (&[(20, 0), (3, 0), (3, 0)], Some(1)),
        ] {
            assert_eq!(loads(each).relief(0), expected, "{each:?}");
        }
        assert_eq!(loads(&[(3, 0), (20, 0), (3, 0)]).relief(1), Some(2), "the next in the circle");
    }

    #[test]
    fn what_has_ended_weighs_nothing() {
        let loads = loads(&[(20, 20), (0, 0)]);
        (0..20).for_each(|_| loads.answered(0));
        (0..13).for_each(|_| loads.disconnected(0));
        assert_eq!((loads.connections(0), loads.requests(0)), (7, 0));
        assert_eq!(loads.relief(0), None);
    }
}
