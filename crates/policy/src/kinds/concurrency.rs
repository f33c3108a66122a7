//! So many requests at a time.
//!
//! A request takes a place before anything costly is done for it, and gives it back however it ends: with the last byte
//! of its answer, with a client or a backend that goes away, with a refusal. Streams and upgraded connections keep theirs
//! as long as they last. Nobody waits here: who finds no place is told to come back.

use crate::counting::{Apart, Counting, Id, Page, Whom};
use crate::kind::{BuildCtx, Group, Kind};
use crate::limit::{Per, Permits};
use crate::written::{Short, Written};
use base::{Clock, Node, Report, decode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use traffic::exchange::Slot;
use traffic::policy::Phases;
use traffic::{Exchange, Fault, FaultCode, Flow, Outcome, Policy, Stage};

#[cfg(test)]
mod tests;

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "concurrency",
    group: Group::Limit,
    phases: Phases { request: true, forward: false, reply: false, record: false },
    answers: false,
    about: "Lets so many requests be under way at a time, for each consumer, each client address, or all together, or whatever \
            else requests are told apart by. A caller with too many gets 429; where all requests have one limit together, \
            what is too much gets 503. A request ends with the last byte of its answer, a WebSocket with its connection.",
    example: "concurrency: 10 per consumer",
    resets: "another `id` or owner; a changed `max` counts those under way, and ends none of them",
    schema: <Written<Settings> as JsonSchema>::json_schema,
    build,
};

/// Settings of `concurrency`; short: `100`, `10 per consumer`, `2 per header x-tenant`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Settings {
    /// Requests that may be under way at a time.
    #[schemars(range(min = 1))]
    pub max: u32,
    /// What has a limit of its own: `all` requests together, each `consumer` or `application` (a request that nobody was
    /// identified for counts by its address), each `plan`, each `route`, each client `address` (of IPv6 the first 64 bits)
    /// or network of them (`address/24`, `address/24/48` for IPv4 and IPv6), `header NAME`, `cookie NAME`, or what an
    /// expression gives. Requests that lack what is asked for have one limit together.
    #[serde(default = "all")]
    pub per: String,
}

fn all() -> String {
    Per::ALL.to_owned()
}

impl Short for Settings {
    const EXPECTING: &'static str = "a number such as `10 per consumer`, or `{ max, per }`";
    const SAMPLE: &'static str = "10 per consumer";

    fn short(text: &str) -> Result<Self, String> {
        let (max, per) = Per::split(text);
        let max = max.trim().parse();
        Ok(Self { max: max.map_err(|_| format!("`{text}` is not {}", Self::EXPECTING))?, per })
    }
}

pub(crate) struct Concurrency {
    max: u32,
    per: Per,
    written: String,
    permits: Arc<Permits>,
}

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    let Written(Settings { max, per: written }) = decode(node, ctx.path, report)?;
    if max == 0 {
        ctx.error(report, node, "/max", "a limit of zero would refuse every request");
        return None;
    }
    let per = Per::parse(&written, ctx.scope())
        .map_err(|message| ctx.error(report, node, "/per", message))
        .ok()?;
    let permits = ctx.state.cell(ctx.id, Permits::default);
    Some(Arc::new(Concurrency { max, per, written, permits }))
}

impl Concurrency {
    /// The refusal: a caller has too many requests under way, or there are too many together, which is nobody's fault.
    fn refusal(&self) -> Fault {
        let code = match self.per {
            Per::All | Per::Route | Per::Plan => FaultCode::RouteBusy,
            _ => FaultCode::TooManyAtOnce,
        };
        Fault::new(Stage::Guard, code).come_back()
    }
}

impl Policy for Concurrency {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, slot: Slot) -> Outcome<'a, Flow> {
        let Some(permit) = self.permits.enter(&self.per.who(exchange), self.max) else {
            return Outcome::Now(Err(self.refusal()));
        };
        // The note goes with the exchange, however that ends.
        exchange.notes.put(slot, permit);
        Outcome::Now(Ok(Flow::Continue))
    }

    fn about(&self) -> Vec<String> {
        vec![format!("{} at a time, per {}", self.max, self.written)]
    }
}

impl Concurrency {
    fn key(&self, whom: Whom<'_>) -> Result<Option<u64>, String> {
        Ok(match whom {
            _ if self.per.is_all() => None,
            Whom::Id([key, _]) => Some(key),
            Whom::Named(key, application) => self.permits.key(&self.per.named(key, application)?),
        })
    }

    fn shown(&self, under_way: u32) -> Value {
        let remaining = self.max.saturating_sub(under_way);
        json!({ "concurrency": [{ "max": self.max, "under_way": under_way, "remaining": remaining }] })
    }
}

impl Counting for Concurrency {
    fn per(&self) -> &str {
        &self.written
    }

    fn apart(&self) -> Apart {
        self.per.apart()
    }

    fn id(&self, whom: Whom<'_>) -> Result<Id, String> {
        self.key(whom).map(|key| [key.unwrap_or(0), 0])
    }

    fn left(&self, whom: Whom<'_>, _: &Clock) -> Result<Value, String> {
        Ok(self.shown(self.permits.under_way(self.key(whom)?)))
    }

    fn forgets(&self) -> bool {
        false
    }

    fn reset(&self, _: Whom<'_>, _: &Clock) -> Result<(), String> {
        Err("requests under way cannot be forgotten".to_owned())
    }

    fn reset_all(&self) -> bool {
        false
    }

    fn remembered(&self) -> Option<usize> {
        Some(if self.per.is_all() { 1 } else { self.permits.len() })
    }

    fn page(&self, from: u64, most: usize, _: &Clock) -> Option<Page> {
        if self.per.is_all() {
            return None;
        }
        let (found, next) = self.permits.page(from, most);
        let shares = found.into_iter().map(|(key, count)| ([key, 0], self.shown(count))).collect();
        Some(Page { shares, next })
    }
}
