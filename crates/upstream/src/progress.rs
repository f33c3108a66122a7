//! How far an attempt has come: for whom it waits decides who is to blame when its time is up.

use base::Clock;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use traffic::upstream::Pass;

/// How far one attempt has come, if anybody wants to know: nothing is noted otherwise.
pub(crate) struct Progress<'a>(Option<Watched<'a>>);

struct Watched<'a> {
    clock: &'a Clock,
    pass: Option<Arc<dyn Pass>>,
    waits: Mutex<Waits>,
}

/// For whom an attempt waits, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    /// For the client, or for others who use the target: nothing of that is the target's doing.
    Others,
    /// For a connection to be established.
    Connection(Instant),
    /// For the answer to a request that was sent whole.
    Answer(Instant),
}

impl<'a> Progress<'a> {
    /// Of an attempt whose time nobody asks for.
    pub(crate) const fn unwatched() -> Self {
        Self(None)
    }

    /// Of an attempt by this leave.
    pub(crate) const fn watched(clock: &'a Clock, pass: Option<Arc<dyn Pass>>) -> Self {
        Self(Some(Watched { clock, pass, waits: Mutex::new(Waits::Others) }))
    }

    /// A connection is being opened.
    pub(crate) fn connecting(&self) {
        if let Some(watched) = &self.0 {
            watched.set(Waits::Connection(watched.clock.now()));
        }
    }

    /// There is a connection: what follows is sending, for which the client may be waited for.
    pub(crate) fn connected(&self) {
        if let Some(watched) = &self.0 {
            watched.set(Waits::Others);
        }
    }

    /// The request was sent whole.
    pub(crate) fn sent(&self) {
        if let Some(watched) = &self.0 {
            watched.set(Waits::Answer(watched.clock.now()));
            if let Some(pass) = &watched.pass {
                pass.sent();
            }
        }
    }

    /// For whom it waits, or did when it ended.
    pub(crate) fn waits(&self) -> Waits {
        self.0.as_ref().map_or(Waits::Others, |watched| {
            *watched.waits.lock().unwrap_or_else(PoisonError::into_inner)
        })
    }

    /// The target failed it, or let the whole time of the request run out.
    pub(crate) fn failed(&self) {
        if let Some(pass) = self.0.as_ref().and_then(|watched| watched.pass.as_ref()) {
            pass.failed();
        }
    }
}

impl Watched<'_> {
    fn set(&self, waits: Waits) {
        *self.waits.lock().unwrap_or_else(PoisonError::into_inner) = waits;
    }
}

impl Waits {
    /// How long the target has been waited for, if it is.
    pub(crate) fn target_for(self, now: Instant) -> Option<Duration> {
        match self {
            Self::Others => None,
            Self::Connection(since) | Self::Answer(since) => {
                Some(now.saturating_duration_since(since))
            }
        }
    }
}
