//! Limits that gateways share: each holds small pieces of what the store gave, and spends them without asking.
//!
//! What all gateways hold together of one count is never more than a fiftieth of what it allows at once, so that no
//! more than that can pass too much. What is worth less than that is asked for request by request. A count that is
//! used up is remembered until there is something again: those who keep calling cost the store nothing. Start reading
//! at [`Leases::take`], then see `lease` for one count, and [`crate::store`] for who asks.

use super::lease::{Fallen, Lease, Taking, Told};
use super::{Key, Limiter, Rule, Verdict};
use crate::store::{OnFailure, Store};
use aws_lc_rs::digest::{SHA256, digest};
use base::Clock;
use base::caps::LEASE_KEYS_MAX;
use base::rates::Limit;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use siphasher::sip128::{Hasher128 as _, SipHasher13};
use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, Hasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use traffic::State;
use traffic::store::{Ask, Grant};

/// So many that two workers seldom want the same one.
const SHARDS: usize = 64;
/// Bytes of a hash in the name of a count: enough that nobody finds two that meet.
const NAME_BYTES: usize = 16;
/// Counts looked at for one to forget when there is no room for another.
const SWEEP: usize = 8;

#[cfg(test)]
mod tests;

type Shard = HashMap<Key, Lease, foldhash::fast::FixedState>;

/// What one set of limits allows, by key, as far as this gateway holds it.
pub(crate) struct Leases {
    /// The beginning of the names of its counts.
    id: String,
    rules: Arc<[Rule]>,
    pub(crate) store: Arc<Store>,
    clock: Clock,
    start: Instant,
    secret: [u8; 16],
    shards: Box<[Mutex<Shard>]>,
    /// Where it is counted while the store cannot be asked; none where that is done elsewhere.
    local: Option<Limiter>,
}

impl Leases {
    pub(crate) fn new(
        id: String,
        rules: Arc<[Rule]>,
        store: Arc<Store>,
        clock: &Clock,
        local: Option<Limiter>,
    ) -> Self {
        let random = RandomState::new();
        let halves = [random.hash_one(0), random.hash_one(1)].map(u128::from);
        Self {
            id,
            rules,
            store,
            clock: clock.clone(),
            start: clock.now(),
            secret: (halves[0] << 64 | halves[1]).to_be_bytes(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            local,
        }
    }

    /// How much may come at once.
    fn at_once(&self) -> u64 {
        self.rules.iter().map(Rule::cost_max).min().unwrap_or(0)
    }

    fn regain_ns(&self, cost: u64) -> u64 {
        self.rules.iter().map(|rule| rule.regain_ns(cost)).max().unwrap_or(0)
    }

    /// Which limit says most of what is left: of several the one of which the least is, or which takes longest to come back.
    fn tightest(&self, used: &[u64]) -> usize {
        let said = |(_, (rule, used)): &(usize, (&Rule, &u64))| {
            let left = rule.cost_max().saturating_sub(**used);
            (left, std::cmp::Reverse(rule.regain_ns(1)))
        };
        self.rules.iter().zip(used).enumerate().min_by_key(said).map_or(0, |(rule, _)| rule)
    }

    fn key(&self, who: &impl Hash) -> Key {
        let mut hasher = SipHasher13::new_with_key(&self.secret);
        who.hash(&mut hasher);
        let hash = hasher.finish128();
        Key::new([hash.h1, hash.h2])
    }

    fn ns(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.start).as_nanos();
        // Zero is before everything.
        u64::try_from(since).unwrap_or(u64::MAX).saturating_add(1)
    }

    fn now_ns(&self) -> u64 {
        self.ns(self.clock.now())
    }

    fn shard(&self, key: Key) -> MutexGuard<'_, Shard> {
        self.shards[key.part(SHARDS)].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what a request costs out of what is held; the key is for [`Leases::give_back`].
    fn take(self: &Arc<Self>, who: &impl Hash, cost: u64, at: Instant) -> (Key, Taking) {
        let key = self.key(who);
        let (now_ns, at_once) = (self.ns(at), self.at_once());
        if cost > at_once {
            return (key, Taking::Now(self.too_much(key, cost, now_ns)));
        }
        if self.store.is_down() {
            return (key, Taking::Down);
        }
        let mut shard = self.shard(key);
        if !shard.contains_key(&key) {
            if !make_room(&mut shard, now_ns) {
                return (key, Taking::Full);
            }
            shard.insert(key, Lease::new(name(who)));
        }
        let Some(lease) = shard.get_mut(&key) else { return (key, Taking::Full) };
        let taking = lease.take(cost, at_once, now_ns);
        if lease.is_due(now_ns) && !lease.is_apart(now_ns) {
            self.order(lease, key);
        }
        (key, taking)
    }

