//! What a request still has to send, moved on by whoever waits for its answer: no task of its own.

use base::caps::STREAM_SEND_BUFFER_BYTES;
use bytes::Bytes;
use h2::{Reason, SendStream};
use http::header::{HeaderMap, HeaderName};
use http_body::Body as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use traffic::Body;
use traffic::body::BodyError;

/// The body of a request on its way. Dropping it before its end resets the stream.
pub(super) struct Upload {
    body: Body,
    stream: SendStream<Bytes>,
    /// What came of the body and the target has not taken yet.
    data: Bytes,
    is_touched: bool,
    /// The client was asked for more than it has sent.
    is_hungry: bool,
    /// Pieces that the target has taken.
    taken: u64,
}

impl Upload {
    pub(super) const fn new(body: Body, stream: SendStream<Bytes>) -> Self {
        Self { body, stream, data: Bytes::new(), is_touched: false, is_hungry: false, taken: 0 }
    }

    /// Whether the client is waited for, not the target.
    pub(super) const fn is_hungry(&self) -> bool {
        self.is_hungry
    }

    /// Pieces that the target has taken so far.
    pub(super) const fn taken(&self) -> u64 {
        self.taken
    }

    /// The body, if nothing was asked of it yet.
    pub(super) fn untouched(self) -> Option<Body> {
        (!self.is_touched).then_some(self.body)
    }

    /// Sends on as the target's windows open. Ready when all of it was taken, or the target wants no more: its
    /// answer tells which.
    ///
    /// # Errors
    /// Why the body broke off; the target has been told.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        loop {
            if !self.data.is_empty() {
                let Some(room) = std::task::ready!(self.poll_room(cx)) else {
                    return Poll::Ready(Ok(()));
                };
                let piece = self.data.split_to(room.min(self.data.len()));
                let is_last = self.data.is_empty() && self.body.is_end_stream();
                self.taken += 1;
                if self.stream.send_data(piece, is_last).is_err() || is_last {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            self.is_touched = true;
            let polled = Pin::new(&mut self.body).poll_frame(cx);
            self.is_hungry = polled.is_pending();
            match std::task::ready!(polled) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.data = data,
                    Err(frame) => {
                        let trailers =
                            without_connection(frame.into_trailers().unwrap_or_default());
                        return self.end(trailers);
                    }
                },
                None => return self.end(HeaderMap::new()),
                Some(Err(error)) => {
                    self.stream.send_reset(Reason::CANCEL);
                    return Poll::Ready(Err(error));
                }
            }
        }
    }

    /// How much the target takes now; none if it wants no more.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Option<usize>> {
        self.stream.reserve_capacity(self.data.len().min(STREAM_SEND_BUFFER_BYTES));
        let room = self.stream.capacity();
        if room > 0 {
            return Poll::Ready(Some(room));
        }
        self.stream.poll_capacity(cx).map(|room| room.and_then(Result::ok))
    }

    fn end(&mut self, trailers: HeaderMap) -> Poll<Result<(), BodyError>> {
        // Whether the target still listens, its answer tells.
        if trailers.is_empty() {
            self.stream.send_data(Bytes::new(), true).ok();
        } else {
            self.stream.send_trailers(trailers).ok();
        }
        Poll::Ready(Ok(()))
    }
}

/// Trailers without what concerns a connection (RFC 9113, 8.2.2).
fn without_connection(mut trailers: HeaderMap) -> HeaderMap {
    const BAD: [HeaderName; 5] = [
        http::header::CONNECTION,
        http::header::TE,
        http::header::TRANSFER_ENCODING,
        http::header::UPGRADE,
        HeaderName::from_static("keep-alive"),
    ];
    for name in BAD {
        trailers.remove(name);
    }
    trailers
}
