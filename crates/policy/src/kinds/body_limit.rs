//! Bounds request bodies. A length that is announced is judged before a byte is read; a body without
//! one is counted while it passes, so nothing is buffered.

use crate::kind::{BuildCtx, Group, Kind};
use crate::written::{Short, Written};
use base::units::Size;
use base::{Node, Report, decode};
use bytes::Bytes;
use http::Version;
use http_body::Body as _;
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;
use traffic::body::BodyFilter;
use traffic::exchange::Slot;
use traffic::policy::Phases;
use traffic::{Exchange, Fault, FaultCode, Flow, Outcome, Policy, Stage};

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "body_limit",
    group: Group::Limit,
    phases: Phases { request: true, forward: false, reply: false, record: false },
    answers: false,
    about: "Refuses request bodies above a size with 413. Where several apply, the smallest counts. What passes \
            through a WebSocket is no body.",
    example: "body_limit: 10MiB",
    resets: "it has no state",
    schema: <Written<Settings> as JsonSchema>::json_schema,
    build,
};

/// Settings of `body_limit`; short: the size alone.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Settings {
    /// The largest body that passes. Zero refuses every body.
    pub max: Size,
}

impl Short for Settings {
    const EXPECTING: &'static str = "a size such as `10MiB`, or `{ max }`";
    const SAMPLE: &'static str = "10MiB";

    fn short(text: &str) -> Result<Self, String> {
        Size::parse(text).map(|max| Self { max })
    }
}

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    let Written(settings) = decode::<Written<Settings>>(node, ctx.path, report)?;
    Some(Arc::new(BodyLimit { max_bytes: settings.max.0 }))
}

struct BodyLimit {
    max_bytes: u64,
}

impl Policy for BodyLimit {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, _: Slot) -> Outcome<'a, Flow> {
        let hint = exchange.body.size_hint();
        if hint.lower() > self.max_bytes {
            let mut fault = too_large(self.max_bytes);
            // What is left of the body would have to be read before the next request.
            fault.closes = exchange.request.version < Version::HTTP_2;
            return Outcome::Now(Err(fault));
        }
        if hint.upper().is_none_or(|upper| upper > self.max_bytes) {
            let counter = Counter { max_bytes: self.max_bytes, seen_bytes: 0 };
            exchange.body.filter(Box::new(counter));
        }
        Outcome::Now(Ok(Flow::Continue))
    }
}

struct Counter {
    max_bytes: u64,
    seen_bytes: u64,
}

impl BodyFilter for Counter {
    fn on_data(&mut self, data: Bytes) -> Result<Bytes, Fault> {
        self.seen_bytes = self.seen_bytes.saturating_add(data.len() as u64);
        if self.seen_bytes > self.max_bytes {
            return Err(too_large(self.max_bytes).closing());
        }
        Ok(data)
    }

    fn keeps_length(&self) -> bool {
        true
    }
}

fn too_large(max_bytes: u64) -> Fault {
    let detail = format!("at most {} are accepted here", Size(max_bytes));
    Fault::new(Stage::Guard, FaultCode::BodyTooLarge).detail(detail)
}

#[cfg(test)]
mod tests {
    use super::KIND;
    use crate::fixture::{self, drain};
    use serde_json::json;
    use traffic::Body;

    #[test]
    fn an_announced_length_is_judged_at_once() {
        for (max, length, expected) in [
            (json!("10B"), 10, "continue"),
            (json!("10B"), 11, "body_too_large"),
            (json!({ "max": "1KiB" }), 1_025, "body_too_large"),
            (json!(0), 1, "body_too_large"),
            (json!(0), 0, "continue"),
        ] {
            let mut exchange = fixture::exchange("POST /upload");
            exchange.body = Body::full(vec![0; length]);
            let outcome = fixture::built(&KIND, &max).request(&mut exchange);
            assert_eq!(outcome, expected, "{max} {length}");
        }
    }

    #[test]
    fn a_body_without_a_length_is_counted_while_it_passes() {
        let limit = fixture::built(&KIND, &json!("10B"));
        for (pieces, expected) in
            [(&["12345", "67890"][..], "1234567890"), (&["12345", "67890", "1"], "body_too_large")]
        {
            let mut exchange = fixture::exchange("POST /upload");
            exchange.body = fixture::pieces(pieces);
            assert_eq!(limit.request(&mut exchange), "continue");
            assert_eq!(drain(exchange.body), expected);
        }
    }

    #[test]
    fn settings_without_a_size_are_refused() {
        fixture::refuses(&KIND, &json!("large"), "is not a size");
        fixture::refuses(&KIND, &json!({}), "`max` is missing");
        fixture::refuses(&KIND, &json!({ "maximum": 1 }), "unknown field `maximum`");
    }
}
