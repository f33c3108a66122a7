//! The bytes of a connection: counted on their way in, gathered on their way out. `h2` flushes after every
//! DATA frame; here flushing waits until the connection's task has nothing more to do, so that the answers of
//! many streams go out in one write.

use crate::http2::meter::Meter;
use base::buffers::poll_fill;
use base::caps::{BUFFER_BYTES, COPY_BYTES_MAX};
use bytes::BytesMut;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Pieces that are written with what was gathered, at most: the heads of frames and the payload of one.
const PIECES: usize = 3;

/// A client's stream, and what is to go out on it.
#[derive(Debug)]
struct Wire<I> {
    io: I,
    meter: Arc<Meter>,
    out: Vec<u8>,
    /// Bytes of it that are out.
    sent: usize,
    /// Nothing that was written is held back by TLS.
    is_flushed: bool,
    /// Somebody flushes when all is done.
    is_gathering: bool,
}

/// The side of a connection's bytes that `h2` has.
#[derive(Debug)]
pub(super) struct Ends<I>(Arc<Mutex<Wire<I>>>);

/// The side that the connection's task has. Both live on one thread, so the lock is never waited for.
#[derive(Debug)]
pub(super) struct Tap<I>(Arc<Mutex<Wire<I>>>);

/// Both sides of a stream.
pub(super) fn split<I>(io: I, meter: &Arc<Meter>) -> (Ends<I>, Tap<I>) {
    let (out, meter) = (Vec::new(), Arc::clone(meter));
    let wire = Wire { io, meter, out, sent: 0, is_flushed: true, is_gathering: false };
    let wire = Arc::new(Mutex::new(wire));
    (Ends(Arc::clone(&wire)), Tap(wire))
}

fn lock<I>(wire: &Mutex<Wire<I>>) -> MutexGuard<'_, Wire<I>> {
    wire.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<I: AsyncRead + Unpin> Tap<I> {
    /// Reads, past `h2`, what nobody will answer. Zero bytes are the end.
    ///
    /// # Errors
    /// What the stream says.
    pub(super) fn poll_past(
        &self,
        input: &mut BytesMut,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        poll_fill(&mut lock(&self.0).io, input, 1, cx)
    }
}

impl<I: AsyncWrite + Unpin> Tap<I> {
    /// From now on what is written waits for [`Tap::poll_flush`].
    pub(super) fn gather(&self) {
        lock(&self.0).is_gathering = true;
    }

    /// Writes what was gathered.
    ///
    /// # Errors
    /// What the stream says.
    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).poll_flush(cx)
    }

    /// Keeps no memory for what may come.
    pub(super) fn rest(&self) {
        let wire = &mut *lock(&self.0);
        if wire.out.is_empty() {
            wire.out = Vec::new();
        }
    }
}