    /// Of what costs more than ever passes. The store need not be asked about that.
    fn too_much(&self, key: Key, cost: u64, now_ns: u64) -> Verdict {
        let wait = Some(Duration::from_nanos(self.regain_ns(cost)));
        match self.shard(key).get(&key) {
            Some(lease) => lease.verdict(now_ns, wait),
            None => Verdict {
                remaining: self.at_once(),
                reset_after: Duration::ZERO,
                retry_after: wait,
                rule: 0,
            },
        }
    }

    /// Remembers a key, if there is room.
    #[cfg(test)]
    fn touch(&self, who: &impl Hash) {
        let (key, now_ns) = (self.key(who), self.now_ns());
        let mut shard = self.shard(key);
        if make_room(&mut shard, now_ns) {
            let mut lease = Lease::new(name(who));
            lease.is_asked = true;
            shard.insert(key, lease);
        }
    }

    /// Asks the store about a key as soon as it can be asked.
    fn order(self: &Arc<Self>, lease: &mut Lease, key: Key) {
        lease.is_asked = true;
        if !self.store.order(self, key) {
            lease.crowd_out();
        }
    }

    /// Gives back what was taken and not used after all.
    pub(crate) fn give_back(&self, key: Key, cost: u64) {
        if let Some(lease) = self.shard(key).get_mut(&key) {
            lease.give_back(cost);
        }
    }

    /// What to ask the store about a key now.
    pub(crate) fn ask(&self, key: Key) -> Option<Ask> {
        let now_ns = self.now_ns();
        let mut shard = self.shard(key);
        let lease = shard.get_mut(&key)?;
        let mut ask = lease.ask(self.at_once(), self.store.gateways(), now_ns);
        ask.name = [&*self.id, ":", &*lease.name].concat();
        ask.rules = self.rules.iter().map(Rule::counting).collect();
        if let (Some(local), Some(fallen)) = (&self.local, &mut lease.fallen) {
            let used = local.used(fallen.key, self.clock.now());
            ask.owed = self.owed(local, fallen, &used);
            fallen.asked = Some((used, now_ns));
        }
        Some(ask)
    }

    /// What was used here while the store could not be asked, and would still count there.
    fn owed(&self, local: &Limiter, fallen: &Fallen, used: &[u64]) -> Vec<u64> {
        let gateways = u64::from(self.store.gateways());
        let known = local.faded(&fallen.used, self.at(fallen.then_ns), self.clock.now());
        let own = {
            let known = known.iter().copied().chain(std::iter::repeat(0));
            used.iter().zip(known).map(|(used, known)| used.saturating_sub(known))
        };
        own.map(|used| used.div_ceil(gateways)).collect()
    }

    fn at(&self, ns: u64) -> Instant {
        self.start + Duration::from_nanos(ns.saturating_sub(1))
    }

    /// Notes what the store said, or that it said nothing.
    pub(crate) fn settle(self: &Arc<Self>, key: Key, ask: &Ask, told: Result<&Grant, ()>) {
        let now_ns = self.now_ns();
        let mut shard = self.shard(key);
        let Some(lease) = shard.get_mut(&key) else { return };
        let Ok(grant) = told else { return lease.fail(now_ns) };
        let gateways = self.store.gateways();
        let has_ended = |it: &mut Fallen| !it.goes_on(gateways, now_ns);
        if let (Some(local), Some(fallen)) = (&self.local, lease.fallen.take_if(has_ended)) {
            local.reset(Some(fallen.key));
        }
        if ask.want == 0 && ask.back > 0 {
            lease.is_asked = false;
        } else {
            let regain_ns = self.regain_ns(ask.want.saturating_sub(1).max(1));
            lease.rule = self.tightest(&grant.used);
            lease.settle(ask, grant, regain_ns, now_ns);
        }
        if lease.is_due(now_ns) {
            self.order(lease, key);
        }
    }

