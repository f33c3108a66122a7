//! Cross-origin requests (WHATWG Fetch, 3.3 CORS protocol): answers preflights, and tells browsers which
//! origins may read answers. It never refuses an actual request: CORS protects users of browsers, not
//! the API.

use crate::kind::{BuildCtx, Group, Kind};
use crate::written::{OneOrMany, Short, Written};
use base::units::Period;
use base::{Node, Report, decode};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;
use traffic::exchange::Slot;
use traffic::policy::Phases;
use traffic::{Body, Exchange, Fault, FaultCode, Flow, Headers, Outcome, Policy, Response, Stage};

#[cfg(test)]
mod tests;

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "cors",
    group: Group::Edge,
    phases: Phases { request: true, forward: false, reply: true, record: false },
    answers: false,
    about: "Lets web pages of other origins call the API: answers preflights without credentials, and \
            sets the `Access-Control-*` headers of every answer in place of the upstream's.",
    example: "cors: { origins: [\"https://app.example.com\", \"https://*.example.com\"], \
              headers: [content-type, x-api-key], max_age: 1h }",
    resets: "it has no state",
    schema: <Written<Settings> as JsonSchema>::json_schema,
    build,
};

/// Settings of `cors`; short: one origin, or `*`. Where several apply, the one of the outermost owner
/// decides.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Settings {
    /// Origins such as `https://app.example.com`; `https://*.example.com` stands for all below
    /// `example.com`, and `*` for every origin.
    pub origins: OneOrMany,
    /// Methods that pages may use; those that the route answers, when left out.
    pub methods: Option<Vec<String>>,
    /// Request headers that pages may set beyond the safe ones, or `*` for any.
    #[serde(default)]
    pub headers: OneOrMany,
    /// Response headers that pages may read beyond the safe ones.
    #[serde(default)]
    pub expose: Vec<String>,
    /// Whether pages may send cookies and read the answers. Not with the origin `*`.
    #[serde(default)]
    pub credentials: bool,
    /// How long a browser may remember the answer to a preflight.
    pub max_age: Option<Period>,
}

impl Short for Settings {
    const EXPECTING: &'static str =
        "an origin such as `https://app.example.com`, or `{ origins, methods, headers, … }`";
    const SAMPLE: &'static str = "https://app.example.com";

    fn short(text: &str) -> Result<Self, String> {
        Ok(Self {
            origins: OneOrMany(vec![text.to_owned()]),
            methods: None,
            headers: OneOrMany::default(),
            expose: Vec::new(),
            credentials: false,
            max_age: None,
        })
    }
}

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    let Written(settings) = decode::<Written<Settings>>(node, ctx.path, report)?;
    let mut own = Report::new();
    let mut check = |below: String, message: Option<String>| {
        if let Some(message) = message {
            ctx.error(&mut own, node, &below, message);
        }
    };
    let mut origins = Vec::new();
    for (index, text) in settings.origins.0.iter().enumerate() {
        match origin(text) {
            Ok(origin) => origins.push(origin),
            Err(message) => check(format!("/origins/{index}"), Some(message)),
        }
    }
    if settings.origins.0.is_empty() {
        check("/origins".to_owned(), Some("no origin is listed".to_owned()));
    }
    let is_any = origins.iter().any(|origin| matches!(origin, Origin::Any));
    if settings.credentials && is_any {
        let message = "`credentials` with the origin `*` would let every page act for its visitors";
        check("/credentials".to_owned(), Some(message.to_owned()));
    }
    let mut methods = Vec::new();
    for (index, name) in settings.methods.iter().flatten().enumerate() {
        match Method::from_bytes(name.as_bytes()) {
            Ok(method) => methods.push(method),
            Err(_) => check(format!("/methods/{index}"), Some(format!("`{name}` is no method"))),
        }
    }
    let any_header = settings.headers.0.iter().any(|name| name == "*");
    let mut names = |names: &[String], below: &str| -> Vec<HeaderName> {
        let mut read = Vec::new();
        for (index, name) in names.iter().enumerate().filter(|(_, name)| *name != "*") {
            match HeaderName::from_bytes(name.as_bytes()) {
                Ok(name) => read.push(name),
                Err(_) => check(format!("{below}/{index}"), Some(format!("`{name}` is no header"))),
            }
        }
        read
    };
    let headers = names(&settings.headers.0, "/headers");
    let expose = names(&settings.expose, "/expose");
    if settings.expose.iter().any(|name| name == "*") {
        let message = "name the headers to expose; browsers take `*` literally with credentials";
        check("/expose".to_owned(), Some(message.to_owned()));
    }
    let is_usable = !own.has_errors();
    report.absorb(own);
    let joined = expose.iter().map(HeaderName::as_str).collect::<Vec<_>>().join(", ");
    let cors = Cors {
        origins: if is_any { vec![Origin::Any] } else { origins },
        methods: settings.methods.map(|_| methods),
        headers: (!any_header).then_some(headers),
        expose: HeaderValue::try_from(joined).ok().filter(|value| !value.is_empty()),
        credentials: settings.credentials,
        max_age: settings.max_age.map(|age| HeaderValue::from(age.0.as_secs())),
    };
    is_usable.then(|| Arc::new(cors) as Arc<dyn Policy>)
}

