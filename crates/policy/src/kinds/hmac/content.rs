//! What the body must be: its digests (`Content-Digest`, RFC 9530), checked while it passes.

use super::{invalid, message};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Algorithm, Context, SHA256, SHA512};
use bytes::Bytes;
use http::HeaderMap;
use sfv::{BareItem, ListEntry};
use traffic::body::BodyFilter;
use traffic::{Fault, Headers};

/// The header with the digests.
pub(super) const CONTENT_DIGEST: &str = "content-digest";

const ALGORITHMS: [(&str, &Algorithm); 2] = [("sha-256", &SHA256), ("sha-512", &SHA512)];

/// Digests that a body must have. The last piece is held back until they were found right, so that nobody takes
/// the body for whole before.
pub(super) struct Digests {
    of: Vec<(Context, Vec<u8>)>,
    held: Bytes,
}

impl Digests {
    /// Those that the headers name; there must be one by an algorithm that is good enough.
    pub(super) fn read(headers: &Headers) -> Result<Self, &'static str> {
        let written = message::dictionary(headers, CONTENT_DIGEST)?;
        let mut of = Vec::new();
        for (name, algorithm) in ALGORITHMS {
            let Some(entry) = written.get(name) else { continue };
            let ListEntry::Item(item) = entry else {
                return Err("a digest is no sequence of bytes");
            };
            let BareItem::ByteSequence(digest) = &item.bare_item else {
                return Err("a digest is no sequence of bytes");
            };
            of.push((Context::new(algorithm), digest.clone()));
        }
        if of.is_empty() {
            return Err("`content-digest` has neither `sha-256` nor `sha-512`");
        }
        Ok(Self { of, held: Bytes::new() })
    }

    /// Whether what passed is what it must be.
    pub(super) fn is_right(&self) -> bool {
        let is_same = |(context, digest): &(Context, Vec<u8>)| {
            verify_slices_are_equal(context.clone().finish().as_ref(), digest).is_ok()
        };
        self.of.iter().all(is_same)
    }
}

impl BodyFilter for Digests {
    fn on_data(&mut self, data: Bytes) -> Result<Bytes, Fault> {
        if data.is_empty() {
            return Ok(data);
        }
        for (context, _) in &mut self.of {
            context.update(&data);
        }
        Ok(std::mem::replace(&mut self.held, data))
    }

    fn on_end(&mut self) -> Result<Bytes, Fault> {
        if !self.is_right() {
            return Err(invalid("the body is not what was signed").closing());
        }
        Ok(std::mem::take(&mut self.held))
    }

    /// Nobody has signed them.
    fn on_trailers(&mut self, _: HeaderMap) -> Result<HeaderMap, Fault> {
        Ok(HeaderMap::new())
    }

    fn keeps_length(&self) -> bool {
        true
    }
}
