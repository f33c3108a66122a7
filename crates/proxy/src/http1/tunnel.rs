//! A connection that becomes a tunnel (RFC 9110, 7.8): the last thing it does.

use crate::connection::Stream;
use crate::http1::Client;
use crate::http1::answer::{self, Facts};
use crate::http1::wire::{Raw, Shared, lock};
use ::http1::{RequestHead, Sending};
use http::StatusCode;
use http::header::{HeaderValue, UPGRADE};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use traffic::upgrade::{Upgrade, WEBSOCKET};
use traffic::{Body, Response};

/// What a request that asks for another protocol wants, if it is one that is tunnelled.
pub(super) fn wish<I: Stream>(asked: &RequestHead, wire: &Shared<I>) -> Option<Box<Upgrade>> {
    let is_known = asked.headers.all(UPGRADE).any(|list| {
        let mut names = list.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        names.any(|name| name.eq_ignore_ascii_case(WEBSOCKET.as_bytes()))
    });
    is_known.then(|| {
        Box::new(Upgrade {
            protocol: HeaderValue::from_static(WEBSOCKET),
            body: Body::tunnel(Raw::new(wire)),
            is_connect: false,
            terms: None,
        })
    })
}

impl<I: Stream> Client<I> {
    /// Has the connection become a tunnel, or returns a refusal to be answered in its place.
    ///
    /// # Errors
    /// When the client is gone.
    pub(super) async fn switch(
        &self,
        mut response: Response,
    ) -> io::Result<Result<Response, Response>> {
        // What the client has sent before it can have seen the answer is there now.
        poll_fn(|cx| Poll::Ready(lock(&self.wire).poll_ahead(cx))).await?;
        if lock(&self.wire).switch().is_ok() {
            return Ok(Ok(response));
        }
        // The body finds what is wrong, which is written down as the cause.
        let mut nobody = Context::from_waker(Waker::noop());
        drop(response.body.poll_drive(&mut nobody));
        Ok(Err(Response::new(StatusCode::BAD_REQUEST, Body::empty())))
    }

    /// Passes raw bytes in both directions, until both have ended. The connection can serve nothing after
    /// that.
    pub(super) async fn tunnel(&mut self, response: Response, facts: &Facts) -> io::Result<bool> {
        let mut body = answer::switch(response, facts.key.as_ref(), self.out.small());
        lock(&self.wire).ends_answer = true;
        poll_fn(|cx| self.poll_tunnel(&mut body, cx)).await?;
        lock(&self.wire).ends_answer = false;
        Ok(false)
    }

    fn poll_tunnel(&mut self, body: &mut Sending, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let is_waiting = body.gather(&mut self.out, cx);
            if self.poll_out(cx)?.is_pending() {
                return self.poll_blocked(body, cx);
            }
            if let Some(cut) = body.cut() {
                return Poll::Ready(Err(io::Error::other(cut.to_string())));
            }
            if body.is_done() {
                break;
            }
            if is_waiting {
                return Poll::Pending;
            }
        }
        // The target says nothing more, and the client is told so. It may still have something to say.
        let told = Pin::new(&mut lock(&self.wire).io).poll_shutdown(cx);
        let driven = body.poll_drive(cx);
        if told.is_pending() && !matches!(driven, Poll::Ready(Err(_))) {
            return Poll::Pending;
        }
        let driven = ready!(driven);
        Poll::Ready(driven.map_err(|error| io::Error::other(error.to_string())))
    }
}
