use super::super::{Algorithm, Judged, Rule, SharedLimiter, Verdict};
use super::{Key, LEASE_KEYS_MAX, Place, SHARDS, Told};
use crate::store::{OnFailure, Store, StoreParts};
use base::Clock;
use base::rates::Limits;
use proptest::prelude::{Just, Strategy as _, prop, prop_assert, prop_oneof, proptest};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use telemetry::Metrics;
use tokio::sync::oneshot::Receiver;
use traffic::background::{Busy, Job, Task};
use traffic::store::{Ask, Grant, LimitStore, Tally, Total};
use traffic::{BoxFuture, State};

/// Counts as a store does, by the clock of the test. What counts in it is what [`Rule`] says.
#[derive(Debug, Default)]
struct Counts(Mutex<HashMap<String, Vec<[u64; 2]>>>);

impl Counts {
    fn take(&self, rules: &[Rule], ask: &Ask, now_ns: u64) -> Grant {
        let mut all = self.0.lock().unwrap();
        let fresh = vec![[0; 2]; rules.len()];
        let words = all.entry(ask.name.clone()).or_insert_with(|| fresh.clone());
        if ask.is_reset {
            words.clone_from(&fresh);
        }
        for (index, (rule, words)) in rules.iter().zip(&mut *words).enumerate() {
            *words = rule.give_back(&words[..], now_ns, ask.back);
            let room = rule.judge(&words[..], now_ns, 0).0.remaining;
            let owed = ask.owed.get(index).copied().unwrap_or(0).min(room);
            *words = rule.judge(&words[..], now_ns, owed).1;
        }
        let left = |words: &[[u64; 2]], cost| -> Vec<Verdict> {
            rules.iter().zip(words).map(|(rule, it)| rule.judge(&it[..], now_ns, cost).0).collect()
        };
        let room = left(words, 0).iter().map(|it| it.remaining).min().unwrap();
        let granted = Some(room.min(ask.want)).filter(|it| *it >= ask.least).unwrap_or(0);
        for (rule, words) in rules.iter().zip(&mut *words) {
            *words = rule.judge(&words[..], now_ns, granted).1;
        }
        let after = left(words, 0);
        let retry = left(words, ask.least).iter().filter_map(|it| it.retry_after).max();
        let ns = |it: Duration| u64::try_from(it.as_nanos()).unwrap();
        Grant {
            granted,
            remaining: after.iter().map(|it| it.remaining).min().unwrap(),
            reset_ns: after.iter().map(|it| ns(it.reset_after)).max().unwrap(),
            retry_ns: retry.map_or(0, ns),
            used: rules.iter().zip(&after).map(|(r, it)| r.cost_max() - it.remaining).collect(),
            seen: "".into(),
        }
    }
}

#[derive(Debug)]
struct Nobody;

impl LimitStore for Nobody {
    fn take(&self, _: Vec<Ask>) -> BoxFuture<'_, Vec<Result<Grant, String>>> {
        Box::pin(async { Vec::new() })
    }

    fn tally<'a>(
        &'a self,
        _: &'a str,
        _: u64,
        _: Vec<Tally>,
    ) -> BoxFuture<'a, Vec<Result<Total, String>>> {
        Box::pin(async { Vec::new() })
    }

    fn beat<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<u32, String>> {
        Box::pin(async { Ok(1) })
    }
}

/// Never runs what it was given, and keeps it.
#[derive(Default)]
struct Still(Mutex<Vec<BoxFuture<'static, ()>>>);

impl std::fmt::Debug for Still {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Still")
    }
}

impl traffic::Background for Still {
    fn spawn(&self, task: BoxFuture<'static, ()>) -> Task {
        self.0.lock().unwrap().push(task);
        Task::nothing()
    }

    fn compute(&self, _: Job) -> BoxFuture<'static, Result<(), Busy>> {
        Box::pin(async { Err(Busy) })
    }
}

