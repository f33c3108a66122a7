//! Signatures that take long to check, such as those of P-521 and of large keys of RSA: a worker would hold up all its other
//! requests meanwhile, so they are checked beside the request path, a few at a time. Everybody else waits for their turn.

use crate::guesses::Guesses;
use crate::issuer::Known;
use crate::jose::{Message, Verdict};
use crate::kind::BuildCtx;
use crate::verified::TokenHash;
use base::caps::LONG_CHECKS_MAX;
use std::sync::Arc;
use tokio::sync::{Semaphore, SemaphorePermit};
use traffic::background::compute;
use traffic::{Background, Fault, FaultCode, Stage};

/// Where they are checked.
pub(super) struct Long {
    background: Arc<dyn Background>,
    places: Arc<Semaphore>,
    pub(super) guesses: Arc<Guesses>,
}

/// A token whose signature is to be checked by the keys of a time.
pub(super) struct Asked {
    pub(super) token: Box<str>,
    pub(super) hash: TokenHash,
    pub(super) known: Arc<Known>,
}

/// What the keys of a time say of a token.
pub(super) struct Told {
    hash: TokenHash,
    generation: u64,
    pub(super) verdict: Verdict,
}

impl Told {
    /// Whether it is about this token and the keys that are valid now.
    pub(super) fn is_of(&self, hash: &TokenHash, generation: u64) -> bool {
        self.hash == *hash && self.generation == generation
    }
}

impl Long {
    /// That of the gateway that a policy is built for.
    pub(super) fn of(ctx: &BuildCtx<'_>) -> Self {
        Self {
            background: Arc::clone(ctx.background),
            places: ctx.state.whole().cell("jwt/long", || Semaphore::new(LONG_CHECKS_MAX)),
            guesses: Guesses::of(ctx),
        }
    }

    /// Waits for a turn.
    pub(super) async fn place(&self) -> Result<SemaphorePermit<'_>, Fault> {
        // Nobody closes it.
        self.places.acquire().await.map_err(|_| Fault::new(Stage::Guard, FaultCode::Internal))
    }

    /// Asks the keys.
    pub(super) async fn tell(&self, asked: Asked) -> Result<Told, Fault> {
        let (hash, generation) = (asked.hash, asked.known.generation);
        let verdict = compute(&*self.background, move || {
            let message = Message::parse(&asked.token).ok()?;
            asked.known.keys.as_ref().map(|keys| keys.judge(&message))
        });
        let verdict = verdict.await?.unwrap_or(Verdict::Forged);
        Ok(Told { hash, generation, verdict })
    }
}
