//! Gateways that share a quota, near its end.

use super::{KIND, calling};
use crate::fixture::{Built, World};
use crate::store::{Store, StoreParts, Stores};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use telemetry::Metrics;
use traffic::background::{Busy, Job, Task};
use traffic::store::{Ask, Grant, LimitStore, Tally, Total};
use traffic::{BoxFuture, State};

const GATEWAYS: u32 = 3;
const AMOUNT: u64 = 1_000;
/// How long a gateway does not hear of others: it asks every 100 ms.
const UNHEARD: Duration = Duration::from_millis(200);

/// What each gateway has told of each count.
#[derive(Debug, Default)]
struct Counts(Mutex<HashMap<String, BTreeMap<String, u64>>>);

impl LimitStore for Counts {
    fn take(&self, asks: Vec<Ask>) -> BoxFuture<'_, Vec<Result<Grant, String>>> {
        Box::pin(async move { asks.iter().map(|_| Err("not asked here".to_owned())).collect() })
    }

    fn tally<'a>(
        &'a self,
        gateway: &'a str,
        sequence: u64,
        tallies: Vec<Tally>,
    ) -> BoxFuture<'a, Vec<Result<Total, String>>> {
        Box::pin(async move {
            let mut all = self.0.lock().unwrap();
            let tell = |tally: &Tally| {
                let count = all.entry(tally.name.clone()).or_default();
                count.insert(gateway.to_owned(), tally.own);
                Ok(Total { total: count.values().sum(), own: tally.own, sequence })
            };
            tallies.iter().map(tell).collect()
        })
    }

    fn beat<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<u32, String>> {
        Box::pin(async { Ok(GATEWAYS) })
    }
}

/// Work beside the requests, in the time of the test.
#[derive(Debug)]
struct Beside;

impl traffic::Background for Beside {
    fn spawn(&self, work: BoxFuture<'static, ()>) -> Task {
        tokio::spawn(work);
        Task::nothing()
    }

    fn compute(&self, _: Job) -> BoxFuture<'static, Result<(), Busy>> {
        Box::pin(async { Err(Busy) })
    }
}

/// A gateway with the quota, and what it lives on.
struct Gateway {
    policy: Built,
    _world: World,
    _kept: State,
}

impl Gateway {
    fn new(counts: &Arc<Counts>) -> Self {
        let parts = StoreParts {
            name: "shared".into(),
            mark: String::new(),
            keeper: Arc::clone(counts) as Arc<dyn LimitStore>,
            timeout: Duration::from_secs(1),
            gateways: GATEWAYS,
            metrics: Metrics::new(1, &[]).store("shared"),
        };
        let kept = State::new();
        let store = Store::open(parts, &kept, &Beside);
        let stores = Arc::new(Stores(BTreeMap::from([("shared".to_owned(), Some(store))])));
        let mut world = World::default();
        world.stores = stores;
        let quota =
            json!({ "quota": format!("{AMOUNT}/day"), "per": "consumer", "store": "shared" });
        Self { policy: world.build(&KIND, &quota).unwrap(), _world: world, _kept: kept }
    }

    /// Whether a request passes, and when to come back otherwise.
    fn ask(&self) -> Result<(), String> {
        let wait = |fault: traffic::Fault| fault.headers[0].1.to_str().unwrap().to_owned();
        self.policy.settled(&mut calling("alice")).map_err(wait)
    }
}

/// How much passes in all when each gateway asks so often within ten milliseconds, and what those are told who come when
/// all is used.
async fn passes(calls: [usize; GATEWAYS as usize]) -> (u64, String) {
    let counts = Arc::new(Counts::default());
    let gateways: Vec<Gateway> = calls.iter().map(|_| Gateway::new(&counts)).collect();
    // They know of each other, and of what is used.
    let mut passed = 0;
    for gateway in &gateways {
        passed += u64::from(gateway.ask().is_ok());
        tokio::time::sleep(UNHEARD).await;
    }
    let mut idle = 0;
    while idle < 100 {
        let before = passed;
        for (gateway, calls) in gateways.iter().zip(calls) {
            passed += (0..calls).filter(|_| gateway.ask().is_ok()).count() as u64;
        }
        idle = if passed == before { idle + 1 } else { 0 };
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // One that nobody has asked for a while has not heard of the others.
    let asked = gateways.iter().zip(calls).find(|(_, calls)| *calls > 0).unwrap().0;
    (passed, asked.ask().unwrap_err())
}

#[tokio::test(start_paused = true)]
async fn near_its_end_a_shared_quota_is_not_overrun_by_what_passes_elsewhere() {
    // The last ones pass one by one, before the others know of them.
    let most = AMOUNT + 2 * (u64::from(GATEWAYS) - 1);
    for calls in [[3, 3, 3], [1, 2, 3], [3, 0, 0], [0, 1, 3]] {
        let (passed, wait) = passes(calls).await;
        assert!((AMOUNT..=most).contains(&passed), "{calls:?}: {passed} passed");
        assert_eq!(wait, "86400", "{calls:?}: until the day ends");
    }
}

#[tokio::test(start_paused = true)]
async fn who_outruns_the_share_of_a_gateway_is_told_to_come_back_soon() {
    let counts = Arc::new(Counts::default());
    let gateways: Vec<Gateway> = (0..GATEWAYS).map(|_| Gateway::new(&counts)).collect();
    let mut passed = 0;
    while passed < AMOUNT - 60 {
        for _ in 0..5 {
            gateways[0].ask().unwrap();
            passed += 1;
        }
        tokio::time::sleep(UNHEARD).await;
    }
    // Of sixty a third each, and a fourth of it at a time.
    let asked: Vec<_> = (0..12).map(|_| gateways[0].ask()).collect();
    assert_eq!(asked.iter().filter(|it| it.is_ok()).count(), 5, "{asked:?}");
    assert_eq!(asked[11], Err("1".to_owned()));
    tokio::time::sleep(UNHEARD).await;
    assert_eq!(gateways[0].ask(), Ok(()), "others have used nothing of the rest");
}
