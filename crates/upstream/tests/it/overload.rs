//! More requests than a backend can work on: who is served, how soon, and who is told to come back.
//!
//! The backend works on fifty requests of 20 ms on average at a time, which makes 2,500 a second. Time is that of the test: each
//! request arrives, waits and is served at an exact millisecond.

use crate::it::kit::{At, Net, exchange, spec, world};
use http::StatusCode;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use traffic::directory::Consumer;
use traffic::exchange::Exchange;
use traffic::plan::{Plan, Priority};
use traffic::upstream::{Entry, Pass, Upstream};
use traffic::{Fault, FaultCode};
use upstream::{AdaptiveSpec, ConcurrencySpec, DelaySpec, TroubleSpec};

const MS: Duration = Duration::from_millis(1);
const SLOTS: usize = 50;
/// What the backend can answer in a second.
const CAPACITY: u64 = 2_500;

const ADAPTIVE: ConcurrencySpec = ConcurrencySpec {
    max: u32::MAX,
    max_per_target: None,
    queue: 500,
    wait: Duration::from_secs(1),
    delay: Some(DelaySpec::Measured),
    adaptive: Some(AdaptiveSpec { min: 4, max: 1_000 }),
    strangers: Priority::Normal,
};

/// An upstream before a backend that is played here, as long as nothing else is asked of it.
struct Stage {
    upstream: Arc<dyn Upstream>,
    slots: Arc<Semaphore>,
    seen: Arc<Mutex<Seen>>,
    began: Instant,
    requests: JoinSet<()>,
    /// How long the backend works on a request, from and to.
    service_ms: (u32, u32),
    sent: u32,
}

/// What became of requests.
#[derive(Default)]
struct Seen {
    /// Answers in each second from the beginning.
    answered: BTreeMap<u64, u64>,
    /// Of each priority and consumer, how many milliseconds each answer took.
    took_ms: BTreeMap<(Priority, String), Vec<u128>>,
    shed: BTreeMap<(Priority, String), u64>,
    /// The longest that somebody was kept waiting for nothing.
    shed_after_ms: u128,
}

impl Seen {
    /// How long answers took of which one in a hundred took longer.
    fn p99_ms(&self, priority: Priority) -> u128 {
        let of = self.took_ms.iter().filter(|((of, _), _)| *of == priority);
        let mut all: Vec<u128> = of.flat_map(|(_, took_ms)| took_ms.iter().copied()).collect();
        all.sort_unstable();
        all[all.len() * 99 / 100]
    }

    fn shed(&self, priority: Priority) -> u64 {
        self.shed.iter().filter(|((of, _), _)| *of == priority).map(|(_, count)| count).sum()
    }
}

/// A request by this plan of this consumer.
fn request(priority: Priority, consumer: &str) -> Exchange {
    let plan = Plan { name: priority.name().into(), priority, index: Some(0) };
    let consumer = Consumer { name: consumer.into(), ..Consumer::default() };
    Exchange { plan: Some(Arc::new(plan)), consumer: Some(Arc::new(consumer)), ..exchange() }
}

impl Stage {
    fn new(concurrency: ConcurrencySpec) -> Self {
        let net = Arc::new(Net::default());
        net.put("10.0.0.1:80", At::Hangs);
        let world = world(&net);
        let clock = world.clock.clone();
        tokio::spawn(async move {
            loop {
                sleep(MS).await;
                clock.advance(MS);
            }
        });
        let trouble = TroubleSpec { concurrency: Some(concurrency), ..TroubleSpec::default() };
        let spec = upstream::UpstreamSpec { trouble, ..spec(&["10.0.0.1:80"]) };
        Self {
            upstream: upstream::build(spec, &world).unwrap(),
            slots: Arc::new(Semaphore::new(SLOTS)),
            seen: Arc::default(),
            began: now(),
            requests: JoinSet::new(),
            service_ms: (15, 25),
            sent: 0,
        }
    }

