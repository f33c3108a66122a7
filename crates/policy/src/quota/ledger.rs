use aws_lc_rs::digest::{SHA256, digest};
use base::caps::{CLOCK_BACK_MAX_S, QUOTA_COUNTS_MAX};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hashbrown::HashTable;
use siphasher::sip128::{Hasher128 as _, SipHasher13};
use std::fmt;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use traffic::store::Total;

/// So many that two workers seldom want the same one.
pub(super) const SHARDS: usize = 64;
/// Counts of one shard.
const SHARD_COUNTS_MAX: usize = QUOTA_COUNTS_MAX / SHARDS;
/// Those of them whose holders outsiders choose, such as addresses: however many they make up, they take no room from
/// consumers.
const SHARD_OUTSIDE_MAX: usize = SHARD_COUNTS_MAX / 4;
/// Entries looked at for one to reuse when a count is new: bounds the work of one request.
const SWEEP: usize = 8;
/// The same where only those of outsiders can be reused, which are a quarter or fewer.
const SWEEP_OUTSIDE: usize = 64;
/// How late a request may be counted after its time was looked at.
const LATE_MAX_S: u64 = 2;
/// Bytes of the secret with which holders are hashed.
const SECRET_BYTES: usize = 16;

/// Of a shared quota gateways have shares of what is left as soon as that is this part of it.
const NEAR_PART: u64 = 10;
/// A gateway uses no more than this part of its share at a time. What it knows of others may be a round old when it hears of
/// it: were it less than a fourth, what all have used would run past the end before they knew.
const UNHEARD_PARTS: u64 = 4;

/// Bits of a state beside the end of its window.
const STATE_BITS: u32 = 8;
/// It was told that eight tenths are used.
const TOLD_80: u64 = 1;
/// It was told that all is used.
const TOLD_100: u64 = 2;
/// It stands in the list of what has changed.
const CHANGED: u64 = 4;
const TOLD: u64 = TOLD_80 | TOLD_100;

/// Who uses quotas, hashed with a secret: outsiders cannot find two that meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder(pub(crate) [u64; 2]);

/// A holder and a calendar.
pub(super) type Key = [u64; 2];

/// Tells what this gateway has counted from what all that share the count have.
const OWN: u64 = 0x9E37_79B9_7F4A_7C15;

const fn own(key: Key) -> Key {
    [key[0], key[1] ^ OWN]
}

/// What the keys of holders begin with whom outsiders choose; of others one in 65,536 does.
const OUTSIDE: u64 = 0xa5c3;
/// Bits of a key behind that.
const OUTSIDE_BITS: u32 = 48;

const fn is_outside(key: Key) -> bool {
    key[0] >> OUTSIDE_BITS == OUTSIDE
}

impl Holder {
    /// The same, as one whom outsiders choose.
    pub(crate) const fn outside(self) -> Self {
        let rest = self.0[0] & (u64::MAX >> (u64::BITS - OUTSIDE_BITS));
        Self([OUTSIDE << OUTSIDE_BITS | rest, self.0[1]])
    }

    pub(super) const fn key(self, calendar: u64) -> Key {
        [self.0[0], self.0[1] ^ calendar]
    }
}

/// What a request asks of one quota, and what came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    calendar: u64,
    /// When the window has ended, in seconds since 1970.
    pub(crate) ends_s: u64,
    /// How much the quota allows.
    pub(crate) amount: u64,
    cost: u64,
    /// How much of it is told to other gateways; nothing where none share it.
    own: u64,
    /// How much is used, with what was asked if it was counted.
    pub(crate) used: u64,
    /// What is to be told for the first time.
    tells: u64,
    is_too_much: bool,
}

impl Ask {
    pub(crate) const fn new(calendar: u64, ends_s: u64, amount: u64, cost: u64) -> Self {
        Self { calendar, ends_s, amount, cost, own: 0, used: 0, tells: 0, is_too_much: false }
    }

    /// The same, of a count that others share. While they cannot be heard, each counts for so many: it costs as many times
    /// as much, but not so much that nothing would pass any more.
    pub(crate) fn shared(mut self, gateways: u64) -> Self {
        self.own = self.cost;
        if self.cost <= self.amount {
            self.cost = self.cost.saturating_mul(gateways).min(self.amount);
        }
        self
    }

    /// How much more would pass now.
    pub(crate) const fn remaining(&self) -> u64 {
        self.amount.saturating_sub(self.used)
    }

