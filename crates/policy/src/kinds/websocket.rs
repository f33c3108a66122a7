//! WebSockets (RFC 6455, and RFC 8441 over HTTP/2): allows requests to go on as a tunnel, after their handshake was
//! looked at. A browser sends cookies with it whatever page asks, and no `cors` stands in between, so the
//! page's origin is looked at too.

use crate::kind::{BuildCtx, Group, Kind};
use crate::kinds::cors::{Origin, origin};
use crate::written::{OneOrMany, Short, Written};
use base::units::Period;
use base::{Node, Report, decode};
use http::Method;
use http::header::{
    HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use traffic::exchange::Slot;
use traffic::head::{RequestHead, Scheme};
use traffic::policy::Phases;
use traffic::upgrade::{Terms, Upgrade, WEBSOCKET, is_websocket_key};
use traffic::{Exchange, Fault, FaultCode, Flow, Outcome, Policy, Stage};

#[cfg(test)]
mod tests;

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "websocket",
    group: Group::Edge,
    phases: Phases { request: true, forward: false, reply: false, record: false },
    answers: false,
    about: "Lets clients open WebSockets to the upstream, over HTTP/1.1 and HTTP/2. Without it a request for one \
            is a plain request. Policies on bodies do not see what passes through a WebSocket.",
    example: "websocket: { origins: [\"https://app.example.com\"], idle: 10m }",
    resets: "it has no state",
    schema: <Written<Settings> as JsonSchema>::json_schema,
    build,
};

/// The only version there is (RFC 6455, 4.1).
const VERSION: HeaderValue = HeaderValue::from_static("13");

/// Longest silence, unless said otherwise.
const IDLE_DEFAULT: Duration = Duration::from_secs(300);

/// Settings of `websocket`; short: one origin, or `*`. Where several apply, the shortest limits hold, and an origin
/// must be listed by each.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Settings {
    /// Origins of pages that may open a WebSocket, such as `https://app.example.com`;
    /// `https://*.example.com` stands for all below `example.com`, and `*` for every origin. Pages of the
    /// host that is asked always may, and so do clients that send no `Origin`, as others than browsers do.
    #[serde(default)]
    pub origins: OneOrMany,
    /// Silence of both directions after which a WebSocket is ended, `5m` when left out. Pings of WebSocket
    /// count as talk.
    pub idle: Option<Period>,
    /// How long a WebSocket may last at most, from its request on; as long as it likes when left out. The limits of
    /// `timeouts` end with the handshake.
    pub total: Option<Period>,
}

impl Short for Settings {
    const EXPECTING: &'static str =
        "an origin such as `https://app.example.com`, or `{ origins, idle, total }`";
    const SAMPLE: &'static str = "https://app.example.com";

    fn short(text: &str) -> Result<Self, String> {
        Ok(Self { origins: OneOrMany(vec![text.to_owned()]), idle: None, total: None })
    }
}

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    let Written(settings) = decode::<Written<Settings>>(node, ctx.path, report)?;
    let mut is_usable = true;
    let mut origins = Vec::new();
    for (index, text) in settings.origins.0.iter().enumerate() {
        match origin(text) {
            Ok(origin) => origins.push(origin),
            Err(message) => {
                ctx.error(report, node, &format!("/origins/{index}"), message);
                is_usable = false;
            }
        }
    }
    for (field, limit) in [("/idle", settings.idle), ("/total", settings.total)] {
        if limit.is_some_and(|limit| limit.0.is_zero()) {
            let message = "a time limit of zero would end every WebSocket";
            ctx.error(report, node, field, message);
            is_usable = false;
        }
    }
    let idle = Some(settings.idle.map_or(IDLE_DEFAULT, |idle| idle.0));
    let terms = Terms { idle, total: settings.total.map(|total| total.0) };
    is_usable.then(|| Arc::new(Websocket { origins, terms }) as Arc<dyn Policy>)
}

struct Websocket {
    origins: Vec<Origin>,
    terms: Terms,
}

impl Policy for Websocket {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, _: Slot) -> Outcome<'a, Flow> {
        let Some(upgrade) = &mut exchange.upgrade else {
            return Outcome::Now(Ok(Flow::Continue));
        };
        let checked = check_handshake(&exchange.request, upgrade)
            .and_then(|()| self.check_origin(&exchange.request));
        Outcome::Now(checked.map(|()| {
            upgrade.allow(self.terms);
            Flow::Continue
        }))
    }
}

impl Websocket {
    fn check_origin(&self, request: &RequestHead) -> Result<(), Fault> {
        let mut origins = request.headers.all(ORIGIN);
        let Some(origin) = origins.next() else { return Ok(()) };
        let text = origin.to_str().ok().filter(|_| origins.next().is_none());
        let is_listed = |text: &str| self.origins.iter().any(|own| own.matches(text));
        if text.is_some_and(|text| is_own(text, request) || is_listed(text)) {
            return Ok(());
        }
        let fault = Fault::new(Stage::Guard, FaultCode::OriginRefused);
        Err(fault.detail("this route takes no WebSockets from pages of this origin"))
    }
}

/// A handshake that a server would take (RFC 6455, 4.2.1).
fn check_handshake(request: &RequestHead, upgrade: &Upgrade) -> Result<(), Fault> {
    let bad = |detail: &'static str| Fault::new(Stage::Guard, FaultCode::BadRequest).detail(detail);
    if request.method != Method::GET {
        return Err(bad("a WebSocket is asked for by GET"));
    }
    if only(request, SEC_WEBSOCKET_VERSION) != Some(&VERSION) {
        let fault = Fault::new(Stage::Guard, FaultCode::WebsocketVersion);
        let fault = fault.header(SEC_WEBSOCKET_VERSION, VERSION);
        return Err(fault.header(UPGRADE, HeaderValue::from_static(WEBSOCKET)));
    }
    // Over HTTP/2 there is none (RFC 8441, 5).
    if !upgrade.is_connect && !only(request, SEC_WEBSOCKET_KEY).is_some_and(is_websocket_key) {
        return Err(bad("`Sec-WebSocket-Key` is not one key of 16 bytes in base64"));
    }
    Ok(())
}

/// The value of a header that is there once.
fn only(request: &RequestHead, name: HeaderName) -> Option<&HeaderValue> {
    let mut values = request.headers.all(name);
    values.next().filter(|_| values.next().is_none())
}

/// Whether an origin is the host that was asked: browsers write both alike. Over TLS, a page that came without is
/// not of the same host, since anybody on the way may have written it.
fn is_own(origin: &str, request: &RequestHead) -> bool {
    let Some((scheme, own)) = origin.split_once("://") else { return false };
    let Ok(asked) = request.authority.to_str() else { return false };
    let default_port = match (scheme, request.scheme) {
        ("https", _) => ":443",
        ("http", Scheme::Http) => ":80",
        _ => return false,
    };
    let bare = |authority: &'_ str| -> String {
        authority.strip_suffix(default_port).unwrap_or(authority).to_ascii_lowercase()
    };
    !own.is_empty() && bare(own) == bare(asked)
}
