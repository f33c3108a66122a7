//! Which target is next: first the group, by priority and distance, then one of the group, by turns, by
//! load, by latency or by a key. Workers choose on their own, so that no request waits for another.
//!
//! What depends on how the targets are is kept in a [`Plan`], which is made anew beside the requests.

use crate::spec::{Balance, HashSpec};
use arc_swap::ArcSwap;
use base::caps::BALANCE_TURNS_MAX;
use base::random;
use base::units::Share;
use levels::{Rank, Strength, WHOLE};
use maglev::{Maglev, mixed};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use telemetry::Sharded;
use traffic::head::Scheme;

/// How soon a target answers.
pub(crate) mod latency;
/// Which part of the requests goes to which group.
pub(crate) mod levels;
/// From keys to targets.
pub(crate) mod maglev;
/// Clients that come back.
pub(crate) mod sticky;
#[cfg(test)]
mod tests;

/// How often a target that may not be used is drawn before the sequence is searched.
const DRAWS: usize = 4;
/// How many places in the table are looked at for a key before all targets are.
const PROBES: u64 = 8;
/// Groups that have turns of their own; those behind share the last.
const TURNS: usize = 4;
/// A target's weight is counted in hundredths while it is new.
const FULL: u32 = 100;

/// How many turns each worker has taken; outlives configs. Repetitions have turns of their own: otherwise every
/// failure would change whose turn it is, and with two targets all first attempts would go to the failing one.
#[derive(Debug)]
pub(crate) struct Turns(Sharded<Taken>);

#[derive(Debug, Default)]
struct Taken {
    first: [AtomicUsize; TURNS],
    again: [AtomicUsize; TURNS],
}

impl Turns {
    /// No turns taken yet.
    pub(crate) fn new(workers: usize) -> Self {
        Self(Sharded::new(workers, Taken::default))
    }
}

/// A target as far as choosing is concerned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) name: &'a str,
    pub(crate) weight: u32,
    pub(crate) rank: Rank,
}

/// How a target is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vital {
    /// Whether it takes requests.
    pub(crate) is_available: bool,
    /// How much of its weight counts, in percent.
    pub(crate) ramp_percent: u32,
}

/// What one request wishes for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) worker: usize,
    pub(crate) scheme: Scheme,
    /// The hash of its key.
    pub(crate) key: Option<u64>,
    /// The target it has been at before.
    pub(crate) pin: Option<usize>,
    /// Whether it has been tried before.
    pub(crate) is_again: bool,
}

/// The targets as one request sees them.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    /// Whether the request may go there.
    pub(crate) usable: &'a dyn Fn(usize) -> bool,
    /// Requests under way.
    pub(crate) load: &'a dyn Fn(usize) -> u64,
    /// What one more request is expected to take.
    pub(crate) cost: &'a dyn Fn(usize) -> u128,
}

/// Chooses among targets by their positions.
#[derive(Debug)]
pub(crate) struct Balancer {
    balance: Balance,
    weights: Box<[u32]>,
    groups: Box<[Group]>,
    panic_threshold: Option<Share>,
    turns: Arc<Turns>,
    plan: ArcSwap<Plan>,
}

/// Targets of the same rank.
#[derive(Debug)]
struct Group {
    positions: Box<[usize]>,
    table: Option<Maglev>,
}

/// Who gets how much, as the targets are at the moment.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Whether so few take requests that all of them are used.
    pub(crate) is_panic: bool,
    /// The part of each group.
    loads: Box<[u32]>,
    /// For each group its positions in the order of their turns, each as often as its weight says.
    sequences: Box<[Box<[usize]>]>,
    /// The weight of each target as it counts now.
    weights: Box<[u64]>,
}

