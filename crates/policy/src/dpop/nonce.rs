//! Nonces (RFC 9449, 8 and 9): a proof that repeats one was not made long before.
//!
//! None is kept. A nonce is the time at which it was made and a code over it, by a key that nobody else has; the key
//! changes every hour. It is the same for everybody for a few seconds, which it may be.

use arc_swap::ArcSwap;
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use base::caps::{DPOP_NONCE_S, DPOP_NONCE_STEP_S};
use base::clock::unix_ms;
use base::random;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;
use traffic::state::Portable;

/// Seconds for which a key makes nonces; it knows them again for as long after that.
const KEY_S: u64 = 3_600;
const KEY_BYTES: usize = 32;
const TIME_BYTES: usize = 8;
/// Bytes of the code that are told.
const CODE_BYTES: usize = 16;

/// Makes nonces and knows them again.
pub(crate) struct Nonces {
    keys: ArcSwap<Keys>,
}

#[derive(Clone, Default)]
struct Keys {
    current: Option<Dated>,
    previous: Option<Dated>,
}

#[derive(Clone)]
struct Dated {
    since_s: u64,
    bytes: [u8; KEY_BYTES],
}

impl Nonces {
    pub(crate) fn new() -> Self {
        Self { keys: ArcSwap::default() }
    }

    /// A nonce of now; none if the operating system has no randomness to give.
    pub(crate) fn make(&self, now: SystemTime) -> Option<HeaderValue> {
        let now_s = seconds(now);
        let is_due = |keys: &Keys| {
            keys.current.as_ref().is_none_or(|key| now_s.saturating_sub(key.since_s) >= KEY_S)
        };
        if is_due(&self.keys.load()) {
            let mut bytes = [0; KEY_BYTES];
            random::fill(&mut bytes).ok()?;
            let key = Dated { since_s: now_s, bytes };
            self.keys.rcu(|keys| {
                if !is_due(keys) {
                    return Arc::clone(keys);
                }
                Arc::new(Keys { current: Some(key.clone()), previous: keys.current.clone() })
            });
        }
        let keys = self.keys.load();
        let time = now_s - now_s % DPOP_NONCE_STEP_S;
        let mut nonce = time.to_be_bytes().to_vec();
        let code = hmac::sign(&keys.current.as_ref()?.hmac(), &nonce);
        nonce.extend(code.as_ref().iter().take(CODE_BYTES));
        HeaderValue::try_from(URL_SAFE_NO_PAD.encode(&nonce)).ok()
    }

    /// Seconds since a nonce was made; none if it is not one of ours, or too old.
    pub(crate) fn age(&self, nonce: &str, now: SystemTime) -> Option<u64> {
        let bytes = URL_SAFE_NO_PAD.decode(nonce).ok()?;
        let (time, code) = bytes.split_first_chunk::<TIME_BYTES>()?;
        let made_s = u64::from_be_bytes(*time);
        let now_s = seconds(now);
        if code.len() != CODE_BYTES
            || made_s > now_s
            || now_s - made_s >= DPOP_NONCE_S + DPOP_NONCE_STEP_S
        {
            return None;
        }
        let keys = self.keys.load();
        let mut known = [&keys.current, &keys.previous].into_iter().flatten();
        known.any(|key| key.signed(time, code)).then(|| now_s - made_s)
    }
}

impl Dated {
    fn hmac(&self) -> hmac::Key {
        hmac::Key::new(HMAC_SHA256, &self.bytes)
    }

    fn signed(&self, time: &[u8], code: &[u8]) -> bool {
        let own = hmac::sign(&self.hmac(), time);
        let own = own.as_ref().get(..CODE_BYTES).unwrap_or_default();
        aws_lc_rs::constant_time::verify_slices_are_equal(own, code).is_ok()
    }
}

fn seconds(at: SystemTime) -> u64 {
    unix_ms(at) / 1_000
}

impl Portable for Nonces {
    fn export(&self) -> Vec<u8> {
        let keys = self.keys.load();
        let mut bytes = Vec::new();
        for key in [&keys.current, &keys.previous].into_iter().flatten() {
            bytes.extend_from_slice(&key.since_s.to_be_bytes());
            bytes.extend_from_slice(&key.bytes);
        }
        bytes
    }

    fn import(&self, bytes: &[u8]) {
        let (entries, _) = bytes.as_chunks::<{ TIME_BYTES + KEY_BYTES }>();
        let mut keys = entries.iter().filter_map(|entry| {
            let (time, key) = entry.split_first_chunk::<TIME_BYTES>()?;
            Some(Dated { since_s: u64::from_be_bytes(*time), bytes: *key.first_chunk()? })
        });
        let (current, previous) = (keys.next(), keys.next());
        if current.is_some() {
            self.keys.store(Arc::new(Keys { current, previous }));
        }
    }
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonces")
    }
}

#[cfg(test)]
mod tests {
    use super::Nonces;
    use base::Clock;
    use std::time::Duration;
    use traffic::state::Portable as _;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_nonce_is_known_for_some_minutes() {
        let (nonces, clock) = (Nonces::new(), Clock::manual());
        let made = nonces.make(clock.wall()).unwrap();
        let made = made.to_str().unwrap();
        assert!(nonces.age(made, clock.wall()).is_some());
        clock.advance(seconds(299));
        assert!(nonces.age(made, clock.wall()).is_some());
        clock.advance(seconds(40));
        assert!(nonces.age(made, clock.wall()).is_none());
    }

    #[test]
    fn a_nonce_outlives_the_key_that_made_it() {
        let (nonces, clock) = (Nonces::new(), Clock::manual());
        nonces.make(clock.wall()).unwrap();
        clock.advance(seconds(3_599));
        let old = nonces.make(clock.wall()).unwrap();
        clock.advance(seconds(60));
        let new = nonces.make(clock.wall()).unwrap();
        for nonce in [&old, &new] {
            assert!(nonces.age(nonce.to_str().unwrap(), clock.wall()).is_some());
        }
    }

    #[test]
    fn what_was_not_made_here_is_not_known() {
        let (nonces, other, clock) = (Nonces::new(), Nonces::new(), Clock::manual());
        let made = nonces.make(clock.wall()).unwrap();
        let made = made.to_str().unwrap();
        let foreign = other.make(clock.wall()).unwrap();
        for text in
            [foreign.to_str().unwrap(), "", "AA", "!", made.split_at(1).1, &format!("{made}AA")]
        {
            assert!(nonces.age(text, clock.wall()).is_none(), "{text}");
        }
        let (before, after) = made.split_at(8);
        let moved = format!("{before}__{}", after.split_at(2).1);
        assert!(nonces.age(&moved, clock.wall()).is_none());
    }

    #[test]
    fn another_process_knows_the_nonces_of_this_one() {
        let (nonces, other, clock) = (Nonces::new(), Nonces::new(), Clock::manual());
        let made = nonces.make(clock.wall()).unwrap();
        other.import(&nonces.export());
        other.import(b"nonsense");
        assert!(other.age(made.to_str().unwrap(), clock.wall()).is_some());
    }
}