    /// Sends a request and goes on at once.
    fn send(&mut self, priority: Priority, consumer: &str) {
        let (upstream, slots) = (Arc::clone(&self.upstream), Arc::clone(&self.slots));
        // Evenly spread and the same in each run.
        self.sent += 7;
        let service_ms =
            self.service_ms.0 + self.sent % (1 + self.service_ms.1 - self.service_ms.0);
        let (seen, began, consumer) = (Arc::clone(&self.seen), self.began, consumer.to_owned());
        self.requests.spawn(async move {
            let arrived = now();
            let entry = upstream.enter(&request(priority, &consumer));
            let answer = ask(entry, &slots, service_ms).await;
            let took_ms = arrived.elapsed().as_millis();
            let mut seen = seen.lock().unwrap();
            match answer {
                Ok(()) => {
                    *seen.answered.entry(began.elapsed().as_secs()).or_default() += 1;
                    seen.took_ms.entry((priority, consumer)).or_default().push(took_ms);
                }
                Err(fault) => {
                    assert_eq!(fault.code, FaultCode::UpstreamOverloaded);
                    assert!(fault.code.is_limit(), "what was shed counts for no limit");
                    seen.shed_after_ms = seen.shed_after_ms.max(took_ms);
                    *seen.shed.entry((priority, consumer)).or_default() += 1;
                }
            }
        });
    }

    /// Has so many requests arrive in each hundredth of a second, for so many seconds. They come whatever becomes of
    /// others.
    async fn load(&mut self, seconds: u32, mix: &[(Priority, &str, u32)]) {
        for moment in 0..seconds * 1_000 {
            for (priority, consumer, per_10_ms) in mix {
                let due = |moment: u32| moment * per_10_ms / 10;
                for _ in due(moment)..due(moment + 1) {
                    self.send(*priority, consumer);
                }
            }
            sleep(MS).await;
        }
    }

