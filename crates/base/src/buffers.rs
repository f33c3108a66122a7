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
        self.large.is_empty() && self.small.len() - self.sent < BUFFER_BYTES
    }

    /// Where small things are appended; only while there is room.
    pub fn small(&mut self) -> &mut Vec<u8> {
        debug_assert!(self.large.is_empty(), "something large is in front");
        &mut self.small
    }

    /// Appends data and what ends it, without copying if it is large; only while there is room.
    pub fn push(&mut self, data: Bytes, end: &'static [u8]) {
        if data.len() <= COPY_BYTES_MAX {
            self.small().extend_from_slice(&data);
            self.small().extend_from_slice(end);
        } else {
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
