//! The keys of an issuer of tokens: fetched beside the request path, kept across reloads, shared by all policies
//! that name the same source.
//!
//! They are fetched when the first policy is built, again before they age out, and when a token names a key that
//! is not there. One fetch runs at a time, and everybody waits for the same. While the issuer does not answer,
//! the keys that were fetched last go on, for `KEYS_STALE_MAX_S` at most.

use crate::jose::KeySet;
use crate::kind::BuildCtx;
use crate::verified::{self, TokenHash};
use arc_swap::{ArcSwap, Guard};
use base::Clock;
use base::backoff::Backoff;
use base::caps::{
    KEYS_AGE_DEFAULT_S, KEYS_AGE_MAX_S, KEYS_AGE_MIN_S, KEYS_ASKED_BURST, KEYS_ASKED_PAUSE_S,
    KEYS_FETCH_TIMEOUT_S, KEYS_STALE_MAX_S, KEYS_UNKNOWN_MAX, KEYS_UNKNOWN_S, KEYS_WAIT_S,
};
use base::clock::unix_ms;
use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use telemetry::metrics::IssuerMetrics;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tracing::{info, warn};
use traffic::Outbound;
use traffic::background::Task;

/// How keys get here.
mod fetch;

use fetch::Fetched;
pub(crate) use fetch::{Fetcher, Source, discover, plain};

const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// The longest while there are no keys at all, and nothing can be served.
const PAUSE_EMPTY_MAX: Duration = Duration::from_secs(5);
const FETCH: Duration = Duration::from_secs(KEYS_FETCH_TIMEOUT_S);
const WAIT: Duration = Duration::from_secs(KEYS_WAIT_S);
const STALE_MAX: Duration = Duration::from_secs(KEYS_STALE_MAX_S);

/// An issuer whose keys are fetched.
pub(crate) struct Issuer {
    shared: Arc<Shared>,
    /// Ends with it.
    _task: Mutex<Task>,
}

/// A policy's hold on an issuer. The way out of the policy's config is taken as long as this is there.
#[derive(Debug)]
pub(crate) struct User {
    issuer: Arc<Issuer>,
    _way: Arc<dyn Outbound>,
}

impl Deref for User {
    type Target = Issuer;

    fn deref(&self) -> &Issuer {
        &self.issuer
    }
}

/// What is known of the keys of an issuer.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// None until they were fetched for the first time, and when they are too old.
    pub(crate) keys: Option<KeySet>,
    /// Another number for other keys.
    pub(crate) generation: u64,
}

struct Shared {
    source: Source,
    /// Certificates that are trusted in place of the usual ones.
    ca_pem: Option<Vec<u8>>,
    clock: Clock,
    metrics: Arc<IssuerMetrics>,
    known: ArcSwap<Known>,
    /// The ways out of the configs that use it; the newest one is taken.
    ways: Mutex<Vec<Weak<dyn Outbound>>>,
    progress: watch::Sender<Progress>,
    asked: Notify,
    limits: Mutex<Limits>,
}

/// How far fetching has come: numbers of attempts.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    begun: u64,
    ended: u64,
    wanted: u64,
    has_failed: bool,
    /// The last one that brought keys, and when that was.
    well: u64,
    well_at: Option<Instant>,
}

/// What keeps a flood of unknown names of keys from the issuer.
struct Limits {
    left: u32,
    since: Instant,
    /// Names that were not there a short while ago, hashed: whoever makes them up chooses how long they are.
    unknown: HashMap<TokenHash, Instant>,
}

impl Issuer {
    /// The issuer of a source, for a policy.
    pub(crate) fn of(source: &Source, ca_pem: Option<Vec<u8>>, ctx: &BuildCtx<'_>) -> User {
        let name = source.name();
        let trusted = ca_pem.as_deref().map(verified::digest_of).unwrap_or_default();
        let id = format!("issuer/{trusted:?}/{}", source.key());
        let issuer = ctx.state.cell(&id, || {
            let limits =
                Limits { left: KEYS_ASKED_BURST, since: ctx.clock.now(), unknown: HashMap::new() };
            let shared = Arc::new(Shared {
                metrics: ctx.metrics.issuer(name),
                source: source.clone(),
                ca_pem,
                clock: ctx.clock.clone(),
                known: ArcSwap::default(),
                ways: Mutex::default(),
                progress: watch::Sender::new(Progress::default()),
                asked: Notify::new(),
                limits: Mutex::new(limits),
            });
            shared.add_way(ctx.outbound);
            let task = ctx.background.spawn(Box::pin(keep_fresh(Arc::clone(&shared))));
            Self { shared, _task: Mutex::new(task) }
        });
        issuer.shared.add_way(ctx.outbound);
        User { issuer, _way: Arc::clone(ctx.outbound) }
    }

