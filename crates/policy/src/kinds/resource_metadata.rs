//! Answers with the metadata of a protected resource (RFC 9728): where clients get tokens for it, and of what kind.

use crate::kind::{BuildCtx, Group, Kind};
use crate::written::{OneOrMany, Short, Written};
use base::caps::ANSWER_BYTES_MAX;
use base::units::Period;
use base::{Node, Report, decode};
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode, Uri};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;
use traffic::exchange::Slot;
use traffic::policy::Phases;
use traffic::{Body, Exchange, Fault, FaultCode, Flow, Outcome, Policy, Response, Stage};

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "resource_metadata",
    group: Group::Edge,
    phases: Phases { request: true, forward: false, reply: false, record: false },
    answers: true,
    about: "Answers with the metadata of a protected resource (RFC 9728), by which clients find out where they get \
            tokens for it. It goes on a route of its own, `/.well-known/oauth-protected-resource` and the path of the \
            resource; others get 404.",
    example: "resource_metadata: { resource: https://api.example.com, authorization_servers: https://idp.example.com }",
    resets: "it has no state",
    schema: <Written<Settings> as JsonSchema>::json_schema,
    build,
};

/// Settings of `resource_metadata`; short: the resource and who gives out tokens for it, `https://api.example.com by
/// https://idp.example.com`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline, extend("required" = ["resource"]))]
pub struct Settings {
    /// The address of the resource, which tokens are for.
    pub resource: String,
    /// The issuers who give out tokens for it.
    pub authorization_servers: OneOrMany,
    /// Scopes that clients may ask for.
    pub scopes: Vec<String>,
    /// How tokens may be shown: `header`, `body`, `query`. Only `header` when left out.
    pub bearer_methods: Option<Vec<String>>,
    /// Whether tokens must be bound to a key (DPoP, RFC 9449).
    pub dpop_required: bool,
    /// Whether tokens must be bound to a client certificate (RFC 8705).
    pub certificate_required: bool,
    /// What people call the resource.
    pub name: Option<String>,
    /// The address of its documentation.
    pub documentation: Option<String>,
    /// Further members, as RFC 9728, 2 or others define them.
    pub more: Map<String, Value>,
    /// How long clients may keep the answer: 1h when left out.
    pub max_age: Option<Period>,
}

impl Short for Settings {
    const EXPECTING: &'static str = "resource and issuer such as `https://api.example.com by https://idp.example.com`, or `{ resource, authorization_servers, … }`";
    const SAMPLE: &'static str = "https://api.example.com by https://idp.example.com";

    fn short(text: &str) -> Result<Self, String> {
        let (resource, issuer) = text.split_once(" by ").ok_or_else(|| {
            format!("`{text}` does not say who gives out tokens, such as `https://api.example.com by https://idp.example.com`")
        })?;
        let authorization_servers = OneOrMany(vec![issuer.trim().to_owned()]);
        Ok(Self { resource: resource.trim().to_owned(), authorization_servers, ..Self::default() })
    }
}

/// Where metadata is found (RFC 9728, 3).
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";
const MAX_AGE: Duration = Duration::from_secs(3_600);

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    let Written(settings) = decode::<Written<Settings>>(node, ctx.path, report)?;
    let mut own = Report::new();
    let resource = address(&settings.resource, "/resource", node, ctx, &mut own);
    for issuer in &settings.authorization_servers.0 {
        address(issuer, "/authorization_servers", node, ctx, &mut own);
    }
    if let Some(url) = &settings.documentation {
        address(url, "/documentation", node, ctx, &mut own);
    }
    for (at, method) in settings.bearer_methods.iter().flatten().enumerate() {
        if !["header", "body", "query"].contains(&method.as_str()) {
            let message = format!("`{method}` is none of `header`, `body` and `query`");
            ctx.error(&mut own, node, &format!("/bearer_methods/{at}"), message);
        }
    }
    let document = document(&settings);
    for name in settings.more.keys() {
        if document.get(name) != settings.more.get(name) {
            let message = format!("`{name}` is said by a setting of its own");
            ctx.error(&mut own, node, &format!("/more/{name}"), message);
        }
    }
    let body = Value::Object(document).to_string();
    if body.len() > ANSWER_BYTES_MAX {
        let message =
            format!("the answer has {} bytes; at most {ANSWER_BYTES_MAX} fit", body.len());
        ctx.error(&mut own, node, "", message);
    }
    let is_usable = !own.has_errors();
    report.absorb(own);
    let path = resource?.path().trim_end_matches('/').to_owned();
    let age_s = settings.max_age.map_or(MAX_AGE, |age| age.0).as_secs();
    let cache = HeaderValue::try_from(format!("max-age={age_s}")).ok()?;
    let metadata =
        ResourceMetadata { path: format!("{WELL_KNOWN}{path}"), body: body.into(), cache };
    is_usable.then(|| Arc::new(metadata) as _)
}

/// An address as RFC 9728, 1.2 wants it: of `https`, or of `http` on this machine, and without a fragment.
fn address(
    text: &str,
    below: &str,
    node: &Node,
    ctx: &BuildCtx<'_>,
    report: &mut Report,
) -> Option<Uri> {
    let uri = text.parse::<Uri>().ok();
    let is_address = |uri: &Uri| {
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        is_http && uri.host().is_some() && !text.contains('#')
    };
    let Some(uri) = uri.filter(is_address) else {
        let message = format!("`{text}` is not an address such as `https://api.example.com`");
        ctx.error(report, node, below, message);
        return None;
    };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_here = host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if uri.scheme_str() == Some("http") && !is_here {
        let message = "clients of this address are told where to get tokens by plain HTTP";
        ctx.warning(report, node, below, message).help("use `https:`");
    }
    Some(uri)
}

