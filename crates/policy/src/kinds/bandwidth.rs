//! So many bytes a second.
//!
//! Whoever shares a speed waits for the others: each piece of a body, of a stream or of an upgraded connection passes at
//! its time, and until then nobody asks for the next one. Nothing is refused, and nothing is gathered here.

use crate::kind::{BuildCtx, Group, Kind};
use crate::limit::{LaneTable, Per};
use crate::written::{Short, Written};
use base::caps::BANDWIDTH_MIN;
use base::units::{Size, Speed};
use base::{Node, Report, decode};
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;
use traffic::exchange::Slot;
use traffic::pace::{self, Pace};
use traffic::policy::Phases;
use traffic::{Exchange, Flow, Outcome, Policy};

#[cfg(test)]
mod tests;

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "bandwidth",
    group: Group::Limit,
    phases: Phases { request: true, forward: false, reply: false, record: false },
    answers: false,
    about: "Lets so many bytes of bodies pass in a second, for each consumer, each client address, or all together, or whatever \
            else requests are told apart by. Nothing is refused: what is too much waits, and whoever sends it waits, too. \
            Streams and upgraded connections such as WebSockets keep to it like all others.",
    example: "bandwidth: { down: 1MiB/s, up: 256KiB/s, per: consumer }",
    resets: "another `id` or owner, or any change of a speed or `burst`; what is under way keeps the speed it began with",
    schema: <Written<Settings> as JsonSchema>::json_schema,
    build,
};

/// Settings of `bandwidth`; short: `1MiB/s`, `1MiB/s per consumer`, which are `down`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Settings {
    /// Bytes a second to clients: bodies of answers as they are sent, compressed if they are; heads do not count. Unbounded
    /// when left out. At least 1KiB/s.
    pub down: Option<Speed>,
    /// Bytes a second from clients: bodies of requests as they are forwarded. Unbounded when left out. At least 1KiB/s.
    pub up: Option<Speed>,
    /// Bytes that may pass at once after a pause, in each direction; as many as pass in a second when left out.
    pub burst: Option<Size>,
    /// Who shares a speed: `all` requests together, each `consumer` or `application` (a request that nobody was
    /// identified for counts by its address), each `plan`, each `route`, each client `address` (of IPv6 the first 64 bits)
    /// or network of them (`address/24`, `address/24/48` for IPv4 and IPv6), `header NAME`, `cookie NAME`, or what an
    /// expression gives. Requests that lack what is asked for share one together.
    #[serde(default = "all")]
    pub per: String,
}

fn all() -> String {
    Per::ALL.to_owned()
}

impl Short for Settings {
    const EXPECTING: &'static str =
        "a speed such as `1MiB/s per consumer`, or `{ down, up, burst, per }`";
    const SAMPLE: &'static str = "1MiB/s per consumer";

    fn short(text: &str) -> Result<Self, String> {
        let (down, per) = Per::split(text);
        Ok(Self { down: Some(Speed::parse(down)?), up: None, burst: None, per })
    }
}

struct Bandwidth {
    down: Option<Speed>,
    up: Option<Speed>,
    burst: Option<Size>,
    per: Per,
    written: String,
    lanes: Arc<LaneTable>,
}

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    let Written(Settings { down, up, burst, per: written }) = decode(node, ctx.path, report)?;
    let per = Per::parse(&written, ctx.params)
        .map_err(|message| ctx.error(report, node, "/per", message))
        .ok()?;
    if down.is_none() && up.is_none() {
        let message = "it bounds nothing; say how fast bytes may pass, as `down`, `up` or both";
        ctx.error(report, node, "", message);
        return None;
    }
    for (field, speed) in [("/down", down), ("/up", up)] {
        let least = Speed(BANDWIDTH_MIN);
        if speed.is_some_and(|speed| speed < least) {
            let message = format!(
                "slower than {least} connections would be held for nothing; refuse requests instead (`rate_limit`, `quota`)"
            );
            ctx.error(report, node, field, message);
            return None;
        }
    }
    let shown = |speed: Option<Speed>| speed.map_or(0, |speed| speed.0);
    let [down_bytes, up_bytes] = [down, up].map(shown);
    let burst_bytes = burst.map_or(0, |burst| burst.0);
    let id = format!("{}#{down_bytes},{up_bytes},{burst_bytes}", ctx.id);
    let lanes = ctx.state.cell(&id, LaneTable::default);
    Some(Arc::new(Bandwidth { down, up, burst, per, written, lanes }))
}

impl Policy for Bandwidth {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, _: Slot) -> Outcome<'a, Flow> {
        let speed = |speed: Option<Speed>| {
            speed.map(|Speed(bytes)| {
                pace::Speed::new(bytes, self.burst.map_or(bytes, |burst| burst.0))
            })
        };
        let lanes = self.lanes.of(&self.per.who(exchange));
        exchange.paces.push(Pace { lanes, up: speed(self.up), down: speed(self.down) });
        Outcome::Now(Ok(Flow::Continue))
    }

    fn about(&self) -> Vec<String> {
        let line = |(speed, way): (Option<Speed>, &str)| {
            speed.map(|speed| format!("{speed} {way}, per {}", self.written))
        };
        [(self.down, "down"), (self.up, "up")].into_iter().filter_map(line).collect()
    }
}