fn rules(limits: &str, algorithm: Algorithm) -> Vec<Rule> {
    let limits = Limits::parse(limits).unwrap().0;
    limits.into_iter().map(|limit| Rule::new(limit, algorithm).unwrap()).collect()
}

/// A gateway of which nothing is alive: the test asks the store in its place, when it wants.
struct Node {
    limiter: SharedLimiter,
    waiting: Vec<(Key, Receiver<Told>)>,
    asked: Vec<(Key, Ask)>,
    key: Option<Key>,
    _still: Still,
}

impl Node {
    fn new(rules: Vec<Rule>, gateways: u32, clock: &Clock) -> Self {
        Self::with(rules, gateways, OnFailure::Local, clock)
    }

    fn with(rules: Vec<Rule>, gateways: u32, on_failure: OnFailure, clock: &Clock) -> Self {
        let state = State::new();
        let parts = StoreParts {
            name: "shared".into(),
            mark: String::new(),
            keeper: Arc::new(Nobody),
            timeout: Duration::from_millis(20),
            gateways,
            metrics: Metrics::new(1, &[]).store("shared"),
        };
        let still = Still::default();
        let store = Store::open(parts, &state, &still);
        let with = (&store, on_failure);
        let limiter = SharedLimiter::new("a", rules, with, &state, clock);
        Self { limiter, waiting: Vec::new(), asked: Vec::new(), key: None, _still: still }
    }

    /// Whether a request passes at once; nothing if it waits.
    fn call(&mut self, cost: u64) -> Option<bool> {
        match self.limiter.take(&"alice", cost) {
            Judged::Now(ruling) => {
                let ruling = ruling.unwrap();
                if let Place::Shared(key, _) = ruling.counted {
                    self.key = Some(key);
                }
                Some(ruling.verdict.retry_after.is_none())
            }
            Judged::Later(key, told) => {
                self.key = Some(key);
                self.waiting.push((key, told));
                None
            }
        }
    }

    /// Sends the question that is due.
    fn ask(&mut self) {
        let Some(key) = self.key else { return };
        let is_asked = self.limiter.leases.shard(key).get(&key).is_some_and(|it| it.is_asked);
        if is_asked && self.asked.is_empty() {
            self.asked.extend(self.limiter.leases.ask(key).map(|ask| (key, ask)));
        }
    }

    /// Has the store answer; how many of those who waited pass.
    fn answer(&mut self, counts: &Counts, now_ns: u64) -> usize {
        for (key, ask) in std::mem::take(&mut self.asked) {
            let grant = counts.take(self.limiter.rules(), &ask, now_ns);
            self.limiter.leases.settle(key, &ask, Ok(&grant));
        }
        self.told()
    }

    fn told(&mut self) -> usize {
        let mut passed = 0;
        self.waiting.retain_mut(|(_, told)| match told.try_recv() {
            Ok(told) => {
                let has_passed = matches!(told, Told::Ruled(it) if it.retry_after.is_none());
                passed += usize::from(has_passed);
                false
            }
            Err(_) => true,
        });
        passed
    }
}

#[derive(Clone, Debug)]
enum Step {
    Call { node: usize, times: usize },
    Ask(usize),
    Answer(usize),
    Sweep(usize),
    Pause(u64),
}

fn steps() -> impl proptest::strategy::Strategy<Value = Vec<Step>> {
    let node = 0..3_usize;
    let step = prop_oneof![
        4 => (node.clone(), 1..40_usize).prop_map(|(node, times)| Step::Call { node, times }),
        3 => node.clone().prop_map(Step::Ask),
        3 => node.clone().prop_map(Step::Answer),
        1 => node.prop_map(Step::Sweep),
        2 => (1..700_u64).prop_map(Step::Pause),
    ];
    prop::collection::vec(step, 1..200)
}

