//! The stores of a config, in which gateways share counts, and who asks them: tasks beside the traffic, that take what
//! requests ran out of from a queue and ask for all of it together.
//!
//! While a store cannot be asked nobody waits for it. That is noticed by the questions themselves and by a beat once
//! a second, which also tells how many gateways there are.

use crate::limit::Key;
use crate::limit::leases::Leases;
use crate::quota::Pool;
use base::backoff::Backoff;
use base::caps::{STORE_BATCH_MAX, STORE_GATEWAYS_MAX, STORE_QUEUE_MAX};
use base::stores::OnStoreFailure;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use telemetry::metrics::{StoreMetrics, StoreState};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};
use traffic::background::Task;
use traffic::store::{Ask, LimitStore};
use traffic::{Background, State};

/// How often a gateway tells that it is alive.
const BEAT: Duration = Duration::from_secs(1);
/// How long until a store is asked again after it failed, at first and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(250));
/// How often what nobody uses is looked for.
const SWEEP: Duration = Duration::from_millis(250);
/// How often a store is told what was counted of quotas, and asked what others have.
const TELL: Duration = Duration::from_millis(100);
/// Batches that are under way at a time.
const BATCHES_MAX: usize = 4;

/// What becomes of requests while the store of a limit cannot be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// Each gateway allows its share: the limit divided by the number of gateways.
    #[default]
    Local,
    /// They are refused with 503.
    Refuse,
    /// They pass uncounted.
    Allow,
}

impl From<&OnStoreFailure> for OnFailure {
    fn from(written: &OnStoreFailure) -> Self {
        match written {
            OnStoreFailure::Local => Self::Local,
            OnStoreFailure::Refuse => Self::Refuse,
            OnStoreFailure::Allow(_) => Self::Allow,
        }
    }
}

/// The stores of a config, by name; one that could not be made is there without a value.
#[derive(Debug, Default)]
pub struct Stores(pub BTreeMap<String, Option<Arc<Store>>>);

impl Stores {
    /// How they are, for people who ask.
    #[must_use]
    pub fn status(&self) -> Vec<Value> {
        let of = |(name, store): (&String, &Option<Arc<Store>>)| {
            let Some(store) = store else { return json!({ "name": name, "state": "broken" }) };
            json!({
                "name": name,
                "state": store.inner.state().name(),
                "gateways": store.gateways(),
                "trouble": *store.inner.trouble.lock().unwrap_or_else(PoisonError::into_inner),
            })
        };
        self.0.iter().map(of).collect()
    }
}

/// What a store is made of.
#[derive(Debug)]
pub struct StoreParts {
    /// Its name in the config.
    pub name: Arc<str>,
    /// Tells it apart from one of the same name with other settings.
    pub mark: String,
    /// Who keeps the counts.
    pub keeper: Arc<dyn LimitStore>,
    /// How long a request waits for it.
    pub timeout: Duration,
    /// How many gateways there are at least.
    pub gateways: u32,
    /// Counters.
    pub metrics: Arc<StoreMetrics>,
}

/// A store, and what is on its way there.
pub struct Store {
    inner: Arc<Inner>,
    mark: String,
    orders: mpsc::Sender<Order>,
    _tasks: Mutex<Vec<Task>>,
}

struct Inner {
    name: Arc<str>,
    keeper: Arc<dyn LimitStore>,
    timeout: Duration,
    gateways_min: u32,
    gateways: AtomicU32,
    metrics: Arc<StoreMetrics>,
    state: watch::Sender<StoreState>,
    is_down: AtomicBool,
    /// Whether a question failed since the last beat.
    is_hurt: AtomicBool,
    hurt: Notify,
    trouble: Mutex<Option<String>>,
    watched: Mutex<Vec<Weak<Leases>>>,
    pools: Mutex<Vec<Weak<Pool>>>,
    hurry: Notify,
}

/// A key of which more is wanted.
struct Order {
    leases: Arc<Leases>,
    key: Key,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("name", &self.inner.name).finish_non_exhaustive()
    }
}

impl Store {
    /// The store of this name and these settings, alive from now on.
    pub fn open(parts: StoreParts, state: &State, background: &dyn Background) -> Arc<Self> {
        let id = format!("stores/{}#{}", parts.name, parts.mark);
        state.cell(&id, || Self::new(parts, background))
    }

