//! One line per request, on a path of its own.
//!
//! A worker writes lines into a buffer of its own ([`AccessWriter::write`]), hands the buffer over when
//! it is full or at [`AccessWriter::flush`], and never waits: where the queue to the one writing thread
//! is full, the lines are dropped and counted. Buffers come back and are used again.
//!
//! Which requests get a line is drawn here as well ([`Sample`]); metrics count all of them.

mod settings;
mod template;
mod line;
mod escape;
mod sink;
mod rotation;
mod stamp;

pub use settings::{AccessFormat, AccessSettings, AccessTarget, Rotation, Sample};
pub use template::{Template, TemplateError};

use crate::metrics::Metrics;
use base::{Clock, caps};
use sink::{Change, Drain, Failures, Sink};
use stamp::Stamp;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::mem;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

/// What is said of one request. Texts may come from the client as they are: they are escaped, and cut at
/// [`caps::LOG_FIELD_BYTES_MAX`]. Empty texts are left out.
#[derive(Clone, Debug)]
pub struct AccessLine<'a> {
    /// When the line was written, after the last byte; the request arrived `duration` before that.
    pub time: SystemTime,
    /// The id the client is told as well.
    pub request_id: &'a str,
    /// The id of the trace (W3C Trace Context), 32 hexadecimal digits.
    pub trace_id: &'a str,
    /// The revision of the config that served the request.
    pub revision: &'a str,
    /// The name of the listener.
    pub listener: &'a str,
    /// The client's address, as far as it can be trusted.
    pub client: IpAddr,
    /// The version of HTTP, such as `HTTP/1.1`.
    pub protocol: &'static str,
    /// The request's method.
    pub method: &'a str,
    /// The host asked for.
    pub host: &'a str,
    /// The path asked for, without the query, which may hold credentials; one that is there
    /// nevertheless is not written.
    pub path: &'a str,
    /// The status sent to the client.
    pub status: u16,
    /// How a call of gRPC ended, if it was one and that is known.
    pub grpc_status: Option<u8>,
    /// The code of the fault, if the gateway answered in place of an upstream.
    pub fault: Option<&'static str>,
    /// What the client is not told of the fault. It must not hold a secret.
    pub cause: Option<&'a str>,
    /// The API the route belongs to.
    pub api: &'a str,
    /// The route that matched.
    pub route: &'a str,
    /// Who the client is.
    pub consumer: &'a str,
    /// The application of the consumer whose credential was shown, or an empty text.
    pub application: &'a str,
    /// The name of the credential that was shown, or an empty text.
    pub credential: &'a str,
    /// The upstream the request was sent to.
    pub upstream: &'a str,
    /// The target that answered, or was tried last.
    pub target: &'a str,
    /// How many times the request was sent to a target.
    pub attempts: u32,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// From the first byte of the request to the last of the answer.
    pub duration: Duration,
    /// The part of it spent waiting for upstreams; zero if there was none.
    pub upstream_duration: Duration,
    /// The program the client says it is.
    pub user_agent: &'a str,
    /// Whether the whole answer was sent; not so if the client left, or the answer was cut.
    pub complete: bool,
    /// What each stage took, where that was measured.
    pub stages: Option<StageTimes>,
    /// The headers that a template may ask for.
    pub headers: &'a dyn Headers,
}

/// Headers of a request and of its answer, by their names in lower case.
pub trait Headers: fmt::Debug {
    /// The first value of a header of the request.
    fn request(&self, name: &str) -> Option<&[u8]>;
    /// The first value of a header of the answer.
    fn answer(&self, name: &str) -> Option<&[u8]>;
}

/// No headers at all.
#[derive(Clone, Copy, Debug)]
pub struct NoHeaders;

impl Headers for NoHeaders {
    fn request(&self, _: &str) -> Option<&[u8]> {
        None
    }
    fn answer(&self, _: &str) -> Option<&[u8]> {
        None
    }
}

/// What the stages of one request took. A stage it did not come to has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageTimes {
    /// Reading and refusing what must not pass.
    pub admit: Option<Duration>,
    /// Finding the route.
    pub route: Option<Duration>,
    /// The policies of the request.
    pub guard: Option<Duration>,
    /// All attempts, until the head of the answer.
    pub forward: Option<Duration>,
    /// Of the last attempt: until there was a connection; none if an open one was used.
    pub connect: Option<Duration>,
    /// Of the last attempt: until the head of the answer.
    pub first_byte: Option<Duration>,
    /// The policies of the answer.
    pub reply: Option<Duration>,
    /// Handing the answer to the client, its last byte included.
    pub send: Option<Duration>,
}

