//! Sends requests to another upstream than the route's own, all of them or those for which an
//! expression holds. Where several apply, the last that has something to say decides: the one closest to
//! the route.

use crate::kind::{BuildCtx, Group, Kind};
use crate::rule::{self, Rule, WrittenRule};
use crate::written::{Short, Written};
use base::{Node, Report, decode};
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;
use traffic::exchange::Slot;
use traffic::policy::Phases;
use traffic::upstream::{Destination, Upstream};
use traffic::{Exchange, Flow, Outcome, Policy};

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "steer",
    group: Group::Steer,
    phases: Phases { request: true, forward: false, reply: false, record: false },
    answers: false,
    about: "Sends requests to another upstream than the route's own: all, or those for which an \
            expression holds.",
    example: "steer: { when: 'request.headers[\"x-canary\"] == \"1\"', to: orders-v2 }",
    resets: "it has no state",
    schema: <Written<Settings> as JsonSchema>::json_schema,
    build,
};

/// Settings of `steer`; short: `to` alone, for all requests.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub struct Settings {
    /// The upstream; beside `match`, that of the requests which no rule takes. Without it those go on to
    /// the route's own.
    pub to: Option<String>,
    /// An expression (CEL): only requests for which it holds go to `to`. One that has no answer, as when a
    /// header it compares is absent, does not hold.
    pub when: Option<String>,
    /// Rules of several upstreams; the first that holds decides.
    pub r#match: Vec<WrittenRule>,
}

impl Short for Settings {
    const EXPECTING: &'static str =
        "an upstream, `{ when, to }`, or `{ match: [{ when, to }, …], to }`";
    const SAMPLE: &'static str = "orders-v2";

    fn short(text: &str) -> Result<Self, String> {
        Ok(Self { to: Some(text.to_owned()), ..Self::default() })
    }
}

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    let Written(settings) = decode::<Written<Settings>>(node, ctx.path, report)?;
    let mut own = Report::new();
    let mut rules = rule::build(&settings.r#match, (node, "/match"), ctx, &mut own);
    let mut rest = None;
    match (&settings.when, &settings.to) {
        (Some(_), _) if !settings.r#match.is_empty() => {
            ctx.error(&mut own, node, "/when", "`when` and `match` cannot stand side by side")
                .help("make the condition a rule of `match`");
        }
        (Some(when), Some(to)) => {
            rules.extend(rule::rule((when, to), (node, ["/when", "/to"]), ctx, &mut own));
        }
        (Some(_), None) => {
            ctx.error(&mut own, node, "/when", "`to` is missing: where do these requests go?");
        }
        (None, Some(to)) => rest = ctx.upstream(&mut own, node, "/to", to),
        (None, None) if settings.r#match.is_empty() => {
            ctx.error(&mut own, node, "", "`to` is missing: where do the requests go?");
        }
        (None, None) => {}
    }
    let is_whole = settings.to.is_none() || settings.when.is_some() || rest.is_some();
    let is_usable = !own.has_errors() && is_whole && (rest.is_some() || !rules.is_empty());
    report.absorb(own);
    is_usable.then(|| Arc::new(Steer { rules, rest }) as Arc<dyn Policy>)
}

struct Steer {
    rules: Vec<Rule>,
    rest: Option<Arc<dyn Upstream>>,
}

impl Policy for Steer {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, _: Slot) -> Outcome<'a, Flow> {
        if let Some(upstream) = rule::first(&self.rules, exchange).or(self.rest.as_ref()) {
            exchange.upstream = Some(Arc::clone(upstream));
        }
        Outcome::Now(Ok(Flow::Continue))
    }

    fn destinations(&self) -> Vec<Destination> {
        let which = if self.rules.is_empty() { "always" } else { "otherwise" };
        let rest = self.rest.iter().map(|upstream| Destination {
            upstream: Arc::clone(upstream),
            which: which.to_owned(),
        });
        rule::destinations(&self.rules).chain(rest).collect()
    }

    fn steers(&self) -> bool {
        self.rest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::KIND;
    use crate::fixture::{self, World};
    use serde_json::{Value, json};

    fn goes(settings: &Value, request: &str) -> String {
        let world = World::with_upstreams(&["eu", "us", "rest"]);
        let policy = world.build(&KIND, settings).unwrap();
        let mut exchange = fixture::exchange(request);
        assert_eq!(policy.request(&mut exchange), "continue");
        exchange.upstream.map_or_else(|| "own".to_owned(), |upstream| upstream.name().to_string())
    }

    #[test]
    fn requests_go_where_the_first_rule_that_holds_says() {
        assert_eq!(goes(&json!("eu"), "GET /"), "eu");
        let one = json!({ "when": "request.headers[\"x-region\"] == \"eu\"", "to": "eu" });
        assert_eq!(goes(&one, "GET /\nx-region: eu"), "eu");
        assert_eq!(goes(&one, "GET /\nx-region: us"), "own");
        assert_eq!(goes(&one, "GET /"), "own", "a header that is absent is no reason to fail");
        let rules = json!({ "match": [
            { "when": "request.headers[\"x-region\"] == \"eu\"", "to": "eu" },
            { "when": "request.path.startsWith(\"/us/\")", "to": "us" },
        ], "to": "rest" });
        assert_eq!(goes(&rules, "GET /us/1\nx-region: eu"), "eu");
        assert_eq!(goes(&rules, "GET /us/1"), "us");
        assert_eq!(goes(&rules, "GET /"), "rest");
    }

    #[test]
    fn wrong_settings_are_refused() {
        for (settings, part) in [
            (json!("use"), "did you mean `us`?"),
            (json!({}), "where do the requests go"),
            (json!({ "when": "true" }), "where do these requests go"),
            (json!({ "when": "tru", "to": "eu" }), "unknown name `tru`"),
            (json!({ "match": [{ "when": "true", "to": "zz" }] }), "there is no upstream `zz`"),
            (
                json!({ "when": "true", "to": "eu", "match": [{ "when": "true", "to": "us" }] }),
                "cannot stand side by side",
            ),
        ] {
            let problems = World::with_upstreams(&["eu", "us"]).build(&KIND, &settings);
            let problems = problems.err().unwrap_or_default();
            assert!(problems.contains(part), "{settings}: {problems}");
        }
    }
}
