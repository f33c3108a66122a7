//! Bytes in both directions at once. Each direction has one buffer, and ends on its own.

use base::buffers::{poll_fill, release};
use base::caps::{BUFFER_BYTES, RELAY_IDLE_PARTS};
use bytes::{Buf as _, BytesMut};
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Sleep;

/// Why a connection did not come to its end.
#[derive(Debug)]
pub(super) enum Broken {
    /// The client's side failed.
    Client(io::Error),
    /// The target's side failed.
    Target(io::Error),
    /// Nobody said anything for too long.
    Idle,
    /// The gateway has ended.
    Stopped,
}

/// Which end of a direction failed.
enum Side {
    From(io::Error),
    To(io::Error),
}

/// Both directions of a connection.
#[derive(Debug, Default)]
pub(super) struct Flows {
    inward: Flow,
    outward: Flow,
    /// Parts of the idle time that have passed in silence.
    silent_parts: u32,
    /// Whether anything moved in the part under way.
    moved_in_part: bool,
}

/// One direction of a connection.
#[derive(Debug, Default)]
struct Flow {
    buffer: BytesMut,
    /// Bytes that were taken at the other end.
    passed: u64,
    has_moved: bool,
    must_flush: bool,
    stage: Progress,
}

/// How far a direction has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Progress {
    /// Bytes may come.
    #[default]
    Open,
    /// The sender has ended, the receiver does not know yet.
    Ending,
    /// Both know.
    Ended,
}

impl Flows {
    /// Bytes that targets took from clients.
    pub(super) const fn bytes_in(&self) -> u64 {
        self.inward.passed
    }

    /// Bytes that clients took from targets.
    pub(super) const fn bytes_out(&self) -> u64 {
        self.outward.passed
    }

    /// Passes on what there is. Every `part` of the idle time `pause` is over, and it is looked whether anything has
    /// moved since: that costs no look at the clock for each piece.
    pub(super) fn poll<C, T>(
        &mut self,
        client: &mut C,
        target: &mut T,
        mut pause: Pin<&mut Sleep>,
        part: Duration,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>>
    where
        C: AsyncRead + AsyncWrite + Unpin,
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let inward = self.inward.poll(client, target, cx);
        let outward = self.outward.poll(target, client, cx);
        let broken = match (&inward, &outward) {
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(Ok(())),
            // Whoever has ended its own direction and then hears no more has left, as programs do that just close.
            (Poll::Ready(Ok(())), Poll::Ready(Err(Side::To(_))))
            | (Poll::Ready(Err(Side::To(_))), Poll::Ready(Ok(()))) => return Poll::Ready(Ok(())),
            _ => broken(inward, outward),
        };
        if let Some(broken) = broken {
            return Poll::Ready(Err(broken));
        }
        if std::mem::take(&mut self.inward.has_moved) | std::mem::take(&mut self.outward.has_moved)
        {
            self.moved_in_part = true;
        }
        while pause.as_mut().poll(cx).is_ready() {
            self.silent_parts = if self.moved_in_part { 0 } else { self.silent_parts + 1 };
            self.moved_in_part = false;
            if self.silent_parts >= RELAY_IDLE_PARTS {
                return Poll::Ready(Err(Broken::Idle));
            }
            let next = pause.deadline() + part;
            pause.as_mut().reset(next);
        }
        Poll::Pending
    }
}

/// Which side failed, if any did.
fn broken(inward: Poll<Result<(), Side>>, outward: Poll<Result<(), Side>>) -> Option<Broken> {
    match (inward, outward) {
        (Poll::Ready(Err(Side::From(error))), _) | (_, Poll::Ready(Err(Side::To(error)))) => {
            Some(Broken::Client(error))
        }
        (Poll::Ready(Err(Side::To(error))), _) | (_, Poll::Ready(Err(Side::From(error)))) => {
            Some(Broken::Target(error))
        }
        _ => None,
    }
}

impl Flow {
    fn poll<F, T>(
        &mut self,
        from: &mut F,
        to: &mut T,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Side>>
    where
        F: AsyncRead + Unpin,
        T: AsyncWrite + Unpin,
    {
        while self.stage != Progress::Ended {
            while !self.buffer.is_empty() {
                let written = ready!(Pin::new(&mut *to).poll_write(cx, &self.buffer));
                let written = written.map_err(Side::To)?;
                if written == 0 {
                    return Poll::Ready(Err(Side::To(io::ErrorKind::WriteZero.into())));
                }
                self.buffer.advance(written);
                self.passed += written as u64;
                (self.has_moved, self.must_flush) = (true, true);
            }
            release(&mut self.buffer);
            if self.stage == Progress::Ending {
                ready!(Pin::new(&mut *to).poll_shutdown(cx)).map_err(Side::To)?;
                self.stage = Progress::Ended;
                break;
            }
            match poll_fill(from, &mut self.buffer, BUFFER_BYTES, cx) {
                Poll::Ready(Ok(0)) => self.stage = Progress::Ending,
                Poll::Ready(Ok(_)) => self.has_moved = true,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Side::From(error))),
                Poll::Pending => {
                    if self.must_flush {
                        ready!(Pin::new(to).poll_flush(cx)).map_err(Side::To)?;
                        self.must_flush = false;
                    }
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}
