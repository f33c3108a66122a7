//! Serves HTTP/1 (RFC 9112): one request after the other, each with the answer that follows from it and
//! nothing from anywhere else. The crate `http1` reads and writes the bytes; here they come and go.
//!
//! A connection is one task. While the spine works on a request, the task relays informational answers
//! and watches whether the client is still there; the body of the request is read by whoever wants it,
//! and at no other time.

mod answer;
mod pace;
mod tunnel;
mod wire;

use crate::admit::{Arrival, strip_hop_by_hop};
use crate::connection::{Ending, Stream, age_s};
use crate::gateway::Worker;
use crate::serve::serve;
use ::http1::{BadHead, Decoder, Length, Refusal, RequestHead, Sending, Version};
use answer::Facts;
use base::Alarm;
use base::buffers::{Outbox, poll_fill, release};
use base::caps::{
    DRAIN_BYTES_MAX, DRAIN_TIMEOUT_S, HALF_CLOSED_TIMEOUT_S, HEAD_TIMEOUT_S, IDLE_TIMEOUT_S,
    LAST_REQUEST_TIMEOUT_MS, LINGER_TIMEOUT_S, LINGER_TOTAL_S, WRITE_TIMEOUT_S,
};
use bytes::BytesMut;
use http::StatusCode;
use http::header::{HOST, HeaderValue};
use http::uri::PathAndQuery;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use traffic::exchange::Connection;
use traffic::head::RequestHead as Head;
use traffic::{Body, BoxFuture, Headers, Informational, Interim, Response};
use wire::{RequestBody, Shared, Wire, lock};

/// What the client's side of a connection has come to say.
type Asked = Result<RequestHead, Box<BadHead>>;

/// A client's connection.
struct Client<I: Stream> {
    worker: Arc<Worker>,
    connection: Arc<Connection>,
    wire: Shared<I>,
    out: Outbox,
    /// Nothing that was written is held back by TLS.
    is_flushed: bool,
    interim: Interim,
    /// Set while a head, a write or the end of the connection is waited for.
    alarm: Alarm,
    /// Set while nothing more can come from the client.
    gone: Alarm,
    /// Nothing was asked yet.
    is_new: bool,
    /// The answer that comes after this second of the worker's is the last.
    old_at_s: u64,
}

/// Serves the requests of a connection until either side ends it. `input` was read already.
///
/// # Errors
/// What broke the connection off; requests under way are recorded all the same.
pub(crate) async fn serve_http1<I: Stream>(
    worker: Arc<Worker>,
    connection: Arc<Connection>,
    io: I,
    input: BytesMut,
    ending: &Ending,
) -> io::Result<()> {
    let old_at_s = worker.seconds() + age_s(connection.age_max_s);
    let mut client = Client {
        worker,
        connection,
        wire: Arc::new(Mutex::new(Wire::new(io, input))),
        out: Outbox::default(),
        is_flushed: true,
        interim: Interim::open(),
        alarm: Alarm::default(),
        gone: Alarm::default(),
        is_new: true,
        old_at_s,
    };
    while let Some(asked) = poll_fn(|cx| client.poll_head(ending, cx)).await? {
        let goes_on = client.exchange(asked, ending).await;
        client.count_refusal();
        if !goes_on? {
            break;
        }
    }
    client.close().await
}