proptest! {
    /// However requests, questions and answers interleave: in all of the time no more passes than the limit says, and a
    /// fiftieth of what may come at once.
    #[test]
    fn gateways_that_share_a_count_never_pass_more_than_it_allows(
        steps in steps(),
        limits in prop_oneof![Just("100/s"), Just("1000/min"), Just("5/s"), Just("300/s, 600/min")],
        algorithm in prop_oneof![Just(Algorithm::Gcra), Just(Algorithm::SlidingWindow)],
    ) {
        let clock = Clock::manual();
        let rules = rules(limits, algorithm);
        let counts = Counts::default();
        let mut nodes: Vec<_> = (0..3).map(|_| Node::new(rules.clone(), 3, &clock)).collect();
        let start = clock.now();
        let now_ns = |clock: &Clock| {
            let wall = clock.wall().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap();
            u64::try_from(wall.as_nanos()).unwrap()
        };
        let mut passed = 0;
        for step in steps {
            match step {
                Step::Call { node, times } => {
                    let calls = (0..times).map(|_| nodes[node].call(1));
                    passed += calls.filter(|it| *it == Some(true)).count();
                }
                Step::Ask(node) => nodes[node].ask(),
                Step::Answer(node) => passed += nodes[node].answer(&counts, now_ns(&clock)),
                Step::Sweep(node) => nodes[node].limiter.leases.sweep(),
                Step::Pause(ms) => clock.advance(Duration::from_millis(ms)),
            }
            let elapsed = clock.now().duration_since(start);
            for rule in &rules {
                let (most, period) = (rule.cost_max(), rule.limit.rate.period.as_secs_f64());
                // A sliding window divides time as it likes.
                let windows = match algorithm {
                    Algorithm::Gcra => elapsed.as_secs_f64() / period,
                    Algorithm::SlidingWindow => (elapsed.as_secs_f64() / period).floor() + 1.0,
                };
                let allowed = (most as f64) * (1.0 + windows) + (most / 50) as f64;
                prop_assert!(passed as f64 <= allowed + 1e-6, "{passed} of {allowed}");
            }
        }
    }
}

#[test]
fn what_is_worth_less_than_a_fiftieth_is_asked_for_request_by_request() {
    let clock = Clock::manual();
    let counts = Counts::default();
    let mut nodes: Vec<_> =
        (0..3).map(|_| Node::new(rules("10/h", Algorithm::Gcra), 3, &clock)).collect();
    let mut passed = 0;
    for _ in 0..5 {
        for node in &mut nodes {
            assert_ne!(node.call(1), Some(true), "nothing is held ahead");
            node.ask();
            passed += node.answer(&counts, 1);
        }
    }
    assert_eq!(passed, 10);
    for node in &mut nodes {
        assert_eq!(node.call(1), Some(false), "what is used up is known");
        node.ask();
        assert!(node.asked.is_empty(), "and costs the store nothing");
    }
}

#[test]
fn pieces_grow_with_use_and_what_is_not_used_goes_back() {
    let clock = Clock::manual();
    let counts = Counts::default();
    let mut node = Node::new(rules("10000/s", Algorithm::Gcra), 1, &clock);
    let (mut asked, mut passed) = (0, 0);
    for _ in 0..2_000 {
        passed += usize::from(node.call(1) == Some(true));
        node.ask();
        asked += node.asked.len();
        passed += node.answer(&counts, 1);
    }
    assert_eq!(passed, 2_000);
    assert!(asked < 60, "{asked} questions for 2000 requests");
    let key = node.key.unwrap();
    let held = node.limiter.leases.shard(key)[&key].held;
    assert!(held > 0);
    clock.advance(Duration::from_secs(1));
    node.limiter.leases.sweep();
    node.ask();
    assert_eq!(node.asked.iter().map(|(_, ask)| ask.back).sum::<u64>(), held);
    node.answer(&counts, 1);
    assert_eq!(node.limiter.leases.shard(key)[&key].held, 0);
    clock.advance(Duration::from_secs(20));
    node.limiter.leases.sweep();
    assert!(node.limiter.leases.shard(key).is_empty(), "and is forgotten");
}

