//! Publishes the keys by which the gateway signs tokens of its own (RFC 7517, 5).

use super::internal_jwt::keys::Published;
use crate::kind::{BuildCtx, Group, Kind};
use base::units::Period;
use base::{Node, Report, decode};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use traffic::exchange::Slot;
use traffic::policy::Phases;
use traffic::{Body, Exchange, Flow, Outcome, Policy, Response};

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "jwks",
    group: Group::Shape,
    phases: Phases { request: true, forward: false, reply: false, record: false },
    answers: true,
    about: "Answers every request with the public keys of all `internal_jwt` policies of the gateway, so that backends \
            can verify their tokens.",
    example: "jwks: { max_age: 5m }",
    resets: "it has no state",
    schema: <Settings as JsonSchema>::json_schema,
    build,
};

/// Settings of `jwks`; it needs none.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// For how long verifiers may keep the keys. They are told no more than the shortest `rotate`: so long is each made key
    /// published before it signs.
    pub max_age: Period,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_age: Period(Duration::from_secs(300)) }
    }
}

struct Publish {
    published: Arc<Published>,
    max_age: Duration,
}

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    let settings = decode::<Settings>(node, ctx.path, report)?;
    Some(Arc::new(Publish { published: Published::of(ctx), max_age: settings.max_age.0 }))
}

impl Policy for Publish {
    fn on_request<'a>(&'a self, _: &'a mut Exchange, _: Slot) -> Outcome<'a, Flow> {
        let set = self.published.set().to_string();
        let mut answer = Response::new(StatusCode::OK, Body::full(set));
        let media_type = HeaderValue::from_static("application/jwk-set+json");
        answer.headers.append(CONTENT_TYPE, media_type);
        let notice = self.published.notice().unwrap_or(self.max_age);
        let max_age_s = self.max_age.min(notice).as_secs();
        if let Ok(value) = HeaderValue::try_from(format!("public, max-age={max_age_s}")) {
            answer.headers.append(CACHE_CONTROL, value);
        }
        Outcome::Now(Ok(Flow::Answer(Box::new(answer))))
    }
}
