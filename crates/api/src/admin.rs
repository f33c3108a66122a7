use crate::body;
use crate::call::{Answer, Call};
use crate::idempotency::{Either, Turn};
use crate::login::{self, Hosts};
use crate::operation::{Access, Operation, operations};
use crate::precondition::{self, Goes};
use crate::query::Query;
use crate::refusal::Refusal;
use crate::{link, openapi, page};
use axum::Router;
use axum::body::Body;
use axum::extract::RawPathParams;
use axum::extract::rejection::RawPathParamsRejection;
use axum::response::IntoResponse as _;
use axum::routing::{MethodFilter, get, on};
use base::caps::{ADMIN_IN_FLIGHT_MAX, ADMIN_REQUEST_ID_MAX};
use base::{Clock, random};
use bytes::Bytes;
use control::{Caller, Control};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, LOCATION, REFERRER_POLICY,
    SET_COOKIE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::Value;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tower_service::Service as _;

/// Who did what.
pub(crate) mod audit;
/// Who calls APIs.
pub(crate) mod consumer;
/// Programs of theirs.
pub(crate) mod application;
/// By what they prove who they are.
pub(crate) mod credential;
/// What the platform delegates.
pub(crate) mod grants;
/// Whole configs.
pub(crate) mod config;
/// Parts of drafts.
pub(crate) mod object;
/// APIs of documents.
pub(crate) mod import;
/// Publishing.
pub(crate) mod revision;
/// Named sets of permissions.
pub(crate) mod role;
/// One-time passwords.
pub(crate) mod second_factor;
/// What configs name and nobody reads.
pub(crate) mod secret;
/// Sessions and tokens.
pub(crate) mod session;
/// Who vouches for people from elsewhere.
pub(crate) mod provider;
/// What holds for the platform as a whole.
pub(crate) mod setting;
/// People.
pub(crate) mod user;
/// Teams.
pub(crate) mod workspace;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(60);
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// How the admin API is offered.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What time it is.
    pub clock: Clock,
    /// The JSON Schema of configs: what objects say is described by its definitions.
    pub config_schema: Value,
    /// Names under which it is reached, besides addresses and `localhost`.
    pub hosts: Vec<String>,
    /// Whether it listens on a loopback address: requests for any other name are refused then.
    pub is_loopback: bool,
    /// Whether clients come by TLS.
    pub is_tls: bool,
    /// Where browsers reach it, without a `/` at its end, if that is not what they ask for.
    pub url: Option<String>,
}

/// The admin API. Cloning is cheap.
#[derive(Clone)]
pub struct Admin {
    router: Router,
    desk: Arc<Desk>,
}

/// What all requests share.
pub(crate) struct Desk {
    pub(crate) control: Control,
    clock: Clock,
    hosts: Hosts,
    pub(crate) is_tls: bool,
    pub(crate) url: Option<String>,
    in_flight: Semaphore,
    document: Bytes,
    document_tag: String,
    reference: page::Page,
}

/// Where a request came from, and what it is called.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) peer: IpAddr,
    pub(crate) id: String,
}

impl Arrival {
    /// That of a request.
    pub(crate) fn of(extensions: &Extensions) -> Result<&Self, Refusal> {
        extensions.get().ok_or_else(|| {
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the request is unknown")
        })
    }
}

impl Admin {
    /// Over the rules of the platform.
    #[must_use]
    pub fn new(control: Control, options: Options) -> Self {
        let Options { clock, config_schema, hosts, is_loopback, is_tls, url } = options;
        let document = openapi::tree(&config_schema);
        let reference = page::reference(&document);
        let document = openapi::text(&document);
        let document_tag = openapi::tag(&document);
        let names = hosts.into_iter().map(|name| name.to_ascii_lowercase()).collect();
        let desk = Arc::new(Desk {
            control,
            clock,
            hosts: Hosts { names, is_strict: is_loopback },
            is_tls,
            url,
            in_flight: Semaphore::new(ADMIN_IN_FLIGHT_MAX),
            document: document.into(),
            document_tag,
            reference,
        });
        Self { router: router(&desk), desk }
    }