    /// The count of a holder.
    pub(super) const fn key(&self, holder: Holder) -> Key {
        holder.key(self.calendar)
    }

    /// Whether so little is left that what passes elsewhere meanwhile matters.
    pub(crate) const fn is_near(&self) -> bool {
        self.remaining() <= self.amount / NEAR_PART
    }

    /// Whether this gateway, with this request, has used more than its share of what was left when it heard of the others:
    /// `since` is what it has used after that. The first request always may, so that all is used in the end.
    pub(crate) fn outruns(&self, since: u64, gateways: u64) -> bool {
        let left = self.remaining().saturating_add(since);
        let parts = gateways.saturating_mul(UNHEARD_PARTS);
        self.cost > 0 && since > self.own && since.saturating_mul(parts) > left
    }

    /// The same once it was given back.
    pub(crate) const fn refused(mut self, is_too_much: bool) -> Self {
        self.used = self.used.saturating_sub(self.cost);
        (self.is_too_much, self.tells) = (is_too_much, 0);
        self
    }

    /// What the request costs.
    pub(crate) const fn cost(&self) -> u64 {
        self.cost
    }

    /// Whether this quota had no room for it.
    pub(crate) const fn is_too_much(&self) -> bool {
        self.is_too_much
    }

    /// How many percent it has reached for the first time in this window.
    pub(crate) const fn crossed(&self) -> Option<u8> {
        match self.tells {
            0 => None,
            tells if tells & TOLD_100 != 0 => Some(100),
            _ => Some(80),
        }
    }

    /// What should have been told by now.
    fn due(&self) -> u64 {
        let (used, amount) = (u128::from(self.used) * 100, u128::from(self.amount));
        let all = if used >= amount * 100 || self.is_too_much { TOLD } else { 0 };
        let most = if used >= amount * 80 { TOLD_80 } else { 0 };
        all | most
    }
}

/// One count, as it is kept outside of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose, and by which calendar.
    pub key: [u64; 2],
    /// When its window has ended, in seconds since 1970.
    pub ends_s: u64,
    /// What was told of it.
    pub told: u8,
    /// How much was used.
    pub used: u64,
}

#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) used: u64,
    /// When its window has ended, and what is known of it.
    state: u64,
}

impl Entry {
    const fn new(record: &Record) -> Self {
        let state = record.ends_s << STATE_BITS | (record.told as u64 & TOLD);
        Self { key: record.key, used: record.used, state }
    }

    pub(super) const fn ends_s(&self) -> u64 {
        self.state >> STATE_BITS
    }

    /// How much was used in the window that ends then.
    const fn used_in(&self, ends_s: u64) -> u64 {
        if self.ends_s() == ends_s { self.used } else { 0 }
    }

    pub(super) fn record(&self) -> Record {
        let told = u8::try_from(self.state & TOLD).unwrap_or(0);
        Record { key: self.key, ends_s: self.ends_s(), told, used: self.used }
    }

    const fn is_over(&self, now_s: u64) -> bool {
        self.ends_s().saturating_add(CLOCK_BACK_MAX_S.unsigned_abs()) <= now_s
    }
}

/// An entry that has changed, and what it was before.
struct Change {
    position: u32,
    ends_s: u64,
    used: u64,
}

/// How much was used of quotas, by whom; shared by all workers, each of which waits at most for another one that
/// counts for one of the same sixty-fourth of holders.
pub struct Ledger {
    secret: OnceLock<[u8; SECRET_BYTES]>,
    shards: Box<[Mutex<Shard>]>,
    /// Whether somebody wants to know what changes.
    is_noted: AtomicBool,
    /// Whether another process goes on from here. Held while a journal is written.
    has_left: Mutex<bool>,
    forgotten: AtomicU64,
}

#[derive(Default)]
pub(super) struct Shard {
    positions: HashTable<u32>,
    entries: Vec<Entry>,
    changes: Vec<Change>,
    /// How many entries are of holders whom outsiders choose.
    outside: usize,
    /// Where the search for an entry to reuse goes on.
    hand: usize,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            secret: OnceLock::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            is_noted: AtomicBool::new(false),
            has_left: Mutex::new(false),
            forgotten: AtomicU64::new(0),
        }
    }
}

impl Ledger {
    /// Who is told apart by `parts` among all of one scope.
    pub(crate) fn holder(&self, scope: &str, parts: &impl Hash) -> Holder {
        let mut hasher = SipHasher13::new_with_key(&self.secret());
        scope.hash(&mut hasher);
        parts.hash(&mut hasher);
        let hash = hasher.finish128();
        Holder([hash.h1, hash.h2])
    }

