//! The ordered policies of a route, sliced by phase when compiled.

use crate::exchange::Slot;
use crate::policy::{Phases, Policy};
use base::Place;
use std::fmt;
use std::sync::Arc;

/// A policy in a chain.
#[derive(Clone)]
pub struct Entry {
    /// What it does.
    pub policy: Arc<dyn Policy>,
    /// Its kind, such as `rate_limit`.
    pub kind: &'static str,
    /// Its id: owner, kind and own id.
    pub id: Arc<str>,
    /// Where it was written.
    pub place: Place,
    /// The phases it takes part in.
    pub phases: Phases,
    /// The key of its notes.
    pub slot: Slot,
    /// Whether it says who calls.
    pub identifies: bool,
}

/// The policies of a route in the order in which they run.
#[derive(Clone, Default)]
pub struct Chain {
    entries: Box<[Entry]>,
    request: Box<[usize]>,
    forward: Box<[usize]>,
    reply: Box<[usize]>,
    record: Box<[usize]>,
    /// Those that take credentials out of the request, if there are several.
    hiding: Box<[usize]>,
    /// Of those with a request hook, how many there are up to the last that says who calls.
    identified: usize,
}

impl Chain {
    /// A chain of these entries, which get their slots here.
    #[must_use]
    pub fn new(mut entries: Vec<Entry>) -> Self {
        for (position, entry) in entries.iter_mut().enumerate() {
            entry.slot = Slot(position);
        }
        let with = |has: fn(&Phases) -> bool| {
            let having = entries.iter().enumerate().filter(move |(_, entry)| has(&entry.phases));
            having.map(|(position, _)| position).collect::<Vec<_>>()
        };
        let mut reply = with(|phases| phases.reply);
        reply.reverse();
        let hides = entries.iter().enumerate().filter(|(_, entry)| entry.policy.hides());
        let mut hiding: Vec<_> = hides.map(|(position, _)| position).collect();
        if hiding.len() < 2 {
            hiding.clear();
        }
        let request = with(|phases| phases.request);
        let identifies = |position: &usize| entries[*position].identifies;
        Self {
            identified: request.iter().rposition(identifies).map_or(0, |last| last + 1),
            request: request.into(),
            forward: with(|phases| phases.forward).into(),
            reply: reply.into(),
            record: with(|phases| phases.record).into(),
            hiding: hiding.into(),
            entries: entries.into(),
        }
    }

    /// All entries, in chain order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Those with a request hook, in chain order.
    pub fn request(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.request.iter().map(|&position| &self.entries[position])
    }

    /// After how many of those it is known who calls, as far as it will be.
    #[must_use]
    pub const fn identified(&self) -> usize {
        self.identified
    }

    /// Whether several take credentials out of the request. None does before all have seen them.
    #[must_use]
    pub fn hides_late(&self) -> bool {
        !self.hiding.is_empty()
    }

    /// Those that take credentials out of the request once this one has let it pass: all, after the last of them.
    pub fn hiding_after(&self, entry: &Entry) -> impl Iterator<Item = &Entry> {
        let is_last = self.hiding.last().is_some_and(|&position| Slot(position) == entry.slot);
        let hiding = if is_last { &*self.hiding } else { &[] };
        hiding.iter().map(|&position| &self.entries[position])
    }

    /// Those with a hook before each attempt, in chain order.
    pub fn forward(&self) -> impl Iterator<Item = &Entry> {
        self.forward.iter().map(|&position| &self.entries[position])
    }

    /// Those with a reply hook, in reverse chain order: the policy that saw the request first has the
    /// last word on the answer.
    pub fn reply(&self) -> impl Iterator<Item = &Entry> {
        self.reply.iter().map(|&position| &self.entries[position])
    }

    /// Those with a record hook, in chain order.
    pub fn record(&self) -> impl Iterator<Item = &Entry> {
        self.record.iter().map(|&position| &self.entries[position])
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.id, self.place)
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.entries).finish()
    }
}
