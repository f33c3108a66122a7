//! Arrival times by key: live state of one rate limit, shared by all workers.

use base::Clock;
use base::caps::LIMITER_KEYS_MAX;
use base::hashed::HashedMap;
use base::units::Rate;
use siphasher::sip128::{Hasher128 as _, SipHasher13};
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use traffic::state::Portable;

/// So many that two workers seldom want the same one.
const SHARDS: usize = 64;
/// Keys of one shard.
const SHARD_KEYS_MAX: usize = LIMITER_KEYS_MAX / SHARDS;
/// Entries looked at for one to reuse when a key is new: bounds the work of one request.
const SWEEP: usize = 8;
/// Bytes of the secret with which keys are hashed.
const SECRET_BYTES: usize = 16;
/// Bytes of an exported entry.
const ENTRY_BYTES: usize = 24;
/// Beyond it, sums of nanoseconds could overflow within the age of a machine.
const SPAN_NS_MAX: u64 = 366 * 86_400 * 1_000_000_000;

/// The arithmetic of one limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gcra {
    /// What one request is worth, in nanoseconds.
    cost_ns: u64,
    /// How far ahead of now arrival times may be.
    burst_ns: u64,
}

/// What is decided about one request, and what is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// How many more requests would pass now.
    pub(crate) remaining: u64,
    /// When as many would pass as after a long pause.
    pub(crate) reset_after: Duration,
    /// When the next one would pass, if this one does not.
    pub(crate) retry_after: Option<Duration>,
}

impl Gcra {
    /// A limit that nothing passes.
    pub(crate) const NEVER: Self = Self { cost_ns: SPAN_NS_MAX, burst_ns: 0 };

    /// Nothing when a request is worth less than a nanosecond, or the burst more than a year.
    pub(crate) fn new(limit: Rate, burst: u32) -> Option<Self> {
        let period_ns = u64::try_from(limit.period.as_nanos()).ok()?;
        let cost_ns = period_ns.checked_div(u64::from(limit.count)).filter(|ns| *ns > 0)?;
        let burst_ns = cost_ns.checked_mul(u64::from(burst)).filter(|ns| *ns <= SPAN_NS_MAX)?;
        Some(Self { cost_ns, burst_ns })
    }

    /// Judges a request: what is decided, and the new arrival time if there is one. What a larger limit
    /// left behind is cut to a burst used up, so that a changed limit never locks anybody out.
    fn judge(self, arrival_ns: u64, now_ns: u64) -> (Verdict, Option<u64>) {
        let stored_ns = arrival_ns.saturating_sub(now_ns);
        let ahead_ns = stored_ns.min(self.burst_ns);
        let next_ns = ahead_ns + self.cost_ns;
        if next_ns > self.burst_ns {
            let wait = Duration::from_nanos(next_ns - self.burst_ns);
            let cut_ns = (stored_ns > ahead_ns).then(|| now_ns.saturating_add(ahead_ns));
            return (self.verdict(ahead_ns, Some(wait)), cut_ns);
        }
        (self.verdict(next_ns, None), Some(now_ns.saturating_add(next_ns)))
    }

    fn verdict(self, ahead_ns: u64, retry_after: Option<Duration>) -> Verdict {
        let remaining = (self.burst_ns - ahead_ns) / self.cost_ns;
        Verdict { remaining, reset_after: Duration::from_nanos(ahead_ns), retry_after }
    }
}

/// The arrival times of one rate limit.
pub(crate) struct Cell {
    /// The moment from which nanoseconds are counted.
    base: Instant,
    /// The one arrival time of a limit that all share.
    shared_ns: AtomicU64,
    clock: Clock,
    /// Keys are hashed with a secret: outsiders cannot find two that meet.
    secret: OnceLock<[u8; SECRET_BYTES]>,
    shards: Box<[Mutex<Shard>]>,
}

impl Cell {
    pub(crate) fn new(clock: &Clock) -> Self {
        Self {
            base: clock.now(),
            shared_ns: AtomicU64::new(0),
            clock: clock.clone(),
            secret: OnceLock::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }

    pub(crate) fn nanoseconds(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.base).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Judges a request of a limit that all share.
    pub(crate) fn take_shared(&self, gcra: Gcra, now_ns: u64) -> Verdict {
        let mut arrival_ns = self.shared_ns.load(Ordering::Relaxed);
        loop {
            let (verdict, next_ns) = gcra.judge(arrival_ns, now_ns);
            let Some(next_ns) = next_ns else { return verdict };
            let swapped = self.shared_ns.compare_exchange_weak(
                arrival_ns,
                next_ns,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            match swapped {
                Ok(_) => return verdict,
                Err(other) => arrival_ns = other,
            }
        }
    }

    /// Judges a request of one key.
    pub(crate) fn take(&self, key: &impl Hash, gcra: Gcra, now_ns: u64) -> Verdict {
        let key = self.hashed(key);
        self.shard(key).take(key, gcra, now_ns)
    }

    /// Judges a request of one key that counts for nothing.
    pub(crate) fn peek(&self, key: &impl Hash, gcra: Gcra, now_ns: u64) -> Verdict {
        let key = self.hashed(key);
        let shard = self.shard(key);
        let position = shard.positions.get(&key);
        let entry = position.and_then(|position| shard.entries.get(*position));
        gcra.judge(entry.map_or(0, |entry| entry.arrival_ns), now_ns).0
    }

    fn hashed(&self, key: &impl Hash) -> u128 {
        let mut hasher = SipHasher13::new_with_key(self.secret.get_or_init(secret));
        key.hash(&mut hasher);
        hasher.finish128().as_u128()
    }

    fn shard(&self, key: u128) -> MutexGuard<'_, Shard> {
        let shard = usize::try_from(key % SHARDS as u128).unwrap_or(0);
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many keys are remembered.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap().entries.len()).sum()
    }
}