#[test]
fn without_the_store_each_gateway_allows_its_share_of_what_was_left() {
    let clock = Clock::manual();
    let counts = Counts::default();
    let mut nodes: Vec<_> =
        (0..3).map(|_| Node::new(rules("60/h", Algorithm::Gcra), 3, &clock)).collect();
    let mut passed = 0;
    for turn in 0..30 {
        let node = &mut nodes[turn % 3];
        passed += usize::from(node.call(1) == Some(true));
        node.ask();
        passed += node.answer(&counts, 1);
    }
    assert_eq!(passed, 30);
    let mut alone = 0;
    for node in &mut nodes {
        for _ in 0..40 {
            if node.call(1) == Some(true) {
                alone += 1;
                continue;
            }
            node.ask();
            for (key, ask) in std::mem::take(&mut node.asked) {
                node.limiter.leases.settle(key, &ask, Err(()));
            }
            for (_, mut told) in std::mem::take(&mut node.waiting) {
                assert_eq!(told.try_recv().unwrap(), Told::Down, "nobody waits for what is gone");
            }
        }
    }
    assert!((27..=33).contains(&alone), "{alone} of the 30 that were left");
    // The store is back: what was used meanwhile counts.
    clock.advance(Duration::from_secs(1));
    let mut back = 0;
    for _ in 0..20 {
        for node in &mut nodes {
            back += usize::from(node.call(1) == Some(true));
            node.ask();
            back += node.answer(&counts, 1_000_000_001);
        }
    }
    assert!(back <= 3, "{back} more");
}

#[test]
fn gateways_that_find_the_store_back_one_after_the_other_hold_the_limit_meanwhile() {
    const STEP_MS: u64 = 10;
    let clock = Clock::manual();
    let counts = Counts::default();
    let mut limit = Limits::parse("100/s").unwrap().0;
    limit[0].burst = Some(500);
    let rules = vec![Rule::new(limit[0], Algorithm::Gcra).unwrap()];
    let mut nodes: Vec<_> = (0..3).map(|_| Node::new(rules.clone(), 3, &clock)).collect();
    // The store is away for four seconds, and one gateway after the other finds it again.
    let back_ms = [6_000, 6_150, 6_300];
    let (mut passed, mut since_back) = (0, 0);
    for step in 0..1_200 {
        let now_ms = step * STEP_MS;
        let now_ns = now_ms * 1_000_000 + 1;
        let before = passed;
        for (node, back_ms) in nodes.iter_mut().zip(back_ms) {
            passed += (0..4).filter(|_| node.call(1) == Some(true)).count();
            node.ask();
            if (2_000..back_ms).contains(&now_ms) {
                for (key, ask) in std::mem::take(&mut node.asked) {
                    node.limiter.leases.settle(key, &ask, Err(()));
                }
                node.told();
            } else {
                passed += node.answer(&counts, now_ns);
            }
            if now_ms.is_multiple_of(250) {
                node.limiter.leases.sweep();
            }
        }
        since_back += if now_ms >= 7_000 { passed - before } else { 0 };
        // What is held ahead, and, when the first asks the store alone again, what the others have yet to tell of a quarter of
        // a second.
        let most = 500 + usize::try_from(now_ms).unwrap() / 10 + 50;
        assert!(passed <= most, "{passed} of {most} after {now_ms} ms");
        clock.advance(Duration::from_millis(STEP_MS));
    }
    assert!(since_back > 400, "the limit goes on: {since_back} in five seconds");
}

#[test]
fn a_count_that_was_reset_begins_anew_everywhere() {
    let clock = Clock::manual();
    let counts = Counts::default();
    let mut node = Node::new(rules("2/h", Algorithm::Gcra), 1, &clock);
    let round = |node: &mut Node| {
        let now = node.call(1) == Some(true);
        node.ask();
        usize::from(now) + node.answer(&counts, 1)
    };
    assert_eq!((0..5).map(|_| round(&mut node)).sum::<usize>(), 2);
    assert_eq!(node.limiter.shown(node.limiter.key(&"alice"), clock.now())[0].1.remaining, 0);
    node.limiter.reset(&"alice");
    assert_eq!((0..5).map(|_| round(&mut node)).sum::<usize>(), 2);
}