impl StageTimes {
    /// Names and values in the order in which they happen.
    #[must_use]
    pub fn named(&self) -> [(&'static str, Option<Duration>); 8] {
        [
            ("admit", self.admit),
            ("route", self.route),
            ("guard", self.guard),
            ("forward", self.forward),
            ("connect", self.connect),
            ("first_byte", self.first_byte),
            ("reply", self.reply),
            ("send", self.send),
        ]
    }
}

/// The access log of a process. Clones are the same log.
#[derive(Clone, Debug)]
pub struct AccessLog {
    control: Arc<Control>,
    queue: SyncSender<Message>,
    thread: Arc<Mutex<Option<DrainThread>>>,
}

/// The writing thread, and a channel that ends when the thread does.
#[derive(Debug)]
struct DrainThread {
    handle: JoinHandle<()>,
    ended: Receiver<()>,
}

/// What the log, its workers and its thread share.
#[derive(Debug)]
struct Control {
    /// Counts changes: a batch written under another setting than the sink's tells the thread to
    /// change first.
    setting: AtomicU32,
    announced: Mutex<Announced>,
    closing: AtomicBool,
    metrics: Arc<Metrics>,
}

/// What was announced last, and what the thread has not made of it yet.
#[derive(Debug)]
struct Announced {
    style: Arc<Style>,
    /// Each with the setting from which on it holds.
    pending: VecDeque<(u32, Change)>,
}

/// How lines are written, and which.
#[derive(Debug)]
struct Style {
    format: AccessFormat,
    sample: Sample,
    /// No line is written at all.
    is_off: bool,
}

impl Style {
    fn of(settings: &AccessSettings) -> Arc<Self> {
        Arc::new(Self {
            format: settings.format.clone(),
            sample: settings.sample.clone(),
            is_off: settings.target == AccessTarget::Off,
        })
    }
}

/// Changes that wait for a thread stuck in a target.
const PENDING_MAX: usize = 8;

#[derive(Debug)]
enum Message {
    Lines(Batch),
    /// Nothing to write: change to this setting, and see whether the log is being closed.
    Wake(u32),
}

/// Lines on their way from a worker to the thread.
#[derive(Debug)]
struct Batch {
    bytes: Vec<u8>,
    setting: u32,
    /// Where the empty buffer goes.
    home: SyncSender<Vec<u8>>,
}

impl Control {
    /// A change under a new setting; where no style is given it stays. Beyond [`PENDING_MAX`], where the
    /// thread is stuck in a target, the last change takes the place of the one before.
    fn announce(&self, style: Option<Arc<Style>>, change: Change) {
        let mut announced = self.announced();
        let setting = self.setting.load(Ordering::Acquire).wrapping_add(1);
        if let Some(style) = style {
            announced.style = style;
        }
        let pending = &mut announced.pending;
        let replaced = if pending.len() < PENDING_MAX { None } else { pending.pop_back() };
        let change = match (replaced, change) {
            (Some((_, before)), Change::Reopen) => before,
            (_, change) => change,
        };
        pending.push_back((setting, change));
        self.setting.store(setting, Ordering::Release);
    }

    fn announced(&self) -> MutexGuard<'_, Announced> {
        self.announced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The setting now, and the style that goes with it.
    fn current(&self) -> (u32, Arc<Style>) {
        let announced = self.announced();
        (self.setting.load(Ordering::Acquire), Arc::clone(&announced.style))
    }
}

impl AccessLog {
    /// Opens the target and starts the thread `yett-access-log`. Lines that cannot be written are
    /// counted at `metrics`.
    ///
    /// # Errors
    /// When the target cannot be opened or the thread not be started.
    pub fn open(settings: AccessSettings, metrics: Arc<Metrics>) -> io::Result<Self> {
        let style = Style::of(&settings);
        let sink = Sink::open(settings.target, settings.rotation)?;
        let setting = 0;
        let control = Arc::new(Control {
            setting: AtomicU32::new(setting),
            announced: Mutex::new(Announced { style, pending: VecDeque::new() }),
            closing: AtomicBool::new(false),
            metrics,
        });
        let (queue, receiver) = sync_channel(caps::LOG_QUEUE_BUFFERS);
        let failures = Failures::new(Clock::System);
        let detours = Failures::new(Clock::System);
        let drain = Drain {
            sink,
            control: Arc::clone(&control),
            queue: receiver,
            setting,
            failures,
            detours,
        };
        let (alive, ended) = sync_channel(1);
        let handle =
            std::thread::Builder::new().name("yett-access-log".to_owned()).spawn(move || {
                drain.run();
                drop(alive);
            })?;
        let thread = Arc::new(Mutex::new(Some(DrainThread { handle, ended })));
        Ok(Self { control, queue, thread })
    }

    /// A worker's end of the log.
    #[must_use]
    pub fn writer(&self) -> AccessWriter {
        AccessWriter::new(Arc::clone(&self.control), self.queue.clone())
    }

