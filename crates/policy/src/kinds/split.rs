//! Divides requests between upstreams by weight: the way a new version of a backend gets its first
//! requests.
//!
//! Sides are chosen by rendezvous hashing with weights: each side draws a number from the request's key
//! and divides it by its weight, and the smallest wins. So the same key always gets the same side, on
//! every gateway, and when weights change only the keys move whose side lost what another one gained.

use crate::by::{self, By};
use crate::kind::{BuildCtx, Group, Kind};
use crate::rule::{self, Rule, WrittenRule};
use crate::share::Weight;
use crate::written::{Short, Written};
use base::units::Share;
use base::{Node, Report, decode, random};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use traffic::exchange::Slot;
use traffic::policy::Phases;
use traffic::upstream::{Destination, Upstream};
use traffic::{Exchange, Flow, Outcome, Policy, Response};

/// A cookie that keeps a browser on its side.
mod sticky;
#[cfg(test)]
mod tests;

use sticky::{Sticky, WrittenSticky};

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "split",
    group: Group::Steer,
    phases: Phases { request: true, forward: false, reply: true, record: false },
    answers: false,
    about: "Divides requests between upstreams by weight, at random or so that each client, consumer, \
            header or cookie stays on its side; requests that match a rule go where the rule says.",
    example: "split: { to: { orders: 90, orders-v2: 10 }, by: consumer }",
    resets: "it has no state: a key is on the same side after a restart and on every gateway",
    schema: <Written<Settings> as JsonSchema>::json_schema,
    build,
};

/// Settings of `split`; short: `10% to orders-v2`, `10% to orders-v2 by consumer`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub struct Settings {
    /// Upstreams and their weights. Numbers count relative to each other: `{ orders: 90, orders-v2: 10 }`.
    /// Shares count of all, and what they leave goes to the route's own upstream: `{ orders-v2: 10% }`. An
    /// upstream of weight 0 gets only what a rule of `match` sends there.
    pub to: BTreeMap<String, Weight>,
    /// What stays together: `client`, `consumer`, `header NAME`, `cookie NAME`, or an expression (CEL) that
    /// gives a text. Each request is divided on its own when left out, and where it lacks what is asked
    /// for.
    pub by: Option<String>,
    /// A cookie that the gateway sets, so that a browser stays on the side it first got.
    pub cookie: Option<WrittenSticky>,
    /// Rules that come before the weights; the first that holds decides.
    pub r#match: Vec<WrittenRule>,
}

impl Short for Settings {
    const EXPECTING: &'static str =
        "a share such as `10% to orders-v2 by consumer`, or `{ to, by, cookie, match }`";
    const SAMPLE: &'static str = "10% to orders-v2";

    fn short(text: &str) -> Result<Self, String> {
        let (share, rest) = text
            .split_once(" to ")
            .ok_or_else(|| format!("`{text}` is not a split such as `10% to orders-v2`"))?;
        let (to, by) = match rest.split_once(" by ") {
            Some((to, by)) => (to, Some(by.trim().to_owned())),
            None => (rest, None),
        };
        let share = Share::parse(share)?;
        let to = BTreeMap::from([(to.trim().to_owned(), Weight::Share(share.in_percent()))]);
        Ok(Self { to, by, ..Self::default() })
    }
}

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    let Written(settings) = decode::<Written<Settings>>(node, ctx.path, report)?;
    let mut own = Report::new();
    let rules = rule::build(&settings.r#match, (node, "/match"), ctx, &mut own);
    let sides = sides(&settings.to, node, ctx, &mut own);
    let by = settings.by.as_deref().map(|text| By::parse(text, ctx.scope())).transpose();
    if let Err(message) = &by {
        ctx.error(&mut own, node, "/by", message.clone());
    }
    let cookie = settings.cookie.as_ref().map(Sticky::new).transpose();
    if let Err(message) = &cookie {
        ctx.error(&mut own, node, "/cookie", message.clone());
    }
    if settings.by.is_some() && settings.cookie.is_some() {
        ctx.error(&mut own, node, "/cookie", "`by` and `cookie` cannot stand side by side").help(
            "`by` finds the side of a request anew each time, `cookie` has the browser remember it",
        );
    }
    if settings.to.is_empty() {
        ctx.error(&mut own, node, "/to", "`to` is missing: between which upstreams?")
            .help("such as `to: { orders: 90, orders-v2: 10 }`; without weights, use `steer`");
    }
    let is_usable = !own.has_errors();
    report.absorb(own);
    let split = Split { rules, sides: sides?, by: by.ok()?, cookie: cookie.ok()? };
    let is_whole = split.rules.len() == settings.r#match.len();
    (is_usable && is_whole).then(|| Arc::new(split) as Arc<dyn Policy>)
}

