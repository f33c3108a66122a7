//! What is done when a backend is in trouble: repeat, race, put aside, leave alone, hold back.

use base::decode::short_or_long;
use base::units::{Period, Share};
use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use std::fmt;

/// A type that is read in a short and a long form, and its schema.
macro_rules! short_and_long {
    ($type:ident, $long:ident, $expecting:literal, $short:tt) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                short_or_long::<D, $long, Self>(deserializer, $expecting, Self::parse)
            }
        }
        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let long = generator.subschema_for::<$long>();
                schemars::json_schema!({ "oneOf": [$short, long] })
            }
        }
    };
}

/// When a request that is safe to repeat is tried again: a number, or with settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retries {
    /// How many times.
    pub max: u8,
    /// How long one attempt may take.
    pub per_try: Option<Period>,
    /// What is tried again.
    pub on: Option<Vec<RetryOn>>,
    /// The share of requests that may be tried again.
    pub budget: Option<Share>,
    /// How long is waited before.
    pub backoff: RetryBackoff,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RetriesLong {
    /// How many times; 1 unless said otherwise.
    max: Option<u8>,
    /// How long an attempt may take to bring the head of an answer, if another attempt may follow; as
    /// long as `timeouts` allow unless said otherwise.
    #[serde(default, deserialize_with = "above_zero")]
    per_try: Option<Period>,
    /// What is tried again: `connect` (no connection), `refused_stream` (the target took nothing),
    /// `reset` (it broke off), `timeout` (it did not answer in time), `invalid` (what it answered is not
    /// HTTP), and statuses from 400 to 599. The five words unless said otherwise.
    on: Option<Vec<RetryOn>>,
    /// How many of the requests of the last ten seconds may be tried again after they were sent, over
    /// all workers, besides ten a second that always may; 20% unless said otherwise.
    budget: Option<Share>,
    /// How long is waited before a request that was sent is sent again.
    #[serde(default)]
    backoff: RetryBackoff,
}

impl From<RetriesLong> for Retries {
    fn from(long: RetriesLong) -> Self {
        let RetriesLong { max, per_try, on, budget, backoff } = long;
        Self { max: max.unwrap_or(1), per_try, on, budget, backoff }
    }
}

impl Retries {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a number of retries such as `2`");
        Ok(Self { max: text.parse().map_err(|_| wrong())?, ..Self::default() })
    }
}

short_and_long!(Retries, RetriesLong, "a number such as `2`, or `{ max, per_try, on, budget, backoff }`", {
    "type": "integer", "minimum": 0
});

/// Waits before repetitions, each twice as long as the one before and shortened by up to a half at random.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryBackoff {
    /// The first; 25 ms unless said otherwise, `0s` for none.
    pub base: Option<Period>,
    /// The longest; 250 ms unless said otherwise.
    pub max: Option<Period>,
}

/// One thing that is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryOn {
    /// There was no connection.
    Connect,
    /// The target took nothing of the request.
    RefusedStream,
    /// The target broke off.
    Reset,
    /// The target did not answer in time.
    Timeout,
    /// What the target answered is not HTTP.
    Invalid,
    /// The answer has this status.
    Status(u16),
}

impl<'de> Deserialize<'de> for RetryOn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const WORDS: &str =
            "`connect`, `refused_stream`, `reset`, `timeout`, `invalid` or a status such as `503`";
        struct Word;
        impl serde::de::Visitor<'_> for Word {
            type Value = RetryOn;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(WORDS)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<RetryOn, E> {
                Ok(match text {
                    "connect" => RetryOn::Connect,
                    "refused_stream" => RetryOn::RefusedStream,
                    "reset" => RetryOn::Reset,
                    "timeout" => RetryOn::Timeout,
                    "invalid" => RetryOn::Invalid,
                    _ => return Err(E::custom(format!("`{text}` is none of {WORDS}"))),
                })
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<RetryOn, E> {
                self.visit_u64(u64::try_from(number).unwrap_or(0))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<RetryOn, E> {
                status(number).map(RetryOn::Status).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Word)
    }
}

impl JsonSchema for RetryOn {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RetryOn".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "oneOf": [
            { "enum": ["connect", "refused_stream", "reset", "timeout", "invalid"] },
            { "type": "integer", "minimum": 400, "maximum": 599 }
        ] })
    }
}

