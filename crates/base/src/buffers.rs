//! Bytes on their way through a connection. Buffers belong to the thread and are lent to a connection
//! while it has bytes to keep, so that idle connections hold none.

use crate::caps::{BUFFER_BYTES, BUFFERS_KEPT, COPY_BYTES_MAX};
use bytes::{Buf as _, Bytes, BytesMut};
use std::cell::RefCell;
use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};

thread_local! {
    static SPARE: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

fn lend() -> BytesMut {
    let spare = SPARE.try_with(|spare| spare.borrow_mut().pop());
    spare.ok().flatten().unwrap_or_else(|| BytesMut::with_capacity(BUFFER_BYTES))
}

/// Gives an empty buffer back to the thread, if nothing that was read into it is in use any more. One that
/// is not empty stays.
pub fn release(buffer: &mut BytesMut) {
    if !buffer.is_empty() {
        return;
    }
    let mut buffer = std::mem::take(buffer);
    if buffer.try_reclaim(BUFFER_BYTES) && buffer.capacity() <= 2 * BUFFER_BYTES {
        let kept = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < BUFFERS_KEPT {
                spare.push(buffer);
            }
        });
        // The thread is ending.
        kept.ok();
    }
}

/// Reads once, behind what is in the buffer, with room for at least `room` bytes. Zero bytes are the end.
/// A buffer that was lent for it and got nothing goes back.
///
/// # Errors
/// What the stream says.
pub fn poll_fill<I: AsyncRead + Unpin>(
    io: &mut I,
    buffer: &mut BytesMut,
    room: usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let is_lent = buffer.capacity() == 0;
    if is_lent {
        *buffer = lend();
    }
    if buffer.capacity() - buffer.len() < room.clamp(1, BUFFER_BYTES) {
        buffer.reserve(room.max(BUFFER_BYTES));
    }
    let read = pin!(io.read_buf(buffer)).poll(cx);
    if is_lent && read.is_pending() {
        release(buffer);
    }
    read
}

/// Bytes on their way out: what is written together goes out together.
#[derive(Debug, Default)]
pub struct Outbox {
    /// First the rest of this,
    small: Vec<u8>,
    sent: usize,
    /// then this, which was too large to be copied,
    large: Bytes,
    /// then this.
    end: &'static [u8],
}

impl Outbox {
    /// Whether everything is out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sent == self.small.len() && self.large.is_empty() && self.end.is_empty()
    }

    /// Whether more may be put in before what is there is out.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.is_plain() && self.small.len() - self.sent < BUFFER_BYTES
    }

    /// Whether nothing stands behind the small things, so that more can be appended to them.
    fn is_plain(&self) -> bool {
        self.large.is_empty() && self.end.is_empty()
    }

    /// Where small things are appended; only while there is room.
    pub fn small(&mut self) -> &mut Vec<u8> {
        debug_assert!(self.is_plain(), "something large is in front");
        &mut self.small
    }

    /// Appends data and what ends it, without copying if it is large; only while there is room.
    pub fn push(&mut self, data: Bytes, end: &'static [u8]) {
        if data.len() <= COPY_BYTES_MAX {
            self.small().extend_from_slice(&data);
            self.small().extend_from_slice(end);
        } else {
            debug_assert!(self.is_plain(), "something large is in front");
            self.large = data;
            self.end = end;
        }
    }

    /// Writes until everything is out. Says by the number of bytes whether it went on.
    ///
    /// # Errors
    /// What the stream says; `WriteZero` if it takes nothing.
    pub fn poll_write<I: AsyncWrite + Unpin>(
        &mut self,
        io: &mut I,
        written: &mut u64,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let small = self.small.get(self.sent..).unwrap_or_default();
            let io = Pin::new(&mut *io);
            let count = if self.large.is_empty() && self.end.is_empty() {
                ready!(io.poll_write(cx, small))?
            } else if small.is_empty() && self.end.is_empty() {
                ready!(io.poll_write(cx, &self.large))?
            } else {
                let pieces = [small, &self.large, self.end].map(IoSlice::new);
                let first = usize::from(small.is_empty());
                ready!(io.poll_write_vectored(cx, pieces.get(first..).unwrap_or_default()))?
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *written += count as u64;
            self.advance(count);
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut count: usize) {
        let small = count.min(self.small.len() - self.sent);
        self.sent += small;
        count -= small;
        let large = count.min(self.large.len());
        self.large.advance(large);
        count -= large;
        self.end = self.end.get(count..).unwrap_or_default();
        if self.sent == self.small.len() {
            self.small.clear();
            self.sent = 0;
        } else if self.sent >= BUFFER_BYTES {
            // A receiver that takes little at a time must not make it grow.
            self.small.drain(..self.sent);
            self.sent = 0;
        }
        if self.large.is_empty() {
            // Frees what it was a part of.
            self.large = Bytes::new();
        }
    }

    /// Forgets everything, and gives memory back.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::{Outbox, poll_fill, release};
    use bytes::{Bytes, BytesMut};
    use std::io::{self, IoSlice};
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};
    use tokio::io::AsyncWrite;

    /// Takes so many bytes, then nothing until it is let go on.
    struct Pausing {
        taken: Vec<u8>,
        left: usize,
    }

    impl AsyncWrite for Pausing {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            data: &[u8],
        ) -> Poll<io::Result<usize>> {
            let count = data.len().min(self.left);
            self.left -= count;
            self.taken.extend_from_slice(data.get(..count).unwrap());
            if count == 0 { Poll::Pending } else { Poll::Ready(Ok(count)) }
        }
        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            pieces: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let whole: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
            self.poll_write(cx, &whole)
        }
        fn is_write_vectored(&self) -> bool {
            true
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn bytes_keep_their_order_wherever_the_receiver_pauses() {
        let mut cx = Context::from_waker(Waker::noop());
        let large = Bytes::from(vec![b'x'; 5_000]);
        let parts =
            [(b"one".as_slice(), large, b"\r\n".as_slice()), (b"two", Bytes::from("y"), b"\r\n")];
        let whole: Vec<u8> = parts.iter().flat_map(|(a, b, c)| [a, &b[..], c].concat()).collect();
        for pause in 0..whole.len() {
            let mut io = Pausing { taken: Vec::new(), left: pause };
            let (mut out, mut written) = (Outbox::default(), 0);
            for (small, data, end) in &parts {
                while !out.has_room() {
                    if out.poll_write(&mut io, &mut written, &mut cx).is_pending() {
                        io.left = usize::MAX;
                    }
                }
                out.small().extend_from_slice(small);
                out.push(data.clone(), end);
                drop(out.poll_write(&mut io, &mut written, &mut cx));
            }
            io.left = usize::MAX;
            assert!(out.poll_write(&mut io, &mut written, &mut cx).is_ready() && out.is_empty());
            assert!(io.taken == whole && written == whole.len() as u64, "pause after {pause}");
        }
    }

    #[test]
    fn a_buffer_is_lent_while_there_are_bytes() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut buffer = BytesMut::new();
        assert!(poll_fill(&mut b"hello".as_slice(), &mut buffer, 1, &mut cx).is_ready());
        release(&mut buffer);
        assert_eq!(&buffer[..], b"hello", "what is in it stays");
        let kept = buffer.split().freeze();
        release(&mut buffer);
        assert_eq!((buffer.capacity(), &kept[..]), (0, &b"hello"[..]));
    }
}
