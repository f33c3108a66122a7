//! Bodies that stream: data and trailers pass as they come, with the receiver setting the pace.

use crate::fault::{Fault, FaultCode, Stage};
use crate::kept::Kept;
use crate::memory::Memory;
use base::BoxError;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// A request or response body.
#[derive(Default)]
pub struct Body(Kind);

#[derive(Default)]
enum Kind {
    #[default]
    Empty,
    Full(Option<Bytes>),
    Stream(Pin<Box<dyn HttpBody<Data = Bytes, Error = BodyError> + Send>>),
    Duplex(Pin<Box<dyn Duplex + Send>>),
    Tunnel(Pin<Box<dyn Duplex + Send>>),
    Kept(Box<Kept>),
}

/// A body whose other direction moves only while somebody asks for it: the answer to a request that is
/// still being sent. Whoever wraps such a body passes [`Duplex::poll_drive`] on.
pub trait Duplex: HttpBody<Data = Bytes, Error = BodyError> {
    /// Moves the other direction on. It is called while nobody can take more of this one, and after the
    /// end of a tunnel's; asking for frames does the same beside. Ready when nothing is left to be moved.
    ///
    /// # Errors
    /// Why the exchange broke off: there will be no more of this direction either.
    fn poll_drive(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>>;
}

/// Why a body ended before its end.
#[derive(Debug)]
pub enum BodyError {
    /// A filter refused it, with the fault that the client is to be told.
    Refused(Fault),
    /// The side that sends it went away or broke the framing.
    Cut(BoxError),
    /// The side that sends it was silent for too long.
    Idle,
}

/// Sees a body pass in one direction. It owns its state, and may hold back, replace or abort.
pub trait BodyFilter: Send {
    /// A piece of data came; what is returned goes on in its place.
    ///
    /// # Errors
    /// The fault that ends the body.
    fn on_data(&mut self, data: Bytes) -> Result<Bytes, Fault>;

    /// More of what the last piece stands for, asked for as long as there is some and taken by whoever reads, before
    /// the next piece comes: one that makes much of little hands it out by and by. It is asked
    /// only after [`BodyFilter::on_data`] gave something.
    ///
    /// # Errors
    /// The fault that ends the body.
    fn on_more(&mut self) -> Result<Bytes, Fault> {
        Ok(Bytes::new())
    }

    /// Whoever sends the body has nothing for now; what was held back goes out, so that no stream waits
    /// for its next piece to show the last. It may be called again before anything else came.
    ///
    /// # Errors
    /// The fault that ends the body.
    fn on_pause(&mut self) -> Result<Bytes, Fault> {
        Ok(Bytes::new())
    }

    /// The data ended; what was held back goes out now.
    ///
    /// # Errors
    /// The fault that ends the body.
    fn on_end(&mut self) -> Result<Bytes, Fault> {
        Ok(Bytes::new())
    }

    /// Trailers came.
    ///
    /// # Errors
    /// The fault that ends the body.
    fn on_trailers(&mut self, trailers: HeaderMap) -> Result<HeaderMap, Fault> {
        Ok(trailers)
    }

    /// Nothing more comes: by default, what [`BodyFilter::on_end`] and [`BodyFilter::on_trailers`] make of
    /// it. One that makes data of trailers, or trailers of data, does it here.
    ///
    /// # Errors
    /// The fault that ends the body.
    fn on_close(
        &mut self,
        trailers: Option<HeaderMap>,
    ) -> Result<(Bytes, Option<HeaderMap>), Fault> {
        let held = self.on_end()?;
        Ok((held, trailers.map(|trailers| self.on_trailers(trailers)).transpose()?))
    }

    /// Bytes that it takes at once. Larger pieces are cut, and after some that brought forth nothing the
    /// thread serves others first: what costs time does not hold them up.
    fn piece_max(&self) -> usize {
        usize::MAX
    }

    /// Whether the length of the data stays what it was.
    fn keeps_length(&self) -> bool {
        false
    }
}

impl Body {
    /// No body.
    #[must_use]
    pub const fn empty() -> Self {
        Self(Kind::Empty)
    }

    /// A body that is all there.
    #[must_use]
    pub fn full(data: impl Into<Bytes>) -> Self {
        let data = data.into();
        Self(if data.is_empty() { Kind::Empty } else { Kind::Full(Some(data)) })
    }

    /// A body that comes piece by piece.
    #[must_use]
    pub fn stream(body: impl HttpBody<Data = Bytes, Error = BodyError> + Send + 'static) -> Self {
        Self(Kind::Stream(Box::pin(body)))
    }

