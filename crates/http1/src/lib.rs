//! HTTP/1.1 as bytes (RFC 9112): heads, framing and chunks, read strictly and written from scratch.
//!
//! This crate must never do IO, keep time or repair what is wrong: a message that two readers could
//! take for two different ones is refused. Start reading at [`head::request`].

/// Heads of requests and answers.
pub mod head;
/// The target of a request.
pub mod target;
/// Where a head ends.
pub mod scan;
/// The fields of a head.
mod fields;
/// What names and methods are made of.
mod token;
/// Names that came before.
mod names;
/// How long a message is.
pub mod framing;
/// Bodies, piece by piece.
pub mod body;
/// Chunked bodies.
pub mod chunks;
/// Messages as bytes.
pub mod write;
/// Bodies on their way out.
pub mod sending;
/// Why a message is refused.
pub mod refusal;

pub use body::Decoder;
pub use chunks::{Chunks, Piece};
pub use framing::Length;
pub use head::{BadHead, RequestHead, ResponseHead, Version, request, response};
pub use refusal::{REFUSAL_NAMES, REFUSALS, Refusal};
pub use scan::Scan;
pub use sending::Sending;
pub use target::{Form, Target};
pub use write::Framing;
