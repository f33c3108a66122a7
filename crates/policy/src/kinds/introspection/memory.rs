//! What an issuer was asked about, what it said, and what is being asked.
//!
//! Answers about good and about bad tokens are kept apart, so that a flood of bad ones displaces nothing.

use crate::kinds::jwt::subject::Subject;
use crate::verified::{TokenHash, Verified, Weighed};
use base::Clock;
use base::caps::{INTROSPECTIONS_MAX, REFUSED_TOKENS_BYTES_MAX};
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};
use telemetry::metrics::IntrospectionMetrics;
use tokio::sync::{OnceCell, Semaphore};
use tracing::{info, warn};

/// So many that two workers seldom want the same one.
const SHARDS: usize = 16;
/// Failures in a row after which requests no longer wait for an endpoint that does not answer,
const FAILURES: u32 = 3;
/// and the time after which one of them tries again.
const PAUSE: Duration = Duration::from_secs(1);

/// What was found out of a token.
#[derive(Clone)]
pub(super) enum Found {
    Active(Arc<Subject>),
    Refused(Arc<Refused>),
}

/// Why a token is not good, and until when that is not asked again.
pub(super) struct Refused {
    pub(super) why: &'static str,
    pub(super) until: SystemTime,
}

impl Weighed for Refused {
    fn bytes(&self) -> u64 {
        128
    }
}

/// Why nothing could be found out.
type Lost = Arc<str>;
type Flight = OnceCell<Result<Found, Lost>>;
type Flights = Mutex<HashMap<TokenHash, Weak<Flight>>>;

/// What all policies with the same settings know, across reloads.
pub(super) struct Memory {
    endpoint: String,
    active: Verified<Subject>,
    refused: Verified<Refused>,
    flights: Box<[Flights]>,
    /// Questions that may be under way.
    pub(super) places: Semaphore,
    metrics: Arc<IntrospectionMetrics>,
    clock: Clock,
    base: Instant,
    failures: AtomicU32,
    /// When somebody may try again, in milliseconds since `base`.
    again_ms: AtomicU64,
}

impl Memory {
    pub(super) fn new(
        endpoint: &str,
        active_bytes_max: u64,
        metrics: Arc<IntrospectionMetrics>,
        clock: &Clock,
    ) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            active: Verified::up_to(active_bytes_max),
            refused: Verified::up_to(REFUSED_TOKENS_BYTES_MAX),
            flights: (0..SHARDS).map(|_| Mutex::default()).collect(),
            places: Semaphore::new(INTROSPECTIONS_MAX),
            metrics,
            clock: clock.clone(),
            base: clock.now(),
            failures: AtomicU32::new(0),
            again_ms: AtomicU64::new(0),
        }
    }

    /// What is known of a token, if it still holds.
    pub(super) fn find(&self, hash: &TokenHash, now: SystemTime) -> Option<Found> {
        if let Some(subject) = self.active.find(hash) {
            if subject.is_valid(0, now) {
                return Some(Found::Active(subject));
            }
            self.active.forget(hash);
        }
        let refused = self.refused.find(hash)?;
        if now < refused.until {
            return Some(Found::Refused(refused));
        }
        self.refused.forget(hash);
        None
    }

    /// Finds out about a token, together with everybody else who wants to know at the same time. If whoever asks goes
    /// away, another one asks.
    pub(super) async fn once(
        &self,
        hash: TokenHash,
        asking: impl Future<Output = Result<Found, Lost>>,
    ) -> Result<Found, Lost> {
        let boarded = Boarded::of(self, hash);
        let Some(flight) = &boarded.flight else { return Err(Lost::from("nobody asks")) };
        let found = flight.get_or_init(|| async {
            if !self.may_ask() {
                return Err(Lost::from("the endpoint did not answer a moment ago"));
            }
            let found = asking.await;
            self.note(&hash, &found);
            found
        });
        found.await.clone()
    }

    fn note(&self, hash: &TokenHash, found: &Result<Found, Lost>) {
        match found {
            Ok(Found::Active(subject)) => {
                self.active.keep(*hash, Arc::clone(subject));
                self.metrics.active();
            }
            Ok(Found::Refused(refused)) => {
                self.refused.keep(*hash, Arc::clone(refused));
                self.metrics.refused();
            }
            Err(_) => self.metrics.failed(),
        }
        let endpoint = self.endpoint.as_str();
        match found {
            Ok(_) => {
                if self.failures.swap(0, Ordering::Relaxed) > 0 {
                    info!(endpoint, "the introspection endpoint answers again");
                }
            }
            Err(error) => {
                let again = self.now_ms() + u64::try_from(PAUSE.as_millis()).unwrap_or(0);
                self.again_ms.store(again, Ordering::Relaxed);
                if self.failures.fetch_add(1, Ordering::Relaxed) == 0 {
                    warn!(endpoint, %error, "the introspection endpoint could not be asked");
                }
            }
        }
    }

    /// Whether there is hope for an answer: of many who would wait in vain one tries.
    fn may_ask(&self) -> bool {
        if self.failures.load(Ordering::Relaxed) < FAILURES {
            return true;
        }
        let (now_ms, again_ms) = (self.now_ms(), self.again_ms.load(Ordering::Relaxed));
        let next_ms = now_ms + u64::try_from(PAUSE.as_millis()).unwrap_or(0);
        let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
        now_ms >= again_ms
            && self.again_ms.compare_exchange(again_ms, next_ms, success, failure).is_ok()
    }

    fn now_ms(&self) -> u64 {
        let since = self.clock.now().saturating_duration_since(self.base);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn flights(&self, hash: &TokenHash) -> MutexGuard<'_, HashMap<TokenHash, Weak<Flight>>> {
        let shard = usize::from(hash[0]) % SHARDS;
        self.flights[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memory({})", self.endpoint)
    }
}

/// A request that waits for a flight. The last one leaves nothing behind.
struct Boarded<'a> {
    memory: &'a Memory,
    hash: TokenHash,
    /// Given up with the lock held, so that the last one knows that it is the last.
    flight: Option<Arc<Flight>>,
}

impl<'a> Boarded<'a> {
    fn of(memory: &'a Memory, hash: TokenHash) -> Self {
        let mut flights = memory.flights(&hash);
        let flight = flights.get(&hash).and_then(Weak::upgrade).unwrap_or_else(|| {
            let flight = Arc::new(Flight::new());
            flights.insert(hash, Arc::downgrade(&flight));
            flight
        });
        Self { memory, hash, flight: Some(flight) }
    }
}

impl Drop for Boarded<'_> {
    fn drop(&mut self) {
        let mut flights = self.memory.flights(&self.hash);
        // Nobody boards or leaves while the lock is held.
        let is_last = self.flight.take().is_some_and(|flight| Arc::strong_count(&flight) == 1);
        if is_last {
            flights.remove(&self.hash);
        }
    }
}
