//! A connection that speaks HTTP/2 (RFC 9113) and is shared by many requests. The crate `h2` reads and writes
//! frames and keeps the state of streams; one task per connection lets it, and looks every second whether
//! the target is still there.

use super::pulse::{Beat, Look, Pulse};
use base::caps;
use base::{Alarm, Endpoint};
use bytes::Bytes;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use h2::{Ping, PingPong, SendStream};
use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval};
use traffic::upstream::Peers;

/// The time between two looks.
const BEAT: Duration = Duration::from_secs(1);
/// Bytes of a frame's head (RFC 9113, 4.1).
const FRAME_HEAD_BYTES: usize = 9;

/// An open connection. Once it is dropped and its requests have ended, it closes.
pub(crate) struct Http2 {
    pub(crate) address: Endpoint,
    /// The client of whom the target was told: others must not use it.
    pub(crate) told: Option<Peers>,
    sender: Mutex<SendRequest<Bytes>>,
    vital: Arc<Vital>,
    /// Of requests that have ended, with their timers.
    alarms: Mutex<Vec<Alarm>>,
}

/// What a connection's task, its bytes and its requests share.
#[derive(Debug, Default)]
pub(super) struct Vital {
    /// Reads that brought something.
    reads: AtomicU64,
    /// Bytes that were written.
    written: AtomicU64,
    /// The target's SETTINGS are there.
    is_settled: AtomicBool,
    /// Requests that were begun.
    begun: AtomicU64,
    /// Requests under way.
    open: AtomicUsize,
    /// A request had no answer in time, and nothing was heard since.
    is_suspect: AtomicBool,
    doubt: Notify,
    is_old: AtomicBool,
    /// What the connection was given up for, if that is known better than by its bytes.
    why: OnceLock<&'static str>,
}

/// What can be put on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// One more request, or several.
    Free,
    /// None before another has ended.
    Full,
    /// None ever again.
    Over,
}

/// Why a connection came to nothing.
#[derive(Debug)]
pub(crate) enum Unopened {
    /// The target went away.
    Gone(String),
    /// What the target says is not HTTP/2.
    Invalid(String),
}

impl fmt::Display for Unopened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Gone(why) | Self::Invalid(why)) = self;
        f.write_str(why)
    }
}

