use super::leases::{Place, Ruling};
use super::{Key, Limiter, Limits, Rule, Verdict};
use crate::store::OnFailure;
use http::header::RETRY_AFTER;
use http::{HeaderName, HeaderValue};
use std::time::{Duration, Instant};
use traffic::{Exchange, Fault, FaultCode, Headers, Stage};

/// Names in draft-ietf-httpapi-ratelimit-headers.
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What clients are told of limits that hold together.
pub(crate) struct Told {
    /// What tells each of these limits apart from all others of the same answer.
    names: Box<[Box<str>]>,
    /// All limits; none if clients are told nothing.
    policy: Option<HeaderValue>,
}

/// What is remembered of one request until it is answered.
pub(crate) struct Taken {
    held: Held,
    cost: u64,
    verdict: Verdict,
    at: Instant,
}

/// Where it was counted.
enum Held {
    /// Here; without a key where all requests have one limit.
    Here(Option<Key>),
    /// Together with other gateways.
    Shared(Place),
}

impl Told {
    /// Of limits under a name, which is taken for `default` where no header could hold it. Each of several has its length
    /// of time behind it.
    pub(crate) fn new(name: &str, rules: &[Rule]) -> Self {
        let names = names(plain(name).unwrap_or("default"), rules);
        let one = |(name, rule): (&str, &Rule)| {
            let (quota, window_s) = quota(rule.limit.rate);
            format!("\"{name}\";q={quota};w={window_s}")
        };
        let all: Vec<String> = names.iter().map(|name| &**name).zip(rules).map(one).collect();
        let policy = HeaderValue::try_from(all.join(", "));
        Self { names, policy: policy.ok() }
    }

    /// The same, unless clients are told nothing.
    pub(crate) fn only_if(mut self, is_so: bool) -> Self {
        self.policy = self.policy.filter(|_| is_so);
        self
    }

    /// Adds the headers to an answer.
    fn tell(&self, verdict: Verdict, headers: &mut Headers) {
        if let Some(policy) = &self.policy {
            let name = self.names.get(verdict.rule).map_or("default", |name| &**name);
            append(policy, name, verdict, headers);
        }
    }
}

/// A name for each limit: `gold`, or `gold-1s` and `gold-1h`, and `gold-1h-2` for another one of the same length.
fn names(name: &str, rules: &[Rule]) -> Box<[Box<str>]> {
    if rules.len() == 1 {
        return [name.into()].into();
    }
    let mut names: Vec<Box<str>> = Vec::new();
    for rule in rules {
        let rate = rule.limit.rate.to_string();
        let period = rate.split_once('/').map_or("", |(_, period)| period);
        let one = if period.starts_with(|c: char| c.is_ascii_digit()) { "" } else { "1" };
        let first = format!("{name}-{one}{period}");
        let mut numbered = (2..).map(|number| format!("{first}-{number}"));
        let mut found = first.clone();
        while names.iter().any(|known| **known == *found) {
            found = numbered.next().unwrap_or_default();
        }
        names.push(found.into());
    }
    names.into()
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
    let judged = judged(limiter.rules(), cost, verdict);
    (Taken { held: Held::Here(key), cost, verdict, at }, judged)
}

fn judged(rules: &[Rule], cost: u64, verdict: Verdict) -> Result<(), Fault> {
    verdict.retry_after.map_or(Ok(()), |wait| {
        let fault = Fault::new(Stage::Guard, FaultCode::RateLimited);
        if rules.iter().any(|rule| rule.cost_max() < cost) {
            // Nobody is told to come back with what never passes.
            return Err(fault.cause(format!("it costs {cost}, which is more than ever passes")));
        }
        Err(fault.header(RETRY_AFTER, HeaderValue::from(seconds(wait).max(1))))
    })
}

/// What becomes of a request by what gateways count together; what it is told, if it was counted.
pub(crate) fn ruled(
    rules: &[Rule],
    ruling: Result<Ruling, OnFailure>,
    cost: u64,
) -> (Option<Taken>, Result<(), Fault>) {
    match ruling {
        Ok(Ruling { verdict, counted, at }) => {
            let taken = Taken { held: Held::Shared(counted), cost, verdict, at };
            (Some(taken), judged(rules, cost, verdict))
        }
        Err(OnFailure::Allow) => (None, Ok(())),
        Err(OnFailure::Local | OnFailure::Refuse) => {
            let fault = Fault::new(Stage::Guard, FaultCode::LimitStoreDown);
            (None, Err(fault.header(RETRY_AFTER, HeaderValue::from_static("1"))))
        }
    }
}

/// Gives back what passed here if another limit refused the request, and adds to the answer what is left.
pub(crate) fn answer(
    told: &Told,
    limits: &Limits,
    taken: &Taken,
    exchange: &Exchange,
    headers: &mut Headers,
) {
    let is_refused = exchange.record.fault.is_some_and(FaultCode::is_limit);
    let mut verdict = taken.verdict;
    let counts_refused = limits.rules().iter().any(Rule::counts_refused);
    if is_refused && verdict.retry_after.is_none() && !counts_refused {
        match (limits, &taken.held) {
            (Limits::Here(limiter), Held::Here(key)) => {
                limiter.give_back(*key, taken.cost, taken.at);
                verdict = limiter.left(*key, limiter.now());
            }
            (Limits::Shared(shared), Held::Shared(place)) => {
                shared.give_back(*place, taken.at);
                verdict.remaining = verdict.remaining.saturating_add(taken.cost);
            }
            // A policy reads its own notes.
            (Limits::Here(_), Held::Shared(_)) | (Limits::Shared(_), Held::Here(_)) => {}
        }
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
