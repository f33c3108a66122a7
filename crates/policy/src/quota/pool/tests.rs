use super::super::{Ask, Ledger, Record};
use super::{Key, Pool};
use crate::store::{Store, StoreParts};
use base::Clock;
use proptest::prelude::{Strategy as _, prop, prop_assert_eq, prop_oneof, proptest};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use telemetry::Metrics;
use traffic::background::{Busy, Job, Task};
use traffic::store::{self, Grant, LimitStore, Tally, Total};
use traffic::{BoxFuture, State};

const DAY_S: u64 = 86_400;

/// A count as the store has it: what each gateway told and by which number, and what was forgiven.
#[derive(Clone, Debug, Default)]
struct Count {
    own: BTreeMap<String, (u64, u64)>,
    zero: u64,
}

/// A store as the script is one, whose answers may be lost.
#[derive(Debug, Default)]
struct Counts {
    all: Mutex<HashMap<String, Count>>,
    loses_answers: AtomicBool,
}

impl Counts {
    fn tell(&self, gateway: &str, sequence: u64, tally: &Tally) -> Total {
        let mut all = self.all.lock().unwrap();
        let count = all.entry(tally.name.clone()).or_default();
        let (before, last) = count.own.get(gateway).copied().unwrap_or_default();
        let mut own = if tally.is_first { tally.own.max(before) } else { tally.own };
        if sequence <= last {
            own = before;
        }
        count.own.insert(gateway.to_owned(), (own, last.max(sequence)));
        let sum: u64 = count.own.values().map(|(own, _)| own).sum();
        if tally.is_reset {
            count.zero = sum;
        }
        Total { total: sum.saturating_sub(count.zero), own, sequence: last }
    }
}

impl LimitStore for Counts {
    fn take(&self, _: Vec<store::Ask>) -> BoxFuture<'_, Vec<Result<Grant, String>>> {
        Box::pin(async { Vec::new() })
    }

    fn tally<'a>(
        &'a self,
        gateway: &'a str,
        sequence: u64,
        tallies: Vec<Tally>,
    ) -> BoxFuture<'a, Vec<Result<Total, String>>> {
        Box::pin(async move {
            let told = tallies.iter().map(|tally| self.tell(gateway, sequence, tally));
            let told: Vec<_> = told.collect();
            match self.loses_answers.load(Ordering::Relaxed) {
                true => told.iter().map(|_| Err("lost".to_owned())).collect(),
                false => told.into_iter().map(Ok).collect(),
            }
        })
    }

    fn beat<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<u32, String>> {
        Box::pin(async { Ok(1) })
    }
}

#[derive(Debug)]
struct Still;

impl traffic::Background for Still {
    fn spawn(&self, _: BoxFuture<'static, ()>) -> Task {
        Task::nothing()
    }

    fn compute(&self, _: Job) -> BoxFuture<'static, Result<(), Busy>> {
        Box::pin(async { Err(Busy) })
    }
}

/// A gateway that counts, and tells the store when the test wants.
struct Node {
    ledger: Arc<Ledger>,
    pool: Pool,
    clock: Clock,
}

impl Node {
    fn new(clock: &Clock) -> Self {
        let ledger = Arc::new(Ledger::default());
        ledger.note_changes();
        Self::on(ledger, clock)
    }

    fn on(ledger: Arc<Ledger>, clock: &Clock) -> Self {
        let parts = StoreParts {
            name: "shared".into(),
            mark: String::new(),
            keeper: Arc::new(Counts::default()),
            timeout: Duration::from_millis(20),
            gateways: 1,
            metrics: Metrics::new(1, &[]).store("shared"),
        };
        let store = Store::open(parts, &State::new(), &Still);
        let pool = Pool::new(&store, &ledger, clock);
        Self { ledger, pool, clock: clock.clone() }
    }

    fn ends_s(&self) -> u64 {
        (base::clock::unix_ms(self.clock.wall()) / 1_000 / DAY_S + 1) * DAY_S
    }

    fn key(&self) -> Key {
        self.ledger.holder("test", &"alice").key(7)
    }

    /// Whether something passes that costs so much.
    fn call(&self, amount: u64, cost: u64) -> bool {
        self.pool.touch(self.key(), self.ends_s(), &|| "alice".into());
        let mut asks = [Ask::new(7, self.ends_s(), amount, cost).shared(1)];
        let now_s = i64::try_from(base::clock::unix_ms(self.clock.wall()) / 1_000).unwrap();
        self.ledger.take(self.ledger.holder("test", &"alice"), &mut asks, now_s, false)
    }

    fn give_back(&self, cost: u64) {
        self.pool.touch(self.key(), self.ends_s(), &|| "alice".into());
        let ask = Ask::new(7, self.ends_s(), u64::MAX, cost).shared(1);
        self.ledger.give_back(self.ledger.holder("test", &"alice"), &[ask]);
    }

    fn used(&self) -> u64 {
        let ask = Ask::new(7, self.ends_s(), 0, 0);
        self.ledger.used(self.ledger.holder("test", &"alice"), &ask)
    }

