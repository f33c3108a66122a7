use super::Who;
use base::caps::BANDWIDTH_KEYS_MAX;
use base::hashed::HashedMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use traffic::pace::{self, Lanes};

/// So many that two workers seldom want the same one.
const SHARDS: usize = 64;
/// Keys of one shard from which on it is looked whether some can be forgotten.
const SHARD_KEYS_MIN: usize = 64;
/// How often a shard is looked through at most.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Who shares a bandwidth. Forgotten are only those of whom nothing is under way and whose burst has come back: it makes no
/// difference to them.
pub(crate) struct LaneTable {
    began: Instant,
    /// Where all requests share one.
    all: Arc<Lanes>,
    /// Outsiders cannot know whose hashes meet.
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
    /// Keys of one shard.
    shard_keys_max: usize,
}

/// Those of some hashes.
struct Shard {
    lanes: HashedMap<u64, Arc<Lanes>>,
    /// Keys from which on it is looked through, and when that was done last.
    sweep_at: usize,
    swept: Option<Instant>,
    /// What all have together for whom there is no room.
    rest: Arc<Lanes>,
}

impl Default for LaneTable {
    fn default() -> Self {
        Self::with(BANDWIDTH_KEYS_MAX / SHARDS)
    }
}

impl LaneTable {
    fn with(shard_keys_max: usize) -> Self {
        let began = pace::now();
        let lanes = || Arc::new(Lanes::new(began));
        let shard = || Shard {
            lanes: HashedMap::default(),
            sweep_at: SHARD_KEYS_MIN,
            swept: None,
            rest: lanes(),
        };
        Self {
            began,
            all: lanes(),
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::new(shard())).collect(),
            shard_keys_max,
        }
    }

    /// What somebody shares with all who are the same.
    pub(crate) fn of(&self, who: &Who<'_>) -> Arc<Lanes> {
        if matches!(who, Who::All) {
            return Arc::clone(&self.all);
        }
        let key = self.hasher.hash_one(who);
        let shard = usize::try_from((key >> 32) % SHARDS as u64).unwrap_or(0);
        let mut shard = self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lanes) = shard.lanes.get(&key) {
            return Arc::clone(lanes);
        }
        if shard.lanes.len() >= shard.sweep_at {
            shard.sweep(pace::now(), self.shard_keys_max);
        }
        if shard.lanes.len() >= self.shard_keys_max {
            return Arc::clone(&shard.rest);
        }
        let lanes = Arc::new(Lanes::new(self.began));
        shard.lanes.insert(key, Arc::clone(&lanes));
        lanes
    }

    /// How many are remembered.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap().lanes.len()).sum()
    }
}

impl Shard {
    fn sweep(&mut self, now: Instant, keys_max: usize) {
        let is_early = |swept: &Instant| now.saturating_duration_since(*swept) < SWEEP_EVERY;
        if self.swept.as_ref().is_some_and(is_early) {
            return;
        }
        self.lanes.retain(|_, lanes| Arc::strong_count(lanes) > 1 || !lanes.is_rested());
        self.swept = Some(now);
        self.sweep_at = (2 * self.lanes.len()).max(SHARD_KEYS_MIN).min(keys_max);
    }
}

impl fmt::Debug for LaneTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LaneTable")
    }
}

#[cfg(test)]
mod tests {
    use super::{LaneTable, SHARDS, SWEEP_EVERY, Who};
    use std::sync::Arc;
    use traffic::pace::{Direction, Pace, Speed, paced};

    #[tokio::test(start_paused = true)]
    async fn the_same_share_and_others_do_not() {
        let table = LaneTable::default();
        let of = |name| table.of(&Who::Consumer(name));
        assert!(Arc::ptr_eq(&of("a"), &of("a")));
        assert!(!Arc::ptr_eq(&of("a"), &of("b")));
        assert!(Arc::ptr_eq(&table.of(&Who::All), &table.of(&Who::All)));
        assert_eq!(table.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_nothing_under_way_is_forgotten_and_nobody_else() {
        let table = LaneTable::default();
        let held = table.of(&Who::Address(u64::MAX));
        for round in 0..10 {
            tokio::time::advance(SWEEP_EVERY).await;
            for address in 0..10_000 {
                table.of(&Who::Address(round * 10_000 + address));
            }
        }
        assert!(table.len() < 60_000, "{}", table.len());
        assert!(Arc::ptr_eq(&held, &table.of(&Who::Address(u64::MAX))), "it is under way");
    }

    #[tokio::test(start_paused = true)]
    async fn those_for_whom_there_is_no_room_share_what_there_is_and_are_not_unbounded() {
        let table = LaneTable::with(100);
        let slow = Speed::new(1 << 10, 1 << 10);
        // Two hundred for each shard, give or take: more than have room, and fewer than a burst is enough for.
        for address in 0..200 * SHARDS as u64 {
            // Each has used something, which is not back yet.
            let pace = Pace { lanes: table.of(&Who::Address(address)), up: None, down: Some(slow) };
            let body = paced(traffic::Body::full("used"), &[pace], Direction::Down);
            assert_eq!(crate::fixture::drain(body), "used");
        }
        assert_eq!(table.len(), SHARDS * 100);
        let (one, other) = (table.of(&Who::Consumer("one")), table.of(&Who::Consumer("one")));
        assert!(Arc::ptr_eq(&one, &other));
    }
}
