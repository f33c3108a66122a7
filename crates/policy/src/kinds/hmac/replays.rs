//! Signatures that were believed, so that none is believed twice. It is known from when on all of them are
//! remembered: one made before that could have been used, so nobody can tell.
//!
//! There is one store for the gateway, whatever windows its policies have: what one of them believed is used up for all.

use super::message::Signed;
use crate::replay::{self, Refused, Shown};
use base::Clock;
use base::caps::SIGNATURE_SKEW_S;
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
    shown: replay::Replays,
}

impl Replays {
    /// A store that begins now.
    pub(super) fn new(clock: Clock) -> Self {
        let ahead = Duration::from_secs(SIGNATURE_SKEW_S);
        let shown = replay::Replays::of_made_ahead(clock.clone(), ahead);
        Self { clock, shown }
    }

    /// Says how long after it was made a policy believes a signature.
    pub(super) fn remember_for(&self, window: Duration) {
        // The second in which it is believed last.
        self.shown.remember_for(window.saturating_add(Duration::from_secs(1)));
    }

    /// Remembers a signature of a request that is right, unless it is remembered already.
    pub(super) fn put(&self, signed: &Signed, by: RequestId) -> Seen {
        let made = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(signed.created_s));
        let Some(made) = made else { return Seen::Unknown("the signature cannot be remembered") };
        let shown = Shown { holder: &signed.key_id, id: &signed.mac, made };
        match self.shown.note(&shown, self.clock.wall(), by) {
            Ok(()) => Seen::Never,
            Err(Refused::Again) => Seen::Before,
            Err(Refused::Full) => {
                Seen::Unknown("too many signatures of this key were used of late to remember more")
            }
            Err(Refused::HandedOver) => {
                Seen::Unknown("another process takes over, which would not know of it")
            }
            Err(Refused::Early) => {
                Seen::Unknown("the signature is older than what is remembered of used ones")
            }
        }
    }
}

impl Portable for Replays {
    fn export(&self) -> Vec<u8> {
        self.shown.export()
    }

    fn import(&self, bytes: &[u8]) {
        self.shown.import(bytes);
    }

    fn handed_over(&self, is_so: bool) {
        self.shown.handed_over(is_so);
    }
}