#[test]
fn names_of_counts_are_the_same_at_all_gateways() {
    let clock = Clock::manual();
    let name = || {
        let mut node = Node::new(rules("2/h", Algorithm::Gcra), 1, &clock);
        node.call(1);
        node.ask();
        node.asked[0].1.name.clone()
    };
    assert_eq!(name(), name());
    assert!(name().starts_with("a#gcra:"), "{}", name());
}

/// What is decided at once, whoever asks.
fn ruled(node: &Node, who: &str, cost: u64) -> Result<(bool, bool), OnFailure> {
    match node.limiter.take(&who, cost) {
        Judged::Now(ruling) => ruling
            .map(|it| (it.verdict.retry_after.is_none(), matches!(it.counted, Place::Alone(..)))),
        Judged::Later(..) => panic!("the store is asked"),
    }
}

#[test]
fn what_costs_more_than_ever_passes_is_refused_without_asking_whatever_becomes_of_others() {
    for on_failure in [OnFailure::Allow, OnFailure::Refuse, OnFailure::Local] {
        let clock = Clock::manual();
        let node = Node::with(rules("10/min", Algorithm::Gcra), 2, on_failure, &clock);
        for cost in [11, u64::MAX] {
            assert_eq!(ruled(&node, "alice", cost), Ok((false, false)), "{on_failure:?}");
        }
        assert!(node.limiter.leases.shard(node.limiter.key(&"alice")).is_empty());
    }
}

#[test]
fn more_who_wait_than_may_pass_at_once_are_refused_and_never_pass_uncounted() {
    for on_failure in [OnFailure::Allow, OnFailure::Refuse] {
        let clock = Clock::manual();
        let counts = Counts::default();
        let mut node = Node::with(rules("10/min", Algorithm::Gcra), 1, on_failure, &clock);
        let at_once: Vec<_> = (0..50).filter_map(|_| node.call(1)).collect();
        assert_eq!(at_once, [false; 40], "{on_failure:?}");
        node.ask();
        assert_eq!(node.answer(&counts, 1), 10);
    }
}

#[test]
fn where_there_is_no_room_to_ask_a_gateway_judges_alone_whatever_becomes_of_requests_without_a_store()
 {
    for on_failure in [OnFailure::Allow, OnFailure::Refuse] {
        let clock = Clock::manual();
        let node = Node::with(rules("4/h", Algorithm::Gcra), 2, on_failure, &clock);
        // Outsiders choose so many keys that no shard has room for another.
        for number in 0..LEASE_KEYS_MAX * 2 {
            node.limiter.leases.touch(&number);
        }
        let full = node.limiter.leases.shards.iter().map(|it| it.lock().unwrap().len());
        assert!(full.clone().all(|count| count == LEASE_KEYS_MAX / SHARDS), "{:?}", full.max());
        let passed: Vec<_> = (0..4).map(|_| ruled(&node, "alice", 1)).collect();
        let (yes, no) = (Ok((true, true)), Ok((false, true)));
        assert_eq!(passed, [yes, yes, no, no], "its share, {on_failure:?}");
        // So many wait that there is no room for more questions.
        let mut node = Node::with(rules("100/s", Algorithm::Gcra), 1, on_failure, &clock);
        node.key = None;
        let mut crowded = 0;
        for number in 0..base::caps::STORE_QUEUE_MAX + 3 {
            match node.limiter.take(&number, 1) {
                Judged::Later(_, mut told) => match told.try_recv() {
                    Ok(told) => {
                        assert_eq!(told, Told::Full);
                        crowded += 1;
                    }
                    Err(_) => node.waiting.push((node.limiter.key(&number), told)),
                },
                Judged::Now(ruling) => panic!("{ruling:?}"),
            }
        }
        assert_eq!(crowded, 3);
    }
}
