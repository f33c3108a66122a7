//! Quotas that gateways share. Each counts at once, on its own, and nobody waits; beside the traffic it tells the store
//! what it has counted, and hears what all have.
//!
//! It tells how much it has counted in a window all in all, never by how much more: an answer that is lost does no harm,
//! since what is told again counts once. What it has counted is kept in the ledger beside what all have, so that the
//! journal holds it, too, and a restart of this gateway or of the store loses nothing of it.

use super::ask::{Ask, Key};
use super::ledger::Ledger;
use crate::store::Store;
use base::Clock;
use base::caps::{LEASE_KEYS_MAX, STORE_BATCH_MAX};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use traffic::store::{LimitStore, Tally, Total};

#[cfg(test)]
mod tests;

const SHARDS: usize = 64;
/// Shares looked at for one to forget when there is no room for another.
const SWEEP: usize = 8;
/// How often the store is asked what others have used, after somebody has used a count here.
const ROUNDS: u8 = 10;
/// For how long after its end a window is told of.
const LATE_S: u64 = 60;

type Shard = HashMap<Key, Share, foldhash::fast::FixedState>;

/// What is known of one count.
struct Share {
    /// Its name in the store, without the window.
    name: Box<str>,
    ends_s: u64,
    /// What this process began with, until the store has said what it has of this gateway: that may be more, if the journal
    /// was cut off.
    began_with: Option<u64>,
    /// What the store has of this gateway; none if it may have lost that.
    told: Option<u64>,
    /// How often the store is asked yet, though nothing is to be told.
    rounds: u8,
    is_reset: bool,
}

/// The counts that this gateway shares with others through one store.
pub(crate) struct Pool {
    pub(crate) store: Arc<Store>,
    ledger: Arc<Ledger>,
    clock: Clock,
    shards: Box<[Mutex<Shard>]>,
    sequence: AtomicU64,
}

/// What came of a round of questions.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Round {
    pub(crate) asked: u64,
    pub(crate) failed: u64,
    /// Why, of one of those that failed.
    pub(crate) why: Option<String>,
}

impl Pool {
    pub(crate) fn new(store: &Arc<Store>, ledger: &Arc<Ledger>, clock: &Clock) -> Self {
        Self {
            store: Arc::clone(store),
            ledger: Arc::clone(ledger),
            clock: clock.clone(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            sequence: AtomicU64::new(base::clock::unix_ms(clock.wall())),
        }
    }

    /// Somebody uses a count in a window; the store is told of it, and asked, soon.
    pub(crate) fn touch(&self, key: Key, ends_s: u64, name: &dyn Fn() -> Box<str>) {
        let mut shard = self.shard(key);
        if let Some(share) = shard.get_mut(&key) {
            share.rounds = ROUNDS;
            if share.ends_s < ends_s {
                let name = std::mem::take(&mut share.name);
                *share = self.share(key, name, ends_s);
                self.store.hurry();
            }
        } else if self.make_room(&mut shard) {
            shard.insert(key, self.share(key, name(), ends_s));
            self.store.hurry();
        } else {
            self.store.crowded();
        }
    }

    /// Whether what is asked, and was counted, is for others to use: near the end each gateway has its share of what was left
    /// when the store told it last, until the store tells it anew.
    pub(crate) fn is_others(&self, key: Key, ask: &Ask) -> bool {
        let gateways = u64::from(self.store.gateways());
        if gateways == 1 || !ask.is_near() {
            return false;
        }
        let told = |share: &Share| share.told.filter(|_| share.ends_s == ask.ends_s);
        // Before anything was told, nothing is known of others.
        let Some(told) = self.shard(key).get(&key).and_then(told) else { return false };
        let own = self.ledger.own(key, ask.ends_s).unwrap_or(told);
        ask.outruns(own.saturating_sub(told), gateways)
    }

    /// All gateways forget what was used in the window of now.
    pub(crate) fn reset(&self, key: Key, ends_s: u64, name: &dyn Fn() -> Box<str>) {
        self.touch(key, ends_s, name);
        if let Some(share) = self.shard(key).get_mut(&key) {
            share.is_reset = true;
        }
    }

    /// The store may have lost what it was told: it is told all again.
    pub(crate) fn retell(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.values_mut().for_each(|share| share.told = None);
        }
    }