fn secret() -> [u8; SECRET_BYTES] {
    let random = RandomState::new();
    let halves = [random.hash_one(0), random.hash_one(1)].map(u128::from);
    (halves[0] << 64 | halves[1]).to_be_bytes()
}

/// The secret, the shared arrival time, then a key and its arrival time each; times as nanoseconds from now.
impl Portable for Cell {
    fn export(&self) -> Vec<u8> {
        let now_ns = self.nanoseconds(self.clock.now());
        let ahead_ns = |arrival_ns: u64| arrival_ns.saturating_sub(now_ns);
        let mut bytes = self.secret.get_or_init(secret).to_vec();
        bytes.extend(ahead_ns(self.shared_ns.load(Ordering::Relaxed)).to_be_bytes());
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for entry in shard.entries.iter().filter(|entry| entry.arrival_ns > now_ns) {
                bytes.extend(entry.key.to_be_bytes());
                bytes.extend(ahead_ns(entry.arrival_ns).to_be_bytes());
            }
        }
        bytes
    }

    fn import(&self, bytes: &[u8]) {
        let Some((secret, rest)) = bytes.split_first_chunk() else { return };
        let Some((shared, rest)) = rest.split_first_chunk() else { return };
        // Once a key was hashed here, those from elsewhere mean nothing.
        if self.secret.set(*secret).is_err() {
            return;
        }
        let now_ns = self.nanoseconds(self.clock.now());
        let arrival_ns =
            |ahead: [u8; 8]| now_ns.saturating_add(u64::from_be_bytes(ahead).min(SPAN_NS_MAX));
        self.shared_ns.fetch_max(arrival_ns(*shared), Ordering::Relaxed);
        let (entries, _) = rest.as_chunks::<ENTRY_BYTES>();
        for entry in entries {
            let Some((key, ahead)) = entry.split_first_chunk() else { return };
            let key = u128::from_be_bytes(*key);
            let Ok(ahead) = <[u8; 8]>::try_from(ahead) else { return };
            self.shard(key).insert(Entry { key, arrival_ns: arrival_ns(ahead) }, now_ns);
        }
    }
}

#[derive(Default)]
struct Shard {
    /// Keys are hashes with a secret.
    positions: HashedMap<u128, usize>,
    entries: Vec<Entry>,
    /// Where the search for an entry to reuse goes on.
    hand: usize,
}

struct Entry {
    key: u128,
    arrival_ns: u64,
}

impl Shard {
    fn take(&mut self, key: u128, gcra: Gcra, now_ns: u64) -> Verdict {
        if let Some(&position) = self.positions.get(&key) {
            let entry = &mut self.entries[position];
            let (verdict, next_ns) = gcra.judge(entry.arrival_ns, now_ns);
            entry.arrival_ns = next_ns.unwrap_or(entry.arrival_ns);
            return verdict;
        }
        let (verdict, next_ns) = gcra.judge(0, now_ns);
        // A key that used nothing need not be remembered.
        if let Some(arrival_ns) = next_ns {
            self.insert(Entry { key, arrival_ns }, now_ns);
        }
        verdict
    }

    /// Remembers a key in place of one that has expired, in a new place, or in place of the stalest of
    /// those looked at, which then has its burst again.
    fn insert(&mut self, entry: Entry, now_ns: u64) {
        let position = match self.reusable(now_ns) {
            Some(position) => {
                self.positions.remove(&self.entries[position].key);
                position
            }
            None => self.entries.len(),
        };
        self.positions.insert(entry.key, position);
        match self.entries.get_mut(position) {
            Some(old) => *old = entry,
            None => self.entries.push(entry),
        }
    }

    fn reusable(&mut self, now_ns: u64) -> Option<usize> {
        let mut stalest: Option<usize> = None;
        for _ in 0..SWEEP.min(self.entries.len()) {
            self.hand = (self.hand + 1) % self.entries.len();
            let arrival_ns = self.entries[self.hand].arrival_ns;
            if arrival_ns <= now_ns {
                return Some(self.hand);
            }
            if stalest.is_none_or(|position| arrival_ns < self.entries[position].arrival_ns) {
                stalest = Some(self.hand);
            }
        }
        stalest.filter(|_| self.entries.len() >= SHARD_KEYS_MAX)
    }
}
