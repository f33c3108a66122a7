use super::{Key, Limiter, Verdict};
use http::header::RETRY_AFTER;
use http::{HeaderName, HeaderValue};
use std::time::{Duration, Instant};
use traffic::{Exchange, Fault, FaultCode, Headers, Stage};

/// Names in draft-ietf-httpapi-ratelimit-headers.
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What clients are told of limits that hold together.
pub(crate) struct Told {
    /// What tells these limits apart from others of the same answer.
    name: Box<str>,
    /// All limits; none if clients are told nothing.
    policy: Option<HeaderValue>,
}

/// What is remembered of one request until it is answered.
pub(crate) struct Taken {
    /// None where all requests have one limit.
    pub(crate) key: Option<Key>,
    pub(crate) cost: u64,
    pub(crate) verdict: Verdict,
    pub(crate) at: Instant,
}

impl Told {
    /// Of limits under a name, which is taken for `default` where no header could hold it.
    pub(crate) fn new(name: &str, limiter: &Limiter) -> Self {
        let name = plain(name).unwrap_or("default");
        let one = |rule: &super::Rule| {
            let (quota, window_s) = quota(rule.limit.rate);
            format!("\"{name}\";q={quota};w={window_s}")
        };
        let all: Vec<String> = limiter.rules().iter().map(one).collect();
        let policy = HeaderValue::try_from(all.join(", "));
        Self { name: name.into(), policy: policy.ok() }
    }

    /// The same, unless clients are told nothing.
    pub(crate) fn only_if(mut self, is_so: bool) -> Self {
        self.policy = self.policy.filter(|_| is_so);
        self
    }

    /// Adds the headers to an answer.
    fn tell(&self, verdict: Verdict, headers: &mut Headers) {
        if let Some(policy) = &self.policy {
            append(policy, &self.name, verdict, headers);
        }
    }
}

/// A name that a header can hold.
pub(crate) fn plain(name: &str) -> Option<&str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    Some(name).filter(|name| !name.is_empty() && name.chars().all(is_plain))
}

/// Adds what a policy says, and what is left of it.
pub(crate) fn append(policy: &HeaderValue, name: &str, verdict: Verdict, headers: &mut Headers) {
    let reset_s = seconds(verdict.reset_after);
    // Each answer has one: put together by hand, which takes a third of what formatting takes.
    let (mut remaining, mut reset) = (itoa::Buffer::new(), itoa::Buffer::new());
    let (remaining, reset) = (remaining.format(verdict.remaining), reset.format(reset_s));
    let limit = ["\"", name, "\";r=", remaining, ";t=", reset].concat();
    headers.append(RATE_LIMIT_POLICY, policy.clone());
    if let Ok(limit) = HeaderValue::try_from(limit) {
        headers.append(RATE_LIMIT, limit);
    }
}

/// Judges a request; what it is told, and the refusal if it does not pass.
pub(crate) fn take(limiter: &Limiter, key: Option<Key>, cost: u64) -> (Taken, Result<(), Fault>) {
    let at = limiter.now();
    let verdict = limiter.take(key, cost, at);
    let judged = verdict.retry_after.map_or(Ok(()), |wait| {
        let fault = Fault::new(Stage::Guard, FaultCode::RateLimited);
        if limiter.rules().iter().any(|rule| rule.cost_max() < cost) {
            // Nobody is told to come back with what never passes.
            return Err(fault.cause(format!("it costs {cost}, which is more than ever passes")));
        }
        Err(fault.header(RETRY_AFTER, HeaderValue::from(seconds(wait).max(1))))
    });
    (Taken { key, cost, verdict, at }, judged)
}

/// Gives back what passed here if another limit refused the request, and adds to the answer what is left.
pub(crate) fn answer(
    told: &Told,
    limiter: &Limiter,
    taken: &Taken,
    exchange: &Exchange,
    headers: &mut Headers,
) {
    let is_refused = exchange.record.fault.is_some_and(FaultCode::is_limit);
    let mut verdict = taken.verdict;
    if is_refused && verdict.retry_after.is_none() && !limiter.counts_refused() {
        limiter.give_back(taken.key, taken.cost, taken.at);
        verdict = limiter.left(taken.key, limiter.now());
    }
    told.tell(verdict, headers);
}

/// Requests and whole seconds, as the headers want them; a shorter window is told as one second.
fn quota(rate: base::units::Rate) -> (u64, u64) {
    let count = u64::from(rate.count);
    if rate.period < Duration::from_secs(1) {
        let ns = u64::from(rate.period.subsec_nanos()).max(1);
        return (count.saturating_mul(1_000_000_000) / ns, 1);
    }
    (count, seconds(rate.period))
}

/// Whole seconds, rounded up.
pub(crate) fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