impl<I: AsyncWrite + Unpin> Wire<I> {
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            ready!(self.poll_write_with(&[], cx))?;
        }
        // Also what was written without having been gathered, and what an earlier flush has left.
        if !self.is_flushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.is_flushed = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes once, first what was gathered, then pieces. Returns how many bytes of the pieces are out.
    fn poll_write_with(
        &mut self,
        pieces: &[IoSlice<'_>],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let gathered = self.out.get(self.sent..).unwrap_or_default();
        let mut all =
            [IoSlice::new(gathered), IoSlice::new(&[]), IoSlice::new(&[]), IoSlice::new(&[])];
        let (_, rest) = all.split_at_mut(1);
        rest.iter_mut().zip(pieces).take(PIECES).for_each(|(to, from)| *to = *from);
        let first = usize::from(gathered.is_empty());
        let all = all.get(first..=pieces.len().min(PIECES)).unwrap_or_default();
        let io = Pin::new(&mut self.io);
        let written = match all {
            [one] => io.poll_write(cx, one),
            several => io.poll_write_vectored(cx, several),
        };
        let Poll::Ready(count) = written else {
            self.meter.wrote(Poll::Pending);
            return Poll::Pending;
        };
        let count = count?;
        self.meter.wrote(Poll::Ready(count));
        let left = gathered.len();
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.is_flushed = false;
        if count < left {
            self.sent += count;
            return Poll::Ready(Ok(0));
        }
        self.out.clear();
        self.sent = 0;
        Poll::Ready(Ok(count - left))
    }

    fn poll_take(
        &mut self,
        pieces: &[IoSlice<'_>],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        loop {
            if length <= COPY_BYTES_MAX && self.out.len() + length <= BUFFER_BYTES {
                pieces.iter().for_each(|piece| self.out.extend_from_slice(piece));
                return Poll::Ready(Ok(length));
            }
            let count = ready!(self.poll_write_with(pieces, cx))?;
            if count > 0 {
                return Poll::Ready(Ok(count));
            }
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Ends<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = &mut *lock(&self.0);
        if wire.meter.is_breached() {
            // Nothing more is read; the connection's task ends it next.
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut wire.io).poll_read(cx, buffer);
        let new = buffer.filled().get(before..).unwrap_or_default();
        if !new.is_empty() {
            wire.meter.read(new);
        }
        read
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Ends<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        lock(&self.0).poll_take(&[IoSlice::new(data)], cx)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut wire = lock(&self.0);
        if wire.is_gathering { Poll::Ready(Ok(())) } else { wire.poll_flush(cx) }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut wire = lock(&self.0);
        ready!(wire.poll_flush(cx))?;
        Pin::new(&mut wire.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        lock(&self.0).poll_take(data, cx)
    }
}

#[cfg(test)]
mod tests {
    use super::split;
    use crate::http2::meter::Meter;
    use base::caps::{BUFFER_BYTES, COPY_BYTES_MAX};
    use std::future::poll_fn;
    use std::io::{self, IoSlice};
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, ready};
    use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, duplex};

    #[tokio::test]
    async fn what_is_gathered_goes_out_in_order_through_any_pipe() {
        for pipe in [1, 7, 1_000, 1 << 20] {
            let (ours, mut theirs) = duplex(pipe);
            let (mut ends, tap) = split(ours, &Arc::new(Meter::default()));
            tap.gather();
            let mut expected = Vec::new();
            let mut sent = Vec::new();
            for (n, length) in [1, 9, 300, COPY_BYTES_MAX + 1, 20, BUFFER_BYTES, 5]
                .repeat(4)
                .into_iter()
                .enumerate()
            {
                let piece: Vec<u8> =
                    (0..length).map(|at| u8::try_from((at + n) % 251).unwrap()).collect();
                expected.extend_from_slice(&piece);
                sent.push(piece);
            }
            let writer = async {
                for pair in sent.chunks(2) {
                    for piece in pair {
                        let mut rest = &piece[..];
                        while !rest.is_empty() {
                            let (head, tail) = rest.split_at(rest.len().min(9));
                            let pieces = [IoSlice::new(head), IoSlice::new(tail)];
                            let count =
                                poll_fn(|cx| Pin::new(&mut ends).poll_write_vectored(cx, &pieces));
                            rest = &rest[count.await.unwrap()..];
                        }
                    }
                    ends.flush().await.unwrap();
                    poll_fn(|cx| tap.poll_flush(cx)).await.unwrap();
                }
                ends.shutdown().await.unwrap();
            };
            let mut received = Vec::new();
            let (_, read) = tokio::join!(writer, theirs.read_to_end(&mut received));
            read.unwrap();
            assert_eq!(received, expected, "{pipe}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_goes_out_before_all_is_done() {
        let (ours, mut theirs) = duplex(1_000);
        let (mut ends, tap) = split(ours, &Arc::new(Meter::default()));
        tap.gather();
        for _ in 0..3 {
            ends.write_all(b"frame").await.unwrap();
            ends.flush().await.unwrap();
        }
        let mut read = [0; 100];
        let early = std::time::Duration::from_millis(1);
        assert!(tokio::time::timeout(early, theirs.read(&mut read)).await.is_err());
        poll_fn(|cx| tap.poll_flush(cx)).await.unwrap();
        assert_eq!(theirs.read(&mut read).await.unwrap(), 15);
    }

    /// Takes all that is written, as TLS does, and passes it on as the pipe has room.
    struct Holding {
        pipe: DuplexStream,
        held: Vec<u8>,
    }

    impl AsyncWrite for Holding {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            data: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.held.extend_from_slice(data);
            match self.poll_flush(cx) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                _ => Poll::Ready(Ok(data.len())),
            }
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            let Self { pipe, held } = &mut *self;
            while !held.is_empty() {
                let count = ready!(Pin::new(&mut *pipe).poll_write(cx, held))?;
                held.drain(..count);
            }
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.poll_flush(cx)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_stream_holds_back_goes_out_as_there_is_room() {
        // What is gathered, what is too large for that, and what is written for want of room.
        for lengths in [&[300][..], &[COPY_BYTES_MAX + 1], &[COPY_BYTES_MAX; 5]] {
            let (pipe, mut theirs) = duplex(7);
            let holding = Holding { pipe, held: Vec::new() };
            let (mut ends, tap) = split(holding, &Arc::new(Meter::default()));
            tap.gather();
            for length in lengths {
                ends.write_all(&vec![b'x'; *length]).await.unwrap();
            }
            let mut received = vec![0; lengths.iter().sum()];
            let flushed = poll_fn(|cx| tap.poll_flush(cx));
            let (flushed, read) = tokio::join!(flushed, async {
                let soon = std::time::Duration::from_secs(1);
                tokio::time::timeout(soon, theirs.read_exact(&mut received)).await
            });
            flushed.unwrap();
            assert!(read.is_ok(), "{lengths:?}");
        }
    }
}
