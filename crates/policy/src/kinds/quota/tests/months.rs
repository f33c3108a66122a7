//! Months as they were reckoned elsewhere, by Python's calendar and the zones of a system.

use super::{KIND, calling};
use crate::fixture::{Built, World, lines};
use proptest::prelude::{prop, prop_assert_eq, proptest};
use serde_json::json;
use std::time::Duration;

/// A zone, the day on which its months begin (the last one of months that do not have it), and when they do: seconds
/// after the tests' clock begins, which is with the year 2026 of UTC. 2028 is a leap year.
const MONTHS: &[(&str, u8, &[i64])] = &[
    (
        "Europe/London",
        31,
        &[
            -86400, 2592000, 5011200, 7686000, 10278000, 12956400, 15548400, 18226800, 20905200,
            23497200, 26179200, 28771200, 31449600, 34128000, 36547200, 39222000, 41814000,
            44492400, 47084400, 49762800, 52441200, 55033200, 57711600, 60307200, 62985600,
            65664000, 68169600, 70844400, 73436400,
        ],
    ),
    (
        "America/New_York",
        29,
        &[
            -241200, 2437200, 5029200, 7531200, 10209600, 12801600, 15480000, 18072000, 20750400,
            23428800, 26020800, 28702800, 31294800, 33973200, 36565200, 39067200, 41745600,
            44337600, 47016000, 49608000, 52286400, 54964800, 57556800, 60238800, 62830800,
            65509200, 68187600, 70689600, 73368000,
        ],
    ),
    (
        "Pacific/Auckland",
        1,
        &[
            -2725200, -46800, 2631600, 5050800, 7729200, 10324800, 13003200, 15595200, 18273600,
            20952000, 23540400, 26218800, 28810800, 31489200, 34167600, 36586800, 39265200,
            41860800, 44539200, 47131200, 49809600, 52488000, 55076400, 57754800, 60346800,
            63025200, 65703600, 68209200, 70887600,
        ],
    ),
    (
        "Australia/Lord_Howe",
        15,
        &[
            -1508400, 1170000, 3848400, 6267600, 8947800, 11539800, 14218200, 16810200, 19488600,
            22167000, 24757200, 27435600, 30027600, 32706000, 35384400, 37803600, 40483800,
            43075800, 45754200, 48346200, 51024600, 53703000, 56293200, 58971600, 61563600,
            64242000, 66920400, 69426000, 72106200,
        ],
    ),
    (
        "America/St_Johns",
        30,
        &[
            -160200, 2518200, 5023800, 7612200, 10290600, 12882600, 15561000, 18153000, 20831400,
            23509800, 26101800, 28783800, 31375800, 34054200, 36559800, 39148200, 41826600,
            44418600, 47097000, 49689000, 52367400, 55045800, 57637800, 60319800, 62911800,
            65590200, 68182200, 70770600, 73449000,
        ],
    ),
];
const AMOUNT: u64 = 5;

/// Asks once; whether it passed, how much is left, and in how many seconds there is more.
fn ask(policy: &Built) -> (bool, u64, u64) {
    let mut exchange = calling("alice");
    let has_passed = policy.request(&mut exchange) == "continue";
    let told = lines(&policy.reply(&mut exchange, &[]).headers);
    let told = told.iter().find_map(|line| line.strip_prefix("ratelimit: \"month\";r=")).unwrap();
    let (left, until) = told.split_once(";t=").unwrap();
    (has_passed, left.parse().unwrap(), until.parse().unwrap())
}

fn month(world: &World, (zone, anchor, _): (&str, u8, &[i64])) -> Built {
    let quota = json!({ "amount": AMOUNT, "per": "month", "time_zone": zone, "anchor": anchor });
    world.build(&KIND, &json!({ "quota": quota })).unwrap()
}

#[test]
fn a_month_ends_to_the_second_where_the_calendar_of_its_place_says_so() {
    for of in MONTHS {
        let world = World::default();
        let policy = month(&world, *of);
        let (mut now_s, (zone, anchor, starts)) = (0, *of);
        for start in starts.iter().filter(|start| **start > 0) {
            let left_s = u64::try_from(start - now_s).unwrap();
            let place = format!("{zone}, {anchor}: {start}");
            assert_eq!(ask(&policy), (true, AMOUNT - 1, left_s), "{place}");
            world.clock().advance(Duration::from_secs(left_s - 1));
            assert_eq!(ask(&policy), (true, AMOUNT - 2, 1), "{place}");
            world.clock().advance(Duration::from_secs(1));
            now_s = *start;
        }
    }
}

proptest! {
    /// Whenever somebody asks: in each month passes what is left of it, and no more.
    #[test]
    fn in_each_month_passes_what_the_quota_says(
        of in prop::sample::select(MONTHS),
        steps in prop::collection::vec((0_i64..40 * 86_400, 0_usize..9), 1..60),
    ) {
        let world = World::default();
        let policy = month(&world, of);
        let (mut now_s, mut used) = (0, vec![0; of.2.len()]);
        for (wait_s, calls) in steps {
            now_s += wait_s;
            let at = of.2.partition_point(|start| *start <= now_s);
            // Beyond that nothing was reckoned.
            if at == of.2.len() {
                break;
            }
            world.clock().advance(Duration::from_secs(u64::try_from(wait_s).unwrap()));
            for _ in 0..calls {
                let passes = used[at] < AMOUNT;
                used[at] += u64::from(passes);
                let until_s = u64::try_from(of.2[at] - now_s).unwrap();
                prop_assert_eq!(ask(&policy), (passes, AMOUNT - used[at], until_s));
            }
        }
    }
}