impl<I: Stream> Client<I> {
    /// The head of the next request; nothing when there is none to come.
    fn poll_head(
        &mut self,
        ending: &Ending,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<Asked>>> {
        let wire = &mut *lock(&self.wire);
        loop {
            if !wire.input.is_empty() {
                let head = ::http1::request(&mut wire.scan, &mut wire.input).transpose();
                if let Some(head) = head {
                    self.alarm.clear();
                    self.is_new = false;
                    return Poll::Ready(Ok(Some(head)));
                }
            }
            if wire.is_eof {
                return Poll::Ready(Ok(None));
            }
            let was_idle = !self.is_new && wire.input.is_empty();
            match poll_fill(&mut wire.io, &mut wire.input, 1, cx) {
                Poll::Ready(Ok(count)) => {
                    wire.is_eof = count == 0;
                    if was_idle {
                        self.alarm.clear();
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if wire.input.is_empty() && ending.is_draining() => {
                    self.gone.start(Duration::from_millis(LAST_REQUEST_TIMEOUT_MS));
                    return self.gone.poll(cx).map(|()| Ok(None));
                }
                Poll::Pending => {
                    let limit_s = if was_idle { IDLE_TIMEOUT_S } else { HEAD_TIMEOUT_S };
                    self.alarm.start(Duration::from_secs(limit_s));
                    ready!(self.alarm.poll(cx));
                    if !was_idle {
                        self.worker.gateway.metrics.refused("head_timeout");
                    }
                    return Poll::Ready(Ok(None));
                }
            }
        }
    }

    /// Answers one request. Says whether the connection can serve another. The futures are boxed, so that
    /// an idle connection does not hold the room that a request takes, and that the spine's is not moved again.
    fn exchange<'a>(
        &'a mut self,
        asked: Asked,
        ending: &'a Ending,
    ) -> BoxFuture<'a, io::Result<bool>> {
        let facts = Facts::of(&asked);
        let arrival = self.arrival(asked);
        let serving = Box::pin(serve(Arc::clone(&self.worker), &self.connection, arrival));
        Box::pin(self.answer(serving, facts, ending))
    }

    async fn answer(
        &mut self,
        serving: Pin<Box<impl Future<Output = Response> + Send>>,
        mut facts: Facts,
        ending: &Ending,
    ) -> io::Result<bool> {
        let mut response = self.response(serving, &mut facts).await?;
        if response.status == StatusCode::SWITCHING_PROTOCOLS {
            match self.switch(response).await? {
                Ok(switched) => return self.tunnel(switched, &facts).await,
                Err(refused) => response = refused,
            }
        }
        facts.keeps_alive &= !ending.is_leaving() && self.can_go_on(&facts);
        facts.keeps_alive &= self.worker.seconds() < self.old_at_s;
        let (mut body, keeps_alive) = answer::begin(response, &facts, self.out.small());
        lock(&self.wire).ends_answer = body.ends_with_connection();
        let sent = poll_fn(|cx| self.poll_send(&mut body, cx)).await;
        if sent.is_ok() {
            body.finish();
        }
        drop(body);
        sent?;
        lock(&self.wire).ends_answer = false;
        if !keeps_alive {
            return Ok(false);
        }
        let is_drained = lock(&self.wire).body.is_done() || self.drain().await;
        let wire = &mut *lock(&self.wire);
        release(&mut wire.input);
        Ok(is_drained && wire.refusal.is_none())
    }

    /// Counts a body that broke the rules.
    fn count_refusal(&self) {
        if let Some(refusal) = lock(&self.wire).refusal {
            self.worker.gateway.metrics.refused(refusal.name());
        }
    }

    /// What the spine gets of a request.
    fn arrival(&self, asked: Asked) -> Arrival {
        let mut wire = lock(&self.wire);
        let mut upgrade = None;
        let (head, length, refusal) = match asked {
            Err(bad) => (self.refused(&bad), Length::None, Some(bad.refusal)),
            Ok(asked) => {
                let has_body = !matches!(asked.length, Length::None | Length::Exact(0));
                let is_rash = asked.upgrades && !has_body && !wire.input.is_empty();
                let refusal = is_rash.then_some(Refusal::BytesAfterUpgrade);
                if asked.upgrades && !has_body && !is_rash {
                    upgrade = tunnel::wish(&asked, &self.wire);
                }
                let authority = asked.target.authority.or_else(|| asked.headers.get(HOST).cloned());
                let head = Head {
                    method: asked.method,
                    scheme: self.connection.scheme,
                    host: Arc::from(""),
                    authority: authority.unwrap_or_else(|| HeaderValue::from_static("")),
                    target: asked.target.path_and_query,
                    version: asked.version.into(),
                    headers: asked.headers,
                };
                (head, asked.length, refusal)
            }
        };
        wire.body = Decoder::new(length);
        let has_body = !wire.body.is_done();
        drop(wire);
        if let Some(refusal) = refusal {
            self.worker.gateway.metrics.refused(refusal.name());
        }
        Arrival {
            head,
            body: if has_body { Body::stream(RequestBody::new(&self.wire)) } else { Body::empty() },
            interim: self.interim.clone(),
            upgrade,
            refused: refusal.map(|refusal| Box::new(refusal.fault())),
        }
    }

    /// The head of a request that could not be read, for the log.
    fn refused(&self, bad: &BadHead) -> Head {
        Head {
            method: bad.method.clone().unwrap_or_default(),
            scheme: self.connection.scheme,
            host: Arc::from(""),
            authority: bad.host.clone().unwrap_or_else(|| HeaderValue::from_static("")),
            target: bad.target.clone().unwrap_or_else(|| PathAndQuery::from_static("/")),
            version: bad.version.unwrap_or(Version::Http11).into(),
            headers: Headers::new(),
        }
    }

    /// Has the spine answer, and meanwhile keeps the client informed and in sight.
    async fn response(
        &mut self,
        mut serving: Pin<Box<impl Future<Output = Response> + Send>>,
        facts: &mut Facts,
    ) -> io::Result<Response> {
        poll_fn(|cx| {
            let answered = serving.as_mut().poll(cx);
            self.inform(facts);
            if let Poll::Ready(response) = answered {
                return Poll::Ready(Ok(response));
            }
            if let Poll::Ready(Err(error)) = self.poll_out(cx) {
                return Poll::Ready(Err(error));
            }
            self.poll_gone(cx).map(|gone| gone.map(|never| match never {}))
        })
        .await
    }

    /// Passes informational answers on (RFC 9110, 15.2); HTTP/1.0 has none.
    fn inform(&mut self, facts: &mut Facts) {
        for Informational { status, headers } in self.interim.take() {
            if facts.version == Version::Http11 && self.out.has_room() {
                let mut headers = headers;
                strip_hop_by_hop(&mut headers);
                facts.has_continued |= status == StatusCode::CONTINUE;
                answer::informational(self.out.small(), status, &headers);
            }
        }
    }

    /// Writes what there is, to its last byte.
    ///
    /// # Errors
    /// When the client takes nothing for too long.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.out.is_empty() && self.is_flushed {
            return Poll::Ready(Ok(()));
        }
        let (mut wire, mut written) = (lock(&self.wire), 0);
        let polled = match self.out.poll_write(&mut wire.io, &mut written, cx) {
            Poll::Ready(Ok(())) => Pin::new(&mut wire.io).poll_flush(cx),
            unfinished => unfinished,
        };
        drop(wire);
        self.is_flushed = polled.is_ready();
        if written > 0 || polled.is_ready() {
            self.alarm.clear();
        }
        if polled.is_pending() {
            self.alarm.start(Duration::from_secs(WRITE_TIMEOUT_S));
            ready!(self.alarm.poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
    }

    /// Ready when the client is gone, or sends what nobody will read. One that has only closed its sending side cannot be told from
    /// one that is gone, so it is waited for a little while.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Infallible>> {
        let mut wire = lock(&self.wire);
        if let Err(error) = wire.poll_ahead(cx) {
            return Poll::Ready(Err(error));
        }
        let can_come = !wire.is_eof || !wire.body.is_done();
        if can_come && wire.refusal.is_none() {
            return Poll::Pending;
        }
        self.gone.start(Duration::from_secs(HALF_CLOSED_TIMEOUT_S));
        self.gone.poll(cx).map(|()| Err(io::ErrorKind::ConnectionAborted.into()))
    }

