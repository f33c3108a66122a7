//! Stage five: ask an upstream. Waits until it lets the request in, picks a target, sends, and tries again
//! elsewhere when that is safe.

mod attempts;
mod race;

use crate::gateway::Worker;
use crate::{admit, grpc, mirror, tunnel};
use base::caps::REPEAT_BODY_BYTES_MAX;
use bytes::Bytes;
use http::header::{FORWARDED, HOST, HeaderName};
use http::{HeaderMap, HeaderValue};
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::future::Future as _;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Sleep;
use traffic::body::BodyError;
use traffic::exchange::Exchange;
use traffic::headers::may_trail;
use traffic::pace::{Direction, paced};
use traffic::snapshot::Reserved;
use traffic::upstream::{Entry, Peers, Upstream};
use traffic::{Body, Fault, FaultCode, Headers, Request, Response, Stage};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const CONSUMER: HeaderName = HeaderName::from_static("x-yett-consumer");
/// Names the request in logs on both sides.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Headers that [`outgoing`] adds, `Host` included.
const ADDED: usize = 9;

/// Sends the request to the route's upstream and returns the answer's head, its body streaming on.
///
/// # Errors
/// The last attempt's fault, or `total_timeout`.
pub async fn send(worker: &Arc<Worker>, exchange: &mut Exchange) -> Result<Response, Fault> {
    let own = || exchange.matched.as_ref().and_then(|matched| matched.route.upstream.clone());
    let upstream = exchange.upstream.clone().or_else(own);
    let Some(upstream) = upstream else {
        let fault = Fault::new(Stage::Forward, FaultCode::RouteBroken);
        return Err(fault.cause("the route has no upstream and no policy answered"));
    };
    exchange.record.upstream = Some(Arc::clone(upstream.name()));
    exchange.timeouts = exchange.timeouts.or(upstream.timeouts());
    grpc::take_timeout(worker, exchange)?;
    let plan = tunnel::plan(exchange);
    if plan.is_none() {
        watch_body(exchange);
    }
    if !exchange.paces.is_empty() {
        // Outermost, for who is kept waiting here is not slow.
        let body = std::mem::take(&mut exchange.body);
        exchange.body = paced(body, &exchange.paces, Direction::Up);
    }
    // What passes through a tunnel is a conversation, which cannot be had twice.
    if plan.is_none() && !exchange.mirrors.is_empty() {
        mirror::begin(worker, exchange);
    }
    if plan.is_none() && exchange.request.method.is_idempotent() {
        // Outermost, for what a filter has seen it would not see again.
        let gateway = &worker.gateway;
        let body = std::mem::take(&mut exchange.body);
        let (body, is_unkept) = body.keep_within(REPEAT_BODY_BYTES_MAX, &gateway.memory);
        exchange.body = body;
        if is_unkept {
            gateway.metrics.overload().unkept.fetch_add(1, Ordering::Relaxed);
        }
    }
    let began = worker.gateway.clock.now();
    let answer = match time_left(worker, exchange) {
        None => admitted(worker, &*upstream, exchange).await,
        Some(left) => {
            let admitted = admitted(worker, &*upstream, exchange);
            match tokio::time::timeout(left, admitted).await {
                Ok(answer) => answer,
                Err(_) => Err(Fault::new(Stage::Forward, FaultCode::TotalTimeout)),
            }
        }
    };
    // From here on only the answer's body keeps the request's place, if anything does.
    if let Some(pass) = exchange.attempts.pass.take() {
        pass.settle(answer.as_ref().map(|response| response.status));
    }
    let now = worker.gateway.clock.now();
    exchange.record.upstream_duration = now.saturating_duration_since(began);
    let spent = now.saturating_duration_since(exchange.arrived);
    let answer = tunnel::settle(plan, answer?, spent)?;
    Ok(grpc::watch(worker, exchange, answer))
}

/// Counts and times the request body from here on, if there is one.
fn watch_body(exchange: &mut Exchange) {
    if exchange.body.is_empty() {
        return;
    }
    let bytes = Arc::new(AtomicU64::new(0));
    exchange.record.bytes_in = Some(Arc::clone(&bytes));
    let inner = std::mem::take(&mut exchange.body);
    let idle = exchange.timeouts.idle;
    let reserved = exchange.reserved.clone();
    exchange.body = Body::stream(ClientBody { inner, bytes, idle, silence: None, reserved });
}

/// What is left of the total time limit.
pub(crate) fn time_left(worker: &Worker, exchange: &Exchange) -> Option<Duration> {
    let total = exchange.timeouts.total?;
    let spent = worker.gateway.clock.now().saturating_duration_since(exchange.arrived);
    Some(total.saturating_sub(spent))
}

/// Waits until the upstream lets the request in.
///
/// # Errors
/// `breaker_open`, `upstream_busy` or `upstream_overloaded`.
pub(crate) async fn enter(upstream: &dyn Upstream, exchange: &mut Exchange) -> Result<(), Fault> {
    exchange.attempts.pass = match upstream.enter(exchange) {
        Entry::Open => None,
        Entry::Pass(pass) => Some(pass),
        Entry::Queue(turn) => Some(turn.await?),
        Entry::Refused(fault) => return Err(*fault),
    };
    Ok(())
}