    /// Answers a request.
    pub async fn answer(&self, mut request: Request<Body>, peer: IpAddr) -> Response<Body> {
        let id = request_id(request.headers());
        let refused = |refusal: Refusal| refusal.answer(&id).into_response();
        let mut answer = match self.desk.in_flight.try_acquire() {
            Err(_) => refused(Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "too many requests are under way; come again in a moment",
            )),
            Ok(_place) => match self.desk.hosts.check(request.headers()) {
                Err(refusal) => refused(refusal),
                Ok(()) => {
                    request.extensions_mut().insert(Arrival { peer, id: id.clone() });
                    let doing = self.router.clone().call(request);
                    match tokio::time::timeout(TIMEOUT, doing).await {
                        Ok(Ok(answer)) => answer,
                        Ok(Err(never)) => match never {},
                        Err(_) => refused(Refusal::new(
                            StatusCode::SERVICE_UNAVAILABLE,
                            "too_slow",
                            "this took too long; nothing was changed",
                        )),
                    }
                }
            },
        };
        dress(answer.headers_mut(), &id);
        answer
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

/// What every answer says: nothing of it is to be kept, framed or guessed at.
fn dress(headers: &mut HeaderMap, id: &str) {
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
    let usual = [
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in usual {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

/// The id that the client gave, if it is harmless, or a new one.
fn request_id(headers: &HeaderMap) -> String {
    let is_plain = |text: &&str| {
        let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
        (1..=ADMIN_REQUEST_ID_MAX).contains(&text.len()) && text.bytes().all(plain)
    };
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(is_plain);
    given.map(str::to_owned).unwrap_or_else(|| {
        let mut bytes = [0; 16];
        if random::fill(&mut bytes).is_err() {
            // It tells requests apart and keeps no secret.
            bytes[..8].copy_from_slice(&random::fast().to_be_bytes());
        }
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    })
}

fn router(desk: &Arc<Desk>) -> Router {
    let mut router = Router::new();
    for operation in operations() {
        let Ok(filter) = MethodFilter::try_from(operation.method.clone()) else { continue };
        let desk = Arc::clone(desk);
        let doing = move |parts: Result<RawPathParams, RawPathParamsRejection>,
                          request: Request<Body>| {
            perform(desk, operation, parts, request)
        };
        router = router.route(&operation.path, on(filter, doing));
    }
    let document = Arc::clone(desk);
    let reference = Arc::clone(desk);
    router
        .route(
            "/v1/openapi.json",
            get(move |head: HeaderMap| {
                let desk = Arc::clone(&document);
                async move { document_answer(&desk, &head) }
            }),
        )
        .route(
            "/",
            get(move || {
                let desk = Arc::clone(&reference);
                async move { desk.reference.answer(StatusCode::OK) }
            }),
        )
        .merge(link::router(desk))
        .merge(crate::provider::router(desk))
        .fallback(|request: Request<Body>| async move {
            let detail = "there is no such path; `/` shows which there are";
            refuse(&request, Refusal::new(StatusCode::NOT_FOUND, "no_such_path", detail))
        })
        .method_not_allowed_fallback(|request: Request<Body>| async move {
            let (status, detail) =
                (StatusCode::METHOD_NOT_ALLOWED, "this path knows other methods: see `Allow`");
            refuse(&request, Refusal::new(status, "no_such_method", detail))
        })
}

fn refuse(request: &Request<Body>, refusal: Refusal) -> Response<Body> {
    let id = request.extensions().get::<Arrival>().map(|arrival| arrival.id.clone());
    refusal.answer(&id.unwrap_or_default()).into_response()
}

fn document_answer(desk: &Desk, headers: &HeaderMap) -> Response<Body> {
    let is_known = precondition::has(headers, &desk.document_tag);
    let (status, body) = match is_known {
        true => (StatusCode::NOT_MODIFIED, Bytes::new()),
        false => (StatusCode::OK, desk.document.clone()),
    };
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&desk.document_tag) {
        headers.insert(ETAG, tag);
    }
    answer
}

/// Answers a request for an operation.
async fn perform(
    desk: Arc<Desk>,
    operation: &'static Operation,
    parts: Result<RawPathParams, RawPathParamsRejection>,
    request: Request<Body>,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let arrival = head.extensions.get::<Arrival>().cloned();
    let Some(arrival) = arrival else {
        let refusal = Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "no arrival");
        return refusal.answer("").into_response();
    };
    let parts = parts.map(|parts| {
        parts.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    });
    let parts = parts.map_err(|_| Refusal::malformed("", "the path is not UTF-8"));
    let done = match parts {
        Ok(parts) => done(&desk, operation, (&head, body), parts, &arrival).await,
        Err(refusal) => Err(refusal),
    };
    match done {
        Ok(answer) => told(&head, answer),
        Err(refusal) => refusal.answer(&arrival.id).into_response(),
    }
}

/// Who asks, whether they may, what was sent, what is done: in this order for every operation.
async fn done(
    desk: &Desk,
    operation: &'static Operation,
    (head, body): (&Parts, Body),
    parts: Vec<(String, String)>,
    arrival: &Arrival,
) -> Result<Answer, Refusal> {
    let (control, headers) = (&desk.control, &head.headers);
    let shown = login::shown(headers, desk.is_tls);
    let mut caller = match (operation.access, &shown) {
        (Access::Open, _) => Caller::nobody(),
        (_, Some(shown)) => control.caller(shown.secret.reveal()).await?,
        (_, None) => control.caller("").await?,
    };
    caller.address = Some(arrival.peer.to_string());
    caller.request = Some(arrival.id.clone());
    let needs_cookie = operation.access != Access::Open;
    login::same_site(&head.method, headers, shown.as_ref().filter(|_| needs_cookie))?;
    if let Some((name, _)) = parts.iter().find(|(_, value)| !is_name(value)) {
        let message =
            "up to 63 small letters, digits, `-` and `_`, beginning with a letter or digit";
        return Err(Refusal::malformed(format!("{{{name}}}"), message));
    }
    let workspace = match parts.iter().find(|(name, _)| name == "workspace") {
        Some((_, name)) => control.workspace_find(&caller, name).await?.id,
        None => String::new(),
    };
    if let Access::Needs(permission) = operation.access {
        caller.must(permission, Some(&*workspace).filter(|it| !it.is_empty()))?;
    }
    let query = Query::read(head.uri.query().unwrap_or_default(), operation.query)?;
    let goes = match operation.is_conditional {
        true => precondition::if_match(headers)?,
        false => Goes::ByAny,
    };
    let body = match operation.body {
        Some(_) if operation.is_body_optional && is_empty(&body) => {
            Value::Object(serde_json::Map::new())
        }
        Some(_) => body::parse(&body::take(headers, body, operation.body_max).await?)?,
        None => Value::Null,
    };
    let turn = Turn::take(control, &caller, operation, (head, &body)).await?;
    let turn = match turn {
        Either::Done(answer) => return Ok(answer),
        Either::Begins(turn) => turn,
    };
    let call = Call {
        control: control.clone(),
        clock: desk.clock.clone(),
        caller,
        shown,
        peer: arrival.peer,
        is_tls: desk.is_tls,
        workspace,
        path: head.uri.path().to_owned(),
        parts,
        query,
        goes,
        body,
        is_private: operation.is_private,
    };
    let done = turn.end((operation.handler)(call).await).await;
    // What is wrong with a request without a body is wrong with its query.
    done.map_err(|refusal| if operation.body.is_none() { refusal.in_query() } else { refusal })
}

fn is_empty(body: &Body) -> bool {
    http_body::Body::size_hint(body).exact() == Some(0)
}

/// Whether a part of a path could be the name of anything.
fn is_name(text: &str) -> bool {
    let is_plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'_');
    let begins = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    begins && text.len() <= 63 && text.bytes().all(is_plain)
}

fn told(head: &Parts, answer: Answer) -> Response<Body> {
    let Answer { mut status, body, tag, location, cookie } = answer;
    let mut bytes = body.map(|body| body.to_string());
    let is_known = tag.as_deref().is_some_and(|tag| precondition::has(&head.headers, tag));
    if is_known && matches!(head.method, Method::GET | Method::HEAD) {
        (status, bytes) = (StatusCode::NOT_MODIFIED, None);
    }
    let has_body = bytes.is_some();
    let mut told = Response::new(Full::from(bytes.unwrap_or_default())).into_response();
    *told.status_mut() = status;
    let headers = told.headers_mut();
    if has_body {
        headers.insert(CONTENT_TYPE, JSON);
    }
    if let Some(tag) = tag.and_then(|tag| HeaderValue::try_from(tag).ok()) {
        headers.insert(ETAG, tag);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    }
    if let Some(location) = location.and_then(|it| HeaderValue::try_from(it).ok()) {
        headers.insert(LOCATION, location);
    }
    if let Some(cookie) = cookie {
        headers.insert(SET_COOKIE, cookie);
    }
    told
}