    /// Waits for all, and tells what became of them since the last time.
    async fn seen(&mut self) -> Seen {
        while let Some(ended) = self.requests.join_next().await {
            ended.unwrap();
        }
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

#[expect(clippy::disallowed_methods, reason = "the time that the test drives")]
fn now() -> Instant {
    Instant::now()
}

async fn ask(entry: Entry, slots: &Semaphore, service_ms: u32) -> Result<(), Fault> {
    let pass = match entry {
        Entry::Pass(pass) => pass,
        Entry::Queue(turn) => turn.await?,
        Entry::Refused(fault) => return Err(*fault),
        Entry::Open => panic!("somebody counts"),
    };
    pass.sent();
    let slot = slots.acquire().await.unwrap();
    sleep(service_ms * MS).await;
    drop(slot);
    pass.settle(Ok(StatusCode::OK));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn five_times_the_load_leaves_goodput_and_the_highest_priority_as_they_were() {
    let mut stage = Stage::new(ADAPTIVE);
    stage.load(2, &[(Priority::High, "gold", 2)]).await;
    let unloaded = stage.seen().await;
    assert_eq!((unloaded.p99_ms(Priority::High), unloaded.shed.len()), (25, 0));
    let mix = [
        (Priority::High, "gold", 12),
        (Priority::Normal, "silver", 38),
        (Priority::Low, "tin", 75),
    ];
    let began_s = stage.began.elapsed().as_secs();
    stage.load(5, &mix).await;
    // The load ends: whoever comes from now on finds the backend free as soon as those are answered that wait.
    let ended = now();
    sleep(50 * MS).await;
    let loaded = std::mem::take(&mut *stage.seen.lock().unwrap());
    let goodput: Vec<u64> =
        loaded.answered.range(began_s + 1..began_s + 5).map(|(_, n)| *n).collect();
    assert_eq!(goodput.len(), 4);
    assert!(goodput.iter().all(|answered| answered * 10 > CAPACITY * 9), "{goodput:?}");
    assert!(
        loaded.p99_ms(Priority::High) <= 2 * unloaded.p99_ms(Priority::High),
        "{}",
        loaded.p99_ms(Priority::High)
    );
    let shed = Priority::ALL.map(|priority| loaded.shed(priority));
    assert_eq!(shed[Priority::High.index()], 0, "{shed:?}");
    assert!(
        shed[Priority::Normal.index()] < 15_000 && shed[Priority::Low.index()] > 35_000,
        "{shed:?}"
    );
    assert!(loaded.shed_after_ms <= 110, "{} ms in vain", loaded.shed_after_ms);
    assert!(ended.elapsed() < 60 * MS);
    stage.load(1, &[(Priority::Low, "tin", 2), (Priority::High, "gold", 2)]).await;
    let after = stage.seen().await;
    assert_eq!((after.p99_ms(Priority::Low), after.p99_ms(Priority::High)), (25, 25));
    assert!(after.shed.is_empty(), "{:?}", after.shed);
}

#[tokio::test(start_paused = true)]
async fn where_all_are_of_the_highest_priority_those_that_are_served_are_served_soon() {
    let mut stage = Stage::new(ADAPTIVE);
    stage.load(1, &[(Priority::High, "gold", 20)]).await;
    stage.seen().await;
    // At first it may be a rush that is soon over, in which nobody is turned away at once.
    stage.load(1, &[(Priority::High, "gold", 125)]).await;
    drop(std::mem::take(&mut *stage.seen.lock().unwrap()));
    stage.load(2, &[(Priority::High, "gold", 125)]).await;
    let loaded = stage.seen().await;
    assert!(loaded.p99_ms(Priority::High) < 60, "{}", loaded.p99_ms(Priority::High));
    let answered: u64 = loaded.answered.values().sum();
    assert!(answered * 10 > CAPACITY * 2 * 9, "{answered}");
}

#[tokio::test(start_paused = true)]
async fn a_consumer_with_many_requests_does_not_delay_one_with_few() {
    let fixed = ConcurrencySpec { max: 50, adaptive: None, ..ADAPTIVE };
    let delay = DelaySpec::Fixed { target: 20 * MS, interval: 100 * MS };
    for concurrency in [ADAPTIVE, ConcurrencySpec { delay: Some(delay), ..fixed }] {
        let mut stage = Stage::new(concurrency);
        // A consumer who shares the list of the greedy one fares as that one does, which is why there are three.
        let few = ["a", "b", "c"];
        let mut mix = few.map(|consumer| (Priority::Normal, consumer, 1)).to_vec();
        mix.push((Priority::Normal, "greedy", 100));
        stage.load(2, &mix).await;
        let loaded = stage.seen().await;
        let shed =
            |who: &str| loaded.shed.get(&(Priority::Normal, who.to_owned())).map_or(0, |n| *n);
        let fine = few.iter().filter(|consumer| shed(consumer) == 0).count();
        assert!(fine >= 2, "{:?}", loaded.shed);
        assert!(shed("greedy") > 10_000, "{:?}", loaded.shed);
        let greedy = &loaded.took_ms[&(Priority::Normal, "greedy".to_owned())];
        assert!(greedy.len() > 3_800, "what nobody else wants it has: {}", greedy.len());
    }
}

/// Has the upstream give this answer to a request, whose body is read as long as what comes back is kept.
async fn answered(stage: &Stage, status: StatusCode) -> Option<Arc<dyn Pass>> {
    let Entry::Pass(pass) = stage.upstream.enter(&request(Priority::Normal, "a")) else {
        return None;
    };
    pass.sent();
    sleep(10 * MS).await;
    pass.settle(Ok(status));
    Some(pass)
}

#[tokio::test(start_paused = true)]
async fn who_is_told_to_ask_less_takes_no_places_from_others() {
    let stage = Stage::new(ADAPTIVE);
    let limit = || stage.upstream.admission().concurrency.unwrap().1;
    for status in [StatusCode::OK, StatusCode::TOO_MANY_REQUESTS].repeat(200) {
        answered(&stage, status).await.unwrap();
    }
    assert_eq!(limit(), 20);
    for status in [StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE].repeat(200) {
        answered(&stage, status).await.unwrap();
    }
    assert!(limit() < 20, "the backend has too much to do, it says");
}

#[tokio::test(start_paused = true)]
async fn where_the_limit_is_found_those_who_do_not_read_keep_nobody_out() {
    for (concurrency, expected) in
        [(ADAPTIVE, 50), (ConcurrencySpec { max: 20, adaptive: None, ..ADAPTIVE }, 20)]
    {
        let stage = Stage::new(concurrency);
        let mut unread = Vec::new();
        for _ in 0..50 {
            unread.extend(answered(&stage, StatusCode::OK).await);
        }
        assert_eq!(unread.len(), expected);
    }
}