fn sides(
    written: &BTreeMap<String, Weight>,
    node: &Node,
    ctx: &BuildCtx<'_>,
    report: &mut Report,
) -> Option<Vec<Side>> {
    let mut sides = Vec::with_capacity(written.len() + 1);
    let (mut shares, mut sum, mut is_mixed) = (0, 0.0, false);
    for (name, weight) in written {
        let below = format!("/to/{}", name.replace('~', "~0").replace('/', "~1"));
        let upstream = ctx.upstream(report, node, &below, name);
        let weight = match *weight {
            Weight::Share(percent) => {
                shares += 1;
                percent
            }
            Weight::Plain(number) => number,
        };
        is_mixed |= shares != 0 && shares != sides.len() + 1;
        sum += weight;
        sides.push(Side { name: name.as_str().into(), weight, upstream });
    }
    if is_mixed {
        ctx.error(report, node, "/to", "weights and shares are mixed")
            .help("write `%` after all of them, or after none");
        return None;
    }
    if shares == 0 && sum <= 0.0 && !sides.is_empty() {
        ctx.error(report, node, "/to", "all weights are zero, so nothing could be chosen");
        return None;
    }
    if shares > 0 && sum > 100.0 + f64::EPSILON * 100.0 {
        ctx.error(report, node, "/to", format!("the shares are {sum}% together, more than all"));
        return None;
    }
    // One that could not be built was told elsewhere.
    let is_whole = sides.iter().all(|side| side.upstream.is_some());
    let rest = 100.0 - sum;
    if shares > 0 && rest > 0.0 {
        sides.push(Side { name: "".into(), weight: rest, upstream: None });
    }
    is_whole.then_some(sides)
}

/// An upstream and its weight.
struct Side {
    /// The upstream's name, from which the side's numbers are drawn.
    name: Box<str>,
    weight: f64,
    /// None for the rest, which goes on to the route's own.
    upstream: Option<Arc<dyn Upstream>>,
}

struct Split {
    rules: Vec<Rule>,
    sides: Vec<Side>,
    by: Option<By>,
    cookie: Option<Sticky>,
}

/// Left for the reply: the side that the browser is to remember.
struct Chosen(usize);

impl Split {
    /// The side of a key.
    fn side(&self, key: u64) -> usize {
        let draw = |side: &Side| {
            let number = by::mix(key ^ by::hash(&[side.name.as_bytes()]));
            // Exponentially distributed with the weight as its rate; the smallest of several such numbers is
            // each one's as often as its rate is of all rates.
            -unit(number).ln() / side.weight
        };
        let drawn = self.sides.iter().map(draw).enumerate();
        drawn.min_by(|(_, a), (_, b)| a.total_cmp(b)).map_or(0, |(index, _)| index)
    }

    fn choose(&self, exchange: &Exchange) -> usize {
        let key = self.by.as_ref().and_then(|by| by.hash(exchange));
        self.side(key.unwrap_or_else(random::fast))
    }
}

/// A number above 0 and below 1, evenly spread.
#[expect(clippy::cast_precision_loss, reason = "53 bits fit a float exactly")]
fn unit(number: u64) -> f64 {
    ((number >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

impl Policy for Split {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, slot: Slot) -> Outcome<'a, Flow> {
        if let Some(upstream) = rule::first(&self.rules, exchange) {
            exchange.upstream = Some(Arc::clone(upstream));
            return Outcome::Now(Ok(Flow::Continue));
        }
        let remembered = self.cookie.as_ref().and_then(|cookie| cookie.side(exchange, &self.sides));
        let index = remembered.unwrap_or_else(|| self.choose(exchange));
        if let Some(upstream) = self.sides.get(index).and_then(|side| side.upstream.as_ref()) {
            exchange.upstream = Some(Arc::clone(upstream));
        }
        if self.cookie.is_some() && remembered.is_none() {
            exchange.notes.put(slot, Chosen(index));
        }
        Outcome::Now(Ok(Flow::Continue))
    }

    fn on_reply<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        reply: &'a mut Response,
        slot: Slot,
    ) -> Outcome<'a, ()> {
        if let Some(cookie) = &self.cookie
            && let Some(Chosen(index)) = exchange.notes.peek(slot)
            && let Some(side) = self.sides.get(*index)
        {
            cookie.set(side, exchange, reply);
        }
        Outcome::Now(Ok(()))
    }

    fn destinations(&self) -> Vec<Destination> {
        let total: f64 = self.sides.iter().map(|side| side.weight).sum();
        let sides = self.sides.iter().filter_map(|side| {
            let percent = (side.weight / total * 1e4).round() / 1e2;
            let by = self.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
            let upstream = Arc::clone(side.upstream.as_ref()?);
            Some(Destination { upstream, which: format!("{percent}%{by}") })
        });
        rule::destinations(&self.rules).chain(sides).collect()
    }

    fn steers(&self) -> bool {
        self.sides.iter().all(|side| side.upstream.is_some())
    }
}
