//! A tunnel over HTTP/1.1 (RFC 9110, 7.8): how it is asked for, how one knows that the target agreed, and the
//! bytes of both directions after that.

use crate::http1::Http1;
use crate::reach::Reach;
use crate::target::Seat;
use ::http1::{ResponseHead, Sending};
use base::buffers::{poll_fill, release};
use base::caps::COPY_BYTES_MAX;
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite as _;
use traffic::body::{BodyError, Duplex};
use traffic::upgrade::{WEBSOCKET, websocket_accept, websocket_key};
use traffic::{Body, Headers};

/// What a target is asked to switch to.
pub(crate) struct Wanted {
    protocol: HeaderValue,
    /// What proves that the answer was made for this request, if the protocol has that.
    accept: Option<HeaderValue>,
    /// The client's bytes, for when it has switched.
    pub(crate) body: Body,
}

impl Wanted {
    /// Adds to the headers of a request what asks for it.
    pub(crate) fn ask(protocol: HeaderValue, body: Body, headers: &mut Headers) -> Self {
        let mut accept = None;
        if protocol == WEBSOCKET {
            let key = websocket_key();
            accept = Some(websocket_accept(&key));
            headers.insert(SEC_WEBSOCKET_KEY, key);
        }
        headers.insert(UPGRADE, protocol.clone());
        Self { protocol, accept, body }
    }

    /// Takes away what [`Wanted::ask`] has added.
    pub(crate) fn forget(self, headers: &mut Headers) -> (HeaderValue, Body) {
        headers.remove(UPGRADE);
        headers.remove(SEC_WEBSOCKET_KEY);
        (self.protocol, self.body)
    }

    /// Looks whether a 101 is what was asked for, and takes away what concerns this connection only.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn check(&self, head: &mut ResponseHead) -> Result<(), &'static str> {
        let headers = &mut head.headers;
        if !names(headers.all(UPGRADE), self.protocol.as_bytes()) {
            return Err("the target switched to another protocol than it was asked to");
        }
        if !names(headers.all(CONNECTION), b"upgrade") {
            return Err("the target's 101 lacks `Connection: upgrade`");
        }
        let proof = headers.remove(SEC_WEBSOCKET_ACCEPT);
        if self.accept.is_some() && proof != self.accept {
            return Err("the target's `Sec-WebSocket-Accept` does not answer the key");
        }
        Ok(())
    }
}

/// Whether one of the lists has this member.
fn names<'a>(mut lists: impl Iterator<Item = &'a HeaderValue>, member: &[u8]) -> bool {
    lists.any(|list| {
        let mut members = list.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        members.any(|own| own.eq_ignore_ascii_case(member))
    })
}

/// The bytes that come from the target. It drives those of the client as well, until both have ended.
pub(crate) struct Tunnel {
    link: Option<Box<Http1>>,
    /// What comes from the client, until all of it was sent and the target told so.
    upload: Option<Sending>,
    /// The target sends nothing more.
    has_ended: bool,
    reach: Arc<Reach>,
    worker: usize,
    seat: Option<Seat>,
}

impl Tunnel {
    /// On a connection whose target has switched.
    pub(crate) fn new(
        link: Box<Http1>,
        upload: Option<Sending>,
        reach: &Arc<Reach>,
        worker: usize,
        seat: Option<Seat>,
    ) -> Self {
        let reach = Arc::clone(reach);
        Self { link: Some(link), upload, has_ended: false, reach, worker, seat }
    }

    /// Lets go of everything.
    fn end(&mut self) {
        self.link = None;
        self.upload = None;
        self.seat = None;
    }

    /// Sends on what comes from the client. Ready when nothing more will.
    ///
    /// # Errors
    /// When the client broke off.
    fn send_on(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let (Some(link), Some(upload)) = (&mut self.link, &mut self.upload) else {
            return Poll::Ready(Ok(()));
        };
        loop {
            let is_hungry = upload.gather(&mut link.out, cx);
            let mut sent = link.out.poll_write(&mut link.io, &mut 0, cx);
            if sent.is_ready()
                && let Some(cut) = upload.cut()
            {
                let why = cut.source().map_or_else(|| cut.to_string(), ToString::to_string);
                return Poll::Ready(Err(BodyError::Cut(why.into())));
            }
            let is_done = upload.is_done();
            if matches!(sent, Poll::Ready(Ok(()))) {
                sent = match (is_done, is_hungry) {
                    (true, _) => Pin::new(&mut link.io).poll_shutdown(cx),
                    (false, true) => Pin::new(&mut link.io).poll_flush(cx),
                    (false, false) => continue,
                };
            }
            // A target that takes nothing more may still have something to say.
            let is_over = matches!(sent, Poll::Ready(Err(_))) || (is_done && sent.is_ready());
            if !is_over {
                return Poll::Pending;
            }
            self.upload = None;
            link.out.clear();
            return Poll::Ready(Ok(()));
        }
    }

    fn fail(&mut self, error: BodyError) -> BodyError {
        self.end();
        error
    }
}

impl Duplex for Tunnel {
    fn poll_drive(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let this = &mut *self;
        let driven = ready!(this.send_on(cx)).map_err(|error| this.fail(error));
        if this.has_ended {
            this.end();
        }
        Poll::Ready(driven)
    }
}

impl HttpBody for Tunnel {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Poll::Ready(Err(error)) = this.send_on(cx) {
            return Poll::Ready(Some(Err(this.fail(error))));
        }
        let Some(link) = this.link.as_mut().filter(|_| !this.has_ended) else {
            return Poll::Ready(None);
        };
        if link.input.is_empty() {
            match poll_fill(&mut link.io, &mut link.input, COPY_BYTES_MAX, cx) {
                Poll::Pending => {
                    release(&mut link.input);
                    return Poll::Pending;
                }
                Poll::Ready(Ok(0)) => {
                    this.has_ended = true;
                    return Poll::Ready(None);
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => {
                    this.reach.cell.metrics.failures.add(this.worker, 1);
                    let error = BodyError::Cut(format!("the target broke off: {error}").into());
                    return Poll::Ready(Some(Err(this.fail(error))));
                }
            }
        }
        Poll::Ready(Some(Ok(Frame::data(link.input.split().freeze()))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}
