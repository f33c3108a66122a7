//! Tells clients that a service is being worked on: 503 with `Retry-After`, as problem details, HTML or
//! text, whichever they prefer. Those who are allowed pass.

use crate::expression::{Expression, Foretold};
use crate::kind::{BuildCtx, Group, Kind};
use crate::kinds::allow::is_known;
use crate::page::{Facts, Form, Page, WrittenPage};
use base::network::{Network, Networks};
use base::units::Period;
use base::{Node, Report, Text, Value, decode};
use http::HeaderValue;
use http::header::RETRY_AFTER;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use traffic::exchange::Slot;
use traffic::policy::{Asked, Foreseen, Phases};
use traffic::{Exchange, Fault, FaultCode, Flow, Outcome, Policy, Response, Stage};

#[cfg(test)]
mod tests;

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "maintenance",
    group: Group::Edge,
    phases: Phases { request: true, forward: false, reply: true, record: false },
    answers: false,
    about: "Answers 503 with `Retry-After` while a service is being worked on, but for those who are \
            allowed. Browsers get a page, others problem details.",
    example: "maintenance: { retry_after: 10min, message: we are moving, allow: [192.0.2.0/24] }",
    resets: "it has no state",
    schema,
    build,
};

/// Settings of `maintenance`; short: `true` or `false`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub struct Settings {
    /// Whether it is in force: `false` keeps the rest for the next time.
    pub on: bool,
    /// When clients are told to come back.
    pub retry_after: Period,
    /// What clients are told.
    pub message: String,
    /// Who passes: an expression (CEL), or a list of addresses and networks. Nobody is identified yet, so
    /// that expressions cannot ask for `consumer` and `claims`.
    pub allow: Option<Allow>,
    /// A page in place of the plain one that browsers get. `{detail}` stands for the message.
    pub page: Option<WrittenPage>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            on: true,
            retry_after: Period(Duration::from_secs(300)),
            message: "this service is being worked on; please come back later".to_owned(),
            allow: None,
            page: None,
        }
    }
}

/// Who passes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Allow {
    /// An expression (CEL) over `request`, `client` and `tls`.
    When(String),
    /// Addresses and networks, such as `192.0.2.7` and `2001:db8::/32`.
    From(Vec<String>),
}

fn schema(generator: &mut SchemaGenerator) -> Schema {
    let long = generator.subschema_for::<Settings>();
    let short = "`true`, `false`, or `{ on, retry_after, message, allow, page }`";
    schemars::json_schema!({ "anyOf": [{ "type": "boolean", "description": short }, long] })
}

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    let settings = match node.value {
        Value::Null => Settings::default(),
        Value::Bool(on) => Settings { on, ..Settings::default() },
        _ => decode::<Settings>(node, ctx.path, report)?,
    };
    let mut own = Report::new();
    let allowed = match &settings.allow {
        None => Some(Allowed::Nobody),
        Some(Allow::When(text)) => condition(text, node, ctx, &mut own),
        Some(Allow::From(texts)) => networks(texts, node, ctx, &mut own),
    };
    let page = match &settings.page {
        Some(page) => Page::build(page, (node, "/page"), ctx, &mut own),
        None => {
            let html = Text::parse(PLAIN_PAGE).ok();
            let page = WrittenPage { html, json: None, text: Text::parse(PLAIN_TEXT).ok() };
            Page::build(&page, (node, "/page"), ctx, &mut own)
        }
    };
    let is_usable = !own.has_errors();
    report.absorb(own);
    let maintenance = Maintenance {
        on: settings.on,
        // Less than a second would be none.
        retry_after: HeaderValue::from(settings.retry_after.0.as_secs().max(1)),
        message: settings.message,
        allowed: allowed?,
        page,
    };
    is_usable.then(|| Arc::new(maintenance) as Arc<dyn Policy>)
}

