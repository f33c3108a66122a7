use super::levels::Rank;
use super::maglev::hash_of;
use super::{Balancer, Place, Turns, View, Vital, Wish, sequence};
use crate::spec::{Balance, Distance, HashSpec};
use base::caps::BALANCE_TURNS_MAX;
use base::units::Share;
use std::sync::Arc;
use traffic::head::Scheme;

const UP: Vital = Vital { is_available: true, ramp_percent: 100 };
const DOWN: Vital = Vital { is_available: false, ramp_percent: 100 };
const NAMES: [&str; 8] = ["a:1", "b:1", "c:1", "d:1", "e:1", "f:1", "g:1", "h:1"];

fn rank(priority: u32, distance: Distance) -> Rank {
    Rank { priority, distance }
}

fn ranked(balance: Balance, panic_percent: u8, ranks: &[(u32, Rank)]) -> Balancer {
    let place = |(at, (weight, rank)): (usize, &(u32, Rank))| Place {
        name: NAMES[at],
        weight: *weight,
        rank: *rank,
    };
    let places: Vec<_> = ranks.iter().enumerate().map(place).collect();
    let panic = (panic_percent > 0).then(|| Share::percent(panic_percent));
    Balancer::new(balance, panic, &places, Arc::new(Turns::new(2)))
}

fn balancer(balance: Balance, weights: &[u32]) -> Balancer {
    let ranks: Vec<_> = weights.iter().map(|weight| (*weight, rank(0, Distance::Zone))).collect();
    ranked(balance, 0, &ranks)
}

fn hashed() -> Balance {
    Balance::Hash(HashSpec { key: Arc::new(|_| None), load_max_percent: 125 })
}

fn next(
    balancer: &Balancer,
    key: Option<u64>,
    usable: &dyn Fn(usize) -> bool,
    load: &dyn Fn(usize) -> u64,
) -> Option<usize> {
    let cost = |at: usize| u128::from(load(at));
    let wish = Wish { worker: 0, scheme: Scheme::Http, key, pin: None, is_again: false };
    balancer.next(&wish, &View { usable, load, cost: &cost })
}