    /// Counts what is asked, if every quota has room for it; else nothing, unless what is refused counts, too.
    pub(crate) fn take(
        &self,
        holder: Holder,
        asks: &mut [Ask],
        now_s: i64,
        counts_refused: bool,
    ) -> bool {
        let is_noted = self.is_noted.load(Ordering::Relaxed);
        let mut shard = self.shard(holder.0[0]);
        for ask in &mut *asks {
            ask.used = shard.used(holder.key(ask.calendar), ask.ends_s);
            ask.is_too_much = ask.cost > ask.remaining() && ask.cost > 0;
        }
        let fits = asks.iter().all(|ask| !ask.is_too_much);
        for ask in asks {
            let key = holder.key(ask.calendar);
            let cost = if fits || counts_refused { ask.cost } else { 0 };
            let is_kept = shard.find(key).is_some()
                || (cost > 0 && shard.insert(key, u64::try_from(now_s).unwrap_or(0)));
            if is_kept {
                ask.used = ask.used.saturating_add(cost);
                shard.count(key, ask, now_s, is_noted);
                if cost > 0 && ask.own > 0 {
                    shard.add(own(key), ask.ends_s, ask.own, is_noted);
                }
            } else if cost > 0 && self.forgotten.fetch_add(1, Ordering::Relaxed) == 0 {
                tracing::warn!(
                    "there is no room for all quotas' counts: what some use is not counted"
                );
            }
        }
        fits
    }

    /// Gives back what was counted, unless its window is over.
    pub(crate) fn give_back(&self, holder: Holder, asks: &[Ask]) {
        let is_noted = self.is_noted.load(Ordering::Relaxed);
        let mut shard = self.shard(holder.0[0]);
        for ask in asks.iter().filter(|ask| ask.cost > 0) {
            shard.change(holder.key(ask.calendar), is_noted, |entry| {
                if entry.ends_s() == ask.ends_s {
                    entry.used = entry.used.saturating_sub(ask.cost);
                }
            });
            if ask.own > 0 {
                shard.change(own(holder.key(ask.calendar)), is_noted, |entry| {
                    if entry.ends_s() == ask.ends_s {
                        entry.used = entry.used.saturating_sub(ask.own);
                    }
                });
            }
        }
    }

    /// How much was used.
    pub(crate) fn used(&self, holder: Holder, ask: &Ask) -> u64 {
        self.shard(holder.0[0]).used(holder.key(ask.calendar), ask.ends_s)
    }

    /// Forgets what was used.
    pub(crate) fn reset(&self, holder: Holder, ask: &Ask) {
        let is_noted = self.is_noted.load(Ordering::Relaxed);
        self.shard(holder.0[0]).change(holder.key(ask.calendar), is_noted, |entry| {
            entry.used = 0;
            entry.state &= !TOLD;
        });
    }

    /// How much this gateway has counted itself of what others share; none if it has nothing.
    pub(super) fn own(&self, key: Key, ends_s: u64) -> Option<u64> {
        self.shard(key[0]).own(key, ends_s)
    }

    /// Goes on from what all gateways have counted, with `forgotten` more that this one told before it was killed.
    pub(super) fn learn(&self, key: Key, ends_s: u64, total: &Total, forgotten: u64) {
        let is_noted = self.is_noted.load(Ordering::Relaxed);
        let mut shard = self.shard(key[0]);
        if forgotten > 0 {
            shard.add(own(key), ends_s, forgotten, is_noted);
        }
        // With what was counted since the store was asked.
        let own = shard.own(key, ends_s).unwrap_or(total.own);
        let used = total.total.saturating_add(own).saturating_sub(total.own);
        if shard.find(key).is_none() && (used == 0 || !shard.insert(key, 0)) {
            return;
        }
        shard.change(key, is_noted, |entry| {
            if entry.ends_s() < ends_s {
                *entry = Entry::new(&Record { key, ends_s, told: 0, used: 0 });
            }
            if entry.ends_s() == ends_s {
                entry.used = used;
            }
        });
    }

    /// What other gateways know this one by, also after a restart: as long as it has its journal.
    pub(super) fn gateway(&self) -> String {
        let hash = digest(&SHA256, &[&b"gateway"[..], &self.secret()].concat());
        URL_SAFE_NO_PAD.encode(hash.as_ref().get(..SECRET_BYTES).unwrap_or_default())
    }