    fn new(parts: StoreParts, background: &dyn Background) -> Self {
        let StoreParts { name, mark, keeper, timeout, gateways, metrics } = parts;
        let (orders, ordered) = mpsc::channel(STORE_QUEUE_MAX);
        let inner = Arc::new(Inner {
            name,
            keeper,
            timeout,
            gateways_min: gateways.max(1),
            gateways: AtomicU32::new(gateways.max(1)),
            metrics,
            state: watch::Sender::new(StoreState::Starting),
            is_down: AtomicBool::new(false),
            is_hurt: AtomicBool::new(false),
            hurt: Notify::new(),
            trouble: Mutex::default(),
            watched: Mutex::default(),
            pools: Mutex::default(),
            hurry: Notify::new(),
        });
        let ordered = Arc::new(tokio::sync::Mutex::new(ordered));
        let mut tasks = vec![
            background.spawn(Box::pin(Arc::clone(&inner).beat())),
            background.spawn(Box::pin(Arc::clone(&inner).sweep())),
            background.spawn(Box::pin(Arc::clone(&inner).tell())),
        ];
        for _ in 0..BATCHES_MAX {
            let (inner, ordered) = (Arc::clone(&inner), Arc::clone(&ordered));
            tasks.push(background.spawn(Box::pin(inner.pump(ordered))));
        }
        Self { inner, mark, orders, _tasks: Mutex::new(tasks) }
    }

    /// Tells it apart from others.
    pub(crate) fn mark(&self) -> String {
        format!("{}#{}", self.inner.name, self.mark)
    }

    /// Whether it is known that nobody answers.
    pub(crate) fn is_down(&self) -> bool {
        self.inner.is_down.load(Ordering::Relaxed)
    }

    /// How many gateways share it, this one among them.
    pub(crate) fn gateways(&self) -> u32 {
        self.inner.gateways.load(Ordering::Relaxed)
    }

    /// Asks about a key as soon as it can be asked. False if too many wait already.
    pub(crate) fn order(&self, leases: &Arc<Leases>, key: Key) -> bool {
        self.orders.try_send(Order { leases: Arc::clone(leases), key }).is_ok()
    }

    /// Waits for an answer; nothing if there is none in time.
    pub(crate) async fn wait<T>(&self, told: oneshot::Receiver<T>) -> Option<T> {
        self.inner.metrics.waited();
        timeout(self.inner.timeout, told).await.ok()?.ok()
    }

    /// Counts a request for which it could not be asked.
    pub(crate) fn fell(&self, how: OnFailure) {
        let metrics = &self.inner.metrics;
        match how {
            OnFailure::Local => metrics.local(),
            OnFailure::Refuse => metrics.refused(),
            OnFailure::Allow => metrics.allowed(),
        }
    }

    /// Counts a request for which there was no room to ask.
    pub(crate) fn crowded(&self) {
        self.inner.metrics.crowded();
    }

    /// Somebody is there whose quotas are not known yet.
    pub(crate) fn hurry(&self) {
        self.inner.hurry.notify_one();
    }

    /// Shares from now on what these count.
    pub(crate) fn share(&self, pool: &Arc<Pool>) {
        let mut pools = self.inner.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|it| it.strong_count() > 0);
        if !pools.iter().any(|it| it.as_ptr() == Arc::as_ptr(pool)) {
            pools.push(Arc::downgrade(pool));
        }
    }

    /// Looks from now on for what nobody uses of these.
    pub(crate) fn watch(&self, leases: &Arc<Leases>) {
        let mut watched = self.inner.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.retain(|it| it.strong_count() > 0);
        if !watched.iter().any(|it| it.as_ptr() == Arc::as_ptr(leases)) {
            watched.push(Arc::downgrade(leases));
        }
    }
}

impl Inner {
    fn state(&self) -> StoreState {
        *self.state.borrow()
    }

    /// Notes how the store is; a change is told once.
    fn turn(&self, state: StoreState, why: Option<&str>) {
        let before = self.state.send_replace(state);
        self.is_down.store(state == StoreState::Down, Ordering::Relaxed);
        self.metrics.turned(state);
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = why.map(str::to_owned);
        if before == state {
            return;
        }
        let (store, why) = (&*self.name, why.unwrap_or_default());
        match state {
            StoreState::Starting => {}
            StoreState::Up if before == StoreState::Starting => {
                tracing::info!(
                    store,
                    gateways = self.gateways.load(Ordering::Relaxed),
                    "the store of shared limits is reached"
                );
            }
            StoreState::Up => tracing::info!(store, "the store of shared limits answers again"),
            StoreState::Partly => tracing::warn!(
                store,
                why,
                "the store of shared limits does not answer for some counts; these limits go by their `on_store_failure`"
            ),
            StoreState::Down => tracing::warn!(
                store,
                why,
                "the store of shared limits does not answer; its limits go by their `on_store_failure`"
            ),
        }
    }

