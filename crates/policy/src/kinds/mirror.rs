//! Sends copies of requests to another upstream, to try it with real traffic. The client never waits for
//! a copy and never learns what became of it.
//!
//! What the copies may take is bounded: so many are under way at a time, each with a body of so many bytes,
//! for so long. Whatever exceeds a bound is not copied, and counted.

use crate::expression::Expression;
use crate::kind::{BuildCtx, Group, Kind};
use crate::written::{Short, Written};
use base::caps::{MIRROR_BODY_BYTES, MIRROR_BODY_BYTES_MAX, MIRRORS_MAX, MIRRORS_UNDER_WAY};
use base::units::{Period, Share, Size};
use base::{Node, Report, decode, random};
use http_body::Body as _;
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;
use telemetry::metrics::MirrorMetrics;
use traffic::exchange::Slot;
use traffic::mirror::{Mirror, Place};
use traffic::policy::Phases;
use traffic::upstream::{Destination, Upstream};
use traffic::{Exchange, Flow, Outcome, Policy};

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "mirror",
    group: Group::Steer,
    phases: Phases { request: true, forward: false, reply: false, record: false },
    answers: false,
    about: "Sends a copy of each request, or of a share of them, to another upstream whose answers nobody \
            sees. Copies never delay or fail the request itself; they carry `x-yett-mirror: 1`.",
    example: "mirror: { to: shadow, share: 10% }",
    resets: "it has no state but the copies under way, which go on",
    schema: <Written<Settings> as JsonSchema>::json_schema,
    build,
};

/// Settings of `mirror`; short: `to` alone, or `10% to shadow`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Settings {
    /// The upstream that gets the copies.
    pub to: String,
    /// How many of the requests are copied, at random; all when left out.
    #[serde(default = "all")]
    pub share: Share,
    /// An expression (CEL): only requests are copied for which it holds.
    pub when: Option<String>,
    /// Bytes of a request's body; a request with more is not copied. At most 8MiB.
    #[serde(default = "body_max")]
    pub body_max: Size,
    /// How many copies of this policy may be under way at a time in the whole gateway; beyond that none are
    /// made. At most 10000.
    #[serde(default = "concurrency_max")]
    pub concurrency_max: u32,
    /// How long a copy may take, its answer included.
    #[serde(default = "timeout")]
    pub timeout: Period,
    /// Whether copies carry what the client shows to be identified by.
    #[serde(default)]
    pub credentials: Credentials,
}

/// What becomes of `authorization`, `cookie`, `x-api-key` and `x-auth-token` in a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Credentials {
    /// They are left out.
    #[default]
    Strip,
    /// They stay, as far as they go to the real upstream.
    Keep,
}

const fn all() -> Share {
    Share::ALL
}

const fn body_max() -> Size {
    Size(MIRROR_BODY_BYTES)
}

const fn concurrency_max() -> u32 {
    MIRRORS_UNDER_WAY
}

const fn timeout() -> Period {
    Period(Duration::from_secs(10))
}

impl Short for Settings {
    const EXPECTING: &'static str = "an upstream, a share such as `10% to shadow`, or `{ to, share, when, body_max, concurrency_max, timeout, credentials }`";
    const SAMPLE: &'static str = "10% to shadow";

    fn short(text: &str) -> Result<Self, String> {
        let (share, to) = match text.split_once(" to ") {
            Some((share, to)) => (Share::parse(share)?, to),
            None => (all(), text),
        };
        Ok(Self {
            to: to.trim().to_owned(),
            share,
            when: None,
            body_max: body_max(),
            concurrency_max: concurrency_max(),
            timeout: timeout(),
            credentials: Credentials::default(),
        })
    }
}

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    let Written(settings) = decode::<Written<Settings>>(node, ctx.path, report)?;
    let mut own = Report::new();
    let upstream = ctx.upstream(&mut own, node, "/to", &settings.to);
    let when = settings.when.as_deref().map(|text| Expression::compile(text, ctx.scope()));
    let when = when.transpose().unwrap_or_else(|message| {
        ctx.error(&mut own, node, "/when", message);
        None
    });
    let body_max =
        usize::try_from(settings.body_max.0).ok().filter(|max| *max <= MIRROR_BODY_BYTES_MAX);
    if body_max.is_none() {
        let most = Size(MIRROR_BODY_BYTES_MAX as u64);
        let message = format!("copies of bodies are kept in memory; at most {most} each");
        ctx.error(&mut own, node, "/body_max", message);
    }
    let concurrency_max = usize::try_from(settings.concurrency_max).unwrap_or(usize::MAX);
    if concurrency_max == 0 || concurrency_max > MIRRORS_MAX {
        let message = format!("between 1 and {MIRRORS_MAX} copies can be under way at a time");
        ctx.error(&mut own, node, "/concurrency_max", message);
    }
    if settings.timeout.0.is_zero() {
        ctx.error(&mut own, node, "/timeout", "a time limit of zero would fail every copy");
    }
    if settings.share == Share::NONE {
        ctx.warning(&mut own, node, "/share", "a share of nothing copies no request");
    }
    let is_usable = !own.has_errors();
    report.absorb(own);
    let policy = SendCopies {
        upstream: upstream?,
        share: settings.share,
        when,
        body_max: body_max?,
        concurrency_max,
        timeout: settings.timeout.0,
        keeps_credentials: settings.credentials == Credentials::Keep,
        under_way: ctx.state.cell(ctx.id, || AtomicUsize::new(0)),
        metrics: ctx.metrics.mirror(&settings.to),
    };
    is_usable.then(|| Arc::new(policy) as Arc<dyn Policy>)
}