impl Balancer {
    /// Over these targets, as if all of them took requests.
    pub(crate) fn new(
        balance: Balance,
        panic_threshold: Option<Share>,
        places: &[Place<'_>],
        turns: Arc<Turns>,
    ) -> Self {
        let mut ranks: BTreeMap<Rank, Vec<usize>> = BTreeMap::new();
        for (position, place) in places.iter().enumerate() {
            ranks.entry(place.rank).or_default().push(position);
        }
        let is_hashed = matches!(balance, Balance::Hash(_));
        let group = |positions: Vec<usize>| {
            let named = |at: &usize| places.get(*at).map(|place| (*at, place.name, place.weight));
            let named: Vec<_> = positions.iter().filter_map(named).collect();
            let table = if is_hashed { Maglev::new(&named) } else { None };
            Group { positions: positions.into(), table }
        };
        let groups: Box<[Group]> = ranks.into_values().map(group).collect();
        let weights: Box<[u32]> = places.iter().map(|place| place.weight).collect();
        let plan =
            Plan { is_panic: false, loads: [].into(), sequences: [].into(), weights: [].into() };
        let plan = ArcSwap::from_pointee(plan);
        let balancer = Self { balance, weights, groups, panic_threshold, turns, plan };
        let vital = Vital { is_available: true, ramp_percent: FULL };
        balancer.adopt(balancer.plan(&vec![vital; places.len()]));
        balancer
    }

    /// Whether who is chosen depends on how all targets are, so that plans must be made.
    pub(crate) fn needs_plans(&self) -> bool {
        self.groups.len() > 1 || self.panic_threshold.is_some()
    }

    /// Who gets how much when the targets are like this.
    pub(crate) fn plan(&self, vitals: &[Vital]) -> Plan {
        let weight = |position: usize| u64::from(self.weights.get(position).copied().unwrap_or(0));
        let all: u64 = (0..self.weights.len()).map(weight).sum();
        let is_up = |position: usize| vitals.get(position).is_some_and(|vital| vital.is_available);
        let up: u64 = (0..self.weights.len()).filter(|at| is_up(*at)).map(weight).sum();
        let is_panic = self.panic_threshold.is_some_and(|share| !share.is_reached(up, all));
        let strength = |group: &Group| {
            let total = group.positions.iter().map(|at| weight(*at)).sum();
            let healthy = group.positions.iter().filter(|at| is_panic || is_up(**at));
            Strength { healthy: healthy.map(|at| weight(*at)).sum(), total }
        };
        let strengths: Vec<_> = self.groups.iter().map(strength).collect();
        let is_ramping = vitals.iter().any(|vital| vital.ramp_percent != FULL);
        let counted = |(position, vital): (usize, &Vital)| {
            let part = if is_ramping { vital.ramp_percent.clamp(1, FULL) } else { 1 };
            weight(position) * u64::from(part)
        };
        let weights: Box<[u64]> = vitals.iter().enumerate().map(counted).collect();
        let sequence = |group: &Group| {
            let weights: Vec<u64> =
                group.positions.iter().map(|at| weights.get(*at).copied().unwrap_or(0)).collect();
            let turns = sequence(&weights).into_iter();
            turns.filter_map(|turn| group.positions.get(turn).copied()).collect()
        };
        let sequences = self.groups.iter().map(sequence).collect();
        Plan { is_panic, loads: levels::loads(&strengths).into(), sequences, weights }
    }

    /// Chooses by this plan from now on.
    pub(crate) fn adopt(&self, plan: Plan) {
        self.plan.store(Arc::new(plan));
    }

    /// Whether so few targets take requests that all of them are used.
    pub(crate) fn is_panic(&self) -> bool {
        self.panic_threshold.is_some() && self.plan.load().is_panic
    }

    /// The part of the requests for each target, in thousandths.
    pub(crate) fn shares(&self, vitals: &[Vital]) -> Vec<u32> {
        let plan = self.plan(vitals);
        let mut shares = vec![0; self.weights.len()];
        for (group, load) in self.groups.iter().zip(&plan.loads) {
            let takes = |at: &usize| {
                let is_up = vitals.get(*at).is_some_and(|vital| vital.is_available);
                let weight = plan.weights.get(*at).copied().unwrap_or(0);
                if is_up || plan.is_panic { weight } else { 0 }
            };
            let sum: u64 = group.positions.iter().map(takes).sum();
            for at in &group.positions {
                let part = (takes(at) * u64::from(*load) / 10).checked_div(sum).unwrap_or(0);
                if let Some(share) = shares.get_mut(*at) {
                    *share = u32::try_from(part).unwrap_or(0);
                }
            }
        }
        shares
    }

    /// The next target among those that are usable, if there is one.
    pub(crate) fn next(&self, wish: &Wish, view: &View<'_>) -> Option<usize> {
        if let Some(pin) = wish.pin
            && (view.usable)(pin)
        {
            return Some(pin);
        }
        let plan = self.plan.load();
        let first = if self.groups.len() > 1 { group_of(wish, &plan.loads) } else { 0 };
        self.in_group(first, wish, &plan, view).or_else(|| {
            // A group that is full, or has changed since the plan was made, leaves its part to the others.
            let others = (0..self.groups.len()).filter(|group| *group != first);
            others.into_iter().find_map(|group| self.in_group(group, wish, &plan, view))
        })
    }

    fn in_group(&self, at: usize, wish: &Wish, plan: &Plan, view: &View<'_>) -> Option<usize> {
        let (group, sequence) = (self.groups.get(at)?, plan.sequences.get(at)?);
        match &self.balance {
            Balance::RoundRobin => {
                let taken = self.turns.0.cell(wish.worker);
                let turns = if wish.is_again { &taken.again } else { &taken.first };
                in_turn(sequence, &turns[at.min(TURNS - 1)], view.usable)
            }
            Balance::LeastRequest => {
                let cost = |at: usize| u128::from((view.load)(at));
                lesser_of_two(sequence, &plan.weights, view.usable, &cost)
            }
            Balance::PeakEwma => lesser_of_two(sequence, &plan.weights, view.usable, view.cost),
            Balance::Random => draw(sequence, view.usable),
            Balance::Hash(spec) => match (wish.key, &group.table) {
                (Some(key), Some(table)) => by_key(key, spec, table, (group, plan), view),
                _ => draw(sequence, view.usable),
            },
        }
    }
}

/// The group for a request: requests with the same key go to the same group while loads are the same.
fn group_of(wish: &Wish, loads: &[u32]) -> usize {
    if loads.first().is_none_or(|load| *load == WHOLE) {
        return 0;
    }
    let whole = u64::from(WHOLE);
    let drawn = wish.key.map_or_else(|| random::fast_below(whole), |key| mixed(!key) % whole);
    let mut sum = 0;
    let is_it = |load: &u32| {
        sum += u64::from(*load);
        drawn < sum
    };
    loads.iter().position(is_it).unwrap_or(0)
}

/// A target that may not be used gives its turn up, rather than to its neighbour: so the others keep
/// their shares.
fn in_turn(
    sequence: &[usize],
    turns: &AtomicUsize,
    usable: &dyn Fn(usize) -> bool,
) -> Option<usize> {
    (0..sequence.len())
        .map(|_| sequence[turns.fetch_add(1, Ordering::Relaxed) % sequence.len()])
        .find(|position| usable(*position))
}

fn lesser_of_two(
    sequence: &[usize],
    weights: &[u64],
    usable: &dyn Fn(usize) -> bool,
    cost: &dyn Fn(usize) -> u128,
) -> Option<usize> {
    let first = draw(sequence, usable)?;
    let Some(second) = draw(sequence, &|position| position != first && usable(position)) else {
        return Some(first);
    };
    let scaled = |position, by: usize| {
        cost(position).saturating_mul(u128::from(weights.get(by).copied().unwrap_or(1)))
    };
    Some(if scaled(second, first) < scaled(first, second) { second } else { first })
}

/// Draws one by weight.
fn draw(sequence: &[usize], usable: &dyn Fn(usize) -> bool) -> Option<usize> {
    if sequence.is_empty() {
        return None;
    }
    let at = |turn: usize| sequence[turn % sequence.len()];
    let random = || usize::try_from(random::fast_below(sequence.len() as u64)).unwrap_or(0);
    if let Some(found) = (0..DRAWS).map(|_| at(random())).find(|position| usable(*position)) {
        return Some(found);
    }
    let from = random();
    (0..sequence.len()).map(|step| at(from + step)).find(|position| usable(*position))
}

/// The target of a key. One that may not be used, or has more than its share under way, leaves the key to
/// the one at another place of the table, so that its keys spread over all others and come back to it.
fn by_key(
    key: u64,
    spec: &HashSpec,
    table: &Maglev,
    (group, plan): (&Group, &Plan),
    view: &View<'_>,
) -> Option<usize> {
    let is_light = |position: usize| {
        let load = (view.load)(position);
        load == 0 || load < most(position, spec, group, plan, view)
    };
    let places = (0..PROBES)
        .map(|probe| table.find(if probe == 0 { key } else { mixed(key.wrapping_add(probe)) }));
    let mut heavy = None;
    for position in places {
        if !(view.usable)(position) {
            continue;
        }
        if is_light(position) {
            return Some(position);
        }
        heavy = heavy.or(Some(position));
    }
    let from = usize::try_from(key % group.positions.len().max(1) as u64).unwrap_or(0);
    let (behind, ahead) = group.positions.split_at_checked(from)?;
    let has_weight = |at: &usize| plan.weights.get(*at).is_some_and(|weight| *weight > 0);
    let mut all =
        ahead.iter().chain(behind).copied().filter(|at| has_weight(at) && (view.usable)(*at));
    all.clone().find(|position| is_light(*position)).or(heavy).or_else(|| all.next())
}

/// How many requests a target may have under way before keys go elsewhere.
fn most(position: usize, spec: &HashSpec, group: &Group, plan: &Plan, view: &View<'_>) -> u64 {
    let weight = |at: usize| plan.weights.get(at).copied().unwrap_or(0);
    let usable = group.positions.iter().copied().filter(|at| (view.usable)(*at));
    let (load, weights) = usable.fold((1_u64, 0_u64), |(load, weights), at| {
        (load.saturating_add((view.load)(at)), weights.saturating_add(weight(at)))
    });
    let fair =
        load.saturating_mul(weight(position)).saturating_mul(u64::from(spec.load_max_percent));
    fair.div_ceil(weights.saturating_mul(100).max(1)).max(1)
}

/// Smooth weighted round robin: whoever waited longest for its share is next, so that a heavy target
/// does not get its turns in a row. Weights that add up to more than [`BALANCE_TURNS_MAX`] are
/// rounded, none of them to nothing.
fn sequence(weights: &[u64]) -> Box<[usize]> {
    let divisor = weights.iter().fold(0, |divisor, &weight| common_divisor(divisor, weight)).max(1);
    let sum: u64 = weights.iter().map(|&weight| weight / divisor).sum();
    let shares: Vec<i64> = weights
        .iter()
        .map(|&weight| {
            let weight = weight / divisor;
            let is_rounded = weight > 0 && sum > BALANCE_TURNS_MAX;
            let share = if is_rounded { (weight * BALANCE_TURNS_MAX / sum).max(1) } else { weight };
            i64::try_from(share).unwrap_or(i64::MAX)
        })
        .collect();
    let sum: i64 = shares.iter().sum();
    let mut credits = vec![0_i64; shares.len()];
    let mut turns = Vec::with_capacity(usize::try_from(sum).unwrap_or(0));
    for _ in 0..sum {
        let mut best: Option<usize> = None;
        for (index, share) in shares.iter().enumerate().filter(|(_, share)| **share > 0) {
            credits[index] += share;
            if best.is_none_or(|best| credits[index] > credits[best]) {
                best = Some(index);
            }
        }
        if let Some(best) = best {
            credits[best] -= sum;
            turns.push(best);
        }
    }
    turns.into()
}

const fn common_divisor(a: u64, b: u64) -> u64 {
    let (mut a, mut b) = (a, b);
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}
