//! Signatures that were believed, so that none is believed twice. It is known from when on all of them are
//! remembered: one made before that could have been used, so nobody can tell.

use super::message::Signed;
use aws_lc_rs::digest::{SHA256, digest};
use base::Clock;
use base::caps::SIGNATURES_REMEMBERED;
use base::clock::unix_ms;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use traffic::state::Portable;

const SHARDS: usize = 64;
/// Bytes of a digest by which a signature is remembered: nobody finds two that agree in them.
const PRINT_BYTES: usize = 16;

type Print = [u8; PRINT_BYTES];

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
    /// How long each is remembered at least.
    life: Duration,
    /// From when on all are remembered, in seconds since 1970.
    since_s: AtomicU64,
    shards: Box<[Mutex<Shard>]>,
}

/// Two generations: the older one is forgotten as a whole when the younger one is as old as signatures may be.
struct Shard {
    young: HashSet<Print>,
    old: HashSet<Print>,
    since: Instant,
}

impl Replays {
    pub(super) fn new(clock: Clock, life: Duration) -> Self {
        let since = clock.now();
        let shard = || Shard { young: HashSet::new(), old: HashSet::new(), since };
        Self {
            since_s: AtomicU64::new(unix_ms(clock.wall()) / 1_000),
            shards: (0..SHARDS).map(|_| Mutex::new(shard())).collect(),
            clock,
            life,
        }
    }

    /// Remembers a signature that is right, unless it is remembered already.
    pub(super) fn put(&self, signed: &Signed, now: Instant) -> Seen {
        if signed.created_s < self.since_s.load(Ordering::Relaxed) {
            return Seen::Unknown("the signature is older than what is remembered of used ones");
        }
        self.add(print(signed), now)
    }

    fn add(&self, print: Print, now: Instant) -> Seen {
        let Some(shard) = self.shards.get(usize::from(print[0]) % SHARDS) else {
            return Seen::Unknown("there is no place to remember it");
        };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        shard.age(now, self.life);
        if shard.young.contains(&print) || shard.old.contains(&print) {
            return Seen::Before;
        }
        if shard.young.len() + shard.old.len() >= SIGNATURES_REMEMBERED / SHARDS {
            return Seen::Unknown("too many signatures were used of late to remember one more");
        }
        shard.young.insert(print);
        Seen::Never
    }
}

impl Shard {
    fn age(&mut self, now: Instant, life: Duration) {
        let age = now.saturating_duration_since(self.since);
        if age < life {
            return;
        }
        self.old = std::mem::take(&mut self.young);
        if age >= life * 2 {
            self.old = HashSet::new();
        }
        self.since = now;
    }
}

fn print(signed: &Signed) -> Print {
    let mut text = signed.key_id.clone().into_bytes();
    text.extend_from_slice(&signed.mac);
    let mut print = Print::default();
    for (to, from) in print.iter_mut().zip(digest(&SHA256, &text).as_ref()) {
        *to = *from;
    }
    print
}

impl Portable for Replays {
    fn export(&self) -> Vec<u8> {
        let mut bytes = self.since_s.load(Ordering::Relaxed).to_be_bytes().to_vec();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            bytes.extend(shard.young.iter().chain(&shard.old).flatten());
        }
        bytes
    }

    fn import(&self, bytes: &[u8]) {
        let Some((since_s, prints)) = bytes.split_first_chunk::<8>() else { return };
        let now = self.clock.now();
        let (prints, rest) = prints.as_chunks::<PRINT_BYTES>();
        let is_whole =
            prints.iter().all(|print| !matches!(self.add(*print, now), Seen::Unknown(_)));
        if rest.is_empty() && is_whole {
            self.since_s.fetch_min(u64::from_be_bytes(*since_s), Ordering::Relaxed);
        }
    }
}