    /// An answer that comes piece by piece, and moves the rest of its request on.
    #[must_use]
    pub fn duplex(body: impl Duplex + Send + 'static) -> Self {
        Self(Kind::Duplex(Box::pin(body)))
    }

    /// One direction of a tunnel: the raw bytes of one side after both have agreed on another protocol
    /// (RFC 9110, 7.8). They are no content, so filters do not see them. What comes from the target moves
    /// what comes from the client, also after its own end; what comes from the client moves nothing.
    #[must_use]
    pub fn tunnel(body: impl Duplex + Send + 'static) -> Self {
        Self(Kind::Tunnel(Box::pin(body)))
    }

    /// Whether this is one direction of a tunnel.
    #[must_use]
    pub const fn is_tunnel(&self) -> bool {
        matches!(self.0, Kind::Tunnel(_))
    }

    /// Moves the other direction on, as [`Duplex::poll_drive`] says.
    ///
    /// # Errors
    /// Why the exchange broke off.
    pub fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        match &mut self.0 {
            Kind::Empty | Kind::Full(_) | Kind::Stream(_) | Kind::Kept(_) => Poll::Ready(Ok(())),
            Kind::Duplex(body) | Kind::Tunnel(body) => body.as_mut().poll_drive(cx),
        }
    }

    /// Whether there is certainly nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Full(data) => data.is_none(),
            Kind::Stream(body) => body.is_end_stream(),
            Kind::Duplex(body) => body.is_end_stream(),
            Kind::Tunnel(_) => false,
            Kind::Kept(body) => body.is_over(),
        }
    }

    /// The same body again, if it is all there and can be sent twice.
    #[must_use]
    pub fn copy(&self) -> Option<Self> {
        match &self.0 {
            Kind::Empty => Some(Self::empty()),
            Kind::Full(data) => data.clone().map(Self::full),
            Kind::Stream(body) => body.is_end_stream().then(Self::empty),
            Kind::Duplex(body) => body.is_end_stream().then(Self::empty),
            Kind::Tunnel(_) => None,
            Kind::Kept(body) => Some(Self(Kind::Kept(Box::new(body.again())))),
        }
    }

    /// The same body, remembered as it passes if its length is known and at most `length_max` bytes, so
    /// that it can be sent again.
    #[must_use]
    pub fn keep(self, length_max: u64) -> Self {
        let is_stream = matches!(self.0, Kind::Stream(_) | Kind::Duplex(_));
        let length = self.size_hint().exact().filter(|length| is_stream && *length <= length_max);
        match length {
            Some(length) => Self(Kind::Kept(Box::new(Kept::new(self, length)))),
            None => self,
        }
    }

    /// The same, where what is remembered counts as memory that is held; nothing is while that is short, which the second
    /// value tells.
    #[must_use]
    pub fn keep_within(self, length_max: u64, memory: &Arc<Memory>) -> (Self, bool) {
        if memory.ceiling() == 0 {
            return (self.keep(length_max), false);
        }
        let is_stream = matches!(self.0, Kind::Stream(_) | Kind::Duplex(_));
        let length = self.size_hint().exact().filter(|length| is_stream && *length <= length_max);
        let Some(length) = length else { return (self, false) };
        match memory.promise(length) {
            Some(hold) => (Self(Kind::Kept(Box::new(Kept::held(self, length, hold)))), false),
            None => (self, true),
        }
    }

    /// Lets a filter see this body from now on, unless it is a tunnel's.
    pub fn filter(&mut self, filter: Box<dyn BodyFilter>) {
        if self.is_tunnel() {
            return;
        }
        let inner = std::mem::take(self);
        *self = Self::duplex(Filtered {
            inner,
            filter,
            uncut: Bytes::new(),
            may_have_more: false,
            ended: false,
            trailers: None,
        });
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Empty => "Body(empty)",
            Kind::Full(_) => "Body(full)",
            Kind::Stream(_) | Kind::Duplex(_) | Kind::Kept(_) => "Body(stream)",
            Kind::Tunnel(_) => "Body(tunnel)",
        })
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::full(text)
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Kind::Empty => Poll::Ready(None),
            Kind::Full(data) => Poll::Ready(data.take().map(|data| Ok(Frame::data(data)))),
            Kind::Stream(body) => body.as_mut().poll_frame(cx),
            Kind::Duplex(body) | Kind::Tunnel(body) => body.as_mut().poll_frame(cx),
            Kind::Kept(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(data) => {
                SizeHint::with_exact(data.as_ref().map_or(0, |data| data.len() as u64))
            }
            Kind::Stream(body) => body.size_hint(),
            Kind::Duplex(body) => body.size_hint(),
            Kind::Tunnel(_) => SizeHint::new(),
            Kind::Kept(body) => body.size_hint(),
        }
    }
}

