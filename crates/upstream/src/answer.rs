//! An HTTP/2 answer's body on its way back. It holds the target's place and the stream until it ends.

use crate::pool::Stream;
use crate::reach::Reach;
use crate::target::Seat;
use crate::upload::Upload;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Sleep, sleep};
use traffic::Body;
use traffic::body::BodyError;

/// What an answer occupies until it ends.
pub(crate) struct Occupied {
    pub(crate) reach: Arc<Reach>,
    pub(crate) worker: usize,
    pub(crate) stream: Stream,
    /// Dropping it stops what is left of the request.
    pub(crate) _upload: Option<Upload>,
    pub(crate) seat: Option<Seat>,
}

impl Occupied {
    /// The answer has ended well.
    fn finish(self) {
        drop(self.stream);
        drop(self.seat);
    }
}

/// The body.
struct Answer {
    inner: Option<Incoming>,
    /// Longest silence.
    idle: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
    is_waiting: bool,
    occupied: Option<Occupied>,
}

/// Wraps the body of an answer; one that has none ends here.
pub(crate) fn wrap(inner: Incoming, idle: Option<Duration>, occupied: Occupied) -> Body {
    if inner.is_end_stream() {
        occupied.finish();
        return Body::empty();
    }
    Body::stream(Answer {
        inner: Some(inner),
        idle,
        timer: None,
        is_waiting: false,
        occupied: Some(occupied),
    })
}

impl Answer {
    fn finish(&mut self) {
        self.inner = None;
        if let Some(occupied) = self.occupied.take() {
            occupied.finish();
        }
    }

    /// Gives the connection up.
    fn fail(&mut self, error: BodyError) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.inner = None;
        if let Some(occupied) = self.occupied.take() {
            occupied.reach.cell.metrics.failures.add(occupied.worker, 1);
        }
        Poll::Ready(Some(Err(error)))
    }

    /// Whether nothing came for too long. The timer starts with the first poll that finds nothing.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(idle) = self.idle else { return false };
        let timer = match &mut self.timer {
            None => self.timer.insert(Box::pin(sleep(idle))),
            Some(timer) => {
                if !self.is_waiting {
                    timer.set(sleep(idle));
                }
                timer
            }
        };
        self.is_waiting = true;
        timer.as_mut().poll(cx).is_ready()
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        match Pin::new(inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.is_waiting = false;
                let is_last = self.inner.as_ref().is_some_and(HttpBody::is_end_stream);
                if is_last || frame.is_trailers() {
                    self.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => self.fail(BodyError::Cut(Box::new(error))),
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Poll::Pending if self.is_late(cx) => self.fail(BodyError::Idle),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}
