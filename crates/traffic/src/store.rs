//! Counts of limits that several gateways share. Policies ask for a piece of what a limit allows and spend it on their
//! own; whoever implements [`LimitStore`] keeps the count. Crate `upstream` does so with Redis.

use crate::BoxFuture;
use std::fmt;
use std::sync::Arc;

/// How one limit counts. Times are nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// The generic cell rate algorithm: what one request is worth, and how far ahead of now arrival times may be.
    Gcra {
        /// What one request is worth.
        cost_ns: u64,
        /// How far ahead of now arrival times may be.
        burst_ns: u64,
    },
    /// Two counters, of which the earlier one counts by as much as still overlaps.
    Window {
        /// How many pass in the length of a window.
        count: u64,
        /// How long a window is.
        period_ns: u64,
    },
}

/// What is asked of one count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// Tells the count apart from all others of the store.
    pub name: String,
    /// The limits that hold together.
    pub rules: Vec<Counting>,
    /// How much is wanted; less may be given.
    pub want: u64,
    /// With less than so much nothing is given at all.
    pub least: u64,
    /// How much of what was given before was not used.
    pub back: u64,
    /// What was used while the store could not be asked, by rule; it counts even where there is no room for it.
    pub owed: Vec<u64>,
    /// Whether what was used is forgotten first.
    pub is_reset: bool,
    /// What the store said of the count last ([`Grant::seen`]). It goes on from there if it has lost the count since.
    pub seen: Arc<str>,
}

/// What a store says to an [`Ask`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// How much is given.
    pub granted: u64,
    /// How much more there would be.
    pub remaining: u64,
    /// When as much would be there as after a long pause.
    pub reset_ns: u64,
    /// When there would be [`Ask::least`] more.
    pub retry_ns: u64,
    /// How much is used, by rule, with what was given.
    pub used: Vec<u64>,
    /// What the store knows of the count, in its own words.
    pub seen: Arc<str>,
}

/// How much a gateway has counted of a quota in one window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tells the count, and its window, apart from all others of the store.
    pub name: String,
    /// When the window ends, in seconds since 1970.
    pub ends_s: u64,
    /// How much this gateway has counted, all in all.
    pub own: u64,
    /// Whether it may have told more before: then that holds.
    pub is_first: bool,
    /// Whether what all have counted so far is forgiven.
    pub is_reset: bool,
}

/// What a store says to a [`Tally`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// How much all gateways have counted.
    pub total: u64,
    /// How much of it this one told.
    pub own: u64,
    /// The number of the last question of this gateway: one with a number that is not greater changes nothing.
    pub sequence: u64,
}

/// Keeps counts for several gateways. It never makes anybody wait for longer than it was told to when it was made.
pub trait LimitStore: Send + Sync + fmt::Debug {
    /// Asks for all, each count for itself; what comes of each, in the same order.
    fn take(&self, asks: Vec<Ask>) -> BoxFuture<'_, Vec<Result<Grant, String>>>;

    /// Tells what a gateway has counted, by a number that grows with each question; what all have, in the same order.
    fn tally<'a>(
        &'a self,
        gateway: &'a str,
        sequence: u64,
        tallies: Vec<Tally>,
    ) -> BoxFuture<'a, Vec<Result<Total, String>>>;

    /// Tells that a gateway is alive, after connecting where there is no connection. How many gateways have told so of
    /// late.
    fn beat<'a>(&'a self, gateway: &'a str) -> BoxFuture<'a, Result<u32, String>>;
}
