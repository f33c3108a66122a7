//! Refuses requests for which an expression does not hold. An expression that cannot be evaluated
//! refuses as well, and says so in the log.

use crate::expression::{Expression, Foretold};
use crate::kind::{BuildCtx, Group, Kind};
use crate::written::{Short, Written};
use base::{Node, Report, decode};
use schemars::JsonSchema;
use serde::Deserialize;
use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;
use traffic::exchange::Slot;
use traffic::policy::{Asked, Facts, Foreseen, Knows, Phases};
use traffic::{Exchange, Fault, FaultCode, Flow, Outcome, Policy, Stage};

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "allow",
    group: Group::Access,
    phases: Phases { request: true, forward: false, reply: false, record: false },
    answers: false,
    about: "Lets requests pass for which an expression holds, and refuses all others with 403. Where \
            several apply, all must hold.",
    example: "allow: '\"admin\" in consumer.groups'",
    resets: "it has no state",
    schema: <Written<Settings> as JsonSchema>::json_schema,
    build,
};

/// Settings of `allow` and `deny`; short: the expression alone.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Settings {
    /// An expression (CEL) over `request`, `consumer`, `claims`, `client` and `tls`.
    pub when: String,
    /// What a refused client is told.
    pub reason: Option<String>,
}

impl Short for Settings {
    const EXPECTING: &'static str =
        "an expression such as `\"admin\" in consumer.groups`, or `{ when, reason }`";
    const SAMPLE: &'static str = "\"admin\" in consumer.groups";

    fn short(text: &str) -> Result<Self, String> {
        Ok(Self { when: text.to_owned(), reason: None })
    }
}

/// Builds a policy that refuses when its expression is `refuses_when`.
pub(super) fn build_rule(
    (node, refuses_when): (&Node, bool),
    ctx: &BuildCtx<'_>,
    report: &mut Report,
) -> Option<Arc<dyn Policy>> {
    let Written(settings) = decode::<Written<Settings>>(node, ctx.path, report)?;
    match Expression::compile(&settings.when, ctx.scope()) {
        Ok(when) => {
            let reason = settings.reason.map(Cow::Owned);
            Some(Arc::new(Rule { when, refuses_when, reason }))
        }
        Err(message) => {
            ctx.error(report, node, "/when", message);
            None
        }
    }
}

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    build_rule((node, false), ctx, report)
}

struct Rule {
    when: Expression,
    refuses_when: bool,
    reason: Option<Cow<'static, str>>,
}

impl Policy for Rule {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, _: Slot) -> Outcome<'a, Flow> {
        let fault = match self.when.eval_bool(exchange) {
            Ok(holds) if holds != self.refuses_when => return Outcome::Now(Ok(Flow::Continue)),
            Ok(holds) => Fault::new(Stage::Guard, FaultCode::AccessDenied).cause(self.told(holds)),
            Err(cause) => Fault::new(Stage::Guard, FaultCode::AccessUndecided).cause(cause),
        };
        Outcome::Now(Err(match &self.reason {
            Some(reason) => fault.detail(reason.clone()),
            None => fault,
        }))
    }

    fn facts(&self) -> Facts {
        Facts { groups: self.when.groups(), ..Facts::default() }
    }

    fn foresee(&self, asked: &Asked<'_>) -> Option<Foreseen> {
        let knows = asked.knows;
        Some(match self.when.foresee(asked.exchange, &|name| is_known(name, knows)) {
            Foretold::Is(holds) if holds != self.refuses_when => Foreseen::Passes(self.told(holds)),
            Foretold::Is(holds) => Foreseen::Refuses(self.told(holds)),
            Foretold::Fails(why) => Foreseen::Refuses(why),
            Foretold::Depends(names) => {
                Foreseen::Depends(format!("{}: `{:?}`", names.join(", "), self.when))
            }
        })
    }
}

/// Whether it is for nothing but the sender of a request to say what an `allow` or `deny` depends on, whoever that is.
#[must_use]
pub fn is_up_to_sender(policy: &dyn Policy, asked: &Asked<'_>) -> bool {
    let policy: &dyn Any = policy;
    let Some(rule) = policy.downcast_ref::<Rule>() else { return false };
    let knows = asked.knows;
    let known = |name: &str| is_known(name, knows);
    let Foretold::Depends(names) = rule.when.foresee(asked.exchange, &known) else { return false };
    // Compared with who the caller is, what is sent decides for some and not for others.
    let asks_who = format!("{:?}", rule.when).contains("consumer.");
    !asks_who && names.iter().all(|name| name.starts_with("request."))
}