const PLAIN_PAGE: &str = "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\n<body style=\"font: 1.1em/1.5 sans-serif; margin: 15vh auto; max-width: 36em; padding: 0 1em\">\n<h1>{title}</h1>\n<p>{detail}</p>\n<p><small>{request_id}</small></p>\n";
const PLAIN_TEXT: &str = "{title}: {detail}\n";

fn condition(text: &str, node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Allowed> {
    let message = match Expression::compile(text, ctx.scope()) {
        Ok(when) if when.reads("consumer") || when.reads("claims") => {
            "nobody is identified yet when `maintenance` decides: ask for `client.address` or a header"
                .to_owned()
        }
        Ok(when) => return Some(Allowed::When(when)),
        Err(message) => message,
    };
    ctx.error(report, node, "/allow", message);
    None
}

fn networks(
    texts: &[String],
    node: &Node,
    ctx: &BuildCtx<'_>,
    report: &mut Report,
) -> Option<Allowed> {
    let mut networks = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        match Network::parse(text) {
            Ok(network) => networks.push(network),
            Err(message) => {
                ctx.error(report, node, &format!("/allow/{index}"), message);
            }
        }
    }
    let is_whole = networks.len() == texts.len();
    is_whole.then(|| Allowed::From(networks.into_iter().collect()))
}

enum Allowed {
    Nobody,
    When(Expression),
    From(Networks),
}

struct Maintenance {
    on: bool,
    retry_after: HeaderValue,
    message: String,
    allowed: Allowed,
    page: Page,
}

/// Left for the reply: this policy has refused the request.
struct Refused;

impl Maintenance {
    fn passes(&self, exchange: &Exchange) -> bool {
        !self.on
            || match &self.allowed {
                Allowed::Nobody => false,
                // What has no answer allows nobody.
                Allowed::When(when) => when.eval_bool(exchange).unwrap_or(false),
                Allowed::From(networks) => networks.hold(exchange.client_ip()),
            }
    }
}

impl Policy for Maintenance {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, slot: Slot) -> Outcome<'a, Flow> {
        if self.passes(exchange) {
            return Outcome::Now(Ok(Flow::Continue));
        }
        exchange.notes.put(slot, Refused);
        Outcome::Now(Err(Fault::new(Stage::Guard, FaultCode::Maintenance)
            .detail(self.message.clone())
            .header(RETRY_AFTER, self.retry_after.clone())))
    }

    fn foresee(&self, asked: &Asked<'_>) -> Option<Foreseen> {
        if !self.on {
            return None;
        }
        let knows = asked.knows;
        let closed = || Foreseen::Refuses("it is closed for maintenance".to_owned());
        match &self.allowed {
            Allowed::Nobody => Some(closed()),
            Allowed::From(_) => Some(Foreseen::Depends(
                "the client's address: it is closed for maintenance".to_owned(),
            )),
            Allowed::When(when) => {
                match when.foresee(asked.exchange, &|name| is_known(name, knows)) {
                    Foretold::Is(true) => None,
                    Foretold::Is(false) | Foretold::Fails(_) => Some(closed()),
                    Foretold::Depends(names) => Some(Foreseen::Depends(format!(
                        "{}: it is closed for maintenance",
                        names.join(", ")
                    ))),
                }
            }
        }
    }

    /// An `errors` policy has its say first.
    fn on_reply<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        reply: &'a mut Response,
        slot: Slot,
    ) -> Outcome<'a, ()> {
        let is_ours = exchange.notes.peek::<Refused>(slot).is_some()
            && exchange.record.fault == Some(FaultCode::Maintenance);
        if is_ours && exchange.rpc.is_none() && !exchange.record.has_page {
            let facts = Facts {
                status: reply.status.as_u16(),
                code: FaultCode::Maintenance.name(),
                title: FaultCode::Maintenance.row().title,
                detail: &self.message,
                request_id: exchange.id.as_str(),
            };
            self.page.put(facts, Form::Json, exchange, reply);
            exchange.record.has_page = true;
        }
        Outcome::Now(Ok(()))
    }
}