    /// Sends an answer, as fast as the client takes it.
    fn poll_send(&mut self, body: &mut Sending, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let is_waiting = body.gather(&mut self.out, cx);
            if self.poll_out(cx)?.is_pending() {
                return self.poll_blocked(body, cx);
            }
            if let Some(cut) = body.cut() {
                return Poll::Ready(Err(io::Error::other(cut.to_string())));
            }
            if body.is_done() {
                return Poll::Ready(Ok(()));
            }
            if is_waiting {
                return self.poll_gone(cx).map(|gone| gone.map(|never| match never {}));
            }
        }
    }

    /// While the client takes nothing the request goes on, and as long as it does the client is not given up: it may
    /// be one that reads when all is sent.
    fn poll_blocked(&mut self, body: &mut Sending, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let before = lock(&self.wire).taken;
        if let Poll::Ready(Err(error)) = body.poll_drive(cx) {
            return Poll::Ready(Err(io::Error::other(error)));
        }
        if lock(&self.wire).taken != before {
            self.alarm.set(Duration::from_secs(WRITE_TIMEOUT_S));
        }
        Poll::Pending
    }

    /// Whether the rest of the request is worth reading, so that the connection can serve on.
    fn can_go_on(&self, facts: &Facts) -> bool {
        let wire = lock(&self.wire);
        if wire.body.is_done() {
            return true;
        }
        // Who waits to be told to go on, and never is, may send its body or another request.
        let will_come = !facts.expects_continue || facts.has_continued;
        let is_small = wire.body.hint().is_some_and(|left| left <= DRAIN_BYTES_MAX);
        wire.refusal.is_none() && will_come && is_small
    }

    /// Reads what is left of a body that nobody wants. Says whether it came to its end.
    async fn drain(&mut self) -> bool {
        let mut left = DRAIN_BYTES_MAX;
        self.alarm.set(Duration::from_secs(DRAIN_TIMEOUT_S));
        let is_drained = poll_fn(|cx| {
            loop {
                let frame = match lock(&self.wire).poll_body(cx) {
                    Poll::Pending => return self.alarm.poll(cx).map(|()| false),
                    Poll::Ready(frame) => frame,
                };
                match frame {
                    None => return Poll::Ready(true),
                    Some(Err(_)) => return Poll::Ready(false),
                    Some(Ok(frame)) => {
                        let count = frame.data_ref().map_or(0, |data| data.len() as u64);
                        let Some(rest) = left.checked_sub(count) else {
                            return Poll::Ready(false);
                        };
                        left = rest;
                    }
                }
            }
        })
        .await;
        self.alarm.clear();
        is_drained
    }

    /// Ends the connection so that the client can read all that was sent (RFC 9112, 9.6): first our
    /// side; then what the client still sends is taken and thrown away for a while, for a system that
    /// is sent data it will not take tells the client to forget what it has not read.
    async fn close(&mut self) -> io::Result<()> {
        self.alarm.set(Duration::from_secs(LINGER_TIMEOUT_S));
        poll_fn(|cx| {
            let wire = &mut *lock(&self.wire);
            match Pin::new(&mut wire.io).poll_shutdown(cx) {
                Poll::Pending => self.alarm.poll(cx).map(Ok),
                ended => ended,
            }
        })
        .await?;
        self.gone.set(Duration::from_secs(LINGER_TOTAL_S));
        poll_fn(|cx| {
            let wire = &mut *lock(&self.wire);
            while !wire.is_eof && self.gone.poll(cx).is_pending() {
                wire.input.clear();
                match poll_fill(&mut wire.io, &mut wire.input, 1, cx) {
                    Poll::Ready(Ok(count)) => {
                        wire.is_eof = count == 0;
                        self.alarm.set(Duration::from_secs(LINGER_TIMEOUT_S));
                    }
                    Poll::Ready(Err(_)) => break,
                    Poll::Pending => return self.alarm.poll(cx),
                }
            }
            Poll::Ready(())
        })
        .await;
        Ok(())
    }
}
