//! Tokens in exchange for those of callers (RFC 8693), remembered for as long as they hold.
//!
//! What the endpoint refuses is remembered for a moment, too, each caller's apart, so that nobody is refused for
//! another's token. An endpoint that fails is left alone for a while, by all together.

use super::Subject;
use super::endpoint::{About, Endpoint, Lost, Token};
use super::source::{PAUSE, PAUSE_MAX};
use base::Clock;
use base::backoff::Backoff;
use base::caps::{
    BACKEND_TOKEN_REFUSED_S, BACKEND_TOKEN_TIMEOUT_S, EXCHANGED_TOKENS_MAX, EXCHANGES_FAILED_MAX,
    EXCHANGES_MAX,
};
use http::HeaderValue;
use quick_cache::sync::Cache;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Semaphore;

/// SHA-256 of a caller's token.
type Hash = [u8; 32];

/// Failures in a row after which the endpoint is left alone. One token that makes it fail does not keep others from it.
const FAILURES: u32 = 3;

/// A token endpoint, and what it said.
pub(super) struct Exchanged {
    endpoint: Endpoint,
    memory: Arc<Memory>,
    clock: Clock,
}

/// What all policies that ask for the same know.
pub(super) struct Memory {
    known: Cache<Hash, Arc<Token>>,
    /// Tokens that could not be exchanged, until when that is not tried again, and why.
    failed: Cache<Hash, Failed>,
    trouble: Mutex<Trouble>,
    /// Questions that may be under way.
    places: Semaphore,
}

/// Why there is no token in exchange.
#[derive(Clone)]
pub(super) struct Failed {
    until: Instant,
    pub(super) why: Arc<str>,
    /// What the endpoint refuses, if that is its answer and not an outage.
    pub(super) refused: Option<About>,
}

/// How the endpoint has failed of late.
struct Trouble {
    /// In a row.
    failures: u32,
    backoff: Backoff,
    /// Until when nobody asks, and why.
    last: Option<Failed>,
}

impl Memory {
    pub(super) fn new() -> Self {
        let backoff = Backoff::new(PAUSE, PAUSE_MAX);
        Self {
            known: Cache::new(EXCHANGED_TOKENS_MAX),
            failed: Cache::new(EXCHANGES_FAILED_MAX),
            trouble: Mutex::new(Trouble { failures: 0, backoff, last: None }),
            places: Semaphore::new(EXCHANGES_MAX),
        }
    }

    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why asking is in vain now, if it is. Of many who would wait for an endpoint that fails one tries.
    fn in_vain(&self, hash: &Hash, now: Instant) -> Option<Failed> {
        if let Some(failed) = self.failed.get(hash).filter(|failed| now < failed.until) {
            return Some(failed);
        }
        let mut trouble = self.trouble();
        if trouble.failures < FAILURES {
            return None;
        }
        let last = trouble.last.as_mut()?;
        if now < last.until {
            return Some(last.clone());
        }
        last.until = now + Duration::from_secs(BACKEND_TOKEN_TIMEOUT_S);
        None
    }

    fn note(&self, hash: Hash, now: Instant, asked: Result<Token, Lost>) -> Result<Token, Failed> {
        let mut trouble = self.trouble();
        let failed = match asked {
            Ok(token) => {
                trouble.calm();
                return Ok(token);
            }
            Err(Lost::Refused(about, why)) => {
                trouble.calm();
                let until = now + Duration::from_secs(BACKEND_TOKEN_REFUSED_S);
                Failed { until, why: Arc::from(why), refused: Some(about) }
            }
            Err(Lost::Failed(why)) => {
                tracing::warn!(%why, "a token for backends could not be obtained");
                let pause = trouble.backoff.after_failure();
                trouble.failures = trouble.failures.saturating_add(1);
                let why = Arc::from(why);
                let failed = Failed { until: now + pause, why, refused: None };
                trouble.last = Some(failed.clone());
                Failed { until: now + pause.min(PAUSE), ..failed }
            }
        };
        drop(trouble);
        self.failed.insert(hash, failed.clone());
        Err(failed)
    }
}

impl Trouble {
    fn calm(&mut self) {
        (self.failures, self.last) = (0, None);
        self.backoff.reset();
    }
}

impl Exchanged {
    pub(super) const fn new(endpoint: Endpoint, memory: Arc<Memory>, clock: Clock) -> Self {
        Self { endpoint, memory, clock }
    }

    /// The token that a caller's was exchanged for, if it holds.
    pub(super) fn now(&self, key: &Hash) -> Option<HeaderValue> {
        let token = self.memory.known.get(key)?;
        let is_doubted = token.is_doubted.load(Ordering::Relaxed);
        (self.clock.now() < token.until && !is_doubted).then(|| token.header.clone())
    }

    /// Exchanges a caller's token, if that was not done. Many who ask for the same wait for one answer.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn obtain(
        &self,
        worker: usize,
        subject: &Subject,
    ) -> Result<HeaderValue, Failed> {
        let known = &self.memory.known;
        let holds = |token: &Arc<Token>| self.clock.now() < token.until;
        let before = known.get(&subject.key).filter(holds);
        // What has ended would keep others from asking once for all.
        known.remove_if(&subject.key, |token| {
            token.is_doubted.load(Ordering::Relaxed) || !holds(token)
        });
        match known.get_value_or_guard_async(&subject.key).await {
            Ok(token) => Ok(token.header.clone()),
            Err(place) => {
                let token = match (self.ask(worker, subject).await, before) {
                    (Ok(token), _) => Arc::new(self.within(token, subject)),
                    // A backend has refused it, and nobody can say whether it was right.
                    (Err(Failed { refused: None, .. }), Some(before)) => Arc::new(Token {
                        header: before.header.clone(),
                        begun: self.clock.now(),
                        lifetime: before.lifetime,
                        until: before.until,
                        is_doubted: AtomicBool::new(false),
                    }),
                    (Err(failed), _) => return Err(failed),
                };
                // Somebody may have forgotten it meanwhile.
                place.insert(Arc::clone(&token)).ok();
                Ok(token.header.clone())
            }
        }
    }

    async fn ask(&self, worker: usize, subject: &Subject) -> Result<Token, Failed> {
        // Whoever had the place before may have failed.
        if let Some(failed) = self.memory.in_vain(&subject.key, self.clock.now()) {
            return Err(failed);
        }
        let asking = async {
            let _place = self.memory.places.acquire().await;
            let more = [("subject_token", subject.token.reveal())];
            self.endpoint.ask(Some(worker), &more).await
        };
        let limit = Duration::from_secs(BACKEND_TOKEN_TIMEOUT_S);
        let asked = tokio::time::timeout(limit, asking).await;
        let late = || Err(Lost::Failed(format!("no token within {limit:?}")));
        let asked = asked.unwrap_or_else(|_| late());
        self.memory.note(subject.key, self.clock.now(), asked)
    }

    /// A token that ends with the one it was exchanged for.
    fn within(&self, token: Token, subject: &Subject) -> Token {
        let left = |until: SystemTime| until.duration_since(self.clock.wall()).unwrap_or_default();
        let end = subject.until.and_then(|until| self.clock.now().checked_add(left(until)));
        let until = end.map_or(token.until, |end| end.min(token.until));
        Token { until, ..token }
    }

    /// The backend has refused what a token was exchanged for: it is exchanged again, unless that was done a moment
    /// ago.
    pub(super) fn refused(&self, key: &Hash) {
        if let Some(token) = self.memory.known.get(key) {
            token.doubt(self.clock.now());
        }
    }
}
