//! Serves HTTP/2 (RFC 9113). The crate `h2` reads and writes frames and keeps the state of streams; here
//! requests become answers, and whoever floods, stalls or stays too long is shown out.
//!
//! A connection is one task, each of its streams another: when a stream is reset or the connection ends,
//! the stream's task drops whatever it was doing.

/// The head of a request, from HTTP/2's form to the one that the spine knows.
pub mod head;
mod body;
mod stream;
mod wire;
mod meter;
mod pulse;

use crate::connection::age_s;
use crate::gateway::Worker;
use ::h2::server::{Builder, Connection as H2, SendResponse};
use ::h2::{Ping, PingPong, Reason, RecvStream};
use base::shutdown::{Phase, Signal};
use base::{Alarm, caps};
use bytes::{Bytes, BytesMut};
use http::Request;
use meter::{Breach, Meter};
use pulse::{Beat, Look, Pulse};
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{MissedTickBehavior, interval, timeout};
use traffic::exchange::Connection;
use wire::{Ends, Tap};

/// Bytes of a header list as `h2` counts them. More than [`caps::HEAD_BYTES_MAX`], so that a request that
/// is somewhat too large gets an answer that explains itself and a line in the log; `h2` gives a bare 431.
const HEADER_LIST_BYTES: usize = 2 * caps::HEAD_BYTES_MAX;

/// The name, in metrics, of a stream that `h2` reset: malformed, much too large, or one too many.
const REFUSED_STREAM: &str = "http2_stream";

/// A client's connection.
struct Session<I> {
    worker: Arc<Worker>,
    connection: Arc<Connection>,
    h2: H2<Ends<I>, Bytes>,
    tap: Tap<I>,
    pings: Option<PingPong>,
    meter: Arc<Meter>,
    pulse: Pulse,
    /// Streams that were opened, in all.
    opened: u64,
    /// Streams that `h2` refused, in all, as far as they were counted.
    refused: u64,
}

/// Serves the requests of a connection until either side ends it. `io` begins with the preface.
///
/// # Errors
/// What broke the connection off; requests under way are recorded all the same.
pub(crate) async fn serve<I>(
    worker: Arc<Worker>,
    connection: Arc<Connection>,
    io: I,
    mut signal: Signal,
) -> io::Result<()>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let meter = Arc::new(Meter::default());
    let (io, tap) = wire::split(io, &meter);
    let limit = Duration::from_secs(caps::HEAD_TIMEOUT_S);
    let shaken = tokio::select! {
        biased;
        shaken = timeout(limit, builder().handshake(io)) => shaken,
        () = signal.reached(Phase::Stopping) => return Ok(()),
    };
    let mut h2 = match shaken {
        Ok(Ok(h2)) => h2,
        Ok(Err(error)) => {
            if !error.is_io() {
                worker.gateway.metrics.refused(Breach::Preface.name());
            }
            return Err(io::Error::other(error));
        }
        Err(_) => {
            worker.gateway.metrics.refused(Breach::SlowHead.name());
            return Err(io::ErrorKind::TimedOut.into());
        }
    };
    let pings = h2.ping_pong();
    let pulse = Pulse::new(age_s(connection.age_max_s));
    tap.gather();
    Session { worker, connection, h2, tap, pings, meter, pulse, opened: 0, refused: 0 }
        .run(signal)
        .await
}

/// `h2`'s knobs; every bound is a cap of ours.
fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(caps::STREAMS_MAX)
        .initial_window_size(caps::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(caps::CONNECTION_WINDOW_BYTES)
        .max_frame_size(caps::FRAME_BYTES_MAX)
        .max_header_list_size(u32::try_from(HEADER_LIST_BYTES).unwrap_or(u32::MAX))
        .header_table_size(caps::HPACK_TABLE_BYTES)
        .max_send_buffer_size(caps::STREAM_SEND_BUFFER_BYTES)
        .data_frame_budget(caps::DATA_FRAME_BUDGET_BYTES)
        .max_concurrent_reset_streams(caps::RESET_STREAMS_KEPT)
        .reset_stream_duration(Duration::from_secs(caps::RESET_STREAMS_KEPT_S))
        .max_pending_accept_reset_streams(caps::PENDING_RESETS_MAX)
        .max_local_error_reset_streams(Some(caps::STREAM_ERRORS_MAX))
        .enable_connect_protocol();
    builder
}

type Accepted = Option<Result<(Request<RecvStream>, SendResponse<Bytes>), ::h2::Error>>;

/// The next stream. While there is none, what `h2` has written goes out.
///
/// # Errors
/// What the client's stream of bytes says.
async fn next<I>(h2: &mut H2<Ends<I>, Bytes>, tap: &Tap<I>) -> io::Result<Accepted>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let mut accepted = pin!(h2.accept());
    poll_fn(|cx| {
        if let Poll::Ready(accepted) = accepted.as_mut().poll(cx) {
            return Poll::Ready(Ok(accepted));
        }
        match tap.poll_flush(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Pending,
        }
    })
    .await
}

