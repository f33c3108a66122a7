//! The hostile table: traffic that means harm. A row is raw bytes in, the promised outcome, the clause that
//! it rests on, and the exact bytes that the other side saw. `docs/reference/hostile.md` is made of it.
//!
//! Each row is sent whole, behind a good message, byte by byte, and in two pieces cut at many places: the
//! outcome is the same. For each row the growth of memory is measured and bounded.

/// What a row is.
mod row;
/// Bytes as text.
mod text;
/// A backend that writes down what it sees.
mod recorder;
/// A client that sends pieces and listens, and what memory that takes.
mod talk;
/// How a row is tried.
mod trial;
/// Requests over HTTP/1.
#[expect(clippy::too_many_lines, reason = "a table is as long as it is")]
mod http1;
/// Requests over HTTP/2.
#[expect(clippy::too_many_lines, reason = "a table is as long as it is")]
mod http2;
/// Answers of backends.
#[expect(clippy::too_many_lines, reason = "a table is as long as it is")]
mod answers;
/// Whoever is slow.
mod slow;
/// The table as data.
mod reference;
