//! Those who wait for a place: the highest priority first, and among equals each consumer in turn. Consumers
//! share a fixed number of lists that a hash deals them out to: stochastic fairness queueing (McKenney, INFOCOM
//! 1990), where the hash changes from time to time, so that whoever shares a list with a greedy one does not for
//! long. Whoever enters, leaves or is called costs the same, however many wait.

use base::caps::{FAIR_LISTS, FAIR_SEED_S};
use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use tokio::sync::oneshot;
use traffic::plan::Priority;

/// Slots that are kept while nobody waits.
const SLOTS_KEPT: usize = 1_024;
const SEED_US: u64 = FAIR_SEED_S * 1_000_000;

/// Who asks for a place.
pub(crate) struct Arrival<'a> {
    pub(crate) priority: Priority,
    pub(crate) from: Asker<'a>,
    pub(crate) now_us: u64,
}

/// Among whom places are shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Asker<'a> {
    /// A consumer, by name.
    Consumer(&'a str),
    /// Somebody without a name.
    Address(IpAddr),
}

/// What somebody who waits is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Called {
    /// A place is yours.
    Place,
    /// The position is somebody else's.
    Displaced,
}

/// Who waits where: a slot, and a number that no other waiter has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    slot: usize,
    number: u64,
}

/// Who is in it has no place yet, who is not has one, or was displaced.
#[derive(Debug, Default)]
pub(super) struct Line {
    slots: Vec<Slot>,
    free: Vec<usize>,
    classes: [Class; Priority::ALL.len()],
    waiting: usize,
    number: u64,
    hash: RandomState,
    hash_since_us: u64,
    /// Since when somebody has been waiting.
    since_us: u64,
}

#[derive(Debug)]
struct Slot {
    number: u64,
    class: usize,
    list: usize,
    before: Option<usize>,
    behind: Option<usize>,
    waiter: Option<oneshot::Sender<Called>>,
}

/// Those of one priority.
#[derive(Debug, Default)]
struct Class {
    /// None before somebody has waited.
    lists: Vec<List>,
    /// Lists whose turn comes, each at most once.
    turns: VecDeque<usize>,
    waiting: usize,
}

/// Those of some consumers, in the order in which they came.
#[derive(Clone, Debug, Default)]
struct List {
    first: Option<usize>,
    last: Option<usize>,
    length: usize,
    has_turn: bool,
}

impl Line {
    /// How many wait.
    pub(super) const fn len(&self) -> usize {
        self.waiting
    }

    /// Since when somebody has been waiting; of use only while somebody does.
    pub(super) const fn since_us(&self) -> u64 {
        self.since_us
    }

    /// Adds somebody behind all others of the same consumer.
    pub(super) fn push(&mut self, who: &Arrival<'_>, waiter: oneshot::Sender<Called>) -> Position {
        if self.waiting == 0 {
            self.since_us = who.now_us;
        }
        let (class, list) = (who.priority.index(), self.list_of(who));
        let number = self.number;
        self.number += 1;
        self.waiting += 1;
        let slot = Slot { number, class, list, before: None, behind: None, waiter: Some(waiter) };
        let slot = match self.free.pop() {
            Some(free) => {
                if let Some(place) = self.slots.get_mut(free) {
                    *place = slot;
                }
                free
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        };
        self.link(slot, class, list);
        Position { slot, number }
    }

    fn link(&mut self, slot: usize, class: usize, list: usize) {
        let Some(class) = self.classes.get_mut(class) else { return };
        if class.lists.is_empty() {
            class.lists.resize(FAIR_LISTS, List::default());
        }
        let Some(entry) = class.lists.get_mut(list) else { return };
        let last = entry.last.replace(slot);
        entry.first.get_or_insert(slot);
        entry.length += 1;
        class.waiting += 1;
        if !std::mem::replace(&mut entry.has_turn, true) {
            class.turns.push_back(list);
        }
        if let Some(last) = last.and_then(|last| self.slots.get_mut(last)) {
            last.behind = Some(slot);
        }
        if let Some(slot) = self.slots.get_mut(slot) {
            slot.before = last;
        }
    }

    /// Takes out whoever is next.
    pub(super) fn pop(&mut self) -> Option<oneshot::Sender<Called>> {
        let slot = self.classes.iter_mut().rev().find_map(Class::turn)?;
        self.take(slot)
    }

    /// Takes out whoever is there, unless that one is out already.
    pub(super) fn remove(&mut self, position: Position) -> bool {
        let slot = self.slots.get(position.slot);
        let is_there =
            slot.is_some_and(|slot| slot.number == position.number && slot.waiter.is_some());
        is_there && self.take(position.slot).is_some()
    }

    /// Takes out somebody who has less of a right to wait than a newcomer: of the lowest priority, if that is a lower
    /// one, else of the consumer of whom most wait, if that is not the newcomer's. It is the last one of that consumer,
    /// whose turn is farthest.
    pub(super) fn displace(&mut self, by: &Arrival<'_>) -> Option<oneshot::Sender<Called>> {
        let (own_class, own_list) = (by.priority.index(), self.list_of(by));
        let lowest = self.classes.iter().position(|class| class.waiting > 0)?;
        if lowest > own_class {
            return None;
        }
        let class = self.classes.get(lowest)?;
        let longest = class.lists.iter().max_by_key(|list| list.length)?;
        let own = class.lists.get(own_list).map_or(0, |list| list.length);
        // With one more, it would have as many as the other one has now.
        if lowest == own_class && longest.length <= own + 1 {
            return None;
        }
        self.take(longest.last?)
    }

    /// The list of a consumer.
    fn list_of(&mut self, who: &Arrival<'_>) -> usize {
        if who.now_us.saturating_sub(self.hash_since_us) > SEED_US {
            self.hash = RandomState::new();
            self.hash_since_us = who.now_us;
        }
        let hash = self.hash.hash_one(who.from);
        usize::try_from(hash % FAIR_LISTS as u64).unwrap_or(0)
    }

    /// Takes a waiter out, wherever that one stands.
    fn take(&mut self, slot: usize) -> Option<oneshot::Sender<Called>> {
        let taken = self.slots.get_mut(slot)?;
        let waiter = taken.waiter.take()?;
        let (before, behind) = (taken.before.take(), taken.behind.take());
        let class = self.classes.get_mut(taken.class)?;
        let list = class.lists.get_mut(taken.list)?;
        list.length -= 1;
        class.waiting -= 1;
        match before {
            None => list.first = behind,
            Some(before) => self.slots.get_mut(before)?.behind = behind,
        }
        match behind {
            None => list.last = before,
            Some(behind) => self.slots.get_mut(behind)?.before = before,
        }
        self.waiting -= 1;
        if self.waiting > 0 {
            self.free.push(slot);
        } else {
            self.clear();
        }
        Some(waiter)
    }

    /// Nobody waits: what a rush has taken is given back.
    fn clear(&mut self) {
        self.slots.clear();
        self.free.clear();
        self.slots.shrink_to(SLOTS_KEPT);
        self.free.shrink_to(SLOTS_KEPT);
    }
}

impl Class {
    /// The first one of the list whose turn it is, which then goes behind the others.
    fn turn(&mut self) -> Option<usize> {
        while let Some(turn) = self.turns.pop_front() {
            let Some(list) = self.lists.get_mut(turn) else { continue };
            // Some may have left.
            list.has_turn = list.length > 1;
            if list.has_turn {
                self.turns.push_back(turn);
            }
            if list.first.is_some() {
                return list.first;
            }
        }
        None
    }
}
