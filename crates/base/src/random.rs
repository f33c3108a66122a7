//! Randomness: unpredictable for secrets and identifiers that outsiders see, fast for balancing.

/// Fills `bytes` from the operating system's generator.
///
/// # Errors
/// When the operating system has no randomness to give: nothing secret may be made then.
pub fn fill(bytes: &mut [u8]) -> Result<(), getrandom::Error> {
    getrandom::fill(bytes)
}

/// A fast random number, good for balancing and jitter, predictable to an attacker.
#[must_use]
pub fn fast() -> u64 {
    fastrand::u64(..)
}

/// A fast random number below `bound`; zero when `bound` is zero.
#[must_use]
pub fn fast_below(bound: u64) -> u64 {
    if bound == 0 { 0 } else { fastrand::u64(..bound) }
}
