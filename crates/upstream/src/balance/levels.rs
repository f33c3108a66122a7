//! Which part of the requests goes to which group of targets: the nearest group of the first priority takes
//! all it can carry, the next takes what is left, and so on.

use crate::spec::Distance;

/// How much more than its share a group can carry, in percent. Servers are commonly run with this much to
/// spare: of a group that has lost up to two sevenths of its targets (healthy × 1.4 ≥ 1) the others take over what
/// it did, and only what is missing beyond that goes elsewhere.
const CARRIED_PERCENT: u64 = 140;

/// The whole, in parts of which loads are counted.
pub(crate) const WHOLE: u32 = 10_000;

/// What orders groups: targets of the same rank form one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) priority: u32,
    pub(crate) distance: Distance,
}

/// The weight of a group: of those that take requests, and of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Strength {
    pub(crate) healthy: u64,
    pub(crate) total: u64,
}

/// The part of all requests for each group, in ten thousandths. They add up to the whole, unless no
/// target takes requests.
pub(crate) fn loads(groups: &[Strength]) -> Vec<u32> {
    let whole = u64::from(WHOLE);
    let carries = |group: &Strength| {
        let carried = whole * CARRIED_PERCENT / 100 * group.healthy;
        carried.checked_div(group.total).unwrap_or(0).min(whole)
    };
    let carried: Vec<u64> = groups.iter().map(carries).collect();
    let sum: u64 = carried.iter().sum();
    let mut left = whole;
    let mut loads: Vec<u64> = carried
        .iter()
        .map(|carried| {
            // Where all together cannot carry it, all are overloaded in the same measure.
            let wanted = if sum < whole {
                (carried * whole).checked_div(sum).unwrap_or(0)
            } else {
                *carried
            };
            let load = wanted.min(left);
            left -= load;
            load
        })
        .collect();
    // What rounding left over.
    if sum > 0
        && let Some(load) = loads.iter_mut().find(|load| **load > 0)
    {
        *load += left;
    }
    loads.into_iter().map(|load| u32::try_from(load).unwrap_or(WHOLE)).collect()
}

#[cfg(test)]
mod tests {
    use super::{Strength, WHOLE, loads};
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    fn check(groups: &[(u64, u64)], expected: &[u32]) {
        let groups: Vec<_> = groups
            .iter()
            .map(|(healthy, total)| Strength { healthy: *healthy, total: *total })
            .collect();
        assert_eq!(loads(&groups), expected, "{groups:?}");
    }

    #[test]
    fn the_first_group_takes_all_it_can_carry_and_the_next_the_rest() {
        check(&[(3, 3), (3, 3)], &[10_000, 0]);
        check(&[(5, 7), (3, 3)], &[10_000, 0]);
        check(&[(2, 3), (3, 3)], &[9_333, 667]);
        check(&[(1, 2), (1, 2), (4, 4)], &[7_000, 3_000, 0]);
        check(&[(0, 3), (1, 4), (2, 2)], &[0, 3_500, 6_500]);
        check(&[(0, 0), (1, 1)], &[0, 10_000]);
    }

    #[test]
    fn too_few_share_the_burden_in_the_measure_of_what_they_can_carry() {
        check(&[(1, 4), (1, 8)], &[6_667, 3_333]);
        check(&[(0, 2), (1, 100)], &[0, 10_000]);
        check(&[(0, 2), (0, 1)], &[0, 0]);
        check(&[], &[]);
    }

    proptest! {
        #[test]
        fn loads_add_up_and_nobody_without_healthy_targets_gets_any(
            groups in proptest::collection::vec((0_u64..50, 0_u64..50), 1..8)
        ) {
            let groups: Vec<_> = groups.into_iter()
                .map(|(a, b)| Strength { healthy: a.min(b), total: a.max(b) }).collect();
            let loads = loads(&groups);
            let sum: u32 = loads.iter().sum();
            let is_anybody = groups.iter().any(|group| group.healthy > 0);
            prop_assert_eq!(sum, if is_anybody { WHOLE } else { 0 });
            for (group, load) in groups.iter().zip(&loads) {
                prop_assert!(group.healthy > 0 || *load == 0);
            }
        }
    }
}
