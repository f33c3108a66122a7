//! Answers from the config, without any upstream: health pages, mocks, tombstones.

use crate::field;
use crate::kind::{BuildCtx, Group, Kind};
use crate::written::{Short, Written};
use base::caps::ANSWER_BYTES_MAX;
use base::{Node, Report, Text, decode};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use traffic::exchange::Slot;
use traffic::policy::Phases;
use traffic::{Body, Exchange, Flow, Outcome, Policy, Response};

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "respond",
    group: Group::Shape,
    phases: Phases { request: true, forward: false, reply: false, record: false },
    answers: true,
    about: "Answers every request that gets this far with a fixed status, headers and body.",
    example: "respond: { status: 200, json: { status: up } }",
    resets: "it has no state",
    schema: <Written<Settings> as JsonSchema>::json_schema,
    build,
};

/// Settings of `respond`; short: the status alone.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Settings {
    /// The status, 200 to 599.
    #[serde(default = "ok")]
    pub status: u16,
    /// The body as text, `text/plain` unless `content_type` says otherwise.
    pub body: Option<String>,
    /// The body as any value, sent as JSON.
    pub json: Option<serde_json::Value>,
    /// The media type of the body.
    pub content_type: Option<String>,
    /// Further headers.
    #[serde(default)]
    pub headers: BTreeMap<String, Text>,
}

const fn ok() -> u16 {
    200
}

impl Short for Settings {
    const EXPECTING: &'static str = "a status such as `204`, or `{ status, body, json, headers }`";
    const SAMPLE: &'static str = "204";

    fn short(text: &str) -> Result<Self, String> {
        let status = text.parse().map_err(|_| format!("`{text}` is not a status such as `204`"))?;
        let headers = BTreeMap::new();
        Ok(Self { status, body: None, json: None, content_type: None, headers })
    }
}

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    let Written(settings) = decode::<Written<Settings>>(node, ctx.path, report)?;
    let mut own = Report::new();
    let status = status_of(&settings, node, ctx, &mut own);
    let mut headers = field::pairs(&settings.headers, (node, "/headers"), ctx, &mut own);
    if settings.json.is_some() && settings.body.is_some() {
        ctx.error(&mut own, node, "/json", "an answer has either `body` or `json`");
    }
    let (body, default_type) = match (&settings.json, settings.body) {
        (Some(json), _) => (json.to_string(), "application/json"),
        (None, Some(text)) => (text, "text/plain; charset=utf-8"),
        (None, None) => (String::new(), ""),
    };
    if body.len() > ANSWER_BYTES_MAX {
        let message = format!("the body has {} bytes; at most {ANSWER_BYTES_MAX} fit", body.len());
        ctx.error(&mut own, node, "/body", message);
    }
    let content_type = settings.content_type.as_deref().unwrap_or(default_type);
    // One that stands among the headers is meant.
    let is_told =
        settings.content_type.is_none() && headers.iter().any(|(name, _)| *name == CONTENT_TYPE);
    if !content_type.is_empty() && !is_told {
        match HeaderValue::from_str(content_type) {
            Ok(value) => headers.push((CONTENT_TYPE, value)),
            Err(_) => {
                ctx.error(&mut own, node, "/content_type", "this is not a media type");
            }
        }
    }
    let is_usable = !own.has_errors();
    report.absorb(own);
    let respond = Respond { status: status?, headers, body: body.into() };
    is_usable.then(|| Arc::new(respond) as Arc<dyn Policy>)
}

fn status_of(
    settings: &Settings,
    node: &Node,
    ctx: &BuildCtx<'_>,
    report: &mut Report,
) -> Option<StatusCode> {
    let below = if settings.status == ok() { "" } else { "/status" };
    let status = StatusCode::from_u16(settings.status).ok();
    let Some(status) = status.filter(|status| (200..600).contains(&status.as_u16())) else {
        let message = format!("{} is not a final status, 200 to 599", settings.status);
        ctx.error(report, node, below, message);
        return None;
    };
    let is_bodiless = matches!(status.as_u16(), 204 | 205 | 304);
    if is_bodiless && (settings.body.is_some() || settings.json.is_some()) {
        let message = format!("an answer with status {} has no body", status.as_u16());
        ctx.error(report, node, below, message);
        return None;
    }
    Some(status)
}

struct Respond {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

impl Policy for Respond {
    fn on_request<'a>(&'a self, _: &'a mut Exchange, _: Slot) -> Outcome<'a, Flow> {
        let mut answer = Response::new(self.status, Body::full(self.body.clone()));
        for (name, value) in &self.headers {
            answer.headers.append(name.clone(), value.clone());
        }
        Outcome::Now(Ok(Flow::Answer(Box::new(answer))))
    }
}

#[cfg(test)]
mod tests {
    use super::KIND;
    use crate::fixture::{self, drain, lines};
    use serde_json::{Value, json};

    fn check(settings: &Value, status: u16, headers: &[&str], body: &str) {
        let answer = fixture::built(&KIND, settings).answer(&mut fixture::exchange("GET /"));
        assert_eq!(answer.status.as_u16(), status, "{settings}");
        assert_eq!(lines(&answer.headers), headers, "{settings}");
        assert_eq!(drain(answer.body), body, "{settings}");
    }

    #[test]
    fn answers_come_from_the_settings() {
        check(&json!(204), 204, &[], "");
        check(&json!("404"), 404, &[], "");
        check(&json!({ "body": "up" }), 200, &["content-type: text/plain; charset=utf-8"], "up");
        check(
            &json!({ "status": 410, "json": { "gone": true }, "headers": { "x-a": "1" } }),
            410,
            &["content-type: application/json", "x-a: 1"],
            "{\"gone\":true}",
        );
        check(
            &json!({ "body": "<p>", "content_type": "text/html" }),
            200,
            &["content-type: text/html"],
            "<p>",
        );
    }

    #[test]
    fn a_content_type_among_the_headers_is_the_only_one() {
        let settings = json!({ "body": "a,b", "headers": { "content-type": "text/csv" } });
        check(&settings, 200, &["content-type: text/csv"], "a,b");
    }

    #[test]
    fn impossible_answers_are_refused() {
        for (settings, part) in [
            (json!(100), "is not a final status"),
            (json!(999), "is not a final status"),
            (json!("teapot"), "is not a status"),
            (json!({ "status": 204, "body": "x" }), "has no body"),
            (json!({ "body": "x", "json": 1 }), "either `body` or `json`"),
            (json!({ "headers": { "content-length": "9" } }), "cannot be changed"),
            (json!({ "content_type": "a\r\nb" }), "not a media type"),
            (json!({ "body": "x".repeat(2 << 20) }), "bytes; at most"),
        ] {
            fixture::refuses(&KIND, &settings, part);
        }
    }
}
