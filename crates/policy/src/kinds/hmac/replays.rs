//! Signatures that were believed, so that none is believed twice. It is known from when on all of them are
//! remembered: one made before that could have been used, so nobody can tell.

use super::message::Signed;
use crate::replay::{self, Refused, Shown};
use base::Clock;
use base::clock::unix_ms;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use traffic::id::RequestId;
use traffic::state::Portable;

/// Whether a signature was believed before.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It was not; from now on it is remembered.
    Never,
    /// It was.
    Before,
    /// Nobody can tell.
    Unknown(&'static str),
}

/// The signatures that were believed of late.
pub(super) struct Replays {
    clock: Clock,
    /// How long after it was made nobody believes a signature any more.
    life: Duration,
    /// From when on all are remembered, in seconds since 1970.
    since_s: AtomicU64,
    shown: replay::Replays,
}

impl Replays {
    pub(super) fn new(clock: Clock, life: Duration) -> Self {
        let since_s = AtomicU64::new(unix_ms(clock.wall()) / 1_000);
        Self { since_s, clock, life, shown: replay::Replays::new() }
    }

    /// Remembers a signature of a request that is right, unless it is remembered already.
    pub(super) fn put(&self, signed: &Signed, by: RequestId) -> Seen {
        if signed.created_s < self.since_s.load(Ordering::Relaxed) {
            return Seen::Unknown("the signature is older than what is remembered of used ones");
        }
        let made = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(signed.created_s));
        let Some(until) = made.and_then(|made| made.checked_add(self.life)) else {
            return Seen::Unknown("the signature cannot be remembered");
        };
        let shown = Shown { holder: &signed.key_id, id: &signed.mac, until };
        match self.shown.note(&shown, self.clock.wall(), by) {
            Ok(()) => Seen::Never,
            Err(Refused::Again) => Seen::Before,
            Err(Refused::Full) => {
                Seen::Unknown("too many signatures of this key were used of late to remember more")
            }
        }
    }
}

impl Portable for Replays {
    fn export(&self) -> Vec<u8> {
        let mut bytes = self.since_s.load(Ordering::Relaxed).to_be_bytes().to_vec();
        bytes.extend(self.shown.export());
        bytes
    }

    fn import(&self, bytes: &[u8]) {
        let Some((since_s, shown)) = bytes.split_first_chunk::<8>() else { return };
        if self.shown.take_over(shown) {
            self.since_s.fetch_min(u64::from_be_bytes(*since_s), Ordering::Relaxed);
        }
    }
}
