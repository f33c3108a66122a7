//! A part of the ledger: the counts of some of the holders.

use super::ask::{Ask, Key, is_outside};
use super::ledger::SHARDS;
use base::caps::{CLOCK_BACK_MAX_S, QUOTA_COUNTS_MAX};
use hashbrown::HashTable;

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
/// Bits of a state beside the end of its window.
const STATE_BITS: u32 = 8;
/// It was told that eight tenths are used.
pub(super) const TOLD_80: u64 = 1;
/// It was told that all is used.
pub(super) const TOLD_100: u64 = 2;
/// It stands in the list of what has changed.
const CHANGED: u64 = 4;
pub(super) const TOLD: u64 = TOLD_80 | TOLD_100;
/// Tells what this gateway has counted from what all that share the count have.
const OWN: u64 = 0x9E37_79B9_7F4A_7C15;

pub(super) const fn own(key: Key) -> Key {
    [key[0], key[1] ^ OWN]
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
    pub(super) state: u64,
}

impl Entry {
    pub(super) const fn new(record: &Record) -> Self {
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

    pub(super) const fn is_over(&self, now_s: u64) -> bool {
        self.ends_s().saturating_add(CLOCK_BACK_MAX_S.unsigned_abs()) <= now_s
    }
}

/// An entry that has changed, and what it was before.
pub(super) struct Change {
    position: u32,
    pub(super) ends_s: u64,
    pub(super) used: u64,
}

#[derive(Default)]
pub(super) struct Shard {
    positions: HashTable<u32>,
    pub(super) entries: Vec<Entry>,
    pub(super) changes: Vec<Change>,
    /// How many entries are of holders whom outsiders choose.
    outside: usize,
    /// Where the search for an entry to reuse goes on.
    hand: usize,
}

impl Shard {
    pub(super) fn find(&self, key: Key) -> Option<usize> {
        let is_it = |position: &u32| self.entry(*position).is_some_and(|entry| entry.key == key);
        usize::try_from(*self.positions.find(key[1], is_it)?).ok()
    }

    fn entry(&self, position: u32) -> Option<&Entry> {
        self.entries.get(usize::try_from(position).ok()?)
    }

    pub(super) fn used(&self, key: Key, ends_s: u64) -> u64 {
        let entry = self.find(key).and_then(|position| self.entries.get(position));
        entry.map_or(0, |entry| entry.used_in(ends_s))
    }

    /// Writes down what is used after a request, and what is told of it.
    pub(super) fn count(&mut self, key: Key, ask: &mut Ask, now_s: i64, is_noted: bool) {
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

    pub(super) fn own(&self, key: Key, ends_s: u64) -> Option<u64> {
        let entry = self.entries.get(self.find(own(key))?)?;
        (entry.ends_s() == ends_s).then_some(entry.used)
    }

    /// Adds to a count in a window, unless a later one has begun.
    pub(super) fn add(&mut self, key: Key, ends_s: u64, by: u64, is_noted: bool) {
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
    pub(super) fn change(&mut self, key: Key, is_noted: bool, change: impl FnOnce(&mut Entry)) {
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
    pub(super) fn settle(&mut self, change: &Change) -> Option<Entry> {
        let entry = self.entries.get_mut(usize::try_from(change.position).ok()?)?;
        entry.state &= !CHANGED;
        Some(*entry)
    }

    /// Sets a count.
    pub(super) fn put(&mut self, record: &Record) {
        let is_there = self.find(record.key).is_some() || self.insert(record.key, 0);
        let position = self.find(record.key).filter(|_| is_there);
        if let Some(entry) = position.and_then(|position| self.entries.get_mut(position)) {
            *entry = Entry::new(record);
        }
    }

    /// Makes room for a count: in place of one whose window is over, in a new place, or in place of the one of those
    /// looked at of which the least was used. False if there is none.
    pub(super) fn insert(&mut self, key: Key, now_s: u64) -> bool {
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

#[cfg(test)]
mod tests {
    use super::super::ask::{Key, OUTSIDE, OUTSIDE_BITS};
    use super::{Record, SHARD_COUNTS_MAX, SHARD_OUTSIDE_MAX, Shard};

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
