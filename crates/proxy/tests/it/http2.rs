//! HTTP/2 in raw frames.

/// Header compression.
pub(crate) mod hpack;
/// Frames as bytes and as text.
pub(crate) mod frames;
/// Requests and answers, bodies, trailers, resets.
mod exchanges;
/// What a request may look like.
mod heads;
/// What frames may follow each other.
mod rules;
/// Work that a client causes for nothing.
mod floods;
/// WebSockets by extended CONNECT.
mod tunnels;
/// What TLS holds back.
mod secure;
/// Bounds of time and size.
mod limits;
