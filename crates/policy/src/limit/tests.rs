use super::{Algorithm, Gcra, Limiter, Rule, Table};
use base::Clock;
use base::caps::LIMITER_KEYS_MAX;
use base::rates::{Limit, Limits};
use base::units::Rate;
use proptest::prelude::{prop, prop_assert, prop_assert_eq, proptest};
use std::sync::Arc;
use std::time::Duration;
use traffic::State;

fn rules(limits: &str, algorithm: Algorithm) -> Vec<Rule> {
    let limits = Limits::parse(limits).unwrap().0;
    limits.into_iter().map(|limit| Rule::new(limit, algorithm).unwrap()).collect()
}

#[test]
fn a_request_counts_for_all_limits_or_for_none() {
    let clock = Clock::manual();
    let limiter = Limiter::new("a", rules("2/s, 5/h", Algorithm::Gcra), &State::new(), &clock);
    let key = Some(limiter.key(&"alice"));
    let passing = || {
        let passes = |_: &u32| limiter.take(key, 1, clock.now()).retry_after.is_none();
        (0..9).filter(passes).count()
    };
    assert_eq!(passing(), 2);
    clock.advance(Duration::from_secs(1));
    assert_eq!(passing(), 2, "what the first refused did not count for the second");
    clock.advance(Duration::from_secs(1));
    assert_eq!(passing(), 1);
    clock.advance(Duration::from_secs(1));
    assert_eq!(passing(), 0);
    let verdict = limiter.take(key, 1, clock.now());
    assert_eq!(
        verdict.retry_after,
        Some(Duration::from_secs(720 - 3)),
        "of the one used up longest"
    );
}

#[test]
fn what_costs_more_uses_more_and_what_is_given_back_can_be_used_again() {
    for algorithm in [Algorithm::Gcra, Algorithm::SlidingWindow] {
        let clock = Clock::manual();
        let limiter = Limiter::new("a", rules("10/h", algorithm), &State::new(), &clock);
        let key = Some(limiter.key(&"alice"));
        let take = |cost| {
            let verdict = limiter.take(key, cost, clock.now());
            (verdict.retry_after.is_none(), verdict.remaining)
        };
        assert_eq!(take(4), (true, 6), "{algorithm:?}");
        assert_eq!(take(7), (false, 6));
        assert_eq!(take(0), (true, 6));
        assert_eq!(take(6), (true, 0));
        limiter.give_back(key, 6, clock.now());
        assert_eq!(take(6), (true, 0));
        limiter.give_back(key, 99, clock.now());
        assert_eq!(take(10), (true, 0), "no more comes back than there was");
        assert_eq!(take(11), (false, 0));
    }
}