impl Http2 {
    /// On a stream on which nothing was said yet. Waits for the target's SETTINGS: only then it is known that
    /// somebody is there who speaks HTTP/2, and how many requests may be sent.
    ///
    /// # Errors
    /// What the target did instead.
    pub(crate) async fn open<I>(io: I, address: Endpoint) -> Result<Self, Unopened>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let vital = Arc::new(Vital::default());
        let io = Watched { io, vital: Arc::clone(&vital), first: First::default() };
        let (sender, mut h2) = builder().handshake(io).await.map_err(|error| unopened(&error))?;
        let pings = h2.ping_pong();
        let (ready, is_ready) = oneshot::channel();
        let task = Task { h2, pings, vital: Arc::clone(&vital), pulse: Pulse::new() };
        let mut opening = Opening(Some(tokio::spawn(task.run(ready)).abort_handle()));
        match is_ready.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(Unopened::Gone("the worker is ending".to_owned())),
        }
        opening.0 = None;
        Ok(Self {
            address,
            told: None,
            sender: Mutex::new(sender),
            vital,
            alarms: Mutex::default(),
        })
    }

    /// What can be put on it besides the requests under way.
    pub(crate) fn room(&self) -> Room {
        let vital = &self.vital;
        let is_over = vital.is_old.load(Ordering::Relaxed)
            || vital.is_suspect.load(Ordering::Relaxed)
            || vital.why.get().is_some();
        if is_over {
            return Room::Over;
        }
        let mut sender = lock(&self.sender);
        match sender.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(_)) => Room::Over,
            Poll::Pending => Room::Full,
            Poll::Ready(Ok(())) => {
                let most = sender.current_max_send_streams().min(caps::STREAMS_PER_LINK);
                if self.open_streams() < most { Room::Free } else { Room::Full }
            }
        }
    }

    /// Requests under way.
    pub(crate) fn open_streams(&self) -> usize {
        self.vital.open.load(Ordering::Relaxed)
    }

    /// A request takes a place on it, until [`Http2::leave`].
    pub(crate) fn join(&self) {
        self.vital.open.fetch_add(1, Ordering::Relaxed);
    }

    /// A request gives its place back.
    pub(crate) fn leave(&self) {
        self.vital.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether the target takes extended CONNECT (RFC 8441, 3).
    pub(crate) fn takes_tunnels(&self) -> bool {
        lock(&self.sender).is_extended_connect_protocol_enabled()
    }

    /// Begins a request.
    ///
    /// # Errors
    /// Why the connection takes none.
    pub(super) fn begin(
        &self,
        head: http::Request<()>,
        is_whole: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        self.vital.begun.fetch_add(1, Ordering::Relaxed);
        let mut sender = lock(&self.sender);
        match sender.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(ready) => ready?,
            // The target has lowered its limit: this one waits its turn.
            Poll::Pending => return sender.clone().send_request(head, is_whole),
        }
        sender.send_request(head, is_whole)
    }

    /// Bytes that were written so far.
    pub(super) fn written(&self) -> u64 {
        self.vital.written.load(Ordering::Relaxed)
    }

    /// There was no answer in time: the target is asked whether it is there, and gets no new requests on this
    /// connection until it says so.
    pub(super) fn distrust(&self) {
        self.vital.is_suspect.store(true, Ordering::Relaxed);
        self.vital.doubt.notify_one();
    }

    /// What the connection was given up for, if it was.
    pub(super) fn why(&self) -> Option<&'static str> {
        self.vital.why.get().copied()
    }

    /// An alarm that is not set.
    pub(crate) fn lend_alarm(&self) -> Alarm {
        lock(&self.alarms).pop().unwrap_or_default()
    }

    /// Keeps an alarm for another request.
    pub(super) fn keep_alarm(&self, mut alarm: Alarm) {
        alarm.clear();
        let mut alarms = lock(&self.alarms);
        if alarms.len() < caps::STREAMS_PER_LINK {
            alarms.push(alarm);
        }
    }
}