    async fn beat(self: Arc<Self>) {
        let random = RandomState::new();
        let own = format!("{:016x}{:016x}", random.hash_one(0), random.hash_one(1));
        let mut again = Backoff::new(AGAIN.0, AGAIN.1);
        let mut last_failure: Option<String> = None;
        // For how long no question has failed.
        let mut calm = Duration::ZERO;
        loop {
            let told = self.keeper.beat(&own).await;
            let is_hurt = self.is_hurt.swap(false, Ordering::Relaxed);
            let wait = match told {
                Ok(gateways) => {
                    let gateways = gateways.clamp(self.gateways_min, STORE_GATEWAYS_MAX);
                    self.gateways.store(gateways, Ordering::Relaxed);
                    self.metrics.gateways(gateways);
                    match is_hurt {
                        true => {
                            let why =
                                self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
                            last_failure = why.or(last_failure);
                            self.turn(StoreState::Partly, last_failure.as_deref());
                            calm = Duration::ZERO;
                            AGAIN.1
                        }
                        // The next question that fails may take that long.
                        false
                            if self.state() == StoreState::Partly && calm < self.timeout + BEAT =>
                        {
                            calm += AGAIN.1;
                            AGAIN.1
                        }
                        false => {
                            again.reset();
                            self.turn(StoreState::Up, None);
                            BEAT
                        }
                    }
                }
                Err(why) => {
                    self.turn(StoreState::Down, Some(&why));
                    again.after_failure()
                }
            };
            timeout(wait, self.hurt.notified()).await.ok();
        }
    }

    async fn sweep(self: Arc<Self>) {
        loop {
            sleep(SWEEP).await;
            let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner).clone();
            watched.iter().filter_map(Weak::upgrade).for_each(|leases| leases.sweep());
        }
    }

    async fn tell(self: Arc<Self>) {
        let mut was_gone = false;
        loop {
            timeout(TELL, self.hurry.notified()).await.ok();
            let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let pools: Vec<Arc<Pool>> = pools.iter().filter_map(Weak::upgrade).collect();
            if matches!(self.state(), StoreState::Down | StoreState::Starting) {
                was_gone = true;
                continue;
            }
            if std::mem::take(&mut was_gone) {
                pools.iter().for_each(|pool| pool.retell());
            }
            for pool in pools {
                let round = pool.sync(&*self.keeper).await;
                self.metrics.asked(round.asked, round.failed);
                if let Some(why) = round.why {
                    self.failed(why);
                }
            }
        }
    }

    /// A question failed: whether all do is for the next beat to tell.
    fn failed(&self, why: String) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        if !self.is_hurt.swap(true, Ordering::Relaxed) && self.state() == StoreState::Up {
            self.hurt.notify_one();
        }
    }

    async fn pump(self: Arc<Self>, ordered: Arc<tokio::sync::Mutex<mpsc::Receiver<Order>>>) {
        let mut state = self.state.subscribe();
        loop {
            let mut orders = Vec::new();
            let count = ordered.lock().await.recv_many(&mut orders, STORE_BATCH_MAX).await;
            if count == 0 {
                return;
            }
            // Before it was reached for the first time, requests wait as long as they would for an answer.
            let is_known = state.wait_for(|state| *state != StoreState::Starting).await.is_ok();
            if !is_known {
                return;
            }
            self.ask(orders).await;
        }
    }

    async fn ask(&self, orders: Vec<Order>) {
        if self.is_down.load(Ordering::Relaxed) {
            let nothing = Ask::default();
            orders.iter().for_each(|it| it.leases.settle(it.key, &nothing, Err(())));
            return;
        }
        let asked: Vec<(Order, Ask)> = orders
            .into_iter()
            .filter_map(|order| Some((order.leases.ask(order.key)?, order)))
            .map(|(ask, order)| (order, ask))
            .collect();
        let asks = asked.iter().map(|(_, ask)| ask.clone()).collect();
        let mut told = self.keeper.take(asks).await.into_iter();
        let (mut failures, mut trouble) = (0, None);
        for (order, ask) in &asked {
            let told = told.next().unwrap_or_else(|| Err("an answer is missing".to_owned()));
            order.leases.settle(order.key, ask, told.as_ref().map_err(|_| ()));
            if let Err(why) = told {
                failures += 1;
                trouble = Some(why);
            }
        }
        self.metrics.asked(asked.len() as u64, failures);
        if let Some(why) = trouble {
            self.failed(why);
        }
    }
}
