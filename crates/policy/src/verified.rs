//! What tokens were found to say, so that they are not verified at each request.
//!
//! A token is known by its SHA-256, and never kept itself. Shards have locks of their own.

use aws_lc_rs::digest::{SHA256, digest};
use base::caps::VERIFIED_TOKENS_BYTES_MAX;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::fmt;
use std::sync::Arc;

/// SHA-256 of a token.
pub(crate) type TokenHash = [u8; 32];

/// The hash of a token.
pub(crate) fn hash(token: &str) -> TokenHash {
    digest_of(token.as_bytes())
}

/// SHA-256 of anything.
pub(crate) fn digest_of(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// Something that is kept and says how many bytes it takes.
pub(crate) trait Weighed {
    fn bytes(&self) -> u64;
}

/// Found before, and bounded by `VERIFIED_TOKENS_BYTES_MAX`. What is used least goes first.
pub(crate) struct Verified<T>(Cache<TokenHash, Arc<T>, ByBytes>);

#[derive(Clone)]
struct ByBytes;

impl<T: Weighed> Weighter<TokenHash, Arc<T>> for ByBytes {
    fn weight(&self, _: &TokenHash, value: &Arc<T>) -> u64 {
        value.bytes().max(1)
    }
}

/// How many are expected: the bound on bytes is the one that holds.
const EXPECTED: usize = 1_024;

impl<T: Weighed> Verified<T> {
    pub(crate) fn new() -> Self {
        Self::up_to(VERIFIED_TOKENS_BYTES_MAX)
    }

    /// One with another bound.
    pub(crate) fn up_to(bytes_max: u64) -> Self {
        Self(Cache::with_weighter(EXPECTED, bytes_max, ByBytes))
    }

    pub(crate) fn find(&self, hash: &TokenHash) -> Option<Arc<T>> {
        self.0.get(hash)
    }

    pub(crate) fn keep(&self, hash: TokenHash, value: Arc<T>) {
        self.0.insert(hash, value);
    }

    pub(crate) fn forget(&self, hash: &TokenHash) {
        self.0.remove(hash);
    }
}

impl<T> fmt::Debug for Verified<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verified")
    }
}
