//! A token that all requests share, obtained ahead and renewed before it ends.

use super::endpoint::{Endpoint, Lost, Token};
use arc_swap::ArcSwapOption;
use base::backoff::Backoff;
use base::caps::BACKEND_TOKEN_TIMEOUT_S;
use base::{Clock, random};
use http::HeaderValue;
use std::sync::atomic::Ordering;
use std::sync::{self, Arc, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, Notify};
use traffic::background::{Background, Task};

/// The first wait after a failure,
pub(super) const PAUSE: Duration = Duration::from_secs(1);
/// and the longest.
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Where a token comes from.
pub(super) struct Source {
    endpoint: Endpoint,
    token: ArcSwapOption<Token>,
    /// Held by whoever asks, so that one asks at a time; tells until when nobody asks after a failure, and why.
    asking: Mutex<Failures>,
    refused: Arc<Notify>,
    clock: Clock,
    renewal: sync::Mutex<Option<Task>>,
}

struct Failures {
    backoff: Backoff,
    last: Option<(Instant, String)>,
}

impl Source {
    /// One that has no token yet.
    pub(super) fn new(endpoint: Endpoint, clock: Clock) -> Self {
        let backoff = Backoff::new(PAUSE, PAUSE_MAX);
        Self {
            endpoint,
            token: ArcSwapOption::empty(),
            asking: Mutex::new(Failures { backoff, last: None }),
            refused: Arc::default(),
            clock,
            renewal: sync::Mutex::default(),
        }
    }

    /// Begins to obtain tokens, unless it has begun.
    pub(super) fn begin(self: &Arc<Self>, background: &dyn Background) {
        let mut renewal = self.renewal.lock().unwrap_or_else(PoisonError::into_inner);
        renewal.get_or_insert_with(|| background.spawn(Box::pin(renew(Arc::downgrade(self)))));
    }

    /// The token, if there is one that holds.
    pub(super) fn now(&self) -> Option<HeaderValue> {
        let token = self.token.load();
        let token = token.as_ref().filter(|token| self.clock.now() < token.until)?;
        Some(token.header.clone())
    }

    /// Obtains a token if there is none that holds. Many who ask wait for one answer.
    ///
    /// # Errors
    /// In words, why there is none.
    pub(super) async fn obtain(&self, worker: Option<usize>) -> Result<HeaderValue, String> {
        // Whoever asks is done by then, and the next one asks for all who wait.
        let limit = Duration::from_secs(2 * BACKEND_TOKEN_TIMEOUT_S);
        let waiting = tokio::time::timeout(limit, self.asking.lock()).await;
        let mut failures = waiting.map_err(|_| format!("no token within {limit:?}"))?;
        match self.now() {
            Some(token) => Ok(token),
            None => Ok(self.ask(worker, &mut failures).await?.header.clone()),
        }
    }

    async fn ask(
        &self,
        worker: Option<usize>,
        failures: &mut Failures,
    ) -> Result<Arc<Token>, String> {
        if let Some((until, why)) = &failures.last
            && self.clock.now() < *until
        {
            return Err(why.clone());
        }
        match self.endpoint.ask(worker, &[]).await {
            Ok(token) => {
                let token = Arc::new(token);
                self.token.store(Some(Arc::clone(&token)));
                failures.last = None;
                failures.backoff.reset();
                Ok(token)
            }
            Err(Lost::Refused(_, why) | Lost::Failed(why)) => {
                tracing::warn!(%why, "a token for backends could not be obtained");
                let pause = failures.backoff.after_failure();
                failures.last =
                    self.clock.now().checked_add(pause).map(|until| (until, why.clone()));
                Err(why)
            }
        }
    }

    /// The backend has refused the token: another one is obtained, unless that was done a moment ago. Until it is there
    /// this one goes on: the backend may have had reasons of its own.
    pub(super) fn refused(&self) {
        let token = self.token.load();
        if token.as_ref().is_some_and(|token| token.doubt(self.clock.now())) {
            self.refused.notify_one();
        }
    }

    /// One round of renewal; tells how long to wait for the next.
    async fn round(&self) -> Duration {
        let mut failures = self.asking.lock().await;
        // Requests may have obtained one while this waited.
        let held = self.token.load_full().filter(|token| {
            let age = self.clock.now().saturating_duration_since(token.begun);
            age < token.lifetime / 2
                && self.clock.now() < token.until
                && !token.is_doubted.load(Ordering::Relaxed)
        });
        let token = match held {
            Some(token) => Ok(token),
            None => self.ask(None, &mut failures).await,
        };
        match token {
            Ok(token) => {
                // From 70 to 80 percent of its life, so that gateways do not come all at once.
                let permille = 700 + u32::try_from(random::fast_below(100)).unwrap_or_default();
                let age = self.clock.now().saturating_duration_since(token.begun);
                (token.lifetime / 1_000 * permille).saturating_sub(age).max(PAUSE)
            }
            Err(_) => {
                let until = failures.last.as_ref().map(|(until, _)| *until);
                let wait = until.map(|until| until.saturating_duration_since(self.clock.now()));
                wait.unwrap_or(PAUSE).max(PAUSE / 2)
            }
        }
    }
}

/// Renews the token for as long as somebody uses it.
async fn renew(source: Weak<Source>) {
    loop {
        let Some(held) = source.upgrade() else { return };
        let wait = held.round().await;
        let refused = Arc::clone(&held.refused);
        // Who sleeps keeps nothing alive.
        drop(held);
        tokio::time::timeout(wait, refused.notified()).await.ok();
    }
}
