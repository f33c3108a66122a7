use super::ask::{Ask, Holder, Key};
use super::shard::{Entry, Record, Shard, TOLD, own};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use siphasher::sip128::{Hasher128 as _, SipHasher13};
use std::fmt;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use traffic::store::Total;

/// So many that two workers seldom want the same one.
pub(super) const SHARDS: usize = 64;
/// Bytes of the secret with which holders are hashed.
const SECRET_BYTES: usize = 16;

/// How much was used of quotas, by whom; shared by all workers, each of which waits at most for another one that
/// counts for one of the same sixty-fourth of holders.
pub struct Ledger {
    secret: OnceLock<[u8; SECRET_BYTES]>,
    shards: Box<[Mutex<Shard>]>,
    /// Whether somebody wants to know what changes.
    is_noted: AtomicBool,
    /// Whether another process goes on from here. Held while a journal is written.
    has_left: Mutex<bool>,
    forgotten: AtomicU64,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            secret: OnceLock::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            is_noted: AtomicBool::new(false),
            has_left: Mutex::new(false),
            forgotten: AtomicU64::new(0),
        }
    }
}

impl Ledger {
    /// Who is told apart by `parts` among all of one scope.
    pub(crate) fn holder(&self, scope: &str, parts: &impl Hash) -> Holder {
        let mut hasher = SipHasher13::new_with_key(&self.secret());
        scope.hash(&mut hasher);
        parts.hash(&mut hasher);
        let hash = hasher.finish128();
        Holder([hash.h1, hash.h2])
    }

    /// Counts what is asked, if every quota has room for it; else nothing, unless what is refused counts, too.
    pub(crate) fn take(
        &self,
        holder: Holder,
        asks: &mut [Ask],
        now_s: i64,
        counts_refused: bool,
    ) -> bool {
        let is_noted = self.is_noted.load(Ordering::Relaxed);
        let mut shard = self.shard(holder.0[0]);
        for ask in &mut *asks {
            ask.used = shard.used(holder.key(ask.calendar), ask.ends_s);
            ask.is_too_much = ask.cost > ask.remaining() && ask.cost > 0;
        }
        let fits = asks.iter().all(|ask| !ask.is_too_much);
        for ask in asks {
            let key = holder.key(ask.calendar);
            let cost = if fits || counts_refused { ask.cost } else { 0 };
            let is_kept = shard.find(key).is_some()
                || (cost > 0 && shard.insert(key, u64::try_from(now_s).unwrap_or(0)));
            if is_kept {
                ask.used = ask.used.saturating_add(cost);
                shard.count(key, ask, now_s, is_noted);
                if cost > 0 && ask.own > 0 {
                    shard.add(own(key), ask.ends_s, ask.own, is_noted);
                }
            } else if cost > 0 && self.forgotten.fetch_add(1, Ordering::Relaxed) == 0 {
                tracing::warn!(
                    "there is no room for all quotas' counts: what some use is not counted"
                );
            }
        }
        fits
    }

    /// Gives back what was counted, unless its window is over.
    pub(crate) fn give_back(&self, holder: Holder, asks: &[Ask]) {
        let is_noted = self.is_noted.load(Ordering::Relaxed);
        let mut shard = self.shard(holder.0[0]);
        for ask in asks.iter().filter(|ask| ask.cost > 0) {
            shard.change(holder.key(ask.calendar), is_noted, |entry| {
                if entry.ends_s() == ask.ends_s {
                    entry.used = entry.used.saturating_sub(ask.cost);
                }
            });
            if ask.own > 0 {
                shard.change(own(holder.key(ask.calendar)), is_noted, |entry| {
                    if entry.ends_s() == ask.ends_s {
                        entry.used = entry.used.saturating_sub(ask.own);
                    }
                });
            }
        }
    }

    /// How much was used.
    pub(crate) fn used(&self, holder: Holder, ask: &Ask) -> u64 {
        self.shard(holder.0[0]).used(holder.key(ask.calendar), ask.ends_s)
    }

    /// Forgets what was used.
    pub(crate) fn reset(&self, holder: Holder, ask: &Ask) {
        let is_noted = self.is_noted.load(Ordering::Relaxed);
        self.shard(holder.0[0]).change(holder.key(ask.calendar), is_noted, |entry| {
            entry.used = 0;
            entry.state &= !TOLD;
        });
    }

    /// How much this gateway has counted itself of what others share; none if it has nothing.
    pub(super) fn own(&self, key: Key, ends_s: u64) -> Option<u64> {
        self.shard(key[0]).own(key, ends_s)
    }

    /// Goes on from what all gateways have counted, with `forgotten` more that this one told before it was killed.
    pub(super) fn learn(&self, key: Key, ends_s: u64, total: &Total, forgotten: u64) {
        let is_noted = self.is_noted.load(Ordering::Relaxed);
        let mut shard = self.shard(key[0]);
        if forgotten > 0 {
            shard.add(own(key), ends_s, forgotten, is_noted);
        }
        // With what was counted since the store was asked.
        let own = shard.own(key, ends_s).unwrap_or(total.own);
        let used = total.total.saturating_add(own).saturating_sub(total.own);
        if shard.find(key).is_none() && (used == 0 || !shard.insert(key, 0)) {
            return;
        }
        shard.change(key, is_noted, |entry| {
            if entry.ends_s() < ends_s {
                *entry = Entry::new(&Record { key, ends_s, told: 0, used: 0 });
            }
            if entry.ends_s() == ends_s {
                entry.used = used;
            }
        });
    }