#[test]
fn what_all_share_is_counted_exactly_by_all_workers_at_once() {
    let clock = Clock::manual();
    let rules = rules("100/h and 5000/d", Algorithm::Gcra);
    let limiter = Limiter::new("a", rules, &State::new(), &clock);
    let passed = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5_000 {
                    let passes = limiter.take(None, 1, clock.now()).retry_after.is_none();
                    passed.fetch_add(u64::from(passes), std::sync::atomic::Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(passed.into_inner(), 100);
    limiter.give_back(None, 2, clock.now());
    let left = || limiter.take(None, 0, clock.now()).remaining;
    assert_eq!(left(), 2);
    clock.advance(Duration::from_secs(3_600));
    assert_eq!(left(), 100, "what the first refused did not count for the second");
}

#[test]
fn a_flood_of_keys_is_bounded_and_expired_ones_make_room() {
    let rules: Arc<[Rule]> = rules("1/s", Algorithm::Gcra).into();
    let table = Table::new(&Clock::manual(), Arc::clone(&rules));
    let take = |key: usize, now_s: u64| {
        table.take(table.key(&key), &rules, 1, now_s * 1_000_000_000).retry_after.is_none()
    };
    assert!((0..10_000).all(|key| take(key, 0)));
    assert_eq!(table.len(), 10_000);
    assert!((0..10_000).all(|key| !take(key, 0)), "each is found again");
    assert!((10_000..20_000).all(|key| take(key, 2)));
    assert!(table.len() < 11_000, "{} keys after the first ones expired", table.len());
    for key in 0..LIMITER_KEYS_MAX + 100_000 {
        take(key, 4);
    }
    assert!(table.len() <= LIMITER_KEYS_MAX);
}

/// A bucket that leaks one unit per cost and holds a burst, counted in exact nanoseconds.
#[derive(Default)]
struct Bucket {
    level_ns: u128,
    at_ns: u128,
}

/// The two counters of the definition, kept for every window there ever was.
#[derive(Default)]
struct Windows(std::collections::BTreeMap<u64, u64>);

impl Windows {
    fn used(&self, now_ns: u64, period_ns: u64) -> u64 {
        let number = now_ns / period_ns;
        let of = |number| self.0.get(&number).copied().unwrap_or(0);
        let before = number.checked_sub(1).map_or(0, of);
        let left = u128::from(period_ns - now_ns % period_ns);
        let weighted = (u128::from(before) * left).div_ceil(u128::from(period_ns));
        of(number) + u64::try_from(weighted).unwrap()
    }
}

proptest! {
    #[test]
    fn who_comes_out_of_turn_frees_nothing(
        count in 1_u32..30,
        period_ms in 1_u64..3_000,
        is_window in prop::bool::ANY,
        counts_refused in prop::bool::ANY,
        steps in prop::collection::vec((0_u64..400_000, 0_u64..900_000, 0_u64..3), 1..200),
    ) {
        let rate = Rate { count, period: Duration::from_millis(period_ms) };
        let algorithm = if is_window { Algorithm::SlidingWindow } else { Algorithm::Gcra };
        let rules = [Rule::new(rate.into(), algorithm).unwrap().counting_refused(counts_refused)];
        let table = Table::new(&Clock::manual(), Arc::from(&rules[..]));
        let key = table.key(&"key");
        let start_ns = 1_700_000_000_000_000_000_u64;
        let (mut now_ns, mut passed) = (start_ns, 0_u64);
        for (pause_us, lag_us, cost) in steps {
            now_ns += pause_us * 1_000;
            let late_ns = now_ns - lag_us * 1_000;
            if table.take(key, &rules, cost, late_ns).retry_after.is_none() {
                passed += cost;
            }
            let left = || table.peek(key, &rules, 0, now_ns).remaining;
            let before = left();
            table.take(key, &rules, u64::from(count) + 1, late_ns);
            prop_assert!(left() <= before, "a refusal frees nothing");
        }
        // One window more at both ends, and what may be late.
        let windows = (now_ns - start_ns + 900_000_000) / (period_ms * 1_000_000) + 2;
        prop_assert!(passed <= u64::from(count) * windows, "{} in {} windows", passed, windows);
    }

    #[test]
    fn gcra_is_a_leaky_bucket(
        count in 1_u32..50,
        period_ms in 1_u64..5_000,
        burst in 1_u32..20,
        counts_refused in prop::bool::ANY,
        steps in prop::collection::vec((0_u64..400_000, 0_u64..4), 1..200),
    ) {
        let rate = Rate { count, period: Duration::from_millis(period_ms) };
        let cost_ns = u128::from(period_ms) * 1_000_000 / u128::from(count);
        let rule = Rule::of(rate.into(), Gcra::new(rate, burst).unwrap());
        let rules = [rule.counting_refused(counts_refused)];
        let table = Table::new(&Clock::manual(), Arc::from(&rules[..]));
        let key = table.key(&"key");
        let mut bucket = Bucket::default();
        let mut now_ns = 0_u64;
        for (pause_us, cost) in steps {
            now_ns += pause_us * 1_000;
            let passed_ns = u128::from(now_ns) - bucket.at_ns;
            bucket.level_ns = bucket.level_ns.saturating_sub(passed_ns);
            bucket.at_ns = u128::from(now_ns);
            let level_ns = bucket.level_ns + cost_ns * u128::from(cost);
            let fits = level_ns <= cost_ns * u128::from(burst);
            let before_ns = bucket.level_ns;
            if fits || counts_refused {
                bucket.level_ns = level_ns.min(cost_ns * u128::from(burst));
            }
            // A refusal tells what was left when it was judged.
            let told_ns = if fits { bucket.level_ns } else { before_ns };
            let left = (cost_ns * u128::from(burst) - told_ns) / cost_ns;
            let verdict = table.take(key, &rules, cost, now_ns);
            prop_assert_eq!(verdict, table.shared.take(&rules, cost, now_ns));
            prop_assert_eq!(verdict.retry_after.is_none(), fits);
            prop_assert_eq!(u128::from(verdict.remaining), left);
            prop_assert_eq!(verdict.reset_after.as_nanos(), told_ns);
            let is_told = !counts_refused && cost <= u64::from(burst);
            if let Some(wait) = verdict.retry_after.filter(|_| is_told) {
                let wait_ns = u64::try_from(wait.as_nanos()).unwrap();
                prop_assert!(table.peek(key, &rules, cost, now_ns + wait_ns).retry_after.is_none());
                prop_assert!(table.peek(key, &rules, cost, now_ns + wait_ns - 1).retry_after.is_some());
            }
        }
    }

    #[test]
    fn a_sliding_window_counts_two_windows_by_their_overlap(
        count in 1_u32..30,
        period_ms in 1_u64..3_000,
        counts_refused in prop::bool::ANY,
        steps in prop::collection::vec((0_u64..800_000, 0_u64..5), 1..200),
    ) {
        let rate = Rate { count, period: Duration::from_millis(period_ms) };
        let period_ns = period_ms * 1_000_000;
        let rule = Rule::new(rate.into(), Algorithm::SlidingWindow).unwrap();
        let rules = [rule.counting_refused(counts_refused)];
        let table = Table::new(&Clock::manual(), Arc::from(&rules[..]));
        let key = table.key(&"key");
        let mut windows = Windows::default();
        let mut now_ns = 1_700_000_000_000_000_000_u64;
        for (pause_us, cost) in steps {
            now_ns += pause_us * 1_000;
            let used = windows.used(now_ns, period_ns);
            let fits = used + cost <= u64::from(count);
            let left = u64::from(count).saturating_sub(used + if fits { cost } else { 0 });
            if fits || counts_refused {
                *windows.0.entry(now_ns / period_ns).or_default() += cost;
            }
            let verdict = table.take(key, &rules, cost, now_ns);
            prop_assert_eq!(verdict.retry_after.is_none(), fits || cost == 0);
            prop_assert_eq!(verdict.remaining, left);
            let is_told = !counts_refused && cost <= u64::from(count);
            if let Some(wait) = verdict.retry_after.filter(|_| is_told) {
                let wait_ns = u64::try_from(wait.as_nanos()).unwrap();
                prop_assert!(table.peek(key, &rules, cost, now_ns + wait_ns).retry_after.is_none());
            }
        }
    }
}

#[test]
fn limits_that_cannot_be_counted_are_refused() {
    let rule = |limit: &str, burst, algorithm| {
        let limit = Limit { rate: Rate::parse(limit).unwrap(), burst };
        Rule::new(limit, algorithm).map(|_| ()).unwrap_err()
    };
    assert!(rule("4000000000/s", None, Algorithm::Gcra).contains("too fast or too slow"));
    assert!(rule("1/s", Some(0), Algorithm::Gcra).contains("refuse every request"));
    assert!(rule("1/s", Some(5), Algorithm::SlidingWindow).contains("has no `burst`"));
    assert!(rule("1/9999d", None, Algorithm::SlidingWindow).contains("too fast or too slow"));
}

/// The processor's time of this thread.
fn thread_ns() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// For a consumer with two limits.
const BYTES_MAX: i64 = 150;

/// Nanoseconds that a request takes which is found among so many keys: the least of several rounds, since whatever else
/// the machine does only adds to them.
fn look_up_ns(keys: usize) -> i64 {
    const LOOK_UPS: usize = 20_000;
    let clock = Clock::manual();
    let limiter = Limiter::new("a", rules("10/s, 1000/h", Algorithm::Gcra), &State::new(), &clock);
    let memory = allocation_counter::measure(|| {
        for key in 0..keys {
            limiter.take(Some(limiter.key(&key)), 1, clock.now());
        }
    });
    let each = memory.bytes_current / i64::try_from(keys).unwrap();
    assert!(each <= BYTES_MAX, "{each} bytes for each of {keys}");
    println!("{each} bytes for each of {keys}");
    let round = |round: usize| {
        // Far from each other, so that no cache has what comes next.
        let wanted: Vec<_> = (0..LOOK_UPS)
            .map(|at| (round * LOOK_UPS + at).wrapping_mul(7_919) % keys)
            .map(|key| limiter.key(&key))
            .collect();
        let before = thread_ns();
        for key in wanted {
            std::hint::black_box(limiter.take(Some(key), 0, clock.now()));
        }
        (thread_ns() - before) / i64::try_from(LOOK_UPS).unwrap()
    };
    let least = (0..5).map(round).min().unwrap();
    assert_eq!(limiter.len(), keys, "all are remembered");
    least
}

#[test]
fn a_request_is_found_among_a_million_as_fast_as_among_a_thousand() {
    let (few, many) = (look_up_ns(1_000), look_up_ns(1_000_000));
    println!("look-up: {few} ns among a thousand, {many} ns among a million");
    // Beyond the caches memory is slower; a search would take hundreds of times as long.
    assert!(many < 20 * few.max(50), "{few} ns among a thousand, {many} ns among a million");
}