    /// What is known now.
    pub(crate) fn known(&self) -> Guard<Arc<Known>> {
        self.shared.known.load()
    }

    /// Whether the last attempt to fetch the keys has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.shared.progress.borrow().has_failed
    }

    /// Whether asking for keys anew may tell more about this name of a key (none: a token that names none).
    pub(crate) fn may_ask(&self, name: Option<&str>) -> bool {
        let is_wanted = {
            let progress = self.shared.progress.borrow();
            progress.wanted > progress.begun
        };
        let now = self.shared.clock.now();
        let mut limits = self.shared.limits();
        !limits.was_unknown(name, now) && (is_wanted || limits.refilled(now) > 0)
    }

    /// Whether the issuer itself said of late that it has no key of this name: what nobody could ask is not known.
    pub(crate) fn has_denied(&self, name: Option<&str>) -> bool {
        let now = self.shared.clock.now();
        let young = Duration::from_secs(KEYS_UNKNOWN_S);
        let well_at = {
            let progress = self.shared.progress.borrow();
            // What it said before it fell silent says nothing of keys it has made since.
            progress.well_at.filter(|_| !progress.has_failed)
        };
        well_at.is_some_and(|at| now.saturating_duration_since(at) < young)
            || self.shared.limits().was_unknown(name, now)
    }

    /// Waits until the keys were fetched for the first time, or that has failed, or it takes too long.
    pub(crate) async fn first(&self) {
        self.ended(1).await;
    }

    /// Waits until keys were asked for after now, with everybody else who wants that; says whether they came.
    pub(crate) async fn ask(&self) -> bool {
        let now = self.shared.clock.now();
        let mut target = 0;
        self.shared.progress.send_if_modified(|progress| {
            target = progress.begun + 1;
            if progress.wanted >= target {
                return false;
            }
            let mut limits = self.shared.limits();
            if limits.refilled(now) == 0 {
                target = 0;
                return false;
            }
            limits.left -= 1;
            progress.wanted = target;
            true
        });
        if target == 0 {
            return false;
        }
        self.shared.asked.notify_one();
        self.ended(target).await;
        self.shared.progress.borrow().well >= target
    }

    /// Remembers that a name of a key is not there, so that it is not asked for again at once.
    pub(crate) fn is_unknown(&self, name: Option<&str>) {
        let now = self.shared.clock.now();
        self.shared.limits().note_unknown(name, now);
    }

    async fn ended(&self, attempt: u64) {
        let mut progress = self.shared.progress.subscribe();
        let waiting = progress.wait_for(|progress| progress.ended >= attempt);
        // Whoever waits looks at what is known then.
        drop(timeout(WAIT, waiting).await);
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Issuer({})", self.shared.source.name())
    }
}

impl Limits {
    fn refilled(&mut self, now: Instant) -> u32 {
        let pause = Duration::from_secs(KEYS_ASKED_PAUSE_S);
        while self.left < KEYS_ASKED_BURST && now.saturating_duration_since(self.since) >= pause {
            self.left += 1;
            self.since += pause;
        }
        if self.left == KEYS_ASKED_BURST {
            self.since = now;
        }
        self.left
    }

    fn was_unknown(&self, name: Option<&str>, now: Instant) -> bool {
        let at = self.unknown.get(&verified::hash(name.unwrap_or_default()));
        at.is_some_and(|at| now.saturating_duration_since(*at).as_secs() < KEYS_UNKNOWN_S)
    }

    fn note_unknown(&mut self, name: Option<&str>, now: Instant) {
        // Moving on the time of one that is there would keep it from ever being asked for again.
        if self.was_unknown(name, now) {
            return;
        }
        if self.unknown.len() >= KEYS_UNKNOWN_MAX {
            self.unknown.clear();
        }
        self.unknown.insert(verified::hash(name.unwrap_or_default()), now);
    }
}