fn status(number: u64) -> Result<u16, String> {
    match u16::try_from(number) {
        Ok(status @ 400..=599) => Ok(status),
        _ => Err(format!("`{number}` is not a status of a failure, from 400 to 599")),
    }
}

/// Statuses of failures.
fn statuses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u16>>, D::Error> {
    let numbers = Option::<Vec<u64>>::deserialize(deserializer)?;
    let Some(numbers) = numbers else { return Ok(None) };
    numbers.into_iter().map(status).collect::<Result<_, _>>().map(Some).map_err(D::Error::custom)
}

/// A second attempt at another target when the first is slow: `200ms`, or with settings. Only requests
/// without a body whose method is safe (`GET`, `HEAD`, `OPTIONS`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hedge {
    /// How long the attempt before may be without an answer.
    pub after: Period,
    /// How many attempts besides the first.
    pub max: u8,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HedgeLong {
    /// How long an attempt may be without an answer before the next one begins. Choose what nearly all
    /// answers take less than.
    after: Period,
    /// How many attempts begin besides the first; 1 unless said otherwise.
    max: Option<u8>,
}

impl From<HedgeLong> for Hedge {
    fn from(long: HedgeLong) -> Self {
        Self { after: long.after, max: long.max.unwrap_or(1) }
    }
}

impl Hedge {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(Self { after: Period::parse(text)?, max: 1 })
    }
}

short_and_long!(Hedge, HedgeLong, "a duration such as `200ms`, or `{ after, max }`", {
    "type": "string"
});

/// A share over a length of time, such as `50% in 30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareIn {
    /// The share.
    pub share: Share,
    /// Over how long.
    pub within: Period,
}

