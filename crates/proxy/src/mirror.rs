//! Copies of requests, beside stage five: each is an exchange of its own without a client, sent once by a
//! task of this worker. Its answer is read and dropped, and nothing waits for it. A body is kept as it
//! passes to the real upstream, and the copy goes out when all of it has passed.

use crate::admit;
use crate::forward;
use crate::gateway::Worker;
use base::caps::MIRROR_ANSWER_BYTES_MAX;
use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, COOKIE, EXPECT, HeaderName, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderValue};
use http_body::Body as _;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use traffic::body::BodyFilter;
use traffic::exchange::Exchange;
use traffic::memory::Hold;
use traffic::mirror::Mirror;
use traffic::upstream::Call;
use traffic::{Body, Fault, Interim};

/// Tells a copy from the request it was made of.
const MIRRORED: HeaderName = HeaderName::from_static("x-yett-mirror");

/// Headers by which clients show who they are, apart from those that a policy has taken out.
const CREDENTIALS: [HeaderName; 7] = [
    AUTHORIZATION,
    COOKIE,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-auth-token"),
    HeaderName::from_static("dpop"),
    HeaderName::from_static("signature"),
    PROXY_AUTHORIZATION,
];

/// Makes the copies that policies have ordered of a request that is about to be forwarded.
pub(crate) fn begin(worker: &Arc<Worker>, exchange: &mut Exchange) {
    for mirror in std::mem::take(&mut exchange.mirrors) {
        let copy = Copy {
            worker: Arc::clone(worker),
            exchange: copied(worker, exchange, &mirror),
            mirror,
        };
        if exchange.body.is_empty() {
            copy.send(Body::empty(), None);
        } else {
            let gateway = &worker.gateway;
            let missing = exchange.body.size_hint().exact();
            let promised = missing.unwrap_or(0).min(copy.mirror.body_max as u64);
            let hold = match gateway.memory.ceiling() {
                0 => None,
                _ => gateway.memory.promise(promised),
            };
            if hold.is_none() && gateway.memory.ceiling() > 0 {
                gateway.metrics.overload().unkept.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            exchange.body.filter(Box::new(Tee {
                copy: Some(copy),
                kept: BytesMut::new(),
                hold,
                missing,
            }));
        }
    }
}

/// The same request as an exchange of its own.
fn copied(worker: &Worker, exchange: &Exchange, mirror: &Mirror) -> Box<Exchange> {
    let mut head = exchange.request.clone();
    // The whole body is there before the copy is sent.
    head.headers.remove(EXPECT);
    if !mirror.keeps_credentials {
        let own = exchange.reserved.as_ref().map(|reserved| &*reserved.credentials);
        let own = own.unwrap_or_default();
        head.headers.retain(|name, _| !CREDENTIALS.contains(name) && !admit::is_one_of(name, own));
        // Wherever else a policy of the route looks for them, such as the query.
        for entry in exchange.matched.iter().flat_map(|matched| matched.route.chain.entries()) {
            entry.policy.strip(&mut head);
        }
    }
    let connection = &exchange.connection;
    let mut copy = admit::arrive(worker, connection, head, Body::empty(), Interim::default(), None);
    copy.id = exchange.id;
    copy.trace = exchange.trace;
    copy.revision = Arc::clone(&exchange.revision);
    copy.matched.clone_from(&exchange.matched);
    copy.forwarded.clone_from(&exchange.forwarded);
    copy.consumer.clone_from(&exchange.consumer);
    copy.timeouts = mirror.upstream.timeouts();
    Box::new(copy)
}

/// A copy that is not sent yet.
struct Copy {
    worker: Arc<Worker>,
    exchange: Box<Exchange>,
    mirror: Mirror,
}

impl Copy {
    /// Sends it on a task of its own, which ends with the worker.
    fn send(mut self, body: Body, hold: Option<Hold>) {
        self.exchange.body = body;
        drop(tokio::spawn(async move {
            let Self { worker, exchange, mirror } = self;
            let id = exchange.id;
            let sent = tokio::time::timeout(mirror.timeout, attempt(exchange, &mirror)).await;
            let counter = match sent {
                Ok(Ok(())) => &mirror.metrics.sent,
                Ok(Err(fault)) => {
                    tracing::debug!(request_id = %id, %fault, "a mirrored request failed");
                    &mirror.metrics.failed
                }
                Err(_) => &mirror.metrics.failed,
            };
            counter.add(worker.index, 1);
            drop(hold);
        }));
    }
}

/// Sends the copy once and reads its answer.
async fn attempt(mut exchange: Box<Exchange>, mirror: &Mirror) -> Result<(), Fault> {
    forward::enter(&*mirror.upstream, &mut exchange).await?;
    let picked = mirror.upstream.pick(&exchange)?;
    let pass = exchange.attempts.pass.take();
    let body = std::mem::take(&mut exchange.body);
    let mut request = forward::outgoing(&exchange, body);
    request.headers.insert(MIRRORED, HeaderValue::from_static("1"));
    let peers = Some(forward::peers(&exchange));
    let (worker, timeouts) = (exchange.worker, exchange.timeouts);
    drop(exchange);
    let call = Call { worker, timeouts, peers, ..Call::default() };
    let answer = picked.target.send(call, request).await.map_err(|failed| failed.fault);
    if let Some(pass) = pass {
        pass.settle(answer.as_ref().map(|answer| answer.status));
    }
    let answer = answer?;
    read(answer.body).await;
    Ok(())
}

/// Reads an answer so that its connection can serve on; one that is too long is given up.
async fn read(mut body: Body) {
    let mut left = MIRROR_ANSWER_BYTES_MAX;
    while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        let Some(rest) = left.checked_sub(length) else { return };
        left = rest;
    }
}

/// Keeps a body as it passes.
struct Tee {
    /// Nothing once it was sent or given up.
    copy: Option<Copy>,
    kept: BytesMut,
    /// That much of the memory is held, until the copy is sent.
    hold: Option<Hold>,
    /// Bytes that are still to come, if that is known: who reads a body need not ask for its end then.
    missing: Option<u64>,
}

impl Tee {
    fn send(&mut self) {
        if let Some(copy) = self.copy.take() {
            let hold = self.hold.take();
            copy.send(Body::full(std::mem::take(&mut self.kept).freeze()), hold);
        }
    }
}

impl BodyFilter for Tee {
    fn on_data(&mut self, data: Bytes) -> Result<Bytes, Fault> {
        let Some(copy) = &self.copy else { return Ok(data) };
        if self.kept.len() + data.len() > copy.mirror.body_max {
            copy.mirror.metrics.too_large.add(copy.worker.index, 1);
            self.copy = None;
            self.kept = BytesMut::new();
            self.hold = None;
            return Ok(data);
        }
        if let Some(hold) = &mut self.hold {
            hold.add(data.len() as u64);
        }
        self.kept.extend_from_slice(&data);
        self.missing = self.missing.map(|missing| missing.saturating_sub(data.len() as u64));
        if self.missing == Some(0) {
            self.send();
        }
        Ok(data)
    }

    fn on_end(&mut self) -> Result<Bytes, Fault> {
        self.send();
        Ok(Bytes::new())
    }

    fn on_trailers(&mut self, trailers: HeaderMap) -> Result<HeaderMap, Fault> {
        self.send();
        Ok(trailers)
    }

    fn keeps_length(&self) -> bool {
        true
    }
}

impl Drop for Tee {
    fn drop(&mut self) {
        if let Some(copy) = &self.copy {
            copy.mirror.metrics.cut.add(copy.worker.index, 1);
        }
    }
}
