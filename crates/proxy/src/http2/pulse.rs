//! The time limits of a connection. They are looked at every few seconds and not kept to the moment: that
//! costs one timer per connection, whatever happens on it.

use crate::http2::meter::{Breach, Seen};
use base::caps::{HEAD_TIMEOUT_S, IDLE_TIMEOUT_S, PING_TIMEOUT_S, PULSE_S, WRITE_TIMEOUT_S};

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

/// For how many times between two looks each thing has been so throughout.
#[derive(Debug)]
pub(super) struct Pulse {
    last: Look,
    age: u64,
    age_max: u64,
    unsettled: u64,
    in_head: u64,
    blocked: u64,
    silent: u64,
    idle: u64,
    leaving: Option<Leaving>,
}

/// What is seen at one look.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Look {
    pub(super) seen: Seen,
    /// Streams that were opened, in all.
    pub(super) opened: u64,
    /// Streams are open now.
    pub(super) has_streams: bool,
}

#[derive(Debug)]
struct Leaving {
    beats: u64,
    pongs: u64,
}

/// How often a time goes into looks.
const fn beats(seconds: u64) -> u64 {
    seconds.div_ceil(PULSE_S)
}

impl Pulse {
    /// Of a connection that is asked to leave after `age_s` seconds.
    pub(super) fn new(age_s: u64) -> Self {
        Self {
            last: Look::default(),
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
        self.leaving.get_or_insert(Leaving { beats: 0, pongs: self.last.seen.pongs });
    }

    /// Takes a look.
    pub(super) fn beat(&mut self, look: Look) -> Beat {
        let last = std::mem::replace(&mut self.last, look);
        self.count(last, look);
        if self.unsettled >= beats(HEAD_TIMEOUT_S) || self.in_head >= beats(HEAD_TIMEOUT_S) {
            return Beat::End(Breach::SlowHead);
        }
        if self.blocked >= beats(WRITE_TIMEOUT_S) {
            return Beat::End(Breach::SlowReader);
        }
        if self.silent >= beats(IDLE_TIMEOUT_S) + beats(PING_TIMEOUT_S) {
            return Beat::End(Breach::Silent);
        }
        if let Some(leaving) = &mut self.leaving {
            // The first look may come at any time after.
            leaving.beats += 1;
            let is_late = leaving.beats > beats(PING_TIMEOUT_S);
            if is_late && look.seen.pongs == leaving.pongs {
                return Beat::End(Breach::Silent);
            }
        } else if self.idle >= beats(IDLE_TIMEOUT_S) || self.age >= self.age_max {
            return Beat::Leave;
        }
        self.ask(look.has_streams)
    }

    fn count(&mut self, last: Look, look: Look) {
        let (then, now) = (last.seen, look.seen);
        let in_head = now.head.is_some() && then.head == now.head;
        let blocked = then.is_blocked && now.is_blocked && then.written == now.written;
        let idle = !last.has_streams && !look.has_streams && last.opened == look.opened;
        self.age += 1;
        count(&mut self.unsettled, now.frames == 0);
        count(&mut self.in_head, in_head);
        count(&mut self.blocked, blocked);
        count(&mut self.silent, then.reads == now.reads);
        count(&mut self.idle, idle);
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
