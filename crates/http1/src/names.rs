//! Names of header fields, remembered by each thread: a name that came before costs no allocation.
//! Names that a client makes up only drive one another out.

use base::caps::{HEADER_NAME_BYTES_KEPT, HEADER_NAME_PAIRS};
use http::HeaderName;
use http::header::InvalidHeaderName;
use std::cell::RefCell;

/// Two names of one hash, the one used last first.
type Pair = [Option<HeaderName>; 2];

thread_local! {
    static KEPT: RefCell<Vec<Pair>> = RefCell::new(vec![[const { None }; 2]; HEADER_NAME_PAIRS]);
}

/// The name that these bytes spell in any case.
///
/// # Errors
/// The bytes are not a token.
pub(crate) fn name(written: &str) -> Result<HeaderName, InvalidHeaderName> {
    if written.len() > HEADER_NAME_BYTES_KEPT {
        return HeaderName::from_bytes(written.as_bytes());
    }
    KEPT.with_borrow_mut(|kept| match kept.get_mut(place(written)) {
        Some(pair) => look_up(pair, written),
        None => HeaderName::from_bytes(written.as_bytes()),
    })
}

fn look_up(pair: &mut Pair, written: &str) -> Result<HeaderName, InvalidHeaderName> {
    let is_it = |kept: &HeaderName| kept.as_str().eq_ignore_ascii_case(written);
    let [first, second] = pair;
    if !first.as_ref().is_some_and(is_it) {
        std::mem::swap(first, second);
    }
    Ok(match first {
        Some(kept) if is_it(kept) => kept.clone(),
        _ => first.insert(HeaderName::from_bytes(written.as_bytes())?).clone(),
    })
}

/// The same for every way to write the name in upper and lower case (FNV-1a).
fn place(written: &str) -> usize {
    let hash = written.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte | 0x20)).wrapping_mul(0x0100_0193)
    });
    (hash ^ (hash >> 16)) as usize % HEADER_NAME_PAIRS
}