/// An origin that may read answers.
pub(crate) enum Origin {
    Any,
    Exact(Box<str>),
    /// `https://*.example.com` as `https://` and `.example.com`.
    Below {
        scheme: Box<str>,
        suffix: Box<str>,
    },
}

/// An origin as browsers serialise it (RFC 6454, 6.2): nothing else would ever match.
pub(crate) fn origin(text: &str) -> Result<Origin, String> {
    if text == "*" {
        return Ok(Origin::Any);
    }
    if text == "null" {
        return Err("`null` is the origin of any sandboxed page; it identifies nobody".to_owned());
    }
    let Some((scheme, authority)) = text.split_once("://").filter(|(scheme, _)| {
        !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_lowercase() || "+-.".contains(c))
    }) else {
        return Err(format!("`{text}` is not an origin such as `https://app.example.com`"));
    };
    let host = authority.strip_prefix("*.").unwrap_or(authority);
    let default_port = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => "/",
    };
    if host.ends_with('/') || host.ends_with(default_port) || host.contains(char::is_uppercase) {
        return Err(format!(
            "`{text}` would never match: browsers send origins in lower case, without a final \
             slash or default port"
        ));
    }
    if traffic::canonical::host(host).is_none() {
        return Err(format!("`{host}` in `{text}` is not a host"));
    }
    Ok(if authority.starts_with("*.") {
        let (scheme, suffix) = (format!("{scheme}://"), format!(".{host}"));
        Origin::Below { scheme: scheme.into(), suffix: suffix.into() }
    } else {
        Origin::Exact(text.into())
    })
}

impl Origin {
    pub(crate) fn matches(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(text) => **text == *origin,
            Self::Below { scheme, suffix } => origin
                .strip_prefix(&**scheme)
                .and_then(|rest| rest.strip_suffix(&**suffix))
                .is_some_and(|name| {
                    let is_label = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
                    !name.is_empty() && name.chars().all(is_label)
                }),
        }
    }
}

struct Cors {
    origins: Vec<Origin>,
    /// Nothing: those that the route answers.
    methods: Option<Vec<Method>>,
    /// Nothing: any.
    headers: Option<Vec<HeaderName>>,
    expose: Option<HeaderValue>,
    credentials: bool,
    max_age: Option<HeaderValue>,
}

impl Cors {
    fn is_any(&self) -> bool {
        matches!(self.origins.as_slice(), [Origin::Any])
    }

    /// The value of `Access-Control-Allow-Origin`, if this origin may read answers.
    fn allowed(&self, request: &Headers) -> Option<HeaderValue> {
        let origin = request.get(ORIGIN)?;
        let is_several = request.all(ORIGIN).nth(1).is_some();
        let text = origin.to_str().ok()?;
        if is_several || !self.origins.iter().any(|allowed| allowed.matches(text)) {
            return None;
        }
        Some(if self.is_any() { HeaderValue::from_static("*") } else { origin.clone() })
    }