impl ShareIn {
    /// Reads `50% in 30s`.
    ///
    /// # Errors
    /// A sentence that says what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a share over a time such as `50% in 30s`");
        let (share, within) = text.split_once(" in ").ok_or_else(wrong)?;
        let share = Share::parse(share).map_err(|_| wrong())?;
        let within = Period::parse(within).map_err(|_| wrong())?;
        Ok(Self { share, within })
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ShareInLong {
    /// The share.
    share: Share,
    /// Over how long.
    within: Period,
}

impl From<ShareInLong> for ShareIn {
    fn from(long: ShareInLong) -> Self {
        Self { share: long.share, within: long.within }
    }
}

short_and_long!(ShareIn, ShareInLong, "a share over a time such as `50% in 30s`", {
    "type": "string", "pattern": "^[0-9]+ ?% in .+$"
});

/// When a target is put aside because requests to it fail: `false`, `true`, or with settings. Without a word about it
/// only connections that cannot be opened count, five in a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outliers {
    /// Whether targets are put aside at all.
    pub on: bool,
    /// Failures in a row.
    pub consecutive: Option<u32>,
    /// Share of failures.
    pub failures: Option<ShareIn>,
    /// Requests before shares count.
    pub min_requests: Option<u32>,
    /// What answers are failures.
    pub statuses: Option<Vec<u16>>,
    /// For how long.
    pub eject: Option<Period>,
    /// For how long at most.
    pub eject_max: Option<Period>,
    /// How many at once.
    pub ejected_max: Option<Share>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OutliersLong {
    /// Failures in a row that put a target aside, 0 for none; 5 unless said otherwise.
    consecutive: Option<u32>,
    /// Share of failures that puts it aside, such as `50% in 30s`; none unless said otherwise.
    failures: Option<ShareIn>,
    /// How many requests the target must have had in that time; 20 unless said otherwise.
    min_requests: Option<u32>,
    /// Statuses of answers that count as failures, besides connections that fail, time-outs, resets and
    /// gRPC's `UNAVAILABLE`; 502, 503 and 504 unless said otherwise, `[]` for none.
    #[serde(default, deserialize_with = "statuses")]
    statuses: Option<Vec<u16>>,
    /// How long a target is put aside; 30 s unless said otherwise. Each time that follows is twice as long.
    #[serde(default, deserialize_with = "above_zero")]
    eject: Option<Period>,
    /// How long at most; 10 min unless said otherwise. A target that was well for as long begins anew.
    #[serde(default, deserialize_with = "above_zero")]
    eject_max: Option<Period>,
    /// The share of the targets that may be out at once, those that are unhealthy included; 50% unless said otherwise.
    ejected_max: Option<Share>,
}

impl From<OutliersLong> for Outliers {
    fn from(long: OutliersLong) -> Self {
        Self {
            on: true,
            consecutive: long.consecutive,
            failures: long.failures,
            min_requests: long.min_requests,
            statuses: long.statuses,
            eject: long.eject,
            eject_max: long.eject_max,
            ejected_max: long.ejected_max,
        }
    }
}

impl Outliers {
    fn parse(text: &str) -> Result<Self, String> {
        let on = text.parse().map_err(|_| format!("`{text}` is neither `true` nor `false`"))?;
        Ok(Self { on, ..Self::default() })
    }
}

short_and_long!(Outliers, OutliersLong, "`true`, `false`, or `{ consecutive, failures, eject, … }`", {
    "type": "boolean"
});

/// When a whole upstream is left alone for a while: `50% in 10s`, or with settings. Requests get 503
/// `breaker_open` at once meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Share of failed requests.
    pub failures: Option<ShareIn>,
    /// Requests before shares count.
    pub min_requests: u32,
    /// Share of slow requests.
    pub slow: Option<Slow>,
    /// What answers are failures.
    pub statuses: Option<Vec<u16>>,
    /// How long it stays open.
    pub open: Option<Period>,
    /// How many requests try it afterwards.
    pub probes: u32,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BreakerLong {
    /// Share of requests that failed after all retries, such as `50% in 10s`, which is also what is meant unless said
    /// otherwise.
    failures: Option<ShareIn>,
    /// How many requests there must have been in that time; 20 unless said otherwise.
    min_requests: Option<u32>,
    /// Slow requests open it as well.
    slow: Option<Slow>,
    /// Statuses of answers that count as failures, besides answers that never came; 502, 503 and 504 unless said otherwise.
    #[serde(default, deserialize_with = "statuses")]
    statuses: Option<Vec<u16>>,
    /// How long it stays open; 5 s unless said otherwise.
    #[serde(default, deserialize_with = "above_zero")]
    open: Option<Period>,
    /// How many requests are let in afterwards to see how it goes: all well closes it, one failure
    /// opens it again; 3 unless said otherwise.
    probes: Option<u32>,
}

impl From<BreakerLong> for Breaker {
    fn from(long: BreakerLong) -> Self {
        Self {
            failures: long.failures,
            min_requests: long.min_requests.unwrap_or(20),
            slow: long.slow,
            statuses: long.statuses,
            open: long.open,
            probes: long.probes.unwrap_or(3),
        }
    }
}

impl Breaker {
    fn parse(text: &str) -> Result<Self, String> {
        let failures = Some(ShareIn::parse(text)?);
        Ok(Self { failures, min_requests: 20, slow: None, statuses: None, open: None, probes: 3 })
    }
}

short_and_long!(Breaker, BreakerLong, "a share such as `50% in 10s`, or `{ failures, slow, open, … }`", {
    "type": "string", "pattern": "^[0-9]+ ?% in .+$"
});

/// What makes an upstream too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slow {
    /// Requests whose answer begins later than this are slow.
    pub over: Period,
    /// The share of them that opens the breaker, over the time of `failures`.
    pub share: Share,
}

/// How many requests may wait where the limit is found, unless said otherwise.
const ADAPTIVE_QUEUE: u32 = 500;