/// Ends the task of a connection that nobody waits for any more.
struct Opening(Option<AbortHandle>);

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `h2`'s knobs; every bound is a cap of ours. The window of a connection is that of all its streams, so that
/// clients who read nothing cannot stop the answers of others.
fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(caps::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(caps::TARGET_CONNECTION_WINDOW_BYTES)
        .max_frame_size(caps::FRAME_BYTES_MAX)
        .max_header_list_size(u32::try_from(caps::UPSTREAM_HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .header_table_size(caps::HPACK_TABLE_BYTES)
        .max_send_buffer_size(caps::STREAM_SEND_BUFFER_BYTES)
        .data_frame_budget(caps::DATA_FRAME_BUDGET_BYTES)
        .max_concurrent_reset_streams(caps::RESET_STREAMS_KEPT)
        .reset_stream_duration(Duration::from_secs(caps::RESET_STREAMS_KEPT_S))
        .max_local_error_reset_streams(Some(caps::STREAM_ERRORS_MAX));
    builder
}

fn unopened(error: &h2::Error) -> Unopened {
    if error.is_library() && !error.is_io() {
        return Unopened::Invalid(format!("the target does not speak HTTP/2: {error}"));
    }
    Unopened::Gone(format!("the target closed the connection: {error}"))
}

type Ready = oneshot::Sender<Result<(), Unopened>>;

/// The task of a connection.
struct Task<I> {
    h2: Connection<Watched<I>, Bytes>,
    pings: Option<PingPong>,
    vital: Arc<Vital>,
    pulse: Pulse,
}

impl<I> Task<I>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    async fn run(mut self, ready: Ready) {
        let mut ready = Some(ready);
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beat.reset();
        let mut leaving_s = 0;
        let vital = Arc::clone(&self.vital);
        loop {
            tokio::select! {
                biased;
                ended = poll_fn(|cx| self.poll_h2(&mut ready, cx)) => {
                    if let Some(ready) = ready {
                        let error = match ended {
                            Ok(()) => Unopened::Gone("the target closed the connection".to_owned()),
                            Err(error) => unopened(&error),
                        };
                        // Nobody may be waiting any more.
                        ready.send(Err(error)).ok();
                    }
                    return;
                }
                () = vital.doubt.notified() => {
                    if self.pulse.doubt() {
                        self.ping();
                    }
                }
                _ = beat.tick() => {
                    // Only this task is left: itself, the bytes and this name hold it.
                    leaving_s += u64::from(Arc::strong_count(&vital) <= 3);
                    if leaving_s > caps::GOAWAY_TIMEOUT_S || !self.beat() {
                        return;
                    }
                }
            }
        }
    }

    fn poll_h2(
        &mut self,
        ready: &mut Option<Ready>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), h2::Error>> {
        let ended = Pin::new(&mut self.h2).poll(cx);
        if ended.is_pending()
            && self.vital.is_settled.load(Ordering::Relaxed)
            && let Some(ready) = ready.take()
        {
            ready.send(Ok(())).ok();
        }
        ended
    }

    /// Says whether the connection goes on.
    fn beat(&mut self) -> bool {
        let vital = &self.vital;
        let look = Look {
            reads: vital.reads.load(Ordering::Relaxed),
            begun: vital.begun.load(Ordering::Relaxed),
            is_busy: vital.open.load(Ordering::Relaxed) > 0,
        };
        let beat = self.pulse.beat(look);
        if self.pulse.is_old() {
            vital.is_old.store(true, Ordering::Relaxed);
        }
        match beat {
            Beat::Fine => true,
            Beat::Ping => {
                self.ping();
                true
            }
            Beat::Dead => {
                vital.why.set("the target does not answer PING").ok();
                false
            }
        }
    }

    fn ping(&mut self) {
        let Some(pings) = &mut self.pings else { return };
        // The answer to the one before is taken first, if it is there; without it there is one on its way
        // already.
        let mut nobody = Context::from_waker(Waker::noop());
        if let Poll::Ready(Err(_)) = pings.poll_pong(&mut nobody) {
            return;
        }
        pings.send_ping(Ping::opaque()).ok();
    }
}

/// A connection's bytes, watched.
struct Watched<I> {
    io: I,
    vital: Arc<Vital>,
    first: First,
}

/// How much of the target's first frame has come.
#[derive(Default)]
struct First {
    seen: usize,
    length: usize,
}

impl First {
    /// Whether the frame is complete.
    fn feed(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes.iter().take(3usize.saturating_sub(self.seen)) {
            self.length = (self.length << 8) | usize::from(*byte);
        }
        self.seen = self.seen.saturating_add(bytes.len());
        self.seen >= 3 && self.seen >= FRAME_HEAD_BYTES + self.length
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let Self { io, vital, first } = &mut *self;
        let read = Pin::new(io).poll_read(cx, buffer);
        let new = buffer.filled().get(before..).unwrap_or_default();
        if !new.is_empty() {
            vital.reads.fetch_add(1, Ordering::Relaxed);
            vital.is_suspect.store(false, Ordering::Relaxed);
            if !vital.is_settled.load(Ordering::Relaxed) && first.feed(new) {
                vital.is_settled.store(true, Ordering::Relaxed);
            }
        }
        read
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, data);
        self.vital.wrote(&written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, data);
        self.vital.wrote(&written);
        written
    }
}

impl Vital {
    fn wrote(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(count)) = written {
            self.written.fetch_add(*count as u64, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::First;

    #[test]
    fn the_first_frame_is_complete_however_it_is_split() {
        let frame = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100];
        for split in 0..frame.len() {
            let mut first = First::default();
            assert!(!first.feed(&frame[..split]), "{split}");
            assert!(first.feed(&frame[split..]), "{split}");
        }
    }
}
