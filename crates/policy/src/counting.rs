//! What operators see of the policies that count, and how they make them forget.

use crate::kinds::{concurrency, quota, rate_limit};
use crate::limit::Verdict;
use crate::limit::told;
use base::Clock;
use base::calendar::Span;
use base::quotas::Quota;
use base::rates::Limit;
use serde_json::{Value, json};
use std::any::Any;
use traffic::Policy;

/// What a share is remembered by: a hash with a secret of this process.
pub type Id = [u64; 2];

/// Whose share an operator asks for.
#[derive(Clone, Copy, Debug)]
pub enum Whom<'a> {
    /// The one of this name, address or value, and of this application where applications are told apart. Empty: of all
    /// who lack what shares are told apart by.
    Named(&'a str, Option<&'a str>),
    /// The one that is remembered by this.
    Id(Id),
}

/// What shares of a policy are told apart by, as far as their names can be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Apart {
    /// By nothing: there is one.
    Nothing,
    /// By consumers.
    Consumers,
    /// By applications of consumers.
    Applications,
    /// By plans.
    Plans,
    /// By routes.
    Routes,
    /// By what clients bring along.
    Other,
}

/// Some of the shares of which something is used.
#[derive(Debug, Default)]
pub struct Page {
    /// What is left of each.
    pub shares: Vec<(Id, Value)>,
    /// Where the next page begins; none after the last one.
    pub next: Option<u64>,
}

/// A policy that counts what requests use.
pub trait Counting {
    /// What has a share of its own, as it was written.
    fn per(&self) -> &str;

    /// What shares are told apart by.
    fn apart(&self) -> Apart;

    /// By what a share is remembered.
    ///
    /// # Errors
    /// What is wrong with the name.
    fn id(&self, whom: Whom<'_>) -> Result<Id, String>;

    /// What is left of a share.
    ///
    /// # Errors
    /// What is wrong with the name.
    fn left(&self, whom: Whom<'_>, clock: &Clock) -> Result<Value, String>;

    /// Whether it can forget: what is under way ends by itself, and cannot be made undone.
    fn forgets(&self) -> bool {
        true
    }

    /// Forgets what was used of a share.
    ///
    /// # Errors
    /// What is wrong with the name.
    fn reset(&self, whom: Whom<'_>, clock: &Clock) -> Result<(), String>;

    /// Forgets what was used of all shares; false if it is not known which those are.
    fn reset_all(&self) -> bool;

    /// How many shares are remembered; none if that is not known.
    fn remembered(&self) -> Option<usize>;

    /// At most so many of the shares of which something is used; none if it is not known which those are.
    fn page(&self, from: u64, most: usize, clock: &Clock) -> Option<Page>;
}

/// The policy as one that counts, if it is.
#[must_use]
pub fn counting(policy: &dyn Policy) -> Option<&dyn Counting> {
    let policy: &dyn Any = policy;
    let rate_limit = policy.downcast_ref::<rate_limit::RateLimit>();
    let quota = || policy.downcast_ref::<quota::Quota>().map(|it| it as &dyn Counting);
    let places = || policy.downcast_ref::<concurrency::Concurrency>();
    let concurrency = || places().map(|it| it as &dyn Counting);
    rate_limit.map(|it| it as &dyn Counting).or_else(quota).or_else(concurrency)
}

/// What is left of a limit.
pub(crate) fn of_limit((limit, verdict): (Limit, Verdict)) -> Value {
    json!({
        "limit": limit.rate,
        "burst": limit.burst.unwrap_or(limit.rate.count),
        "remaining": verdict.remaining,
        "reset_after_s": told::seconds(verdict.reset_after),
    })
}

/// What is left of a quota.
pub(crate) fn of_quota((quota, used, span): (&Quota, u64, Span)) -> Value {
    json!({
        "quota": quota.to_string(),
        "window": quota.per.to_string(),
        "used": used,
        "remaining": quota.amount.saturating_sub(used),
        "from_s": span.starts_s,
        "until_s": span.ends_s,
    })
}