impl Rule {
    fn told(&self, holds: bool) -> String {
        format!("`{:?}` {}", self.when, if holds { "holds" } else { "does not hold" })
    }
}

/// What of a request is known in advance.
pub(super) fn is_known(name: &str, knows: Knows) -> bool {
    match name {
        "claims" => knows.claims,
        "request.method" => knows.method,
        "request.path" | "request.host" | "request.params" => knows.path,
        _ => name.starts_with("consumer.") && knows.caller,
    }
}

#[cfg(test)]
mod tests {
    use super::KIND;
    use crate::fixture;
    use crate::kind::Kind;
    use crate::kinds::deny;
    use serde_json::json;
    use std::sync::Arc;
    use traffic::directory::Consumer;
    use traffic::policy::{Asked, Foreseen, Knows};

    #[test]
    fn an_expression_decides_and_one_that_fails_refuses() {
        for (when, allowed, denied) in [
            ("request.method == \"GET\"", "continue", "access_denied"),
            ("request.method == \"POST\"", "access_denied", "continue"),
            ("request.headers[\"x-none\"] == \"1\"", "access_undecided", "access_undecided"),
        ] {
            for settings in [json!(when), json!({ "when": when })] {
                let mut exchange = fixture::exchange("GET /");
                assert_eq!(fixture::built(&KIND, &settings).request(&mut exchange), allowed);
                assert_eq!(fixture::built(&deny::KIND, &settings).request(&mut exchange), denied);
            }
        }
    }

    #[test]
    fn the_reason_is_told_and_the_cause_is_not() {
        let settings = json!({ "when": "false", "reason": "ask the owner" });
        let fault = fixture::built(&KIND, &settings).fault(&mut fixture::exchange("GET /"));
        assert_eq!(fault.detail.as_deref(), Some("ask the owner"));
        assert_eq!(fault.cause.unwrap().to_string(), "`false` does not hold");
        let settings = json!("request.query.a == \"1\"");
        let fault = fixture::built(&KIND, &settings).fault(&mut fixture::exchange("GET /"));
        assert_eq!(fault.detail, None);
        assert!(fault.cause.is_some());
    }

    fn foreseen(kind: &Kind, when: &str) -> String {
        let mut exchange = fixture::exchange("POST /orders");
        let groups = Box::new(["staff".into()]);
        let consumer = Consumer { name: "alice".into(), groups, ..Consumer::default() };
        exchange.consumer = Some(Arc::new(consumer));
        let knows = Knows { caller: true, claims: false, method: true, path: true };
        let asked = Asked { exchange: &exchange, shows: None, knows };
        match fixture::built(kind, &json!(when)).0.foresee(&asked) {
            Some(Foreseen::Passes(_)) => "passes".to_owned(),
            Some(Foreseen::Refuses(_)) => "refuses".to_owned(),
            Some(Foreseen::Depends(on)) => on.split(':').next().unwrap().to_owned(),
            None => panic!("it says nothing"),
        }
    }

    #[test]
    fn what_depends_on_the_caller_alone_is_known_in_advance() {
        for (when, allowed, denied) in [
            ("\"staff\" in consumer.groups", "passes", "refuses"),
            ("consumer.name == \"bob\"", "refuses", "passes"),
            ("consumer.name == \"bob\" && claims.vip", "refuses", "passes"),
            ("claims.vip && consumer.name == \"bob\"", "refuses", "passes"),
            ("claims.vip || request.method == \"POST\"", "passes", "refuses"),
            ("!(claims.vip) && consumer.name == \"alice\"", "claims", "claims"),
            (
                "request.headers[\"x-a\"] == \"1\" || claims.vip",
                "request.headers, claims",
                "request.headers, claims",
            ),
            ("has(claims.vip) ? request.path == \"/orders\" : true", "passes", "refuses"),
            ("client.address == \"192.0.2.7\"", "client.address", "client.address"),
        ] {
            assert_eq!(foreseen(&KIND, when), allowed, "{when}");
            assert_eq!(foreseen(&deny::KIND, when), denied, "{when}");
        }
    }

    #[test]
    fn wrong_expressions_are_refused() {
        for kind in [&KIND, &deny::KIND] {
            fixture::refuses(kind, &json!("requst.path == \"/\""), "did you mean `request`");
            fixture::refuses(kind, &json!({ "when": "1 +" }), "column");
            fixture::refuses(kind, &json!({ "reason": "x" }), "`when` is missing");
        }
    }
}
