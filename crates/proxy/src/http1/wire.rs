//! A client's connection as bytes: its stream, what was read ahead, and how far the body of the request
//! in hand has been read.

use crate::connection::Stream;
use crate::http1::pace::Pace;
use ::http1::{Decoder, Piece, Refusal, Scan};
use base::buffers::{poll_fill, release};
use base::caps::{COPY_BYTES_MAX, PIPELINED_BYTES_MAX};
use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use traffic::body::{BodyError, Duplex};

/// What the connection and the body that is being read share. The body may be read by another task than
/// the connection's, but both live on one thread, so the lock is never waited for.
pub(super) struct Wire<I: Stream> {
    pub(super) io: I,
    pub(super) input: BytesMut,
    pub(super) scan: Scan,
    pub(super) body: Decoder,
    /// Bytes of bodies that were read, in all.
    pub(super) taken: u64,
    /// What is wrong with the body, once something is.
    pub(super) refusal: Option<Refusal>,
    /// The client sends nothing more.
    pub(super) is_eof: bool,
    /// An answer is under way whose end only the end of the connection tells: if it is dropped now, the
    /// client must not take it for whole.
    pub(super) ends_answer: bool,
    /// The connection is a tunnel: what comes has no form that is known here.
    is_tunnel: bool,
    /// Whoever waits for it to become one.
    waiting: Option<Waker>,
}

impl<I: Stream> Drop for Wire<I> {
    fn drop(&mut self) {
        if self.ends_answer {
            self.io.reset();
        }
    }
}

pub(super) type Shared<I> = Arc<Mutex<Wire<I>>>;

pub(super) fn lock<I: Stream>(wire: &Shared<I>) -> MutexGuard<'_, Wire<I>> {
    wire.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<I: Stream> Wire<I> {
    pub(super) fn new(io: I, input: BytesMut) -> Self {
        Self {
            io,
            input,
            scan: Scan::default(),
            body: Decoder::Done,
            taken: 0,
            refusal: None,
            is_eof: false,
            ends_answer: false,
            is_tunnel: false,
            waiting: None,
        }
    }

    /// The next piece of the body; nothing after the last.
    pub(super) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if let Some(refusal) = self.refusal {
                return Poll::Ready(Some(Err(BodyError::Cut(Box::new(refusal)))));
            }
            match self.body.next(&mut self.input) {
                Ok(Piece::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Piece::Trailers(fields)) => {
                    return Poll::Ready(Some(Ok(Frame::trailers(fields))));
                }
                Ok(Piece::End) => return Poll::Ready(None),
                Ok(Piece::More) if self.is_eof => self.refusal = Some(Refusal::BodyCut),
                Ok(Piece::More) => {
                    match ready!(poll_fill(&mut self.io, &mut self.input, self.body.wants(), cx)) {
                        Ok(count) => {
                            self.is_eof = count == 0;
                            self.taken += count as u64;
                        }
                        Err(error) => {
                            self.refusal = Some(Refusal::BodyCut);
                            return Poll::Ready(Some(Err(BodyError::Cut(error.into()))));
                        }
                    }
                }
                Err(refusal) => self.refusal = Some(refusal),
            }
        }
    }

    /// The client has been told that the protocol is another: what comes from now on is raw.
    ///
    /// # Errors
    /// Bytes came before. Who sent them did not wait for the answer, and they may be meant for another reader.
    pub(super) fn switch(&mut self) -> Result<(), Refusal> {
        let switched = if self.input.is_empty() {
            self.is_tunnel = true;
            Ok(())
        } else {
            self.refusal = Some(Refusal::BytesAfterUpgrade);
            Err(Refusal::BytesAfterUpgrade)
        };
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
        switched
    }

    /// The next raw bytes.
    fn poll_raw(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(refusal) = self.refusal {
            return Poll::Ready(Some(Err(BodyError::Cut(Box::new(refusal)))));
        }
        if !self.is_tunnel {
            self.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if self.input.is_empty() && !self.is_eof {
            match poll_fill(&mut self.io, &mut self.input, COPY_BYTES_MAX, cx) {
                Poll::Pending => {
                    release(&mut self.input);
                    return Poll::Pending;
                }
                Poll::Ready(Ok(count)) => {
                    self.is_eof = count == 0;
                    self.taken += count as u64;
                }
                Poll::Ready(Err(error)) => {
                    let error = format!("the client broke off: {error}");
                    return Poll::Ready(Some(Err(BodyError::Cut(error.into()))));
                }
            }
        }
        if self.input.is_empty() {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(Frame::data(self.input.split().freeze()))))
    }

    /// Reads ahead while an answer is being made, if there is nothing else to read: a client that goes
    /// away is noticed, and what it asks next is there when its turn comes.
    ///
    /// # Errors
    /// When the client is gone.
    pub(super) fn poll_ahead(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while !self.is_eof && self.body.is_done() && self.input.len() < PIPELINED_BYTES_MAX {
            match poll_fill(&mut self.io, &mut self.input, 1, cx) {
                Poll::Ready(Ok(count)) => self.is_eof = count == 0,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        Ok(())
    }
}

/// The body of a request.
pub(super) struct RequestBody<I: Stream> {
    wire: Shared<I>,
    pace: Pace,
}

impl<I: Stream> RequestBody<I> {
    pub(super) fn new(wire: &Shared<I>) -> Self {
        Self { wire: Arc::clone(wire), pace: Pace::default() }
    }
}

impl<I: Stream> HttpBody for RequestBody<I> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = lock(&self.wire).poll_body(cx);
        let Poll::Ready(frame) = polled else {
            return self.pace.poll_late(cx).map(|()| Some(Err(BodyError::Idle)));
        };
        let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
        self.pace.came(data.map_or(0, Bytes::len));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.wire).body.is_done()
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.wire).body.hint().map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

/// The client's side of a tunnel.
pub(super) struct Raw<I: Stream>(Shared<I>);

impl<I: Stream> Raw<I> {
    pub(super) fn new(wire: &Shared<I>) -> Self {
        Self(Arc::clone(wire))
    }
}

impl<I: Stream> HttpBody for Raw<I> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        lock(&self.0).poll_raw(cx)
    }
}

impl<I: Stream> Duplex for Raw<I> {
    fn poll_drive(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        Poll::Ready(Ok(()))
    }
}
