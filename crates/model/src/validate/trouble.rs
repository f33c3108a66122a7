//! What is done when a backend is in trouble: settings that contradict each other.

use super::pointer;
use crate::Upstream;
use crate::trouble::{Breaker, Concurrency, Outliers, Retries, ShareIn};
use base::caps::{ATTEMPTS_MAX, FAILURE_WINDOW_MAX_S, QUEUE_MAX, STATUSES_MAX};
use base::units::Share;
use base::{Placed, Report};
use std::time::Duration;

/// Problems of one upstream's settings.
pub(super) fn check(name: &Placed<String>, upstream: &Upstream, report: &mut Report) {
    let mut at = |field: &str, place: &base::Place, found: Option<Problem>| {
        if let Some((message, help)) = found {
            let path = pointer(&["upstreams", name, field]);
            report.error("invalid_value", place, message).at(path).help(help);
        }
    };
    if let Some(retries) = &upstream.retries {
        at("retries", &retries.place, self::retries(retries));
    }
    if let Some(hedge) = &upstream.hedge {
        let found = match u32::from(hedge.max) {
            0 => problem("a `hedge` of no attempt does nothing", "leave `hedge` out"),
            ATTEMPTS_MAX.. => problem(
                &format!("{} attempts besides the first are the most", ATTEMPTS_MAX - 1),
                "one is nearly always enough",
            ),
            _ if hedge.after.0.is_zero() => problem(
                "a `hedge` that begins at once doubles the load",
                "write what nearly all answers take less than, such as `200ms`",
            ),
            _ => None,
        };
        at("hedge", &hedge.place, found);
    }
    if let Some(outliers) = &upstream.outliers {
        at("outliers", &outliers.place, self::outliers(outliers));
    }
    if let Some(breaker) = &upstream.breaker {
        at("breaker", &breaker.place, self::breaker(breaker));
    }
    if let Some(concurrency) = &upstream.concurrency {
        at("concurrency", &concurrency.place, self::concurrency(concurrency));
    }
}

/// A message, and what to do.
type Problem = (String, String);

fn problem(message: &str, help: &str) -> Option<Problem> {
    Some((message.to_owned(), help.to_owned()))
}

fn retries(retries: &Retries) -> Option<Problem> {
    if u32::from(retries.max) >= ATTEMPTS_MAX {
        return problem(
            &format!("{} retries are the most", ATTEMPTS_MAX - 1),
            "each retry adds load where something is wrong already",
        );
    }
    if retries.on.as_ref().is_some_and(|on| on.len() > STATUSES_MAX) {
        return problem(&format!("`on` has more than {STATUSES_MAX} entries"), "name fewer");
    }
    match (retries.backoff.base, retries.backoff.max) {
        (Some(base), Some(max)) if base > max => problem(
            &format!("the first wait, {base}, is longer than the longest, {max}"),
            "raise `backoff.max`, or lower `backoff.base`",
        ),
        _ => None,
    }
}

fn share_in(share: &ShareIn) -> Option<Problem> {
    if share.share == Share::NONE {
        return problem("a share of 0% is always reached", "write a share such as `50%`");
    }
    let longest = Duration::from_secs(FAILURE_WINDOW_MAX_S);
    if share.within.0 < Duration::from_secs(1) || share.within.0 > longest {
        return problem(
            &format!("a share is counted over 1s to {}min", FAILURE_WINDOW_MAX_S / 60),
            "write a time such as `30s`",
        );
    }
    None
}

fn statuses(statuses: Option<&Vec<u16>>) -> Option<Problem> {
    let are_many = statuses.is_some_and(|statuses| statuses.len() > STATUSES_MAX);
    are_many.then(|| problem(&format!("more than {STATUSES_MAX} statuses"), "name fewer")).flatten()
}

fn outliers(outliers: &Outliers) -> Option<Problem> {
    if let Some(found) = outliers.failures.as_ref().and_then(share_in) {
        return Some(found);
    }
    if outliers.min_requests == Some(0) {
        return problem("a share of no requests says nothing", "write a `min_requests` such as 20");
    }
    if outliers.on && outliers.consecutive == Some(0) && outliers.failures.is_none() {
        return problem(
            "with `consecutive: 0` and without `failures` nothing puts a target aside",
            "write `outliers: false` if that is meant",
        );
    }
    if let (Some(eject), Some(eject_max)) = (outliers.eject, outliers.eject_max)
        && eject > eject_max
    {
        return problem(
            &format!("`eject`, {eject}, is longer than `eject_max`, {eject_max}"),
            "raise `eject_max`, or lower `eject`",
        );
    }
    statuses(outliers.statuses.as_ref())
}

fn breaker(breaker: &Breaker) -> Option<Problem> {
    if let Some(found) = breaker.failures.as_ref().and_then(share_in) {
        return Some(found);
    }
    if breaker.min_requests == 0 || breaker.probes == 0 {
        return problem(
            "a breaker needs at least one request to judge by",
            "write 1 or more for `min_requests` and `probes`",
        );
    }
    match breaker.slow {
        Some(slow) if slow.over.0.is_zero() || slow.share == Share::NONE => problem(
            "`slow` with a time or a share of zero is always reached",
            "write for instance `{ over: 2s, share: 80% }`",
        ),
        _ => statuses(breaker.statuses.as_ref()),
    }
}

fn concurrency(concurrency: &Concurrency) -> Option<Problem> {
    let Concurrency { max, max_per_target, adaptive, .. } = *concurrency;
    if max.is_none() && max_per_target.is_none() && adaptive.is_none() {
        return problem(
            "`concurrency` limits nothing",
            "write `max`, `max_per_target`, `adaptive: true`, or several of them",
        );
    }
    let found = adaptive.unwrap_or_default();
    if [max, max_per_target, found.min, found.max].contains(&Some(0)) {
        return problem("no request would ever pass", "write 1 or more");
    }
    let least = found.min.unwrap_or(1);
    if [max, found.max].into_iter().flatten().any(|most| most < least) {
        return problem(
            &format!("`min: {least}` is more than the most that is allowed"),
            "write a `min` that is no greater than `max`",
        );
    }
    if concurrency.queue > QUEUE_MAX {
        return problem(
            &format!("{QUEUE_MAX} waiting requests are the most"),
            "a long queue only makes everybody wait; a few times `max` is plenty",
        );
    }
    if concurrency.wait.is_some() && concurrency.queue == 0 {
        return problem(
            "nobody can `wait` without a `queue`",
            "write how many may, such as `queue: 50`",
        );
    }
    match concurrency.delay {
        Some(_) if concurrency.queue == 0 => problem(
            "there is no `delay` without a `queue`",
            "write how many may wait, such as `queue: 50`",
        ),
        Some(delay) if delay.target.0.is_zero() => problem(
            "with a `delay` of zero nobody could wait",
            "write for instance `delay: 10ms`, or `queue: 0`",
        ),
        _ => None,
    }
}