impl Shared {
    fn limits(&self) -> MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add_way(&self, way: &Arc<dyn Outbound>) {
        let way = Arc::downgrade(way);
        let mut ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        ways.retain(|it| it.strong_count() > 0 && !it.ptr_eq(&way));
        ways.push(way);
    }

    fn way(&self) -> Option<Arc<dyn Outbound>> {
        let ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        ways.iter().rev().find_map(Weak::upgrade)
    }

    /// Takes over what was fetched; says how long it is good for.
    fn succeeded(&self, fetched: Fetched, last: &mut Last) -> Duration {
        let name = self.source.name();
        let before = self.known.load_full();
        if before.keys.is_none() || last.hash != fetched.hash {
            for why in &fetched.keys.skipped {
                info!(issuer = name, %why, "a key of the issuer is not used");
            }
            info!(
                issuer = name,
                keys = fetched.keys.keys().len(),
                "the keys of the issuer are new"
            );
            self.metrics.set_keys(fetched.keys.keys().len());
            self.known.store(Arc::new(Known { keys: Some(fetched.keys), generation: next() }));
        } else if last.has_failed {
            info!(issuer = name, "the keys of the issuer are fetched again");
        }
        self.metrics.fetched(unix_ms(self.clock.wall()));
        *last = Last { hash: fetched.hash, at: Some(self.clock.now()), has_failed: false };
        fetched.age
    }

    /// What was known stays, unless it is too old.
    fn failed(&self, error: &str, last: &mut Last) {
        let name = self.source.name();
        self.metrics.failed();
        if !last.has_failed {
            warn!(issuer = name, error, "the keys of the issuer could not be fetched");
        }
        last.has_failed = true;
        let age = last.at.map(|at| self.clock.now().saturating_duration_since(at));
        if age.is_some_and(|age| age > STALE_MAX) {
            warn!(issuer = name, "the keys of the issuer are too old to go on with");
            last.at = None;
            self.metrics.set_keys(0);
            self.known.store(Arc::new(Known { keys: None, generation: next() }));
        }
    }
}

/// A number that no keys of this process had before, of whatever issuer.
fn next() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

/// What became of earlier attempts.
#[derive(Default)]
struct Last {
    hash: [u8; 32],
    at: Option<Instant>,
    has_failed: bool,
}

async fn keep_fresh(shared: Arc<Shared>) {
    let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
    let mut empty = Backoff::new(PAUSE_MIN, PAUSE_EMPTY_MAX);
    let mut fetcher = Fetcher::new(shared.source.clone(), shared.ca_pem.clone());
    let mut last = Last::default();
    loop {
        shared.progress.send_modify(|progress| progress.begun += 1);
        let way = shared.way().ok_or_else(|| "no config uses it".to_owned());
        let fetched = match way {
            Err(error) => Err(error),
            Ok(way) => match timeout(FETCH, fetcher.fetch(&way)).await {
                Ok(fetched) => fetched,
                Err(_) => Err(format!("no answer within {FETCH:?}")),
            },
        };
        let pause = match fetched {
            Ok(fetched) => {
                backoff.reset();
                empty.reset();
                shared.succeeded(fetched, &mut last)
            }
            Err(error) => {
                shared.failed(&error, &mut last);
                let is_empty = shared.known.load().keys.is_none();
                if is_empty { empty.after_failure() } else { backoff.after_failure() }
            }
        };
        let mut is_wanted = false;
        shared.progress.send_modify(|progress| {
            progress.ended = progress.begun;
            progress.has_failed = last.has_failed;
            if !last.has_failed {
                (progress.well, progress.well_at) = (progress.begun, Some(shared.clock.now()));
            }
            is_wanted = progress.wanted > progress.begun;
        });
        if !is_wanted {
            drop(timeout(pause, shared.asked.notified()).await);
        }
    }
}

/// How long keys are good for, by what the issuer says (RFC 9111, 5.2.2.1) and within bounds.
fn age(told_s: Option<u64>) -> Duration {
    let age_s = told_s.unwrap_or(KEYS_AGE_DEFAULT_S).clamp(KEYS_AGE_MIN_S, KEYS_AGE_MAX_S);
    Duration::from_secs(age_s)
}
