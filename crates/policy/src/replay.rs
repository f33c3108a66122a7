//! What was shown once and must not be shown again: identifiers of proofs and signatures.
//!
//! Each is kept until nobody would believe it any more for its age. It is known from when on all are remembered, and what
//! was made before that is not believed: it could have been shown. When there is no room, nothing new is believed: a
//! store that forgot would let in what it forgot. Whoever holds one key has no more entries than there are places
//! left, so that nobody fills the store for others: one holder takes half of it, two a third each.

use aws_lc_rs::digest::{Context, SHA256};
use base::Clock;
use base::caps::REPLAYS_MAX;
use base::clock::unix_ms;
use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use traffic::id::RequestId;
use traffic::state::Portable;

/// So many that two workers seldom want the same one.
const SHARDS: usize = 64;
/// Entries of a shard below which nothing is swept.
const SWEEP_MIN: usize = 64;
/// A full shard is swept at most once in this time: whoever is refused must not cost more than others.
const SWEEP_PAUSE_MS: u64 = 1_000;
/// Clients tell times in whole seconds.
const SECOND_MS: u64 = 1_000;
/// Bytes of a key, of the time at which what it stands for was made, of the number of its holder, and of an exported entry.
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
    /// It was made before all were remembered.
    Early,
    /// Another process goes on with what is remembered, and would not know of it.
    HandedOver,
}

/// Something that is to be shown once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'a> {
    /// Whose it is: what stands for a key that only they have.
    pub(crate) holder: &'a str,
    /// What tells it from others of this holder.
    pub(crate) id: &'a [u8],
    /// When it was made, by its own account.
    pub(crate) made: SystemTime,
}

/// What was shown, shared by all workers.
pub(crate) struct Replays {
    shards: Box<[Mutex<Shard>]>,
    /// Entries of one shard.
    shard_max: usize,
    /// How long after it was made anybody believes anything.
    life_ms: AtomicU64,
    /// What was made from then on is remembered if it was shown, in milliseconds since 1970.
    since_ms: AtomicU64,
    /// How far in the future the time may be at which something says that it was made.
    ahead_ms: u64,
    is_handed_over: AtomicBool,
    clock: Clock,
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
    made_ms: u64,
    holder: u64,
    /// The request that showed it, hashed: several policies may look at one request.
    by: Option<NonZeroU64>,
}

impl Replays {
    /// One that remembers nothing, until somebody says for how long.
    pub(crate) fn new(clock: Clock) -> Self {
        Self::up_to(REPLAYS_MAX, clock)
    }

    /// The same for what may say that it was made a while ahead: it may have been shown before a start that is earlier.
    pub(crate) fn of_made_ahead(clock: Clock, ahead: Duration) -> Self {
        let ahead_ms = u64::try_from(ahead.as_millis()).unwrap_or(u64::MAX);
        Self { ahead_ms: ahead_ms.saturating_add(SECOND_MS), ..Self::new(clock) }
    }