    /// Opens the file anew, after something moved it away; that it was moved is noticed at the next lines
    /// anyway. Does nothing for other targets.
    pub fn reopen(&self) {
        self.announce(None, Change::Reopen);
    }

    /// Writes in another way or elsewhere from now on; writers notice at their next line. What was
    /// handed over before still goes to the old target.
    ///
    /// # Errors
    /// When the new target cannot be opened; everything stays as it was.
    pub fn reconfigure(&self, settings: AccessSettings) -> io::Result<()> {
        let style = Style::of(&settings);
        let sink = Sink::open(settings.target, settings.rotation)?;
        self.announce(Some(style), Change::To(sink));
        Ok(())
    }

    /// Writes out what was handed over and ends the thread; workers flush before. Lines written later
    /// are dropped and counted. Waits at most [`caps::LOG_CLOSE_TIMEOUT_S`] for a target that does not
    /// take the lines.
    pub fn close(self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(DrainThread { handle, ended }) = thread else {
            return;
        };
        self.control.closing.store(true, Ordering::Release);
        self.wake();
        let timeout = Duration::from_secs(caps::LOG_CLOSE_TIMEOUT_S);
        if ended.recv_timeout(timeout) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the access log takes no lines; the last of them are lost");
        } else if handle.join().is_err() {
            tracing::error!("the thread of the access log failed");
        }
    }

    fn announce(&self, style: Option<Arc<Style>>, change: Change) {
        self.control.announce(style, change);
        self.wake();
    }

    /// A thread that waits for lines looks up. One whose queue is full is awake, and changes at the
    /// first batch of the new setting.
    fn wake(&self) {
        let setting = self.control.setting.load(Ordering::Acquire);
        self.queue.try_send(Message::Wake(setting)).ok();
    }
}

/// One worker's end of the access log. What is not flushed is handed over when it is dropped.
#[derive(Debug)]
pub struct AccessWriter {
    control: Arc<Control>,
    queue: SyncSender<Message>,
    buffer: Vec<u8>,
    lines: u64,
    setting: u32,
    style: Arc<Style>,
    stamp: Stamp,
    home: SyncSender<Vec<u8>>,
    spare: Receiver<Vec<u8>>,
}

impl AccessWriter {
    fn new(control: Arc<Control>, queue: SyncSender<Message>) -> Self {
        let (home, spare) = sync_channel(caps::LOG_SPARE_BUFFERS);
        let (setting, style) = control.current();
        let (buffer, stamp) = (Vec::new(), Stamp::new());
        Self { control, queue, buffer, lines: 0, setting, style, stamp, home, spare }
    }

    /// Formats a line into the worker's buffer, and hands the buffer over once it holds
    /// [`caps::LOG_BUFFER_BYTES`]. Never waits.
    pub fn write(&mut self, line: &AccessLine<'_>) {
        if self.control.setting.load(Ordering::Acquire) != self.setting {
            self.flush();
            (self.setting, self.style) = self.control.current();
        }
        if self.style.is_off {
            return;
        }
        let Some(rate) = self.style.sample.draw(line) else { return };
        if self.buffer.capacity() == 0 {
            self.buffer = self.take_buffer();
        }
        let (out, stamp) = (&mut self.buffer, &mut self.stamp);
        match &self.style.format {
            AccessFormat::Json => line::json(out, stamp, line, rate),
            AccessFormat::Text => line::text(out, stamp, line, rate),
            AccessFormat::Template(template) => template.write(out, stamp, line, rate),
        }
        self.lines += 1;
        if self.buffer.len() >= caps::LOG_BUFFER_BYTES {
            self.flush();
        }
    }

    /// Hands over what was written, however little. A worker calls it when it has been idle for a
    /// moment, and before it ends. Never waits: if the queue is full, the lines are dropped and
    /// counted.
    pub fn flush(&mut self) {
        if self.lines == 0 {
            return;
        }
        let lines = mem::take(&mut self.lines);
        let batch = Batch {
            bytes: mem::take(&mut self.buffer),
            setting: self.setting,
            home: self.home.clone(),
        };
        let refused = match self.queue.try_send(Message::Lines(batch)) {
            Ok(()) => return,
            Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) => message,
        };
        self.control.metrics.log_dropped(lines);
        if let Message::Lines(batch) = refused {
            self.buffer = batch.bytes;
            self.buffer.clear();
        }
    }

    /// After a buffer was handed over: one that came back, or a new one with room for the line that
    /// fills it up.
    fn take_buffer(&self) -> Vec<u8> {
        let new = || Vec::with_capacity(caps::LOG_BUFFER_BYTES + caps::LOG_BUFFER_BYTES / 8);
        self.spare.try_recv().unwrap_or_else(|_| new())
    }

    /// Whether there is nothing to flush.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines == 0
    }
}

impl Drop for AccessWriter {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests;