struct SendCopies {
    upstream: Arc<dyn Upstream>,
    share: Share,
    when: Option<Expression>,
    body_max: usize,
    concurrency_max: usize,
    timeout: Duration,
    keeps_credentials: bool,
    under_way: Arc<AtomicUsize>,
    metrics: Arc<MirrorMetrics>,
}

impl SendCopies {
    fn wants(&self, exchange: &Exchange) -> bool {
        // What goes on in another protocol cannot be copied.
        exchange.upgrade.is_none()
            && self.share.takes(random::fast())
            && self.when.as_ref().is_none_or(|when| when.eval_bool(exchange).unwrap_or(false))
    }
}

impl Policy for SendCopies {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, _: Slot) -> Outcome<'a, Flow> {
        if !self.wants(exchange) {
            return Outcome::Now(Ok(Flow::Continue));
        }
        if exchange.body.size_hint().lower() > self.body_max as u64 {
            self.metrics.too_large.add(exchange.worker, 1);
        } else if let Some(place) = Place::take(&self.under_way, self.concurrency_max) {
            exchange.mirrors.push(Mirror {
                upstream: Arc::clone(&self.upstream),
                body_max: self.body_max,
                timeout: self.timeout,
                keeps_credentials: self.keeps_credentials,
                metrics: Arc::clone(&self.metrics),
                place,
            });
        } else {
            self.metrics.shed.add(exchange.worker, 1);
        }
        Outcome::Now(Ok(Flow::Continue))
    }

    fn destinations(&self) -> Vec<Destination> {
        let when = self.when.as_ref().map(|when| format!(" when {when:?}")).unwrap_or_default();
        let which = format!("a copy of {}{when}", self.share);
        vec![Destination { upstream: Arc::clone(&self.upstream), which }]
    }
}

#[cfg(test)]
mod tests {
    use super::KIND;
    use crate::fixture::{self, World};
    use serde_json::{Value, json};

    fn copies(settings: &Value, requests: &[&str]) -> Vec<usize> {
        let policy = World::with_upstreams(&["shadow"]).build(&KIND, settings).unwrap();
        // They are kept, so that the copies stay under way.
        let mut exchanges: Vec<_> = requests.iter().map(|text| fixture::exchange(text)).collect();
        for exchange in &mut exchanges {
            assert_eq!(policy.request(exchange), "continue");
        }
        exchanges.iter().map(|exchange| exchange.mirrors.len()).collect()
    }

    #[test]
    fn those_requests_are_copied_that_the_settings_want() {
        assert_eq!(copies(&json!("shadow"), &["GET /"; 3]), [1, 1, 1]);
        assert_eq!(copies(&json!("0% to shadow"), &["GET /"; 3]), [0, 0, 0]);
        let when = json!({ "to": "shadow", "when": "request.headers[\"x-a\"] == \"1\"" });
        assert_eq!(copies(&when, &["GET /\nx-a: 1", "GET /\nx-a: 2", "GET /"]), [1, 0, 0]);
        let half: usize = copies(&json!("50% to shadow"), &["GET /"; 100]).into_iter().sum();
        assert!((20..80).contains(&half), "{half}");
    }

    #[test]
    fn no_more_copies_are_under_way_than_may_be() {
        let settings = json!({ "to": "shadow", "concurrency_max": 2 });
        assert_eq!(copies(&settings, &["GET /"; 4]), [1, 1, 0, 0]);
    }

    #[test]
    fn wrong_settings_are_refused() {
        for (settings, part) in [
            (json!("shado"), "did you mean `shadow`?"),
            (json!("10 to shadow"), "is not a share"),
            (json!({ "to": "shadow", "body_max": "1GiB" }), "at most 8MiB each"),
            (json!({ "to": "shadow", "concurrency_max": 0 }), "between 1 and 10000"),
            (json!({ "to": "shadow", "timeout": "0s" }), "would fail every copy"),
            (json!({ "to": "shadow", "when": "x" }), "unknown name `x`"),
            (json!({ "to": "shadow", "credentials": "hide" }), "hide"),
        ] {
            let problems = World::with_upstreams(&["shadow"]).build(&KIND, &settings);
            let problems = problems.err().unwrap_or_default();
            assert!(problems.contains(part), "{settings}: {problems}");
        }
    }
}
