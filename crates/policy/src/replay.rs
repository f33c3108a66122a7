//! What was shown once and must not be shown again: identifiers of proofs and signatures.
//!
//! Each is kept until nobody would believe it any more for its age. When there is no room, nothing new is believed:
//! a store that forgot would let in what it forgot. Whoever holds one key has no more entries than there are places
//! left, so that nobody fills the store for others: one holder takes half of it, two a third each.

use aws_lc_rs::digest::{Context, SHA256};
use base::caps::REPLAYS_MAX;
use base::clock::unix_ms;
use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::num::NonZeroU64;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use traffic::id::RequestId;
use traffic::state::Portable;

/// So many that two workers seldom want the same one.
const SHARDS: usize = 64;
/// Entries of a shard below which nothing is swept.
const SWEEP_MIN: usize = 64;
/// A full shard is swept at most once in this time: whoever is refused must not cost more than others.
const SWEEP_PAUSE_MS: u64 = 1_000;
/// Bytes of a key, of the time until which it is kept, of the number of its holder, and of an exported entry.
const KEY_BYTES: usize = 16;
const TIME_BYTES: usize = 8;
const HOLDER_BYTES: usize = 8;
const ENTRY_BYTES: usize = KEY_BYTES + TIME_BYTES + HOLDER_BYTES;

type Key = [u8; KEY_BYTES];

/// Why something is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It was shown before.
    Again,
    /// There is no room to remember it, or none for more of this holder.
    Full,
}

/// Something that is to be shown once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'a> {
    /// Whose it is: what stands for a key that only they have.
    pub(crate) holder: &'a str,
    /// What tells it from others of this holder.
    pub(crate) id: &'a [u8],
    /// When it is too old to be believed by its own account.
    pub(crate) until: SystemTime,
}

/// What was shown, shared by all workers.
pub(crate) struct Replays {
    shards: Box<[Mutex<Shard>]>,
    /// Entries of one shard.
    shard_max: usize,
}

#[derive(Default)]
struct Shard {
    seen: HashMap<Key, Seen>,
    /// How many of them are of each holder.
    held: HashMap<u64, u32>,
    /// How many entries make it worth looking for those that are too old.
    sweep_at: usize,
    swept_ms: u64,
}

#[derive(Clone, Copy)]
struct Seen {
    until_ms: u64,
    holder: u64,
    /// The request that showed it, hashed: several policies may look at one request.
    by: Option<NonZeroU64>,
}

impl Replays {
    pub(crate) fn new() -> Self {
        Self::up_to(REPLAYS_MAX)
    }

    fn up_to(max: usize) -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), shard_max: max / SHARDS }
    }

    /// Remembers what a request shows.
    pub(crate) fn note(
        &self,
        shown: &Shown<'_>,
        now: SystemTime,
        by: RequestId,
    ) -> Result<(), Refused> {
        let key = key(shown);
        let now_ms = unix_ms(now);
        let by = NonZeroU64::new(hashed(&by));
        let seen = Seen { until_ms: unix_ms(shown.until), holder: hashed(shown.holder), by };
        let mut shard = self.shard(&key);
        match shard.seen.get(&key) {
            Some(seen) if seen.by == by && by.is_some() => return Ok(()),
            Some(seen) if seen.until_ms > now_ms => return Err(Refused::Again),
            Some(_) => shard.forget(&key),
            None => {}
        }
        if !shard.has_room(self.shard_max, seen.holder, now_ms) {
            return Err(Refused::Full);
        }
        shard.put(key, seen);
        Ok(())
    }

    /// Goes on from what another process exported; says whether there was room for all of it.
    pub(crate) fn take_over(&self, bytes: &[u8]) -> bool {
        let (entries, rest) = bytes.as_chunks::<ENTRY_BYTES>();
        let mut is_whole = rest.is_empty();
        for entry in entries {
            let Some((key, numbers)) = entry.split_first_chunk::<KEY_BYTES>() else { continue };
            let (numbers, _) = numbers.as_chunks::<TIME_BYTES>();
            let [until_ms, holder] = *numbers else { continue };
            let [until_ms, holder] = [until_ms, holder].map(u64::from_be_bytes);
            let mut shard = self.shard(key);
            if shard.seen.contains_key(key) {
                continue;
            }
            if shard.seen.len() < self.shard_max {
                shard.put(*key, Seen { until_ms, holder, by: None });
            } else {
                is_whole = false;
            }
        }
        is_whole
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        let shard = usize::from(key[0]) % SHARDS;
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    fn put(&mut self, key: Key, seen: Seen) {
        if self.seen.insert(key, seen).is_none() {
            *self.held.entry(seen.holder).or_default() += 1;
        }
    }

    fn forget(&mut self, key: &Key) {
        let Some(seen) = self.seen.remove(key) else { return };
        if let Some(held) = self.held.get_mut(&seen.holder) {
            *held = held.saturating_sub(1);
        }
    }

    /// Makes room for one more of a holder, if it can be made by forgetting what is too old.
    fn has_room(&mut self, max: usize, holder: u64, now_ms: u64) -> bool {
        let is_due = self.seen.len() >= self.sweep_at.max(SWEEP_MIN);
        if is_due || !self.fits(max, holder) && now_ms.abs_diff(self.swept_ms) >= SWEEP_PAUSE_MS {
            self.sweep(now_ms);
        }
        self.fits(max, holder)
    }

    fn fits(&self, max: usize, holder: u64) -> bool {
        let left = max.saturating_sub(self.seen.len());
        let held = self.held.get(&holder).copied().unwrap_or_default();
        left > usize::try_from(held).unwrap_or(usize::MAX)
    }

    fn sweep(&mut self, now_ms: u64) {
        self.swept_ms = now_ms;
        self.seen.retain(|_, seen| seen.until_ms > now_ms);
        self.held.clear();
        for seen in self.seen.values() {
            *self.held.entry(seen.holder).or_default() += 1;
        }
        // Twice what is left must come before it is worth the work again.
        self.sweep_at = self.seen.len().saturating_mul(2);
        if self.seen.capacity() > self.sweep_at.max(SWEEP_MIN) * 2 {
            self.seen.shrink_to(self.sweep_at);
            self.held.shrink_to(self.sweep_at);
        }
    }
}

