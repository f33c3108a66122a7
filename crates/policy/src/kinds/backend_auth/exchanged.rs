//! Tokens in exchange for those of callers (RFC 8693), remembered for as long as they hold.
//!
//! What the endpoint refuses is remembered for a moment, too, each caller's apart, so that nobody is refused for
//! another's token. An endpoint that fails is left alone for a while, by all together.

use super::endpoint::{Endpoint, Lost, Token};
use super::source::{PAUSE, PAUSE_MAX};
use base::backoff::Backoff;
use base::caps::{
    BACKEND_TOKEN_PAUSE_S, BACKEND_TOKEN_REFUSED_S, BACKEND_TOKEN_TIMEOUT_S, EXCHANGED_TOKENS_MAX,
    EXCHANGES_FAILED_MAX,
};
use base::{Clock, Secret};
use http::HeaderValue;
use quick_cache::sync::Cache;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

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
}

#[derive(Clone)]
struct Failed {
    until: Instant,
    why: Arc<str>,
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
        }
    }

    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why asking is in vain now, if it is. Of many who would wait for an endpoint that fails one tries.
    fn in_vain(&self, hash: &Hash, now: Instant) -> Option<Arc<str>> {
        if let Some(failed) = self.failed.get(hash).filter(|failed| now < failed.until) {
            return Some(failed.why);
        }
        let mut trouble = self.trouble();
        if trouble.failures < FAILURES {
            return None;
        }
        let last = trouble.last.as_mut()?;
        if now < last.until {
            return Some(Arc::clone(&last.why));
        }
        last.until = now + Duration::from_secs(BACKEND_TOKEN_TIMEOUT_S);
        None
    }

    fn note(
        &self,
        hash: Hash,
        now: Instant,
        asked: Result<Arc<Token>, Lost>,
    ) -> Result<Arc<Token>, Arc<str>> {
        let mut trouble = self.trouble();
        let (why, pause) = match asked {
            Ok(token) => {
                trouble.calm();
                return Ok(token);
            }
            Err(Lost::Refused(why)) => {
                trouble.calm();
                (Arc::from(why), Duration::from_secs(BACKEND_TOKEN_REFUSED_S))
            }
            Err(Lost::Failed(why)) => {
                tracing::warn!(%why, "a token for backends could not be obtained");
                let (why, pause) = (Arc::from(why), trouble.backoff.after_failure());
                trouble.failures = trouble.failures.saturating_add(1);
                trouble.last = Some(Failed { until: now + pause, why: Arc::clone(&why) });
                (why, pause.min(PAUSE))
            }
        };
        drop(trouble);
        self.failed.insert(hash, Failed { until: now + pause, why: Arc::clone(&why) });
        Err(why)
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
    pub(super) fn now(&self, subject: &Secret) -> Option<HeaderValue> {
        let token = self.memory.known.get(&hash(subject))?;
        (self.clock.now() < token.until).then(|| token.header.clone())
    }

    /// Exchanges a caller's token, if that was not done. Many who ask for the same wait for one answer.
    ///
    /// # Errors
    /// In words, why there is none.
    pub(super) async fn obtain(
        &self,
        worker: usize,
        subject: &Secret,
    ) -> Result<HeaderValue, Arc<str>> {
        let hash = hash(subject);
        let Memory { known, .. } = &*self.memory;
        // What has ended would keep others from asking once for all.
        known.remove_if(&hash, |token| token.until <= self.clock.now());
        match known.get_value_or_guard_async(&hash).await {
            Ok(token) => Ok(token.header.clone()),
            Err(place) => {
                // Whoever had the place before may have failed.
                if let Some(why) = self.memory.in_vain(&hash, self.clock.now()) {
                    return Err(why);
                }
                let more = [("subject_token", subject.reveal())];
                let asked = self.endpoint.ask(Some(worker), &more).await.map(Arc::new);
                let token = self.memory.note(hash, self.clock.now(), asked)?;
                // Somebody may have forgotten it meanwhile.
                place.insert(Arc::clone(&token)).ok();
                Ok(token.header.clone())
            }
        }
    }

    /// The backend has refused what a token was exchanged for: it is exchanged again, unless that was done a moment
    /// ago.
    pub(super) fn refused(&self, subject: &Secret) {
        let pause = Duration::from_secs(BACKEND_TOKEN_PAUSE_S);
        let now = self.clock.now();
        self.memory
            .known
            .remove_if(&hash(subject), |token| now.saturating_duration_since(token.begun) >= pause);
    }
}

fn hash(subject: &Secret) -> Hash {
    crate::verified::hash(subject.reveal())
}
