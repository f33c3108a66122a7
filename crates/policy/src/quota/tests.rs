use super::{Ask, Ledger, Record};
use base::caps::LIMITER_KEYS_MAX;
use proptest::prelude::{prop, prop_assert_eq, proptest};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use traffic::state::Portable as _;

const DAY_S: u64 = 86_400;

fn take(ledger: &Ledger, who: &str, amount: u64, cost: u64, now_s: u64) -> (bool, Ask) {
    let mut asks = [Ask::new(7, (now_s / DAY_S + 1) * DAY_S, amount, cost)];
    let now_s = i64::try_from(now_s).unwrap();
    let passes = ledger.take(ledger.holder("test", &who), &mut asks, now_s, false);
    (passes, asks[0])
}

fn used(ledger: &Ledger, who: &str, now_s: u64) -> u64 {
    take(ledger, who, u64::MAX, 0, now_s).1.used
}

proptest! {
    #[test]
    fn a_ledger_counts_as_a_map_of_windows_does(
        steps in prop::collection::vec((0_u64..30_000, 0_u64..4, 0_u64..6, prop::bool::ANY), 1..200),
    ) {
        let ledger = Ledger::default();
        let mut expected: HashMap<(u64, u64), u64> = HashMap::new();
        let mut now_s = 1_767_225_600;
        for (pause_s, who, cost, gives_back) in steps {
            now_s += pause_s;
            let used = expected.entry((who, now_s / DAY_S)).or_default();
            let fits = *used + cost <= 10;
            let (passes, ask) = take(&ledger, &who.to_string(), 10, cost, now_s);
            prop_assert_eq!(passes, fits || cost == 0);
            if fits && !gives_back {
                *used += cost;
            }
            if passes && gives_back {
                ledger.give_back(ledger.holder("test", &&*who.to_string()), &[ask]);
            }
            prop_assert_eq!(self::used(&ledger, &who.to_string(), now_s), *used);
        }
    }
}

#[test]
fn workers_that_count_at_once_pass_exactly_as_many_as_there_are() {
    let ledger = Arc::new(Ledger::default());
    let passed = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    passed.fetch_add(
                        u64::from(take(&ledger, "alice", 1_500, 1, 0).0),
                        Ordering::Relaxed,
                    );
                }
            });
        }
    });
    assert_eq!((passed.into_inner(), used(&ledger, "alice", 0)), (1_500, 1_500));
}

#[test]
fn eight_tenths_and_all_are_told_once_in_each_window() {
    let ledger = Ledger::default();
    let crossed = |times: usize, now_s| {
        let all = (0..times).filter_map(|_| take(&ledger, "alice", 10, 1, now_s).1.crossed());
        all.collect::<Vec<u8>>()
    };
    assert_eq!(crossed(7, 0), [0; 0]);
    assert_eq!(crossed(1, 0), [80]);
    assert_eq!(crossed(9, 0), [100]);
    assert_eq!(crossed(20, DAY_S), [80, 100]);
    // More than is left is as good as all.
    assert_eq!(take(&ledger, "bob", 10, 9, 0).1.crossed(), Some(80));
    assert_eq!(take(&ledger, "bob", 10, 5, 0).1.crossed(), Some(100));
}

#[test]
fn a_journal_hears_of_each_change_once_and_goes_on_elsewhere() {
    let ledger = Ledger::default();
    ledger.note_changes();
    let changed = || -> Vec<Record> {
        let mut all: Vec<Record> = (0..ledger.parts()).flat_map(|it| ledger.changed(it)).collect();
        all.sort_by_key(|record| record.used);
        all
    };
    take(&ledger, "alice", 10, 3, 0);
    take(&ledger, "alice", 10, 2, 0);
    take(&ledger, "bob", 10, 9, 0);
    take(&ledger, "carol", 10, 11, 0);
    let told = changed();
    assert_eq!(told.iter().map(|record| record.used).collect::<Vec<_>>(), [5, 9]);
    assert!(changed().is_empty());
    for record in &told {
        assert_eq!(Record::of(&record.bytes()), *record);
    }
    let other = Ledger::default();
    assert!(other.adopt(ledger.secret(), told));
    assert_eq!((used(&other, "alice", 0), used(&other, "bob", 0)), (5, 9));
    assert_eq!(take(&other, "bob", 10, 1, 0).1.crossed(), Some(100), "80 was told already");
    assert!(!Ledger::adopt(&other, [0; 16], []), "of another secret");
}

#[test]
fn counts_of_two_processes_add_up() {
    let (old, new) = (Ledger::default(), Ledger::default());
    old.note_changes();
    take(&old, "alice", 100, 10, 0);
    assert!(old.writing().is_some());
    new.import(&old.export());
    assert!(old.writing().is_none(), "its journal is another's");
    new.note_changes();
    take(&old, "alice", 100, 1, 0);
    take(&old, "bob", 100, 2, 0);
    take(&new, "alice", 100, 5, 0);
    new.import_rest(&old.export_rest());
    assert_eq!((used(&new, "alice", 0), used(&new, "bob", 0)), (16, 2));
    assert!(old.export_rest().is_empty());
    let (_, ask) = take(&old, "alice", 100, 4, 0);
    old.give_back(old.holder("test", &"alice"), &[ask]);
    take(&old, "alice", 100, 3, 0);
    take(&old, "alice", 100, 20, DAY_S);
    new.import_rest(&old.export_rest());
    assert_eq!(used(&new, "alice", DAY_S), 20);
    take(&old, "alice", 100, 1, DAY_S);
    new.import_rest(&old.export_rest());
    new.import_rest(&[1, 2, 3]);
    assert_eq!(used(&new, "alice", DAY_S), 21);
    let written: usize = (0..new.parts()).map(|part| new.changed(part).len()).sum();
    assert_eq!(written, 2, "what was added is journalled");
    old.stay();
    assert!(old.writing().is_some());
}

#[test]
fn consumers_with_two_limits_and_a_quota_take_at_most_200_bytes_each() {
    let clock = base::Clock::manual();
    let state = traffic::State::new();
    let limits = base::rates::Limits::parse("10/s, 1000/h").unwrap().0;
    let rules: Vec<_> = limits
        .into_iter()
        .map(|limit| crate::limit::Rule::new(limit, crate::limit::Algorithm::Gcra).unwrap())
        .collect();
    let limiter = crate::limit::Limiter::new("a", rules, &state, &clock);
    let ledger = super::ledger(&state);
    ledger.note_changes();
    // Tables grow by doubling: an eighth of a million is spread over them as a million is.
    let consumers = LIMITER_KEYS_MAX / 8;
    let memory = allocation_counter::measure(|| {
        for consumer in 0..consumers {
            limiter.take(Some(limiter.key(&consumer)), 1, clock.now());
            let holder = ledger.holder("test", &consumer);
            ledger.take(holder, &mut [Ask::new(7, DAY_S, 10, 1)], 0, false);
        }
    });
    assert_eq!(ledger.len(), consumers);
    let each = memory.bytes_current / consumers as i64;
    println!("{each} bytes for each consumer with two limits and a quota");
    assert!(each <= 200, "{each} bytes");
}
