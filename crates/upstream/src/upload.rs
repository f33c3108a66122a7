//! A request body on its way to a target: whoever waits for the answer learns when it was sent, and
//! giving the answer up stops it.

use bytes::Bytes;
use http::Request;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;
use traffic::body::BodyError;
use traffic::{Body, Fault};

/// The view of a body on its way; dropping it stops the body.
pub(crate) struct Upload {
    sent: oneshot::Receiver<()>,
    state: State,
    progress: Arc<Progress>,
    keep: oneshot::Sender<()>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// There is more to come.
    Going,
    /// All of it was taken.
    Sent,
    /// The connection gave it up.
    GivenUp,
}

#[derive(Default)]
struct Progress {
    pieces: AtomicU64,
    /// The connection asked for more than the client has sent.
    is_hungry: AtomicBool,
    /// What the body itself failed with.
    fault: Mutex<Option<Fault>>,
}

/// The body that goes.
struct Watched {
    inner: Body,
    /// Bytes that are left, if their number is known.
    left: Option<u64>,
    sent: Option<oneshot::Sender<()>>,
    progress: Arc<Progress>,
    kept: Option<oneshot::Receiver<()>>,
}

impl Upload {
    /// Watches the body of a request, unless it is all there and goes at once.
    pub(crate) fn watch(request: &mut Request<Body>) -> Option<Self> {
        if request.body().copy().is_some() {
            return None;
        }
        let inner = std::mem::take(request.body_mut());
        let (sent, is_sent) = oneshot::channel();
        let (keep, kept) = oneshot::channel();
        let progress = Arc::new(Progress::default());
        *request.body_mut() = Body::stream(Watched {
            left: inner.size_hint().exact(),
            inner,
            sent: Some(sent),
            progress: Arc::clone(&progress),
            kept: Some(kept),
        });
        Some(Self { sent: is_sent, state: State::Going, progress, keep })
    }

    /// Waits until the body was sent, or given up by the connection. Says whether it went on: false
    /// means that the target took nothing for the time `idle` although there was something.
    pub(crate) async fn wait(&mut self, idle: Option<Duration>) -> bool {
        while self.state == State::Going {
            let before = self.progress.pieces.load(Ordering::Relaxed);
            let ended = match idle {
                None => Some((&mut self.sent).await),
                Some(idle) => timeout(idle, &mut self.sent).await.ok(),
            };
            match ended {
                Some(Ok(())) => self.state = State::Sent,
                Some(Err(_)) => self.state = State::GivenUp,
                None => {
                    let has_moved = self.progress.pieces.load(Ordering::Relaxed) != before;
                    if !has_moved && !self.progress.is_hungry.load(Ordering::Relaxed) {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// What the body itself failed with, if it did: HTTP/2 tells of a reset stream only.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.progress.fault.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Lets the body go on without being watched.
    pub(crate) fn release(self) {
        // The body may be gone already, which is as well.
        self.keep.send(()).ok();
    }
}

impl Watched {
    fn end(&mut self) {
        if let Some(sent) = self.sent.take() {
            // Nobody may be waiting any more.
            sent.send(()).ok();
        }
    }

    /// Whether the answer was given up, which ends the body.
    fn is_stopped(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(kept) = &mut self.kept else { return false };
        match Pin::new(kept).poll(cx) {
            Poll::Pending => false,
            Poll::Ready(kept) => {
                self.kept = None;
                kept.is_err()
            }
        }
    }
}

impl Drop for Watched {
    /// Where the length is known, the end is not always asked for.
    fn drop(&mut self) {
        if self.left == Some(0) {
            self.end();
        }
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.sent.is_some() && self.is_stopped(cx) {
            self.inner = Body::empty();
            return Poll::Ready(Some(Err(BodyError::Cut("the answer was given up".into()))));
        }
        self.progress.is_hungry.store(true, Ordering::Relaxed);
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        self.progress.is_hungry.store(false, Ordering::Relaxed);
        self.progress.pieces.fetch_add(1, Ordering::Relaxed);
        match &frame {
            None => self.end(),
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.left = self.left.map(|left| left.saturating_sub(length));
                if self.left == Some(0) || frame.is_trailers() || self.inner.is_end_stream() {
                    self.end();
                }
            }
            Some(Err(error)) => {
                let mut fault = self.progress.fault.lock().unwrap_or_else(PoisonError::into_inner);
                *fault = BodyError::fault_behind(error);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