    pub(super) fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        self.at(usize::try_from(hash % SHARDS as u64).unwrap_or(0))
    }

    fn at(&self, shard: usize) -> MutexGuard<'_, Shard> {
        self.shards[shard % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For whoever keeps a journal.
impl Ledger {
    /// The secret with which holders are hashed: what is kept by them means nothing without it.
    #[must_use]
    pub fn secret(&self) -> [u8; SECRET_BYTES] {
        *self.secret.get_or_init(secret)
    }

    /// Whether anything was counted, or told from elsewhere.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.secret.get().is_some()
    }

    /// Goes on from what was kept, with the secret by which it was kept. False if counting has begun with another one
    /// already: what was kept then means nothing.
    #[must_use]
    pub fn adopt(
        &self,
        secret: [u8; SECRET_BYTES],
        records: impl IntoIterator<Item = Record>,
    ) -> bool {
        if *self.secret.get_or_init(|| secret) != secret {
            return false;
        }
        for record in records {
            self.shard(record.key[0]).put(&record);
        }
        true
    }

    /// From now on what changes is noted for [`Ledger::changed`].
    pub fn note_changes(&self) {
        self.is_noted.store(true, Ordering::Relaxed);
    }

    /// Waits until nobody else writes, and keeps others from handing counts over meanwhile. None once another process
    /// goes on from here: the journal is its own then.
    pub fn writing(&self) -> Option<impl Sized + '_> {
        let has_left = self.has_left.lock().unwrap_or_else(PoisonError::into_inner);
        if *has_left { None } else { Some(has_left) }
    }

    /// No other process went on from here after all. What changed meanwhile was not noted: [`Ledger::all`] tells it.
    pub fn stay(&self) {
        *self.has_left.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }

    /// In how many parts [`Ledger::changed`] and [`Ledger::all`] are told.
    #[must_use]
    pub const fn parts(&self) -> usize {
        SHARDS
    }

    /// What has changed in one part since this was asked last.
    #[must_use]
    pub fn changed(&self, part: usize) -> Vec<Record> {
        let mut shard = self.at(part);
        let changes = std::mem::take(&mut shard.changes);
        let settled = changes.iter().filter_map(|change| shard.settle(change));
        settled.map(|entry| entry.record()).collect()
    }

    /// All counts of one part whose windows have not ended; nothing of it has changed then.
    #[must_use]
    pub fn all(&self, part: usize, now_s: u64) -> Vec<Record> {
        let mut shard = self.at(part);
        for change in std::mem::take(&mut shard.changes) {
            shard.settle(&change);
        }
        let entries = shard.entries.iter().filter(|entry| !entry.is_over(now_s));
        entries.map(Entry::record).collect()
    }

    /// How many counts there are.
    #[must_use]
    pub fn len(&self) -> usize {
        (0..SHARDS).map(|shard| self.at(shard).entries.len()).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// For another process.
impl Ledger {
    /// Lets another process go on from here: what is counted from now on is noted for it.
    pub(super) fn leave(&self) -> Vec<Record> {
        let mut has_left = self.has_left.lock().unwrap_or_else(PoisonError::into_inner);
        *has_left = true;
        self.note_changes();
        (0..SHARDS).flat_map(|shard| self.all(shard, 0)).collect()
    }

    /// What was counted since [`Ledger::leave`], or since this was asked last: counts, and by how much they grew.
    pub(super) fn grown(&self) -> Vec<(Record, i64)> {
        if !*self.has_left.lock().unwrap_or_else(PoisonError::into_inner) {
            return Vec::new();
        }
        let mut grown = Vec::new();
        for shard in 0..SHARDS {
            let mut shard = self.at(shard);
            for change in std::mem::take(&mut shard.changes) {
                let Some(entry) = shard.settle(&change) else { continue };
                let before = if entry.ends_s() == change.ends_s { change.used } else { 0 };
                let signed = |used| i64::try_from(used).unwrap_or(i64::MAX);
                grown.push((entry.record(), signed(entry.used) - signed(before)));
            }
        }
        grown
    }

    /// Adds what another process counted.
    pub(super) fn grow(&self, record: &Record, by: i64) {
        let is_noted = self.is_noted.load(Ordering::Relaxed);
        let mut shard = self.shard(record.key[0]);
        if shard.find(record.key).is_none() && !shard.insert(record.key, 0) {
            return;
        }
        shard.change(record.key, is_noted, |entry| {
            if entry.ends_s() < record.ends_s {
                *entry = Entry::new(&Record { used: 0, ..*record });
            }
            if entry.ends_s() == record.ends_s {
                entry.used = entry.used.saturating_add_signed(by);
                entry.state |= u64::from(record.told) & TOLD;
            }
        });
    }
}

impl Shard {
    fn find(&self, key: Key) -> Option<usize> {
        let is_it = |position: &u32| self.entry(*position).is_some_and(|entry| entry.key == key);
        usize::try_from(*self.positions.find(key[1], is_it)?).ok()
    }

    fn entry(&self, position: u32) -> Option<&Entry> {
        self.entries.get(usize::try_from(position).ok()?)
    }

    fn used(&self, key: Key, ends_s: u64) -> u64 {
        let entry = self.find(key).and_then(|position| self.entries.get(position));
        entry.map_or(0, |entry| entry.used_in(ends_s))
    }

    /// Writes down what is used after a request, and what is told of it.
    fn count(&mut self, key: Key, ask: &mut Ask, now_s: i64, is_noted: bool) {
        // Another worker was the first to see the next window, and what is asked belongs to the last moment of this one.
        let is_late = u64::try_from(now_s).is_ok_and(|now_s| now_s + LATE_MAX_S >= ask.ends_s);
        self.change(key, is_noted, |entry| {
            if entry.ends_s() > ask.ends_s && is_late {
                return;
            }
            if entry.ends_s() != ask.ends_s {
                *entry = Entry::new(&Record { key, ends_s: ask.ends_s, told: 0, used: 0 });
            }
            entry.used = ask.used;
            let due = ask.due();
            ask.tells = due & !entry.state;
            entry.state |= due;
        });
    }

    fn own(&self, key: Key, ends_s: u64) -> Option<u64> {
        let entry = self.entries.get(self.find(own(key))?)?;
        (entry.ends_s() == ends_s).then_some(entry.used)
    }

    /// Adds to a count in a window, unless a later one has begun.
    fn add(&mut self, key: Key, ends_s: u64, by: u64, is_noted: bool) {
        if self.find(key).is_none() && !self.insert(key, 0) {
            return;
        }
        self.change(key, is_noted, |entry| {
            if entry.ends_s() < ends_s {
                *entry = Entry::new(&Record { key, ends_s, told: 0, used: 0 });
            }
            if entry.ends_s() == ends_s {
                entry.used = entry.used.saturating_add(by);
            }
        });
    }

    /// Changes an entry, and notes what it was.
    fn change(&mut self, key: Key, is_noted: bool, change: impl FnOnce(&mut Entry)) {
        let Some(position) = self.find(key) else { return };
        let Some(entry) = self.entries.get_mut(position) else { return };
        let before = *entry;
        change(entry);
        if (entry.used, entry.state) == (before.used, before.state) {
            return;
        }
        entry.state |= before.state & CHANGED;
        if is_noted && entry.state & CHANGED == 0 {
            entry.state |= CHANGED;
            let position = u32::try_from(position).unwrap_or(u32::MAX);
            let (ends_s, used) = (before.ends_s(), before.used);
            self.changes.push(Change { position, ends_s, used });
        }
    }

    /// The entry of a change, which is one no longer.
    fn settle(&mut self, change: &Change) -> Option<Entry> {
        let entry = self.entries.get_mut(usize::try_from(change.position).ok()?)?;
        entry.state &= !CHANGED;
        Some(*entry)
    }

    /// Sets a count.
    fn put(&mut self, record: &Record) {
        let is_there = self.find(record.key).is_some() || self.insert(record.key, 0);
        let position = self.find(record.key).filter(|_| is_there);
        if let Some(entry) = position.and_then(|position| self.entries.get_mut(position)) {
            *entry = Entry::new(record);
        }
    }

    /// Makes room for a count: in place of one whose window is over, in a new place, or in place of the one of those
    /// looked at of which the least was used. False if there is none.
    fn insert(&mut self, key: Key, now_s: u64) -> bool {
        let fresh = Entry { key, used: 0, state: 0 };
        let is_full = is_outside(key) && self.outside >= SHARD_OUTSIDE_MAX;
        let position = match self.reusable(key, is_full, now_s) {
            Some(position) => {
                let Some(entry) = self.entries.get_mut(position) else { return false };
                let old = std::mem::replace(entry, fresh);
                let is_it = |own: &u32| usize::try_from(*own) == Ok(position);
                if let Ok(found) = self.positions.find_entry(old.key[1], is_it) {
                    found.remove();
                }
                self.outside -= usize::from(is_outside(old.key));
                position
            }
            None if is_full || self.entries.len() >= SHARD_COUNTS_MAX => return false,
            None => {
                self.entries.push(fresh);
                self.entries.len() - 1
            }
        };
        self.outside += usize::from(is_outside(key));
        let Ok(position) = u32::try_from(position) else { return false };
        let entries = &self.entries;
        let hash_of = |position: &u32| {
            let entry = usize::try_from(*position).ok().and_then(|position| entries.get(position));
            entry.map_or(0, |entry| entry.key[1])
        };
        self.positions.insert_unique(key[1], position, hash_of);
        true
    }

    /// An entry that another key can have: where its own kind has all that it may, one of them.
    fn reusable(&mut self, key: Key, is_full: bool, now_s: u64) -> Option<usize> {
        let count = self.entries.len();
        let mut least: Option<(bool, u64, usize)> = None;
        let looked_at = if is_full { SWEEP_OUTSIDE } else { SWEEP };
        for _ in 0..looked_at.min(count) {
            self.hand = (self.hand + 1) % count;
            let entry = self.entries.get(self.hand)?;
            let is_inside = !is_outside(entry.key);
            // Its change must be told first.
            if entry.state & CHANGED != 0 || is_full && is_inside {
                continue;
            }
            if entry.is_over(now_s) {
                return Some(self.hand);
            }
            // Outsiders make room for consumers, and never the other way round.
            if is_inside && is_outside(key) {
                continue;
            }
            least = least.into_iter().chain([(is_inside, entry.used, self.hand)]).min();
        }
        let must = is_full || count >= SHARD_COUNTS_MAX;
        least.filter(|_| must).map(|(.., position)| position)
    }
}

fn secret() -> [u8; SECRET_BYTES] {
    let random = RandomState::new();
    let halves = [random.hash_one(0), random.hash_one(1)].map(u128::from);
    (halves[0] << 64 | halves[1]).to_be_bytes()
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ledger")
    }
}