    fn preflight(&self, request: &Headers) -> Result<Response, Fault> {
        let refused =
            |detail: &'static str| Fault::new(Stage::Guard, FaultCode::CorsRefused).detail(detail);
        let origin = self.allowed(request).ok_or_else(|| refused("this origin is not allowed"))?;
        let method = request
            .get(ACCESS_CONTROL_REQUEST_METHOD)
            .filter(|wanted| self.allows_method(wanted))
            .ok_or_else(|| refused("this method is not allowed for other origins"))?;
        let mut answer = Response::new(StatusCode::NO_CONTENT, Body::empty());
        let headers = &mut answer.headers;
        let wanted: Vec<&HeaderValue> = request.all(ACCESS_CONTROL_REQUEST_HEADERS).collect();
        for value in wanted {
            if !self.allows_headers(value) {
                return Err(refused("a header is not allowed for other origins"));
            }
            headers.append(ACCESS_CONTROL_ALLOW_HEADERS, value.clone());
        }
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, method.clone());
        if self.credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        if let Some(max_age) = &self.max_age {
            headers.insert(ACCESS_CONTROL_MAX_AGE, max_age.clone());
        }
        // What the answer depends on, for caches on the way.
        let vary = "origin, access-control-request-method, access-control-request-headers";
        headers.insert(VARY, HeaderValue::from_static(vary));
        Ok(answer)
    }

    /// Methods are compared as they are: Fetch normalises the common ones itself.
    fn allows_method(&self, wanted: &HeaderValue) -> bool {
        match &self.methods {
            // The route was found by this very method.
            None => Method::from_bytes(wanted.as_bytes()).is_ok(),
            Some(methods) => {
                methods.iter().any(|method| method.as_str().as_bytes() == wanted.as_bytes())
            }
        }
    }

    fn allows_headers(&self, wanted: &HeaderValue) -> bool {
        let Ok(wanted) = wanted.to_str() else { return false };
        wanted.split(',').map(str::trim).filter(|name| !name.is_empty()).all(|name| {
            HeaderName::from_bytes(name.as_bytes()).is_ok_and(|name| match &self.headers {
                None => true,
                Some(headers) => headers.contains(&name),
            })
        })
    }

    fn mark(&self, request: &Headers, reply: &mut Headers) {
        for name in [
            ACCESS_CONTROL_ALLOW_ORIGIN,
            ACCESS_CONTROL_ALLOW_CREDENTIALS,
            ACCESS_CONTROL_EXPOSE_HEADERS,
        ] {
            reply.remove(name);
        }
        if !self.is_any() && !varies_by_origin(reply) {
            reply.append(VARY, HeaderValue::from_static("origin"));
        }
        let Some(origin) = self.allowed(request) else { return };
        reply.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.credentials {
            reply.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        if let Some(expose) = &self.expose {
            reply.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
    }
}

fn varies_by_origin(reply: &Headers) -> bool {
    reply.all(VARY).filter_map(|value| value.to_str().ok()).any(|value| {
        value
            .split(',')
            .map(str::trim)
            .any(|name| name == "*" || name.eq_ignore_ascii_case("origin"))
    })
}

impl Policy for Cors {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, _: Slot) -> Outcome<'a, Flow> {
        if !exchange.is_preflight {
            return Outcome::Now(Ok(Flow::Continue));
        }
        let answer = self.preflight(&exchange.request.headers);
        Outcome::Now(answer.map(|answer| Flow::Answer(Box::new(answer))))
    }

    fn on_reply<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        reply: &'a mut Response,
        _: Slot,
    ) -> Outcome<'a, ()> {
        // A preflight's answer is complete as it was made above.
        if !exchange.is_preflight {
            self.mark(&exchange.request.headers, &mut reply.headers);
        }
        Outcome::Now(Ok(()))
    }
}
