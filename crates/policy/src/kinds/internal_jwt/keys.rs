//! The keys by which the gateway signs tokens of its own: read from a secret, or made here and changed by and by.

use crate::kind::BuildCtx;
use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use base::Clock;
use base::caps::INTERNAL_KEYS_MAX;
use base::clock::unix_ms;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};
use traffic::state::{Lasting, Portable};
use zeroize::Zeroize as _;

/// A key that signs.
pub(crate) struct Key {
    pair: Pair,
    /// Its name: the thumbprint of its public part (RFC 7638).
    pub(super) id: String,
    /// Its public part (RFC 7517).
    public: Value,
}

enum Pair {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

impl Key {
    /// Makes one.
    ///
    /// # Errors
    /// When there is no randomness.
    pub(super) fn generate(is_ed25519: bool) -> Result<Self, String> {
        let failed = |_| "no key can be made".to_owned();
        let pair = if is_ed25519 {
            Pair::EdDsa(Ed25519KeyPair::generate().map_err(failed)?)
        } else {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
            Pair::Es256(pair.map_err(failed)?)
        };
        Self::new(pair)
    }

    /// Reads one as PEM: PKCS #8 (RFC 5958), or for P-256 also SEC 1 (RFC 5915).
    ///
    /// # Errors
    /// In words, without any of it.
    pub(super) fn read(pem: &str) -> Result<Self, String> {
        let der = private(pem).ok_or("what it stands for is not one private key in PEM")?;
        let pair = if let Ok(pair) =
            EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, &der)
        {
            Pair::Es256(pair)
        } else {
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der);
            Pair::EdDsa(pair.map_err(|_| "the key is neither one of P-256 nor of Ed25519")?)
        };
        Self::new(pair)
    }

    /// Reads one that [`Key::written`] wrote.
    fn from_written(written: &str, is_ed25519: bool) -> Option<Self> {
        let der = zeroize::Zeroizing::new(STANDARD.decode(written).ok()?);
        let pair = if is_ed25519 {
            Pair::EdDsa(Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).ok()?)
        } else {
            Pair::Es256(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der).ok()?)
        };
        Self::new(pair).ok()
    }

    /// All of it, for another process of this gateway (PKCS #8, RFC 5958).
    fn written(&self) -> Option<String> {
        let der = match &self.pair {
            Pair::Es256(pair) => pair.to_pkcs8v1(),
            Pair::EdDsa(pair) => pair.to_pkcs8v1(),
        };
        Some(STANDARD.encode(der.ok()?.as_ref()))
    }

    fn new(pair: Pair) -> Result<Self, String> {
        let broken = || "the key has no public part".to_owned();
        // The members of the thumbprint, in the order of their names (RFC 7638, 3.2; RFC 8037, 2).
        let (thumb, algorithm) = match &pair {
            Pair::Es256(pair) => {
                let point = pair.public_key().as_ref().strip_prefix(&[4]).ok_or_else(broken)?;
                let (x, y) = point.split_at_checked(point.len() / 2).ok_or_else(broken)?;
                let (x, y) = (encode(x), encode(y));
                (format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#), "ES256")
            }
            Pair::EdDsa(pair) => {
                let x = encode(pair.public_key().as_ref());
                (format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#), "EdDSA")
            }
        };
        let id = encode(digest(&SHA256, thumb.as_bytes()).as_ref());
        let mut public: Value = serde_json::from_str(&thumb).map_err(|_| broken())?;
        if let Some(fields) = public.as_object_mut() {
            fields.insert("kid".to_owned(), json!(id));
            fields.insert("use".to_owned(), json!("sig"));
            fields.insert("alg".to_owned(), json!(algorithm));
        }
        Ok(Self { pair, id, public })
    }

    /// Signs claims (RFC 7515, 3.1, compact).
    ///
    /// # Errors
    /// When the library cannot.
    pub(super) fn sign(&self, claims: &Value) -> Result<String, String> {
        let algorithm = match &self.pair {
            Pair::Es256(_) => "ES256",
            Pair::EdDsa(_) => "EdDSA",
        };
        let head = json!({ "alg": algorithm, "typ": "JWT", "kid": self.id }).to_string();
        let mut token =
            format!("{}.{}", encode(head.as_bytes()), encode(claims.to_string().as_bytes()));
        let failed = |_| "the token cannot be signed".to_owned();
        let signature = match &self.pair {
            Pair::Es256(pair) => {
                pair.sign(&SystemRandom::new(), token.as_bytes()).map_err(failed)?
            }
            Pair::EdDsa(pair) => pair.try_sign(token.as_bytes()).map_err(failed)?,
        };
        token.push('.');
        token.push_str(&encode(signature.as_ref()));
        Ok(token)
    }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes of the one private key in a PEM text (RFC 7468).
fn private(pem: &str) -> Option<zeroize::Zeroizing<Vec<u8>>> {
    let (_, rest) = pem.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, _) = rest.split_once("-----END ")?;
    if !matches!(label, "PRIVATE KEY" | "EC PRIVATE KEY") {
        return private(rest);
    }
    let digits = zeroize::Zeroizing::new(body.split_ascii_whitespace().collect::<String>());
    STANDARD.decode(digits.as_bytes()).ok().map(zeroize::Zeroizing::new)
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

/// The keys of one policy, or of several with the same settings.
pub(crate) struct Ring {
    now: ArcSwap<Turn>,
    /// Taken by whoever makes new keys.
    turning: Mutex<()>,
    /// Keys that are made here change this often.
    period: Option<Duration>,
    is_ed25519: bool,
    /// How often the keys have changed.
    version: AtomicU64,
    clock: Clock,
}

/// The keys at a time.
#[derive(Clone)]
struct Turn {
    signs: Arc<Key>,
    /// Those that verifiers must know besides: the last one, and the next, so that it is known before it signs.
    others: Vec<Arc<Key>>,
    /// Of keys that were made here: when the next one signs.
    ends: Option<Instant>,
}

impl Ring {
    /// Keys that were read: the first signs.
    pub(super) fn of(signs: Key, others: Vec<Key>, clock: Clock) -> Self {
        let turn = Turn {
            signs: Arc::new(signs),
            others: others.into_iter().map(Arc::new).collect(),
            ends: None,
        };
        let now = ArcSwap::from_pointee(turn);
        let (turning, version) = (Mutex::default(), AtomicU64::new(0));
        Self { now, turning, period: None, is_ed25519: false, version, clock }
    }

    /// Keys that are made here; at first those of other made ones, if there are any, since verifiers know them.
    ///
    /// # Errors
    /// When none can be made.
    pub(super) fn made(
        is_ed25519: bool,
        period: Duration,
        published: &Published,
        clock: Clock,
    ) -> Result<Self, String> {
        let now = clock.now();
        let is_alike = |ring: &Arc<Self>| ring.period.is_some() && ring.is_ed25519 == is_ed25519;
        let turn = match published.rings().find(is_alike) {
            Some(ring) => {
                ring.turn();
                let turn = ring.now.load();
                let ends = turn.ends.into_iter().chain(now.checked_add(period)).min();
                Turn { ends, ..Turn::clone(&turn) }
            }
            None => Turn {
                signs: Arc::new(Key::generate(is_ed25519)?),
                others: vec![Arc::new(Key::generate(is_ed25519)?)],
                ends: now.checked_add(period),
            },
        };
        let now = ArcSwap::from_pointee(turn);
        let (turning, version) = (Mutex::default(), AtomicU64::new(0));
        Ok(Self { now, turning, period: Some(period), is_ed25519, version, clock })
    }

    /// The key that signs now.
    pub(super) fn signer(&self) -> Arc<Key> {
        self.turn();
        Arc::clone(&self.now.load().signs)
    }

    fn public(&self) -> Vec<Value> {
        self.turn();
        let turn = self.now.load();
        std::iter::once(&turn.signs).chain(&turn.others).map(|key| key.public.clone()).collect()
    }

    /// Goes on to the next key if it is time. Whoever finds another one at it goes on with what there is.
    fn turn(&self) {
        let is_due = |turn: &Turn| turn.ends.is_some_and(|ends| ends <= self.clock.now());
        let Some(period) = self.period.filter(|_| is_due(&self.now.load())) else { return };
        let Ok(_turning) = self.turning.try_lock() else { return };
        let turn = self.now.load_full();
        if !is_due(&turn) {
            return;
        }
        // The next one is the first of the others; without randomness the old one signs on.
        let (Some(signs), Ok(next)) = (turn.others.first(), Key::generate(self.is_ed25519)) else {
            return;
        };
        self.now.store(Arc::new(Turn {
            signs: Arc::clone(signs),
            others: vec![Arc::new(next), Arc::clone(&turn.signs)],
            ends: self.clock.now().checked_add(period),
        }));
        self.version.fetch_add(1, Ordering::Release);
    }
}

/// What one process tells the next of made keys, directly or by way of a file.
#[derive(Serialize, Deserialize)]
struct Written {
    signs: String,
    others: Vec<String>,
    /// When the next one signs, in milliseconds since 1970.
    ends_ms: u64,
}

impl Drop for Written {
    fn drop(&mut self) {
        self.signs.zeroize();
        self.others.zeroize();
    }
}

/// Verifiers know the keys that have signed till now, and no new ones.
impl Portable for Ring {
    fn export(&self) -> Vec<u8> {
        let turn = self.now.load();
        let Some(ends) = turn.ends else { return Vec::new() };
        let left = ends.saturating_duration_since(self.clock.now());
        let written = turn.signs.written().and_then(|signs| {
            let others = turn.others.iter().map(|key| key.written()).collect::<Option<_>>()?;
            let ends_ms = unix_ms(self.clock.wall() + left);
            serde_json::to_vec(&Written { signs, others, ends_ms }).ok()
        });
        written.unwrap_or_default()
    }

    fn import(&self, bytes: &[u8]) {
        let Some(period) = self.period else { return };
        let Ok(written) = serde_json::from_slice::<Written>(bytes) else { return };
        let read = |text: &String| Key::from_written(text, self.is_ed25519).map(Arc::new);
        let others: Option<Vec<_>> = written.others.iter().map(read).collect();
        let others = others.filter(|others| (1..=INTERNAL_KEYS_MAX).contains(&others.len()));
        if let (Some(signs), Some(others)) = (read(&written.signs), others) {
            // A clock that was set back must not keep a key for long.
            let left_ms = written.ends_ms.saturating_sub(unix_ms(self.clock.wall()));
            let left = Duration::from_millis(left_ms).min(period);
            let ends = self.clock.now().checked_add(left);
            self.now.store(Arc::new(Turn { signs, others, ends }));
            self.version.fetch_add(1, Ordering::Release);
        }
    }
}

/// So that what was signed before a restart is believed after it.
impl Lasting for Ring {
    fn version(&self) -> u64 {
        self.turn();
        self.version.load(Ordering::Acquire)
    }
}

/// All keys of a gateway that verifiers must know.
#[derive(Default)]
pub(crate) struct Published(ArcSwap<Vec<Weak<Ring>>>);

impl Published {
    /// Those of the gateway that a policy is built for.
    pub(crate) fn of(ctx: &BuildCtx<'_>) -> Arc<Self> {
        ctx.state.cell("internal_jwt/published", Self::default)
    }

    /// Publishes keys as long as somebody signs by them.
    pub(super) fn add(&self, ring: &Arc<Ring>) {
        self.0.rcu(|rings| {
            let is_other = |other: &&Weak<Ring>| {
                other.upgrade().is_some_and(|other| !Arc::ptr_eq(&other, ring))
            };
            let mut rings: Vec<_> = rings.iter().filter(is_other).cloned().collect();
            rings.push(Arc::downgrade(ring));
            rings
        });
    }

    fn rings(&self) -> impl Iterator<Item = Arc<Ring>> {
        let rings: Vec<_> = self.0.load().iter().filter_map(Weak::upgrade).collect();
        rings.into_iter()
    }

    /// How long each key is published at least before it signs: verifiers must ask that often. None if none changes.
    pub(crate) fn notice(&self) -> Option<Duration> {
        self.rings().filter_map(|ring| ring.period).min()
    }

    /// The set of public keys (RFC 7517, 5).
    pub(crate) fn set(&self) -> Value {
        let mut keys: Vec<Value> = Vec::new();
        for key in self.rings().flat_map(|ring| ring.public()) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        json!({ "keys": keys })
    }
}

#[cfg(test)]
mod tests {
    use super::{Published, Ring};
    use base::Clock;
    use std::sync::Arc;
    use std::time::Duration;
    use traffic::state::{Lasting as _, Portable as _};

    const DAY: Duration = Duration::from_secs(86_400);
    const HOUR: Duration = Duration::from_secs(3_600);

    fn made(published: &Published, period: Duration, clock: &Clock) -> Arc<Ring> {
        let ring = Arc::new(Ring::made(false, period, published, clock.clone()).unwrap());
        published.add(&ring);
        ring
    }

    #[test]
    fn another_process_signs_by_the_keys_that_verifiers_know() {
        for is_ed25519 in [false, true] {
            let clock = Clock::manual();
            let ring = || {
                let nobody = Published::default();
                Ring::made(is_ed25519, DAY, &nobody, clock.clone()).unwrap()
            };
            let (here, there) = (ring(), ring());
            clock.advance(DAY - HOUR);
            there.import(b"not what was exported");
            assert_ne!(there.signer().id, here.signer().id);
            there.import(&here.export());
            assert_eq!(there.signer().id, here.signer().id);
            assert_eq!(there.public(), here.public());
            clock.advance(HOUR);
            assert_eq!(there.signer().id, here.signer().id, "the next one, at the same time");
        }
    }

    #[test]
    fn keys_that_were_kept_while_nobody_served_go_on_where_verifiers_expect_it() {
        let (clock, nobody) = (Clock::manual(), Published::default());
        let before = made(&nobody, DAY, &clock);
        let (kept, known) = (before.export(), before.public());
        for (away, signs) in [(HOUR, 0), (DAY + HOUR, 1), (DAY * 9, 1)] {
            let (later, elsewhere) = (Clock::manual(), Published::default());
            later.advance(away);
            let after = made(&elsewhere, DAY, &later);
            let made_here = after.signer().id.clone();
            let version = after.version();
            after.import(&kept);
            assert_ne!(after.version(), version, "it is to be kept again");
            assert_eq!(after.signer().public, known[signs], "{away:?}");
            assert_ne!(after.signer().id, made_here);
            let published = after.public();
            assert!(published.contains(&known[0]) && published.contains(&known[1]), "{away:?}");
        }
    }

    #[test]
    fn keys_that_change_more_often_from_now_on_begin_with_those_that_verifiers_know() {
        let (clock, published) = (Clock::manual(), Published::default());
        let daily = made(&published, DAY, &clock);
        assert_eq!(published.notice(), Some(DAY));
        let hourly = made(&published, HOUR, &clock);
        assert_eq!(published.notice(), Some(HOUR));
        assert_eq!(hourly.signer().id, daily.signer().id);
        let known = daily.public();
        clock.advance(HOUR);
        assert_ne!(hourly.signer().id, daily.signer().id);
        let signs = hourly.signer().public.clone();
        assert!(known.contains(&signs), "it was published before it signs");
    }
}
