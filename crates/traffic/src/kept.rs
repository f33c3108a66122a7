//! A small body that is remembered as it passes, so that it can be sent once more.

use crate::body::{Body, BodyError};
use crate::memory::Hold;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

/// A way through the body, from its beginning. The one that began last goes on: whoever was given the body
/// before has failed with it.
pub(crate) struct Kept {
    source: Arc<Mutex<Source>>,
    /// Bytes that were read by this way.
    read: usize,
    /// Which way this is; none before its first piece.
    turn: Option<u32>,
    is_over: bool,
}

/// What all ways share.
struct Source {
    inner: Body,
    length: u64,
    /// What has come so far, copied: pieces of it may be slices of buffers that are much larger.
    data: Vec<u8>,
    /// That much of the memory is held.
    hold: Option<Hold>,
    trailers: Option<HeaderMap>,
    is_over: bool,
    turns: u32,
}

impl Kept {
    pub(crate) fn new(inner: Body, length: u64) -> Self {
        Self::of(inner, length, None)
    }

    /// One that counts as memory that is held.
    pub(crate) fn held(inner: Body, length: u64, hold: Hold) -> Self {
        Self::of(inner, length, Some(hold))
    }

    fn of(inner: Body, length: u64, hold: Option<Hold>) -> Self {
        let (data, trailers) = (Vec::new(), None);
        let source = Source { inner, length, data, hold, trailers, is_over: false, turns: 0 };
        Self { source: Arc::new(Mutex::new(source)), read: 0, turn: None, is_over: false }
    }

    /// Another way, which begins at the beginning.
    pub(crate) fn again(&self) -> Self {
        let source = Arc::clone(&self.source);
        Self { source, read: 0, turn: None, is_over: false }
    }

    pub(crate) const fn is_over(&self) -> bool {
        self.is_over
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(lock(&self.source).length.saturating_sub(self.read as u64))
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut source = lock(&self.source);
        let turn = *self.turn.get_or_insert_with(|| source.begin());
        if self.is_over {
            return Poll::Ready(None);
        }
        if turn != source.turns {
            self.is_over = true;
            return Poll::Ready(Some(Err(BodyError::Cut("the request is sent elsewhere".into()))));
        }
        while source.data.len() == self.read && !source.is_over {
            if let Err(error) = ready!(source.poll_more(cx)) {
                self.is_over = true;
                return Poll::Ready(Some(Err(error)));
            }
        }
        let unread = source.data.get(self.read..).unwrap_or_default();
        if !unread.is_empty() {
            let piece = Bytes::copy_from_slice(unread);
            self.read = source.data.len();
            self.is_over = source.is_over && source.trailers.is_none();
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        self.is_over = true;
        Poll::Ready(source.trailers.clone().map(|trailers| Ok(Frame::trailers(trailers))))
    }
}

impl Source {
    fn begin(&mut self) -> u32 {
        self.turns += 1;
        self.turns
    }

    /// Reads a piece more. More than was announced is an error.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
            None => self.is_over = true,
            Some(Err(error)) => return Poll::Ready(Err(error)),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if (self.data.len() + data.len()) as u64 > self.length => {
                    return Poll::Ready(Err(BodyError::Cut("the body is too long".into())));
                }
                Ok(data) => {
                    if let Some(hold) = &mut self.hold {
                        hold.add(data.len() as u64);
                    }
                    self.data.extend_from_slice(&data);
                }
                Err(frame) => {
                    self.trailers = frame.into_trailers().ok();
                    self.is_over = true;
                }
            },
        }
        self.is_over |= self.inner.is_end_stream();
        Poll::Ready(Ok(()))
    }
}

fn lock(source: &Arc<Mutex<Source>>) -> MutexGuard<'_, Source> {
    source.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{Body, BodyError, Bytes, Context, Frame, HttpBody, Poll, SizeHint};
    use std::collections::VecDeque;
    use std::pin::Pin;
    use std::task::Waker;

    /// Pieces that are there, and then for ever nothing, the end, or an error.
    struct Pieces(VecDeque<&'static str>, Poll<bool>);

    impl HttpBody for Pieces {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            match (self.0.pop_front(), self.1) {
                (Some(piece), _) => Poll::Ready(Some(Ok(Frame::data(piece.into())))),
                (None, Poll::Pending) => Poll::Pending,
                (None, Poll::Ready(true)) => Poll::Ready(None),
                (None, Poll::Ready(false)) => Poll::Ready(Some(Err(BodyError::Idle))),
            }
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(6)
        }
    }

    fn kept(end: Poll<bool>) -> Body {
        Body::stream(Pieces(["abc", "def"].into(), end)).keep(6)
    }

    /// What a body gives at once: its data, then how it stands.
    fn read(body: &mut Body, pieces: usize) -> String {
        let mut text = String::new();
        for _ in 0..pieces {
            match Pin::new(&mut *body).poll_frame(&mut Context::from_waker(Waker::noop())) {
                Poll::Pending => return text + "..",
                Poll::Ready(None) => return text + ".",
                Poll::Ready(Some(Err(_))) => return text + "!",
                Poll::Ready(Some(Ok(frame))) => {
                    text += std::str::from_utf8(&frame.into_data().unwrap()).unwrap();
                }
            }
        }
        text
    }

    #[test]
    fn what_was_read_is_read_again_and_then_the_rest() {
        for begun in 0..4 {
            let mut first = kept(Poll::Ready(true));
            let mut again = first.copy().unwrap();
            read(&mut first, begun);
            let mut third = again.copy().unwrap();
            assert_eq!(again.size_hint().exact(), Some(6));
            assert_eq!(read(&mut again, 9), "abcdef.");
            assert_eq!(again.size_hint().exact(), Some(0));
            assert_eq!(read(&mut third, 9), "abcdef.");
        }
    }

    #[test]
    fn only_the_way_that_began_last_goes_on() {
        let mut first = kept(Poll::Pending);
        let mut again = first.copy().unwrap();
        assert_eq!(read(&mut first, 1), "abc");
        assert_eq!(read(&mut again, 9), "abcdef..");
        assert_eq!(read(&mut first, 9), "!");
        assert_eq!(read(&mut first, 9), ".");
    }

    #[test]
    fn a_body_that_breaks_off_breaks_off_again() {
        let mut first = kept(Poll::Ready(false));
        let mut again = first.copy().unwrap();
        assert_eq!(read(&mut first, 9), "abcdef!");
        assert_eq!(read(&mut again, 9), "abcdef!");
    }

    #[test]
    fn what_is_too_large_or_of_unknown_length_is_not_kept() {
        let body = Body::stream(Pieces(["abc", "def"].into(), Poll::Ready(true)));
        assert!(body.keep(5).copy().is_none());
        let unknown = Body::stream(Unknown);
        assert!(unknown.keep(5).copy().is_none());
    }

    struct Unknown;

    impl HttpBody for Unknown {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            Poll::Pending
        }
    }
}