fn hashed<T: Hash + ?Sized>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn key(shown: &Shown<'_>) -> Key {
    let mut context = Context::new(&SHA256);
    for part in [shown.holder.as_bytes(), shown.id] {
        // Lengths keep two pairs from being one text.
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let digest = context.finish();
    let mut key = Key::default();
    key.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    key
}

impl Portable for Replays {
    fn export(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for (key, seen) in &shard.seen {
                bytes.extend_from_slice(key);
                bytes.extend_from_slice(&seen.until_ms.to_be_bytes());
                bytes.extend_from_slice(&seen.holder.to_be_bytes());
            }
        }
        bytes
    }

    fn import(&self, bytes: &[u8]) {
        self.take_over(bytes);
    }
}

impl fmt::Debug for Replays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Replays")
    }
}

#[cfg(test)]
mod tests {
    use super::{Refused, Replays, SHARDS, Shown};
    use base::Clock;
    use std::time::Duration;
    use traffic::id::RequestId;
    use traffic::state::Portable as _;

    const MINUTE: Duration = Duration::from_secs(60);

    /// What becomes of something that is shown for the first time, and holds for a minute.
    fn show(replays: &Replays, clock: &Clock, holder: &str, id: &str) -> Result<(), Refused> {
        let now = clock.wall();
        let shown = Shown { holder, id: id.as_bytes(), until: now + MINUTE };
        replays.note(&shown, now, RequestId::new(clock))
    }

    fn held(replays: &Replays) -> usize {
        replays.shards.iter().map(|it| it.lock().unwrap().seen.len()).sum()
    }

    #[test]
    fn what_was_shown_once_is_not_believed_again_until_it_is_too_old_anyway() {
        let (replays, clock) = (Replays::new(), Clock::manual());
        let show = |holder: &str, id: &str| show(&replays, &clock, holder, id);
        assert_eq!(show("key", "1"), Ok(()));
        assert_eq!(show("key", "1"), Err(Refused::Again));
        assert_eq!(show("ke", "y1"), Ok(()));
        assert_eq!(show("key", "2"), Ok(()));
        clock.advance(MINUTE);
        assert_eq!(show("key", "1"), Ok(()));
    }

    #[test]
    fn several_policies_may_look_at_one_request() {
        let (replays, clock) = (Replays::new(), Clock::manual());
        let (now, by) = (clock.wall(), RequestId::new(&clock));
        let shown = Shown { holder: "a", id: b"1", until: now + MINUTE };
        assert_eq!(replays.note(&shown, now, by), Ok(()));
        assert_eq!(replays.note(&shown, now, by), Ok(()));
    }

    /// Shows new things of a holder until no more are believed; how many were.
    fn fill(replays: &Replays, clock: &Clock, holder: &str) -> usize {
        let mut believed = 0;
        let mut refused = 0;
        for number in 0.. {
            match show(replays, clock, holder, &number.to_string()) {
                Ok(()) => believed += 1,
                Err(Refused::Full) => refused += 1,
                Err(Refused::Again) => panic!("{number} is new"),
            }
            // By then every shard has said no.
            if refused > SHARDS * 20 {
                return believed;
            }
        }
        believed
    }

    #[test]
    fn nobody_fills_the_store_for_others_and_nothing_is_forgotten_to_make_room() {
        let all = SHARDS * 200;
        let (replays, clock) = (Replays::up_to(all), Clock::manual());
        let first = fill(&replays, &clock, "greedy");
        assert!((all * 4 / 10..=all / 2 + SHARDS).contains(&first), "{first} of {all}");
        let second = fill(&replays, &clock, "also greedy");
        assert!((all * 2 / 10..=all / 4 + SHARDS).contains(&second), "{second} of {all}");
        assert_eq!(show(&replays, &clock, "modest", "1"), Ok(()));
        assert_eq!(show(&replays, &clock, "greedy", "0"), Err(Refused::Again));
        clock.advance(MINUTE);
        assert_eq!(show(&replays, &clock, "greedy", "0"), Ok(()), "room comes with time");
        assert!(held(&replays) < all);
    }

    #[test]
    fn another_process_goes_on_with_what_was_shown_here() {
        let (here, there, clock) = (Replays::new(), Replays::new(), Clock::manual());
        show(&here, &clock, "a", "1").unwrap();
        assert!(there.take_over(&here.export()));
        assert!(!there.take_over(b"not what was exported"));
        assert_eq!(show(&there, &clock, "a", "1"), Err(Refused::Again));
        assert_eq!(show(&there, &clock, "a", "2"), Ok(()));
    }
}