    /// What other gateways know this one by, also after a restart: as long as it has its journal.
    pub(super) fn gateway(&self) -> String {
        let hash = digest(&SHA256, &[&b"gateway"[..], &self.secret()].concat());
        URL_SAFE_NO_PAD.encode(hash.as_ref().get(..SECRET_BYTES).unwrap_or_default())
    }

    pub(super) fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        self.at(usize::try_from(hash % SHARDS as u64).unwrap_or(0))
    }

    fn at(&self, shard: usize) -> MutexGuard<'_, Shard> {
        self.shards[shard % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For whoever keeps a journal.
impl Ledger {
    /// The secret with which holders are hashed: what is kept by them means nothing without it.
    #[must_use]
    pub fn secret(&self) -> [u8; SECRET_BYTES] {
        *self.secret.get_or_init(secret)
    }

    /// Whether anything was counted, or told from elsewhere.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.secret.get().is_some()
    }

    /// Goes on from what was kept, with the secret by which it was kept. False if counting has begun with another one
    /// already: what was kept then means nothing.
    #[must_use]
    pub fn adopt(
        &self,
        secret: [u8; SECRET_BYTES],
        records: impl IntoIterator<Item = Record>,
    ) -> bool {
        if *self.secret.get_or_init(|| secret) != secret {
            return false;
        }
        for record in records {
            self.shard(record.key[0]).put(&record);
        }
        true
    }

    /// From now on what changes is noted for [`Ledger::changed`].
    pub fn note_changes(&self) {
        self.is_noted.store(true, Ordering::Relaxed);
    }

    /// Waits until nobody else writes, and keeps others from handing counts over meanwhile. None once another process
    /// goes on from here: the journal is its own then.
    pub fn writing(&self) -> Option<impl Sized + '_> {
        let has_left = self.has_left.lock().unwrap_or_else(PoisonError::into_inner);
        if *has_left { None } else { Some(has_left) }
    }

    /// No other process went on from here after all. What changed meanwhile was not noted: [`Ledger::all`] tells it.
    pub fn stay(&self) {
        *self.has_left.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }

    /// In how many parts [`Ledger::changed`] and [`Ledger::all`] are told.
    #[must_use]
    pub const fn parts(&self) -> usize {
        SHARDS
    }

    /// What has changed in one part since this was asked last.
    #[must_use]
    pub fn changed(&self, part: usize) -> Vec<Record> {
        let mut shard = self.at(part);
        let changes = std::mem::take(&mut shard.changes);
        let settled = changes.iter().filter_map(|change| shard.settle(change));
        settled.map(|entry| entry.record()).collect()
    }

    /// All counts of one part whose windows have not ended; nothing of it has changed then.
    #[must_use]
    pub fn all(&self, part: usize, now_s: u64) -> Vec<Record> {
        let mut shard = self.at(part);
        for change in std::mem::take(&mut shard.changes) {
            shard.settle(&change);
        }
        let entries = shard.entries.iter().filter(|entry| !entry.is_over(now_s));
        entries.map(Entry::record).collect()
    }

    /// How many counts there are.
    #[must_use]
    pub fn len(&self) -> usize {
        (0..SHARDS).map(|shard| self.at(shard).entries.len()).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// For another process.
impl Ledger {
    /// Lets another process go on from here: what is counted from now on is noted for it.
    pub(super) fn leave(&self) -> Vec<Record> {
        let mut has_left = self.has_left.lock().unwrap_or_else(PoisonError::into_inner);
        *has_left = true;
        self.note_changes();
        (0..SHARDS).flat_map(|shard| self.all(shard, 0)).collect()
    }

    /// What was counted since [`Ledger::leave`], or since this was asked last: counts, and by how much they grew.
    pub(super) fn grown(&self) -> Vec<(Record, i64)> {
        if !*self.has_left.lock().unwrap_or_else(PoisonError::into_inner) {
            return Vec::new();
        }
        let mut grown = Vec::new();
        for shard in 0..SHARDS {
            let mut shard = self.at(shard);
            for change in std::mem::take(&mut shard.changes) {
                let Some(entry) = shard.settle(&change) else { continue };
                let before = if entry.ends_s() == change.ends_s { change.used } else { 0 };
                let signed = |used| i64::try_from(used).unwrap_or(i64::MAX);
                grown.push((entry.record(), signed(entry.used) - signed(before)));
            }
        }
        grown
    }

    /// Adds what another process counted.
    pub(super) fn grow(&self, record: &Record, by: i64) {
        let is_noted = self.is_noted.load(Ordering::Relaxed);
        let mut shard = self.shard(record.key[0]);
        if shard.find(record.key).is_none() && !shard.insert(record.key, 0) {
            return;
        }
        shard.change(record.key, is_noted, |entry| {
            if entry.ends_s() < record.ends_s {
                *entry = Entry::new(&Record { used: 0, ..*record });
            }
            if entry.ends_s() == record.ends_s {
                entry.used = entry.used.saturating_add_signed(by);
                entry.state |= u64::from(record.told) & TOLD;
            }
        });
    }
}

fn secret() -> [u8; SECRET_BYTES] {
    let random = RandomState::new();
    let halves = [random.hash_one(0), random.hash_one(1)].map(u128::from);
    (halves[0] << 64 | halves[1]).to_be_bytes()
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ledger")
    }
}