    fn sync(&self, counts: &Counts) -> super::Round {
        let mut sync = std::pin::pin!(self.pool.sync(counts));
        match sync.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(round) => round,
            Poll::Pending => panic!("the store of the test answers at once"),
        }
    }

    /// A process that goes on from what the journal of this one has.
    fn restart(&self) -> Self {
        let ledger = Arc::new(Ledger::default());
        let all = (0..self.ledger.parts()).flat_map(|part| self.ledger.all(part, 0));
        let records: Vec<Record> = all.collect();
        assert!(ledger.adopt(self.ledger.secret(), records));
        ledger.note_changes();
        Self::on(ledger, &self.clock)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Call {
        node: usize,
        cost: u64,
    },
    GiveBack(usize),
    Sync {
        node: usize,
        is_lost: bool,
    },
    Restart(usize),
    /// The store forgets all, and comes back.
    Forget,
}

fn steps() -> impl proptest::strategy::Strategy<Value = Vec<Step>> {
    let node = 0..3_usize;
    let step = prop_oneof![
        4 => (node.clone(), 1..9_u64).prop_map(|(node, cost)| Step::Call { node, cost }),
        1 => node.clone().prop_map(Step::GiveBack),
        4 => (node.clone(), prop::bool::ANY).prop_map(|(node, is_lost)| Step::Sync { node, is_lost }),
        1 => node.prop_map(Step::Restart),
        1 => proptest::strategy::Just(Step::Forget),
    ];
    prop::collection::vec(step, 1..80)
}

proptest! {
    /// Whatever is lost, told twice or begun anew: in the end everybody knows what all have counted together.
    #[test]
    fn what_all_have_counted_is_known_to_all_in_the_end(steps in steps()) {
        let clock = Clock::manual();
        let counts = Counts::default();
        let mut nodes: Vec<_> = (0..3).map(|_| Node::new(&clock)).collect();
        let mut passed = [0_u64; 3];
        for step in steps {
            match step {
                Step::Call { node, cost } => {
                    passed[node] += if nodes[node].call(u64::MAX, cost) { cost } else { 0 };
                }
                Step::GiveBack(node) if passed[node] > 0 => {
                    nodes[node].give_back(1);
                    passed[node] -= 1;
                    // A process that is killed before it tells that leaves it used.
                    nodes[node].sync(&counts);
                    nodes[node].sync(&counts);
                }
                Step::GiveBack(_) => {}
                Step::Sync { node, is_lost } => {
                    counts.loses_answers.store(is_lost, Ordering::Relaxed);
                    nodes[node].sync(&counts);
                    counts.loses_answers.store(false, Ordering::Relaxed);
                }
                Step::Restart(node) => {
                    let again = nodes[node].restart();
                    nodes[node] = again;
                }
                Step::Forget => {
                    counts.all.lock().unwrap().clear();
                    nodes.iter().for_each(|node| node.pool.retell());
                }
            }
        }
        for _ in 0..4 {
            for node in &nodes {
                node.pool.touch(node.key(), node.ends_s(), &|| "alice".into());
                node.sync(&counts);
            }
        }
        for node in &nodes {
            prop_assert_eq!(node.used(), passed.iter().sum::<u64>());
        }
    }
}

#[test]
fn gateways_pass_together_what_a_quota_allows_and_begin_anew_with_the_next_window() {
    let clock = Clock::manual();
    let counts = Counts::default();
    let nodes: Vec<_> = (0..3).map(|_| Node::new(&clock)).collect();
    for day in 0..32 {
        let mut passed = 0;
        for turn in 0..150 {
            let node = &nodes[turn % 3];
            passed += u64::from(node.call(100, 1));
            nodes.iter().for_each(|node| drop(node.sync(&counts)));
        }
        assert_eq!(passed, 100, "day {day}");
        clock.advance(Duration::from_secs(DAY_S));
    }
    // Windows that are over are not told of any more.
    clock.advance(Duration::from_secs(super::LATE_S));
    for node in &nodes {
        node.sync(&counts);
        assert!(node.pool.shards.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }
}

#[test]
fn who_asks_nothing_costs_the_store_nothing_and_a_reset_holds_for_all() {
    let clock = Clock::manual();
    let counts = Counts::default();
    let (one, other) = (Node::new(&clock), Node::new(&clock));
    assert!((0..6).all(|_| one.call(10, 1)));
    one.sync(&counts);
    assert!(other.call(10, 4), "it has not heard of the others yet");
    other.sync(&counts);
    assert_eq!(other.used(), 10);
    assert!(!other.call(10, 1));
    other.sync(&counts);
    let rounds = (0..super::ROUNDS).map(|_| other.sync(&counts));
    assert_eq!(rounds.last(), Some(super::Round::default()));
    one.pool.reset(one.key(), one.ends_s(), &|| "alice".into());
    one.sync(&counts);
    assert_eq!(one.used(), 0);
    assert!(!other.call(10, 1));
    other.sync(&counts);
    assert_eq!(other.used(), 0);
    assert!(other.call(10, 10));
}

#[test]
fn what_a_process_forgot_when_it_was_killed_is_what_the_store_has_of_it() {
    let clock = Clock::manual();
    let counts = Counts::default();
    let node = Node::new(&clock);
    assert!(node.call(10, 3));
    node.sync(&counts);
    let killed = node.restart();
    // The journal was not written since.
    assert!(node.call(10, 4));
    node.sync(&counts);
    assert_eq!(killed.used(), 3);
    assert!(killed.call(10, 1));
    killed.sync(&counts);
    assert_eq!(killed.used(), 8, "three, four that the journal did not have, and one");
}