    /// Gives back what nobody uses, and forgets what nobody asks about.
    pub(crate) fn sweep(self: &Arc<Self>) {
        let now_ns = self.now_ns();
        let is_down = self.store.is_down();
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.retain(|key, lease| {
                let is_owing = lease.fallen.is_some() && !lease.is_asked && !is_down;
                if lease.is_idle(now_ns) || is_owing {
                    self.order(lease, *key);
                }
                !lease.is_forgotten(now_ns)
            });
        }
    }

    /// Judges by this gateway's share of the limits: each request costs as many times as much as there are gateways.
    fn alone(
        &self,
        who: &impl Hash,
        cost: u64,
        at: Instant,
        is_gone: bool,
    ) -> (Option<(Key, u64)>, Verdict) {
        let Some(local) = &self.local else { return (None, Verdict::UNLIMITED) };
        let key = local.key(who);
        let gateways = u64::from(self.store.gateways());
        {
            let lease_key = self.key(who);
            let mut shard = self.shard(lease_key);
            let now_ns = self.ns(at);
            if !shard.contains_key(&lease_key) && make_room(&mut shard, now_ns) {
                shard.insert(lease_key, Lease::new(name(who)));
            }
            if let Some(lease) = shard.get_mut(&lease_key)
                && lease.fallen.is_none()
            {
                let (used, then_ns) = lease.known();
                local.seed(key, &used, self.at(then_ns));
                lease.fallen = Some(Fallen::new(key, used, then_ns, is_gone));
            }
        }
        // What may pass at all may pass once in a while, however many gateways there are.
        let most = self.at_once();
        let cost = if cost > most { cost } else { cost.saturating_mul(gateways).min(most) };
        let mut verdict = local.take(Some(key), cost, at);
        verdict.remaining /= gateways;
        (Some((key, cost)), verdict)
    }

    /// What is left of each limit, as far as this gateway knows: what the store said last, or what it counts alone.
    fn left(&self, key: Key, at: Instant) -> Vec<Verdict> {
        let Some(local) = &self.local else { return Vec::new() };
        let mut shard = self.shard(key);
        let (used, held) = match shard.get_mut(&key) {
            None => (Vec::new(), 0),
            Some(lease) => match &lease.fallen {
                Some(fallen) => (local.used(fallen.key, at), 0),
                None => {
                    let (used, then_ns) = lease.known();
                    (local.faded(&used, self.at(then_ns), at), lease.held)
                }
            },
        };
        drop(shard);
        let used = used.into_iter().chain(std::iter::repeat(0));
        let left = |(rule, used): (&Rule, u64)| {
            let used = used.saturating_sub(held);
            Verdict {
                remaining: rule.cost_max().saturating_sub(used),
                reset_after: Duration::from_nanos(rule.regain_ns(used)),
                retry_after: None,
                rule: 0,
            }
        };
        local.rules().iter().zip(used).map(left).collect()
    }

    /// Forgets what was used, here and in the store.
    pub(crate) fn reset(self: &Arc<Self>, who: &impl Hash) {
        let key = self.key(who);
        if let Some(local) = &self.local {
            local.reset(Some(local.key(who)));
        }
        self.shard(key).entry(key).or_insert_with(|| Lease::new(name(who)));
        self.reset_known(key);
    }

    /// The same, of a key of which something is known.
    fn reset_known(self: &Arc<Self>, key: Key) {
        let mut shard = self.shard(key);
        let Some(lease) = shard.get_mut(&key) else { return };
        if let (Some(local), Some(fallen)) = (&self.local, &lease.fallen) {
            local.reset(Some(fallen.key));
        }
        lease.reset();
        if !lease.is_asked {
            self.order(lease, key);
        }
    }
}

/// Whether there is room for one more, after forgetting one that nobody needs.
fn make_room(shard: &mut Shard, now_ns: u64) -> bool {
    if shard.len() < LEASE_KEYS_MAX / SHARDS {
        return true;
    }
    let is_forgotten = |(_, lease): &(&Key, &Lease)| lease.is_forgotten(now_ns);
    let old = shard.iter().take(SWEEP).find(is_forgotten).map(|(key, _)| *key);
    old.is_some_and(|old| shard.remove(&old).is_some())
}

/// Collects what is hashed: names of counts must be the same at all gateways, and nobody may find two that meet.
struct Collected(Vec<u8>);

impl Hasher for Collected {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

pub(crate) fn name(who: &impl Hash) -> Box<str> {
    let mut collected = Collected(Vec::new());
    who.hash(&mut collected);
    let hash = digest(&SHA256, &collected.0);
    URL_SAFE_NO_PAD.encode(hash.as_ref().get(..NAME_BYTES).unwrap_or_default()).into()
}

/// Limits that gateways share, with what becomes of requests while the store cannot be asked.
#[derive(Clone)]
pub(crate) struct SharedLimiter {
    leases: Arc<Leases>,
    rules: Arc<[Rule]>,
    on_failure: OnFailure,
}

/// What is decided, and where it was counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ruling {
    pub(crate) verdict: Verdict,
    pub(crate) counted: Place,
    pub(crate) at: Instant,
}

/// Where a request was counted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// In what is held of the store's count.
    Shared(Key, u64),
    /// By this gateway alone, at such a cost.
    Alone(Key, u64),
    /// Nowhere.
    Nowhere,
}

/// What comes of a request at once, or what must be waited for.
pub(crate) enum Judged {
    Now(Result<Ruling, OnFailure>),
    Later(Key, oneshot::Receiver<Told>),
}