fn document(settings: &Settings) -> Map<String, Value> {
    let mut document = settings.more.clone();
    let mut say = |name: &str, value: Value| {
        document.insert(name.to_owned(), value);
    };
    say("resource", json!(settings.resource));
    if !settings.authorization_servers.0.is_empty() {
        say("authorization_servers", json!(settings.authorization_servers.0));
    }
    if !settings.scopes.is_empty() {
        say("scopes_supported", json!(settings.scopes));
    }
    let methods = settings.bearer_methods.clone();
    say("bearer_methods_supported", json!(methods.unwrap_or_else(|| vec!["header".to_owned()])));
    if settings.dpop_required {
        let algorithms: Vec<&str> = crate::dpop::ALGORITHMS.split(' ').collect();
        say("dpop_bound_access_tokens_required", json!(true));
        say("dpop_signing_alg_values_supported", json!(algorithms));
    }
    if settings.certificate_required {
        say("tls_client_certificate_bound_access_tokens", json!(true));
    }
    if let Some(name) = &settings.name {
        say("resource_name", json!(name));
    }
    if let Some(url) = &settings.documentation {
        say("resource_documentation", json!(url));
    }
    document
}

struct ResourceMetadata {
    path: String,
    body: Bytes,
    cache: HeaderValue,
}

impl Policy for ResourceMetadata {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, _: Slot) -> Outcome<'a, Flow> {
        let request = &exchange.request;
        // Clients compare the two (RFC 9728, 3.3): another resource must not be told of this one.
        if request.path().trim_end_matches('/') != self.path {
            return Outcome::Now(Err(Fault::new(Stage::Guard, FaultCode::NoRoute)));
        }
        if request.method != Method::GET && request.method != Method::HEAD {
            let fault = Fault::new(Stage::Guard, FaultCode::MethodNotAllowed);
            let fault = fault.header(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Outcome::Now(Err(fault));
        }
        let mut answer = Response::new(StatusCode::OK, Body::full(self.body.clone()));
        answer.headers.append(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        answer.headers.append(CACHE_CONTROL, self.cache.clone());
        Outcome::Now(Ok(Flow::Answer(Box::new(answer))))
    }
}

#[cfg(test)]
mod tests {
    use super::KIND;
    use crate::fixture::{self, drain, lines};
    use serde_json::{Value, json};

    const PATH: &str = "/.well-known/oauth-protected-resource";

    #[test]
    fn metadata_is_answered_at_the_address_of_the_resource() {
        let short = json!("https://api.example.com by https://idp.example.com");
        let long = json!({
            "resource": "https://api.example.com/orders", "scopes": ["a"], "dpop_required": true,
            "certificate_required": true, "name": "Orders", "bearer_methods": [],
            "documentation": "https://docs.example.com", "max_age": "5m",
            "more": { "resource_policy_uri": "https://a" },
        });
        for (settings, path, expected) in [
            (
                &short,
                PATH.to_owned(),
                json!({
                    "resource": "https://api.example.com",
                    "authorization_servers": ["https://idp.example.com"],
                    "bearer_methods_supported": ["header"],
                }),
            ),
            (
                &long,
                format!("{PATH}/orders"),
                json!({
                    "resource": "https://api.example.com/orders",
                    "scopes_supported": ["a"],
                    "bearer_methods_supported": [],
                    "dpop_bound_access_tokens_required": true,
                    "dpop_signing_alg_values_supported": [
                        "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384",
                        "RS512", "EdDSA",
                    ],
                    "tls_client_certificate_bound_access_tokens": true,
                    "resource_name": "Orders",
                    "resource_documentation": "https://docs.example.com",
                    "resource_policy_uri": "https://a",
                }),
            ),
        ] {
            let policy = fixture::built(&KIND, settings);
            let answer = policy.answer(&mut fixture::exchange(&format!("GET {path}?x=1")));
            assert_eq!(answer.status.as_u16(), 200);
            assert_eq!(lines(&answer.headers)[1], "content-type: application/json");
            assert_eq!(serde_json::from_str::<Value>(&drain(answer.body)).unwrap(), expected);
            let other = policy.request(&mut fixture::exchange(&format!("GET {PATH}/other")));
            assert_eq!(other, "no_route");
            let post = policy.request(&mut fixture::exchange(&format!("POST {path}")));
            assert_eq!(post, "method_not_allowed");
        }
    }

    #[test]
    fn metadata_that_makes_no_sense_is_refused() {
        for (settings, part) in [
            (json!("https://api.example.com"), "who gives out tokens"),
            (json!({}), "not an address"),
            (json!({ "resource": "api" }), "not an address"),
            (json!({ "resource": "https://a/#b" }), "not an address"),
            (json!({ "resource": "https://a", "authorization_servers": "x" }), "not an address"),
            (json!({ "resource": "https://a", "bearer_methods": ["x"] }), "none of"),
            (json!({ "resource": "https://a", "more": { "resource": "x" } }), "of its own"),
            (json!({ "resource": "https://a", "documentation": "/x" }), "not an address"),
        ] {
            fixture::refuses(&KIND, &settings, part);
        }
    }
}
