//! Sends the client elsewhere. Where to is decided by the config alone: what the client sent can fill
//! holes in path and query, never name a host.

use crate::kind::{BuildCtx, Group, Kind};
use crate::template::Template;
use crate::written::{Short, Written};
use base::{Node, Report, decode};
use http::{HeaderValue, StatusCode, Uri, header};
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;
use traffic::exchange::Slot;
use traffic::policy::Phases;
use traffic::{Body, Exchange, Fault, FaultCode, Flow, Outcome, Policy, Response, Stage};

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "redirect",
    group: Group::Steer,
    phases: Phases { request: true, forward: false, reply: false, record: false },
    answers: true,
    about: "Answers with a redirect to a URL or path, which may hold `{param}`s of the route's path.",
    example: "redirect: { to: \"https://www.example.com/new\", status: 301 }",
    resets: "it has no state",
    schema: <Written<Settings> as JsonSchema>::json_schema,
    build,
};

/// Settings of `redirect`; short: `to` alone.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Settings {
    /// `https://host/path`, `http://host/path` or `/path`; `{param}` stands for a part of the path, but
    /// not in the host.
    pub to: String,
    /// 301, 302, 303, 307 or 308.
    #[serde(default = "permanent")]
    pub status: u16,
    /// Whether the request's query is appended.
    #[serde(default = "yes")]
    pub keep_query: bool,
}

const fn permanent() -> u16 {
    308
}

const fn yes() -> bool {
    true
}

impl Short for Settings {
    const EXPECTING: &'static str =
        "a URL such as `https://example.com/{id}`, or `{ to, status, keep_query }`";
    const SAMPLE: &'static str = "https://www.example.com/new";

    fn short(text: &str) -> Result<Self, String> {
        Ok(Self { to: text.to_owned(), status: permanent(), keep_query: yes() })
    }
}

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    let Written(settings) = decode::<Written<Settings>>(node, ctx.path, report)?;
    let status = match settings.status {
        301 | 302 | 303 | 307 | 308 => StatusCode::from_u16(settings.status).ok(),
        other => {
            let message = format!("{other} is not a redirect; use 301, 302, 303, 307 or 308");
            ctx.error(report, node, "/status", message);
            None
        }
    };
    let (before, fragment) = match settings.to.split_once('#') {
        Some((before, fragment)) => (before, Some(fragment)),
        None => (settings.to.as_str(), None),
    };
    let target =
        check_target(before).and_then(|()| Template::parse(before, ctx.params)).and_then(|to| {
            let fragment = fragment.unwrap_or_default();
            Template::parse(fragment, &[]).map(|_| (to, fragment.into()))
        });
    match target {
        Ok((to, fragment)) => {
            let keep_query = settings.keep_query;
            Some(Arc::new(Redirect { to, fragment, status: status?, keep_query }))
        }
        Err(message) => {
            ctx.error(report, node, "/to", message);
            None
        }
    }
}

/// The host must be written out: a client must not choose it.
fn check_target(to: &str) -> Result<(), String> {
    if let Some(path) = to.strip_prefix('/') {
        return match path.chars().next() {
            Some('/' | '\\') => Err("`//` names another host; write `https://…`".to_owned()),
            _ => Ok(()),
        };
    }
    let scheme_and_rest = to.split_once("://").filter(|(s, _)| matches!(*s, "http" | "https"));
    let Some((_, rest)) = scheme_and_rest else {
        return Err(format!("`{to}` must begin with `https://`, `http://` or `/`"));
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.contains(['{', '}']) {
        return Err("the host cannot come from the request's path".to_owned());
    }
    let uri: Option<Uri> = format!("https://{authority}/").parse().ok();
    let is_host = uri.is_some() && traffic::canonical::host(authority).is_some();
    if is_host { Ok(()) } else { Err(format!("`{authority}` is not a host")) }
}

struct Redirect {
    to: Template,
    fragment: Box<str>,
    status: StatusCode,
    keep_query: bool,
}

impl Redirect {
    fn location(&self, exchange: &Exchange) -> Result<HeaderValue, Fault> {
        let mut location = self.to.fill(exchange);
        // What filled a hole at the beginning may have begun with a slash of its own.
        if location.starts_with("//") {
            return Err(Fault::new(Stage::Guard, FaultCode::BadPath));
        }
        if let Some(query) = exchange.request.query().filter(|_| self.keep_query) {
            location.push(if location.contains('?') { '&' } else { '?' });
            location.push_str(query);
        }
        if !self.fragment.is_empty() {
            location.push('#');
            location.push_str(&self.fragment);
        }
        HeaderValue::try_from(location)
            .map_err(|error| Fault::new(Stage::Guard, FaultCode::BadPath).cause(error))
    }
}

impl Policy for Redirect {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, _: Slot) -> Outcome<'a, Flow> {
        Outcome::Now(self.location(exchange).map(|location| {
            let mut answer = Response::new(self.status, Body::empty());
            answer.headers.insert(header::LOCATION, location);
            Flow::Answer(Box::new(answer))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::KIND;
    use crate::fixture::{self, World};
    use serde_json::{Value, json};

    fn check(settings: &Value, target: &str, status: u16, location: &str) {
        let world = World::with_params(&["id", "rest"]);
        let policy = world.build(&KIND, settings).unwrap();
        let mut exchange = fixture::routed("/old/{id}/{*rest}", &format!("GET {target}"));
        let answer = policy.answer(&mut exchange);
        assert_eq!(answer.status.as_u16(), status, "{settings}");
        assert_eq!(answer.headers["location"], location, "{settings}");
    }

    #[test]
    fn clients_are_sent_where_the_config_says() {
        let old = "/old/a%20b/c/d?x=1";
        check(&json!("https://n.example/{id}"), old, 308, "https://n.example/a%20b?x=1");
        check(&json!("/new/{rest}"), old, 308, "/new/c/d?x=1");
        check(&json!({ "to": "/new", "status": 302, "keep_query": false }), old, 302, "/new");
        check(&json!("/new?id={id}"), old, 308, "/new?id=a%20b&x=1");
        check(&json!("/new#top"), old, 308, "/new?x=1#top");
        check(&json!("https://n.example"), "/old/1/2", 308, "https://n.example");
    }

    #[test]
    fn the_client_cannot_choose_the_host() {
        for (to, part) in [
            ("https://{id}/", "the host cannot come from"),
            ("https://{id}.example.com/", "the host cannot come from"),
            ("//evil.example/", "names another host"),
            ("/\\evil.example/", "names another host"),
            ("javascript:alert(1)", "must begin with"),
            ("https:///path", "is not a host"),
            ("https://user@host/", "is not a host"),
            ("/a\r\nset-cookie: x", "cannot be part of a URL"),
            ("/new/{nope}", "captures nothing"),
        ] {
            fixture::refuses(&KIND, &json!(to), part);
        }
        fixture::refuses(&KIND, &json!({ "to": "/new", "status": 200 }), "is not a redirect");
        let world = World::with_params(&["id", "rest"]);
        let policy = world.build(&KIND, &json!("/{rest}")).unwrap();
        let mut exchange = fixture::routed("/old/{id}/{*rest}", "GET /old/1//evil.example");
        assert_eq!(policy.request(&mut exchange), "bad_path");
    }
}