impl SharedLimiter {
    /// Limits in a store; what is held lives on in `state` as long as the limits are the same.
    pub(crate) fn new(
        id: &str,
        rules: Vec<Rule>,
        (store, on_failure): (&Arc<Store>, OnFailure),
        state: &State,
        clock: &Clock,
    ) -> Self {
        let rules: Arc<[Rule]> = rules.into();
        let kinds: Vec<String> = rules.iter().map(Rule::kind).collect();
        let name = format!("{id}#{}", kinds.join(","));
        let cell = format!("{name}@{}{rules:?}", store.mark());
        let local = Limiter::new(&format!("{id}@alone"), Arc::clone(&rules), state, clock);
        let leases = state.cell(&cell, || {
            Leases::new(name, Arc::clone(&rules), Arc::clone(store), clock, Some(local))
        });
        store.watch(&leases);
        Self { leases, rules, on_failure }
    }

    /// The limits, in the order in which they were written.
    pub(crate) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Judges a request.
    pub(crate) fn take(&self, who: &impl Hash, cost: u64) -> Judged {
        let at = self.leases.clock.now();
        match self.leases.take(who, cost, at) {
            (key, Taking::Now(verdict)) => Judged::Now(Ok(shared(key, cost, verdict, at))),
            (key, Taking::Later(told)) => Judged::Later(key, told),
            (_, Taking::Full) => Judged::Now(Ok(self.crowded(who, cost, at))),
            (_, Taking::Down) => Judged::Now(self.fallen(who, cost, at)),
        }
    }

    /// Waits for what the store says, for as long as it may take.
    pub(crate) async fn wait(&self, told: oneshot::Receiver<Told>) -> Told {
        self.leases.store.wait(told).await.unwrap_or(Told::Down)
    }

    /// What becomes of a request for which that was waited.
    pub(crate) fn waited(
        &self,
        (key, told): (Key, Told),
        who: &impl Hash,
        cost: u64,
    ) -> Result<Ruling, OnFailure> {
        let at = self.leases.clock.now();
        match told {
            Told::Ruled(verdict) => Ok(shared(key, cost, verdict, at)),
            Told::Full => Ok(self.crowded(who, cost, at)),
            Told::Down => self.fallen(who, cost, at),
        }
    }

    /// What becomes of a request while the store does not answer.
    fn fallen(&self, who: &impl Hash, cost: u64, at: Instant) -> Result<Ruling, OnFailure> {
        self.leases.store.fell(self.on_failure);
        match self.on_failure {
            OnFailure::Local => Ok(self.alone(who, cost, at, true)),
            OnFailure::Allow | OnFailure::Refuse => Err(self.on_failure),
        }
    }

    /// What becomes of a request for which the store has an answer, but nobody here has room to ask: whoever sends many
    /// of them gains nothing by it.
    fn crowded(&self, who: &impl Hash, cost: u64, at: Instant) -> Ruling {
        self.leases.store.crowded();
        self.alone(who, cost, at, false)
    }

    fn alone(&self, who: &impl Hash, cost: u64, at: Instant, is_gone: bool) -> Ruling {
        let (place, verdict) = self.leases.alone(who, cost, at, is_gone);
        let counted = place.map_or(Place::Nowhere, |(key, cost)| Place::Alone(key, cost));
        Ruling { verdict, counted, at }
    }

    /// Gives back what passed here and was refused elsewhere.
    pub(crate) fn give_back(&self, place: Place, at: Instant) {
        match place {
            Place::Shared(key, cost) => self.leases.give_back(key, cost),
            Place::Alone(key, cost) => {
                if let Some(local) = &self.leases.local {
                    local.give_back(Some(key), cost, at);
                }
            }
            Place::Nowhere => {}
        }
    }

    /// What is left of each limit, as far as this gateway knows.
    pub(crate) fn shown(&self, key: Key, at: Instant) -> Vec<(Limit, Verdict)> {
        let left = self.leases.left(key, at);
        self.rules.iter().map(|rule| rule.limit).zip(left).collect()
    }

    /// The key of what is told apart by `parts`, which outsiders may choose.
    pub(crate) fn key(&self, parts: &impl Hash) -> Key {
        self.leases.key(parts)
    }

    /// Forgets what was used of a key of which something is held or known here.
    pub(crate) fn reset_known(&self, key: Key) {
        self.leases.reset_known(key);
    }

    /// Forgets what was used.
    pub(crate) fn reset(&self, who: &impl Hash) {
        self.leases.reset(who);
    }
}

fn shared(key: Key, cost: u64, verdict: Verdict, at: Instant) -> Ruling {
    Ruling { verdict, counted: Place::Shared(key, cost), at }
}