#[cfg(test)]
mod tests {
    use super::{Key, OUTSIDE, OUTSIDE_BITS, Record, SHARD_COUNTS_MAX, SHARD_OUTSIDE_MAX, Shard};

    const END_S: u64 = 2_000_000_000;

    fn outsider(name: usize) -> Key {
        let name = name as u64;
        [OUTSIDE << OUTSIDE_BITS | name, name.wrapping_mul(0x9e37_79b9_7f4a_7c15)]
    }

    fn consumer(name: usize) -> Key {
        [name as u64, (name as u64).wrapping_mul(0xff51_afd7_ed55_8ccd)]
    }

    fn count(shard: &mut Shard, key: Key) {
        shard.put(&Record { key, ends_s: END_S, told: 0, used: 1 });
    }

    #[test]
    fn holders_whom_outsiders_make_up_take_no_room_from_consumers() {
        let mut shard = Shard::default();
        (0..100).for_each(|name| count(&mut shard, consumer(name)));
        (0..SHARD_COUNTS_MAX).for_each(|name| count(&mut shard, outsider(name)));
        assert_eq!(
            (shard.outside, shard.entries.len()),
            (SHARD_OUTSIDE_MAX, SHARD_OUTSIDE_MAX + 100)
        );
        let has = |shard: &Shard, key| shard.used(key, END_S) == 1;
        assert!((0..100).all(|name| has(&shard, consumer(name))));
        assert!(has(&shard, outsider(SHARD_COUNTS_MAX - 1)), "the newest has the place of another");
        // Consumers may have all, also the places of outsiders.
        (0..SHARD_COUNTS_MAX - 1_000).for_each(|name| count(&mut shard, consumer(name)));
        assert_eq!(shard.entries.len(), SHARD_COUNTS_MAX);
        let outsiders = shard.entries.iter().filter(|entry| super::is_outside(entry.key)).count();
        assert_eq!(shard.outside, outsiders);
        assert!(outsiders <= SHARD_OUTSIDE_MAX);
        // And keep them, however many outsiders come.
        let before: Vec<Key> = shard.entries.iter().map(|entry| entry.key).collect();
        let before = before.into_iter().filter(|key| !super::is_outside(*key)).count();
        (0..SHARD_COUNTS_MAX).for_each(|name| count(&mut shard, outsider(name + SHARD_COUNTS_MAX)));
        let after = shard.entries.iter().filter(|entry| !super::is_outside(entry.key)).count();
        assert_eq!(before, after);
    }
}