/// Pieces in a row that a filter may swallow before the thread serves others.
const SILENT_PIECES_MAX: u32 = 16;

/// A body under the eyes of a filter.
struct Filtered {
    inner: Body,
    filter: Box<dyn BodyFilter>,
    /// What is left of a piece that was too large for the filter.
    uncut: Bytes,
    /// The filter gave something of the last piece.
    may_have_more: bool,
    ended: bool,
    trailers: Option<HeaderMap>,
}

impl Filtered {
    /// After the last data: what the filter held back, then the trailers.
    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<Option<Frame<Bytes>>, Fault> {
        self.ended = true;
        let (held, trailers) = self.filter.on_close(trailers)?;
        if held.is_empty() {
            return Ok(trailers.map(Frame::trailers));
        }
        self.trailers = trailers;
        Ok(Some(Frame::data(held)))
    }

    /// What the filter gave, or its refusal, which ends the body.
    fn given(&mut self, given: Result<Bytes, Fault>) -> Result<Frame<Bytes>, BodyError> {
        given.map(Frame::data).map_err(|fault| {
            self.ended = true;
            self.inner = Body::empty();
            BodyError::Refused(fault)
        })
    }

    /// What comes next, no larger than the filter takes at once.
    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.uncut.is_empty() {
            match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.uncut = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                other => return Poll::Ready(other),
            }
        }
        let piece = self.uncut.len().min(self.filter.piece_max().max(1));
        Poll::Ready(Some(Ok(Frame::data(self.uncut.split_to(piece)))))
    }
}

impl HttpBody for Filtered {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut silent = 0;
        loop {
            if self.ended {
                return Poll::Ready(self.trailers.take().map(|t| Ok(Frame::trailers(t))));
            }
            if silent == SILENT_PIECES_MAX {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.may_have_more {
                match self.filter.on_more() {
                    Ok(more) if more.is_empty() => self.may_have_more = false,
                    more => return Poll::Ready(Some(self.given(more))),
                }
            }
            let frame = match self.poll_piece(cx) {
                Poll::Pending => match self.filter.on_pause() {
                    Ok(held) if held.is_empty() => return Poll::Pending,
                    held => held.map(|held| Some(Frame::data(held))),
                },
                Poll::Ready(Some(Err(error))) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.filter.on_data(data).map(|data| {
                        self.may_have_more = !data.is_empty();
                        Some(Frame::data(data))
                    }),
                    Err(frame) => self.end(frame.into_trailers().ok()),
                },
                Poll::Ready(None) => self.end(None),
            };
            match frame {
                Ok(Some(frame)) if frame.data_ref().is_some_and(Bytes::is_empty) => silent += 1,
                Ok(frame) => return Poll::Ready(frame.map(Ok)),
                Err(fault) => return Poll::Ready(Some(self.given(Err(fault)))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        if self.filter.keeps_length() { self.inner.size_hint() } else { SizeHint::new() }
    }
}

impl Duplex for Filtered {
    fn poll_drive(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let driven = self.inner.poll_drive(cx);
        if let Poll::Ready(Err(_)) = driven {
            self.ended = true;
        }
        driven
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(fault) => write!(f, "the body was refused: {fault}"),
            Self::Cut(_) => f.write_str("the body was cut off"),
            Self::Idle => f.write_str("the body came too slowly"),
        }
    }
}

impl std::error::Error for BodyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Refused(fault) => Some(fault),
            Self::Cut(cause) => Some(cause.as_ref()),
            Self::Idle => None,
        }
    }
}

impl BodyError {
    /// The fault of a request whose own body failed like this, if `error` or what lies behind it says
    /// so: the client's doing, whatever the upstream made of it.
    #[must_use]
    pub fn fault_behind(error: &(dyn std::error::Error + 'static)) -> Option<Fault> {
        let mut next = Some(error);
        while let Some(error) = next {
            match error.downcast_ref::<Self>() {
                Some(Self::Refused(fault)) => {
                    let mut copy = Fault::new(fault.at, fault.code);
                    copy.detail.clone_from(&fault.detail);
                    copy.headers.clone_from(&fault.headers);
                    copy.closes = fault.closes;
                    copy.cause = fault.cause.as_ref().map(|cause| cause.to_string().into());
                    return Some(copy);
                }
                Some(Self::Cut(cause)) => {
                    let fault = Fault::new(Stage::Forward, FaultCode::BodyCut);
                    return Some(fault.cause(cause.to_string()).closing());
                }
                Some(Self::Idle) => {
                    return Some(Fault::new(Stage::Forward, FaultCode::BodyTimeout).closing());
                }
                None => next = error.source(),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
