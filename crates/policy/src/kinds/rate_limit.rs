//! So many requests per length of time, by the generic cell rate algorithm (GCRA).
//!
//! A limit remembers one number per key: the time at which the key would have used up nothing any more
//! (its theoretical arrival time). Every request moves it by the time one request is worth; one that
//! would move it further ahead than the burst allows is refused and moves nothing. There are no windows,
//! so there is no boundary at which twice the limit passes.
//!
//! Headers are those of draft-ietf-httpapi-ratelimit-headers: `RateLimit-Policy` and `RateLimit`.
//!
//! Limitation: where a request passes one limit and is refused by a later one, the first has counted it.

use crate::kind::{BuildCtx, Group, Kind};
use crate::written::{Short, Written};
use base::network::owner;
use base::units::Rate;
use base::{Node, Report, decode};
use http::header::RETRY_AFTER;
use http::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use traffic::exchange::Slot;
use traffic::policy::Phases;
use traffic::{Exchange, Fault, FaultCode, Flow, Outcome, Policy, Response, Stage};

/// Arrival times by key.
pub(crate) mod cell;
#[cfg(test)]
mod tests;

use cell::{Cell, Gcra, Verdict};

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "rate_limit",
    group: Group::Limit,
    phases: Phases { request: true, forward: false, reply: true, record: false },
    answers: false,
    about: "Lets so many requests pass per length of time, for each consumer, each client address, or \
            all together; the rest is refused with 429 and counts for nothing.",
    example: "rate_limit: 100/min per consumer",
    resets: "nothing but another `id` or owner: a changed limit goes on from what was used so far",
    schema: <Written<Settings> as JsonSchema>::json_schema,
    build,
};

/// Settings of `rate_limit`; short: `100/min`, `100/min per consumer`, `10/s per address`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Settings {
    /// How many requests pass, per how long.
    pub limit: Rate,
    /// What has a limit of its own.
    #[serde(default)]
    pub per: Per,
    /// How many requests may come at once after a pause; as many as `limit` counts, when left out.
    pub burst: Option<u32>,
}

/// What has a limit of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// Each consumer; a request that nobody was identified for counts by its address.
    Consumer,
    /// Each address that connections come from; of IPv6 the first 64 bits, which one client owns.
    Address,
    /// All requests together.
    #[default]
    All,
}

impl Short for Settings {
    const EXPECTING: &'static str =
        "a rate such as `100/min per consumer`, or `{ limit, per, burst }`";
    const SAMPLE: &'static str = "100/min per consumer";

    fn short(text: &str) -> Result<Self, String> {
        let (limit, per) = match text.split_once(" per ") {
            None => (text, Per::All),
            Some((limit, per)) => match per.trim() {
                "consumer" => (limit, Per::Consumer),
                "address" => (limit, Per::Address),
                "all" => (limit, Per::All),
                other => {
                    return Err(format!("`per {other}` is not `per consumer`, `address` or `all`"));
                }
            },
        };
        Ok(Self { limit: Rate::parse(limit)?, per, burst: None })
    }
}

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    let Written(settings) = decode::<Written<Settings>>(node, ctx.path, report)?;
    let burst = settings.burst.unwrap_or(settings.limit.count);
    if burst == 0 {
        ctx.error(report, node, "/burst", "a burst of zero would refuse every request");
        return None;
    }
    let Some(gcra) = Gcra::new(settings.limit, burst) else {
        let message = format!("the limit {} is too fast or too slow to count", settings.limit);
        ctx.error(report, node, "/limit", message).help(
            "between one request in a year and a thousand million in a second can be counted",
        );
        return None;
    };
    let name = own_name(ctx.id);
    let (quota, window_s) = quota(settings.limit);
    let policy = HeaderValue::try_from(format!("\"{name}\";q={quota};w={window_s}")).ok()?;
    let cell = ctx.state.portable(ctx.id, || Cell::new(ctx.clock));
    Some(Arc::new(RateLimit { gcra, per: settings.per, cell, name, policy }))
}

/// The policy's own id, if it has one: what tells two limits apart in the headers.
fn own_name(id: &str) -> Box<str> {
    let own = id.rsplit_once("/rate_limit/").map(|(_, own)| own);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    own.filter(|own| own.chars().all(is_plain)).unwrap_or("default").into()
}

/// Requests and whole seconds, as the headers want them; a shorter window is told as one second.
fn quota(limit: Rate) -> (u64, u64) {
    let count = u64::from(limit.count);
    if limit.period < Duration::from_secs(1) {
        let ns = u64::from(limit.period.subsec_nanos()).max(1);
        return (count.saturating_mul(1_000_000_000) / ns, 1);
    }
    (count, seconds(limit.period))
}

/// Whole seconds, rounded up.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

struct RateLimit {
    gcra: Gcra,
    per: Per,
    cell: Arc<Cell>,
    name: Box<str>,
    policy: HeaderValue,
}

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

impl RateLimit {
    fn judge(&self, exchange: &Exchange) -> Verdict {
        let now_ns = self.cell.nanoseconds(exchange.arrived);
        match (self.per, &exchange.consumer) {
            (Per::All, _) => self.cell.take_shared(self.gcra, now_ns),
            (Per::Consumer, Some(consumer)) => {
                self.cell.take(&("consumer", &*consumer.name), self.gcra, now_ns)
            }
            (Per::Address, _) | (Per::Consumer, None) => {
                let address = owner(exchange.client());
                self.cell.take(&("address", address), self.gcra, now_ns)
            }
        }
    }
}

impl Policy for RateLimit {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, slot: Slot) -> Outcome<'a, Flow> {
        let verdict = self.judge(exchange);
        exchange.notes.put(slot, verdict);
        Outcome::Now(match verdict.retry_after {
            None => Ok(Flow::Continue),
            Some(wait) => Err(Fault::new(Stage::Guard, FaultCode::RateLimited)
                .header(RETRY_AFTER, HeaderValue::from(seconds(wait).max(1)))),
        })
    }

    /// An answer that came before this policy's turn has no note, and tells nothing.
    fn on_reply<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        reply: &'a mut Response,
        slot: Slot,
    ) -> Outcome<'a, ()> {
        if let Some(verdict) = exchange.notes.peek::<Verdict>(slot) {
            let reset_s = seconds(verdict.reset_after);
            // Each answer has one: put together by hand, which takes a third of what formatting takes.
            let (mut remaining, mut reset) = (itoa::Buffer::new(), itoa::Buffer::new());
            let (remaining, reset) = (remaining.format(verdict.remaining), reset.format(reset_s));
            let limit = ["\"", &*self.name, "\";r=", remaining, ";t=", reset].concat();
            reply.headers.append(RATE_LIMIT_POLICY, self.policy.clone());
            if let Ok(limit) = HeaderValue::try_from(limit) {
                reply.headers.append(RATE_LIMIT, limit);
            }
        }
        Outcome::Now(Ok(()))
    }
}