    fn up_to(max: usize, clock: Clock) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            shard_max: max / SHARDS,
            life_ms: AtomicU64::new(0),
            since_ms: AtomicU64::new(u64::MAX),
            ahead_ms: 0,
            is_handed_over: AtomicBool::new(false),
            clock,
        }
    }

    /// Says how long after it was made somebody believes anything: so long all of it is kept from now on, for everybody.
    pub(crate) fn remember_for(&self, life: Duration) {
        let life_ms = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
        let before_ms = self.life_ms.fetch_max(life_ms, Ordering::SeqCst);
        if before_ms >= life_ms {
            return;
        }
        // Whoever sweeps by the shorter life has looked at the clock before this.
        let now_ms = unix_ms(self.clock.wall());
        if before_ms == 0 {
            // Clients tell whole seconds.
            let since_ms = (now_ms / SECOND_MS * SECOND_MS).saturating_add(self.ahead_ms);
            self.since_ms.store(since_ms, Ordering::SeqCst);
        } else {
            self.since_ms.fetch_max(now_ms.saturating_sub(before_ms), Ordering::SeqCst);
        }
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
        let seen = Seen { made_ms: unix_ms(shown.made), holder: hashed(shown.holder), by };
        let mut shard = self.shard(&key);
        let old_ms = now_ms.saturating_sub(self.life_ms.load(Ordering::SeqCst));
        if self.is_handed_over.load(Ordering::SeqCst) {
            return Err(Refused::HandedOver);
        }
        self.forgets(now_ms, old_ms);
        match shard.seen.get(&key) {
            Some(seen) if seen.by == by && by.is_some() => return Ok(()),
            Some(seen) if seen.made_ms > old_ms => return Err(Refused::Again),
            Some(_) => shard.forget(&key),
            None => {}
        }
        if seen.made_ms < self.since_ms.load(Ordering::SeqCst) {
            return Err(Refused::Early);
        }
        if !shard.has_room(self.shard_max, seen.holder, (now_ms, old_ms)) {
            return Err(Refused::Full);
        }
        shard.put(key, seen);
        Ok(())
    }

    /// What is as old as this may be forgotten from now on. Should the clock be set back, nobody believes it again; nor
    /// what was made until then, for a while.
    fn forgets(&self, now_ms: u64, old_ms: u64) {
        let latest_ms = now_ms.saturating_add(self.ahead_ms).saturating_add(SECOND_MS);
        self.since_ms.fetch_min(latest_ms, Ordering::SeqCst);
        self.since_ms.fetch_max(old_ms.saturating_add(1), Ordering::SeqCst);
    }

    /// Goes on from what another process exported.
    fn take_over(&self, bytes: &[u8]) {
        let Some((since_ms, entries)) = bytes.split_first_chunk::<TIME_BYTES>() else { return };
        let (entries, rest) = entries.as_chunks::<ENTRY_BYTES>();
        if !rest.is_empty() {
            return;
        }
        let mut is_whole = true;
        for entry in entries {
            let Some((key, numbers)) = entry.split_first_chunk::<KEY_BYTES>() else { continue };
            let (numbers, _) = numbers.as_chunks::<TIME_BYTES>();
            let [made_ms, holder] = *numbers else { continue };
            let [made_ms, holder] = [made_ms, holder].map(u64::from_be_bytes);
            let mut shard = self.shard(key);
            if shard.seen.contains_key(key) {
                continue;
            }
            if shard.seen.len() < self.shard_max {
                shard.put(*key, Seen { made_ms, holder, by: None });
            } else {
                is_whole = false;
            }
        }
        if is_whole {
            self.since_ms.fetch_min(u64::from_be_bytes(*since_ms), Ordering::SeqCst);
        }
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
    fn has_room(&mut self, max: usize, holder: u64, (now_ms, old_ms): (u64, u64)) -> bool {
        let is_due = self.seen.len() >= self.sweep_at.max(SWEEP_MIN);
        if is_due || !self.fits(max, holder) && now_ms.abs_diff(self.swept_ms) >= SWEEP_PAUSE_MS {
            self.swept_ms = now_ms;
            self.sweep(old_ms);
        }
        self.fits(max, holder)
    }

    fn fits(&self, max: usize, holder: u64) -> bool {
        let left = max.saturating_sub(self.seen.len());
        let held = self.held.get(&holder).copied().unwrap_or_default();
        left > usize::try_from(held).unwrap_or(usize::MAX)
    }

    /// Forgets what was made no later than this.
    fn sweep(&mut self, old_ms: u64) {
        self.seen.retain(|_, seen| seen.made_ms > old_ms);
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
        let old_ms = unix_ms(self.clock.wall()).saturating_sub(self.life_ms.load(Ordering::SeqCst));
        let since_ms = self.since_ms.load(Ordering::SeqCst).max(old_ms);
        let mut bytes = since_ms.to_be_bytes().to_vec();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for (key, seen) in &shard.seen {
                bytes.extend_from_slice(key);
                bytes.extend_from_slice(&seen.made_ms.to_be_bytes());
                bytes.extend_from_slice(&seen.holder.to_be_bytes());
            }
        }
        bytes
    }

    fn import(&self, bytes: &[u8]) {
        self.take_over(bytes);
    }

    /// Whoever is about to note something has a shard locked, and each is locked again when it is exported: nothing is
    /// noted that is not exported.
    fn handed_over(&self, is_so: bool) {
        self.is_handed_over.store(is_so, Ordering::SeqCst);
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
    use base::caps::REPLAYS_MAX;
    use std::time::Duration;
    use traffic::id::RequestId;
    use traffic::state::Portable as _;

    const MINUTE: Duration = Duration::from_secs(60);

    /// A store of things that hold for a minute.
    fn of_a_minute(max: usize, clock: &Clock) -> Replays {
        let replays = Replays::up_to(max, clock.clone());
        replays.remember_for(MINUTE);
        replays
    }

    /// What becomes of something that is made and shown now.
    fn show(replays: &Replays, clock: &Clock, holder: &str, id: &str) -> Result<(), Refused> {
        show_later(replays, clock, (holder, id), Duration::ZERO)
    }

    /// What becomes of something that was made so long ago.
    fn show_later(
        replays: &Replays,
        clock: &Clock,
        (holder, id): (&str, &str),
        ago: Duration,
    ) -> Result<(), Refused> {
        let now = clock.wall();
        let shown = Shown { holder, id: id.as_bytes(), made: now - ago };
        replays.note(&shown, now, RequestId::new(clock))
    }

    fn held(replays: &Replays) -> usize {
        replays.shards.iter().map(|it| it.lock().unwrap().seen.len()).sum()
    }

    #[test]
    fn what_was_made_ahead_may_have_been_shown_before_the_start() {
        let clock = Clock::manual();
        let replays = Replays::of_made_ahead(clock.clone(), Duration::from_secs(5));
        replays.remember_for(MINUTE);
        let show = |made| {
            let shown = Shown { holder: "alice", id: b"1", made };
            replays.note(&shown, clock.wall(), RequestId::new(&clock))
        };
        let start = clock.wall();
        assert_eq!(show(start + Duration::from_secs(5)), Err(Refused::Early));
        assert_eq!(show(start + Duration::from_secs(6)), Ok(()));
        assert_eq!(show(start + Duration::from_secs(6)), Err(Refused::Again));
    }

    #[test]
    fn a_clock_that_is_set_back_makes_nothing_new_again() {
        let clock = Clock::manual();
        let replays = of_a_minute(REPLAYS_MAX, &clock);
        let show = |id: u64, at, made| {
            let shown = Shown { holder: "alice", id: &id.to_be_bytes(), made };
            replays.note(&shown, at, RequestId::new(&clock))
        };
        let (then, hour) = (clock.wall(), Duration::from_secs(3_600));
        assert_eq!(show(0, then, then), Ok(()));
        for id in 1..10_000 {
            // Enough for all shards to be swept.
            assert_eq!(show(id, then + hour, then + hour), Ok(()));
        }
        assert_eq!(show(0, then, then), Err(Refused::Early));
        let later = then + Duration::from_secs(2);
        assert_eq!(show(10_000, later, later), Ok(()), "it goes on soon");
    }

    #[test]
    fn once_handed_over_nothing_is_believed_until_the_upgrade_is_given_up() {
        let clock = Clock::manual();
        let replays = of_a_minute(REPLAYS_MAX, &clock);
        let show = |replays: &Replays, id: &[u8]| {
            let shown = Shown { holder: "alice", id, made: clock.wall() };
            replays.note(&shown, clock.wall(), RequestId::new(&clock))
        };
        assert_eq!(show(&replays, b"1"), Ok(()));
        replays.handed_over(true);
        let heir = of_a_minute(REPLAYS_MAX, &clock);
        heir.import(&replays.export());
        assert_eq!(show(&replays, b"2"), Err(Refused::HandedOver));
        assert_eq!(show(&heir, b"1"), Err(Refused::Again));
        assert_eq!(show(&heir, b"2"), Ok(()));
        replays.handed_over(false);
        assert_eq!(show(&replays, b"3"), Ok(()));
    }

    #[test]
    fn what_was_shown_once_is_not_believed_again_until_it_is_too_old_anyway() {
        let clock = Clock::manual();
        let replays = of_a_minute(REPLAYS_MAX, &clock);
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
        let clock = Clock::manual();
        let replays = of_a_minute(REPLAYS_MAX, &clock);
        let (now, by) = (clock.wall(), RequestId::new(&clock));
        let shown = Shown { holder: "a", id: b"1", made: now };
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
                Err(refused) => panic!("{number} is new, and {refused:?}"),
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
        let clock = Clock::manual();
        let replays = of_a_minute(all, &clock);
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
    fn what_one_believes_for_longer_is_kept_for_longer() {
        let clock = Clock::manual();
        let replays = of_a_minute(SHARDS * 64, &clock);
        show(&replays, &clock, "key", "1").unwrap();
        clock.advance(MINUTE / 2);
        replays.remember_for(10 * MINUTE);
        replays.remember_for(MINUTE);
        clock.advance(2 * MINUTE);
        // Whatever is swept meanwhile.
        fill(&replays, &clock, "other");
        let ago = |ago, id: &str| show_later(&replays, &clock, ("key", id), ago);
        assert_eq!(ago(5 * MINUTE / 2, "1"), Err(Refused::Again));
        assert_eq!(ago(3 * MINUTE, "2"), Err(Refused::Early), "it may be forgotten");
    }

    #[test]
    fn what_was_made_before_all_was_remembered_is_not_believed() {
        let clock = Clock::manual();
        let replays = of_a_minute(REPLAYS_MAX, &clock);
        let second = Duration::from_secs(1);
        assert_eq!(show_later(&replays, &clock, ("key", "1"), second), Err(Refused::Early));
        clock.advance(second);
        assert_eq!(show_later(&replays, &clock, ("key", "2"), second), Ok(()));
    }

    #[test]
    fn another_process_goes_on_with_what_was_shown_here() {
        let clock = Clock::manual();
        let here = of_a_minute(REPLAYS_MAX, &clock);
        show(&here, &clock, "a", "1").unwrap();
        clock.advance(MINUTE / 2);
        let there = of_a_minute(REPLAYS_MAX, &clock);
        there.import(b"not what was exported");
        let ago = |id: &str| show_later(&there, &clock, ("a", id), MINUTE / 2);
        assert_eq!(ago("1"), Err(Refused::Early));
        there.import(&here.export());
        assert_eq!(ago("1"), Err(Refused::Again));
        assert_eq!(ago("2"), Ok(()));
    }
}
