//! Pages of one's own in place of the gateway's problem details, by code or by status. Which form a client
//! gets is its own choice (RFC 9110, 12.5.1); the request id is in the headers whatever a page says.

use crate::kind::{BuildCtx, Group, Kind};
use crate::page::{Facts, Form, Page, WrittenPage};
use base::report::did_you_mean;
use base::{Node, Report, decode};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use traffic::exchange::Slot;
use traffic::fault::FAULTS;
use traffic::policy::Phases;
use traffic::{Exchange, Outcome, Policy, Response};

#[cfg(test)]
mod tests;

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "errors",
    group: Group::Shape,
    phases: Phases { request: false, forward: false, reply: true, record: false },
    answers: false,
    about: "Gives failures pages of one's own, as JSON, HTML or text, whichever the client prefers; those \
            of the gateway, and those of backends if wanted. Calls of gRPC are left as they are.",
    example: "errors: { pages: { 404: { html: \"<h1>{title}</h1>\" }, 5xx: { text: \"{status}, ask for {request_id}\" } } }",
    resets: "it has no state",
    schema: <Settings as JsonSchema>::json_schema,
    build,
};

/// Settings of `errors`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Pages by fault code (`rate_limited`), status (`404`), class (`4xx`, `5xx`), or `any`; the most specific
    /// one is used. Where several `errors` apply, the one closest to the route comes first.
    pub pages: BTreeMap<String, WrittenPage>,
    /// Whether pages also take the place of what backends answer with a status of 400 and above; `{code}` is
    /// `upstream` then. A backend's headers stay, but for those that describe its body.
    #[serde(default)]
    pub upstream: bool,
    /// What a client gets that prefers nothing, as one that sends `Accept: */*`.
    #[serde(default)]
    pub prefer: Form,
}

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    let settings = decode::<Settings>(node, ctx.path, report)?;
    let mut own = Report::new();
    let mut pages = Vec::with_capacity(settings.pages.len());
    for (name, written) in &settings.pages {
        let below = format!("/pages/{}", name.replace('~', "~0").replace('/', "~1"));
        match of(name) {
            Ok(of) => pages.push((of, Page::build(written, (node, &below), ctx, &mut own))),
            Err(message) => {
                ctx.error(&mut own, node, &below, message);
            }
        }
    }
    if settings.pages.is_empty() {
        ctx.warning(
            &mut own,
            node,
            "/pages",
            "there are no pages, so this `errors` changes nothing",
        );
    }
    // The most specific first.
    pages.sort_by_key(|(of, _)| *of);
    let is_usable = !own.has_errors();
    report.absorb(own);
    let errors = Errors { pages, upstream: settings.upstream, prefer: settings.prefer };
    is_usable.then(|| Arc::new(errors) as Arc<dyn Policy>)
}

/// Which failures a page is for; the more specific is the smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Of {
    Code(&'static str),
    Status(u16),
    Class(u16),
    Any,
}

fn of(name: &str) -> Result<Of, String> {
    match name {
        "any" => return Ok(Of::Any),
        "4xx" => return Ok(Of::Class(4)),
        "5xx" => return Ok(Of::Class(5)),
        _ => {}
    }
    if let Ok(status) = name.parse() {
        return match (400..600).contains(&status) {
            true => Ok(Of::Status(status)),
            false => Err(format!("{status} is no status of a failure, 400 to 599")),
        };
    }
    let mut codes = FAULTS.iter().map(|row| row.name);
    if let Some(code) = codes.clone().find(|code| *code == name) {
        return Ok(Of::Code(code));
    }
    Err(match did_you_mean(name, &mut codes) {
        Some(near) => format!("there is no fault code `{name}`; did you mean `{near}`?"),
        None => format!("`{name}` is neither a fault code, a status, `4xx`, `5xx` nor `any`"),
    })
}

impl Of {
    fn fits(self, code: &str, status: u16) -> bool {
        match self {
            Self::Code(own) => own == code,
            Self::Status(own) => own == status,
            Self::Class(class) => status / 100 == class,
            Self::Any => true,
        }
    }
}

/// What stands for a fault code where a backend gave the answer.
const UPSTREAM: &str = "upstream";

struct Errors {
    /// The most specific first.
    pages: Vec<(Of, Page)>,
    upstream: bool,
    prefer: Form,
}

impl Errors {
    /// What is known of a failure that this policy is for.
    fn facts<'e>(&self, exchange: &'e Exchange, status: StatusCode) -> Option<Facts<'e>> {
        if exchange.rpc.is_some() || status.as_u16() < 400 {
            return None;
        }
        let facts = |code, title, detail| Facts {
            status: status.as_u16(),
            code,
            title,
            detail,
            request_id: exchange.id.as_str(),
        };
        match exchange.record.fault {
            Some(fault) => {
                let detail = exchange.record.detail.as_deref().unwrap_or_default();
                Some(facts(fault.name(), fault.row().title, detail))
            }
            // A policy's own answer is what its author wrote.
            None if self.upstream && exchange.record.upstream.is_some() => Some(facts(
                UPSTREAM,
                status.canonical_reason().unwrap_or("Something went wrong"),
                "",
            )),
            None => None,
        }
    }
}

impl Policy for Errors {
    fn on_reply<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        reply: &'a mut Response,
        _: Slot,
    ) -> Outcome<'a, ()> {
        let Some(facts) = self.facts(exchange, reply.status) else { return Outcome::Now(Ok(())) };
        if exchange.record.has_page {
            return Outcome::Now(Ok(()));
        }
        let page = self.pages.iter().find(|(of, _)| of.fits(facts.code, facts.status));
        if let Some((_, page)) = page {
            page.put(facts, self.prefer, exchange, reply);
            exchange.record.has_page = true;
        }
        Outcome::Now(Ok(()))
    }
}
