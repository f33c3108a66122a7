//! A body on its way out: whatever framing its head announced is kept to, or the message is cut off so
//! that nobody takes it for a whole one.

use crate::write::{self, CRLF, Framing};
use base::BoxError;
use base::buffers::Outbox;
use bytes::Bytes;
use http::header::HeaderMap;
use http_body::{Body as HttpBody, Frame};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use traffic::Body;
use traffic::body::BodyError;

/// The last chunk, behind the end of the one before.
const CRLF_LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";

/// A body that is being sent.
#[derive(Debug)]
pub struct Sending {
    body: Body,
    is_chunked: bool,
    takes_trailers: bool,
    /// Bytes still owed, if their number was announced.
    left: Option<u64>,
    is_until_close: bool,
    is_touched: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    Going,
    Done,
    Cut(BoxError),
}

impl Sending {
    /// What follows a head with this framing; nothing, where the framing has no place for a body.
    #[must_use]
    pub fn new(body: Body, framing: Framing, takes_trailers: bool) -> Self {
        let left = if let Framing::Length(length) = framing { Some(length) } else { None };
        let is_bodiless =
            matches!(framing, Framing::None | Framing::Declared(_)) || left == Some(0);
        Self {
            body,
            is_chunked: framing == Framing::Chunked,
            takes_trailers,
            left,
            is_until_close: framing == Framing::UntilClose,
            is_touched: false,
            state: if is_bodiless { State::Done } else { State::Going },
        }
    }

    /// Whether all of it was put out.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Why it cannot come to its end, if so.
    #[must_use]
    pub const fn cut(&self) -> Option<&BoxError> {
        if let State::Cut(error) = &self.state { Some(error) } else { None }
    }

    /// All of it was written: the body learns of it by being asked for what comes after the end.
    pub fn finish(&mut self) {
        if self.is_done() && self.is_touched {
            let mut nobody = Context::from_waker(Waker::noop());
            drop(Pin::new(&mut self.body).poll_frame(&mut nobody));
        }
    }

    /// Whether only the end of the connection tells where it ends, so that one that was cut off would
    /// look whole.
    #[must_use]
    pub const fn ends_with_connection(&self) -> bool {
        self.is_until_close
    }

    /// The body, if nothing was taken of it.
    #[must_use]
    pub fn untouched(self) -> Option<Body> {
        if self.is_touched { None } else { Some(self.body) }
    }

    /// Moves the other direction on, as [`traffic::body::Duplex::poll_drive`] says.
    ///
    /// # Errors
    /// Why the exchange broke off.
    pub fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        self.body.poll_drive(cx)
    }

    /// Takes of the body what is there, while there is room for it. Says whether there is nothing yet.
    pub fn gather(&mut self, out: &mut Outbox, cx: &mut Context<'_>) -> bool {
        while matches!(self.state, State::Going) && out.has_room() {
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else { return true };
            self.is_touched = true;
            match frame {
                Some(Ok(frame)) => self.take(frame, out),
                Some(Err(error)) => self.state = State::Cut(Box::new(error)),
                None => self.end(None, out),
            }
        }
        false
    }

    fn take(&mut self, frame: Frame<Bytes>, out: &mut Outbox) {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => return self.end(frame.into_trailers().ok().as_ref(), out),
        };
        if data.is_empty() {
            return;
        }
        if let Some(left) = self.left {
            let Some(left) = left.checked_sub(data.len() as u64) else {
                self.state = State::Cut("the body is longer than it said".into());
                return;
            };
            self.left = Some(left);
            out.push(data, b"");
            if left == 0 {
                self.state = State::Done;
            }
        } else if self.is_chunked {
            write::chunk_size(out.small(), data.len());
            if self.body.is_end_stream() {
                out.push(data, CRLF_LAST_CHUNK);
                self.state = State::Done;
            } else {
                out.push(data, CRLF);
            }
        } else {
            out.push(data, b"");
        }
    }

    fn end(&mut self, trailers: Option<&HeaderMap>, out: &mut Outbox) {
        if self.left.is_some_and(|left| left > 0) {
            self.state = State::Cut("the body is shorter than it said".into());
            return;
        }
        if self.is_chunked {
            write::last_chunk(out.small(), trailers.filter(|_| self.takes_trailers));
        }
        self.state = State::Done;
    }
}

#[cfg(test)]
mod tests {
    use super::Sending;
    use crate::write::Framing;
    use base::buffers::Outbox;
    use bytes::Bytes;
    use http_body::{Body as HttpBody, Frame, SizeHint};
    use std::collections::VecDeque;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};
    use traffic::Body;
    use traffic::body::BodyError;

    /// Pieces of data, `-` for nothing yet, `!` for a break, `x: y` for trailers.
    struct Pieces(VecDeque<&'static str>);

    impl HttpBody for Pieces {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            match self.0.pop_front() {
                None => Poll::Ready(None),
                Some("-") => Poll::Pending,
                Some("!") => Poll::Ready(Some(Err(BodyError::Idle))),
                Some(text) => Poll::Ready(Some(Ok(match text.split_once(": ") {
                    Some((name, value)) => {
                        let pair = (name.parse().unwrap(), value.parse().unwrap());
                        Frame::trailers([pair].into_iter().collect())
                    }
                    None => Frame::data(Bytes::from_static(text.as_bytes())),
                }))),
            }
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::new()
        }
    }

    /// What is written, and how it ends.
    fn sent(
        pieces: &[&'static str],
        framing: Framing,
        takes_trailers: bool,
    ) -> (String, &'static str) {
        let body = Body::stream(Pieces(pieces.iter().copied().collect()));
        let mut sending = Sending::new(body, framing, takes_trailers);
        let mut cx = Context::from_waker(Waker::noop());
        let (mut all, mut out, mut count) = (Vec::new(), Outbox::default(), 0);
        while !sending.is_done() && sending.cut().is_none() {
            sending.gather(&mut out, &mut cx);
            let written = out.poll_write(&mut all, &mut count, &mut cx);
            assert!(matches!(written, Poll::Ready(Ok(()))));
        }
        let end = if sending.is_done() { "done" } else { "cut" };
        (String::from_utf8(all).unwrap(), end)
    }

    #[test]
    fn bodies_keep_to_what_their_head_announced() {
        let check = |pieces: &[&'static str], framing, text: &str, end| {
            assert_eq!(
                sent(pieces, framing, true),
                (text.to_owned(), end),
                "{pieces:?} {framing:?}"
            );
        };
        check(&["he", "-", "llo"], Framing::Length(5), "hello", "done");
        check(&["hello", "more"], Framing::Length(5), "hello", "done");
        check(&["hell"], Framing::Length(5), "hell", "cut");
        check(&["hello!"], Framing::Length(5), "", "cut");
        check(&["he", "!"], Framing::Length(5), "he", "cut");
        check(&["he", "", "llo"], Framing::Chunked, "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "done");
        check(&["he", "!"], Framing::Chunked, "2\r\nhe\r\n", "cut");
        check(&["he", "x-a: 1"], Framing::Chunked, "2\r\nhe\r\n0\r\nx-a: 1\r\n\r\n", "done");
        check(&["he", "-", "llo"], Framing::UntilClose, "hello", "done");
        check(&["hello"], Framing::None, "", "done");
        check(&["hello"], Framing::Declared(Some(5)), "", "done");
        let (text, _) = sent(&["he", "x-a: 1"], Framing::Chunked, false);
        assert_eq!(text, "2\r\nhe\r\n0\r\n\r\n", "trailers that nobody asked for");
    }
}
