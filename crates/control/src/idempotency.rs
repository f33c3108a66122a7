//! Requests that may come twice: who sends the same `Idempotency-Key` again gets the same answer again. An answer may hold
//! what is shown once, such as a key, so it is kept encrypted.

use crate::{Caller, Code, Control, Problem, problem};
use aws_lc_rs::digest::{SHA256, digest};
use base::Secret;
use base::caps::IDEMPOTENT_ANSWER_BYTES_MAX;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use store::envelope::Sealed;
use store::idempotency::Taken;

const NOUN: &str = "request";
/// Letters of a key.
const KEY_MAX: usize = 255;

/// What to do with a request that has a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Do it, then leave its answer.
    First,
    /// It was done: this is what was answered.
    Again {
        /// The status.
        status: i64,
        /// The body.
        answer: Secret,
    },
}

/// What an answer is encrypted for.
fn of(caller: &Caller, key: &str) -> String {
    format!("answer {}/{key}", caller.user)
}

impl Control {
    /// Takes a key for a request. `request` is what the request asks, such as its method, path and body: with the same key
    /// it must be the same.
    ///
    /// # Errors
    /// When the key will not do, another request had it, or what became of the first is not known.
    pub async fn idempotency_take(
        &self,
        caller: &Caller,
        key: &str,
        request: &[u8],
    ) -> Result<Turn, Problem> {
        let is_fine = !key.is_empty()
            && key.len() <= KEY_MAX
            && key.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        if !is_fine || caller.user.is_empty() {
            let wanted = format!("an `Idempotency-Key` has 1 to {KEY_MAX} plain letters");
            return Err(Problem::new(Code::Invalid, wanted));
        }
        let digest = digest(&SHA256, request);
        let taken = self.store.idempotency_take(&caller.user, key, digest.as_ref()).await;
        match taken.map_err(problem::of(NOUN))? {
            Taken::New => Ok(Turn::First),
            Taken::Answered { status, answer } => {
                let corrupt = || problem::of(NOUN)(store::Error::Corrupt("an answer".to_owned()));
                let bytes = STANDARD_NO_PAD.decode(answer).map_err(|_| corrupt())?;
                let sealed = Sealed::read(&bytes).ok_or_else(corrupt)?;
                Ok(Turn::Again { status, answer: self.open(&of(caller, key), &sealed)? })
            }
            Taken::Open { .. } => Err(Problem::new(
                Code::Conflict,
                "the first request with this key was not answered yet, or never will be; look what is there before you take another key",
            )),
            Taken::Other => Err(Problem::new(
                Code::Conflict,
                "another request had this key; take a new one for each",
            )),
        }
    }

    /// Leaves the answer of a request that took a key. One that failed without doing anything gives its key back instead.
    ///
    /// # Errors
    /// When the database cannot be written to, or the answer is too large to be kept.
    pub async fn idempotency_answer(
        &self,
        caller: &Caller,
        key: &str,
        status: i64,
        answer: &Secret,
    ) -> Result<(), Problem> {
        if answer.reveal().len() > IDEMPOTENT_ANSWER_BYTES_MAX {
            return Err(Problem::new(Code::LimitReached, "the answer is too large to be kept"));
        }
        let sealed = self.seal(&of(caller, key), answer)?;
        let kept = STANDARD_NO_PAD.encode(sealed.bytes());
        let left = self.store.idempotency_answer(&caller.user, key, status, &kept).await;
        left.map_err(problem::of(NOUN))
    }

    /// Gives back the key of a request that did nothing.
    ///
    /// # Errors
    /// When the database cannot be written to.
    pub async fn idempotency_release(&self, caller: &Caller, key: &str) -> Result<(), Problem> {
        self.store.idempotency_release(&caller.user, key).await.map_err(problem::of(NOUN))
    }
}