/// Waits until the upstream lets the request in, then asks it.
async fn admitted(
    worker: &Worker,
    upstream: &dyn Upstream,
    exchange: &mut Exchange,
) -> Result<Response, Fault> {
    enter(upstream, exchange).await?;
    attempts::send(worker, upstream, exchange).await
}

/// Whom a target is told of that wants to know ahead of the request. Who came through a trusted proxy has
/// a port that nobody knows.
pub(crate) fn peers(exchange: &Exchange) -> Peers {
    let (peer, local) = (exchange.connection.peer, exchange.connection.local);
    let client = exchange.client();
    let port = if client == peer.ip().to_canonical() { peer.port() } else { 0 };
    Peers { client: SocketAddr::new(client, port), local }
}

/// The request as the backend will see it. Framing is rebuilt from the body, never copied.
pub(crate) fn outgoing(exchange: &Exchange, body: Body) -> Request {
    let head = &exchange.request;
    let mut headers = Headers::with_capacity(head.headers.len() + ADDED);
    headers.append(HOST, head.authority.clone());
    let forwarded = exchange.forwarded.as_deref();
    let told = forwarded.and_then(|forwarded| forwarded.told.as_ref());
    let is_ours = |name: &HeaderName| {
        is_replaced(name)
            || (*name == FORWARDED && told.is_some())
            || (*name == CONSUMER && exchange.consumer.is_some())
    };
    for (name, value) in head.headers.iter().filter(|(name, _)| !is_ours(name)) {
        headers.append(name.clone(), value.clone());
    }
    let way = forwarded.map_or(&exchange.connection.peer_header, |forwarded| &forwarded.way);
    headers.append(FORWARDED_FOR, way.clone());
    headers.append(FORWARDED_PROTO, HeaderValue::from_static(head.scheme.as_str()));
    let host = forwarded.and_then(|forwarded| forwarded.host.as_ref()).unwrap_or(&head.authority);
    headers.append(FORWARDED_HOST, host.clone());
    if let Some(told) = told {
        headers.append(FORWARDED, told.clone());
    }
    headers.append(REQUEST_ID, exchange.id.header());
    // What the backend does is part of the attempt, where that has a span of its own.
    let attempt = exchange.record.marks.as_ref().filter(|marks| marks.is_traced);
    let traceparent = match attempt.and_then(|marks| marks.tries.last()) {
        Some(attempt) => exchange.trace.header_for(attempt.span),
        None => exchange.trace.header(),
    };
    headers.append(TRACEPARENT, traceparent);
    if let Some(consumer) = &exchange.consumer {
        headers.append(CONSUMER, consumer.header());
    }
    if let Some(rpc) = &exchange.rpc {
        rpc.tell_timeout(&mut headers);
    }
    let protocol = tunnel::ask(exchange, &mut headers);
    Request { method: head.method.clone(), target: head.target.clone(), headers, body, protocol }
}

/// Whether a header of the request has no place beside what [`outgoing`] tells in its stead. Looked at once for each,
/// which costs less than looking along all of them for each that is added.
fn is_replaced(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "content-length"
            | "traceparent"
            | "x-forwarded-for"
            | "x-forwarded-host"
            | "x-forwarded-proto"
            | "x-request-id"
    )
}

/// Removes from trailers what has no place there, and what `is_lie`: many programs put trailers to the
/// headers.
pub(crate) fn strip_trailers(trailers: &mut HeaderMap, is_lie: impl Fn(&HeaderName) -> bool) {
    let is_bad = |name: &&HeaderName| !may_trail(name.as_str()) || is_lie(name);
    let bad: Vec<HeaderName> = trailers.keys().filter(is_bad).cloned().collect();
    for name in bad {
        trailers.remove(name);
    }
}

/// A request body on its way to the upstream: counted, and given up when the client is silent for too
/// long. The clock runs only while the client is waited for, not while the upstream is.
struct ClientBody {
    inner: Body,
    bytes: Arc<AtomicU64>,
    idle: Option<Duration>,
    silence: Option<Pin<Box<Sleep>>>,
    reserved: Option<Arc<Reserved>>,
}

impl HttpBody for ClientBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Poll::Ready(mut frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            self.silence = None;
            if let Some(Ok(frame)) = &mut frame {
                if let Some(data) = frame.data_ref() {
                    self.bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
                } else if let Some(trailers) = frame.trailers_mut() {
                    let is_reserved = |name: &HeaderName| {
                        self.reserved.as_ref().is_some_and(|reserved| {
                            admit::is_one_of(name, &reserved.spoken_for)
                                || admit::is_one_of(name, &reserved.credentials)
                        })
                    };
                    strip_trailers(trailers, |name| admit::is_identity(name) || is_reserved(name));
                }
            }
            return Poll::Ready(frame);
        }
        let Some(idle) = self.idle else { return Poll::Pending };
        let silence = self.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
        silence.as_mut().poll(cx).map(|()| Some(Err(BodyError::Idle)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
