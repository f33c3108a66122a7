//! An answer's body on its way back. It holds the target's place and the stream until it ends, and moves on
//! what is left of the request: a target may answer before it has taken all of it.

use super::head::is_token;
use super::upload::Upload;
use crate::pool::Stream;
use crate::target::Seat;
use base::Alarm;
use base::caps::{HEADERS_MAX, TRAILER_BYTES_MAX};
use bytes::Bytes;
use h2::{Reason, RecvStream};
use http::header::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use traffic::body::{BodyError, Duplex};

/// What an answer occupies until it ends.
pub(super) struct Occupied {
    pub(super) worker: usize,
    pub(super) stream: Stream,
    pub(super) seat: Option<Seat>,
}

/// The body.
pub(super) struct Answer {
    recv: Option<RecvStream>,
    upload: Option<Upload>,
    /// Bytes that were handed out and are not known to have been taken.
    owed: usize,
    /// Bytes that are to come, if they were announced.
    left: Option<u64>,
    is_in_trailers: bool,
    /// Longest silence.
    idle: Option<Duration>,
    alarm: Alarm,
    is_tunnel: bool,
    occupied: Option<Occupied>,
}

type Piece = Option<Result<Frame<Bytes>, BodyError>>;

impl Answer {
    /// Of which `left` bytes were announced.
    pub(super) const fn new(
        recv: RecvStream,
        upload: Option<Upload>,
        left: Option<u64>,
        idle: Option<Duration>,
        alarm: Alarm,
        occupied: Occupied,
    ) -> Self {
        Self {
            recv: Some(recv),
            upload,
            owed: 0,
            left,
            is_in_trailers: false,
            idle,
            alarm,
            is_tunnel: false,
            occupied: Some(occupied),
        }
    }

    /// As one direction of a tunnel: no time limit of bodies holds for it, and the other direction goes on
    /// after its end.
    pub(super) fn into_tunnel(self) -> Self {
        Self { is_tunnel: true, idle: None, left: None, ..self }
    }

    /// The answer has ended well.
    pub(super) fn finish(&mut self) {
        if self.is_tunnel && self.upload.is_some() {
            return;
        }
        self.recv = None;
        self.upload = None;
        if let Some(Occupied { stream, seat, .. }) = self.occupied.take() {
            stream.http2().keep_alarm(std::mem::take(&mut self.alarm));
            drop(stream);
            drop(seat);
        }
    }

    /// Gives the stream up.
    fn fail(&mut self, error: BodyError) -> BodyError {
        self.recv = None;
        self.upload = None;
        if let Some(occupied) = self.occupied.take()
            && let Some(seat) = &occupied.seat
        {
            seat.broke_off(occupied.worker);
        }
        error
    }

    /// Gives the stream up because the client's body broke off, which says nothing about the target.
    fn give_up(&mut self, error: &BodyError) -> BodyError {
        if let Some(occupied) = &mut self.occupied {
            occupied.seat = None;
        }
        self.fail(BodyError::Cut(error.to_string().into()))
    }

    /// Sends on what is left of the request.
    ///
    /// # Errors
    /// When the client's body broke off: an answer to half a request is worth nothing.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let Some(upload) = &mut self.upload else { return Poll::Ready(Ok(())) };
        let before = upload.taken();
        let sent = upload.poll_send(cx);
        if upload.taken() > before {
            // A target that takes its request is not silent.
            self.alarm.clear();
        }
        let sent = ready!(sent);
        self.upload = None;
        if self.recv.is_none() || self.is_tunnel && self.is_in_trailers {
            self.finish();
        }
        Poll::Ready(sent)
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Piece> {
        let Some(recv) = &mut self.recv else { return Poll::Ready(None) };
        // Whoever asks for more has taken what there was.
        let owed = std::mem::take(&mut self.owed);
        if owed > 0 && recv.flow_control().release_capacity(owed).is_err() {
            return Poll::Ready(Some(Err(BodyError::Cut("the stream has ended".into()))));
        }
        if !self.is_in_trailers {
            match ready!(recv.poll_data(cx)) {
                Some(Ok(data)) => {
                    self.owed = data.len();
                    self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(self.ended_by(error)),
                None => self.is_in_trailers = true,
            }
        }
        Poll::Ready(match ready!(recv.poll_trailers(cx)) {
            Ok(Some(trailers)) => Some(checked(trailers)),
            Ok(None) => None,
            Err(error) => self.ended_by(error),
        })
    }

    /// A target that has said everything may reset the stream so that nothing more is sent to it (RFC 9113,
    /// 8.1); any other reset cuts the answer.
    fn ended_by(&self, error: h2::Error) -> Piece {
        let is_complete = error.is_remote() && error.reason() == Some(Reason::NO_ERROR);
        if is_complete && error.is_reset() && self.left.is_none_or(|left| left == 0) {
            return None;
        }
        let why = self.occupied.as_ref().and_then(|occupied| occupied.stream.http2().why());
        Some(Err(BodyError::Cut(match why {
            Some(why) => why.into(),
            None => error.into(),
        })))
    }
}

/// Trailers, if they are none of a hostile target. Of those that are larger than the settings allow, `h2` gives
/// what it has read until then.
fn checked(trailers: HeaderMap) -> Result<Frame<Bytes>, BodyError> {
    let bytes = trailers.iter().map(|(name, value)| name.as_str().len() + value.len());
    if trailers.len() > HEADERS_MAX || bytes.sum::<usize>() > TRAILER_BYTES_MAX {
        return Err(BodyError::Cut("the trailers are too large".into()));
    }
    if !trailers.keys().all(is_token) {
        return Err(BodyError::Cut("a trailer's name is none".into()));
    }
    Ok(Frame::trailers(trailers))
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Piece> {
        let this = &mut *self;
        if let Poll::Ready(Err(error)) = this.poll_upload(cx) {
            return Poll::Ready(Some(Err(this.give_up(&error))));
        }
        let piece = match this.poll_piece(cx) {
            Poll::Ready(piece) => piece,
            Poll::Pending => {
                let Some(idle) = this.idle else { return Poll::Pending };
                this.alarm.start(idle);
                ready!(this.alarm.poll(cx));
                return Poll::Ready(Some(Err(this.fail(BodyError::Idle))));
            }
        };
        this.alarm.clear();
        Poll::Ready(match piece {
            None => {
                this.finish();
                None
            }
            Some(Err(error)) => Some(Err(this.fail(error))),
            Some(Ok(frame)) => {
                let is_last = this.recv.as_ref().is_none_or(RecvStream::is_end_stream);
                if frame.is_trailers() || is_last {
                    this.is_in_trailers = true;
                    this.finish();
                }
                Some(Ok(frame))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.recv.as_ref().is_none_or(RecvStream::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match self.left {
            _ if self.recv.is_none() => SizeHint::with_exact(0),
            Some(left) => SizeHint::with_exact(left),
            None => SizeHint::new(),
        }
    }
}

impl Duplex for Answer {
    fn poll_drive(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let this = &mut *self;
        this.poll_upload(cx).map_err(|error| this.give_up(&error))
    }
}
