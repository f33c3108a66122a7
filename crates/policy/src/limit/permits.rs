use super::Who;
use base::caps::CONCURRENCY_KEYS_MAX;
use base::hashed::HashedMap;
use count::Count;
use std::collections::BinaryHeap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A number that all workers change.
mod count;
/// The same, over atomics that are run in every order there is.
#[cfg(test)]
mod modelled;

/// So many that two workers seldom want the same one.
const SHARDS: usize = 64;
/// Keys of one shard.
const SHARD_KEYS_MAX: usize = CONCURRENCY_KEYS_MAX / SHARDS;

/// Who has how many requests under way. It holds nobody who has none, so it cannot grow beyond what is under way.
pub(crate) struct Permits {
    /// Where all requests count together.
    all: Count,
    /// Outsiders cannot know whose hashes meet.
    hasher: RandomState,
    shards: Box<[Shard]>,
}

/// How many, by the hash of whose they are.
type Shard = Mutex<HashedMap<u64, u32>>;

impl Default for Permits {
    fn default() -> Self {
        Self {
            all: Count::new(),
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }
}

impl Permits {
    /// Leave for one request more until it is dropped; none beyond `max`.
    pub(crate) fn enter(self: &Arc<Self>, who: &Who<'_>, max: u32) -> Option<Permit> {
        let key = self.key(who);
        let enters = match key {
            None => self.all.enter(max),
            Some(key) => enter(&mut self.shard(key), key, max),
        };
        enters.then(|| Permit { permits: Arc::clone(self), key })
    }

    /// What somebody is counted by; nothing where all requests count together.
    pub(crate) fn key(&self, who: &Who<'_>) -> Option<u64> {
        match who {
            Who::All => None,
            who => Some(self.hasher.hash_one(who)),
        }
    }

    /// How many somebody has.
    pub(crate) fn under_way(&self, key: Option<u64>) -> u32 {
        match key {
            None => self.all.inside(),
            Some(key) => self.shard(key).get(&key).copied().unwrap_or(0),
        }
    }

    /// At most so many of those who have any, by their keys from this one on, and the key after the last of them.
    pub(crate) fn page(&self, from: u64, most: usize) -> (Vec<(u64, u32)>, Option<u64>) {
        // The largest is on top, and goes first where there are too many.
        let mut found: BinaryHeap<(u64, u32)> = BinaryHeap::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for (key, count) in shard.iter().filter(|(key, _)| **key >= from) {
                found.push((*key, *count));
                if found.len() > most + 1 {
                    found.pop();
                }
            }
        }
        let mut found = found.into_sorted_vec();
        let next = if found.len() > most { found.pop() } else { None };
        (found, next.map(|(key, _)| key))
    }

    /// How many have any.
    pub(crate) fn len(&self) -> usize {
        let len = |shard: &Shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len();
        self.shards.iter().map(len).sum()
    }

    fn shard(&self, key: u64) -> MutexGuard<'_, HashedMap<u64, u32>> {
        let shard = usize::try_from((key >> 32) % SHARDS as u64).unwrap_or(0);
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn enter(shard: &mut HashedMap<u64, u32>, key: u64, max: u32) -> bool {
    let has_room = shard.len() < SHARD_KEYS_MAX;
    match shard.entry(key) {
        Entry::Occupied(mut count) if *count.get() < max => {
            *count.get_mut() += 1;
            true
        }
        Entry::Vacant(count) if has_room && max > 0 => {
            count.insert(1);
            true
        }
        _ => false,
    }
}

/// A request's leave to be under way, given back when it is dropped: with the last byte of its answer, with its client
/// or its backend gone, or with a refusal.
pub(crate) struct Permit {
    permits: Arc<Permits>,
    key: Option<u64>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(key) = self.key else { return self.permits.all.leave() };
        if let Entry::Occupied(mut count) = self.permits.shard(key).entry(key) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}

#[cfg(test)]
mod tests {
    use super::{Permit, Permits, Who};
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::sync::Arc;

    proptest! {
        /// Whoever comes and goes in whatever order: the table lets in whom plain counting lets in.
        #[test]
        fn it_lets_in_whom_plain_counting_lets_in(
            steps in proptest::collection::vec((0_u8..5, any::<bool>(), 0_usize..8), 1..200),
            max in 1_u32..4,
        ) {
            let permits = Arc::new(Permits::default());
            let names = ["a", "b", "c", "d"];
            let mut held: HashMap<u8, Vec<Permit>> = HashMap::new();
            for (who, comes, which) in steps {
                let own = held.entry(who).or_default();
                if comes {
                    let asked = names.get(usize::from(who)).map_or(Who::All, |name| Who::Consumer(name));
                    let permit = permits.enter(&asked, max);
                    prop_assert_eq!(permit.is_some(), own.len() < max as usize);
                    own.extend(permit);
                } else if which < own.len() {
                    own.remove(which);
                }
                let keyed = held.iter().filter(|(who, own)| **who < 4 && !own.is_empty()).count();
                prop_assert_eq!(permits.len(), keyed, "nobody who has none is remembered");
                for (who, own) in &held {
                    let asked = names.get(usize::from(*who)).map_or(Who::All, |name| Who::Consumer(name));
                    prop_assert_eq!(permits.under_way(permits.key(&asked)) as usize, own.len());
                }
            }
        }
    }

    #[test]
    fn pages_show_everybody_once() {
        let permits = Arc::new(Permits::default());
        let held: Vec<_> = (0..250).map(|at| permits.enter(&Who::Address(at % 25), 10)).collect();
        let (mut from, mut seen) = (Some(0), Vec::new());
        while let Some(first) = from {
            let (page, next) = permits.page(first, 10);
            assert!(page.len() == 10 || next.is_none());
            seen.extend(page);
            from = next;
        }
        assert!(seen.iter().all(|(_, count)| *count == 10));
        seen.dedup();
        assert_eq!(seen.len(), 25);
        drop(held);
        assert_eq!(permits.page(0, 10), (Vec::new(), None));
    }

    #[test]
    fn permits_that_many_threads_take_and_give_back_are_all_there_in_the_end() {
        let permits = Arc::new(Permits::default());
        std::thread::scope(|scope| {
            for name in ["a", "b", "a", "b"] {
                let permits = &permits;
                scope.spawn(move || {
                    for _ in 0..2_000 {
                        let both = [Who::All, Who::Consumer(name)];
                        let _held = both.map(|who| permits.enter(&who, 3));
                    }
                });
            }
        });
        assert_eq!(permits.len(), 0);
        let all: Vec<_> = (0..5).map(|_| permits.enter(&Who::All, 3)).collect();
        assert_eq!(all.iter().flatten().count(), 3);
    }
}