/// How many requests an upstream has under way at a time: a number, `adaptive`, or with settings. The limits hold for
/// the whole gateway, whichever worker, route or client a request comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Concurrency {
    /// In all.
    pub max: Option<u32>,
    /// For each target.
    pub max_per_target: Option<u32>,
    /// Found from how long answers take.
    pub adaptive: Option<Adaptive>,
    /// How many requests wait for a place.
    pub queue: u32,
    /// How long one waits.
    pub wait: Option<Period>,
    /// How long one waits in a queue that does not become empty.
    pub delay: Option<Delay>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ConcurrencyLong {
    /// Requests under way in all; unlimited unless said otherwise. With `adaptive` only those count whose answer has not
    /// begun, and of which the rest is not waited for: after a second of that a client gives its place back.
    max: Option<u32>,
    /// Requests under way at each target; unlimited unless said otherwise.
    max_per_target: Option<u32>,
    /// Finds how many requests the backends can work on, from how long their answers take, and lets no more than that be
    /// under way: `true`, or `{ min, max }`; off unless said otherwise.
    adaptive: Option<Adaptive>,
    /// How many requests wait for a place: those of a higher priority go first, and consumers of the same one take turns.
    /// When as many wait as may, one that comes with a higher priority takes the position of one with the lowest. 0
    /// unless said otherwise, 500 with `adaptive`.
    queue: Option<u32>,
    /// How long one waits at most; 1 s unless said otherwise.
    #[serde(default, deserialize_with = "above_zero")]
    wait: Option<Period>,
    /// How long one waits at most when somebody has been waiting all the time for a while, such as `10ms`. Unless said
    /// otherwise it is no shorter than `wait`; with `adaptive` it is as long as answers take without load, and at least
    /// 5 ms.
    delay: Option<Delay>,
}

impl From<ConcurrencyLong> for Concurrency {
    fn from(long: ConcurrencyLong) -> Self {
        let ConcurrencyLong { max, max_per_target, adaptive, queue, wait, delay } = long;
        let adaptive = adaptive.filter(|adaptive| adaptive.on);
        let default = if adaptive.is_some() { ADAPTIVE_QUEUE } else { 0 };
        Self { max, max_per_target, adaptive, queue: queue.unwrap_or(default), wait, delay }
    }
}

impl Concurrency {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "adaptive" {
            let adaptive = Some(Adaptive { on: true, ..Adaptive::default() });
            return Ok(Self { adaptive, queue: ADAPTIVE_QUEUE, ..Self::default() });
        }
        let wrong =
            || format!("`{text}` is neither `adaptive` nor a number of requests such as `100`");
        Ok(Self { max: Some(text.parse().map_err(|_| wrong())?), ..Self::default() })
    }
}

short_and_long!(Concurrency, ConcurrencyLong, "`adaptive`, a number such as `100`, or `{ max, max_per_target, adaptive, queue, wait, delay }`", {
    "anyOf": [{ "type": "integer", "minimum": 1 }, { "const": "adaptive" }]
});

/// Whether the limit is found, and within which bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adaptive {
    /// Whether it is found.
    pub on: bool,
    /// At least so many.
    pub min: Option<u32>,
    /// At most so many.
    pub max: Option<u32>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AdaptiveLong {
    /// The limit never falls below this; 4 unless said otherwise.
    min: Option<u32>,
    /// The limit never rises above this; 1000 unless said otherwise.
    max: Option<u32>,
}

impl From<AdaptiveLong> for Adaptive {
    fn from(long: AdaptiveLong) -> Self {
        Self { on: true, min: long.min, max: long.max }
    }
}

impl Adaptive {
    fn parse(text: &str) -> Result<Self, String> {
        let on = text.parse().map_err(|_| format!("`{text}` is neither `true` nor `false`"))?;
        Ok(Self { on, ..Self::default() })
    }
}

short_and_long!(Adaptive, AdaptiveLong, "`true`, `false`, or `{ min, max }`", { "type": "boolean" });

/// How long requests wait in a queue that does not become empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    /// So long at most.
    pub target: Period,
    /// After how long with somebody in the queue.
    pub interval: Option<Period>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DelayLong {
    /// How long a request waits at most; who has waited for longer gets 503 at once.
    target: Period,
    /// For how long somebody must have been waiting all the time; 100 ms unless said otherwise.
    #[serde(default, deserialize_with = "above_zero")]
    interval: Option<Period>,
}

impl From<DelayLong> for Delay {
    fn from(long: DelayLong) -> Self {
        Self { target: long.target, interval: long.interval }
    }
}

impl Delay {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(Self { target: Period::parse(text)?, interval: None })
    }
}

short_and_long!(Delay, DelayLong, "a duration such as `10ms`, or `{ target, interval }`", {
    "type": "string"
});

/// A period that is given must be one in which something can happen.
fn above_zero<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Period>, D::Error> {
    crate::upstream::above_zero(deserializer)
}
