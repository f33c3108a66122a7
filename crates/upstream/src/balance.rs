//! Whose turn it is: smooth weighted round robin over a sequence made in advance, and the lesser of
//! two. Workers take turns on their own, so that no request waits for another.

use crate::spec::Balance;
use base::caps::BALANCE_TURNS_MAX;
use base::random;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use telemetry::Sharded;

/// How often a target that may not be used is drawn before the sequence is searched.
const DRAWS: usize = 4;

/// How many turns each worker has taken; outlives configs.
#[derive(Debug)]
pub(crate) struct Turns(Sharded<AtomicUsize>);

impl Turns {
    /// No turns taken yet.
    pub(crate) fn new(workers: usize) -> Self {
        Self(Sharded::new(workers, AtomicUsize::default))
    }
}

/// Chooses among targets by their positions.
#[derive(Debug)]
pub(crate) struct Balancer {
    balance: Balance,
    weights: Box<[u32]>,
    /// Positions in the order of their turns, each as often as its weight says.
    sequence: Box<[usize]>,
    turns: Arc<Turns>,
}

impl Balancer {
    /// Over targets of these weights.
    pub(crate) fn new(balance: Balance, weights: &[u32], turns: Arc<Turns>) -> Self {
        Self { balance, weights: weights.into(), sequence: sequence(weights), turns }
    }

    /// The next target among those that are `usable`, if there is one; `load` says how many requests
    /// a target has under way.
    pub(crate) fn next(
        &self,
        worker: usize,
        usable: &dyn Fn(usize) -> bool,
        load: &dyn Fn(usize) -> u64,
    ) -> Option<usize> {
        match self.balance {
            Balance::RoundRobin => self.next_in_turn(worker, usable),
            Balance::LeastRequest => self.lesser_of_two(usable, load),
        }
    }

    /// A target that may not be used gives its turn up, rather than to its neighbour: so the others
    /// keep their shares.
    fn next_in_turn(&self, worker: usize, usable: &dyn Fn(usize) -> bool) -> Option<usize> {
        let turns = self.turns.0.cell(worker);
        (0..self.sequence.len())
            .map(|_| self.at(turns.fetch_add(1, Ordering::Relaxed)))
            .find(|&index| usable(index))
    }

    fn lesser_of_two(
        &self,
        usable: &dyn Fn(usize) -> bool,
        load: &dyn Fn(usize) -> u64,
    ) -> Option<usize> {
        let first = self.draw(usable)?;
        let Some(second) = self.draw(&|index| index != first && usable(index)) else {
            return Some(first);
        };
        let scaled = |index, by: usize| {
            u128::from(load(index)) * u128::from(self.weights.get(by).copied().unwrap_or(1))
        };
        Some(if scaled(second, first) < scaled(first, second) { second } else { first })
    }

    /// Draws one by weight.
    fn draw(&self, usable: &dyn Fn(usize) -> bool) -> Option<usize> {
        let random =
            || usize::try_from(random::fast_below(self.sequence.len() as u64)).unwrap_or(0);
        if self.sequence.is_empty() {
            return None;
        }
        if let Some(index) = (0..DRAWS).map(|_| self.at(random())).find(|&index| usable(index)) {
            return Some(index);
        }
        let from = random();
        (0..self.sequence.len()).map(|step| self.at(from + step)).find(|&index| usable(index))
    }

    fn at(&self, turn: usize) -> usize {
        self.sequence[turn % self.sequence.len()]
    }
}

/// Smooth weighted round robin: whoever waited longest for its share is next, so that a heavy target
/// does not get its turns in a row. Weights that add up to more than [`BALANCE_TURNS_MAX`] are
/// rounded, none of them to nothing.
fn sequence(weights: &[u32]) -> Box<[usize]> {
    let divisor = weights.iter().fold(0, |divisor, &weight| common_divisor(divisor, weight)).max(1);
    let sum: u64 = weights.iter().map(|&weight| u64::from(weight / divisor)).sum();
    let shares: Vec<i64> = weights
        .iter()
        .map(|&weight| {
            let weight = u64::from(weight / divisor);
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

const fn common_divisor(a: u32, b: u32) -> u32 {
    let (mut a, mut b) = (a, b);
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::{Balancer, Turns, sequence};
    use crate::spec::Balance;
    use base::caps::BALANCE_TURNS_MAX;
    use std::sync::Arc;

    fn balancer(balance: Balance, weights: &[u32]) -> Balancer {
        Balancer::new(balance, weights, Arc::new(Turns::new(2)))
    }

    fn count(balancer: &Balancer, rounds: usize, usable: &dyn Fn(usize) -> bool) -> Vec<usize> {
        let mut counts = vec![0; balancer.weights.len()];
        for _ in 0..rounds {
            counts[balancer.next(0, usable, &|_| 0).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn turns_are_shared_out_exactly_by_weight_and_not_in_a_row() {
        assert_eq!(*sequence(&[5, 1, 1]), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(*sequence(&[200, 100]), [0, 1, 0]);
        let balancer = balancer(Balance::RoundRobin, &[3, 0, 2, 1]);
        assert_eq!(count(&balancer, 600, &|_| true), [300, 0, 200, 100]);
    }

    #[test]
    fn a_target_that_may_not_be_used_gives_its_turns_to_all_others() {
        let balancer = balancer(Balance::RoundRobin, &[1, 1, 1]);
        assert_eq!(count(&balancer, 300, &|index| index != 1), [150, 0, 150]);
    }

    #[test]
    fn huge_weights_are_rounded_and_none_is_lost() {
        let turns = sequence(&[u32::MAX, 1]);
        assert!(turns.len() as u64 <= BALANCE_TURNS_MAX + 1, "{}", turns.len());
        assert!(turns.contains(&1));
    }

    #[test]
    fn nobody_is_chosen_where_nobody_may_be_used() {
        for balance in [Balance::RoundRobin, Balance::LeastRequest] {
            assert_eq!(balancer(balance, &[1, 2]).next(0, &|_| false, &|_| 0), None);
            assert_eq!(balancer(balance, &[0]).next(0, &|_| true, &|_| 0), None);
            assert_eq!(balancer(balance, &[]).next(0, &|_| true, &|_| 0), None);
        }
    }

    #[test]
    fn of_two_the_one_with_fewer_requests_for_its_weight_is_chosen() {
        let even = balancer(Balance::LeastRequest, &[1, 1]);
        let loads = |index| if index == 0 { 5 } else { 4 };
        assert!((0..100).all(|_| even.next(0, &|_| true, &loads) == Some(1)));
        let heavy_first = balancer(Balance::LeastRequest, &[2, 1]);
        assert!((0..100).all(|_| heavy_first.next(0, &|_| true, &loads) == Some(0)));
    }

    #[test]
    fn idle_targets_are_drawn_by_weight() {
        let counts = count(&balancer(Balance::LeastRequest, &[3, 1]), 8_000, &|_| true);
        assert!((5_000..7_000).contains(&counts[0]), "{counts:?}");
    }
}