    /// Tells the store what it does not know yet, and asks for what was used since.
    pub(crate) async fn sync(&self, keeper: &dyn LimitStore) -> Round {
        let mut round = Round::default();
        // Another process goes on from here, and tells for both.
        if self.ledger.writing().is_none() {
            return round;
        }
        let gateway = self.ledger.gateway();
        // What is new is asked about first, and told then.
        for _ in 0..2 {
            let due: Vec<(Key, Tally)> = (0..SHARDS).flat_map(|shard| self.due(shard)).collect();
            let has_new = due.iter().any(|(_, tally)| tally.is_first);
            self.tell(&gateway, &due, keeper, &mut round).await;
            if !has_new || round.failed > 0 {
                break;
            }
        }
        round
    }

    async fn tell(
        &self,
        gateway: &str,
        due: &[(Key, Tally)],
        keeper: &dyn LimitStore,
        round: &mut Round,
    ) {
        for batch in due.chunks(STORE_BATCH_MAX) {
            let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
            let tallies = batch.iter().map(|(_, tally)| tally.clone()).collect();
            let mut told = keeper.tally(gateway, sequence, tallies).await.into_iter();
            for (key, tally) in batch {
                round.asked += 1;
                match told.next().unwrap_or_else(|| Err("an answer is missing".to_owned())) {
                    Ok(total) => self.learn(*key, tally, &total),
                    Err(why) => {
                        self.again(*key, tally);
                        round.failed += 1;
                        round.why = Some(why);
                    }
                }
            }
        }
    }

    /// What the store should be told of one shard.
    fn due(&self, shard: usize) -> Vec<(Key, Tally)> {
        let now_s = base::clock::unix_ms(self.clock.wall()) / 1_000;
        let mut due = Vec::new();
        let Some(shard) = self.shards.get(shard) else { return due };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        shard.retain(|_, share| share.ends_s.saturating_add(LATE_S) > now_s);
        for (key, share) in &mut *shard {
            let own = self.ledger.own(*key, share.ends_s).or(share.told).unwrap_or(0);
            if share.rounds == 0 && !share.is_reset && share.told == Some(own) {
                continue;
            }
            share.rounds = share.rounds.saturating_sub(1);
            let is_first = share.began_with.is_some() || share.told.is_none();
            let own = share.began_with.unwrap_or(own);
            let tally = Tally {
                name: format!("{}:{}", share.name, share.ends_s),
                ends_s: share.ends_s,
                own,
                is_first,
                is_reset: std::mem::take(&mut share.is_reset),
            };
            due.push((*key, tally));
        }
        due
    }

    fn learn(&self, key: Key, tally: &Tally, total: &Total) {
        self.sequence.fetch_max(total.sequence.saturating_add(1), Ordering::Relaxed);
        let has_begun = {
            let mut shard = self.shard(key);
            let Some(share) = shard.get_mut(&key).filter(|it| it.ends_s == tally.ends_s) else {
                return;
            };
            share.told = Some(total.own);
            // What comes of it all is told with the next answer.
            if share.is_reset {
                return;
            }
            share.began_with.take().is_some()
        };
        let forgotten = if has_begun { total.own.saturating_sub(tally.own) } else { 0 };
        self.ledger.learn(key, tally.ends_s, total, forgotten);
    }

    fn again(&self, key: Key, tally: &Tally) {
        if let Some(share) = self.shard(key).get_mut(&key).filter(|it| it.ends_s == tally.ends_s) {
            share.rounds = ROUNDS;
            share.is_reset |= tally.is_reset;
        }
    }

    fn make_room(&self, shard: &mut Shard) -> bool {
        if shard.len() < LEASE_KEYS_MAX / SHARDS {
            return true;
        }
        let is_told = |(key, share): &(&Key, &Share)| {
            let own = self.ledger.own(**key, share.ends_s);
            share.rounds == 0 && share.told.is_some() && (own.is_none() || own == share.told)
        };
        let old = shard.iter().take(SWEEP).find(is_told).map(|(key, _)| *key);
        old.is_some_and(|old| shard.remove(&old).is_some())
    }

    fn share(&self, key: Key, name: Box<str>, ends_s: u64) -> Share {
        let began_with = Some(self.ledger.own(key, ends_s).unwrap_or(0));
        Share { name, ends_s, began_with, told: None, rounds: ROUNDS, is_reset: false }
    }

    fn shard(&self, key: Key) -> MutexGuard<'_, Shard> {
        let at = usize::try_from(key[0] % SHARDS as u64).unwrap_or(0);
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
