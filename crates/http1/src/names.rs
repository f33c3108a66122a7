//! Names of header fields, remembered by each thread: a name that came before costs no allocation.
//! Names that a client makes up only drive one another out.

use base::caps::{HEADER_NAME_BYTES_KEPT, HEADER_NAME_PAIRS};
use http::HeaderName;
use http::header::InvalidHeaderName;
use std::cell::RefCell;

/// Two names of one place, the one used last first.
type Pair = [Option<HeaderName>; 2];

thread_local! {
    static KEPT: RefCell<Vec<Pair>> = RefCell::new(vec![[const { None }; 2]; HEADER_NAME_PAIRS]);
}

/// The name that these bytes spell in any case.
///
/// # Errors
/// The bytes are not a token.
pub(crate) fn name(written: &str) -> Result<HeaderName, InvalidHeaderName> {
    let written = written.as_bytes();
    // All of it is turned to lower case, whatever is used, since a fixed size is faster.
    let mut room = [0; HEADER_NAME_BYTES_KEPT];
    let Some(name) = room.get_mut(..written.len()) else { return HeaderName::from_bytes(written) };
    name.copy_from_slice(written);
    room.make_ascii_lowercase();
    let name = room.get(..written.len()).unwrap_or_default();
    KEPT.with_borrow_mut(|kept| match kept.get_mut(place(name)) {
        Some(pair) => look_up(pair, name),
        None => HeaderName::from_bytes(name),
    })
}

fn look_up(pair: &mut Pair, name: &[u8]) -> Result<HeaderName, InvalidHeaderName> {
    let is_it = |kept: &HeaderName| kept.as_str().as_bytes() == name;
    let [first, second] = pair;
    if !first.as_ref().is_some_and(is_it) {
        std::mem::swap(first, second);
    }
    Ok(match first {
        Some(kept) if is_it(kept) => kept.clone(),
        _ => first.insert(HeaderName::from_bytes(name)?).clone(),
    })
}

/// Names differ in their length, their beginning or their end; those that do not share a place, which
/// costs time but confuses nothing.
fn place(name: &[u8]) -> usize {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let word = match (name.first_chunk(), name.last_chunk()) {
        (Some(first), Some(last)) => {
            u64::from_le_bytes(*first).wrapping_mul(MIX) ^ u64::from_le_bytes(*last)
        }
        _ => name.iter().fold(0, |word, byte| (word << 8) | u64::from(*byte)),
    };
    let hash = (word ^ name.len() as u64).wrapping_mul(MIX);
    (hash >> 32) as usize % HEADER_NAME_PAIRS
}
