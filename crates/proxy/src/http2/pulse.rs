//! The time limits of a connection. They are looked at every few seconds and not kept to the moment: that
//! costs one timer per connection, whatever happens on it.

use crate::http2::meter::{Breach, Seen};
use base::caps::{
    CONNECTION_AGE_MAX_S, HEAD_TIMEOUT_S, IDLE_TIMEOUT_S, PING_TIMEOUT_S, PULSE_S, WRITE_TIMEOUT_S,
};

/// What is to be done after a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    /// Nothing.
    Fine,
    /// Ask whether the client is still there.
    Ping,
    /// Take no new streams and end when those under way have.
    Leave,
    /// End at once.
    End(Breach),
}

/// For how many looks in a row each thing has been so.
#[derive(Debug)]
pub(super) struct Pulse {
    last: Seen,
    opened: u64,
    age: u64,
    age_max: u64,
    unsettled: u64,
    in_head: u64,
    blocked: u64,
    silent: u64,
    idle: u64,
    leaving: Option<Leaving>,
}

#[derive(Debug)]
struct Leaving {
    beats: u64,
    pongs: u64,
}

/// Looks within a time; one more makes sure that the time is over.
const fn beats(seconds: u64) -> u64 {
    seconds.div_ceil(PULSE_S)
}

impl Pulse {
    pub(super) fn new() -> Self {
        let tenth = CONNECTION_AGE_MAX_S / 10;
        let age_s = CONNECTION_AGE_MAX_S - tenth + base::random::fast_below(2 * tenth);
        Self::with_age(age_s)
    }

    fn with_age(age_s: u64) -> Self {
        Self {
            last: Seen::default(),
            opened: 0,
            age: 0,
            age_max: beats(age_s),
            unsettled: 0,
            in_head: 0,
            blocked: 0,
            silent: 0,
            idle: 0,
            leaving: None,
        }
    }

    /// The client was asked to leave.
    pub(super) fn leave(&mut self) {
        self.leaving.get_or_insert(Leaving { beats: 0, pongs: self.last.pongs });
    }

    /// Looks at a connection that has opened so many streams in all.
    pub(super) fn beat(&mut self, seen: Seen, opened: u64, has_streams: bool) -> Beat {
        let Seen { reads, frames, heads, is_in_head, pongs, written, is_blocked } = seen;
        let last = std::mem::replace(&mut self.last, seen);
        let is_idle = !has_streams && opened == self.opened;
        self.opened = opened;
        self.age += 1;
        count(&mut self.unsettled, frames == 0);
        count(&mut self.in_head, is_in_head && heads == last.heads);
        count(&mut self.blocked, is_blocked && written == last.written);
        count(&mut self.silent, reads == last.reads);
        count(&mut self.idle, is_idle);
        if self.unsettled > beats(HEAD_TIMEOUT_S) || self.in_head > beats(HEAD_TIMEOUT_S) {
            return Beat::End(Breach::SlowHead);
        }
        if self.blocked > beats(WRITE_TIMEOUT_S) {
            return Beat::End(Breach::SlowReader);
        }
        if self.silent > beats(IDLE_TIMEOUT_S) + beats(PING_TIMEOUT_S) {
            return Beat::End(Breach::Silent);
        }
        if let Some(leaving) = &mut self.leaving {
            leaving.beats += 1;
            // The PING that goes with the first GOAWAY was not answered.
            let is_late = leaving.beats > beats(PING_TIMEOUT_S) && pongs == leaving.pongs;
            return if is_late { Beat::End(Breach::Silent) } else { self.ask(has_streams) };
        }
        if self.idle > beats(IDLE_TIMEOUT_S) || self.age > self.age_max {
            return Beat::Leave;
        }
        self.ask(has_streams)
    }

    /// A client that says nothing while streams are open is asked whether it is there.
    const fn ask(&self, has_streams: bool) -> Beat {
        let is_due = has_streams && self.silent == beats(IDLE_TIMEOUT_S);
        if is_due { Beat::Ping } else { Beat::Fine }
    }
}

fn count(beats: &mut u64, still: bool) {
    *beats = if still { *beats + 1 } else { 0 };
}
