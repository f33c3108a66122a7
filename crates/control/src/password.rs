use crate::{Code, Problem};
use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use base::{Clock, Secret, random};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// What a hash costs: OWASP's first choice, in KiB of memory, passes and lanes.
const COST: (u32, u32, u32) = (19_456, 2, 1);
const SALT_BYTES: usize = 16;
const DIGEST_BYTES: usize = 32;
/// Letters of a password, so that nobody makes hashing slow.
const LENGTH_MAX: usize = 256;
/// Letters of a password, at least (NIST SP 800-63B, 3.1.1.2, for one factor among others).
const LENGTH_MIN: usize = 12;
/// How many are hashed at once: each takes 19 MiB.
const AT_ONCE: usize = 2;

/// Attempts that may fail in a row before one must wait.
const FAILURES: u32 = 5;
/// How long one waits then; it doubles with each further failure, up to the longest.
const WAIT: Duration = Duration::from_secs(30);
const WAIT_MAX: Duration = Duration::from_secs(3_600);
/// How many names and addresses are remembered.
const REMEMBERED_MAX: usize = 65_536;

/// Failed attempts to log in, by name and by address, and the pool in which passwords are hashed.
pub(crate) struct Attempts {
    clock: Clock,
    failed: Mutex<HashMap<String, (u32, Instant)>>,
    hashing: Semaphore,
}

impl Attempts {
    pub(crate) fn new(clock: &Clock) -> Self {
        let (failed, hashing) = (Mutex::default(), Semaphore::new(AT_ONCE));
        Self { clock: clock.clone(), failed, hashing }
    }

    /// Refuses whoever has failed too often lately. Who begins an attempt has failed until [`forget`](Self::forget) is
    /// called, so that many at once count, too.
    pub(crate) fn begin(&self, keys: &[String]) -> Result<(), Problem> {
        let now = self.clock.now();
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = |key: &String| {
            failed.get(key).is_some_and(|(count, until)| *count >= FAILURES && now < *until)
        };
        if keys.iter().any(waits) {
            return Err(Problem::new(
                Code::TooManyAttempts,
                "too many attempts; wait before the next",
            ));
        }
        if failed.len() >= REMEMBERED_MAX {
            failed.retain(|_, (_, until)| now < *until);
        }
        for key in keys {
            if failed.len() >= REMEMBERED_MAX && !failed.contains_key(key) {
                return Err(Problem::new(
                    Code::TooManyAttempts,
                    "too many attempts; wait before the next",
                ));
            }
            let (count, until) = failed.entry(key.clone()).or_insert((0, now));
            *count = count.saturating_add(1);
            let doubled = count.saturating_sub(FAILURES).min(10);
            *until = now + (WAIT * 2_u32.pow(doubled)).min(WAIT_MAX);
        }
        Ok(())
    }

    /// Forgets failures of whoever has shown to be right.
    pub(crate) fn forget(&self, keys: &[String]) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys {
            failed.remove(key);
        }
    }

    /// Whether a password is the one that was hashed. Without a hash it takes as long and never is.
    pub(crate) async fn verify(
        &self,
        hash: Option<String>,
        password: Secret,
    ) -> Result<bool, Problem> {
        self.work(move || {
            let own = hash.as_deref().and_then(read);
            let is_known = own.is_some();
            let (salt, expected) =
                own.unwrap_or_else(|| (vec![0; SALT_BYTES], vec![0; DIGEST_BYTES]));
            let made = digest(&password, &salt)?;
            Some(is_known && verify_slices_are_equal(&made, &expected).is_ok())
        })
        .await
    }

    /// A hash with a new salt, as a PHC string.
    pub(crate) async fn hash(&self, password: Secret) -> Result<String, Problem> {
        let length = password.reveal().chars().count();
        if !(LENGTH_MIN..=LENGTH_MAX).contains(&length) {
            let wanted = format!("a password has {LENGTH_MIN} to {LENGTH_MAX} letters");
            return Err(Problem::invalid("/password", wanted));
        }
        self.work(move || {
            let mut salt = [0; SALT_BYTES];
            random::fill(&mut salt).ok()?;
            let digest = digest(&password, &salt)?;
            let (memory, passes, lanes) = COST;
            let (salt, digest) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(digest));
            Some(format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${digest}"))
        })
        .await
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Option<T> + Send + 'static,
    ) -> Result<T, Problem> {
        let internal =
            || Problem::new(Code::Internal, "passwords cannot be verified at the moment");
        let _turn = self.hashing.acquire().await.map_err(|_| internal())?;
        tokio::task::spawn_blocking(work).await.ok().flatten().ok_or_else(internal)
    }
}

fn digest(password: &Secret, salt: &[u8]) -> Option<Vec<u8>> {
    let (memory, passes, lanes) = COST;
    let params = Params::new(memory, passes, lanes, Some(DIGEST_BYTES)).ok()?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut digest = vec![0; DIGEST_BYTES];
    let password = password.reveal().as_bytes();
    let password = password.get(..LENGTH_MAX * 4).unwrap_or(password);
    argon2.hash_password_into(password, salt, &mut digest).ok()?;
    Some(digest)
}

/// Salt and digest of a hash that was made here.
fn read(phc: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let (memory, passes, lanes) = COST;
    let rest = phc.strip_prefix(&format!("$argon2id$v=19$m={memory},t={passes},p={lanes}$"))?;
    let (salt, digest) = rest.split_once('$')?;
    Some((STANDARD_NO_PAD.decode(salt).ok()?, STANDARD_NO_PAD.decode(digest).ok()?))
}
