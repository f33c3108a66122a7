//! The body of a request as the client sends it: the client may send more as the upstream takes what
//! there is, and no sooner.

use crate::http2::head::{FIELD_OVERHEAD, is_token};
use ::http1::Refusal;
use base::caps::{HEAD_BYTES_MAX, HEADERS_MAX};
use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use traffic::body::{BodyError, Duplex};

/// What the stream's task and whoever reads the body share.
#[derive(Debug, Default)]
struct Intake {
    /// Nothing once the stream is done with.
    recv: Option<RecvStream>,
    /// Whoever waits for more.
    reader: Option<Waker>,
    /// Bytes that were handed out and are not known to have been taken.
    owed: usize,
    /// Bytes that were handed out, in all.
    taken: u64,
    /// Bytes that are to come, if they were announced.
    left: Option<u64>,
    is_in_trailers: bool,
}

type Shared = Arc<Mutex<Intake>>;

fn lock(intake: &Shared) -> MutexGuard<'_, Intake> {
    intake.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The stream's side of a body. Dropping it ends the body: nobody reads on for an answer that is done with,
/// and the client is told to stop (RFC 9113, 8.1).
#[derive(Debug)]
pub(super) struct Valve(Shared);

/// The reader's side.
#[derive(Debug)]
pub(super) struct RequestBody(Shared);

/// Both sides of a body of which `left` bytes were announced.
pub(super) fn split(recv: RecvStream, left: Option<u64>) -> (Valve, RequestBody) {
    let intake = Intake { recv: Some(recv), left, ..Intake::default() };
    let shared = Arc::new(Mutex::new(intake));
    (Valve(Arc::clone(&shared)), RequestBody(shared))
}

impl Valve {
    /// Bytes that were handed out, in all.
    pub(super) fn taken(&self) -> u64 {
        lock(&self.0).taken
    }

    /// Whether the stream was reset because its body broke a rule.
    pub(super) fn is_malformed(&self) -> bool {
        let mut intake = lock(&self.0);
        let Some(recv) = &mut intake.recv else { return false };
        let mut nobody = Context::from_waker(Waker::noop());
        loop {
            match recv.poll_data(&mut nobody) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(error))) => return error.is_library() && error.is_reset(),
                _ => return false,
            }
        }
    }
}

impl Drop for Valve {
    fn drop(&mut self) {
        let mut intake = lock(&self.0);
        let recv = intake.recv.take();
        let reader = intake.reader.take();
        drop(intake);
        drop(recv);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Intake {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(recv) = &mut self.recv else {
            return Poll::Ready(Some(Err(BodyError::Cut("the stream has ended".into()))));
        };
        // Whoever asks for more has taken what there was.
        let owed = std::mem::take(&mut self.owed);
        if owed > 0 && recv.flow_control().release_capacity(owed).is_err() {
            return Poll::Ready(Some(Err(BodyError::Cut("the stream has ended".into()))));
        }
        if !self.is_in_trailers {
            match ready!(recv.poll_data(cx)) {
                Some(Ok(data)) => {
                    self.taken += data.len() as u64;
                    self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                    if recv.is_end_stream() || self.left == Some(0) {
                        // Nobody asks for more than the last piece: what it holds of the connection's
                        // window would be missed by others until the answer has ended.
                        recv.flow_control().release_capacity(data.len()).ok();
                    } else {
                        self.owed = data.len();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(BodyError::Cut(error.into())))),
                None => self.is_in_trailers = true,
            }
        }
        Poll::Ready(match ready!(recv.poll_trailers(cx)) {
            Ok(Some(trailers)) if !trailers.keys().all(is_token) => {
                Some(Err(BodyError::Cut(Box::new(Refusal::BadFieldName))))
            }
            Ok(Some(trailers)) if is_too_large(&trailers) => {
                Some(Err(BodyError::Cut(Box::new(Refusal::TrailersTooLarge))))
            }
            Ok(trailers) => trailers.map(|trailers| Ok(Frame::trailers(trailers))),
            Err(error) => Some(Err(BodyError::Cut(error.into()))),
        })
    }
}

/// Of trailers that are larger than the settings allow, `h2` gives what it has read until then.
fn is_too_large(trailers: &HeaderMap) -> bool {
    let bytes = trailers.iter().map(|(name, value)| name.as_str().len() + value.len());
    trailers.len() > HEADERS_MAX
        || bytes.sum::<usize>() + trailers.len() * FIELD_OVERHEAD > HEAD_BYTES_MAX
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut intake = lock(&self.0);
        let polled = intake.poll_frame(cx);
        if polled.is_pending() {
            intake.reader = Some(cx.waker().clone());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.0).recv.as_ref().is_some_and(RecvStream::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.0).left.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

impl Duplex for RequestBody {
    fn poll_drive(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        Poll::Ready(Ok(()))
    }
}
