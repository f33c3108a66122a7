//! Lets requests pass that policies in Cedar permit, and refuses all others. A `forbid` that cannot be evaluated
//! refuses, too: Cedar itself would leave it out.

use crate::kind::{BuildCtx, Group, Kind};
use base::{Node, Report, decode};
use http::HeaderName;
use question::{Asking, Resource, Types};
use rules::{Rules, Verdict};
use schemars::JsonSchema;
use serde::Deserialize;
use std::borrow::Cow;
use std::sync::Arc;
use traffic::background::compute;
use traffic::exchange::Slot;
use traffic::policy::{Asked, Facts, Foreseen, Phases, Placement};
use traffic::{Background, Exchange, Fault, FaultCode, Flow, Outcome, Policy, Stage};
use written::{Source, Written};

/// Texts of settings.
mod written;
/// Policies as they are asked.
mod rules;
/// What the config says of whatever policies ask about.
mod known;
/// A request as it is asked about.
mod question;
/// What is known in advance.
mod foreseen;
#[cfg(test)]
mod tests;

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "cedar",
    group: Group::Access,
    phases: Phases { request: true, forward: false, reply: false, record: false },
    answers: false,
    about: "Lets requests pass that policies in Cedar permit, and refuses all others with 403. The principal is a `Consumer` (in \
            `Group` and `Role`), the action an `Action` named by the method (in `Action::\"read\"` and so on), the resource a \
            `Route` (in an `Api`). A `forbid` that cannot be evaluated refuses. Where several apply, all must permit. \
            Files are read again when they change.",
    example: "cedar: { policies: 'permit(principal, action in Action::\"read\", resource);' }",
    resets: "it has no state",
    schema: <Settings as JsonSchema>::json_schema,
    build,
};

/// Settings of `cedar`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Settings {
    /// The policies: their text, or a file such as `file:./orders.cedar`. Without a `permit` nothing passes.
    policies: Written,
    /// A schema that the policies must fit, in Cedar's own form, such as `file:./orders.cedarschema`.
    schema: Option<Written>,
    /// More of what policies may ask about, in Cedar's JSON form, such as `file:./entities.json`: attributes of consumers, routes and
    /// APIs, groups within groups.
    entities: Option<Written>,
    /// Request headers that policies may read, as `context.headers["x-tenant"]`.
    #[serde(default)]
    headers: Vec<String>,
    /// What a refused client is told.
    reason: Option<String>,
}

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    let settings = decode::<Settings>(node, ctx.path, report)?;
    let mut own = Report::new();
    let read = |written: &Option<Written>, below, own: &mut Report| {
        written.as_ref().and_then(|written| Source::read(written, (node, below), ctx, own))
    };
    let policies = Source::read(&settings.policies, (node, "/policies"), ctx, &mut own);
    let schema = read(&settings.schema, "/schema", &mut own);
    let entities = read(&settings.entities, "/entities", &mut own);
    let rules = policies.as_ref().and_then(|policies| {
        Rules::read(policies, schema.as_ref(), entities.as_ref(), ctx, &mut own)
    });
    let mut headers = Vec::new();
    for (index, name) in settings.headers.iter().enumerate() {
        match HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) => headers.push(name),
            Err(_) => {
                let message = format!("`{name}` is not a header name");
                ctx.error(&mut own, node, &format!("/headers/{index}"), message);
            }
        }
    }
    headers.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    headers.dedup();
    let types = Types::new().map_err(|error| {
        ctx.error(&mut own, node, "", error);
    });
    let is_fine = !own.has_errors();
    report.absorb(own);
    let (rules, types) = (rules?, types.ok()?);
    let of = policies
        .and_then(|policies| policies.file)
        .map_or_else(|| "policies in Cedar".to_owned(), |file| format!("policies of {file}"));
    let parts = Parts {
        about: format!("{} {of}", rules.count()),
        rules: Arc::new(rules),
        types,
        headers: headers.into(),
        reason: settings.reason.map(Cow::Owned),
        background: Arc::clone(ctx.background),
    };
    is_fine.then(|| Arc::new(Cedar(Arc::new(parts))) as _)
}

/// What all routes share.
struct Parts {
    about: String,
    rules: Arc<Rules>,
    types: Types,
    headers: Box<[HeaderName]>,
    reason: Option<Cow<'static, str>>,
    background: Arc<dyn Background>,
}

/// As it was written: what it becomes on a route is [`OnRoute`].
struct Cedar(Arc<Parts>);

struct OnRoute {
    parts: Arc<Parts>,
    resource: Resource,
}

impl Policy for Cedar {
    /// Runs on no route.
    fn on_request<'a>(&'a self, _: &'a mut Exchange, _: Slot) -> Outcome<'a, Flow> {
        let fault = Fault::new(Stage::Guard, FaultCode::AccessUndecided);
        Outcome::Now(Err(fault.cause("the policy was not told its route")))
    }

    fn at_route(&self, at: &Placement<'_>) -> Option<Arc<dyn Policy>> {
        let resource = Resource::new(at.api, at.route);
        Some(Arc::new(OnRoute { parts: Arc::clone(&self.0), resource }))
    }

    fn about(&self) -> Vec<String> {
        vec![self.0.about.clone()]
    }
}

impl OnRoute {
    fn asking(&self) -> Asking<'_> {
        let Parts { types, rules, headers, .. } = &*self.parts;
        Asking { types, rules, resource: &self.resource, headers }
    }

    fn flow(&self, verdict: Verdict) -> Result<Flow, Fault> {
        let fault = match verdict {
            Verdict::Permitted(_) => return Ok(Flow::Continue),
            Verdict::Refused(why) => Fault::new(Stage::Guard, FaultCode::AccessDenied).cause(why),
            Verdict::Undecided(why) => {
                Fault::new(Stage::Guard, FaultCode::AccessUndecided).cause(why)
            }
        };
        Err(match &self.parts.reason {
            Some(reason) => fault.detail(reason.clone()),
            None => fault,
        })
    }
}

impl Policy for OnRoute {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, _: Slot) -> Outcome<'a, Flow> {
        let (request, entities) = match self.asking().of(exchange) {
            Ok(question) => question,
            Err(why) => return Outcome::Now(self.flow(Verdict::Undecided(why))),
        };
        if !self.parts.rules.is_long(entities.len()) {
            return Outcome::Now(self.flow(self.parts.rules.judge(&request, entities)));
        }
        let rules = Arc::clone(&self.parts.rules);
        Outcome::Later(Box::pin(async move {
            let judged = move || rules.judge(&request, entities);
            self.flow(compute(&*self.parts.background, judged).await?)
        }))
    }

    fn about(&self) -> Vec<String> {
        vec![self.parts.about.clone()]
    }

    fn facts(&self) -> Facts {
        Facts { groups: self.parts.rules.groups(), ..Facts::default() }
    }

    fn foresee(&self, asked: &Asked<'_>) -> Option<Foreseen> {
        Some(self.asking().foresee(asked))
    }
}
