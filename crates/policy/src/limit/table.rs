use super::Verdict;
use super::rule::Rule;
use super::shared::Shared;
use base::Clock;
use base::caps::LIMITER_KEYS_MAX;
use hashbrown::HashTable;
use siphasher::sip128::{Hasher128 as _, SipHasher13};
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Instant, SystemTime};
use traffic::state::Portable;

/// So many that two workers seldom want the same one.
const SHARDS: usize = 64;
/// Keys of one shard.
const SHARD_KEYS_MAX: usize = LIMITER_KEYS_MAX / SHARDS;
/// Entries looked at for one to reuse when a key is new: bounds the work of one request.
const SWEEP: usize = 8;
/// Bytes of the secret with which keys are hashed.
const SECRET_BYTES: usize = 16;
/// Words of an entry before those of its rules: the key.
const KEY_WORDS: usize = 2;

/// What limits are told apart by, hashed with a secret: outsiders cannot find two that meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key(pub(crate) [u64; KEY_WORDS]);

impl Key {
    /// Of two halves of a hash.
    pub(super) const fn new(halves: [u64; KEY_WORDS]) -> Self {
        Self(halves)
    }

    /// Which of so many parts it belongs to.
    pub(super) fn part(self, parts: usize) -> usize {
        usize::try_from(self.0[0] % parts as u64).unwrap_or(0)
    }
}

/// What was used of some limits, by key; shared by all workers.
pub(crate) struct Table {
    /// The moment from which time is counted.
    start: Instant,
    clock: Clock,
    /// The wall time of that moment, so that another process counts by nearly the same numbers.
    start_ns: u64,
    /// By what it is judged what is forgotten and what is handed over; those of the config that made it.
    rules: Arc<[Rule]>,
    secret: OnceLock<[u8; SECRET_BYTES]>,
    /// What all requests share.
    pub(super) shared: Shared,
    shards: Box<[Mutex<Shard>]>,
}

/// Entries of one length in a row: the key, then the words of each rule.
#[derive(Default)]
struct Shard {
    positions: HashTable<u32>,
    words: Vec<u64>,
    /// Where the search for an entry to reuse goes on.
    hand: usize,
}

impl Table {
    /// An empty one for so many rules of such kinds.
    pub(crate) fn new(clock: &Clock, rules: Arc<[Rule]>) -> Self {
        let since = clock.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            start: clock.now(),
            clock: clock.clone(),
            start_ns: u64::try_from(since.as_nanos()).unwrap_or(0),
            shared: Shared::new(rules.len()),
            rules,
            secret: OnceLock::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }

    /// The moment of now.
    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// A moment as rules count it.
    pub(crate) fn nanoseconds(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.start).as_nanos();
        self.start_ns.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }

    /// The key of what is told apart by `parts`.
    pub(crate) fn key(&self, parts: &impl Hash) -> Key {
        let mut hasher = SipHasher13::new_with_key(self.secret.get_or_init(secret));
        parts.hash(&mut hasher);
        let hash = hasher.finish128();
        Key([hash.h1, hash.h2])
    }

    /// Judges what costs so much by all rules, and counts it if it passes all. Whoever asks looks at the time just before.
    pub(crate) fn take(&self, key: Key, rules: &[Rule], cost: u64, now_ns: u64) -> Verdict {
        let mut shard = self.shard(key);
        if let Some(position) = shard.find(key, rules) {
            return judge(shard.entry(position, rules), rules, cost, now_ns);
        }
        let mut fresh = vec![0; words(rules)];
        let verdict = judge(&mut fresh, rules, cost, now_ns);
        // A key that used nothing need not be remembered.
        if ends_ns(&fresh, rules) > now_ns && cost > 0 {
            shard.insert(key, &fresh, rules, now_ns);
        }
        verdict
    }

    /// Judges what costs so much, and counts nothing.
    pub(crate) fn peek(&self, key: Key, rules: &[Rule], cost: u64, now_ns: u64) -> Verdict {
        let mut shard = self.shard(key);
        let position = shard.find(key, rules);
        let mut copy = position.map_or_else(
            || vec![0; words(rules)],
            |position| shard.entry(position, rules).to_vec(),
        );
        drop(shard);
        judge(&mut copy, rules, cost, now_ns)
    }

    /// What is left by each rule.
    pub(crate) fn peek_each(&self, key: Key, rules: &[Rule], now_ns: u64) -> Vec<Verdict> {
        let mut shard = self.shard(key);
        let position = shard.find(key, rules);
        let copy = position.map_or_else(
            || vec![0; words(rules)],
            |position| shard.entry(position, rules).to_vec(),
        );
        drop(shard);
        let mut rest = &*copy;
        let mut verdicts = Vec::new();
        for rule in rules {
            let (own, others) = rest.split_at(rule.words().min(rest.len()));
            verdicts.push(rule.judge(own, now_ns, 0).0);
            rest = others;
        }
        verdicts
    }

    /// Forgets what was counted.
    pub(crate) fn reset(&self, key: Key, rules: &[Rule]) {
        let mut shard = self.shard(key);
        if let Some(position) = shard.find(key, rules) {
            shard.entry(position, rules).fill(0);
        }
    }

    /// Counts what was used elsewhere at a moment, whether there is room for it or not, for a key of which nothing is
    /// remembered.
    pub(crate) fn seed(&self, key: Key, rules: &[Rule], used: &[u64], then_ns: u64) {
        let mut fresh = vec![0; words(rules)];
        let mut costs = rules.iter().zip(used).map(|(rule, used)| (*used).min(rule.cost_max()));
        each(&mut fresh, rules, |rule, own| rule.judge(own, then_ns, costs.next().unwrap_or(0)).1);
        let mut shard = self.shard(key);
        if shard.find(key, rules).is_none() {
            shard.insert(key, &fresh, rules, then_ns);
        }
    }

    /// Gives back what was counted.
    pub(crate) fn give_back(&self, key: Key, rules: &[Rule], cost: u64, now_ns: u64) {
        let mut shard = self.shard(key);
        if let Some(position) = shard.find(key, rules) {
            let words = shard.entry(position, rules);
            each(words, rules, |rule, own| rule.give_back(own, now_ns, cost));
        }
    }

    fn shard(&self, key: Key) -> MutexGuard<'_, Shard> {
        self.at(usize::try_from(key.0[0] % SHARDS as u64).unwrap_or(0))
    }

    fn at(&self, shard: usize) -> MutexGuard<'_, Shard> {
        self.shards[shard % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets all that was counted.
    pub(crate) fn reset_all(&self) {
        self.shared.reset();
        for at in 0..SHARDS {
            *self.at(at) = Shard::default();
        }
    }

    /// How many keys are remembered.
    pub(crate) fn len(&self) -> usize {
        (0..SHARDS).map(|at| self.at(at).positions.len()).sum()
    }

    /// At most so many keys of which something is used, and where the next ones begin; zero is the first place.
    pub(crate) fn page(
        &self,
        rules: &[Rule],
        from: u64,
        most: usize,
        now_ns: u64,
    ) -> (Vec<Key>, Option<u64>) {
        let stride = KEY_WORDS + words(rules);
        let mut keys = Vec::new();
        let (first, mut position) =
            (usize::try_from(from >> 32).unwrap_or(SHARDS), from & u64::from(u32::MAX));
        for at in first..SHARDS {
            let mut shard = self.at(at);
            while let Ok(here) = u32::try_from(position)
                && let Some(key) = shard.key(here, stride)
            {
                if keys.len() == most {
                    return (keys, Some((at as u64) << 32 | position));
                }
                if ends_ns(shard.entry(here, rules), rules) > now_ns {
                    keys.push(key);
                }
                position += 1;
            }
            position = 0;
        }
        (keys, None)
    }
}

/// Words of all rules.
fn words(rules: &[Rule]) -> usize {
    rules.iter().map(Rule::words).sum()
}

/// Judges by all rules, and writes down what is used if all let it pass.
fn judge(words: &mut [u64], rules: &[Rule], cost: u64, now_ns: u64) -> Verdict {
    let mut tightest: Option<Verdict> = None;
    let mut rest = &*words;
    for (index, rule) in rules.iter().enumerate() {
        let (own, others) = rest.split_at(rule.words().min(rest.len()));
        let verdict = rule.judge(own, now_ns, cost).0.of(index);
        tightest = Some(tightest.map_or(verdict, |tightest| tightest.tighter(verdict)));
        rest = others;
    }
    let verdict = tightest.unwrap_or(Verdict::UNLIMITED);
    match verdict.retry_after {
        None => each(words, rules, |rule, own| rule.judge(own, now_ns, cost).1),
        Some(_) => each(words, rules, |rule, own| rule.refuse(own, now_ns, cost)),
    }
    verdict
}

/// Changes the words of each rule.
fn each(words: &mut [u64], rules: &[Rule], mut change: impl FnMut(&Rule, &[u64]) -> [u64; 2]) {
    let mut rest = words;
    for rule in rules {
        let (own, others) = rest.split_at_mut(rule.words().min(rest.len()));
        let after = change(rule, own);
        own.iter_mut().zip(after).for_each(|(word, after)| *word = after);
        rest = others;
    }
}

fn ends_ns(words: &[u64], rules: &[Rule]) -> u64 {
    let mut rest = words;
    let mut ends_ns = 0;
    for rule in rules {
        let (own, others) = rest.split_at(rule.words().min(rest.len()));
        ends_ns = ends_ns.max(rule.ends_ns(own));
        rest = others;
    }
    ends_ns
}

impl Shard {
    fn find(&self, key: Key, rules: &[Rule]) -> Option<u32> {
        let stride = KEY_WORDS + words(rules);
        let is_it = |position: &u32| self.key(*position, stride) == Some(key);
        self.positions.find(key.0[1], is_it).copied()
    }

