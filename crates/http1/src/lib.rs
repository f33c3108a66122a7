//! HTTP/1.1 as bytes (RFC 9112): heads, framing and chunks, read strictly and written from scratch.
//!
//! This crate must never do IO, keep time or repair what is wrong. Start reading at `head`.
