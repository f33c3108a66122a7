//! What was shown once and must not be shown again: identifiers of proofs and signatures.
//!
//! Each is kept until nobody would believe it any more for its age. When there is no room, nothing new is believed:
//! a store that forgot would let in what it forgot.

use aws_lc_rs::digest::{Context, SHA256};
use base::caps::REPLAYS_MAX;
use base::clock::unix_ms;
use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::num::NonZeroU64;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use traffic::id::RequestId;
use traffic::state::Portable;

/// So many that two workers seldom want the same one.
const SHARDS: usize = 64;
const SHARD_MAX: usize = REPLAYS_MAX / SHARDS;
/// Entries of a shard below which nothing is swept.
const SWEEP_MIN: usize = 64;
/// Bytes of a key, of the time until which it is kept, and of an exported entry.
const KEY_BYTES: usize = 16;
const TIME_BYTES: usize = 8;
const ENTRY_BYTES: usize = KEY_BYTES + TIME_BYTES;

type Key = [u8; KEY_BYTES];

/// Why something is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It was shown before.
    Again,
    /// There is no room to remember it.
    Full,
}

/// What was shown, shared by all workers.
pub(crate) struct Replays {
    shards: Box<[Mutex<Shard>]>,
}

#[derive(Default)]
struct Shard {
    seen: HashMap<Key, Seen>,
    /// How many entries make it worth looking for those that are too old.
    sweep_at: usize,
}

#[derive(Clone, Copy)]
struct Seen {
    until_ms: u64,
    /// The request that showed it, hashed: several policies may look at one request.
    by: Option<NonZeroU64>,
}

impl Replays {
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    /// Remembers what a request shows, which is made of several parts. `until` is when it is too old to be believed
    /// by its own account.
    pub(crate) fn note(
        &self,
        parts: &[&str],
        until: SystemTime,
        now: SystemTime,
        by: RequestId,
    ) -> Result<(), Refused> {
        let key = key(parts);
        let (until_ms, now_ms) = (unix_ms(until), unix_ms(now));
        let mut hasher = DefaultHasher::new();
        by.hash(&mut hasher);
        let by = NonZeroU64::new(hasher.finish());
        let mut shard = self.shard(&key);
        match shard.seen.get(&key) {
            Some(seen) if seen.by == by && by.is_some() => return Ok(()),
            Some(seen) if seen.until_ms > now_ms => return Err(Refused::Again),
            _ => {}
        }
        if !shard.has_room(now_ms) {
            return Err(Refused::Full);
        }
        shard.seen.insert(key, Seen { until_ms, by });
        Ok(())
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        let shard = usize::from(key[0]) % SHARDS;
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    /// Makes room, if it can be made by forgetting what is too old.
    fn has_room(&mut self, now_ms: u64) -> bool {
        let held = self.seen.len();
        if held >= self.sweep_at.max(SWEEP_MIN) || held >= SHARD_MAX {
            self.seen.retain(|_, seen| seen.until_ms > now_ms);
            // Twice what is left must come before it is worth the work again.
            self.sweep_at = self.seen.len().saturating_mul(2);
            if self.seen.capacity() > self.sweep_at.max(SWEEP_MIN) * 2 {
                self.seen.shrink_to(self.sweep_at);
            }
        }
        self.seen.len() < SHARD_MAX
    }
}

fn key(parts: &[&str]) -> Key {
    let mut context = Context::new(&SHA256);
    for part in parts {
        // Lengths keep two lists of parts from being one text.
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
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
            }
        }
        bytes
    }

    fn import(&self, bytes: &[u8]) {
        let (entries, _) = bytes.as_chunks::<ENTRY_BYTES>();
        for entry in entries {
            let (Some(key), Some(time)) =
                (entry.first_chunk::<KEY_BYTES>(), entry.last_chunk::<TIME_BYTES>())
            else {
                continue;
            };
            let mut shard = self.shard(key);
            if shard.seen.len() < SHARD_MAX {
                let until_ms = u64::from_be_bytes(*time);
                shard.seen.entry(*key).or_insert(Seen { until_ms, by: None });
            }
        }
    }
}

impl fmt::Debug for Replays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Replays")
    }
}

#[cfg(test)]
mod tests {
    use super::{Refused, Replays, SHARD_MAX, SHARDS};
    use base::Clock;
    use std::time::Duration;
    use traffic::id::RequestId;
    use traffic::state::Portable as _;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn what_was_shown_once_is_not_believed_again_until_it_is_too_old_anyway() {
        let (replays, clock) = (Replays::new(), Clock::manual());
        let show = |parts: &[&str]| {
            let now = clock.wall();
            replays.note(parts, now + MINUTE, now, RequestId::new(&clock))
        };
        assert_eq!(show(&["key", "1"]), Ok(()));
        assert_eq!(show(&["key", "1"]), Err(Refused::Again));
        assert_eq!(show(&["ke", "y1"]), Ok(()));
        assert_eq!(show(&["key", "2"]), Ok(()));
        clock.advance(MINUTE);
        assert_eq!(show(&["key", "1"]), Ok(()));
    }

    #[test]
    fn several_policies_may_look_at_one_request() {
        let (replays, clock) = (Replays::new(), Clock::manual());
        let (now, id) = (clock.wall(), RequestId::new(&clock));
        assert_eq!(replays.note(&["1"], now + MINUTE, now, id), Ok(()));
        assert_eq!(replays.note(&["1"], now + MINUTE, now, id), Ok(()));
    }

    #[test]
    fn a_full_store_believes_nothing_new_and_room_comes_with_time() {
        let (replays, clock) = (Replays::new(), Clock::manual());
        let now = clock.wall();
        let id = RequestId::new(&clock);
        for shard in &replays.shards {
            let mut shard = shard.lock().unwrap();
            for number in 0..SHARD_MAX {
                let mut key = super::Key::default();
                key[8..].copy_from_slice(&(number as u64).to_be_bytes());
                shard.seen.insert(key, super::Seen { until_ms: u64::MAX, by: None });
            }
        }
        assert_eq!(replays.note(&["1"], now + MINUTE, now, id), Err(Refused::Full));
        for shard in &replays.shards {
            shard.lock().unwrap().seen.values_mut().for_each(|seen| seen.until_ms = 1);
        }
        assert_eq!(replays.note(&["1"], now + MINUTE, now, id), Ok(()));
        let held: usize = replays.shards.iter().map(|it| it.lock().unwrap().seen.len()).sum();
        assert!(held <= SHARD_MAX * (SHARDS - 1) + 1, "{held}");
    }

    #[test]
    fn another_process_goes_on_with_what_was_shown_here() {
        let (here, there, clock) = (Replays::new(), Replays::new(), Clock::manual());
        let now = clock.wall();
        here.note(&["1"], now + MINUTE, now, RequestId::new(&clock)).unwrap();
        there.import(&here.export());
        there.import(b"not what was exported");
        let id = RequestId::new(&clock);
        assert_eq!(there.note(&["1"], now + MINUTE, now, id), Err(Refused::Again));
        assert_eq!(there.note(&["2"], now + MINUTE, now, id), Ok(()));
    }
}
