//! What `yett top` shows, and how.

/// Reads metrics and status of a gateway.
pub(crate) mod fetch;
/// The text that a scrape gets, as numbers.
mod openmetrics;
/// What happened between two looks.
pub(crate) mod view;
/// A look as lines of text.
pub(crate) mod screen;
/// What keys do.
pub(crate) mod keys;
/// The terminal.
pub(crate) mod terminal;