impl<I> Session<I>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    async fn run(mut self, mut signal: Signal) -> io::Result<()> {
        let mut beat = interval(Duration::from_secs(caps::PULSE_S));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beat.reset();
        let mut awaited = Phase::Leaving;
        loop {
            tokio::select! {
                biased;
                accepted = next(&mut self.h2, &self.tap) => match accepted? {
                    Some(Ok((request, respond))) => self.open(request, respond),
                    Some(Err(error)) => return Err(self.failed(error)),
                    None => {
                        self.linger(&mut signal).await;
                        return Ok(());
                    }
                },
                breach = self.meter.breached() => return self.break_off(breach).await,
                () = signal.reached(awaited) => {
                    if awaited == Phase::Stopping {
                        return Ok(());
                    }
                    awaited = Phase::Stopping;
                    self.leave();
                }
                _ = beat.tick() => match self.beat() {
                    Beat::Fine => {}
                    Beat::Ping => self.ping(),
                    Beat::Leave => self.leave(),
                    Beat::End(breach) => return self.break_off(breach).await,
                },
            }
        }
    }

    /// Serves a stream on a task of its own.
    fn open(&mut self, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        self.opened += 1;
        let served = stream::serve(
            Arc::clone(&self.worker),
            Arc::clone(&self.connection),
            Arc::clone(&self.meter),
            request,
            respond,
        );
        // Boxed, since the runtime moves what it runs several times.
        drop(tokio::spawn(Box::pin(served)));
    }

    fn beat(&mut self) -> Beat {
        self.tap.rest();
        self.count_refused();
        let (seen, opened) = (self.meter.beat(), self.opened);
        self.pulse.beat(Look { seen, opened, has_streams: self.h2.has_streams() })
    }

    /// Asks whether the client is still there.
    fn ping(&mut self) {
        let Some(pings) = &mut self.pings else { return };
        // The answer to the one before is taken first, if it is there; without it there is one on its
        // way already.
        let mut nobody = Context::from_waker(Waker::noop());
        if let Poll::Ready(Err(_)) = pings.poll_pong(&mut nobody) {
            return;
        }
        pings.send_ping(Ping::opaque()).ok();
    }

    /// Takes no new streams, and ends when those under way have (RFC 9113, 6.8): `h2` sends one GOAWAY
    /// that announces it, and once the client has seen it the one that counts.
    fn leave(&mut self) {
        self.h2.graceful_shutdown();
        self.pulse.leave();
    }

    /// Takes what the client still says, until it has heard all and closes: a system that is sent something on a
    /// closed connection tells the other to forget what is still on its way, and whoever reads opens windows.
    async fn linger(&self, signal: &mut Signal) {
        let (mut silence, mut end) = (Alarm::default(), Alarm::default());
        silence.set(Duration::from_secs(caps::FAREWELL_TIMEOUT_S));
        end.set(Duration::from_secs(caps::FAREWELL_TOTAL_S));
        let mut input = BytesMut::new();
        let gone = poll_fn(|cx| {
            while end.poll(cx).is_pending() {
                input.clear();
                match self.tap.poll_past(&mut input, cx) {
                    Poll::Ready(Ok(0) | Err(_)) => break,
                    Poll::Ready(Ok(_)) => {
                        silence.set(Duration::from_secs(caps::FAREWELL_TIMEOUT_S))
                    }
                    Poll::Pending => return silence.poll(cx),
                }
            }
            Poll::Ready(())
        });
        tokio::select! {
            biased;
            () = signal.reached(Phase::Stopping) => {}
            () = gone => {}
        }
    }

    /// Ends the connection, and tells the client why if it listens. Its streams end at once.
    async fn break_off(mut self, breach: Breach) -> io::Result<()> {
        self.worker.gateway.metrics.refused(breach.name());
        tracing::debug!(peer = %self.connection.peer, reason = breach.name(), "a connection is broken off");
        if let Some(reason) = breach.reason() {
            self.h2.abrupt_shutdown(reason);
            let limit = Duration::from_secs(caps::GOAWAY_TIMEOUT_S);
            // It ends here whether the client hears of it or not.
            timeout(limit, poll_fn(|cx| self.h2.poll_closed(cx))).await.ok();
        }
        Err(io::Error::other(breach.name()))
    }

    /// What `h2` ended the connection for.
    fn failed(&self, error: ::h2::Error) -> io::Error {
        if error.is_library() && error.is_go_away() {
            self.worker.gateway.metrics.refused(match error.reason() {
                Some(Reason::ENHANCE_YOUR_CALM) => Breach::Flood.name(),
                _ => Breach::Protocol.name(),
            });
        }
        io::Error::other(error)
    }
}

impl<I> Session<I> {
    /// Counts the streams whose head came and of which `h2` let nobody know: their heads were malformed or
    /// much too large, or there were too many.
    fn count_refused(&mut self) {
        let refused = self.meter.streams().saturating_sub(self.opened);
        for _ in self.refused..refused {
            self.worker.gateway.metrics.refused(REFUSED_STREAM);
        }
        self.refused = refused.max(self.refused);
    }
}

impl<I> Drop for Session<I> {
    fn drop(&mut self) {
        self.count_refused();
    }
}
