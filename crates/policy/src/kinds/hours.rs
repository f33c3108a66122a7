//! Lets requests pass at the times at which something is open, by the clocks and the calendar of a place.

use crate::kind::{BuildCtx, Group, Kind};
use crate::written::OneOrMany;
use base::calendar::Zone;
use base::caps::OPENING_TIMES_MAX;
use base::clock::unix_ms;
use base::hours::{Hours, Window, parse_date};
use base::{Clock, Node, Report, decode};
use http::HeaderValue;
use http::header::RETRY_AFTER;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use traffic::exchange::Slot;
use traffic::policy::{Asked, Foreseen, Phases};
use traffic::{Exchange, Fault, FaultCode, Flow, Outcome, Policy, Stage};

#[cfg(test)]
mod tests;

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "hours",
    group: Group::Access,
    phases: Phases { request: true, forward: false, reply: false, record: false },
    answers: false,
    about: "Lets requests pass at some times of some days, by the clocks of a place. At others they get 503 with \
            `Retry-After`, which says when it opens, or 403. Where several apply, all must be open.",
    example: "hours: { open: Mon-Fri 08:00-18:00, time_zone: Europe/London, except: [2026-12-25] }",
    resets: "it has no state",
    schema: <Settings as JsonSchema>::json_schema,
    build,
};

/// Settings of `hours`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Settings {
    /// When it is open: `Mon-Fri 08:00-18:00`, `Sat,Sun` (all day), `22:00-06:00` (every day, over midnight), or a list of
    /// these.
    open: OneOrMany,
    /// Whose clocks count, by the IANA database: `Europe/London`; `UTC` unless said otherwise.
    #[serde(default = "Zone::utc")]
    time_zone: Zone,
    /// Days on which it is closed all the same, such as `2026-12-25`.
    #[serde(default)]
    except: Vec<String>,
    /// What a request gets while it is closed: `503` unless said otherwise, or `403`.
    #[serde(default)]
    status: Status,
    /// What a refused client is told.
    reason: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u16")]
enum Status {
    Forbidden,
    #[default]
    Unavailable,
}

impl JsonSchema for Status {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "ClosedStatus".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": [403, 503] })
    }
}

impl TryFrom<u16> for Status {
    type Error = String;

    fn try_from(status: u16) -> Result<Self, String> {
        match status {
            403 => Ok(Self::Forbidden),
            503 => Ok(Self::Unavailable),
            other => Err(format!("`{other}` is neither 403 nor 503")),
        }
    }
}

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    let settings = decode::<Settings>(node, ctx.path, report)?;
    let mut own = Report::new();
    let mut windows = Vec::new();
    for (index, text) in settings.open.0.iter().enumerate() {
        match Window::parse(text) {
            Ok(window) => windows.push(window),
            Err(why) => {
                ctx.error(&mut own, node, &format!("/open/{index}"), why);
            }
        }
    }
    let mut except = BTreeSet::new();
    for (index, text) in settings.except.iter().enumerate() {
        match parse_date(text) {
            Ok(day) => {
                except.insert(day);
            }
            Err(why) => {
                ctx.error(&mut own, node, &format!("/except/{index}"), why);
            }
        }
    }
    if windows.len().max(except.len()) > OPENING_TIMES_MAX {
        ctx.error(&mut own, node, "/open", format!("at most {OPENING_TIMES_MAX} can be named"));
    }
    if settings.open.0.is_empty() {
        ctx.warning(&mut own, node, "/open", "it is never open: every request is refused");
    }
    let is_usable = !own.has_errors();
    report.absorb(own);
    let about = about(&settings);
    let hours = Hours::new(settings.time_zone, windows, except);
    let clock = ctx.clock.clone();
    let reason = settings.reason.map(Cow::Owned);
    is_usable
        .then(|| Arc::new(Opening { hours, status: settings.status, reason, clock, about }) as _)
}

fn about(settings: &Settings) -> String {
    let mut text = format!("open {}, {}", settings.open.0.join(" and "), settings.time_zone);
    if !settings.except.is_empty() {
        text.push_str(", but for ");
        text.push_str(&settings.except.join(", "));
    }
    text
}

struct Opening {
    hours: Hours,
    status: Status,
    reason: Option<Cow<'static, str>>,
    clock: Clock,
    about: String,
}

impl Policy for Opening {
    fn on_request<'a>(&'a self, _: &'a mut Exchange, _: Slot) -> Outcome<'a, Flow> {
        let now_s = i64::try_from(unix_ms(self.clock.wall()) / 1_000).unwrap_or(i64::MAX);
        // A time that no calendar reaches is no time at which it is open.
        if self.hours.is_open(now_s) == Some(true) {
            return Outcome::Now(Ok(Flow::Continue));
        }
        let fault = match self.status {
            Status::Forbidden => Fault::new(Stage::Guard, FaultCode::ClosedHours),
            Status::Unavailable => {
                let fault = Fault::new(Stage::Guard, FaultCode::ClosedNow);
                match self.hours.opens(now_s) {
                    Some(opens_s) => fault.header(RETRY_AFTER, HeaderValue::from(opens_s - now_s)),
                    None => fault,
                }
            }
        };
        let fault = fault.cause(format!("it is {}", self.about));
        Outcome::Now(Err(match &self.reason {
            Some(reason) => fault.detail(reason.clone()),
            None => fault,
        }))
    }

    fn about(&self) -> Vec<String> {
        vec![self.about.clone()]
    }

    fn foresee(&self, _: &Asked<'_>) -> Option<Foreseen> {
        Some(Foreseen::Depends(format!("the time: {}", self.about)))
    }
}