fn count(balancer: &Balancer, rounds: usize, usable: &dyn Fn(usize) -> bool) -> Vec<usize> {
    let mut counts = vec![0; balancer.weights.len()];
    for _ in 0..rounds {
        counts[next(balancer, None, usable, &|_| 0).unwrap()] += 1;
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
    let turns = sequence(&[u64::from(u32::MAX), 1]);
    assert!(turns.len() as u64 <= BALANCE_TURNS_MAX + 1, "{}", turns.len());
    assert!(turns.contains(&1));
}

#[test]
fn nobody_is_chosen_where_nobody_may_be_used() {
    let all =
        [Balance::RoundRobin, Balance::LeastRequest, Balance::PeakEwma, Balance::Random, hashed()];
    for balance in all {
        for key in [None, Some(7)] {
            let none = |weights: &[u32], is_usable: bool| {
                next(&balancer(balance.clone(), weights), key, &|_| is_usable, &|_| 0)
            };
            assert_eq!(none(&[1, 2], false), None, "{balance:?}");
            assert_eq!(none(&[0], true), None, "{balance:?}");
            assert_eq!(none(&[], true), None, "{balance:?}");
        }
    }
}

#[test]
fn of_two_the_one_with_fewer_requests_for_its_weight_is_chosen() {
    let even = balancer(Balance::LeastRequest, &[1, 1]);
    let loads = |index| if index == 0 { 5 } else { 4 };
    assert!((0..100).all(|_| next(&even, None, &|_| true, &loads) == Some(1)));
    let heavy_first = balancer(Balance::LeastRequest, &[2, 1]);
    assert!((0..100).all(|_| next(&heavy_first, None, &|_| true, &loads) == Some(0)));
}

#[test]
fn of_two_the_one_that_costs_less_is_chosen() {
    let even = balancer(Balance::PeakEwma, &[1, 1, 1]);
    let costs = |index: usize| [30, 10, 20][index];
    let mut counts = [0; 3];
    for _ in 0..900 {
        counts[next(&even, None, &|_| true, &costs).unwrap()] += 1;
    }
    assert_eq!(counts[0], 0, "the slowest of three never wins against another");
    assert!(counts[1] > counts[2], "{counts:?}");
}

#[test]
fn idle_targets_are_drawn_by_weight() {
    for balance in [Balance::LeastRequest, Balance::Random, hashed()] {
        let counts = count(&balancer(balance, &[3, 1]), 8_000, &|_| true);
        assert!((5_000..7_000).contains(&counts[0]), "{counts:?}");
    }
}

#[test]
fn a_key_stays_at_its_target_and_only_keys_of_a_lost_one_move() {
    let balancer = balancer(hashed(), &[1; 8]);
    let keys = || (0..4_000_u32).map(|number| hash_of(&number.to_be_bytes()));
    let find = |key, usable: &dyn Fn(usize) -> bool| next(&balancer, Some(key), usable, &|_| 0);
    let mut taken_over = [0; 8];
    for key in keys() {
        let (before, after) = (find(key, &|_| true).unwrap(), find(key, &|at| at != 3).unwrap());
        if before == 3 {
            taken_over[after] += 1;
        } else {
            assert_eq!(before, after);
        }
    }
    assert_eq!(taken_over[3], 0);
    assert!(taken_over.iter().filter(|keys| **keys > 30).count() == 7, "{taken_over:?}");
    let key = keys().next().unwrap();
    let last = find(key, &|_| true).unwrap();
    assert_eq!(find(key, &|at| at == 5), Some(5), "{last} is not the only one that is found");
}

#[test]
fn a_popular_key_spills_over_when_its_target_has_more_than_its_share() {
    let balancer = balancer(hashed(), &[1; 4]);
    let key = hash_of(b"popular");
    let mut loads = [0_u64; 4];
    for _ in 0..400 {
        let at = next(&balancer, Some(key), &|_| true, &|at| loads[at]).unwrap();
        loads[at] += 1;
    }
    let most = *loads.iter().max().unwrap();
    assert!(most <= 126, "125 % of a quarter of 400 is 125: {loads:?}");
}

#[test]
fn far_targets_get_what_near_ones_cannot_carry() {
    let near = (1, rank(0, Distance::Zone));
    let region = (1, rank(0, Distance::Region));
    let spare = (1, rank(1, Distance::Zone));
    let balancer =
        ranked(Balance::RoundRobin, 0, &[near, near, near, region, region, region, spare]);
    assert!(balancer.needs_plans());
    assert_eq!(count(&balancer, 300, &|_| true), [100, 100, 100, 0, 0, 0, 0]);
    // One of three is lost: 2/3 × 1.4 of the requests stay.
    let mut vitals = [UP; 7];
    vitals[0] = DOWN;
    balancer.adopt(balancer.plan(&vitals));
    let counts = count(&balancer, 9_000, &|at| at != 0);
    assert_eq!((counts[0], counts[6]), (0, 0));
    let far: usize = counts[3..6].iter().sum();
    assert!((450..750).contains(&far), "{far} of 9000, where 600 are meant");
    assert_eq!(balancer.shares(&vitals), [0, 466, 466, 22, 22, 22, 0]);
    // All of the first priority are lost.
    let vitals = [DOWN, DOWN, DOWN, DOWN, DOWN, DOWN, UP];
    balancer.adopt(balancer.plan(&vitals));
    assert_eq!(count(&balancer, 10, &|at| at == 6)[6], 10);
    assert_eq!(balancer.shares(&vitals), [0, 0, 0, 0, 0, 0, 1_000]);
}

#[test]
fn whoever_is_full_leaves_requests_to_the_next_group_at_once() {
    let groups = [(1, rank(0, Distance::Zone)), (1, rank(0, Distance::Rest))];
    let balancer = ranked(Balance::LeastRequest, 0, &groups);
    assert_eq!(count(&balancer, 20, &|at| at == 1), [0, 20]);
}

#[test]
fn a_target_that_is_new_takes_a_growing_share() {
    let balancer = balancer(Balance::RoundRobin, &[1, 1]);
    let shares = |percent| {
        let new = Vital { is_available: true, ramp_percent: percent };
        balancer.adopt(balancer.plan(&[UP, new]));
        count(&balancer, 1_010, &|_| true)[1]
    };
    assert!((90..95).contains(&shares(10)), "10 of 110 parts");
    assert!((330..340).contains(&shares(50)), "50 of 150 parts");
    assert_eq!(shares(100), 505);
}

#[test]
fn with_too_few_healthy_targets_all_are_planned_with() {
    let near = (1, rank(0, Distance::Zone));
    let balancer = ranked(Balance::RoundRobin, 50, &[near, near, near, near]);
    assert!(!balancer.plan(&[UP, UP, DOWN, DOWN]).is_panic, "half of them is enough");
    assert!(balancer.plan(&[UP, DOWN, DOWN, DOWN]).is_panic);
    balancer.adopt(balancer.plan(&[UP, DOWN, DOWN, DOWN]));
    assert!(balancer.is_panic());
    assert_eq!(balancer.shares(&[UP, DOWN, DOWN, DOWN]), [250; 4]);
}