    fn key(&self, position: u32, stride: usize) -> Option<Key> {
        let start = usize::try_from(position).ok()?.checked_mul(stride)?;
        self.words.get(start..)?.first_chunk().copied().map(Key)
    }

    /// The words of the rules of an entry.
    fn entry(&mut self, position: u32, rules: &[Rule]) -> &mut [u64] {
        let stride = KEY_WORDS + words(rules);
        let start = usize::try_from(position).unwrap_or(usize::MAX).saturating_mul(stride);
        let end = start.saturating_add(stride);
        self.words.get_mut(start.saturating_add(KEY_WORDS)..end).unwrap_or_default()
    }

    /// Remembers a key in place of one that has nothing to remember, in a new place, or in place of the one of those
    /// looked at of which the least is remembered, which then has all it may again.
    fn insert(&mut self, key: Key, used: &[u64], rules: &[Rule], now_ns: u64) {
        let stride = KEY_WORDS + words(rules);
        let position = match self.reusable(rules, now_ns) {
            Some(position) => {
                if let Some(old) = self.key(position, stride)
                    && let Ok(entry) = self.positions.find_entry(old.0[1], |own| *own == position)
                {
                    entry.remove();
                }
                position
            }
            None => {
                let Ok(position) = u32::try_from(self.words.len() / stride) else { return };
                self.words.resize(self.words.len() + stride, 0);
                position
            }
        };
        let start = usize::try_from(position).unwrap_or(0) * stride;
        let values = key.0.iter().chain(used);
        self.words.iter_mut().skip(start).zip(values).for_each(|(word, value)| *word = *value);
        let words = &self.words;
        let hash_of = |position: &u32| {
            let start = usize::try_from(*position).unwrap_or(0) * stride;
            words.get(start + 1).copied().unwrap_or(0)
        };
        self.positions.insert_unique(key.0[1], position, hash_of);
    }

    fn reusable(&mut self, rules: &[Rule], now_ns: u64) -> Option<u32> {
        let stride = KEY_WORDS + words(rules);
        let count = self.words.len() / stride;
        let mut stalest: Option<(u64, u32)> = None;
        for _ in 0..SWEEP.min(count) {
            self.hand = (self.hand + 1) % count;
            let position = u32::try_from(self.hand).ok()?;
            let ends_ns = ends_ns(self.entry(position, rules), rules);
            if ends_ns <= now_ns {
                return Some(position);
            }
            stalest = stalest.into_iter().chain([(ends_ns, position)]).min();
        }
        stalest.filter(|_| count >= SHARD_KEYS_MAX).map(|(_, position)| position)
    }
}

fn secret() -> [u8; SECRET_BYTES] {
    let random = RandomState::new();
    let halves = [random.hash_one(0), random.hash_one(1)].map(u128::from);
    (halves[0] << 64 | halves[1]).to_be_bytes()
}

/// The secret, the time, what all share, then the entries in use, a key and the words of its rules each.
impl Portable for Table {
    fn export(&self) -> Vec<u8> {
        let mut bytes = self.secret.get_or_init(secret).to_vec();
        bytes.extend(self.nanoseconds(self.clock.now()).to_be_bytes());
        bytes.extend(self.shared.words().flat_map(u64::to_be_bytes));
        let stride = KEY_WORDS + words(&self.rules);
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let used = |entry: &&[u64]| entry.iter().skip(KEY_WORDS).any(|word| *word > 0);
            let entries = shard.words.chunks_exact(stride).filter(used);
            bytes.extend(entries.flatten().flat_map(|word| word.to_be_bytes()));
        }
        bytes
    }

    fn import(&self, bytes: &[u8]) {
        let Some((secret, rest)) = bytes.split_first_chunk() else { return };
        let Some((from, rest)) = rest.split_first_chunk() else { return };
        let stride = KEY_WORDS + words(&self.rules);
        let (numbers, []) = rest.as_chunks() else { return };
        // Once a key was hashed here, those from elsewhere mean nothing.
        let Some((shared, numbers)) = numbers.split_at_checked(self.rules.len()) else { return };
        if numbers.len() % stride != 0 || self.secret.set(*secret).is_err() {
            return;
        }
        let from_ns = u64::from_be_bytes(*from);
        let to_ns = self.nanoseconds(self.clock.now());
        let shared = shared.iter().map(|bytes| u64::from_be_bytes(*bytes));
        let moved = self.rules.iter().zip(shared);
        self.shared.import(moved.map(|(rule, word)| rule.moved(&[word], from_ns, to_ns)[0]));
        let mut numbers: Vec<u64> =
            numbers.iter().map(|bytes| u64::from_be_bytes(*bytes)).collect();
        for entry in numbers.chunks_exact_mut(stride) {
            let Some((key, used)) = entry.split_first_chunk_mut() else { return };
            let key = Key(*key);
            each(used, &self.rules, |rule, own| rule.moved(own, from_ns, to_ns));
            let mut shard = self.shard(key);
            if shard.find(key, &self.rules).is_none() {
                shard.insert(key, used, &self.rules, 0);
            }
        }
    }
}
