//! When a node has too much to do, as its config says.

use crate::memory::Ceiling;
use std::time::Duration;

/// From when on a node refuses what it could not do well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overload {
    /// How late a worker may come to what is ready for it, if that is looked at.
    pub queue_delay: Option<Duration>,
    /// How much memory the process may take, if that is bounded.
    pub memory: Option<Ceiling>,
}
